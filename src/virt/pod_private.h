/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/pod.h"

G_BEGIN_DECLS

/* Private to pod.c, pod_launcher.c and pods.c. */

/* The folder of a pod's emptyDirs, beneath <kubelet>/pods. */
#define WK_POD_VOLUMES    "volumes"
#define WK_POD_EMPTY_DIRS "volumes/kubernetes.io~empty-dir"

struct _WkPod {
    char *folder; /* <kubelet>/pods */
    char *uid;
    char *save_dir;    /* the emptyDir that the save folder lies in; NULL: a root launcher */
    char *save_folder; /* NULL: a root launcher */
    pid_t pid;         /* 0: not ready */
    int pidfd;
    uid_t user;
    gid_t group;
    gboolean user_namespace;
};

/* Opens @below beneath the folder of pod @uid, without symlinks. Returns: -1 with errno. */
int wk_pod_open_below(const char *folder, const char *uid, const char *below, int flags);
/* Opens @below beneath the emptyDirs of the pod. */
int wk_pod_open_empty_dir(const char *folder, const char *uid, const char *below, int flags);

/* Returns: (transfer full): a pod that is not ready, whose save folder follows from the emptyDirs
 * that it has by now; NULL: it has none that holds one. */
WkPod *wk_pod_new(const char *folder, const char *uid);
/* Returns: (transfer full): the pod with the launcher that listens at @socket, in emptyDir sockets.
 * NULL with WK_ERROR_NOT_FOUND: nobody has bound it; WK_ERROR_UNAVAILABLE: it is bound, but nobody
 * listens (yet); anything else: it is no launcher of this pod. */
WkPod *wk_pod_new_ready(const char *folder, const char *uid, const char *socket, GError **error);

/* The emptyDir, and below it the folder, that managed saves lie in. */
typedef struct {
    const char *empty_dir;
    const char *below;
} WkPodSavePlace;

/* In the order in which one hides the next: the last is there always. */
extern const WkPodSavePlace wk_pod_save_places[3];

/* Sets where @self keeps its saves. */
void wk_pod_set_save_place(WkPod *self, const WkPodSavePlace *place);
/* Returns: (transfer full): a pod with nothing but its name. */
WkPod *wk_pod_alloc(const char *folder, const char *uid);

G_END_DECLS
