/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/image_private.h"
#include "vault/place.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SUFFIX ".wukong-guard"

static void
fill_guard(guint8 *bytes)
{
    memset(bytes, 0, WK_IMAGE_FIXED_BYTES);
    memcpy(bytes, wk_image_magic_guard, WK_IMAGE_MAGIC_BYTES);
}

gboolean
wk_guard_is_at(int fd, guint64 size_bytes)
{
    guint8 expected[WK_IMAGE_FIXED_BYTES];
    guint8 found[WK_IMAGE_FIXED_BYTES];

    if (size_bytes != sizeof expected)
        return FALSE;
    fill_guard(expected);
    return wk_files_read_at(fd, found, sizeof found, 0, "guard", NULL)
           && memcmp(found, expected, sizeof expected) == 0;
}

static gboolean
open_draft(const char *path, WkPlace *draft, GError **error)
{
    g_autofree char *name = g_strconcat(path, SUFFIX, NULL);

    return wk_place_open(name, draft, error);
}

gboolean
wk_guard_write(const char *path, GError **error)
{
    g_auto(WkPlace) draft = WK_PLACE_INIT;
    WK_AUTO_FD int fd = -1;
    guint8 bytes[WK_IMAGE_FIXED_BYTES];

    if (!open_draft(path, &draft, error))
        return FALSE;
    if (unlinkat(draft.folder_fd, draft.name, 0) < 0 && errno != ENOENT) {
        wk_error_set_errno(error, errno, "removing an old '%s'", draft.path);
        return FALSE;
    }
    fd = wk_files_open_at(draft.folder_fd, draft.name, O_WRONLY | O_CREAT | O_EXCL, error);
    if (fd < 0 || (wk_files_is_distrusted(path) && !wk_place_adopt(&draft, fd, error)))
        return FALSE;
    fill_guard(bytes);
    return wk_files_write_at(fd, bytes, sizeof bytes, 0, draft.path, error);
}

gboolean
wk_guard_sync(const char *path, GError **error)
{
    g_auto(WkPlace) draft = WK_PLACE_INIT;
    WK_AUTO_FD int fd = -1;
    struct stat st;

    if (!open_draft(path, &draft, error))
        return FALSE;
    fd = wk_place_open_file(&draft, O_RDONLY, &st, error);
    return fd >= 0 && wk_files_sync(fd, draft.path, error);
}

gboolean
wk_guard_rename(const char *path, GError **error)
{
    g_auto(WkPlace) draft = WK_PLACE_INIT;
    g_auto(WkPlace) place = WK_PLACE_INIT;
    WK_AUTO_FD int fd = -1;
    struct stat st;

    if (!open_draft(path, &draft, error) || !wk_place_open(path, &place, error))
        return FALSE;
    fd = wk_place_open_file(&draft, O_RDONLY, &st, error);
    if (fd < 0)
        return FALSE;
    /* an empty file in M's place would make libvirt boot cold (F12, I4) */
    if (!wk_guard_is_at(fd, (guint64)st.st_size)) {
        wk_error_set(error, WK_ERROR_CORRUPT, NULL, "'%s' is no whole guard", draft.path);
        return FALSE;
    }
    if (renameat(draft.folder_fd, draft.name, place.folder_fd, place.name) == 0)
        return TRUE;
    wk_error_set_errno(error, errno, "putting a guard at '%s'", path);
    return FALSE;
}
