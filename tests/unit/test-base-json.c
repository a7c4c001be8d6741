/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"

static const char *const good[] = {
    "{}",
    " {\"a\" : [1, -2.5e+3, true, false, null, {}]}\r\n",
    "{\"a\":-0,\"b\":0.0,\"c\":1E5}",
    "{\"a\":9223372036854775807,\"b\":-9223372036854775808}",
    "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9 \xc3\xa9 [[ // # {\"}",
    "{\"a\\\"[\":\"]\"}",
    "{\"a\":\"\\uD83D\\uDC12 \\ud7ff \\ue000\"}",
};

#define TEN_EUROS                                                                                  \
    "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"                                 \
    "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
#define EUROS TEN_EUROS TEN_EUROS TEN_EUROS TEN_EUROS TEN_EUROS TEN_EUROS

static const struct {
    const char *text;
    const char *complaint;
} bad[] = {
    { "", "expected a JSON object" },
    { "   ", "expected a JSON object" },
    { "[1]", "expected a JSON object" },
    { "null", "expected a JSON object" },
    { "\"{}\"", "expected a JSON object" },
    { "{\"a\":1", "not valid JSON" },
    { "{\"a\" 1}", "not valid JSON" },
    { "{\"a\":1,}", "not valid JSON" },
    { "{a:1}", "not valid JSON" },
    { "{\"a\":TRUE}", "not valid JSON" },
    { "{\"a\":\"\xff\"}", "not valid JSON" },
    { "{\"a\":\"open}", "not valid JSON" },
    { "{\"a\":\"open\\", "not valid JSON" },
    { "}", "expected a JSON object" },
    { "{]", "not valid JSON" },
    { "{\"a\":1 2}", "not valid JSON" },
    /* json-glib takes the rest of this table */
    { "{} {}", "not valid JSON" },
    { "{}]", "not valid JSON" },
    { "var x = {\"a\":1}", "expected a JSON object" },
    { "\xef\xbb\xbf{}", "expected a JSON object" },
    { "{'a':1}", "not valid JSON" },
    { "{\"a\":/* one */1}", "not valid JSON" },
    { "{\"a\":010}", "not valid JSON" },
    { "{\"a\":0x10}", "not valid JSON" },
    { "{\"a\":$5}", "not valid JSON" },
    { "{\"a\":- 5}", "not valid JSON" },
    { "{\"a\":.5}", "not valid JSON" },
    { "{\"a\":5.}", "not valid JSON" },
    { "{\"a\":1e}", "not valid JSON" },
    { "{\"a\":\"two\nlines\"}", "not valid JSON" },
    { "{\"a\":\"\\q\"}", "not valid JSON" },
    { "{\"a\":\"\\u12g4\"}", "not valid JSON" },
    { "{\"a\":\"good\\u0000bad\"}", "not valid JSON" }, /* the rest would vanish */
    /* half a pair took the quote after it for the other half, or came out as no UTF-8 */
    { "{\"a\":\"\\ud83d\",\"b\":1}", "not valid JSON" },
    { "{\"a\":\"\\udc12\",\"b\":1}", "not valid JSON" },
    { "{\"a\":\"\\udc12\\ud83d\"}", "not valid JSON" },
    { "{\"a\":\"\\ud83d\\ud83d\"}", "not valid JSON" },
    { "{\"a\":\"\\ud83d\\n\"}", "not valid JSON" },
    { "{\"a\":\"\\ud83d\\u", "not valid JSON" },
    { "{\"a\":\"\\ud83d", "not valid JSON" },
    /* the complaint quotes its text, cut in the midst of a letter */
    { "{\"" EUROS "\" 1}", "not valid JSON" },
    { "{\"x" EUROS "\" 1}", "not valid JSON" },
    { "{\"xx" EUROS "\" 1}", "not valid JSON" },
    /* these came out as -1, as 1, and as -9223372036854775808 */
    { "{\"a\":99999999999999999999}", "out of range" },
    { "{\"a\":-99999999999999999999}", "out of range" },
    { "{\"a\":9223372036854775808}", "out of range" },
    { "{\"a\":5e999}", "out of range" },
};

static void
test_good(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(JsonObject) object = wk_json_parse(good[i], -1, 1000, &error);

        if (object == NULL)
            fail_msg("%s: %s", good[i], error->message);
    }
}

static void
test_bad(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        if (wk_json_parse(bad[i].text, -1, 1000, &error) != NULL)
            fail_msg("taken: %s", bad[i].text);
        assert_true(g_utf8_validate(error->message, -1, NULL));
        unit_assert_error(&error, WK_ERROR_INVALID, bad[i].complaint);
    }
}

