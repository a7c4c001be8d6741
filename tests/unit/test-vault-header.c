/* SPDX-License-Identifier: Apache-2.0 */
/* The header of an image: kept, read by nobody with privileges, and written anew in its place. */
#include "config.h"

#include "vault_fixture.h"

#include "vault/launcher_image.h"

#include <string.h>
#include <sys/stat.h>

#define DATA   1000
#define HEADER (FIXTURE_FIXED + DATA)
#define BODY   5000
#define COOKIE "<cookie>of libvirt</cookie>"
#define XML    "<domain type='qemu'><name>a</name></domain>" /* the fixture's */

/* Offsets of the fixed part's numbers. */
#define AT_DATA_LEN 20
#define AT_RUNNING  24
#define AT_COOKIE   32

static void
put_u32(guint8 *bytes, gsize at, guint32 value)
{
    memcpy(bytes + at, &value, sizeof value);
}

static guint32
get_u32(GBytes *header, gsize at)
{
    guint32 value;

    memcpy(&value, (const guint8 *)g_bytes_get_data(header, NULL) + at, sizeof value);
    return value;
}

/* Writes an image at @path whose cookie is behind the XML. */
static WkFileId
write_image(const char *path, gboolean with_cookie)
{
    g_autoptr(GByteArray) image = fixture_image(DATA, BODY, 3);

    if (with_cookie) {
        put_u32(image->data, AT_COOKIE, sizeof XML);
        memcpy(image->data + FIXTURE_FIXED + sizeof XML, COOKIE, sizeof COOKIE);
    }
    fixture_write(path, image->data, image->len);
    return fixture_file_id(path);
}

static GBytes *
read_header(const char *path, const WkFileId *file)
{
    GError *error = NULL;
    GBytes *header = wk_launcher_header_read(path, file, &error);

    fixture_no_error(&error);
    return header;
}

static GBytes *
with_xml(GBytes *header, const char *xml)
{
    GError *error = NULL;
    GBytes *changed = wk_launcher_header_with_xml(header, xml, &error);

    fixture_no_error(&error);
    return changed;
}

static void
expect_parts(GBytes *header, const char *xml, const char *cookie)
{
    const char *data = (const char *)g_bytes_get_data(header, NULL) + FIXTURE_FIXED;
    g_autofree char *found = wk_launcher_header_get_xml(header, NULL);
    const gsize used = strlen(xml) + 1 + (cookie != NULL ? strlen(cookie) + 1 : 0);

    assert_int_equal(g_bytes_get_size(header), HEADER);
    assert_int_equal(get_u32(header, AT_DATA_LEN), DATA);
    assert_string_equal(found, xml);
    assert_int_equal(get_u32(header, AT_COOKIE), cookie != NULL ? strlen(xml) + 1 : 0);
    if (cookie != NULL)
        assert_string_equal(data + strlen(xml) + 1, cookie);
    for (gsize i = used; i < DATA; i++)
        assert_int_equal(data[i], 0);
}

/* The body, and what C has of the file, are as they were. */
static void
test_rewrite(void **state)
{
    static const char *const texts[] = {
        XML,
        "<domain/>",
        "<domain><name>longer than it was</name><uuid>of another pod</uuid></domain>",
    };
    const char *path = fixture_path(state, "image");

    for (guint cookie = 0; cookie < 2; cookie++)
        for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
            const WkFileId file = write_image(path, cookie == 1);
            g_autoptr(GBytes) before = fixture_read(path);
            g_autoptr(GBytes) header = read_header(path, &file);
            g_autoptr(GBytes) changed = with_xml(header, texts[i]);
            g_autoptr(GBytes) after = NULL;
            g_auto(WkImageLook) seen = { 0 };
            char digest[WK_DIGEST_LENGTH + 1];

            expect_parts(header, XML, cookie == 1 ? COOKIE : NULL);
            expect_parts(changed, texts[i], cookie == 1 ? COOKIE : NULL);
            assert_true(wk_launcher_header_write(path, &file, changed, NULL));
            assert_true(wk_image_look(path, &seen, NULL));
            assert_true(wk_file_id_equal(&seen.file, &file));
            assert_string_equal(seen.xml, texts[i]);
            wk_launcher_header_digest(changed, digest);
            assert_string_equal(seen.header_digest, digest);
            after = fixture_read(path);
            assert_memory_equal((const guint8 *)g_bytes_get_data(before, NULL) + HEADER,
                                (const guint8 *)g_bytes_get_data(after, NULL) + HEADER, BODY);
        }
}

