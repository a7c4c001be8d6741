/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/launcher.h"

#include "base/error.h"
#include "base/files.h"
#include "vault/launcher_image.h"
#include "vault/witness.h"

#include <string.h>

#define LOCK_TRIES 5

gboolean
wk_launcher_has(const WkJob *job)
{
    return wk_source_is_launcher(job->source);
}

static gboolean
look_at_cluster(WkJob *job, GError **error)
{
    g_clear_pointer(&job->vmi, wk_vmi_free);
    g_clear_pointer(&job->vm, wk_vm_free);
    if (job->cluster == NULL) /* only a look at a guest of which nothing is saved */
        return TRUE;
    if (!job->cluster->calls->look(job->cluster->data, &job->vmi, &job->vm, error))
        return FALSE;
    /* Another VM by the same name, and its VMI, are nothing to this guest. */
    if (job->vmi != NULL && g_strcmp0(job->vmi->vm_uid, job->uuid) != 0)
        g_clear_pointer(&job->vmi, wk_vmi_free);
    if (job->vm != NULL && g_strcmp0(job->vm->uid, job->uuid) != 0)
        g_clear_pointer(&job->vm, wk_vm_free);
    return TRUE;
}

static void
note_pod_path(WkJob *job)
{
    const char *folder = job->pod != NULL ? wk_pod_get_save_folder(job->pod) : NULL;

    g_free(job->pod_path);
    job->pod_path = folder != NULL ? g_strdup_printf("%s/%s.save", folder, job->name) : NULL;
}

gboolean
wk_launcher_look(WkJob *job, GError **error)
{
    note_pod_path(job);
    if (job->record->state == WK_LEDGER_RESTORING && job->header == NULL)
        job->header =
            wk_ledger_get_header(job->ledger, job->record->source, job->record->uuid, NULL);
    return look_at_cluster(job, error);
}

/* A pod whose container has not been started, of a VMI that has neither been saved nor has the
 * image already. */
static gboolean
pod_awaits_guard(const WkJob *job)
{
    const WkLedgerState state = job->record->state;

    return (state == WK_LEDGER_RESTORING || state == WK_LEDGER_SEALED
            || state == WK_LEDGER_QUARANTINED)
           && job->pod_path != NULL && !wk_pod_is_ready(job->pod) && job->pod_vmi_uid != NULL
           && g_strcmp0(job->pod_vmi_uid, job->record->saved_vmi_uid) != 0
           && g_strcmp0(job->pod_vmi_uid, job->record->staged_for) != 0;
}

gboolean
wk_launcher_guard_at_once(WkJob *job, GError **error)
{
    g_auto(WkImageLook) managed = { .kind = WK_IMAGE_ABSENT };

    if (!wk_launcher_has(job))
        return TRUE;
    note_pod_path(job);
    if (!pod_awaits_guard(job))
        return TRUE;
    if (!wk_image_look(job->pod_path, &managed, error))
        return FALSE;
    if (managed.kind != WK_IMAGE_ABSENT)
        return TRUE;
    g_debug("guest '%s': row G1, at once", job->name);
    return wk_launcher_guard(job, error);
}

static gboolean
vmi_is(const WkJob *job, const char *uid)
{
    return job->vmi != NULL && g_strcmp0(job->vmi->uid, uid) == 0;
}

/* Nothing more comes of it: it has ended, or is about to be gone and its pod is. */
static gboolean
vmi_has_ended(const WkJob *job)
{
    return job->vmi != NULL
           && (wk_vmi_is_final(job->vmi) || (job->vmi->deleting && job->pod == NULL));
}

/* A pod that was not there when the guest was saved; what is in it has not been started. */
static gboolean
pod_is_new(const WkJob *job)
{
    return job->pod_path != NULL && job->vmi != NULL && !vmi_has_ended(job)
           && !vmi_is(job, job->record->saved_vmi_uid) && !wk_power_is_active(job->look.power);
}

/* Nowhere to put a guard, or nobody left who could run into it: as good as one. */
static gboolean
needs_no_guard(const WkJob *job)
{
    return job->pod_path == NULL || vmi_has_ended(job);
}

/* A held guest's VMI that nobody has locked yet: one that was made for the resume that failed. */
static gboolean
lacks_lock(const WkJob *job)
{
    return job->record->state == WK_LEDGER_QUARANTINED && job->vmi != NULL && !job->vmi->deleting
           && !wk_power_is_active(job->look.power)
           && !(vmi_is(job, job->record->vmi_uid) && job->vmi->has_lock);
}

