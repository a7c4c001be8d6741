/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/image_private.h"
#include "vault/place.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

const char wk_image_magic_final[WK_IMAGE_MAGIC_BYTES] = { "LibvirtQemudSave" };
const char wk_image_magic_partial[WK_IMAGE_MAGIC_BYTES] = { "LibvirtQemudPart" };

static gboolean
has_magic(const char *bytes, const char *magic)
{
    return memcmp(bytes, magic, WK_IMAGE_MAGIC_BYTES) == 0;
}

guint64
wk_image_header_bytes(const WkImageHeader *header)
{
    if (header->version != WK_IMAGE_VERSION || header->data_len == 0
        || header->data_len > WK_IMAGE_DATA_MAX)
        return 0;
    return WK_IMAGE_FIXED_BYTES + (guint64)header->data_len;
}

void
wk_image_look_clear(WkImageLook *self)
{
    g_clear_pointer(&self->xml, g_free);
    *self = (WkImageLook){ .kind = WK_IMAGE_ABSENT };
}

/* The XML is the string at the start of the data; NULL when there is none that is text. */
static char *
take_xml(const char *data, gsize length)
{
    const char *end = memchr(data, '\0', length);

    if (end == NULL || end == data || !g_utf8_validate(data, end - data, NULL))
        return NULL;
    return g_strndup(data, (gsize)(end - data));
}

static gboolean
look_at_header(int fd, const char *path, const WkImageHeader *header, WkImageLook *look,
               GError **error)
{
    const guint64 length = wk_image_header_bytes(header);
    g_autofree char *whole = NULL;

    if (length == 0 || length > look->file.size_bytes)
        return TRUE; /* final, but not readable: header_bytes stays 0 */
    whole = g_malloc(length);
    if (!wk_files_read_at(fd, whole, length, 0, path, error))
        return FALSE;
    if (memcmp(whole, header, sizeof *header) != 0) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' changed while it was read", path);
        return FALSE;
    }
    look->header_bytes = length;
    look->was_running = header->was_running != 0;
    look->xml = take_xml(whole + WK_IMAGE_FIXED_BYTES, header->data_len);
    wk_hasher_format(XXH3_128bits(whole, length), look->header_digest);
    return TRUE;
}

/* Its XML says whose save it was to be, if it came that far. It may just be written. */
static void
look_at_unfinished(int fd, const char *path, const WkImageHeader *header, WkImageLook *look)
{
    (void)look_at_header(fd, path, header, look, NULL);
    look->header_bytes = 0;
    look->header_digest[0] = '\0';
    look->was_running = FALSE;
}

static WkImageKind
kind_of(const WkImageHeader *header, guint64 size_bytes)
{
    if (size_bytes == sizeof *header && wk_guard_is_header(header))
        return WK_IMAGE_GUARD;
    if (has_magic(header->magic, wk_image_magic_partial))
        return WK_IMAGE_PARTIAL;
    return has_magic(header->magic, wk_image_magic_final) ? WK_IMAGE_FINAL : WK_IMAGE_FOREIGN;
}

static gboolean
look_at_file(int fd, const char *path, WkImageLook *look, GError **error)
{
    WkImageHeader header;

    if (look->file.size_bytes < sizeof header) {
        look->kind = WK_IMAGE_PARTIAL; /* F12: whatever it holds, libvirt drops it */
        return TRUE;
    }
    if (!wk_files_read_at(fd, &header, sizeof header, 0, path, error))
        return FALSE;
    look->kind = kind_of(&header, look->file.size_bytes);
    if (look->kind == WK_IMAGE_PARTIAL)
        look_at_unfinished(fd, path, &header, look);
    return look->kind != WK_IMAGE_FINAL || look_at_header(fd, path, &header, look, error);
}

gboolean
wk_image_look(const char *path, WkImageLook *look, GError **error)
{
    g_auto(WkPlace) place = WK_PLACE_INIT;
    g_auto(WkImageLook) seen = { .kind = WK_IMAGE_ABSENT };
    g_autoptr(GError) complaint = NULL;
    WK_AUTO_FD int fd = -1;
    struct stat st;

    wk_image_look_clear(look);
    if (wk_place_open(path, &place, &complaint))
        fd = wk_place_open_file(&place, O_RDONLY, &st, &complaint);
    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_NOT_FOUND))
        return TRUE;
    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_CONFLICT)) {
        wk_file_id_from_stat(&st, &look->file);
        look->kind = WK_IMAGE_FOREIGN;
        return TRUE;
    }
    if (complaint != NULL) {
        g_propagate_error(error, g_steal_pointer(&complaint));
        return FALSE;
    }
    wk_file_id_from_stat(&st, &seen.file);
    if (!look_at_file(fd, path, &seen, error))
        return FALSE;
    *look = seen;
    seen.xml = NULL;
    return TRUE;
}

gboolean
wk_image_open_inode(const char *path, const WkFileId *file, int flags, int *fd, GError **error)
{
    g_auto(WkPlace) place = WK_PLACE_INIT;
    g_autoptr(GError) complaint = NULL;
    WK_AUTO_FD int opened = -1;
    WkFileId now;
    struct stat st;

    if (wk_place_open(path, &place, &complaint))
        opened = wk_place_open_file(&place, flags, &st, &complaint);
    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_NOT_FOUND)
        || g_error_matches(complaint, WK_ERROR, WK_ERROR_CONFLICT))
        return TRUE;
    if (complaint != NULL) {
        g_propagate_error(error, g_steal_pointer(&complaint));
        return FALSE;
    }
    wk_file_id_from_stat(&st, &now);
    if (wk_file_id_same_inode(&now, file))
        *fd = g_steal_fd(&opened);
    return TRUE;
}

