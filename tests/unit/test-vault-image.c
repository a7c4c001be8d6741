/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault_fixture.h"

#include "base/files.h"
#include "base/run.h"
#include "vault/image.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DATA   300
#define HEADER (FIXTURE_FIXED + DATA)
#define BODY   5000

static void
look(const char *path, WkImageLook *seen)
{
    g_autoptr(GError) error = NULL;

    wk_image_look(path, seen, &error);
    fixture_no_error(&error);
}

static WkImageKind
kind_of(const char *path)
{
    g_auto(WkImageLook) seen = { 0 };

    look(path, &seen);
    return seen.kind;
}

static void
test_look_final(void **state)
{
    const char *path = fixture_path(state, "image");
    g_autoptr(GByteArray) image = fixture_image(DATA, BODY, 1);
    g_auto(WkImageLook) seen = { 0 };
    char expected[WK_DIGEST_LENGTH + 1];
    WkFileId file;

    fixture_write(path, image->data, image->len);
    look(path, &seen);
    file = fixture_file_id(path);
    fixture_digest(image->data, HEADER, expected);
    assert_int_equal(seen.kind, WK_IMAGE_FINAL);
    assert_true(wk_file_id_equal(&seen.file, &file));
    assert_false(seen.was_running);
    assert_int_equal(seen.header_bytes, HEADER);
    assert_string_equal(seen.header_digest, expected);
    assert_string_equal(seen.xml, "<domain type='qemu'><name>a</name></domain>");

    image->data[24] = 1;
    fixture_write(path, image->data, image->len);
    look(path, &seen); /* a second look into the same struct replaces the first */
    assert_true(seen.was_running);
    assert_string_not_equal(seen.header_digest, expected);
}

/* Files that are no readable image; the first bytes, then zeroes up to the length. */
static const struct {
    const char *label;
    const char *bytes;
    gsize n_bytes;
    gsize length;
    WkImageKind kind;
} odd_files[] = {
    { "empty", "", 0, 0, WK_IMAGE_PARTIAL },
    { "one byte", "L", 1, 1, WK_IMAGE_PARTIAL },
    { "91 bytes of a final one", "LibvirtQemudSave", 16, 91, WK_IMAGE_PARTIAL },
    { "91 bytes of a guard", FIXTURE_GUARD, FIXTURE_GUARD_BYTES, 91, WK_IMAGE_PARTIAL },
    { "92 zeroes", "", 0, 92, WK_IMAGE_FOREIGN },
    { "partial", "LibvirtQemudPart", 16, 500, WK_IMAGE_PARTIAL },
    { "guard", FIXTURE_GUARD, FIXTURE_GUARD_BYTES, 92, WK_IMAGE_GUARD },
    { "guard with more behind", FIXTURE_GUARD, FIXTURE_GUARD_BYTES, 93, WK_IMAGE_FINAL },
    { "guard with something in it", FIXTURE_GUARD "\1", FIXTURE_GUARD_BYTES + 1, 92,
      WK_IMAGE_FINAL },
    { "guard of an earlier agent", "WukongGuardImage", 16, 92, WK_IMAGE_GUARD },
    { "the same with more behind", "WukongGuardImage", 16, 93, WK_IMAGE_FOREIGN },
    { "something else", "PNG", 3, 500, WK_IMAGE_FOREIGN },
    { "version 0", "LibvirtQemudSave\0\0\0\0\1\0\0\0", 24, 500, WK_IMAGE_FINAL },
    { "version 3", "LibvirtQemudSave\3\0\0\0\1\0\0\0", 24, 500, WK_IMAGE_FINAL },
    { "the other byte order", "LibvirtQemudSave\0\0\0\2\0\0\0\1", 24, 500, WK_IMAGE_FINAL },
    { "no data", "LibvirtQemudSave\2\0\0\0\0\0\0\0", 24, 500, WK_IMAGE_FINAL },
    { "data beyond the end", "LibvirtQemudSave\2\0\0\0\x99\1\0\0", 24, 500, WK_IMAGE_FINAL },
    { "1 MiB and 1 of data", "LibvirtQemudSave\2\0\0\0\1\0\x10\0", 24, 2000000, WK_IMAGE_FINAL },
    { "4 GiB of data", "LibvirtQemudSave\2\0\0\0\xff\xff\xff\xff", 24, 500, WK_IMAGE_FINAL },
};

