/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault_fixture.h"

#include "vault/image.h"
#include "vault/vault.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define UUID_A "11111111-2222-3333-4444-555555555555"
#define UUID_B "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

static guint
mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static WkVault *
open_vault(const char *dir)
{
    g_autoptr(GError) error = NULL;
    WkVault *vault = wk_vault_open(dir, TRUE, &error);

    fixture_no_error(&error);
    assert_non_null(vault);
    return vault;
}

static void
expect_refused(const char *dir, gboolean any_fs, WkErrorCode code, const char *reason)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkVault) vault = wk_vault_open(dir, any_fs, &error);

    assert_null(vault);
    assert_non_null(strstr(error->message, dir));
    fixture_expect_error(&error, code, reason);
}

static void
test_open(void **state)
{
    const char *dir = fixture_path(state, "vault");
    g_autofree char *slashed = g_strconcat(dir, "///", NULL);
    g_autoptr(WkVault) vault = open_vault(dir);
    g_autoptr(WkVault) again = NULL;
    g_autoptr(WkVault) more = wk_vault_ref(vault);
    g_autofree char *hold = wk_vault_hold_path(vault, UUID_A);
    g_autofree char *wanted = g_build_filename(dir, UUID_A, "image", NULL);

    wk_vault_unref(NULL);
    assert_string_equal(wk_vault_get_dir(more), dir);
    assert_string_equal(hold, wanted);
    assert_int_equal(mode_of(dir), 0700);
    assert_int_equal(g_chmod(dir, 0755), 0);
    again = open_vault(slashed);
    assert_int_equal(mode_of(dir), 0700);
    assert_string_equal(wk_vault_get_dir(again), dir);
}

static void
test_id(void **state)
{
    const char *dir = fixture_path(state, "vault");
    const char *file = fixture_path(state, "vault/.wukong-vault");
    WkVault *vault = open_vault(dir);
    g_autofree char *id = NULL;
    g_autoptr(GError) error = NULL;

    assert_null(wk_vault_get_id(vault));
    assert_true(wk_vault_get_device(vault) == fixture_file_id(dir).dev);
    assert_true(wk_vault_make_id(vault, &error));
    id = g_strdup(wk_vault_get_id(vault));
    assert_true(g_uuid_string_is_valid(id));
    assert_true(wk_vault_make_id(vault, &error));
    assert_string_equal(wk_vault_get_id(vault), id);
    wk_vault_unref(vault);
    vault = open_vault(dir);
    assert_string_equal(wk_vault_get_id(vault), id);
    assert_int_equal(mode_of(file), 0600);
    wk_vault_unref(vault);

    fixture_write(file, id, 20); /* torn: as none */
    fixture_write(fixture_path(state, "vault/.wukong-vault.new"), "x", 1);
    vault = open_vault(dir);
    assert_null(wk_vault_get_id(vault));
    assert_true(wk_vault_make_id(vault, &error));
    assert_string_not_equal(wk_vault_get_id(vault), id);
    fixture_no_error(&error);
    wk_vault_unref(vault);
}

static void
test_open_refused(void **state)
{
    const char *dir = fixture_path(state, "vault");
    const char *link_path = fixture_path(state, "link");
    g_autofree char *slash = g_strconcat(link_path, "/", NULL);
    g_autoptr(GError) error = NULL;

    expect_refused(fixture_path(state, "none/vault"), TRUE, WK_ERROR_FAILED, NULL);
    fixture_write(dir, "x", 1);
    expect_refused(dir, TRUE, WK_ERROR_FAILED, NULL);
    assert_int_equal(g_unlink(dir), 0);
    assert_int_equal(g_mkdir(dir, 0755), 0);
    assert_int_equal(symlink(dir, link_path), 0);
    expect_refused(link_path, TRUE, WK_ERROR_FAILED, NULL);
    assert_null(wk_vault_open(slash, TRUE, &error)); /* a slash must not follow it */
    fixture_expect_error(&error, WK_ERROR_FAILED, NULL);
    assert_int_equal(mode_of(dir), 0755);
    if (geteuid() != 0 || chown(dir, 1, 1) < 0)
        return;
    expect_refused(dir, TRUE, WK_ERROR_REFUSED, "VaultOwner");
    assert_int_equal(mode_of(dir), 0755);
}

