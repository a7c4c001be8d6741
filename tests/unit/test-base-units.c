/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/clock.h"
#include "base/units.h"

#define REFUSED G_MAXUINT64

static const struct {
    const char *text;
    guint64 ms;
} durations[] = {
    { "250ms", 250 },
    { "0s", 0 },
    { "30s", 30000 },
    { "15m", 900000 },
    { "24h", 86400000 },
    { "7d", 604800000 },
    { "007s", 7000 },
    { "3653d", G_GUINT64_CONSTANT(315619200000) },
    { "3654d", REFUSED },
    { "99999999999999999999d", REFUSED },
    { "18446744073709551615ms", REFUSED },
    { "", REFUSED },
    { NULL, REFUSED },
    { "30", REFUSED },
    { "s", REFUSED },
    { "-1s", REFUSED },
    { "+1s", REFUSED },
    { " 1s", REFUSED },
    { "1s ", REFUSED },
    { "1 s", REFUSED },
    { "1.5s", REFUSED },
    { "1S", REFUSED },
    { "1h30m", REFUSED },
    { "0x10s", REFUSED },
};

static const struct {
    const char *text;
    guint64 bytes;
} sizes[] = {
    { "0", 0 },
    { "4096", 4096 },
    { "64K", 65536 },
    { "512M", 536870912 },
    { "2G", G_GUINT64_CONSTANT(2147483648) },
    { "1073741824G", G_GUINT64_CONSTANT(1) << 60 },
    { "1073741825G", REFUSED },
    { "18446744073709551615", REFUSED },
    { "99999999999999999999", REFUSED },
    { "", REFUSED },
    { NULL, REFUSED },
    { "K", REFUSED },
    { "-1", REFUSED },
    { "1k", REFUSED },
    { "1KB", REFUSED },
    { "1T", REFUSED },
    { "1.5G", REFUSED },
};

static void
test_durations(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(durations); i++) {
        const gboolean good = durations[i].ms != REFUSED;
        g_autoptr(GError) error = NULL;
        guint64 ms = 77;

        assert_int_equal(wk_units_parse_duration(durations[i].text, &ms, &error), good);
        assert_int_equal(ms, good ? durations[i].ms : 77);
        if (!good)
            unit_assert_error(&error, WK_ERROR_INVALID, "is not a duration");
    }
}

static void
test_sizes(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        const gboolean good = sizes[i].bytes != REFUSED;
        g_autoptr(GError) error = NULL;
        guint64 bytes = 77;

        assert_int_equal(wk_units_parse_size(sizes[i].text, &bytes, &error), good);
        assert_int_equal(bytes, good ? sizes[i].bytes : 77);
        if (!good)
            unit_assert_error(&error, WK_ERROR_INVALID, "is not a size");
    }
}

static void
test_format_bytes(void **state G_GNUC_UNUSED)
{
    static const struct {
        guint64 bytes;
        const char *text;
    } cases[] = {
        { 0, "0 B" },
        { 999, "999 B" },
        { 1000, "1.0 kB" },
        { 9949, "9.9 kB" },
        { 9950, "10 kB" },
        { 12345, "12 kB" },
        { 999499, "999 kB" },
        { 999500, "1.0 MB" },
        { 833877135, "834 MB" },
        { G_GUINT64_CONSTANT(1200000000), "1.2 GB" },
        { G_MAXUINT64, "18 EB" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = wk_units_format_bytes(cases[i].bytes);

        assert_string_equal(text, cases[i].text);
    }
}

static void
test_format_duration(void **state G_GNUC_UNUSED)
{
    static const struct {
        gint64 us;
        const char *text;
    } cases[] = {
        { 0, "0.0 s" },
        { 840000, "0.8 s" },
        { 9940000, "9.9 s" },
        { 9960000, "10 s" },
        { 12 * G_USEC_PER_SEC, "12 s" },
        { 59600000, "1 min 0 s" },
        { 200 * G_USEC_PER_SEC, "3 min 20 s" },
        { (gint64)7500 * G_USEC_PER_SEC, "2 h 5 min" },
        { (gint64)100 * 3600 * G_USEC_PER_SEC, "100 h 0 min" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = wk_units_format_duration(cases[i].us);

        assert_string_equal(text, cases[i].text);
    }
}

static void
test_clock(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *start = wk_clock_format(0);
    g_autofree char *then = wk_clock_format(G_GINT64_CONSTANT(1795377600999999));
    g_autofree char *never = wk_clock_format(G_MAXINT64);
    g_autofree char *boot = wk_clock_boot_id(&error);
    g_autofree char *boot_again = wk_clock_boot_id(NULL);
    g_autofree char *id = wk_clock_new_id();
    g_autofree char *other = wk_clock_new_id();

    assert_string_equal(start, "1970-01-01T00:00:00Z");
    assert_string_equal(then, "2026-11-22T20:00:00Z");
    assert_string_equal(never, ""); /* past GDateTime's end: nothing, never a crash */
    assert_null(error);
    assert_true(g_uuid_string_is_valid(boot));
    assert_string_equal(boot, boot_again);
    assert_true(g_uuid_string_is_valid(id));
    assert_string_not_equal(id, other);
    assert_true(wk_clock_mono_us() <= wk_clock_mono_us());
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),    cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_format_bytes), cmocka_unit_test(test_format_duration),
        cmocka_unit_test(test_clock),
    };

    return cmocka_run_group_tests_name("base-units", tests, NULL, NULL);
}
