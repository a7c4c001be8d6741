/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/units.h"

#include "base/error.h"

#include <math.h>

typedef struct {
    const char *suffix;
    guint64 factor;
} Unit;

static const Unit duration_units[] = {
    { "ms", 1 },
    { "s", 1000 },
    { "m", 60 * 1000 },
    { "h", 60 * 60 * 1000 },
    { "d", 24 * 60 * 60 * 1000 },
};

static const Unit size_units[] = {
    { "", 1 },
    { "K", G_GUINT64_CONSTANT(1) << 10 },
    { "M", G_GUINT64_CONSTANT(1) << 20 },
    { "G", G_GUINT64_CONSTANT(1) << 30 },
};

#define DURATION_MAX_MS (G_GUINT64_CONSTANT(3653) * 24 * 60 * 60 * 1000)
#define SIZE_MAX_BYTES  (G_GUINT64_CONSTANT(1) << 60)

static gboolean
parse(const char *text, const Unit *units, gsize n_units, guint64 max, guint64 *value)
{
    guint64 number;
    char *rest = NULL;

    if (text == NULL || !g_ascii_isdigit(*text))
        return FALSE;
    number = g_ascii_strtoull(text, &rest, 10);
    for (gsize i = 0; i < n_units; i++) {
        if (!g_str_equal(rest, units[i].suffix))
            continue;
        if (number > max / units[i].factor)
            return FALSE;
        *value = number * units[i].factor;
        return TRUE;
    }
    return FALSE;
}

gboolean
wk_units_parse_duration(const char *text, guint64 *ms, GError **error)
{
    if (parse(text, duration_units, G_N_ELEMENTS(duration_units), DURATION_MAX_MS, ms))
        return TRUE;
    wk_error_set(error, WK_ERROR_INVALID, NULL,
                 "'%s' is not a duration: write a whole number and ms, s, m, h or d, as in '30s'",
                 text != NULL ? text : "");
    return FALSE;
}

gboolean
wk_units_parse_size(const char *text, guint64 *bytes, GError **error)
{
    if (parse(text, size_units, G_N_ELEMENTS(size_units), SIZE_MAX_BYTES, bytes))
        return TRUE;
    wk_error_set(
        error, WK_ERROR_INVALID, NULL,
        "'%s' is not a size: write a whole number of bytes, or with K, M or G, as in '64M'",
        text != NULL ? text : "");
    return FALSE;
}

char *
wk_units_format_bytes(guint64 bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
    double value = (double)bytes;
    gsize i = 0;

    while (value >= 999.5 && i + 1 < G_N_ELEMENTS(units)) {
        value /= 1000;
        i++;
    }
    return g_strdup_printf("%.*f %s", i > 0 && value < 9.95 ? 1 : 0, value, units[i]);
}

char *
wk_units_format_duration(gint64 us)
{
    const double s = (double)us / G_USEC_PER_SEC;
    const gint64 whole = (gint64)llround(s);

    if (s < 9.95)
        return g_strdup_printf("%.1f s", s);
    if (whole < 60)
        return g_strdup_printf("%" G_GINT64_FORMAT " s", whole);
    if (whole < 3600)
        return g_strdup_printf("%" G_GINT64_FORMAT " min %" G_GINT64_FORMAT " s", whole / 60,
                               whole % 60);
    return g_strdup_printf("%" G_GINT64_FORMAT " h %" G_GINT64_FORMAT " min", whole / 3600,
                           whole % 3600 / 60);
}
