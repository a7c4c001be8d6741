/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include <errno.h>
#include <gio/gio.h>

static void
test_reason_is_kept(void **state G_GNUC_UNUSED)
{
    char reason[] = "NoSpace"; /* not static: it must not be pointed at */
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) copy = NULL;

    wk_error_set(&error, WK_ERROR_REFUSED, reason, "guest '%s' needs %d MB", "a", 5);
    reason[0] = 'X';
    assert_string_equal(wk_error_get_reason(error), "NoSpace");
    g_prefix_error(&error, "saving: ");
    assert_string_equal(error->message, "saving: guest 'a' needs 5 MB");
    copy = g_error_copy(error);
    assert_string_equal(wk_error_get_reason(copy), "NoSpace");
    assert_true(g_error_matches(copy, WK_ERROR, WK_ERROR_REFUSED));
}

static void
test_no_reason(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) ours = NULL;
    g_autoptr(GError) other = g_error_new(G_IO_ERROR, G_IO_ERROR_FAILED, "other");

    wk_error_set(&ours, WK_ERROR_FAILED, NULL, "plain");
    assert_null(wk_error_get_reason(ours));
    assert_null(wk_error_get_reason(other));
    assert_null(wk_error_get_reason(NULL));
}

static void
test_nobody_asks(void **state G_GNUC_UNUSED)
{
    wk_error_set(NULL, WK_ERROR_FAILED, "Reason", "nobody looks");
    wk_error_set_errno(NULL, ENOSPC, "nobody looks");
}

static const struct {
    const char *label;
    int errnum;
    const char *reason;
} errnos[] = {
    { "ENOSPC", ENOSPC, "NoSpace" }, { "EDQUOT", EDQUOT, "NoSpace" }, { "EIO", EIO, "IOError" },
    { "EROFS", EROFS, "IOError" },   { "EPERM", EPERM, NULL },        { "ENOENT", ENOENT, NULL },
};

static void
test_errno(void **state)
{
    const gsize i = GPOINTER_TO_SIZE(*state);
    g_autofree char *text = g_strdup_printf("syncing 'x': %s", g_strerror(errnos[i].errnum));
    g_autoptr(GError) error = NULL;

    wk_error_set_errno(&error, errnos[i].errnum, "syncing '%s'", "x");
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_FAILED));
    assert_string_equal(error->message, text);
    if (errnos[i].reason == NULL)
        assert_null(wk_error_get_reason(error));
    else
        assert_string_equal(wk_error_get_reason(error), errnos[i].reason);
}

int
main(void)
{
    struct CMUnitTest tests[3 + G_N_ELEMENTS(errnos)] = {
        cmocka_unit_test(test_reason_is_kept),
        cmocka_unit_test(test_no_reason),
        cmocka_unit_test(test_nobody_asks),
    };

    for (gsize i = 0; i < G_N_ELEMENTS(errnos); i++)
        tests[3 + i] = (struct CMUnitTest){ .name = errnos[i].label,
                                            .test_func = test_errno,
                                            .initial_state = GSIZE_TO_POINTER(i) };
    return cmocka_run_group_tests_name("base-error", tests, NULL, NULL);
}
