/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "base/files.h"
#include "virt/pod_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * Who listens at launcher-sock. The kernel tells the pid of the process that made the socket, as
 * it was then: it may have ended, and its number may be another's by now. So what counts is a
 * process that is held by a pidfd and has an emptyDir of this very pod mounted, which no process
 * of the host or of another pod has.
 */

#define MOUNTS_BYTES_MAX (1024 * 1024)

/* Linux 6.5: the peer itself, whatever became of its number. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static int
connect_to(int path_fd, const char *uid, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    WK_AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    /* sun_path is too short for the folders of a pod */
    (void)g_snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", path_fd);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return g_steal_fd(&fd);
    if (fd >= 0 && (errno == ECONNREFUSED || errno == EAGAIN))
        wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL,
                     "nobody listens at the launcher's socket of pod '%s'", uid);
    else
        wk_error_set_errno(error, errno, "calling the launcher of pod '%s'", uid);
    return -1;
}

static int
open_peer(int fd, pid_t pid)
{
    int pidfd = -1;
    socklen_t length = sizeof pidfd;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0)
        return pidfd;
    return pidfd_open(pid, 0);
}

/* @self gets pid, pidfd, user and group. */
static gboolean
meet(WkPod *self, const char *socket, GError **error)
{
    g_autofree char *name = g_build_filename("sockets", socket, NULL);
    WK_AUTO_FD int path_fd =
        wk_pod_open_empty_dir(self->folder, self->uid, name, O_PATH | O_NOFOLLOW);
    WK_AUTO_FD int fd = -1;
    struct ucred peer;
    socklen_t length = sizeof peer;

    if (path_fd < 0 && errno == ENOENT) {
        wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "pod '%s' has no '%s'", self->uid, socket);
        return FALSE;
    }
    if (path_fd < 0) {
        wk_error_set_errno(error, errno, "opening '%s' of pod '%s'", socket, self->uid);
        return FALSE;
    }
    fd = connect_to(path_fd, self->uid, error);
    if (fd < 0)
        return FALSE;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.pid <= 0
        || (self->pidfd = open_peer(fd, peer.pid)) < 0) {
        wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL, "the launcher of pod '%s' has ended",
                     self->uid);
        return FALSE;
    }
    self->pid = peer.pid;
    self->user = peer.uid;
    self->group = peer.gid;
    return TRUE;
}

/* Returns: (transfer full): at most MOUNTS_BYTES_MAX of /proc/@pid/@name; NULL: more, or none. */
static char *
read_proc(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, name);
    g_autofree char *text = g_malloc(MOUNTS_BYTES_MAX + 1);
    WK_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    gsize length = 0;
    gssize got;

    while (fd >= 0 && (got = read(fd, text + length, MOUNTS_BYTES_MAX + 1 - length)) > 0)
        length += (gsize)got;
    if (fd < 0 || got < 0 || length > MOUNTS_BYTES_MAX)
        return NULL;
    text[length] = '\0';
    return g_steal_pointer(&text);
}

/* What of a file system is mounted is the fourth word of a line. */
static gboolean
is_mount_of(const char *line, const char *suffix)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 5);

    return g_strv_length(words) == 5 && g_str_has_suffix(words[3], suffix);
}

static gboolean
has_mount(GStrv mounts, const char *uid, const char *empty_dir)
{
    g_autofree char *suffix = g_strdup_printf("/%s/" WK_POD_EMPTY_DIRS "/%s", uid, empty_dir);

    for (gsize i = 0; mounts[i] != NULL; i++) {
        if (is_mount_of(mounts[i], suffix))
            return TRUE;
    }
    return FALSE;
}

/* Returns: (transfer none) (nullable): what the launcher has mounted for its saves; NULL: it is no
 * process of this pod. */
static const WkPodSavePlace *
find_save_place(pid_t pid, const char *uid)
{
    g_autofree char *text = read_proc(pid, "mountinfo");
    g_auto(GStrv) mounts = text != NULL ? g_strsplit(text, "\n", -1) : NULL;

    if (mounts == NULL || !has_mount(mounts, uid, "private"))
        return NULL;
    for (gsize i = 0; i < G_N_ELEMENTS(wk_pod_save_places); i++) {
        if (has_mount(mounts, uid, wk_pod_save_places[i].empty_dir))
            return &wk_pod_save_places[i];
    }
    return NULL;
}

/* TRUE as well when it can't be told: nothing is done with ids that may be others. */
static gboolean
has_user_namespace(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/user", (int)pid);
    struct stat ours;
    struct stat its;

    return stat("/proc/self/ns/user", &ours) < 0 || stat(path, &its) < 0
           || ours.st_ino != its.st_ino || ours.st_dev != its.st_dev;
}

WkPod *
wk_pod_new_ready(const char *folder, const char *uid, const char *socket, GError **error)
{
    g_autoptr(WkPod) self = wk_pod_alloc(folder, uid);
    const WkPodSavePlace *place;

    if (!meet(self, socket, error))
        return NULL;
    place = find_save_place(self->pid, uid);
    self->user_namespace = has_user_namespace(self->pid);
    /* asked afterwards: all of this was about the process that the pidfd holds */
    if (!wk_pod_is_alive(self)) {
        wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL, "the launcher of pod '%s' has ended", uid);
        return NULL;
    }
    if (place == NULL) {
        wk_error_set(error, WK_ERROR_REFUSED, NULL,
                     "who listens at the launcher's socket of pod '%s' is no process of that pod",
                     uid);
        return NULL;
    }
    if (self->user != 0)
        wk_pod_set_save_place(self, place);
    return g_steal_pointer(&self);
}
