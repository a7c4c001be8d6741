/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/memory.h"

#include "base/error.h"
#include "worker/launcher.h"

static gboolean
commit_memory(WkJob *job, WkStep step, WkTarget paused_to, gboolean stopped, GError **error)
{
    WkRecord *next = wk_record_copy(job->record);

    next->paused_to = paused_to;
    next->stopped_by_fallback = stopped;
    wk_record_explain(next, NULL, NULL);
    if (job->action != WK_ACTION_NONE)
        next->origin = job->origin;
    return wk_job_commit(job, step, next, error);
}

/* What libvirt answers decides nothing; the state does (I3). */
static gboolean
confirm(WkJob *job, WkPower expected, GError **error)
{
    if (!wk_job_look_domain(job, error))
        return FALSE;
    if (job->look.power == expected)
        return TRUE;
    wk_error_set(error, WK_ERROR_UNAVAILABLE, "GuestBusy",
                 "guest '%s' is %s right after the call, somebody else works on it", job->name,
                 wk_power_name(job->look.power));
    return FALSE;
}

static gboolean
pause_guest(WkJob *job, GError **error)
{
    if (!wk_launcher_has(job))
        return wk_job_call(job, WK_STEP_PAUSE_DOMAIN, wk_domain_suspend, error);
    return wk_launcher_precheck(job, WK_TARGET_MEMORY, error)
           && wk_launcher_pause(job, WK_STEP_PAUSE_DOMAIN, error);
}

static gboolean
unpause_guest(WkJob *job, GError **error)
{
    if (!wk_launcher_has(job))
        return wk_job_call(job, WK_STEP_UNPAUSE_DOMAIN, wk_domain_resume, error);
    return wk_launcher_unpause(job, WK_STEP_UNPAUSE_DOMAIN, error);
}

gboolean
wk_memory_pause(WkJob *job, GError **error)
{
    if (!pause_guest(job, error))
        return FALSE;
    job->asked_to_pause = TRUE;
    return confirm(job, WK_POWER_PAUSED, error) && wk_memory_is_paused(job, error);
}

/* Two have to say so (I3): libvirt, that the CPUs stand; and in a pod KubeVirt, that it knows of
 * it, since a pause that it does not know of is ended by it within a second. */
gboolean
wk_memory_is_paused(WkJob *job, GError **error)
{
    if (wk_launcher_has(job) && !wk_launcher_await_paused(job, error))
        return FALSE;
    if (!job->asked_to_pause)
        return TRUE;
    job->did_target = WK_TARGET_MEMORY;
    return commit_memory(job, WK_STEP_PAUSE_COMMIT, WK_TARGET_MEMORY, FALSE, error);
}

gboolean
wk_memory_undo_pause(WkJob *job, GError **error)
{
    if (!job->asked_to_pause || job->record->state != WK_LEDGER_NONE
        || job->record->paused_to != WK_TARGET_NONE || job->look.power != WK_POWER_PAUSED)
        return TRUE;
    if (!unpause_guest(job, error))
        return FALSE;
    job->asked_to_pause = FALSE;
    return wk_job_look_domain(job, error);
}

gboolean
wk_memory_unpause(WkJob *job, GError **error)
{
    if (!unpause_guest(job, error) || !confirm(job, WK_POWER_RUNNING, error))
        return FALSE;
    job->unpaused = TRUE;
    if (job->did_target == WK_TARGET_NONE)
        job->did_target = WK_TARGET_MEMORY;
    if (!commit_memory(job, WK_STEP_UNPAUSE_COMMIT, WK_TARGET_NONE, FALSE, error))
        return FALSE;
    wk_launcher_await_running(job);
    return TRUE;
}

static gboolean
pause_is_lost(const WkRecord *record, WkPower power)
{
    return record->paused_to == WK_TARGET_MEMORY && power != WK_POWER_PAUSED
           && power != WK_POWER_LOADED && power != WK_POWER_BUSY;
}

/* Whoever started it again has it in hand: resume does not start it any more. */
static gboolean
stop_is_over(const WkRecord *record, WkPower power)
{
    return record->stopped_by_fallback && wk_power_is_active(power);
}

gboolean
wk_memory_is_lost(const WkRecord *record, WkPower power)
{
    return record->state == WK_LEDGER_NONE
           && (pause_is_lost(record, power) || stop_is_over(record, power));
}

gboolean
wk_memory_note_lost(WkJob *job, gboolean *lost, GError **error)
{
    const WkPower power = job->look.power;
    WkRecord *next;

    *lost = wk_memory_is_lost(job->record, power);
    if (!*lost)
        return TRUE;
    next = wk_record_copy(job->record);
    next->origin = WK_ORIGIN_OUTSIDE;
    wk_record_explain(next, NULL, NULL);
    if (pause_is_lost(job->record, power))
        wk_record_explain(
            next, "PauseLost",
            wk_power_is_active(power)
                ? "it was suspended to memory, and somebody else resumed it"
                : "it was suspended to memory, and that memory is gone (reboot, or stopped "
                  "by somebody)");
    if (next->message != NULL)
        wk_record_tell_of(next, power);
    next->paused_to = WK_TARGET_NONE;
    next->stopped_by_fallback = FALSE;
    return wk_job_commit(job, WK_STEP_UNPAUSE_COMMIT, next, error);
}

gboolean
wk_memory_sync_time(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = wk_source_borrow(job->source, WK_LANE_LONG, error);

    return connection != NULL && wk_run_step(job->run, WK_STEP_TIME_SYNC, error)
           && wk_domain_sync_time(connection, job->uuid, error);
}

gboolean
wk_memory_stop(WkJob *job, GError **error)
{
    if (!wk_power_is_active(job->look.power)) {
        job->did_target = WK_TARGET_NONE;
        return commit_memory(job, WK_STEP_STOP_COMMIT, WK_TARGET_NONE, TRUE, error);
    }
    if (!job->asked_to_stop && job->look.power != WK_POWER_STOPPING
        && !wk_job_call(job, WK_STEP_STOP_SHUTDOWN, wk_domain_shutdown, error))
        return FALSE;
    job->asked_to_stop = TRUE;
    wk_error_set(error, WK_ERROR_UNAVAILABLE, "WaitingForShutdown",
                 "guest '%s' was asked to shut down", job->name);
    return FALSE;
}

static gboolean
create_cold(WkConnection *connection, const char *uuid, GError **error)
{
    return wk_domain_create(connection, uuid, FALSE, error);
}

gboolean
wk_memory_start(WkJob *job, GError **error)
{
    if (!wk_job_call(job, WK_STEP_STOP_START, create_cold, error)
        || !confirm(job, WK_POWER_RUNNING, error))
        return FALSE;
    job->started = TRUE;
    return commit_memory(job, WK_STEP_UNPAUSE_COMMIT, WK_TARGET_NONE, FALSE, error);
}
