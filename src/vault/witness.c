/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/witness.h"

#include "base/error.h"
#include "base/files.h"
#include "vault/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xxhash.h>

/* A TPM's state is a handful of files; more than this is not one. */
#define FOLDER_DEPTH_MAX 4
#define FOLDER_FILES_MAX 4096

/* Stands where a path would: a path begins with '/'. */
#define REMOTE_PREFIX "remote:"

/* In a pod a path is looked up inside the pod's root, and what is found there is held before it is
 * looked at. */
static gboolean
stat_in_root(int root_fd, const char *path, struct stat *st)
{
    WK_AUTO_FD int found = wk_files_open_in_root(root_fd, path, O_PATH);

    return found >= 0 && fstat(found, st) == 0;
}

/*
 * A path in a domain's XML may be a symlink (/dev/disk/by-id, a storage pool of links): it is
 * followed, what counts is what it leads to.
 */
static gboolean
stat_path(int root_fd, const char *path, struct stat *st, GError **error)
{
    if (root_fd < 0 ? stat(path, st) == 0 : stat_in_root(root_fd, path, st))
        return TRUE;
    if (errno == ENOENT)
        wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "disk '%s' is not there", path);
    else
        wk_error_set_errno(error, errno, "looking at disk '%s'", path);
    return FALSE;
}

static gboolean
check_kind(const struct stat *st, const char *path, GError **error)
{
    if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISBLK(st->st_mode))
        return TRUE;
    wk_error_set(error, WK_ERROR_REFUSED, NULL,
                 "disk '%s' is neither a file, a folder nor a block device", path);
    return FALSE;
}

/* Opens what was looked at, and nothing else that took its place. */
static int
open_in_root(int root_fd, const char *path, struct stat *st, GError **error)
{
    WK_AUTO_FD int found = wk_files_open_in_root(root_fd, path, O_PATH);
    int fd;

    if (found < 0 || fstat(found, st) < 0) {
        wk_error_set_errno(error, errno, "opening disk '%s'", path);
        return -1;
    }
    if (!check_kind(st, path, error))
        return -1;
    fd = wk_files_reopen(found, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        wk_error_set_errno(error, errno, "opening disk '%s'", path);
    return fd;
}

/* Opened, not only looked at: that is when a network file system asks its server again. */
static int
open_path(int root_fd, const char *path, struct stat *st, GError **error)
{
    WK_AUTO_FD int fd = -1;

    if (!stat_path(root_fd, path, st, error) || !check_kind(st, path, error))
        return -1;
    if (root_fd >= 0)
        return open_in_root(root_fd, path, st, error);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, st) < 0) {
        wk_error_set_errno(error, errno, "opening disk '%s'", path);
        return -1;
    }
    return g_steal_fd(&fd);
}

static void
close_dir(DIR **dir)
{
    if (*dir != NULL)
        (void)closedir(*dir);
}
#define AUTO_DIR __attribute__((cleanup(close_dir)))

/* What is done with every file below a folder: (folder, name, its lstat). */
typedef gboolean (*OnFile)(int folder_fd, const char *name, const struct stat *st, gpointer data,
                           GError **error);

typedef struct {
    const char *path;
    OnFile on_file;
    gpointer data;
    guint files_left;
} Walk;

static gboolean walk_folder(Walk *walk, int folder_fd, guint depth, GError **error);

static gboolean
walk_entry(Walk *walk, int folder_fd, const char *name, guint depth, GError **error)
{
    WK_AUTO_FD int fd = -1;
    struct stat st;

    if (g_str_equal(name, ".") || g_str_equal(name, ".."))
        return TRUE;
    if (depth == 0 || walk->files_left == 0) {
        wk_error_set(error, WK_ERROR_REFUSED, NULL, "folder '%s' holds too much to be a guest's",
                     walk->path);
        return FALSE;
    }
    walk->files_left--;
    if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        wk_error_set_errno(error, errno, "looking at '%s' in '%s'", name, walk->path);
        return FALSE;
    }
    if (!S_ISDIR(st.st_mode))
        return !S_ISREG(st.st_mode) || walk->on_file(folder_fd, name, &st, walk->data, error);
    fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        wk_error_set_errno(error, errno, "opening '%s' in '%s'", name, walk->path);
        return FALSE;
    }
    return walk_folder(walk, fd, depth - 1, error);
}

