/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launcher pods come and go: what is told, what it costs, and how soon. With --calls one life of a
 * pod, guard included, for strace to see by which calls (test-pod-calls).
 */
#include "config.h"

#include "pods-fixture.h"
#include "vault_fixture.h"

#include "base/files.h"
#include "vault/image.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEED_ROOT()                                                                                \
    do {                                                                                           \
        if (geteuid() != 0)                                                                        \
            skip();                                                                                \
    } while (0)

static const LauncherOptions usual = { .user = PODS_USER };

static void
expect_costs(const Pods *self, guint watches)
{
    assert_int_equal(wk_pods_count_watches(self->pods), watches);
    assert_int_equal(pods_count_kernel_watches(), watches);
}

/* Folder by folder, then the launcher, then its end. */
static void
test_life(void **state)
{
    static const char *const names[] = { NULL, "volumes", PODS_EMPTY_DIR, PODS_EMPTY_DIR "/private",
                                         PODS_EMPTY_DIR "/sockets" };
    Pods *self = *state;
    g_autofree char *save = pods_path(self, 1, PODS_EMPTY_DIR "/private/libvirt/qemu/save");
    pid_t pid;

    NEED_ROOT();
    pods_start(self);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = pods_path(self, 1, names[i]);

        assert_int_equal(g_mkdir(path, 0777), 0);
        if (i < 3)
            pods_expect_nothing(self, 5);
    }
    pods_expect(self, "appeared 1\n");
    assert_string_equal(wk_pod_get_save_folder(self->last), save);
    assert_false(wk_pod_is_ready(self->last));
    assert_ptr_equal(wk_pods_find(self->pods, pods_uid(1)), self->last);
    expect_costs(self, 3);
    pid = pods_launch(self, 1, &(LauncherOptions){ .user = 0 });
    pods_expect(self, "ready 1\n");
    assert_int_equal(wk_pod_get_pid(self->last), pid);
    assert_true(wk_pod_is_alive(self->last));
    expect_costs(self, 1);
    pods_kill(pid);
    pods_expect(self, "gone 1\n");
    assert_false(wk_pod_is_alive(self->last));
    assert_null(wk_pods_find(self->pods, pods_uid(1)));
    pods_remove(self, 1);
    pods_expect_nothing(self, 20);
    assert_int_equal(wk_pods_count(self->pods), 0);
    expect_costs(self, 1);
}

/* What is there when the agent comes is told at once; whoever goes before it is ready, too. */
static void
test_there_before(void **state)
{
    Pods *self = *state;
    pid_t pid;

    NEED_ROOT();
    pods_make(self, 1, pods_usual);
    pid = pods_launch(self, 1, &usual);
    pods_start(self);
    assert_string_equal(self->log->str, "appeared 1\nready 1\n");
    pods_expect(self, "appeared 1\nready 1\n");
    assert_int_equal(wk_pod_get_user(self->last), PODS_USER);
    assert_int_equal(wk_pod_get_group(self->last), PODS_USER);
    assert_false(wk_pod_has_user_namespace(self->last));
    pods_remove(self, 1); /* the folder goes before the process */
    pods_expect(self, "gone 1\n");
    pods_kill(pid);
    pods_make(self, 2, pods_usual);
    pods_expect(self, "appeared 2\n");
    pods_remove(self, 2);
    pods_expect(self, "gone 2\n");
    expect_costs(self, 1);
}

/* launcher-init-sock first, whose listen() comes after its bind(), with no event in between. */
static void
test_init_socket(void **state)
{
    Pods *self = *state;
    g_autofree char *before = pods_path(self, 1, PODS_EMPTY_DIR "/sockets/launcher-init-sock");
    pid_t deaf;
    pid_t pid;

    NEED_ROOT();
    pods_start(self);
    pods_make(self, 1, pods_usual);
    pods_expect(self, "appeared 1\n");
    deaf = pods_launch(self, 1, &(LauncherOptions){ .deaf = TRUE, .socket = "launcher-init-sock" });
    pods_expect_nothing(self, 20);
    pods_kill(deaf);
    assert_int_equal(g_unlink(before), 0);
    pid = pods_launch(self, 1,
                      &(LauncherOptions){ .user = PODS_USER, .socket = "launcher-init-sock" });
    pods_expect(self, "ready 1\n");
    assert_int_equal(wk_pod_get_pid(self->last), pid);
    pods_kill(pid);
    pods_expect(self, "gone 1\n");
}

