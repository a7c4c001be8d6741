/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden images: a guest booted once per machine and kind, saved, and woken as often as wanted
 * under other names. Waking a copy takes a second where booting under TCG takes five.
 *
 * A copy gets another name, UUID and paths by a new XML in its header (the libvirt in use refuses
 * to change those): magic, u32 version, length of XML and cookie, was-running, compression,
 * offset of the cookie, in all 92 bytes; then XML, NUL, cookie; zeros up to the length; the body.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lab-private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#define GOLDEN        "golden-guest"
#define SETTLED_TICKS 5
#define HEADER_BYTES  92
#define HEADER_MAX    (1024 * 1024)
#define OLD_SECONDS   (14 * 24 * 3600)
#define BOOT_MS       120000

typedef struct {
    char magic[16];
    guint32 version;
    guint32 data_length;
    guint32 was_running;
    guint32 compressed;
    guint32 cookie_offset;
    guint32 unused[14];
} ImageHeader;

G_STATIC_ASSERT(sizeof(ImageHeader) == HEADER_BYTES);

char *
lab_cache_dir(const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(g_get_user_cache_dir(), "wukong", name, NULL);

    if (g_mkdir_with_parents(path, 0755) != 0) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", path, g_strerror(errno));
        return NULL;
    }
    return g_steal_pointer(&path);
}

static gboolean
checksum_file(GChecksum *sum, const char *path, GError **error)
{
    g_autofree char *content = NULL;
    gsize length;

    if (!g_file_get_contents(path, &content, &length, error))
        return FALSE;
    g_checksum_update(sum, (const guchar *)content, (gssize)length);
    return TRUE;
}

/* Everything that decides whether a saved image can be woken again, as a file name. */
static char *
golden_key(const LabGuestOptions *options, GError **error)
{
    g_autofree char *xml = lab_guest_xml(GOLDEN, options);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    virConnectPtr connection = lab_own_connection(error);
    unsigned long versions[2];

    if (connection == NULL || !checksum_file(sum, LAB_KERNEL, error)
        || !checksum_file(sum, LAB_INITRAMFS, error))
        return NULL;
    if (virConnectGetVersion(connection, &versions[0]) < 0
        || virConnectGetLibVersion(connection, &versions[1]) < 0) {
        lab_error_set_from_libvirt(error, "asking for versions");
        return NULL;
    }
    g_checksum_update(sum, (const guchar *)versions, sizeof versions);
    g_checksum_update(sum, (const guchar *)xml, -1);
    return g_strndup(g_checksum_get_string(sum), 24);
}

static gboolean
set_errno_error(GError **error, const char *path)
{
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", path, g_strerror(errno));
    return FALSE;
}

static gboolean
copy_image(const char *from, const char *to, GError **error)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t n;

    do
        n = sendfile(out, in, NULL, 1 << 24);
    while (n > 0);
    if (n < 0 || in < 0 || out < 0)
        set_errno_error(error, in < 0 ? from : to);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return n == 0;
}

static char *
replace_all(const char *text, const char *from, const char *to)
{
    g_auto(GStrv) parts = g_strsplit(text, from, -1);

    return g_strjoinv(to, parts);
}

/* XML of the golden guest -> XML of @name. */
static char *
rename_xml(const char *xml, const char *name)
{
    g_autofree char *old_uuid = lab_guest_uuid(GOLDEN);
    g_autofree char *new_uuid = lab_guest_uuid(name);
    g_autofree char *other_id = replace_all(xml, old_uuid, new_uuid);

    return replace_all(other_id, GOLDEN, name);
}

/* @data: XML, NUL, cookie, zeros; changed in place. */
static gboolean
rewrite_data(ImageHeader *header, char *data, const char *name, GError **error)
{
    gsize old_length = strlen(data) + 1;
    gsize cookie_at = header->cookie_offset != 0 ? header->cookie_offset : old_length;
    g_autofree char *cookie = g_strdup(cookie_at < header->data_length ? data + cookie_at : "");
    g_autofree char *xml = rename_xml(data, name);
    gsize length = strlen(xml) + 1;

    if (length + strlen(cookie) + 1 > header->data_length) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "no room for the XML of %s in the image",
                    name);
        return FALSE;
    }
    memset(data, 0, header->data_length);
    memcpy(data, xml, length);
    memcpy(data + length, cookie, strlen(cookie));
    if (header->cookie_offset != 0)
        header->cookie_offset = (guint32)length;
    return TRUE;
}

