/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "fake-apiserver.h"
#include "fake-kube-config.h"
#include "kube/client_private.h"

#include <stdio.h>

#define PATH    "/api/v1/things/one"
#define MIB     (1024 * 1024)
#define AT_ONCE 16 /* what the client sends at the same time */

/* A second of the server's is a millisecond of ours. */
static const WkKubeTimes short_times = {
    .connect_ms = 2000,
    .request_ms = 60,
    .suspect_ms = 30,
    .retry_s_ms = 1,
    .credentials_ms = 60000,
};
static const WkKubeTimes patient_times = {
    .connect_ms = 10000,
    .request_ms = 30000,
    .suspect_ms = 20000,
    .retry_s_ms = 1,
    .credentials_ms = 60000,
};

typedef struct {
    FakeApiserver *api;
    WkKubeConfig *config;
    WkKube *kube;
} Fixture;

typedef struct {
    Fixture *fixture;
    gboolean done;
    JsonObject *answer;
    GError *error;
    gboolean closes; /* the client, in the callback */
    gboolean again;  /* sends once more in the callback */
} Reply;

static int
setup(void **state)
{
    Fixture *self = g_new0(Fixture, 1);

    self->api = fake_apiserver_new();
    self->config = fake_kube_config_new(fake_apiserver_get_url(self->api), "sesame");
    self->kube = wk_kube_new(self->config, "test/1");
    wk_kube_set_times(self->kube, &patient_times);
    *state = self;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *self = *state;

    wk_kube_free(self->kube);
    fake_settle();
    wk_kube_config_unref(self->config);
    fake_apiserver_free(self->api);
    g_free(self);
    return 0;
}

static void
reply_clear(Reply *self)
{
    g_clear_pointer(&self->answer, json_object_unref);
    g_clear_error(&self->error);
    self->done = FALSE;
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Reply, reply_clear)

static void
on_reply(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Reply *self = data;
    const WkKubeRequest request = { .method = "GET", .path = PATH "/again" };

    assert_false(self->done);
    self->answer = wk_kube_send_finish(NULL, result, &self->error);
    assert_true((self->answer != NULL) != (self->error != NULL));
    self->done = TRUE;
    if (self->closes)
        g_clear_pointer(&self->fixture->kube, wk_kube_free);
    if (self->again) {
        self->again = FALSE;
        reply_clear(self);
        wk_kube_send(self->fixture->kube, &request, NULL, on_reply, self);
    }
}

static void
send_with(Fixture *self, Reply *reply, const char *method, const char *path,
          GCancellable *cancellable)
{
    const gboolean has_body = !g_str_equal(method, "GET") && !g_str_equal(method, "DELETE");
    const WkKubeRequest request = {
        .method = method,
        .path = path,
        .content_type = has_body ? "application/json" : NULL,
        .body = has_body ? "{\"a\":\"\xc3\xa9\"}" : NULL,
    };

    reply->fixture = self;
    wk_kube_send(self->kube, &request, cancellable, on_reply, reply);
}

static gboolean
is_done(gpointer data)
{
    return ((Reply *)data)->done;
}

static void
wait_reply(Reply *reply)
{
    fake_wait_until(is_done, reply, "a reply");
}

static void
run(Fixture *self, Reply *reply, const char *method, const char *path)
{
    reply_clear(reply);
    send_with(self, reply, method, path, NULL);
    wait_reply(reply);
}

static void
assert_error(const Reply *reply, WkErrorCode code, const char *reason, const char *fragment)
{
    if (reply->error == NULL)
        fail_msg("no error, '%s' was expected", reason);
    if (!g_error_matches(reply->error, WK_ERROR, (int)code)
        || g_strcmp0(wk_error_get_reason(reply->error), reason) != 0
        || strstr(reply->error->message, fragment) == NULL)
        fail_msg("code %d reason %s was expected, got %d %s: %s", (int)code, reason,
                 reply->error->code, wk_error_get_reason(reply->error), reply->error->message);
}

/* ---- plain exchanges ---- */

