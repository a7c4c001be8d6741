/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-fixture.h"

#include <stdio.h>

static void
test_odd_answers(void **state)
{
    KubeFixture *self = *state;
    static const struct {
        FakeAnswer answer;
        int code; /* -1: good */
        const char *reason;
        const char *fragment;
    } rows[] = {
        { { .body = "" }, -1, NULL, NULL },
        { { .body = " \r\n" }, -1, NULL, NULL },
        { { .body = "<html>login</html>" }, WK_ERROR_FAILED, NULL, "can't be read" },
        { { .body = "[1]" }, WK_ERROR_FAILED, NULL, "can't be read" },
        { { .body = "{\"a\":1" }, WK_ERROR_FAILED, NULL, "can't be read" },
        { { .body = "{\"a\":1}", .deed = FAKE_CUT },
          WK_ERROR_UNAVAILABLE,
          "ConnectionLost",
          "connection was lost" },
        { { .status = 302, .headers = "Location: http://127.0.0.1:1/\r\n", .body = "" },
          WK_ERROR_FAILED,
          NULL,
          "status 302" },
        { { .status = 502,
            .headers = "Content-Type: text/html\r\n",
            .body = "<html>\r\n<b>Bad Gateway</b>\x01\r\n" },
          WK_ERROR_UNAVAILABLE,
          NULL,
          "status 502 and \"<html>  <b>Bad Gateway</b>\\x01\"" },
        { { .status = 500, .body = "" }, WK_ERROR_UNAVAILABLE, "InternalError", "nothing" },
        { { .status = 403, .body = "{\"kind\":\"Other\",\"message\":\"x\"}" },
          WK_ERROR_DENIED,
          "Forbidden",
          "status 403" },
        { { .status = 409,
            .body = "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\",\"message\":\"m1\"}" },
          WK_ERROR_CONFLICT,
          "AlreadyExists",
          "m1" },
        { { .status = 410,
            .body = "{\"kind\":\"Status\",\"reason\":\"Expired\",\"message\":\"m2\"}" },
          WK_ERROR_CONFLICT,
          "Expired",
          "m2" },
        { { .status = 418,
            .body = "{\"kind\":\"Status\",\"reason\":\"Teapot\",\"message\":\"m3\"}" },
          WK_ERROR_INVALID,
          NULL,
          "m3" },
        { { .headers = "Content-Encoding: gzip\r\n", .body = "no gzip" },
          WK_ERROR_FAILED,
          NULL,
          "no API server" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(KubeReply) reply = { 0 };

        fake_apiserver_script(self->api, "GET ", &rows[i].answer);
        kube_run(self, &reply, "GET", KUBE_PATH);
        if (rows[i].code < 0)
            assert_int_equal(json_object_get_size(reply.answer), 0);
        else
            kube_assert_error(&reply, (WkErrorCode)rows[i].code, rows[i].reason, rows[i].fragment);
    }
    assert_int_equal(fake_apiserver_count(self->api, ""), G_N_ELEMENTS(rows));
}

/* ---- the table A2: each verb with each way to fail ---- */

typedef struct {
    const char *name;
    FakeAnswer answer;
    int code;           /* -1: good, in the end */
    const char *reason; /* of an answer without a body */
    guint calls;        /* that the server sees */
} Failure;

static const Failure failures[] = {
    { "400", { .status = 400 }, WK_ERROR_INVALID, "BadRequest", 1 },
    { "401", { .status = 401, .times = 2 }, WK_ERROR_DENIED, "Unauthorized", 2 },
    { "401 once", { .status = 401 }, -1, NULL, 2 },
    { "403", { .status = 403 }, WK_ERROR_DENIED, "Forbidden", 1 },
    { "404", { .status = 404 }, WK_ERROR_NOT_FOUND, "NotFound", 1 },
    { "408", { .status = 408 }, WK_ERROR_UNAVAILABLE, "Timeout", 1 },
    { "409", { .status = 409 }, WK_ERROR_CONFLICT, "Conflict", 1 },
    { "410", { .status = 410 }, WK_ERROR_CONFLICT, "Gone", 1 },
    { "413", { .status = 413 }, WK_ERROR_INVALID, "RequestEntityTooLarge", 1 },
    { "415", { .status = 415 }, WK_ERROR_INVALID, "UnsupportedMediaType", 1 },
    { "422", { .status = 422 }, WK_ERROR_INVALID, "Invalid", 1 },
    { "429", { .status = 429 }, WK_ERROR_UNAVAILABLE, "TooManyRequests", 1 },
    { "429 after 1 s", { .status = 429, .headers = "Retry-After: 1\r\n" }, -1, NULL, 2 },
    { "429 for ever",
      { .status = 429, .headers = "Retry-After: 1\r\n", .times = G_MAXUINT },
      WK_ERROR_UNAVAILABLE,
      "TooManyRequests",
      11 },
    { "500", { .status = 500 }, WK_ERROR_UNAVAILABLE, "InternalError", 1 },
    { "502", { .status = 502 }, WK_ERROR_UNAVAILABLE, NULL, 1 },
    { "503", { .status = 503 }, WK_ERROR_UNAVAILABLE, "ServiceUnavailable", 1 },
    { "503 after 2 s", { .status = 503, .headers = "Retry-After: 2\r\n" }, -1, NULL, 2 },
    { "504", { .status = 504 }, WK_ERROR_UNAVAILABLE, "Timeout", 1 },
    { "RST", { .deed = FAKE_RESET }, WK_ERROR_UNAVAILABLE, "ConnectionLost", 1 },
    { "close", { .deed = FAKE_CLOSE }, WK_ERROR_UNAVAILABLE, "ConnectionLost", 1 },
    { "half-open", { .deed = FAKE_SILENT }, WK_ERROR_UNAVAILABLE, "NoAnswer", 1 },
    { "cut", { .deed = FAKE_CUT, .body = "{\"a\":1}" }, WK_ERROR_UNAVAILABLE, "ConnectionLost", 1 },
};

/* Each on connections of its own: on one that was used before, libcurl itself tries once more. */
static void
check_failure(const char *method, const Failure *failure)
{
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    void *state = NULL;
    KubeFixture *self = NULL;
    g_auto(KubeReply) reply = { 0 };

    kube_setup(&state);
    self = state;
    if (failure->answer.deed == FAKE_SILENT)
        wk_kube_set_times(self->kube, &kube_short_times);
    fake_apiserver_script(self->api, method, &failure->answer);
    fake_apiserver_script(self->api, method, &good);
    kube_run(self, &reply, method, KUBE_PATH);
    if (failure->code < 0 && reply.error != NULL)
        fail_msg("%s x %s: %s", method, failure->name, reply.error->message);
    if (failure->code >= 0)
        kube_assert_error(&reply, (WkErrorCode)failure->code, failure->reason, method);
    if (fake_apiserver_count(self->api, method) != failure->calls)
        fail_msg("%s x %s: the server saw %u", method, failure->name,
                 fake_apiserver_count(self->api, method));
    /* And the next is as if nothing had been. */
    if (failure->answer.times != G_MAXUINT) {
        wk_kube_set_times(self->kube, &kube_patient_times);
        kube_run(self, &reply, method, KUBE_PATH);
        assert_null(reply.error);
    }
    kube_reply_clear(&reply);
    kube_teardown(&state);
}

static void
test_a2(void **state G_GNUC_UNUSED)
{
    static const char *const methods[] = { "GET", "PUT", "POST", "PATCH", "DELETE" };
    guint rows = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(methods); i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(failures); j++) {
            check_failure(methods[i], &failures[j]);
            rows++;
        }
    }
    printf("# A2 rows=%u\n", rows);
}