static void
test_length_and_limit(void **state G_GNUC_UNUSED)
{
    static const char nul[] = "{\"a\":\"x\0y\"}";
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) part = wk_json_parse("{\"a\":1}garbage", 7, 7, &error);

    assert_non_null(part);
    assert_null(wk_json_parse("{\"a\":1}", -1, 6, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "over the limit of 6");
    assert_null(wk_json_parse(nul, sizeof nul - 1, 1000, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "not valid JSON");
}

static char *
nested(const char *before, gsize depth)
{
    GString *text = g_string_new("{\"a\":");

    g_string_append(text, before);
    for (gsize i = 1; i < depth; i++)
        g_string_append_c(text, '[');
    for (gsize i = 1; i < depth; i++)
        g_string_append_c(text, ']');
    g_string_append_c(text, '}');
    return g_string_free(text, FALSE);
}

static void
test_depth(void **state G_GNUC_UNUSED)
{
    g_autofree char *fits = nested("", 64);
    g_autofree char *over = nested("", 65);
    g_autofree char *hidden = nested("/* \" */", 1000000);
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) object = wk_json_parse(fits, -1, 1 << 20, &error);

    assert_non_null(object);
    assert_null(wk_json_parse(over, -1, 1 << 20, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "deeper than 64");
    /* The quote in the comment hid the brackets from the count; the parser's stack overflowed. */
    assert_null(wk_json_parse(hidden, -1, 1 << 22, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "not valid JSON");
}

static JsonObject *
sample(void)
{
    return wk_json_parse("{\"s\":\"text\",\"e\":\"\",\"n\":300,\"t\":true,\"z\":null,\"o\":{},"
                         "\"l\":[],\"d\":1.5,\"m\":-1}",
                         -1, 1000, NULL);
}

static void
test_strings(void **state G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) object = sample();
    g_autoptr(GError) error = NULL;
    const char *value = "before";

    assert_true(wk_json_opt_string(object, "absent", &value, &error));
    assert_true(wk_json_opt_string(object, "z", &value, &error));
    assert_string_equal(value, "before");
    assert_false(wk_json_opt_string(object, "n", &value, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "'n': expected a string");
    assert_string_equal(value, "before");
    assert_true(wk_json_opt_string(object, "e", &value, &error));
    assert_string_equal(value, "");
    assert_true(wk_json_need_string(object, "s", &value, &error));
    assert_string_equal(value, "text");
    for (gsize i = 0; i < 3; i++) {
        static const char *const wanting[] = { "absent", "z", "e" };

        assert_false(wk_json_need_string(object, wanting[i], &value, &error));
        unit_assert_error(&error, WK_ERROR_INVALID, "a string is needed");
    }
    assert_false(wk_json_need_string(object, "o", &value, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "'o': expected a string, got");
    assert_string_equal(value, "text");
}

static void
test_ints_and_bools(void **state G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) object = sample();
    g_autoptr(GError) error = NULL;
    gboolean yes = FALSE;
    gint64 value = 7;

    assert_true(wk_json_opt_int(object, "absent", 1, 5, &value, &error));
    assert_true(wk_json_opt_int(object, "z", 1, 5, &value, &error));
    assert_int_equal(value, 7);
    assert_false(wk_json_opt_int(object, "n", 1, 299, &value, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "'n': 300 is not between 1 and 299");
    assert_false(wk_json_opt_int(object, "m", 0, 5, &value, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "'m': -1 is not between 0 and 5");
    assert_false(wk_json_opt_int(object, "d", 0, 5, &value, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "'d': expected a whole number");
    assert_int_equal(value, 7);
    assert_true(wk_json_opt_int(object, "n", 300, 300, &value, &error));
    assert_int_equal(value, 300);
    assert_true(wk_json_opt_bool(object, "t", &yes, &error));
    assert_true(yes);
    assert_true(wk_json_opt_bool(object, "absent", &yes, &error));
    assert_true(yes);
    assert_false(wk_json_opt_bool(object, "n", &yes, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "'n': expected true or false");
}

static void
test_only(void **state G_GNUC_UNUSED)
{
    static const char *const known[] = { "s", "e", "n", "t", "z", "o", "l", "d", "m", NULL };
    static const char *const few[] = { "s", NULL };
    g_autoptr(JsonObject) object = sample();
    g_autoptr(JsonObject) odd = wk_json_parse("{\"a\\u001b\":1}", -1, 100, NULL);
    g_autoptr(GError) error = NULL;

    assert_true(wk_json_only(object, known, &error));
    assert_false(wk_json_only(object, few, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "' is not known");
    assert_false(wk_json_only(odd, few, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "member 'a\\x1b' is not known");
}

static void
test_lenient(void **state G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) object = sample();

    assert_string_equal(wk_json_get_string(object, "s"), "text");
    assert_null(wk_json_get_string(object, "n"));
    assert_null(wk_json_get_string(object, "z"));
    assert_null(wk_json_get_string(NULL, "s"));
    assert_int_equal(wk_json_get_int(object, "n", 5), 300);
    assert_int_equal(wk_json_get_int(object, "s", 5), 5);
    assert_int_equal(wk_json_get_int(object, "d", 5), 5);
    assert_int_equal(wk_json_get_int(object, "o", 5), 5);
    assert_int_equal(wk_json_get_int(NULL, "n", 5), 5);
    assert_non_null(wk_json_get_object(object, "o"));
    assert_null(wk_json_get_object(object, "l"));
    assert_non_null(wk_json_get_array(object, "l"));
    assert_null(wk_json_get_array(object, "o"));
    assert_null(wk_json_get_array(object, "absent"));
}

static void
test_write(void **state G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) object = json_object_new();
    g_autofree char *text = NULL;

    wk_json_set_string(object, "a", "line\n\"quoted\"");
    wk_json_set_string(object, "none", NULL);
    wk_json_set_string(object, "empty", "");
    wk_json_set_int(object, "n", G_MININT64);
    wk_json_set_time(object, "when", G_GINT64_CONSTANT(1795377600000000));
    wk_json_set_time(object, "never", 0);
    text = wk_json_to_text(object);
    assert_string_equal(text, "{\"a\":\"line\\n\\\"quoted\\\"\",\"n\":-9223372036854775808,"
                              "\"when\":\"2026-11-22T20:00:00Z\"}");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),    cmocka_unit_test(test_bad),
        cmocka_unit_test(test_depth),   cmocka_unit_test(test_length_and_limit),
        cmocka_unit_test(test_strings), cmocka_unit_test(test_ints_and_bools),
        cmocka_unit_test(test_only),    cmocka_unit_test(test_lenient),
        cmocka_unit_test(test_write),
    };

    return cmocka_run_group_tests_name("base-json", tests, NULL, NULL);
}
