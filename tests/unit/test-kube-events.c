/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/events.h"

#include "base/json.h"
#include "kube-double.h"
#include "unit.h"

#define SPEED 1000
#define POST  "POST /apis/events.k8s.io/v1/namespaces/ns1/events"
#define PATCH "PATCH /apis/events.k8s.io/v1/namespaces/ns1/events/"

typedef struct {
    WkOutlet *outlet;
    WkEvents *events;
    GString *notices;
    guint done;
    gint64 last_done;
} Fixture;

static void
on_notice(const char *reason, const char *text, gpointer data)
{
    Fixture *f = data;

    g_string_append_printf(f->notices, "%s%s ", text == NULL ? "-" : "", reason);
}

static void
on_done(gint64 seq, gpointer data)
{
    Fixture *f = data;

    f->done++;
    f->last_done = seq;
}

static void
on_open(gpointer data)
{
    wk_events_pump(data);
}

static int
setup(void **state)
{
    static const WkReporterOptions options = { .node_name = "n1", .namespace_name = "sys" };
    static const WkReporterListener listener = { .notice = on_notice, .event_done = on_done };
    Fixture *f = g_new0(Fixture, 1);

    f->notices = g_string_new(NULL);
    f->outlet = wk_outlet_new(NULL, &options, &listener, f, SPEED);
    f->events = wk_events_new(f->outlet);
    wk_outlet_set_open(f->outlet, on_open, f->events);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *f = *state;

    wk_outlet_stop(f->outlet);
    wk_events_free(f->events);
    double_reset();
    wk_outlet_unref(f->outlet);
    g_string_free(f->notices, TRUE);
    g_free(f);
    return 0;
}

static void
add(Fixture *f, const char *uid, const char *reason, gint64 seq)
{
    WkWukong about = { .uid = (char *)uid, .ns = (char *)"ns1", .name = (char *)"vm-1" };
    WkKubeEvent *event = wk_kube_event_new(&about, "Normal", reason, "Suspend", "saved");

    event->seq = seq;
    wk_events_add(f->events, event);
}

static void
answer_all(DoubleCall *call, gpointer data)
{
    (void)data;
    double_answer(call, "{}");
}

static gboolean
is_empty(gpointer data)
{
    double_settle();
    return wk_events_count(((Fixture *)data)->events) == 0;
}

static void
test_body(void **state)
{
    static const struct {
        const char *member;
        const char *value;
    } rows[] = {
        { "type", "Normal" },
        { "reason", "Suspended" },
        { "action", "Suspend" },
        { "note", "saved" },
        { "reportingController", "wukongd" },
        { "reportingInstance", "n1" },
        { "kind", "Event" },
        { "apiVersion", "events.k8s.io/v1" },
    };
    Fixture *f = *state;
    g_autoptr(JsonObject) body = NULL;
    JsonObject *regarding;

    add(f, "u1", "Suspended", 4);
    body = wk_json_parse(double_wait(POST)->body, -1, 4096, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++)
        assert_string_equal(wk_json_get_string(body, rows[i].member), rows[i].value);
    regarding = wk_json_get_object(body, "regarding");
    assert_string_equal(wk_json_get_string(regarding, "uid"), "u1");
    assert_string_equal(wk_json_get_string(regarding, "kind"), "Wukong");
    assert_true(g_str_has_prefix(wk_json_get_string(wk_json_get_object(body, "metadata"), "name"),
                                 "vm-1."));
    assert_int_equal(strlen(wk_json_get_string(body, "eventTime")),
                     strlen("2026-11-22T20:00:00.123456Z"));
    double_answer(double_wait(POST), "{}");
    double_settle();
    assert_int_equal(f->last_done, 4);
}

static void
test_long_note(void **state)
{
    WkWukong about = { .uid = (char *)"u", .ns = (char *)"ns1", .name = (char *)"n" };
    g_autoptr(GString) note = g_string_new(NULL);
    g_autoptr(WkKubeEvent) event = NULL;

    (void)state;
    while (note->len < 3000)
        g_string_append(note, "\xc3\xa4\xe2\x82\xac");
    event = wk_kube_event_new(&about, "Normal", "Suspended", "Suspend", note->str);
    assert_true(strlen(event->note) <= 1024 && strlen(event->note) > 1020);
    assert_true(g_utf8_validate(event->note, -1, NULL));
}

/* The same again is counted on the one that is there; another reason, or another Wukong, not. */
static void
test_series(void **state)
{
    Fixture *f = *state;

    double_set_handler(answer_all, NULL);
    add(f, "u1", "Suspended", 1);
    double_wait_until(is_empty, f, "the first");
    add(f, "u1", "Suspended", 2);
    double_wait_until(is_empty, f, "the second");
    add(f, "u1", "Suspended", 3);
    double_wait_until(is_empty, f, "the third");
    add(f, "u1", "Resumed", 4);
    add(f, "u2", "Suspended", 5);
    double_wait_until(is_empty, f, "others");
    assert_int_equal(double_count(POST), 3);
    assert_int_equal(double_count(PATCH "vm-1."), 2);
    assert_string_equal(double_get(PATCH, 0)->type, "application/merge-patch+json");
    assert_non_null(strstr(double_get(PATCH, 0)->body, "\"count\":2"));
    assert_non_null(strstr(double_get(PATCH, 1)->body, "\"count\":3"));
    assert_non_null(strstr(double_get(PATCH, 1)->body, "\"lastObservedTime\""));
    assert_int_equal(f->done, 5);
}

