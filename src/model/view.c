/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/view.h"

#include "base/units.h"

/* What a domain's own state is published as, when nothing of ours is under way. */
static const struct {
    WkState state;
    WkTarget target;
    const char *reason;
    const char *message;
} of_power[] = {
    [WK_POWER_ABSENT] = { WK_STATE_UNKNOWN, WK_TARGET_NONE, "GuestGone",
                          "libvirt does not know it" },
    [WK_POWER_OFF] = { WK_STATE_STOPPED, WK_TARGET_NONE, NULL, NULL },
    [WK_POWER_RUNNING] = { WK_STATE_RUNNING, WK_TARGET_NONE, NULL, NULL },
    [WK_POWER_PAUSED] = { WK_STATE_SUSPENDED, WK_TARGET_MEMORY, "Paused", "paused in memory" },
    [WK_POWER_LOADED] = { WK_STATE_SUSPENDED, WK_TARGET_MEMORY, "Paused",
                          "restored into memory, not yet running" },
    [WK_POWER_STARTING] = { WK_STATE_RESUMING, WK_TARGET_NONE, "Starting", "being started" },
    [WK_POWER_IO_ERROR] = { WK_STATE_STOPPED, WK_TARGET_NONE, "PausedByIOError",
                            "paused by an I/O error of its disk: mend the storage, then virsh "
                            "resume" },
    [WK_POWER_BUSY] = { WK_STATE_RUNNING, WK_TARGET_NONE, "GuestBusy",
                        "in a migration, dump, snapshot or save by somebody else" },
    [WK_POWER_CRASHED] = { WK_STATE_STOPPED, WK_TARGET_NONE, "Crashed", "the guest crashed" },
    [WK_POWER_ASLEEP] = { WK_STATE_SUSPENDED, WK_TARGET_MEMORY, "GuestAsleep",
                          "the guest itself went to sleep (ACPI S3)" },
    [WK_POWER_STOPPING] = { WK_STATE_RUNNING, WK_TARGET_NONE, "ShuttingDown", "shutting down" },
};

void
wk_owner_clear(WkOwner *self)
{
    g_clear_pointer(&self->ns, g_free);
    g_clear_pointer(&self->name, g_free);
    g_clear_pointer(&self->uid, g_free);
}

void
wk_owner_copy(const WkOwner *from, WkOwner *to)
{
    const WkOwner copy = { .ns = g_strdup(from->ns),
                           .name = g_strdup(from->name),
                           .uid = g_strdup(from->uid) };

    wk_owner_clear(to);
    *to = copy;
}

gboolean
wk_owner_equal(const WkOwner *a, const WkOwner *b)
{
    return g_strcmp0(a->ns, b->ns) == 0 && g_strcmp0(a->name, b->name) == 0
           && g_strcmp0(a->uid, b->uid) == 0;
}

static void
set(WkView *self, WkState state, WkTarget target, const char *reason, const char *message)
{
    G_GNUC_UNUSED g_autofree char *old_reason = g_steal_pointer(&self->reason);
    G_GNUC_UNUSED g_autofree char *old_message = g_steal_pointer(&self->message);

    self->state = state;
    self->target = target;
    self->reason = g_strdup(reason);
    self->message = g_strdup(message);
}

/* What the last operation left to say, unless somebody has changed the domain since, while nobody
 * looked (I3). */
static void
tell_outcome(WkView *self, const WkRecord *record, WkPower power)
{
    if (record->message == NULL && record->reason == NULL)
        return;
    if (record->told_of != NULL && !g_str_equal(record->told_of, wk_power_name(power)))
        return;
    set(self, self->state, self->target, record->reason != NULL ? record->reason : self->reason,
        record->message != NULL ? record->message : self->message);
}

