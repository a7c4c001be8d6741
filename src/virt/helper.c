/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/helper.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "virt/helper_line.h"
#include "virt/helper_main.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#define CALLS_MAX  16
#define PING_MS    10000
#define SEND_S     10
#define LIBVIRT_FD 3 /* in the helper; 0 is its end of the socket pair */

/* One call that waits; lives on its caller's stack. */
typedef struct {
    guint64 id;
    const WkHelperKind *kind;
    gboolean done;
    JsonObject *result; /* with @failed NULL */
    GError *failed;
} Call;

struct _WkHelper {
    gatomicrefcount users; /* the last one kills; the thread has a reference of its own */
    int fd;                /* our end */
    int libvirt;           /* for the thread to hand on; -1: none */
    uid_t user;
    gid_t group;

    GMutex write_lock;

    GMutex lock;
    GCond changed;
    GList *calls; /* (element-type Call), not owned */
    guint64 last_id;
    pid_t pid;   /* 0: not started, or reaped */
    GError *why; /* it is dead, or as good as; NULL: it lives */
};

static void
helper_clear(gpointer data)
{
    WkHelper *self = data;

    wk_files_auto_close(&self->fd);
    wk_files_auto_close(&self->libvirt);
    g_clear_error(&self->why);
    g_mutex_clear(&self->write_lock);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
}

static void
helper_release(WkHelper *self)
{
    g_atomic_rc_box_release_full(self, helper_clear);
}

/* Under the lock. Only the helper's thread reaps, under the same lock: the pid is ours. The first
 * @why (transfer full) wins. */
static void
end_locked(WkHelper *self, GError *why)
{
    if (self->why == NULL)
        self->why = why;
    else
        g_error_free(why);
    if (self->pid > 0)
        (void)kill(self->pid, SIGKILL);
    g_cond_broadcast(&self->changed);
}

void
wk_helper_kill(WkHelper *self, const char *why)
{
    g_mutex_lock(&self->lock);
    end_locked(self, g_error_new_literal(WK_ERROR, WK_ERROR_UNAVAILABLE, why));
    g_mutex_unlock(&self->lock);
}

/* Spawned in a thread that outlives it: the signal at a parent's death is sent at that of the
 * thread. @end: its end of the socket pair. */
static gboolean
spawn(WkHelper *self, int end, GError **error)
{
    g_autofree char *user = g_strdup_printf("%u", self->user);
    g_autofree char *group = g_strdup_printf("%u", self->group);
    const char *const argv[] = { "/proc/self/exe",
                                 "wukongd",
                                 WK_HELPER_OPTION,
                                 user,
                                 group,
                                 self->libvirt >= 0 ? "libvirt" : "xml",
                                 NULL };
    const char *const env[] = { NULL };
    const int target = LIBVIRT_FD;
    GPid pid = 0;

    if (!g_spawn_async_with_pipes_and_fds(
            NULL, argv, env,
            G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_FILE_AND_ARGV_ZERO | G_SPAWN_STDOUT_TO_DEV_NULL
                | G_SPAWN_STDERR_TO_DEV_NULL,
            NULL, NULL, end, -1, -1, &self->libvirt, &target, self->libvirt >= 0 ? 1 : 0, &pid,
            NULL, NULL, NULL, error))
        return FALSE;
    wk_files_auto_close(&self->libvirt);
    self->libvirt = -1;
    g_mutex_lock(&self->lock);
    self->pid = pid;
    if (self->why != NULL)
        (void)kill(pid, SIGKILL); /* ended before it began */
    g_mutex_unlock(&self->lock);
    return TRUE;
}

/* Returns: (transfer none) (nullable): the call that waits for answer @id. Under the lock. */
static Call *
find_call(WkHelper *self, guint64 id)
{
    for (GList *l = self->calls; l != NULL; l = l->next) {
        Call *call = l->data;

        if (call->id == id && !call->done)
            return call;
    }
    return NULL;
}

static gsize
longest_answer(gpointer data)
{
    WkHelper *self = data;
    gsize longest = wk_helper_kind(WK_HELPER_PING)->answer_max;

    g_mutex_lock(&self->lock);
    for (GList *l = self->calls; l != NULL; l = l->next) {
        const Call *call = l->data;

        longest = MAX(longest, call->kind->answer_max);
    }
    g_mutex_unlock(&self->lock);
    return longest;
}

