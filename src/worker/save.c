/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/save.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "vault/witness.h"
#include "virt/domain_xml.h"
#include "worker/launcher.h"

/* The file that becomes the image: M; where M is in a pod that may go at once, H. */
static const WkImageLook *
image_of(const WkJob *job)
{
    return wk_launcher_has(job) ? &job->hold : &job->managed;
}

static const char *
image_path(WkJob *job)
{
    return wk_launcher_has(job) ? wk_job_hold_path(job) : wk_job_managed_path(job);
}

/* Step 1. A pause by somebody's save is not the user's pause, so a job is waited for before this
 * is called; M must be absent, or libvirt would write into what lies there (F8). */
static gboolean
check_startable(WkJob *job, GError **error)
{
    if (job->managed.kind != WK_IMAGE_ABSENT) {
        wk_error_set(error, WK_ERROR_CONFLICT, "ForeignSave",
                     "guest '%s': a file lies at libvirt's managed save path '%s'", job->name,
                     wk_job_managed_path(job));
        return FALSE;
    }
    if (job->look.power == WK_POWER_RUNNING || job->look.power == WK_POWER_PAUSED)
        return TRUE;
    wk_error_set(error, WK_ERROR_CONFLICT, "NotRunning",
                 "guest '%s' is %s: only a running or paused guest can be saved", job->name,
                 wk_power_name(job->look.power));
    return FALSE;
}

static gboolean
commit_saving(WkJob *job, GError **error)
{
    g_autoptr(WkRecord) next = wk_record_copy(job->record);

    wk_record_reset(next);
    wk_record_explain(next, NULL, NULL);
    next->state = WK_LEDGER_SAVING;
    next->op = wk_clock_new_id();
    next->want = WK_WANT_SAVE;
    next->paused_by_us = job->look.power == WK_POWER_RUNNING;
    next->autostart = job->look.autostart;
    g_free(next->boot_id);
    next->boot_id = g_strdup(job->boot_id);
    if (wk_launcher_has(job)) {
        wk_launcher_fill_saving(job, next);
        if (!wk_launcher_note_claims(job, next, error))
            return FALSE;
    }
    return wk_job_commit(job, WK_STEP_SAVE_COMMIT_SAVING, g_steal_pointer(&next), error);
}

static gboolean
set_op(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = wk_source_borrow(job->source, WK_LANE_QUICK, error);

    return connection != NULL && wk_run_step(job->run, WK_STEP_SAVE_SET_OP, error)
           && wk_domain_set_op(connection, job->uuid, job->record->op, error);
}

/* Step 5. A guest that runs although it was paused when we looked belongs to somebody else. */
static gboolean
pause_for_save(WkJob *job, GError **error)
{
    if (!wk_job_look_domain(job, error))
        return FALSE;
    if (job->look.power == WK_POWER_RUNNING && !job->record->paused_by_us) {
        wk_error_set(error, WK_ERROR_CONFLICT, "GuestBusy",
                     "guest '%s' was resumed by somebody while it was being saved", job->name);
        return FALSE;
    }
    if (job->look.power != WK_POWER_RUNNING)
        return TRUE;
    if (wk_launcher_has(job))
        return wk_launcher_pause(job, WK_STEP_SAVE_PAUSE, error);
    return wk_job_call(job, WK_STEP_SAVE_PAUSE, wk_domain_suspend, error);
}

/* Step 6: one look right before the save. A guest booted anew meanwhile has no op of ours. */
static gboolean
check_before_save(WkJob *job, GError **error)
{
    gboolean place_is_ready;

    if (!wk_job_look(job, error))
        return FALSE;
    place_is_ready = wk_launcher_has(job) ? (job->seen.facts & WK_FACT_H_IS_M) != 0
                                          : job->managed.kind == WK_IMAGE_ABSENT;
    if (job->look.power == WK_POWER_PAUSED && g_strcmp0(job->look.op, job->record->op) == 0
        && place_is_ready && !job->look.job)
        return TRUE;
    wk_error_set(error, WK_ERROR_CONFLICT, "GuestBusy",
                 "guest '%s' was changed by somebody while it was being saved", job->name);
    return FALSE;
}

static gboolean
managed_save(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = NULL;

    if (!check_before_save(job, error) || !wk_run_check(job->run, error))
        return FALSE;
    connection = wk_source_borrow(job->source, WK_LANE_LONG, error);
    if (connection == NULL || !wk_run_step(job->run, WK_STEP_SAVE_MANAGED_SAVE, error))
        return FALSE;
    g_clear_pointer(&job->follower, wk_image_follower_free);
    job->follower = wk_image_follower_new(image_path(job));
    return wk_domain_managed_save(connection, job->uuid, error);
}

