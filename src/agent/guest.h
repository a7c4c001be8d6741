/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "worker/job.h"
#include "model/view.h"

G_BEGIN_DECLS

typedef struct _WkTask WkTask;

/* One guest as the engine knows it. Main thread only; owned by the engine's registry. */
typedef struct {
    char *uuid;
    char *name;
    WkSource *source; /* reference */
    gboolean seen;    /* looked at since the source came up */
    WkLook look;
    WkFacts *facts;          /* NULL: not read yet */
    WkRecord *record;        /* never NULL; as in the ledger */
    gboolean foreign_save;   /* a managed save that is not ours lies at M */
    gboolean guard_synced;   /* row Q2 */
    gboolean needs_recovery; /* or may: it is to be looked at yet; readiness waits for it */
    WkOwner owner;           /* its Wukong, for the view */
    WkView *view;            /* as last published; NULL: never */

    WkTask *task;       /* in flight: the guest is its alone (I6); owned */
    WkTask *next;       /* waits for it; owned */
    gboolean accepting; /* a request is looked at */
    GQueue submissions; /* GTask: requests that came meanwhile (accept.c) */
    gboolean looking;
    guint failed_looks; /* in a row */
    gboolean look_again;
} WkGuest;

/* Returns: (transfer full): @record is taken (transfer full), NULL: a guest without a row. */
WkGuest *wk_guest_new(WkSource *source, const char *uuid, const char *name, WkRecord *record);
void wk_guest_free(gpointer guest);

/* Takes over what was seen: @look is copied, @facts (transfer full) may be NULL. */
void wk_guest_saw(WkGuest *self, const WkLook *look, WkFacts *facts);

/* Makes the view anew. Returns: TRUE when it differs from the one before. */
gboolean wk_guest_update_view(WkGuest *self);

/* Nobody has a use for it: libvirt does not know it, and nothing of it is saved. */
gboolean wk_guest_is_gone(const WkGuest *self);

G_END_DECLS
