/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/vault.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "vault/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

#define IMAGE_NAME "image"
#define TRIAL_NAME ".wukong-link-test"
#define ID_NAME    ".wukong-vault"
#define ID_DRAFT   ".wukong-vault.new"
#define ID_LENGTH  36 /* a UUID */

struct _WkVault {
    char *dir;
    int fd;
    guint64 device;
    char *id; /* NULL: none yet */
};

/* Where an image could vanish with the power, be written behind our back by another machine, or
 * where a hard link and an fsync don't mean what the protocol needs them to mean. FUSE is among
 * them because nobody can say what is behind it. */
static const struct {
    guint32 type;
    const char *name;
} refused_types[] = {
    { NFS_SUPER_MAGIC, "NFS" },     { 0x517b, "SMB" },
    { 0xff534d42, "CIFS" },         { 0xfe534d42, "SMB" },
    { V9FS_MAGIC, "9p" },           { 0x65735546, "FUSE" },
    { 0x00c36400, "Ceph" },         { AFS_SUPER_MAGIC, "AFS" },
    { CODA_SUPER_MAGIC, "Coda" },   { OVERLAYFS_SUPER_MAGIC, "overlay" },
    { TMPFS_MAGIC, "tmpfs" },       { RAMFS_MAGIC, "ramfs" },
    { HUGETLBFS_MAGIC, "hugetlb" },
};

static gboolean
check_type(int fd, const char *dir, GError **error)
{
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0) {
        wk_error_set_errno(error, errno, "asking for the file system of '%s'", dir);
        return FALSE;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(refused_types); i++) {
        if ((guint32)fs.f_type != refused_types[i].type)
            continue;
        wk_error_set(error, WK_ERROR_REFUSED, "VaultFileSystem",
                     "'%s' is on %s: images need a local file system that outlives the power", dir,
                     refused_types[i].name);
        return FALSE;
    }
    return TRUE;
}

/* 0700 and ours, or refused: what lies here is the memory of guests. */
static gboolean
check_owner(int fd, const char *dir, guint64 *device, GError **error)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        wk_error_set_errno(error, errno, "looking at '%s'", dir);
        return FALSE;
    }
    *device = (guint64)st.st_dev;
    if (st.st_uid != geteuid()) {
        wk_error_set(error, WK_ERROR_REFUSED, "VaultOwner",
                     "'%s' belongs to user %u, not to this agent's user %u", dir, (guint)st.st_uid,
                     (guint)geteuid());
        return FALSE;
    }
    if ((st.st_mode & 07777) == 0700 || fchmod(fd, 0700) == 0)
        return TRUE;
    wk_error_set_errno(error, errno, "setting the mode of '%s'", dir);
    return FALSE;
}

static gboolean
make_dir(const char *dir, GError **error)
{
    g_autofree char *parent = NULL;

    if (g_mkdir(dir, 0700) == 0) {
        parent = g_path_get_dirname(dir);
        return wk_files_sync_folder(parent, error);
    }
    if (errno == EEXIST)
        return TRUE;
    wk_error_set_errno(error, errno, "making folder '%s'", dir);
    return FALSE;
}

/* @dir without slashes at its end, which would let O_NOFOLLOW follow a symlink. */
static char *
trim_dir(const char *dir)
{
    gsize length = strlen(dir);

    while (length > 1 && dir[length - 1] == '/')
        length--;
    return g_strndup(dir, length);
}

/* @id (transfer full): NULL when there is none, or one that was torn before anybody noted it. */
static gboolean
read_id(int folder_fd, char **id, GError **error)
{
    g_autoptr(GError) complaint = NULL;
    WK_AUTO_FD int fd = wk_files_open_at(folder_fd, ID_NAME, O_RDONLY, &complaint);
    char text[ID_LENGTH + 1] = { 0 };

    if (g_error_matches(complaint, WK_ERROR, WK_ERROR_NOT_FOUND))
        return TRUE;
    if (complaint != NULL) {
        g_propagate_error(error, g_steal_pointer(&complaint));
        return FALSE;
    }
    if (pread(fd, text, ID_LENGTH, 0) < 0) {
        wk_error_set_errno(error, errno, "reading '%s'", ID_NAME);
        return FALSE;
    }
    if (g_uuid_string_is_valid(text))
        *id = g_strdup(text);
    return TRUE;
}

