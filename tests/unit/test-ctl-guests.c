/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "ctl/guests.h"

#define ID_VM1   "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
#define ID_VM2   "1b4e28bb-2fa1-11d2-883f-0016d3cca428"
#define ID_DUP_A "3c4e28ba-2fa1-11d2-883f-0016d3cca429"
#define ID_DUP_B "4d4e28ba-2fa1-11d2-883f-0016d3cca42a"
#define ID_STAR  "5e4e28ba-2fa1-11d2-883f-0016d3cca42b"
#define ID_ESC   "6f4e28ba-2fa1-11d2-883f-0016d3cca42c"
#define ID_HEX   "704e28ba-2fa1-11d2-883f-0016d3cca42d"
#define ID_DASH  "814e28ba-2fa1-11d2-883f-0016d3cca42e"

static const struct {
    const char *id, *name, *source, *space;
} rows[] = {
    { ID_VM1, "vm1", "host", NULL },      { ID_VM2, "vm2", "host", NULL },
    { ID_DUP_A, "dup", "a", NULL },       { ID_DUP_B, "dup", "b", NULL },
    { ID_STAR, "web*", "host", NULL },    { ID_ESC, "web\x1b[1m", "pod", "shop" },
    { ID_HEX, "1b4e28ba", "host", NULL }, /* looks like the beginning of vm1's id */
    { ID_DASH, "-q", "host", NULL },
};

static int
setup(void **state)
{
    GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        JsonObject *guest = json_object_new();

        wk_json_set_string(guest, "id", rows[i].id);
        wk_json_set_string(guest, "name", rows[i].name);
        wk_json_set_string(guest, "source", rows[i].source);
        if (rows[i].space != NULL) {
            JsonObject *wukong = json_object_new();

            wk_json_set_string(wukong, "namespace", rows[i].space);
            wk_json_set_string(wukong, "name", "web");
            json_object_set_object_member(guest, "wukong", wukong);
        }
        g_ptr_array_add(all, guest);
    }
    *state = all;
    return 0;
}

static int
teardown(void **state)
{
    g_ptr_array_unref(*state);
    return 0;
}

/* Returns: (transfer full): the ids that @words (by blanks) mean, "!" for each that means none; or
 * the error. */
static char *
choose(GPtrArray *all, const char *words, GError **error)
{
    g_auto(WkCtlArgs) args = { .words = g_strsplit(words, " ", -1) };
    g_autoptr(WkCtlChoice) choice = wk_ctl_choose(all, &args, error);
    GString *ids = g_string_new(NULL);

    for (guint i = 0; choice != NULL && i < choice->guests->len; i++)
        g_string_append_printf(ids, "%s ",
                               wk_json_get_string(g_ptr_array_index(choice->guests, i), "id"));
    for (guint i = 0; choice != NULL && i < choice->missing->len; i++) {
        const GError *missing = g_ptr_array_index(choice->missing, i);

        assert_true(g_error_matches(missing, WUKONG_ERROR, WUKONG_ERROR_NOT_FOUND));
        g_string_append(ids, "! ");
    }
    return g_string_free(ids, FALSE);
}

static void
test_choose(void **state)
{
    static const struct {
        const char *words;
        const char *ids;
    } cases[] = {
        { "vm1", ID_VM1 " " },
        { "vm1 vm1 host:vm1", ID_VM1 " " },
        { "vm2 vm1", ID_VM2 " " ID_VM1 " " },
        { "a:dup", ID_DUP_A " " },
        { "shop/web", ID_ESC " " },
        { ID_VM2, ID_VM2 " " },
        { "1B4E28BB", ID_VM2 " " },
        { "3c4e", ID_DUP_A " " },
        { "3c4", "! " },
        { "1b4e28ba", ID_HEX " " }, /* a whole name is before the beginning of an id */
        { "1b4e28ba-", ID_VM1 " " },
        { "web*", ID_STAR " " }, /* a guest is really called so */
        { "we*", ID_STAR " " ID_ESC " " },
        { "vm?", ID_VM1 " " ID_VM2 " " },
        { "vm[13-9]", ID_VM1 " " },
        { "?:dup", ID_DUP_A " " ID_DUP_B " " },
        { "*:vm1", ID_VM1 " " },
        { "shop/*", ID_ESC " " },
        { "nosuch vm1", ID_VM1 " ! " },
        { "no* nosuch", "! ! " },
        { "vm[", "! " },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *ids = choose(*state, cases[i].words, &error);

        if (error != NULL)
            fail_msg("'%s': %s", cases[i].words, error->message);
        if (!g_str_equal(ids, cases[i].ids))
            fail_msg("'%s' means %s", cases[i].words, ids);
    }
}

