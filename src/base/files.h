/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

G_BEGIN_DECLS

/* A descriptor that closes itself: WK_AUTO_FD int fd = -1; */
static inline void
wk_files_auto_close(int *fd)
{
    if (*fd >= 0)
        (void)g_close(*fd, NULL);
}
#define WK_AUTO_FD __attribute__((cleanup(wk_files_auto_close)))

/* Opens a folder O_DIRECTORY|O_NOFOLLOW. Returns: the descriptor, or -1 with an errno error.
 * Only the last component is protected; the folders above must belong to root. */
int wk_files_open_folder(const char *path, GError **error);

/* Opens @name in @folder_fd with @flags plus O_NOFOLLOW|O_CLOEXEC|O_NONBLOCK and checks that it is
 * a regular file. Returns: the descriptor, or -1: WK_ERROR_NOT_FOUND when there is none. */
int wk_files_open_at(int folder_fd, const char *name, int flags, GError **error);

/* fsync; one failure is final (I2: a second fsync after EIO proves nothing). */
gboolean wk_files_sync(int fd, const char *what, GError **error);
gboolean wk_files_sync_folder(const char *path, GError **error);

/* Makes @path with mode 0700 unless it is there; its parent must be. */
gboolean wk_files_make_folder(const char *path, GError **error);

/* Reads exactly @length bytes at @offset; a short file is WK_ERROR_CORRUPT. */
gboolean wk_files_read_at(int fd, void *buffer, gsize length, goffset offset, const char *what,
                          GError **error);
gboolean wk_files_write_at(int fd, const void *buffer, gsize length, goffset offset,
                           const char *what, GError **error);

/* Modification time in nanoseconds since 1970. */
gint64 wk_files_mtime_ns(const struct stat *st);

/* Free bytes on the file system of @path, without what it keeps back for root, and its size (may
 * be NULL). */
gboolean
wk_files_free_bytes(const char *path, guint64 *free_bytes, guint64 *size_bytes, GError **error);

G_END_DECLS
