/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every function on images, on a path in a pod whose owner put something else at each place of the
 * way, or puts it there meanwhile: nothing outside the pod is touched, and nothing hangs. With
 * --calls the same work is done once on a pod as it should be, for strace to see by which calls.
 */
#include "config.h"

#include "launcher-fixture.h"

#include "base/files.h"
#include "vault/launcher_image.h"
#include "vault/vault.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DATA       4096
#define BODY       5000
#define MEMORY_KIB 1024

#define NEED_ROOT()                                                                                \
    do {                                                                                           \
        if (geteuid() != 0)                                                                        \
            skip();                                                                                \
    } while (0)

/* ---- what is done ---- */

static gboolean
do_look(const Launcher *self, const WkFileId *file G_GNUC_UNUSED)
{
    g_auto(WkImageLook) seen = { 0 };

    return wk_image_look(self->managed, &seen, NULL);
}

static gboolean
do_kill(const Launcher *self, const WkFileId *file)
{
    return wk_image_kill(self->managed, file, NULL);
}

static gboolean
do_sync(const Launcher *self, const WkFileId *file)
{
    return wk_image_sync(self->managed, file, NULL);
}

static gboolean
do_rewrite(const Launcher *self, const WkFileId *file)
{
    return wk_image_rewrite(self->managed, file, NULL);
}

static gboolean
do_digest(const Launcher *self, const WkFileId *file G_GNUC_UNUSED)
{
    char digest[WK_DIGEST_LENGTH + 1];

    return wk_image_digest_body(self->managed, FIXTURE_FIXED + DATA, FALSE, NULL, digest, NULL);
}

static gboolean
do_read_back(const Launcher *self, const WkFileId *file)
{
    char header[WK_DIGEST_LENGTH + 1];
    char body[WK_DIGEST_LENGTH + 1];

    return wk_image_read_back(self->managed, file, FIXTURE_FIXED + DATA, header, body, NULL);
}

static gboolean
do_follow(const Launcher *self, const WkFileId *file)
{
    char digest[WK_DIGEST_LENGTH + 1];
    g_autoptr(WkImageFollower) follower = wk_image_follower_new(self->managed);

    return wk_image_follower_finish(follower, file, FIXTURE_FIXED + DATA, digest, NULL);
}

static gboolean
do_guard(const Launcher *self, const WkFileId *file G_GNUC_UNUSED)
{
    const gboolean written = wk_guard_write(self->managed, NULL);
    const gboolean synced = wk_guard_sync(self->managed, NULL);

    return wk_guard_rename(self->managed, NULL) && written && synced;
}

static gboolean
do_sync_folder(const Launcher *self, const WkFileId *file G_GNUC_UNUSED)
{
    return wk_files_sync_folder(self->save, NULL);
}

static gboolean
do_space(const Launcher *self, const WkFileId *file G_GNUC_UNUSED)
{
    guint64 free_bytes;

    return wk_files_free_bytes(self->save, &free_bytes, NULL, NULL);
}

static gboolean
do_try_link(const Launcher *self, const WkFileId *file G_GNUC_UNUSED)
{
    g_autofree char *dir = g_build_filename(self->dir, "another", NULL);
    g_autoptr(WkVault) vault = wk_vault_open(dir, TRUE, NULL);

    assert_non_null(vault);
    return wk_vault_try_link(vault, self->save, NULL);
}

static gboolean
do_create(const Launcher *self, const WkFileId *file G_GNUC_UNUSED)
{
    WkFileId made;

    (void)g_unlink(self->hold);
    return wk_launcher_image_create(self->hold, self->managed, &made, NULL);
}

static gboolean
do_link(const Launcher *self, const WkFileId *file G_GNUC_UNUSED)
{
    (void)launcher_write_image(self->hold, DATA, BODY);
    return wk_launcher_image_link(self->hold, self->managed, NULL);
}

static gboolean
do_give(const Launcher *self, const WkFileId *file G_GNUC_UNUSED)
{
    const WkFileId hold = launcher_write_image(self->hold, DATA, BODY);

    return wk_launcher_image_give(self->hold, self->managed, &hold, NULL);
}

