/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "base/files.h"
#include "virt/pod_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What KubeVirt mounts at /var/run/kubevirt-private/libvirt/qemu, .../libvirt, and above. */
const WkPodSavePlace wk_pod_save_places[3] = {
    { "private-libvirt-qemu", "save" },
    { "private-libvirt", "qemu/save" },
    { "private", "libvirt/qemu/save" },
};

/* libvirt's modular daemon, and what launchers had before it. */
static const char *const socket_names[] = { "virtqemud-sock", "libvirt-sock" };

int
wk_pod_open_below(const char *folder, const char *uid, const char *below, int flags)
{
    g_autofree char *path = g_build_filename(uid, below, NULL);
    WK_AUTO_FD int pods = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return pods < 0 ? -1 : wk_files_open_beneath(pods, path, flags);
}

int
wk_pod_open_empty_dir(const char *folder, const char *uid, const char *below, int flags)
{
    g_autofree char *path = g_build_filename(WK_POD_EMPTY_DIRS, below, NULL);

    return wk_pod_open_below(folder, uid, path, flags);
}

WkPod *
wk_pod_alloc(const char *folder, const char *uid)
{
    WkPod *self = g_atomic_rc_box_new0(WkPod);

    self->folder = g_strdup(folder);
    self->uid = g_strdup(uid);
    self->pidfd = -1;
    self->user = (uid_t)-1;
    self->group = (gid_t)-1;
    return self;
}

void
wk_pod_set_save_place(WkPod *self, const WkPodSavePlace *place)
{
    self->save_dir = g_strdup(place->empty_dir);
    self->save_folder = g_build_filename(self->folder, self->uid, WK_POD_EMPTY_DIRS,
                                         place->empty_dir, place->below, NULL);
}

WkPod *
wk_pod_new(const char *folder, const char *uid)
{
    for (gsize i = 0; i < G_N_ELEMENTS(wk_pod_save_places); i++) {
        const WkPodSavePlace *place = &wk_pod_save_places[i];
        WK_AUTO_FD int fd =
            wk_pod_open_empty_dir(folder, uid, place->empty_dir, O_PATH | O_DIRECTORY);
        WkPod *self;

        if (fd < 0)
            continue;
        self = wk_pod_alloc(folder, uid);
        wk_pod_set_save_place(self, place);
        return self;
    }
    return NULL;
}

WkPod *
wk_pod_ref(WkPod *self)
{
    return g_atomic_rc_box_acquire(self);
}

static void
pod_clear(gpointer data)
{
    WkPod *self = data;

    wk_files_auto_close(&self->pidfd);
    g_free(self->folder);
    g_free(self->uid);
    g_free(self->save_dir);
    g_free(self->save_folder);
}

void
wk_pod_unref(WkPod *self)
{
    if (self != NULL)
        g_atomic_rc_box_release_full(self, pod_clear);
}

const char *
wk_pod_get_uid(const WkPod *self)
{
    return self->uid;
}

gboolean
wk_pod_is_ready(const WkPod *self)
{
    return self->pid != 0;
}

pid_t
wk_pod_get_pid(const WkPod *self)
{
    return self->pid;
}

int
wk_pod_get_pidfd(const WkPod *self)
{
    return self->pidfd;
}

uid_t
wk_pod_get_user(const WkPod *self)
{
    return self->user;
}

gid_t
wk_pod_get_group(const WkPod *self)
{
    return self->group;
}

gboolean
wk_pod_has_user_namespace(const WkPod *self)
{
    return self->user_namespace;
}

const char *
wk_pod_get_save_folder(const WkPod *self)
{
    return self->save_folder;
}

/* A zombie takes signals, but its pidfd is readable. */
gboolean
wk_pod_is_alive(const WkPod *self)
{
    struct pollfd look = { .fd = self->pidfd, .events = POLLIN };

    return self->pidfd >= 0 && poll(&look, 1, 0) == 0;
}

static gboolean
give_folder(int fd, int parent_fd, uid_t user, gid_t group, const char *path, GError **error)
{
    if (fchown(fd, user, group) == 0 && fchmod(fd, 0700) == 0)
        return wk_files_copy_label(fd, parent_fd, path, error);
    wk_error_set_errno(error, errno, "giving folder '%s' its owner", path);
    return FALSE;
}

