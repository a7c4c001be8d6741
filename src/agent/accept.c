/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/engine_private.h"

#include "base/clock.h"
#include "base/error.h"
#include "model/policy.h"
#include "worker/launcher.h"

/* One request on its way through its prechecks. */
typedef struct {
    WkOperation *op;
    WkJob *job; /* only to look with */
    WkFallback fallback;
    gboolean dry_run;
    gboolean busy;          /* something is at work on the guest: it decides when its turn comes */
    gboolean fallback_only; /* the precheck says no, so the fallback is all there is to try */
    GError *refusal;        /* why, then */
} Accept;

/* Who asked, for what: data of the outer task. */
typedef struct {
    WkEngine *engine;
    WkRequest request; /* its strings are ours */
} Submission;

static void
submission_free(gpointer data)
{
    Submission *submission = data;

    g_free((gpointer)submission->request.guest);
    g_free((gpointer)submission->request.wukong_uid);
    g_free((gpointer)submission->request.request_id);
    g_free((gpointer)submission->request.owed);
    g_free(submission);
}

static void
accept_free(gpointer data)
{
    Accept *accept = data;

    wk_operation_free(accept->op);
    wk_job_free(accept->job);
    g_clear_error(&accept->refusal);
    g_free(accept);
}

static gboolean
already_so(Accept *accept)
{
    WkOperation *op = accept->op;

    op->target = accept->job->record->state == WK_LEDGER_SEALED ? WK_TARGET_DISK : WK_TARGET_MEMORY;
    wk_operation_set_state(op, WK_OP_SUCCEEDED, "AlreadySo",
                           op->action == WK_ACTION_RESUME ? "already running"
                           : op->target == WK_TARGET_DISK ? "already suspended to disk"
                                                          : "already suspended to memory");
    return TRUE;
}

