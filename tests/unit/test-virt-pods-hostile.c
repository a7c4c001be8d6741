/* SPDX-License-Identifier: Apache-2.0 */
/* Pods whose owner put something else where the launcher's things belong. */
#include "config.h"

#include "pods-fixture.h"
#include "vault_fixture.h"

#include "base/files.h"
#include "vault/witness.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NEED_ROOT()                                                                                \
    do {                                                                                           \
        if (geteuid() != 0)                                                                        \
            skip();                                                                                \
    } while (0)

#define SOCKETS PODS_EMPTY_DIR "/sockets"
#define SOCKET  SOCKETS "/launcher-sock"
#define FLOOD   5000

static const LauncherOptions usual = { .user = PODS_USER };

static void
make_socket(const char *path, int type)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *here = g_get_current_dir();
    WK_AUTO_FD int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    (void)g_strlcpy(address.sun_path, name, sizeof address.sun_path);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(chdir(here), 0);
}

/* @target: a launcher of another pod, who does listen. */
typedef void (*Plant)(const char *path, const char *target);

static void
plant_symlink(const char *path, const char *target)
{
    assert_int_equal(symlink(target, path), 0);
}

static void
plant_file(const char *path, const char *target G_GNUC_UNUSED)
{
    fixture_write(path, "x", 1);
}

static void
plant_fifo(const char *path, const char *target G_GNUC_UNUSED)
{
    assert_int_equal(mkfifo(path, 0666), 0);
}

static void
plant_folder(const char *path, const char *target G_GNUC_UNUSED)
{
    assert_int_equal(g_mkdir(path, 0777), 0);
}

static void
plant_datagrams(const char *path, const char *target G_GNUC_UNUSED)
{
    make_socket(path, SOCK_DGRAM);
}

/* Another name of the socket of another pod's launcher, which a stranger can make only of his own:
 * its process is none of this pod. */
static void
plant_link(const char *path, const char *target)
{
    assert_int_equal(link(target, path), 0);
}

static const Plant plants[] = { plant_symlink, plant_file,      plant_fifo,
                                plant_folder,  plant_datagrams, plant_link };

/* None is taken for a launcher, and a real one that comes later is. */
static void
test_sockets(void **state)
{
    Pods *self = *state;
    g_autofree char *target = pods_path(self, 99, SOCKET);
    pid_t other;

    NEED_ROOT();
    pods_make(self, 99, pods_usual);
    other = pods_launch(self, 99, &usual);
    pods_start(self);
    pods_expect(self, "appeared 99\nready 99\n");
    for (guint i = 0; i < G_N_ELEMENTS(plants); i++) {
        g_autofree char *path = pods_path(self, i, SOCKET);
        g_autofree char *appeared = g_strdup_printf("appeared %u\n", i);
        g_autofree char *ready = g_strdup_printf("ready %u\n", i);
        pid_t pid;

        pods_make(self, i, pods_usual);
        pods_expect(self, appeared);
        plants[i](path, target);
        pods_expect_nothing(self, 20);
        fixture_remove(path);
        pid = pods_launch(self, i, &usual);
        pods_expect(self, ready);
        assert_int_equal(wk_pod_get_pid(self->last), pid);
        pods_kill(pid);
        g_string_truncate(self->log, 0);
        while (self->log->len == 0)
            (void)g_main_context_iteration(NULL, TRUE);
        g_string_truncate(self->log, 0);
    }
    pods_kill(other);
}

/* A process of the host that listens in a pod: nothing is signalled or read for its sake. */
static void
test_listener_outside(void **state)
{
    Pods *self = *state;
    pid_t pid;

    NEED_ROOT();
    pods_start(self);
    pods_make(self, 1, pods_usual);
    pid = pods_launch(self, 1, &(LauncherOptions){ .user = PODS_USER, .outside = TRUE });
    pods_expect(self, "appeared 1\n");
    pods_expect_nothing(self, 20);
    pods_kill(pid);
}