static void
test_series_ends(void **state)
{
    Fixture *f = *state;

    double_set_handler(answer_all, NULL);
    add(f, "u1", "Suspended", 1);
    double_wait_until(is_empty, f, "the first");
    double_idle(6 * 60 + 20); /* more than 6 minutes, scaled */
    add(f, "u1", "Suspended", 2);
    double_wait_until(is_empty, f, "the second");
    assert_int_equal(double_count(POST), 2);
}

/* The Event to count on has expired: a new one. */
static void
test_series_gone(void **state)
{
    Fixture *f = *state;

    add(f, "u1", "Suspended", 1);
    double_answer(double_wait(POST), "{}");
    double_settle();
    add(f, "u1", "Suspended", 2);
    double_fail(double_wait(PATCH), WK_ERROR_NOT_FOUND, "NotFound", "expired");
    double_answer(double_wait(POST), "{}");
    double_settle();
    assert_int_equal(f->last_done, 2);
}

static void
test_spam(void **state)
{
    Fixture *f = *state;

    double_set_handler(answer_all, NULL);
    for (gint64 i = 0; i < 100; i++) {
        g_autofree char *reason = g_strdup_printf("Reason%d", (int)i);

        add(f, "u1", reason, i + 1);
        double_settle();
    }
    add(f, "u2", "Suspended", 101);
    double_wait_until(is_empty, f, "all");
    assert_in_range(double_count(POST), 26, 60); /* one more for each 300 ms */
    assert_int_equal(f->done, 101);
}

static void
test_endings(void **state)
{
    static const struct {
        int code;
        const char *reason;
        const char *message;
        const char *notices;
    } rows[] = {
        { WK_ERROR_CONFLICT, "AlreadyExists", "there is one", "" },
        { WK_ERROR_NOT_FOUND, "NotFound", "namespaces \"ns1\" not found", "" },
        { WK_ERROR_DENIED, "Forbidden", "because it is being terminated", "" },
        { WK_ERROR_INVALID, "Invalid", "no", "" },
        { WK_ERROR_DENIED, "Forbidden", "cannot create", "EventsForbidden " },
        { WK_ERROR_DENIED, "Forbidden", "cannot create", "" },
    };
    Fixture *f = *state;

    add(f, "u", "Suspended", 1);
    double_answer(double_wait(POST), "{}");
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *uid = g_strdup_printf("u%d", (int)i);

        g_string_truncate(f->notices, 0);
        add(f, uid, "Suspended", (gint64)i + 2);
        double_fail(double_wait(POST), rows[i].code, rows[i].reason, rows[i].message);
        double_settle();
        assert_int_equal(f->last_done, i + 2);
        assert_string_equal(f->notices->str, rows[i].notices);
    }
    assert_int_equal(double_count(POST), 1 + G_N_ELEMENTS(rows));
}

/* A server that has just started denies everything, until it has read its roles: the Event waits,
 * it is not given up. */
static void
test_denied_too_soon(void **state)
{
    Fixture *f = *state;

    add(f, "u", "Suspended", 1);
    for (guint i = 0; i < 3; i++)
        double_fail(double_wait(POST), WK_ERROR_DENIED, "Forbidden", "cannot create");
    assert_int_equal(f->last_done, 0);
    double_answer(double_wait(POST), "{}");
    double_settle();
    assert_int_equal(f->last_done, 1);
    assert_string_equal(f->notices->str, "");
}

static void
fail_all(DoubleCall *call, gpointer data)
{
    (void)data;
    double_fail(call, WK_ERROR_UNAVAILABLE, NULL, "no connection");
}

/* An outage: few requests, the oldest of too many are dropped, the rest comes in order. */
static void
test_outage(void **state)
{
    Fixture *f = *state;
    guint tried;

    double_set_handler(fail_all, NULL);
    for (gint64 i = 0; i < 1005; i++) {
        g_autofree char *uid = g_strdup_printf("u%d", (int)i);

        add(f, uid, "Suspended", i + 1);
        add(f, uid, "Suspended", i + 2001); /* counted while it waits */
    }
    double_idle(40); /* 40 s: 0.8 + 1.6 + 3.2 + 6.4 + 12.8 */
    tried = double_count(POST);
    assert_in_range(tried, 3, 8);
    assert_int_equal(wk_events_count(f->events), 1000);
    assert_int_equal(f->done, 1005 + 5);
    double_set_handler(answer_all, NULL);
    double_wait_until(is_empty, f, "the rest");
    assert_int_equal(f->done, 2010);
    assert_int_equal(f->last_done, 1005);
    assert_in_range(double_count(POST), 1000 + tried - 1, 1000 + tried + 1);
    assert_non_null(strstr(double_get(POST, tried + 10)->body, "\"series\":{\"count\":2"));
}

static void
on_other(JsonObject *answer, const GError *error, gpointer data)
{
    (void)answer;
    (void)error;
    (void)data;
}

/* It alone fails, while others get through. */
static void
test_poison(void **state)
{
    Fixture *f = *state;
    WkKubeRequest other = { "GET", "/other", NULL, NULL };

    add(f, "u1", "Suspended", 1);
    for (guint i = 0; i < 6; i++) {
        double_fail(double_wait(POST), WK_ERROR_UNAVAILABLE, "InternalError", "500");
        double_settle();
        wk_outlet_send(f->outlet, &other, on_other, NULL, NULL);
        double_answer(double_wait("GET /other"), "{}");
        double_settle();
    }
    assert_int_equal(f->last_done, 1);
    assert_int_equal(double_count(POST), 6);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_note, setup, teardown),
        cmocka_unit_test_setup_teardown(test_series, setup, teardown),
        cmocka_unit_test_setup_teardown(test_series_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_series_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spam, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_denied_too_soon, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_poison, setup, teardown),
    };

    return cmocka_run_group_tests_name("kube-events", tests, NULL, NULL);
}
