/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault_fixture.h"

#include "base/files.h"
#include "vault/witness.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static GPtrArray *
take(const WkFacts *facts)
{
    g_autoptr(GError) error = NULL;
    GPtrArray *witnesses = wk_witness_take(facts, &error);

    fixture_no_error(&error);
    assert_non_null(witnesses);
    return witnesses;
}

static WkFacts *
facts_of(const char *path)
{
    WkFacts *facts = wk_facts_new();

    wk_facts_add_disk(facts, WK_DISK_FILE, path, "vda", FALSE, FALSE);
    return facts;
}

static void
expect_same(GPtrArray *witnesses)
{
    g_autofree char *what = NULL;
    g_autoptr(GError) error = NULL;

    if (!wk_witness_same(witnesses, &what, &error))
        fail_msg("%s", what != NULL ? what : error->message);
}

/* @needle: what the text for people must say. */
static void
expect_different(GPtrArray *witnesses, const char *path, const char *needle)
{
    g_autofree char *what = NULL;
    g_autoptr(GError) error = NULL;

    assert_false(wk_witness_same(witnesses, &what, &error));
    fixture_no_error(&error);
    assert_non_null(strstr(what, path));
    if (strstr(what, needle) == NULL)
        fail_msg("expected '%s': %s", needle, what);
}

static void
set_mtime(const char *path, gint64 ns)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                       { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 } };

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void
test_take_file(void **state)
{
    const char *path = fixture_path(state, "disk");
    g_autoptr(WkFacts) facts = facts_of(path);
    g_autoptr(GPtrArray) witnesses = NULL;
    const WkWitness *witness;
    WkFileId file;

    fixture_write(path, "disk", 4);
    file = fixture_file_id(path);
    witnesses = take(facts);
    assert_int_equal(witnesses->len, 1);
    witness = g_ptr_array_index(witnesses, 0);
    assert_string_equal(witness->path, path);
    assert_false(witness->partial);
    assert_true(wk_file_id_equal(&witness->file, &file));
    expect_same(witnesses);
}

static void
test_file_changes(void **state)
{
    const char *path = fixture_path(state, "disk");
    g_autoptr(WkFacts) facts = facts_of(path);
    g_autoptr(GPtrArray) witnesses = NULL;
    WkFileId file;

    fixture_write(path, "disk", 4);
    file = fixture_file_id(path);
    witnesses = take(facts);
    set_mtime(path, file.mtime_ns + 1);
    expect_different(witnesses, path, "written to");
    set_mtime(path, file.mtime_ns - 1);
    expect_different(witnesses, path, "written to");
    fixture_write(path, "diskdisk", 8);
    set_mtime(path, file.mtime_ns);
    expect_different(witnesses, path, "size");
    fixture_write(path, "disk", 4);
    set_mtime(path, file.mtime_ns);
    expect_same(witnesses);

    /* F17: every start of a guest changes owner, mode and so ctime; that is no difference */
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(chmod(path, 0600), 0);
    expect_same(witnesses);

    /* the same bytes in another file */
    assert_int_equal(g_rename(path, fixture_path(state, "old")), 0);
    fixture_write(path, "disk", 4);
    set_mtime(path, file.mtime_ns);
    expect_different(witnesses, path, "another one");
}

/* The number of a file system may change with a boot, and is no difference of the disk. */
static void
test_other_device_number(void **state)
{
    const char *path = fixture_path(state, "disk");
    g_autoptr(WkFacts) facts = facts_of(path);
    g_autoptr(GPtrArray) witnesses = NULL;
    WkWitness *witness;

    fixture_write(path, "disk", 4);
    witnesses = take(facts);
    witness = g_ptr_array_index(witnesses, 0);
    witness->file.dev++;
    expect_same(witnesses);
    witness->partial = TRUE;
    expect_different(witnesses, path, "another kind");
}

