/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/guest.h"

#include "agent/task.h"

WkGuest *
wk_guest_new(WkSource *source, const char *uuid, const char *name, WkRecord *record)
{
    WkGuest *self = g_new0(WkGuest, 1);

    self->uuid = g_strdup(uuid);
    self->name = g_strdup(name);
    self->source = wk_source_ref(source);
    self->record = record != NULL ? record : wk_record_new(wk_source_get_name(source), uuid, name);
    g_queue_init(&self->submissions);
    self->needs_recovery = self->record->state != WK_LEDGER_NONE;
    return self;
}

void
wk_guest_free(gpointer guest)
{
    WkGuest *self = guest;

    if (self == NULL)
        return;
    wk_task_unref(self->task);
    wk_task_unref(self->next);
    g_queue_clear_full(&self->submissions, g_object_unref);
    wk_source_unref(self->source);
    wk_look_clear(&self->look);
    wk_facts_free(self->facts);
    wk_record_free(self->record);
    wk_view_free(self->view);
    wk_owner_clear(&self->owner);
    g_free(self->uuid);
    g_free(self->name);
    g_free(self);
}

static void
rename_guest(WkGuest *self, const char *name)
{
    g_autofree char *old = NULL;
    g_autofree char *old_record = NULL;

    if (name == NULL || g_str_equal(name, self->name))
        return;
    old = g_steal_pointer(&self->name);
    old_record = g_steal_pointer(&self->record->name);
    self->name = g_strdup(name);
    self->record->name = g_strdup(name);
}

void
wk_guest_saw(WkGuest *self, const WkLook *look, WkFacts *facts)
{
    self->seen = TRUE;
    wk_look_copy(look, &self->look);
    if (facts == NULL)
        return;
    wk_facts_free(self->facts);
    self->facts = facts;
    rename_guest(self, facts->name);
}

gboolean
wk_guest_update_view(WkGuest *self)
{
    const WkViewInput input = { .source_up = wk_source_is_up(self->source),
                                .record = self->record,
                                .look = self->seen ? &self->look : NULL,
                                .facts = self->facts,
                                .operation = self->task != NULL ? self->task->op : NULL,
                                .foreign_save = self->foreign_save,
                                .owner = &self->owner };
    g_autoptr(WkView) view = wk_view_make(&input);

    if (self->view != NULL && wk_view_equal(self->view, view))
        return FALSE;
    wk_view_free(self->view);
    self->view = g_steal_pointer(&view);
    return TRUE;
}

gboolean
wk_guest_is_gone(const WkGuest *self)
{
    return self->seen && self->look.power == WK_POWER_ABSENT && self->task == NULL
           && !self->accepting && self->record->state == WK_LEDGER_NONE;
}