/* Which emptyDir holds the saves; @below: of the emptyDirs. */
static const struct {
    const char *empty_dirs[5];
    const char *below;
} places[] = {
    { { "private", "sockets" }, "private/libvirt/qemu/save" },
    { { "private", "private-libvirt", "sockets" }, "private-libvirt/qemu/save" },
    { { "private", "private-libvirt-qemu", "sockets" }, "private-libvirt-qemu/save" },
    { { "private", "private-libvirt", "private-libvirt-qemu", "sockets" },
      "private-libvirt-qemu/save" },
};

static void
test_save_folder(void **state)
{
    Pods *self = *state;

    NEED_ROOT();
    for (guint i = 0; i < G_N_ELEMENTS(places); i++)
        pods_make(self, i, places[i].empty_dirs);
    pods_start(self);
    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *below = g_build_filename(PODS_EMPTY_DIR, places[i].below, NULL);
        g_autofree char *path = pods_path(self, i, below);
        g_autofree char *told = g_strdup_printf("ready %u\n", i);
        g_autofree char *end = g_strdup_printf("gone %u\n", i);
        WkPod *pod = wk_pods_find(self->pods, pods_uid(i));
        pid_t pid;

        assert_string_equal(wk_pod_get_save_folder(pod), path);
        g_string_truncate(self->log, 0);
        pid = pods_launch(self, i, &usual);
        pods_expect(self, told);
        assert_string_equal(wk_pod_get_save_folder(self->last), path); /* by what is mounted */
        pods_kill(pid);
        pods_expect(self, end);
    }
}

/* The kubelet makes emptyDirs in any order: one that comes late takes the save folder's place. */
static void
test_save_folder_moves(void **state)
{
    Pods *self = *state;
    g_autofree char *late = pods_path(self, 1, PODS_EMPTY_DIR "/private-libvirt-qemu");
    g_autofree char *save = g_build_filename(late, "save", NULL);

    pods_start(self);
    pods_make(self, 1, pods_usual);
    pods_expect(self, "appeared 1\n");
    assert_int_equal(g_mkdir(late, 0777), 0);
    pods_expect(self, "appeared 1\n");
    assert_string_equal(wk_pod_get_save_folder(self->last), save);
}

static void
test_kinds_of_launchers(void **state)
{
    Pods *self = *state;
    GError *error = NULL;
    pid_t root;
    pid_t mapped;

    NEED_ROOT();
    pods_start(self);
    pods_make(self, 1, pods_usual);
    root = pods_launch(self, 1, &(LauncherOptions){ .user = 0 });
    pods_expect(self, "appeared 1\nready 1\n");
    assert_int_equal(wk_pod_get_user(self->last), 0);
    assert_null(wk_pod_get_save_folder(self->last));
    assert_false(wk_pod_make_save_folder(self->last, 0, 0, &error));
    fixture_expect_error(&error, WK_ERROR_REFUSED, "VaultOnOtherFileSystem");
    pods_kill(root);
    pods_expect(self, "gone 1\n");
    pods_make(self, 2, pods_usual);
    mapped = pods_launch(self, 2, &(LauncherOptions){ .user_namespace = TRUE });
    pods_expect(self, "appeared 2\nready 2\n");
    assert_true(wk_pod_has_user_namespace(self->last));
    pods_kill(mapped);
    pods_expect(self, "gone 2\n");
}

/* The kubelet's folder comes after the agent, goes, and comes anew. */
static void
test_late_kubelet(void **state)
{
    Pods *self = *state;

    wk_pods_start(self->pods);
    pods_expect_nothing(self, 5);
    expect_costs(self, 1);
    for (guint i = 0; i < 3; i++) {
        pods_make(self, 1, pods_usual);
        pods_expect(self, "appeared 1\n");
        fixture_remove(self->kubelet);
        pods_expect(self, "gone 1\n");
        expect_costs(self, 1);
    }
}

