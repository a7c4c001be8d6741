/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/client.h"
#include "kube/vmi.h"

G_BEGIN_DECLS

/*
 * What the agent asks of KubeVirt and of a guest's Wukong, once each: the caller repeats. Main
 * thread, GTask style as wk_kube_send(); @kube outlives each request or ends it CANCELLED. Texts
 * are copied. Errors are kube/client.h's, and:
 *  - CONFLICT: the object is not as it was believed to be: read it again, decide again.
 *    "Conflict" (a test of the patch did not hold), "Replaced" (the name has another uid),
 *    "GuestDeleting", "NotPaused", "NotRunning", "MigrationInProgress";
 *  - REFUSED: KubeVirt will not do it for this guest: "LivenessProbe";
 *  - UNAVAILABLE: not now; besides a server that is away: "SnapshotInProgress";
 *  - NOT_FOUND: there is no such object. Where that is as good as done it is said below.
 *
 * An answer that was lost may have been done: every one of these may be asked for again.
 */

/* ---- answered by yes or an error: wk_kubevirt_done_finish() ---- */

/* The pause subresource. "Already paused" is done. That it was done is for libvirt and the VMI's
 * condition to say: KubeVirt's launcher does nothing, and says nothing, about a guest that does not
 * run. */
void wk_kubevirt_pause(WkKube *kube, const char *ns, const char *name, GCancellable *cancellable,
                       GAsyncReadyCallback callback, gpointer user_data);

/* The unpause subresource. A VMI without the condition Paused is a CONFLICT "NotPaused": libvirt
 * may have it paused all the same (restored, CPUs not yet run), and only a raw resume helps then.
 */
void wk_kubevirt_unpause(WkKube *kube, const char *ns, const char *name, GCancellable *cancellable,
                         GAsyncReadyCallback callback, gpointer user_data);

/* Asks for a VMI of this VM (run strategies Manual and RerunOnFailure; others are a CONFLICT). */
void wk_kubevirt_start(WkKube *kube, const char *ns, const char *name, GCancellable *cancellable,
                       GAsyncReadyCallback callback, gpointer user_data);

/* Takes the lock off the VMI with exactly @uid. Done as well when that is gone, or has none. Looks
 * and writes again by itself, up to 5 times, when others write meanwhile. */
void wk_kubevirt_unlock(WkKube *kube, const char *ns, const char *name, const char *uid,
                        GCancellable *cancellable, GAsyncReadyCallback callback,
                        gpointer user_data);

/* Deletes the VMI with exactly @uid: a pod that was made for a resume ends. The admission policy
 * lets an agent do so only while the VMI has the lock, by which it stays. Done as well when it is
 * gone; CONFLICT "Replaced" when another one has the name. */
void wk_kubevirt_end(WkKube *kube, const char *ns, const char *name, const char *uid,
                     GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);

/* spec.startStrategy.autoStart of the Wukong with exactly @uid. FAILED "FieldsPruned": the CRD does
 * not know the field. A Wukong that is gone is NOT_FOUND. */
void wk_kubevirt_set_autostart(WkKube *kube, const char *ns, const char *wukong, const char *uid,
                               gboolean autostart, GCancellable *cancellable,
                               GAsyncReadyCallback callback, gpointer user_data);

/* spec.startStrategy.autoStart: true, and the node's name into spec.highAvailability.nodeSelector
 * under WK_HOSTNAME, in one patch of exactly that state of the Wukong; CONFLICT: look again. FAILED
 * "FieldsPruned": the CRD does not know the selector. */
void wk_kubevirt_pin(WkKube *kube, const char *ns, const WkPin *pin, const char *node,
                     GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);

/* Takes the name off the Wukong with exactly @uid, if it is @node. Done as well when it is another
 * by now, or when the Wukong is. */
void wk_kubevirt_unpin(WkKube *kube, const char *ns, const char *wukong, const char *uid,
                       const char *node, GCancellable *cancellable, GAsyncReadyCallback callback,
                       gpointer user_data);

/* Annotation wukong.novasphere.dev/suspended: "true" of the VM with exactly @uid, or without it. */
void wk_kubevirt_mark_suspended(WkKube *kube, const char *ns, const char *vm, const char *uid,
                                gboolean suspended, GCancellable *cancellable,
                                GAsyncReadyCallback callback, gpointer user_data);

gboolean wk_kubevirt_done_finish(WkKube *kube, GAsyncResult *result, GError **error);

/* ---- answered by an object ---- */

/* Puts the lock on @vmi, by a patch that tests its uid and resourceVersion: it is that very state
 * of the VMI, or a CONFLICT. finish: (transfer full): the VMI as the server has it now, of that
 * uid, not deleting, with the lock; anything less is an error. One that has the lock already is
 * tested and answered the same way. data/kubernetes lets an agent do it once KubeVirt says that the
 * VMI is on its node, or has a pod there; before that it is DENIED. */
void wk_kubevirt_lock(WkKube *kube, const WkVmi *vmi, GCancellable *cancellable,
                      GAsyncReadyCallback callback, gpointer user_data);
WkVmi *wk_kubevirt_lock_finish(WkKube *kube, GAsyncResult *result, GError **error);

/* As they are now, from the server. finish: (transfer full), or NULL: NOT_FOUND when there is none.
 */
void wk_kubevirt_get_fresh_vmi(WkKube *kube, const char *ns, const char *name,
                               GCancellable *cancellable, GAsyncReadyCallback callback,
                               gpointer user_data);
WkVmi *wk_kubevirt_get_fresh_vmi_finish(WkKube *kube, GAsyncResult *result, GError **error);

void wk_kubevirt_get_fresh_vm(WkKube *kube, const char *ns, const char *name,
                              GCancellable *cancellable, GAsyncReadyCallback callback,
                              gpointer user_data);
WkVm *wk_kubevirt_get_fresh_vm_finish(WkKube *kube, GAsyncResult *result, GError **error);

/* The pods that were made for the VMI with @vmi_uid: none is left once it is really gone. With @now
 * as the server has them at this moment; else as its cache has them, which may be behind a little
 * (resourceVersion=0, "Any": Kubernetes API concepts, "Resource versions"), but does not wait for
 * it to catch up with etcd: up to 100 ms, even of an idle server. finish: (transfer full)
 * (element-type WkVmiPod). */
void wk_kubevirt_list_pods(WkKube *kube, const char *ns, const char *vmi_uid, gboolean now,
                           GCancellable *cancellable, GAsyncReadyCallback callback,
                           gpointer user_data);
GPtrArray *wk_kubevirt_list_pods_finish(WkKube *kube, GAsyncResult *result, GError **error);

void wk_kubevirt_get_claim(WkKube *kube, const char *ns, const char *name,
                           GCancellable *cancellable, GAsyncReadyCallback callback,
                           gpointer user_data);
WkClaim *wk_kubevirt_get_claim_finish(WkKube *kube, GAsyncResult *result, GError **error);

/* What a Wukong says of its guest's node. */
void wk_kubevirt_get_pin(WkKube *kube, const char *ns, const char *name, GCancellable *cancellable,
                         GAsyncReadyCallback callback, gpointer user_data);
WkPin *wk_kubevirt_get_pin_finish(WkKube *kube, GAsyncResult *result, GError **error);

G_END_DECLS
