/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/image_private.h"
#include "vault/place.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

/*
 * What may be hashed while the file grows: nothing before the body, because the header is written
 * again at the end (F14), and nothing in the last MiB, because a save past the page cache pads its
 * tail block and truncates it when it is done. Everything between is final once it is there.
 */
#define POLL_US      (20 * 1000)
#define TAIL_BYTES   ((guint64)1024 * 1024)
#define STRIDE_BYTES ((guint64)4 * 1024 * 1024)

/* libvirt's numbers of save formats: raw, gzip, bzip2, xz, lzop, zstd; what comes after (sparse)
 * is written all over the file. */
#define COMPRESSED_LAST_SEQUENTIAL 5

struct _WkImageFollower {
    char *path;
    GThread *thread; /* NULL once joined */

    GMutex lock;
    GCond wake;
    gboolean stop;

    /* the thread's until it is joined */
    int fd;
    WkFileId file;
    guint64 header_bytes; /* 0: not seen yet */
    guint64 done;         /* end of what is hashed; 0 before the header is seen */
    WkHasher hasher;
    GError *failed;
};

static gboolean
open_image(WkImageFollower *self, GError **error)
{
    g_auto(WkPlace) place = WK_PLACE_INIT;
    g_autoptr(GError) complaint = NULL;
    struct stat st;

    if (wk_place_open(self->path, &place, &complaint))
        self->fd = wk_place_open_file(&place, O_RDONLY, &st, &complaint);
    if (self->fd >= 0) {
        wk_file_id_from_stat(&st, &self->file);
        (void)posix_fadvise(self->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        return TRUE;
    }
    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_NOT_FOUND))
        return TRUE; /* not yet */
    g_propagate_error(error, g_steal_pointer(&complaint));
    return FALSE;
}

static gboolean
read_header(WkImageFollower *self, guint64 size_bytes, GError **error)
{
    WkImageHeader header;

    if (size_bytes < sizeof header)
        return TRUE; /* not yet */
    if (!wk_files_read_at(self->fd, &header, sizeof header, 0, self->path, error))
        return FALSE;
    self->header_bytes = wk_image_header_bytes(&header);
    if (self->header_bytes == 0 || header.compressed > COMPRESSED_LAST_SEQUENTIAL
        || (memcmp(header.magic, wk_image_magic_partial, WK_IMAGE_MAGIC_BYTES) != 0
            && memcmp(header.magic, wk_image_magic_final, WK_IMAGE_MAGIC_BYTES) != 0)) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is no image that can be followed",
                     self->path);
        return FALSE;
    }
    self->done = self->header_bytes;
    return TRUE;
}

/* Starts write-back of what was just hashed, so that the fsync before sealing has little left to
 * do. The pages stay, as they do after libvirt's own save: clean, and first to go when memory is
 * short; without them the guest's next resume would read from the disk what is in memory now. */
static void
start_write_back(WkImageFollower *self, guint64 from, guint64 to)
{
    (void)sync_file_range(self->fd, (off64_t)from, (off64_t)(to - from), SYNC_FILE_RANGE_WRITE);
}

static gboolean
is_stopped(WkImageFollower *self)
{
    gboolean stop;

    g_mutex_lock(&self->lock);
    stop = self->stop;
    g_mutex_unlock(&self->lock);
    return stop;
}

/* A file that ends before what was seen of it says nothing about the image: the caller looks. */
static gboolean
hash_to(WkImageFollower *self, guint64 from, guint64 to, GError **error)
{
    g_autoptr(GError) complaint = NULL;

    if (wk_hasher_feed(&self->hasher, self->fd, from, to, self->path, &complaint))
        return TRUE;
    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_CORRUPT))
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' became shorter", self->path);
    else
        g_propagate_error(error, g_steal_pointer(&complaint));
    return FALSE;
}

static gboolean
hash_stable(WkImageFollower *self, guint64 size_bytes, GError **error)
{
    const guint64 end = size_bytes > TAIL_BYTES ? size_bytes - TAIL_BYTES : 0;

    while (end >= self->done + STRIDE_BYTES && !is_stopped(self)) {
        const guint64 next = self->done + STRIDE_BYTES;

        if (!hash_to(self, self->done, next, error))
            return FALSE;
        start_write_back(self, self->done, next);
        self->done = next;
    }
    return TRUE;
}

