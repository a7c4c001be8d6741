/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/wukongs_private.h"

#include "base/clock.h"
#include "base/log.h"

#define RETRY_S 5

static void
entry_free(gpointer data)
{
    WkEntry *entry = data;

    wk_reflector_free(entry->by_name);
    wk_wukong_free(entry->seen);
    wk_binding_free(entry->binding);
    wk_status_free(entry->wanted);
    g_free(entry->wanted_owed);
    g_free(entry->begun);
    g_free(entry->told_reason);
    g_free(entry->guest);
    g_free(entry->uid);
    g_free(entry);
}

static WkEntry *
get_entry(WkWukongs *self, const char *uid)
{
    WkEntry *entry = g_hash_table_lookup(self->entries, uid);

    if (entry != NULL)
        return entry;
    entry = g_new0(WkEntry, 1);
    entry->uid = g_strdup(uid);
    entry->wanted_mark = -1;
    entry->owner = self;
    g_hash_table_insert(self->entries, entry->uid, entry);
    return entry;
}

void
wk_wukongs_drop(WkWukongs *self, WkEntry *entry)
{
    wk_reporter_forget(self->reporter, entry->uid);
    g_clear_pointer(&entry->seen, wk_wukong_free); /* so that it claims nothing any more */
    wk_wukongs_let_go(self, entry);
    g_hash_table_remove(self->entries, entry->uid);
}

/* ---- one Wukong ---- */

static const WkGuest *
bound_guest(WkWukongs *self, const WkEntry *entry)
{
    if (entry->binding == NULL || entry->binding->guest == NULL)
        return NULL;
    return wk_engine_find(self->engine, entry->binding->guest);
}

static gboolean
holds_image(const WkGuest *guest)
{
    return guest != NULL && guest->record->state != WK_LEDGER_NONE;
}

void
wk_wukongs_reconcile(WkWukongs *self, WkEntry *entry)
{
    g_autofree char *message = NULL;
    const char *reason = NULL;
    WkGuest *guest;

    if (entry->seen == NULL || !self->ready)
        return;
    guest = wk_wukongs_find_guest(self, entry, &reason, &message);
    if (holds_image(guest))
        (void)wk_wukongs_keep(self, entry); /* whose image it is must outlive the object */
    if (guest != NULL && guest->view != NULL)
        wk_wukongs_tell_view(self, entry, guest->view);
    wk_wukongs_act(self, entry, guest);
    wk_wukongs_report(self, entry, guest, reason, message);
    wk_wukongs_own(self, entry);
}

/* (transfer container): the entries may change while they are gone through. */
static GPtrArray *
list_entries(WkWukongs *self)
{
    GPtrArray *entries = g_ptr_array_sized_new(g_hash_table_size(self->entries));
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, self->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_ptr_array_add(entries, value);
    return entries;
}

/* Whoever may mean this guest: its Wukong, or all that have none yet. */
static void
reconcile_guest(WkWukongs *self, const char *uuid)
{
    WkEntry *owner = g_hash_table_lookup(self->by_guest, uuid);
    g_autoptr(GPtrArray) entries = NULL;

    if (owner != NULL) {
        wk_wukongs_reconcile(self, owner);
        return;
    }
    entries = list_entries(self);
    for (guint i = 0; i < entries->len; i++) {
        WkEntry *entry = g_ptr_array_index(entries, i);

        if (entry->guest == NULL)
            wk_wukongs_reconcile(self, entry);
    }
}

gboolean
wk_wukongs_is_at_work(const WkEntry *entry, const WkGuest *guest)
{
    return guest != NULL && guest->task != NULL && guest->task->op != NULL
           && g_strcmp0(guest->task->op->wukong_uid, entry->uid) == 0;
}

/* A save that nobody will ask to be resumed any more is called off: a running guest is of more use
 * than an orphaned image. */
static void
call_off(WkWukongs *self, const WkEntry *entry, const WkGuest *guest)
{
    if (wk_wukongs_is_at_work(entry, guest) && guest->task->op->action == WK_ACTION_SUSPEND)
        wk_operation_free(wk_engine_cancel(self->engine, guest->uuid, NULL));
}

static void
note_deleted(WkWukongs *self, WkEntry *entry, const WkGuest *guest)
{
    if (entry->binding->deleted_at_us != 0)
        return;
    entry->binding->deleted_at_us = wk_clock_real_us();
    (void)wk_wukongs_put_binding(self, entry->binding);
    wk_log(WK_LOG_WARNING, &(WkLogFields){ .guest = guest->name, .uuid = guest->uuid },
           "Wukong %s/%s was deleted; what is saved of its guest is kept as an orphan",
           entry->binding->ns, entry->binding->name);
}