static void
test_get(void **state)
{
    Fixture *self = *state;
    g_auto(Reply) reply = { 0 };
    FakeCall *call = NULL;
    g_autofree char *token = NULL;
    g_autofree char *agent = NULL;
    g_autofree char *encoding = NULL;
    g_autofree char *accept = NULL;

    send_with(self, &reply, "GET", PATH "?a=b%20c", NULL);
    call = fake_apiserver_wait(self->api, "GET " PATH);
    assert_string_equal(fake_call_get_path(call), PATH "?a=b%20c");
    token = fake_call_get_header(call, "Authorization");
    agent = fake_call_get_header(call, "User-Agent");
    encoding = fake_call_get_header(call, "Accept-Encoding");
    accept = fake_call_get_header(call, "Accept");
    assert_string_equal(token, "Bearer sesame");
    assert_string_equal(agent, "test/1");
    assert_string_equal(encoding, "gzip");
    assert_string_equal(accept, "application/json");
    fake_call_answer(call, 200, NULL, "{\"kind\":\"Thing\"}\n");
    wait_reply(&reply);
    assert_null(reply.error);
    assert_string_equal(json_object_get_string_member(reply.answer, "kind"), "Thing");
}

static void
test_bodies(void **state)
{
    Fixture *self = *state;
    const char *const methods[] = { "PUT", "POST", "PATCH", "DELETE" };

    for (gsize i = 0; i < G_N_ELEMENTS(methods); i++) {
        g_auto(Reply) reply = { 0 };
        FakeCall *call = NULL;
        g_autofree char *type = NULL;
        g_autofree char *expect = NULL;

        send_with(self, &reply, methods[i], PATH, NULL);
        call = fake_apiserver_wait(self->api, methods[i]);
        type = fake_call_get_header(call, "Content-Type");
        expect = fake_call_get_header(call, "Expect");
        assert_null(expect);
        if (g_str_equal(methods[i], "DELETE")) {
            assert_null(type);
            assert_string_equal(fake_call_get_body(call), "");
        } else {
            assert_string_equal(type, "application/json");
            assert_string_equal(fake_call_get_body(call), "{\"a\":\"\xc3\xa9\"}");
        }
        fake_call_answer(call, i % 2 == 0 ? 200 : 201, NULL, "{}");
        wait_reply(&reply);
        assert_null(reply.error);
    }
    /* The connection was used again and again. */
    assert_int_equal(fake_apiserver_count_accepted(self->api), 1);
}

static void
test_impersonation_and_path(void **state)
{
    Fixture *self = *state;
    const char *const groups[] = { "g1", NULL };
    WkKubePlace *place = fake_kube_config_edit_place(self->config);
    g_autofree char *server = g_strconcat(fake_apiserver_get_url(self->api), "/k8s/c1", NULL);
    g_auto(Reply) reply = { 0 };
    FakeCall *call = NULL;
    g_autofree char *user = NULL;
    g_autofree char *uid = NULL;
    g_autofree char *group = NULL;
    g_autofree char *encoding = NULL;
    g_autofree char *basic = NULL;

    place->server = server;
    place->as_user = "jane";
    place->as_uid = "7";
    place->as_groups = groups;
    place->disable_compression = TRUE;
    fake_kube_config_edit_credentials(self->config)->token = NULL;
    fake_kube_config_edit_credentials(self->config)->username = "u";
    fake_kube_config_edit_credentials(self->config)->password = "p";
    send_with(self, &reply, "GET", PATH, NULL);
    call = fake_apiserver_wait(self->api, "GET /k8s/c1" PATH);
    user = fake_call_get_header(call, "Impersonate-User");
    uid = fake_call_get_header(call, "Impersonate-Uid");
    group = fake_call_get_header(call, "Impersonate-Group");
    encoding = fake_call_get_header(call, "Accept-Encoding");
    basic = fake_call_get_header(call, "Authorization");
    assert_string_equal(user, "jane");
    assert_string_equal(uid, "7");
    assert_string_equal(group, "g1");
    assert_string_equal(basic, "Basic dTpw");
    assert_null(encoding);
    fake_call_answer(call, 200, NULL, "{}");
    wait_reply(&reply);
    assert_null(reply.error);
}

