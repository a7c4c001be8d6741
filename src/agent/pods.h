/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/engine.h"
#include "kube/client.h"

G_BEGIN_DECLS

/*
 * The guests of KubeVirt on this node: brings together what the API server says of their VMs and
 * VMIs (kube/kubevirt), and which launcher pods the kubelet has here (virt/pods). Keeps the one
 * source of all of them up to date, and equips their jobs. Decides nothing (I5): whatever changes
 * means "look again". Main thread.
 *
 * A guest is known from its first VMI here until its VM is gone; its id is the VM's uid.
 */
typedef struct _WkPodGuests WkPodGuests;

typedef struct {
    WkEngine *engine; /* outlives it */
    WkSource *source; /* of launchers */
    WkKube *kube;     /* outlives it */
    const char *node_name;
    const char *kubelet_dir;
} WkPodGuestsOptions;

/* Returns: (transfer full), or NULL when the kubelet's folder can't be watched. References are
 * taken, strings copied. */
WkPodGuests *wk_pod_guests_new(const WkPodGuestsOptions *options, GError **error);
void wk_pod_guests_free(WkPodGuests *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkPodGuests, wk_pod_guests_free)

/* What a job of a guest in a pod needs besides. @working: an operation or a recovery, not only a
 * look. @self may be NULL. */
void wk_pod_guests_equip(WkPodGuests *self, WkGuest *guest, WkJob *job, gboolean working);

/* Something of @guest may have been saved or dropped: it is watched by name as long as anything is.
 * @self may be NULL. */
void wk_pod_guests_note_state(WkPodGuests *self, const char *id);

/* The Lease was renewed: a watch that waits need not. @self may be NULL. */
void wk_pod_guests_hurry(WkPodGuests *self);

G_END_DECLS
