/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/error.h"
#include "base/json.h"
#include "control/codec.h"

static void
assert_json(JsonObject *object, const char *expected)
{
    g_autofree char *text = wk_json_to_text(object);

    json_object_unref(object);
    assert_string_equal(text, expected);
}

/* Guests */

static void
test_guest_least(void **state G_GNUC_UNUSED)
{
    const WkView view = { .id = (char *)"u1",
                          .name = (char *)"a",
                          .source = (char *)"host",
                          .state = WK_STATE_RUNNING,
                          .progress_percent = -1,
                          .restorable = -1 };

    assert_json(wk_codec_guest(&view),
                "{\"id\":\"u1\",\"name\":\"a\",\"source\":\"host\",\"state\":\"Running\"}");
}

static void
test_guest_most(void **state G_GNUC_UNUSED)
{
    const WkView view = { .id = (char *)"u1",
                          .name = (char *)"a\n\"b\x1b\x1f\x7f",
                          .source = (char *)"host",
                          .state = WK_STATE_SUSPENDED,
                          .target = WK_TARGET_DISK,
                          .reason = (char *)"SavedToDisk",
                          .message = (char *)"saved\xff",
                          .origin = WK_ORIGIN_LOCAL,
                          .progress_percent = 0,
                          .saved_bytes = 833877135,
                          .saved_at_us = G_GINT64_CONSTANT(1795377600000000),
                          .memory_bytes = G_MAXUINT64,
                          .last_action = WK_ACTION_SUSPEND,
                          .last_action_at_us = G_GINT64_CONSTANT(1795377600999999),
                          .restorable = 0,
                          .operation = (char *)"op",
                          .owner = { (char *)"default", (char *)"vm", (char *)"u-1" } };

    assert_json(wk_codec_guest(&view),
                "{\"id\":\"u1\",\"name\":\"a\\n\\\"b\\u001b\\u001f\\u007f\",\"source\":\"host\","
                "\"wukong\":{\"namespace\":\"default\",\"name\":\"vm\",\"uid\":\"u-1\"},"
                "\"state\":\"Suspended\",\"target\":\"disk\",\"reason\":\"SavedToDisk\","
                "\"message\":\"saved\xef\xbf\xbd\",\"origin\":\"local\",\"progressPercent\":0,"
                "\"savedBytes\":833877135,\"savedAt\":\"2026-11-22T20:00:00Z\","
                "\"memoryBytes\":9223372036854775807,\"lastAction\":\"suspend\","
                "\"lastActionTime\":\"2026-11-22T20:00:00Z\",\"restorable\":false,"
                "\"operation\":\"op\"}");
}

/* Operations */

static void
test_operation(void **state G_GNUC_UNUSED)
{
    WkOperation operation = { .id = (char *)"op",
                              .guest = (char *)"u1",
                              .name = (char *)"a",
                              .action = WK_ACTION_SUSPEND,
                              .target = WK_TARGET_DISK,
                              .state = WK_OP_RUNNING,
                              .step = WK_STEP_NONE,
                              .origin = WK_ORIGIN_LOCAL,
                              .attempt = 2,
                              .accepted_at_us = G_GINT64_CONSTANT(1795377600000000),
                              .done_bytes = 50,
                              .total_bytes = 100,
                              .bytes_per_second = 10 };

    assert_json(wk_codec_operation(&operation),
                "{\"id\":\"op\",\"guest\":\"u1\",\"name\":\"a\",\"action\":\"suspend\","
                "\"target\":\"disk\",\"state\":\"running\",\"origin\":\"local\",\"attempt\":2,"
                "\"progressPercent\":50,\"bytesDone\":50,\"bytesTotal\":100,"
                "\"bytesPerSecond\":10,\"secondsLeft\":5,"
                "\"acceptedAt\":\"2026-11-22T20:00:00Z\"}");
    operation.state = WK_OP_FAILED;
    operation.step = WK_STEP_SAVE_COMMIT_SAVING;
    operation.reason = (char *)"NoSpace";
    assert_json(wk_codec_operation(&operation),
                "{\"id\":\"op\",\"guest\":\"u1\",\"name\":\"a\",\"action\":\"suspend\","
                "\"target\":\"disk\",\"state\":\"failed\",\"step\":\"save.commit-saving\","
                "\"origin\":\"local\",\"attempt\":2,"
                "\"progressPercent\":50,\"bytesDone\":50,\"bytesTotal\":100,"
                "\"bytesPerSecond\":10,\"reason\":\"NoSpace\","
                "\"acceptedAt\":\"2026-11-22T20:00:00Z\"}");
}

