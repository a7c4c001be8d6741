/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "launcher-fixture.h"

#include "base/files.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define EMPTY_DIRS  "pods/" LAUNCHER_UID "/volumes/kubernetes.io~empty-dir"
#define VICTIM_TEXT "nobody touches this"

static void
make(const char *path, mode_t mode, guint owner)
{
    assert_int_equal(g_mkdir_with_parents(path, 0755), 0);
    assert_int_equal(chown(path, owner, owner), 0);
    assert_int_equal(chmod(path, mode), 0);
}

void
launcher_reset(const Launcher *self)
{
    g_autofree char *qemu = g_path_get_dirname(self->save);
    g_autofree char *libvirt = g_path_get_dirname(qemu);
    g_autofree char *guest = g_path_get_dirname(self->hold);

    fixture_remove(self->kubelet);
    fixture_remove(guest);
    make(guest, 0700, 0);
    make(self->private_, 0777, 0);
    make(libvirt, 0700, LAUNCHER_USER);
    make(qemu, 0700, LAUNCHER_USER);
    make(self->save, 0700, LAUNCHER_USER);
}

/* Whatever of a pod's way is looked for in its place leads to its folder. */
static void
make_victim(Launcher *self)
{
    static const char *const ways[] = { LAUNCHER_UID, "volumes", "kubernetes.io~empty-dir",
                                        "private",    "libvirt", "qemu" };
    g_autofree char *folder = g_path_get_dirname(self->victim);

    make(folder, 0755, 0);
    for (gsize i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autofree char *way = g_build_filename(self->victims, ways[i], NULL);

        assert_int_equal(symlink(".", way), 0);
    }
    fixture_write(self->victim, VICTIM_TEXT, strlen(VICTIM_TEXT));
    assert_int_equal(stat(self->victim, &self->victim_file), 0);
    assert_int_equal(stat(folder, &self->victim_folder), 0);
}

int
launcher_setup(void **state)
{
    Launcher *self = g_new0(Launcher, 1);
    g_autofree char *pods = NULL;

    *state = self;
    self->dir = g_dir_make_tmp("wukong-launcher-XXXXXX", NULL);
    self->kubelet = g_build_filename(self->dir, "kubelet", NULL);
    self->private_ = g_build_filename(self->kubelet, EMPTY_DIRS, "private", NULL);
    self->save = g_build_filename(self->private_, "libvirt/qemu/save", NULL);
    self->managed = g_build_filename(self->save, "ns_vm.save", NULL);
    self->hold = g_build_filename(self->dir, "vault", LAUNCHER_GUEST, "image", NULL);
    self->victims = g_build_filename(self->dir, "victims", NULL);
    self->victim = g_build_filename(self->victims, "save/ns_vm.save", NULL);
    pods = g_build_filename(self->kubelet, "pods", NULL);
    wk_files_distrust(pods);
    if (geteuid() != 0)
        return 0;
    launcher_reset(self);
    make_victim(self);
    return 0;
}

int
launcher_teardown(void **state)
{
    Launcher *self = *state;

    wk_files_distrust(NULL);
    fixture_remove(self->dir);
    g_free(self->dir);
    g_free(self->kubelet);
    g_free(self->private_);
    g_free(self->save);
    g_free(self->managed);
    g_free(self->hold);
    g_free(self->victims);
    g_free(self->victim);
    g_free(self);
    return 0;
}

WkFileId
launcher_write_image(const char *path, guint32 data_len, gsize body)
{
    g_autoptr(GByteArray) image = fixture_image(data_len, body, 7);

    fixture_write(path, image->data, image->len);
    return fixture_file_id(path);
}

static void
check_stat(const char *path, const struct stat *then)
{
    struct stat now;

    assert_int_equal(lstat(path, &now), 0);
    assert_int_equal(now.st_ino, then->st_ino);
    assert_int_equal(now.st_uid, then->st_uid);
    assert_int_equal(now.st_gid, then->st_gid);
    assert_int_equal(now.st_mode, then->st_mode);
    assert_int_equal(now.st_size, then->st_size);
    assert_int_equal(now.st_mtim.tv_sec, then->st_mtim.tv_sec);
    assert_int_equal(now.st_mtim.tv_nsec, then->st_mtim.tv_nsec);
}

void
launcher_check_victim(const Launcher *self)
{
    g_autofree char *folder = g_path_get_dirname(self->victim);
    g_autoptr(GBytes) content = fixture_read(self->victim);

    check_stat(self->victim, &self->victim_file);
    check_stat(folder, &self->victim_folder);
    assert_int_equal(g_bytes_get_size(content), strlen(VICTIM_TEXT));
    assert_memory_equal(g_bytes_get_data(content, NULL), VICTIM_TEXT, strlen(VICTIM_TEXT));
}
