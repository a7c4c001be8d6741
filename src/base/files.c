/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/files.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LABEL_NAME  "security.selinux"
#define LABEL_BYTES 1024 /* a context with all its categories has some 300 */

int
wk_files_open_folder(const char *path, GError **error)
{
    const int fd = wk_files_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

    if (fd < 0)
        wk_error_set_errno(error, errno, "opening folder '%s'", path);
    return fd;
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

/* Returns: the length of the label of @fd, 0 when it has none or nobody asks for one here, or -1.
 */
static gssize
read_label(int fd, char *label, gsize size)
{
    const gssize length = fgetxattr(fd, LABEL_NAME, label, size);

    return length < 0 && (errno == ENODATA || errno == EOPNOTSUPP) ? 0 : length;
}

gboolean
wk_files_copy_label(int fd, int like_fd, const char *what, GError **error)
{
    char wanted[LABEL_BYTES];
    char present[LABEL_BYTES];
    const gssize length = read_label(like_fd, wanted, sizeof wanted);

    if (length == 0)
        return TRUE;
    if (length > 0 && read_label(fd, present, sizeof present) == length
        && memcmp(wanted, present, (gsize)length) == 0)
        return TRUE;
    if (length > 0 && fsetxattr(fd, LABEL_NAME, wanted, (gsize)length, 0) == 0)
        return TRUE;
    wk_error_set_errno(error, errno, "giving %s the SELinux label of its folder", what);
    return FALSE;
}

gboolean
wk_files_make_folder(const char *path, GError **error)
{
    g_autofree char *parent = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    WK_AUTO_FD int fd = wk_files_open(parent, O_PATH | O_DIRECTORY);

    if (fd >= 0 && (mkdirat(fd, name, 0700) == 0 || errno == EEXIST))
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
    WK_AUTO_FD int fd = wk_files_open(path, O_PATH);
    struct statvfs fs;

    if (fd < 0 || fstatvfs(fd, &fs) < 0) {
        wk_error_set_errno(error, errno, "asking for the free space of '%s'", path);
        return FALSE;
    }
    *free_bytes = (guint64)fs.f_bavail * fs.f_frsize;
    if (size_bytes != NULL)
        *size_bytes = (guint64)fs.f_blocks * fs.f_frsize;
    return TRUE;
}
