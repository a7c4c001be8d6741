/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-fixture.h"

#define MIB     (1024 * 1024)
#define BURST   100
#define AT_ONCE 16 /* what the client sends at the same time */

/* ---- plain exchanges ---- */

static void
test_get(void **state)
{
    KubeFixture *self = *state;
    g_auto(KubeReply) reply = { 0 };
    FakeCall *call = NULL;
    g_autofree char *token = NULL;
    g_autofree char *agent = NULL;
    g_autofree char *encoding = NULL;
    g_autofree char *accept = NULL;

    kube_send_with(self, &reply, "GET", KUBE_PATH "?a=b%20c", NULL);
    call = fake_apiserver_wait(self->api, "GET " KUBE_PATH);
    assert_string_equal(fake_call_get_path(call), KUBE_PATH "?a=b%20c");
    token = fake_call_get_header(call, "Authorization");
    agent = fake_call_get_header(call, "User-Agent");
    encoding = fake_call_get_header(call, "Accept-Encoding");
    accept = fake_call_get_header(call, "Accept");
    assert_string_equal(token, "Bearer sesame");
    assert_string_equal(agent, "test/1");
    assert_string_equal(encoding, "gzip");
    assert_string_equal(accept, "application/json");
    fake_call_answer(call, 200, NULL, "{\"kind\":\"Thing\"}\n");
    kube_wait_reply(&reply);
    assert_null(reply.error);
    assert_string_equal(json_object_get_string_member(reply.answer, "kind"), "Thing");
}

static void
test_bodies(void **state)
{
    KubeFixture *self = *state;
    const char *const methods[] = { "PUT", "POST", "PATCH", "DELETE" };

    for (gsize i = 0; i < G_N_ELEMENTS(methods); i++) {
        g_auto(KubeReply) reply = { 0 };
        FakeCall *call = NULL;
        g_autofree char *type = NULL;
        g_autofree char *expect = NULL;

        kube_send_with(self, &reply, methods[i], KUBE_PATH, NULL);
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
        kube_wait_reply(&reply);
        assert_null(reply.error);
    }
    /* The connection was used again and again. */
    assert_int_equal(fake_apiserver_count_accepted(self->api), 1);
}

static void
test_impersonation_and_path(void **state)
{
    KubeFixture *self = *state;
    const char *const groups[] = { "g1", NULL };
    WkKubePlace *place = fake_kube_config_edit_place(self->config);
    g_autofree char *server = g_strconcat(fake_apiserver_get_url(self->api), "/k8s/c1", NULL);
    g_auto(KubeReply) reply = { 0 };
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
    kube_send_with(self, &reply, "GET", KUBE_PATH, NULL);
    call = fake_apiserver_wait(self->api, "GET /k8s/c1" KUBE_PATH);
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
    kube_wait_reply(&reply);
    assert_null(reply.error);
}

static void
test_trailing_and_nonsense(void **state)
{
    KubeFixture *self = *state;
    g_auto(KubeReply) reply = { 0 };
    FakeCall *call = NULL;

    kube_send_with(self, &reply, "GET", KUBE_PATH, NULL);
    call = fake_apiserver_wait(self->api, "GET ");
    fake_call_raw(call, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{\"more\":1}", -1);
    kube_wait_reply(&reply);
    assert_null(reply.error);
    assert_int_equal(json_object_get_size(reply.answer), 0);
    kube_reply_clear(&reply);
    kube_send_with(self, &reply, "GET", KUBE_PATH, NULL);
    call = fake_apiserver_wait(self->api, "GET ");
    fake_call_raw(call, "220 mail.example ESMTP\r\n", -1);
    fake_call_close(call);
    kube_wait_reply(&reply);
    kube_assert_error(&reply, WK_ERROR_FAILED, NULL, "no API server");
}

static void
test_split_everywhere(void **state)
{
    KubeFixture *self = *state;
    g_autofree char *text = fake_answer_text(200, NULL, "{\"a\":\"b\"}");
    const gsize length = strlen(text);

    for (gsize at = 1; at < length; at++) {
        g_auto(KubeReply) reply = { 0 };
        FakeCall *call = NULL;

        kube_send_with(self, &reply, "GET", KUBE_PATH, NULL);
        call = fake_apiserver_wait(self->api, "GET ");
        fake_call_raw(call, text, (gssize)at);
        fake_settle();
        assert_false(reply.done);
        fake_call_raw(call, text + at, -1);
        fake_call_done(call);
        kube_wait_reply(&reply);
        assert_string_equal(json_object_get_string_member(reply.answer, "a"), "b");
    }
    assert_int_equal(fake_apiserver_count_accepted(self->api), 1);
}

static void
test_huge(void **state)
{
    KubeFixture *self = *state;
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
        g_auto(KubeReply) reply = { 0 };
        g_autofree char *fill = g_strnfill(rows[i].bytes - strlen("{\"a\":\"\"}"), 'x');
        g_autofree char *body = g_strconcat("{\"a\":\"", fill, "\"}", NULL);
        const FakeAnswer answer = { .status = rows[i].status, .body = body };

        fake_apiserver_script(self->api, rows[i].method, &answer);
        kube_run(self, &reply, rows[i].method, KUBE_PATH);
        if (rows[i].good)
            assert_null(reply.error);
        else if (rows[i].status == 200)
            kube_assert_error(&reply, WK_ERROR_FAILED, "TooLarge", "over the limit");
        else
            kube_assert_error(&reply, WK_ERROR_UNAVAILABLE, "ServiceUnavailable", "xxx...");
    }
}

