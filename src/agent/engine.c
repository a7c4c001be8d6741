/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/engine_private.h"

#include "base/error.h"
#include "base/log.h"

#include <string.h>

WkEngine *
wk_engine_new(const WkEngineOptions *options, const WkEngineListener *listener, gpointer data)
{
    WkEngine *self = g_new0(WkEngine, 1);

    self->ledger = wk_ledger_ref(options->ledger);
    self->vault = options->vault != NULL ? wk_vault_ref(options->vault) : NULL;
    self->boot_id = g_strdup(options->boot_id);
    self->no_vault = g_strdup(options->cannot_save);
    self->cannot_save = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    wk_engine_configure(self, options);
    self->listener = *listener;
    self->data = data;
    self->guests = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, wk_guest_free);
    self->sources = g_ptr_array_new_with_free_func((GDestroyNotify)wk_source_unref);
    self->left =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    self->unlisted = g_hash_table_new(NULL, NULL);
    g_queue_init(&self->waiting);
    g_queue_init(&self->recent);
    return self;
}

const char *
wk_engine_get_cannot_save(WkEngine *self, WkSource *source)
{
    GHashTableIter iter;
    gpointer why = NULL;

    if (self->no_vault != NULL)
        return self->no_vault;
    if (source != NULL)
        return g_hash_table_lookup(self->cannot_save, source);
    g_hash_table_iter_init(&iter, self->cannot_save);
    return g_hash_table_iter_next(&iter, NULL, &why) ? why : NULL;
}

void
wk_engine_equip(WkEngine *self, WkGuest *guest, WkJob *job, gboolean working)
{
    if (self->listener.equip != NULL && wk_source_is_launcher(guest->source))
        self->listener.equip(guest, job, working, self->data);
}

void
wk_engine_configure(WkEngine *self, const WkEngineOptions *options)
{
    self->default_target = options->default_target;
    self->parallel_saves = options->parallel_saves;
    self->parallel_restores = options->parallel_restores;
    self->reserve_percent = options->reserve_percent;
}

void
wk_engine_set_cannot_save(WkEngine *self, WkSource *source, const char *why)
{
    if (why != NULL)
        g_hash_table_replace(self->cannot_save, source, g_strdup(why));
    else
        g_hash_table_remove(self->cannot_save, source);
}

void
wk_engine_free(WkEngine *self)
{
    if (self == NULL)
        return;
    g_queue_clear_full(&self->waiting, (GDestroyNotify)wk_task_unref);
    g_queue_clear_full(&self->recent, (GDestroyNotify)wk_operation_free);
    g_hash_table_unref(self->guests);
    g_hash_table_unref(self->left);
    g_hash_table_unref(self->unlisted);
    g_ptr_array_unref(self->sources);
    wk_ledger_unref(self->ledger);
    wk_vault_unref(self->vault);
    g_free(self->boot_id);
    g_hash_table_unref(self->cannot_save);
    g_free(self->no_vault);
    g_free(self);
}

static void
load_guests(WkEngine *self, WkSource *source, GPtrArray *records)
{
    for (guint i = 0; i < records->len; i++) {
        WkRecord *record = g_ptr_array_index(records, i);
        WkGuest *guest;

        if (!g_str_equal(record->source, wk_source_get_name(source)))
            continue;
        guest = wk_guest_new(source, record->uuid, record->name, wk_record_copy(record));
        g_hash_table_replace(self->guests, guest->uuid, guest);
        wk_engine_publish_guest(self, guest);
    }
}

static void
load_operations(WkEngine *self, WkSource *source, GPtrArray *operations)
{
    const char *name = wk_source_get_name(source);
    GPtrArray *mine = g_ptr_array_new_with_free_func((GDestroyNotify)wk_operation_free);

    for (guint i = 0; i < operations->len; i++) {
        const WkOperation *op = g_ptr_array_index(operations, i);

        if (g_str_equal(op->source, name))
            g_ptr_array_add(mine, wk_operation_copy(op));
    }
    g_hash_table_replace(self->left, g_strdup(name), mine);
}

gboolean
wk_engine_add_source(WkEngine *self, WkSource *source, GError **error)
{
    g_autoptr(GPtrArray) records = wk_ledger_list(self->ledger, error);
    g_autoptr(GPtrArray) operations = NULL;

    if (records == NULL)
        return FALSE;
    operations = wk_ledger_open_operations(self->ledger, error);
    if (operations == NULL)
        return FALSE;
    g_ptr_array_add(self->sources, wk_source_ref(source));
    load_guests(self, source, records);
    load_operations(self, source, operations);
    return TRUE;
}

void
wk_engine_source_up(WkEngine *self, WkSource *source)
{
    self->last_up_us = g_get_monotonic_time();
    g_hash_table_add(self->unlisted, source);
    wk_engine_list_source(self, source);
}

void
wk_engine_source_down(WkEngine *self, WkSource *source, const char *why)
{
    GHashTableIter iter;
    WkGuest *guest;

    wk_log(WK_LOG_WARNING, NULL, "source '%s' is away: %s", wk_source_get_name(source), why);
    g_hash_table_remove(self->unlisted, source);
    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        if (guest->source != source)
            continue;
        guest->seen = FALSE;
        if (guest->task != NULL)
            wk_task_forget_calls(guest->task);
        wk_engine_publish_guest(self, guest);
    }
}

