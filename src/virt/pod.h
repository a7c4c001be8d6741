/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gio/gio.h>
#include <sys/types.h>

G_BEGIN_DECLS

/*
 * A launcher pod as it was when it was told of (virt/pods.h). Never changes: references may be
 * taken, used and dropped in any thread. Functions that return a GError block for a moment
 * (folders, /proc) and need root.
 */
typedef struct _WkPod WkPod;

/* KubeVirt's user of everything in a launcher pod that does not run as root (kubevirt-facts, 3). */
#define WK_POD_USER 107

WkPod *wk_pod_ref(WkPod *self);
void wk_pod_unref(WkPod *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkPod, wk_pod_unref)

const char *wk_pod_get_uid(const WkPod *self);

/* FALSE until its launcher listens; then what follows is known. */
gboolean wk_pod_is_ready(const WkPod *self);
/* virt-launcher's pid on this host, the peer of launcher-sock; 0 before. For a signal, or to look
 * into /proc, the pidfd is asked first: wk_pod_is_alive(). */
pid_t wk_pod_get_pid(const WkPod *self);
/* Returns: (transfer none): -1 before. */
int wk_pod_get_pidfd(const WkPod *self);
/* The launcher's user and group; 0 is a root launcher, (uid_t)-1 not known yet. */
uid_t wk_pod_get_user(const WkPod *self);
gid_t wk_pod_get_group(const WkPod *self);
/* It runs in a user namespace of its own: its ids are not this host's, suspend to disk is refused.
 */
gboolean wk_pod_has_user_namespace(const WkPod *self);

/* The launcher that the pidfd stands for still runs. */
gboolean wk_pod_is_alive(const WkPod *self);

/* Returns: (transfer none) (nullable): where the pod's libvirt keeps managed saves, as a path on
 * this host beneath the kubelet's folder: in the emptyDir private, or private-libvirt(-qemu) where
 * that one is mounted over it. NULL for a root launcher: its save folder is in the container's own
 * file system, where no link of the vault leads; VaultOnOtherFileSystem is what to say. */
const char *wk_pod_get_save_folder(const WkPod *self);

/* Makes what is missing of the save folder, 0700, for @user and @group (WK_POD_USER both, before
 * it is ready), labels as the folder above; what is there stays as it is. Works on descriptors,
 * from the emptyDir down. WK_ERROR_NOT_FOUND when the emptyDir went. */
gboolean wk_pod_make_save_folder(WkPod *self, uid_t user, gid_t group, GError **error);

/* The launcher's root, O_PATH, for paths as the pod sees them (vault/witness.h). Only while the
 * pidfd says that it runs. Returns: the descriptor, or -1: WK_ERROR_NOT_FOUND when it has gone. */
int wk_pod_open_root(WkPod *self, GError **error);

/* libvirt's socket in the pod, O_PATH, checked to be a socket: emptyDir libvirt-runtime, for a root
 * launcher below its root. A name for connect(2) (sun_path has 108 bytes) is "/proc/self/fd/N".
 * Returns: the descriptor, or -1: WK_ERROR_NOT_FOUND when it is not there (yet). */
int wk_pod_open_socket(WkPod *self, GError **error);

G_END_DECLS