/* Whoever makes and removes names without end is not followed any further; others are. */
static void
test_flood(void **state)
{
    Pods *self = *state;
    g_autofree char *one = NULL;
    g_autofree char *other = NULL;
    pid_t pid;

    NEED_ROOT();
    pods_start(self);
    pods_make(self, 1, pods_usual);
    pods_expect(self, "appeared 1\n");
    one = pods_path(self, 1, SOCKETS "/a");
    other = pods_path(self, 1, SOCKETS "/b");
    for (guint i = 0; i < FLOOD; i++) {
        fixture_write(i % 2 == 0 ? one : other, "", 0);
        assert_int_equal(g_unlink(i % 2 == 0 ? one : other), 0);
        (void)g_main_context_iteration(NULL, FALSE);
    }
    pods_expect_nothing(self, 5);
    assert_int_equal(wk_pods_count_watches(self->pods), 1);
    pods_make(self, 2, pods_usual);
    pid = pods_launch(self, 2, &usual);
    pods_expect(self, "appeared 2\nready 2\n");
    pods_remove(self, 1);
    pods_expect(self, "gone 1\n");
    pods_kill(pid);
}

/* A socket that is bound anew without end: so many calls and no more. */
static void
test_call_flood(void **state)
{
    Pods *self = *state;
    g_autofree char *path = pods_path(self, 1, SOCKET);

    pods_start(self);
    pods_make(self, 1, pods_usual);
    pods_expect(self, "appeared 1\n");
    for (guint i = 0; i < 200; i++) {
        make_socket(path, SOCK_STREAM);
        while (g_main_context_iteration(NULL, FALSE))
            continue;
        assert_int_equal(g_unlink(path), 0);
    }
    assert_int_equal(wk_pods_count_watches(self->pods), 1);
}

/* ---- the save folder ---- */

static WkPod *
appear(Pods *self)
{
    pods_start(self);
    pods_make(self, 1, pods_usual);
    pods_expect(self, "appeared 1\n");
    return self->last;
}

static void
expect_folder(const char *path, guint owner, mode_t mode)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_uid, owner);
    assert_int_equal(st.st_gid, owner);
    assert_int_equal(st.st_mode & 07777, mode);
}

static void
test_make_save_folder(void **state)
{
    Pods *self = *state;
    WkPod *pod;
    g_autofree char *libvirt = pods_path(self, 1, PODS_EMPTY_DIR "/private/libvirt");
    g_autofree char *qemu = g_build_filename(libvirt, "qemu", NULL);
    g_autofree char *private = g_path_get_dirname(libvirt);
    GError *error = NULL;

    NEED_ROOT();
    pod = appear(self);
    assert_int_equal(chmod(private, 02777), 0); /* as with an fsGroup */
    assert_int_equal(g_mkdir(libvirt, 0750), 0);
    for (guint i = 0; i < 2; i++)
        assert_true(wk_pod_make_save_folder(pod, PODS_USER, PODS_USER, &error));
    expect_folder(libvirt, 0, 02750); /* was there */
    expect_folder(qemu, PODS_USER, 0700);
    expect_folder(wk_pod_get_save_folder(pod), PODS_USER, 0700);
    pods_remove(self, 1);
    assert_false(wk_pod_make_save_folder(pod, PODS_USER, PODS_USER, &error));
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
}