static void
test_missing(void **state)
{
    const char *path = fixture_path(state, "disk");
    g_autoptr(WkFacts) facts = facts_of(path);
    g_autoptr(GPtrArray) witnesses = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *what = NULL;

    assert_null(wk_witness_take(facts, &error));
    assert_non_null(strstr(error->message, path));
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
    assert_false(wk_witness_sync_disks(facts, &error));
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
    assert_false(wk_witness_not_after(facts, 0, &what, &error));
    assert_null(what);
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);

    /* storage that comes up late is no difference: it could not be told */
    fixture_write(path, "disk", 4);
    witnesses = take(facts);
    assert_int_equal(g_unlink(path), 0);
    assert_false(wk_witness_same(witnesses, &what, &error));
    assert_null(what);
    assert_non_null(strstr(error->message, path));
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
}

static void
test_symlink(void **state)
{
    const char *path = fixture_path(state, "disk");
    const char *link_path = fixture_path(state, "link");
    g_autoptr(WkFacts) facts = facts_of(link_path);
    g_autoptr(GPtrArray) witnesses = NULL;
    g_autoptr(GError) error = NULL;
    WkFileId file;

    fixture_write(path, "disk", 4);
    fixture_write(fixture_path(state, "other"), "disk", 4);
    assert_int_equal(symlink(path, link_path), 0);
    file = fixture_file_id(path);
    witnesses = take(facts);
    assert_true(wk_file_id_equal(&((WkWitness *)g_ptr_array_index(witnesses, 0))->file, &file));
    assert_true(wk_witness_sync_disks(facts, &error));
    fixture_no_error(&error);
    assert_int_equal(g_unlink(link_path), 0);
    assert_int_equal(symlink(fixture_path(state, "other"), link_path), 0);
    expect_different(witnesses, link_path, "another one");
}

/* Only what can be written counts; what has no path here is only named, as partial. */
static void
test_which_disks(void **state)
{
    const char *path = fixture_path(state, "disk");
    const char *nvram = fixture_path(state, "nvram");
    g_autoptr(WkFacts) facts = facts_of(path);
    g_autoptr(GPtrArray) witnesses = NULL;
    g_autoptr(GError) error = NULL;

    fixture_write(path, "disk", 4);
    fixture_write(nvram, "vars", 4);
    wk_facts_add_disk(facts, WK_DISK_FILE, fixture_path(state, "cdrom"), "sda", TRUE, FALSE);
    wk_facts_add_disk(facts, WK_DISK_NETWORK, NULL, "vdb", FALSE, FALSE);
    wk_facts_add_disk(facts, WK_DISK_FILE, nvram, "nvram", FALSE, FALSE);
    witnesses = take(facts);
    assert_int_equal(witnesses->len, 3);
    assert_true(((WkWitness *)g_ptr_array_index(witnesses, 1))->partial);
    assert_string_equal(((WkWitness *)g_ptr_array_index(witnesses, 2))->path, nvram);
    assert_true(wk_witness_sync_disks(facts, &error));
    expect_same(witnesses);
    set_mtime(nvram, 5);
    expect_different(witnesses, nvram, "written to");
}

static void
test_no_disks(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkFacts) facts = wk_facts_new();
    g_autoptr(GPtrArray) witnesses = take(facts);
    g_autofree char *what = NULL;
    g_autoptr(GError) error = NULL;

    assert_int_equal(witnesses->len, 0);
    expect_same(witnesses);
    assert_true(wk_witness_sync_disks(facts, &error));
    assert_true(wk_witness_not_after(facts, 0, &what, &error));
}

