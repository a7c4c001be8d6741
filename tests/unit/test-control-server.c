/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control-fixture.h"
#include "unit.h"

#include "base/error.h"
#include "base/json.h"
#include "control/internal.h"

#include <curl/curl.h>

#define ONE   "aaaa1111-0000-4000-8000-000000000001"
#define THREE "bbbb1111-0000-4000-8000-000000000003"

/* Every route and every way it can be asked wrongly, one row each. */
static const struct {
    const char *method;
    const char *path;
    const char *body; /* NULL: none */
    long status;
    const char *says; /* must be in the body */
} rows[] = {
    { "GET", "/v1/node", NULL, 200, "\"apiVersion\":\"v1\"" },
    { "GET", "/v1/node", NULL, 200, "\"name\":\"node-1\"" },
    { "GET", "/v1/node", NULL, 200, "\"ready\":true" },
    { "GET", "/v1/guests", NULL, 200, "{\"items\":[{\"id\":\"" ONE },
    { "GET", "/v1/guests?watch=0", NULL, 200, "{\"items\":[" },
    { "GET", "/v1/guests?", NULL, 200, "{\"items\":[" },
    { "GET", "/v1/guests/one", NULL, 200, "\"name\":\"one\"" },
    { "GET", "/v1/guests/" ONE, NULL, 200, "\"name\":\"one\"" },
    { "GET", "/v1/guests/team%20a%2Fthree%20%26%20more", NULL, 200, "\"id\":\"" THREE },
    { "GET", "/v1/guests/%6f%6E%65", NULL, 200, "\"name\":\"one\"" },
    { "GET", "/v1/operations", NULL, 200, "\"id\":\"op-0\"" },
    { "GET", "/v1/operations/op-1", NULL, 200, "\"state\":\"running\"" },
    { "GET", "/v1/images", NULL, 200, "\"disksVerified\":\"full\"" },
    { "GET", "/v1/doctor", NULL, 200, "\"nextStep\":\"make room\"" },
    { "GET", "/healthz", NULL, 200, "ok" },
    { "GET", "/readyz", NULL, 200, "ready" },
    { "GET", "/metrics", NULL, 200, "\nwukong_build_info 1\n" },
    { "POST", "/v1/guests/one/suspend", NULL, 202, "\"state\":\"queued\"" },
    { "POST", "/v1/guests/one/suspend", "", 202, "\"id\":\"op-new\"" },
    { "POST", "/v1/guests/one/suspend", "{}", 202, "\"id\":\"op-new\"" },
    { "POST", "/v1/guests/one/suspend", "{\"dryRun\":true}", 200, "\"id\":\"op-new\"" },
    { "POST", "/v1/guests/one/resume", "{\"timeoutSeconds\":9}", 202, "\"id\":\"op-new\"" },
    { "POST", "/v1/guests/one/resume", "{\"dryRun\":true}", 200, "\"id\":\"op-new\"" },
    { "POST", "/v1/guests/one/discard", "{\"dryRun\":true}", 200, "\"id\":\"op-new\"" },
    { "POST", "/v1/guests/one/discard", NULL, 202, "\"id\":\"op-new\"" },
    { "POST", "/v1/images/one/verify", "{\"dryRun\":true}", 200, "\"id\":\"op-new\"" },
    { "POST", "/v1/prune", NULL, 200, "\"historyDropped\":3" },
    { "POST", "/v1/images/one/verify", NULL, 202, "\"id\":\"op-new\"" },
    { "POST", "/v1/guests/one/cancel", NULL, 202, "\"state\":\"running\"" },
    { "POST", "/v1/guests/one/cancel", "{}", 202, "\"state\":\"running\"" },

    { "GET", "/v1/guests/nobody", NULL, 404, "no guest is called 'nobody'" },
    { "GET", "/v1/guests/dup", NULL, 400, "say which" },
    { "POST", "/v1/guests/nobody/suspend", NULL, 404, "no guest is called" },
    { "POST", "/v1/guests/nobody/cancel", NULL, 404, "no guest is called" },
    { "GET", "/v1/operations/none", NULL, 404, "no operation 'none'" },
    { "GET", "/v1/operations/none?watch=1", NULL, 404, "no operation 'none'" },
    { "GET", "/", NULL, 404, "openapi.yaml" },
    { "GET", "/v1", NULL, 404, "openapi.yaml" },
    { "GET", "/v2/node", NULL, 404, "openapi.yaml" },
    { "GET", "/v1/guests/", NULL, 404, "openapi.yaml" },
    { "GET", "/v1//guests", NULL, 404, "openapi.yaml" },
    { "GET", "//v1/guests", NULL, 404, "openapi.yaml" },
    { "GET", "/v1/guests/one/", NULL, 404, "openapi.yaml" },
    { "GET", "/v1/guests/one/two/three/four/five/six/seven", NULL, 404, "openapi.yaml" },
    { "POST", "/v1/guests//suspend", NULL, 404, "openapi.yaml" },
    { "POST", "/v1/guests/one/explode", NULL, 404, "openapi.yaml" },
    { "GET", "/v1/guests/%00", NULL, 400, "percent-encoded UTF-8" },
    { "GET", "/v1/guests/%ff%fe", NULL, 400, "percent-encoded UTF-8" },
    { "GET", "/v1/guests?watch=2", NULL, 400, "watch=1" },
    { "GET", "/v1/guests?wach=1", NULL, 400, "watch=1" },
    { "GET", "/v1/guests?watch=1&more=1", NULL, 400, "watch=1" },
    { "GET", "/v1/guests?=&&=", NULL, 400, "query" },
    { "GET", "/v1/operations?watch=", NULL, 400, "watch=1" },
    { "GET", "/v1/operations/op-1?follow=1", NULL, 400, "watch=1" },
    { "GET", "/v1/node?watch=1", NULL, 400, "takes no query" },
    { "POST", "/v1/guests/one/suspend?dryRun=true", NULL, 400, "takes no query" },
    { "POST", "/v1/node", NULL, 405, "this path takes GET, HEAD" },
    { "DELETE", "/v1/guests/one", NULL, 405, "this path takes GET, HEAD" },
    { "PUT", "/metrics", NULL, 405, "this path takes GET, HEAD" },
    { "OPTIONS", "/v1/node", NULL, 405, "this path takes GET, HEAD" },
    { "GET", "/v1/guests/one/suspend", NULL, 405, "this path takes POST" },
    { "POST", "/v1/guests/one", "{}", 405, "this path takes GET, HEAD" },
    { "get", "/v1/node", NULL, 405, "this path takes GET, HEAD" },
    { "BREW", "/nowhere", NULL, 404, "openapi.yaml" },

    { "POST", "/v1/guests/one/suspend", "{", 400, "not valid JSON" },
    { "POST", "/v1/guests/one/suspend", " ", 400, "problems/invalid" },
    { "POST", "/v1/guests/one/suspend", "[]", 400, "expected a JSON object" },
    { "POST", "/v1/guests/one/suspend", "\"disk\"", 400, "expected a JSON object" },
    { "POST", "/v1/guests/one/suspend", "{\"target\":\"\xff\"}", 400, "problems/invalid" },
    { "POST", "/v1/guests/one/suspend", "{\"target\":\"moon\"}", 400, "use one of memory, disk" },
    { "POST", "/v1/guests/one/suspend", "{\"trget\":\"disk\"}", 400, "'trget' is not known" },
    { "POST", "/v1/guests/one/suspend", "{\"timeoutSeconds\":0}", 400, "between 1 and 86400" },
    { "POST", "/v1/guests/one/suspend", "{\"timeoutSeconds\":1e99}", 400, "timeoutSeconds" },
    { "POST", "/v1/guests/one/resume", "{\"target\":\"disk\"}", 400, "'target' is not known" },
    { "POST", "/v1/guests/one/cancel", "{\"dryRun\":true}", 400, "'dryRun' is not known" },
};