/* Returns: the folder @name in @parent_fd, or -1. */
static int
make_one(int parent_fd, const char *name, uid_t user, gid_t group, const char *path, GError **error)
{
    const gboolean made = mkdirat(parent_fd, name, 0700) == 0;
    WK_AUTO_FD int fd = -1;

    if (!made && errno != EEXIST) {
        wk_error_set_errno(error, errno, "making '%s' of folder '%s'", name, path);
        return -1;
    }
    fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        wk_error_set_errno(error, errno, "opening '%s' of folder '%s'", name, path);
        return -1;
    }
    /* left with another owner, libvirt could neither use nor replace it */
    if (made && !give_folder(fd, parent_fd, user, group, path, error))
        return -1;
    return g_steal_fd(&fd);
}

gboolean
wk_pod_make_save_folder(WkPod *self, uid_t user, gid_t group, GError **error)
{
    g_auto(GStrv) names = NULL;
    WK_AUTO_FD int fd = -1;

    if (self->save_folder == NULL) {
        wk_error_set(error, WK_ERROR_REFUSED, "VaultOnOtherFileSystem",
                     "the launcher of pod '%s' runs as root: what it saves is in its container's "
                     "own file system",
                     self->uid);
        return FALSE;
    }
    fd = wk_pod_open_empty_dir(self->folder, self->uid, self->save_dir, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno == ENOENT)
        wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "pod '%s' is gone", self->uid);
    else if (fd < 0)
        wk_error_set_errno(error, errno, "opening '%s' of pod '%s'", self->save_dir, self->uid);
    names = g_strsplit(strstr(self->save_folder, self->save_dir), "/", -1);
    for (gsize i = 1; fd >= 0 && names[i] != NULL; i++) {
        const int below = make_one(fd, names[i], user, group, self->save_folder, error);

        wk_files_auto_close(&fd);
        fd = below;
    }
    return fd >= 0;
}

int
wk_pod_open_root(WkPod *self, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/root", (int)self->pid);
    WK_AUTO_FD int fd = -1;
    int errnum;

    if (self->pid != 0)
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    errnum = errno;
    /* asked afterwards: while it lives nobody else has its number */
    if (!wk_pod_is_alive(self)) {
        wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "the launcher of pod '%s' does not run",
                     self->uid);
        return -1;
    }
    if (fd < 0)
        wk_error_set_errno(error, errnum, "opening the root of pod '%s'", self->uid);
    return g_steal_fd(&fd);
}

static int
open_socket(WkPod *self, int root_fd, const char *name)
{
    g_autofree char *path = NULL;

    if (root_fd >= 0) {
        path = g_build_filename("/var/run/libvirt", name, NULL);
        return wk_files_open_in_root(root_fd, path, O_PATH | O_NOFOLLOW);
    }
    path = g_build_filename("libvirt-runtime", name, NULL);
    return wk_pod_open_empty_dir(self->folder, self->uid, path, O_PATH | O_NOFOLLOW);
}

int
wk_pod_open_socket(WkPod *self, GError **error)
{
    const gboolean inside = self->pid != 0 && self->save_folder == NULL;
    WK_AUTO_FD int root = inside ? wk_pod_open_root(self, error) : -1;
    WK_AUTO_FD int fd = -1;
    struct stat st;

    if (inside && root < 0)
        return -1;
    for (gsize i = 0; i < G_N_ELEMENTS(socket_names) && fd < 0; i++)
        fd = open_socket(self, root, socket_names[i]);
    if (fd < 0 && errno == ENOENT) {
        wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "no socket of libvirt in pod '%s'",
                     self->uid);
        return -1;
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        wk_error_set_errno(error, errno, "opening libvirt's socket in pod '%s'", self->uid);
        return -1;
    }
    if (S_ISSOCK(st.st_mode))
        return g_steal_fd(&fd);
    wk_error_set(error, WK_ERROR_REFUSED, NULL,
                 "what is in the place of libvirt's socket in pod '%s' is no socket", self->uid);
    return -1;
}
