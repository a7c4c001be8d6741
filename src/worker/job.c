/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/job.h"

#include "base/error.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "model/precheck.h"
#include "vault/witness.h"
#include "virt/domain_xml.h"
#include "worker/launcher.h"

WkJob *
wk_job_new(WkSource *source, WkLedger *ledger, WkVault *vault, WkRun *run, const char *uuid,
           const char *name, const WkRecord *record)
{
    WkJob *self = g_new0(WkJob, 1);

    self->source = wk_source_ref(source);
    self->ledger = wk_ledger_ref(ledger);
    self->vault = vault != NULL ? wk_vault_ref(vault) : NULL;
    self->run = wk_run_ref(run);
    self->uuid = g_strdup(uuid);
    self->name = g_strdup(name);
    self->record = record != NULL ? wk_record_copy(record)
                                  : wk_record_new(wk_source_get_name(source), uuid, name);
    /* A guest may have been renamed since; an image stays where it was saved. */
    if (self->record->state == WK_LEDGER_NONE)
        g_clear_pointer(&self->record->save_path, g_free);
    return self;
}

void
wk_job_free(WkJob *self)
{
    if (self == NULL)
        return;
    wk_image_follower_free(self->follower);
    wk_launcher_lease_free(self->lease);
    wk_cluster_free(self->cluster);
    wk_pod_unref(self->pod);
    wk_vmi_free(self->vmi);
    wk_vm_free(self->vm);
    g_clear_pointer(&self->header, g_bytes_unref);
    g_free(self->pod_path);
    g_free(self->pod_vmi_uid);
    wk_source_unref(self->source);
    wk_ledger_unref(self->ledger);
    wk_vault_unref(self->vault);
    wk_run_unref(self->run);
    wk_record_free(self->record);
    wk_look_clear(&self->look);
    wk_image_look_clear(&self->managed);
    wk_image_look_clear(&self->hold);
    wk_facts_free(self->facts);
    g_clear_error(&self->failed);
    g_free(self->uuid);
    g_free(self->name);
    g_free(self->boot_id);
    g_free(self->hold_path);
    g_free(self->cannot_save);
    g_free(self->caveat);
    g_free(self->disk_changed);
    g_free(self);
}

const char *
wk_job_managed_path(WkJob *self)
{
    const char *folder = wk_source_get_save_dir(self->source);

    if (wk_launcher_has(self))
        return self->pod_path;
    if (self->record->save_path == NULL && folder != NULL)
        self->record->save_path = g_strdup_printf("%s/%s.save", folder, self->name);
    return self->record->save_path;
}

const char *
wk_job_hold_path(WkJob *self)
{
    if (self->hold_path == NULL && self->vault != NULL)
        self->hold_path = wk_vault_hold_path(self->vault, self->uuid);
    return self->hold_path;
}

/* The op says whose image a guest came from, autostart and the like are for a save: with nothing
 * saved and no save wanted, a look is on the road of a pause, which is measured in milliseconds. */
static gboolean
looks_briefly(WkJob *self)
{
    const WkTarget target = self->target != WK_TARGET_NONE ? self->target : self->default_target;

    return self->record->state == WK_LEDGER_NONE
           && !(self->aim == WK_AIM_SUSPEND && target == WK_TARGET_DISK);
}

/* Between operations a guest in a pod is what its VMI says: an idle pod costs no helper. */
static gboolean
is_told_by_vmi(const WkJob *self)
{
    return wk_launcher_has(self) && self->lease == NULL && self->record->state == WK_LEDGER_NONE;
}

