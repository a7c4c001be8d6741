/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/client.h"
#include "kube/vmi.h"

G_BEGIN_DECLS

/*
 * What KubeVirt says of the guests of this node: the VMIs whose label kubevirt.io/nodeName names
 * it, and by name those that are followed, with their VMs. Main thread only, nothing blocks.
 *
 * Level-triggered (I5): vmi() may say the same twice or skip what came between. A name is told as
 * one object at a time: when another uid takes it, vmi_gone() of the old one comes first. "Gone" is
 * said only of what the server says is not there (deleted, or not in a complete list); a server
 * that is away says nothing. For a VMI that is not followed it may also have left for another node.
 *
 * Where KubeVirt is not installed (404) this waits quietly and asks again by itself.
 */
typedef struct _WkKubevirt WkKubevirt;

typedef struct {
    void (*vmi)(const WkVmi *vmi, gpointer data); /* only for the call; copy to keep */
    void (*vmi_gone)(const char *ns, const char *name, const char *uid, gpointer data);
    void (*vm)(const WkVm *vm, gpointer data); /* of a followed name */
    /* @uid: the last that was seen; NULL: none ever was. Told also when a name is followed and the
     * server has no such VM. */
    void (*vm_gone)(const char *ns, const char *name, const char *uid, gpointer data);
    /* Every VMI of this node has been told, each time that they were listed. */
    void (*synced)(gpointer data);
    /* A followed name has been looked up, both of its objects. */
    void (*looked)(const char *ns, const char *name, gpointer data);
    /* Something is wrong (NULL: all is well again) with the watch of the node's VMIs. It goes on by
     * itself. Not told of a server without KubeVirt. */
    void (*trouble)(const GError *error, gpointer data);
} WkKubevirtListener;

/* @kube outlives it; @node_name is copied; any of @listener's functions may be NULL. Calls come
 * from the main loop, never from inside a call of this interface. Returns: (transfer full). */
WkKubevirt *wk_kubevirt_new(WkKube *kube, const char *node_name, const WkKubevirtListener *listener,
                            gpointer data);
void wk_kubevirt_free(WkKubevirt *self); /* no callback after it; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkKubevirt, wk_kubevirt_free)

/* Watches one VMI and its VM by their name, wherever they are: for a guest that is in an operation
 * or whose image is here. Counted: each TRUE wants its FALSE. After the last FALSE, a VMI that is
 * not on this node is forgotten without a word. */
void wk_kubevirt_follow(WkKubevirt *self, const char *ns, const char *name, gboolean on);

/* What was told last, (transfer none) until the next turn of the main loop; NULL: nothing, or gone.
 */
const WkVmi *wk_kubevirt_get_vmi(WkKubevirt *self, const char *ns, const char *name);
const WkVm *wk_kubevirt_get_vm(WkKubevirt *self, const char *ns, const char *name);

/* TRUE once the VMIs of this node have been listed. */
gboolean wk_kubevirt_is_synced(WkKubevirt *self);
/* FALSE: the server has no KubeVirt, or was not asked yet. */
gboolean wk_kubevirt_is_present(WkKubevirt *self);
gint64 wk_kubevirt_get_last_heard_us(WkKubevirt *self); /* monotonic; 0: never */
/* Does not wait out a backoff: something says that the server is there again. */
void wk_kubevirt_hurry(WkKubevirt *self);

G_END_DECLS
