/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/table.h"

#include "base/names.h"

#include <string.h>

#define GAP 2 /* spaces between columns */

struct _WkCtlTable {
    guint n_columns;
    GPtrArray *rows; /* (element-type GStrv): the header is the first */
};

static guint
char_width(gunichar c)
{
    if (g_unichar_iszerowidth(c))
        return 0;
    return g_unichar_iswide(c) ? 2 : 1;
}

guint
wk_ctl_text_width(const char *text)
{
    guint width = 0;

    for (const char *p = text; *p != '\0'; p = g_utf8_next_char(p))
        width += char_width(g_utf8_get_char(p));
    return width;
}

char *
wk_ctl_text_cut(const char *text, guint columns)
{
    const char *p = text;
    guint width = 0;

    while (*p != '\0') {
        width += char_width(g_utf8_get_char(p));
        if (width > columns)
            break;
        p = g_utf8_next_char(p);
    }
    return g_strndup(text, (gsize)(p - text));
}

WkCtlTable *
wk_ctl_table_new(const char *const *headers)
{
    WkCtlTable *self = g_new0(WkCtlTable, 1);

    self->n_columns = g_strv_length((char **)headers);
    self->rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    wk_ctl_table_add(self, headers);
    return self;
}

void
wk_ctl_table_free(WkCtlTable *self)
{
    if (self == NULL)
        return;
    g_ptr_array_unref(self->rows);
    g_free(self);
}

void
wk_ctl_table_add(WkCtlTable *self, const char *const *cells)
{
    char **row = g_new0(char *, self->n_columns + 1);

    for (guint i = 0; i < self->n_columns; i++) {
        const char *cell = cells[i] != NULL && *cells[i] != '\0' ? cells[i] : "-";

        row[i] = wk_name_printable(cell);
    }
    g_ptr_array_add(self->rows, row);
}

static guint
column_width(const WkCtlTable *self, guint column)
{
    guint width = 0;

    for (guint i = 0; i < self->rows->len; i++) {
        char **row = g_ptr_array_index(self->rows, i);

        width = MAX(width, wk_ctl_text_width(row[column]));
    }
    return width;
}

char *
wk_ctl_table_format(const WkCtlTable *self)
{
    g_autofree guint *widths = g_new0(guint, self->n_columns);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < self->n_columns; i++)
        widths[i] = column_width(self, i);
    for (guint i = 0; i < self->rows->len; i++) {
        char **row = g_ptr_array_index(self->rows, i);

        for (guint k = 0; k + 1 < self->n_columns; k++) {
            const guint fill = widths[k] - wk_ctl_text_width(row[k]) + GAP;

            g_string_append_printf(text, "%s%*s", row[k], (int)fill, "");
        }
        g_string_append_printf(text, "%s\n", row[self->n_columns - 1]);
    }
    return g_string_free(text, FALSE);
}
