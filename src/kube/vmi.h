/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

#include "model/vmi.h"

G_BEGIN_DECLS

/*
 * KubeVirt's objects, and the core ones of their pods, as far as the agent reads them. Made from
 * whatever the API server sends: nothing in it is trusted to have a type or a size, names and texts
 * are bounded, lists too (WK_VMI_LIST_MAX). What is not as it should be is as if it were not there,
 * except where that would let a guest be saved that can't be:
 *  - metadata.name, namespace and uid, without which it is no object of ours (they get into paths);
 *  - a word of a phase, run strategy, volume or reason that is not known is UNKNOWN or OTHER, never
 *    an absent one;
 *  - an entry of volumes[] or of devices that can't be understood is one of an unknown kind, and a
 *    list that is too long has one such entry;
 *  - a member of a wrong type where absence means "not in progress" (snapshotInProgress,
 *    migrationState, ...) means that it is.
 */
#define WK_KUBEVIRT_PATH             "/apis/kubevirt.io/v1"
#define WK_KUBEVIRT_SUBRESOURCE_PATH "/apis/subresources.kubevirt.io/v1"
#define WK_VMI_LIST_MAX              256

/* Returns: (transfer full), or NULL with WK_ERROR_INVALID for what is no such object at all. */
WkVmi *wk_vmi_parse(JsonObject *object, GError **error);
WkVm *wk_vm_parse(JsonObject *object, GError **error);
WkVmiPod *wk_vmi_pod_parse(JsonObject *object, GError **error);
WkClaim *wk_claim_parse(JsonObject *object, GError **error);
WkPin *wk_pin_parse(JsonObject *object, GError **error); /* of a Wukong */

/*
 * (transfer full): the digest of what makes the next VMI of a VM: its instance type, and its
 * template without what changes nothing for a saved guest or is put in and taken out by others:
 * labels and annotations, where it may run (node selector, affinity, tolerations, ...), probes,
 * grace period, eviction and start strategy, the firmware's UUID and serial (KubeVirt puts them
 * back), MAC addresses (a pool does). 64 hexadecimal digits.
 */
char *wk_vm_template_hash(JsonObject *vm_spec);

/* A quantity of Kubernetes ("4Gi", "1500M", "128974848", "1e9", "2.5Gi") -> bytes, rounded up.
 * Returns: FALSE for anything else, for less than 0 and for more than 2^62; @bytes untouched. */
gboolean wk_quantity_parse(const char *text, guint64 *bytes);

G_END_DECLS
