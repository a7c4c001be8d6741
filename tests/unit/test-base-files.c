/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder with one thing of each kind in it. */
typedef struct {
    char *path;
    int fd;
} Folder;

static char *
path_in(const Folder *folder, const char *name)
{
    return g_build_filename(folder->path, name, NULL);
}

static int
setup(void **state)
{
    Folder *folder = g_new0(Folder, 1);
    g_autofree char *file = NULL;

    folder->path = g_dir_make_tmp("wukong-files-XXXXXX", NULL);
    assert_non_null(folder->path);
    folder->fd = wk_files_open_folder(folder->path, NULL);
    assert_true(folder->fd >= 0);
    file = path_in(folder, "file");
    assert_true(g_file_set_contents(file, "0123456789", 10, NULL));
    assert_int_equal(symlinkat("file", folder->fd, "link"), 0);
    assert_int_equal(symlinkat(".", folder->fd, "folder-link"), 0);
    assert_int_equal(mkfifoat(folder->fd, "fifo", 0600), 0);
    *state = folder;
    return 0;
}

static int
teardown(void **state)
{
    static const char *const names[] = { "file",
                                         "link",
                                         "folder-link",
                                         "fifo",
                                         "new",
                                         "made",
                                         "absolute",
                                         "stranger-link",
                                         "strange/link",
                                         "strange/in-link",
                                         "strange/root",
                                         "strange/in/file",
                                         "strange/in/made",
                                         "strange/in",
                                         "strange" };
    Folder *folder = *state;

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = path_in(folder, names[i]);

        (void)g_remove(path);
    }
    wk_files_auto_close(&folder->fd);
    assert_int_equal(g_rmdir(folder->path), 0);
    g_free(folder->path);
    g_free(folder);
    return 0;
}

static void
test_open_folder(void **state)
{
    const Folder *folder = *state;
    g_autofree char *link = path_in(folder, "folder-link");
    g_autofree char *file = path_in(folder, "file");
    g_autofree char *none = path_in(folder, "none");
    g_autoptr(GError) error = NULL;

    assert_int_equal(wk_files_open_folder(link, &error), -1);
    unit_assert_error(&error, WK_ERROR_FAILED, "folder-link");
    assert_int_equal(wk_files_open_folder(file, &error), -1);
    unit_assert_error(&error, WK_ERROR_FAILED, "opening folder");
    assert_int_equal(wk_files_open_folder(none, &error), -1);
    unit_assert_error(&error, WK_ERROR_FAILED, "none");
    assert_false(wk_files_sync_folder(none, &error));
    unit_assert_error(&error, WK_ERROR_FAILED, "none");
    assert_true(wk_files_sync_folder(folder->path, &error));
}

static void
test_open_at(void **state)
{
    static const struct {
        const char *name;
        int flags;
        WkErrorCode code;
    } refused[] = {
        { "none", O_RDONLY, WK_ERROR_NOT_FOUND },
        { "link", O_RDONLY, WK_ERROR_CORRUPT },
        { "link", O_RDWR, WK_ERROR_CORRUPT },
        { "fifo", O_RDONLY, WK_ERROR_CORRUPT },
        { "fifo", O_WRONLY, WK_ERROR_CORRUPT },
        { ".", O_RDONLY, WK_ERROR_CORRUPT },
        { "folder-link", O_RDONLY, WK_ERROR_CORRUPT },
        { "link", O_CREAT | O_WRONLY, WK_ERROR_FAILED },
    };
    const Folder *folder = *state;
    g_autoptr(GError) error = NULL;
    WK_AUTO_FD int fd = wk_files_open_at(folder->fd, "file", O_RDWR, &error);
    WK_AUTO_FD int made = -1;
    struct stat st;

    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    for (gsize i = 0; i < G_N_ELEMENTS(refused); i++) {
        assert_int_equal(wk_files_open_at(folder->fd, refused[i].name, refused[i].flags, &error),
                         -1);
        unit_assert_error(&error, refused[i].code, refused[i].name);
    }
    made = wk_files_open_at(folder->fd, "new", O_CREAT | O_EXCL | O_WRONLY, &error);
    assert_true(made >= 0);
    assert_int_equal(fstat(made, &st), 0);
    assert_int_equal(st.st_mode & 0077, 0);
    assert_int_equal(wk_files_open_at(folder->fd, "new", O_CREAT | O_EXCL | O_WRONLY, &error), -1);
    unit_assert_error(&error, WK_ERROR_FAILED, "new");
}

