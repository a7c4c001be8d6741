/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/client.h"
#include "model/view.h"
#include "worker/cluster.h"

G_BEGIN_DECLS

/*
 * The way of a worker's questions (worker/cluster.h) to the API server: through the main loop,
 * where the client lives. The link outlives the client: once that is gone every call is
 * UNAVAILABLE.
 */
typedef struct _WkClusterLink WkClusterLink;

/* Main thread. @kube is not owned. Returns: (transfer full). */
WkClusterLink *wk_cluster_link_new(WkKube *kube);
WkClusterLink *wk_cluster_link_ref(WkClusterLink *self); /* any thread */
void wk_cluster_link_unref(WkClusterLink *self);         /* any thread; NULL is fine */
void wk_cluster_link_close(WkClusterLink *self);         /* main thread: the client goes */

/* Main thread: @answers is called whenever the server has told a worker of a VMI, or is asked to
 * let one go: what the watches have to tell then must not wait out a backoff (R5). */
void wk_cluster_link_listen(WkClusterLink *self, void (*answers)(gpointer data), gpointer data);

/* Main thread: what a watch tells. Workers wait for some of it. */
void wk_cluster_link_tell_vmi(WkClusterLink *self, const WkVmi *vmi);
void wk_cluster_link_tell_vm(WkClusterLink *self, const WkVm *vm);

typedef struct {
    const char *ns;
    const char *name; /* of VM and VMI */
    const char *node_name;
    const WkOwner *wukong; /* NULL, or without a uid: none */
} WkClusterGuest;

/* For one job. Strings are copied. Returns: (transfer full). */
WkCluster *wk_cluster_link_open(WkClusterLink *self, const WkClusterGuest *guest);

G_END_DECLS
