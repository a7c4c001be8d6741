/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/restore.h"

#include "base/error.h"
#include "worker/launcher.h"

static gboolean
has(WkJob *job, WkFact fact)
{
    return (job->seen.facts & (guint)fact) != 0;
}

/* Dead, and perhaps not synced: an fsync behind one that failed only sees what is written anew. */
static gboolean
is_dead_already(WkJob *job)
{
    const WkFileId *sealed = &job->record->seal.file;

    return job->hold.kind == WK_IMAGE_PARTIAL && wk_file_id_same_inode(&job->hold.file, sealed)
           && job->hold.file.size_bytes == sealed->size_bytes;
}

/* Steps 5 to 8: nothing startable is left of the image, now or after a power cut, before any CPU
 * runs (I1, F16). An outsider's own image at M is not ours to touch. */
static gboolean
make_image_unstartable(WkJob *job, GError **error)
{
    const gboolean m_is_ours = has(job, WK_FACT_M_OURS) || has(job, WK_FACT_M_GUARD);
    const gboolean h_there = job->hold.kind != WK_IMAGE_ABSENT;

    if (m_is_ours
        && (!wk_run_step(job->run, WK_STEP_SPENT_UNLINK_MANAGED, error)
            || !wk_image_unlink(wk_job_managed_path(job), &job->record->seal.file, error)))
        return FALSE;
    /* If C is not ours any more, an outsider's save wrote into the inode (F8): leave it to him. */
    if ((has(job, WK_FACT_C_GOOD) || is_dead_already(job))
        && (!wk_run_step(job->run, WK_STEP_SPENT_DEAD_MAGIC, error)
            || !wk_image_kill(wk_job_hold_path(job), &job->hold.file, error)))
        return FALSE;
    if (h_there
        && (!wk_run_step(job->run, WK_STEP_SPENT_SYNC_IMAGE, error)
            || !wk_image_sync(wk_job_hold_path(job), &job->hold.file, error)))
        return FALSE;
    if (!wk_job_sync_save_folder(job, WK_STEP_SPENT_SYNC_SAVE_FOLDER, error))
        return FALSE;
    if (h_there
        && (!wk_run_step(job->run, WK_STEP_SPENT_UNLINK_HOLD, error)
            || !wk_image_unlink(wk_job_hold_path(job), &job->hold.file, error)))
        return FALSE;
    if (!wk_job_sync_vault(job, WK_STEP_SPENT_SYNC_VAULT, error))
        return FALSE;
    wk_vault_drop_folder(job->vault, job->uuid);
    return TRUE;
}

typedef enum {
    NEXT_FAIL,
    NEXT_LOOK_AGAIN,
    NEXT_GO_ON,
} Next;

/* Step 9. */
static Next
decide_guest(WkJob *job, GError **error)
{
    const gboolean resume = job->record->then == WK_THEN_RESUME;
    const gboolean fits = resume && has(job, WK_FACT_W_SAME);

    if (job->seen.domain == WK_DOMAIN_OURS3) {
        if (!fits || !has(job, WK_FACT_BOOT_SAME))
            return wk_job_call(job, WK_STEP_SPENT_DESTROY, wk_domain_destroy, error)
                       ? NEXT_LOOK_AGAIN
                       : NEXT_FAIL;
        if (!job->record->paused_by_us)
            return NEXT_GO_ON;
        job->unpaused = TRUE;
        return wk_job_call(job, WK_STEP_SPENT_RESUME, wk_domain_resume, error) ? NEXT_GO_ON
                                                                               : NEXT_FAIL;
    }
    if (job->seen.domain == WK_DOMAIN_INACTIVE && fits)
        return wk_quarantine_commit(
                   job, "ResumeInterrupted",
                   "the node went down in the moment between using up the saved "
                   "image and letting the guest run: its memory is lost, its disks "
                   "are as saved; discard, then start it",
                   error)
                   ? NEXT_LOOK_AGAIN
                   : NEXT_FAIL;
    return NEXT_GO_ON;
}

/* Step 10 in a pod. A start that took KubeVirt longer than it waits may have left the domain
 * without a definition (kubevirt-facts, 4.1). */
static gboolean
let_go(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = NULL;

    if (wk_power_is_active(job->look.power) && !job->look.persistent) {
        connection = wk_source_borrow(job->source, WK_LANE_QUICK, error);
        if (connection == NULL || !wk_run_step(job->run, WK_STEP_SPENT_PERSIST, error)
            || !wk_domain_make_persistent(connection, job->uuid, error))
            return FALSE;
    }
    return wk_launcher_unpin(job, error) && wk_launcher_unlock(job, WK_STEP_SPENT_UNLOCK, error);
}

gboolean
wk_spent_finish(WkJob *job, GError **error)
{
    WkRecord *next;
    Next step;

    if (!make_image_unstartable(job, error) || !wk_job_look(job, error))
        return FALSE;
    if (wk_look_is_busy(&job->look))
        return TRUE; /* back to the table, which waits */
    step = decide_guest(job, error);
    if (step != NEXT_GO_ON)
        return step == NEXT_LOOK_AGAIN;
    if (job->record->autostart
        && !wk_job_set_autostart(job, TRUE, WK_STEP_SPENT_AUTOSTART_BACK, WK_STEP_NONE, error))
        return FALSE;
    if (wk_launcher_has(job) && !let_go(job, error))
        return FALSE;
    next = wk_record_copy(job->record);
    wk_record_reset(next);
    return wk_job_commit(job, WK_STEP_SPENT_COMMIT_NONE, next, error);
}

gboolean
wk_spent_discard(WkJob *job, GError **error)
{
    WkRecord *next = wk_record_copy(job->record);

    next->state = WK_LEDGER_SPENT;
    next->then = WK_THEN_OFF;
    next->want = WK_WANT_NONE;
    wk_record_explain(next, NULL, NULL);
    return wk_job_commit(job, WK_STEP_DISCARD_COMMIT_SPENT, next, error);
}