/* Takes @result and @failed (transfer full). */
static gboolean
hand_over(WkHelper *self, guint64 id, gsize length, JsonObject *result, GError *failed)
{
    Call *call;

    g_mutex_lock(&self->lock);
    call = find_call(self, id);
    if (call != NULL && length > call->kind->answer_max)
        call = NULL;
    if (call != NULL) {
        call->done = TRUE;
        call->result = g_steal_pointer(&result);
        call->failed = g_steal_pointer(&failed);
        g_cond_broadcast(&self->changed);
    }
    g_mutex_unlock(&self->lock);
    if (result != NULL)
        json_object_unref(result);
    g_clear_error(&failed);
    return call != NULL;
}

static gboolean
take_answer(WkHelper *self, const char *line, gsize length, GError **error)
{
    GError *failed = NULL;
    guint64 id = 0;
    g_autoptr(JsonObject) result = wk_helper_answer_parse(line, length, &id, &failed, error);

    if (result == NULL)
        return FALSE;
    if (id == 0 && failed != NULL) { /* it could not start */
        g_propagate_error(error, failed);
        return FALSE;
    }
    if (hand_over(self, id, length, g_steal_pointer(&result), failed))
        return TRUE;
    wk_error_set(error, WK_ERROR_INVALID, NULL, "it answers what was not asked");
    return FALSE;
}

static void
read_answers(WkHelper *self, GError **error)
{
    g_auto(WkHelperLines) lines = { 0 };
    const char *line;
    gsize length;

    wk_helper_lines_init(&lines, self->fd);
    while (wk_helper_lines_read(&lines, longest_answer, self, &line, &length, error)
           && take_answer(self, line, length, error))
        continue;
    if (g_error_matches(*error, WK_ERROR, WK_ERROR_INVALID))
        g_prefix_error(error, "it does not keep to the protocol: ");
    if (*error == NULL)
        wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL, "it ended");
}

static void
reap(WkHelper *self)
{
    const pid_t pid = self->pid; /* only this thread changes it */
    siginfo_t info;

    if (pid <= 0)
        return;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        continue;
    g_mutex_lock(&self->lock);
    (void)waitpid(pid, NULL, WNOHANG);
    self->pid = 0;
    g_mutex_unlock(&self->lock);
}

/* The helper's own thread: its life, from spawn to burial. */
static gpointer
run(gpointer data)
{
    WkHelper *self = data;
    GError *error = NULL;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        wk_error_set_errno(&error, errno, "a socket for the launcher's helper");
    } else {
        WK_AUTO_FD int end = ends[1];
        const struct timeval patience = { .tv_sec = SEND_S };
        gboolean spawned;

        (void)setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        g_mutex_lock(&self->lock);
        self->fd = ends[0];
        g_cond_broadcast(&self->changed);
        g_mutex_unlock(&self->lock);
        spawned = spawn(self, end, &error);
        wk_files_auto_close(&end);
        end = -1;
        if (spawned)
            read_answers(self, &error);
    }
    g_mutex_lock(&self->lock);
    end_locked(self, error);
    g_mutex_unlock(&self->lock);
    reap(self);
    helper_release(self);
    return NULL;
}

WkHelper *
wk_helper_start(int socket, uid_t user, gid_t group)
{
    WkHelper *self = g_atomic_rc_box_new0(WkHelper);
    GError *error = NULL;
    GThread *thread;

    g_atomic_ref_count_init(&self->users);
    self->fd = -1;
    self->libvirt = socket;
    self->user = user;
    self->group = group;
    g_mutex_init(&self->write_lock);
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    thread = g_thread_try_new("wk-helper", run, g_atomic_rc_box_acquire(self), &error);
    if (thread != NULL) {
        g_thread_unref(thread);
    } else {
        self->why = error;
        helper_release(self);
    }
    return self;
}

WkHelper *
wk_helper_ref(WkHelper *self)
{
    g_atomic_ref_count_inc(&self->users);
    return self;
}

void
wk_helper_unref(WkHelper *self)
{
    if (self == NULL || !g_atomic_ref_count_dec(&self->users))
        return;
    wk_helper_kill(self, "nobody needs it any more");
    helper_release(self);
}

