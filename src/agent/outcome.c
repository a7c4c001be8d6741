/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/engine_private.h"
#include "agent/memory.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "model/policy.h"

#define WAIT_MS         200 /* between two looks at a libvirt job that is not ours to wait in */
#define SETTLE_S        10  /* after libvirtd came back, "not in this state" may be wrong (F10) */
#define STOP_BUDGET_S   120
#define MEMORY_BUDGET_S 60

/* ---- the end of a task ---- */

static void
end_task(WkEngine *self, WkGuest *guest, WkTask *task)
{
    g_assert(guest->task == task);
    wk_task_disarm_all(task);
    guest->task = g_steal_pointer(&guest->next);
    wk_task_unref(task);
    if (guest->task != NULL) {
        wk_engine_arm_deadline(guest->task);
        wk_engine_ready(self, guest->task);
    } else {
        wk_engine_look(self, guest);
    }
    wk_engine_publish_guest(self, guest);
    self->listener.settled(self->data);
}

/* What the finishing worker writes. */
typedef struct {
    WkTask *task;
    WkOperation *op;
    WkJob *job;
    WkRecord *record;
    gboolean sync_time;
} Finish;

static void
finish_free(gpointer data)
{
    Finish *finish = data;

    wk_task_unref(finish->task);
    wk_operation_free(finish->op);
    wk_job_free(finish->job);
    wk_record_free(finish->record);
    g_free(finish);
}

static void
sync_time(Finish *finish)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;

    if (wk_memory_sync_time(finish->job, &error))
        return;
    text = g_strdup_printf("%s; its clock is behind by the time it was away (%s)",
                           finish->op->message, error->message);
    g_free(finish->op->message);
    g_free(finish->op->reason);
    finish->op->message = g_steal_pointer(&text);
    finish->op->reason = g_strdup("TimeNotSynced");
    wk_record_explain(finish->record, finish->op->reason, finish->op->message);
}

/* Worker. */
static void
run_finish(GTask *async, gpointer object G_GNUC_UNUSED, gpointer data,
           GCancellable *cancellable G_GNUC_UNUSED)
{
    Finish *finish = data;
    WkJob *job = finish->job;
    GError *error = NULL;

    if (finish->sync_time)
        sync_time(finish);
    if (wk_job_commit(job, WK_STEP_OPERATION_FINISH, wk_record_copy(finish->record), &error)
        && wk_ledger_put_operation(job->ledger, finish->op, &error))
        g_task_return_boolean(async, TRUE);
    else
        g_task_return_error(async, error);
}

static void
log_outcome(const WkOperation *op)
{
    const WkLogFields fields = { .guest = op->name,
                                 .uuid = op->guest,
                                 .action = wk_action_name(op->action),
                                 .result = wk_op_state_name(op->state) };

    wk_log(op->state == WK_OP_FAILED ? WK_LOG_WARNING : WK_LOG_INFO, &fields, "%s",
           op->message != NULL ? op->message : wk_op_state_name(op->state));
}

static void
on_finished(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkEngine *self = data;
    Finish *finish = g_task_get_task_data(G_TASK(result));
    WkTask *task = finish->task;
    WkGuest *guest = wk_engine_find(self, task->uuid);
    g_autoptr(GError) error = NULL;
    const gboolean ok = g_task_propagate_boolean(G_TASK(result), &error);

    if (self->quiet || guest == NULL)
        return;
    if (!ok)
        wk_log(WK_LOG_ERROR, &(WkLogFields){ .guest = guest->name, .uuid = guest->uuid },
               "the outcome could not be recorded: %s", error->message);
    wk_record_free(guest->record);
    guest->record = wk_record_copy(finish->job->record);
    wk_operation_free(task->op);
    task->op = wk_operation_copy(finish->op);
    log_outcome(task->op);
    wk_engine_remember(self, task->op);
    wk_engine_publish_operation(self, task->op);
    end_task(self, guest, task);
}

/* What is published of the guest besides its state. An image that is held keeps its reason. */
static WkRecord *
final_record(const WkGuest *guest, const WkOperation *op)
{
    WkRecord *record = wk_record_copy(guest->record);

    record->last_action = op->action;
    record->last_action_at_us = op->finished_at_us;
    if (op->state == WK_OP_CANCELLED)
        return record;
    if (op->state == WK_OP_SUCCEEDED)
        record->origin = op->origin;
    if (record->state != WK_LEDGER_QUARANTINED)
        wk_record_explain(record, op->reason, op->message);
    return record;
}

