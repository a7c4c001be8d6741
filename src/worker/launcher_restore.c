/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/launcher.h"

#include "base/error.h"
#include "vault/launcher_image.h"
#include "worker/restore.h"

#define AWAIT_TURNS 8 /* of WK_HELPER_AWAIT_MS each */

/* Its container may not have been started: then nobody has made libvirt's folders yet. */
static gboolean
make_save_folder(WkJob *job, GError **error)
{
    const gboolean ready = wk_pod_is_ready(job->pod);
    const uid_t user = ready ? wk_pod_get_user(job->pod) : WK_POD_USER;
    const gid_t group = ready ? wk_pod_get_group(job->pod) : WK_POD_USER;

    return wk_run_step(job->run, WK_STEP_GUARD_MAKE_FOLDER, error)
           && wk_pod_make_save_folder(job->pod, user, group, error);
}

gboolean
wk_launcher_guard(WkJob *job, GError **error)
{
    const char *path = job->pod_path;

    if (path == NULL)
        return TRUE;
    return make_save_folder(job, error) && wk_run_step(job->run, WK_STEP_GUARD_WRITE, error)
           && wk_guard_write(path, error) && wk_run_step(job->run, WK_STEP_GUARD_SYNC, error)
           && wk_guard_sync(path, error) && wk_run_step(job->run, WK_STEP_GUARD_RENAME, error)
           && wk_guard_rename(path, error)
           && wk_job_sync_save_folder(job, WK_STEP_GUARD_SYNC_SAVE_FOLDER, error);
}

gboolean
wk_launcher_unlink_guard(WkJob *job, GError **error)
{
    return wk_run_step(job->run, WK_STEP_GUARD_UNLINK, error)
           && wk_image_unlink(job->pod_path, NULL, error);
}

gboolean
wk_launcher_wait(WkJob *job, GError **error)
{
    wk_error_set(error, WK_ERROR_UNAVAILABLE, "WaitingForPod",
                 job->pod != NULL ? "guest '%s': waiting for KubeVirt to bring its pod in order"
                                  : "guest '%s': waiting for KubeVirt to make its pod",
                 job->name);
    return FALSE;
}

/* The old VMI goes, and KubeVirt makes a new one. */
static gboolean
release(WkJob *job, GError **error)
{
    return wk_launcher_let_start(job, error)
           && wk_launcher_unlock(job, WK_STEP_RELEASE_UNLOCK, error)
           && wk_launcher_wait(job, error);
}

