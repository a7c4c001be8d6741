/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/launcher_image.h"

#include "base/error.h"
#include "vault/image_private.h"
#include "vault/place.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define SUFFIX      ".wukong-image"
#define SLACK_BYTES (G_GUINT64_CONSTANT(64) * 1024 * 1024)

/* Opens H, which must be @file's inode. */
static int
open_hold(const char *hold, const WkFileId *file, int flags, GError **error)
{
    WK_AUTO_FD int fd = -1;

    if (!wk_image_open_inode(hold, file, flags, &fd, error))
        return -1;
    if (fd < 0)
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is not the image that it was", hold);
    return g_steal_fd(&fd);
}

static gboolean
make_hold(const WkPlace *hold, const WkPlace *managed, WkFileId *file, GError **error)
{
    WK_AUTO_FD int fd =
        wk_files_open_at(hold->folder_fd, hold->name, O_WRONLY | O_CREAT | O_EXCL, error);
    struct stat st;

    if (fd < 0 || !wk_place_adopt(managed, fd, error))
        return FALSE;
    if (fstat(fd, &st) < 0) {
        wk_error_set_errno(error, errno, "looking at '%s'", hold->path);
        return FALSE;
    }
    wk_file_id_from_stat(&st, file);
    return TRUE;
}

gboolean
wk_launcher_image_create(const char *hold, const char *managed, WkFileId *file, GError **error)
{
    g_auto(WkPlace) source = WK_PLACE_INIT;
    g_auto(WkPlace) target = WK_PLACE_INIT;
    struct stat st;

    if (!wk_place_open(hold, &source, error) || !wk_place_open(managed, &target, error))
        return FALSE;
    if (fstatat(source.folder_fd, source.name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is there already", hold);
        return FALSE;
    }
    if (make_hold(&source, &target, file, error))
        return TRUE;
    (void)unlinkat(source.folder_fd, source.name, 0); /* half made, in a folder of ours */
    return FALSE;
}

static void
set_other_file_system(GError **error, const char *hold, const char *managed)
{
    wk_error_set(error, WK_ERROR_REFUSED, "VaultOnOtherFileSystem",
                 "can't link '%s' as '%s': they are on two file systems, two mounts of one, or "
                 "under two project quotas; set vault-dir in [kubevirt] to a folder on the "
                 "kubelet's file system",
                 hold, managed);
}

gboolean
wk_launcher_image_link(const char *hold, const char *managed, GError **error)
{
    g_autoptr(GError) complaint = NULL;

    if (wk_image_link(hold, managed, &complaint))
        return TRUE;
    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_REFUSED))
        set_other_file_system(error, hold, managed);
    else
        g_propagate_error(error, g_steal_pointer(&complaint));
    return FALSE;
}

/* A lease that is broken sends SIGIO, which would end the agent; SIGURG is ignored. */
static gboolean
check_no_writer(int fd, const char *hold, GError **error)
{
    if (fcntl(fd, F_SETSIG, SIGURG) == 0 && fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        (void)fcntl(fd, F_SETLEASE, F_UNLCK);
        return TRUE;
    }
    if (errno == EAGAIN)
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "ImageInUse",
                     "somebody still has '%s' open for writing", hold);
    else
        wk_error_set_errno(error, errno, "asking who writes '%s'", hold);
    return FALSE;
}

static gboolean
check_claimed(int fd, const char *hold, guint64 memory_kib, GError **error)
{
    const guint64 memory_bytes = MIN(memory_kib, G_MAXUINT64 / 2048) * 1024;
    const guint64 limit_bytes = memory_bytes + memory_bytes / 10 + SLACK_BYTES;
    struct stat st;

    if (fstat(fd, &st) < 0) {
        wk_error_set_errno(error, errno, "looking at '%s'", hold);
        return FALSE;
    }
    if ((guint64)st.st_size >= WK_IMAGE_FIXED_BYTES && (guint64)st.st_size <= limit_bytes
        && st.st_nlink <= 2)
        return TRUE;
    wk_error_set(error, WK_ERROR_CORRUPT, "ImageCorrupt",
                 "'%s' has %" G_GINT64_FORMAT " bytes and %u names: that is no image of a guest "
                 "with %" G_GUINT64_FORMAT " KiB of memory",
                 hold, (gint64)st.st_size, (guint)st.st_nlink, memory_kib);
    return FALSE;
}