gboolean
wk_job_look_domain(WkJob *self, GError **error)
{
    g_autoptr(WkConnection) connection = wk_source_borrow(self->source, WK_LANE_QUICK, error);
    gboolean (*const look)(WkConnection *, const char *, WkLook *, GError **) =
        looks_briefly(self) ? wk_domain_look_brief : wk_domain_look;

    if (is_told_by_vmi(self)) {
        wk_launchers_peek(wk_source_get_launchers(self->source), self->uuid, &self->look);
        self->looked = TRUE;
        return TRUE;
    }
    if (connection == NULL || !look(connection, self->uuid, &self->look, error))
        return FALSE;
    self->looked = TRUE;
    return TRUE;
}

static gboolean
look_at_file(const char *path, WkImageLook *look, GError **error)
{
    wk_image_look_clear(look);
    return path == NULL || wk_image_look(path, look, error);
}

/* Before W is recorded, the image's own XML says which disks the guest had when it was saved. */
static gboolean
disks_not_after_image(WkJob *self, GError **error)
{
    g_autoptr(WkFacts) facts = NULL;

    if (self->managed.kind != WK_IMAGE_FINAL || self->managed.xml == NULL)
        return TRUE;
    facts = wk_domain_xml_parse(self->managed.xml, error);
    return facts != NULL
           && wk_witness_not_after(facts, self->managed.file.mtime_ns, &self->disk_changed, error);
}

gboolean
wk_job_disks_same(WkJob *self, GError **error)
{
    g_clear_pointer(&self->disk_changed, g_free);
    if (!wk_rule_holds("disks"))
        return TRUE;
    if (wk_launcher_has(self))
        return wk_launcher_disks_same(self, error);
    if (self->record->disks == NULL)
        return disks_not_after_image(self, error);
    return wk_witness_same(self->record->disks, &self->disk_changed, error);
}

static gboolean
op_is_ours(WkJob *self, const char *op)
{
    return op != NULL && g_strcmp0(op, self->record->op) == 0;
}

static WkDomainClass
classify_domain(WkJob *self)
{
    if (!wk_power_is_active(self->look.power))
        return WK_DOMAIN_INACTIVE;
    if (self->look.power == WK_POWER_LOADED && op_is_ours(self, self->look.op))
        return WK_DOMAIN_OURS3;
    return WK_DOMAIN_ACTIVE;
}

gboolean
wk_job_managed_has_our_op(WkJob *self)
{
    g_autofree char *op = NULL;

    if (wk_launcher_has(self))
        return wk_launcher_has_our_op(self, &self->managed);
    if (self->managed.xml == NULL)
        return FALSE;
    op = wk_domain_xml_get_op(self->managed.xml);
    return op_is_ours(self, op);
}

/* An inode's number is given to another file as soon as the last name is gone. While H holds the
 * image that can't be; without H, M has to be the file that was sealed in all else as well. */
static gboolean
managed_is_ours(WkJob *self)
{
    const WkFileId *sealed = &self->record->seal.file;

    if (self->managed.kind == WK_IMAGE_ABSENT
        || !wk_file_id_same_inode(&self->managed.file, sealed))
        return FALSE;
    if (self->hold.kind != WK_IMAGE_ABSENT
        && wk_file_id_same_inode(&self->managed.file, &self->hold.file))
        return TRUE;
    return wk_file_id_equal(&self->managed.file, sealed);
}

static gboolean
seal_is_good(WkJob *self)
{
    const WkSeal *seal = &self->record->seal;

    if (wk_launcher_has(self))
        return wk_launcher_seal_is_good(self);
    return self->hold.kind == WK_IMAGE_FINAL && wk_file_id_equal(&self->hold.file, &seal->file)
           && g_str_equal(self->hold.header_digest, seal->header_digest);
}

static void
add_fact(WkJob *self, gboolean holds, WkFact fact)
{
    if (holds)
        self->seen.facts |= (guint)fact;
}

/* A pod may go as soon as the guest has: there it is H that tells. */
static gboolean
has_final_of_ours(WkJob *self)
{
    if (wk_launcher_has(self))
        return self->hold.kind == WK_IMAGE_FINAL && wk_launcher_has_our_op(self, &self->hold);
    return self->managed.kind == WK_IMAGE_FINAL && wk_job_managed_has_our_op(self);
}

