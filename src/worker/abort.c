/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/save.h"

#include "base/clock.h"
#include "base/error.h"
#include "virt/domain_xml.h"
#include "worker/launcher.h"

static gboolean
boot_same(WkJob *job)
{
    return (job->seen.facts & WK_FACT_BOOT_SAME) != 0;
}

/* Step a: what was loaded is of another boot, or its disks moved on: its CPUs must not run (I1). */
static gboolean
end_unusable_guest(WkJob *job, GError **error)
{
    const gboolean m_there = (job->seen.facts & WK_FACT_M_PRESENT) != 0;
    const gboolean w_same = (job->seen.facts & WK_FACT_W_SAME) != 0;

    if (job->seen.domain != WK_DOMAIN_OURS3 || (boot_same(job) && !(m_there && !w_same)))
        return TRUE;
    return wk_job_call(job, WK_STEP_ABORT_DESTROY, wk_domain_destroy, error)
           && wk_job_look(job, error);
}

/* libvirt remembers a save that its QEMU did not survive, and would go on refusing KubeVirt's
 * undefine after the file is gone: the pod would linger until the launcher gives up. */
static void
forget_managed(WkJob *job)
{
    g_autoptr(WkConnection) connection = NULL;

    if (!wk_launcher_has(job) || job->seen.domain != WK_DOMAIN_INACTIVE)
        return;
    connection = wk_source_borrow(job->source, WK_LANE_QUICK, NULL);
    if (connection != NULL)
        (void)wk_domain_managed_save_remove(connection, job->uuid, NULL);
}

static gboolean
unlink_managed(WkJob *job, GError **error)
{
    if (!wk_run_step(job->run, WK_STEP_ABORT_UNLINK_MANAGED, error))
        return FALSE;
    forget_managed(job);
    return wk_image_unlink(wk_job_managed_path(job), &job->managed.file, error);
}

/* Step b: the unfinished image is M when the guest lives (then nothing else can be it) or M has
 * our op; otherwise it is what H names, and M goes only if it names that too. */
static gboolean
kill_unfinished(WkJob *job, GError **error)
{
    const gboolean m_is_it =
        job->managed.kind != WK_IMAGE_ABSENT
        && (job->seen.domain != WK_DOMAIN_INACTIVE || wk_job_managed_has_our_op(job));
    const gboolean it_is_at_m = m_is_it || (job->seen.facts & WK_FACT_H_IS_M) != 0;
    const char *path = m_is_it ? wk_job_managed_path(job) : wk_job_hold_path(job);
    const WkFileId *file = m_is_it ? &job->managed.file : &job->hold.file;

    if ((m_is_it || job->hold.kind != WK_IMAGE_ABSENT)
        && !wk_job_kill_image(job, WK_STEP_ABORT_DEAD_MAGIC, WK_STEP_ABORT_SYNC_IMAGE, path, file,
                              error))
        return FALSE;
    /* What a pod's libvirt writes on into it must not fill the vault. */
    if (wk_launcher_has(job) && (m_is_it || job->hold.kind != WK_IMAGE_ABSENT)
        && !wk_launcher_empty_image(job, path, file, error))
        return FALSE;
    return (!it_is_at_m || unlink_managed(job, error))
           && wk_job_sync_save_folder(job, WK_STEP_ABORT_SYNC_SAVE_FOLDER, error);
}

/* Step c. Synced also when it is unlinked already: whoever did that may have died before its sync.
 */
static gboolean
drop_hold(WkJob *job, WkStep unlink_step, WkStep sync_step, GError **error)
{
    gboolean synced;

    if (job->hold.kind != WK_IMAGE_ABSENT
        && (!wk_run_step(job->run, unlink_step, error)
            || !wk_image_unlink(wk_job_hold_path(job), &job->hold.file, error)))
        return FALSE;
    synced = wk_job_sync_vault(job, sync_step, error);
    wk_vault_drop_folder(job->vault, job->uuid);
    return synced;
}

/* Step d: the guest is as it was (I7). */
static gboolean
give_back(WkJob *job, GError **error)
{
    gboolean ours3;

    if (!wk_job_look(job, error))
        return FALSE;
    if (job->look.job) {
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "JobRunning",
                     "guest '%s': libvirt runs a job on it", job->name);
        return FALSE;
    }
    if (job->record->autostart
        && !wk_job_set_autostart(job, TRUE, WK_STEP_ABORT_AUTOSTART_BACK, WK_STEP_NONE, error))
        return FALSE;
    ours3 = job->seen.domain == WK_DOMAIN_OURS3;
    if (ours3 && !boot_same(job))
        return wk_job_call(job, WK_STEP_ABORT_DESTROY_STALE, wk_domain_destroy, error);
    if (job->record->paused_by_us && wk_launcher_has(job) && job->look.power == WK_POWER_PAUSED)
        return wk_launcher_unpause(job, WK_STEP_ABORT_RESUME, error);
    if (job->record->paused_by_us && (job->look.power == WK_POWER_PAUSED || ours3))
        return wk_job_call(job, WK_STEP_ABORT_RESUME, wk_domain_resume, error);
    return TRUE;
}