static gboolean
rewrite_image(int fd, const char *path, const char *name, GError **error)
{
    g_autofree char *data = NULL;
    ImageHeader header;

    if (pread(fd, &header, sizeof header, 0) != sizeof header
        || memcmp(header.magic, "LibvirtQemudSave", sizeof header.magic) != 0
        || header.data_length > HEADER_MAX) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s is not a saved image", path);
        return FALSE;
    }
    data = g_malloc0(header.data_length + 1);
    if (pread(fd, data, header.data_length, sizeof header) != (ssize_t)header.data_length)
        return set_errno_error(error, path);
    if (!rewrite_data(&header, data, name, error))
        return FALSE;
    if (pwrite(fd, &header, sizeof header, 0) != sizeof header
        || pwrite(fd, data, header.data_length, sizeof header) != (ssize_t)header.data_length)
        return set_errno_error(error, path);
    return TRUE;
}

/* Boots a guest here and saves it to @image; complete or not there at all. */
static gboolean
make_golden(const LabGuestOptions *options, const char *image, GError **error)
{
    LabGuestOptions plain = { .memory_mib = options->memory_mib, .disk = options->disk };
    g_autofree char *part = g_strdup_printf("%s.part", image);
    g_autoptr(virDomain) domain = NULL;

    if (!lab_guest_define(GOLDEN, &plain, error) || !lab_guest_create(GOLDEN, error)
        || !lab_guest_wait_tick_above(GOLDEN, SETTLED_TICKS, BOOT_MS, error))
        return FALSE;
    domain = lab_domain(GOLDEN, error);
    if (domain == NULL)
        return FALSE;
    if (virDomainSaveFlags(domain, part, NULL, 0) < 0) {
        lab_error_set_from_libvirt(error, "saving the golden guest");
        return FALSE;
    }
    if (!lab_guest_undefine(GOLDEN, error))
        return FALSE;
    return g_rename(part, image) == 0 || set_errno_error(error, image);
}

static void
drop_old_ones(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    struct stat st;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        if (*name != '.' && stat(path, &st) == 0
            && st.st_mtime + OLD_SECONDS < g_get_real_time() / G_USEC_PER_SEC)
            unlink(path);
    }
}

/* Returns: (transfer full): a golden image that fits, made now if there is none. */
static char *
find_golden(const LabGuestOptions *options, GError **error)
{
    g_autofree char *folder = lab_cache_dir("golden", error);
    g_autofree char *key = folder != NULL ? golden_key(options, error) : NULL;
    g_autofree char *image = key != NULL ? g_build_filename(folder, key, NULL) : NULL;
    g_autofree char *lock = key != NULL ? g_build_filename(folder, ".lock", NULL) : NULL;
    gboolean ok = image != NULL;
    int fd;

    if (!ok)
        return NULL;
    fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        flock(fd, LOCK_EX);
    if (g_file_test(image, G_FILE_TEST_EXISTS)) {
        g_utime(image, NULL); /* in use: not old */
    } else {
        drop_old_ones(folder);
        ok = make_golden(options, image, error);
    }
    if (fd >= 0)
        close(fd);
    return ok ? g_steal_pointer(&image) : NULL;
}

static gboolean
restore(const char *path, GError **error)
{
    virConnectPtr connection = lab_own_connection(error);

    if (connection == NULL)
        return FALSE;
    if (virDomainRestore(connection, path) < 0) {
        lab_error_set_from_libvirt(error, "waking a copy of the golden guest");
        return FALSE;
    }
    return TRUE;
}

gboolean
lab_golden_wake(const char *name, const LabGuestOptions *options, GError **error)
{
    g_autofree char *golden = find_golden(options, error);
    g_autofree char *copy = g_strdup_printf(LAB_GUESTS_DIR "/%s/golden.save", name);
    gboolean ok;
    int fd;

    if (golden == NULL || !copy_image(golden, copy, error))
        return FALSE;
    fd = open(copy, O_RDWR | O_CLOEXEC);
    ok = fd >= 0 && rewrite_image(fd, copy, name, error);
    if (fd >= 0)
        close(fd);
    ok = ok && restore(copy, error);
    unlink(copy);
    return ok && lab_guest_wait_ticking(name, LAB_WAIT_MS, error);
}