gboolean
wk_save_begin(WkJob *job, GError **error)
{
    return check_startable(job, error) && wk_run_check(job->run, error) && commit_saving(job, error)
           && wk_job_set_autostart(job, FALSE, WK_STEP_SAVE_AUTOSTART_OFF,
                                   WK_STEP_SAVE_SYNC_AUTOSTART, error)
           && (!wk_launcher_has(job) || wk_launcher_prelink(job, error)) && set_op(job, error)
           && wk_run_check(job->run, error) && pause_for_save(job, error)
           && managed_save(job, error);
}

/* Step 7: somebody resumed it between our look and libvirt's save, so the image says "running". */
static gboolean
make_image_paused(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = NULL;

    if (wk_launcher_has(job))
        return wk_launcher_make_image_paused(job, error);
    if (!job->managed.was_running)
        return TRUE;
    connection = wk_source_borrow(job->source, WK_LANE_QUICK, error);
    return connection != NULL && wk_run_step(job->run, WK_STEP_SAVE_DEFINE_PAUSED, error)
           && wk_domain_image_set_paused(connection, job->uuid, wk_job_managed_path(job), error)
           && wk_job_look(job, error);
}

static gboolean
link_hold(WkJob *job, GError **error)
{
    if (job->hold.kind != WK_IMAGE_ABSENT)
        return TRUE;
    return wk_run_step(job->run, WK_STEP_SAVE_MAKE_FOLDER, error)
           && wk_vault_make_folder(job->vault, job->uuid, error)
           && wk_run_step(job->run, WK_STEP_SAVE_LINK_HOLD, error)
           && wk_image_link(wk_job_managed_path(job), wk_job_hold_path(job), error);
}

/* Step 9. The disks are those of the image's own XML: what the guest had when it was saved. */
static GPtrArray *
witness_disks(WkJob *job, GError **error)
{
    g_autoptr(WkFacts) facts = NULL;

    if (wk_launcher_has(job))
        return wk_launcher_witness_disks(job, error);
    facts = wk_domain_xml_parse(job->managed.xml, error);
    if (facts == NULL || !wk_run_step(job->run, WK_STEP_SAVE_SYNC_DISKS, error)
        || !wk_witness_sync_disks(facts, error))
        return NULL;
    return wk_witness_take(facts, error);
}

/* What an earlier pass over this very file came to, before an fsync of it failed. */
static gboolean
has_noted_digest(WkJob *job)
{
    const WkSeal *noted = &job->record->seal;

    return noted->body_digest[0] != '\0' && wk_file_id_equal(&noted->file, &image_of(job)->file);
}

static gboolean
digest_body(WkJob *job, char *digest, GError **error)
{
    g_autoptr(WkImageFollower) follower = g_steal_pointer(&job->follower);
    const WkImageLook *image = image_of(job);

    if (has_noted_digest(job)) {
        g_strlcpy(digest, job->record->seal.body_digest, WK_DIGEST_LENGTH + 1);
        return TRUE;
    }
    if (follower != NULL
        && wk_image_follower_finish(follower, &image->file, image->header_bytes, digest, NULL))
        return TRUE;
    return wk_image_digest_body(image_path(job), image->header_bytes, FALSE, NULL, digest, error);
}

/* An fsync of the image failed, so no later one proves anything about what was written before
 * (docs/ledger.md). What was to be sealed is noted, for whoever tries again; where the ledger can't
 * be written either, at least this life of the agent knows. */
static void
note_failed_sync(WkJob *job, const WkSeal *seal)
{
    g_autoptr(GError) error = NULL;
    WkRecord *next;

    if (has_noted_digest(job))
        return;
    job->record->seal = *seal;
    next = wk_record_copy(job->record);
    if (!wk_job_commit(job, WK_STEP_SAVE_NOTE_DIGEST, next, &error))
        wk_log(WK_LOG_WARNING, &(WkLogFields){ .guest = job->name, .uuid = job->uuid },
               "that a sync of the image failed could not be recorded: %s", error->message);
}

static gboolean
sync_image(WkJob *job, const WkSeal *seal, GError **error)
{
    if (has_noted_digest(job)
        && (!wk_run_step(job->run, WK_STEP_SAVE_REWRITE_IMAGE, error)
            || !wk_image_rewrite(wk_job_hold_path(job), &image_of(job)->file, error)))
        return FALSE;
    if (wk_run_step(job->run, WK_STEP_SAVE_SYNC_IMAGE, error)
        && (!wk_rule_holds("image-sync")
            || wk_image_sync(wk_job_hold_path(job), &image_of(job)->file, error)))
        return TRUE;
    note_failed_sync(job, seal);
    return FALSE;
}