static gboolean
do_stage(const Launcher *self, const WkFileId *file G_GNUC_UNUSED)
{
    const WkFileId hold = launcher_write_image(self->hold, DATA, BODY);

    return wk_launcher_image_stage(self->hold, self->managed, &hold, NULL);
}

static gboolean
do_empty(const Launcher *self, const WkFileId *file)
{
    return wk_launcher_image_empty(self->managed, file, NULL);
}

static gboolean
do_header(const Launcher *self, const WkFileId *file)
{
    g_autoptr(GBytes) header = wk_launcher_header_read(self->managed, file, NULL);

    return header != NULL && wk_launcher_header_write(self->managed, file, header, NULL);
}

static gboolean
do_unlink(const Launcher *self, const WkFileId *file)
{
    return wk_image_unlink(self->managed, file, NULL);
}

/* In an order in which each has something to do on a pod as it should be. */
static const struct {
    const char *name;
    gboolean (*run)(const Launcher *self, const WkFileId *file);
} deeds[] = {
    { "look", do_look },           { "sync", do_sync },
    { "digest", do_digest },       { "rewrite", do_rewrite },
    { "read back", do_read_back }, { "follow", do_follow },
    { "header", do_header },       { "sync folder", do_sync_folder },
    { "space", do_space },         { "try link", do_try_link },
    { "kill", do_kill },           { "empty", do_empty },
    { "unlink", do_unlink },       { "create", do_create },
    { "link", do_link },           { "unlink what was linked", do_unlink },
    { "guard", do_guard },         { "give", do_give },
    { "stage", do_stage },
};

/* ---- what a stranger does ---- */

/* @path is free; @victim what he would like to be touched. */
typedef void (*Plant)(const char *path, const char *victim);

static void
plant_symlink(const char *path, const char *victim)
{
    assert_int_equal(symlink(victim, path), 0);
}

/* Where fs.protected_hardlinks is off. */
static void
plant_link(const char *path, const char *victim)
{
    assert_int_equal(link(victim, path), 0);
}

static void
plant_fifo(const char *path, const char *victim G_GNUC_UNUSED)
{
    assert_int_equal(mkfifo(path, 0666), 0);
}

/* /dev/full: whoever writes to it is told; where nodes can't be made a fifo does. */
static void
plant_device(const char *path, const char *victim)
{
    if (mknod(path, S_IFCHR | 0666, makedev(1, 7)) < 0)
        plant_fifo(path, victim);
}

static void
plant_folder(const char *path, const char *victim G_GNUC_UNUSED)
{
    assert_int_equal(g_mkdir(path, 0777), 0);
}

static void
plant_huge(const char *path, const char *victim G_GNUC_UNUSED)
{
    (void)launcher_write_image(path, DATA, BODY);
    assert_int_equal(truncate(path, G_GINT64_CONSTANT(1) << 42), 0);
}

static const struct {
    const char *name;
    Plant plant;
    gboolean slow; /* to read to its end */
} plants[] = {
    { "symlink", plant_symlink, FALSE }, { "hard link", plant_link, FALSE },
    { "fifo", plant_fifo, FALSE },       { "device", plant_device, FALSE },
    { "folder", plant_folder, FALSE },   { "huge file", plant_huge, TRUE },
};

static WkFileId
victim_id(const Launcher *self)
{
    return fixture_file_id(self->victim);
}

/* At M, and beside it where drafts go. The victim is said to be the image, but for a hard link:
 * that would be the image. */
static void
test_at_managed(void **state)
{
    static const char *const names[] = { "", ".wukong-guard", ".wukong-image" };
    const Launcher *self = *state;
    WkFileId victim;

    NEED_ROOT();
    victim = victim_id(self);
    for (gsize p = 0; p < G_N_ELEMENTS(plants); p++)
        for (gsize d = 0; d < G_N_ELEMENTS(deeds); d++)
            for (gsize n = 0; n < G_N_ELEMENTS(names); n++) {
                g_autofree char *path = g_strconcat(self->managed, names[n], NULL);
                WkFileId file = victim;

                file.inode += plants[p].plant == plant_link ? 1 : 0;
                if (plants[p].slow && g_str_equal(deeds[d].name, "digest"))
                    continue;
                launcher_reset(self);
                plants[p].plant(path, self->victim);
                (void)deeds[d].run(self, &file);
                launcher_check_victim(self);
            }
}

