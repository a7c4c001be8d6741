/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/run.h"

static void
test_fresh(void **state G_GNUC_UNUSED)
{
    char id[] = "op-1";
    g_autoptr(WkRun) run = wk_run_new(id, "guest");
    guint64 done = 1, total = 1;

    id[0] = 'X';
    assert_string_equal(wk_run_get_id(run), "op-1");
    assert_string_equal(wk_run_get_guest(run), "guest");
    assert_int_equal(wk_run_get_step(run), WK_STEP_NONE);
    assert_false(wk_run_is_cancelled(run));
    assert_true(wk_run_check(run, NULL));
    wk_run_get_progress(run, &done, &total);
    assert_int_equal(done, 0);
    assert_int_equal(total, 0);
    wk_run_unref(NULL);
}

static void
test_steps_and_progress(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkRun) run = wk_run_new("op", "guest");
    g_autoptr(WkRun) other = wk_run_ref(run);
    g_autoptr(GError) error = NULL;
    guint64 done, total;

    assert_true(wk_run_step(run, WK_STEP_SAVE_LINK_HOLD, &error));
    assert_int_equal(wk_run_get_step(other), WK_STEP_SAVE_LINK_HOLD);
    wk_run_set_progress(run, 5, G_MAXUINT64);
    wk_run_get_progress(other, &done, &total);
    assert_int_equal(done, 5);
    assert_true(total == G_MAXUINT64);
}

/* A cancel asks; steps that follow (putting things back) must still be possible. */
static void
test_cancel(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkRun) run = wk_run_new("op", "guest");
    g_autoptr(GError) error = NULL;

    wk_run_cancel(run, "100 % wanted elsewhere");
    wk_run_cancel(run, "second");
    assert_true(wk_run_is_cancelled(run));
    assert_false(wk_run_check(run, &error));
    unit_assert_error(&error, WK_ERROR_CANCELLED, "100 % wanted elsewhere");
    assert_true(wk_run_step(run, WK_STEP_ABORT_RESUME, &error));
}

static void
test_abandoned_changes_nothing(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkRun) run = wk_run_new("op-9", "guest");
    g_autoptr(GError) error = NULL;

    assert_true(wk_run_step(run, WK_STEP_SAVE_MANAGED_SAVE, &error));
    wk_run_abandon(run);
    assert_false(wk_run_step(run, WK_STEP_SAVE_LINK_HOLD, &error));
    unit_assert_error(&error, WK_ERROR_CANCELLED, "op-9 was given up");
    assert_int_equal(wk_run_get_step(run), WK_STEP_SAVE_MANAGED_SAVE);
}

#define ROUNDS 20000

/* Progress is one value: done and total always belong together. */
static gpointer
write_progress(gpointer data)
{
    g_autoptr(WkRun) run = data;

    for (guint64 i = 1; i <= ROUNDS; i++)
        wk_run_set_progress(run, i, 2 * i);
    wk_run_cancel(run, "end");
    return NULL;
}

static void
test_two_threads(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkRun) run = wk_run_new("op", "guest");
    GThread *writer = g_thread_new("writer", write_progress, wk_run_ref(run));
    gboolean torn = FALSE;
    guint64 done, total;

    while (!wk_run_is_cancelled(run)) {
        wk_run_get_progress(run, &done, &total);
        torn = torn || total != 2 * done;
    }
    g_thread_join(writer);
    assert_false(torn);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh),       cmocka_unit_test(test_steps_and_progress),
        cmocka_unit_test(test_cancel),      cmocka_unit_test(test_abandoned_changes_nothing),
        cmocka_unit_test(test_two_threads),
    };

    return cmocka_run_group_tests_name("base-run", tests, NULL, NULL);
}
