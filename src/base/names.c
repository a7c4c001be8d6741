/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/names.h"

#include "base/error.h"

const char *
wk_name_of(const char *const *names, gsize n_names, int value)
{
    if (value < 0 || (gsize)value >= n_names || names[value] == NULL)
        return "?";
    return names[value];
}

static char *
list_names(const char *const *names, gsize n_names)
{
    GString *text = g_string_new(NULL);

    for (gsize i = 0; i < n_names; i++) {
        if (names[i] != NULL && *names[i] != '\0')
            g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "", names[i]);
    }
    return g_string_free(text, FALSE);
}

gboolean
wk_name_parse(const char *const *names, gsize n_names, const char *what, const char *name,
              int *value, GError **error)
{
    g_autofree char *shown = NULL;
    g_autofree char *allowed = NULL;

    for (gsize i = 0; name != NULL && *name != '\0' && i < n_names; i++) {
        if (names[i] == NULL || !g_str_equal(names[i], name))
            continue;
        *value = (int)i;
        return TRUE;
    }
    shown = wk_name_printable(name);
    allowed = list_names(names, n_names);
    wk_error_set(error, WK_ERROR_INVALID, NULL, "%s '%s' is not known: use one of %s", what, shown,
                 allowed);
    return FALSE;
}

char *
wk_name_printable(const char *text)
{
    GString *out = g_string_new(NULL);

    for (const char *p = text; p != NULL && *p != '\0';) {
        const gunichar c = g_utf8_get_char_validated(p, -1);

        if (c == (gunichar)-1 || c == (gunichar)-2 || g_unichar_iscntrl(c)
            || g_unichar_type(c) == G_UNICODE_FORMAT || (c & 0xfffe) == 0xfffe) {
            g_string_append_printf(out, "\\x%02x", (guchar)*p);
            p++;
            continue;
        }
        g_string_append_unichar(out, c);
        p = g_utf8_next_char(p);
    }
    return g_string_free(out, FALSE);
}
