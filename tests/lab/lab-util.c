/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lab-private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_MS    10
#define REAP_MS    2000 /* from a process's end to the note that PID 1 makes of it */
#define EXITS_FILE LAB_DIR "/exits"

G_DEFINE_QUARK(lab - error - quark, lab_error)

void
lab_error_set_from_libvirt(GError **error, const char *what)
{
    virErrorPtr last = virGetLastError();

    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", what,
                last != NULL && last->message != NULL ? last->message : "libvirt gave no error");
}

gboolean
lab_wait(const char *what, guint timeout_ms, LabCheck check, gpointer data, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

    while (!check(data)) {
        if (g_get_monotonic_time() > deadline) {
            g_set_error(error, LAB_ERROR, LAB_ERROR_TIMEOUT, "waited %u ms for %s", timeout_ms,
                        what);
            return FALSE;
        }
        poll(NULL, 0, POLL_MS);
    }
    return TRUE;
}

char *
lab_build_path(const char *name)
{
    const char *top = g_getenv("WK_BUILDDIR");

    return g_build_filename(top != NULL ? top : ".", name, NULL);
}

static gboolean
copy_file(const char *from, const char *to, GError **error)
{
    g_autoptr(GFile) source = g_file_new_for_path(from);
    g_autoptr(GFile) target = g_file_new_for_path(to);

    return g_file_copy(source, target, G_FILE_COPY_OVERWRITE, NULL, NULL, NULL, error);
}

/* Same paths in every tree: they stand in the XML of the golden images. */
static gboolean
copy_kernel(GError **error)
{
    g_autofree char *kernel = lab_build_path("tests/lab/guest-kernel");
    g_autofree char *initramfs = lab_build_path("tests/lab/guest-initramfs");

    if (g_file_test(LAB_INITRAMFS, G_FILE_TEST_EXISTS))
        return TRUE;
    return copy_file(kernel, LAB_KERNEL, error) && copy_file(initramfs, LAB_INITRAMFS, error);
}

gboolean
lab_init(GError **error)
{
    if (g_getenv("WK_LAB_SCRATCH") == NULL || !g_file_test(LAB_DIR, G_FILE_TEST_IS_DIR)) {
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED,
                            "not inside lab-run: run it as tests/lab/lab-run PROGRAM");
        return FALSE;
    }
    return copy_kernel(error);
}

void
lab_output_clear(LabOutput *self)
{
    g_clear_pointer(&self->out, g_free);
    g_clear_pointer(&self->err, g_free);
    self->status = 0;
}

static char **
merge_env(const char *const *extra)
{
    char **env = g_get_environ();

    for (gsize i = 0; extra != NULL && extra[i] != NULL; i++) {
        g_auto(GStrv) pair = g_strsplit(extra[i], "=", 2);

        env = g_environ_setenv(env, pair[0], pair[1] != NULL ? pair[1] : "", TRUE);
    }
    return env;
}

typedef struct {
    GSubprocess *process;
    GMainLoop *loop;
    LabOutput *output;
    GError *error;
    gboolean timed_out;
} Capture;

static void
on_captured(GObject *source, GAsyncResult *result, gpointer data)
{
    Capture *capture = data;

    g_subprocess_communicate_utf8_finish(G_SUBPROCESS(source), result, &capture->output->out,
                                         &capture->output->err, &capture->error);
    g_main_loop_quit(capture->loop);
}

static gboolean
on_capture_timeout(gpointer data)
{
    Capture *capture = data;

    capture->timed_out = TRUE;
    g_subprocess_force_exit(capture->process);
    return G_SOURCE_REMOVE;
}

static void
capture_run(Capture *capture, guint timeout_ms)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(GSource) timer = g_timeout_source_new(timeout_ms);

    g_main_context_push_thread_default(context);
    capture->loop = g_main_loop_new(context, FALSE);
    g_source_set_callback(timer, on_capture_timeout, capture, NULL);
    g_source_attach(timer, context);
    g_subprocess_communicate_utf8_async(capture->process, NULL, NULL, on_captured, capture);
    g_main_loop_run(capture->loop);
    g_source_destroy(timer);
    g_main_loop_unref(capture->loop);
    g_main_context_pop_thread_default(context);
}