static void
test_operation_counts_nothing(void **state G_GNUC_UNUSED)
{
    const WkOperation operation = { .id = (char *)"op",
                                    .guest = (char *)"u1",
                                    .name = (char *)"a",
                                    .action = WK_ACTION_DISCARD,
                                    .state = WK_OP_QUEUED,
                                    .step = WK_STEP_NONE };

    assert_json(wk_codec_operation(&operation),
                "{\"id\":\"op\",\"guest\":\"u1\",\"name\":\"a\",\"action\":\"discard\","
                "\"state\":\"queued\"}");
}

/* Images */

static void
test_image(void **state G_GNUC_UNUSED)
{
    WkImageView image = { .id = (char *)"u1",
                          .name = (char *)"a",
                          .source = (char *)"host",
                          .state = WK_LEDGER_SEALED,
                          .size_bytes = 7 };

    assert_json(wk_codec_image(&image),
                "{\"id\":\"u1\",\"guest\":\"a\",\"source\":\"host\",\"state\":\"sealed\","
                "\"sizeBytes\":7,\"disksVerified\":\"full\",\"orphan\":false}");
    image.state = WK_LEDGER_QUARANTINED;
    image.disks_partial = TRUE;
    image.orphan = TRUE;
    image.digest = (char *)"00ff";
    image.boot_id = (char *)"b";
    image.reason = (char *)"ImageCorrupt";
    assert_json(wk_codec_image(&image),
                "{\"id\":\"u1\",\"guest\":\"a\",\"source\":\"host\",\"state\":\"quarantined\","
                "\"sizeBytes\":7,\"bootId\":\"b\",\"disksVerified\":\"partial\",\"orphan\":true,"
                "\"digest\":\"00ff\",\"reason\":\"ImageCorrupt\"}");
}

/* Problems */

static const struct {
    const char *label;
    WkErrorCode code;
    const char *reason;
    guint status;
    const char *type;
} problems[] = {
    { "failed", WK_ERROR_FAILED, NULL, 500, "failed" },
    { "invalid", WK_ERROR_INVALID, NULL, 400, "invalid" },
    { "not found", WK_ERROR_NOT_FOUND, NULL, 404, "not-found" },
    { "conflict", WK_ERROR_CONFLICT, NULL, 409, "conflict" },
    { "refused", WK_ERROR_REFUSED, NULL, 422, "refused" },
    { "denied", WK_ERROR_DENIED, NULL, 403, "denied" },
    { "unavailable", WK_ERROR_UNAVAILABLE, NULL, 503, "unavailable" },
    { "timeout", WK_ERROR_TIMEOUT, NULL, 504, "timeout" },
    { "cancelled", WK_ERROR_CANCELLED, NULL, 500, "cancelled" },
    { "corrupt", WK_ERROR_CORRUPT, NULL, 500, "corrupt" },
    { "reason", WK_ERROR_REFUSED, "PassedThroughDevice", 422, "passed-through-device" },
    { "acronym inside", WK_ERROR_CONFLICT, "PausedByIOError", 409, "paused-by-io-error" },
    { "acronym first", WK_ERROR_CORRUPT, "UUIDMismatch", 500, "uuid-mismatch" },
    { "acronym last", WK_ERROR_REFUSED, "NoTPM", 422, "no-tpm" },
    { "digit", WK_ERROR_REFUSED, "Over4Disks", 422, "over4-disks" },
    { "method", WK_ERROR_INVALID, "MethodNotAllowed", 405, "method-not-allowed" },
    { "body", WK_ERROR_INVALID, "BodyTooLarge", 413, "body-too-large" },
    { "media type", WK_ERROR_INVALID, "UnsupportedMediaType", 415, "unsupported-media-type" },
};

