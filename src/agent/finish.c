/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/engine_private.h"
#include "worker/memory.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

/* ---- the end of a task ---- */

#define FINISH_TRIES_MAX 10
#define FINISH_AGAIN_MS  1000

void
wk_engine_end_task(WkEngine *self, WkGuest *guest, WkTask *task)
{
    g_assert(guest->task == task);
    wk_task_disarm_all(task);
    wk_engine_release_slot(self, task);
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

/* Worker. */
static void
run_finish(GTask *async, gpointer object G_GNUC_UNUSED, gpointer data,
           GCancellable *cancellable G_GNUC_UNUSED)
{
    Finish *finish = data;
    WkJob *job = finish->job;
    GError *error = NULL;

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
finish(WkEngine *self, WkTask *task, WkOpState state, const char *reason, const char *message);

static gboolean
on_finish_again(gpointer data)
{
    WkTask *task = data;
    g_autoptr(WkOperation) op = g_steal_pointer(&task->ended);

    finish(task->engine, task, op->state, op->reason, op->message);
    return G_SOURCE_REMOVE;
}

/* What can't be recorded is not published as done (I3), as long as there is hope: a full disk gets
 * room again. In the end it is told all the same; after a restart it is decided anew. */
static gboolean
try_finish_again(WkTask *task, Finish *work, const GError *error)
{
    wk_log(WK_LOG_ERROR, &(WkLogFields){ .guest = work->op->name, .uuid = work->op->guest },
           "the outcome could not be recorded: %s", error->message);
    if (++task->finish_tries > FINISH_TRIES_MAX)
        return FALSE;
    task->ended = g_steal_pointer(&work->op);
    wk_task_arm(task, &task->retry_timer, FINISH_AGAIN_MS, on_finish_again);
    return TRUE;
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
    if (!ok && try_finish_again(task, finish, error))
        return;
    wk_record_free(guest->record);
    guest->record = wk_record_copy(finish->job->record);
    wk_operation_free(task->op);
    task->op = wk_operation_copy(finish->op);
    log_outcome(task->op);
    wk_engine_remember(self, task->op);
    wk_engine_publish_operation(self, task->op);
    wk_engine_end_task(self, guest, task);
}

/* What is published of the guest besides its state. An image that is held keeps its reason. */
static WkRecord *
final_record(const WkGuest *guest, const WkOperation *op)
{
    WkRecord *record = wk_record_copy(guest->record);

    if (op->action == WK_ACTION_VERIFY)
        return record; /* it has changed nothing that is told of the guest */
    record->last_action = op->action;
    record->last_action_at_us = op->finished_at_us;
    if (op->state == WK_OP_CANCELLED)
        return record;
    if (op->state == WK_OP_SUCCEEDED)
        record->origin = op->origin;
    if (record->state != WK_LEDGER_QUARANTINED)
        wk_record_explain(record, op->reason, op->message);
    if (record->state == WK_LEDGER_NONE && guest->seen)
        wk_record_tell_of(record, guest->look.power);
    return record;
}

static void
finish(WkEngine *self, WkTask *task, WkOpState state, const char *reason, const char *message)
{
    WkGuest *guest = wk_engine_find(self, task->uuid);
    g_autoptr(GTask) async = g_task_new(NULL, NULL, on_finished, self);
    Finish *work = g_new0(Finish, 1);

    task->finishing = TRUE;
    wk_task_disarm_all(task);
    work->task = wk_task_ref(task);
    work->op = wk_operation_copy(task->op);
    wk_operation_set_state(work->op, state, reason, message);
    work->op->step = WK_STEP_NONE;
    work->record = final_record(guest, work->op);
    wk_task_renew_run(task);
    work->job = wk_engine_make_job(self, task, guest);
    g_task_set_task_data(async, work, finish_free);
    wk_source_push(guest->source, WK_LANE_QUICK, g_steal_pointer(&async), run_finish);
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

static gboolean
has_caveat(const WkTask *task)
{
    return task->caveat != NULL && *task->caveat != '\0';
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
    if (task->op->action == WK_ACTION_VERIFY)
        return g_strdup_printf("its saved image is good, read through in %s", time);
    if (task->started)
        return g_strdup("started again");
    if (task->did_target == WK_TARGET_NONE && !task->unpaused)
        return g_strdup("already running");
    return g_strdup_printf("resumed from %s in %s%s%s",
                           task->did_target == WK_TARGET_DISK ? "disk" : "memory", time,
                           has_caveat(task) ? "; " : "", has_caveat(task) ? task->caveat : "");
}

static char *
describe_fallback(const WkTask *task)
{
    return g_strdup_printf("Suspend failed: %s; %s instead", task->failure->message,
                           task->op->fallback == WK_FALLBACK_STOP ? "it was shut down"
                                                                  : "it was suspended to memory");
}

/* ---- the guest's clock, after it stood still ---- */

/* The guest's agent is the guest's: it may answer late or never, so it is not waited for longer. */
#define SYNC_PATIENCE_MS 10000

typedef struct {
    WkTask *task;
    WkJob *job;
} Sync;

static void
sync_free(gpointer data)
{
    Sync *sync = data;

    wk_task_unref(sync->task);
    wk_job_free(sync->job);
    g_free(sync);
}

/* Worker. */
static void
run_sync(GTask *async, gpointer object G_GNUC_UNUSED, gpointer data,
         GCancellable *cancellable G_GNUC_UNUSED)
{
    Sync *sync = data;
    GError *error = NULL;

    if (wk_memory_sync_time(sync->job, &error))
        g_task_return_boolean(async, TRUE);
    else
        g_task_return_error(async, error);
}

/* @why: what stood in the way of setting the clock; NULL: it was set. */
static void
finish_resumed(WkEngine *self, WkTask *task, const char *why)
{
    WkGuest *guest = wk_engine_find(self, task->uuid);
    const char *reason = NULL;
    g_autofree char *done = describe_success(task, guest, &reason);
    g_autofree char *behind = NULL;

    task->syncing = FALSE;
    wk_task_disarm(&task->retry_timer);
    if (why != NULL)
        behind = g_strdup_printf("%s; its clock is behind by the time it was away (%s)", done, why);
    finish(self, task, WK_OP_SUCCEEDED, why != NULL ? "TimeNotSynced" : reason,
           why != NULL ? behind : done);
}

static gboolean
on_sync_late(gpointer data)
{
    WkTask *task = data;

    finish_resumed(task->engine, task, "the guest agent did not answer in time");
    return G_SOURCE_REMOVE;
}

static void
on_synced(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkEngine *self = data;
    Sync *sync = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;
    const gboolean ok = g_task_propagate_boolean(G_TASK(result), &error);

    if (!self->quiet && sync->task->syncing)
        finish_resumed(self, sync->task, ok ? NULL : error->message);
}

static void
start_sync(WkEngine *self, WkTask *task, WkGuest *guest)
{
    g_autoptr(GTask) async = g_task_new(NULL, NULL, on_synced, self);
    Sync *sync = g_new0(Sync, 1);

    wk_task_renew_run(task);
    task->finishing = TRUE;
    task->syncing = TRUE;
    wk_task_disarm_all(task);
    wk_task_arm(task, &task->retry_timer, SYNC_PATIENCE_MS, on_sync_late);
    sync->task = wk_task_ref(task);
    sync->job = wk_engine_make_job(self, task, guest);
    g_task_set_task_data(async, sync, sync_free);
    wk_source_push(guest->source, WK_LANE_LONG, g_steal_pointer(&async), run_sync);
}

void
wk_engine_finish_success(WkEngine *self, WkTask *task, WkGuest *guest)
{
    g_autofree char *message = NULL;
    const char *reason = NULL;

    if (task->in_fallback) {
        message = describe_fallback(task);
        finish(self, task, WK_OP_SUCCEEDED,
               task->op->fallback == WK_FALLBACK_STOP ? "StoppedByFallback" : "FellBack", message);
        return;
    }
    if (task->unpaused) {
        start_sync(self, task, guest);
        return;
    }
    message = describe_success(task, guest, &reason);
    finish(self, task, WK_OP_SUCCEEDED, reason, message);
}

void
wk_engine_finish_failure(WkEngine *self, WkTask *task)
{
    static const char *const verbs[] = { [WK_ACTION_NONE] = "Operation",
                                         [WK_ACTION_SUSPEND] = "Suspend",
                                         [WK_ACTION_RESUME] = "Resume",
                                         [WK_ACTION_DISCARD] = "Discard",
                                         [WK_ACTION_VERIFY] = "Verify" };
    const gboolean cancelled = task->stopping && !task->timed_out;
    const char *reason = wk_error_get_reason(task->failure);
    g_autofree char *message = g_strdup_printf(
        "%s %s: %s%s%s", verbs[task->op->action],
        cancelled ? "cancelled" : (task->timed_out ? "timeout" : "failed"), task->failure->message,
        has_caveat(task) ? "; " : "", has_caveat(task) ? task->caveat : "");

    if (cancelled)
        finish(self, task, WK_OP_CANCELLED, task->superseded ? "Superseded" : "Cancelled", message);
    else
        finish(self, task, WK_OP_FAILED, task->timed_out && !task->given_up ? "Timeout" : reason,
               message);
}
