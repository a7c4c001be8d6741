/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/facts.h"

static void
disk_fact_free(gpointer data)
{
    WkDiskFact *disk = data;

    g_free(disk->path);
    g_free(disk->target);
    g_free(disk);
}

WkFacts *
wk_facts_new(void)
{
    WkFacts *self = g_new0(WkFacts, 1);

    self->disks = g_ptr_array_new_with_free_func(disk_fact_free);
    self->devices = g_ptr_array_new_with_free_func(g_free);
    self->shares = g_ptr_array_new_with_free_func(g_free);
    return self;
}

static void
copy_strings(GPtrArray *from, GPtrArray *to)
{
    for (guint i = 0; i < from->len; i++)
        g_ptr_array_add(to, g_strdup(g_ptr_array_index(from, i)));
}

WkFacts *
wk_facts_copy(const WkFacts *self)
{
    WkFacts *copy = wk_facts_new();

    copy->uuid = g_strdup(self->uuid);
    copy->name = g_strdup(self->name);
    copy->memory_kib = self->memory_kib;
    copy->emulator = g_strdup(self->emulator);
    copy->machine = g_strdup(self->machine);
    copy_strings(self->devices, copy->devices);
    copy_strings(self->shares, copy->shares);
    for (guint i = 0; i < self->disks->len; i++) {
        const WkDiskFact *disk = g_ptr_array_index(self->disks, i);

        wk_facts_add_disk(copy, disk->kind, disk->path, disk->target, disk->readonly,
                          disk->transient);
    }
    return copy;
}

void
wk_facts_free(WkFacts *self)
{
    if (self == NULL)
        return;
    g_free(self->uuid);
    g_free(self->name);
    g_free(self->emulator);
    g_free(self->machine);
    g_ptr_array_unref(self->disks);
    g_ptr_array_unref(self->devices);
    g_ptr_array_unref(self->shares);
    g_free(self);
}

void
wk_facts_add_disk(WkFacts *self, WkDiskKind kind, const char *path, const char *target,
                  gboolean readonly, gboolean transient)
{
    WkDiskFact *disk = g_new0(WkDiskFact, 1);

    disk->kind = kind;
    disk->path = g_strdup(path);
    disk->target = g_strdup(target);
    disk->readonly = readonly;
    disk->transient = transient;
    g_ptr_array_add(self->disks, disk);
}

gboolean
wk_look_is_busy(const WkLook *self)
{
    return self->job || self->power == WK_POWER_STARTING;
}

gboolean
wk_look_is_loaded(const WkLook *self)
{
    return wk_power_is_active(self->power) && !wk_look_is_busy(self);
}

void
wk_look_clear(WkLook *self)
{
    g_clear_pointer(&self->op, g_free);
    *self = (WkLook){ .power = WK_POWER_ABSENT };
}

void
wk_look_copy(const WkLook *from, WkLook *to)
{
    wk_look_clear(to);
    *to = *from;
    to->op = g_strdup(from->op);
}
