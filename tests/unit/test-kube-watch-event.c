/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "kube/client.h"
#include "kube/watch_event.h"

#include <stdio.h>

#define LONG_MESSAGE 1000
#define SHOWN_MAX    400 /* of a message, our own words included */

#define OBJECT(members)                                                                            \
    "{\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"7\"" members "}}"

static void
test_types(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *line;
        WkWatchType type;
        gboolean initial_end;
    } rows[] = {
        { "{\"type\":\"ADDED\",\"object\":" OBJECT("") "}", WK_WATCH_ADDED, FALSE },
        { "{\"type\":\"MODIFIED\",\"object\":" OBJECT("") "}", WK_WATCH_MODIFIED, FALSE },
        { "{\"type\":\"DELETED\",\"object\":" OBJECT("") "}", WK_WATCH_DELETED, FALSE },
        { "{\"type\":\"BOOKMARK\",\"object\":" OBJECT("") "}", WK_WATCH_BOOKMARK, FALSE },
        { " {\"object\":" OBJECT("") ",\"more\":[1],\"type\":\"ADDED\"} \r", WK_WATCH_ADDED,
          FALSE },
        { "{\"type\":\"BOOKMARK\",\"object\":" OBJECT(
              ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}") "}",
          WK_WATCH_BOOKMARK, TRUE },
        { "{\"type\":\"BOOKMARK\",\"object\":" OBJECT(
              ",\"annotations\":{\"k8s.io/initial-events-end\":\"false\"}") "}",
          WK_WATCH_BOOKMARK, FALSE },
        { "{\"type\":\"BOOKMARK\",\"object\":" OBJECT(
              ",\"annotations\":{\"k8s.io/initial-events-end\":true}") "}",
          WK_WATCH_BOOKMARK, FALSE },
        { "{\"type\":\"BOOKMARK\",\"object\":" OBJECT(",\"annotations\":null") "}",
          WK_WATCH_BOOKMARK, FALSE },
        /* who may write an object may write its annotations: only a bookmark's word counts */
        { "{\"type\":\"ADDED\",\"object\":" OBJECT(
              ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}") "}",
          WK_WATCH_ADDED, FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(WkWatchEvent) event = { .object = NULL };
        g_autoptr(GError) error = NULL;

        if (!wk_watch_event_parse(rows[i].line, strlen(rows[i].line), &event, &error))
            fail_msg("%s: %s", rows[i].line, error->message);
        assert_int_equal(event.type, rows[i].type);
        assert_string_equal(event.version, "7");
        assert_int_equal(event.initial_end, rows[i].initial_end);
        assert_string_equal(wk_json_get_string(event.object, "apiVersion"), "v1");
    }
}

/* It is only ever handed back. */
static void
test_version_is_opaque(void **state G_GNUC_UNUSED)
{
    static const char *const versions[] = { "1", "0", "007", "18446744073709551616", "a b&c", "-" };

    for (gsize i = 0; i < G_N_ELEMENTS(versions); i++) {
        g_auto(WkWatchEvent) event = { .object = NULL };
        g_autofree char *line = g_strdup_printf("{\"type\":\"ADDED\",\"object\":{\"metadata\":"
                                                "{\"resourceVersion\":\"%s\"}}}",
                                                versions[i]);

        assert_true(wk_watch_event_parse(line, strlen(line), &event, NULL));
        assert_string_equal(event.version, versions[i]);
    }
}

static void
test_no_event(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *line;
        const char *fragment;
    } rows[] = {
        { "", "no JSON" },
        { "garbage", "no JSON" },
        { "\xff\xfe", "no JSON" },
        { "[]", "no JSON" },
        { "null", "no JSON" },
        { "{\"type\":\"ADDED\"", "no JSON" },
        { "{\"type\":\"ADDED\",\"object\":" OBJECT("") "} {}", "no JSON" },
        { "{}", "without type or object" },
        { "{\"type\":\"ADDED\"}", "without type or object" },
        { "{\"type\":1,\"object\":" OBJECT("") "}", "without type or object" },
        { "{\"type\":\"ADDED\",\"object\":[]}", "without type or object" },
        { "{\"type\":\"ADDED\",\"object\":null}", "without type or object" },
        { "{\"object\":" OBJECT("") "}", "without type or object" },
        { "{\"type\":\"\",\"object\":" OBJECT("") "}", "not known" },
        { "{\"type\":\"added\",\"object\":" OBJECT("") "}", "not known" },
        { "{\"type\":\"MOVED\",\"object\":" OBJECT("") "}", "not known" },
        { "{\"type\":\"ADDED\",\"object\":{}}", "without a resourceVersion" },
        { "{\"type\":\"ADDED\",\"object\":{\"metadata\":[]}}", "without a resourceVersion" },
        { "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":7}}}",
          "without a resourceVersion" },
        { "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"\"}}}",
          "without a resourceVersion" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(WkWatchEvent) event = { .object = NULL };
        g_autoptr(GError) error = NULL;

        assert_false(wk_watch_event_parse(rows[i].line, strlen(rows[i].line), &event, &error));
        assert_null(event.object);
        assert_string_equal(wk_error_get_reason(error), "BadWatch");
        unit_assert_error(&error, WK_ERROR_INVALID, rows[i].fragment);
    }
}

