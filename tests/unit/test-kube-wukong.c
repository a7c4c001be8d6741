/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "kube/canonical.h"
#include "kube/wukong.h"

#define TEXT_MAX (2 * 1024 * 1024)

/* A Wukong whose members @metadata, @spec and @status have these texts in them. */
static WkWukong *
make(const char *metadata, const char *spec, const char *status)
{
    g_autofree char *text =
        g_strdup_printf("{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"u-1\"%s}"
                        ",\"spec\":%s,\"status\":%s}",
                        metadata, spec, status);
    g_autoptr(JsonObject) object = wk_json_parse(text, -1, TEXT_MAX, NULL);
    g_autoptr(GError) error = NULL;
    WkWukong *wukong;

    assert_non_null(object);
    wukong = wk_wukong_parse(object, &error);
    assert_null(error);
    assert_non_null(wukong);
    return wukong;
}

static WkWukong *
make_action(const char *action)
{
    g_autofree char *spec = g_strdup_printf("{\"cpu\":2,\"lifecycleAction\":%s}", action);

    return make("", spec, "{}");
}

static const struct {
    const char *text;
    WkIntent intent;
} right[] = {
    { "{\"action\":\"suspend\"}", { .action = WK_ACTION_SUSPEND } },
    { "{\"action\":\"resume\"}", { .action = WK_ACTION_RESUME } },
    { "{\"action\":\"discard\"}", { .action = WK_ACTION_DISCARD } },
    { "{\"action\":\"suspend\",\"target\":\"memory\"}",
      { .action = WK_ACTION_SUSPEND, .target = WK_TARGET_MEMORY } },
    { "{\"action\":\"suspend\",\"fallback\":\"memory\",\"requestId\":\"patch-42\","
      "\"target\":\"disk\",\"timeoutSeconds\":300}",
      { .action = WK_ACTION_SUSPEND,
        .target = WK_TARGET_DISK,
        .fallback = WK_FALLBACK_MEMORY,
        .timeout_s = 300,
        .request_id = (char *)"patch-42" } },
    { "{\"action\":\"suspend\",\"fallback\":\"stop\",\"target\":\"memory\"}",
      { .action = WK_ACTION_SUSPEND, .target = WK_TARGET_MEMORY, .fallback = WK_FALLBACK_STOP } },
    { "{\"action\":\"resume\",\"fallback\":\"none\",\"timeoutSeconds\":1}",
      { .action = WK_ACTION_RESUME, .timeout_s = 1 } },
    { "{\"action\":\"discard\",\"timeoutSeconds\":86400}",
      { .action = WK_ACTION_DISCARD, .timeout_s = 86400 } },
    { "{\"action\":\"suspend\",\"fallback\":null,\"requestId\":null,\"target\":null,"
      "\"timeoutSeconds\":null}",
      { .action = WK_ACTION_SUSPEND } },
    { "{\"action\":\"suspend\",\"later\":{\"a\":[1,0.1,true,[]],\"b\":null}}",
      { .action = WK_ACTION_SUSPEND } },
    { "{\"action\":\"resume\",\"requestId\":\"gr\xc3\xbc\xc3\x9f\"}",
      { .action = WK_ACTION_RESUME, .request_id = (char *)"gr\xc3\xbc\xc3\x9f" } },
};

static void
test_right_actions(void **state)
{
    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(right); i++) {
        const WkIntent *expected = &right[i].intent;
        g_autoptr(WkWukong) wukong = make_action(right[i].text);

        if (wukong->intent.error != NULL)
            fail_msg("%s: %s", right[i].text, wukong->intent.error->message);
        assert_true(wukong->intent.present);
        assert_int_equal(wukong->intent.action, expected->action);
        assert_int_equal(wukong->intent.target, expected->target);
        assert_int_equal(wukong->intent.fallback, expected->fallback);
        assert_int_equal(wukong->intent.timeout_s, expected->timeout_s);
        assert_int_equal(g_strcmp0(wukong->intent.request_id, expected->request_id), 0);
        assert_string_equal(wukong->intent.raw, right[i].text);
    }
}