static gboolean
has_stray_lock(const WkJob *job)
{
    return job->record->state == WK_LEDGER_NONE && job->vmi != NULL && job->vmi->has_lock
           && g_strcmp0(job->vmi->node, job->cluster->node_name) == 0;
}

/* The agent died between the lock and its record. Whose memory is saved here is locked by nobody
 * else, be it that its successor came to its end before it was said to be on this node. */
static gboolean
has_unrecorded_lock(const WkJob *job)
{
    return job->record->state == WK_LEDGER_RESTORING && job->vmi != NULL && job->vmi->has_lock
           && !vmi_is(job, job->record->vmi_uid) && !vmi_is(job, job->record->saved_vmi_uid)
           && (job->vmi->node == NULL || g_str_equal(job->vmi->node, job->cluster->node_name));
}

void
wk_launcher_note_facts(WkJob *job)
{
    guint facts = (guint)WK_FACT_LAUNCHER;

    if (pod_is_new(job))
        facts |= (guint)WK_FACT_POD_NEW;
    if (vmi_has_ended(job))
        facts |= (guint)WK_FACT_VMI_FINAL;
    if ((vmi_is(job, job->record->vmi_uid) && job->vmi->has_lock) || has_unrecorded_lock(job))
        facts |= (guint)WK_FACT_LOCK;
    if (has_stray_lock(job))
        facts |= (guint)WK_FACT_STRAY;
    if (job->record->state == WK_LEDGER_QUARANTINED && needs_no_guard(job)
        && (job->seen.facts & (guint)WK_FACT_M_GUARD) == 0)
        facts |= (guint)WK_FACT_GUARD_SYNCED | (guint)WK_FACT_M_PRESENT;
    job->seen.facts |= facts;
    if (lacks_lock(job))
        job->seen.facts &= ~(guint)WK_FACT_GUARD_SYNCED; /* row Q2 sees to both */
}

gboolean
wk_launcher_seal_is_good(WkJob *job)
{
    const WkSeal *seal = &job->record->seal;

    if (job->hold.kind != WK_IMAGE_FINAL || !wk_file_id_same_inode(&job->hold.file, &seal->file)
        || job->hold.file.size_bytes != seal->file.size_bytes)
        return FALSE;
    return job->header != NULL
           || (job->hold.file.mtime_ns == seal->file.mtime_ns
               && g_str_equal(job->hold.header_digest, seal->header_digest));
}

/* The id is 128 bits by chance: where it stands in the text it was put there by this save, or by
 * a tenant who fakes an image of his own guest, which he can do in its memory as well. */
gboolean
wk_launcher_has_our_op(const WkJob *job, const WkImageLook *image)
{
    return image->xml != NULL && job->record->op != NULL
           && strstr(image->xml, job->record->op) != NULL;
}

gboolean
wk_launcher_disks_same(WkJob *job, GError **error)
{
    WK_AUTO_FD int root = -1;

    if (job->record->disks == NULL || job->record->disks->len == 0 || job->pod == NULL
        || !wk_pod_is_ready(job->pod))
        return TRUE;
    root = wk_pod_open_root(job->pod, NULL);
    if (root < 0)
        return TRUE;
    return wk_witness_same_in(root, job->record->disks, &job->disk_changed, error);
}

/* Of what is asked here only that a pod ends may change, and it may do so right after as well. A
 * server that knows of no pod of a guest that runs has not caught up with it. */
static GPtrArray *
list_pods(WkJob *job, GError **error)
{
    const WkClusterCalls *calls = job->cluster->calls;
    GPtrArray *pods = calls->list_pods(job->cluster->data, job->vmi->uid, FALSE, error);

    if (pods == NULL || pods->len > 0)
        return pods;
    g_ptr_array_unref(pods);
    return calls->list_pods(job->cluster->data, job->vmi->uid, TRUE, error);
}

static gboolean
check_pods(WkJob *job, GError **error)
{
    g_autoptr(GPtrArray) pods = list_pods(job, error);

    for (guint i = 0; pods != NULL && i < pods->len; i++) {
        if (!wk_precheck_pod(job->vmi, g_ptr_array_index(pods, i), job->vmi->memory_kib, error))
            return FALSE;
    }
    return pods != NULL;
}

gboolean
wk_launcher_precheck(WkJob *job, WkTarget target, GError **error)
{
    if (job->vmi == NULL) {
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "SourceAway",
                     "guest '%s': nothing is known of its VirtualMachineInstance yet", job->name);
        return FALSE;
    }
    if (!wk_precheck_vmi(job->vmi, job->vm, target, error))
        return FALSE;
    if (target != WK_TARGET_DISK)
        return TRUE;
    if (job->pod_path == NULL) {
        wk_error_set(error, WK_ERROR_REFUSED, "VaultOnOtherFileSystem",
                     "guest '%s': its pod keeps managed saves where the vault can't have them (a "
                     "launcher that runs as root)",
                     job->name);
        return FALSE;
    }
    return check_pods(job, error);
}