static void
test_row(void **state)
{
    static gsize next;
    const gsize i = next++;
    Fixture *fixture = *state;
    g_autoptr(Answer) answer = ask(fixture, rows[i].method, rows[i].path, rows[i].body);

    assert_null(answer->error);
    assert_int_equal(answer->status, rows[i].status);
    assert_string_equal(answer->connection, "close");
    if (strstr(answer->body->str, rows[i].says) == NULL)
        fail_msg("'%s' does not say \"%s\"", answer->body->str, rows[i].says);
    if (answer->status < 400)
        return;
    assert_string_equal(answer->content_type, "application/problem+json");
    assert_int_equal(wk_json_get_int(answer->json, "status", 0), answer->status);
    assert_int_equal(fixture->n_submits, 0);
}

static const char *const acts[] = { "guests/one/suspend", "guests/one/resume", "guests/one/discard",
                                    "guests/one/cancel",  "images/one/verify", "prune" };

/* What the agent says becomes the status; the reason becomes the type. */
static const struct {
    WkErrorCode code;
    long status;
} codes[] = {
    { WK_ERROR_FAILED, 500 },      { WK_ERROR_INVALID, 400 }, { WK_ERROR_NOT_FOUND, 404 },
    { WK_ERROR_CONFLICT, 409 },    { WK_ERROR_REFUSED, 422 }, { WK_ERROR_DENIED, 403 },
    { WK_ERROR_UNAVAILABLE, 503 }, { WK_ERROR_TIMEOUT, 504 }, { WK_ERROR_CANCELLED, 500 },
    { WK_ERROR_CORRUPT, 500 },
};