#define IS     "spec.lifecycleAction."
#define ACTION IS "action: expected suspend, resume or discard, found "
#define TARGET IS "target: expected memory or disk, found "
#define NO_TO  IS "target: expected none (only action suspend has a target), found "
#define BACK   IS "fallback: expected none, memory or stop, found "
#define NO_FB  IS "fallback: expected none (only action suspend falls back), found "
#define SECS   IS "timeoutSeconds: expected a whole number from 1 to 86400, found "
#define ID     IS "requestId: expected a text of 1 to 253 bytes without control characters, found "
#define OBJECT "spec.lifecycleAction: expected an object, found "

static const struct {
    const char *text;
    const char *message;
} wrong[] = {
    { "{}", ACTION "nothing" },
    { "{\"action\":null}", ACTION "nothing" },
    { "{\"action\":\"\"}", ACTION "\"\"" },
    { "{\"action\":\"explode\"}", ACTION "\"explode\"" },
    { "{\"action\":\"Suspend\"}", ACTION "\"Suspend\"" },
    { "{\"action\":\"a\\u0007b\\u202e\"}", ACTION "\"a\\u0007b\\xe2\\x80\\xae\"" },
    { "{\"action\":3}", ACTION "3" },
    { "{\"action\":[\"suspend\"]}", ACTION "[\"suspend\"]" },
    { "{\"action\":{\"b\":1,\"a\":2.5}}", ACTION "{\"a\":2.5,\"b\":1}" },
    { "\"suspend\"", OBJECT "\"suspend\"" },
    { "[]", OBJECT "[]" },
    { "true", OBJECT "true" },
    { "7", OBJECT "7" },
    { "{\"action\":\"suspend\",\"later\":[{\"a\":[1,null]}]}",
      "spec.lifecycleAction: expected no null inside a list, found "
      "{\"action\":\"suspend\",\"later\":[{\"a\":[1,null]}]}" },
    { "{\"action\":\"suspend\",\"target\":\"tape\"}", TARGET "\"tape\"" },
    { "{\"action\":\"suspend\",\"target\":\"\"}", TARGET "\"\"" },
    { "{\"action\":\"suspend\",\"target\":1}", TARGET "1" },
    { "{\"action\":\"resume\",\"target\":\"disk\"}", NO_TO "\"disk\"" },
    { "{\"action\":\"discard\",\"target\":\"disk\"}", NO_TO "\"disk\"" },
    { "{\"action\":\"suspend\",\"fallback\":\"\"}", BACK "\"\"" },
    { "{\"action\":\"suspend\",\"fallback\":false}", BACK "false" },
    { "{\"action\":\"resume\",\"fallback\":\"boot\"}", BACK "\"boot\"" },
    { "{\"action\":\"resume\",\"fallback\":\"stop\"}", NO_FB "\"stop\"" },
    { "{\"action\":\"discard\",\"fallback\":\"memory\"}", NO_FB "\"memory\"" },
    { "{\"action\":\"suspend\",\"timeoutSeconds\":0}", SECS "0" },
    { "{\"action\":\"suspend\",\"timeoutSeconds\":-5}", SECS "-5" },
    { "{\"action\":\"suspend\",\"timeoutSeconds\":86401}", SECS "86401" },
    { "{\"action\":\"suspend\",\"timeoutSeconds\":9223372036854775807}",
      SECS "9223372036854775807" },
    { "{\"action\":\"suspend\",\"timeoutSeconds\":4294967297}", SECS "4294967297" },
    { "{\"action\":\"suspend\",\"timeoutSeconds\":1.5}", SECS "1.5" },
    { "{\"action\":\"suspend\",\"timeoutSeconds\":\"60\"}", SECS "\"60\"" },
    { "{\"action\":\"suspend\",\"timeoutSeconds\":{}}", SECS "{}" },
    { "{\"action\":\"suspend\",\"requestId\":\"\"}", ID "\"\"" },
    { "{\"action\":\"suspend\",\"requestId\":42}", ID "42" },
    { "{\"action\":\"suspend\",\"requestId\":\"a\\ufffe\"}", ID "\"a\\xef\\xbf\\xbe\"" },
    { "{\"action\":\"suspend\",\"requestId\":\"a\\nb\"}", ID "\"a\\nb\"" },
};

