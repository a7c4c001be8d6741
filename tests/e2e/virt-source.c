/* SPDX-License-Identifier: Apache-2.0 */
/* Sources with a libvirtd that dies, hangs and comes back. */
#include "config.h"

#include "base/clock.h"
#include "base/error.h"
#include "virt/source.h"
#include "virt-fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

typedef struct {
    guint ups;
    guint downs;
    guint changes;
    char *uuid; /* NULL: of any */
} Seen;

static void
on_up(WkSource *source G_GNUC_UNUSED, gpointer data)
{
    ((Seen *)data)->ups++;
}

static void
on_down(WkSource *source G_GNUC_UNUSED, const char *why, gpointer data)
{
    print_message("down: %s\n", why);
    ((Seen *)data)->downs++;
}

static void
on_changed(WkSource *source G_GNUC_UNUSED, const char *uuid, gpointer data)
{
    Seen *seen = data;

    if (seen->uuid == NULL || g_str_equal(seen->uuid, uuid))
        seen->changes++;
}

static WkSource *
start_source(Seen *seen)
{
    static const WkSourceListener listener = { on_up, on_down, on_changed };
    static const WkSourceOptions options = {
        .name = "host", .uri = FIXTURE_URI, .long_calls = 4, .quick_calls = 2
    };
    WkSource *source = wk_source_new(&options, &listener, seen);

    wk_source_start(source);
    return source;
}

static gboolean
wait_for(const guint *number, guint least, guint timeout_ms)
{
    const gint64 end = wk_clock_mono_us() + (gint64)timeout_ms * 1000;

    while (*number < least && wk_clock_mono_us() < end) {
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
    }
    return *number >= least;
}

static void
test_reconnect(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("stays", NULL);
    Seen seen = { 0 };
    g_autoptr(WkSource) source = start_source(&seen);

    assert_true(wait_for(&seen.ups, 1, LAB_WAIT_MS));
    for (guint i = 1; i <= 3; i++) {
        g_autoptr(WkConnection) control = NULL;
        g_autoptr(WkConnection) work = NULL;
        g_auto(WkLook) look_seen = { 0 };

        lab_ok(lab_libvirtd_kill(&error));
        assert_true(wait_for(&seen.downs, i, LAB_WAIT_MS));
        assert_null(wk_source_borrow(source, WK_LANE_QUICK, NULL));
        lab_ok(lab_libvirtd_start(&error));
        assert_true(wait_for(&seen.ups, i + 1, LAB_WAIT_MS));
        lab_ok((control = wk_source_borrow(source, WK_LANE_QUICK, &error)) != NULL);
        lab_ok((work = wk_source_borrow(source, WK_LANE_LONG, &error)) != NULL);
        assert_ptr_not_equal(wk_connection_get(control), wk_connection_get(work));
        lab_ok(wk_domain_look(work, guest.uuid, &look_seen, &error));
        assert_int_equal(look_seen.power, WK_POWER_RUNNING);
    }
    wk_source_stop(source);
}

/* Each act of somebody else is heard of. */
static void
test_changes(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("heard", &fixture_big);
    Seen seen = { .uuid = guest.uuid };
    g_autoptr(WkSource) source = start_source(&seen);
    Call call = { .func = wk_domain_managed_save, .guest = &guest };

    assert_true(wait_for(&seen.ups, 1, LAB_WAIT_MS));
    lab_ok(wk_domain_suspend(guest.connection, guest.uuid, &error));
    assert_true(wait_for(&seen.changes, 1, LAB_WAIT_MS));
    lab_ok(wk_domain_set_op(guest.connection, guest.uuid, FIXTURE_OP, &error));
    assert_true(wait_for(&seen.changes, 2, LAB_WAIT_MS));
    fixture_call_start(&call);
    fixture_meet_job(&guest, &call, WK_POWER_PAUSED);
    lab_ok(wk_domain_abort_job(guest.connection, guest.uuid, &error));
    assert_false(fixture_call_join(&call));
    g_clear_error(&call.error);
    print_message("an aborted save of a paused guest is %s\n",
                  wait_for(&seen.changes, 3, 2000) ? "heard of" : "not heard of");
    lab_ok(wk_domain_destroy(guest.connection, guest.uuid, &error));
    assert_true(wait_for(&seen.changes, 3, LAB_WAIT_MS));
    wk_source_stop(source);
}

