/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/clock.h"
#include "base/error.h"
#include "virt/domain.h"
#include "virt/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define UUID    "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define WAIT_MS 20000

/* What a listener saw. */
typedef struct {
    guint ups;
    guint downs;
    guint changes;
    char *why;
    char *uuid;
    gboolean stop_in_up;
    gboolean stop_in_down;
    gboolean stop_in_changed;
} Seen;

static void
on_up(WkSource *source, gpointer data)
{
    Seen *seen = data;

    assert_true(wk_source_is_up(source));
    seen->ups++;
    if (seen->stop_in_up)
        wk_source_stop(source);
}

static void
on_down(WkSource *source, const char *why, gpointer data)
{
    Seen *seen = data;

    assert_false(wk_source_is_up(source));
    seen->downs++;
    g_free(seen->why);
    seen->why = g_strdup(why);
    if (seen->stop_in_down)
        wk_source_stop(source);
}

static void
on_changed(WkSource *source, const char *uuid, gpointer data)
{
    Seen *seen = data;

    seen->changes++;
    g_free(seen->uuid);
    seen->uuid = g_strdup(uuid);
    if (seen->stop_in_changed)
        wk_source_stop(source);
}

static const WkSourceListener listener = { on_up, on_down, on_changed };

static WkSource *
source_new(const char *uri, Seen *seen)
{
    const WkSourceOptions options = {
        .name = "host", .uri = uri, .save_dir = "auto", .long_calls = 2, .quick_calls = 1
    };

    return wk_source_new(&options, &listener, seen);
}

static void
seen_clear(Seen *seen)
{
    g_free(seen->why);
    g_free(seen->uuid);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Seen, seen_clear)

/* Turns the main loop until *@number is at least @least. */
static gboolean
wait_for(const guint *number, guint least)
{
    const gint64 end = wk_clock_mono_us() + WAIT_MS * 1000;

    while (*number < least && wk_clock_mono_us() < end) {
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
    }
    return *number >= least;
}

static void
turn_for(guint ms)
{
    const gint64 end = wk_clock_mono_us() + (gint64)ms * 1000;

    while (wk_clock_mono_us() < end) {
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(1000);
    }
}

static void
test_up(void **state G_GNUC_UNUSED)
{
    g_auto(Seen) seen = { 0 };
    g_autoptr(WkSource) source = source_new("test:///default", &seen);
    g_autoptr(WkConnection) one = NULL;
    g_autoptr(WkConnection) two = NULL;

    assert_string_equal(wk_source_get_name(source), "host");
    assert_string_equal(wk_source_get_uri(source), "test:///default");
    assert_null(wk_source_get_save_dir(source));
    assert_null(wk_source_get_autostart_dir(source));
    assert_false(wk_source_is_up(source));
    assert_false(wk_source_was_tried(source));
    wk_source_start(source);
    assert_true(wait_for(&seen.ups, 1));
    assert_true(wk_source_was_tried(source));
    one = wk_source_borrow(source, WK_LANE_QUICK, NULL);
    two = wk_source_borrow(source, WK_LANE_LONG, NULL);
    assert_ptr_equal(wk_connection_get(one), wk_connection_get(two));
    wk_source_stop(source);
    wk_source_stop(source);
    assert_false(wk_source_is_up(source));
    turn_for(50);
    assert_int_equal(seen.ups, 1);
    assert_int_equal(seen.downs, 0);
}

static void
test_folders(void **state G_GNUC_UNUSED)
{
    const WkSourceOptions options = { .name = "n", .uri = "qemu:///system", .save_dir = "/s" };
    g_autoptr(WkSource) plain = source_new("qemu:///system", NULL);
    g_autoptr(WkSource) given = wk_source_new(&options, &listener, NULL);

    assert_string_equal(wk_source_get_save_dir(plain), "/var/lib/libvirt/qemu/save");
    assert_string_equal(wk_source_get_autostart_dir(plain), "/etc/libvirt/qemu/autostart");
    assert_string_equal(wk_source_get_save_dir(given), "/s");
}

