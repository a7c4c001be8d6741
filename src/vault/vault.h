/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * The folder of held images: DIR/<uuid>/image, everything 0700/0600, on the same file system as
 * libvirt's save folder (a hold is a hard link). Every function blocks; any thread.
 */
typedef struct _WkVault WkVault;

/* Opens (and makes, 0700) the vault at @dir. Refuses file systems that can't hold it: NFS, SMB, 9p,
 * Ceph, FUSE, overlay, tmpfs and their like (WK_ERROR_REFUSED, reason "VaultFileSystem") unless
 * @any_fs (tests); a folder of another user is "VaultOwner", a symlink an error.
 * Returns: (transfer full), or NULL. */
WkVault *wk_vault_open(const char *dir, gboolean any_fs, GError **error);
WkVault *wk_vault_ref(WkVault *self);
void wk_vault_unref(WkVault *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkVault, wk_vault_unref)

const char *wk_vault_get_dir(WkVault *self);

/* The vault's own id, kept in DIR/.wukong-vault: which vault this is, whatever number its file
 * system has in this boot. Returns: (transfer none): the id, or NULL when it has none yet. */
const char *wk_vault_get_id(WkVault *self);
/* Gives it an id, durably; an id that is there stays. Before other threads use the vault. */
gboolean wk_vault_make_id(WkVault *self, GError **error);
/* st_dev of the vault's files, in this boot. */
guint64 wk_vault_get_device(WkVault *self);

/* Returns: (transfer full): H, the hold link's path of a guest; @uuid must be a UUID. */
char *wk_vault_hold_path(WkVault *self, const char *uuid);

/* Makes the guest's folder and syncs the vault's own. */
gboolean wk_vault_make_folder(WkVault *self, const char *uuid, GError **error);
/* sync(vault): the guest's folder. A folder that is not there is fine. */
gboolean wk_vault_sync_folder(WkVault *self, const char *uuid, GError **error);
/* Removes the guest's empty folder; anything left in it keeps it (no error). */
void wk_vault_drop_folder(WkVault *self, const char *uuid);

/* Returns: (transfer full) (element-type utf8): UUIDs of the folders that hold an image. */
GPtrArray *wk_vault_list(WkVault *self, GError **error);

/* Tries a hard link from @save_dir into the vault, and removes it again.
 * Returns: FALSE with WK_ERROR_REFUSED "VaultOnOtherFileSystem" naming both folders (EXDEV: also a
 * bind mount between them), or the errno. */
gboolean wk_vault_try_link(WkVault *self, const char *save_dir, GError **error);

/* Free bytes and size of the vault's file system. */
gboolean wk_vault_space(WkVault *self, guint64 *free_bytes, guint64 *size_bytes, GError **error);

G_END_DECLS