static void
note_facts(WkJob *self, gboolean disks_same)
{
    const WkRecord *record = self->record;
    const gboolean m = self->managed.kind != WK_IMAGE_ABSENT;
    const gboolean h = self->hold.kind != WK_IMAGE_ABSENT;
    const gboolean guard = self->managed.kind == WK_IMAGE_GUARD;

    self->seen = (WkObservation){ .state = record->state, .domain = classify_domain(self) };
    add_fact(self, m, WK_FACT_M_PRESENT);
    add_fact(self, guard, WK_FACT_M_GUARD);
    add_fact(self, managed_is_ours(self), WK_FACT_M_OURS);
    add_fact(self, has_final_of_ours(self), WK_FACT_FINAL_OUR_OP);
    add_fact(self, h, WK_FACT_H_PRESENT);
    add_fact(self, m && h && wk_file_id_same_inode(&self->managed.file, &self->hold.file),
             WK_FACT_H_IS_M);
    add_fact(self, seal_is_good(self), WK_FACT_C_GOOD);
    add_fact(self, disks_same, WK_FACT_W_SAME);
    add_fact(self, g_strcmp0(record->boot_id, self->boot_id) == 0 || !wk_rule_holds("boot-id"),
             WK_FACT_BOOT_SAME);
    add_fact(self, record->want == WK_WANT_CANCEL, WK_FACT_WANT_CANCEL);
    add_fact(self, self->guard_synced, WK_FACT_GUARD_SYNCED);
    add_fact(self, record->state == WK_LEDGER_NONE && (h || guard), WK_FACT_STRAY);
    if (wk_launcher_has(self))
        wk_launcher_note_facts(self);
}

/* W decides nothing about a guest that runs, nor about an image that is held anyway. */
static gboolean
disks_matter(WkJob *self)
{
    const WkLedgerState state = self->record->state;

    return state != WK_LEDGER_NONE && state != WK_LEDGER_QUARANTINED
           && classify_domain(self) != WK_DOMAIN_ACTIVE;
}

gboolean
wk_job_look(WkJob *self, GError **error)
{
    g_autoptr(GError) local = NULL;
    gboolean disks_same = TRUE;

    if ((wk_launcher_has(self) && !wk_launcher_look(self, error))
        || !wk_job_look_domain(self, error)
        || !look_at_file(wk_job_managed_path(self), &self->managed, error)
        || !look_at_file(wk_job_hold_path(self), &self->hold, error))
        return FALSE;
    if (disks_matter(self))
        disks_same = wk_job_disks_same(self, &local);
    if (local != NULL && self->aim != WK_AIM_DISCARD) {
        /* Storage comes late after a boot: not to be told is no difference, it passes. */
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "DiskUnreachable", "guest '%s': %s", self->name,
                     local->message);
        return FALSE;
    }
    if (local != NULL && self->disk_changed == NULL)
        self->disk_changed = g_strdup(local->message);
    note_facts(self, disks_same);
    return TRUE;
}

gboolean
wk_job_sees_foreign_save(const WkJob *self)
{
    return self->managed.kind == WK_IMAGE_FINAL && self->record->state == WK_LEDGER_NONE;
}

static gboolean
read_facts(WkJob *self, GError **error)
{
    g_autoptr(WkConnection) connection = NULL;

    if (self->facts != NULL)
        return TRUE;
    connection = wk_source_borrow(self->source, WK_LANE_QUICK, error);
    if (connection != NULL)
        self->facts = wk_domain_read_facts(connection, self->uuid, error);
    return self->facts != NULL;
}

/* A guest whose disks can't be looked at could be saved, but never sealed (I7). */
static gboolean
disks_can_be_seen(WkJob *self, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(GPtrArray) witnesses = wk_witness_take(self->facts, &local);

    if (witnesses == NULL)
        wk_error_set(error, WK_ERROR_REFUSED, "DiskUnreachable",
                     "guest '%s' can't be suspended to disk: %s, as seen by the agent", self->name,
                     local->message);
    return witnesses != NULL;
}