static void
change_often(WkSource *source, guint times)
{
    g_autoptr(WkConnection) connection = wk_source_borrow(source, WK_LANE_QUICK, NULL);

    for (guint i = 0; i < times; i++) {
        assert_true(wk_domain_suspend(connection, UUID, NULL));
        assert_true(wk_domain_resume(connection, UUID, NULL));
    }
}

static void
test_changes_are_merged(void **state G_GNUC_UNUSED)
{
    g_auto(Seen) seen = { 0 };
    g_autoptr(WkSource) source = source_new("test:///default", &seen);

    wk_source_start(source);
    assert_true(wait_for(&seen.ups, 1));
    change_often(source, 50);
    assert_true(wait_for(&seen.changes, 1));
    assert_string_equal(seen.uuid, UUID);
    turn_for(50);
    assert_int_equal(seen.changes, 1);
    change_often(source, 1);
    assert_true(wait_for(&seen.changes, 2));
    change_often(source, 1);
    wk_source_stop(source);
    turn_for(50);
    assert_int_equal(seen.changes, 2);
}

static void
test_away(void **state G_GNUC_UNUSED)
{
    g_auto(Seen) seen = { 0 };
    g_autoptr(GError) error = NULL;
    g_autoptr(WkSource) source = source_new("qemu+unix:///system?socket=/nowhere/sock", &seen);

    wk_source_start(source);
    assert_true(wait_for(&seen.downs, 1));
    assert_true(wk_source_was_tried(source));
    assert_non_null(strstr(seen.why, "/nowhere/sock"));
    turn_for(1500); /* some tries more: told once */
    assert_int_equal(seen.downs, 1);
    assert_null(wk_source_borrow(source, WK_LANE_LONG, &error));
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_UNAVAILABLE));
    assert_non_null(strstr(error->message, "/nowhere/sock"));
    wk_source_stop(source);
}

