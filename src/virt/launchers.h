/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/types.h>

#include "model/facts.h"
#include "virt/connection.h"

G_BEGIN_DECLS

/*
 * The guests of KubeVirt on this node and the launcher pods they live in: what wk_domain_*() finds
 * behind a launcher source's connection. Filled in by the agent, from the API server (guests,
 * looks) and the kubelet's folder (pods); asked by workers.
 *
 * What a pod's libvirt answers is read by a helper process without privileges (virt/helper.h), one
 * a guest, while somebody has a lease on the guest; a pod that nobody works on costs none.
 *
 * The id of a guest is its VM's uid: a UUID, and not that of its domain.
 *
 * Threading: any thread. Nothing here waits, except for what starts a helper: wk_domain_*().
 */
typedef struct _WkLaunchers WkLaunchers;

WkLaunchers *wk_launchers_new(void); /* (transfer full) */
WkLaunchers *wk_launchers_ref(WkLaunchers *self);
void wk_launchers_unref(WkLaunchers *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkLaunchers, wk_launchers_unref)

typedef struct {
    const char *id;     /* the VM's uid */
    const char *domain; /* the domain's name in its pod: NAMESPACE_NAME */
    guint64 memory_kib; /* of the VMI, or the VM's template */
    WkPower power;      /* by the VMI; WK_POWER_OFF when there is none */
} WkLauncherGuest;

/* Adds the guest, or takes what is new of it; its pod stays. Strings are copied. */
void wk_launchers_set_guest(WkLaunchers *self, const WkLauncherGuest *guest);
/* The VM is gone: from now on WK_POWER_ABSENT. Unknown is fine. */
void wk_launchers_remove_guest(WkLaunchers *self, const char *id);

typedef struct {
    const char *pod_uid;
    /* Where its libvirt keeps managed saves, on this host; NULL: out of reach (a root launcher). */
    const char *save_folder;
    /* Of the launcher; with user 0 the helper is nobody, and root only to connect. */
    uid_t user;
    gid_t group;
    /* Any worker: libvirt's socket, O_PATH, opened anew for each helper, since a libvirt that is
     * restarted binds another. Returns: a descriptor, or -1 with an error. */
    int (*open_socket)(gpointer data, GError **error);
    gpointer data; /* (transfer full) */
    GDestroyNotify data_free;
} WkLauncherPod;

/* The guest's present pod on this node; NULL: it has none. Takes @pod->data, also for a guest that
 * is unknown (nothing is kept of it). The helper of another pod is ended: calls that wait for it
 * fail with WK_ERROR_UNAVAILABLE. */
void wk_launchers_set_pod(WkLaunchers *self, const char *id, const WkLauncherPod *pod);

/* Returns: (transfer full) (nullable): NULL: none. */
char *wk_launchers_get_pod_uid(WkLaunchers *self, const char *id);
/* Returns: (transfer full) (nullable): M, "<save folder>/<domain>.save", in the present pod. */
char *wk_launchers_managed_path(WkLaunchers *self, const char *id);

/* What is known without asking libvirt: power by the VMI, persistent, no job, no op.
 * WK_POWER_ABSENT for a guest that is unknown. Clears @look first. */
void wk_launchers_peek(WkLaunchers *self, const char *id, WkLook *look);
/* Returns: (transfer full) (nullable): id, domain and memory; NULL when it is unknown. */
WkFacts *wk_launchers_peek_facts(WkLaunchers *self, const char *id);

/*
 * Held for as long as an operation works on a guest: the helper that the first wk_domain_*() on it
 * starts serves all of them, and ends with the last lease. Without a lease each call has a helper
 * of its own. A lease outlives the guest and the registry.
 */
typedef struct _WkLauncherLease WkLauncherLease;

/* Returns: (transfer full): never NULL, also for a guest that is unknown. Starts nothing. */
WkLauncherLease *wk_launchers_lease(WkLaunchers *self, const char *id);
void wk_launcher_lease_free(WkLauncherLease *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkLauncherLease, wk_launcher_lease_free)

/* Ends every helper; calls that wait fail with WK_ERROR_UNAVAILABLE, the next ones start anew. */
void wk_launchers_end_helpers(WkLaunchers *self);

/* How many helpers there are (metrics, tests). */
guint wk_launchers_count_helpers(WkLaunchers *self);

G_END_DECLS