static void
test_says_paused(void **state)
{
    const char *path = fixture_path(state, "image");
    g_autoptr(GByteArray) image = fixture_image(DATA, BODY, 3);
    g_autoptr(GBytes) header = NULL;
    g_autoptr(GBytes) changed = NULL;
    WkFileId file;

    put_u32(image->data, AT_RUNNING, 1);
    fixture_write(path, image->data, image->len);
    file = fixture_file_id(path);
    header = read_header(path, &file);
    changed = with_xml(header, XML);
    assert_int_equal(get_u32(header, AT_RUNNING), 1);
    assert_int_equal(get_u32(changed, AT_RUNNING), 0);
}

static void
test_too_long(void **state)
{
    const char *path = fixture_path(state, "image");

    for (guint cookie = 0; cookie < 2; cookie++) {
        const WkFileId file = write_image(path, cookie == 1);
        const gsize room = DATA - 1 - (cookie == 1 ? sizeof COOKIE : 0);
        g_autoptr(GBytes) header = read_header(path, &file);
        g_autofree char *fits = g_strnfill(room, 'x');
        g_autofree char *long_one = g_strnfill(room + 1, 'x');
        g_autoptr(GBytes) changed = with_xml(header, fits);
        GError *error = NULL;

        expect_parts(changed, fits, cookie == 1 ? COOKIE : NULL);
        assert_null(wk_launcher_header_with_xml(header, long_one, &error));
        fixture_expect_error(&error, WK_ERROR_REFUSED, "ImageXmlTooLong");
        assert_null(wk_launcher_header_with_xml(header, "", &error));
        fixture_expect_error(&error, WK_ERROR_REFUSED, "ImageXmlTooLong");
    }
}

/* Headers that a stranger made; @at and @value: what differs from a good one. */
static const struct {
    const char *what;
    gsize at;
    guint32 value;
} bad[] = {
    { "version", 16, 3 },
    { "no data", AT_DATA_LEN, 0 },
    { "1 GiB of data", AT_DATA_LEN, 1 << 30 },
    { "more data than the file has", AT_DATA_LEN, 1024 * 1024 },
    { "cookie in the XML", AT_COOKIE, 5 },
    { "cookie behind the data", AT_COOKIE, DATA },
    { "cookie far behind", AT_COOKIE, G_MAXUINT32 },
    { "XML that is no text", FIXTURE_FIXED, 0xffffffff },
    { "no XML", FIXTURE_FIXED, 0 },
};

static void
test_bad_headers(void **state)
{
    const char *path = fixture_path(state, "image");
    WkFileId file = write_image(path, FALSE);
    g_autoptr(GBytes) good = read_header(path, &file);
    GError *error = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GByteArray) image = fixture_image(DATA, BODY, 3);
        g_autoptr(GBytes) copy = NULL;

        put_u32(image->data, bad[i].at, bad[i].value);
        fixture_write(path, image->data, image->len);
        file = fixture_file_id(path);
        if (wk_launcher_header_read(path, &file, &error) != NULL)
            fail_msg("'%s' was read", bad[i].what);
        fixture_expect_error(&error, WK_ERROR_CORRUPT, "ImageCorrupt");
        copy = g_bytes_new(image->data, HEADER);
        assert_null(wk_launcher_header_with_xml(copy, XML, &error));
        fixture_expect_error(&error, WK_ERROR_CORRUPT, "ImageCorrupt");
        assert_false(wk_launcher_header_write(path, &file, copy, &error));
        fixture_expect_error(&error, WK_ERROR_CORRUPT, "ImageCorrupt");
    }
    for (gsize i = 0; i < HEADER; i += 61) { /* cut anywhere */
        g_autoptr(GBytes) cut = g_bytes_new_from_bytes(good, 0, i);

        assert_null(wk_launcher_header_get_xml(cut, &error));
        fixture_expect_error(&error, WK_ERROR_CORRUPT, "ImageCorrupt");
    }
}