/* ---- limits, ends ---- */

static void
test_in_flight_cap(void **state)
{
    KubeFixture *self = *state;
    KubeReply replies[AT_ONCE + 4] = { 0 };

    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        kube_send_with(self, &replies[i], "GET", KUBE_PATH, NULL);
    fake_apiserver_wait_count(self->api, "GET ", AT_ONCE);
    fake_settle();
    assert_int_equal(fake_apiserver_count(self->api, "GET "), AT_ONCE);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        fake_call_answer(fake_apiserver_wait(self->api, "GET "), 200, NULL, "{}");
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++) {
        kube_wait_reply(&replies[i]);
        assert_null(replies[i].error);
        kube_reply_clear(&replies[i]);
    }
    assert_true(fake_apiserver_count_accepted(self->api) <= AT_ONCE);
}

/* A burst goes at once, what follows it at 50 a second. */
static void
test_rate(void **state)
{
    KubeFixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    static KubeReply replies[BURST + 10];
    const gint64 start_us = g_get_monotonic_time();

    fake_apiserver_script(self->api, "GET", &good);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        kube_send_with(self, &replies[i], "GET", KUBE_PATH, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++) {
        kube_wait_reply(&replies[i]);
        assert_null(replies[i].error);
        kube_reply_clear(&replies[i]);
    }
    assert_true(g_get_monotonic_time() - start_us >= 10 * G_TIME_SPAN_SECOND / 50);
}

static void
test_cancel(void **state)
{
    KubeFixture *self = *state;
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    const FakeAnswer later = { .status = 429, .headers = "Retry-After: 60\r\n" };
    WkKubeTimes times = kube_patient_times;
    g_auto(KubeReply) reply = { 0 };
    FakeCall *call = NULL;

    /* under way */
    kube_send_with(self, &reply, "GET", KUBE_PATH, cancellable);
    call = fake_apiserver_wait(self->api, "GET ");
    g_cancellable_cancel(cancellable);
    kube_wait_reply(&reply);
    kube_assert_error(&reply, WK_ERROR_CANCELLED, NULL, KUBE_PATH);
    fake_call_wait_gone(call);
    /* before it began */
    kube_reply_clear(&reply);
    kube_send_with(self, &reply, "GET", KUBE_PATH, cancellable);
    assert_false(reply.done);
    kube_wait_reply(&reply);
    kube_assert_error(&reply, WK_ERROR_CANCELLED, NULL, KUBE_PATH);
    assert_int_equal(fake_apiserver_count(self->api, ""), 1);
    /* resting */
    times.retry_s_ms = 1000;
    wk_kube_set_times(self->kube, &times);
    g_cancellable_reset(cancellable);
    kube_reply_clear(&reply);
    fake_apiserver_script(self->api, "GET", &later);
    kube_send_with(self, &reply, "GET", KUBE_PATH, cancellable);
    fake_apiserver_wait_count(self->api, "GET", 2);
    fake_settle();
    assert_false(reply.done);
    g_cancellable_cancel(cancellable);
    kube_wait_reply(&reply);
    kube_assert_error(&reply, WK_ERROR_CANCELLED, NULL, KUBE_PATH);
}