/* Of a save that is under way the record tells nothing yet, and it may be too late to call it off:
 * whose image it will be is known until it has ended (bury_dead_owners()). */
void
wk_wukongs_deleted(WkWukongs *self, WkEntry *entry)
{
    const WkGuest *guest = bound_guest(self, entry);
    g_autofree char *uuid = guest != NULL ? g_strdup(guest->uuid) : NULL;

    call_off(self, entry, guest);
    wk_reporter_forget(self->reporter, entry->uid);
    g_clear_pointer(&entry->seen, wk_wukong_free);
    g_clear_pointer(&entry->by_name, wk_reflector_free);
    if (holds_image(guest) || wk_wukongs_is_at_work(entry, guest)) {
        note_deleted(self, entry, guest);
    } else {
        wk_wukongs_forget_binding(self, entry);
        wk_wukongs_drop(self, entry);
    }
    if (uuid != NULL)
        reconcile_guest(self, uuid); /* another one may have waited for this */
}

gboolean
wk_wukongs_has_stake(WkWukongs *self, const WkEntry *entry)
{
    const WkGuest *guest = bound_guest(self, entry);

    return holds_image(guest) || (guest != NULL && guest->task != NULL)
           || (entry->binding != NULL && entry->binding->owed != NULL);
}

/* Nothing of it is here: an image that the guest has later is not its own. What it was told to do
 * last stays known, for it may come back. */
static void
leave(WkWukongs *self, WkEntry *entry)
{
    g_autofree char *uuid = NULL;

    if (entry->binding != NULL && entry->binding->guest != NULL) {
        uuid = g_steal_pointer(&entry->binding->guest);
        g_clear_pointer(&entry->binding->source, g_free);
        (void)wk_wukongs_put_binding(self, entry->binding);
    }
    wk_wukongs_drop(self, entry);
    if (uuid != NULL)
        reconcile_guest(self, uuid);
}

/* Out of the node's list: gone, or another node's now. */
static void
departed(WkWukongs *self, WkEntry *entry)
{
    entry->told = FALSE;
    if (entry->by_name != NULL || (entry->binding != NULL && entry->binding->deleted_at_us != 0))
        return;
    if (wk_wukongs_has_stake(self, entry))
        wk_wukongs_watch_by_name(self, entry);
    else
        leave(self, entry);
}

/* ---- from the API server ---- */

static gboolean
is_of_node(WkWukongs *self, JsonObject *object)
{
    return g_strcmp0(wk_wukong_peek_node(object), self->node_name) == 0;
}

static void
on_object(JsonObject *object, gpointer data)
{
    WkWukongs *self = data;
    g_autoptr(WkWukong) wukong = NULL;
    g_autoptr(GError) error = NULL;
    WkEntry *entry;

    if (!is_of_node(self, object)) {
        const char *uid = wk_wukong_peek_uid(object);

        entry = uid != NULL ? g_hash_table_lookup(self->entries, uid) : NULL;
        if (entry != NULL && entry->told)
            departed(self, entry);
        return;
    }
    wukong = wk_wukong_parse(object, &error);
    if (wukong == NULL) {
        wk_log(WK_LOG_WARNING, NULL, "a Wukong that can't be read: %s", error->message);
        return;
    }
    entry = get_entry(self, wukong->uid);
    entry->told = TRUE;
    g_clear_pointer(&entry->by_name, wk_reflector_free);
    wk_wukong_free(entry->seen);
    entry->seen = g_steal_pointer(&wukong);
    wk_reporter_saw(self->reporter, entry->seen);
    wk_wukongs_reconcile(self, entry);
}

static void
on_left(JsonObject *last, gpointer data)
{
    WkWukongs *self = data;
    const char *uid = wk_wukong_peek_uid(last);
    WkEntry *entry = uid != NULL ? g_hash_table_lookup(self->entries, uid) : NULL;

    if (entry != NULL && entry->told)
        departed(self, entry);
}

static void
on_relisting(gpointer data)
{
    WkWukongs *self = data;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, self->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        ((WkEntry *)value)->told = FALSE;
}

