/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "pods-fixture.h"

#include "vault_fixture.h"

#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 5000

const char *const pods_usual[] = { "private", "sockets", "libvirt-runtime", NULL };

static void
tell(const char *what, WkPod *pod, gpointer data)
{
    Pods *self = data;
    const char *uid = wk_pod_get_uid(pod);

    g_string_append_printf(self->log, "%s %d\n", what,
                           (int)g_ascii_strtoll(uid + strlen(uid) - 8, NULL, 10));
    self->told++;
    g_clear_pointer(&self->last, wk_pod_unref);
    self->last = wk_pod_ref(pod);
}

static void
on_appeared(WkPod *pod, gpointer data)
{
    Pods *self = data;

    if (self->on_appeared != NULL)
        self->on_appeared(pod);
    tell("appeared", pod, data);
}

static void
on_ready(WkPod *pod, gpointer data)
{
    tell("ready", pod, data);
}

static void
on_gone(WkPod *pod, gpointer data)
{
    tell("gone", pod, data);
}

static const WkPodsListener listener = { on_appeared, on_ready, on_gone };

int
pods_setup(void **state)
{
    Pods *self = g_new0(Pods, 1);
    g_autoptr(GError) error = NULL;

    *state = self;
    self->dir = g_dir_make_tmp("wukong-pods-XXXXXX", NULL);
    self->kubelet = g_build_filename(self->dir, "var", "kubelet", NULL);
    self->log = g_string_new(NULL);
    self->pods = wk_pods_new(self->kubelet, &listener, self, &error);
    fixture_no_error(&error);
    assert_int_equal(chmod(self->dir, 0755), 0);
    return 0;
}

int
pods_teardown(void **state)
{
    Pods *self = *state;

    wk_pods_free(self->pods);
    wk_pod_unref(self->last);
    fixture_remove(self->dir);
    g_string_free(self->log, TRUE);
    g_free(self->kubelet);
    g_free(self->dir);
    g_free(self);
    return 0;
}

void
pods_start(Pods *self)
{
    g_autofree char *folder = g_build_filename(self->kubelet, "pods", NULL);

    assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
    wk_pods_start(self->pods);
}

const char *
pods_uid(guint number)
{
    static char uid[37];

    (void)g_snprintf(uid, sizeof uid, "6f9e9b7c-3c52-4b7e-9a34-0d1f%08u", number);
    return uid;
}

char *
pods_path(const Pods *self, guint number, const char *below)
{
    return g_build_filename(self->kubelet, "pods", pods_uid(number), below, NULL);
}

void
pods_make(const Pods *self, guint number, const char *const *empty_dirs)
{
    g_autofree char *parent = pods_path(self, number, PODS_EMPTY_DIR);

    assert_int_equal(g_mkdir_with_parents(parent, 0755), 0);
    for (gsize i = 0; empty_dirs[i] != NULL; i++) {
        g_autofree char *path = g_build_filename(parent, empty_dirs[i], NULL);

        assert_int_equal(g_mkdir(path, 0755), 0);
        assert_int_equal(chmod(path, 0777), 0);
    }
}

void
pods_remove(const Pods *self, guint number)
{
    g_autofree char *path = pods_path(self, number, NULL);

    fixture_remove(path);
    assert_false(fixture_exists(path));
}

/* ---- in the launcher's process: no assertions ---- */

/* Mounts each emptyDir of the pod somewhere, as a container sees it. */
static gboolean
enter_pod(const char *empty_dirs, const char *target)
{
    GDir *dir = g_dir_open(empty_dirs, 0, NULL);
    const char *name;

    if (dir == NULL || unshare(CLONE_NEWNS) < 0
        || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return FALSE;
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *from = g_build_filename(empty_dirs, name, NULL);
        g_autofree char *to = g_build_filename(target, name, NULL);

        if (g_mkdir_with_parents(to, 0755) < 0 || mount(from, to, NULL, MS_BIND, NULL) < 0)
            return FALSE;
    }
    g_dir_close(dir);
    return TRUE;
}

static gboolean
become(const LauncherOptions *options)
{
    if (options->user_namespace && unshare(CLONE_NEWUSER) < 0)
        return FALSE;
    return options->user_namespace || options->user == 0
           || (setresgid(options->user, options->user, options->user) == 0
               && setresuid(options->user, options->user, options->user) == 0);
}

static gboolean
serve(const char *sockets, const LauncherOptions *options)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)g_strlcpy(address.sun_path, options->socket != NULL ? options->socket : "launcher-sock",
                    sizeof address.sun_path);
    /* the path is too long for a socket's address */
    return fd >= 0 && chdir(sockets) == 0
           && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0
           && (options->deaf || listen(fd, 8) == 0);
}

static void
run_launcher(const char *empty_dirs, const char *target, const LauncherOptions *options, int ready)
{
    g_autofree char *sockets = g_build_filename(empty_dirs, "sockets", NULL);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if ((options->outside || enter_pod(empty_dirs, target)) && become(options)
        && serve(sockets, options) && write(ready, "y", 1) == 1)
        (void)pause();
    _exit(1);
}

pid_t
pods_launch(const Pods *self, guint number, const LauncherOptions *options)
{
    g_autofree char *empty_dirs = pods_path(self, number, PODS_EMPTY_DIR);
    g_autofree char *target = g_build_filename(self->dir, "container", NULL);
    char answer = 'n';
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        run_launcher(empty_dirs, target, options, ends[1]);
    (void)g_close(ends[1], NULL);
    assert_int_equal(read(ends[0], &answer, 1), 1);
    (void)g_close(ends[0], NULL);
    return pid;
}

void
pods_kill(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- the main loop ---- */

static gboolean
on_time(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

void
pods_expect(Pods *self, const char *log)
{
    gboolean late = FALSE;
    const guint timer = g_timeout_add(WAIT_MS, on_time, &late);

    while (!late && !g_str_equal(self->log->str, log))
        (void)g_main_context_iteration(NULL, TRUE);
    if (late)
        fail_msg("expected '%s', was told '%s'", log, self->log->str);
    (void)g_source_remove(timer);
    g_string_truncate(self->log, 0);
}

void
pods_expect_nothing(Pods *self, guint quiet_ms)
{
    gboolean over = FALSE;

    (void)g_timeout_add(quiet_ms, on_time, &over);
    while (!over)
        (void)g_main_context_iteration(NULL, TRUE);
    assert_string_equal(self->log->str, "");
}

guint
pods_count_descriptors(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    guint count = 0;

    while (g_dir_read_name(dir) != NULL)
        count++;
    g_dir_close(dir);
    return count - 1; /* its own */
}

guint
pods_count_kernel_watches(void)
{
    GDir *dir = g_dir_open("/proc/self/fdinfo", 0, NULL);
    const char *name;
    guint count = 0;

    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename("/proc/self/fdinfo", name, NULL);
        g_autofree char *text = NULL;
        const char *at;

        if (!g_file_get_contents(path, &text, NULL, NULL))
            continue;
        for (at = text; (at = strstr(at, "inotify wd:")) != NULL; at++)
            count++;
    }
    g_dir_close(dir);
    return count;
}
