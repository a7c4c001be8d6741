/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/engine_private.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "model/policy.h"

#define WAIT_MS         200 /* between two looks at a libvirt job that is not ours to wait in */
#define SETTLE_S        10  /* after libvirtd came back, "not in this state" may be wrong (F10) */
#define STOP_TOLD_S     3   /* what takes longer to stop is told */
#define STOP_BUDGET_S   120
#define MEMORY_BUDGET_S 60

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
wk_engine_retry_in(WkTask *task, guint ms)
{
    wk_task_arm(task, &task->retry_timer, ms, on_retry);
}

void
wk_engine_retry_now(WkEngine *self, WkTask *task)
{
    task->touched = task->working;
    /* one that is finishing waits for the ledger, not for libvirt */
    if (task->retry_timer == NULL || task->finishing)
        return;
    wk_task_disarm(&task->retry_timer);
    wk_engine_ready(self, task);
}

void
wk_engine_source_answers(WkEngine *self, WkSource *source)
{
    g_autoptr(GList) guests = g_hash_table_get_values(self->guests);

    for (GList *l = guests; l != NULL; l = l->next) {
        WkGuest *guest = l->data;

        if (guest->source != source || guest->task == NULL)
            continue;
        guest->task->forgiven = guest->task->attempt;
        wk_engine_retry_now(self, guest->task);
    }
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

/* It stands by a pause of this task's that was not recorded, since not all agree on it. */
static gboolean
is_half_paused(const WkTask *task, const WkGuest *guest)
{
    return task->asked_to_pause && guest->record->state == WK_LEDGER_NONE
           && guest->record->paused_to == WK_TARGET_NONE && guest->look.power == WK_POWER_PAUSED;
}

/* The guest is in order, or can't be brought there now: the operation ends. */
static void
conclude(WkEngine *self, WkTask *task, WkGuest *guest)
{
    const gboolean saved_after_all = task->op->action == WK_ACTION_SUSPEND && !task->in_fallback
                                     && guest->record->state == WK_LEDGER_SEALED;

    if (task->failure == NULL || saved_after_all || (task->in_fallback && task->aim_reached))
        wk_engine_finish_success(self, task, guest);
    else if (wants_fallback(task) && !is_midway(guest))
        start_fallback(self, task);
    else
        wk_engine_finish_failure(self, task);
}

static void
fail(WkEngine *self, WkTask *task, WkGuest *guest, GError *failure)
{
    /* That the memory is gone says more than what it began with. */
    if (g_strcmp0(wk_error_get_reason(failure), "ImageCorrupt") == 0)
        g_clear_error(&task->failure);
    if (task->failure == NULL)
        task->failure = failure;
    else
        g_error_free(failure);
    /* I7: first the guest is brought back to where it was, then the failure is told. */
    if ((is_midway(guest) || is_half_paused(task, guest)) && task->aim != WK_AIM_CANCEL
        && !task->given_up)
        go_for(self, task, WK_AIM_CANCEL);
    else
        conclude(self, task, guest);
}

static gboolean
is_waiting(const GError *failure)
{
    const char *reason = wk_error_get_reason(failure);

    return g_strcmp0(reason, "JobRunning") == 0 || g_strcmp0(reason, "WaitingForShutdown") == 0
           || g_strcmp0(reason, "WaitingForPod") == 0;
}

static gboolean
is_passing(WkEngine *self, const GError *failure)
{
    if (g_error_matches(failure, WK_ERROR, WK_ERROR_UNAVAILABLE))
        return TRUE;
    /* libvirt's own "not in this state" comes without a reason of ours. */
    return g_error_matches(failure, WK_ERROR, WK_ERROR_CONFLICT)
           && wk_error_get_reason(failure) == NULL
           && wk_clock_mono_us() - self->last_up_us < SETTLE_S * G_USEC_PER_SEC;
}

static void
retry_later(WkTask *task, const GError *failure)
{
    const guint tries = task->attempt - MIN(task->forgiven, task->attempt);
    const guint ms = wk_policy_backoff_ms(tries);
    g_autofree char *message = NULL;

    g_free(task->last_failure);
    task->last_failure = g_strdup(failure->message);
    if (task->op != NULL) {
        message = g_strdup_printf("attempt %u failed: %s; next try in %u s", task->attempt,
                                  failure->message, (ms + 999) / 1000);
        wk_operation_set_state(task->op, WK_OP_RUNNING, wk_error_get_reason(failure), message);
        wk_engine_publish_operation(task->engine, task->op);
    }
    g_clear_pointer(&task->lease, wk_launcher_lease_free); /* minutes, perhaps */
    wk_task_renew_run(task);
    wk_engine_retry_in(task, ms);
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
on_broken(GObject *object G_GNUC_UNUSED, GAsyncResult *result G_GNUC_UNUSED, gpointer data)
{
    g_autoptr(WkTask) task = data;

    task->breaking = FALSE;
}

/* One at a time: libvirt may keep such a call for half a minute, and has room for five of ours. */
static void
break_job(WkEngine *self, WkTask *task, WkGuest *guest)
{
    g_autoptr(GTask) async = NULL;

    if (task->breaking)
        return;
    task->breaking = TRUE;
    async = g_task_new(NULL, NULL, on_broken, wk_task_ref(task));
    g_task_set_task_data(async, wk_engine_make_job(self, task, guest), (GDestroyNotify)wk_job_free);
    wk_source_push(guest->source, WK_LANE_QUICK, g_steal_pointer(&async), run_break);
}

/* Its time is up, and libvirt does not let go of the guest: whoever waits for its end is told why
 * it does not come. */
static void
tell_unstoppable(WkEngine *self, WkTask *task, const GError *failure)
{
    g_autofree char *message = NULL;

    if (task->op->reason != NULL
        || wk_clock_mono_us() - task->stopping_since_us < STOP_TOLD_S * G_USEC_PER_SEC)
        return;
    message = g_strdup_printf("it is to end (%s), which waits for libvirt: %s", task->stop_why,
                              failure->message);
    wk_operation_set_state(task->op, WK_OP_RUNNING, wk_error_get_reason(failure), message);
    wk_engine_publish_operation(self, task->op);
}

/* libvirt is at work: look again soon. A task that is to stop ends the work, and undoes it. */
static void
wait_for_job(WkEngine *self, WkTask *task, WkGuest *guest, const GError *failure)
{
    if (task->op != NULL && task->stopping && is_midway(guest)) {
        break_job(self, task, guest);
        task->aim = WK_AIM_CANCEL;
        if (task->failure == NULL)
            wk_error_set(&task->failure, WK_ERROR_CANCELLED, "Cancelled", "%s", task->stop_why);
        tell_unstoppable(self, task, failure);
    }
    if (is_midway(guest))
        wk_engine_keep_slot(self, task, guest);
    if (!task->stopping && wk_task_update_progress(task)) {
        wk_engine_publish_operation(self, task->op);
        wk_engine_publish_guest(self, guest);
    }
    task->attempt--; /* a wait is no try */
    task->try_goes_on = TRUE;
    wk_task_renew_run(task);
    wk_engine_retry_in(task, task->touched ? 0 : WAIT_MS);
}

static void
recovered(WkEngine *self, WkTask *task, WkGuest *guest, GError *failure)
{
    g_autoptr(GError) error = failure;

    if (error == NULL) {
        guest->needs_recovery = FALSE;
    } else if (is_waiting(error)) {
        wait_for_job(self, task, guest, error);
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
    wk_engine_end_task(self, guest, task);
}

/* What a recovery made of a guest is news to whoever runs the node: said once. */
static void
log_recovery(const WkGuest *guest, WkLedgerState before)
{
    const WkRecord *record = guest->record;
    const WkLogFields fields = { .guest = guest->name,
                                 .uuid = guest->uuid,
                                 .action = "recover",
                                 .result = wk_ledger_state_name(record->state) };

    if (record->state == before)
        return;
    wk_log(record->state == WK_LEDGER_QUARANTINED ? WK_LOG_WARNING : WK_LOG_INFO, &fields,
           "an unfinished or foreign change was dealt with: ledger %s -> %s%s%s",
           wk_ledger_state_name(before), wk_ledger_state_name(record->state),
           record->message != NULL ? ": " : "", record->message != NULL ? record->message : "");
}

static void
take_job(WkTask *task, WkGuest *guest, WkJob *job)
{
    WkLedgerState before;

    if (job == NULL)
        return;
    before = guest->record->state;
    wk_record_free(guest->record);
    guest->record = wk_record_copy(job->record);
    if (task->op == NULL)
        log_recovery(guest, before);
    guest->guard_synced = job->guard_synced;
    guest->foreign_save = wk_job_sees_foreign_save(job);
    if (job->looked)
        wk_guest_saw(guest, &job->look, NULL);
    wk_launcher_lease_free(task->lease);
    task->lease = g_steal_pointer(&job->lease);
    task->asked_to_stop = job->asked_to_stop;
    task->body_digest_of = job->body_digest_of;
    g_strlcpy(task->body_digest, job->body_digest, sizeof task->body_digest);
    task->asked_to_pause = job->asked_to_pause;
    if (job->did_target != WK_TARGET_NONE)
        task->did_target = job->did_target;
    task->unpaused = task->unpaused || job->unpaused;
    task->started = task->started || job->started;
    if (job->caveat != NULL) {
        g_free(task->caveat);
        task->caveat = g_steal_pointer(&job->caveat);
    }
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
    task->aim_reached = failure == NULL && task->aim != WK_AIM_CANCEL;
    if (failure == NULL) {
        conclude(self, task, guest);
    } else if (is_waiting(failure)
               && (!task->stopping || task->aim == WK_AIM_CANCEL || is_midway(guest))) {
        wait_for_job(self, task, guest, failure);
        g_error_free(failure);
    } else if (is_passing(self, failure) && !task->stopping) {
        retry_later(task, failure);
        g_error_free(failure);
        wk_engine_publish_guest(self, guest);
    } else {
        fail(self, task, guest, failure);
    }
}