gboolean
wk_save_abort(WkJob *job, GError **error)
{
    WkRecord *next;

    g_clear_pointer(&job->follower, wk_image_follower_free);
    if (!end_unusable_guest(job, error) || !kill_unfinished(job, error)
        || !drop_hold(job, WK_STEP_ABORT_UNLINK_HOLD, WK_STEP_ABORT_SYNC_VAULT, error)
        || !give_back(job, error)
        || (wk_launcher_has(job) && !wk_launcher_unlock(job, WK_STEP_ABORT_UNLOCK, error)))
        return FALSE;
    next = wk_record_copy(job->record);
    wk_record_reset(next);
    return wk_job_commit(job, WK_STEP_ABORT_COMMIT_NONE, next, error);
}

gboolean
wk_save_drop_hold(WkJob *job, GError **error)
{
    return wk_job_kill_image(job, WK_STEP_STRAY_DEAD_MAGIC, WK_STEP_STRAY_SYNC_IMAGE,
                             wk_job_hold_path(job), &job->hold.file, error)
           && drop_hold(job, WK_STEP_STRAY_UNLINK_HOLD, WK_STEP_STRAY_SYNC_VAULT, error);
}

/* A whole image without a row: every road to `none` unlinks H first, so it is the row that was
 * lost, not the image that was forgotten. Whether it was ever spent nobody can tell: it is held,
 * never dropped and never started (I1, I2). */
static gboolean
hold_unknown(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = wk_source_borrow(job->source, WK_LANE_QUICK, error);
    WkRecord *next;

    /* a look at a guest without a row is brief: no autostart in it */
    if (connection == NULL || !wk_domain_look(connection, job->uuid, &job->look, error))
        return FALSE;
    next = wk_record_copy(job->record);
    wk_record_reset(next);
    next->state = WK_LEDGER_QUARANTINED;
    next->op =
        job->hold.xml != NULL && !wk_launcher_has(job) ? wk_domain_xml_get_op(job->hold.xml) : NULL;
    if (wk_launcher_has(job) && job->vmi != NULL)
        wk_launcher_fill_saving(job, next);
    if (next->op == NULL)
        next->op = wk_clock_new_id();
    next->seal.file = job->hold.file;
    g_strlcpy(next->seal.header_digest, job->hold.header_digest, sizeof next->seal.header_digest);
    next->saved_at_us = job->hold.file.mtime_ns / 1000;
    next->autostart = job->look.autostart; /* off while it is held, given back by discard */
    wk_record_explain(next, "LedgerLost",
                      "a saved image lies in the vault that the ledger does not know: whether it "
                      "may still be restored can't be told; discard drops it");
    return wk_job_commit(job, WK_STEP_QUARANTINE_COMMIT, next, error);
}

gboolean
wk_save_drop_stray(WkJob *job, GError **error)
{
    if (job->hold.kind == WK_IMAGE_FINAL)
        return hold_unknown(job, error);
    if (job->hold.kind != WK_IMAGE_ABSENT && !wk_save_drop_hold(job, error))
        return FALSE;
    if (wk_launcher_has(job) && !wk_launcher_unlock(job, WK_STEP_STRAY_UNLOCK, error))
        return FALSE;
    if (job->managed.kind != WK_IMAGE_GUARD)
        return TRUE;
    return wk_run_step(job->run, WK_STEP_STRAY_UNLINK_GUARD, error)
           && wk_image_unlink(wk_job_managed_path(job), NULL, error)
           && wk_job_sync_save_folder(job, WK_STEP_STRAY_SYNC_SAVE_FOLDER, error);
}

gboolean
wk_save_drop_stale(WkJob *job, GError **error)
{
    const char *path = wk_job_managed_path(job);

    /* Dead before unlinked: the name alone comes back after a power cut (F16). */
    return wk_job_kill_image(job, WK_STEP_STALE_DEAD_MAGIC, WK_STEP_STALE_SYNC_IMAGE, path,
                             &job->managed.file, error)
           && wk_run_step(job->run, WK_STEP_STALE_UNLINK_MANAGED, error)
           && wk_image_unlink(path, &job->managed.file, error)
           && wk_job_sync_save_folder(job, WK_STEP_STALE_SYNC_SAVE_FOLDER, error);
}