static void
close_dir(DIR **dir)
{
    if (*dir != NULL)
        (void)closedir(*dir);
}

/* An agent that died between emptying a guest's folder and removing it left it. No guest is at work
 * yet, and a folder that holds something stays. */
static void
drop_empty_folders(WkVault *self)
{
    __attribute__((cleanup(close_dir))) DIR *entries = NULL;
    struct dirent *entry;
    int fd = openat(self->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    entries = fd >= 0 ? fdopendir(fd) : NULL;
    if (entries == NULL)
        wk_files_auto_close(&fd);
    while (entries != NULL && (entry = readdir(entries)) != NULL) {
        if (g_uuid_string_is_valid(entry->d_name))
            (void)unlinkat(self->fd, entry->d_name, AT_REMOVEDIR);
    }
}

WkVault *
wk_vault_open(const char *dir, gboolean any_fs, GError **error)
{
    g_autofree char *trimmed = trim_dir(dir);
    g_autofree char *id = NULL;
    WK_AUTO_FD int fd = -1;
    guint64 device;
    WkVault *self;

    if (!make_dir(trimmed, error))
        return NULL;
    fd = wk_files_open_folder(trimmed, error);
    if (fd < 0 || !check_owner(fd, trimmed, &device, error)
        || (!any_fs && !check_type(fd, trimmed, error)) || !read_id(fd, &id, error))
        return NULL;
    self = g_atomic_rc_box_new0(WkVault);
    self->dir = g_steal_pointer(&trimmed);
    self->fd = g_steal_fd(&fd);
    drop_empty_folders(self);
    self->device = device;
    self->id = g_steal_pointer(&id);
    return self;
}

WkVault *
wk_vault_ref(WkVault *self)
{
    return g_atomic_rc_box_acquire(self);
}

static void
vault_clear(gpointer data)
{
    WkVault *self = data;

    wk_files_auto_close(&self->fd);
    g_free(self->dir);
    g_free(self->id);
}

void
wk_vault_unref(WkVault *self)
{
    if (self != NULL)
        g_atomic_rc_box_release_full(self, vault_clear);
}

const char *
wk_vault_get_dir(WkVault *self)
{
    return self->dir;
}

const char *
wk_vault_get_id(WkVault *self)
{
    return self->id;
}

guint64
wk_vault_get_device(WkVault *self)
{
    return self->device;
}

static gboolean
write_id(WkVault *self, const char *id, GError **error)
{
    WK_AUTO_FD int fd = -1;

    (void)unlinkat(self->fd, ID_DRAFT, 0);
    fd = wk_files_open_at(self->fd, ID_DRAFT, O_WRONLY | O_CREAT | O_EXCL, error);
    if (fd < 0 || !wk_files_write_at(fd, id, ID_LENGTH, 0, "the vault's id", error)
        || !wk_files_sync(fd, "the vault's id", error))
        return FALSE;
    if (renameat(self->fd, ID_DRAFT, self->fd, ID_NAME) == 0)
        return wk_files_sync(self->fd, self->dir, error);
    wk_error_set_errno(error, errno, "giving '%s' an id", self->dir);
    return FALSE;
}

gboolean
wk_vault_make_id(WkVault *self, GError **error)
{
    g_autofree char *id = NULL;

    if (self->id != NULL)
        return TRUE;
    id = wk_clock_new_id();
    if (!write_id(self, id, error))
        return FALSE;
    self->id = g_steal_pointer(&id);
    return TRUE;
}

char *
wk_vault_hold_path(WkVault *self, const char *uuid)
{
    g_return_val_if_fail(g_uuid_string_is_valid(uuid), NULL);

    return g_build_filename(self->dir, uuid, IMAGE_NAME, NULL);
}

static int
open_guest_folder(WkVault *self, const char *uuid)
{
    return openat(self->fd, uuid, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

gboolean
wk_vault_make_folder(WkVault *self, const char *uuid, GError **error)
{
    g_autofree char *path = NULL;
    WK_AUTO_FD int fd = -1;
    guint64 device;

    g_return_val_if_fail(g_uuid_string_is_valid(uuid), FALSE);

    path = g_build_filename(self->dir, uuid, NULL);
    if (mkdirat(self->fd, uuid, 0700) < 0 && errno != EEXIST) {
        wk_error_set_errno(error, errno, "making folder '%s'", path);
        return FALSE;
    }
    fd = open_guest_folder(self, uuid);
    if (fd < 0) {
        wk_error_set_errno(error, errno, "opening folder '%s'", path);
        return FALSE;
    }
    /* synced also when it was there: whoever made it may have died before its sync */
    return check_owner(fd, path, &device, error) && wk_files_sync(self->fd, self->dir, error);
}

gboolean
wk_vault_sync_folder(WkVault *self, const char *uuid, GError **error)
{
    WK_AUTO_FD int fd = -1;

    g_return_val_if_fail(g_uuid_string_is_valid(uuid), FALSE);

    fd = open_guest_folder(self, uuid);
    if (fd < 0 && errno == ENOENT)
        return TRUE;
    if (fd < 0) {
        wk_error_set_errno(error, errno, "opening folder '%s' in '%s'", uuid, self->dir);
        return FALSE;
    }
    return wk_files_sync(fd, uuid, error);
}

void
wk_vault_drop_folder(WkVault *self, const char *uuid)
{
    g_return_if_fail(g_uuid_string_is_valid(uuid));

    (void)unlinkat(self->fd, uuid, AT_REMOVEDIR);
}

static gboolean
holds_image(WkVault *self, const char *uuid)
{
    g_autofree char *name = g_build_filename(uuid, IMAGE_NAME, NULL);
    struct stat st;

    return g_uuid_string_is_valid(uuid) && fstatat(self->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *
wk_vault_list(WkVault *self, GError **error)
{
    g_autoptr(GPtrArray) uuids = g_ptr_array_new_with_free_func(g_free);
    __attribute__((cleanup(close_dir))) DIR *entries = NULL;
    struct dirent *entry;
    int fd = openat(self->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    entries = fd >= 0 ? fdopendir(fd) : NULL;
    if (entries == NULL) {
        wk_error_set_errno(error, errno, "listing '%s'", self->dir);
        wk_files_auto_close(&fd);
        return NULL;
    }
    for (errno = 0; (entry = readdir(entries)) != NULL; errno = 0) {
        if (holds_image(self, entry->d_name))
            g_ptr_array_add(uuids, g_strdup(entry->d_name));
    }
    if (errno != 0) {
        wk_error_set_errno(error, errno, "listing '%s'", self->dir);
        return NULL;
    }
    g_ptr_array_sort(uuids, compare_names);
    return g_steal_pointer(&uuids);
}

static gboolean
fail_trial(WkVault *self, int errnum, const char *save_dir, GError **error)
{
    if (errnum == EXDEV)
        wk_error_set(error, WK_ERROR_REFUSED, "VaultOnOtherFileSystem",
                     "'%s' can't hold images of '%s': they are on two file systems, or a bind "
                     "mount lies between them",
                     self->dir, save_dir);
    else
        wk_error_set_errno(error, errnum, "trying a hard link from '%s' into '%s'", save_dir,
                           self->dir);
    return FALSE;
}

gboolean
wk_vault_try_link(WkVault *self, const char *save_dir, GError **error)
{
    g_autofree char *trimmed = trim_dir(save_dir);
    WK_AUTO_FD int folder = wk_files_open_folder(trimmed, error);
    WK_AUTO_FD int fd = -1;
    int errnum = 0;

    if (folder < 0)
        return FALSE;
    /* what an agent that died here has left */
    (void)unlinkat(folder, TRIAL_NAME, 0);
    (void)unlinkat(self->fd, TRIAL_NAME, 0);
    fd = wk_files_open_at(folder, TRIAL_NAME, O_WRONLY | O_CREAT | O_EXCL, error);
    if (fd < 0) {
        g_prefix_error(error, "in '%s': ", trimmed);
        return FALSE;
    }
    if (linkat(folder, TRIAL_NAME, self->fd, TRIAL_NAME, 0) < 0)
        errnum = errno;
    (void)unlinkat(folder, TRIAL_NAME, 0);
    (void)unlinkat(self->fd, TRIAL_NAME, 0);
    return errnum == 0 || fail_trial(self, errnum, trimmed, error);
}

gboolean
wk_vault_space(WkVault *self, guint64 *free_bytes, guint64 *size_bytes, GError **error)
{
    return wk_files_free_bytes(self->dir, free_bytes, size_bytes, error);
}