static void
test_read_and_write(void **state)
{
    const Folder *folder = *state;
    WK_AUTO_FD int fd = wk_files_open_at(folder->fd, "file", O_RDWR, NULL);
    WK_AUTO_FD int readonly = wk_files_open_at(folder->fd, "file", O_RDONLY, NULL);
    g_autoptr(GError) error = NULL;
    char text[11] = "";

    assert_true(wk_files_write_at(fd, "Part", 4, 3, "the image", &error));
    assert_true(wk_files_read_at(fd, text, 10, 0, "the image", &error));
    assert_string_equal(text, "012Part789");
    assert_true(wk_files_read_at(fd, text, 0, 10, "the image", &error));
    assert_false(wk_files_read_at(fd, text, 11, 0, "the image", &error));
    assert_string_equal(wk_error_get_reason(error), "ImageCorrupt");
    unit_assert_error(&error, WK_ERROR_CORRUPT, "the image ends too early");
    assert_false(wk_files_read_at(fd, text, 1, 10, "the image", &error));
    unit_assert_error(&error, WK_ERROR_CORRUPT, "ends too early");
    assert_false(wk_files_write_at(readonly, "x", 1, 0, "the image", &error));
    unit_assert_error(&error, WK_ERROR_FAILED, "writing the image: ");
    assert_false(wk_files_read_at(-1, text, 1, 0, "the image", &error));
    unit_assert_error(&error, WK_ERROR_FAILED, "reading the image: ");
    assert_true(wk_files_sync(fd, "the image", &error));
    assert_false(wk_files_sync(-1, "the image", &error));
    unit_assert_error(&error, WK_ERROR_FAILED, "syncing the image: ");
}