/* The successor gets the lock before the image: if it comes to grief, none follows it unseen. */
static gboolean
lock_successor(WkJob *job, GError **error)
{
    g_autoptr(GError) local = NULL;
    WkRecord *next;

    if (g_strcmp0(job->record->vmi_uid, job->vmi->uid) == 0 && job->vmi->has_lock)
        return TRUE;
    if (!job->vmi->has_lock && !wk_launcher_lock(job, WK_STEP_STAGE_LOCK, &local)) {
        /* deleted or replaced in this very moment: another one comes */
        if (g_error_matches(local, WK_ERROR, WK_ERROR_CONFLICT))
            return wk_launcher_wait(job, error);
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    next = wk_record_copy(job->record);
    g_free(next->vmi_uid);
    next->vmi_uid = g_strdup(job->vmi->uid);
    return wk_job_commit(job, WK_STEP_STAGE_COMMIT_VMI, next, error);
}

gboolean
wk_launcher_lock_held(WkJob *job, GError **error)
{
    return job->vmi == NULL || job->vmi->deleting || wk_power_is_active(job->look.power)
           || lock_successor(job, error);
}

static gboolean
keep_header(WkJob *job, GError **error)
{
    if (job->header != NULL)
        return TRUE;
    job->header = wk_launcher_header_read(wk_job_hold_path(job), &job->hold.file, error);
    return job->header != NULL && wk_run_step(job->run, WK_STEP_STAGE_KEEP_HEADER, error)
           && wk_ledger_keep_header(job->ledger, job->record->source, job->record->uuid,
                                    job->header, error);
}

/* Returns: (transfer full): the header as this pod needs it. The XML is a stranger's: only the
 * helper parses it. */
static GBytes *
make_header(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = wk_source_borrow(job->source, WK_LANE_QUICK, error);
    g_autofree char *xml = NULL;
    g_autofree char *rewritten = NULL;

    if (connection == NULL)
        return NULL;
    xml = wk_launcher_header_get_xml(job->header, error);
    if (xml == NULL)
        return NULL;
    rewritten = wk_domain_image_rewrite(connection, job->uuid, xml, job->record->saved_vmi_uid,
                                        job->vmi->uid, error);
    return rewritten != NULL ? wk_launcher_header_with_xml(job->header, rewritten, error) : NULL;
}

static gboolean
rewrite_header(WkJob *job, char *digest, GError **error)
{
    const char *hold = wk_job_hold_path(job);
    g_autoptr(GBytes) header = make_header(job, error);

    if (header == NULL)
        return FALSE;
    wk_launcher_header_digest(header, digest);
    return wk_run_step(job->run, WK_STEP_STAGE_REWRITE, error)
           && wk_launcher_header_write(hold, &job->record->seal.file, header, error)
           && wk_run_step(job->run, WK_STEP_STAGE_GIVE, error)
           && wk_launcher_image_give(hold, job->pod_path, &job->record->seal.file, error)
           && wk_run_step(job->run, WK_STEP_STAGE_SYNC_IMAGE, error)
           && wk_image_sync(hold, &job->record->seal.file, error);
}

/* From here on KubeVirt's start restores it. B is noted before, as before every start. */
static gboolean
put_in_place(WkJob *job, const char *digest, GError **error)
{
    WkRecord *next = wk_record_copy(job->record);

    g_free(next->staged_for);
    next->staged_for = g_strdup(job->vmi->uid);
    g_free(next->boot_id);
    next->boot_id = g_strdup(job->boot_id);
    g_strlcpy(next->seal.header_digest, digest, sizeof next->seal.header_digest);
    return wk_job_commit(job, WK_STEP_STAGE_COMMIT, next, error)
           && wk_run_step(job->run, WK_STEP_STAGE_RENAME, error)
           && wk_launcher_image_stage(wk_job_hold_path(job), job->pod_path, &job->record->seal.file,
                                      error)
           && wk_job_sync_save_folder(job, WK_STEP_STAGE_SYNC_SAVE_FOLDER, error);
}

/* A guest stands still from when it is loaded until that is noticed, so it is not left to the next
 * look. By turns: a cancel, and what the watches tell, are not to wait for long. */
gboolean
wk_launcher_await_loaded(WkJob *job)
{
    g_autoptr(WkConnection) connection = NULL;
    g_auto(WkLook) look = { 0 };
    gboolean busy = wk_look_is_busy(&job->look);

    if (!wk_launcher_has(job) || job->record->state != WK_LEDGER_RESTORING || job->pod == NULL
        || !wk_pod_is_ready(job->pod) || job->aim == WK_AIM_CANCEL)
        return FALSE;
    connection = wk_source_borrow(job->source, WK_LANE_QUICK, NULL);
    for (guint i = 0; connection != NULL && i < AWAIT_TURNS && wk_run_check(job->run, NULL); i++) {
        const gboolean was_busy = busy;

        if (!wk_domain_await_loaded(connection, job->uuid, &look, NULL))
            return FALSE;
        busy = wk_look_is_busy(&look);
        if (wk_look_is_loaded(&look) || (was_busy && !busy))
            return TRUE;
    }
    return FALSE;
}

static gboolean
stage(WkJob *job, GError **error)
{
    char digest[WK_DIGEST_LENGTH + 1];

    /* It is in place: KubeVirt's turn. Until that has loaded it there is time to read it. */
    if ((job->seen.facts & (guint)WK_FACT_M_OURS) != 0)
        return wk_restore_read_ahead(job, error)
               && (wk_launcher_await_loaded(job) || wk_launcher_wait(job, error));
    return wk_run_check(job->run, error) && lock_successor(job, error) && keep_header(job, error)
           && rewrite_header(job, digest, error) && put_in_place(job, digest, error);
}

gboolean
wk_launcher_start(WkJob *job, GError **error)
{
    if ((job->seen.facts & (guint)WK_FACT_POD_NEW) != 0)
        return stage(job, error);
    return release(job, error);
}

/* Nothing was let go yet: the VMI that was saved still has its lock. */
static gboolean
is_not_released(const WkJob *job)
{
    return job->vmi != NULL && job->vmi->has_lock
           && g_strcmp0(job->vmi->uid, job->record->saved_vmi_uid) == 0;
}

gboolean
wk_launcher_end_successor(WkJob *job, GError **error)
{
    if (is_not_released(job))
        return TRUE;
    /* An old one that is let go, one that goes without a lock: what follows it is waited for. */
    if (job->vmi == NULL || (job->vmi->deleting && !job->vmi->has_lock)
        || g_strcmp0(job->vmi->uid, job->record->saved_vmi_uid) == 0)
        return wk_launcher_wait(job, error);
    if (!lock_successor(job, error))
        return FALSE;
    if ((job->seen.facts & (guint)WK_FACT_POD_NEW) != 0 && !wk_launcher_guard(job, error))
        return FALSE;
    if (job->vmi->deleting || wk_vmi_is_final(job->vmi))
        return TRUE;
    return wk_run_step(job->run, WK_STEP_CANCEL_END_VMI, error)
           && job->cluster->calls->end(job->cluster->data, job->vmi->uid, error);
}

gboolean
wk_launcher_header_back(WkJob *job, WkRecord *next, GError **error)
{
    const char *hold = wk_job_hold_path(job);

    if (job->header == NULL)
        return TRUE;
    wk_launcher_header_digest(job->header, next->seal.header_digest);
    g_clear_pointer(&next->staged_for, g_free);
    return wk_run_step(job->run, WK_STEP_CANCEL_HEADER_BACK, error)
           && wk_launcher_header_write(hold, &job->record->seal.file, job->header, error)
           && wk_run_step(job->run, WK_STEP_CANCEL_SYNC_IMAGE, error)
           && wk_image_sync(hold, &job->record->seal.file, error);
}
