/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-reflector-fixture.h"

#include <stdio.h>

/* What a reflector does when something goes wrong. */

#define BACKOFF_MIN_MS 800
#define BACKOFF_MAX_MS 30000
#define FORBIDDEN_MS   30000
#define DENIALS        4 /* in a row that are like any failure */
#define STALL_MS       200
#define WATCH_TRIES    3

/* A watch of an empty list, from version 1. Returns: its answer, open. */
static FakeCall *
start_watching(ReflectFixture *self)
{
    FakeCall *call = NULL;

    reflect_start(self, &reflect_usual);
    call = reflect_list(self, "", "1");
    reflect_wait_told(self, "relist sync");
    return call;
}

/* ---- answers that say no ---- */

typedef struct {
    FakeAnswer answer;
    WkErrorCode code;
    const char *reason;
    guint least_ms, most_ms; /* until it is tried again */
} Refusal;

/* 400 and 422 are a question of asking otherwise, 410 of listing anew; see the other program. A 401
 * has been tried with new credentials by the client. */
static const Refusal refusals[] = {
    { { .status = 401, .times = 2 }, WK_ERROR_DENIED, "Unauthorized", 800, 1600 },
    { { .status = 403 }, WK_ERROR_DENIED, "Forbidden", 800, 1600 },
    { { .status = 404 }, WK_ERROR_NOT_FOUND, "NotFound", 800, 1600 },
    { { .status = 429 }, WK_ERROR_UNAVAILABLE, "TooManyRequests", 800, 1600 },
    { { .status = 429, .headers = "Retry-After: 7\r\n" },
      WK_ERROR_UNAVAILABLE,
      "TooManyRequests",
      7000,
      7000 },
    { { .status = 429, .headers = "Retry-After: 86400\r\n" },
      WK_ERROR_UNAVAILABLE,
      "TooManyRequests",
      60000,
      60000 },
    { { .status = 500 }, WK_ERROR_UNAVAILABLE, "InternalError", 800, 1600 },
    { { .status = 503, .headers = "Retry-After: 3\r\n" },
      WK_ERROR_UNAVAILABLE,
      "ServiceUnavailable",
      3000,
      3000 },
    { { .status = 504 }, WK_ERROR_UNAVAILABLE, "Timeout", 800, 1600 },
    { { .deed = FAKE_RESET }, WK_ERROR_UNAVAILABLE, "ConnectionLost", 800, 1600 },
    { { .deed = FAKE_CLOSE }, WK_ERROR_UNAVAILABLE, "ConnectionLost", 800, 1600 },
    { { .deed = FAKE_CUT, .body = "{\"type\":\"ADDED\"}" },
      WK_ERROR_UNAVAILABLE,
      "ConnectionLost",
      800,
      1600 },
};

static void
assert_refused(ReflectFixture *self, const Refusal *refusal)
{
    reflect_assert_trouble(self, refusal->code, refusal->reason);
    assert_int_equal(self->retries->len, 1);
    assert_in_range(reflect_retry_ms(self, 0), refusal->least_ms, refusal->most_ms);
    reflect_forget_told(self);
}

/* Each with a server of its own. */
static ReflectFixture *
begin_case(void **state)
{
    ReflectFixture *self = NULL;

    reflect_setup(state);
    self = *state;
    return self;
}

static void
test_refused_list(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        void *own = NULL;
        ReflectFixture *self = begin_case(&own);

        fake_apiserver_script(self->api, GET_STREAMED, &refusals[i].answer);
        reflect_start(self, &reflect_usual);
        fake_apiserver_wait(self->api, GET_STREAMED);
        assert_refused(self, &refusals[i]);
        reflect_list(self, "a1", "1");
        reflect_wait_told(self, "well +a1 sync");
        reflect_teardown(&own);
    }
    printf("# list: refusals=%zu\n", G_N_ELEMENTS(refusals));
}

/* A server that has just started answers so until it has read its roles: only what stays so for a
 * while is left alone for long. */
