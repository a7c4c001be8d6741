/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault_fixture.h"

#include "vault/image.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA      300
#define HEADER    (FIXTURE_FIXED + DATA)
#define SETTLE_US 400000 /* many polls of the follower, which is nice to others */

/* The writer of the follower's tests: does what libvirt and its I/O helper do. */
typedef struct {
    const char *path;
    const GByteArray *image;
    guint32 seed;
    gboolean padded; /* as with O_DIRECT: the tail is written up to a block, then truncated */
    int failed;      /* errno */
} Writer;

static gpointer
write_image(gpointer data)
{
    Writer *self = data;
    g_autoptr(GRand) rand = g_rand_new_with_seed(self->seed);
    static const char padding[4096];
    gsize done = 0;
    int fd;

    g_usleep((gulong)g_rand_int_range(rand, 0, 30000));
    fd = open(self->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (fd >= 0 && self->failed == 0 && done < self->image->len) {
        const gsize wanted = (gsize)g_rand_int_range(rand, 1, 3 * 1024 * 1024);
        const gsize length = done == 0 ? HEADER : MIN(wanted, self->image->len - done);
        g_autofree guint8 *piece = g_memdup2(self->image->data + done, length);

        if (done == 0)
            memcpy(piece + 12, "Part", 4);
        if (pwrite(fd, piece, length, (off_t)done) != (ssize_t)length)
            self->failed = errno;
        done += length;
        g_usleep((gulong)g_rand_int_range(rand, 0, 4000));
    }
    if (self->padded && pwrite(fd, padding, sizeof padding, (off_t)done) > 0) {
        g_usleep((gulong)g_rand_int_range(rand, 0, 50000));
        if (ftruncate(fd, (off_t)done) < 0)
            self->failed = errno;
    }
    if (fd < 0 || pwrite(fd, "LibvirtQemudSave", 16, 0) != 16 || close(fd) < 0)
        self->failed = errno;
    return NULL;
}

static void
follow_once(void **state, guint32 seed)
{
    const char *path = fixture_path(state, "followed");
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    const gsize body = (gsize)g_rand_int_range(rand, 0, 24 * 1024 * 1024);
    g_autoptr(GByteArray) image = fixture_image(DATA, body, seed);
    Writer writer = { path, image, seed, seed % 2 == 0, 0 };
    g_autoptr(WkImageFollower) follower = wk_image_follower_new(path);
    GThread *thread = g_thread_new("writer", write_image, &writer);
    g_autoptr(GError) error = NULL;
    char expected[WK_DIGEST_LENGTH + 1];
    char found[WK_DIGEST_LENGTH + 1];
    WkFileId file;

    g_thread_join(thread);
    assert_int_equal(writer.failed, 0);
    file = fixture_file_id(path);
    wk_image_follower_finish(follower, &file, HEADER, found, &error);
    fixture_no_error(&error);
    fixture_digest(image->data + HEADER, body, expected);
    assert_string_equal(found, expected);
    assert_int_equal(g_unlink(path), 0);
}

static void
test_follower(void **state)
{
    for (guint i = 0; i < fixture_rounds(40); i++)
        follow_once(state, i);
}

/* The padding of a save past the page cache lies there for a while, and is no part of the image. */
static void
test_follower_padded_tail(void **state)
{
    static const guint8 padding[4096] = { 0 };
    const char *path = fixture_path(state, "followed");
    const gsize body = 8 * 1024 * 1024 - sizeof padding;
    g_autoptr(GByteArray) image = fixture_image(DATA, body, 9);
    g_autoptr(WkImageFollower) follower = wk_image_follower_new(path);
    g_autoptr(GError) error = NULL;
    char expected[WK_DIGEST_LENGTH + 1];
    char found[WK_DIGEST_LENGTH + 1];
    WkFileId file;

    fixture_digest(image->data + HEADER, body, expected);
    g_byte_array_append(image, padding, sizeof padding);
    fixture_write(path, image->data, image->len);
    g_usleep(SETTLE_US);
    assert_int_equal(truncate(path, (off_t)(HEADER + body)), 0);
    file = fixture_file_id(path);
    wk_image_follower_finish(follower, &file, HEADER, found, &error);
    fixture_no_error(&error);
    assert_string_equal(found, expected);
}

static void
expect_unfollowed(WkImageFollower *follower, const WkFileId *file, guint64 header_bytes,
                  WkErrorCode code)
{
    g_autoptr(GError) error = NULL;
    char found[WK_DIGEST_LENGTH + 1];

    assert_false(wk_image_follower_finish(follower, file, header_bytes, found, &error));
    fixture_expect_error(&error, code, NULL);
}

static void
test_follower_other_file(void **state)
{
    const char *path = fixture_path(state, "followed");
    g_autoptr(GByteArray) image = fixture_image(DATA, 12 * 1024 * 1024, 5);
    WkFileId file = { .dev = 1, .inode = 1 };

    for (int i = 0; i < 6; i++) {
        g_autoptr(WkImageFollower) follower = wk_image_follower_new(path);

        if (i > 0) {
            fixture_write(path, image->data, image->len);
            g_usleep(SETTLE_US);
            file = fixture_file_id(path);
        }
        switch (i) {
        case 0: /* never there */
            expect_unfollowed(follower, &file, HEADER, WK_ERROR_NOT_FOUND);
            break;
        case 1: /* replaced by another inode */
            assert_int_equal(g_rename(path, fixture_path(state, "old")), 0);
            fixture_write(path, image->data, image->len);
            file = fixture_file_id(path);
            expect_unfollowed(follower, &file, HEADER, WK_ERROR_CONFLICT);
            break;
        case 2: /* became shorter */
            assert_int_equal(truncate(path, HEADER + 100), 0);
            file = fixture_file_id(path);
            expect_unfollowed(follower, &file, HEADER, WK_ERROR_CONFLICT);
            break;
        case 3: /* became shorter, then as long as it was: F8, a save into a leftover file */
            assert_int_equal(truncate(path, 0), 0);
            g_usleep(3 * SETTLE_US);
            fixture_write(path, image->data, image->len);
            file = fixture_file_id(path);
            expect_unfollowed(follower, &file, HEADER, WK_ERROR_CONFLICT);
            break;
        case 4: /* grew after it was looked at */
            file.size_bytes -= 10;
            expect_unfollowed(follower, &file, HEADER, WK_ERROR_CONFLICT);
            break;
        default: /* its header is another one */
            expect_unfollowed(follower, &file, HEADER + 1, WK_ERROR_CONFLICT);
            break;
        }
    }
}

static void
test_follower_not_followable(void **state)
{
    const char *path = fixture_path(state, "followed");
    g_autoptr(GByteArray) image = fixture_image(DATA, 6 * 1024 * 1024, 5);

    for (int i = 0; i < 4; i++) {
        g_autoptr(WkImageFollower) follower = NULL;
        WkFileId file;

        if (i == 0)
            image->data[28] = 6; /* sparse: written all over */
        else if (i == 1)
            image->data[16] = 3; /* a version we don't know */
        else
            memcpy(image->data, "WukongGuardImage", 16);
        if (i < 3)
            fixture_write(path, image->data, image->len);
        else
            assert_true(g_unlink(path) == 0 && mkfifo(path, 0600) == 0);
        file = fixture_file_id(path);
        follower = wk_image_follower_new(path);
        g_usleep(SETTLE_US);
        expect_unfollowed(follower, &file, HEADER, WK_ERROR_CONFLICT);
    }
}

/* Stopping it, at any moment, is prompt and leaks nothing. */
static void
test_follower_free(void **state)
{
    const char *path = fixture_path(state, "followed");
    g_autoptr(GByteArray) image = fixture_image(DATA, 8 * 1024 * 1024, 5);

    wk_image_follower_free(NULL);
    for (guint i = 0; i < 20; i++) {
        Writer writer = { path, image, i, FALSE, 0 };
        GThread *thread = g_thread_new("writer", write_image, &writer);
        WkImageFollower *follower = wk_image_follower_new(path);

        g_usleep(i * 2000);
        wk_image_follower_free(follower);
        g_thread_join(thread);
        assert_int_equal(writer.failed, 0);
        assert_int_equal(g_unlink(path), 0);
    }
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

/* What is done after an fsync that failed. */
static void
test_again(void **state)
{
    const char *path = fixture_path(state, "image");
    g_autoptr(GByteArray) image = fixture_image(777, 3 * 1024 * 1024 + 5, 1);
    g_autoptr(GBytes) found = NULL;
    const gsize header_bytes = 92 + 777;
    char header[WK_DIGEST_LENGTH + 1];
    char body[WK_DIGEST_LENGTH + 1];
    char expected[WK_DIGEST_LENGTH + 1];
    g_autoptr(GError) error = NULL;
    WkFileId file;
    WkFileId other;

    fixture_write(path, image->data, image->len);
    file = fixture_file_id(path);
    assert_true(wk_image_rewrite(path, &file, &error));
    found = fixture_read(path);
    assert_int_equal(g_bytes_get_size(found), image->len);
    assert_memory_equal(g_bytes_get_data(found, NULL), image->data, image->len);
    other = fixture_file_id(path);
    assert_true(wk_file_id_equal(&other, &file)); /* its time, too */

    assert_true(wk_image_read_back(path, &file, header_bytes, header, body, &error));
    fixture_digest(image->data, header_bytes, expected);
    assert_string_equal(header, expected);
    fixture_digest(image->data + header_bytes, image->len - header_bytes, expected);
    assert_string_equal(body, expected);

    other.size_bytes++;
    assert_false(wk_image_rewrite(path, &other, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    assert_false(wk_image_read_back(path, &other, header_bytes, header, body, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_follower),
        WITH_FOLDER(test_follower_padded_tail),
        WITH_FOLDER(test_follower_other_file),
        WITH_FOLDER(test_follower_not_followable),
        WITH_FOLDER(test_follower_free),
        WITH_FOLDER(test_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
