/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Adds "name=value", the value percent-encoded, to the path and query @query; @value NULL: nothing.
 * Pure. */
void wk_query_add(GString *query, const char *name, const char *value);

G_END_DECLS