static void
test_wrong_actions(void **state)
{
    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(WkWukong) wukong = make_action(wrong[i].text);
        const WkIntent *intent = &wukong->intent;

        assert_true(intent->present);
        if (intent->error == NULL)
            fail_msg("%s was taken", wrong[i].text);
        assert_true(g_error_matches(intent->error, WK_ERROR, WK_ERROR_INVALID));
        assert_string_equal(intent->error->message, wrong[i].message);
        assert_int_equal(intent->action, WK_ACTION_NONE);
        assert_int_equal(intent->timeout_s, 0);
        assert_null(intent->raw);
        assert_null(intent->request_id);
    }
}

/* Whatever the size, the message stays short, and the limits are where they are said to be. */
static void
test_long_actions(void **state)
{
    static const char *const formats[] = {
        "{\"action\":\"%s\"}",
        "{\"action\":\"suspend\",\"target\":\"%s\"}",
        "{\"action\":\"suspend\",\"fallback\":\"%s\"}",
        "{\"action\":\"suspend\",\"timeoutSeconds\":\"%s\"}",
        "{\"action\":\"suspend\",\"requestId\":\"%s\"}",
        "{\"action\":\"suspend\",\"later\":\"%s\"}",
        "\"%s\"",
    };
    g_autofree char *huge = g_strnfill(1024 * 1024, 'x');

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_auto(GStrv) parts = g_strsplit(formats[i], "%s", 2);
        g_autofree char *text = g_strconcat(parts[0], huge, parts[1], NULL);
        g_autoptr(WkWukong) wukong = make_action(text);

        assert_non_null(wukong->intent.error);
        assert_in_range(strlen(wukong->intent.error->message), 20, 250);
        assert_true(g_str_has_suffix(wukong->intent.error->message, "xxx..."));
    }
}

static void
test_length_of_ids(void **state)
{
    (void)state;
    for (gsize length = 252; length <= 255; length++) {
        g_autofree char *id = g_strnfill(length, 'i');
        g_autofree char *text = g_strdup_printf("{\"action\":\"resume\",\"requestId\":\"%s\"}", id);
        g_autoptr(WkWukong) wukong = make_action(text);

        assert_int_equal(wukong->intent.error == NULL, length <= 253);
    }
}

static void
test_no_action(void **state)
{
    static const char *const specs[] = { "{}", "{\"lifecycleAction\":null}", "null", "[]", "7" };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(specs); i++) {
        g_autoptr(WkWukong) wukong = make("", specs[i], "{}");

        assert_false(wukong->intent.present);
        assert_null(wukong->intent.error);
        assert_string_equal(wukong->pressure, "never");
        assert_string_equal(wukong->on_restore_failure, "Hold");
        assert_int_equal(wukong->priority, 0);
    }
}