static void
test_errors_of_the_agent(void **state)
{
    Fixture *fixture = *state;

    for (gsize i = 0; i < G_N_ELEMENTS(codes) * G_N_ELEMENTS(acts); i++) {
        const gsize code = i / G_N_ELEMENTS(acts);
        const char *act = acts[i % G_N_ELEMENTS(acts)];
        g_autofree char *path = g_strconcat("/v1/", act, NULL);
        g_autoptr(Answer) answer = NULL;

        wk_error_set(&fixture->fail, codes[code].code, "GuestBusy", "it is busy: wait");
        answer = ask(fixture, "POST", path, NULL);
        assert_int_equal(answer->status, codes[code].status);
        assert_string_equal(wk_json_get_string(answer->json, "type"),
                            "https://novasphere.dev/wukong/problems/guest-busy");
        assert_string_equal(wk_json_get_string(answer->json, "detail"), "it is busy: wait");
        assert_string_equal(wk_json_get_string(answer->json, "reason"), "GuestBusy");
    }
}

static void
test_request_reaches_the_agent(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Answer) answer = ask(fixture, "POST", "/v1/guests/one/suspend",
                                   "{\"target\":\"disk\",\"timeoutSeconds\":300,"
                                   "\"fallback\":\"memory\",\"dryRun\":false}");

    assert_int_equal(answer->status, 202);
    assert_string_equal(fixture->last_guest, ONE);
    assert_int_equal(fixture->last.action, WK_ACTION_SUSPEND);
    assert_int_equal(fixture->last.target, WK_TARGET_DISK);
    assert_int_equal(fixture->last.fallback, WK_FALLBACK_MEMORY);
    assert_int_equal(fixture->last.origin, WK_ORIGIN_LOCAL);
    assert_int_equal(fixture->last.timeout_s, 300);
    assert_false(fixture->last.dry_run);
}