static void
test_file_system(void **state G_GNUC_UNUSED)
{
    g_autofree char *dir = g_strdup_printf("/dev/shm/wukong-vault-%d", (int)getpid());
    g_autoptr(WkVault) vault = NULL;
    struct statfs fs;

    if (statfs("/dev/shm", &fs) < 0 || fs.f_type != TMPFS_MAGIC || access("/dev/shm", W_OK) < 0)
        skip();
    expect_refused(dir, FALSE, WK_ERROR_REFUSED, "VaultFileSystem");
    vault = open_vault(dir);
    fixture_remove(dir);
}

static void
test_folders(void **state)
{
    const char *dir = fixture_path(state, "vault");
    g_autoptr(WkVault) vault = open_vault(dir);
    g_autofree char *hold = wk_vault_hold_path(vault, UUID_A);
    g_autofree char *folder = g_path_get_dirname(hold);
    g_autoptr(GError) error = NULL;
    WkFileId file;

    assert_true(wk_vault_sync_folder(vault, UUID_A, &error)); /* not there: fine */
    wk_vault_drop_folder(vault, UUID_A);
    assert_true(wk_vault_make_folder(vault, UUID_A, &error));
    assert_int_equal(mode_of(folder), 0700);
    assert_int_equal(g_chmod(folder, 0777), 0);
    assert_true(wk_vault_make_folder(vault, UUID_A, &error)); /* a step may be repeated */
    assert_int_equal(mode_of(folder), 0700);
    assert_true(wk_vault_sync_folder(vault, UUID_A, &error));

    fixture_write(hold, "an image", 8);
    wk_vault_drop_folder(vault, UUID_A); /* not empty: stays */
    assert_true(fixture_exists(hold));
    file = fixture_file_id(hold);
    assert_true(wk_image_unlink(hold, &file, &error));
    wk_vault_drop_folder(vault, UUID_A);
    assert_false(fixture_exists(folder));
    fixture_no_error(&error);
}

static void
test_folder_is_symlink(void **state)
{
    const char *dir = fixture_path(state, "vault");
    const char *elsewhere = fixture_path(state, "elsewhere");
    g_autoptr(WkVault) vault = open_vault(dir);
    g_autoptr(GError) error = NULL;

    assert_int_equal(g_mkdir(elsewhere, 0755), 0);
    assert_int_equal(symlink(elsewhere, fixture_path(state, "vault/" UUID_A)), 0);
    assert_false(wk_vault_make_folder(vault, UUID_A, &error));
    fixture_expect_error(&error, WK_ERROR_FAILED, NULL);
    assert_false(wk_vault_sync_folder(vault, UUID_A, &error));
    fixture_expect_error(&error, WK_ERROR_FAILED, NULL);
    wk_vault_drop_folder(vault, UUID_A);
    assert_true(fixture_exists(elsewhere));
    assert_int_equal(mode_of(elsewhere), 0755);
}

static void
test_list(void **state)
{
    const char *dir = fixture_path(state, "vault");
    g_autoptr(WkVault) vault = open_vault(dir);
    g_autofree char *hold_a = wk_vault_hold_path(vault, UUID_A);
    g_autofree char *hold_b = wk_vault_hold_path(vault, UUID_B);
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) uuids = wk_vault_list(vault, &error);

    assert_int_equal(uuids->len, 0);
    assert_true(wk_vault_make_folder(vault, UUID_B, &error));
    assert_true(wk_vault_make_folder(vault, UUID_A, &error));
    g_ptr_array_unref(g_steal_pointer(&uuids));
    uuids = wk_vault_list(vault, &error);
    assert_int_equal(uuids->len, 0); /* folders without an image */
    fixture_write(hold_b, "b", 1);
    assert_int_equal(symlink("nowhere", hold_a), 0); /* odd, but there: N2 must see it */
    assert_int_equal(g_mkdir(fixture_path(state, "vault/lost+found"), 0700), 0);
    fixture_write(fixture_path(state, "vault/lost+found/image"), "x", 1);
    fixture_write(fixture_path(state, "vault/file"), "x", 1);
    g_ptr_array_unref(g_steal_pointer(&uuids));
    uuids = wk_vault_list(vault, &error);
    fixture_no_error(&error);
    assert_int_equal(uuids->len, 2);
    assert_string_equal(g_ptr_array_index(uuids, 0), UUID_A);
    assert_string_equal(g_ptr_array_index(uuids, 1), UUID_B);
}

