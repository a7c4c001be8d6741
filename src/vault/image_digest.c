/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/image_private.h"
#include "vault/place.h"

#include "base/error.h"

#include <fcntl.h>

#define BUFFER_BYTES ((guint64)1024 * 1024)
#define STRIDE_BYTES (8 * BUFFER_BYTES) /* between two looks at the run */

void
wk_hasher_init(WkHasher *self)
{
    self->state = XXH3_createState();
    self->buffer = g_malloc(BUFFER_BYTES);
    g_assert(self->state != NULL); /* out of memory, as with g_malloc() */
    XXH3_128bits_reset(self->state);
}

void
wk_hasher_clear(WkHasher *self)
{
    XXH3_freeState(self->state); /* NULL is fine */
    self->state = NULL;
    g_clear_pointer(&self->buffer, g_free);
}

gboolean
wk_hasher_feed(WkHasher *self, int fd, guint64 from, guint64 to, const char *path, GError **error)
{
    for (guint64 offset = from; offset < to;) {
        const gsize length = (gsize)MIN(BUFFER_BYTES, to - offset);

        if (!wk_files_read_at(fd, self->buffer, length, (goffset)offset, path, error))
            return FALSE;
        XXH3_128bits_update(self->state, self->buffer, length);
        offset += length;
    }
    return TRUE;
}

void
wk_hasher_format(XXH128_hash_t hash, char *digest)
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, hash);
    for (gsize i = 0; i < sizeof canonical.digest; i++)
        g_snprintf(digest + 2 * i, 3, "%02x", canonical.digest[i]);
}

void
wk_hasher_finish(const WkHasher *self, char *digest)
{
    wk_hasher_format(XXH3_128bits_digest(self->state), digest);
}

static gboolean
hash_range(WkHasher *hasher, int fd, guint64 from, guint64 to, gboolean drop_cache, WkRun *run,
           const char *path, GError **error)
{
    for (guint64 offset = from; offset < to;) {
        const guint64 next = MIN(offset + STRIDE_BYTES, to);

        if (run != NULL && !wk_run_check(run, error))
            return FALSE;
        if (!wk_hasher_feed(hasher, fd, offset, next, path, error))
            return FALSE;
        if (drop_cache)
            (void)posix_fadvise(fd, (off_t)offset, (off_t)(next - offset), POSIX_FADV_DONTNEED);
        offset = next;
        if (run != NULL)
            wk_run_set_progress(run, offset - from, to - from);
    }
    return TRUE;
}

gboolean
wk_image_digest_body(const char *path, guint64 header_bytes, gboolean drop_cache, WkRun *run,
                     char *digest, GError **error)
{
    g_auto(WkPlace) place = WK_PLACE_INIT;
    g_auto(WkHasher) hasher = { NULL, NULL };
    WK_AUTO_FD int fd = -1;
    struct stat st;

    if (!wk_place_open(path, &place, error))
        return FALSE;
    fd = wk_place_open_file(&place, O_RDONLY, &st, error);
    if (fd < 0)
        return FALSE;
    if (header_bytes == 0 || header_bytes > (guint64)st.st_size) {
        wk_error_set(error, WK_ERROR_CORRUPT, "ImageCorrupt",
                     "'%s' is shorter than its header says", path);
        return FALSE;
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    wk_hasher_init(&hasher);
    if (!hash_range(&hasher, fd, header_bytes, (guint64)st.st_size, drop_cache, run, path, error))
        return FALSE;
    wk_hasher_finish(&hasher, digest);
    return TRUE;
}