/* A precheck that refuses goes to the fallback at once, where there is one. */
static gboolean
check_save(Accept *accept, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (wk_job_precheck_save(accept->job, &local))
        return TRUE;
    if (accept->fallback == WK_FALLBACK_NONE
        || !g_error_matches(local, WK_ERROR, WK_ERROR_REFUSED)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    accept->fallback_only = TRUE;
    accept->refusal = g_steal_pointer(&local);
    return TRUE;
}

/* What the request would come to now; that it changes nothing is I7. */
static gboolean
decide(Accept *accept, GError **error)
{
    WkJob *job = accept->job;
    g_autoptr(GError) local = NULL;
    const WkDecision *decision;
    WkPlace place;

    if (accept->busy && accept->op->action == WK_ACTION_VERIFY) {
        /* in the queue it would take the place of what somebody waits for */
        wk_error_set(error, WK_ERROR_CONFLICT, "GuestBusy",
                     "guest '%s': an operation is under way; verify it once that has ended",
                     job->name);
        return FALSE;
    }
    if (accept->busy)
        return TRUE;
    if (!wk_job_look(job, &local)) {
        /* Storage may come late after a boot: that is what retries are for. */
        if (g_strcmp0(wk_error_get_reason(local), "DiskUnreachable") == 0)
            return TRUE;
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (wk_recovery_decide(&job->seen)->action != WK_RECOVER_REST)
        return TRUE; /* decided once it has settled */
    place = wk_lifecycle_place(job->record, &job->look, job->managed.kind == WK_IMAGE_FINAL);
    decision = wk_lifecycle_decide(place, wk_lifecycle_ask(accept->op->action, job->target),
                                   job->default_target);
    switch (decision->what) {
    case WK_DO_NOTHING:
        return already_so(accept);
    case WK_DO_SAVE:
        return check_save(accept, error);
    case WK_DO_REFUSE:
        wk_decision_set_error(decision, job->name, error);
        return FALSE;
    case WK_DO_PAUSE:
        return !wk_launcher_has(job) || wk_launcher_precheck(job, WK_TARGET_MEMORY, error);
    case WK_DO_UNPAUSE:
    case WK_DO_RESTORE:
    case WK_DO_DISCARD:
    case WK_DO_VERIFY:
    case WK_DO_START:
    case WK_DO_RETRY:
    default:
        return TRUE;
    }
}

static gboolean
accept_blocking(Accept *accept, GError **error)
{
    WkJob *job = accept->job;

    if (!decide(accept, error))
        return FALSE;
    return accept->dry_run
           || (wk_run_step(job->run, WK_STEP_OPERATION_ACCEPT, error)
               && wk_ledger_put_operation(job->ledger, accept->op, error));
}

/* Worker. */
static void
run_accept(GTask *async, gpointer object G_GNUC_UNUSED, gpointer data,
           GCancellable *cancellable G_GNUC_UNUSED)
{
    GError *error = NULL;

    if (accept_blocking(data, &error))
        g_task_return_boolean(async, TRUE);
    else
        g_task_return_error(async, error);
}

static void
enqueue(WkEngine *self, WkGuest *guest, Accept *accept)
{
    WkTask *task = wk_task_new(self, guest->uuid, guest->name, wk_operation_copy(accept->op),
                               wk_task_aim_of(accept->op->action));

    if (accept->fallback_only) {
        task->failure = g_steal_pointer(&accept->refusal);
        wk_engine_set_fallback(task);
    }
    wk_engine_enqueue(self, guest, task);
}

static void begin(WkEngine *self, GTask *outer);

/* The next request for @guest that came while one was looked at. */
static void
begin_next(WkEngine *self, WkGuest *guest)
{
    GTask *next;

    guest->accepting = FALSE;
    next = g_queue_pop_head(&guest->submissions);
    if (next != NULL)
        begin(self, next);
    else
        wk_engine_publish_guest(self, guest); /* it may be gone meanwhile */
}

static WkOperation *
take_accepted(WkEngine *self, WkGuest *guest, Accept *accept, GError **error)
{
    if (self->quiet) {
        g_set_error(error, WK_ERROR, WK_ERROR_UNAVAILABLE, "the agent is going down");
        return NULL;
    }
    if (wk_op_state_is_final(accept->op->state) && !accept->dry_run) {
        wk_engine_remember(self, accept->op);
        wk_engine_publish_operation(self, accept->op);
    } else if (!accept->dry_run) {
        enqueue(self, guest, accept);
    }
    return wk_operation_copy(accept->op);
}

/* What the worker found is told to the outer task, which the caller waits on. */
static void
on_accepted(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) outer = data;
    WkEngine *self = ((Submission *)g_task_get_task_data(outer))->engine;
    Accept *accept = g_task_get_task_data(G_TASK(result));
    WkGuest *guest = wk_engine_find(self, accept->op->guest);
    GError *error = NULL;
    WkOperation *op = NULL;

    if (g_task_propagate_boolean(G_TASK(result), &error))
        op = take_accepted(self, guest, accept, &error);
    if (op != NULL)
        g_task_return_pointer(outer, op, (GDestroyNotify)wk_operation_free);
    else
        g_task_return_error(outer, error);
    begin_next(self, guest);
}

/* The same request twice is one operation. */
static WkOperation *
find_same(const WkGuest *guest, const WkRequest *request)
{
    const WkTask *task = guest->next != NULL ? guest->next : guest->task;

    if (task == NULL || task->op == NULL || task->finishing || task->stopping
        || task->op->action != request->action || task->asked != request->target
        || g_strcmp0(task->op->wukong_uid, request->wukong_uid) != 0)
        return NULL;
    return wk_operation_copy(task->op);
}

static guint
timeout_of(WkEngine *self, const WkGuest *guest, const WkRequest *request)
{
    const gboolean restore =
        request->action != WK_ACTION_SUSPEND && guest->record->state != WK_LEDGER_NONE;
    const guint64 bytes = restore ? guest->record->seal.file.size_bytes
                                  : (guest->facts != NULL ? guest->facts->memory_kib * 1024 : 0);
    WkTarget target = request->target != WK_TARGET_NONE ? request->target : self->default_target;

    if (request->timeout_s > 0)
        return request->timeout_s;
    if (request->action != WK_ACTION_SUSPEND)
        target = restore ? WK_TARGET_DISK : WK_TARGET_MEMORY;
    return wk_policy_timeout_s(request->action, target, bytes);
}

static Accept *
make_accept(WkEngine *self, WkGuest *guest, const WkRequest *request)
{
    Accept *accept = g_new0(Accept, 1);
    g_autoptr(WkTask) look = NULL;

    accept->op = wk_operation_new(request, wk_source_get_name(guest->source), guest->name,
                                  timeout_of(self, guest, request));
    accept->fallback = request->fallback;
    accept->dry_run = request->dry_run;
    accept->busy = guest->task != NULL;
    look = wk_task_new(self, guest->uuid, guest->name, wk_operation_copy(accept->op),
                       wk_task_aim_of(request->action));
    accept->job = wk_engine_make_job(self, look, guest);
    /* Whoever was accepted before has its room, be it that its turn has not come. */
    accept->job->promised_bytes = wk_engine_promised(self, NULL, TRUE);
    return accept;
}

/* Returns: FALSE when @request can't be looked at. */
static gboolean
can_begin(WkEngine *self, const WkRequest *request, const WkGuest *guest, GError **error)
{
    if (guest != NULL && wk_source_is_up(guest->source) && !self->quiet)
        return TRUE;
    wk_error_set(error, guest == NULL ? WK_ERROR_NOT_FOUND : WK_ERROR_UNAVAILABLE,
                 guest == NULL ? "NoSuchGuest" : "SourceAway",
                 guest == NULL ? "there is no guest '%s'"
                               : "guest '%s': libvirt can't be reached, try again later",
                 guest == NULL ? request->guest : guest->name);
    return FALSE;
}

/* Takes @outer (transfer full). One request a guest is looked at at a time: the same one twice must
 * find the first one's operation, however close they come. */
static void
begin(WkEngine *self, GTask *outer)
{
    const WkRequest *request = &((Submission *)g_task_get_task_data(outer))->request;
    WkGuest *guest = wk_engine_find(self, request->guest);
    g_autoptr(GTask) inner = NULL;
    GError *error = NULL;
    WkOperation *same;

    if (guest != NULL && guest->accepting) {
        g_queue_push_tail(&guest->submissions, outer);
        return;
    }
    if (guest != NULL)
        guest->accepting = TRUE;
    same = !request->dry_run && guest != NULL ? find_same(guest, request) : NULL;
    if (can_begin(self, request, guest, &error) && same == NULL) {
        inner = g_task_new(NULL, NULL, on_accepted, outer);
        g_task_set_task_data(inner, make_accept(self, guest, request), accept_free);
        wk_source_push(guest->source, WK_LANE_QUICK, g_steal_pointer(&inner), run_accept);
        return;
    }
    if (error != NULL)
        g_task_return_error(outer, error);
    else
        g_task_return_pointer(outer, g_steal_pointer(&same), (GDestroyNotify)wk_operation_free);
    wk_operation_free(same);
    g_object_unref(outer);
    if (guest != NULL)
        begin_next(self, guest);
}

void
wk_engine_submit(WkEngine *self, const WkRequest *request, GAsyncReadyCallback callback,
                 gpointer user_data)
{
    GTask *outer = g_task_new(NULL, NULL, callback, user_data);
    Submission *submission = g_new0(Submission, 1);

    submission->engine = self;
    submission->request = *request;
    submission->request.guest = g_strdup(request->guest);
    submission->request.wukong_uid = g_strdup(request->wukong_uid);
    submission->request.request_id = g_strdup(request->request_id);
    submission->request.owed = g_strdup(request->owed);
    g_task_set_task_data(outer, submission, submission_free);
    begin(self, outer);
}

WkOperation *
wk_engine_submit_finish(WkEngine *self G_GNUC_UNUSED, GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}
