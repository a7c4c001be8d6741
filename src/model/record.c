/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/record.h"

WkWitness *
wk_witness_new(const char *path, gboolean partial, const WkFileId *file)
{
    WkWitness *self = g_new0(WkWitness, 1);

    self->path = g_strdup(path);
    self->partial = partial;
    self->file = *file;
    return self;
}

void
wk_witness_free(WkWitness *self)
{
    if (self == NULL)
        return;
    g_free(self->path);
    g_free(self);
}

static void
free_witness(gpointer data)
{
    wk_witness_free(data);
}

GPtrArray *
wk_witness_array_new(void)
{
    return g_ptr_array_new_with_free_func(free_witness);
}

WkRecord *
wk_record_new(const char *source, const char *uuid, const char *name)
{
    WkRecord *self = g_new0(WkRecord, 1);

    self->source = g_strdup(source);
    self->uuid = g_strdup(uuid);
    self->name = g_strdup(name);
    return self;
}

static GPtrArray *
copy_disks(GPtrArray *disks)
{
    GPtrArray *copy;

    if (disks == NULL)
        return NULL;
    copy = wk_witness_array_new();
    for (guint i = 0; i < disks->len; i++) {
        const WkWitness *disk = g_ptr_array_index(disks, i);

        g_ptr_array_add(copy, wk_witness_new(disk->path, disk->partial, &disk->file));
    }
    return copy;
}

WkRecord *
wk_record_copy(const WkRecord *self)
{
    WkRecord *copy = g_new0(WkRecord, 1);

    *copy = *self;
    copy->source = g_strdup(self->source);
    copy->uuid = g_strdup(self->uuid);
    copy->name = g_strdup(self->name);
    copy->op = g_strdup(self->op);
    copy->boot_id = g_strdup(self->boot_id);
    copy->reason = g_strdup(self->reason);
    copy->message = g_strdup(self->message);
    copy->save_path = g_strdup(self->save_path);
    copy->told_of = g_strdup(self->told_of);
    copy->vmi_uid = g_strdup(self->vmi_uid);
    copy->saved_vmi_uid = g_strdup(self->saved_vmi_uid);
    copy->staged_for = g_strdup(self->staged_for);
    copy->template_hash = g_strdup(self->template_hash);
    copy->claims = g_strdup(self->claims);
    copy->pinned_wukong = g_strdup(self->pinned_wukong);
    copy->pinned_uid = g_strdup(self->pinned_uid);
    copy->disks = copy_disks(self->disks);
    return copy;
}

static void
clear_pod(WkRecord *self)
{
    g_clear_pointer(&self->vmi_uid, g_free);
    g_clear_pointer(&self->saved_vmi_uid, g_free);
    g_clear_pointer(&self->staged_for, g_free);
    g_clear_pointer(&self->template_hash, g_free);
    g_clear_pointer(&self->claims, g_free);
    g_clear_pointer(&self->pinned_wukong, g_free);
    g_clear_pointer(&self->pinned_uid, g_free);
}

void
wk_record_free(WkRecord *self)
{
    if (self == NULL)
        return;
    g_free(self->source);
    g_free(self->uuid);
    g_free(self->name);
    g_free(self->op);
    g_free(self->boot_id);
    g_free(self->reason);
    g_free(self->message);
    g_free(self->save_path);
    g_free(self->told_of);
    clear_pod(self);
    g_clear_pointer(&self->disks, g_ptr_array_unref);
    g_free(self);
}

void
wk_record_explain(WkRecord *self, const char *reason, const char *message)
{
    G_GNUC_UNUSED g_autofree char *old_reason = g_steal_pointer(&self->reason);
    G_GNUC_UNUSED g_autofree char *old_message = g_steal_pointer(&self->message);

    self->reason = g_strdup(reason);
    self->message = g_strdup(message);
    g_clear_pointer(&self->told_of, g_free);
}

void
wk_record_tell_of(WkRecord *self, WkPower power)
{
    g_free(self->told_of);
    self->told_of = g_strdup(wk_power_name(power));
}

void
wk_record_reset(WkRecord *self)
{
    g_clear_pointer(&self->op, g_free);
    g_clear_pointer(&self->disks, g_ptr_array_unref);
    clear_pod(self);
    self->state = WK_LEDGER_NONE;
    self->seal = (WkSeal){ 0 };
    self->paused_by_us = FALSE;
    self->autostart = FALSE;
    self->then = WK_THEN_NONE;
    self->want = WK_WANT_NONE;
    self->saved_at_us = 0;
    self->verified_at_us = 0;
}

gboolean
wk_file_id_same_inode(const WkFileId *a, const WkFileId *b)
{
    return a->inode != 0 && a->inode == b->inode && a->dev == b->dev;
}

gboolean
wk_file_id_equal(const WkFileId *a, const WkFileId *b)
{
    return wk_file_id_same_inode(a, b) && a->size_bytes == b->size_bytes
           && a->mtime_ns == b->mtime_ns;
}

gboolean
wk_record_disks_partial(const WkRecord *self)
{
    for (guint i = 0; self->disks != NULL && i < self->disks->len; i++) {
        const WkWitness *disk = g_ptr_array_index(self->disks, i);

        if (disk->partial)
            return TRUE;
    }
    return FALSE;
}