static void
on_synced(gpointer data)
{
    WkWukongs *self = data;
    g_autoptr(GPtrArray) entries = list_entries(self);

    self->synced = TRUE;
    wk_reporter_hurry(self->reporter);
    for (guint i = 0; i < entries->len; i++) {
        WkEntry *entry = g_ptr_array_index(entries, i);

        if (!entry->told)
            departed(self, entry);
    }
    wk_log(WK_LOG_INFO, NULL, "Kubernetes: %u Wukong(s) of node '%s'",
           g_hash_table_size(self->entries), self->node_name);
}

static void
on_trouble(const GError *error, guint retry_ms, gpointer data)
{
    WkWukongs *self = data;

    wk_wukongs_note_trouble(self, error, retry_ms);
    if (error == NULL)
        wk_reporter_hurry(self->reporter);
    else
        self->synced = FALSE;
}

static const WkReflectorListener reflector_listener = { .relisting = on_relisting,
                                                        .object = on_object,
                                                        .left = on_left,
                                                        .synced = on_synced,
                                                        .trouble = on_trouble };

/* ---- from the reporter ---- */

static void
on_removed(const char *uid, const char *owed, gpointer data)
{
    WkWukongs *self = data;
    WkEntry *entry = g_hash_table_lookup(self->entries, uid);

    wk_outbox_settle_owed(self->outbox, uid, owed);
    if (entry == NULL || entry->binding == NULL || g_strcmp0(entry->binding->owed, owed) != 0)
        return;
    g_clear_pointer(&entry->binding->owed, g_free);
    wk_wukongs_reconcile(self, entry);
}

/* The Lease is tried more often than a watch that has failed for long. */
static void
on_renewed(gpointer data)
{
    WkWukongs *self = data;
    GHashTableIter iter;
    gpointer value;

    wk_reflector_hurry(self->reflector);
    g_hash_table_iter_init(&iter, self->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const WkEntry *entry = value;

        if (entry->by_name != NULL)
            wk_reflector_hurry(entry->by_name);
    }
    if (self->renewed != NULL)
        self->renewed(self->renewed_data);
}

static void
on_event_done(gint64 seq, gpointer data)
{
    WkWukongs *self = data;

    wk_outbox_drop(self->outbox, seq);
}

static void
on_notice(const char *reason, const char *text, gpointer data)
{
    wk_wukongs_note(data, reason, text);
}

static const WkReporterListener reporter_listener = {
    .removed = on_removed, .event_done = on_event_done, .notice = on_notice, .renewed = on_renewed
};

/* ---- from the engine ---- */

void
wk_wukongs_set_ready(WkWukongs *self)
{
    g_autoptr(GPtrArray) entries = NULL;

    if (self == NULL || self->ready)
        return;
    self->ready = TRUE;
    entries = list_entries(self);
    for (guint i = 0; i < entries->len; i++)
        wk_wukongs_reconcile(self, g_ptr_array_index(entries, i));
}

/* An orphan's image is gone: so is what was known of its Wukong. */
static void
bury_dead_owners(WkWukongs *self, const char *uuid)
{
    const WkGuest *guest = wk_engine_find(self->engine, uuid);
    g_autoptr(GPtrArray) entries = list_entries(self);

    for (guint i = 0; i < entries->len; i++) {
        WkEntry *entry = g_ptr_array_index(entries, i);

        if (entry->binding == NULL || entry->binding->deleted_at_us == 0
            || g_strcmp0(entry->binding->guest, uuid) != 0 || wk_wukongs_is_at_work(entry, guest))
            continue;
        wk_wukongs_forget_binding(self, entry);
        wk_wukongs_drop(self, entry);
    }
}

void
wk_wukongs_guest_changed(WkWukongs *self, const WkView *view)
{
    const WkGuest *guest;
    WkEntry *entry;

    if (self == NULL)
        return;
    guest = wk_engine_find(self->engine, view->id);
    if (guest != NULL && !holds_image(guest))
        bury_dead_owners(self, view->id);
    entry = g_hash_table_lookup(self->by_guest, view->id);
    if (entry != NULL && view->state != WK_STATE_UNKNOWN)
        entry->waits_for = 0;
    reconcile_guest(self, view->id);
}

void
wk_wukongs_guest_gone(WkWukongs *self, const char *uuid)
{
    if (self == NULL)
        return;
    bury_dead_owners(self, uuid);
    reconcile_guest(self, uuid);
}