static void
test_odd_answers(void **state)
{
    Fixture *self = *state;
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
        g_auto(Reply) reply = { 0 };

        fake_apiserver_script(self->api, "GET ", &rows[i].answer);
        run(self, &reply, "GET", PATH);
        if (rows[i].code < 0)
            assert_int_equal(json_object_get_size(reply.answer), 0);
        else
            assert_error(&reply, (WkErrorCode)rows[i].code, rows[i].reason, rows[i].fragment);
    }
    assert_int_equal(fake_apiserver_count(self->api, ""), G_N_ELEMENTS(rows));
}

static void
test_trailing_and_nonsense(void **state)
{
    Fixture *self = *state;
    g_auto(Reply) reply = { 0 };
    FakeCall *call = NULL;

    send_with(self, &reply, "GET", PATH, NULL);
    call = fake_apiserver_wait(self->api, "GET ");
    fake_call_raw(call, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{\"more\":1}", -1);
    wait_reply(&reply);
    assert_null(reply.error);
    assert_int_equal(json_object_get_size(reply.answer), 0);
    reply_clear(&reply);
    send_with(self, &reply, "GET", PATH, NULL);
    call = fake_apiserver_wait(self->api, "GET ");
    fake_call_raw(call, "220 mail.example ESMTP\r\n", -1);
    fake_call_close(call);
    wait_reply(&reply);
    assert_error(&reply, WK_ERROR_FAILED, NULL, "no API server");
}

static void
test_split_everywhere(void **state)
{
    Fixture *self = *state;
    g_autofree char *text = fake_answer_text(200, NULL, "{\"a\":\"b\"}");
    const gsize length = strlen(text);

    for (gsize at = 1; at < length; at++) {
        g_auto(Reply) reply = { 0 };
        FakeCall *call = NULL;

        send_with(self, &reply, "GET", PATH, NULL);
        call = fake_apiserver_wait(self->api, "GET ");
        fake_call_raw(call, text, (gssize)at);
        fake_settle();
        assert_false(reply.done);
        fake_call_raw(call, text + at, -1);
        fake_call_done(call);
        wait_reply(&reply);
        assert_string_equal(json_object_get_string_member(reply.answer, "a"), "b");
    }
    assert_int_equal(fake_apiserver_count_accepted(self->api), 1);
}

static void
test_huge(void **state)
{
    Fixture *self = *state;
    static const struct {
        const char *method;
        gsize bytes;
        guint status;
        gboolean good;
    } rows[] = {
        { "GET", 8 * MIB - 16, 200, TRUE }, { "GET", 8 * MIB + 1, 200, FALSE },
        { "PUT", 4 * MIB - 16, 200, TRUE }, { "PUT", 4 * MIB + 1, 200, FALSE },
        { "GET", 8 * MIB + 1, 503, FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(Reply) reply = { 0 };
        g_autofree char *fill = g_strnfill(rows[i].bytes - strlen("{\"a\":\"\"}"), 'x');
        g_autofree char *body = g_strconcat("{\"a\":\"", fill, "\"}", NULL);
        const FakeAnswer answer = { .status = rows[i].status, .body = body };

        fake_apiserver_script(self->api, rows[i].method, &answer);
        run(self, &reply, rows[i].method, PATH);
        if (rows[i].good)
            assert_null(reply.error);
        else if (rows[i].status == 200)
            assert_error(&reply, WK_ERROR_FAILED, "TooLarge", "over the limit");
        else
            assert_error(&reply, WK_ERROR_UNAVAILABLE, "ServiceUnavailable", "xxx...");
    }
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
    Fixture *self = NULL;
    g_auto(Reply) reply = { 0 };

    setup(&state);
    self = state;
    if (failure->answer.deed == FAKE_SILENT)
        wk_kube_set_times(self->kube, &short_times);
    fake_apiserver_script(self->api, method, &failure->answer);
    fake_apiserver_script(self->api, method, &good);
    run(self, &reply, method, PATH);
    if (failure->code < 0 && reply.error != NULL)
        fail_msg("%s x %s: %s", method, failure->name, reply.error->message);
    if (failure->code >= 0)
        assert_error(&reply, (WkErrorCode)failure->code, failure->reason, method);
    if (fake_apiserver_count(self->api, method) != failure->calls)
        fail_msg("%s x %s: the server saw %u", method, failure->name,
                 fake_apiserver_count(self->api, method));
    /* And the next is as if nothing had been. */
    if (failure->answer.times != G_MAXUINT) {
        wk_kube_set_times(self->kube, &patient_times);
        run(self, &reply, method, PATH);
        assert_null(reply.error);
    }
    reply_clear(&reply);
    teardown(&state);
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
    Fixture *self = *state;
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
        g_auto(Reply) reply = { 0 };
        g_autoptr(GError) copy = NULL;

        fake_apiserver_script(self->api, "GET ", &rows[i].answer);
        run(self, &reply, "GET", PATH);
        copy = g_error_copy(reply.error);
        assert_int_equal(wk_kube_retry_after_ms(copy), rows[i].ms);
    }
    assert_int_equal(wk_kube_retry_after_ms(NULL), -1);
}

/* ---- credentials and connections ---- */

static void
test_401_brings_new_token(void **state)
{
    Fixture *self = *state;
    const FakeAnswer no = { .status = 401, .times = 3 };
    Reply replies[3] = { 0 };
    FakeCall *call = NULL;

    fake_kube_config_set_next_token(self->config, "open");
    fake_apiserver_script(self->api, "", &no);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        send_with(self, &replies[i], "PUT", PATH, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++) {
        g_autofree char *token = NULL;

        call = fake_apiserver_wait(self->api, "PUT ");
        token = fake_call_get_header(call, "Authorization");
        assert_string_equal(token, "Bearer open");
        fake_call_answer(call, 200, NULL, "{}");
    }
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++) {
        wait_reply(&replies[i]);
        assert_null(replies[i].error);
        reply_clear(&replies[i]);
    }
    assert_in_range(fake_kube_config_count_anew(self->config), 1, 3);
    assert_int_equal(fake_apiserver_count(self->api, "PUT "), 6);
}