static void
finish(WkEngine *self, WkTask *task, WkOpState state, const char *reason, const char *message)
{
    WkGuest *guest = wk_engine_find(self, task->uuid);
    g_autoptr(GTask) async = g_task_new(NULL, NULL, on_finished, self);
    Finish *work = g_new0(Finish, 1);
    WkLane lane = WK_LANE_QUICK;

    task->finishing = TRUE;
    wk_task_disarm_all(task);
    work->task = wk_task_ref(task);
    work->op = wk_operation_copy(task->op);
    wk_operation_set_state(work->op, state, reason, message);
    work->op->step = WK_STEP_NONE;
    work->record = final_record(guest, work->op);
    wk_task_renew_run(task);
    work->job = wk_engine_make_job(self, task, guest);
    if (task->unpaused && state == WK_OP_SUCCEEDED) {
        work->sync_time = TRUE;
        lane = WK_LANE_LONG; /* a guest's agent may take its time */
    }
    g_task_set_task_data(async, work, finish_free);
    wk_source_push(guest->source, lane, g_steal_pointer(&async), run_finish);
}

void
wk_engine_end_unstarted(WkEngine *self, WkTask *task, WkOpState state, const char *reason,
                        const char *message)
{
    g_autoptr(GError) error = NULL;

    wk_operation_set_state(task->op, state, reason, message);
    if (!wk_ledger_put_operation(self->ledger, task->op, &error))
        wk_log(WK_LOG_ERROR, &(WkLogFields){ .guest = task->op->name, .uuid = task->op->guest },
               "the outcome could not be recorded: %s", error->message);
    log_outcome(task->op);
    wk_engine_remember(self, task->op);
    wk_engine_publish_operation(self, task->op);
}

/* ---- what an outcome is called ---- */

static char *
describe_suspend(const WkTask *task, const WkGuest *guest, const char **reason)
{
    g_autofree char *size = NULL;
    g_autofree char *time = NULL;

    if (guest->record->state == WK_LEDGER_SEALED) {
        *reason = "SavedToDisk";
        size = wk_units_format_bytes(guest->record->seal.file.size_bytes);
        if (task->did_target == WK_TARGET_NONE)
            return g_strdup_printf("already suspended to disk: %s", size);
        time = wk_units_format_duration(wk_clock_mono_us() - task->try_began_us);
        return g_strdup_printf("saved to disk: %s in %s", size, time);
    }
    *reason = "Paused";
    return g_strdup(task->did_target == WK_TARGET_NONE ? "already suspended to memory"
                                                       : "paused in memory");
}

static char *
describe_success(const WkTask *task, const WkGuest *guest, const char **reason)
{
    g_autofree char *time = wk_units_format_duration(wk_clock_mono_us() - task->try_began_us);

    *reason = NULL;
    if (task->op->action == WK_ACTION_SUSPEND)
        return describe_suspend(task, guest, reason);
    if (task->op->action == WK_ACTION_DISCARD)
        return g_strdup("its saved state was dropped");
    if (task->did_target == WK_TARGET_NONE && !task->unpaused)
        return g_strdup("already running");
    return g_strdup_printf("resumed from %s in %s",
                           task->did_target == WK_TARGET_DISK ? "disk" : "memory", time);
}

static char *
describe_fallback(const WkTask *task)
{
    return g_strdup_printf("Suspend failed: %s; %s instead", task->failure->message,
                           task->op->fallback == WK_FALLBACK_STOP ? "it was shut down"
                                                                  : "it was suspended to memory");
}

static void
finish_success(WkEngine *self, WkTask *task, WkGuest *guest)
{
    g_autofree char *message = NULL;
    const char *reason = NULL;

    if (task->in_fallback) {
        message = describe_fallback(task);
        finish(self, task, WK_OP_SUCCEEDED,
               task->op->fallback == WK_FALLBACK_STOP ? "StoppedByFallback" : "FellBack", message);
        return;
    }
    message = describe_success(task, guest, &reason);
    finish(self, task, WK_OP_SUCCEEDED, reason, message);
}

static void
finish_failure(WkEngine *self, WkTask *task)
{
    static const char *const verbs[] = { [WK_ACTION_NONE] = "Operation",
                                         [WK_ACTION_SUSPEND] = "Suspend",
                                         [WK_ACTION_RESUME] = "Resume",
                                         [WK_ACTION_DISCARD] = "Discard" };
    const gboolean cancelled = task->stopping && !task->timed_out;
    const char *reason = wk_error_get_reason(task->failure);
    g_autofree char *message = g_strdup_printf(
        "%s %s: %s", verbs[task->op->action],
        cancelled ? "cancelled" : (task->timed_out ? "timeout" : "failed"), task->failure->message);

    if (cancelled)
        finish(self, task, WK_OP_CANCELLED, task->superseded ? "Superseded" : "Cancelled", message);
    else
        finish(self, task, WK_OP_FAILED, task->timed_out ? "Timeout" : reason, message);
}

