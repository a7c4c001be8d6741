/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/drive.h"

#include "worker/launcher.h"
#include "worker/memory.h"
#include "worker/restore.h"
#include "worker/save.h"
#include "base/error.h"

/* More turns than any road through the table has; one that goes round in circles ends here. */
#define TURNS_MAX 64

/* The rows' procedures; REST has none. */
static gboolean (*const procedures[])(WkJob *job, GError **error) = {
    [WK_RECOVER_STALE] = wk_save_drop_stale,
    [WK_RECOVER_STRAY] = wk_save_drop_stray,
    [WK_RECOVER_DROP_HOLD] = wk_save_drop_hold,
    [WK_RECOVER_SEAL] = wk_save_seal,
    [WK_RECOVER_ABORT] = wk_save_abort,
    [WK_RECOVER_VERIFY] = wk_restore_verify,
    [WK_RECOVER_CANCEL_DESTROY] = wk_restore_cancel_destroy,
    [WK_RECOVER_REBOOT_DESTROY] = wk_restore_reboot_destroy,
    [WK_RECOVER_OUTSIDE] = wk_restore_outside,
    [WK_RECOVER_QUARANTINE] = wk_quarantine_lost,
    [WK_RECOVER_RELINK] = wk_restore_relink,
    [WK_RECOVER_CANCEL_SEALED] = wk_restore_cancel_sealed,
    [WK_RECOVER_START] = wk_restore_start,
    [WK_RECOVER_FINISH_SPENT] = wk_spent_finish,
    [WK_RECOVER_QUARANTINE_DESTROY] = wk_quarantine_destroy,
    [WK_RECOVER_GUARD] = wk_quarantine_guard,
    [WK_RECOVER_GUARD_NEW_POD] = wk_launcher_guard,
    [WK_RECOVER_UNLINK_GUARD] = wk_launcher_unlink_guard,
    [WK_RECOVER_REMOVE_M] = wk_launcher_remove_managed,
    [WK_RECOVER_WAIT] = wk_launcher_wait,
};

typedef enum {
    TURN_FAILED,
    TURN_AGAIN,
    TURN_DONE,
} Turn;

static Turn
turn_of(gboolean ok, Turn next)
{
    return ok ? next : TURN_FAILED;
}

static Turn
tell_failure(WkJob *job, GError **error)
{
    g_propagate_error(error, g_steal_pointer(&job->failed));
    return TURN_FAILED;
}

/* A save that did not end sealed: what it left is for the table, then the reason is told. */
static Turn
try_save(WkJob *job, GError **error)
{
    if (job->failed != NULL)
        return tell_failure(job, error);
    if (job->tried) {
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "GuestBusy",
                     "guest '%s': the save came to nothing, somebody else works on the guest",
                     job->name);
        return TURN_FAILED;
    }
    job->tried = TRUE;
    (void)wk_save_begin(job, &job->failed);
    return TURN_AGAIN;
}

/* A bad image is held from then on; what was found is told once the guard is in place. */
static Turn
check_image(WkJob *job, GError **error)
{
    if (!wk_run_check(job->run, error) || !wk_restore_check(job, error))
        return TURN_FAILED;
    if (job->record->state == WK_LEDGER_SEALED)
        return TURN_DONE;
    wk_error_set(&job->failed, WK_ERROR_CORRUPT, job->record->reason, "guest '%s': %s", job->name,
                 job->record->message);
    return TURN_AGAIN;
}

/* Saved, but its pod still holds its memory. */
static gboolean
is_in_its_pod(const WkJob *job)
{
    return wk_launcher_has(job) && job->aim == WK_AIM_SUSPEND
           && job->record->state == WK_LEDGER_SEALED;
}

/* Paused in its pod, as far as libvirt says. */
static gboolean
is_said_paused(const WkJob *job)
{
    return wk_launcher_has(job) && job->aim == WK_AIM_SUSPEND
           && job->record->state == WK_LEDGER_NONE && job->look.power == WK_POWER_PAUSED;
}

/* Back, as far as libvirt says. */
static gboolean
is_said_running(const WkJob *job)
{
    return job->aim == WK_AIM_RESUME && job->record->state == WK_LEDGER_NONE
           && job->look.power == WK_POWER_RUNNING;
}

/* It is as asked for. Is that all? */
static gboolean
check_done(WkJob *job, GError **error)
{
    if (is_said_running(job))
        wk_launcher_await_running(job);
    if (is_in_its_pod(job))
        return wk_launcher_check_gone(job, error);
    return !is_said_paused(job) || wk_memory_is_paused(job, error);
}

static Turn
do_decision(WkJob *job, const WkDecision *decision, GError **error)
{
    switch (decision->what) {
    case WK_DO_NOTHING:
        return turn_of(check_done(job, error), TURN_DONE);
    case WK_DO_PAUSE:
        return turn_of(wk_run_check(job->run, error) && wk_memory_pause(job, error), TURN_DONE);
    case WK_DO_UNPAUSE:
        return turn_of(wk_memory_unpause(job, error), TURN_DONE);
    case WK_DO_SAVE:
        return job->tried || wk_job_precheck_save(job, error) ? try_save(job, error) : TURN_FAILED;
    case WK_DO_RESTORE:
        return turn_of(wk_run_check(job->run, error) && wk_restore_begin(job, error), TURN_AGAIN);
    case WK_DO_DISCARD:
        return turn_of(wk_spent_discard(job, error), TURN_AGAIN);
    case WK_DO_VERIFY:
        return check_image(job, error);
    case WK_DO_START:
        return turn_of(wk_memory_start(job, error), TURN_DONE);
    case WK_DO_REFUSE:
    case WK_DO_RETRY:
    default:
        wk_decision_set_error(decision, job->name, error);
        return TURN_FAILED;
    }
}

