/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/restore.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "worker/launcher.h"

static gboolean
commit_state(WkJob *job, WkStep step, WkLedgerState state, WkThen then, WkWant want, GError **error)
{
    WkRecord *next = wk_record_copy(job->record);

    next->state = state;
    next->then = then;
    next->want = want;
    return wk_job_commit(job, step, next, error);
}

/* Can it go on here at all? A pod is not there yet: only what it will be made of is known. */
static gboolean
check_place(WkJob *job, WkConnection *connection, GError **error)
{
    if (wk_launcher_has(job))
        return wk_launcher_check_resume(job, error);
    return wk_domain_check_startable(connection, job->uuid, job->hold.xml, error);
}

gboolean
wk_restore_begin(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = wk_source_borrow(job->source, WK_LANE_QUICK, error);

    if (connection == NULL || !check_place(job, connection, error))
        return FALSE;
    return commit_state(job, WK_STEP_RESTORE_COMMIT_RESTORING, WK_LEDGER_RESTORING, WK_THEN_NONE,
                        WK_WANT_RESUME, error);
}

static gboolean
commit_boot(WkJob *job, GError **error)
{
    WkRecord *next = wk_record_copy(job->record);

    g_free(next->boot_id);
    next->boot_id = g_strdup(job->boot_id);
    return wk_job_commit(job, WK_STEP_RESTORE_COMMIT_BOOT, next, error);
}

typedef struct {
    const char *path;
    guint64 header_bytes;
    WkRun *run;
    char digest[WK_DIGEST_LENGTH + 1];
    gboolean ok;
} Hashing;

static gpointer
run_hashing(gpointer data)
{
    Hashing *hashing = data;

    hashing->ok = wk_image_digest_body(hashing->path, hashing->header_bytes, FALSE, hashing->run,
                                       hashing->digest, NULL);
    return NULL;
}

/* Reading the image once before starting it costs as much as the start saves, so the body is
 * hashed while libvirt loads it; the CPUs wait for both (design.md, "Suspend to disk"). */
static gboolean
load_and_hash(WkJob *job, WkConnection *connection, GError **error)
{
    Hashing hashing = { .path = wk_job_hold_path(job),
                        .header_bytes = job->hold.header_bytes,
                        .run = job->run };
    GThread *thread = g_thread_new("hash", run_hashing, &hashing);
    gboolean started;

    started = wk_domain_create(connection, job->uuid, TRUE, error);
    g_thread_join(thread);
    if (hashing.ok) {
        g_strlcpy(job->body_digest, hashing.digest, sizeof job->body_digest);
        job->body_digest_of = job->hold.file;
    }
    return started;
}

static const char damaged[] = "the saved image is damaged: its content is not what was written";

/* QEMU refuses some damage by itself. The image is not "restorable" then, whatever was said of the
 * start (I3). */
static gboolean
is_known_damaged(WkJob *job)
{
    return wk_file_id_equal(&job->body_digest_of, &job->hold.file)
           && !g_str_equal(job->body_digest, job->record->seal.body_digest);
}