static void
test_folder(void **state)
{
    const char *dir = fixture_path(state, "tpm");
    const char *sub = fixture_path(state, "tpm/tpm2");
    const char *file_path = fixture_path(state, "tpm/tpm2/state");
    const char *empty = fixture_path(state, "tpm/tpm2/.lock");
    g_autoptr(WkFacts) facts = facts_of(dir);
    g_autoptr(GPtrArray) witnesses = NULL;
    g_autoptr(GError) error = NULL;
    const WkWitness *witness;
    WkFileId file;

    assert_int_equal(g_mkdir(dir, 0700), 0);
    assert_int_equal(g_mkdir(sub, 0700), 0);
    fixture_write(file_path, "state", 5);
    assert_int_equal(symlink("/dev/zero", fixture_path(state, "tpm/link")), 0);
    witnesses = take(facts);
    witness = g_ptr_array_index(witnesses, 0);
    file = fixture_file_id(file_path);
    assert_int_equal(witness->file.inode, fixture_file_id(dir).inode);
    assert_int_equal(witness->file.mtime_ns, file.mtime_ns);
    assert_int_equal(witness->file.size_bytes, 6); /* one more for the file itself */
    expect_same(witnesses);
    assert_true(wk_witness_sync_disks(facts, &error));
    fixture_no_error(&error);

    set_mtime(file_path, file.mtime_ns + 1);
    expect_different(witnesses, dir, "written to");
    set_mtime(file_path, file.mtime_ns);
    fixture_write(empty, "", 0);
    set_mtime(empty, 1);
    expect_different(witnesses, dir, "size"); /* an old, empty file came */
    assert_int_equal(g_unlink(empty), 0);
    expect_same(witnesses);
    assert_int_equal(g_unlink(file_path), 0);
    expect_different(witnesses, dir, "size");
}

static void
test_folder_bounds(void **state)
{
    const char *dir = fixture_path(state, "tpm");
    g_autoptr(WkFacts) facts = facts_of(dir);
    g_autoptr(GError) error = NULL;
    g_autofree char *below = g_build_filename(dir, "1", "2", "3", "4", NULL);
    g_autofree char *deepest = g_build_filename(below, "file", NULL);

    assert_int_equal(g_mkdir_with_parents(below, 0700), 0);
    fixture_write(deepest, "x", 1);
    assert_null(wk_witness_take(facts, &error));
    fixture_expect_error(&error, WK_ERROR_REFUSED, NULL);
    assert_false(wk_witness_sync_disks(facts, &error));
    fixture_expect_error(&error, WK_ERROR_REFUSED, NULL);
}