static void
test_look_odd(void **state)
{
    const char *path = fixture_path(state, "image");

    for (gsize i = 0; i < G_N_ELEMENTS(odd_files); i++) {
        g_autofree char *bytes = g_malloc0(odd_files[i].length + 1);
        g_auto(WkImageLook) seen = { 0 };

        memcpy(bytes, odd_files[i].bytes, odd_files[i].n_bytes);
        fixture_write(path, bytes, odd_files[i].length);
        look(path, &seen);
        if (seen.kind != odd_files[i].kind)
            fail_msg("%s: kind %d", odd_files[i].label, (int)seen.kind);
        assert_int_equal(seen.header_bytes, 0);
        assert_string_equal(seen.header_digest, "");
        assert_null(seen.xml);
        assert_int_equal(seen.file.size_bytes, odd_files[i].length);
    }
}

static void
test_look_limits_of_data(void **state)
{
    const char *path = fixture_path(state, "image");
    g_autoptr(GByteArray) image = fixture_image(1024 * 1024, 0, 1);
    g_auto(WkImageLook) seen = { 0 };

    fixture_write(path, image->data, image->len);
    look(path, &seen);
    assert_int_equal(seen.header_bytes, FIXTURE_FIXED + 1024 * 1024);
    assert_non_null(seen.xml);
}

static void
test_look_xml(void **state)
{
    static const struct {
        const char *label;
        guint8 byte;
        gsize from, to; /* in the data */
    } cases[] = {
        { "no end", 'x', 0, DATA },
        { "not UTF-8", 0xff, 3, 4 },
        { "empty", 0, 0, 1 },
    };
    const char *path = fixture_path(state, "image");

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) image = fixture_image(DATA, BODY, 1);
        g_auto(WkImageLook) seen = { 0 };

        memset(image->data + FIXTURE_FIXED + cases[i].from, cases[i].byte,
               cases[i].to - cases[i].from);
        fixture_write(path, image->data, image->len);
        look(path, &seen);
        assert_int_equal(seen.header_bytes, HEADER);
        assert_null(seen.xml);
    }
}