/* ---- what follows a try ---- */

static gboolean
on_retry(gpointer data)
{
    WkTask *task = data;

    wk_task_disarm(&task->retry_timer);
    wk_engine_ready(task->engine, task);
    return G_SOURCE_REMOVE;
}

void
wk_engine_retry_now(WkEngine *self, WkTask *task)
{
    if (task->retry_timer == NULL)
        return;
    wk_task_disarm(&task->retry_timer);
    wk_engine_ready(self, task);
}

/* A next try with another aim, on a clean slate but for the failure that it will end with. */
static void
go_for(WkEngine *self, WkTask *task, WkAim aim)
{
    wk_task_renew_run(task);
    task->aim = aim;
    wk_engine_ready(self, task);
}

static gboolean
wants_fallback(const WkTask *task)
{
    return task->op->action == WK_ACTION_SUSPEND && task->op->fallback != WK_FALLBACK_NONE
           && !task->in_fallback && !(task->stopping && !task->timed_out);
}

void
wk_engine_set_fallback(WkTask *task)
{
    const gboolean stop = task->op->fallback == WK_FALLBACK_STOP;

    task->in_fallback = TRUE;
    task->stopping = FALSE;
    task->timed_out = FALSE;
    task->asked = WK_TARGET_MEMORY;
    task->aim = stop ? WK_AIM_STOP : WK_AIM_SUSPEND;
    /* Its own budget: the request's time may be what ran out. */
    task->op->deadline_at_us =
        wk_clock_real_us() + (stop ? STOP_BUDGET_S : MEMORY_BUDGET_S) * G_USEC_PER_SEC;
}

static void
start_fallback(WkEngine *self, WkTask *task)
{
    wk_engine_set_fallback(task);
    wk_engine_arm_deadline(task);
    go_for(self, task, task->aim);
}

static gboolean
is_midway(const WkGuest *guest)
{
    return guest->record->state == WK_LEDGER_SAVING || guest->record->state == WK_LEDGER_RESTORING;
}

/* The guest is in order, or can't be brought there now: the operation ends. */
static void
conclude(WkEngine *self, WkTask *task, WkGuest *guest)
{
    const gboolean saved_after_all = task->op->action == WK_ACTION_SUSPEND && !task->in_fallback
                                     && guest->record->state == WK_LEDGER_SEALED;

    if (task->failure == NULL || saved_after_all || (task->in_fallback && task->aim_reached))
        finish_success(self, task, guest);
    else if (wants_fallback(task) && !is_midway(guest))
        start_fallback(self, task);
    else
        finish_failure(self, task);
}

static void
fail(WkEngine *self, WkTask *task, WkGuest *guest, GError *failure)
{
    if (task->failure == NULL)
        task->failure = failure;
    else
        g_error_free(failure);
    /* I7: first the guest is brought back to where it was, then the failure is told. */
    if (is_midway(guest) && task->aim != WK_AIM_CANCEL && !task->given_up)
        go_for(self, task, WK_AIM_CANCEL);
    else
        conclude(self, task, guest);
}

static gboolean
is_waiting(const GError *failure)
{
    const char *reason = wk_error_get_reason(failure);

    return g_strcmp0(reason, "JobRunning") == 0 || g_strcmp0(reason, "WaitingForShutdown") == 0;
}

static gboolean
is_passing(WkEngine *self, const GError *failure)
{
    if (g_error_matches(failure, WK_ERROR, WK_ERROR_UNAVAILABLE))
        return TRUE;
    return g_error_matches(failure, WK_ERROR, WK_ERROR_CONFLICT)
           && wk_clock_mono_us() - self->last_up_us < SETTLE_S * G_USEC_PER_SEC;
}

static void
retry_later(WkTask *task, const GError *failure)
{
    const guint ms = wk_policy_backoff_ms(task->attempt);
    g_autofree char *message = NULL;

    if (task->op != NULL) {
        message = g_strdup_printf("attempt %u failed: %s; next try in %u s", task->attempt,
                                  failure->message, (ms + 999) / 1000);
        wk_operation_set_state(task->op, WK_OP_RUNNING, wk_error_get_reason(failure), message);
        wk_engine_publish_operation(task->engine, task->op);
    }
    wk_task_renew_run(task);
    wk_task_arm(task, &task->retry_timer, ms, on_retry);
}

