/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "fake-daemon.h"
#include "wukong/wukong.h"

/* libwukong against a daemon that misbehaves. */

#define OP_PATH   "/v1/operations/op1"
#define OP_STREAM "GET " OP_PATH "?watch=1"

typedef struct {
    FakeDaemon *daemon;
    WukongClient *client;
} Fixture;

static int
setup(void **state)
{
    Fixture *self = g_new0(Fixture, 1);

    self->daemon = fake_daemon_new();
    self->client = wukong_client_new(fake_daemon_get_path(self->daemon));
    *state = self;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *self = *state;

    wukong_client_free(self->client);
    fake_daemon_free(self->daemon);
    g_free(self);
    return 0;
}

static void
expect(GError **error, WukongError code, const char *fragment)
{
    assert_non_null(*error);
    if (!g_error_matches(*error, WUKONG_ERROR, (int)code)
        || strstr((*error)->message, fragment) == NULL)
        fail_msg("%s %d: %s", g_quark_to_string((*error)->domain), (*error)->code,
                 (*error)->message);
    g_clear_error(error);
}

static void
test_problems(void **state)
{
    Fixture *self = *state;
    static const struct {
        guint status;
        const char *body;
        WukongError code;
        const char *fragment;
    } cases[] = {
        { 400, "{\"detail\":\"bad thing\"}", WUKONG_ERROR_INVALID, "bad thing" },
        { 403, "{\"detail\":\"not you\"}", WUKONG_ERROR_UNREACHABLE, "join group wukong" },
        { 404, "{\"title\":\"nothing\"}", WUKONG_ERROR_NOT_FOUND, "nothing" },
        { 409, "{\"detail\":\"is off\"}", WUKONG_ERROR_FAILED, "is off" },
        { 413, "{\"detail\":\"large\"}", WUKONG_ERROR_INVALID, "large" },
        { 422, "{\"detail\":\"no room\",\"reason\":\"NoSpace\"}", WUKONG_ERROR_REFUSED, "no room" },
        { 500, "{}", WUKONG_ERROR_FAILED, "status 500" },
        { 503, "{\"detail\":\"\"}", WUKONG_ERROR_FAILED, "status 503" },
        { 404, "<html>oops</html>", WUKONG_ERROR_NOT_FOUND, "status 404" },
        { 404, "[]", WUKONG_ERROR_NOT_FOUND, "status 404" },
        { 422, "", WUKONG_ERROR_REFUSED, "status 422" },
        { 302, "{}", WUKONG_ERROR_FAILED, "status 302" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        fake_daemon_add(self->daemon, "GET /v1/node", cases[i].status, cases[i].body);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        assert_null(wukong_client_get(self->client, "/v1/node", NULL, &error));
        assert_int_equal(wukong_error_get_status(error), cases[i].status);
        if (cases[i].status == 422 && *cases[i].body != '\0')
            assert_string_equal(wukong_error_get_reason(error), "NoSpace");
        expect(&error, cases[i].code, cases[i].fragment);
    }
}

static void
test_garbage(void **state)
{
    Fixture *self = *state;
    static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
    static const struct {
        const char *bytes;
        WukongError code;
    } cases[] = {
        { "", WUKONG_ERROR_UNREACHABLE }, /* closed at once */
        { "SSH-2.0-OpenSSH_9.2\r\n", WUKONG_ERROR_FAILED },
        { "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", WUKONG_ERROR_UNREACHABLE },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", WUKONG_ERROR_UNREACHABLE },
        { "HTTP/1.1 200 OK\r\n\r\n", WUKONG_ERROR_FAILED },
        { "HTTP/1.1 200 OK\r\n\r\nnot json", WUKONG_ERROR_FAILED },
        { "HTTP/1.1 200 OK\r\n\r\n[1,2]", WUKONG_ERROR_FAILED },
        { "HTTP/1.1 200 OK\r\n\r\n{}", WUKONG_ERROR_FAILED },
        { "HTTP/1.1 200 OK\r\n\r\n{\"items\":{}}", WUKONG_ERROR_FAILED },
        { "HTTP/1.1 200 OK\r\n\r\n{\"items\":[null]}", WUKONG_ERROR_FAILED },
        { "HTTP/1.1 200 OK\r\n\r\n{\"items\":[{\"id\":\"1\"}]}", WUKONG_ERROR_FAILED },
        { "HTTP/1.1 200 OK\r\n\r\n{\"items\":[{\"id\":1,\"name\":\"x\"}]}", WUKONG_ERROR_FAILED },
    };
    g_autofree char *deep = g_strnfill(100000, '[');
    g_autofree char *nested = g_strconcat(head, "{\"items\":", deep, NULL);

    for (gsize i = 0; i <= G_N_ELEMENTS(cases); i++) {
        const char *bytes = i < G_N_ELEMENTS(cases) ? cases[i].bytes : nested;

        fake_daemon_add_bytes(self->daemon, "GET /v1/guests", bytes, -1, 0);
    }
    for (gsize i = 0; i <= G_N_ELEMENTS(cases); i++) {
        const WukongError code = i < G_N_ELEMENTS(cases) ? cases[i].code : WUKONG_ERROR_FAILED;
        g_autoptr(GError) error = NULL;
        g_autoptr(JsonArray) items = wukong_client_list_guests(self->client, NULL, &error);

        assert_null(items);
        if (!g_error_matches(error, WUKONG_ERROR, (int)code))
            fail_msg("case %" G_GSIZE_FORMAT ": code %d: %s", i, error->code, error->message);
    }
}

/* An embedded NUL must not hide what follows it. */
static void
test_nul(void **state)
{
    Fixture *self = *state;
    static const char bytes[] = "HTTP/1.1 200 OK\r\n\r\n{\"items\":[]}\0garbage";
    g_autoptr(GError) error = NULL;

    fake_daemon_add_bytes(self->daemon, "GET /v1/guests", bytes, sizeof bytes - 1, 0);
    assert_null(wukong_client_list_guests(self->client, NULL, &error));
    expect(&error, WUKONG_ERROR_FAILED, "bad");
}

static void
test_huge(void **state)
{
    Fixture *self = *state;
    g_autofree char *blanks = g_strnfill(17 * 1024 * 1024, ' ');
    g_autofree char *almost = g_strnfill(15 * 1024 * 1024, ' ');
    g_autofree char *good = g_strconcat("{\"items\":[]", almost, "}", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonArray) items = NULL;

    fake_daemon_add(self->daemon, "GET /v1/guests", 200, blanks);
    fake_daemon_add(self->daemon, "GET /v1/guests", 404, blanks);
    fake_daemon_add(self->daemon, "GET /v1/guests", 200, good);
    assert_null(wukong_client_list_guests(self->client, NULL, &error));
    expect(&error, WUKONG_ERROR_FAILED, "over the limit");
    assert_null(wukong_client_list_guests(self->client, NULL, &error));
    expect(&error, WUKONG_ERROR_FAILED, "over the limit");
    items = wukong_client_list_guests(self->client, NULL, &error);
    assert_non_null(items);
}

static void
test_slow(void **state)
{
    Fixture *self = *state;
    g_autoptr(GError) error = NULL;
    const gint64 start = g_get_monotonic_time();

    fake_daemon_add_bytes(self->daemon, "GET /v1/guests", "", -1, 20000);
    wukong_client_set_timeouts(self->client, 200, 200);
    assert_null(wukong_client_list_guests(self->client, NULL, &error));
    expect(&error, WUKONG_ERROR_UNREACHABLE, "did not answer");
    assert_true(g_get_monotonic_time() - start < 5 * G_USEC_PER_SEC);
}

static gpointer
cancel_soon(gpointer data)
{
    g_usleep(100 * 1000);
    g_cancellable_cancel(data);
    return NULL;
}

static void
test_cancel(void **state)
{
    Fixture *self = *state;
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    const gint64 start = g_get_monotonic_time();
    GThread *thread;

    fake_daemon_add_bytes(self->daemon, "GET /v1/guests", "", -1, 20000);
    thread = g_thread_new("cancel", cancel_soon, cancellable);
    assert_null(wukong_client_list_guests(self->client, cancellable, &error));
    g_thread_join(thread);
    assert_true(g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED));
    assert_true(g_get_monotonic_time() - start < 5 * G_USEC_PER_SEC);
}

