/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/wukongs_private.h"

#include "base/json.h"
#include "base/log.h"

/*
 * One thread, so that the order stays and a slow disk holds up nobody. An Event that can't be noted
 * is told all the same: what a full disk must not take from a user is being told of it.
 */
struct _WkOutbox {
    WkLedger *ledger;
    WkReporter *reporter; /* NULL once it goes */
    GThreadPool *pool;
    gatomicrefcount refs;
};

typedef struct {
    WkOutbox *outbox;   /* reference */
    WkKubeEvent *event; /* to put; NULL: one of the others */
    gint64 drop;        /* seq; 0: none */
    char *uid;
    char *owed;
} Errand;

static WkOutbox *
outbox_ref(WkOutbox *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

static void
outbox_unref(WkOutbox *self)
{
    if (!g_atomic_ref_count_dec(&self->refs))
        return;
    wk_ledger_unref(self->ledger);
    g_free(self);
}

static void
errand_free(Errand *errand)
{
    outbox_unref(errand->outbox);
    wk_kube_event_free(errand->event);
    g_free(errand->uid);
    g_free(errand->owed);
    g_free(errand);
}

/* ---- an Event as text ---- */

static char *
event_to_text(const WkKubeEvent *event)
{
    g_autoptr(JsonObject) object = json_object_new();

    wk_json_set_string(object, "uid", event->uid);
    wk_json_set_string(object, "namespace", event->ns);
    wk_json_set_string(object, "name", event->name);
    wk_json_set_string(object, "type", event->type);
    wk_json_set_string(object, "reason", event->reason);
    wk_json_set_string(object, "action", event->action);
    wk_json_set_string(object, "note", event->note);
    wk_json_set_int(object, "atUs", event->at_us);
    return wk_json_to_text(object);
}

static WkKubeEvent *
event_from_text(gint64 seq, const char *text)
{
    g_autoptr(JsonObject) object = wk_json_parse(text, -1, WK_OUTBOX_MAX_BYTES, NULL);
    WkKubeEvent *event;

    if (object == NULL || wk_json_get_string(object, "uid") == NULL)
        return NULL;
    event = g_new0(WkKubeEvent, 1);
    event->seq = seq;
    event->uid = g_strdup(wk_json_get_string(object, "uid"));
    event->ns = g_strdup(wk_json_get_string(object, "namespace"));
    event->name = g_strdup(wk_json_get_string(object, "name"));
    event->type = g_strdup(wk_json_get_string(object, "type"));
    event->reason = g_strdup(wk_json_get_string(object, "reason"));
    event->action = g_strdup(wk_json_get_string(object, "action"));
    event->note = g_strdup(wk_json_get_string(object, "note"));
    event->at_us = wk_json_get_int(object, "atUs", 0);
    event->count = 1;
    return event;
}

/* ---- the thread ---- */

static gboolean
on_noted(gpointer data)
{
    Errand *errand = data;

    if (errand->outbox->reporter != NULL)
        wk_reporter_event(errand->outbox->reporter, g_steal_pointer(&errand->event));
    errand_free(errand);
    return G_SOURCE_REMOVE;
}

/* Worker. */
static void
run_errand(gpointer data, gpointer user_data)
{
    Errand *errand = data;
    WkOutbox *self = user_data;
    g_autofree char *text = errand->event != NULL ? event_to_text(errand->event) : NULL;
    g_autoptr(GError) error = NULL;
    gboolean ok;

    if (errand->event != NULL)
        ok = wk_ledger_put_outbox(self->ledger, text, &errand->event->seq, &error);
    else if (errand->owed != NULL)
        ok = wk_ledger_settle_owed(self->ledger, errand->uid, errand->owed, &error);
    else
        ok = wk_ledger_drop_outbox(self->ledger, errand->drop, &error);
    if (!ok)
        wk_log(WK_LOG_WARNING, NULL, "the outbox: %s", error->message);
    if (errand->event != NULL)
        g_main_context_invoke(NULL, on_noted, errand);
    else
        errand_free(errand);
}

static void
push(WkOutbox *self, Errand *errand)
{
    errand->outbox = outbox_ref(self);
    (void)g_thread_pool_push(self->pool, errand, NULL);
}

void
wk_outbox_put(WkOutbox *self, WkKubeEvent *event)
{
    Errand *errand = g_new0(Errand, 1);

    errand->event = event;
    push(self, errand);
}

void
wk_outbox_drop(WkOutbox *self, gint64 seq)
{
    Errand *errand;

    if (seq == 0)
        return; /* it could not be noted */
    errand = g_new0(Errand, 1);
    errand->drop = seq;
    push(self, errand);
}

void
wk_outbox_settle_owed(WkOutbox *self, const char *uid, const char *owed)
{
    Errand *errand = g_new0(Errand, 1);

    errand->uid = g_strdup(uid);
    errand->owed = g_strdup(owed);
    push(self, errand);
}

/* What an earlier life could not tell. */
static gboolean
load(WkOutbox *self, GError **error)
{
    g_autoptr(GPtrArray) entries = wk_ledger_list_outbox(self->ledger, error);

    for (guint i = 0; entries != NULL && i < entries->len; i++) {
        const WkOutboxEntry *entry = g_ptr_array_index(entries, i);
        WkKubeEvent *event = event_from_text(entry->seq, entry->body);

        if (event != NULL)
            wk_reporter_event(self->reporter, event);
        else
            wk_outbox_drop(self, entry->seq);
    }
    return entries != NULL;
}

WkOutbox *
wk_outbox_new(WkLedger *ledger, WkReporter *reporter, GError **error)
{
    WkOutbox *self = g_new0(WkOutbox, 1);

    g_atomic_ref_count_init(&self->refs);
    self->ledger = wk_ledger_ref(ledger);
    self->reporter = reporter;
    self->pool = g_thread_pool_new(run_errand, self, 1, FALSE, error);
    if (self->pool != NULL && load(self, error))
        return self;
    wk_outbox_free(self);
    return NULL;
}

void
wk_outbox_free(WkOutbox *self)
{
    if (self == NULL)
        return;
    self->reporter = NULL;
    if (self->pool != NULL)
        g_thread_pool_free(self->pool, FALSE, TRUE);
    outbox_unref(self);
}