gboolean
wk_helper_is_alive(WkHelper *self)
{
    gboolean alive;

    g_mutex_lock(&self->lock);
    alive = self->why == NULL;
    g_mutex_unlock(&self->lock);
    return alive;
}

pid_t
wk_helper_get_pid(WkHelper *self)
{
    pid_t pid;

    g_mutex_lock(&self->lock);
    pid = self->pid;
    g_mutex_unlock(&self->lock);
    return pid;
}

/* Under the lock. */
static void
set_dead_error(WkHelper *self, GError **error)
{
    wk_error_set(error, WK_ERROR_UNAVAILABLE, wk_error_get_reason(self->why),
                 "the helper that talks to the guest's launcher pod: %s", self->why->message);
}

/* The socket is made by the helper's thread, at once. */
static gboolean
enter(WkHelper *self, Call *call, GError **error)
{
    gboolean entered = FALSE;

    g_mutex_lock(&self->lock);
    while (self->fd < 0 && self->why == NULL)
        g_cond_wait(&self->changed, &self->lock);
    if (self->why != NULL) {
        set_dead_error(self, error);
    } else if (g_list_length(self->calls) >= CALLS_MAX) {
        wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL,
                     "too many calls to the guest's launcher pod at once");
    } else {
        call->id = ++self->last_id;
        self->calls = g_list_prepend(self->calls, call);
        entered = TRUE;
    }
    g_mutex_unlock(&self->lock);
    return entered;
}

static void
leave(WkHelper *self, Call *call)
{
    g_mutex_lock(&self->lock);
    self->calls = g_list_remove(self->calls, call);
    g_mutex_unlock(&self->lock);
}

static gboolean
send_request(WkHelper *self, const Call *call, const WkHelperRequest *request, GError **error)
{
    g_autofree char *line = wk_helper_request_format(call->id, request, error);
    gboolean sent;

    if (line == NULL)
        return FALSE;
    g_mutex_lock(&self->write_lock);
    sent = wk_helper_lines_write(self->fd, line);
    g_mutex_unlock(&self->write_lock);
    if (!sent)
        wk_helper_kill(self, "it takes no requests");
    return TRUE; /* a dead helper is told by the wait */
}

/* Waits until @call is done, or the helper dead; TRUE when neither by @until_us. */
static gboolean
is_late(WkHelper *self, const Call *call, gint64 until_us)
{
    gboolean late = FALSE;

    g_mutex_lock(&self->lock);
    while (!call->done && self->why == NULL && !late)
        late = !g_cond_wait_until(&self->changed, &self->lock, until_us);
    late = late && !call->done && self->why == NULL;
    g_mutex_unlock(&self->lock);
    return late;
}

/* Each answered ping buys a call that lasts another while; one that is not kills the helper. */
static void
wait_with_pings(WkHelper *self, const Call *call)
{
    const WkHelperRequest ping = { .method = WK_HELPER_PING };

    while (is_late(self, call, wk_clock_mono_us() + PING_MS * G_TIME_SPAN_MILLISECOND)) {
        g_autoptr(JsonObject) answer = wk_helper_call(self, &ping, NULL);

        (void)answer;
    }
}

static void
wait_for(WkHelper *self, const Call *call)
{
    const gint64 until_us = wk_clock_mono_us() + call->kind->deadline_ms * G_TIME_SPAN_MILLISECOND;
    g_autofree char *why = NULL;

    if (call->kind->deadline_ms == 0) {
        wait_with_pings(self, call);
        return;
    }
    if (!is_late(self, call, until_us))
        return;
    why = g_strdup_printf("it did not answer '%s' within %u s and was ended", call->kind->name,
                          call->kind->deadline_ms / 1000);
    wk_helper_kill(self, why);
}

JsonObject *
wk_helper_call(WkHelper *self, const WkHelperRequest *request, GError **error)
{
    Call call = { .kind = wk_helper_kind(request->method) };

    if (!enter(self, &call, error))
        return NULL;
    if (!send_request(self, &call, request, error)) {
        leave(self, &call);
        return NULL;
    }
    wait_for(self, &call);
    leave(self, &call);
    if (call.failed != NULL) {
        json_object_unref(call.result);
        g_propagate_error(error, call.failed);
        return NULL;
    }
    if (!call.done) {
        g_mutex_lock(&self->lock);
        set_dead_error(self, error);
        g_mutex_unlock(&self->lock);
    }
    return call.result;
}