/* XML up to the last byte: no NUL ends it. */
static void
test_no_end(void **state)
{
    const char *path = fixture_path(state, "image");
    g_autoptr(GByteArray) image = fixture_image(DATA, BODY, 3);
    GError *error = NULL;
    WkFileId file;

    memset(image->data + FIXTURE_FIXED, 'x', DATA);
    fixture_write(path, image->data, image->len);
    file = fixture_file_id(path);
    assert_null(wk_launcher_header_read(path, &file, &error));
    fixture_expect_error(&error, WK_ERROR_CORRUPT, "ImageCorrupt");
    put_u32(image->data, AT_COOKIE, DATA - 4); /* XML ends where the cookie begins: still none */
    fixture_write(path, image->data, image->len);
    file = fixture_file_id(path);
    assert_null(wk_launcher_header_read(path, &file, &error));
    fixture_expect_error(&error, WK_ERROR_CORRUPT, "ImageCorrupt");
}

/* A power cut between two pages of the header: the copy mends it, at every length. */
static void
test_torn(void **state)
{
    const char *path = fixture_path(state, "image");
    const WkFileId file = write_image(path, TRUE);
    g_autoptr(GBytes) header = read_header(path, &file);
    g_autoptr(GBytes) changed = with_xml(header, "<domain>another</domain>");

    for (gsize torn = FIXTURE_FIXED / 2; torn < HEADER; torn += 97) {
        g_autoptr(GBytes) whole = fixture_read(path);
        g_autoptr(GByteArray) bytes = g_bytes_unref_to_array(g_bytes_ref(whole));
        g_autoptr(GBytes) mended = NULL;
        WkFileId now;

        memcpy(bytes->data, g_bytes_get_data(changed, NULL), torn);
        fixture_write(path, bytes->data, bytes->len);
        assert_true(wk_launcher_header_write(path, &file, header, NULL));
        now = fixture_file_id(path);
        assert_true(wk_file_id_equal(&now, &file));
        mended = read_header(path, &file);
        assert_true(g_bytes_equal(mended, header));
    }
}

/* I1: what is dead stays dead; and no other file gets a header. */
static void
test_write_refused(void **state)
{
    const char *path = fixture_path(state, "image");
    WkFileId file = write_image(path, FALSE);
    WkFileId other = file;
    g_autoptr(GBytes) header = read_header(path, &file);
    g_autoptr(GByteArray) shorter = fixture_image(DATA - 1, BODY + 1, 3);
    g_auto(WkImageLook) seen = { 0 };
    GError *error = NULL;

    other.inode++;
    assert_false(wk_launcher_header_write(path, &other, header, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    other = file;
    other.size_bytes++;
    assert_false(wk_launcher_header_write(path, &other, header, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    assert_true(wk_image_kill(path, &file, &error));
    assert_false(wk_launcher_header_write(path, &file, header, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
    assert_true(wk_image_look(path, &seen, NULL));
    assert_int_equal(seen.kind, WK_IMAGE_PARTIAL);
    fixture_write(path, shorter->data, shorter->len); /* of another image: its body is elsewhere */
    assert_false(wk_launcher_header_write(path, &file, header, &error));
    fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rewrite),       TEST(test_says_paused), TEST(test_too_long),
        TEST(test_bad_headers),   TEST(test_no_end),      TEST(test_torn),
        TEST(test_write_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
