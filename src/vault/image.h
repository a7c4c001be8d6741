/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/run.h"
#include "model/record.h"

G_BEGIN_DECLS

/*
 * Save images as QEMU's libvirt driver writes them, and guard files. Layout (F14): 16 bytes magic,
 * then u32 version, data_len, was_running, compressed, cookieOffset and padding, 92 bytes in all;
 * then data_len bytes of XML and cookie; then the body. header = [0, 92 + data_len), with
 * data_len <= 1 MiB checked before anything is read.
 *
 * Every function blocks and may be called in any worker. Names are looked up in a folder that is
 * opened O_NOFOLLOW (beneath a distrusted folder: without any symlink on the way, base/files.h);
 * the file itself must be regular, nothing else is ever opened. So each of these may be called on a
 * path in a pod, whose owner changes it meanwhile: what he gets is an error, or his own file
 * changed.
 */
typedef enum {
    WK_IMAGE_ABSENT,
    WK_IMAGE_PARTIAL, /* magic "LibvirtQemudPart", or too short: libvirt boots cold (F12) */
    WK_IMAGE_FINAL,   /* magic "LibvirtQemudSave" */
    WK_IMAGE_GUARD,   /* our guard: every start fails and changes nothing (F13) */
    WK_IMAGE_FOREIGN, /* something else */
} WkImageKind;

typedef struct {
    WkImageKind kind;
    WkFileId file;
    gboolean was_running; /* FINAL: restoring it would start the CPUs */
    guint64 header_bytes; /* FINAL: 92 + data_len; 0 when the header is not readable */
    char header_digest[WK_DIGEST_LENGTH + 1]; /* FINAL */
    char *xml; /* FINAL, PARTIAL: the domain's XML; NULL when not readable */
} WkImageLook;

void wk_image_look_clear(WkImageLook *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WkImageLook, wk_image_look_clear)

/* Looks at the file @path. A missing file is no error: WK_IMAGE_ABSENT. A symlink or something
 * that is no regular file is WK_IMAGE_FOREIGN. @look must be initialised (zeroes are fine). */
gboolean wk_image_look(const char *path, WkImageLook *look, GError **error);

/* XXH3-128 over the body, [@header_bytes, end). Progress goes to @run (may be NULL: bytes hashed of
 * all); pages are dropped behind the hash when @drop_cache. WK_ERROR_CANCELLED when @run is
 * cancelled. @digest: WK_DIGEST_LENGTH + 1 bytes. */
gboolean wk_image_digest_body(const char *path, guint64 header_bytes, gboolean drop_cache,
                              WkRun *run, char *digest, GError **error);

/*
 * Hashes an image while libvirt writes it: it only ever grows (F14), so the hash is nearly done
 * when the save is. Runs in a thread of its own.
 */
typedef struct _WkImageFollower WkImageFollower;

/* Follows @path, which must not be there yet (M absent: step 6 of a save), or be empty (a
 * launcher's H): what is written into a file of before (F8) would be hashed as if it were appended.
 * Returns: (transfer full). */
WkImageFollower *wk_image_follower_new(const char *path);
/* The save is over and the file is @file: hashes the rest. FALSE with an error when what was
 * followed is not @file (WK_ERROR_CONFLICT) or it can't be read; the caller then hashes from the
 * start. No error of this says anything about the image. Once only. */
gboolean wk_image_follower_finish(WkImageFollower *self, const WkFileId *file, guint64 header_bytes,
                                  char *digest, GError **error);
void wk_image_follower_free(WkImageFollower *self); /* stops it; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkImageFollower, wk_image_follower_free)

/* "Dead magic": overwrites the first 16 bytes with the partial magic if @path is still the inode
 * of @file and its magic is the final one, or is partial already (after an fsync that failed only
 * what is written anew is synced); otherwise leaves it alone and returns TRUE. Not synced:
 * call wk_image_sync() next (F16: an unlink alone comes back after a power cut). */
gboolean wk_image_kill(const char *path, const WkFileId *file, GError **error);

/* fsync of the file, if @path is the inode of @file (missing or another: nothing to do). */
gboolean wk_image_sync(const char *path, const WkFileId *file, GError **error);

/* After an fsync of @path that failed: writes @file once more, in place, from what can be read of
 * it (the page cache), so that the next fsync has all of it to write. Its times stay.
 * WK_ERROR_CONFLICT when @path is not @file. */
gboolean wk_image_rewrite(const char *path, const WkFileId *file, GError **error);

/* Digests of header and body as they are on the medium: past the page cache (O_DIRECT) where the
 * file system can, else behind an advice to forget it. WK_ERROR_CONFLICT when @path is not @file.
 * @header_digest, @body_digest: WK_DIGEST_LENGTH + 1 bytes each. */
gboolean wk_image_read_back(const char *path, const WkFileId *file, guint64 header_bytes,
                            char *header_digest, char *body_digest, GError **error);

/* Writes a guard as "<@path>.wukong-guard" (O_EXCL after removing an old one), to be synced and
 * renamed over @path by the next two: 92 bytes, the header of an image of version 2^32-1, which
 * every libvirt refuses to restore and leaves as it is (F13; tried with 9.0, 11.3, 12.8). Beneath a
 * distrusted folder it gets owner and SELinux label of the folder it lies in, so that the pod's
 * libvirt can read it. */
gboolean wk_guard_write(const char *path, GError **error);
gboolean wk_guard_sync(const char *path, GError **error);
gboolean wk_guard_rename(const char *path, GError **error);

/* Unlinks @path if it is a guard of ours, or @file's inode (@file may be NULL). Missing is fine;
 * anything else is left alone with WK_ERROR_CONFLICT. */
gboolean wk_image_unlink(const char *path, const WkFileId *file, GError **error);

/* Hard-links @from as @to. EEXIST with the same inode is fine. EXDEV gets WK_ERROR_REFUSED with
 * reason "VaultOnOtherFileSystem" and names both paths. */
gboolean wk_image_link(const char *from, const char *to, GError **error);

G_END_DECLS