/* Step 10: nothing is sealed before all of it is on the platter (I2, F15). */
static gboolean
sync_all(WkJob *job, const WkSeal *seal, GError **error)
{
    return sync_image(job, seal, error) && wk_job_sync_vault(job, WK_STEP_SAVE_SYNC_VAULT, error)
           && wk_job_sync_save_folder(job, WK_STEP_SAVE_SYNC_SAVE_FOLDER, error)
           && wk_job_set_autostart(job, FALSE, WK_STEP_SAVE_AUTOSTART_OFF_AGAIN,
                                   WK_STEP_SAVE_SYNC_AUTOSTART_AGAIN, error);
}

/* Only after a failed fsync: is what the medium has now what was written? */
static gboolean
medium_has_it(WkJob *job, const WkSeal *seal, gboolean *same, GError **error)
{
    char header_digest[WK_DIGEST_LENGTH + 1];
    char body_digest[WK_DIGEST_LENGTH + 1];

    *same = TRUE;
    if (!has_noted_digest(job))
        return TRUE;
    if (!wk_run_step(job->run, WK_STEP_SAVE_READ_BACK, error)
        || !wk_image_read_back(wk_job_hold_path(job), &image_of(job)->file,
                               image_of(job)->header_bytes, header_digest, body_digest, error))
        return FALSE;
    *same = g_str_equal(header_digest, job->record->seal.header_digest)
            && g_str_equal(body_digest, seal->body_digest);
    return TRUE;
}

/* The memory is lost, as if QEMU had died in the save; nobody was told "Suspended". */
static gboolean
give_up_lost_image(WkJob *job, GError **error)
{
    g_clear_error(&job->failed);
    wk_error_set(&job->failed, WK_ERROR_FAILED, "ImageCorrupt",
                 "guest '%s': the disk lost a part of the image (a sync of it had failed); the "
                 "guest's memory is gone, its disks are as the save left them",
                 job->name);
    if (!wk_save_abort(job, error))
        return FALSE;
    g_propagate_error(error, g_steal_pointer(&job->failed));
    return FALSE;
}

/* Step 11: row S2 must still be the one, the image the same, and H its inode. */
static gboolean
still_sealable(WkJob *job, const WkSeal *seal)
{
    const WkRecoveryRow *row = wk_recovery_decide(&job->seen);

    if (!wk_rule_holds("second-look"))
        return TRUE;
    return row->action == WK_RECOVER_SEAL && !job->look.job
           && wk_file_id_equal(&image_of(job)->file, &seal->file)
           && g_str_equal(image_of(job)->header_digest, seal->header_digest)
           && (wk_launcher_has(job) || (job->seen.facts & WK_FACT_H_IS_M) != 0);
}

static gboolean
commit_sealed(WkJob *job, const WkSeal *seal, GPtrArray *disks, GError **error)
{
    WkRecord *next = wk_record_copy(job->record);

    next->state = WK_LEDGER_SEALED;
    next->seal = *seal;
    next->want = WK_WANT_NONE;
    next->saved_at_us = wk_clock_real_us();
    g_clear_pointer(&next->disks, g_ptr_array_unref);
    next->disks = g_ptr_array_ref(disks);
    return wk_job_commit(job, WK_STEP_SAVE_COMMIT_SEALED, next, error);
}

gboolean
wk_save_seal(WkJob *job, GError **error)
{
    g_autoptr(GPtrArray) disks = NULL;
    WkSeal seal = { 0 };
    gboolean on_medium = FALSE;

    if (!make_image_paused(job, error))
        return FALSE;
    if (wk_recovery_decide(&job->seen)->action != WK_RECOVER_SEAL || image_of(job)->was_running)
        return TRUE; /* back to the table */
    seal.file = image_of(job)->file;
    g_strlcpy(seal.header_digest, image_of(job)->header_digest, sizeof seal.header_digest);
    if (!(wk_launcher_has(job) ? wk_launcher_claim(job, error) : link_hold(job, error)))
        return FALSE;
    disks = witness_disks(job, error);
    if (disks == NULL || !digest_body(job, seal.body_digest, error) || !sync_all(job, &seal, error)
        || !medium_has_it(job, &seal, &on_medium, error))
        return FALSE;
    if (!on_medium)
        return give_up_lost_image(job, error);
    if (!wk_job_look(job, error))
        return FALSE;
    if (!still_sealable(job, &seal))
        return TRUE;
    job->did_target = WK_TARGET_DISK;
    return commit_sealed(job, &seal, disks, error);
}