static void
test_denied(void **state)
{
    static const FakeAnswer no = { .status = 403, .times = DENIALS + 2 };
    ReflectFixture *self = *state;

    fake_apiserver_script(self->api, "", &no);
    reflect_start(self, &reflect_usual);
    while (self->retries->len < DENIALS + 2)
        g_main_context_iteration(NULL, TRUE);
    for (guint i = 0; i < DENIALS; i++)
        assert_true(reflect_retry_ms(self, i) < FORBIDDEN_MS);
    for (guint i = DENIALS; i < DENIALS + 2; i++)
        assert_true(reflect_retry_ms(self, i) >= FORBIDDEN_MS);
    reflect_list(self, "a1", "1");
    reflect_forget_told(self);
}

/* A 410 after other failures is no reason to wait; a second one right behind it is. */
static void
test_expired_after_failures(void **state)
{
    static const FakeAnswer no = { .status = 503, .times = 6 };
    static const FakeAnswer gone = { .status = 410, .times = 2 };
    ReflectFixture *self = *state;

    fake_apiserver_script(self->api, "", &no);
    reflect_start(self, &reflect_usual);
    while (self->retries->len < 6)
        g_main_context_iteration(NULL, TRUE);
    fake_apiserver_script(self->api, "", &gone);
    while (self->retries->len < 7)
        g_main_context_iteration(NULL, TRUE);
    reflect_assert_trouble(self, WK_ERROR_CONFLICT, "Gone");
    assert_int_equal(fake_apiserver_count(self->api, ""), 8);
    reflect_list(self, "a1", "1");
    reflect_forget_told(self);
}

/* A watch goes on where it was: nothing is listed, nothing is told twice. */
static void
test_refused_watch(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        void *own = NULL;
        ReflectFixture *self = begin_case(&own);
        FakeCall *call = start_watching(self);

        fake_apiserver_script(self->api, GET_WATCH, &refusals[i].answer);
        reflect_push(call, "ADDED", "a", "5");
        fake_call_end(call);
        call = reflect_watch(self, "5");
        /* libcurl itself tries once more on a connection that was used before */
        if (refusals[i].answer.deed != FAKE_RESET && refusals[i].answer.deed != FAKE_CLOSE)
            assert_refused(self, &refusals[i]);
        reflect_forget_told(self);
        reflect_push(call, "MODIFIED", "a", "6");
        while (g_strcmp0(g_hash_table_lookup(self->copy, "a"), "6") != 0)
            g_main_context_iteration(NULL, TRUE);
        assert_null(strstr(self->told->str, "relist"));
        reflect_teardown(&own);
    }
    printf("# watch: refusals=%zu\n", G_N_ELEMENTS(refusals));
}

static void
test_refused_page(void **state G_GNUC_UNUSED)
{
    static const FakeAnswer no_streaming = { .status = 422, .times = G_MAXUINT };
    static const FakeAnswer no = { .status = 500 };
    void *own = NULL;
    ReflectFixture *self = begin_case(&own);

    fake_apiserver_script(self->api, GET_STREAMED, &no_streaming);
    fake_apiserver_script(self->api, GET_PAGE, &no);
    reflect_start(self, &reflect_usual);
    reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "a1", "3", "more");
    reflect_wait_told(self, "relist relist !InternalError relist well +a1");
    /* In mid-list: the whole of it again. */
    fake_call_fail(fake_apiserver_wait(self->api, GET_PAGE), 504, NULL, "Timeout", "");
    reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "b2", "3", NULL);
    reflect_wait_told(self, "!Timeout relist well +b2 sync");
    reflect_assert_copy(self, "b2");
    reflect_teardown(&own);
}

/* ---- versions that are gone ---- */

static void
test_410(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    for (int as_event = 0; as_event < 2; as_event++) {
        call = start_watching(self);
        reflect_push(call, "ADDED", "a", "5");
        if (as_event) {
            reflect_push_error(call, 410, "Expired");
        } else {
            fake_call_end(call);
            call = fake_apiserver_wait(self->api, GET_WATCH);
            fake_call_fail(call, 410, NULL, "Expired", "too old resource version");
        }
        /* At once, and not bound to what is gone. */
        call = reflect_list(self, "b6", "9");
        reflect_assert_param(call, "resourceVersion", NULL);
        reflect_wait_told(self, "+a5 relist +b6 sync");
        reflect_assert_copy(self, "b6");
        assert_int_equal(self->retries->len, 0);
        reflect_stop(self);
        fake_call_wait_gone(call);
    }
}