static guint
count_entries(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint n = 0;

    while (g_dir_read_name(dir) != NULL)
        n++;
    return n;
}

static void
test_try_link(void **state)
{
    const char *dir = fixture_path(state, "vault");
    const char *save_dir = fixture_path(state, "save");
    g_autoptr(WkVault) vault = open_vault(dir);
    g_autoptr(GError) error = NULL;

    assert_false(wk_vault_try_link(vault, save_dir, &error));
    fixture_expect_error(&error, WK_ERROR_FAILED, NULL);
    assert_int_equal(g_mkdir(save_dir, 0755), 0);
    /* what an agent that died in the middle leaves */
    fixture_write(fixture_path(state, "save/.wukong-link-test"), "", 0);
    fixture_write(fixture_path(state, "vault/.wukong-link-test"), "", 0);
    for (int i = 0; i < 2; i++) {
        assert_true(wk_vault_try_link(vault, save_dir, &error));
        assert_int_equal(count_entries(dir), 0);
        assert_int_equal(count_entries(save_dir), 0);
    }
    fixture_no_error(&error);
}

static void
test_try_link_across(void **state)
{
    const char *dir = fixture_path(state, "vault");
    g_autofree char *other = g_strdup_printf("/dev/shm/wukong-save-%d", (int)getpid());
    g_autoptr(WkVault) vault = open_vault(dir);
    g_autoptr(GError) error = NULL;
    WkFileId here = fixture_file_id(dir);

    if (g_mkdir(other, 0700) < 0)
        skip();
    if (fixture_file_id(other).dev == here.dev) {
        fixture_remove(other);
        skip();
    }
    assert_false(wk_vault_try_link(vault, other, &error));
    assert_non_null(strstr(error->message, other));
    assert_non_null(strstr(error->message, dir));
    fixture_expect_error(&error, WK_ERROR_REFUSED, "VaultOnOtherFileSystem");
    assert_int_equal(count_entries(other), 0);
    assert_int_equal(count_entries(dir), 0);
    fixture_remove(other);
}

static void
test_space(void **state)
{
    g_autoptr(WkVault) vault = open_vault(fixture_path(state, "vault"));
    g_autoptr(GError) error = NULL;
    guint64 free_bytes = 0;
    guint64 size_bytes = 0;

    assert_true(wk_vault_space(vault, &free_bytes, &size_bytes, &error));
    assert_true(free_bytes > 0 && free_bytes <= size_bytes);
    assert_true(wk_vault_space(vault, &free_bytes, NULL, &error));
}

typedef struct {
    WkVault *vault;
    int failures;
} Worker;

static gpointer
use_folders(gpointer data)
{
    Worker *self = data;

    for (int i = 0; i < 200; i++) {
        g_autoptr(GPtrArray) uuids = NULL;
        g_autoptr(GError) error = NULL;

        /* another may drop it between making and opening: that is an error, not a crash */
        if (!wk_vault_make_folder(self->vault, UUID_A, &error)
            && strstr(error->message, g_strerror(ENOENT)) == NULL)
            self->failures++;
        if (!wk_vault_sync_folder(self->vault, UUID_A, NULL))
            self->failures++;
        uuids = wk_vault_list(self->vault, NULL);
        if (uuids == NULL)
            self->failures++;
        wk_vault_drop_folder(self->vault, UUID_A);
    }
    return NULL;
}

static void
test_threads(void **state)
{
    g_autoptr(WkVault) vault = open_vault(fixture_path(state, "vault"));
    Worker workers[4];
    GThread *threads[G_N_ELEMENTS(workers)];

    for (gsize i = 0; i < G_N_ELEMENTS(workers); i++) {
        workers[i] = (Worker){ vault, 0 };
        threads[i] = g_thread_new("vault", use_folders, &workers[i]);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(workers); i++) {
        g_thread_join(threads[i]);
        assert_int_equal(workers[i].failures, 0);
    }
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_open),
        WITH_FOLDER(test_id),
        WITH_FOLDER(test_open_refused),
        WITH_FOLDER(test_file_system),
        WITH_FOLDER(test_folders),
        WITH_FOLDER(test_list),
        WITH_FOLDER(test_folder_is_symlink),
        WITH_FOLDER(test_try_link),
        WITH_FOLDER(test_try_link_across),
        WITH_FOLDER(test_space),
        WITH_FOLDER(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
