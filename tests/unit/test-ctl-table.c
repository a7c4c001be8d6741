/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "ctl/table.h"
#include "ctl/view.h"

static JsonObject *
parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonObject *object = wk_json_parse(text, -1, G_MAXSSIZE, &error);

    if (object == NULL)
        fail_msg("'%s': %s", text, error->message);
    return object;
}

static void
test_header_always(void **state G_GNUC_UNUSED)
{
    static const char *const headers[] = { "NAME", "STATE", NULL };
    g_autoptr(WkCtlTable) table = wk_ctl_table_new(headers);
    g_autofree char *text = wk_ctl_table_format(table);

    assert_string_equal(text, "NAME  STATE\n");
}

static void
test_alignment(void **state G_GNUC_UNUSED)
{
    static const char *const headers[] = { "NAME", "SIZE", "MESSAGE", NULL };
    static const char *const rows[][3] = {
        { "a", "834MB", "two words" },
        { "longer-name", NULL, "" },
        { "名前", "1B", "wide" },
        { "e\xcc\x81", "1B", "combining" },
    };
    g_autoptr(WkCtlTable) table = wk_ctl_table_new(headers);
    g_autofree char *text = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++)
        wk_ctl_table_add(table, rows[i]);
    text = wk_ctl_table_format(table);
    assert_string_equal(text, "NAME         SIZE   MESSAGE\n"
                              "a            834MB  two words\n"
                              "longer-name  -      -\n"
                              "名前         1B     wide\n"
                              "e\xcc\x81            1B     combining\n");
}

static void
test_names_are_never_raw(void **state G_GNUC_UNUSED)
{
    static const char *const headers[] = { "NAME", "STATE", NULL };
    static const char *const cells[] = { "a\x1b[31m\nb\xff", "Running" };
    g_autoptr(WkCtlTable) table = wk_ctl_table_new(headers);
    g_autofree char *text = NULL;

    wk_ctl_table_add(table, cells);
    text = wk_ctl_table_format(table);
    assert_string_equal(text, "NAME                STATE\n"
                              "a\\x1b[31m\\x0ab\\xff  Running\n");
}

static void
test_cut(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *text;
        guint columns;
        const char *cut;
    } cases[] = {
        { "abc", 3, "abc" }, { "abc", 2, "ab" },    { "abc", 0, "" },
        { "名前", 3, "名" }, { "名前", 4, "名前" }, { "", 5, "" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *cut = wk_ctl_text_cut(cases[i].text, cases[i].columns);

        assert_string_equal(cut, cases[i].cut);
        assert_true(wk_ctl_text_width(cut) <= cases[i].columns);
    }
}

static void
test_row_of_list(void **state G_GNUC_UNUSED)
{
    static const char *const headers[] = { "NAME",  "STATE",  "TARGET",  "SIZE",
                                           "SINCE", "ORIGIN", "MESSAGE", NULL };
    static const char *const guests[] = {
        "{'id':'1','name':'disk','source':'h','state':'Suspended','target':'disk',"
        "'savedBytes':833877135,'savedAt':'T1','origin':'local','message':'saved'}",
        "{'id':'2','name':'half','source':'h','state':'Suspending','target':'disk',"
        "'progressPercent':40,'lastAction':'suspend','lastActionTime':'T2','reason':'Saving'}",
        "{'id':'3','name':'bare','source':'h','state':'Running','lastAction':'suspend',"
        "'lastActionTime':'T3'}",
    };
    g_autoptr(WkCtlTable) table = wk_ctl_table_new(headers);
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
    g_autofree char *text = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(guests); i++) {
        g_autofree char *json = g_strdelimit(g_strdup(guests[i]), "'", '"');

        g_ptr_array_add(all, parse(json));
    }
    for (guint i = 0; i < all->len; i++)
        wk_ctl_view_add_row(table, all, g_ptr_array_index(all, i));
    text = wk_ctl_table_format(table);
    assert_string_equal(text, "NAME  STATE       TARGET  SIZE   SINCE  ORIGIN  MESSAGE\n"
                              "disk  Suspended   disk    834MB  T1     local   saved\n"
                              "half  Suspending  disk    -      T2     -       40% Saving\n"
                              "bare  Running     -       -      -      -       -\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_always),       cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_names_are_never_raw), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_row_of_list),
    };

    return cmocka_run_group_tests_name("ctl-table", tests, NULL, NULL);
}