static void
view_domain(WkView *self, const WkViewInput *in)
{
    const WkPower power = in->look != NULL ? in->look->power : WK_POWER_ABSENT;

    set(self, of_power[power].state, of_power[power].target, of_power[power].reason,
        of_power[power].message);
    if (in->look == NULL) {
        set(self, WK_STATE_UNKNOWN, WK_TARGET_NONE, "NotSeenYet", "not looked at yet");
        return;
    }
    if (!wk_power_is_active(power) && in->foreign_save) {
        set(self, WK_STATE_SUSPENDED, WK_TARGET_DISK, "ForeignSave",
            "saved by somebody else (virsh managedsave)");
        self->origin = WK_ORIGIN_OUTSIDE;
        return;
    }
    if (power == WK_POWER_PAUSED && in->record->paused_to != WK_TARGET_MEMORY)
        self->origin = WK_ORIGIN_OUTSIDE;
    /* Elsewhere libvirt's reason matters more than what we last did. */
    if (power == WK_POWER_OFF || power == WK_POWER_RUNNING || power == WK_POWER_PAUSED)
        tell_outcome(self, in->record, power);
}

static void
view_sealed(WkView *self, const WkRecord *record)
{
    g_autofree char *size = wk_units_format_bytes(record->seal.file.size_bytes);
    g_autofree char *text = g_strdup_printf("saved to disk: %s", size);

    set(self, WK_STATE_SUSPENDED, WK_TARGET_DISK, "SavedToDisk", text);
    tell_outcome(self, record, WK_POWER_OFF);
    self->restorable = 1;
}

/* Made unusable before the CPUs were to run: nothing of the guest is on disk any more. */
static gboolean
is_interrupted(const WkRecord *record)
{
    return record->state == WK_LEDGER_QUARANTINED
           && g_strcmp0(record->reason, "ResumeInterrupted") == 0;
}

static void
view_quarantined(WkView *self, const WkViewInput *in)
{
    const WkRecord *record = in->record;

    if (in->look != NULL && wk_power_is_active(in->look->power))
        view_domain(self, in); /* somebody runs it all the same (I3) */
    else if (is_interrupted(record))
        set(self, WK_STATE_STOPPED, WK_TARGET_NONE, record->reason, record->message);
    else
        set(self, WK_STATE_SUSPENDED, WK_TARGET_DISK, record->reason, record->message);
    self->restorable = 0;
}

/* Its image is done with; to be resumed, or the guest is what libvirt says. */
static void
view_spent(WkView *self, const WkViewInput *in)
{
    if (in->record->then == WK_THEN_OFF)
        view_domain(self, in);
    else
        set(self, WK_STATE_RESUMING, WK_TARGET_DISK, "Settling",
            "an unfinished restore is looked at");
}

static void
view_record(WkView *self, const WkViewInput *in)
{
    switch (in->record->state) {
    case WK_LEDGER_SEALED:
        view_sealed(self, in->record);
        return;
    case WK_LEDGER_QUARANTINED:
        view_quarantined(self, in);
        return;
    case WK_LEDGER_SAVING:
        set(self, WK_STATE_SUSPENDING, WK_TARGET_DISK, "Settling",
            "an unfinished save is looked at");
        return;
    case WK_LEDGER_SPENT:
        view_spent(self, in);
        return;
    case WK_LEDGER_RESTORING:
        set(self, WK_STATE_RESUMING, WK_TARGET_DISK, "Settling",
            "an unfinished restore is looked at");
        return;
    case WK_LEDGER_NONE:
    default:
        view_domain(self, in);
    }
}

static void
view_operation(WkView *self, const WkOperation *op)
{
    if (op == NULL)
        return;
    g_free(self->operation);
    self->operation = g_strdup(op->id);
    if (op->state != WK_OP_RUNNING)
        return;
    self->progress_percent = wk_operation_percent(op);
    self->origin = op->origin;
    if (op->action == WK_ACTION_DISCARD || op->action == WK_ACTION_VERIFY)
        return;
    set(self, op->action == WK_ACTION_SUSPEND ? WK_STATE_SUSPENDING : WK_STATE_RESUMING, op->target,
        op->reason, op->message != NULL ? op->message : wk_step_text(op->step));
}

