/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/guest.h"
#include "agent/task.h"

G_BEGIN_DECLS

/*
 * The lifecycle engine: the registry of guests, one queue a guest, bounded work on the node.
 * Requests become operations in the ledger; each is driven by a worker (drive.h), retried while it
 * only fails for passing reasons, cancelled by its deadline or an opposite request, and ended with
 * its fallback or its error. Main thread.
 */
typedef struct {
    /* Copies or uses them at once. */
    void (*guest_changed)(const WkView *view, gpointer data);
    void (*guest_gone)(const char *uuid, gpointer data);
    void (*operation_changed)(const WkOperation *operation, gpointer data);
    /* wk_engine_has_settled() may have become true. */
    void (*settled)(gpointer data);
    /* A job of a guest in a pod needs more than the engine knows of. @working: an operation or a
     * recovery, not only a look. NULL: there are no such guests. */
    void (*equip)(WkGuest *guest, WkJob *job, gboolean working, gpointer data);
} WkEngineListener;

typedef struct {
    WkLedger *ledger;
    WkVault *vault;          /* NULL: nothing can be suspended to disk */
    const char *cannot_save; /* why not, for people */
    const char *boot_id;
    WkTarget default_target;
    guint parallel_saves;
    guint parallel_restores;
    guint reserve_percent;
} WkEngineOptions;

/* Returns: (transfer full). References to ledger and vault are taken, strings copied. */
WkEngine *
wk_engine_new(const WkEngineOptions *options, const WkEngineListener *listener, gpointer data);
void wk_engine_free(WkEngine *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkEngine, wk_engine_free)

/* Loads the guests of @source that have a row in the ledger, and the operations that an earlier
 * life of the agent left open; they go on once the source is up. */
gboolean wk_engine_add_source(WkEngine *self, WkSource *source, GError **error);

/* What a source's listener calls. */
void wk_engine_source_up(WkEngine *self, WkSource *source);
void wk_engine_source_down(WkEngine *self, WkSource *source, const char *why);
/* What @source needs besides was away and answers again (launchers: the API server): what waits for
 * its next try tries now, and waits no longer than after a first one. */
void wk_engine_source_answers(WkEngine *self, WkSource *source);
void wk_engine_guest_touched(WkEngine *self, WkSource *source, const char *uuid);

/* What may change while running: why nothing of @source can be saved to disk (NULL: it can). */
void wk_engine_set_cannot_save(WkEngine *self, WkSource *source, const char *why);
/* (transfer none) (nullable): the same; @source NULL: of any that can't. */
const char *wk_engine_get_cannot_save(WkEngine *self, WkSource *source);
/* Applies the bounds and defaults of @options; the rest of it is not looked at. */
void wk_engine_configure(WkEngine *self, const WkEngineOptions *options);

/* Every source that is up was listed, and what earlier lives left was looked at. */
gboolean wk_engine_has_settled(WkEngine *self);

/* Prechecks, then records and queues @request. Async; finish: (transfer full). */
void wk_engine_submit(WkEngine *self, const WkRequest *request, GAsyncReadyCallback callback,
                      gpointer user_data);
WkOperation *wk_engine_submit_finish(WkEngine *self, GAsyncResult *result, GError **error);

/* Asks the operation in flight or queued on @uuid to stop. Returns: (transfer full). */
WkOperation *wk_engine_cancel(WkEngine *self, const char *uuid, GError **error);

/* The Wukong that guest @uuid is published with; @owner (copied) NULL: none. */
void wk_engine_set_owner(WkEngine *self, const char *uuid, const WkOwner *owner);

/* (transfer none): the guest, or NULL. */
WkGuest *wk_engine_find(WkEngine *self, const char *uuid);
guint wk_engine_count(WkEngine *self);
/* (transfer container) (element-type WkGuest): by name. */
GPtrArray *wk_engine_list(WkEngine *self);
/* (transfer full) (element-type WkOperation): in flight and queued. */
GPtrArray *wk_engine_operations(WkEngine *self);
/* (transfer full): in flight, queued or lately finished; NULL: not known. */
WkOperation *wk_engine_find_operation(WkEngine *self, const char *id);

/* No new work is started and no step is begun any more; what a worker is in goes on in libvirt,
 * and the next life of the agent takes it up. */
void wk_engine_quiesce(WkEngine *self);
gboolean wk_engine_is_idle(WkEngine *self);

G_END_DECLS
