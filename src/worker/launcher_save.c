/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/launcher.h"

#include "base/error.h"
#include "base/files.h"
#include "vault/launcher_image.h"
#include "vault/witness.h"

/* Where a pod has disks that outlive it. What KubeVirt makes anew with each pod (cloud-init and the
 * like) is another file after each start, and no part of W. */
static const char *const lasting[] = { "/var/run/kubevirt-private/vmi-disks/",
                                       "/var/run/kubevirt/hotplug-disks/", "/dev/" };

static const guint memory_slack_kib = 64 * 1024;

void
wk_launcher_fill_saving(WkJob *job, WkRecord *next)
{
    next->vmi_uid = g_strdup(job->vmi->uid);
    next->saved_vmi_uid = g_strdup(job->vmi->uid);
    next->template_hash = job->vm != NULL ? g_strdup(job->vm->template_hash) : NULL;
}

static gboolean
make_hold(WkJob *job, WkFileId *file, GError **error)
{
    return wk_run_step(job->run, WK_STEP_SAVE_MAKE_FOLDER, error)
           && wk_vault_make_folder(job->vault, job->uuid, error)
           && wk_run_step(job->run, WK_STEP_SAVE_MAKE_HOLD, error)
           && wk_launcher_image_create(wk_job_hold_path(job), job->pod_path, file, error)
           && wk_job_sync_vault(job, WK_STEP_SAVE_SYNC_HOLD, error);
}

gboolean
wk_launcher_prelink(WkJob *job, GError **error)
{
    WkFileId file = { 0 };

    if (job->pod_path == NULL) {
        wk_error_set(error, WK_ERROR_CONFLICT, "PodGone", "guest '%s': its pod is gone", job->name);
        return FALSE;
    }
    return wk_launcher_lock(job, WK_STEP_SAVE_LOCK, error) && make_hold(job, &file, error)
           && wk_run_step(job->run, WK_STEP_SAVE_PRELINK, error)
           && wk_launcher_image_link(wk_job_hold_path(job), job->pod_path, error);
}

/* Step 7. The pod's libvirt may be gone by now, so the byte is ours to change. */
gboolean
wk_launcher_make_image_paused(WkJob *job, GError **error)
{
    const char *path = wk_job_hold_path(job);
    g_autoptr(GBytes) header = NULL;
    g_autoptr(GBytes) paused = NULL;

    if (!job->hold.was_running)
        return TRUE;
    header = wk_launcher_header_read(path, &job->hold.file, error);
    if (header != NULL)
        paused = wk_launcher_header_with_xml(header, job->hold.xml, error);
    return paused != NULL && wk_run_step(job->run, WK_STEP_SAVE_DEFINE_PAUSED, error)
           && wk_launcher_header_write(path, &job->hold.file, paused, error)
           && wk_job_look(job, error);
}

gboolean
wk_launcher_claim(WkJob *job, GError **error)
{
    const guint64 memory_kib = job->vmi != NULL && job->vmi->memory_kib > 0
                                   ? job->vmi->memory_kib
                                   : (job->facts != NULL ? job->facts->memory_kib : 0);

    return wk_run_step(job->run, WK_STEP_SAVE_CLAIM, error)
           && wk_launcher_image_claim(wk_job_hold_path(job), &job->hold.file,
                                      memory_kib + memory_slack_kib, error);
}

static gboolean
is_lasting(const char *path)
{
    for (gsize i = 0; path != NULL && i < G_N_ELEMENTS(lasting); i++) {
        if (g_str_has_prefix(path, lasting[i]))
            return TRUE;
    }
    return FALSE;
}

/* (transfer full): @facts with the disks that W is about. */
static WkFacts *
keep_lasting_disks(const WkFacts *facts)
{
    WkFacts *kept = wk_facts_copy(facts);

    for (guint i = kept->disks->len; i > 0; i--) {
        const WkDiskFact *disk = g_ptr_array_index(kept->disks, i - 1);

        if (!is_lasting(disk->path))
            g_ptr_array_remove_index(kept->disks, i - 1);
    }
    return kept;
}

static WkFacts *
facts_of_image(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = NULL;
    WkFacts *facts = NULL;

    if (job->facts != NULL)
        return wk_facts_copy(job->facts);
    connection = wk_source_borrow(job->source, WK_LANE_QUICK, error);
    if (connection == NULL
        || !wk_domain_image_read(connection, job->uuid, job->hold.xml, NULL, &facts, error))
        return NULL;
    return facts;
}

/* The launcher follows its guest within seconds. Without it there is no way to the disks, and the
 * lock alone says that nobody has written to them since (docs/ledger.md): W is empty then. */
GPtrArray *
wk_launcher_witness_disks(WkJob *job, GError **error)
{
    g_autoptr(WkFacts) facts = NULL;
    g_autoptr(WkFacts) kept = NULL;
    WK_AUTO_FD int root =
        job->pod != NULL && wk_pod_is_ready(job->pod) ? wk_pod_open_root(job->pod, NULL) : -1;

    if (root < 0)
        return wk_witness_array_new();
    facts = facts_of_image(job, error);
    if (facts == NULL)
        return NULL;
    kept = keep_lasting_disks(facts);
    if (!wk_run_step(job->run, WK_STEP_SAVE_SYNC_DISKS, error))
        return NULL;
    if (wk_witness_sync_disks_in(root, kept, error))
        return wk_witness_take_in(root, kept, error);
    if (wk_pod_is_alive(job->pod))
        return NULL;
    g_clear_error(error);
    return wk_witness_array_new();
}

gboolean
wk_launcher_empty_image(WkJob *job, const char *path, const WkFileId *file, GError **error)
{
    return wk_run_step(job->run, WK_STEP_ABORT_EMPTY, error)
           && wk_launcher_image_empty(path, file, error);
}

/* libvirt has to forget the managed save as well, or it refuses KubeVirt's undefine; where it is
 * gone already there is nothing to forget. */
gboolean
wk_launcher_remove_managed(WkJob *job, GError **error)
{
    g_autoptr(WkConnection) connection = NULL;

    if ((job->seen.facts & (guint)WK_FACT_POD_NEW) != 0)
        return wk_launcher_guard(job, error); /* over it: a gap would be a cold boot (I4) */
    connection = wk_source_borrow(job->source, WK_LANE_QUICK, error);
    if (connection == NULL || !wk_run_step(job->run, WK_STEP_SEALED_FORGET_MANAGED, error))
        return FALSE;
    (void)wk_domain_managed_save_remove(connection, job->uuid, NULL);
    return wk_run_step(job->run, WK_STEP_SEALED_UNLINK_MANAGED, error)
           && wk_image_unlink(job->pod_path, &job->record->seal.file, error);
}

gboolean
wk_launcher_check_gone(WkJob *job, GError **error)
{
    g_autoptr(GPtrArray) pods = NULL;

    if (job->pod != NULL)
        return wk_launcher_wait(job, error);
    pods =
        job->cluster->calls->list_pods(job->cluster->data, job->record->saved_vmi_uid, TRUE, error);
    if (pods == NULL)
        return FALSE;
    for (guint i = 0; i < pods->len; i++) {
        const WkVmiPod *pod = g_ptr_array_index(pods, i);

        if (!pod->ended)
            return wk_launcher_wait(job, error);
    }
    return wk_run_step(job->run, WK_STEP_SEALED_NO_START, error)
           && job->cluster->calls->let_start(job->cluster->data, FALSE, error);
}