/* As the API server's own texts: a JSON patch compares them. */
static void
test_canonical(void **state)
{
    static const struct {
        const char *in;
        const char *out;
    } rows[] = {
        { "{ \"b\" : 1, \"a\" : [ ] , \"B\" : { } }", "{\"B\":{},\"a\":[],\"b\":1}" },
        { "{\"a\":[true,false,null,\"\"]}", "{\"a\":[true,false,null,\"\"]}" },
        { "{\"a\":\"<b> & 'c' \\/ \\\"d\\\\\"}",
          "{\"a\":\"\\u003cb\\u003e \\u0026 'c' / \\\"d\\\\\"}" },
        { "{\"a\":\"\\b\\t\\n\\f\\r\\u001f\\u007f\"}", "{\"a\":\"\\b\\t\\n\\f\\r\\u001f\x7f\"}" },
        { "{\"a\":\"\xc3\xbc\\u00fc\\u2028\xf0\x9f\x90\x92\"}",
          "{\"a\":\"\xc3\xbc\xc3\xbc\\u2028\xf0\x9f\x90\x92\"}" },
        { "{\"<\":-9223372036854775808}", "{\"\\u003c\":-9223372036854775808}" },
        { "{\"a\":[0.1,1.50,100.0,1e2,123456.789,-0.25]}",
          "{\"a\":[0.1,1.5,100,100,123456.789,-0.25]}" },
        { "{\"a\":[1e20,1e21,1.5e300,1e-6,1e-7,2.5e-10,5e-324]}",
          "{\"a\":[100000000000000000000,1e+21,1.5e+300,0.000001,1e-7,2.5e-10,5e-324]}" },
        { "{\"a\":[0.30000000000000004,2.0e0,9.99]}", "{\"a\":[0.30000000000000004,2,9.99]}" },
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(JsonObject) object = wk_json_parse(rows[i].in, -1, TEXT_MAX, NULL);
        g_autofree char *text = NULL;

        assert_non_null(object);
        text = wk_canonical_object(object);
        assert_string_equal(text, rows[i].out);
    }
}

static void
test_bounded_text(void **state)
{
    static const struct {
        const char *in;
        gsize max;
        const char *out;
    } rows[] = {
        { NULL, 8, "" },
        { "", 8, "" },
        { "12345678", 8, "12345678" },
        { "123456789", 8, "12345..." },
        { "1234\xc3\xbc\xc3\xbc", 8, "1234\xc3\xbc\xc3\xbc" },
        { "1234\xc3\xbc\xc3\xbcx", 8, "1234..." },
        { "1\xf0\x9f\x90\x92\xf0\x9f\x90\x92", 8, "1\xf0\x9f\x90\x92..." },
        { "a\nb", 8, "a\\x0ab" },
        { "a\nb\nc", 8, "a\\x0a..." },
        { "\xff", 4, "\\xff" },
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = wk_bounded_text(rows[i].in, rows[i].max);

        assert_string_equal(text, rows[i].out);
    }
}

static void
test_what_is_read(void **state)
{
    g_autoptr(WkWukong) wukong = make(
        ",\"generation\":7,\"resourceVersion\":\"84\",\"creationTimestamp\":\"2026-11-22T20:00:"
        "00Z\","
        "\"deletionTimestamp\":\"2026-11-23T20:00:00Z\",\"annotations\":{"
        "\"wukong.novasphere.dev/domain\":\"win 10\",\"wukong.novasphere.dev/suspended\":\"true\","
        "\"wukong.novasphere.dev/lifecycle-state\":"
        "\"{\\\"state\\\":\\\"Running\\\",\\\"lastRequestId\\\":\\\"id-1\\\"}\"}",
        "{\"suspendPolicy\":{\"priority\":-3,\"pressure\":\"disk\",\"onRestoreFailure\":"
        "\"ColdBoot\"}}",
        "{\"vmName\":\"web-vm-1\",\"nodeName\":\"n1\",\"lifecycleState\":{\"state\":\"Running\","
        "\"other\":1,\"message\":\"m\"},\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},"
        "{\"type\":\"Suspended\",\"status\":\"False\",\"reason\":\"R\",\"message\":\"m\","
        "\"lastTransitionTime\":\"2026-11-22T20:00:01Z\",\"observedGeneration\":6}]}");
    const WkSeenCondition *suspended = &wukong->conditions[WK_CONDITION_SUSPENDED];

    (void)state;
    assert_string_equal(wukong->ns, "shop");
    assert_string_equal(wukong->name, "web");
    assert_string_equal(wukong->uid, "u-1");
    assert_int_equal(wukong->generation, 7);
    assert_string_equal(wukong->resource_version, "84");
    assert_string_equal(wukong->created, "2026-11-22T20:00:00Z");
    assert_true(wukong->deleting);
    assert_string_equal(wukong->vm_name, "web-vm-1");
    assert_string_equal(wukong->node_name, "n1");
    assert_string_equal(wukong->domain, "win 10");
    assert_int_equal(wukong->priority, -3);
    assert_string_equal(wukong->pressure, "disk");
    assert_string_equal(wukong->on_restore_failure, "ColdBoot");
    assert_string_equal(wukong->seen_state, "{\"message\":\"m\",\"state\":\"Running\"}");
    assert_string_equal(wukong->seen_mirror, "{\"state\":\"Running\",\"lastRequestId\":\"id-1\"}");
    assert_string_equal(wukong->mirrored_request_id, "id-1");
    assert_true(wukong->marked_suspended && wukong->has_annotations);
    assert_string_equal(suspended->status, "False");
    assert_string_equal(suspended->reason, "R");
    assert_string_equal(suspended->message, "m");
    assert_string_equal(suspended->last_transition, "2026-11-22T20:00:01Z");
    assert_int_equal(suspended->observed_generation, 6);
    assert_null(wukong->conditions[WK_CONDITION_RESTORABLE].status);
    assert_null(wukong->conditions[WK_CONDITION_SUCCEEDED].status);
}

