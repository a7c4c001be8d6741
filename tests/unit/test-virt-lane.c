/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "virt/lane.h"
#include "virt/workset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* A gate that stuck tasks wait at, and what the tasks did. */
static GMutex lock;
static GCond changed;
static gboolean open_gate;
static guint running;
static guint most_running;
static GString *started;  /* one letter a task, as they started */
static GString *finished; /* the same, as their results came; 'x' for one that failed */

static int
setup(void **state G_GNUC_UNUSED)
{
    open_gate = FALSE;
    running = 0;
    most_running = 0;
    started = g_string_new(NULL);
    finished = g_string_new(NULL);
    return 0;
}

static int
teardown(void **state G_GNUC_UNUSED)
{
    g_string_free(started, TRUE);
    g_string_free(finished, TRUE);
    return 0;
}

static void
set_gate(gboolean is_open)
{
    g_mutex_lock(&lock);
    open_gate = is_open;
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
}

/* Worker. Letters above 'Z' wait at the gate. */
static void
work(GTask *task, gpointer object G_GNUC_UNUSED, gpointer data,
     GCancellable *cancellable G_GNUC_UNUSED)
{
    const char letter = (char)GPOINTER_TO_INT(data);

    g_mutex_lock(&lock);
    g_string_append_c(started, letter);
    running++;
    most_running = MAX(most_running, running);
    g_cond_broadcast(&changed);
    while (letter > 'Z' && !open_gate)
        g_cond_wait(&changed, &lock);
    running--;
    g_mutex_unlock(&lock);
    g_task_return_boolean(task, TRUE);
}

static void
on_done(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;

    if (g_task_propagate_boolean(G_TASK(result), &error)) {
        g_string_append_c(finished, (char)GPOINTER_TO_INT(data));
        return;
    }
    g_string_append_c(finished, error->domain == WK_ERROR ? 'x' : 'c');
    if (error->domain == WK_ERROR)
        assert_int_equal(error->code, WK_ERROR_UNAVAILABLE);
}

static void
push(WkTaskLane *lane, char letter, GCancellable *cancellable)
{
    GTask *task = g_task_new(NULL, cancellable, on_done, GINT_TO_POINTER(letter));

    g_task_set_task_data(task, GINT_TO_POINTER(letter), NULL);
    wk_task_lane_push(lane, task, work);
}

static void
push_all(WkTaskLane *lane, const char *letters)
{
    for (; *letters != '\0'; letters++)
        push(lane, *letters, NULL);
}

static void
wait_started(gsize n)
{
    g_mutex_lock(&lock);
    while (started->len < n)
        g_cond_wait(&changed, &lock);
    g_mutex_unlock(&lock);
}

static void
wait_finished(gsize n)
{
    while (finished->len < n)
        g_main_context_iteration(NULL, TRUE);
}

static void
test_order(void **state G_GNUC_UNUSED)
{
    WkTaskLane *lane = wk_task_lane_new(1);

    push_all(lane, "ABCDEFGH");
    wait_finished(8);
    assert_string_equal(started->str, "ABCDEFGH");
    assert_string_equal(finished->str, "ABCDEFGH");
    wk_task_lane_free(lane);
}

static void
test_bounded(void **state G_GNUC_UNUSED)
{
    WkTaskLane *lane = wk_task_lane_new(3);

    push_all(lane, "abcdefgh");
    wait_started(3);
    set_gate(TRUE);
    wait_finished(8);
    assert_int_equal(most_running, 3);
    wk_task_lane_free(lane);
}

/* Two threads stuck, three tasks wait: they run in new threads, in order; what was stuck ends. */
static void
test_renew(void **state G_GNUC_UNUSED)
{
    WkTaskLane *lane = wk_task_lane_new(2);

    push_all(lane, "abABC");
    wait_started(2);
    wk_task_lane_renew(lane);
    wait_finished(3);
    assert_int_equal(started->len, 5);
    assert_int_equal(running, 2);
    push_all(lane, "D");
    wait_finished(4);
    set_gate(TRUE);
    wait_finished(6);
    push_all(lane, "E");
    wait_finished(7);
    assert_int_equal(finished->str[6], 'E');
    wk_task_lane_free(lane);
}

/* A thread that comes back after all takes nothing more: the lane's bound stays the new pool's. */
static void
test_renewed_bound(void **state G_GNUC_UNUSED)
{
    WkTaskLane *lane = wk_task_lane_new(1);

    push_all(lane, "aABC");
    wait_started(1);
    wk_task_lane_renew(lane);
    set_gate(TRUE);
    wait_finished(4);
    assert_string_equal(started->str, "aABC");
    wk_task_lane_free(lane);
}