static void
test_head(void **state)
{
    static const char *paths[] = { "/v1/node",
                                   "/v1/guests",
                                   "/v1/guests?watch=1",
                                   "/v1/guests/one",
                                   "/v1/operations/op-1?watch=1",
                                   "/healthz",
                                   "/metrics" };

    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(Answer) answer = ask(*state, "HEAD", paths[i], NULL);

        assert_null(answer->error);
        assert_int_equal(answer->status, 200);
        assert_int_equal(answer->body->len, 0);
        assert_non_null(answer->content_type);
    }
    assert_int_equal(fixture_streams(*state), 0);
}

static void
test_allow(void **state)
{
    g_autoptr(Answer) get = ask(*state, "POST", "/v1/guests", NULL);
    g_autoptr(Answer) post = ask(*state, "GET", "/v1/guests/one/resume", NULL);

    assert_string_equal(get->allow, "GET, HEAD");
    assert_string_equal(post->allow, "POST");
}

static void
test_not_ready(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Answer) ready = NULL;
    g_autoptr(Answer) node = NULL;

    fixture->not_ready = g_strdup("the ledger is not read yet");
    ready = ask(fixture, "GET", "/readyz", NULL);
    node = ask(fixture, "GET", "/v1/node", NULL);
    assert_int_equal(ready->status, 503);
    assert_string_equal(wk_json_get_string(ready->json, "detail"), "the ledger is not read yet");
    assert_int_equal(node->status, 200);
    assert_non_null(strstr(node->body->str, "\"ready\":false"));
}