static void
test_unreachable(void **state G_GNUC_UNUSED)
{
    g_autofree char *missing = g_build_filename(g_get_tmp_dir(), "wukong-no-such-socket", NULL);
    g_autofree char *longest = g_strnfill(300, 'x');
    const char *const paths[] = { missing, longest, "/dev/null" };

    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(WukongClient) client = wukong_client_new(paths[i]);
        g_autoptr(GError) error = NULL;

        assert_null(wukong_client_list_guests(client, NULL, &error));
        expect(&error, WUKONG_ERROR_UNREACHABLE, "is the service running?");
    }
}

static void
test_bodies(void **state)
{
    Fixture *self = *state;
    g_autoptr(JsonObject) first = NULL;
    g_autoptr(JsonObject) second = NULL;
    g_autofree char *suspend = NULL;
    g_autofree char *resume = NULL;

    fake_daemon_add(self->daemon, "POST /v1/guests/a%2Fb/suspend", 202, "{\"state\":\"queued\"}");
    fake_daemon_add(self->daemon, "POST /v1/guests/x/resume", 202, "{\"state\":\"queued\"}");
    first = wukong_client_suspend(self->client, "a/b", "disk", 5, "stop", WUKONG_ACT_DRY_RUN, NULL,
                                  NULL);
    second = wukong_client_resume(self->client, "x", 0, WUKONG_ACT_NONE, NULL, NULL);
    assert_non_null(first);
    assert_non_null(second);
    suspend = fake_daemon_last_body(self->daemon, "POST /v1/guests/a%2Fb/suspend");
    resume = fake_daemon_last_body(self->daemon, "POST /v1/guests/x/resume");
    assert_string_equal(suspend, "{\"timeoutSeconds\":5,\"dryRun\":true,\"target\":\"disk\","
                                 "\"fallback\":\"stop\"}");
    assert_string_equal(resume, "{}");
}

