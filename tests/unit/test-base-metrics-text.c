/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/metrics_text.h"
#include "unit.h"

#include <math.h>

static void
test_families(void **state)
{
    g_autoptr(WkMetricsText) text = wk_metrics_text_new();

    (void)state;
    wk_metrics_text_family(text, "wukong_guests", "gauge", "Guests.");
    wk_metrics_text_add(text, 2, "state", "Running", NULL);
    wk_metrics_text_add(text, 0, "state", "Stopped", "of", NULL, NULL);
    wk_metrics_text_family(text, "wukong_age", "gauge", "Age.");
    wk_metrics_text_add(text, INFINITY, NULL);
    assert_string_equal(wk_metrics_text_get(text),
                        "# HELP wukong_guests Guests.\n# TYPE wukong_guests gauge\n"
                        "wukong_guests{state=\"Running\"} 2\n"
                        "wukong_guests{state=\"Stopped\",of=\"\"} 0\n"
                        "# HELP wukong_age Age.\n# TYPE wukong_age gauge\n"
                        "wukong_age +Inf\n");
}

static void
test_numbers(void **state)
{
    static const struct {
        double value;
        const char *line;
    } rows[] = {
        { 0.25, "x 0.25\n" },
        { 833877135.0, "x 833877135\n" },
        { 1099511627776.0, "x 1099511627776\n" },
        { -INFINITY, "x -Inf\n" },
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(WkMetricsText) text = wk_metrics_text_new();

        wk_metrics_text_family(text, "x", "gauge", "X.");
        wk_metrics_text_add(text, rows[i].value, NULL);
        assert_true(g_str_has_suffix(wk_metrics_text_get(text), rows[i].line));
    }
}

/* A reason or a source's name can't break out of its label. */
static void
test_escapes(void **state)
{
    g_autoptr(WkMetricsText) text = wk_metrics_text_new();

    (void)state;
    wk_metrics_text_family(text, "x", "counter", "X.");
    wk_metrics_text_add_part(text, "_total", 1, "source", "a\"b\\c\nd", NULL);
    assert_non_null(strstr(wk_metrics_text_get(text), "\nx_total{source=\"a\\\"b\\\\c\\nd\"} 1\n"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_escapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
