/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel gives up a walk with ".." in it when somebody renames at the same moment. */
#define TRIES 16

static char *distrusted; /* NULL: none; without slashes at its end */

void
wk_files_distrust(const char *folder)
{
    g_return_if_fail(folder == NULL || g_path_is_absolute(folder));

    g_free(distrusted);
    distrusted = folder != NULL ? g_canonicalize_filename(folder, "/") : NULL;
}

/* Returns: what follows the distrusted folder in the canonical @path; NULL: it is not beneath. */
static const char *
beneath(const char *path)
{
    const gsize length = distrusted != NULL ? strlen(distrusted) : 0;

    if (length == 0 || strncmp(path, distrusted, length) != 0 || path[length] != '/')
        return NULL;
    return path + length + 1;
}

gboolean
wk_files_is_distrusted(const char *path)
{
    g_autofree char *whole = g_canonicalize_filename(path, NULL);

    return beneath(whole) != NULL;
}

/* glibc has no function for it. */
static int
open_resolved(int folder_fd, const char *path, int flags, guint64 resolve)
{
    const struct open_how how = { .flags = (guint64)(flags | O_CLOEXEC), .resolve = resolve };
    int fd = -1;

    for (guint i = 0; i < TRIES && fd < 0; i++) {
        fd = (int)syscall(SYS_openat2, folder_fd, path, &how, sizeof how);
        if (fd < 0 && errno != EAGAIN && errno != EINTR)
            break;
    }
    return fd;
}

int
wk_files_open_beneath(int folder_fd, const char *path, int flags)
{
    return open_resolved(folder_fd, path, flags,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

int
wk_files_open_in_root(int root_fd, const char *path, int flags)
{
    return open_resolved(root_fd, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int
wk_files_open(const char *path, int flags)
{
    g_autofree char *whole = g_canonicalize_filename(path, NULL);
    const char *rest = beneath(whole);
    WK_AUTO_FD int root = -1;

    if (rest == NULL)
        return open(path, flags | O_CLOEXEC);
    root = open(distrusted, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root < 0 ? -1 : wk_files_open_beneath(root, rest, flags);
}

int
wk_files_reopen(int path_fd, int flags)
{
    char name[sizeof "/proc/self/fd/" + 11];

    (void)g_snprintf(name, sizeof name, "/proc/self/fd/%d", path_fd);
    return open(name, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
}

/* What is made here is a regular file, or there already, in a folder of ours. */
static int
open_or_make(int folder_fd, const char *name, int flags, GError **error)
{
    const int fd =
        openat(folder_fd, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);

    if (fd < 0)
        wk_error_set_errno(error, errno, "opening '%s'", name);
    return fd;
}

static int
open_regular(int path_fd, const char *name, int flags, GError **error)
{
    const int fd = wk_files_reopen(path_fd, flags | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 && errno == EWOULDBLOCK)
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "ImageInUse", "'%s' is leased by somebody", name);
    else if (fd < 0)
        wk_error_set_errno(error, errno, "opening '%s'", name);
    return fd;
}

int
wk_files_open_at(int folder_fd, const char *name, int flags, GError **error)
{
    WK_AUTO_FD int found = -1;
    struct stat st;

    if ((flags & O_CREAT) != 0)
        found = open_or_make(folder_fd, name, flags, error);
    else if ((found = openat(folder_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0) {
        if (errno == ENOENT)
            wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "no file '%s'", name);
        else
            wk_error_set_errno(error, errno, "opening '%s'", name);
    }
    if (found < 0)
        return -1;
    if (fstat(found, &st) < 0) {
        wk_error_set_errno(error, errno, "opening '%s'", name);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        wk_error_set(error, WK_ERROR_CORRUPT, NULL, "'%s' is not a regular file", name);
        return -1;
    }
    return (flags & O_CREAT) != 0 ? g_steal_fd(&found) : open_regular(found, name, flags, error);
}