static void
test_no_credentials(void **state)
{
    Fixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    g_auto(Reply) reply = { 0 };

    fake_apiserver_script(self->api, "", &good);
    fake_kube_config_set_refresh_error(self->config, "the plugin has failed");
    run(self, &reply, "GET", PATH);
    assert_error(&reply, WK_ERROR_DENIED, NULL, "the plugin has failed");
    fake_kube_config_set_refresh_error(self->config, NULL);
    run(self, &reply, "GET", PATH);
    assert_null(reply.error);
}

static void
test_rotation(void **state)
{
    Fixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    g_auto(Reply) reply = { 0 };
    g_auto(Reply) old = { 0 };
    FakeCall *call = NULL;

    send_with(self, &old, "PUT", PATH "/old", NULL);
    call = fake_apiserver_wait(self->api, "PUT " PATH "/old");
    fake_apiserver_script(self->api, "GET", &good);
    run(self, &reply, "GET", PATH);
    run(self, &reply, "GET", PATH);
    assert_int_equal(fake_apiserver_count_accepted(self->api), 2);
    fake_kube_config_edit_credentials(self->config)->tls_generation = 2;
    run(self, &reply, "GET", PATH);
    assert_int_equal(fake_apiserver_count_accepted(self->api), 3);
    /* What was under way ends on its connection, which is closed then. */
    fake_call_answer(call, 200, NULL, "{}");
    wait_reply(&old);
    assert_null(old.error);
    fake_settle();
    assert_int_equal(fake_apiserver_count_open(self->api), 1);
}

static void
test_dead_connection_is_left(void **state)
{
    Fixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    g_auto(Reply) stuck = { 0 };
    g_auto(Reply) reply = { 0 };

    wk_kube_set_times(self->kube, &short_times);
    send_with(self, &stuck, "PUT", PATH "/stuck", NULL);
    wait_reply(&stuck);
    assert_error(&stuck, WK_ERROR_UNAVAILABLE, "NoAnswer", "no answer in 0.06 s");
    fake_apiserver_script(self->api, "GET", &good);
    run(self, &reply, "GET", PATH);
    assert_null(reply.error);
    assert_int_equal(fake_apiserver_count_accepted(self->api), 2);
    assert_int_equal(fake_apiserver_count_open(self->api), 1);
}

