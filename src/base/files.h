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

/*
 * Distrust: everything beneath one folder (the kubelet's pods) belongs to strangers, who may put
 * symlinks, fifos, devices and other files there at any time. Paths beneath it are walked by
 * openat2(2) with RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS; the folder itself and
 * those above it are trusted. Process-wide: set at start, before other threads. Another call
 * replaces the folder; NULL forgets it. Copies @folder, which must be absolute.
 */
void wk_files_distrust(const char *folder);
/* TRUE when @path lies beneath the distrusted folder. Any thread. */
gboolean wk_files_is_distrusted(const char *path);

/* open(2) with O_CLOEXEC, @flags without O_CREAT; minds the distrusted folder. What it opens may be
 * anything: give O_PATH, or O_DIRECTORY. Returns: the descriptor, or -1 with errno (ELOOP or EXDEV:
 * a symlink beneath the distrusted folder). */
int wk_files_open(const char *path, int flags);
/* The same for @path beneath @folder_fd: no symlink, never above it. */
int wk_files_open_beneath(int folder_fd, const char *path, int flags);
/* The same for @path as a process whose root is @root_fd sees it: symlinks are followed inside
 * that root, magic links never. */
int wk_files_open_in_root(int root_fd, const char *path, int flags);
/* Opens what the O_PATH descriptor @path_fd stands for, whatever its name is now: look with fstat
 * first, so that no device or fifo is ever opened. Returns: the descriptor, or -1 with errno. */
int wk_files_reopen(int path_fd, int flags);

/* Opens a folder O_DIRECTORY|O_NOFOLLOW. Returns: the descriptor, or -1 with an errno error.
 * Only the last component is protected; the folders above must belong to root, or be distrusted. */
int wk_files_open_folder(const char *path, GError **error);

/* Opens @name in @folder_fd with @flags plus O_NOFOLLOW|O_CLOEXEC|O_NONBLOCK; it must be a regular
 * file, and nothing else is ever opened. O_CREAT without O_EXCL is for folders of ours.
 * Returns: the descriptor, or -1: WK_ERROR_NOT_FOUND when there is none, WK_ERROR_CORRUPT when it
 * is something else, WK_ERROR_UNAVAILABLE "ImageInUse" while somebody holds a lease on it. */
int wk_files_open_at(int folder_fd, const char *name, int flags, GError **error);

/* fsync; one failure is final (I2: a second fsync after EIO proves nothing). */
gboolean wk_files_sync(int fd, const char *what, GError **error);
gboolean wk_files_sync_folder(const char *path, GError **error);

/* Gives @fd the SELinux label of @like_fd, where it has one. Neither may be O_PATH. */
gboolean wk_files_copy_label(int fd, int like_fd, const char *what, GError **error);

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