/* One look at the file. FALSE ends the following. */
static gboolean
follow(WkImageFollower *self, GError **error)
{
    struct stat st;

    if (self->fd < 0 && !open_image(self, error))
        return FALSE;
    if (self->fd < 0)
        return TRUE;
    if (fstat(self->fd, &st) < 0) {
        wk_error_set_errno(error, errno, "looking at '%s'", self->path);
        return FALSE;
    }
    if ((guint64)st.st_size < self->done) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' became shorter", self->path);
        return FALSE;
    }
    if (self->header_bytes == 0 && !read_header(self, (guint64)st.st_size, error))
        return FALSE;
    return self->header_bytes == 0 || hash_stable(self, (guint64)st.st_size, error);
}

/* A growing file gives no better event than time: inotify would wake us for every write. */
static void
wait_for_more(WkImageFollower *self)
{
    const gint64 until = wk_clock_mono_us() + POLL_US;

    g_mutex_lock(&self->lock);
    while (!self->stop && g_cond_wait_until(&self->wake, &self->lock, until))
        continue;
    g_mutex_unlock(&self->lock);
}

static gpointer
run_follower(gpointer data)
{
    WkImageFollower *self = data;

    (void)setpriority(PRIO_PROCESS, 0, 10); /* this thread only: the save goes first */
    while (!is_stopped(self) && follow(self, &self->failed))
        wait_for_more(self);
    return NULL;
}

WkImageFollower *
wk_image_follower_new(const char *path)
{
    WkImageFollower *self = g_new0(WkImageFollower, 1);

    self->path = g_strdup(path);
    self->fd = -1;
    g_mutex_init(&self->lock);
    g_cond_init(&self->wake);
    wk_hasher_init(&self->hasher);
    self->thread = g_thread_new("wk-follower", run_follower, self);
    return self;
}

static void
join(WkImageFollower *self)
{
    if (self->thread == NULL)
        return;
    g_mutex_lock(&self->lock);
    self->stop = TRUE;
    g_cond_signal(&self->wake);
    g_mutex_unlock(&self->lock);
    g_thread_join(g_steal_pointer(&self->thread));
}

/* The one that was followed is @file, as it is now. */
static gboolean
check_finished(WkImageFollower *self, const WkFileId *file, guint64 header_bytes, GError **error)
{
    WkFileId now;
    struct stat st;

    if (self->failed != NULL) {
        g_propagate_error(error, g_steal_pointer(&self->failed));
        return FALSE;
    }
    if (self->fd < 0) {
        wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "'%s' was never there", self->path);
        return FALSE;
    }
    if (fstat(self->fd, &st) < 0) {
        wk_error_set_errno(error, errno, "looking at '%s'", self->path);
        return FALSE;
    }
    wk_file_id_from_stat(&st, &now);
    if (!wk_file_id_same_inode(&now, file) || now.size_bytes != file->size_bytes
        || (self->header_bytes != 0 && self->header_bytes != header_bytes)
        || now.size_bytes < MAX(self->done, header_bytes)) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is not the file that was followed",
                     self->path);
        return FALSE;
    }
    return TRUE;
}

gboolean
wk_image_follower_finish(WkImageFollower *self, const WkFileId *file, guint64 header_bytes,
                         char *digest, GError **error)
{
    guint64 from;

    join(self);
    /* a small image may have come and been done between two looks */
    if (self->failed == NULL && self->fd < 0 && !open_image(self, error))
        return FALSE;
    if (!check_finished(self, file, header_bytes, error))
        return FALSE;
    from = self->header_bytes != 0 ? self->done : header_bytes;
    if (!hash_to(self, from, file->size_bytes, error))
        return FALSE;
    wk_hasher_finish(&self->hasher, digest);
    return TRUE;
}

void
wk_image_follower_free(WkImageFollower *self)
{
    if (self == NULL)
        return;
    join(self);
    wk_files_auto_close(&self->fd);
    wk_hasher_clear(&self->hasher);
    g_clear_error(&self->failed);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->wake);
    g_free(self->path);
    g_free(self);
}