/* A server that says so each time is not asked without end. */
static void
test_410_again_and_again(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = start_watching(self);

    reflect_push_error(call, 410, "Expired");
    for (guint i = 0; i < 4; i++)
        reflect_push_error(reflect_list(self, "", "1"), 410, "Expired");
    reflect_list(self, "", "1");
    assert_int_equal(self->retries->len, 4);
    assert_in_range(reflect_retry_ms(self, 3), 8 * BACKOFF_MIN_MS * 2, BACKOFF_MAX_MS);
}

/* A list that has expired as it was read begins anew, from any version. */
static void
test_410_of_a_list(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &reflect_usual);
    call = fake_apiserver_wait(self->api, GET_STREAMED);
    fake_call_begin(call, 200, NULL);
    reflect_push(call, "ADDED", "a", "1");
    reflect_push_error(call, 410, "Expired");
    reflect_list(self, "b2", "3");
    reflect_wait_told(self, "relist +a1 relist +b2 sync");
    reflect_assert_copy(self, "b2");
}

static void
test_error_events(void **state)
{
    ReflectFixture *self = *state;
    static const guint codes[] = { 0, 400, 403, 404, 409, 429, 500, 503, 504 };
    FakeCall *call = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(codes); i++) {
        call = start_watching(self);
        reflect_push(call, "ADDED", "a", "5");
        reflect_push_error(call, codes[i], "Whatever");
        call = reflect_watch(self, "5");
        reflect_push(call, "BOOKMARK", "", "6");
        reflect_wait_told(self, "+a5 !WatchError well");
        assert_in_range(reflect_retry_ms(self, 0), BACKOFF_MIN_MS, 2 * BACKOFF_MIN_MS);
        reflect_stop(self);
        fake_call_wait_gone(call);
    }
    /* It may say how long. */
    call = start_watching(self);
    fake_call_push(call,
                   "{\"type\":\"ERROR\",\"object\":{\"code\":429,\"details\":"
                   "{\"retryAfterSeconds\":9}}}\n",
                   -1);
    reflect_watch(self, "1");
    assert_int_equal(reflect_retry_ms(self, 0), 9000);
}

/* ---- lines that are none ---- */

/* What comes is not to be trusted: everything is listed, no older than what was seen. */
static void
test_garbage(void **state)
{
    ReflectFixture *self = *state;
    static const char *const lines[] = {
        "garbage\n",
        "{\"type\":\"ADDED\"\n",
        "{\"type\":\"ADDED\",\"object\":{}}\n",
        "{\"type\":\"MOVED\",\"object\":{\"metadata\":{\"resourceVersion\":\"6\"}}}\n",
        "\xff\xfe\x00\n",
        "[]\n",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
        FakeCall *call = start_watching(self);

        reflect_push(call, "ADDED", "a", "5");
        fake_call_push(call, lines[i], -1);
        reflect_push(call, "ADDED", "b", "6");
        call = reflect_list(self, "c7", "8");
        reflect_assert_param(call, "resourceVersion", "5");
        reflect_assert_param(call, "resourceVersionMatch", "NotOlderThan");
        reflect_wait_told(self, "+a5 !BadWatch relist well +c7 sync");
        reflect_assert_copy(self, "c7");
        reflect_stop(self);
        fake_call_wait_gone(call);
    }
}

/* Where the streamed list is garbage, the other one is asked for, and the other way round. */
static void
test_garbage_in_the_list(void **state)
{
    ReflectFixture *self = *state;

    reflect_start(self, &reflect_usual);
    for (int i = 0; i < 2; i++) {
        FakeCall *call = fake_apiserver_wait(self->api, GET_STREAMED);

        fake_call_answer(call, 200, NULL, "<html>log in here</html>\n");
        call = fake_apiserver_wait(self->api, GET_PAGE);
        fake_call_answer(call, 200, NULL, "<html>log in here</html>\n");
    }
    reflect_list(self, "a1", "1");
    reflect_wait_told(self, "relist !BadWatch relist ! relist !BadWatch relist ! relist well +a1 "
                            "sync");
}