gboolean
wk_image_kill(const char *path, const WkFileId *file, GError **error)
{
    WK_AUTO_FD int fd = -1;
    WkImageHeader header = { .magic = "" };

    if (!wk_image_open_inode(path, file, O_RDWR, &fd, error))
        return FALSE;
    if (fd < 0)
        return TRUE;
    if (pread(fd, &header, sizeof header, 0) < 0) {
        wk_error_set_errno(error, errno, "reading '%s'", path);
        return FALSE;
    }
    /* a guard that is called partial would be no guard any more (I4) */
    if (wk_guard_is_header(&header)
        || (!has_magic(header.magic, wk_image_magic_final)
            && !has_magic(header.magic, wk_image_magic_partial)))
        return TRUE;
    return wk_files_write_at(fd, wk_image_magic_partial, WK_IMAGE_MAGIC_BYTES, 0, path, error);
}

gboolean
wk_image_sync(const char *path, const WkFileId *file, GError **error)
{
    WK_AUTO_FD int fd = -1;

    if (!wk_image_open_inode(path, file, O_RDONLY, &fd, error))
        return FALSE;
    return fd < 0 || wk_files_sync(fd, path, error);
}

static gpointer
free_file(gpointer data)
{
    WK_AUTO_FD int fd = GPOINTER_TO_INT(data);

    if (ftruncate(fd, 0) < 0)
        g_debug("freeing an image: %s", g_strerror(errno)); /* closing frees it, too */
    return NULL;
}

/* The file system takes an image's blocks and cached pages back when its last descriptor closes: a
 * sixth of a second for 800 MB, and whoever removes its folder meanwhile waits as well. No guest
 * has to wait for that before it may run: the name is gone, and its durability is about the folder.
 * Truncated first, because then the close is short. A file that has another name is left as it is.
 */
static void
free_elsewhere(int fd)
{
    GThread *thread = NULL;
    struct stat st;

    if (fstat(fd, &st) == 0 && st.st_nlink == 0)
        thread = g_thread_try_new("wk-free", free_file, GINT_TO_POINTER(fd), NULL);
    if (thread != NULL)
        g_thread_unref(thread);
    else
        wk_files_auto_close(&fd);
}

gboolean
wk_image_unlink(const char *path, const WkFileId *file, GError **error)
{
    g_auto(WkPlace) place = WK_PLACE_INIT;
    g_autoptr(GError) complaint = NULL;
    WK_AUTO_FD int fd = -1;
    WkFileId now;
    struct stat st;

    if (wk_place_open(path, &place, &complaint))
        fd = wk_place_open_file(&place, O_RDWR, &st, &complaint);
    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_NOT_FOUND))
        return TRUE;
    if (complaint != NULL) {
        g_propagate_error(error, g_steal_pointer(&complaint));
        return FALSE;
    }
    wk_file_id_from_stat(&st, &now);
    if ((file == NULL || !wk_file_id_same_inode(&now, file))
        && !wk_guard_is_at(fd, now.size_bytes)) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is not ours: left alone", path);
        return FALSE;
    }
    /* as late as can be: what goes must be what was looked at (R6) */
    if (!wk_place_is_inode(&place, &st)) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' was replaced: left alone", path);
        return FALSE;
    }
    if (unlinkat(place.folder_fd, place.name, 0) < 0 && errno != ENOENT) {
        wk_error_set_errno(error, errno, "removing '%s'", path);
        return FALSE;
    }
    free_elsewhere(g_steal_fd(&fd));
    return TRUE;
}

static gboolean
fail_link(int errnum, const char *from, const char *to, GError **error)
{
    if (errnum == EXDEV)
        wk_error_set(
            error, WK_ERROR_REFUSED, "VaultOnOtherFileSystem",
            "can't link '%s' as '%s': they are on two file systems, or on two mounts of one", from,
            to);
    else
        wk_error_set_errno(error, errnum, "linking '%s' as '%s'", from, to);
    return FALSE;
}

gboolean
wk_image_link(const char *from, const char *to, GError **error)
{
    g_auto(WkPlace) source = WK_PLACE_INIT;
    g_auto(WkPlace) target = WK_PLACE_INIT;
    WK_AUTO_FD int fd = -1;
    struct stat st;
    gboolean made;

    if (!wk_place_open(from, &source, error) || !wk_place_open(to, &target, error))
        return FALSE;
    fd = wk_place_open_file(&source, O_RDONLY, &st, error);
    if (fd < 0)
        return FALSE;
    made = linkat(source.folder_fd, source.name, target.folder_fd, target.name, 0) == 0;
    if (!made && errno != EEXIST)
        return fail_link(errno, from, to, error);
    if (wk_place_is_inode(&target, &st))
        return TRUE;
    /* either something else was there, or the source was replaced under our hands */
    if (made)
        (void)unlinkat(target.folder_fd, target.name, 0);
    wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is not the file '%s'", to, from);
    return FALSE;
}
