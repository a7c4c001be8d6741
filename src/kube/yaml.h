/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* Reads one YAML (or JSON) document as a tree of JSON: mappings are objects, sequences arrays, and
 * every scalar a string; an empty or "null" one is left out. Bounded: nesting, and how many nodes
 * it comes to once aliases are expanded. Pure. Returns: (transfer full): the mapping at the top, or
 * NULL with WK_ERROR_INVALID that names the line. */
JsonObject *wk_yaml_parse(const char *text, gsize length, GError **error);

G_END_DECLS
