/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Aligned columns for people. */
typedef struct _WkCtlTable WkCtlTable;

/* @headers: NULL-ended and static. */
WkCtlTable *wk_ctl_table_new(const char *const *headers);
void wk_ctl_table_free(WkCtlTable *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkCtlTable, wk_ctl_table_free)

/* Adds a row of as many @cells as there are headers; they are copied and made printable. An empty
 * or NULL one is shown as "-". */
void wk_ctl_table_add(WkCtlTable *self, const char *const *cells);

/* Returns: (transfer full): header and rows, each ended by a newline, no spaces at line ends. */
char *wk_ctl_table_format(const WkCtlTable *self);

/* Columns that @text takes on a terminal. */
guint wk_ctl_text_width(const char *text);

/* Returns: (transfer full): the beginning of @text that takes at most @columns. */
char *wk_ctl_text_cut(const char *text, guint columns);

G_END_DECLS