gboolean
wk_job_precheck_save(WkJob *self, GError **error)
{
    WkPrecheck input = { .persistent = self->look.persistent,
                         .can_save = self->cannot_save == NULL,
                         .cannot_why = self->cannot_save,
                         .promised_bytes = self->promised_bytes };
    guint64 size_bytes = 0;

    if (wk_launcher_has(self) && !wk_launcher_precheck(self, WK_TARGET_DISK, error))
        return FALSE;
    if (!read_facts(self, error) || (!wk_launcher_has(self) && !disks_can_be_seen(self, error)))
        return FALSE;
    if (self->vault != NULL && !wk_vault_space(self->vault, &input.free_bytes, &size_bytes, error))
        return FALSE;
    input.facts = self->facts;
    input.kept_bytes = size_bytes / 100 * self->reserve_percent;
    return wk_precheck_suspend(&input, WK_TARGET_DISK, error);
}

gboolean
wk_job_commit(WkJob *self, WkStep step, WkRecord *next, GError **error)
{
    g_autoptr(WkRecord) owned = next;

    if (!wk_run_step(self->run, step, error)
        || !wk_ledger_commit(self->ledger, owned, self->record->state, self->record->op, error))
        return FALSE;
    wk_record_free(self->record);
    self->record = g_steal_pointer(&owned);
    return TRUE;
}

gboolean
wk_job_sync_save_folder(WkJob *self, WkStep step, GError **error)
{
    g_autofree char *folder = NULL;

    if (wk_job_managed_path(self) == NULL) /* the pod is gone, and its folder with it */
        return TRUE;
    folder = g_path_get_dirname(wk_job_managed_path(self));
    return wk_run_step(self->run, step, error)
           && (!wk_rule_holds("save-folder-sync") || wk_files_sync_folder(folder, error));
}

gboolean
wk_job_sync_vault(WkJob *self, WkStep step, GError **error)
{
    return wk_run_step(self->run, step, error)
           && wk_vault_sync_folder(self->vault, self->uuid, error);
}

gboolean
wk_job_kill_image(WkJob *self, WkStep step, WkStep sync_step, const char *path,
                  const WkFileId *file, GError **error)
{
    return wk_run_step(self->run, step, error) && wk_image_kill(path, file, error)
           && wk_run_step(self->run, sync_step, error) && wk_image_sync(path, file, error);
}

gboolean
wk_job_call(WkJob *self, WkStep step, WkDomainCall call, GError **error)
{
    g_autoptr(WkConnection) connection = wk_source_borrow(self->source, WK_LANE_QUICK, error);

    return connection != NULL && wk_run_step(self->run, step, error)
           && call(connection, self->uuid, error);
}

gboolean
wk_job_set_autostart(WkJob *self, gboolean on, WkStep step, WkStep sync_step, GError **error)
{
    const char *folder = wk_source_get_autostart_dir(self->source);
    g_autoptr(WkConnection) connection = wk_source_borrow(self->source, WK_LANE_QUICK, error);

    if (connection == NULL || !wk_domain_look(connection, self->uuid, &self->look, error))
        return FALSE;
    if (!on && !wk_rule_holds("autostart-off"))
        return TRUE;
    if (self->look.autostart != on && self->look.persistent) {
        if (!wk_run_step(self->run, step, error)
            || !wk_domain_set_autostart(connection, self->uuid, on, error))
            return FALSE;
    }
    if (sync_step == WK_STEP_NONE || folder == NULL || !g_file_test(folder, G_FILE_TEST_IS_DIR))
        return TRUE;
    return wk_run_step(self->run, sync_step, error) && wk_files_sync_folder(folder, error);
}