static void
test_down_and_up(void **state)
{
    Fixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    g_auto(Reply) reply = { 0 };

    fake_apiserver_script(self->api, "GET", &good);
    for (int i = 0; i < 3; i++) {
        run(self, &reply, "GET", PATH);
        assert_null(reply.error);
        fake_apiserver_down(self->api);
        run(self, &reply, "GET", PATH);
        assert_error(&reply, WK_ERROR_UNAVAILABLE, "Unreachable", "no connection");
        fake_apiserver_up(self->api);
    }
    run(self, &reply, "GET", PATH);
    assert_null(reply.error);
}

static void
test_bad_server(void **state)
{
    Fixture *self = *state;
    static const struct {
        const char *server;
        int code;
        const char *reason;
    } rows[] = {
        { "ftp://127.0.0.1:1", WK_ERROR_FAILED, NULL },
        { "http://", WK_ERROR_INVALID, "BadServer" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(Reply) reply = { 0 };

        fake_kube_config_edit_place(self->config)->server = rows[i].server;
        run(self, &reply, "GET", PATH);
        assert_error(&reply, (WkErrorCode)rows[i].code, rows[i].reason, "");
    }
}

/* ---- limits, ends ---- */

static void
test_in_flight_cap(void **state)
{
    Fixture *self = *state;
    Reply replies[AT_ONCE + 4] = { 0 };

    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        send_with(self, &replies[i], "GET", PATH, NULL);
    fake_apiserver_wait_count(self->api, "GET ", AT_ONCE);
    fake_settle();
    assert_int_equal(fake_apiserver_count(self->api, "GET "), AT_ONCE);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        fake_call_answer(fake_apiserver_wait(self->api, "GET "), 200, NULL, "{}");
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++) {
        wait_reply(&replies[i]);
        assert_null(replies[i].error);
        reply_clear(&replies[i]);
    }
    assert_true(fake_apiserver_count_accepted(self->api) <= AT_ONCE);
}

static void
test_cancel(void **state)
{
    Fixture *self = *state;
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    const FakeAnswer later = { .status = 429, .headers = "Retry-After: 60\r\n" };
    WkKubeTimes times = patient_times;
    g_auto(Reply) reply = { 0 };
    FakeCall *call = NULL;

    /* under way */
    send_with(self, &reply, "GET", PATH, cancellable);
    call = fake_apiserver_wait(self->api, "GET ");
    g_cancellable_cancel(cancellable);
    wait_reply(&reply);
    assert_error(&reply, WK_ERROR_CANCELLED, NULL, PATH);
    fake_call_wait_gone(call);
    /* before it began */
    reply_clear(&reply);
    send_with(self, &reply, "GET", PATH, cancellable);
    assert_false(reply.done);
    wait_reply(&reply);
    assert_error(&reply, WK_ERROR_CANCELLED, NULL, PATH);
    assert_int_equal(fake_apiserver_count(self->api, ""), 1);
    /* resting */
    times.retry_s_ms = 1000;
    wk_kube_set_times(self->kube, &times);
    g_cancellable_reset(cancellable);
    reply_clear(&reply);
    fake_apiserver_script(self->api, "GET", &later);
    send_with(self, &reply, "GET", PATH, cancellable);
    fake_apiserver_wait_count(self->api, "GET", 2);
    fake_settle();
    assert_false(reply.done);
    g_cancellable_cancel(cancellable);
    wait_reply(&reply);
    assert_error(&reply, WK_ERROR_CANCELLED, NULL, PATH);
}

static void
test_free_in_flight(void **state)
{
    Fixture *self = *state;
    const FakeAnswer later = { .status = 429, .headers = "Retry-After: 60\r\n" };
    WkKubeTimes times = patient_times;
    Reply replies[AT_ONCE + 4] = { 0 };

    times.retry_s_ms = 1000;
    wk_kube_set_times(self->kube, &times);
    fake_apiserver_script(self->api, "GET", &later);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        send_with(self, &replies[i], "GET", PATH, NULL);
    fake_apiserver_wait_count(self->api, "GET ", AT_ONCE + 1);
    g_clear_pointer(&self->kube, wk_kube_free);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        assert_false(replies[i].done);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++) {
        wait_reply(&replies[i]);
        assert_error(&replies[i], WK_ERROR_CANCELLED, NULL, "closed");
        reply_clear(&replies[i]);
    }
    fake_settle();
    assert_int_equal(fake_apiserver_count_open(self->api), 0);
}

