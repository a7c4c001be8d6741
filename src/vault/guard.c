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

/* F13: from 11.3 on libvirt takes a foreign magic for a broken image, unlinks it and boots cold. An
 * image of a later version than it knows it refuses, and keeps, in every release. */
#define VERSION_OF_NOBODY G_MAXUINT32

/* Where no header has anything yet. */
static const char mark[] = { "WukongGuardImage" };

static void
fill_guard(WkImageHeader *guard)
{
    *guard = (WkImageHeader){ .version = VERSION_OF_NOBODY };
    memcpy(guard->magic, wk_image_magic_final, sizeof guard->magic);
    memcpy(guard->padding, mark, strlen(mark));
}

/* What earlier agents made: not made any more, but known, and so taken away or made anew. */
static void
fill_old_guard(WkImageHeader *guard)
{
    *guard = (WkImageHeader){ 0 };
    memcpy(guard->magic, mark, sizeof guard->magic);
}

gboolean
wk_guard_is_header(const WkImageHeader *header)
{
    WkImageHeader guard;
    WkImageHeader old;

    fill_guard(&guard);
    fill_old_guard(&old);
    return memcmp(header, &guard, sizeof guard) == 0 || memcmp(header, &old, sizeof old) == 0;
}

static gboolean
read_header(int fd, guint64 size_bytes, WkImageHeader *found)
{
    return size_bytes == sizeof *found
           && wk_files_read_at(fd, found, sizeof *found, 0, "guard", NULL);
}

gboolean
wk_guard_is_at(int fd, guint64 size_bytes)
{
    WkImageHeader found;

    return read_header(fd, size_bytes, &found) && wk_guard_is_header(&found);
}

static gboolean
is_whole(int fd, guint64 size_bytes)
{
    WkImageHeader expected;
    WkImageHeader found;

    fill_guard(&expected);
    return read_header(fd, size_bytes, &found) && memcmp(&found, &expected, sizeof found) == 0;
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
    WkImageHeader guard;

    if (!open_draft(path, &draft, error))
        return FALSE;
    if (unlinkat(draft.folder_fd, draft.name, 0) < 0 && errno != ENOENT) {
        wk_error_set_errno(error, errno, "removing an old '%s'", draft.path);
        return FALSE;
    }
    fd = wk_files_open_at(draft.folder_fd, draft.name, O_WRONLY | O_CREAT | O_EXCL, error);
    if (fd < 0 || (wk_files_is_distrusted(path) && !wk_place_adopt(&draft, fd, error)))
        return FALSE;
    fill_guard(&guard);
    return wk_files_write_at(fd, &guard, sizeof guard, 0, draft.path, error);
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
    if (!is_whole(fd, (guint64)st.st_size)) {
        wk_error_set(error, WK_ERROR_CORRUPT, NULL, "'%s' is no whole guard", draft.path);
        return FALSE;
    }
    if (renameat(draft.folder_fd, draft.name, place.folder_fd, place.name) == 0)
        return TRUE;
    wk_error_set_errno(error, errno, "putting a guard at '%s'", path);
    return FALSE;
}