void
wk_engine_guest_touched(WkEngine *self, WkSource *source, const char *uuid)
{
    WkGuest *guest = wk_engine_find(self, uuid);

    if (guest == NULL) {
        guest = wk_guest_new(source, uuid, uuid, NULL);
        g_hash_table_replace(self->guests, guest->uuid, guest);
    }
    /* its task may wait for this very change: a pod that comes or goes */
    if (guest->task != NULL && wk_source_is_launcher(source))
        wk_engine_retry_now(self, guest->task);
    wk_engine_look(self, guest);
}

gboolean
wk_engine_has_settled(WkEngine *self)
{
    GHashTableIter iter;
    WkGuest *guest;

    if (g_hash_table_size(self->unlisted) > 0)
        return FALSE;
    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        if (guest->needs_recovery && wk_source_is_up(guest->source))
            return FALSE;
    }
    return TRUE;
}

WkGuest *
wk_engine_find(WkEngine *self, const char *uuid)
{
    return g_hash_table_lookup(self->guests, uuid);
}

guint
wk_engine_count(WkEngine *self)
{
    return g_hash_table_size(self->guests);
}

static int
compare_guests(gconstpointer a, gconstpointer b)
{
    const WkGuest *left = *(const WkGuest *const *)a;
    const WkGuest *right = *(const WkGuest *const *)b;
    const int names = strcmp(left->name, right->name);

    return names != 0 ? names : strcmp(left->uuid, right->uuid);
}

GPtrArray *
wk_engine_list(WkEngine *self)
{
    GPtrArray *list = g_ptr_array_new();
    GHashTableIter iter;
    WkGuest *guest;

    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        g_ptr_array_add(list, guest);
    g_ptr_array_sort(list, compare_guests);
    return list;
}

static void
add_operation(GPtrArray *list, const WkTask *task)
{
    if (task != NULL && task->op != NULL)
        g_ptr_array_add(list, wk_operation_copy(task->op));
}

GPtrArray *
wk_engine_operations(WkEngine *self)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)wk_operation_free);
    GHashTableIter iter;
    WkGuest *guest;

    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        add_operation(list, guest->task);
        add_operation(list, guest->next);
    }
    for (GList *l = self->recent.head; l != NULL; l = l->next)
        g_ptr_array_add(list, wk_operation_copy(l->data));
    return list;
}

WkOperation *
wk_engine_find_operation(WkEngine *self, const char *id)
{
    g_autoptr(GPtrArray) list = wk_engine_operations(self);

    for (guint i = 0; i < list->len; i++) {
        const WkOperation *op = g_ptr_array_index(list, i);

        if (g_str_equal(op->id, id))
            return wk_operation_copy(op);
    }
    return NULL;
}

WkOperation *
wk_engine_cancel(WkEngine *self, const char *uuid, GError **error)
{
    WkGuest *guest = wk_engine_find(self, uuid);
    WkTask *queued = guest != NULL ? g_steal_pointer(&guest->next) : NULL;
    WkTask *task = guest != NULL ? guest->task : NULL;
    g_autoptr(WkOperation) result = NULL;

    if (queued != NULL) {
        wk_engine_end_unstarted(self, queued, WK_OP_CANCELLED, "Cancelled", "cancelled");
        result = wk_operation_copy(queued->op);
        wk_task_unref(queued);
    }
    if (task != NULL && task->op != NULL && !task->finishing) {
        wk_engine_stop_task(self, task, "cancelled");
        g_clear_pointer(&result, wk_operation_free);
        result = wk_operation_copy(task->op);
    }
    if (result == NULL)
        wk_error_set(error, WK_ERROR_CONFLICT, "NothingToCancel",
                     "guest '%s': nothing is under way that could be cancelled",
                     guest != NULL ? guest->name : uuid);
    return g_steal_pointer(&result);
}

void
wk_engine_set_owner(WkEngine *self, const char *uuid, const WkOwner *owner)
{
    static const WkOwner none = { 0 };
    WkGuest *guest = wk_engine_find(self, uuid);

    if (guest == NULL)
        return;
    wk_owner_copy(owner != NULL ? owner : &none, &guest->owner);
    if (guest->view != NULL)
        wk_engine_publish_guest(self, guest);
}

void
wk_engine_publish_guest(WkEngine *self, WkGuest *guest)
{
    g_autoptr(WkView) told = NULL;

    if (wk_guest_is_gone(guest)) {
        g_autofree char *uuid = g_strdup(guest->uuid);

        g_hash_table_remove(self->guests, uuid);
        self->listener.guest_gone(uuid, self->data);
        return;
    }
    if (!wk_guest_update_view(guest))
        return;
    told = wk_view_copy(guest->view); /* whoever listens may make the guest be published anew */
    self->listener.guest_changed(told, self->data);
}

void
wk_engine_publish_operation(WkEngine *self, const WkOperation *op)
{
    if (op != NULL)
        self->listener.operation_changed(op, self->data);
}

void
wk_engine_remember(WkEngine *self, const WkOperation *op)
{
    g_queue_push_head(&self->recent, wk_operation_copy(op));
    if (self->recent.length > WK_ENGINE_RECENT_MAX)
        wk_operation_free(g_queue_pop_tail(&self->recent));
}

void
wk_engine_quiesce(WkEngine *self)
{
    GHashTableIter iter;
    WkGuest *guest;

    self->quiet = TRUE;
    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        if (guest->task == NULL)
            continue;
        wk_task_disarm_all(guest->task);
        wk_run_abandon(guest->task->run);
    }
}

gboolean
wk_engine_is_idle(WkEngine *self)
{
    return self->working == 0;
}
