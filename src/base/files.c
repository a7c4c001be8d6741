/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/files.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

int
wk_files_open_folder(const char *path, GError **error)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        wk_error_set_errno(error, errno, "opening folder '%s'", path);
    return fd;
}

int
wk_files_open_at(int folder_fd, const char *name, int flags, GError **error)
{
    WK_AUTO_FD int fd =
        openat(folder_fd, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    struct stat st;

    if (fd < 0 && errno == ENOENT) {
        wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "no file '%s'", name);
        return -1;
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        wk_error_set_errno(error, errno, "opening '%s'", name);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        wk_error_set(error, WK_ERROR_CORRUPT, NULL, "'%s' is not a regular file", name);
        return -1;
    }
    return g_steal_fd(&fd);
}

gboolean
wk_files_sync(int fd, const char *what, GError **error)
{
    if (fsync(fd) == 0)
        return TRUE;
    wk_error_set_errno(error, errno, "syncing %s", what);
    return FALSE;
}

gboolean
wk_files_sync_folder(const char *path, GError **error)
{
    WK_AUTO_FD int fd = wk_files_open_folder(path, error);

    return fd >= 0 && wk_files_sync(fd, path, error);
}

gboolean
wk_files_make_folder(const char *path, GError **error)
{
    if (g_mkdir(path, 0700) == 0 || errno == EEXIST)
        return TRUE;
    wk_error_set_errno(error, errno, "making folder '%s'", path);
    return FALSE;
}

gboolean
wk_files_read_at(int fd, void *buffer, gsize length, goffset offset, const char *what,
                 GError **error)
{
    gsize done = 0;

    while (done < length) {
        const gssize n = pread(fd, (guint8 *)buffer + done, length - done, offset + (goffset)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            wk_error_set_errno(error, errno, "reading %s", what);
            return FALSE;
        }
        if (n == 0) {
            wk_error_set(error, WK_ERROR_CORRUPT, "ImageCorrupt", "%s ends too early", what);
            return FALSE;
        }
        done += (gsize)n;
    }
    return TRUE;
}

gboolean
wk_files_write_at(int fd, const void *buffer, gsize length, goffset offset, const char *what,
                  GError **error)
{
    gsize done = 0;

    while (done < length) {
        const gssize n =
            pwrite(fd, (const guint8 *)buffer + done, length - done, offset + (goffset)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            wk_error_set_errno(error, n < 0 ? errno : EIO, "writing %s", what);
            return FALSE;
        }
        done += (gsize)n;
    }
    return TRUE;
}

gint64
wk_files_mtime_ns(const struct stat *st)
{
    return (gint64)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

gboolean
wk_files_free_bytes(const char *path, guint64 *free_bytes, guint64 *size_bytes, GError **error)
{
    struct statvfs fs;

    if (statvfs(path, &fs) < 0) {
        wk_error_set_errno(error, errno, "asking for the free space of '%s'", path);
        return FALSE;
    }
    *free_bytes = (guint64)fs.f_bavail * fs.f_frsize;
    if (size_bytes != NULL)
        *size_bytes = (guint64)fs.f_blocks * fs.f_frsize;
    return TRUE;
}