/* More events than the kernel keeps: nothing is missed for it. */
static void
test_overflow(void **state)
{
    Pods *self = *state;
    g_autofree char *one = g_build_filename(self->kubelet, "pods", "one", NULL);

    pods_start(self);
    pods_make(self, 1, pods_usual);
    pods_expect(self, "appeared 1\n");
    for (guint i = 0; i < 20000; i++) {
        assert_int_equal(g_mkdir(one, 0700), 0);
        assert_int_equal(g_rmdir(one), 0);
    }
    pods_remove(self, 1);
    pods_make(self, 2, pods_usual);
    pods_expect(self, "gone 1\nappeared 2\n");
}

/* Pods of others cost one watch each, and are never ready; what is no pod costs nothing. */
static void
test_strangers(void **state)
{
    static const char *const none[] = { NULL };
    static const char *const cache[] = { "cache", NULL };
    Pods *self = *state;
    g_autofree char *odd = g_build_filename(self->kubelet, "pods", "static-pod", NULL);

    pods_start(self);
    pods_make(self, 1, none);
    pods_make(self, 2, cache);
    assert_int_equal(g_mkdir(odd, 0755), 0);
    pods_expect_nothing(self, 20);
    assert_int_equal(wk_pods_count(self->pods), 2);
    expect_costs(self, 3);
}

static void
test_too_many(void **state)
{
    Pods *self = *state;

    for (guint i = 0; i <= WK_PODS_MAX; i++) {
        g_autofree char *path = pods_path(self, i, NULL);

        assert_int_equal(g_mkdir_with_parents(path, 0755), 0);
    }
    pods_start(self);
    assert_int_equal(wk_pods_count(self->pods), WK_PODS_MAX);
    for (guint i = 0; i <= WK_PODS_MAX; i++) {
        if (wk_pods_find(self->pods, pods_uid(i)) == NULL)
            pods_remove(self, i);
    }
    pods_make(self, WK_PODS_MAX + 1, pods_usual); /* there is room now */
    pods_expect(self, "appeared 4097\n");
}

/* Thousands over a day. The kubelet is faster here than the main loop: some are never seen. */
static void
test_churn(void **state)
{
    const guint rounds = fixture_rounds(2000);
    Pods *self = *state;
    guint descriptors;

    NEED_ROOT();
    pods_start(self);
    descriptors = pods_count_descriptors();
    for (guint i = 0; i < rounds; i++) {
        pid_t pid = 0;

        pods_make(self, i, pods_usual);
        if (i % 10 == 0) { /* one that comes to life */
            pid = pods_launch(self, i, &usual);
            while (wk_pods_find(self->pods, pods_uid(i)) == NULL
                   || !wk_pod_is_ready(wk_pods_find(self->pods, pods_uid(i))))
                (void)g_main_context_iteration(NULL, TRUE);
            pods_kill(pid);
        } else if (i % 3 == 0) {
            (void)g_main_context_iteration(NULL, FALSE);
        }
        pods_remove(self, i);
    }
    while (wk_pods_count(self->pods) > 0)
        (void)g_main_context_iteration(NULL, TRUE);
    pods_make(self, rounds, pods_usual);
    while (wk_pods_find(self->pods, pods_uid(rounds)) == NULL)
        (void)g_main_context_iteration(NULL, TRUE);
    pods_remove(self, rounds);
    while (wk_pods_count(self->pods) > 0)
        (void)g_main_context_iteration(NULL, TRUE);
    g_clear_pointer(&self->last, wk_pod_unref);
    assert_int_equal(pods_count_descriptors(), descriptors);
    expect_costs(self, 1);
    print_message("%u pods came and went, %u were told of\n", rounds, self->told);
}

/* ---- how soon a guard is there ---- */

#define RUNS     50
#define BOUND_US 20000

