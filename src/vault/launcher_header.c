/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "vault/image_private.h"
#include "vault/launcher_image.h"
#include "vault/place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* The parts of a header's bytes. The cookie is libvirt's (CPU, slirp): a string of its own behind
 * the XML, at an offset from the XML's start that the header tells. */
typedef struct {
    WkImageHeader fixed;
    const char *xml;
    gsize xml_length;
    const char *cookie; /* NULL: none */
    gsize cookie_length;
} Parts;

/* Returns: the length of the string in [@from, @to) of @data, or -1 when no NUL ends it. */
static gssize
string_length(const char *data, gsize from, gsize to)
{
    const char *end = from < to ? memchr(data + from, '\0', to - from) : NULL;

    return end != NULL ? end - (data + from) : -1;
}

static gboolean
split_data(const char *data, Parts *parts)
{
    const gsize length = parts->fixed.data_len;
    const gsize border = parts->fixed.cookie_offset;
    gssize found = string_length(data, 0, border != 0 ? border : length);

    if (border >= length || found <= 0 || !g_utf8_validate(data, found, NULL))
        return FALSE;
    parts->xml = data;
    parts->xml_length = (gsize)found;
    if (border == 0)
        return TRUE;
    found = string_length(data, border, length);
    parts->cookie = data + border;
    parts->cookie_length = (gsize)found;
    return found >= 0;
}

static gboolean
split(GBytes *header, Parts *parts, GError **error)
{
    gsize length;
    const char *bytes = g_bytes_get_data(header, &length);

    *parts = (Parts){ .xml = NULL };
    if (length >= sizeof parts->fixed)
        memcpy(&parts->fixed, bytes, sizeof parts->fixed);
    if (length >= sizeof parts->fixed
        && memcmp(bytes, wk_image_magic_final, WK_IMAGE_MAGIC_BYTES) == 0
        && wk_image_header_bytes(&parts->fixed) == length
        && split_data(bytes + sizeof parts->fixed, parts))
        return TRUE;
    wk_error_set(error, WK_ERROR_CORRUPT, "ImageCorrupt",
                 "the image's header is not what libvirt writes");
    return FALSE;
}

/* Opens @path, which must be @file's inode and as long. */
static int
open_image(const char *path, const WkFileId *file, int flags, GError **error)
{
    WK_AUTO_FD int fd = -1;
    struct stat st;

    if (!wk_image_open_inode(path, file, flags, &fd, error))
        return -1;
    if (fd >= 0 && fstat(fd, &st) == 0 && (guint64)st.st_size == file->size_bytes)
        return g_steal_fd(&fd);
    wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is not the image that it was", path);
    return -1;
}

/* The fixed part; only a final image has one. */
static gboolean
read_fixed(int fd, const char *path, const WkFileId *file, WkImageHeader *fixed, GError **error)
{
    if (!wk_files_read_at(fd, fixed, sizeof *fixed, 0, path, error))
        return FALSE;
    if (memcmp(fixed->magic, wk_image_magic_final, WK_IMAGE_MAGIC_BYTES) != 0) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is no finished image, or a dead one",
                     path);
        return FALSE;
    }
    if (wk_image_header_bytes(fixed) != 0 && wk_image_header_bytes(fixed) <= file->size_bytes)
        return TRUE;
    wk_error_set(error, WK_ERROR_CORRUPT, "ImageCorrupt", "'%s' has no header that can be read",
                 path);
    return FALSE;
}

GBytes *
wk_launcher_header_read(const char *path, const WkFileId *file, GError **error)
{
    WK_AUTO_FD int fd = open_image(path, file, O_RDONLY, error);
    g_autofree guint8 *bytes = NULL;
    g_autoptr(GBytes) header = NULL;
    WkImageHeader fixed;
    Parts parts;
    gsize length;

    if (fd < 0 || !read_fixed(fd, path, file, &fixed, error))
        return NULL;
    length = (gsize)wk_image_header_bytes(&fixed);
    bytes = g_malloc(length);
    if (!wk_files_read_at(fd, bytes, length, 0, path, error))
        return NULL;
    header = g_bytes_new_take(g_steal_pointer(&bytes), length);
    return split(header, &parts, error) ? g_steal_pointer(&header) : NULL;
}

char *
wk_launcher_header_get_xml(GBytes *header, GError **error)
{
    Parts parts;

    return split(header, &parts, error) ? g_strndup(parts.xml, parts.xml_length) : NULL;
}

GBytes *
wk_launcher_header_with_xml(GBytes *header, const char *xml, GError **error)
{
    const gsize xml_bytes = strlen(xml) + 1;
    WkImageHeader fixed;
    g_autofree char *bytes = NULL;
    Parts parts;
    gsize cookie_bytes;

    if (!split(header, &parts, error))
        return NULL;
    cookie_bytes = parts.cookie != NULL ? parts.cookie_length + 1 : 0;
    if (xml_bytes == 1 || xml_bytes + cookie_bytes > parts.fixed.data_len) {
        wk_error_set(error, WK_ERROR_REFUSED, "ImageXmlTooLong",
                     "the guest's new XML has %" G_GSIZE_FORMAT
                     " bytes, and its image has room for %" G_GSIZE_FORMAT,
                     xml_bytes, parts.fixed.data_len - cookie_bytes);
        return NULL;
    }
    fixed = parts.fixed;
    fixed.was_running = 0;
    fixed.cookie_offset = parts.cookie != NULL ? (guint32)xml_bytes : 0;
    bytes = g_malloc0(sizeof fixed + fixed.data_len);
    memcpy(bytes, &fixed, sizeof fixed);
    memcpy(bytes + sizeof fixed, xml, xml_bytes);
    if (parts.cookie != NULL)
        memcpy(bytes + sizeof fixed + xml_bytes, parts.cookie, cookie_bytes);
    return g_bytes_new_take(g_steal_pointer(&bytes), sizeof fixed + fixed.data_len);
}

void
wk_launcher_header_digest(GBytes *header, char *digest)
{
    gsize length;
    const void *bytes = g_bytes_get_data(header, &length);

    wk_hasher_format(XXH3_128bits(bytes, length), digest);
}

/* C holds the time of the save: what is newer than it is a disk that somebody wrote to. */
static gboolean
set_time(int fd, const char *path, gint64 mtime_ns, GError **error)
{
    const struct timespec times[] = {
        { .tv_nsec = UTIME_OMIT },
        { .tv_sec = (time_t)(mtime_ns / 1000000000), .tv_nsec = (long)(mtime_ns % 1000000000) },
    };

    if (futimens(fd, times) == 0)
        return TRUE;
    wk_error_set_errno(error, errno, "setting the time of '%s'", path);
    return FALSE;
}

gboolean
wk_launcher_header_write(const char *path, const WkFileId *file, GBytes *header, GError **error)
{
    WK_AUTO_FD int fd = open_image(path, file, O_RDWR, error);
    WkImageHeader fixed;
    Parts parts;
    gsize length;
    const void *bytes = g_bytes_get_data(header, &length);

    if (fd < 0 || !split(header, &parts, error) || !read_fixed(fd, path, file, &fixed, error))
        return FALSE;
    if (fixed.data_len != parts.fixed.data_len) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "the header is of another image than '%s'",
                     path);
        return FALSE;
    }
    return wk_files_write_at(fd, bytes, length, 0, path, error)
           && set_time(fd, path, file->mtime_ns, error);
}