gboolean
wk_launcher_image_claim(const char *hold, const WkFileId *file, guint64 memory_kib, GError **error)
{
    g_autoptr(GError) complaint = NULL;
    WK_AUTO_FD int fd = open_hold(hold, file, O_RDONLY, &complaint);

    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_CONFLICT)) {
        wk_error_set(error, WK_ERROR_CORRUPT, "ImageCorrupt", "%s", complaint->message);
        return FALSE;
    }
    if (fd < 0) {
        g_propagate_error(error, g_steal_pointer(&complaint));
        return FALSE;
    }
    /* root's before the lease is asked for: nobody in the pod can open it anew then */
    if (fchown(fd, 0, 0) < 0 || fchmod(fd, 0400) < 0) {
        wk_error_set_errno(error, errno, "taking '%s' from the pod", hold);
        return FALSE;
    }
    return check_no_writer(fd, hold, error) && check_claimed(fd, hold, memory_kib, error);
}

gboolean
wk_launcher_image_give(const char *hold, const char *managed, const WkFileId *file, GError **error)
{
    g_auto(WkPlace) target = WK_PLACE_INIT;
    WK_AUTO_FD int fd = -1;

    if (!wk_place_open(managed, &target, error))
        return FALSE;
    fd = open_hold(hold, file, O_RDONLY, error);
    return fd >= 0 && wk_place_adopt(&target, fd, error);
}

/* @done: M is the image already. */
static gboolean
check_target(const WkPlace *target, const WkFileId *file, gboolean *done, GError **error)
{
    g_autoptr(GError) complaint = NULL;
    WK_AUTO_FD int fd = -1;
    WkFileId there;
    struct stat st;

    fd = wk_place_open_file(target, O_RDONLY, &st, &complaint);
    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_NOT_FOUND))
        return TRUE;
    if (fd < 0) {
        g_propagate_error(error, g_steal_pointer(&complaint));
        return FALSE;
    }
    wk_file_id_from_stat(&st, &there);
    *done = wk_file_id_same_inode(&there, file);
    if (*done || wk_guard_is_at(fd, there.size_bytes))
        return TRUE;
    wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' is another file: left alone", target->path);
    return FALSE;
}

static gboolean
drop_draft(const WkPlace *draft, GError **error)
{
    if (unlinkat(draft->folder_fd, draft->name, 0) == 0 || errno == ENOENT)
        return TRUE;
    wk_error_set_errno(error, errno, "removing an old '%s'", draft->path);
    return FALSE;
}

static gboolean
put(const WkPlace *draft, const WkPlace *target, const WkFileId *file, GError **error)
{
    const struct stat image = { .st_dev = (dev_t)file->dev, .st_ino = (ino_t)file->inode };

    if (!wk_place_is_inode(draft, &image)) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' was replaced", draft->path);
        return FALSE;
    }
    if (renameat(draft->folder_fd, draft->name, target->folder_fd, target->name) < 0) {
        wk_error_set_errno(error, errno, "putting the image at '%s'", target->path);
        return FALSE;
    }
    if (wk_place_is_inode(target, &image))
        return TRUE;
    wk_error_set(error, WK_ERROR_CONFLICT, NULL, "'%s' was replaced", target->path);
    return FALSE;
}

gboolean
wk_launcher_image_stage(const char *hold, const char *managed, const WkFileId *file, GError **error)
{
    g_autofree char *name = g_strconcat(managed, SUFFIX, NULL);
    g_auto(WkPlace) source = WK_PLACE_INIT;
    g_auto(WkPlace) target = WK_PLACE_INIT;
    g_auto(WkPlace) draft = WK_PLACE_INIT;
    WK_AUTO_FD int fd = open_hold(hold, file, O_RDONLY, error);
    gboolean done = FALSE;

    if (fd < 0 || !wk_place_open(hold, &source, error) || !wk_place_open(managed, &target, error)
        || !wk_place_open(name, &draft, error) || !drop_draft(&draft, error)
        || !check_target(&target, file, &done, error))
        return FALSE;
    if (done)
        return TRUE;
    if (linkat(source.folder_fd, source.name, draft.folder_fd, draft.name, 0) == 0)
        return put(&draft, &target, file, error);
    if (errno == EXDEV)
        set_other_file_system(error, hold, managed);
    else
        wk_error_set_errno(error, errno, "linking '%s' as '%s'", hold, name);
    return FALSE;
}

gboolean
wk_launcher_image_empty(const char *path, const WkFileId *file, GError **error)
{
    WK_AUTO_FD int fd = -1;

    if (!wk_image_open_inode(path, file, O_RDWR, &fd, error))
        return FALSE;
    if (fd < 0 || ftruncate(fd, 0) == 0)
        return TRUE;
    wk_error_set_errno(error, errno, "emptying '%s'", path);
    return FALSE;
}