static void
test_line_too_long(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = start_watching(self);
    g_autofree char *fill = g_strnfill(5 * 1024 * 1024, 'x');

    fake_call_push(call, "{\"type\":\"ADDED\",\"object\":{\"a\":\"", -1);
    fake_call_push(call, fill, -1);
    call = reflect_watch(self, "1");
    reflect_assert_trouble(self, WK_ERROR_FAILED, "TooLarge");
    reflect_push(call, "ADDED", "a", "2");
    reflect_wait_told(self, "!TooLarge well +a2");
}

/* A page over the limit is asked for in smaller pages. */
static void
test_page_too_large(void **state)
{
    ReflectFixture *self = *state;
    static const FakeAnswer no_streaming = { .status = 422, .times = G_MAXUINT };
    g_autofree char *fill = g_strnfill(9 * 1024 * 1024, 'x');
    static const char *const limits[] = { "500", "250", "125", "62", "31", "15", "10", "10" };

    fake_apiserver_script(self->api, GET_STREAMED, &no_streaming);
    reflect_start(self, &reflect_usual);
    for (gsize i = 0; i < G_N_ELEMENTS(limits); i++) {
        FakeCall *call = fake_apiserver_wait(self->api, GET_PAGE);

        reflect_assert_param(call, "limit", limits[i]);
        fake_call_answer(call, 200, NULL, fill);
    }
    reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "a1", "1", NULL);
    reflect_watch(self, "1");
    assert_true(g_str_has_suffix(self->told->str, "!TooLarge relist well +a1 sync"));
    reflect_assert_copy(self, "a1");
}

/* ---- silence ---- */

static void
test_stall(void **state)
{
    ReflectFixture *self = *state;
    WkReflectorOptions options = reflect_usual;
    FakeCall *call = NULL;
    gint64 start_us = 0;

    options.stall_ms = STALL_MS * REFLECT_HASTE;
    reflect_start(self, &options);
    call = reflect_list(self, "a1", "1");
    reflect_wait_told(self, "relist +a1 sync");
    start_us = g_get_monotonic_time();
    /* Its connection may be half open: the next watch has another one, from where this one was. */
    fake_call_wait_gone(call);
    assert_true(g_get_monotonic_time() - start_us >= (STALL_MS - 10) * G_TIME_SPAN_MILLISECOND);
    call = reflect_watch(self, "1");
    reflect_push(call, "ADDED", "b", "2");
    assert_int_equal(fake_call_get_connection(call), 2);
    reflect_wait_told(self, "!Stalled well +b2");
}

/* What keeps an answer back until it is whole leaves no streamed list: the other one is asked for.
 */
static void
test_stall_of_the_list(void **state)
{
    ReflectFixture *self = *state;
    WkReflectorOptions options = reflect_usual;

    options.stall_ms = STALL_MS * REFLECT_HASTE;
    reflect_start(self, &options);
    fake_call_leave(fake_apiserver_wait(self->api, GET_STREAMED));
    reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "a1", "1", NULL);
    reflect_wait_told(self, "relist !Stalled relist well +a1 sync");
    fake_apiserver_wait(self->api, GET_WATCH);
}

/* A page that is never answered is given up after the client's time, and asked for again. */
static void
test_half_open_page(void **state)
{
    ReflectFixture *self = *state;
    static const FakeAnswer no_streaming = { .status = 422, .times = G_MAXUINT };
    static const WkKubeTimes shorter = {
        .connect_ms = 10000,
        .request_ms = STALL_MS,
        .suspect_ms = STALL_MS / 2,
        .retry_s_ms = 1,
        .credentials_ms = 60000,
    };
    FakeCall *call = NULL;

    wk_kube_set_times(self->kube, &shorter);
    fake_apiserver_script(self->api, GET_STREAMED, &no_streaming);
    reflect_start(self, &reflect_usual);
    call = fake_apiserver_wait(self->api, GET_PAGE);
    fake_call_leave(call);
    fake_call_wait_gone(call);
    reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "a1", "1", NULL);
    reflect_wait_told(self, "relist relist !NoAnswer relist well +a1 sync");
}

/* ---- how often ---- */

