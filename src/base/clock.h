/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Wall-clock time in microseconds since 1970; for what is shown or must outlive a reboot. */
gint64 wk_clock_real_us(void);

/* Monotonic time in microseconds; for every wait and duration inside one life of the process. */
gint64 wk_clock_mono_us(void);

/* Returns: (transfer full): RFC 3339 in UTC, whole seconds: "2026-11-22T20:00:00Z". */
char *wk_clock_format(gint64 real_us);

/* Returns: (transfer full): this boot's id from /proc, or NULL with WK_ERROR_FAILED. */
char *wk_clock_boot_id(GError **error);

/* Returns: (transfer full): a fresh random id, 36 characters, lower case UUID. */
char *wk_clock_new_id(void);

G_END_DECLS