static void
test_free_in_flight(void **state)
{
    KubeFixture *self = *state;
    const FakeAnswer later = { .status = 429, .headers = "Retry-After: 60\r\n" };
    WkKubeTimes times = kube_patient_times;
    KubeReply replies[AT_ONCE + 4] = { 0 };

    times.retry_s_ms = 1000;
    wk_kube_set_times(self->kube, &times);
    fake_apiserver_script(self->api, "GET", &later);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        kube_send_with(self, &replies[i], "GET", KUBE_PATH, NULL);
    fake_apiserver_wait_count(self->api, "GET ", AT_ONCE + 1);
    g_clear_pointer(&self->kube, wk_kube_free);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++)
        assert_false(replies[i].done);
    for (gsize i = 0; i < G_N_ELEMENTS(replies); i++) {
        kube_wait_reply(&replies[i]);
        kube_assert_error(&replies[i], WK_ERROR_CANCELLED, NULL, "closed");
        kube_reply_clear(&replies[i]);
    }
    fake_settle();
    assert_int_equal(fake_apiserver_count_open(self->api), 0);
}

static void
test_free_before_anything(void **state)
{
    KubeFixture *self = *state;
    g_auto(KubeReply) reply = { 0 };

    kube_send_with(self, &reply, "GET", KUBE_PATH, NULL);
    g_clear_pointer(&self->kube, wk_kube_free);
    kube_wait_reply(&reply);
    kube_assert_error(&reply, WK_ERROR_CANCELLED, NULL, "closed");
    /* and with a refresh on its way */
    self->kube = wk_kube_new(self->config, "test/1");
    kube_reply_clear(&reply);
    kube_send_with(self, &reply, "GET", KUBE_PATH, NULL);
    while (fake_kube_config_count_refreshes(self->config) == 0)
        g_main_context_iteration(NULL, TRUE);
    g_clear_pointer(&self->kube, wk_kube_free);
    kube_wait_reply(&reply);
    kube_assert_error(&reply, WK_ERROR_CANCELLED, NULL, "closed");
}

static void
test_callbacks_do_what_they_like(void **state)
{
    KubeFixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = G_MAXUINT };
    g_auto(KubeReply) closing = { .closes = TRUE };
    g_auto(KubeReply) again = { .again = TRUE };
    g_auto(KubeReply) other = { 0 };

    fake_apiserver_script(self->api, "GET", &good);
    kube_run(self, &again, "GET", KUBE_PATH);
    kube_wait_reply(&again);
    assert_null(again.error);
    assert_int_equal(fake_apiserver_count(self->api, "GET " KUBE_PATH "/again"), 1);
    kube_send_with(self, &closing, "GET", KUBE_PATH, NULL);
    kube_send_with(self, &other, "PUT", KUBE_PATH, NULL);
    kube_wait_reply(&closing);
    assert_null(closing.error);
    kube_wait_reply(&other);
    kube_assert_error(&other, WK_ERROR_CANCELLED, NULL, "closed");
}

static void
test_counts(void **state)
{
    KubeFixture *self = *state;
    const FakeAnswer good = { .body = "{}", .times = 2 };
    const FakeAnswer missing = { .status = 404 };
    const FakeAnswer reset = { .deed = FAKE_RESET };
    static const WkKubeCount expected[] = { { "GET", 200, 2 }, { "GET", 404, 1 }, { "PUT", 0, 1 } };
    g_autoptr(GArray) counts = NULL;
    g_auto(KubeReply) reply = { 0 };

    fake_apiserver_script(self->api, "PUT", &reset);
    kube_run(self, &reply, "PUT", KUBE_PATH);
    fake_apiserver_script(self->api, "GET", &good);
    fake_apiserver_script(self->api, "GET", &missing);
    for (int i = 0; i < 3; i++)
        kube_run(self, &reply, "GET", KUBE_PATH);
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

#define UNIT(function) cmocka_unit_test_setup_teardown(function, kube_setup, kube_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_get),
        UNIT(test_bodies),
        UNIT(test_impersonation_and_path),
        UNIT(test_trailing_and_nonsense),
        UNIT(test_split_everywhere),
        UNIT(test_huge),
        UNIT(test_in_flight_cap),
        UNIT(test_rate),
        UNIT(test_cancel),
        UNIT(test_free_in_flight),
        UNIT(test_free_before_anything),
        UNIT(test_callbacks_do_what_they_like),
        UNIT(test_counts),
        cmocka_unit_test(test_backoff),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