static gboolean
walk_folder(Walk *walk, int folder_fd, guint depth, GError **error)
{
    AUTO_DIR DIR *entries = NULL;
    struct dirent *entry;
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    entries = fd >= 0 ? fdopendir(fd) : NULL;
    if (entries == NULL) {
        wk_error_set_errno(error, errno, "listing '%s'", walk->path);
        wk_files_auto_close(&fd);
        return FALSE;
    }
    for (errno = 0; (entry = readdir(entries)) != NULL; errno = 0) {
        if (!walk_entry(walk, folder_fd, entry->d_name, depth, error))
            return FALSE;
    }
    if (errno != 0) {
        wk_error_set_errno(error, errno, "listing '%s'", walk->path);
        return FALSE;
    }
    return TRUE;
}

/* A folder is told by its newest file and by the sum of sizes; each file counts one byte more, so
 * that an empty one that comes or goes shows too. */
static gboolean
add_file(int folder_fd G_GNUC_UNUSED, const char *name G_GNUC_UNUSED, const struct stat *st,
         gpointer data, GError **error G_GNUC_UNUSED)
{
    WkFileId *file = data;

    file->mtime_ns = MAX(file->mtime_ns, wk_files_mtime_ns(st));
    file->size_bytes += (guint64)st->st_size + 1;
    return TRUE;
}

static gboolean
identify_folder(const char *path, int fd, const struct stat *st, WkFileId *file, GError **error)
{
    Walk walk = { path, add_file, file, FOLDER_FILES_MAX };

    *file = (WkFileId){ .dev = (guint64)st->st_dev, .inode = (guint64)st->st_ino };
    return walk_folder(&walk, fd, FOLDER_DEPTH_MAX, error);
}

/* Returns: (transfer full): the text of a file of @device in sysfs; NULL: none, or empty. */
static char *
read_device_file(dev_t device, const char *name)
{
    g_autofree char *path =
        g_strdup_printf("/sys/dev/block/%u:%u/%s", major(device), minor(device), name);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL) || *g_strstrip(text) == '\0')
        return NULL;
    return g_steal_pointer(&text);
}

/*
 * What a block device is called by something that outlives a reboot, as a number; 0 when sysfs
 * has nothing. Device numbers are given in the order in which disks turn up: after a reboot the
 * same logical volume may have another.
 */
static guint64
lasting_identity(dev_t device)
{
    static const char *const names[] = { "dm/uuid", "wwid", "device/wwid", "serial", "md/uuid" };
    g_autofree char *part = read_device_file(device, "partition");

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *name = g_strconcat(part != NULL ? "../" : "", names[i], NULL);
        g_autofree char *text = read_device_file(device, name);
        g_autofree char *full = NULL;

        if (text == NULL)
            continue;
        full = g_strconcat(text, part != NULL ? "-part" : "", part, NULL);
        return MAX(XXH3_64bits(full, strlen(full)), 1);
    }
    return 0;
}

static void
identify_device(const struct stat *st, WkFileId *file)
{
    *file = (WkFileId){ .dev = (guint64)st->st_rdev, .inode = lasting_identity(st->st_rdev) };
}

/* Returns: (transfer full): how @path looks now, or NULL. */
static WkWitness *
take_one(int root_fd, const char *path, GError **error)
{
    WK_AUTO_FD int fd = -1;
    WkFileId file = { 0 };
    struct stat st;

    if (!stat_path(root_fd, path, &st, error))
        return NULL;
    if (S_ISBLK(st.st_mode)) {
        identify_device(&st, &file);
        return wk_witness_new(path, TRUE, &file);
    }
    fd = open_path(root_fd, path, &st, error);
    if (fd < 0)
        return NULL;
    if (!S_ISDIR(st.st_mode))
        wk_file_id_from_stat(&st, &file);
    else if (!identify_folder(path, fd, &st, &file, error))
        return NULL;
    return wk_witness_new(path, FALSE, &file);
}

/* A disk without a path on this host (network, volume) leaves no trace here: it is only named, so
 * that `images` says "partial". */
static WkWitness *
take_remote(const WkDiskFact *disk)
{
    const WkFileId nothing = { 0 };
    g_autofree char *name = g_strconcat(REMOTE_PREFIX, disk->target, NULL);

    return wk_witness_new(name, TRUE, &nothing);
}

static gboolean
counts(const WkDiskFact *disk)
{
    return disk->path != NULL && !disk->readonly;
}

