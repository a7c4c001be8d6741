/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "vault/image.h"

G_BEGIN_DECLS

/*
 * Images of guests in launcher pods (docs/ledger.md, launcher). One inode has two names: H in the
 * vault, which is ours alone, and M in the pod's save folder, where everything is hostile. While
 * libvirt has to write or read it, the file belongs to the pod's user (0600, label of the save
 * folder); while it is sealed, to root (0400). These functions go by H where they can.
 *
 * Blocking, any worker; they need root. None of them syncs: wk_image_sync() on H,
 * wk_vault_sync_folder() and wk_files_sync_folder() on the save folder do. Each may be repeated.
 * @hold is H's path, @managed M's; the save folder must be there (wk_pod_make_save_folder()).
 */

/* Save 3: makes H, empty, with owner, group and SELinux label of the folder of @managed, 0600.
 * @file gets its identity. An H that is there is WK_ERROR_CONFLICT: of an earlier save, Abort. */
gboolean
wk_launcher_image_create(const char *hold, const char *managed, WkFileId *file, GError **error);

/* Save 3, the pre-link: links H as M. M there as the same inode is fine, as anything else
 * WK_ERROR_CONFLICT. Two file systems, or mounts: WK_ERROR_REFUSED "VaultOnOtherFileSystem", whose
 * message names [kubevirt] vault-dir. No save folder: WK_ERROR_NOT_FOUND (the pod went). */
gboolean wk_launcher_image_link(const char *hold, const char *managed, GError **error);

/*
 * Before sealing (save 10), once the magic is final: from here on nobody in a pod changes the
 * image. H becomes root's, 0400; then nobody may have it open for writing any more (a read lease
 * is granted, F20), which covers mappings as well. Root's first, because nobody can open it anew
 * then, and because a lease is the owner's to take.
 * Returns: FALSE with WK_ERROR_UNAVAILABLE "ImageInUse" while there is a writer; WK_ERROR_CORRUPT
 * "ImageCorrupt" when the file is shorter than a header, longer than memory + 10 % + 64 MiB, has
 * more names than H and M, or is not @file's inode. mtime stays. Before it, nothing should read the
 * file to its end: a stranger says where that is.
 */
gboolean
wk_launcher_image_claim(const char *hold, const WkFileId *file, guint64 memory_kib, GError **error);

/* Before staging (restore 2): H gets owner, group and label of the folder of @managed, 0600, so
 * that the new pod's libvirt can read it. WK_ERROR_CONFLICT when H is not @file's inode. */
gboolean
wk_launcher_image_give(const char *hold, const char *managed, const WkFileId *file, GError **error);

/* Restore 2: puts the image at M, over a guard or nothing: H is linked as "<M>.wukong-image" and
 * that is renamed over M (a rename of H would lose H). Another file at M is WK_ERROR_CONFLICT and
 * stays; two file systems as wk_launcher_image_link(). A draft of before is replaced. */
gboolean wk_launcher_image_stage(const char *hold, const char *managed, const WkFileId *file,
                                 GError **error);

/* Abort b: truncates @path (M or H) to nothing if it is @file's inode; another or a missing one is
 * fine. An empty image makes libvirt boot cold (F12): only after the magic is dead. */
gboolean wk_launcher_image_empty(const char *path, const WkFileId *file, GError **error);

/*
 * The header, [0, 92 + data_len), as bytes: for the ledger, and for the rewriting of its XML.
 */

/* Returns: (transfer full): H's header, at most 92 bytes and 1 MiB. WK_ERROR_CORRUPT
 * "ImageCorrupt" when it is not a whole final one, WK_ERROR_CONFLICT when @path is not @file's
 * inode. */
GBytes *wk_launcher_header_read(const char *path, const WkFileId *file, GError **error);

/* Returns: (transfer full): the XML of a header, which is text (UTF-8) and nothing more: a
 * stranger may have written it, so no root process parses it. NULL with WK_ERROR_CORRUPT. */
char *wk_launcher_header_get_xml(GBytes *header, GError **error);

/* Returns: (transfer full): the header with @xml for its XML, as libvirt itself would write it
 * (virDomainSaveImageDefineXML): XML, NUL, cookie, NULs up to the same data_len, so that the body
 * stays where it is. It says paused, whatever it said (I1). WK_ERROR_REFUSED "ImageXmlTooLong" when
 * it does not fit, WK_ERROR_CORRUPT when
 * @header is not one. */
GBytes *wk_launcher_header_with_xml(GBytes *header, const char *xml, GError **error);

/* C's header digest of @header. @digest: WK_DIGEST_LENGTH + 1 bytes. */
void wk_launcher_header_digest(GBytes *header, char *digest);

/* Writes @header over H's own: a rewritten one, or the ledger's copy of one that was torn. The
 * file's mtime becomes @file's again, since it is part of C; a crash in between is healed by
 * writing once more. An image whose magic is not final is dead, and never brought back to life:
 * WK_ERROR_CONFLICT, as when it is not @file's inode or size. */
gboolean
wk_launcher_header_write(const char *path, const WkFileId *file, GBytes *header, GError **error);

G_END_DECLS