static void
test_problem(void **state)
{
    const gsize i = GPOINTER_TO_SIZE(*state);
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) object = NULL;
    g_autofree char *type = NULL;
    guint status = 0;

    wk_error_set(&error, problems[i].code, problems[i].reason, "what\xff: next step");
    object = wk_codec_problem(error, &status);
    type = g_strconcat("https://novasphere.dev/wukong/problems/", problems[i].type, NULL);
    assert_int_equal(status, problems[i].status);
    assert_int_equal(wk_json_get_int(object, "status", 0), status);
    assert_string_equal(wk_json_get_string(object, "type"), type);
    assert_non_null(wk_json_get_string(object, "title"));
    /* U+FFFD stands where bytes are not text */
    assert_string_equal(wk_json_get_string(object, "detail"), "what\xef\xbf\xbd: next step");
    if (problems[i].reason != NULL)
        assert_string_equal(wk_json_get_string(object, "reason"), problems[i].reason);
    else
        assert_false(json_object_has_member(object, "reason"));
}

static void
test_problem_of_others(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = g_error_new(G_IO_ERROR, WK_ERROR_DENIED, "odd");
    guint status = 0;
    g_autoptr(JsonObject) object = wk_codec_problem(error, &status);

    assert_int_equal(status, 500);
    assert_string_equal(wk_json_get_string(object, "detail"), "odd");
}

/* Requests */

static const struct {
    const char *label;
    WkAction action;
    const char *json;
    const char *complaint; /* NULL: must be read */
} requests[] = {
    { "suspend nothing", WK_ACTION_SUSPEND, "{}", NULL },
    { "suspend all", WK_ACTION_SUSPEND,
      "{\"target\":\"disk\",\"timeoutSeconds\":86400,\"fallback\":\"stop\",\"dryRun\":true}",
      NULL },
    { "suspend null", WK_ACTION_SUSPEND, "{\"target\":null}", NULL },
    { "unknown member", WK_ACTION_SUSPEND, "{\"targets\":\"disk\"}", "'targets'" },
    { "control character", WK_ACTION_SUSPEND, "{\"a\\u001bb\":1}", "'a\\x1bb'" },
    { "unknown target", WK_ACTION_SUSPEND, "{\"target\":\"cloud\"}", "target 'cloud'" },
    { "empty target", WK_ACTION_SUSPEND, "{\"target\":\"\"}", "target ''" },
    { "target a number", WK_ACTION_SUSPEND, "{\"target\":1}", "'target': expected a string" },
    { "target a list", WK_ACTION_SUSPEND, "{\"target\":[]}", "'target': expected a string" },
    { "unknown fallback", WK_ACTION_SUSPEND, "{\"fallback\":\"disk\"}", "fallback 'disk'" },
    { "timeout 0", WK_ACTION_SUSPEND, "{\"timeoutSeconds\":0}", "'timeoutSeconds': 0" },
    { "timeout -1", WK_ACTION_SUSPEND, "{\"timeoutSeconds\":-1}", "'timeoutSeconds': -1" },
    { "timeout huge", WK_ACTION_RESUME, "{\"timeoutSeconds\":86401}", "'timeoutSeconds': 86401" },
    { "timeout real", WK_ACTION_RESUME, "{\"timeoutSeconds\":1.5}", "whole number" },
    { "timeout a string", WK_ACTION_DISCARD, "{\"timeoutSeconds\":\"9\"}", "whole number" },
    { "dryRun a number", WK_ACTION_DISCARD, "{\"dryRun\":1}", "'dryRun': expected true or false" },
    { "resume target", WK_ACTION_RESUME, "{\"target\":\"disk\"}", "'target' is not known" },
    { "discard fallback", WK_ACTION_DISCARD, "{\"fallback\":\"none\"}", "'fallback' is not known" },
    { "resume all", WK_ACTION_RESUME, "{\"timeoutSeconds\":1,\"dryRun\":false}", NULL },
    { "discard all", WK_ACTION_DISCARD, "{\"timeoutSeconds\":1,\"dryRun\":true}", NULL },
    { "cancel nothing", WK_ACTION_NONE, "{}", NULL },
    { "cancel anything", WK_ACTION_NONE, "{\"dryRun\":true}", "'dryRun' is not known" },
};

