/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What every unit test includes: cmocka with what it needs, and checks of GErrors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

#include "base/error.h"

static inline void
unit_free_row(gpointer row)
{
    g_strfreev(row);
}

/* Cells of one line of a table, ticks and blanks taken off. */
static inline GStrv
unit_split_row(const char *line)
{
    GStrv cells = g_strsplit(line + 1, "|", -1);

    for (gsize i = 0; cells[i] != NULL; i++)
        g_strstrip(g_strdelimit(cells[i], "`", ' '));
    return cells;
}

/* Returns: (transfer full) (element-type GStrv): the rows of the table under the heading
 * "## @heading" of a document of this repository, without the table's head. */
static inline GPtrArray *
unit_read_table(const char *document, const char *heading)
{
    g_autofree char *path = g_build_filename(WK_TOP_SRCDIR, document, NULL);
    GPtrArray *rows = g_ptr_array_new_with_free_func(unit_free_row);
    g_auto(GStrv) lines = NULL;
    g_autofree char *text = NULL;
    gboolean inside = FALSE;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        fail_msg("cannot read '%s': run the test in the build folder", path);
    lines = g_strsplit(text, "\n", -1);
    for (gsize i = 0; lines[i] != NULL; i++) {
        if (g_str_has_prefix(lines[i], "## "))
            inside = g_str_equal(lines[i] + 3, heading);
        else if (inside && g_str_has_prefix(lines[i], "|--"))
            g_ptr_array_set_size(rows, 0);
        else if (inside && g_str_has_prefix(lines[i], "|"))
            g_ptr_array_add(rows, unit_split_row(lines[i]));
    }
    return rows;
}

/* Checks that @error is a WK_ERROR of @code whose message holds @fragment, and clears it. */
static inline void
unit_assert_error(GError **error, WkErrorCode code, const char *fragment)
{
    assert_non_null(*error);
    if (!g_error_matches(*error, WK_ERROR, (int)code))
        fail_msg("code %d was expected, got %d: %s", (int)code, (*error)->code, (*error)->message);
    if (strstr((*error)->message, fragment) == NULL)
        fail_msg("'%s' was expected in '%s'", fragment, (*error)->message);
    g_clear_error(error);
}
