/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/files.h"
#include "model/record.h"

G_BEGIN_DECLS

/*
 * Private to vault/. One name in a folder that is held open: every change of a file here acts on
 * (folder, name), so that nobody can move the folder away between the check and the change.
 */
typedef struct {
    int folder_fd;
    char *name;
    char *path; /* for messages */
} WkPlace;

#define WK_PLACE_INIT                                                                              \
    {                                                                                              \
        -1, NULL, NULL                                                                             \
    }

/* Opens the folder of @path O_NOFOLLOW. @self must be WK_PLACE_INIT.
 * Returns: FALSE with WK_ERROR_NOT_FOUND when there is no such folder, WK_ERROR_INVALID when
 * @path names no file. */
gboolean wk_place_open(const char *path, WkPlace *self, GError **error);
void wk_place_clear(WkPlace *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WkPlace, wk_place_clear)

/* Opens the file itself, which must be regular; @st gets its fstat. Never opens a device or a
 * fifo, never follows a symlink.
 * Returns: the descriptor, or -1: WK_ERROR_NOT_FOUND when there is none, WK_ERROR_CONFLICT when
 * it is something else. */
int wk_place_open_file(const WkPlace *self, int flags, struct stat *st, GError **error);

/* TRUE when the name is this very inode now. */
gboolean wk_place_is_inode(const WkPlace *self, const struct stat *st);

/* Gives the file @fd owner, group and SELinux label of the folder, and mode 0600: how libvirt in a
 * pod has its own files. */
gboolean wk_place_adopt(const WkPlace *self, int fd, GError **error);

/* What identifies the file of @st. */
void wk_file_id_from_stat(const struct stat *st, WkFileId *file);

G_END_DECLS