void
wk_wukongs_operation_changed(WkWukongs *self, const WkOperation *op)
{
    const WkGuest *guest;
    WkEntry *entry;

    if (self == NULL)
        return;
    entry = op->wukong_uid != NULL ? g_hash_table_lookup(self->entries, op->wukong_uid)
                                   : g_hash_table_lookup(self->by_guest, op->guest);
    if (entry == NULL)
        return;
    wk_wukongs_tell_operation(self, entry, op);
    /* as the ledger did in the transaction that ended it */
    if (wk_op_state_is_final(op->state) && op->wukong_uid != NULL && entry->binding != NULL)
        (void)wk_binding_note(entry->binding, op);
    guest = wk_engine_find(self->engine, op->guest);
    /* the guest's state follows at once, and the two are told in one write */
    if (guest == NULL || guest->view == NULL || g_strcmp0(guest->view->operation, op->id) != 0)
        wk_wukongs_reconcile(self, entry);
}

static gboolean
on_retry(gpointer data)
{
    WkWukongs *self = data;
    g_autoptr(GPtrArray) entries = list_entries(self);

    for (guint i = 0; i < entries->len; i++) {
        WkEntry *entry = g_ptr_array_index(entries, i);

        if (entry->waits_for == 0)
            continue;
        entry->waits_for = 0;
        wk_wukongs_reconcile(self, entry);
    }
    return G_SOURCE_CONTINUE;
}

/* ---- begin and end ---- */

void
wk_wukongs_drain(WkWukongs *self, guint patience_ms, void (*done)(gpointer data), gpointer data)
{
    wk_reporter_drain(self->reporter, patience_ms, done, data);
}

static gboolean
load_bindings(WkWukongs *self, GError **error)
{
    g_autoptr(GPtrArray) bindings = wk_ledger_list_bindings(self->ledger, error);

    for (guint i = 0; bindings != NULL && i < bindings->len; i++) {
        const WkBinding *binding = g_ptr_array_index(bindings, i);

        get_entry(self, binding->uid)->binding = wk_binding_copy(binding);
    }
    return bindings != NULL;
}

static void
start_watching(WkWukongs *self)
{
    g_autofree char *selector = g_strdup_printf("status.nodeName=%s", self->node_name);
    const WkReflectorOptions options = { .path = WK_WUKONG_PATH "/wukongs",
                                         .field_selector = selector };

    self->reflector = wk_reflector_new(self->kube, &options, &reflector_listener, self);
}

static gboolean
start(WkWukongs *self, const WkWukongsOptions *options, GError **error)
{
    const WkReporterOptions reporter = { .node_name = options->node_name,
                                         .namespace_name = options->namespace_name };

    self->kube = wk_kube_new(options->config, "wukongd/" PACKAGE_VERSION);
    self->reporter = wk_reporter_new(self->kube, &reporter, &reporter_listener, self);
    if (!load_bindings(self, error))
        return FALSE;
    self->outbox = wk_outbox_new(self->ledger, self->reporter, error);
    if (self->outbox == NULL)
        return FALSE;
    start_watching(self);
    self->retry_source = g_timeout_add_seconds(RETRY_S, on_retry, self);
    return TRUE;
}

WkWukongs *
wk_wukongs_new(const WkWukongsOptions *options, GError **error)
{
    g_autoptr(WkWukongs) self = g_new0(WkWukongs, 1);

    self->engine = options->engine;
    self->ledger = wk_ledger_ref(options->ledger);
    self->node_name = g_strdup(options->node_name);
    self->domain_namespaces = g_strsplit_set(options->domain_annotation, ", ", -1);
    self->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, entry_free);
    self->by_guest = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    self->notices = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return start(self, options, error) ? g_steal_pointer(&self) : NULL;
}

void
wk_wukongs_free(WkWukongs *self)
{
    if (self == NULL)
        return;
    if (self->retry_source != 0)
        g_source_remove(self->retry_source);
    wk_reflector_free(self->reflector);
    wk_outbox_free(self->outbox);
    g_hash_table_unref(self->notices);
    g_free(self->trouble);
    g_free(self->trouble_reason);
    g_hash_table_unref(self->by_guest);
    g_hash_table_unref(self->entries);
    wk_reporter_free(self->reporter);
    wk_kube_free(self->kube);
    wk_ledger_unref(self->ledger);
    g_strfreev(self->domain_namespaces);
    g_free(self->node_name);
    g_free(self);
}

WkKube *
wk_wukongs_get_kube(WkWukongs *self)
{
    return self != NULL ? self->kube : NULL;
}

void
wk_wukongs_set_renewed(WkWukongs *self, void (*renewed)(gpointer data), gpointer data)
{
    self->renewed = renewed;
    self->renewed_data = data;
}