static void
test_retry_after_is_told(void **state)
{
    KubeFixture *self = *state;
    static const struct {
        FakeAnswer answer;
        gint64 ms;
    } rows[] = {
        { { .status = 500, .headers = "Retry-After: 7\r\n" }, 7000 },
        { { .status = 500, .headers = "Retry-After: soon\r\n" }, -1 },
        { { .status = 500, .headers = "Retry-After: -3\r\n" }, -1 },
        { { .status = 504,
            .body = "{\"kind\":\"Status\",\"message\":\"m\",\"details\":"
                    "{\"retryAfterSeconds\":3}}" },
          3000 },
        { { .status = 404 }, -1 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(KubeReply) reply = { 0 };
        g_autoptr(GError) copy = NULL;

        fake_apiserver_script(self->api, "GET ", &rows[i].answer);
        kube_run(self, &reply, "GET", KUBE_PATH);
        copy = g_error_copy(reply.error);
        assert_int_equal(wk_kube_retry_after_ms(copy), rows[i].ms);
    }
    assert_int_equal(wk_kube_retry_after_ms(NULL), -1);
}

/* ---- credentials and connections ---- */

static void
test_401_brings_new_token(void **state)
{
    KubeFixture *self = *state;
    const FakeAnswer no = { .status = 401, .times = 3 };
    KubeReply replies[3] = { 0 };
    FakeCall *call = NULL;

    fake_kube_config_set_next_token(self->config, "open");
    fake_apiserver_script(self->api, "", &no);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        kube_send_with(self, &replies[i], "PUT", KUBE_PATH, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++) {
        g_autofree char *token = NULL;

        call = fake_apiserver_wait(self->api, "PUT ");
        token = fake_call_get_header(call, "Authorization");
        assert_string_equal(token, "Bearer open");
        fake_call_answer(call, 200, NULL, "{}");
    }
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++) {
        kube_wait_reply(&replies[i]);
        assert_null(replies[i].error);
        kube_reply_clear(&replies[i]);
    }
    assert_in_range(fake_kube_config_count_anew(self->config), 1, 3);
    assert_int_equal(fake_apiserver_count(self->api, "PUT "), 6);
}