static void
test_ambiguous(void **state)
{
    static const char *const words[] = { "dup", "1b4e28", "vm1 dup" };

    for (gsize i = 0; i < G_N_ELEMENTS(words); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *ids = choose(*state, words[i], &error);

        assert_true(g_error_matches(error, WUKONG_ERROR, WUKONG_ERROR_INVALID));
        assert_non_null(strstr(error->message, "ambiguous"));
        assert_non_null(strstr(error->message, i == 1 ? ID_VM2 : "b:dup (" ID_DUP_B ")"));
        assert_string_equal(ids, "");
    }
}

static void
test_all_and_single(void **state)
{
    GPtrArray *all = *state;
    static const struct {
        const char *words;
        gboolean single;
    } cases[] = { { "vm1", TRUE }, { "vm1 vm2", FALSE }, { "vm?", FALSE }, { "nosuch", TRUE } };
    g_auto(WkCtlArgs) every = { .words = g_new0(char *, 1), .all = TRUE };
    g_autoptr(WkCtlChoice) choice = wk_ctl_choose(all, &every, NULL);

    assert_int_equal(choice->guests->len, G_N_ELEMENTS(rows));
    assert_false(choice->single);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(WkCtlArgs) args = { .words = g_strsplit(cases[i].words, " ", -1) };
        g_autoptr(WkCtlChoice) one = wk_ctl_choose(all, &args, NULL);

        assert_int_equal(one->single, cases[i].single);
    }
}

static void
test_choose_one(void **state)
{
    static const struct {
        const char *word;
        const char *id; /* NULL: error */
        WukongError code;
    } cases[] = {
        { "vm1", ID_VM1, 0 },
        { "vm1*", ID_VM1, 0 },
        { "vm*", NULL, WUKONG_ERROR_INVALID },
        { "dup", NULL, WUKONG_ERROR_INVALID },
        { "nosuch", NULL, WUKONG_ERROR_NOT_FOUND },
        { "x*", NULL, WUKONG_ERROR_NOT_FOUND },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        JsonObject *guest = wk_ctl_choose_one(*state, cases[i].word, &error);

        if (cases[i].id != NULL)
            assert_string_equal(wk_json_get_string(guest, "id"), cases[i].id);
        else
            assert_true(g_error_matches(error, WUKONG_ERROR, (int)cases[i].code));
    }
}

/* Each word must mean its guest again, alone. */
static void
test_words(void **state)
{
    GPtrArray *all = *state;
    static const char *const words[] = {
        "vm1", "vm2", "a:dup", "b:dup", ID_STAR, ID_ESC, "1b4e28ba", "host:-q",
    };

    for (guint i = 0; i < all->len; i++) {
        JsonObject *guest = g_ptr_array_index(all, i);
        g_autofree char *word = wk_ctl_guest_word(all, guest);

        assert_string_equal(word, words[i]);
        assert_ptr_equal(wk_ctl_choose_one(all, word, NULL), guest);
    }
}

static void
test_labels(void **state)
{
    GPtrArray *all = *state;
    static const char *const labels[] = { "vm1",  "vm2",         "a:dup",    "b:dup",
                                          "web*", "web\\x1b[1m", "1b4e28ba", "-q" };

    for (guint i = 0; i < all->len; i++) {
        g_autofree char *label = wk_ctl_guest_label(all, g_ptr_array_index(all, i));

        assert_string_equal(label, labels[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose),         cmocka_unit_test(test_ambiguous),
        cmocka_unit_test(test_all_and_single), cmocka_unit_test(test_choose_one),
        cmocka_unit_test(test_words),          cmocka_unit_test(test_labels),
    };

    return cmocka_run_group_tests_name("ctl-guests", tests, setup, teardown);
}