gboolean
lab_run_capture(const char *const *argv, const char *const *env, guint timeout_ms,
                LabOutput *output, GError **error)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_auto(GStrv) full_env = merge_env(env);
    g_autoptr(GSubprocess) process = NULL;
    Capture capture = { .output = output };

    lab_output_clear(output);
    g_subprocess_launcher_set_environ(launcher, full_env);
    process = g_subprocess_launcher_spawnv(launcher, argv, error);
    if (process == NULL)
        return FALSE;
    capture.process = process;
    capture_run(&capture, timeout_ms);
    if (capture.timed_out) {
        g_clear_error(&capture.error);
        g_set_error(error, LAB_ERROR, LAB_ERROR_TIMEOUT, "%s took longer than %u ms: %s%s", argv[0],
                    timeout_ms, output->out, output->err);
        return FALSE;
    }
    if (capture.error != NULL) {
        g_propagate_error(error, capture.error);
        return FALSE;
    }
    output->status = g_subprocess_get_if_exited(process) ? g_subprocess_get_exit_status(process)
                                                         : 128 + g_subprocess_get_term_sig(process);
    return TRUE;
}

static char *
pid_path(const char *name)
{
    return g_strdup_printf(LAB_DIR "/state/%s.pid", name);
}

static char *
log_path(const char *name)
{
    return g_strdup_printf(LAB_LOG_DIR "/%s.log", name);
}

static void
in_child(gpointer data G_GNUC_UNUSED)
{
    setsid();
}

GPid
lab_spawn(const char *name, const char *const *argv, const char *const *env, GError **error)
{
    g_auto(GStrv) full_env = merge_env(env);
    g_autofree char *log = log_path(name);
    g_autofree char *kept = pid_path(name);
    g_autofree char *pid_text = NULL;
    GPid pid = -1;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    gboolean ok;

    if (fd < 0) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", log, g_strerror(errno));
        return -1;
    }
    /* no DO_NOT_REAP_CHILD: it becomes a child of PID 1, which notes how it ends */
    ok = g_spawn_async_with_fds(NULL, (char **)argv, full_env, G_SPAWN_SEARCH_PATH, in_child, NULL,
                                &pid, -1, fd, fd, error);
    close(fd);
    if (!ok)
        return -1;
    pid_text = g_strdup_printf("%d\n", (int)pid);
    return g_file_set_contents(kept, pid_text, -1, error) ? pid : -1;
}

static GPid
read_pid(const char *name)
{
    g_autofree char *path = pid_path(name);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    return (GPid)g_ascii_strtoll(text, NULL, 10);
}

/* A zombie is dead. */
static gboolean
is_alive(GPid pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *text = NULL;
    const char *end;

    if (pid <= 0 || !g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && end[2] != 'Z' && end[2] != 'X';
}

GPid
lab_pid(const char *name)
{
    GPid pid = read_pid(name);

    return is_alive(pid) ? pid : 0;
}

gboolean
lab_process_wait_gone(GPid pid, guint timeout_ms)
{
    struct pollfd end = { .events = POLLIN };
    gboolean gone;

    end.fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (end.fd < 0)
        return TRUE;
    gone = poll(&end, 1, (int)timeout_ms) > 0;
    close(end.fd);
    return gone;
}

typedef struct {
    GPid pid;
    int status;
} ExitNote;

/* PID 1 of lab-run writes "PID STATUS"; the last line of a pid counts. */
static gboolean
find_exit_note(gpointer data)
{
    ExitNote *note = data;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    gboolean found = FALSE;

    if (!g_file_get_contents(EXITS_FILE, &text, NULL, NULL))
        return FALSE;
    lines = g_strsplit(text, "\n", -1);
    for (gsize i = 0; lines[i] != NULL; i++) {
        int pid;
        int status;

        if (sscanf(lines[i], "%d %d", &pid, &status) == 2 && pid == note->pid) {
            note->status = status;
            found = TRUE;
        }
    }
    return found;
}

static gboolean
end_of(const char *name, GPid pid, guint timeout_ms, int *status, GError **error)
{
    g_autofree char *path = pid_path(name);
    ExitNote note = { .pid = pid };

    if (!lab_process_wait_gone(pid, timeout_ms)) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_TIMEOUT, "waited %u ms for the end of %s (pid %d)",
                    timeout_ms, name, (int)pid);
        return FALSE;
    }
    if (!lab_wait("the note of an exit", REAP_MS, find_exit_note, &note, error))
        return FALSE;
    unlink(path);
    if (status != NULL)
        *status = note.status;
    return TRUE;
}

gboolean
lab_wait_exit(const char *name, guint timeout_ms, int *status, GError **error)
{
    GPid pid = read_pid(name);

    if (status != NULL)
        *status = -1;
    return pid == 0 || end_of(name, pid, timeout_ms, status, error);
}

gboolean
lab_kill(const char *name, int signal, guint timeout_ms, int *status, GError **error)
{
    GPid pid = lab_pid(name);

    if (pid != 0)
        kill(pid, signal);
    return lab_wait_exit(name, timeout_ms, status, error);
}

char *
lab_log(const char *name)
{
    g_autofree char *path = log_path(name);
    char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return g_strdup("");
    return text;
}