/* Something else at each place of the way; what a symlink leads to stays as it is. */
static void
test_save_folder_planted(void **state)
{
    static const char *const ways[] = { "libvirt", "libvirt/qemu", "libvirt/qemu/save" };
    Pods *self = *state;
    g_autofree char *victim = g_build_filename(self->dir, "victim", NULL);
    g_autofree char *private = pods_path(self, 1, PODS_EMPTY_DIR "/private");
    const Plant planted[] = { plant_symlink, plant_file, plant_fifo };
    WkPod *pod;

    NEED_ROOT();
    pod = appear(self);
    assert_int_equal(g_mkdir(victim, 0755), 0);
    for (guint i = 0; i < G_N_ELEMENTS(ways) * G_N_ELEMENTS(planted); i++) {
        g_autofree char *path = g_build_filename(private, ways[i / G_N_ELEMENTS(planted)], NULL);
        g_autofree char *parent = g_path_get_dirname(path);
        g_autofree char *top = g_build_filename(private, "libvirt", NULL);
        GError *error = NULL;

        assert_int_equal(g_mkdir_with_parents(parent, 0777), 0);
        planted[i % G_N_ELEMENTS(planted)](path, victim);
        assert_false(wk_pod_make_save_folder(pod, PODS_USER, PODS_USER, &error));
        fixture_expect_error(&error, WK_ERROR_FAILED, NULL);
        expect_folder(victim, 0, 0755);
        assert_int_equal(g_rmdir(victim), 0); /* empty */
        assert_int_equal(g_mkdir(victim, 0755), 0);
        fixture_remove(top);
    }
}

/* ---- libvirt's socket, the root ---- */

static void
test_libvirt_socket(void **state)
{
    Pods *self = *state;
    g_autofree char *path = pods_path(self, 1, PODS_EMPTY_DIR "/libvirt-runtime/virtqemud-sock");
    WkPod *pod = appear(self);
    GError *error = NULL;
    WK_AUTO_FD int fd = -1;

    assert_int_equal(wk_pod_open_socket(pod, &error), -1);
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
    assert_int_equal(symlink("/run/elsewhere", path), 0);
    assert_int_equal(wk_pod_open_socket(pod, &error), -1);
    fixture_expect_error(&error, WK_ERROR_REFUSED, NULL);
    assert_int_equal(g_unlink(path), 0);
    make_socket(path, SOCK_STREAM);
    fd = wk_pod_open_socket(pod, &error);
    fixture_no_error(&error);
    assert_true((fcntl(fd, F_GETFL) & O_PATH) != 0);
}

static WkFacts *
facts_of(const char *path)
{
    WkFacts *facts = wk_facts_new();

    wk_facts_add_disk(facts, WK_DISK_FILE, path, "vda", FALSE, FALSE);
    return facts;
}

/* A disk's path as the pod sees it, in the root of its launcher: of a process that has gone there
 * is none. */
static void
test_root(void **state)
{
    Pods *self = *state;
    g_autofree char *inside = g_build_filename(self->dir, "container/private/disk", NULL);
    g_autofree char *outside = pods_path(self, 1, PODS_EMPTY_DIR "/private/disk");
    g_autoptr(WkFacts) facts = facts_of(inside);
    g_autoptr(GPtrArray) witnesses = NULL;
    GError *error = NULL;
    WK_AUTO_FD int root = -1;
    WkFileId file;
    pid_t pid;

    NEED_ROOT();
    (void)appear(self);
    assert_int_equal(wk_pod_open_root(self->last, &error), -1); /* not ready */
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
    pid = pods_launch(self, 1, &usual);
    pods_expect(self, "ready 1\n");
    fixture_write(outside, "data", 4);
    root = wk_pod_open_root(self->last, &error);
    fixture_no_error(&error);
    assert_false(fixture_exists(inside)); /* not on the host */
    assert_true(wk_witness_sync_disks_in(root, facts, &error));
    witnesses = wk_witness_take_in(root, facts, &error);
    fixture_no_error(&error);
    file = fixture_file_id(outside);
    assert_true(wk_file_id_equal(&((WkWitness *)g_ptr_array_index(witnesses, 0))->file, &file));
    pods_kill(pid);
    assert_int_equal(wk_pod_open_root(self->last, &error), -1);
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pods_setup, pods_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sockets),
        TEST(test_listener_outside),
        TEST(test_flood),
        TEST(test_call_flood),
        TEST(test_make_save_folder),
        TEST(test_save_folder_planted),
        TEST(test_libvirt_socket),
        TEST(test_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