/* A symlink for each folder of the way, to a place that looks the same and is the victim's. The
 * folder of all pods is root's, and so is what is above it. */
static void
test_on_the_way(void **state)
{
    const Launcher *self = *state;
    WkFileId file;
    g_autofree char *folder = g_path_get_dirname(self->victim);
    g_autofree char *pods = g_build_filename(self->kubelet, "pods", NULL);
    struct stat there;
    guint done = 0;

    NEED_ROOT();
    file = victim_id(self);
    for (gsize d = 0; d < G_N_ELEMENTS(deeds); d++) {
        for (char *path = g_strdup(self->save); path != NULL;) {
            char *parent = g_path_get_dirname(path);

            launcher_reset(self);
            fixture_remove(path);
            plant_symlink(path, g_str_equal(path, self->save) ? folder : self->victims);
            assert_int_equal(stat(self->save, &there), 0);
            assert_int_equal(there.st_ino, self->victim_folder.st_ino);
            (void)deeds[d].run(self, &file);
            launcher_check_victim(self);
            done++;
            g_free(path);
            path = parent;
            if (g_str_equal(parent, pods))
                g_clear_pointer(&path, g_free);
        }
    }
    print_message("%u symlinks on the way\n", done);
}

/* ---- meanwhile ---- */

typedef struct {
    const Launcher *launcher;
    gint stop;
    guint swaps;
} Swapper;

/* Puts one thing after the other at M, each by a rename. */
static gpointer
swap(gpointer data)
{
    Swapper *self = data;
    const char *managed = self->launcher->managed;
    g_autofree char *folder = g_path_get_dirname(managed);
    const char *const names[] = { "a-file", "a-link", "a-fifo", "a-device" };

    while (g_atomic_int_get(&self->stop) == 0) {
        for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
            g_autofree char *path = g_build_filename(folder, names[i], NULL);

            if (i == 0)
                (void)g_file_set_contents(path, "LibvirtQemudSave", 16, NULL);
            else if (i == 1)
                (void)!symlink(self->launcher->victim, path);
            else if (i == 2)
                (void)mkfifo(path, 0666);
            else
                (void)mknod(path, S_IFCHR | 0666, makedev(1, 7));
            (void)g_rename(path, managed);
            self->swaps++;
        }
    }
    return NULL;
}

static void
test_meanwhile(void **state)
{
    const Launcher *self = *state;
    const guint rounds = fixture_rounds(300);
    WkFileId file;
    Swapper swapper = { .launcher = self };
    GThread *thread;

    NEED_ROOT();
    file = victim_id(self);
    (void)alarm(60); /* nothing waits for anybody */
    thread = g_thread_new("swap", swap, &swapper);
    for (guint i = 0; i < rounds; i++)
        for (gsize d = 0; d < G_N_ELEMENTS(deeds); d++)
            (void)deeds[d].run(self, &file);
    g_atomic_int_set(&swapper.stop, 1);
    g_thread_join(thread);
    (void)alarm(0);
    launcher_check_victim(self);
    print_message("%u things put at M during %u rounds\n", swapper.swaps, rounds);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, launcher_setup, launcher_teardown)

/* ---- by which calls ---- */

/* Each deed once, on a pod as it should be. */
static void
test_calls(void **state)
{
    const Launcher *self = *state;
    WkFileId file;

    assert_int_equal(access(self->save, F_OK), 0);
    file = launcher_write_image(self->managed, DATA, BODY);
    print_message("begin %s\n", self->kubelet);
    for (gsize d = 0; d < G_N_ELEMENTS(deeds); d++) {
        if (g_str_equal(deeds[d].name, "unlink what was linked"))
            file = fixture_file_id(self->hold);
        if (!deeds[d].run(self, &file))
            fail_msg("'%s' failed", deeds[d].name);
    }
    print_message("end\n");
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { TEST(test_at_managed), TEST(test_on_the_way),
                                        TEST(test_meanwhile) };
    const struct CMUnitTest calls[] = { TEST(test_calls) };

    if (argc > 1 && g_str_equal(argv[1], "--calls"))
        return cmocka_run_group_tests(calls, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
