/* SPDX-License-Identifier: Apache-2.0 */
/* The guard at the managed path: what it is made of, how it gets there, and that it is told from
 * images. */
#include "config.h"

#include "vault_fixture.h"

#include "vault/image.h"

#include <glib/gstdio.h>
#include <string.h>

#define DATA 300
#define BODY 5000

static WkImageKind
kind_of(const char *path)
{
    g_auto(WkImageLook) seen = { 0 };
    g_autoptr(GError) error = NULL;

    wk_image_look(path, &seen, &error);
    fixture_no_error(&error);
    return seen.kind;
}

/* What libvirt decides by, in every release that was tried: a good magic, so that it is no broken
 * image, which is dropped from 11.3 on; and a version that is none, so that it is refused. */
static void
expect_guard(const char *path)
{
    g_autoptr(GBytes) found = fixture_read(path);
    guint8 expected[FIXTURE_FIXED] = { 0 };

    memcpy(expected, FIXTURE_GUARD, FIXTURE_GUARD_BYTES);
    assert_int_equal(g_bytes_get_size(found), sizeof expected);
    assert_memory_equal(g_bytes_get_data(found, NULL), expected, sizeof expected);
}

/* Called partial it would be dropped, and the guest booted cold (I4). */
static void
test_kill_leaves_guards_alone(void **state)
{
    const char *path = fixture_path(state, "image");
    g_autoptr(GError) error = NULL;
    WkFileId file;

    assert_true(wk_guard_write(path, &error) && wk_guard_rename(path, &error));
    file = fixture_file_id(path);
    assert_true(wk_image_kill(path, &file, &error));
    expect_guard(path);
    fixture_no_error(&error);
}

static void
test_unlink_guard(void **state)
{
    const char *path = fixture_path(state, "image");
    g_autoptr(GError) error = NULL;
    WkFileId file = { .dev = 1, .inode = 1 };

    assert_true(wk_guard_write(path, &error) && wk_guard_rename(path, &error));
    assert_true(wk_image_unlink(path, &file, &error));
    assert_false(fixture_exists(path));
    assert_true(wk_guard_write(path, &error) && wk_guard_rename(path, &error));
    assert_true(wk_image_unlink(path, NULL, &error));
    assert_false(fixture_exists(path));
    fixture_no_error(&error);
}

static void
test_guard(void **state)
{
    const char *path = fixture_path(state, "image");
    const char *draft = fixture_path(state, "image.wukong-guard");
    g_autoptr(GByteArray) image = fixture_image(DATA, BODY, 1);
    g_autoptr(GError) error = NULL;

    fixture_write(path, image->data, image->len);
    fixture_write(draft, "left by an agent that died", 26);
    assert_true(wk_guard_write(path, &error));
    assert_int_equal(kind_of(draft), WK_IMAGE_GUARD);
    fixture_expect_bytes(path, image);
    assert_true(wk_guard_sync(path, &error));
    assert_true(wk_guard_rename(path, &error));
    assert_int_equal(kind_of(path), WK_IMAGE_GUARD);
    expect_guard(path);
    assert_false(fixture_exists(draft));
    assert_false(wk_guard_sync(path, &error));
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
    assert_false(wk_guard_rename(path, &error));
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
    assert_true(wk_guard_write(path, &error));
}

/* F12: an empty file at the managed path makes libvirt boot cold. */
static void
test_guard_torn(void **state)
{
    const char *path = fixture_path(state, "image");
    const char *draft = fixture_path(state, "image.wukong-guard");
    g_autoptr(GError) error = NULL;

    for (gsize length = 0; length < FIXTURE_FIXED; length++) {
        assert_true(wk_guard_write(path, &error));
        assert_int_equal(truncate(draft, (off_t)length), 0);
        assert_false(wk_guard_rename(path, &error));
        fixture_expect_error(&error, WK_ERROR_CORRUPT, NULL);
        assert_false(fixture_exists(path));
    }
    assert_int_equal(g_unlink(draft), 0);
    assert_int_equal(symlink(path, draft), 0);
    assert_true(wk_guard_write(path, &error)); /* replaces the symlink, does not follow it */
    assert_false(fixture_exists(path));
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_kill_leaves_guards_alone),
        WITH_FOLDER(test_unlink_guard),
        WITH_FOLDER(test_guard),
        WITH_FOLDER(test_guard_torn),
    };

    return cmocka_run_group_tests_name("vault-guard", tests, NULL, NULL);
}