static void
test_look_no_file(void **state)
{
    const char *path = fixture_path(state, "image");
    const char *other = fixture_path(state, "other");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;

    assert_int_equal(kind_of(path), WK_IMAGE_ABSENT);
    assert_int_equal(kind_of(fixture_path(state, "no/such/folder")), WK_IMAGE_ABSENT);
    assert_int_equal(g_mkdir(path, 0700), 0);
    assert_int_equal(kind_of(path), WK_IMAGE_FOREIGN);
    assert_int_equal(g_rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(kind_of(path), WK_IMAGE_FOREIGN); /* and does not block */
    assert_int_equal(g_unlink(path), 0);
    fixture_write(other, "LibvirtQemudSave", 16);
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(kind_of(path), WK_IMAGE_FOREIGN);
    assert_int_equal(g_unlink(path), 0);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(kind_of(path), WK_IMAGE_FOREIGN);
    assert_int_equal(g_unlink(path), 0);
    if (g_strlcpy(address.sun_path, path, sizeof address.sun_path) >= sizeof address.sun_path)
        return; /* a long TMPDIR */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(kind_of(path), WK_IMAGE_FOREIGN);
    close(fd);
}

static void
test_look_folder_is_symlink(void **state)
{
    g_auto(WkImageLook) seen = { 0 };
    g_autoptr(GError) error = NULL;
    const char *folder = fixture_path(state, "folder");

    assert_int_equal(g_mkdir(folder, 0700), 0);
    fixture_write(fixture_path(state, "folder/image"), "x", 1);
    assert_int_equal(symlink(folder, fixture_path(state, "link")), 0);
    assert_false(wk_image_look(fixture_path(state, "link/image"), &seen, &error));
    fixture_expect_error(&error, WK_ERROR_FAILED, NULL);
    assert_false(wk_image_look(fixture_path(state, "folder/"), &seen, &error));
    fixture_expect_error(&error, WK_ERROR_INVALID, NULL);
}

static void
digest(const char *path, guint64 header_bytes, char *text)
{
    g_autoptr(GError) error = NULL;

    wk_image_digest_body(path, header_bytes, TRUE, NULL, text, &error);
    fixture_no_error(&error);
}

/* Whatever byte changes, it shows: in the kind, the header or the body. */
static void
test_every_byte(void **state)
{
    const char *path = fixture_path(state, "image");
    g_autoptr(GByteArray) image = fixture_image(DATA, 600, 1);
    g_auto(WkImageLook) good = { 0 };
    char body[WK_DIGEST_LENGTH + 1];
    char other[WK_DIGEST_LENGTH + 1];

    fixture_write(path, image->data, image->len);
    look(path, &good);
    digest(path, HEADER, body);
    for (guint i = 0; i < image->len; i++) {
        g_auto(WkImageLook) seen = { 0 };

        image->data[i] ^= (guint8)(1 << (i % 8));
        fixture_write(path, image->data, image->len);
        image->data[i] ^= (guint8)(1 << (i % 8));
        look(path, &seen);
        if (i < 16)
            assert_int_equal(seen.kind, WK_IMAGE_FOREIGN);
        else if (i < HEADER)
            assert_string_not_equal(seen.header_digest, good.header_digest);
        else
            assert_string_equal(seen.header_digest, good.header_digest);
        digest(path, HEADER, other);
        assert_int_equal(g_str_equal(body, other), i < HEADER);
    }
}

static void
test_truncations(void **state)
{
    static const struct {
        gsize length;
        WkImageKind kind;
        gboolean header;
    } cases[] = {
        { 0, WK_IMAGE_PARTIAL, FALSE },
        { 1, WK_IMAGE_PARTIAL, FALSE },
        { 91, WK_IMAGE_PARTIAL, FALSE },
        { 92, WK_IMAGE_FINAL, FALSE },
        { HEADER - 1, WK_IMAGE_FINAL, FALSE },
        { HEADER, WK_IMAGE_FINAL, TRUE },
        { HEADER + BODY / 2, WK_IMAGE_FINAL, TRUE },
        { HEADER + BODY - 1, WK_IMAGE_FINAL, TRUE },
    };
    const char *path = fixture_path(state, "image");
    g_autoptr(GByteArray) image = fixture_image(DATA, BODY, 1);
    g_autoptr(GError) error = NULL;
    char body[WK_DIGEST_LENGTH + 1];
    char other[WK_DIGEST_LENGTH + 1];

    fixture_write(path, image->data, image->len);
    digest(path, HEADER, body);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(WkImageLook) seen = { 0 };

        fixture_write(path, image->data, cases[i].length);
        look(path, &seen);
        assert_int_equal(seen.kind, cases[i].kind);
        assert_int_equal(seen.header_bytes, cases[i].header ? HEADER : 0);
        if (cases[i].header) {
            digest(path, HEADER, other);
            assert_string_not_equal(other, body);
        } else {
            assert_false(wk_image_digest_body(path, HEADER, FALSE, NULL, other, &error));
            fixture_expect_error(&error, WK_ERROR_CORRUPT, "ImageCorrupt");
        }
    }
}

static void
test_digest_is_xxh128(void **state)
{
    static const gsize mib = 1024 * 1024;
    const gsize sizes[] = { 0, 1, mib - 1, mib, mib + 1, 8 * mib, 8 * mib + 1, 17 * mib + 4711 };
    const char *path = fixture_path(state, "image");
    char expected[WK_DIGEST_LENGTH + 1];
    char found[WK_DIGEST_LENGTH + 1];

    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GByteArray) image = fixture_image(DATA, sizes[i], (guint32)i);

        fixture_write(path, image->data, image->len);
        fixture_digest(image->data + HEADER, sizes[i], expected);
        digest(path, HEADER, found);
        assert_string_equal(found, expected);
    }
    /* the canonical order, as xxhsum prints it */
    fixture_write(path, "x", 1);
    digest(path, 1, found);
    assert_string_equal(found, "99aa06d3014798d86001c324468d497f");
}

