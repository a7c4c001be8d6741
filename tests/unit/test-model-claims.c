/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "model/claims.h"

#define GIB (G_GUINT64_CONSTANT(1) << 30)

static WkVm *
make_vm(void)
{
    WkVm *vm = wk_vm_new();

    vm->ns = g_strdup("shop");
    vm->name = g_strdup("web-vm");
    return vm;
}

static WkClaim *
make_claim(const char *uid, const char *volume, guint64 bytes)
{
    WkClaim *claim = g_new0(WkClaim, 1);

    claim->name = g_strdup("web-root");
    claim->uid = g_strdup(uid);
    claim->volume = g_strdup(volume);
    claim->capacity_bytes = bytes;
    return claim;
}

static void
test_names(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVm) vm = make_vm();
    g_autoptr(GPtrArray) none = wk_claims_names(vm);
    g_autoptr(GPtrArray) names = NULL;

    assert_int_equal(none->len, 0);
    wk_vmi_volumes_add(vm->volumes, WK_VOLUME_DATA_VOLUME, "root", "web-root");
    wk_vmi_volumes_add(vm->volumes, WK_VOLUME_CLOUD_INIT_NO_CLOUD, "init", NULL);
    wk_vmi_volumes_add(vm->volumes, WK_VOLUME_CLAIM, "data", "web-data");
    wk_vmi_volumes_add(vm->volumes, WK_VOLUME_CLAIM, "again", "web-root");
    names = wk_claims_names(vm);
    assert_int_equal(names->len, 2);
    assert_string_equal(g_ptr_array_index(names, 0), "web-root");
    assert_string_equal(g_ptr_array_index(names, 1), "web-data");
}

static void
test_text(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) claims = wk_claims_new();
    g_autoptr(GPtrArray) back = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    const WkClaim *first;
    const WkClaim *second;

    g_ptr_array_add(claims, make_claim("u-1", "pv-1", 10 * GIB));
    g_ptr_array_add(claims, make_claim("u-\"2\"", NULL, 0));
    text = wk_claims_to_text(claims);
    assert_null(strchr(text, '\n'));
    back = wk_claims_from_text(text, &error);
    assert_null(error);
    assert_int_equal(back->len, 2);
    first = g_ptr_array_index(back, 0);
    second = g_ptr_array_index(back, 1);
    assert_string_equal(first->name, "web-root");
    assert_string_equal(first->uid, "u-1");
    assert_string_equal(first->volume, "pv-1");
    assert_true(first->capacity_bytes == 10 * GIB);
    assert_string_equal(second->uid, "u-\"2\"");
    assert_null(second->volume);
    assert_true(second->capacity_bytes == 0);
}

static void
test_no_claims(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) claims = wk_claims_new();
    g_autofree char *text = wk_claims_to_text(claims);
    g_autoptr(GPtrArray) back = wk_claims_from_text(text, NULL);

    assert_int_equal(back->len, 0);
}

/* The ledger is taken at its word only where it has one. */
static void
test_bad_text(void **state G_GNUC_UNUSED)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"claims\":7}",
        "{\"claims\":[7]}",
        "{\"claims\":[{}]}",
        "{\"claims\":[{\"name\":\"a\"}]}",
        "{\"claims\":[{\"name\":\"a\",\"uid\":7}]}",
        "{\"claims\":[{\"name\":\"a\",\"uid\":\"u\",\"volume\":7}]}",
        "{\"claims\":[{\"name\":\"a\",\"uid\":\"u\",\"capacityBytes\":-1}]}",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;

        if (wk_claims_from_text(texts[i], &error) != NULL)
            fail_msg("'%s' was read", texts[i]);
        assert_string_equal(wk_error_get_reason(error), "LedgerCorrupt");
        unit_assert_error(&error, WK_ERROR_CORRUPT, "column 'claims': ");
    }
}

/* The saved one is u-1, on pv-1, with 10 GiB. */
static const struct {
    const char *label;
    const char *uid; /* NULL: there is none */
    const char *volume;
    guint64 bytes;
    gboolean deleting;
    const char *said; /* NULL: the same */
} cases[] = {
    { "the same", "u-1", "pv-1", 10 * GIB, FALSE, NULL },
    { "gone", NULL, NULL, 0, FALSE, "'web-root' is gone since the guest was saved" },
    { "made anew", "u-2", "pv-1", 10 * GIB, FALSE, "replaced by another one of that name" },
    { "made anew elsewhere", "u-2", "pv-2", 10 * GIB, FALSE, "replaced by another" },
    { "being deleted", "u-1", "pv-1", 10 * GIB, TRUE, "is being deleted" },
    { "another volume", "u-1", "pv-2", 10 * GIB, FALSE, "('pv-2', it was 'pv-1')" },
    { "no volume", "u-1", NULL, 10 * GIB, FALSE, "('none', it was 'pv-1')" },
    { "grown", "u-1", "pv-1", 20 * GIB, FALSE, "(21474836480 bytes, it was 10737418240)" },
    { "no size", "u-1", "pv-1", 0, FALSE, "(0 bytes, it was 10737418240)" },
};

static void
test_compared(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVm) vm = make_vm();
    g_autoptr(WkClaim) saved = make_claim("u-1", "pv-1", 10 * GIB);

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(WkClaim) now =
            cases[i].uid != NULL ? make_claim(cases[i].uid, cases[i].volume, cases[i].bytes) : NULL;
        gboolean same;

        if (now != NULL)
            now->deleting = cases[i].deleting;
        same = wk_claim_check_same(vm, saved, now, &error);
        if (same != (cases[i].said == NULL))
            fail_msg("%s: %s", cases[i].label, same ? "the same" : error->message);
        if (same)
            continue;
        assert_string_equal(wk_error_get_reason(error), "ClaimReplaced");
        assert_non_null(strstr(error->message, "guest 'shop/web-vm': "));
        assert_non_null(strstr(error->message, "discard drops the saved state"));
        unit_assert_error(&error, WK_ERROR_REFUSED, cases[i].said);
    }
}

/* Neither was bound: that is no difference. */
static void
test_never_bound(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVm) vm = make_vm();
    g_autoptr(WkClaim) saved = make_claim("u-1", NULL, 0);
    g_autoptr(WkClaim) now = make_claim("u-1", NULL, 0);

    assert_true(wk_claim_check_same(vm, saved, now, NULL));
}

static void
test_saved(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVm) vm = make_vm();
    g_autoptr(WkClaim) claim = make_claim("u-1", "pv-1", GIB);
    g_autoptr(GError) error = NULL;

    assert_true(wk_claim_check_save(vm, "web-root", claim, &error));
    claim->deleting = TRUE;
    assert_false(wk_claim_check_save(vm, "web-root", claim, &error));
    assert_string_equal(wk_error_get_reason(error), "ClaimGone");
    unit_assert_error(&error, WK_ERROR_REFUSED, "'web-root' is being deleted, and goes as soon");
    assert_false(wk_claim_check_save(vm, "web-root", NULL, &error));
    assert_string_equal(wk_error_get_reason(error), "ClaimGone");
    unit_assert_error(&error, WK_ERROR_REFUSED, "'web-root' is gone: copy");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_text),
        cmocka_unit_test(test_no_claims), cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_compared),  cmocka_unit_test(test_never_bound),
        cmocka_unit_test(test_saved),
    };

    return cmocka_run_group_tests_name("model/claims", tests, NULL, NULL);
}
