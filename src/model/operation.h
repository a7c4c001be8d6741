/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/steps.h"
#include "model/types.h"

G_BEGIN_DECLS

/* What somebody asks of a guest, wherever it comes from. */
typedef struct {
    const char *guest; /* id: the domain's UUID */
    WkAction action;
    WkTarget target; /* WK_TARGET_NONE: omitted */
    WkFallback fallback;
    WkOrigin origin;
    guint timeout_s; /* 0: the default for the action */
    gboolean dry_run;

    /* The Wukong whose spec asks; NULL and 0: none does. */
    const char *wukong_uid;
    gint64 generation;      /* of the spec that asks */
    const char *request_id; /* NULL: none */
    const char *owed;       /* spec.lifecycleAction, to be removed once it is done */
} WkRequest;

#define WK_TIMEOUT_MAX_S 86400

/*
 * One accepted request on its way; its row in the ledger outlives the agent. Plain data, owned by
 * the agent's main thread; everybody else gets a snapshot.
 */
typedef struct {
    char *id;
    char *source;
    char *guest; /* id */
    char *name;  /* the guest's name */
    WkAction action;
    WkTarget target; /* WK_TARGET_NONE: omitted; filled in once it is decided */
    WkFallback fallback;
    WkOrigin origin;
    WkOpState state;
    WkStep step;
    guint attempt;         /* from 1; 0 while queued */
    gint64 accepted_at_us; /* wall clock: the deadline outlives the agent */
    gint64 deadline_at_us;
    gint64 started_at_us;
    gint64 finished_at_us;
    char *reason;  /* NULL: none */
    char *message; /* NULL: none */

    /* The Wukong that asked, as in WkRequest: what the ledger fences a repetition by (I5). */
    char *wukong_uid;
    gint64 generation;
    char *request_id;
    char *owed;

    guint64 done_bytes; /* of total_bytes; 0/0 when there is nothing to count */
    guint64 total_bytes;
    guint64 bytes_per_second;
} WkOperation;

/* Returns: (transfer full): queued, with a new id, accepted now. */
WkOperation *
wk_operation_new(const WkRequest *request, const char *source, const char *name, guint timeout_s);
WkOperation *wk_operation_copy(const WkOperation *self);
void wk_operation_free(WkOperation *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkOperation, wk_operation_free)

/* The one setter of an operation's state; reason and message are copied, may be NULL. Logs at
 * debug level; refuses (g_return) to leave a final state. */
void
wk_operation_set_state(WkOperation *self, WkOpState state, const char *reason, const char *message);

/* Percent done, 0 to 100; -1 when nothing is counted. */
int wk_operation_percent(const WkOperation *self);

/* Seconds left at the present rate; -1: not known. */
gint64 wk_operation_seconds_left(const WkOperation *self);

G_END_DECLS