static void
test_nothing_but_a_name(void **state)
{
    g_autoptr(WkWukong) wukong = make("", "{}", "{}");

    (void)state;
    assert_int_equal(wukong->generation, 0);
    assert_string_equal(wukong->created, "");
    assert_false(wukong->deleting || wukong->marked_suspended || wukong->has_annotations);
    assert_null(wukong->vm_name);
    assert_null(wukong->node_name);
    assert_null(wukong->domain);
    assert_null(wukong->seen_state);
    assert_null(wukong->seen_mirror);
    assert_null(wukong->mirrored_request_id);
}

/* Objects that are no Wukong. */
static void
test_no_wukong(void **state)
{
    static const struct {
        const char *text;
        const char *member;
    } rows[] = {
        { "{}", "metadata.uid" },
        { "{\"metadata\":null}", "metadata.uid" },
        { "{\"metadata\":[]}", "metadata.uid" },
        { "{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"}}", "metadata.uid" },
        { "{\"metadata\":{\"uid\":\"\",\"name\":\"a\",\"namespace\":\"b\"}}", "metadata.uid" },
        { "{\"metadata\":{\"uid\":1,\"name\":\"a\",\"namespace\":\"b\"}}", "metadata.uid" },
        { "{\"metadata\":{\"uid\":\"u\",\"namespace\":\"b\"}}", "metadata.name" },
        { "{\"metadata\":{\"uid\":\"u\",\"name\":\"..\",\"namespace\":\"b\"}}", "metadata.name" },
        { "{\"metadata\":{\"uid\":\"u\",\"name\":\"a/b\",\"namespace\":\"b\"}}", "metadata.name" },
        { "{\"metadata\":{\"uid\":\"u\",\"name\":\"a?b\",\"namespace\":\"b\"}}", "metadata.name" },
        { "{\"metadata\":{\"uid\":\"u\",\"name\":\"a\\nb\",\"namespace\":\"b\"}}",
          "metadata.name: expected letters, digits, '-', '.', '_', at most 253 of them, found "
          "\"a\\x0ab\"" },
        { "{\"metadata\":{\"uid\":\"u\",\"name\":\"a\"}}", "metadata.namespace" },
        { "{\"metadata\":{\"uid\":\"u\",\"name\":\"a\",\"namespace\":null}}",
          "metadata.namespace" },
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(JsonObject) object = wk_json_parse(rows[i].text, -1, TEXT_MAX, NULL);
        g_autoptr(GError) error = NULL;

        assert_non_null(object);
        assert_null(wk_wukong_parse(object, &error));
        assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_INVALID));
        if (!g_str_has_prefix(error->message, rows[i].member))
            fail_msg("%s: %s", rows[i].text, error->message);
    }
}

