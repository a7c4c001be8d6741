/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* "250ms", "30s", "15m", "24h", "7d" -> milliseconds, at most 10 years.
 * Returns: FALSE with WK_ERROR_INVALID, which says what was expected; @ms untouched then. */
gboolean wk_units_parse_duration(const char *text, guint64 *ms, GError **error);

/* "4096", "64K", "512M", "2G" (powers of 1024) -> bytes. */
gboolean wk_units_parse_size(const char *text, guint64 *bytes, GError **error);

/* Returns: (transfer full): "834 MB", "12 kB": decimal, three digits, for people. */
char *wk_units_format_bytes(guint64 bytes);

/* Returns: (transfer full): "0.8 s", "12 s", "3 min 20 s", "2 h 5 min": for people. */
char *wk_units_format_duration(gint64 us);

G_END_DECLS