static void
test_make_folder(void **state)
{
    const Folder *folder = *state;
    g_autofree char *made = path_in(folder, "made");
    g_autofree char *deep = path_in(folder, "none/made");
    g_autoptr(GError) error = NULL;
    struct stat st;

    assert_true(wk_files_make_folder(made, &error));
    assert_true(wk_files_make_folder(made, &error));
    assert_int_equal(stat(made, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_false(wk_files_make_folder(deep, &error));
    unit_assert_error(&error, WK_ERROR_FAILED, "making folder");
}

static void
test_facts(void **state)
{
    const Folder *folder = *state;
    const struct stat st = { .st_mtim = { .tv_sec = 1795377600, .tv_nsec = 999999999 } };
    g_autofree char *none = path_in(folder, "none");
    g_autoptr(GError) error = NULL;
    guint64 free_bytes = 0, size_bytes = 0;

    assert_true(wk_files_mtime_ns(&st) == G_GINT64_CONSTANT(1795377600999999999));
    assert_true(wk_files_free_bytes(folder->path, &free_bytes, &size_bytes, &error));
    assert_true(size_bytes > 0 && free_bytes <= size_bytes);
    assert_true(wk_files_free_bytes(folder->path, &free_bytes, NULL, &error));
    assert_false(wk_files_free_bytes(none, &free_bytes, NULL, &error));
    unit_assert_error(&error, WK_ERROR_FAILED, "free space");
}

/* What leads out of a distrusted folder, or by a symlink, is not opened; all else is as ever. */
static const struct {
    const char *path; /* in the test's folder; "strange" is distrusted */
    int errnum;       /* 0: opens */
} walks[] = {
    { "strange/in/file", 0 },
    { "strange", 0 },
    { "strange/.", 0 },
    { "strange//in/./file", 0 },
    { "strange/in/../in/file", 0 },
    { "strange/in/../../file", 0 }, /* which is not beneath */
    { "strange/link", ELOOP },
    { "strange/in-link/file", ELOOP },
    { "strange/root/etc", ELOOP },
    { "strange/none", ENOENT },
    { "stranger-link", 0 },
    { "folder-link/strange-not", ENOENT },
};

static void
test_distrust(void **state)
{
    const Folder *folder = *state;
    g_autofree char *strange = path_in(folder, "strange");
    g_autofree char *slashes = g_strconcat(strange, "//", NULL);
    g_autofree char *made = path_in(folder, "strange/in-link/made");
    g_autoptr(GError) error = NULL;
    WK_AUTO_FD int fd = -1;
    guint64 free_bytes;

    assert_int_equal(mkdirat(folder->fd, "strange", 0700), 0);
    fd = openat(folder->fd, "strange", O_PATH | O_CLOEXEC);
    assert_int_equal(mkdirat(fd, "in", 0700), 0);
    assert_int_equal(linkat(folder->fd, "file", fd, "in/file", 0), 0);
    assert_int_equal(symlinkat("in/file", fd, "link"), 0);
    assert_int_equal(symlinkat("in", fd, "in-link"), 0);
    assert_int_equal(symlinkat("/", fd, "root"), 0);
    assert_int_equal(symlinkat("file", folder->fd, "stranger-link"), 0);
    wk_files_distrust(slashes);
    for (gsize i = 0; i < G_N_ELEMENTS(walks); i++) {
        g_autofree char *path = g_strconcat(folder->path, "/", walks[i].path, NULL);
        WK_AUTO_FD int opened = wk_files_open(path, O_RDONLY);

        if (walks[i].errnum == 0 ? opened < 0 : opened >= 0 || errno != walks[i].errnum)
            fail_msg("'%s': %s", walks[i].path, g_strerror(errno));
    }
    assert_false(wk_files_is_distrusted(strange));
    assert_true(wk_files_is_distrusted(made));
    assert_false(wk_files_make_folder(made, &error));
    unit_assert_error(&error, WK_ERROR_FAILED, "made");
    assert_int_equal(wk_files_open_folder(made, &error), -1);
    unit_assert_error(&error, WK_ERROR_FAILED, "made");
    assert_false(wk_files_free_bytes(made, &free_bytes, NULL, &error));
    unit_assert_error(&error, WK_ERROR_FAILED, "made");
    wk_files_distrust(NULL);
    assert_true(wk_files_make_folder(made, &error));
}

/* In a root of its own a path stays there, wherever it points. */
static void
test_in_root(void **state)
{
    static const char *const inside[] = { "/file", "file", "link", "../../file", "absolute" };
    const Folder *folder = *state;
    WK_AUTO_FD int root = open("/", O_PATH | O_CLOEXEC);
    WK_AUTO_FD int magic = -1;

    assert_int_equal(symlinkat("/file", folder->fd, "absolute"), 0);
    for (gsize i = 0; i < G_N_ELEMENTS(inside); i++) {
        WK_AUTO_FD int fd = wk_files_open_in_root(folder->fd, inside[i], O_RDONLY);

        if (fd < 0)
            fail_msg("'%s': %s", inside[i], g_strerror(errno));
    }
    assert_int_equal(wk_files_open_in_root(folder->fd, "/etc/passwd", O_RDONLY), -1);
    assert_int_equal(errno, ENOENT);
    magic = wk_files_open_in_root(root, "/proc/self/root/etc/passwd", O_RDONLY);
    assert_int_equal(magic, -1);
    assert_int_equal(errno, ELOOP);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_open_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_at, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_and_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_make_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_facts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_distrust, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_root, setup, teardown),
    };

    return cmocka_run_group_tests_name("base-files", tests, NULL, NULL);
}