static void
test_lost_after_sending(void **state)
{
    Fixture *self = *state;
    g_autoptr(GError) error = NULL;

    fake_daemon_add_bytes(self->daemon, "POST /v1/guests/x/resume", "", -1, 0);
    assert_null(wukong_client_resume(self->client, "x", 0, WUKONG_ACT_NONE, NULL, &error));
    expect(&error, WUKONG_ERROR_UNREACHABLE, "may have been taken");
    assert_int_equal(fake_daemon_count(self->daemon, "POST /v1/guests/x/resume"), 1);
}

#define OP(state, percent)                                                                         \
    "{\"type\":\"operation\",\"operation\":{\"id\":\"op1\",\"state\":\"" state                     \
    "\",\"progressPercent\":" percent "}}\n"
#define OP_BODY(state) "{\"id\":\"op1\",\"state\":\"" state "\"}"

static gboolean
count_calls(JsonObject *object G_GNUC_UNUSED, gpointer user_data)
{
    ++*(guint *)user_data;
    return TRUE;
}

static void
test_watch_operation(void **state)
{
    Fixture *self = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) end = NULL;
    guint calls = 0;

    fake_daemon_add_stream(
        self->daemon, OP_STREAM,
        OP("running", "1") "\r\n{\"type\":\"heartbeat\"}\n{\"type\":\"new\"}\n" OP("running", "1")
            OP("succeeded", "100"),
        TRUE, 0);
    end = wukong_client_watch_operation(self->client, "op1", count_calls, &calls, NULL, &error);
    assert_non_null(end);
    assert_string_equal(wk_json_get_string(end, "state"), "succeeded");
    assert_int_equal(calls, 2); /* what did not change is not told again */
}

/* Cut in the middle of a line: the end is read, not waited for. */
static void
test_watch_cut(void **state)
{
    Fixture *self = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) end = NULL;
    guint calls = 0;

    fake_daemon_add_stream(self->daemon, OP_STREAM, OP("running", "1") "{\"type\":\"opera", FALSE,
                           0);
    fake_daemon_add(self->daemon, "GET " OP_PATH, 200, OP_BODY("succeeded"));
    end = wukong_client_watch_operation(self->client, "op1", count_calls, &calls, NULL, &error);
    assert_non_null(end);
    assert_int_equal(calls, 2);
    assert_int_equal(fake_daemon_count(self->daemon, OP_STREAM), 1);
}

/* Cut, still running, stream again. */
static void
test_watch_again(void **state)
{
    Fixture *self = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) end = NULL;

    fake_daemon_add_stream(self->daemon, OP_STREAM, OP("running", "1"), FALSE, 0);
    fake_daemon_add_stream(self->daemon, OP_STREAM, "not json\n", TRUE, 0);
    fake_daemon_add(self->daemon, OP_STREAM, 503, "{\"reason\":\"TooManyStreams\"}");
    fake_daemon_add_stream(self->daemon, OP_STREAM, OP("failed", "70"), TRUE, 0);
    fake_daemon_add(self->daemon, "GET " OP_PATH, 200, OP_BODY("running"));
    end = wukong_client_watch_operation(self->client, "op1", NULL, NULL, NULL, &error);
    assert_non_null(end);
    assert_string_equal(wk_json_get_string(end, "state"), "failed");
    assert_int_equal(fake_daemon_count(self->daemon, OP_STREAM), 4);
}

static void
test_watch_silence(void **state)
{
    Fixture *self = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) end = NULL;

    wukong_client_set_timeouts(self->client, 5000, 200);
    fake_daemon_add_stream(self->daemon, OP_STREAM, OP("running", "1"), FALSE, 20000);
    fake_daemon_add(self->daemon, "GET " OP_PATH, 200, OP_BODY("cancelled"));
    end = wukong_client_watch_operation(self->client, "op1", NULL, NULL, NULL, &error);
    assert_non_null(end);
    assert_string_equal(wk_json_get_string(end, "state"), "cancelled");
}

