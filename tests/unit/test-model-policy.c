/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "model/operation.h"
#include "model/policy.h"

#define MB G_GUINT64_CONSTANT(1000000)

static void
test_timeouts(void **state G_GNUC_UNUSED)
{
    static const struct {
        WkAction action;
        WkTarget target;
        guint64 bytes;
        guint timeout_s;
    } cases[] = {
        { WK_ACTION_SUSPEND, WK_TARGET_MEMORY, 0, 60 },
        { WK_ACTION_SUSPEND, WK_TARGET_MEMORY, 100 * 1000 * MB, 60 },
        { WK_ACTION_RESUME, WK_TARGET_MEMORY, 0, 120 },
        { WK_ACTION_RESUME, WK_TARGET_MEMORY, 100 * 1000 * MB, 120 },
        { WK_ACTION_SUSPEND, WK_TARGET_DISK, 0, 120 },
        { WK_ACTION_SUSPEND, WK_TARGET_DISK, 20 * MB, 121 },
        { WK_ACTION_SUSPEND, WK_TARGET_DISK, 4000 * MB, 320 },
        { WK_ACTION_RESUME, WK_TARGET_DISK, 4000 * MB, 320 },
        { WK_ACTION_SUSPEND, WK_TARGET_DISK, G_MAXUINT64, WK_TIMEOUT_MAX_S },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_int_equal(wk_policy_timeout_s(cases[i].action, cases[i].target, cases[i].bytes),
                         cases[i].timeout_s);
}

static void
test_backoff(void **state G_GNUC_UNUSED)
{
    static const guint wanted_ms[] = { 1000,  1000,  2000,   4000,   8000,   16000,
                                       32000, 64000, 128000, 256000, 300000, 300000 };

    for (guint i = 0; i < G_N_ELEMENTS(wanted_ms); i++)
        assert_int_equal(wk_policy_backoff_ms(i), wanted_ms[i]);
    assert_int_equal(wk_policy_backoff_ms(G_MAXUINT), 300000);
}

static void
test_image_bytes(void **state G_GNUC_UNUSED)
{
    const guint64 gib = G_GUINT64_CONSTANT(1) << 30;

    assert_true(wk_policy_image_bytes(0) == 64 << 20);
    assert_true(wk_policy_image_bytes(1 << 20) > gib + gib / 20);
    assert_true(wk_policy_image_bytes(1 << 20) < gib + gib / 5);
    for (guint64 kib = 1; kib < G_GUINT64_CONSTANT(1) << 34; kib *= 3) /* up to 16 TiB */
        assert_true(wk_policy_image_bytes(kib) > kib * 1024);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_image_bytes),
    };

    return cmocka_run_group_tests_name("model-policy", tests, NULL, NULL);
}
