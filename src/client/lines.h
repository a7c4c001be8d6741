/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

#define WK_LINES_MAX (1024 * 1024) /* bytes of one line */

/* Cuts a stream of bytes into lines, each one JSON object. */
typedef struct _WkLines WkLines;

/* (transfer none). Returns: FALSE to take no more. */
typedef gboolean (*WkLinesFunc)(JsonObject *object, gpointer user_data);

WkLines *wk_lines_new(WkLinesFunc func, gpointer user_data);
void wk_lines_free(WkLines *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkLines, wk_lines_free)

/* Takes the next bytes, cut anywhere; empty lines are passed over. After @func said FALSE nothing
 * is taken any more (wk_lines_is_ended).
 * Returns: FALSE with WUKONG_ERROR_FAILED for a line that is too long or no JSON object. */
gboolean wk_lines_feed(WkLines *self, const char *data, gsize length, GError **error);

gboolean wk_lines_is_ended(const WkLines *self);

G_END_DECLS