static void
test_digest_run(void **state)
{
    const char *path = fixture_path(state, "image");
    g_autoptr(GByteArray) image = fixture_image(DATA, 9 * 1024 * 1024, 3);
    g_autoptr(WkRun) run = wk_run_new("id", "guest");
    g_autoptr(GError) error = NULL;
    char found[WK_DIGEST_LENGTH + 1];
    guint64 done;
    guint64 total;

    fixture_write(path, image->data, image->len);
    assert_true(wk_image_digest_body(path, HEADER, TRUE, run, found, &error));
    wk_run_get_progress(run, &done, &total);
    assert_int_equal(done, 9 * 1024 * 1024);
    assert_int_equal(total, 9 * 1024 * 1024);
    wk_run_cancel(run, "enough");
    assert_false(wk_image_digest_body(path, HEADER, TRUE, run, found, &error));
    fixture_expect_error(&error, WK_ERROR_CANCELLED, NULL);
    assert_false(wk_image_digest_body(fixture_path(state, "none"), 1, TRUE, NULL, found, &error));
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
}

static void
test_kill(void **state)
{
    const char *path = fixture_path(state, "image");
    const char *link_path = fixture_path(state, "link");
    g_autoptr(GByteArray) image = fixture_image(DATA, BODY, 1);
    g_autoptr(GError) error = NULL;
    WkFileId file;
    WkFileId other;

    fixture_write(path, image->data, image->len);
    file = fixture_file_id(path);
    other = file;
    other.inode++;
    assert_true(wk_image_kill(path, &other, &error)); /* not that file */
    fixture_expect_bytes(path, image);
    other = (WkFileId){ 0 };
    assert_true(wk_image_kill(path, &other, &error)); /* never noted */
    fixture_expect_bytes(path, image);
    assert_int_equal(symlink(path, link_path), 0);
    assert_true(wk_image_kill(link_path, &file, &error)); /* not through a symlink */
    fixture_expect_bytes(path, image);
    assert_true(wk_image_kill(fixture_path(state, "none"), &file, &error));
    assert_true(wk_image_kill(fixture_path(state, "none/none"), &file, &error));

    assert_true(wk_image_kill(path, &file, &error));
    memcpy(image->data + 12, "Part", 4);
    fixture_expect_bytes(path, image);
    assert_int_equal(kind_of(path), WK_IMAGE_PARTIAL);
    assert_int_equal(utimensat(AT_FDCWD, path, (const struct timespec[]){ { 1, 0 }, { 1, 0 } }, 0),
                     0);
    assert_true(wk_image_kill(path, &file, &error)); /* and again, written anew */
    assert_true(fixture_file_id(path).mtime_ns > 1000000000);
    fixture_expect_bytes(path, image);
    assert_true(wk_image_sync(path, &file, &error));
    assert_true(wk_image_sync(path, &other, &error));
    assert_true(wk_image_sync(fixture_path(state, "none"), &file, &error));
    fixture_no_error(&error);
}

static void
test_kill_leaves_others_alone(void **state)
{
    const char *path = fixture_path(state, "image");
    static const char *const contents[] = { "", "L", "LibvirtQemudSav", "WukongGuardImage", "PNG" };
    g_autoptr(GError) error = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(contents); i++) {
        g_autoptr(GBytes) found = NULL;
        WkFileId file;

        fixture_write(path, contents[i], strlen(contents[i]));
        file = fixture_file_id(path);
        assert_true(wk_image_kill(path, &file, &error));
        found = fixture_read(path);
        assert_int_equal(g_bytes_get_size(found), strlen(contents[i]));
        assert_memory_equal(g_bytes_get_data(found, NULL), contents[i], strlen(contents[i]));
    }
}