GPtrArray *
wk_witness_take_in(int root_fd, const WkFacts *facts, GError **error)
{
    g_autoptr(GPtrArray) witnesses = wk_witness_array_new();

    for (guint i = 0; i < facts->disks->len; i++) {
        const WkDiskFact *disk = g_ptr_array_index(facts->disks, i);
        WkWitness *witness = NULL;

        if (disk->readonly)
            continue;
        witness = counts(disk) ? take_one(root_fd, disk->path, error) : take_remote(disk);
        if (witness == NULL)
            return NULL;
        g_ptr_array_add(witnesses, witness);
    }
    return g_steal_pointer(&witnesses);
}

static gboolean
sync_file(int folder_fd, const char *name, const struct stat *st G_GNUC_UNUSED,
          gpointer data G_GNUC_UNUSED, GError **error)
{
    WK_AUTO_FD int fd = wk_files_open_at(folder_fd, name, O_RDONLY, error);

    return fd >= 0 && wk_files_sync(fd, name, error);
}

static gboolean
sync_one(int root_fd, const char *path, GError **error)
{
    WK_AUTO_FD int fd = -1;
    g_autofree char *what = g_strdup_printf("disk '%s'", path);
    Walk walk = { path, sync_file, NULL, FOLDER_FILES_MAX };
    struct stat st;

    fd = open_path(root_fd, path, &st, error);
    if (fd < 0)
        return FALSE;
    if (S_ISDIR(st.st_mode) && !walk_folder(&walk, fd, FOLDER_DEPTH_MAX, error))
        return FALSE;
    return wk_files_sync(fd, what, error);
}

gboolean
wk_witness_sync_disks_in(int root_fd, const WkFacts *facts, GError **error)
{
    for (guint i = 0; i < facts->disks->len; i++) {
        const WkDiskFact *disk = g_ptr_array_index(facts->disks, i);

        if (counts(disk) && !sync_one(root_fd, disk->path, error))
            return FALSE;
    }
    return TRUE;
}

/* Which property differs, for people; NULL: none. st_dev of a file is not compared: it may change
 * with every boot (device mapper, btrfs, NFS), and inode, size and mtime in ns together tell. */
static const char *
find_difference(const WkWitness *then, const WkWitness *now)
{
    if (then->partial != now->partial)
        return "is of another kind";
    if (then->file.inode != now->file.inode)
        return "is another one";
    if (then->partial && then->file.inode == 0 && then->file.dev != now->file.dev)
        return "is another one";
    if (then->file.size_bytes != now->file.size_bytes)
        return "has another size";
    if (then->file.mtime_ns != now->file.mtime_ns)
        return "was written to";
    return NULL;
}

gboolean
wk_witness_same_in(int root_fd, GPtrArray *recorded, char **what, GError **error)
{
    for (guint i = 0; i < recorded->len; i++) {
        const WkWitness *then = g_ptr_array_index(recorded, i);
        g_autoptr(WkWitness) now = NULL;
        const char *difference;

        if (g_str_has_prefix(then->path, REMOTE_PREFIX))
            continue;
        now = take_one(root_fd, then->path, error);
        if (now == NULL)
            return FALSE;
        difference = find_difference(then, now);
        if (difference == NULL)
            continue;
        *what = g_strdup_printf("disk '%s' %s", then->path, difference);
        return FALSE;
    }
    return TRUE;
}

gboolean
wk_witness_not_after_in(int root_fd, const WkFacts *facts, gint64 image_mtime_ns, char **what,
                        GError **error)
{
    g_autoptr(GPtrArray) witnesses = wk_witness_take_in(root_fd, facts, error);

    if (witnesses == NULL)
        return FALSE;
    for (guint i = 0; i < witnesses->len; i++) {
        const WkWitness *now = g_ptr_array_index(witnesses, i);

        if (now->partial || now->file.mtime_ns <= image_mtime_ns)
            continue;
        *what = g_strdup_printf("disk '%s' was written to after the image", now->path);
        return FALSE;
    }
    return TRUE;
}

gboolean
wk_witness_sync_disks(const WkFacts *facts, GError **error)
{
    return wk_witness_sync_disks_in(-1, facts, error);
}

GPtrArray *
wk_witness_take(const WkFacts *facts, GError **error)
{
    return wk_witness_take_in(-1, facts, error);
}

gboolean
wk_witness_same(GPtrArray *recorded, char **what, GError **error)
{
    return wk_witness_same_in(-1, recorded, what, error);
}

gboolean
wk_witness_not_after(const WkFacts *facts, gint64 image_mtime_ns, char **what, GError **error)
{
    return wk_witness_not_after_in(-1, facts, image_mtime_ns, what, error);
}
