/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/clock.h"

#include "base/error.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

gint64
wk_clock_real_us(void)
{
    return g_get_real_time();
}

gint64
wk_clock_mono_us(void)
{
    return g_get_monotonic_time();
}

char *
wk_clock_format(gint64 real_us)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(real_us / G_USEC_PER_SEC);

    return time != NULL ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ") : g_strdup("");
}

char *
wk_clock_boot_id(GError **error)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(BOOT_ID_PATH, &text, NULL, error))
        return NULL;
    g_strstrip(text);
    if (!g_uuid_string_is_valid(text)) {
        wk_error_set(error, WK_ERROR_FAILED, NULL, "%s holds no boot id", BOOT_ID_PATH);
        return NULL;
    }
    return g_steal_pointer(&text);
}

char *
wk_clock_new_id(void)
{
    return g_uuid_string_random();
}