/* KubeVirt writes to a VMI all the time: what is locked is the state that we know, or none. */
gboolean
wk_launcher_lock(WkJob *job, WkStep step, GError **error)
{
    for (guint i = 0; i < LOCK_TRIES; i++) {
        g_autoptr(GError) local = NULL;
        g_autofree char *uid = g_strdup(job->vmi->uid);

        if (!wk_run_step(job->run, step, error))
            return FALSE;
        if (job->cluster->calls->lock(job->cluster->data, job->vmi, &local))
            return TRUE;
        if (g_strcmp0(wk_error_get_reason(local), "Conflict") != 0) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (!look_at_cluster(job, error))
            return FALSE;
        if (!vmi_is(job, uid) || job->vmi->deleting)
            break;
    }
    wk_error_set(error, WK_ERROR_UNAVAILABLE, "GuestBusy",
                 "guest '%s': its VirtualMachineInstance changed too often to be locked",
                 job->name);
    return FALSE;
}

gboolean
wk_launcher_pause(WkJob *job, WkStep step, GError **error)
{
    return wk_run_step(job->run, step, error)
           && job->cluster->calls->pause(job->cluster->data, error);
}

gboolean
wk_launcher_await_paused(WkJob *job, GError **error)
{
    if (job->vmi != NULL)
        return job->cluster->calls->await_told(job->cluster->data, job->vmi->uid, WK_POWER_PAUSED,
                                               error);
    wk_error_set(error, WK_ERROR_UNAVAILABLE, "SourceAway",
                 "guest '%s': it is paused, and there is no VirtualMachineInstance of it",
                 job->name);
    return FALSE;
}

/* What runs runs (I3), so this can't fail; but whoever pauses or saves it again is refused until
 * then, and KubeVirt's word is all that a look without libvirt has. */
void
wk_launcher_await_running(WkJob *job)
{
    g_autoptr(GError) error = NULL;
    WkPower told;

    if (job->vmi == NULL || (wk_vmi_power(job->vmi, &told) && told == WK_POWER_RUNNING))
        return;
    if (!job->cluster->calls->await_told(job->cluster->data, job->vmi->uid, WK_POWER_RUNNING,
                                         &error))
        g_debug("guest '%s' runs: %s", job->name, error->message);
}

/* KubeVirt refuses where it does not know of the pause: what libvirt has paused then is resumed by
 * libvirt. */
gboolean
wk_launcher_unpause(WkJob *job, WkStep step, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (!wk_run_step(job->run, step, error))
        return FALSE;
    if (job->cluster->calls->unpause(job->cluster->data, &local))
        return TRUE;
    if (g_error_matches(local, WK_ERROR, WK_ERROR_CONFLICT)) {
        g_autoptr(WkConnection) connection = wk_source_borrow(job->source, WK_LANE_QUICK, error);

        return connection != NULL && wk_domain_resume(connection, job->uuid, error);
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

gboolean
wk_launcher_unlock(WkJob *job, WkStep step, GError **error)
{
    const char *uid = job->record->vmi_uid;

    if ((uid == NULL && has_stray_lock(job)) || has_unrecorded_lock(job))
        uid = job->vmi->uid;
    if (uid == NULL || job->cluster == NULL)
        return TRUE;
    return wk_run_step(job->run, step, error)
           && job->cluster->calls->unlock(job->cluster->data, uid, error);
}

gboolean
wk_launcher_is_deleted(const WkJob *job)
{
    const WkLedgerState state = job->record->state;

    if (!wk_launcher_has(job) || job->cluster == NULL || state == WK_LEDGER_NONE
        || state == WK_LEDGER_SAVING || state == WK_LEDGER_SPENT)
        return FALSE;
    if (job->vm != NULL)
        return job->vm->deleting;
    return job->vmi == NULL || job->vmi->deleting;
}

gboolean
wk_launcher_drop(WkJob *job, GError **error)
{
    WkRecord *next = wk_record_copy(job->record);

    next->state = WK_LEDGER_SPENT;
    next->then = WK_THEN_OFF;
    next->want = WK_WANT_NONE;
    next->origin = WK_ORIGIN_OUTSIDE;
    wk_record_explain(next, "VMDeleted",
                      "its VirtualMachine was deleted while it was suspended to disk; the saved "
                      "state went with it");
    return wk_job_commit(job, WK_STEP_DELETED_COMMIT_SPENT, next, error);
}