gboolean
wk_restore_start(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = NULL;
    g_autoptr(GError) failure = NULL;

    if (wk_launcher_has(job))
        return wk_launcher_start(job, error);
    if (!wk_run_check(job->run, error) || !commit_boot(job, error))
        return FALSE;
    connection = wk_source_borrow(job->source, WK_LANE_LONG, error);
    if (connection == NULL || !wk_run_step(job->run, WK_STEP_RESTORE_START_PAUSED, error))
        return FALSE;
    if (load_and_hash(job, connection, &failure))
        return TRUE;
    if (is_known_damaged(job))
        return wk_quarantine_commit(job, "ImageCorrupt", damaged, error);
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

gboolean
wk_restore_read_ahead(WkJob *job, GError **error)
{
    if (wk_file_id_equal(&job->body_digest_of, &job->hold.file))
        return TRUE;
    if (!wk_image_digest_body(wk_job_hold_path(job), job->hold.header_bytes, FALSE, job->run,
                              job->body_digest, error))
        return FALSE;
    job->body_digest_of = job->hold.file;
    return TRUE;
}

static gboolean
body_is_good(WkJob *job, gboolean *good, GError **error)
{
    if (!wk_restore_read_ahead(job, error))
        return FALSE;
    *good = g_str_equal(job->body_digest, job->record->seal.body_digest);
    return TRUE;
}

gboolean
wk_restore_check(WkJob *job, GError **error)
{
    gboolean good = FALSE;
    WkRecord *next;

    if (!body_is_good(job, &good, error))
        return FALSE;
    if (!good)
        return wk_quarantine_commit(job, "ImageCorrupt", damaged, error);
    next = wk_record_copy(job->record);
    next->verified_at_us = wk_clock_real_us();
    return wk_job_commit(job, WK_STEP_VERIFY_COMMIT, next, error);
}

static gboolean
destroy_and_quarantine(WkJob *job, const char *reason, const char *message, GError **error)
{
    return wk_job_call(job, WK_STEP_RESTORE_DESTROY, wk_domain_destroy, error)
           && wk_quarantine_commit(job, reason, message, error);
}

/* The point of no return. Who started it is said: when nobody asked us, it was somebody else. */
static gboolean
commit_spent(WkJob *job, GError **error)
{
    WkRecord *next = wk_record_copy(job->record);

    next->state = WK_LEDGER_SPENT;
    next->then = WK_THEN_RESUME;
    next->want = WK_WANT_NONE;
    wk_record_explain(next, NULL, NULL);
    if (job->record->state == WK_LEDGER_SEALED) {
        next->origin = WK_ORIGIN_OUTSIDE;
        wk_record_explain(next, "StartedOutside",
                          "somebody else started the guest (virsh start) while it was suspended to "
                          "disk; its saved image was good, and it was let run");
    }
    if (!wk_rule_holds("spent-first")) {
        g_autoptr(WkConnection) connection = wk_source_borrow(job->source, WK_LANE_QUICK, NULL);

        if (connection != NULL)
            (void)wk_domain_resume(connection, job->uuid, NULL);
    }
    return wk_job_commit(job, WK_STEP_RESTORE_COMMIT_SPENT, next, error);
}

gboolean
wk_restore_verify(WkJob *job, GError **error)
{
    g_autofree char *changed = NULL;
    gboolean good = FALSE;

    if ((job->seen.facts & WK_FACT_C_GOOD) == 0
        || !g_str_equal(job->hold.header_digest, job->record->seal.header_digest))
        return destroy_and_quarantine(job, "ImageCorrupt",
                                      "the saved image is not the file that was sealed", error);
    if (!body_is_good(job, &good, error))
        return FALSE;
    if (!good)
        return destroy_and_quarantine(job, "ImageCorrupt", damaged, error);
    if ((job->seen.facts & WK_FACT_W_SAME) == 0) {
        changed = g_strdup_printf("the guest's disk was changed after the save (%s), so the saved "
                                  "memory does not fit it any more",
                                  job->disk_changed != NULL ? job->disk_changed : "unknown");
        return destroy_and_quarantine(job, "DiskChanged", changed, error);
    }
    if (!wk_run_check(job->run, error))
        return FALSE;
    job->did_target = WK_TARGET_DISK;
    return commit_spent(job, error);
}

gboolean
wk_restore_reboot_destroy(WkJob *job, GError **error)
{
    return commit_state(job, WK_STEP_REBOOT_COMMIT_RESTORING, WK_LEDGER_RESTORING, WK_THEN_NONE,
                        WK_WANT_NONE, error)
           && wk_job_call(job, WK_STEP_REBOOT_DESTROY, wk_domain_destroy, error);
}

gboolean
wk_restore_commit_cancel(WkJob *job, GError **error)
{
    return commit_state(job, WK_STEP_CANCEL_COMMIT_WANT, job->record->state, job->record->then,
                        WK_WANT_CANCEL, error);
}

gboolean
wk_restore_cancel_destroy(WkJob *job, GError **error)
{
    return wk_job_call(job, WK_STEP_CANCEL_DESTROY, wk_domain_destroy, error);
}

gboolean
wk_restore_cancel_sealed(WkJob *job, GError **error)
{
    g_autoptr(WkRecord) next = NULL;

    if (wk_launcher_has(job) && !wk_launcher_end_successor(job, error))
        return FALSE;
    next = wk_record_copy(job->record);
    next->state = WK_LEDGER_SEALED;
    next->then = WK_THEN_NONE;
    next->want = WK_WANT_NONE;
    if (wk_launcher_has(job) && !wk_launcher_header_back(job, next, error))
        return FALSE;
    return wk_job_commit(job, WK_STEP_CANCEL_COMMIT_SEALED, g_steal_pointer(&next), error);
}

gboolean
wk_restore_relink(WkJob *job, GError **error)
{
    return wk_run_step(job->run, WK_STEP_RELINK_MANAGED, error)
           && wk_image_link(wk_job_hold_path(job), wk_job_managed_path(job), error)
           && wk_job_sync_save_folder(job, WK_STEP_RELINK_SYNC_SAVE_FOLDER, error);
}

/* Whoever asked for the saved memory has to know that it is not what runs (I4). */
static void
note_cold_boot(WkJob *job)
{
    if (job->aim != WK_AIM_RESUME || job->failed != NULL
        || (job->look.op != NULL && g_strcmp0(job->look.op, job->record->op) == 0))
        return;
    wk_error_set(&job->failed, WK_ERROR_FAILED, "StartedOutside",
                 "guest '%s' was booted anew by somebody else before its saved memory was loaded; "
                 "that memory is used up",
                 job->name);
}

gboolean
wk_restore_outside(WkJob *job, GError **error)
{
    WkRecord *next = wk_record_copy(job->record);

    note_cold_boot(job);
    next->state = WK_LEDGER_SPENT;
    next->then = WK_THEN_OFF;
    next->want = WK_WANT_NONE;
    next->origin = WK_ORIGIN_OUTSIDE;
    wk_record_explain(next, "StartedOutside",
                      "somebody else started the guest (virsh start) while it was suspended to "
                      "disk; its saved image is used up");
    return wk_job_commit(job, WK_STEP_OUTSIDE_COMMIT_SPENT, next, error);
}