/* Doubled up to 30 s, with as much again of jitter. */
static void
test_backoff_grows(void **state)
{
    ReflectFixture *self = *state;
    guint least_ms = BACKOFF_MIN_MS;
    guint jittered = 0;

    fake_apiserver_down(self->api);
    reflect_start(self, &reflect_usual);
    while (self->retries->len < 10)
        g_main_context_iteration(NULL, TRUE);
    for (guint i = 0; i < 10; i++) {
        const guint ms = reflect_retry_ms(self, i);

        assert_in_range(ms, least_ms, 2 * least_ms);
        jittered += ms != least_ms ? 1 : 0;
        least_ms = MIN(2 * least_ms, BACKOFF_MAX_MS);
    }
    assert_true(jittered >= 5);
}

static gboolean
on_timeout(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

/* It starts over after a time without failures, not with the first good answer. */
static void
test_backoff_starts_over(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;
    gboolean over = FALSE;

    fake_apiserver_down(self->api);
    reflect_start(self, &reflect_usual);
    while (self->retries->len < 5)
        g_main_context_iteration(NULL, TRUE);
    fake_apiserver_up(self->api);
    call = reflect_list(self, "", "1");
    reflect_push_error(call, 500, "InternalError");
    call = reflect_watch(self, "1");
    reflect_assert_trouble(self, WK_ERROR_UNAVAILABLE, "WatchError");
    assert_true(reflect_retry_ms(self, self->retries->len - 1) >= 16 * BACKOFF_MIN_MS);
    wk_reflector_set_spans(self->reflector, 100, 0);
    g_timeout_add(110, on_timeout, &over);
    while (!over)
        g_main_context_iteration(NULL, TRUE);
    reflect_push_error(call, 500, "InternalError");
    reflect_watch(self, "1");
    assert_in_range(reflect_retry_ms(self, self->retries->len - 1), BACKOFF_MIN_MS,
                    2 * BACKOFF_MIN_MS);
}

/* A watch that is refused time after time is no longer worth its version. */
static void
test_watch_tries(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = start_watching(self);

    reflect_push(call, "ADDED", "a", "5");
    fake_call_end(call);
    for (int i = 0; i < WATCH_TRIES + 1; i++)
        fake_call_fail(fake_apiserver_wait(self->api, GET_WATCH), 500, NULL, "", "");
    call = reflect_list(self, "a5 b6", "6");
    reflect_assert_param(call, "resourceVersion", "5");
    reflect_wait_told(self, "+a5 !InternalError !InternalError !InternalError !InternalError "
                            "relist well +a5 +b6 sync");
    /* A watch that breaks off without an event each time, too. */
    for (int i = 0; i < 2; i++)
        fake_call_end(i == 0 ? call : reflect_watch(self, "6"));
    fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_assert_trouble(self, WK_ERROR_UNAVAILABLE, "WatchEnded");
}

/* New certificates: the watch begins anew, and that is all. */
static void
test_credentials_change(void **state)
{
    ReflectFixture *self = *state;
    const WkKubeRequest request = { .method = "GET", .path = "/other" };
    FakeCall *call = start_watching(self);

    fake_kube_config_edit_credentials(self->config)->tls_generation++;
    wk_kube_send(self->kube, &request, NULL, NULL, NULL);
    fake_call_wait_gone(call);
    call = reflect_watch(self, "1");
    reflect_push(call, "ADDED", "a", "2");
    reflect_wait_told(self, "!CredentialsChanged well +a2");
}

#define UNIT(function) cmocka_unit_test_setup_teardown(function, reflect_setup, reflect_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_list),
        cmocka_unit_test(test_refused_watch),
        cmocka_unit_test(test_refused_page),
        UNIT(test_denied),
        UNIT(test_expired_after_failures),
        UNIT(test_410),
        UNIT(test_410_again_and_again),
        UNIT(test_410_of_a_list),
        UNIT(test_error_events),
        UNIT(test_garbage),
        UNIT(test_garbage_in_the_list),
        UNIT(test_line_too_long),
        UNIT(test_page_too_large),
        UNIT(test_stall),
        UNIT(test_stall_of_the_list),
        UNIT(test_half_open_page),
        UNIT(test_backoff_grows),
        UNIT(test_backoff_starts_over),
        UNIT(test_watch_tries),
        UNIT(test_credentials_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