static void
test_content_type(void **state)
{
    static const struct {
        const char *body;
        const char *header;
        long status;
    } bodies[] = {
        { "{}", "Content-Type: application/x-www-form-urlencoded", 415 },
        { "{}", "Content-Type:", 202 }, /* none at all */
        { "{}", "Content-Type: Application/JSON; charset=utf-8", 202 },
        { "", "Content-Type: text/plain", 202 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(acts) * G_N_ELEMENTS(bodies); i++) {
        const gsize b = i / G_N_ELEMENTS(acts);
        g_autofree char *path = g_strconcat("/v1/", acts[i % G_N_ELEMENTS(acts)], NULL);
        g_autoptr(Answer) answer =
            ask_with(*state, "POST", path, bodies[b].body, -1, bodies[b].header);

        assert_int_equal(answer->status, g_str_has_suffix(path, "prune") && bodies[b].status == 202
                                             ? 200 /* done at once */
                                             : bodies[b].status);
        assert_int_equal(strstr(answer->body->str, "problems/unsupported-media-type") != NULL,
                         answer->status == 415);
    }
}

/* Bodies */

/* json-glib recurses, and takes comments and single quotes for JSON: neither may hide a bracket. */
static void
test_deep_json(void **state)
{
    static const char *const starts[] = { "{\"target\":", "/*\"*/{\"target\":",
                                          "{\"target\"://\"\n",
                                          "{'\"':1,\"target\":", "{\"\\\"\":1,\"target\":" };

    for (gsize i = 0; i < G_N_ELEMENTS(starts); i++) {
        g_autoptr(GString) body = g_string_new(starts[i]);
        g_autoptr(Answer) answer = NULL;

        for (guint depth = 0; depth < 65000; depth++)
            g_string_append_c(body, '[');
        answer = ask(*state, "POST", "/v1/guests/one/suspend", body->str);
        assert_int_equal(answer->status, 400);
    }
}

/* @length bytes of which 8 are JSON, the rest spaces. (transfer full) */
static char *
padded(gsize length)
{
    char *text = g_malloc(length + 1);

    memset(text, ' ', length);
    memcpy(text, "{\"a\": 1}", 8);
    text[length] = '\0';
    return text;
}

static void
test_big_body(void **state)
{
    static const struct {
        gsize length;
        const char *header;
        long status;
    } bodies[] = {
        { 64 * 1024, "Content-Type: application/json", 400 }, /* read: 'a' is not known */
        { 64 * 1024 + 1, "Content-Type: application/json", 413 },
        { 1024 * 1024, "Content-Type: application/json", 413 },
        { 1024 * 1024, "Expect:", 413 },
        { 4 * 1024 * 1024, "Expect: 100-continue", 413 },
        { 64 * 1024 + 1, "Transfer-Encoding: chunked", 413 },
        { 1024 * 1024, "Transfer-Encoding: chunked", 413 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(bodies); i++) {
        g_autofree char *body = padded(bodies[i].length);
        g_autofree char *path = g_strconcat("/v1/", acts[i % G_N_ELEMENTS(acts)], NULL);
        g_autoptr(Answer) answer =
            ask_with(*state, "POST", path, body, (gssize)bodies[i].length, bodies[i].header);

        assert_null(answer->error);
        assert_int_equal(answer->status, bodies[i].status);
        assert_true(fixture_run_until(fixture_no_streams, *state, 1000));
    }
}

static void
test_body_without_end(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *body = g_malloc0(20 * 1024 * 1024);
    g_autoptr(Answer) answer =
        ask_with(fixture, "POST", "/v1/guests/one/suspend", body, 20 * 1024 * 1024, "Expect:");
    g_autoptr(Answer) after = ask(fixture, "GET", "/v1/node", NULL);

    assert_non_null(answer->error); /* cut off */
    assert_int_equal(after->status, 200);
}

static void
test_range_is_ignored(void **state)
{
    g_autoptr(Answer) answer = ask_with(*state, "GET", "/v1/node", NULL, 0, "Range: bytes=0-3");

    assert_int_equal(answer->status, 200);
    assert_non_null(answer->json);
}

/* What is hardly HTTP: an answer or an end, never a stop of the server. */
static void
test_odd_http(void **state)
{
    static const struct {
        const char *request;
        const char *status; /* NULL: any, or none */
    } requests[] = {
        { "GET /v1/node HTTP/1.0\r\n\r\n", "200" },
        { "GET /v1/node HTTP/1.1\r\n\r\n", "400" },
        { "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "404" },
        { "GET http://wukong/v1/node HTTP/1.1\r\nHost: x\r\n\r\n", "200" },
        { "GET ftp://wukong/v1/node HTTP/1.1\r\nHost: x\r\n\r\n", "400" },
        { "GET /v1/../v1/node HTTP/1.1\r\nHost: x\r\n\r\n", "200" }, /* libsoup tidies paths */
        { "CONNECT wukong:80 HTTP/1.1\r\nHost: x\r\n\r\n", NULL },
        { "GET /v1/guests/%zz HTTP/1.1\r\nHost: x\r\n\r\n", NULL },
        { "GET /v1/guests/\xff HTTP/1.1\r\nHost: x\r\n\r\n", NULL },
        { "GET /v1/node HTTP/1.1\r\nHost: x/y\r\n\r\n", "400" },
        { "POST /v1/guests/one/suspend HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", NULL },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NULL },
        { "GET /v1/node HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/node HTTP/1.1\r\nHost: x\r\n\r\n",
          "200" },
        { "\r\n\r\n\r\n", NULL },
        { "{\"method\":\"get\"}\n\n", NULL },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(requests); i++) {
        g_autoptr(Talker) talker = talker_open(*state);
        g_autoptr(Answer) after = NULL;

        talker_say(talker, requests[i].request);
        (void)g_socket_shutdown(talker->socket, FALSE, TRUE, NULL);
        (void)talker_rest(talker);
        assert_true(talker->ended);
        if (requests[i].status != NULL && strncmp(talker->got->str + 9, requests[i].status, 3) != 0)
            fail_msg("%s -> %s", requests[i].request, talker->got->str);
        after = ask(*state, "GET", "/healthz", NULL);
        assert_int_equal(after->status, 200);
    }
}

static void
test_huge_headers(void **state)
{
    g_autoptr(GString) request = g_string_new("GET /v1/node HTTP/1.1\r\nHost: x\r\nX: ");
    g_autoptr(Talker) talker = talker_open(*state);
    g_autoptr(Answer) after = NULL;

    for (guint i = 0; i < 300 * 1024; i++)
        g_string_append_c(request, 'x');
    talker_say(talker, request->str);
    (void)talker_rest(talker);
    assert_true(talker->ended);
    after = ask(*state, "GET", "/healthz", NULL);
    assert_int_equal(after->status, 200);
}

/* Late answers */

static gboolean
on_release(gpointer user_data)
{
    Fixture *fixture = user_data;

    if (fixture->held == NULL)
        return G_SOURCE_CONTINUE;
    fixture_release(fixture);
    return G_SOURCE_REMOVE;
}

static void
test_late_submit(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Answer) answer = NULL;

    fixture->hold = TRUE;
    g_timeout_add(150, on_release, fixture);
    answer = ask(fixture, "POST", "/v1/guests/one/suspend", NULL);
    assert_int_equal(answer->status, 202);
    assert_string_equal(wk_json_get_string(answer->json, "id"), "op-new");
}

static void
test_late_refusal(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Answer) answer = NULL;

    fixture->hold = TRUE;
    wk_error_set(&fixture->fail, WK_ERROR_REFUSED, "TransientGuest", "only to memory");
    g_timeout_add(50, on_release, fixture);
    answer = ask(fixture, "POST", "/v1/guests/one/suspend", NULL);
    assert_int_equal(answer->status, 422);
}