static void
test_unlink(void **state)
{
    const char *path = fixture_path(state, "image");
    const char *other_path = fixture_path(state, "other");
    g_autoptr(GError) error = NULL;
    WkFileId file;
    WkFileId other;

    fixture_write(path, "an image", 8);
    fixture_write(other_path, "another", 7);
    file = fixture_file_id(path);
    other = fixture_file_id(other_path);
    assert_true(wk_image_unlink(fixture_path(state, "none"), &file, &error));
    assert_true(wk_image_unlink(fixture_path(state, "none/none"), NULL, &error));
    assert_false(wk_image_unlink(path, &other, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    assert_false(wk_image_unlink(path, NULL, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    assert_true(fixture_exists(path));
    assert_true(wk_image_unlink(path, &file, &error));
    assert_false(fixture_exists(path));
    assert_int_equal(symlink(other_path, path), 0);
    assert_false(wk_image_unlink(path, &other, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    assert_true(fixture_exists(path));
    assert_int_equal(g_unlink(path), 0);
    assert_int_equal(g_mkdir(path, 0700), 0);
    file = fixture_file_id(path);
    assert_false(wk_image_unlink(path, &file, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    assert_true(fixture_exists(path));
}

/* What is freed beside the caller is only what has no name left. */
static void
test_unlink_one_of_two(void **state)
{
    const char *path = fixture_path(state, "image");
    const char *hold = fixture_path(state, "hold");
    g_autofree char *content = NULL;
    g_autoptr(GError) error = NULL;
    WK_AUTO_FD int fd = -1;
    struct stat st;
    WkFileId file;

    fixture_write(path, "an image", 8);
    file = fixture_file_id(path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(link(path, hold), 0);
    assert_true(wk_image_unlink(path, &file, &error));
    assert_true(g_file_get_contents(hold, &content, NULL, &error)
                && g_str_equal(content, "an image"));
    assert_true(wk_image_unlink(hold, &file, &error));
    while (fstat(fd, &st) == 0 && st.st_size > 0)
        g_usleep(1000);
}

static void
test_link(void **state)
{
    const char *from = fixture_path(state, "from");
    const char *to = fixture_path(state, "to");
    g_autoptr(GError) error = NULL;
    WkFileId a;
    WkFileId b;

    assert_false(wk_image_link(from, to, &error));
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
    fixture_write(from, "an image", 8);
    assert_true(wk_image_link(from, to, &error));
    a = fixture_file_id(from);
    b = fixture_file_id(to);
    assert_true(wk_file_id_equal(&a, &b));
    assert_true(wk_image_link(from, to, &error)); /* a step may be repeated */
    assert_int_equal(g_unlink(to), 0);
    fixture_write(to, "another", 7);
    assert_false(wk_image_link(from, to, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    b = fixture_file_id(to);
    assert_false(wk_file_id_same_inode(&a, &b));
    assert_int_equal(g_unlink(to), 0);
    assert_int_equal(symlink(from, to), 0);
    assert_false(wk_image_link(from, to, &error)); /* what is there is a symlink */
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    assert_false(wk_image_link(to, fixture_path(state, "new"), &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    assert_false(fixture_exists(fixture_path(state, "new")));
    assert_false(wk_image_link(from, fixture_path(state, "none/new"), &error));
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
}

static void
test_link_across(void **state)
{
    const char *from = fixture_path(state, "from");
    g_autofree char *to = g_strdup_printf("/dev/shm/wukong-test-%d", (int)getpid());
    g_autoptr(GError) error = NULL;
    struct stat here;
    struct stat there;

    fixture_write(from, "an image", 8);
    if (stat("/dev/shm", &there) < 0 || stat(from, &here) < 0 || here.st_dev == there.st_dev
        || access("/dev/shm", W_OK) < 0)
        skip();
    assert_false(wk_image_link(from, to, &error));
    assert_non_null(strstr(error->message, from));
    assert_non_null(strstr(error->message, to));
    fixture_expect_error(&error, WK_ERROR_REFUSED, "VaultOnOtherFileSystem");
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_look_final),
        WITH_FOLDER(test_look_odd),
        WITH_FOLDER(test_look_limits_of_data),
        WITH_FOLDER(test_look_xml),
        WITH_FOLDER(test_look_no_file),
        WITH_FOLDER(test_look_folder_is_symlink),
        WITH_FOLDER(test_every_byte),
        WITH_FOLDER(test_truncations),
        WITH_FOLDER(test_digest_is_xxh128),
        WITH_FOLDER(test_digest_run),
        WITH_FOLDER(test_kill),
        WITH_FOLDER(test_kill_leaves_others_alone),
        WITH_FOLDER(test_unlink),
        WITH_FOLDER(test_unlink_one_of_two),
        WITH_FOLDER(test_link),
        WITH_FOLDER(test_link_across),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
