/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/log.h"
#include "base/names.h"
#include "base/steps.h"
#include "model/types.h"

static const char *const words[] = { "", "one", NULL, "three" };

static void
test_name_of(void **state G_GNUC_UNUSED)
{
    assert_string_equal(wk_name_of(words, 4, 0), "");
    assert_string_equal(wk_name_of(words, 4, 3), "three");
    assert_string_equal(wk_name_of(words, 4, 2), "?");
    assert_string_equal(wk_name_of(words, 4, 4), "?");
    assert_string_equal(wk_name_of(words, 4, -1), "?");
}

static void
test_parse(void **state G_GNUC_UNUSED)
{
    static const char *const wrong[] = { "", "One", "one ", "two", NULL };
    g_autoptr(GError) error = NULL;
    int value = 77;

    assert_true(wk_name_parse(words, 4, "word", "three", &value, &error));
    assert_int_equal(value, 3);
    value = 77;
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        assert_false(wk_name_parse(words, 4, "word", wrong[i], &value, &error));
        assert_int_equal(value, 77);
        unit_assert_error(&error, WK_ERROR_INVALID, "is not known: use one of one, three");
    }
    assert_false(wk_name_parse(words, 4, "word", "a\nb", &value, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "word 'a\\x0ab'");
}

static void
test_printable(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *text;
        const char *shown;
    } cases[] = {
        { NULL, "" },
        { "", "" },
        { "web-1", "web-1" },
        { "Gr\xc3\xbc\xc3\x9f"
          "e",
          "Gr\xc3\xbc\xc3\x9f"
          "e" },
        { "a\nb\tc\x7f", "a\\x0ab\\x09c\\x7f" },
        { "\x1b[31mred", "\\x1b[31mred" },
        { "a\xff"
          "b",
          "a\\xffb" },                        /* not UTF-8 */
        { "cut \xe2\x82", "cut \\xe2\\x82" }, /* ends inside a character */
        { "\xc2\x9b"
          "31m",
          "\\xc2\\x9b31m" }, /* C1 control: CSI in one character */
        { "a\xe2\x80\xae"
          "b",
          "a\\xe2\\x80\\xaeb" }, /* turns the writing direction */
        { "a\xef\xbf\xbe"
          "b",
          "a\\xef\\xbf\\xbeb" }, /* no character: YAML can't hold it */
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *shown = wk_name_printable(cases[i].text);

        assert_string_equal(shown, cases[i].shown);
    }
}

/* Every value of an enumeration: its name leads back to it. The first @quiet values are "absent"
 * and can't be asked for. */
#define ROUND_TRIP(prefix, Type, quiet, count)                                                     \
    for (int i = 0; i < (count); i++) {                                                            \
        Type value = (Type)77;                                                                     \
        const gboolean known = prefix##_parse(prefix##_name((Type)i), &value, NULL);               \
                                                                                                   \
        assert_int_equal(known, i >= (quiet));                                                     \
        assert_int_equal(value, i >= (quiet) ? i : 77);                                            \
    }                                                                                              \
    assert_string_equal(prefix##_name((Type)(count)), "?");

static void
test_words_of_the_contract(void **state G_GNUC_UNUSED)
{
    ROUND_TRIP(wk_state, WkState, 0, 6)
    ROUND_TRIP(wk_target, WkTarget, 1, 3)
    ROUND_TRIP(wk_action, WkAction, 1, WK_ACTIONS)
    ROUND_TRIP(wk_fallback, WkFallback, 0, 3)
    ROUND_TRIP(wk_origin, WkOrigin, 1, 6)
    ROUND_TRIP(wk_ledger_state, WkLedgerState, 0, WK_LEDGER_STATES)
    ROUND_TRIP(wk_then, WkThen, 0, 3)
    ROUND_TRIP(wk_want, WkWant, 0, 5)
    ROUND_TRIP(wk_op_state, WkOpState, 0, 5)
    assert_string_equal(wk_state_name(WK_STATE_SUSPENDED), "Suspended");
    assert_string_equal(wk_target_name(WK_TARGET_NONE), "");
    assert_string_equal(wk_origin_name(WK_ORIGIN_MAINTENANCE), "maintenance");
    assert_string_equal(wk_ledger_state_name(WK_LEDGER_QUARANTINED), "quarantined");
    assert_string_equal(wk_power_name(WK_POWER_STOPPING), "shutting down");
    assert_string_equal(wk_power_name((WkPower)(WK_POWER_STOPPING + 1)), "?");
}

static void
test_final_states(void **state G_GNUC_UNUSED)
{
    assert_false(wk_op_state_is_final(WK_OP_QUEUED));
    assert_false(wk_op_state_is_final(WK_OP_RUNNING));
    assert_true(wk_op_state_is_final(WK_OP_SUCCEEDED));
    assert_true(wk_op_state_is_final(WK_OP_FAILED));
    assert_true(wk_op_state_is_final(WK_OP_CANCELLED));
}

/* "crashed" is a guest whose QEMU is kept after a panic (libvirt: active): it still has its disks
 * open. A guest whose crash ended it is off. */
static void
test_active(void **state G_GNUC_UNUSED)
{
    for (int power = WK_POWER_ABSENT; power <= WK_POWER_STOPPING; power++) {
        const gboolean active = power != WK_POWER_ABSENT && power != WK_POWER_OFF;

        assert_int_equal(wk_power_is_active((WkPower)power), active);
    }
}

static void
test_steps(void **state G_GNUC_UNUSED)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

    for (int step = 0; step < WK_STEP_COUNT; step++) {
        const char *name = wk_step_name((WkStep)step);

        assert_true(g_hash_table_add(names, (gpointer)name));
        assert_true(strcspn(name, ":=, ") == strlen(name)); /* WK_FAILPOINT splits at these */
        assert_true(*wk_step_text((WkStep)step) != '\0');
    }
    assert_string_equal(wk_step_name(WK_STEP_SAVE_LINK_HOLD), "save.link-hold");
    assert_string_equal(wk_step_name(WK_STEP_NONE), "");
    assert_string_equal(wk_step_text(WK_STEP_NONE), "");
    assert_string_equal(wk_step_name(WK_STEP_COUNT), "");
}

static void
test_log_levels(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    WkLogLevel level = WK_LOG_INFO;

    assert_true(wk_log_parse_level("debug", &level, &error));
    assert_int_equal(level, WK_LOG_DEBUG);
    assert_false(wk_log_parse_level("loud", &level, &error));
    assert_int_equal(level, WK_LOG_DEBUG);
    unit_assert_error(&error, WK_ERROR_INVALID, "error, warning, info, debug");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_of),      cmocka_unit_test(test_parse),
        cmocka_unit_test(test_printable),    cmocka_unit_test(test_words_of_the_contract),
        cmocka_unit_test(test_final_states), cmocka_unit_test(test_active),
        cmocka_unit_test(test_steps),        cmocka_unit_test(test_log_levels),
    };

    return cmocka_run_group_tests_name("base-names", tests, NULL, NULL);
}