static void
test_stop(void **state G_GNUC_UNUSED)
{
    WkTaskLane *lane = wk_task_lane_new(1);

    push_all(lane, "aAB");
    wait_started(1);
    wk_task_lane_stop(lane);
    wait_finished(2);
    assert_string_equal(finished->str, "xx");
    push_all(lane, "C");
    wk_task_lane_renew(lane);
    wait_finished(3);
    assert_string_equal(finished->str, "xxx");
    wk_task_lane_free(lane);
    set_gate(TRUE); /* the thread outlives the lane */
    wait_finished(4);
    assert_string_equal(finished->str, "xxxa");
    assert_string_equal(started->str, "a");
}

static void
test_cancelled(void **state G_GNUC_UNUSED)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    WkTaskLane *lane = wk_task_lane_new(1);

    push(lane, 'a', NULL);
    push(lane, 'A', cancellable);
    wait_started(1);
    g_cancellable_cancel(cancellable);
    set_gate(TRUE);
    wait_finished(2);
    assert_string_equal(finished->str, "ac");
    wk_task_lane_free(lane);
}

#define PLACES 4

static void
test_places(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkWorkset) set = wk_workset_new("test:///default", PLACES);
    WkConnection *lent[PLACES + 1];

    for (gsize i = 0; i < G_N_ELEMENTS(lent); i++) {
        lent[i] = wk_workset_borrow(set, NULL);
        assert_non_null(lent[i]);
        if (i > 0 && i < PLACES)
            assert_ptr_equal(wk_connection_get(lent[i]), wk_connection_get(lent[0]));
    }
    assert_ptr_not_equal(wk_connection_get(lent[PLACES]), wk_connection_get(lent[0]));
    wk_connection_unref(lent[1]);
    lent[1] = wk_workset_borrow(set, NULL);
    assert_ptr_equal(wk_connection_get(lent[1]), wk_connection_get(lent[0]));
    for (gsize i = 0; i < G_N_ELEMENTS(lent); i++)
        wk_connection_unref(lent[i]);
}

/* Another reference to what was lent is not another loan. */
static void
test_lease_references(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkWorkset) set = wk_workset_new("test:///default", 1);
    g_autoptr(WkConnection) a = wk_workset_borrow(set, NULL);
    g_autoptr(WkConnection) a2 = wk_connection_ref(a);
    g_autoptr(WkConnection) b = NULL;

    g_clear_pointer(&a, wk_connection_unref);
    b = wk_workset_borrow(set, NULL);
    assert_ptr_not_equal(wk_connection_get(b), wk_connection_get(a2));
    g_clear_pointer(&a2, wk_connection_unref);
    a = wk_workset_borrow(set, NULL);
    assert_ptr_not_equal(wk_connection_get(b), wk_connection_get(a));
}

static void
test_closed(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkWorkset) set = wk_workset_new("test:///default", PLACES);
    g_autoptr(WkConnection) lent = wk_workset_borrow(set, NULL);
    g_autoptr(GError) error = NULL;

    wk_workset_close(set);
    assert_null(wk_workset_borrow(set, &error));
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_UNAVAILABLE));
    g_clear_pointer(&set, wk_workset_unref);
    assert_int_equal(virConnectIsAlive(wk_connection_get(lent)), 1);
}

static void
test_unreachable(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkWorkset) set = wk_workset_new("test:///nowhere.xml", PLACES);
    g_autoptr(GError) error = NULL;

    assert_null(wk_workset_borrow(set, &error));
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_UNAVAILABLE));
}

static gpointer
borrow_often(gpointer data)
{
    guint failed = 0;

    for (guint i = 0; i < 100; i++) {
        g_autoptr(WkConnection) lent = wk_workset_borrow(data, NULL);

        if (lent == NULL || virConnectIsAlive(wk_connection_get(lent)) != 1)
            failed++;
    }
    return GUINT_TO_POINTER(failed);
}

static void
test_many_borrow(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkWorkset) set = wk_workset_new("test:///default", 2);
    GThread *threads[8];

    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("borrow", borrow_often, set);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        assert_null(g_thread_join(threads[i]));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renewed_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled, setup, teardown),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_lease_references),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_many_borrow),
    };

    return cmocka_run_group_tests_name("virt-lane", tests, NULL, NULL);
}
