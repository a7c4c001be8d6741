/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/engine.h"

G_BEGIN_DECLS

/* Finished operations that are still answered for by id; older ones are in the ledger's history. */
#define WK_ENGINE_RECENT_MAX 256

struct _WkEngine {
    WkLedger *ledger;
    WkVault *vault;
    char *boot_id;
    char *no_vault;          /* NULL: there is one */
    GHashTable *cannot_save; /* WkSource:utf8 why; those that can't */
    WkTarget default_target;
    guint parallel_saves;
    guint parallel_restores;
    guint reserve_percent;
    WkEngineListener listener;
    gpointer data;

    GHashTable *guests; /* utf8 uuid:WkGuest */
    GPtrArray *sources; /* (element-type WkSource) */
    GHashTable *left;   /* utf8 source name:GPtrArray of WkOperation, of an earlier life */
    GQueue waiting;     /* WkTask, references: ready to work, no place yet */
    GQueue recent;      /* WkOperation: finished, newest first */
    guint saves;        /* in a worker now */
    guint restores;
    guint working; /* tasks in a worker */
    gboolean quiet;
    GHashTable *unlisted; /* sources (WkSource) that are up and not listed yet */
    gint64 last_up_us;    /* monotonic: a source came up (F10) */
};

/* engine.c */
void wk_engine_equip(WkEngine *self, WkGuest *guest, WkJob *job, gboolean working);
void wk_engine_publish_guest(WkEngine *self, WkGuest *guest);
void wk_engine_publish_operation(WkEngine *self, const WkOperation *op);
void wk_engine_remember(WkEngine *self, const WkOperation *op);

/* look.c: looks at one guest, or lists all of a source. */
void wk_engine_look(WkEngine *self, WkGuest *guest);
void wk_engine_list_source(WkEngine *self, WkSource *source);

/* queue.c */
/* Takes @task (transfer full): runs it now, or behind what the guest is at. */
void wk_engine_enqueue(WkEngine *self, WkGuest *guest, WkTask *task);
/* Starts a recovery of the guest, unless something is at work on it. */
void wk_engine_recover(WkEngine *self, WkGuest *guest);
/* The same in @ms, unless something comes before; readiness does not wait for that. */
void wk_engine_recover_in(WkEngine *self, WkGuest *guest, guint ms);
/* The task is ready for a try: starts it, or lets it wait for a place. */
void wk_engine_ready(WkEngine *self, WkTask *task);
/* @task goes on in libvirt without a worker of ours, and keeps its place; or gives it back. */
void wk_engine_keep_slot(WkEngine *self, WkTask *task, WkGuest *guest);
void wk_engine_release_slot(WkEngine *self, WkTask *task);
/* Starts the clock of an operation that is now its guest's. */
void wk_engine_arm_deadline(WkTask *task);
/* (transfer full): what a worker needs to work on @task. */
WkJob *wk_engine_make_job(WkEngine *self, WkTask *task, WkGuest *guest);
/* Asks @task to stop; @why is for people. */
void wk_engine_stop_task(WkEngine *self, WkTask *task, const char *why);
/* Vault bytes that tasks at work will still write, with @waiting also those whose turn has not
 * come; not of @except. */
guint64 wk_engine_promised(WkEngine *self, const WkTask *except, gboolean waiting);

/* finish.c: ends an operation: sets the guest's clock where it stood still, records and publishes
 * the outcome, then lets the next task have the guest. */
void wk_engine_finish_success(WkEngine *self, WkTask *task, WkGuest *guest);
void wk_engine_finish_failure(WkEngine *self, WkTask *task); /* with task->failure */
/* The guest is free for its next task. */
void wk_engine_end_task(WkEngine *self, WkGuest *guest, WkTask *task);
/* Ends an operation that never got to work (cancelled while queued, or its guest is gone). */
void wk_engine_end_unstarted(WkEngine *self, WkTask *task, WkOpState state, const char *reason,
                             const char *message);

/* outcome.c: the waits of tasks for libvirt are over, it is back. */
void wk_engine_retry_now(WkEngine *self, WkTask *task);
void wk_engine_retry_in(WkTask *task, guint ms);
/* The worker is done with a try. Takes @failure (transfer full), NULL: it went well. */
void wk_engine_tried(WkEngine *self, WkTask *task, WkJob *job, GError *failure);
/* From now on @task tries its fallback, with a budget of its own. */
void wk_engine_set_fallback(WkTask *task);

G_END_DECLS