static guint answered;

static void
run_look(GTask *task, gpointer object G_GNUC_UNUSED, gpointer data,
         GCancellable *cancellable G_GNUC_UNUSED)
{
    g_autoptr(WkConnection) connection = wk_source_borrow(data, WK_LANE_QUICK, NULL);
    g_autoptr(GPtrArray) entries = NULL;

    if (connection != NULL)
        entries = wk_domain_list(connection, NULL);
    g_task_return_boolean(task, entries != NULL);
}

static void
on_look_done(GObject *object G_GNUC_UNUSED, GAsyncResult *result G_GNUC_UNUSED,
             gpointer data G_GNUC_UNUSED)
{
    answered++;
}

static void
push_look(WkSource *source)
{
    GTask *task = g_task_new(NULL, NULL, on_look_done, NULL);

    g_task_set_task_data(task, wk_source_ref(source), (GDestroyNotify)wk_source_unref);
    wk_source_push(source, WK_LANE_QUICK, task, run_look);
}

/* libvirtd hangs with calls on it: the main loop goes on, and what was given up ends later. */
static void
test_abandon_hung(void **state G_GNUC_UNUSED)
{
    Seen seen = { 0 };
    g_autoptr(WkSource) source = start_source(&seen);
    const GPid pid = lab_pid("libvirtd");
    gint64 before;

    answered = 0;
    assert_true(wait_for(&seen.ups, 1, LAB_WAIT_MS));
    assert_int_equal(kill(pid, SIGSTOP), 0);
    for (guint i = 0; i < 4; i++)
        push_look(source);
    assert_false(wait_for(&answered, 1, 500));
    before = wk_clock_mono_us();
    wk_source_abandon(source, "libvirtd hangs");
    assert_int_equal(seen.downs, 1);
    assert_true(wk_clock_mono_us() - before < G_USEC_PER_SEC);
    assert_true(wait_for(&answered, 2, LAB_WAIT_MS)); /* those that had not started: it is away */
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_true(wait_for(&seen.ups, 2, LAB_WAIT_MS));
    assert_true(wait_for(&answered, 4, LAB_WAIT_MS));
    wk_source_stop(source);
}

static guint
count_files(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    guint n = 0;

    while (dir != NULL && g_dir_read_name(dir) != NULL)
        n++;
    return n;
}

static gboolean
is_calm(gpointer data)
{
    const guint *files = data;

    return count_files("/proc/self/fd") <= files[0] && count_files("/proc/self/task") <= files[1];
}

/* Neither descriptors nor threads are left by 200 connections with events, and as many for work. */
static void
test_no_leak(void **state G_GNUC_UNUSED)
{
    guint files[2] = { 0 };

    for (guint i = 0; i < 200; i++) {
        Seen seen = { 0 };
        g_autoptr(WkSource) source = start_source(&seen);
        g_autoptr(WkConnection) work = NULL;

        assert_true(wait_for(&seen.ups, 1, LAB_WAIT_MS));
        lab_ok((work = wk_source_borrow(source, WK_LANE_LONG, &error)) != NULL);
        wk_source_stop(source);
        if (i == 5) {
            g_usleep(G_USEC_PER_SEC / 5);
            files[0] = count_files("/proc/self/fd") + 2;
            files[1] = count_files("/proc/self/task") + 2;
        }
    }
    lab_ok(lab_wait("closing connections", LAB_WAIT_MS, is_calm, files, &error));
}

static int
start_libvirtd(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_libvirtd_start(&error));
    wk_source_init_events();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_abandon_hung),
        cmocka_unit_test(test_no_leak),
    };

    return cmocka_run_group_tests_name("virt-source", tests, start_libvirtd, NULL);
}