static void
test_request(void **state)
{
    const gsize i = GPOINTER_TO_SIZE(*state);
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) body = wk_json_parse(requests[i].json, -1, 65536, &error);
    const WkRequest before = { .guest = "u1", .origin = WK_ORIGIN_LOCAL, .timeout_s = 4711 };
    WkRequest request = before;

    assert_non_null(body);
    if (requests[i].complaint == NULL) {
        assert_true(wk_codec_read_request(body, requests[i].action, &request, &error));
        assert_int_equal(request.action, requests[i].action);
        assert_string_equal(request.guest, "u1");
        assert_int_equal(request.origin, WK_ORIGIN_LOCAL);
        return;
    }
    assert_false(wk_codec_read_request(body, requests[i].action, &request, &error));
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_INVALID));
    if (strstr(error->message, requests[i].complaint) == NULL)
        fail_msg("'%s' does not say \"%s\"", error->message, requests[i].complaint);
    assert_memory_equal(&request, &before, sizeof before);
}

static void
test_request_values(void **state G_GNUC_UNUSED)
{
    const char *text = "{\"target\":\"disk\",\"timeoutSeconds\":86400,"
                       "\"fallback\":\"stop\",\"dryRun\":true}";
    g_autoptr(JsonObject) full = wk_json_parse(text, -1, 65536, NULL);
    g_autoptr(JsonObject) empty = wk_json_parse("{}", -1, 65536, NULL);
    WkRequest request = { 0 };

    assert_true(wk_codec_read_request(full, WK_ACTION_SUSPEND, &request, NULL));
    assert_int_equal(request.target, WK_TARGET_DISK);
    assert_int_equal(request.timeout_s, 86400);
    assert_int_equal(request.fallback, WK_FALLBACK_STOP);
    assert_true(request.dry_run);
    assert_true(wk_codec_read_request(empty, WK_ACTION_SUSPEND, &request, NULL));
    assert_int_equal(request.target, WK_TARGET_NONE);
    assert_int_equal(request.timeout_s, 0);
    assert_int_equal(request.fallback, WK_FALLBACK_NONE);
    assert_false(request.dry_run);
}

int
main(void)
{
    struct CMUnitTest tests[64] = {
        cmocka_unit_test(test_guest_least),    cmocka_unit_test(test_guest_most),
        cmocka_unit_test(test_operation),      cmocka_unit_test(test_operation_counts_nothing),
        cmocka_unit_test(test_image),          cmocka_unit_test(test_problem_of_others),
        cmocka_unit_test(test_request_values),
    };
    gsize n = 7;

    for (gsize i = 0; i < G_N_ELEMENTS(problems); i++)
        tests[n++] = (struct CMUnitTest){ .name = problems[i].label,
                                          .test_func = test_problem,
                                          .initial_state = GSIZE_TO_POINTER(i) };
    for (gsize i = 0; i < G_N_ELEMENTS(requests); i++)
        tests[n++] = (struct CMUnitTest){ .name = requests[i].label,
                                          .test_func = test_request,
                                          .initial_state = GSIZE_TO_POINTER(i) };
    g_assert(n <= G_N_ELEMENTS(tests));
    return _cmocka_run_group_tests("control-codec", tests, n, NULL, NULL);
}
