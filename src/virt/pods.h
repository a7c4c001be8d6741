/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/pod.h"

G_BEGIN_DECLS

/*
 * The launcher pods of this node, as the kubelet's folder shows them: inotify on
 * DIR/pods/<uid>/volumes/kubernetes.io~empty-dir, a pidfd for each launcher that runs; nothing is
 * polled. A foreign pod costs one watch, a launcher's that is up none. At most WK_PODS_MAX pods are
 * followed, the rest are said in the journal. What lies in an emptyDir is hostile (base/files.h);
 * a pod that floods its folders with events is not followed any further.
 *
 * Whose pod it is the folder does not say: any pod may have an emptyDir "private". The caller knows
 * the pods of guests by their uid (VMI status.activePods) and ignores the rest.
 *
 * Threading: main thread; callbacks come from the main loop, or from wk_pods_start().
 */
typedef struct _WkPods WkPods;

#define WK_PODS_MAX 4096

typedef struct {
    /* The pod has a folder for libvirt's state; its container has not been started, unless the
     * agent is late. A guard's time: wk_pod_make_save_folder(), wk_guard_write() etc. Told again
     * when another emptyDir takes the save folder's place before it is ready (persistent TPM or
     * EFI): a guard belongs there as well. */
    void (*appeared)(WkPod *pod, gpointer data);
    /* Its launcher listens: pid, pidfd and user are known from here on. Told once; @pod is a new
     * object in the place of the one that appeared. */
    void (*ready)(WkPod *pod, gpointer data);
    /* Its folder or its launcher is gone. Told once, if it appeared; never told of again. */
    void (*gone)(WkPod *pod, gpointer data);
} WkPodsListener;

/* @kubelet_dir: usually /var/lib/kubelet; it need not be there yet. @listener must live as long.
 * Returns: (transfer full), or NULL when inotify can't be had. */
WkPods *
wk_pods_new(const char *kubelet_dir, const WkPodsListener *listener, gpointer data, GError **error);
/* Begins: tells of the pods that are there, then of what changes. Once. */
void wk_pods_start(WkPods *self);
void wk_pods_free(WkPods *self); /* NULL is fine; tells nothing */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkPods, wk_pods_free)

/* Returns: (transfer none) (nullable): the newest of a pod that appeared and is not gone. */
WkPod *wk_pods_find(WkPods *self, const char *pod_uid);
/* Returns: (transfer none): the folder that belongs to strangers, for wk_files_distrust():
 * <kubelet_dir>/pods. */
const char *wk_pods_get_folder(WkPods *self);

/* How many pods are followed, and how many inotify watches that takes (metrics, tests). */
guint wk_pods_count(WkPods *self);
guint wk_pods_count_watches(WkPods *self);

G_END_DECLS