static void
test_long_names(void **state)
{
    static const struct {
        const char *member;
        gsize max;
    } rows[] = { { "uid", 128 }, { "name", 253 }, { "namespace", 253 } };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (gsize extra = 0; extra <= 1; extra++) {
            g_autofree char *value = g_strnfill(rows[i].max + extra, 'a');
            g_autoptr(JsonObject) object = json_object_new();
            JsonObject *metadata = json_object_new();
            g_autoptr(WkWukong) wukong = NULL;

            for (gsize k = 0; k < G_N_ELEMENTS(rows); k++)
                json_object_set_string_member(metadata, rows[k].member, k == i ? value : "a");
            json_object_set_object_member(object, "metadata", metadata);
            wukong = wk_wukong_parse(object, NULL);
            assert_int_equal(wukong != NULL, extra == 0);
        }
    }
}

/* Wrong types and sizes of everything that is not needed: as if it were not there. */
static void
test_wrong_types(void **state)
{
    static const char *const values[] = { "null", "7",  "-1.5", "true",
                                          "[1]",  "{}", "\"\"", "\"\\u0001\"" };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(values); i++) {
        const char *v = values[i];
        g_autofree char *metadata =
            g_strdup_printf(",\"generation\":%s,\"creationTimestamp\":%s,\"annotations\":{"
                            "\"wukong.novasphere.dev/suspended\":%s,"
                            "\"wukong.novasphere.dev/lifecycle-state\":%s}",
                            v, v, v, v);
        g_autofree char *spec =
            g_strdup_printf("{\"suspendPolicy\":{\"priority\":%s,\"pressure\":%s,"
                            "\"onRestoreFailure\":%s}}",
                            g_str_equal(v, "7") ? "0.5" : v, v, v);
        g_autofree char *status =
            g_strdup_printf("{\"nodeName\":%s,\"conditions\":[%s,{\"type\":%s},"
                            "{\"type\":\"Suspended\",\"status\":%s},"
                            "{\"type\":\"Restorable\",\"status\":\"True\",\"reason\":%s,"
                            "\"message\":%s,\"lastTransitionTime\":%s,\"observedGeneration\":%s}]}",
                            v, v, v, v, v, v, v, v);
        g_autoptr(WkWukong) wukong = make(metadata, spec, status);

        assert_int_equal(wukong->generation, g_str_equal(v, "7") ? 7 : 0);
        assert_string_equal(wukong->created, "");
        assert_false(wukong->marked_suspended);
        assert_null(wukong->mirrored_request_id);
        assert_int_equal(wukong->priority, 0);
        assert_string_equal(wukong->pressure, "never");
        assert_string_equal(wukong->on_restore_failure, "Hold");
        assert_null(wukong->node_name);
        assert_null(wukong->conditions[WK_CONDITION_SUSPENDED].status);
        assert_string_equal(wukong->conditions[WK_CONDITION_RESTORABLE].status, "True");
        assert_null(wukong->conditions[WK_CONDITION_RESTORABLE].reason);
        assert_null(wukong->conditions[WK_CONDITION_RESTORABLE].last_transition);
    }
}

static void
test_numbers_out_of_range(void **state)
{
    g_autoptr(WkWukong) low =
        make(",\"generation\":-4", "{\"suspendPolicy\":{\"priority\":-9223372036854775808}}",
             "{\"conditions\":[{\"type\":\"Suspended\",\"status\":\"True\","
             "\"observedGeneration\":-1},{\"type\":\"Suspended\",\"status\":\"False\"}]}");
    g_autoptr(WkWukong) high = make(",\"generation\":9223372036854775807",
                                    "{\"suspendPolicy\":{\"priority\":9223372036854775807}}", "{}");

    (void)state;
    assert_int_equal(low->generation, 0);
    assert_int_equal(low->priority, G_MININT);
    assert_int_equal(low->conditions[WK_CONDITION_SUSPENDED].observed_generation, 0);
    assert_string_equal(low->conditions[WK_CONDITION_SUSPENDED].status, "True"); /* the first */
    assert_int_equal(high->generation, G_MAXINT64);
    assert_int_equal(high->priority, G_MAXINT);
}

