/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "ctl/options.h"

static void
test_merge(void **state G_GNUC_UNUSED)
{
    static const struct {
        int statuses[4]; /* ends with -1 */
        int merged;
    } cases[] = {
        { { -1 }, 0 },       { { 0, 0, -1 }, 0 },    { { 6, -1 }, 6 },    { { 0, 6, 0, -1 }, 6 },
        { { 4, 4, -1 }, 4 }, { { 6, 0, 6, -1 }, 6 }, { { 4, 6, -1 }, 1 }, { { 4, 6, 4, -1 }, 1 },
        { { 1, 4, -1 }, 1 }, { { 0, 4, 1, -1 }, 1 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        int status = WK_EXIT_DONE;

        for (gsize k = 0; cases[i].statuses[k] >= 0; k++)
            status = wk_ctl_status_merge(status, cases[i].statuses[k]);
        assert_int_equal(status, cases[i].merged);
    }
}

static void
test_of_error(void **state G_GNUC_UNUSED)
{
    const struct {
        GQuark domain;
        int code;
        int status;
    } cases[] = {
        { WUKONG_ERROR, WUKONG_ERROR_FAILED, 1 },
        { WUKONG_ERROR, WUKONG_ERROR_INVALID, 2 },
        { WUKONG_ERROR, WUKONG_ERROR_NOT_FOUND, 4 },
        { WUKONG_ERROR, WUKONG_ERROR_UNREACHABLE, 5 },
        { WUKONG_ERROR, WUKONG_ERROR_REFUSED, 6 },
        { G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, 2 },
        { WK_ERROR, WK_ERROR_INVALID, 2 },
        { WK_ERROR, WK_ERROR_CONFLICT, 1 },
        { G_IO_ERROR, G_IO_ERROR_FAILED, 1 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = g_error_new_literal(cases[i].domain, cases[i].code, "x");

        assert_int_equal(wk_ctl_status_of(error), cases[i].status);
    }
}

static void
test_timeout(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *text;
        guint min;
        int seconds; /* -1: refused */
    } cases[] = {
        { "1", 1, 1 },      { "86400", 1, 86400 }, { "90s", 1, 90 },
        { "5m", 1, 300 },   { "24h", 1, 86400 },   { "0", 0, 0 },
        { "0", 1, -1 },     { "-1", 0, -1 },       { "-5", 1, -1 },
        { "86401", 1, -1 }, { "2d", 1, -1 },       { "1500ms", 1, -1 },
        { "2000ms", 1, 2 }, { "", 1, -1 },         { "soon", 1, -1 },
        { "1.5", 1, -1 },   { "1e3", 1, -1 },      { " 1", 1, -1 },
        { "+1", 1, -1 },    { "0x10", 1, -1 },     { "99999999999999999999999", 1, -1 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        guint seconds = 77;
        const gboolean good = wk_ctl_parse_timeout(cases[i].text, cases[i].min, &seconds, &error);

        if (good != (cases[i].seconds >= 0))
            fail_msg("'%s'", cases[i].text);
        assert_int_equal(seconds, good ? cases[i].seconds : 77);
        if (!good)
            assert_non_null(strstr(error->message, "--timeout"));
    }
}

static void
test_word(void **state G_GNUC_UNUSED)
{
    static const char *const targets[] = { "memory", "disk", NULL };
    g_autoptr(GError) error = NULL;

    assert_true(wk_ctl_check_word("--to", NULL, targets, NULL));
    assert_true(wk_ctl_check_word("--to", "disk", targets, NULL));
    assert_false(wk_ctl_check_word("--to", "Disk", targets, NULL));
    assert_false(wk_ctl_check_word("--to", "floppy", targets, &error));
    assert_string_equal(error->message, "--to: 'floppy' is not known: use one of memory, disk");
}

static void
test_help_names_all(void **state G_GNUC_UNUSED)
{
    g_autofree char *text = wk_ctl_describe_commands();

    for (gsize i = 0; wk_commands[i] != NULL; i++) {
        g_autofree char *start = g_strdup_printf("\n  %s ", wk_commands[i]->name);

        assert_non_null(strstr(text, start));
        assert_non_null(wk_commands[i]->run);
        assert_non_null(wk_commands[i]->summary);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),          cmocka_unit_test(test_of_error),
        cmocka_unit_test(test_timeout),        cmocka_unit_test(test_word),
        cmocka_unit_test(test_help_names_all),
    };

    return cmocka_run_group_tests_name("ctl-status", tests, NULL, NULL);
}
