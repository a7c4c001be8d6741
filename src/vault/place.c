/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/place.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void
wk_place_clear(WkPlace *self)
{
    wk_files_auto_close(&self->folder_fd);
    self->folder_fd = -1;
    g_clear_pointer(&self->name, g_free);
    g_clear_pointer(&self->path, g_free);
}

gboolean
wk_place_open(const char *path, WkPlace *self, GError **error)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    g_autofree char *folder = g_path_get_dirname(path);

    if (*name == '\0' || g_str_equal(name, ".") || g_str_equal(name, "..")) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "'%s' does not name a file", path);
        return FALSE;
    }
    self->folder_fd = wk_files_open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (self->folder_fd < 0 && errno == ENOENT) {
        wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "no folder '%s'", folder);
        return FALSE;
    }
    if (self->folder_fd < 0) {
        wk_error_set_errno(error, errno, "opening folder '%s'", folder);
        return FALSE;
    }
    self->name = g_strdup(name);
    self->path = g_strdup(path);
    return TRUE;
}

int
wk_place_open_file(const WkPlace *self, int flags, struct stat *st, GError **error)
{
    g_autoptr(GError) complaint = NULL;
    WK_AUTO_FD int fd = -1;

    if (fstatat(self->folder_fd, self->name, st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT)
            wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "no file '%s'", self->path);
        else
            wk_error_set_errno(error, errno, "looking at '%s'", self->path);
        return -1;
    }
    if (!S_ISREG(st->st_mode)) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is not a regular file", self->path);
        return -1;
    }
    fd = wk_files_open_at(self->folder_fd, self->name, flags, &complaint);
    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_CORRUPT)) { /* it was replaced just now */
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is not a regular file", self->path);
        return -1;
    }
    if (fd < 0) {
        g_propagate_error(error, g_steal_pointer(&complaint));
        return -1;
    }
    if (fstat(fd, st) < 0) {
        wk_error_set_errno(error, errno, "looking at '%s'", self->path);
        return -1;
    }
    return g_steal_fd(&fd);
}

gboolean
wk_place_is_inode(const WkPlace *self, const struct stat *st)
{
    struct stat now;

    return fstatat(self->folder_fd, self->name, &now, AT_SYMLINK_NOFOLLOW) == 0
           && now.st_dev == st->st_dev && now.st_ino == st->st_ino;
}

gboolean
wk_place_adopt(const WkPlace *self, int fd, GError **error)
{
    struct stat folder;

    if (fstat(self->folder_fd, &folder) < 0 || fchmod(fd, 0600) < 0
        || fchown(fd, folder.st_uid, folder.st_gid) < 0) {
        wk_error_set_errno(error, errno, "giving '%s' the owner of its folder", self->path);
        return FALSE;
    }
    return wk_files_copy_label(fd, self->folder_fd, self->path, error);
}

void
wk_file_id_from_stat(const struct stat *st, WkFileId *file)
{
    file->dev = (guint64)st->st_dev;
    file->inode = (guint64)st->st_ino;
    file->size_bytes = (guint64)st->st_size;
    file->mtime_ns = wk_files_mtime_ns(st);
}