/* A discard has done its work when nothing is saved any more. */
static gboolean
aim_is_reached(WkJob *job)
{
    if (job->aim == WK_AIM_DISCARD && job->tried)
        return job->record->state == WK_LEDGER_NONE;
    return job->aim == WK_AIM_RECOVER;
}

static Turn
act_at_rest(WkJob *job, GError **error)
{
    static const WkAction actions[] = { [WK_AIM_SUSPEND] = WK_ACTION_SUSPEND,
                                        [WK_AIM_RESUME] = WK_ACTION_RESUME,
                                        [WK_AIM_DISCARD] = WK_ACTION_DISCARD,
                                        [WK_AIM_VERIFY] = WK_ACTION_VERIFY };
    const WkDecision *decision;
    WkPlace place;

    if (job->aim == WK_AIM_CANCEL)
        return turn_of(wk_memory_undo_pause(job, error), TURN_DONE);
    if (aim_is_reached(job))
        return TURN_DONE;
    if (job->aim == WK_AIM_STOP)
        return turn_of(wk_memory_stop(job, error), TURN_DONE);
    place = wk_lifecycle_place(job->record, &job->look, wk_job_sees_foreign_save(job));
    decision = wk_lifecycle_decide(place, wk_lifecycle_ask(actions[job->aim], job->target),
                                   job->default_target);
    if (job->aim == WK_AIM_DISCARD)
        job->tried = decision->what == WK_DO_DISCARD;
    /* A failed save whose guest meanwhile ended, an image found bad, a guest that runs without what
     * was saved of it: that error says more. */
    if (job->failed != NULL && (decision->what != WK_DO_NOTHING || job->aim == WK_AIM_RESUME))
        return tell_failure(job, error);
    return do_decision(job, decision, error);
}

/* A restore that is to be given up says so durably first, so that a crash doesn't revive it; and
 * before libvirt is waited for, which may be away when it is done. */
static gboolean
commit_cancel(WkJob *job, GError **error)
{
    if (job->aim != WK_AIM_CANCEL || job->record->state != WK_LEDGER_RESTORING
        || job->record->want == WK_WANT_CANCEL)
        return TRUE;
    return wk_restore_commit_cancel(job, error) && wk_job_look(job, error);
}

/* A save that an earlier life of the agent began goes on in libvirt (F5): its progress is ours. */
static void
adopt_progress(WkJob *job)
{
    g_autoptr(WkConnection) connection = NULL;
    guint64 done;
    guint64 total;

    if (job->record->state != WK_LEDGER_SAVING || !job->look.job)
        return;
    connection = wk_source_borrow(job->source, WK_LANE_QUICK, NULL);
    if (connection != NULL && wk_domain_job_progress(connection, job->uuid, &done, &total, NULL))
        wk_run_set_progress(job->run, done, total);
}

static Turn
wait_for_job(WkJob *job, GError **error)
{
    if (wk_launcher_await_loaded(job))
        return TURN_AGAIN;
    adopt_progress(job);
    wk_error_set(error, WK_ERROR_UNAVAILABLE, "JobRunning",
                 job->look.power == WK_POWER_STARTING
                     ? "guest '%s': libvirt is starting it; where that never ends, see 'R10' in "
                       "docs/limits.md"
                     : "guest '%s': libvirt runs a job on it",
                 job->name);
    return TURN_FAILED;
}

static Turn
turn(WkJob *job, GError **error)
{
    const WkRecoveryRow *row;
    gboolean lost = FALSE;

    if (!wk_launcher_guard_at_once(job, error) || !wk_job_look(job, error)
        || !commit_cancel(job, error))
        return TURN_FAILED;
    if (wk_look_is_busy(&job->look))
        return wait_for_job(job, error);
    if (wk_launcher_is_deleted(job))
        return turn_of(wk_launcher_drop(job, error), TURN_AGAIN);
    /* A discard that a crash cut in two has only its second half to do. */
    if (job->aim == WK_AIM_DISCARD && job->record->state == WK_LEDGER_SPENT)
        job->tried = TRUE;
    row = wk_recovery_decide(&job->seen);
    g_debug("guest '%s': %s, row %s", job->name, wk_ledger_state_name(job->record->state), row->id);
    if (row->action != WK_RECOVER_REST) {
        g_return_val_if_fail((gsize)row->action < G_N_ELEMENTS(procedures)
                                 && procedures[row->action] != NULL,
                             TURN_FAILED);
        return turn_of(procedures[row->action](job, error), TURN_AGAIN);
    }
    if (!wk_memory_note_lost(job, &lost, error))
        return TURN_FAILED;
    return act_at_rest(job, error);
}

gboolean
wk_drive(WkJob *job, GError **error)
{
    for (guint i = 0; i < TURNS_MAX; i++) {
        const Turn result = turn(job, error);

        if (result != TURN_AGAIN)
            return result == TURN_DONE;
    }
    wk_error_set(error, WK_ERROR_FAILED, "NotSettled",
                 "guest '%s' did not come to rest after %d looks (ledger: %s, domain: %s)",
                 job->name, TURNS_MAX, wk_ledger_state_name(job->record->state),
                 wk_power_name(job->look.power));
    return FALSE;
}
