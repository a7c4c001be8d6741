/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/engine.h"
#include "kube/client.h"
#include "model/check.h"

G_BEGIN_DECLS

/*
 * The Wukongs of this node: which guest each one means, what its spec asks for, and what its status
 * is to say. Stands between kube/ (reflector, reporter) and the engine, and decides nothing from an
 * event: each change of an object, a guest or an operation looks at the whole of one Wukong anew
 * (I5). Main thread.
 */
typedef struct _WkWukongs WkWukongs;

typedef struct {
    WkEngine *engine; /* outlives it */
    WkLedger *ledger;
    WkKubeConfig *config;
    const char *node_name;
    const char *namespace_name;    /* of the Lease */
    const char *domain_annotation; /* namespaces that may name their domain: "none", or "a,b" */
} WkWukongsOptions;

/* Loads what the ledger knows, and begins to list and watch. References are taken, strings copied.
 * Returns: (transfer full), or NULL when the ledger can't be read. */
WkWukongs *wk_wukongs_new(const WkWukongsOptions *options, GError **error);
void wk_wukongs_free(WkWukongs *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkWukongs, wk_wukongs_free)

/* Each source was tried once, and what an earlier life left was looked at: from now on guests are
 * told of and acted on; before, what they do is only not known yet. @self may be NULL. */
void wk_wukongs_set_ready(WkWukongs *self);

/* What the engine tells; @self may be NULL. */
void wk_wukongs_guest_changed(WkWukongs *self, const WkView *view);
void wk_wukongs_guest_gone(WkWukongs *self, const char *uuid);
void wk_wukongs_operation_changed(WkWukongs *self, const WkOperation *operation);

/* For doctor: adds WkChecks. @self may be NULL: without Kubernetes. */
void wk_wukongs_examine(WkWukongs *self, GPtrArray *checks);

typedef struct {
    gint64 heard_at_us; /* monotonic; 0: never */
    guint pending;      /* reports not written yet */
} WkWukongsHealth;
WkWukongsHealth wk_wukongs_get_health(WkWukongs *self);
/* (transfer full) (element-type WkKubeCount). */
GArray *wk_wukongs_get_requests(WkWukongs *self);

/* (transfer none) (nullable): the client; NULL for @self NULL. It lives as long as @self. */
WkKube *wk_wukongs_get_kube(WkWukongs *self);
/* Called whenever the Lease was renewed: the server is at work. */
void wk_wukongs_set_renewed(WkWukongs *self, void (*renewed)(gpointer data), gpointer data);

/* The last reports before the agent goes; calls @done once, after @patience_ms at the latest. */
void
wk_wukongs_drain(WkWukongs *self, guint patience_ms, void (*done)(gpointer data), gpointer data);

G_END_DECLS