static void
test_odd_kinds(void **state)
{
    const char *path = fixture_path(state, "disk");
    g_autoptr(WkFacts) facts = facts_of(path);
    g_autoptr(GError) error = NULL;

    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(wk_witness_take(facts, &error)); /* and does not block */
    fixture_expect_error(&error, WK_ERROR_REFUSED, NULL);
    assert_false(wk_witness_sync_disks(facts, &error));
    fixture_expect_error(&error, WK_ERROR_REFUSED, NULL);
    assert_int_equal(g_unlink(path), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_null(wk_witness_take(facts, &error));
    fixture_expect_error(&error, WK_ERROR_REFUSED, NULL);
    assert_int_equal(g_unlink(path), 0);
    assert_int_equal(symlink("disk", path), 0); /* to itself */
    assert_null(wk_witness_take(facts, &error));
    fixture_expect_error(&error, WK_ERROR_FAILED, NULL);
}

/* A disk's path as a pod sees it: what is found is in the pod's root, whatever it points to. */
static void
test_in_root(void **state)
{
    static const char *const odd[] = { "fifo", "to-device", "to-itself", "outside" };
    const char *inside = fixture_path(state, "disk");
    const char *root_path = fixture_path(state, ".");
    g_autoptr(WkFacts) facts = facts_of("/to-disk");
    g_autoptr(GPtrArray) witnesses = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *what = NULL;
    WK_AUTO_FD int root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    WkFileId file;

    fixture_write(inside, "disk", 4);
    assert_int_equal(symlinkat("/disk", root, "to-disk"), 0); /* absolute, in that root */
    assert_true(wk_witness_sync_disks_in(root, facts, &error));
    witnesses = wk_witness_take_in(root, facts, &error);
    fixture_no_error(&error);
    file = fixture_file_id(inside);
    assert_true(wk_file_id_equal(&((WkWitness *)g_ptr_array_index(witnesses, 0))->file, &file));
    assert_true(wk_witness_same_in(root, witnesses, &what, &error));
    assert_true(wk_witness_not_after_in(root, facts, file.mtime_ns, &what, &error));
    fixture_write(inside, "more", 4);
    set_mtime(inside, file.mtime_ns + 1);
    assert_false(wk_witness_same_in(root, witnesses, &what, &error));
    fixture_no_error(&error);
    assert_int_equal(mkfifoat(root, "fifo", 0600), 0);
    assert_int_equal(symlinkat("/dev/null", root, "to-device"), 0); /* none in that root */
    assert_int_equal(symlinkat("to-itself", root, "to-itself"), 0);
    assert_int_equal(symlinkat("/../../../etc/passwd", root, "outside"), 0);
    for (gsize i = 0; i < G_N_ELEMENTS(odd); i++) {
        g_autofree char *path = g_strconcat("/", odd[i], NULL);
        g_autoptr(WkFacts) other = facts_of(path);

        assert_null(wk_witness_take_in(root, other, &error));
        assert_non_null(error);
        g_clear_error(&error);
        assert_false(wk_witness_sync_disks_in(root, other, &error));
        assert_non_null(error);
        g_clear_error(&error);
    }
}

static void
test_not_after(void **state)
{
    const char *path = fixture_path(state, "disk");
    const char *dir = fixture_path(state, "tpm");
    g_autoptr(WkFacts) facts = facts_of(path);
    g_autoptr(GError) error = NULL;
    g_autofree char *what = NULL;

    assert_int_equal(g_mkdir(dir, 0700), 0);
    fixture_write(path, "disk", 4);
    fixture_write(fixture_path(state, "tpm/state"), "state", 5);
    wk_facts_add_disk(facts, WK_DISK_FILE, dir, "tpm", FALSE, FALSE);
    set_mtime(path, 1000);
    set_mtime(fixture_path(state, "tpm/state"), 1000);
    assert_true(wk_witness_not_after(facts, 1000, &what, &error));
    assert_null(what);
    assert_false(wk_witness_not_after(facts, 999, &what, &error));
    fixture_no_error(&error);
    assert_non_null(strstr(what, path));
    g_clear_pointer(&what, g_free);
    set_mtime(fixture_path(state, "tpm/state"), 1001);
    assert_false(wk_witness_not_after(facts, 1000, &what, &error));
    assert_non_null(strstr(what, dir));
}

/* Returns: (transfer full): some block device of this machine, or NULL. */
static char *
find_block_device(void)
{
    g_autoptr(GDir) dir = g_dir_open("/dev", 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename("/dev", name, NULL);
        struct stat st;

        if (lstat(path, &st) == 0 && S_ISBLK(st.st_mode))
            return g_steal_pointer(&path);
    }
    return NULL;
}

static void
test_block_device(void **state G_GNUC_UNUSED)
{
    g_autofree char *path = find_block_device();
    g_autoptr(WkFacts) facts = NULL;
    g_autoptr(GPtrArray) witnesses = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *what = NULL;
    WkWitness *witness;
    struct stat st;

    if (path == NULL)
        skip();
    facts = wk_facts_new();
    wk_facts_add_disk(facts, WK_DISK_BLOCK, path, "vda", FALSE, FALSE);
    assert_int_equal(stat(path, &st), 0);
    witnesses = take(facts);
    witness = g_ptr_array_index(witnesses, 0);
    assert_true(witness->partial);
    assert_int_equal(witness->file.dev, st.st_rdev);
    assert_int_equal(witness->file.size_bytes, 0);
    assert_int_equal(witness->file.mtime_ns, 0);
    expect_same(witnesses);
    assert_true(wk_witness_not_after(facts, 0, &what, &error)); /* it leaves no trace */

    /* with a name that lasts the number may change; without one it must not */
    witness->file.dev++;
    if (witness->file.inode != 0)
        expect_same(witnesses);
    else
        expect_different(witnesses, path, "another one");
    witness->file.inode ^= 1;
    expect_different(witnesses, path, "another one");
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_take_file),
        WITH_FOLDER(test_file_changes),
        WITH_FOLDER(test_other_device_number),
        WITH_FOLDER(test_missing),
        WITH_FOLDER(test_symlink),
        WITH_FOLDER(test_in_root),
        WITH_FOLDER(test_which_disks),
        WITH_FOLDER(test_no_disks),
        WITH_FOLDER(test_folder),
        WITH_FOLDER(test_folder_bounds),
        WITH_FOLDER(test_odd_kinds),
        WITH_FOLDER(test_not_after),
        WITH_FOLDER(test_block_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