static gboolean
is_held(gpointer data)
{
    return ((Fixture *)data)->held != NULL;
}

static gboolean
no_connections(gpointer data)
{
    const Fixture *fixture = data;

    return g_hash_table_size(fixture->control->connections) == 0
           && g_hash_table_size(fixture->control->exchanges) == 0;
}

static const char submit_request[] =
    "POST /v1/guests/one/suspend HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";

static void
test_client_leaves_before_submit_completes(void **state)
{
    Fixture *fixture = *state;
    Talker *talker = talker_open(fixture);
    g_autoptr(Answer) after = NULL;

    fixture->hold = TRUE;
    talker_say(talker, submit_request);
    assert_true(fixture_run_until(is_held, fixture, 5000));
    talker_free(talker);
    fixture_run_for(50);
    fixture_release(fixture);
    assert_true(fixture_run_until(no_connections, fixture, 5000));
    after = ask(fixture, "GET", "/healthz", NULL);
    assert_int_equal(after->status, 200);
}

static void
test_server_ends_before_submit_completes(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = talker_open(fixture);

    fixture->hold = TRUE;
    talker_say(talker, submit_request);
    assert_true(fixture_run_until(is_held, fixture, 5000));
    fixture_stop(fixture);
    fixture_release(fixture);
    assert_string_equal(talker_rest(talker), "");
    assert_true(talker->ended);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int
main(void)
{
    struct CMUnitTest tests[128] = {
        TEST(test_errors_of_the_agent),
        TEST(test_request_reaches_the_agent),
        TEST(test_head),
        TEST(test_allow),
        TEST(test_not_ready),
        TEST(test_content_type),
        TEST(test_deep_json),
        TEST(test_big_body),
        TEST(test_body_without_end),
        TEST(test_range_is_ignored),
        TEST(test_odd_http),
        TEST(test_huge_headers),
        TEST(test_late_submit),
        TEST(test_late_refusal),
        TEST(test_client_leaves_before_submit_completes),
        TEST(test_server_ends_before_submit_completes),
    };
    gsize n = 0;

    while (tests[n].test_func != NULL)
        n++;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert(n < G_N_ELEMENTS(tests));
        tests[n++] = (struct CMUnitTest){ .name = rows[i].path,
                                          .test_func = test_row,
                                          .setup_func = fixture_setup,
                                          .teardown_func = fixture_teardown };
    }
    curl_global_init(CURL_GLOBAL_ALL);
    return _cmocka_run_group_tests("control-server", tests, n, NULL, NULL);
}
