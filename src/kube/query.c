/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/query.h"

#include <string.h>

void
wk_query_add(GString *query, const char *name, const char *value)
{
    g_autofree char *escaped = NULL;

    if (value == NULL)
        return;
    escaped = g_uri_escape_string(value, NULL, FALSE);
    g_string_append_printf(query, "%c%s=%s", strchr(query->str, '?') == NULL ? '?' : '&', name,
                           escaped);
}