static void
test_no_credentials(void **state)
{
    KubeFixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    g_auto(KubeReply) reply = { 0 };

    fake_apiserver_script(self->api, "", &good);
    fake_kube_config_set_refresh_error(self->config, "the plugin has failed");
    kube_run(self, &reply, "GET", KUBE_PATH);
    kube_assert_error(&reply, WK_ERROR_DENIED, NULL, "the plugin has failed");
    fake_kube_config_set_refresh_error(self->config, NULL);
    kube_run(self, &reply, "GET", KUBE_PATH);
    assert_null(reply.error);
}

static void
test_rotation(void **state)
{
    KubeFixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    g_auto(KubeReply) reply = { 0 };
    g_auto(KubeReply) old = { 0 };
    FakeCall *call = NULL;

    kube_send_with(self, &old, "PUT", KUBE_PATH "/old", NULL);
    call = fake_apiserver_wait(self->api, "PUT " KUBE_PATH "/old");
    fake_apiserver_script(self->api, "GET", &good);
    kube_run(self, &reply, "GET", KUBE_PATH);
    kube_run(self, &reply, "GET", KUBE_PATH);
    assert_int_equal(fake_apiserver_count_accepted(self->api), 2);
    fake_kube_config_edit_credentials(self->config)->tls_generation = 2;
    kube_run(self, &reply, "GET", KUBE_PATH);
    assert_int_equal(fake_apiserver_count_accepted(self->api), 3);
    /* What was under way ends on its connection, which is closed then. */
    fake_call_answer(call, 200, NULL, "{}");
    kube_wait_reply(&old);
    assert_null(old.error);
    fake_settle();
    assert_int_equal(fake_apiserver_count_open(self->api), 1);
}

/* Another connection that is there and idle is not trusted either: it may be as dead. */
static void
test_dead_connection_is_left(void **state)
{
    KubeFixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    g_auto(KubeReply) stuck = { 0 };
    g_auto(KubeReply) reply = { 0 };
    FakeCall *call = NULL;

    kube_send_with(self, &stuck, "PUT", KUBE_PATH "/stuck", NULL);
    kube_send_with(self, &reply, "PUT", KUBE_PATH "/idle", NULL);
    fake_apiserver_wait_count(self->api, "PUT ", 2);
    while ((call = fake_apiserver_peek(self->api, "PUT ")) != NULL)
        fake_call_answer(call, 200, NULL, NULL);
    kube_wait_reply(&stuck);
    kube_wait_reply(&reply);
    assert_int_equal(fake_apiserver_count_open(self->api), 2);
    wk_kube_set_times(self->kube, &kube_short_times);
    kube_run(self, &stuck, "PUT", KUBE_PATH "/stuck");
    kube_assert_error(&stuck, WK_ERROR_UNAVAILABLE, "NoAnswer", "no answer in 0.06 s");
    wk_kube_set_times(self->kube, &kube_patient_times);
    fake_apiserver_script(self->api, "GET", &good);
    kube_run(self, &reply, "GET", KUBE_PATH);
    assert_null(reply.error);
    call = fake_apiserver_get_call(self->api, "GET", 0);
    assert_int_equal(fake_call_get_connection(call), 3);
    fake_settle();
    assert_int_equal(fake_apiserver_count_open(self->api), 1);
}

static void
test_down_and_up(void **state)
{
    KubeFixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    g_auto(KubeReply) reply = { 0 };

    fake_apiserver_script(self->api, "GET", &good);
    for (int i = 0; i < 3; i++) {
        kube_run(self, &reply, "GET", KUBE_PATH);
        assert_null(reply.error);
        fake_apiserver_down(self->api);
        kube_run(self, &reply, "GET", KUBE_PATH);
        kube_assert_error(&reply, WK_ERROR_UNAVAILABLE, "Unreachable", "no connection");
        fake_apiserver_up(self->api);
    }
    kube_run(self, &reply, "GET", KUBE_PATH);
    assert_null(reply.error);
}

static void
test_bad_server(void **state)
{
    KubeFixture *self = *state;
    static const struct {
        const char *server;
        int code;
        const char *reason;
    } rows[] = {
        { "ftp://127.0.0.1:1", WK_ERROR_FAILED, NULL },
        { "http://", WK_ERROR_INVALID, "BadServer" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(KubeReply) reply = { 0 };

        fake_kube_config_edit_place(self->config)->server = rows[i].server;
        kube_run(self, &reply, "GET", KUBE_PATH);
        kube_assert_error(&reply, (WkErrorCode)rows[i].code, rows[i].reason, "");
    }
}

#define UNIT(function) cmocka_unit_test_setup_teardown(function, kube_setup, kube_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_odd_answers),
        cmocka_unit_test(test_a2),
        UNIT(test_retry_after_is_told),
        UNIT(test_401_brings_new_token),
        UNIT(test_no_credentials),
        UNIT(test_rotation),
        UNIT(test_dead_connection_is_left),
        UNIT(test_down_and_up),
        UNIT(test_bad_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
