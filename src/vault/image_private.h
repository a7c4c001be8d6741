/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "vault/image.h"

#include <xxhash.h>

G_BEGIN_DECLS

/* Private to vault/: the layout of a save image (F14), and the hash over it. */

#define WK_IMAGE_MAGIC_BYTES 16
#define WK_IMAGE_FIXED_BYTES 92
#define WK_IMAGE_DATA_MAX    (1024 * 1024)
#define WK_IMAGE_VERSION     2

/* The magics, without a NUL at the end. */
extern const char wk_image_magic_final[WK_IMAGE_MAGIC_BYTES];
extern const char wk_image_magic_partial[WK_IMAGE_MAGIC_BYTES];

/* Host byte order: libvirt reads a swapped header too, but an image from a machine of the other
 * order is none that could be restored here. */
typedef struct {
    char magic[WK_IMAGE_MAGIC_BYTES];
    guint32 version;
    guint32 data_len;
    guint32 was_running;
    guint32 compressed;
    guint32 cookie_offset;
    guint8 padding[56];
} WkImageHeader;
G_STATIC_ASSERT(sizeof(WkImageHeader) == WK_IMAGE_FIXED_BYTES);

/* Returns: 92 + data_len, or 0 when this is no header that can be read. */
guint64 wk_image_header_bytes(const WkImageHeader *header);

/* Opens @path if it is @file's inode; otherwise (missing, another, no regular file) @fd stays -1,
 * which is no error: there is nothing of ours to change. */
gboolean
wk_image_open_inode(const char *path, const WkFileId *file, int flags, int *fd, GError **error);

/* TRUE when these are the bytes of a guard of ours, of this agent or of an earlier one. */
gboolean wk_guard_is_header(const WkImageHeader *header);
/* TRUE when the @size_bytes long file at @fd is one, whole. */
gboolean wk_guard_is_at(int fd, guint64 size_bytes);

/* XXH3-128 over pieces of a file, read through one buffer. */
typedef struct {
    XXH3_state_t *state;
    guint8 *buffer;
} WkHasher;

void wk_hasher_init(WkHasher *self);
void wk_hasher_clear(WkHasher *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WkHasher, wk_hasher_clear)

/* Adds [@from, @to) of @fd; a file that ends before is WK_ERROR_CORRUPT. */
gboolean
wk_hasher_feed(WkHasher *self, int fd, guint64 from, guint64 to, const char *path, GError **error);
/* @digest: WK_DIGEST_LENGTH + 1 bytes. */
void wk_hasher_finish(const WkHasher *self, char *digest);
void wk_hasher_format(XXH128_hash_t hash, char *digest);

G_END_DECLS