/* Worker: ends a libvirt job of ours that no worker is in (it was adopted). */
static void
run_break(GTask *async, gpointer object G_GNUC_UNUSED, gpointer data,
          GCancellable *cancellable G_GNUC_UNUSED)
{
    WkJob *job = data;
    g_autoptr(WkConnection) connection = wk_source_borrow(job->source, WK_LANE_QUICK, NULL);
    gboolean ours;

    if (connection != NULL && wk_domain_look(connection, job->uuid, &job->look, NULL)) {
        ours = g_strcmp0(job->look.op, job->record->op) == 0;
        if (ours && job->look.job && job->record->state == WK_LEDGER_SAVING)
            (void)wk_domain_abort_job(connection, job->uuid, NULL);
        if (job->look.power == WK_POWER_STARTING && job->record->state == WK_LEDGER_RESTORING)
            (void)wk_domain_destroy(connection, job->uuid, NULL);
    }
    g_task_return_boolean(async, TRUE);
}

static void
break_job(WkEngine *self, WkTask *task, WkGuest *guest)
{
    g_autoptr(GTask) async = g_task_new(NULL, NULL, NULL, NULL);

    g_task_set_task_data(async, wk_engine_make_job(self, task, guest), (GDestroyNotify)wk_job_free);
    wk_source_push(guest->source, WK_LANE_QUICK, g_steal_pointer(&async), run_break);
}

/* libvirt is at work: look again soon. A task that is to stop ends the work, and undoes it. */
static void
wait_for_job(WkEngine *self, WkTask *task, WkGuest *guest)
{
    if (task->op != NULL && task->stopping && is_midway(guest)) {
        break_job(self, task, guest);
        task->aim = WK_AIM_CANCEL;
        if (task->failure == NULL)
            wk_error_set(&task->failure, WK_ERROR_CANCELLED, "Cancelled", "%s", task->stop_why);
    }
    if (!task->stopping && wk_task_update_progress(task))
        wk_engine_publish_operation(self, task->op);
    task->attempt--; /* a wait is no try */
    wk_task_renew_run(task);
    wk_task_arm(task, &task->retry_timer, WAIT_MS, on_retry);
}

static void
recovered(WkEngine *self, WkTask *task, WkGuest *guest, GError *failure)
{
    g_autoptr(GError) error = failure;

    if (error == NULL) {
        guest->needs_recovery = FALSE;
    } else if (is_waiting(error)) {
        wait_for_job(self, task, guest);
        return;
    } else if (wk_source_is_up(guest->source)) {
        /* The table has no row for "give up": it is tried for as long as it takes. */
        wk_log(WK_LOG_WARNING, &(WkLogFields){ .guest = guest->name, .uuid = guest->uuid },
               "bringing the guest in order, attempt %u: %s", task->attempt, error->message);
        guest->needs_recovery = FALSE; /* readiness does not wait for it */
        retry_later(task, error);
        wk_engine_publish_guest(self, guest);
        return;
    } else {
        guest->needs_recovery = TRUE; /* the source is away: it is listed again, and looked at */
    }
    end_task(self, guest, task);
}

static void
take_job(WkTask *task, WkGuest *guest, WkJob *job)
{
    if (job == NULL)
        return;
    wk_record_free(guest->record);
    guest->record = wk_record_copy(job->record);
    guest->guard_synced = job->guard_synced;
    guest->foreign_save = FALSE;
    wk_guest_saw(guest, &job->look, NULL);
    task->asked_to_stop = job->asked_to_stop;
    if (job->did_target != WK_TARGET_NONE)
        task->did_target = job->did_target;
    task->unpaused = task->unpaused || job->unpaused;
}

void
wk_engine_tried(WkEngine *self, WkTask *task, WkJob *job, GError *failure)
{
    WkGuest *guest = wk_engine_find(self, task->uuid);

    take_job(task, guest, job);
    if (task->op == NULL) {
        recovered(self, task, guest, failure);
        return;
    }
    guest->needs_recovery = FALSE;
    task->aim_reached = failure == NULL;
    if (failure == NULL) {
        conclude(self, task, guest);
    } else if (is_waiting(failure)
               && (!task->stopping || task->aim == WK_AIM_CANCEL || is_midway(guest))) {
        g_error_free(failure);
        wait_for_job(self, task, guest);
    } else if (is_passing(self, failure) && !task->stopping) {
        retry_later(task, failure);
        g_error_free(failure);
        wk_engine_publish_guest(self, guest);
    } else {
        fail(self, task, guest, failure);
    }
}