static void
view_saved(WkView *self, const WkRecord *record)
{
    if (record->state == WK_LEDGER_NONE || record->state == WK_LEDGER_SAVING
        || record->state == WK_LEDGER_SPENT || is_interrupted(record))
        return;
    self->saved_bytes = record->seal.file.size_bytes;
    self->saved_at_us = record->saved_at_us;
}

WkView *
wk_view_make(const WkViewInput *in)
{
    WkView *self = g_new0(WkView, 1);

    self->id = g_strdup(in->record->uuid);
    self->name = g_strdup(in->record->name);
    self->source = g_strdup(in->record->source);
    self->origin = in->record->origin;
    self->last_action = in->record->last_action;
    self->last_action_at_us = in->record->last_action_at_us;
    self->memory_bytes = in->facts != NULL ? in->facts->memory_kib * 1024 : 0;
    self->progress_percent = -1;
    self->restorable = -1;
    if (in->owner != NULL)
        wk_owner_copy(in->owner, &self->owner);
    view_record(self, in);
    view_saved(self, in->record);
    view_operation(self, in->operation);
    if (!in->source_up) {
        set(self, WK_STATE_UNKNOWN, WK_TARGET_NONE, "SourceAway",
            "libvirt can't be reached, so what the guest does is not known");
    }
    return self;
}

WkView *
wk_view_copy(const WkView *self)
{
    WkView *copy = g_memdup2(self, sizeof *self);

    copy->id = g_strdup(self->id);
    copy->name = g_strdup(self->name);
    copy->source = g_strdup(self->source);
    copy->reason = g_strdup(self->reason);
    copy->message = g_strdup(self->message);
    copy->operation = g_strdup(self->operation);
    copy->owner = (WkOwner){ 0 };
    wk_owner_copy(&self->owner, &copy->owner);
    return copy;
}

void
wk_view_free(WkView *self)
{
    if (self == NULL)
        return;
    g_free(self->id);
    g_free(self->name);
    g_free(self->source);
    g_free(self->reason);
    g_free(self->message);
    g_free(self->operation);
    wk_owner_clear(&self->owner);
    g_free(self);
}

gboolean
wk_view_equal(const WkView *a, const WkView *b)
{
    return g_str_equal(a->id, b->id) && g_str_equal(a->name, b->name)
           && g_str_equal(a->source, b->source) && a->state == b->state && a->target == b->target
           && g_strcmp0(a->reason, b->reason) == 0 && g_strcmp0(a->message, b->message) == 0
           && a->origin == b->origin && a->progress_percent == b->progress_percent
           && a->saved_bytes == b->saved_bytes && a->saved_at_us == b->saved_at_us
           && a->memory_bytes == b->memory_bytes && a->last_action == b->last_action
           && a->last_action_at_us == b->last_action_at_us && a->restorable == b->restorable
           && g_strcmp0(a->operation, b->operation) == 0 && wk_owner_equal(&a->owner, &b->owner);
}

WkImageView *
wk_image_view_new(const WkRecord *record, gboolean orphan)
{
    WkImageView *self = g_new0(WkImageView, 1);

    self->id = g_strdup(record->uuid);
    self->name = g_strdup(record->name);
    self->source = g_strdup(record->source);
    self->state = record->state;
    self->size_bytes = record->seal.file.size_bytes;
    self->saved_at_us = record->saved_at_us;
    self->verified_at_us = record->verified_at_us;
    self->boot_id = g_strdup(record->boot_id);
    /* Without W nothing of the disks was verified at all. */
    self->disks_partial = record->disks == NULL || wk_record_disks_partial(record);
    self->orphan = orphan;
    self->digest = g_strdup(record->seal.body_digest);
    self->reason = record->state == WK_LEDGER_QUARANTINED ? g_strdup(record->reason) : NULL;
    return self;
}

void
wk_image_view_free(WkImageView *self)
{
    if (self == NULL)
        return;
    g_free(self->id);
    g_free(self->name);
    g_free(self->source);
    g_free(self->boot_id);
    g_free(self->digest);
    g_free(self->reason);
    g_free(self);
}