/* Comes when libvirt does. */
static void
test_comes(void **state G_GNUC_UNUSED)
{
    g_auto(Seen) seen = { 0 };
    g_autofree char *folder = g_dir_make_tmp("wk-test-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "node.xml", NULL);
    g_autofree char *uri = g_strconcat("test://", path, NULL);
    g_autoptr(WkSource) source = source_new(uri, &seen);

    wk_source_start(source);
    assert_true(wait_for(&seen.downs, 1));
    assert_true(g_file_set_contents(path, "<node/>", -1, NULL));
    assert_true(wait_for(&seen.ups, 1));
    assert_int_equal(seen.downs, 1);
    wk_source_stop(source);
    (void)g_unlink(path);
    (void)g_rmdir(folder);
}

/* Listens and never says a word, as a libvirtd that hangs. */
static int
listen_silently(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static void
test_hangs(void **state G_GNUC_UNUSED)
{
    g_auto(Seen) seen = { 0 };
    g_autofree char *folder = g_dir_make_tmp("wk-test-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "sock", NULL);
    g_autofree char *uri = g_strconcat("qemu+unix:///system?socket=", path, NULL);
    g_autoptr(WkSource) source = source_new(uri, &seen);
    const int fd = listen_silently(path);
    gint64 before;

    wk_source_start(source);
    turn_for(300);
    assert_int_equal(seen.downs, 0);
    assert_true(wait_for(&seen.downs, 1)); /* nobody waits for ever to hear */
    assert_non_null(strstr(seen.why, "does not answer"));
    before = wk_clock_mono_us();
    wk_source_abandon(source, "test");
    turn_for(300);
    wk_source_stop(source);
    assert_true(wk_clock_mono_us() - before < 2 * G_USEC_PER_SEC);
    assert_int_equal(seen.downs, 1);
    (void)g_close(fd, NULL); /* lets the opening threads go */
    (void)g_unlink(path);
    (void)g_rmdir(folder);
    turn_for(200);
    assert_int_equal(seen.ups, 0);
}

/* A gate for tasks, as in a call that hangs. */
static GMutex gate;
static guint done;
static guint failed;

static void
run_stuck(GTask *task, gpointer object G_GNUC_UNUSED, gpointer data,
          GCancellable *cancellable G_GNUC_UNUSED)
{
    g_autoptr(WkConnection) connection = wk_source_borrow(data, WK_LANE_LONG, NULL);

    g_mutex_lock(&gate);
    g_mutex_unlock(&gate);
    g_task_return_boolean(task, connection != NULL
                                    && virConnectIsAlive(wk_connection_get(connection)) == 1);
}

static void
on_done(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    if (g_task_propagate_boolean(G_TASK(result), &error))
        done++;
    else
        failed++;
}

static void
push_stuck(WkSource *source)
{
    GTask *task = g_task_new(NULL, NULL, on_done, NULL);

    g_task_set_task_data(task, wk_source_ref(source), (GDestroyNotify)wk_source_unref);
    wk_source_push(source, WK_LANE_LONG, task, run_stuck);
}

static void
test_abandon(void **state G_GNUC_UNUSED)
{
    g_auto(Seen) seen = { 0 };
    g_autoptr(WkSource) source = source_new("test:///default", &seen);

    done = 0;
    failed = 0;
    wk_source_abandon(source, "not started");
    wk_source_start(source);
    assert_true(wait_for(&seen.ups, 1));
    g_mutex_lock(&gate);
    for (guint i = 0; i < 3; i++)
        push_stuck(source);
    turn_for(50);
    wk_source_abandon(source, "a call hangs");
    assert_int_equal(seen.downs, 1);
    assert_string_equal(seen.why, "a call hangs");
    wk_source_abandon(source, "still");
    assert_int_equal(seen.downs, 1);
    assert_true(wait_for(&seen.ups, 2));
    g_mutex_unlock(&gate);
    assert_true(wait_for(&done, 2)); /* the stuck ones had their connection to the end */
    push_stuck(source);
    assert_true(wait_for(&done, 3));
    assert_int_equal(failed, 1); /* started while the source was away */
    wk_source_stop(source);
    push_stuck(source);
    assert_true(wait_for(&failed, 2));
}

static void
test_stop_in_callbacks(void **state G_GNUC_UNUSED)
{
    g_auto(Seen) up = { .stop_in_up = TRUE };
    g_auto(Seen) down = { .stop_in_down = TRUE };
    g_auto(Seen) changes = { .stop_in_changed = TRUE };
    g_autoptr(WkSource) first = source_new("test:///default", &up);
    g_autoptr(WkSource) second = source_new("test:///nowhere.xml", &down);
    g_autoptr(WkSource) third = source_new("test:///default", &changes);

    wk_source_start(first);
    wk_source_start(second);
    wk_source_start(third);
    assert_true(wait_for(&up.ups, 1));
    assert_true(wait_for(&down.downs, 1));
    assert_true(wait_for(&changes.ups, 1));
    change_often(third, 3);
    assert_true(wait_for(&changes.changes, 1));
    turn_for(600);
    assert_int_equal(up.downs, 0);
    assert_int_equal(down.downs, 1);
    assert_int_equal(changes.changes, 1);
}

/* Let go of at once, while it still opens. */
static void
test_stop_while_opening(void **state G_GNUC_UNUSED)
{
    g_auto(Seen) seen = { 0 };

    for (guint i = 0; i < 50; i++) {
        g_autoptr(WkSource) source = source_new("test:///default", &seen);

        wk_source_start(source);
        if (i % 2 == 0)
            turn_for(i / 10);
        wk_source_stop(source);
    }
    turn_for(100);
    assert_int_equal(seen.downs, 0);
}

static void
test_never_started(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkSource) source = source_new("test:///default", NULL);
    g_autoptr(WkSource) stopped = source_new("test:///default", NULL);

    wk_source_stop(stopped);
    assert_false(wk_source_is_up(stopped));
    assert_false(wk_source_is_up(source));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_changes_are_merged),
        cmocka_unit_test(test_away),
        cmocka_unit_test(test_comes),
        cmocka_unit_test(test_hangs),
        cmocka_unit_test(test_abandon),
        cmocka_unit_test(test_stop_in_callbacks),
        cmocka_unit_test(test_stop_while_opening),
        cmocka_unit_test(test_never_started),
    };

    wk_source_init_events();
    return cmocka_run_group_tests_name("virt-source", tests, NULL, NULL);
}
