/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sync that failed leaves: the page cache has the image, the medium has not, and the kernel
 * takes the pages for written. Made here by changing the medium behind a file system's back: an
 * ext4 in a file, and a byte of that file.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "walk-power.h"

#include "vault/image.h"
#include "vault/place.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define IMAGE        "/var/lib/wukong-medium-test"
#define IMAGE_BYTES  ((gsize)4 * 1024 * 1024 + 777)
#define HEADER_BYTES ((gsize)5000)
#define MARK         "here is the byte that the medium loses"
#define MARK_AT      ((gsize)2 * 1024 * 1024)

static char *medium; /* the file that the file system is in */

static WkFileId
file_id(void)
{
    struct stat st;
    WkFileId id;

    assert_int_equal(stat(IMAGE, &st), 0);
    wk_file_id_from_stat(&st, &id);
    return id;
}

static void
write_image(void)
{
    g_autofree char *bytes = g_malloc(IMAGE_BYTES);

    for (gsize i = 0; i < IMAGE_BYTES; i++)
        bytes[i] = (char)(i * 7 + i / 4096);
    memcpy(bytes + MARK_AT, MARK, strlen(MARK));
    lab_ok(g_file_set_contents(IMAGE, bytes, (gssize)IMAGE_BYTES, &error));
    lab_ok(walk_power_sync(&error));
}

/* Where @text lies on the medium. */
static goffset
find(const char *text)
{
    const gsize step = 1024 * 1024;
    g_autofree char *buffer = g_malloc(2 * step);
    const int fd = open(medium, O_RDONLY | O_CLOEXEC);
    goffset found = -1;
    ssize_t got;

    assert_true(fd >= 0);
    for (goffset at = 0; found < 0 && (got = pread(fd, buffer, 2 * step, at)) > 0;
         at += (goffset)step) {
        const char *hit = memmem(buffer, (gsize)got, text, strlen(text));

        if (hit != NULL)
            found = at + (hit - buffer);
    }
    close(fd);
    return found;
}

static void
test_medium_is_read_and_written_anew(void **state G_GNUC_UNUSED)
{
    char whole[WK_DIGEST_LENGTH + 1];
    char cached[WK_DIGEST_LENGTH + 1];
    char header[WK_DIGEST_LENGTH + 1];
    char body[WK_DIGEST_LENGTH + 1];
    WkFileId id;

    write_image();
    id = file_id();
    lab_ok(wk_image_digest_body(IMAGE, HEADER_BYTES, FALSE, NULL, whole, &error));
    lab_ok(wk_image_read_back(IMAGE, &id, HEADER_BYTES, header, body, &error));
    assert_string_equal(body, whole);

    /* every page is in the cache, and clean; a second sync has nothing to do */
    lab_ok(wk_image_digest_body(IMAGE, HEADER_BYTES, FALSE, NULL, cached, &error));
    lab_ok(walk_flip_byte(medium, find(MARK), &error));
    lab_ok(wk_image_sync(IMAGE, &id, &error));
    lab_ok(wk_image_digest_body(IMAGE, HEADER_BYTES, FALSE, NULL, cached, &error));
    assert_string_equal(cached, whole);

    /* so it is written anew, before the cache forgets it */
    lab_ok(wk_image_rewrite(IMAGE, &id, &error));
    lab_ok(wk_image_sync(IMAGE, &id, &error));
    lab_ok(wk_image_read_back(IMAGE, &id, HEADER_BYTES, header, body, &error));
    assert_string_equal(body, whole);
    assert_true(find(MARK) >= 0);
    assert_int_equal(file_id().mtime_ns, id.mtime_ns);

    /* and without that, reading it back tells */
    lab_ok(wk_image_digest_body(IMAGE, HEADER_BYTES, FALSE, NULL, cached, &error));
    lab_ok(walk_flip_byte(medium, find(MARK), &error));
    lab_ok(wk_image_sync(IMAGE, &id, &error));
    lab_ok(wk_image_read_back(IMAGE, &id, HEADER_BYTES, header, body, &error));
    assert_string_not_equal(body, whole);
}

static int
start_node(void **state G_GNUC_UNUSED)
{
    lab_ok(walk_power_on(&error));
    medium = g_build_filename(g_getenv("WK_LAB_SCRATCH"), "power.img", NULL);
    return 0;
}

static int
stop(void **state G_GNUC_UNUSED)
{
    g_free(medium);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_medium_is_read_and_written_anew),
    };

    return cmocka_run_group_tests_name("medium", tests, start_node, stop);
}