static void
test_watch_forgotten(void **state)
{
    Fixture *self = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) end = NULL;

    fake_daemon_add(self->daemon, OP_STREAM, 404, "{}");
    fake_daemon_add(self->daemon, "GET " OP_PATH, 404, "{}");
    end = wukong_client_watch_operation(self->client, "op1", NULL, NULL, NULL, &error);
    assert_non_null(end);
    assert_string_equal(wk_json_get_string(end, "reason"), "OperationForgotten");
}

static void
test_watch_refused(void **state)
{
    Fixture *self = *state;
    g_autoptr(GError) error = NULL;

    fake_daemon_add(self->daemon, OP_STREAM, 403, "{\"detail\":\"not you\"}");
    assert_null(wukong_client_watch_operation(self->client, "op1", NULL, NULL, NULL, &error));
    expect(&error, WUKONG_ERROR_UNREACHABLE, "join group wukong");
}

/* A line over the limit is not kept; the operation is read instead. */
static void
test_watch_long_line(void **state)
{
    Fixture *self = *state;
    g_autofree char *line = g_strnfill(2 * 1024 * 1024, 'x');
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) end = NULL;
    const gint64 start = g_get_monotonic_time();

    fake_daemon_add_stream(self->daemon, OP_STREAM, line, FALSE, 20000);
    fake_daemon_add(self->daemon, "GET " OP_PATH, 200, OP_BODY("succeeded"));
    end = wukong_client_watch_operation(self->client, "op1", NULL, NULL, NULL, &error);
    assert_non_null(end);
    assert_true(g_get_monotonic_time() - start < 10 * G_USEC_PER_SEC);
}

/* Several share one stream; one that the full list leaves out is asked for. */
static void
test_watch_several(void **state)
{
    Fixture *self = *state;
    static const char *const ids[] = { "op1", "op2", NULL };
    g_autoptr(GError) error = NULL;
    guint calls = 0;

    fake_daemon_add_stream(self->daemon, "GET /v1/operations?watch=1",
                           OP("succeeded", "100") "{\"type\":\"synced\"}\n", FALSE, 20000);
    fake_daemon_add(self->daemon, "GET /v1/operations/op2", 200,
                    "{\"id\":\"op2\",\"state\":\"failed\"}");
    assert_true(
        wukong_client_watch_operations(self->client, ids, count_calls, &calls, NULL, &error));
    assert_int_equal(calls, 2);
}

static gboolean
stop_at_synced(JsonObject *event, gpointer user_data)
{
    ++*(guint *)user_data;
    return g_strcmp0(wk_json_get_string(event, "type"), "synced") != 0;
}

static void
test_watch_guests(void **state)
{
    Fixture *self = *state;
    const char *request = "GET /v1/guests?watch=1";
    g_autoptr(GError) error = NULL;
    guint calls = 0;

    fake_daemon_add_stream(self->daemon, request,
                           "{\"type\":\"heartbeat\"}\n{\"type\":\"synced\"}\n", FALSE, 20000);
    fake_daemon_add_stream(self->daemon, request, "{\"type\":\"guest\"}\n", FALSE, 0);
    fake_daemon_add_stream(self->daemon, request, "{\"type\":\"guest\"}\n", FALSE, 20000);
    assert_true(wukong_client_watch_guests(self->client, 0, stop_at_synced, &calls, NULL, &error));
    assert_int_equal(calls, 1);
    assert_false(wukong_client_watch_guests(self->client, 0, stop_at_synced, &calls, NULL, &error));
    expect(&error, WUKONG_ERROR_UNREACHABLE, "lost");
    assert_false(
        wukong_client_watch_guests(self->client, 200, stop_at_synced, &calls, NULL, &error));
    assert_true(g_error_matches(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT));
}

#define FAULT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        FAULT(test_problems),
        FAULT(test_garbage),
        FAULT(test_nul),
        FAULT(test_huge),
        FAULT(test_slow),
        FAULT(test_cancel),
        cmocka_unit_test(test_unreachable),
        FAULT(test_bodies),
        FAULT(test_lost_after_sending),
        FAULT(test_watch_operation),
        FAULT(test_watch_cut),
        FAULT(test_watch_again),
        FAULT(test_watch_silence),
        FAULT(test_watch_forgotten),
        FAULT(test_watch_refused),
        FAULT(test_watch_long_line),
        FAULT(test_watch_several),
        FAULT(test_watch_guests),
    };

    return cmocka_run_group_tests_name("ctl-faults", tests, NULL, NULL);
}