static void
test_error_events(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *status;
        WkErrorCode code;
        const char *reason;
        const char *fragment;
        gint64 retry_ms;
    } rows[] = {
        { "{\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}", WK_ERROR_CONFLICT,
          "Expired", "too old (410)", -1 },
        { "{\"code\":410}", WK_ERROR_CONFLICT, "Expired", "(no message) (410)", -1 },
        /* client-go takes either of the two for it */
        { "{\"reason\":\"Expired\",\"message\":\"m\"}", WK_ERROR_CONFLICT, "Expired", "m (0)", -1 },
        { "{\"reason\":\"Gone\",\"message\":\"m\"}", WK_ERROR_CONFLICT, "Expired", "m (0)", -1 },
        { "{\"code\":429,\"message\":\"m\"}", WK_ERROR_UNAVAILABLE, "WatchError", "m (429)", -1 },
        { "{\"code\":429,\"message\":\"m\",\"details\":{\"retryAfterSeconds\":3}}",
          WK_ERROR_UNAVAILABLE, "WatchError", "m (429)", 3000 },
        { "{\"code\":429,\"message\":\"m\",\"details\":{\"retryAfterSeconds\":-3}}",
          WK_ERROR_UNAVAILABLE, "WatchError", "m (429)", -1 },
        { "{\"code\":500,\"message\":\"m\"}", WK_ERROR_UNAVAILABLE, "WatchError", "m (500)", -1 },
        { "{\"code\":504,\"message\":\"m\",\"details\":7}", WK_ERROR_UNAVAILABLE, "WatchError",
          "m (504)", -1 },
        { "{\"code\":403,\"message\":\"m\"}", WK_ERROR_FAILED, "WatchError", "m (403)", -1 },
        { "{\"code\":-1,\"message\":\"m\"}", WK_ERROR_FAILED, "WatchError", "m (-1)", -1 },
        { "{\"code\":\"410\"}", WK_ERROR_FAILED, "WatchError", "(no message)", -1 },
        { "{\"code\":9223372036854775807}", WK_ERROR_UNAVAILABLE, "WatchError", "(no message)",
          -1 },
        { "{}", WK_ERROR_FAILED, "WatchError", "(no message) (0)", -1 },
        { "{\"code\":500,\"message\":\"a\\u001b[2Jb\\nc\"}", WK_ERROR_UNAVAILABLE, "WatchError",
          "a\\x1b[2Jb\\x0ac", -1 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(WkWatchEvent) event = { .object = NULL };
        g_autofree char *line =
            g_strdup_printf("{\"type\":\"ERROR\",\"object\":%s}", rows[i].status);
        g_autoptr(GError) error = NULL;

        assert_false(wk_watch_event_parse(line, strlen(line), &event, &error));
        assert_null(event.object);
        if (g_strcmp0(wk_error_get_reason(error), rows[i].reason) != 0)
            fail_msg("%s: reason %s", line, wk_error_get_reason(error));
        if (wk_kube_retry_after_ms(error) != rows[i].retry_ms)
            fail_msg("%s: %d ms", line, (int)wk_kube_retry_after_ms(error));
        unit_assert_error(&error, rows[i].code, rows[i].fragment);
    }
}

/* A message goes on into logs, status and Events: whole letters only, wherever it is cut. */
static void
test_long_messages(void **state G_GNUC_UNUSED)
{
    static const char *const letters[] = { "x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x92" };

    for (gsize i = 0; i < G_N_ELEMENTS(letters); i++) {
        for (guint offset = 0; offset < 4; offset++) {
            g_auto(WkWatchEvent) event = { .object = NULL };
            g_autoptr(GString) line =
                g_string_new("{\"type\":\"ERROR\",\"object\":{\"message\":\"");
            g_autoptr(GError) error = NULL;

            for (guint j = 0; j < LONG_MESSAGE; j++)
                g_string_append(line, j < offset ? "y" : letters[i]);
            g_string_append(line, "\"}}");
            assert_false(wk_watch_event_parse(line->str, line->len, &event, &error));
            assert_true(g_utf8_validate(error->message, -1, NULL));
            assert_true(strlen(error->message) < SHOWN_MAX);
        }
    }
}

/* Only @length bytes are looked at. */
static void
test_length(void **state G_GNUC_UNUSED)
{
    static const char line[] = "{\"type\":\"ADDED\",\"object\":" OBJECT("") "}garbage";
    const gsize good = strlen(line) - strlen("garbage");

    for (gsize length = 0; length <= strlen(line); length++) {
        g_auto(WkWatchEvent) event = { .object = NULL };
        g_autofree char *copy = g_memdup2(line, length + 1);

        copy[length] = '\0';
        assert_int_equal(wk_watch_event_parse(copy, length, &event, NULL), length == good);
        assert_int_equal(event.object != NULL, length == good);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),         cmocka_unit_test(test_version_is_opaque),
        cmocka_unit_test(test_no_event),      cmocka_unit_test(test_error_events),
        cmocka_unit_test(test_long_messages), cmocka_unit_test(test_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
