/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/wukongs.h"
#include "base/error.h"
#include "kube/reflector.h"
#include "kube/reporter.h"

G_BEGIN_DECLS

typedef struct _WkOutbox WkOutbox;

/* One Wukong, known from the API server, from the ledger, or both. */
typedef struct {
    char *uid;
    WkWukong *seen;     /* NULL: not told (any more), or not of this node */
    WkBinding *binding; /* NULL: nothing of it is in the ledger */
    gboolean told;      /* since the last list began */
    char *guest;        /* uuid of the guest that it means now; NULL: none */

    WkStatus *wanted; /* as last given to the reporter */
    char *wanted_owed;
    int wanted_mark;

    gboolean submitting; /* its request is on the way into the engine */
    gint64 waits_for;    /* generation that could not be submitted for a passing reason; 0: none */
    char *begun;         /* id of the operation whose beginning was told as an Event */
    char *told_reason;   /* last reason of the guest's view that was looked at for Events */

    WkReflector *by_name; /* it is ours by its image, not by its node */
    gboolean by_name_told;
    WkWukongs *owner; /* for by_name's callbacks */
} WkEntry;

struct _WkWukongs {
    WkEngine *engine;
    WkLedger *ledger;
    char *node_name;
    char **domain_namespaces; /* that may use the annotation */

    WkKube *kube;
    WkReflector *reflector;
    WkReporter *reporter;
    WkOutbox *outbox;

    GHashTable *entries;  /* utf8 uid:WkEntry */
    GHashTable *by_guest; /* utf8 uuid:WkEntry: whoever the guest belongs to */
    GHashTable *notices;  /* utf8 reason:utf8 text: what the reporter said and still holds */
    char *trouble;        /* of the watch; NULL: none */
    char *trouble_reason; /* NULL: none */
    gboolean synced;      /* the list came through since the last trouble */
    gboolean ready;
    void (*renewed)(gpointer data); /* NULL: nobody wants to know */
    gpointer renewed_data;
    guint retry_source; /* for entries that wait, see waits_for */
};

/* wukongs.c: looks at the whole of @entry anew. */
void wk_wukongs_reconcile(WkWukongs *self, WkEntry *entry);
/* Something of it is on this node: an image, work under way, an action still to be removed. */
gboolean wk_wukongs_has_stake(WkWukongs *self, const WkEntry *entry);
/* An operation of this Wukong is under way on @guest (may be NULL). */
gboolean wk_wukongs_is_at_work(const WkEntry *entry, const WkGuest *guest);
/* Frees @entry: nothing of it is here. */
void wk_wukongs_drop(WkWukongs *self, WkEntry *entry);
/* The Wukong @entry is gone from the API server. */
void wk_wukongs_deleted(WkWukongs *self, WkEntry *entry);

/* wukongs_binding.c: a row in the ledger, before anything is done that must be fenced by it. */
gboolean wk_wukongs_keep(WkWukongs *self, WkEntry *entry);
/* What fails is logged. */
gboolean wk_wukongs_put_binding(WkWukongs *self, const WkBinding *binding);
void wk_wukongs_forget_binding(WkWukongs *self, WkEntry *entry);

/* wukongs_guest.c: which guest @entry means. Returns: (transfer none): NULL with @reason and
 * @message (transfer full) why there is none. */
WkGuest *
wk_wukongs_find_guest(WkWukongs *self, WkEntry *entry, const char **reason, char **message);

/* The guest that @entry means is published with its Wukong, or with none any more. */
void wk_wukongs_own(WkWukongs *self, WkEntry *entry);
void wk_wukongs_let_go(WkWukongs *self, WkEntry *entry);

/* wukongs_health.c: what doctor tells; @text NULL: no longer so. */
void wk_wukongs_note(WkWukongs *self, const char *reason, const char *text);
/* @error NULL: the watch is well again. */
void wk_wukongs_note_trouble(WkWukongs *self, const GError *error, guint retry_ms);

/* wukongs_intent.c: does what the spec asks for, where that is still to be done. */
void wk_wukongs_act(WkWukongs *self, WkEntry *entry, WkGuest *guest);

/* wukongs_report.c: tells the reporter what is to be shown. */
void wk_wukongs_report(WkWukongs *self, WkEntry *entry, WkGuest *guest, const char *reason,
                       const char *message);
void wk_wukongs_tell_operation(WkWukongs *self, WkEntry *entry, const WkOperation *operation);
void wk_wukongs_tell_view(WkWukongs *self, WkEntry *entry, const WkView *view);
/* An action that was refused before it became an operation. */
void wk_wukongs_tell_refusal(WkWukongs *self, WkEntry *entry, WkAction action, const char *message);

/* wukongs_watch.c: a Wukong that is ours by its image is watched by its name. */
void wk_wukongs_watch_by_name(WkWukongs *self, WkEntry *entry);

/* wukongs_outbox.c: Events on their way through the ledger, in a thread of its own, so that the
 * main loop does not wait for a disk. */
WkOutbox *wk_outbox_new(WkLedger *ledger, WkReporter *reporter, GError **error);
void wk_outbox_free(WkOutbox *self); /* waits for what was begun; NULL is fine */
/* @event (transfer full): into the ledger, then to the reporter. */
void wk_outbox_put(WkOutbox *self, WkKubeEvent *event);
void wk_outbox_drop(WkOutbox *self, gint64 seq);
void wk_outbox_settle_owed(WkOutbox *self, const char *uid, const char *owed);

G_END_DECLS
