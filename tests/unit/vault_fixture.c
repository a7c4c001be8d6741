/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault_fixture.h"

#include <dirent.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

typedef struct {
    char *dir;
    GPtrArray *paths;
} Fixture;

int
fixture_setup(void **state)
{
    Fixture *self = g_new0(Fixture, 1);

    self->dir = g_dir_make_tmp("wukong-vault-XXXXXX", NULL);
    self->paths = g_ptr_array_new_with_free_func(g_free);
    *state = self;
    return self->dir != NULL ? 0 : -1;
}

void
fixture_remove(const char *path)
{
    GDir *dir = NULL;
    const char *name;

    if (!g_file_test(path, G_FILE_TEST_IS_SYMLINK))
        dir = g_dir_open(path, 0, NULL);
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *below = g_build_filename(path, name, NULL);

        fixture_remove(below);
    }
    if (dir != NULL)
        g_dir_close(dir);
    (void)g_remove(path);
}

int
fixture_teardown(void **state)
{
    Fixture *self = *state;

    fixture_remove(self->dir);
    g_ptr_array_unref(self->paths);
    g_free(self->dir);
    g_free(self);
    return 0;
}

const char *
fixture_path(void **state, const char *name)
{
    Fixture *self = *state;
    char *path = g_build_filename(self->dir, name, NULL);

    g_ptr_array_add(self->paths, path);
    return path;
}

void
fixture_write(const char *path, const void *bytes, gsize length)
{
    /* in place, so that the inode stays */
    FILE *file = g_fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

GBytes *
fixture_read(const char *path)
{
    char *bytes = NULL;
    gsize length;

    assert_true(g_file_get_contents(path, &bytes, &length, NULL));
    return g_bytes_new_take(bytes, length);
}

WkFileId
fixture_file_id(const char *path)
{
    WkFileId file;
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    file = (WkFileId){ .dev = (guint64)st.st_dev,
                       .inode = (guint64)st.st_ino,
                       .size_bytes = (guint64)st.st_size,
                       .mtime_ns = (gint64)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec };
    return file;
}

gboolean
fixture_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

GByteArray *
fixture_image(guint32 data_len, gsize body, guint32 seed)
{
    static const char xml[] = "<domain type='qemu'><name>a</name></domain>";
    GByteArray *image = g_byte_array_new();
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    const guint32 numbers[5] = { 2, data_len, 0, 0, 0 };
    guint8 *bytes;

    g_byte_array_set_size(image, (guint)(FIXTURE_FIXED + data_len + body));
    bytes = image->data;
    memset(bytes, 0, FIXTURE_FIXED + data_len);
    memcpy(bytes, "LibvirtQemudSave", 16);
    memcpy(bytes + 16, numbers, sizeof numbers);
    memcpy(bytes + FIXTURE_FIXED, xml, MIN(sizeof xml, data_len));
    for (gsize i = 0; i < body; i += 4) {
        const guint32 noise = g_rand_int(rand);

        memcpy(bytes + FIXTURE_FIXED + data_len + i, &noise, MIN(4, body - i));
    }
    return image;
}

void
fixture_digest(const guint8 *bytes, gsize length, char *digest)
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, length));
    for (gsize i = 0; i < sizeof canonical.digest; i++)
        sprintf(digest + 2 * i, "%02x", canonical.digest[i]);
}

void
fixture_expect_error(GError **error, WkErrorCode code, const char *reason)
{
    assert_non_null(*error);
    if (!g_error_matches(*error, WK_ERROR, (int)code))
        fail_msg("expected code %d, got %d: %s", (int)code, (*error)->code, (*error)->message);
    if (reason != NULL && g_strcmp0(wk_error_get_reason(*error), reason) != 0)
        fail_msg("expected '%s': %s", reason, (*error)->message);
    g_clear_error(error);
}

void
fixture_no_error(GError **error)
{
    if (*error != NULL)
        fail_msg("%s", (*error)->message);
}

guint
fixture_rounds(guint normal)
{
    const char *text = g_getenv("WK_TEST_ROUNDS");
    guint64 rounds;

    if (text != NULL && g_ascii_string_to_unsigned(text, 10, 1, 1000000, &rounds, NULL))
        return (guint)rounds;
    return normal;
}

void
fixture_expect_bytes(const char *path, const GByteArray *expected)
{
    g_autoptr(GBytes) found = fixture_read(path);

    assert_int_equal(g_bytes_get_size(found), expected->len);
    assert_memory_equal(g_bytes_get_data(found, NULL), expected->data, expected->len);
}
