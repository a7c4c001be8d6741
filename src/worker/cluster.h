/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/vmi.h"

G_BEGIN_DECLS

/*
 * What a worker asks of the cluster about one guest in a virt-launcher pod. The API server is the
 * main thread's (kube/), which workers don't know: each call here goes there and blocks for the
 * answer, at most WK_CLUSTER_PATIENCE_MS (WK_ERROR_UNAVAILABLE then). Errors as in
 * kube/kubevirt_request.h. Every call may be repeated.
 */
#define WK_CLUSTER_PATIENCE_MS 30000

typedef struct {
    /* The VMI and the VM of the guest's name as the server has them now; (transfer full), NULL
     * where there is none. */
    gboolean (*look)(gpointer data, WkVmi **vmi, WkVm **vm, GError **error);
    /* The lock (WK_VMI_LOCK) onto exactly this state of @vmi; CONFLICT: look again. */
    gboolean (*lock)(gpointer data, const WkVmi *vmi, GError **error);
    /* Off the VMI with exactly this uid; one that is gone is fine. */
    gboolean (*unlock)(gpointer data, const char *vmi_uid, GError **error);
    /* Deletes the VMI with exactly this uid, which has the lock and stays by it; one that is gone
     * is fine. */
    gboolean (*end)(gpointer data, const char *vmi_uid, GError **error);
    /* KubeVirt's pause and unpause. */
    gboolean (*pause)(gpointer data, GError **error);
    gboolean (*unpause)(gpointer data, GError **error);
    /* Until KubeVirt says of the VMI with exactly this uid that it is @power, RUNNING or PAUSED: at
     * most 5 s, then UNAVAILABLE "GuestBusy". */
    gboolean (*await_told)(gpointer data, const char *vmi_uid, WkPower power, GError **error);
    /* May KubeVirt start the guest by itself? FALSE tells the Wukong's operator not to; TRUE lets
     * it, and asks for a start where the VM's run strategy needs that. */
    gboolean (*let_start)(gpointer data, gboolean may, GError **error);
    /* What the guest's Wukong says of its node; (transfer full), NULL where the guest has none. */
    gboolean (*look_pin)(gpointer data, WkPin **pin, GError **error);
    /* As let_start(TRUE), and the Wukong names this node, in one change of exactly the state that
     * @pin shows; CONFLICT: look again. FAILED "FieldsPruned", UNAVAILABLE "Forbidden": it can't be
     * made to. */
    gboolean (*start_pinned)(gpointer data, const WkPin *pin, GError **error);
    /* Until the VM's template names this node: at most 10 s, *@pinned FALSE then. */
    gboolean (*await_pinned)(gpointer data, gboolean *pinned, GError **error);
    /* This node's name off the Wukong with exactly this uid. Where something else stands instead,
     * that is left; a Wukong that is gone is fine. */
    gboolean (*unpin)(gpointer data, const char *wukong, const char *uid, GError **error);
    /* Pods of the VMI, as they are @now, or as they were a moment ago, which is told sooner; NULL
     * with @error. (transfer full). */
    GPtrArray *(*list_pods)(gpointer data, const char *vmi_uid, gboolean now, GError **error);
    /* The PersistentVolumeClaim @name of the guest's namespace as the server has it now; (transfer
     * full), NULL where there is none. */
    gboolean (*get_claim)(gpointer data, const char *name, WkClaim **claim, GError **error);
    void (*free)(gpointer data);
} WkClusterCalls;

/* Owned by one job. */
typedef struct {
    const WkClusterCalls *calls;
    gpointer data;
    char *node_name; /* this node */
} WkCluster;

/* Returns: (transfer full): takes @data (transfer full). */
WkCluster *wk_cluster_new(const WkClusterCalls *calls, gpointer data, const char *node_name);
void wk_cluster_free(WkCluster *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkCluster, wk_cluster_free)

G_END_DECLS
