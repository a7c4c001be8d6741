/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_DIRECT */
#endif
#include "config.h"

#include "vault/image_private.h"
#include "vault/place.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/*
 * After an fsync that failed the kernel may hold the pages for written that never were: a second
 * one has nothing to do and succeeds. So the image is written once more from what the page cache
 * has of it, and after the next fsync it is read from the medium, past the page cache.
 */
#define CHUNK_BYTES ((gsize)1024 * 1024)
#define ALIGN_BYTES ((gsize)4096)

static int
open_image(const char *path, const WkFileId *file, int flags, struct stat *st, GError **error)
{
    g_auto(WkPlace) place = WK_PLACE_INIT;
    WK_AUTO_FD int fd = -1;
    WkFileId now;

    if (!wk_place_open(path, &place, error))
        return -1;
    fd = wk_place_open_file(&place, flags, st, error);
    if (fd < 0)
        return -1;
    wk_file_id_from_stat(st, &now);
    if (wk_file_id_equal(&now, file))
        return g_steal_fd(&fd);
    wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is another file than it was", path);
    return -1;
}

gboolean
wk_image_rewrite(const char *path, const WkFileId *file, GError **error)
{
    struct stat st;
    WK_AUTO_FD int fd = open_image(path, file, O_RDWR, &st, error);
    g_autofree guint8 *buffer = g_malloc(CHUNK_BYTES);

    if (fd < 0)
        return FALSE;
    for (guint64 at = 0; at < file->size_bytes; at += CHUNK_BYTES) {
        const gsize length = (gsize)MIN(CHUNK_BYTES, file->size_bytes - at);

        if (!wk_files_read_at(fd, buffer, length, (goffset)at, path, error)
            || !wk_files_write_at(fd, buffer, length, (goffset)at, path, error))
            return FALSE;
    }
    /* It is the file that it was: what is newer than the save is a disk that somebody wrote to. */
    if (futimens(fd, (const struct timespec[]){ st.st_atim, st.st_mtim }) == 0)
        return TRUE;
    wk_error_set_errno(error, errno, "setting the time of '%s'", path);
    return FALSE;
}

/* Not every file system reads past the page cache; then it is at least asked to forget. */
static void
leave_page_cache(int fd)
{
    const int flags = fcntl(fd, F_GETFL);

    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
        g_debug("no O_DIRECT here: %s", g_strerror(errno));
}

static gboolean
read_chunk(int fd, guint8 *buffer, gsize length, guint64 at, const char *path, GError **error)
{
    const ssize_t got = pread(fd, buffer, CHUNK_BYTES, (off_t)at);

    if (got < 0 && errno == EINVAL) { /* the file system took O_DIRECT, but not this read */
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_DIRECT);
        return wk_files_read_at(fd, buffer, length, (goffset)at, path, error);
    }
    if (got < 0) {
        wk_error_set_errno(error, errno, "reading '%s'", path);
        return FALSE;
    }
    if ((gsize)got >= length)
        return TRUE;
    wk_error_set(error, WK_ERROR_CORRUPT, "ImageCorrupt", "'%s' ends too early", path);
    return FALSE;
}

/* Adds what of [@at, @at + @length) lies before @border to one hash, the rest to the other. */
static void
add_chunk(WkHasher *header, WkHasher *body, const guint8 *bytes, gsize length, guint64 at,
          guint64 border)
{
    const gsize before = at < border ? (gsize)MIN(length, border - at) : 0;

    XXH3_128bits_update(header->state, bytes, before);
    XXH3_128bits_update(body->state, bytes + before, length - before);
}

gboolean
wk_image_read_back(const char *path, const WkFileId *file, guint64 header_bytes,
                   char *header_digest, char *body_digest, GError **error)
{
    struct stat st;
    WK_AUTO_FD int fd = open_image(path, file, O_RDONLY, &st, error);
    g_auto(WkHasher) header = { NULL, NULL };
    g_auto(WkHasher) body = { NULL, NULL };
    g_autofree guint8 *room = g_malloc(CHUNK_BYTES + ALIGN_BYTES);
    guint8 *const buffer = room + (ALIGN_BYTES - (guintptr)room % ALIGN_BYTES);

    if (fd < 0)
        return FALSE;
    leave_page_cache(fd);
    wk_hasher_init(&header);
    wk_hasher_init(&body);
    for (guint64 at = 0; at < file->size_bytes; at += CHUNK_BYTES) {
        const gsize length = (gsize)MIN(CHUNK_BYTES, file->size_bytes - at);

        if (!read_chunk(fd, buffer, length, at, path, error))
            return FALSE;
        add_chunk(&header, &body, buffer, length, at, header_bytes);
    }
    wk_hasher_finish(&header, header_digest);
    wk_hasher_finish(&body, body_digest);
    return TRUE;
}