/* A name that can't be used means no guest: never the one that is meant without it. */
static void
test_names_of_guests(void **state)
{
    static const struct {
        const char *status;
        const char *name;
    } rows[] = {
        { "{}", "shop_web-vm" },
        { "{\"vmName\":null}", "shop_web-vm" },
        { "{\"vmName\":\"\"}", "shop_web-vm" },
        { "{\"vmName\":\"blue\"}", "shop_blue" },
        { "{\"vmName\":\"a\\nb\"}", "shop_/" },
        { "{\"vmName\":7}", "shop_/" },
        { "{\"vmName\":{}}", "shop_/" },
    };
    g_autofree char *huge = g_strnfill(254, 'x');
    g_autofree char *annotation =
        g_strdup_printf(",\"annotations\":{\"wukong.novasphere.dev/domain\":\"%s\"}", huge);
    g_autoptr(WkWukong) annotated = make(annotation, "{}", "{}");

    (void)state;
    assert_string_equal(annotated->domain, "/");
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(WkWukong) wukong = make("", "{}", rows[i].status);
        g_autofree char *name = wk_wukong_domain_name(wukong);

        assert_string_equal(name, rows[i].name);
    }
}

static void
test_large_mirror_and_state(void **state)
{
    g_autofree char *huge = g_strnfill(16 * 1024 + 1, 'x');
    g_autofree char *metadata = g_strdup_printf(
        ",\"annotations\":{\"wukong.novasphere.dev/lifecycle-state\":\"%s\"}", huge);
    g_autofree char *foreign =
        g_strdup_printf("{\"lifecycleState\":{\"other\":\"%s\",\"state\":\"Running\"}}", huge);
    g_autofree char *ours =
        g_strdup_printf("{\"lifecycleState\":{\"message\":\"%s\",\"state\":\"Running\"}}", huge);
    g_autoptr(WkWukong) wukong = make(metadata, "{}", foreign);
    g_autoptr(WkWukong) other = make("", "{}", ours);

    (void)state;
    assert_null(wukong->seen_mirror);
    assert_string_equal(wukong->seen_state, "{\"state\":\"Running\"}");
    assert_null(other->seen_state);
    wk_wukong_free(NULL);
}

static void
test_peek_node(void **state)
{
    static const struct {
        const char *text;
        const char *node;
    } rows[] = {
        { "{}", NULL },
        { "{\"status\":[]}", NULL },
        { "{\"status\":{\"nodeName\":3}}", NULL },
        { "{\"status\":{\"nodeName\":\"n1\"}}", "n1" },
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(JsonObject) object = wk_json_parse(rows[i].text, -1, TEXT_MAX, NULL);

        assert_int_equal(g_strcmp0(wk_wukong_peek_node(object), rows[i].node), 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_actions),
        cmocka_unit_test(test_wrong_actions),
        cmocka_unit_test(test_long_actions),
        cmocka_unit_test(test_length_of_ids),
        cmocka_unit_test(test_no_action),
        cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_bounded_text),
        cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_nothing_but_a_name),
        cmocka_unit_test(test_no_wukong),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_wrong_types),
        cmocka_unit_test(test_numbers_out_of_range),
        cmocka_unit_test(test_names_of_guests),
        cmocka_unit_test(test_large_mirror_and_state),
        cmocka_unit_test(test_peek_node),
    };

    return cmocka_run_group_tests_name("kube-wukong", tests, NULL, NULL);
}