static void
put_guard(WkPod *pod)
{
    g_autofree char *managed = g_build_filename(wk_pod_get_save_folder(pod), "ns_vm.save", NULL);
    GError *error = NULL;

    (void)wk_pod_make_save_folder(pod, PODS_USER, PODS_USER, &error);
    fixture_no_error(&error);
    (void)(wk_guard_write(managed, &error) && wk_guard_sync(managed, &error)
           && wk_guard_rename(managed, &error)
           && wk_files_sync_folder(wk_pod_get_save_folder(pod), &error));
    fixture_no_error(&error);
}

static int
compare_us(gconstpointer a, gconstpointer b)
{
    const gint64 left = *(const gint64 *)a;
    const gint64 right = *(const gint64 *)b;

    return left < right ? -1 : left > right;
}

/* From the pod's folder on, the kubelet's own work in between included, on the file system that the
 * tests run on, with both syncs. */
static void
test_soon(void **state)
{
    Pods *self = *state;
    g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(gint64));
    g_autofree char *folder = g_build_filename(self->kubelet, "pods", NULL);

    NEED_ROOT();
    self->on_appeared = put_guard;
    wk_files_distrust(folder);
    pods_start(self);
    for (guint i = 0; i < RUNS; i++) {
        const gint64 start = g_get_monotonic_time();
        gint64 end;

        pods_make(self, i, pods_usual);
        while (self->told == i)
            (void)g_main_context_iteration(NULL, TRUE);
        end = g_get_monotonic_time() - start;
        g_array_append_val(times, end);
    }
    wk_files_distrust(NULL);
    g_array_sort(times, compare_us);
    print_message("pod's folder to guard in place: median %.1f ms, worst %.1f ms of %d\n",
                  (double)g_array_index(times, gint64, RUNS / 2) / 1000,
                  (double)g_array_index(times, gint64, RUNS - 1) / 1000, RUNS);
    assert_true(g_array_index(times, gint64, RUNS / 2) <= BOUND_US);
}

/* ---- by which calls ---- */

/* Its own process, so that strace sees only the agent's calls. */
static void
play_kubelet(const Pods *self, int wait_for)
{
    g_autofree char *socket = pods_path(self, 1, PODS_EMPTY_DIR "/libvirt-runtime/virtqemud-sock");
    char go;
    pid_t pid;

    pods_make(self, 1, pods_usual);
    (void)!read(wait_for, &go, 1);
    fixture_write(socket, "", 0);
    pid = pods_launch(self, 1, &usual);
    (void)!read(wait_for, &go, 1);
    pods_kill(pid);
    pods_remove(self, 1);
    _exit(0);
}

static void
test_calls(void **state)
{
    Pods *self = *state;
    g_autofree char *folder = g_build_filename(self->kubelet, "pods", NULL);
    WK_AUTO_FD int root = -1;
    int ends[2];
    pid_t pid;

    NEED_ROOT();
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    self->on_appeared = put_guard;
    wk_files_distrust(folder);
    pods_start(self);
    print_message("begin %s\n", self->kubelet);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        play_kubelet(self, ends[0]);
    pods_expect(self, "appeared 1\n");
    assert_int_equal(write(ends[1], "y", 1), 1);
    pods_expect(self, "ready 1\n");
    root = wk_pod_open_root(self->last, NULL);
    assert_true(root >= 0);
    assert_int_equal(wk_pod_open_socket(self->last, NULL), -1); /* it is a file */
    assert_int_equal(write(ends[1], "y", 1), 1);
    pods_expect(self, "gone 1\n");
    print_message("end\n");
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    wk_files_distrust(NULL);
    (void)g_close(ends[0], NULL);
    (void)g_close(ends[1], NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pods_setup, pods_teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest calls[] = { TEST(test_calls) };
    const struct CMUnitTest tests[] = {
        TEST(test_life),
        TEST(test_there_before),
        TEST(test_init_socket),
        TEST(test_save_folder),
        TEST(test_save_folder_moves),
        TEST(test_kinds_of_launchers),
        TEST(test_late_kubelet),
        TEST(test_overflow),
        TEST(test_strangers),
        TEST(test_too_many),
        TEST(test_churn),
        TEST(test_soon),
    };

    if (argc > 1 && g_str_equal(argv[1], "--calls"))
        return cmocka_run_group_tests(calls, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