static void
test_free_before_anything(void **state)
{
    Fixture *self = *state;
    g_auto(Reply) reply = { 0 };

    send_with(self, &reply, "GET", PATH, NULL);
    g_clear_pointer(&self->kube, wk_kube_free);
    wait_reply(&reply);
    assert_error(&reply, WK_ERROR_CANCELLED, NULL, "closed");
    /* and with a refresh on its way */
    self->kube = wk_kube_new(self->config, "test/1");
    reply_clear(&reply);
    send_with(self, &reply, "GET", PATH, NULL);
    while (fake_kube_config_count_refreshes(self->config) == 0)
        g_main_context_iteration(NULL, TRUE);
    g_clear_pointer(&self->kube, wk_kube_free);
    wait_reply(&reply);
    assert_error(&reply, WK_ERROR_CANCELLED, NULL, "closed");
}

static void
test_callbacks_do_what_they_like(void **state)
{
    Fixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    g_auto(Reply) closing = { .closes = TRUE };
    g_auto(Reply) again = { .again = TRUE };
    g_auto(Reply) other = { 0 };

    fake_apiserver_script(self->api, "GET", &good);
    run(self, &again, "GET", PATH);
    wait_reply(&again);
    assert_null(again.error);
    assert_int_equal(fake_apiserver_count(self->api, "GET " PATH "/again"), 1);
    send_with(self, &closing, "GET", PATH, NULL);
    send_with(self, &other, "PUT", PATH, NULL);
    wait_reply(&closing);
    assert_null(closing.error);
    wait_reply(&other);
    assert_error(&other, WK_ERROR_CANCELLED, NULL, "closed");
}

static void
test_counts(void **state)
{
    Fixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = 2 };
    const FakeAnswer missing = { .status = 404 };
    const FakeAnswer reset = { .deed = FAKE_RESET };
    static const WkKubeCount expected[] = { { "GET", 200, 2 }, { "GET", 404, 1 }, { "PUT", 0, 1 } };
    g_autoptr(GArray) counts = NULL;
    g_auto(Reply) reply = { 0 };

    fake_apiserver_script(self->api, "PUT", &reset);
    run(self, &reply, "PUT", PATH);
    fake_apiserver_script(self->api, "GET", &good);
    fake_apiserver_script(self->api, "GET", &missing);
    for (int i = 0; i < 3; i++)
        run(self, &reply, "GET", PATH);
    counts = wk_kube_get_counts(self->kube);
    assert_int_equal(counts->len, G_N_ELEMENTS(expected));
    for (guint i = 0; i < counts->len; i++) {
        const WkKubeCount *count = &g_array_index(counts, WkKubeCount, i);

        assert_string_equal(count->verb, expected[i].verb);
        assert_int_equal(count->code, expected[i].code);
        assert_int_equal(count->count, expected[i].count);
    }
}

static void
test_backoff(void **state G_GNUC_UNUSED)
{
    static const guint mins[] = { 800, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000 };

    for (guint i = 0; i < G_N_ELEMENTS(mins); i++) {
        for (int j = 0; j < 200; j++)
            assert_in_range(wk_kube_backoff_ms(i), mins[i], 2 * mins[i]);
    }
    assert_in_range(wk_kube_backoff_ms(G_MAXUINT), 30000, 60000);
}

#define UNIT(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_get),
        UNIT(test_bodies),
        UNIT(test_impersonation_and_path),
        UNIT(test_odd_answers),
        UNIT(test_trailing_and_nonsense),
        UNIT(test_split_everywhere),
        UNIT(test_huge),
        cmocka_unit_test(test_a2),
        UNIT(test_retry_after_is_told),
        UNIT(test_401_brings_new_token),
        UNIT(test_no_credentials),
        UNIT(test_rotation),
        UNIT(test_dead_connection_is_left),
        UNIT(test_down_and_up),
        UNIT(test_bad_server),
        UNIT(test_in_flight_cap),
        UNIT(test_cancel),
        UNIT(test_free_in_flight),
        UNIT(test_free_before_anything),
        UNIT(test_callbacks_do_what_they_like),
        UNIT(test_counts),
        cmocka_unit_test(test_backoff),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
