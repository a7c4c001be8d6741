/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/error.h"
#include "model/record.h"

G_BEGIN_DECLS

/* What the tests of vault/ share: a folder of their own, files, made-up save images. */

/* cmocka setup and teardown: *state is the path of a fresh folder, 0700, removed at the end. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Returns: (transfer none): @name in the folder of *state; freed by the teardown. */
const char *fixture_path(void **state, const char *name);

/* Every failure of these fails the test; main thread only. */
void fixture_write(const char *path, const void *bytes, gsize length);
GBytes *fixture_read(const char *path);
WkFileId fixture_file_id(const char *path);
gboolean fixture_exists(const char *path);
/* Removes a tree. Any thread. */
void fixture_remove(const char *path);

/* An image of @data_len bytes of XML and cookie and @body bytes of noise from @seed.
 * Returns: (transfer full). */
GByteArray *fixture_image(guint32 data_len, gsize body, guint32 seed);
#define FIXTURE_FIXED 92
/* The head of a guard; what follows is zeroes. */
#define FIXTURE_GUARD                                                                              \
    "LibvirtQemudSave\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"                             \
    "WukongGuardImage"
#define FIXTURE_GUARD_BYTES 52

/* XXH3-128 of @bytes in one go, in hex; @digest: WK_DIGEST_LENGTH + 1 bytes. */
void fixture_digest(const guint8 *bytes, gsize length, char *digest);

/* The error must be of @code; with @reason unless NULL. Clears it. */
void fixture_expect_error(GError **error, WkErrorCode code, const char *reason);
/* No error: prints it otherwise. */
void fixture_no_error(GError **error);

/* How many rounds a test that repeats itself makes: WK_TEST_ROUNDS, or @normal. */
guint fixture_rounds(guint normal);

/* @path holds exactly these bytes. */
void fixture_expect_bytes(const char *path, const GByteArray *expected);

G_END_DECLS
