/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-stream-fixture.h"

#include <stdio.h>

static void
test_lines(void **state)
{
    StreamFixture *self = *state;
    FakeCall *call = stream_open(self, &stream_usual);
    g_autofree char *encoding = fake_call_get_header(call, "Accept-Encoding");
    g_autofree char *token = fake_call_get_header(call, "Authorization");

    assert_null(encoding);
    assert_string_equal(token, "Bearer sesame");
    fake_call_begin(call, 200, NULL);
    fake_call_push(call, "one\n", -1);
    fake_settle();
    assert_int_equal(self->lines->len, 1);
    fake_call_push(call, "two\n\nthree\nfo", -1);
    fake_settle();
    assert_int_equal(self->lines->len, 3);
    fake_call_push(call, "ur\nrest", -1);
    fake_settle();
    assert_int_equal(self->lines->len, 4);
    assert_string_equal(stream_line(self, 3), "four");
    fake_call_end(call);
    stream_wait_end(self);
    assert_null(self->error);
    assert_int_equal(self->lines->len, 5);
    assert_string_equal(stream_line(self, 4), "rest");
}

/* The whole answer, head and chunk sizes included, in two pieces. */
static void
test_split_everywhere(void **state)
{
    StreamFixture *self = *state;
    static const char answer[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "6\r\n{\"a\":1\r\n10\r\n}\n{\"b\":\"\xc3\xa9\"}\n{\"c\r\n"
                                 "5\r\n\":3}\n\r\n0\r\n\r\n";
    const gsize length = strlen(answer);

    for (gsize at = 1; at < length; at++) {
        FakeCall *call = stream_open(self, &stream_usual);

        fake_call_raw(call, answer, (gssize)at);
        fake_settle();
        assert_false(self->ended);
        fake_call_raw(call, answer + at, -1);
        fake_call_done(call);
        stream_wait_end(self);
        assert_null(self->error);
        assert_int_equal(self->lines->len, 3);
        assert_string_equal(stream_line(self, 0), "{\"a\":1}");
        assert_string_equal(stream_line(self, 1), "{\"b\":\"\xc3\xa9\"}");
        assert_string_equal(stream_line(self, 2), "{\"c\":3}");
        stream_close(self);
    }
    assert_int_equal(fake_apiserver_count_accepted(self->api), 1);
    printf("# splits=%zu\n", length - 1);
}

static void
test_byte_by_byte(void **state)
{
    StreamFixture *self = *state;
    FakeCall *call = stream_open(self, &stream_usual);
    static const char text[] = "{\"type\":\"ADDED\"}\n{\"type\":\"BOOKMARK\"}\n";

    fake_call_begin(call, 200, NULL);
    for (const char *p = text; *p != '\0'; p++) {
        fake_call_push(call, p, 1);
        fake_settle();
    }
    assert_int_equal(self->lines->len, 2);
    assert_string_equal(stream_line(self, 1), "{\"type\":\"BOOKMARK\"}");
}

static void
test_long_lines(void **state)
{
    StreamFixture *self = *state;
    static const struct {
        gsize length;
        gboolean with_end;
        gboolean good;
    } rows[] = {
        { STREAM_LINE_LIMIT, TRUE, TRUE },
        { STREAM_LINE_LIMIT + 1, TRUE, FALSE },
        { STREAM_LINE_LIMIT + 1, FALSE, FALSE },
        { 100 * STREAM_LINE_LIMIT, FALSE, FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        FakeCall *call = stream_open(self, &stream_usual);
        g_autofree char *fill = g_strnfill(rows[i].length, 'x');

        fake_call_begin(call, 200, NULL);
        fake_call_push(call, "first\n", -1);
        fake_call_push(call, fill, -1);
        if (rows[i].with_end)
            fake_call_push(call, "\n", -1);
        if (rows[i].good) {
            fake_settle();
            assert_int_equal(strlen(stream_line(self, 1)), rows[i].length);
        } else {
            stream_assert_end(self, WK_ERROR_FAILED, "TooLarge");
            assert_int_equal(self->lines->len, 1);
            fake_call_wait_gone(call);
        }
        stream_close(self);
    }
}

/* A list of 64 MiB as lines: what is kept is one line and what one read brings. */
static void
test_much(void **state)
{
    StreamFixture *self = *state;
    FakeCall *call = stream_open(self, &stream_usual);
    g_autofree char *fill = g_strnfill(STREAM_LINE_LIMIT - 1, 'x');
    g_autofree char *one = g_strconcat(fill, "\n", NULL);
    guint64 total = 0;

    fake_call_begin(call, 200, NULL);
    for (int i = 0; i < 64; i++) {
        for (int j = 0; j < 512; j++)
            fake_call_push(call, one, -1);
        fake_settle();
        total += self->lines->len;
        g_ptr_array_set_size(self->lines, 0);
    }
    assert_int_equal(total, 64 * 512);
    fake_call_end(call);
    stream_wait_end(self);
    assert_null(self->error);
}

static void
test_ends(void **state)
{
    StreamFixture *self = *state;
    static const struct {
        FakeAnswer answer;
        int code;
        const char *reason;
        gint64 retry_ms;
    } rows[] = {
        { { .status = 400 }, WK_ERROR_INVALID, "BadRequest", -1 },
        { { .status = 401, .times = 2 }, WK_ERROR_DENIED, "Unauthorized", -1 },
        { { .status = 403 }, WK_ERROR_DENIED, "Forbidden", -1 },
        { { .status = 404 }, WK_ERROR_NOT_FOUND, "NotFound", -1 },
        { { .status = 410,
            .body = "{\"kind\":\"Status\",\"reason\":\"Expired\",\"message\":\"old\"}\n" },
          WK_ERROR_CONFLICT,
          "Expired",
          -1 },
        { { .status = 429, .headers = "Retry-After: 5\r\n" },
          WK_ERROR_UNAVAILABLE,
          "TooManyRequests",
          5000 },
        { { .status = 500 }, WK_ERROR_UNAVAILABLE, "InternalError", -1 },
        { { .status = 503, .headers = "Retry-After: 1\r\n" },
          WK_ERROR_UNAVAILABLE,
          "ServiceUnavailable",
          1000 },
        { { .status = 504 }, WK_ERROR_UNAVAILABLE, "Timeout", -1 },
        { { .deed = FAKE_CUT, .body = "{\"a\":1}\n{\"b\":1}\n" },
          WK_ERROR_UNAVAILABLE,
          "ConnectionLost",
          -1 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        fake_apiserver_script(self->api, "GET ", &rows[i].answer);
        self->stream =
            wk_kube_stream_new(self->kube, STREAM_PATH, &stream_usual, &stream_listener, self);
        stream_assert_end(self, (WkErrorCode)rows[i].code, rows[i].reason);
        assert_int_equal(wk_kube_retry_after_ms(self->error), rows[i].retry_ms);
        assert_int_equal(self->lines->len, rows[i].answer.deed == FAKE_CUT ? 1 : 0);
        stream_close(self);
    }
    printf("# stream A2 rows=%zu\n", G_N_ELEMENTS(rows));
}

/* In the middle of a watch, after a line and a half. */
static void
test_breaks(void **state)
{
    StreamFixture *self = *state;

    for (int i = 0; i < 4; i++) {
        FakeCall *call = stream_open(self, &stream_usual);

        fake_call_begin(call, 200, NULL);
        fake_call_push(call, "one\nha", -1);
        fake_settle();
        if (i == 0)
            fake_call_reset(call);
        else if (i == 1)
            fake_call_close(call);
        else if (i == 2)
            fake_call_raw(call, "nonsense\r\n", -1);
        else
            fake_apiserver_down(self->api);
        stream_wait_end(self);
        assert_non_null(self->error);
        assert_int_equal(self->error->code, WK_ERROR_UNAVAILABLE);
        assert_int_equal(self->lines->len, 1);
        stream_close(self);
    }
    self->stream =
        wk_kube_stream_new(self->kube, STREAM_PATH, &stream_usual, &stream_listener, self);
    stream_assert_end(self, WK_ERROR_UNAVAILABLE, "Unreachable");
}

static void
test_stall(void **state)
{
    StreamFixture *self = *state;
    const WkKubeStreamOptions options = { .max_line_bytes = STREAM_LINE_LIMIT,
                                          .idle_timeout_ms = 200 };
    FakeCall *call = stream_open(self, &options);
    gint64 last_us = 0;

    /* Not even a head. */
    stream_assert_end(self, WK_ERROR_UNAVAILABLE, "Stalled");
    fake_call_wait_gone(call);
    stream_close(self);
    /* Bytes keep it alive for longer than the limit, then it falls silent. */
    call = stream_open(self, &options);
    fake_call_begin(call, 200, NULL);
    for (gint64 start_us = g_get_monotonic_time(); g_get_monotonic_time() < start_us + 500000;) {
        fake_call_push(call, "x", 1);
        fake_settle();
        last_us = g_get_monotonic_time();
        g_usleep(2000);
        assert_false(self->ended);
    }
    stream_assert_end(self, WK_ERROR_UNAVAILABLE, "Stalled");
    assert_true(g_get_monotonic_time() - last_us >= 190000);
    fake_call_wait_gone(call);
    stream_close(self);
}

/* What starts after a stall does not trust any connection of before, a good one neither. */
static void
test_stall_leaves_connections(void **state)
{
    StreamFixture *self = *state;
    const WkKubeStreamOptions options = { .max_line_bytes = STREAM_LINE_LIMIT,
                                          .idle_timeout_ms = 200 };
    g_autoptr(WkKubeStream) other =
        wk_kube_stream_new(self->kube, "/other", &stream_usual, &stream_listener, self);
    FakeCall *call = fake_apiserver_wait(self->api, "GET /other");

    stream_open(self, &options);
    fake_call_answer(call, 200, NULL, "line\n");
    stream_wait_end(self);
    g_clear_pointer(&other, wk_kube_stream_free);
    self->ended = FALSE;
    stream_assert_end(self, WK_ERROR_UNAVAILABLE, "Stalled");
    stream_close(self);
    fake_settle();
    assert_int_equal(fake_apiserver_count_open(self->api), 0);
    call = stream_open(self, &stream_usual);
    assert_int_equal(fake_call_get_connection(call), 3);
}

/* The head has a time of its own: it does not take as long as a silence may. */
static void
test_no_head(void **state)
{
    StreamFixture *self = *state;
    WkKubeTimes shorter = stream_times;

    shorter.request_ms = 30;
    wk_kube_set_times(self->kube, &shorter);
    stream_open(self, &stream_usual);
    stream_assert_end(self, WK_ERROR_UNAVAILABLE, "Stalled");
}

static void
test_listener_says_no(void **state)
{
    StreamFixture *self = *state;
    FakeCall *call = stream_open(self, &stream_usual);

    self->fail_at = 2;
    fake_call_begin(call, 200, NULL);
    fake_call_push(call, "one\ntwo\nthree\n", -1);
    stream_assert_end(self, WK_ERROR_CORRUPT, "Mine");
    assert_int_equal(self->lines->len, 2);
    fake_call_wait_gone(call);
}

static void
test_free_in_line(void **state)
{
    StreamFixture *self = *state;
    FakeCall *call = stream_open(self, &stream_usual);

    self->free_at = 2;
    fake_call_begin(call, 200, NULL);
    fake_call_push(call, "one\ntwo\nthree\n", -1);
    fake_call_wait_gone(call);
    fake_settle();
    assert_int_equal(self->lines->len, 2);
    assert_false(self->ended);
    /* The last line of all, which is told after the transfer's end, and with the client. */
    stream_close(self);
    self->free_at = 1;
    self->frees_client = TRUE;
    call = stream_open(self, &stream_usual);
    fake_call_answer(call, 200, NULL, "only");
    fake_settle();
    assert_int_equal(self->lines->len, 1);
    assert_false(self->ended);
    assert_null(self->kube);
}

static void
test_free_in_end(void **state)
{
    StreamFixture *self = *state;
    FakeCall *call = stream_open(self, &stream_usual);

    self->frees_at_end = TRUE;
    self->frees_client = TRUE;
    fake_call_begin(call, 200, NULL);
    fake_call_end(call);
    stream_wait_end(self);
    assert_null(self->stream);
    assert_null(self->kube);
}

static void
test_free_at_any_time(void **state)
{
    StreamFixture *self = *state;
    FakeCall *call = NULL;

    /* before the pump, with a refresh on its way, connecting, before the head, with an end owed */
    for (int turns = 0; turns < 6; turns++) {
        self->stream =
            wk_kube_stream_new(self->kube, STREAM_PATH, &stream_usual, &stream_listener, self);
        for (int i = 0; i < turns; i++)
            g_main_context_iteration(NULL, FALSE);
        stream_close(self);
    }
    fake_settle();
    call = stream_open(self, &stream_usual);
    fake_call_answer(call, 404, NULL, NULL);
    stream_close(self);
    fake_settle();
    assert_false(self->ended);
    wk_kube_stream_free(NULL);
}

static void
test_client_goes_first(void **state)
{
    StreamFixture *self = *state;
    FakeCall *call = stream_open(self, &stream_usual);

    fake_call_begin(call, 200, NULL);
    fake_call_push(call, "one\n", -1);
    fake_settle();
    g_clear_pointer(&self->kube, wk_kube_free);
    assert_false(self->ended);
    stream_assert_end(self, WK_ERROR_CANCELLED, NULL);
    fake_call_wait_gone(call);
    stream_close(self);
}

static void
test_401(void **state)
{
    StreamFixture *self = *state;
    const FakeAnswer no = { .status = 401 };
    FakeCall *call = NULL;
    g_autofree char *token = NULL;

    fake_kube_config_set_next_token(self->config, "open");
    fake_apiserver_script(self->api, "", &no);
    call = stream_open(self, &stream_usual);
    token = fake_call_get_header(call, "Authorization");
    assert_string_equal(token, "Bearer open");
    assert_int_equal(fake_kube_config_count_anew(self->config), 1);
    fake_call_begin(call, 200, NULL);
    fake_call_push(call, "one\n", -1);
    fake_settle();
    assert_int_equal(self->lines->len, 1);
}

static void
test_no_credentials(void **state)
{
    StreamFixture *self = *state;

    fake_kube_config_set_refresh_error(self->config, "the plugin has failed");
    self->stream =
        wk_kube_stream_new(self->kube, STREAM_PATH, &stream_usual, &stream_listener, self);
    stream_assert_end(self, WK_ERROR_DENIED, NULL);
}

static void
on_reply(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(JsonObject) answer = wk_kube_send_finish(NULL, result, NULL);

    assert_non_null(answer);
    *(gboolean *)data = TRUE;
}

/* A watch and a write never share a connection; new certificates end the watch. */
static void
test_roads_and_rotation(void **state)
{
    StreamFixture *self = *state;
    const WkKubeRequest request = {
        .method = "PUT", .path = "/a", .content_type = "x", .body = ""
    };
    FakeCall *call = stream_open(self, &stream_usual);
    FakeCall *put = NULL;
    gboolean done = FALSE;

    fake_call_begin(call, 200, NULL);
    fake_call_push(call, "one\n", -1);
    wk_kube_send(self->kube, &request, NULL, on_reply, &done);
    put = fake_apiserver_wait(self->api, "PUT ");
    assert_int_not_equal(fake_call_get_connection(put), fake_call_get_connection(call));
    fake_call_answer(put, 200, NULL, NULL);
    fake_settle();
    assert_true(done);
    /* Not even one that is free. */
    fake_call_end(call);
    stream_wait_end(self);
    stream_close(self);
    call = stream_open(self, &stream_usual);
    assert_int_equal(fake_call_get_connection(call), 1);
    fake_call_begin(call, 200, NULL);
    fake_settle();
    assert_false(self->ended);
    fake_kube_config_edit_credentials(self->config)->tls_generation++;
    done = FALSE;
    wk_kube_send(self->kube, &request, NULL, on_reply, &done);
    fake_call_answer(fake_apiserver_wait(self->api, "PUT "), 200, NULL, NULL);
    stream_assert_end(self, WK_ERROR_UNAVAILABLE, "CredentialsChanged");
    fake_settle();
    assert_true(done);
}

static void
test_counts(void **state)
{
    StreamFixture *self = *state;
    const FakeAnswer gone = { .status = 410 };
    FakeCall *call = NULL;
    g_autoptr(GArray) counts = NULL;

    fake_apiserver_script(self->api, "", &gone);
    self->stream =
        wk_kube_stream_new(self->kube, STREAM_PATH, &stream_usual, &stream_listener, self);
    stream_wait_end(self);
    stream_close(self);
    call = stream_open(self, &stream_usual);
    fake_call_begin(call, 200, NULL);
    fake_call_push(call, "one\n", -1);
    fake_settle();
    counts = wk_kube_get_counts(self->kube);
    assert_int_equal(counts->len, 2);
    assert_string_equal(g_array_index(counts, WkKubeCount, 0).verb, "WATCH");
    assert_int_equal(g_array_index(counts, WkKubeCount, 0).code, 200);
    assert_int_equal(g_array_index(counts, WkKubeCount, 1).code, 410);
    assert_int_equal(g_array_index(counts, WkKubeCount, 1).count, 1);
}

/* Not a limit that is checked: a figure. */
static void
test_latency(void **state)
{
    StreamFixture *self = *state;
    FakeCall *call = stream_open(self, &stream_usual);
    gint64 sum_us = 0, worst_us = 0;

    fake_call_begin(call, 200, NULL);
    for (int i = 0; i < 1000; i++) {
        const gint64 start_us = g_get_monotonic_time();

        fake_call_push(call, "{\"type\":\"MODIFIED\"}\n", -1);
        while (self->lines->len == 0)
            g_main_context_iteration(NULL, TRUE);
        sum_us += self->line_at_us - start_us;
        worst_us = MAX(worst_us, self->line_at_us - start_us);
        g_ptr_array_set_size(self->lines, 0);
    }
    printf("# from bytes to line: mean %" G_GINT64_FORMAT " us, worst %" G_GINT64_FORMAT " us\n",
           sum_us / 1000, worst_us);
}

#define UNIT(function) cmocka_unit_test_setup_teardown(function, stream_setup, stream_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_lines),
        UNIT(test_split_everywhere),
        UNIT(test_byte_by_byte),
        UNIT(test_long_lines),
        UNIT(test_much),
        UNIT(test_ends),
        UNIT(test_breaks),
        UNIT(test_stall),
        UNIT(test_stall_leaves_connections),
        UNIT(test_no_head),
        UNIT(test_listener_says_no),
        UNIT(test_free_in_line),
        UNIT(test_free_in_end),
        UNIT(test_free_at_any_time),
        UNIT(test_client_goes_first),
        UNIT(test_401),
        UNIT(test_no_credentials),
        UNIT(test_roads_and_rotation),
        UNIT(test_counts),
        UNIT(test_latency),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
