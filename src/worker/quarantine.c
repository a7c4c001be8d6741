/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/restore.h"

#include "base/error.h"
#include "base/failpoint.h"
#include "worker/launcher.h"

gboolean
wk_quarantine_commit(WkJob *job, const char *reason, const char *message, GError **error)
{
    WkRecord *next = wk_record_copy(job->record);

    next->state = WK_LEDGER_QUARANTINED;
    next->then = WK_THEN_NONE;
    next->want = WK_WANT_NONE;
    wk_record_explain(next, reason, message);
    return wk_job_commit(job, WK_STEP_QUARANTINE_COMMIT, next, error);
}

/* Row K3: which of its cases it is, in the words that users see. */
gboolean
wk_quarantine_lost(WkJob *job, GError **error)
{
    const guint facts = job->seen.facts;
    g_autofree char *text = NULL;

    if ((facts & WK_FACT_H_PRESENT) == 0)
        return wk_quarantine_commit(
            job, "ImageLost", "the saved image is gone from the vault: somebody removed it", error);
    if ((facts & WK_FACT_C_GOOD) == 0)
        return wk_quarantine_commit(job, "ImageCorrupt",
                                    "the saved image is not the file that was sealed: somebody "
                                    "wrote to it, or it is damaged",
                                    error);
    if ((facts & WK_FACT_W_SAME) == 0) {
        text = g_strdup_printf("the guest's disk was changed after the save (%s), so the saved "
                               "memory does not fit it any more",
                               job->disk_changed != NULL ? job->disk_changed : "unknown");
        return wk_quarantine_commit(job, "DiskChanged", text, error);
    }
    if ((facts & WK_FACT_M_PRESENT) != 0)
        return wk_quarantine_commit(job, "ImageStale",
                                    "another saved image lies in libvirt's save folder: somebody "
                                    "ran and saved the guest since",
                                    error);
    return wk_quarantine_commit(job, "ImageRemoved",
                                "somebody removed the saved state from libvirt (virsh "
                                "managedsave-remove); it is still in the vault",
                                error);
}

gboolean
wk_quarantine_destroy(WkJob *job, GError **error)
{
    return wk_job_call(job, WK_STEP_QUARANTINE_DESTROY, wk_domain_destroy, error);
}

/* The vault's name was removed, but M still is the image: the guard must not bury the last one. */
static gboolean
rescue_hold(WkJob *job, GError **error)
{
    if (job->hold.kind != WK_IMAGE_ABSENT || (job->seen.facts & WK_FACT_M_OURS) == 0)
        return TRUE;
    return wk_run_step(job->run, WK_STEP_SAVE_MAKE_FOLDER, error)
           && wk_vault_make_folder(job->vault, job->uuid, error)
           && wk_run_step(job->run, WK_STEP_RELINK_HOLD, error)
           && wk_image_link(wk_job_managed_path(job), wk_job_hold_path(job), error)
           && wk_job_sync_vault(job, WK_STEP_RELINK_SYNC_VAULT, error);
}

static gboolean
place_guard(WkJob *job, GError **error)
{
    const char *path = wk_job_managed_path(job);

    if (wk_launcher_has(job))
        return wk_launcher_guard(job, error);
    /* Its content must be down before the name is: a torn guard is a cold boot (I4). */
    return wk_run_step(job->run, WK_STEP_GUARD_WRITE, error) && wk_guard_write(path, error)
           && wk_run_step(job->run, WK_STEP_GUARD_SYNC, error)
           && (!wk_rule_holds("guard-sync") || wk_guard_sync(path, error))
           && wk_run_step(job->run, WK_STEP_GUARD_RENAME, error) && wk_guard_rename(path, error);
}

/* A restore that came to grief at its very end has given it back already; a held guest has none, so
 * that no boot depends on the guard alone (I4). */
static gboolean
take_autostart_back(WkJob *job, GError **error)
{
    return !job->record->autostart || !job->look.autostart
           || wk_job_set_autostart(job, FALSE, WK_STEP_GUARD_AUTOSTART_OFF,
                                   WK_STEP_GUARD_SYNC_AUTOSTART, error);
}

gboolean
wk_quarantine_guard(WkJob *job, GError **error)
{
    const gboolean off = job->seen.domain == WK_DOMAIN_INACTIVE;
    const gboolean m_ours = (job->seen.facts & WK_FACT_M_OURS) != 0;
    const gboolean m_there = (job->seen.facts & WK_FACT_M_PRESENT) != 0;
    /* one of an earlier agent may be none for the libvirt of today: it is made anew (F12) */
    const gboolean guarded = (job->seen.facts & WK_FACT_M_GUARD) != 0;

    if (!rescue_hold(job, error) || !take_autostart_back(job, error)
        || (wk_launcher_has(job) && !wk_launcher_lock_held(job, error)))
        return FALSE;
    if (off && (!m_there || m_ours || guarded) && !place_guard(job, error))
        return FALSE;
    if (!off && m_ours
        && (!wk_run_step(job->run, WK_STEP_GUARD_UNLINK_MANAGED, error)
            || !wk_image_unlink(wk_job_managed_path(job), &job->record->seal.file, error)))
        return FALSE;
    if (!wk_job_sync_save_folder(job, WK_STEP_GUARD_SYNC_SAVE_FOLDER, error))
        return FALSE;
    job->guard_synced = TRUE;
    return TRUE;
}
