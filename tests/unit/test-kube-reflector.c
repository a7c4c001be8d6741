/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-reflector-fixture.h"

/* How a reflector asks when nothing is wrong, and what it tells. */

#define FIELD         "status.nodeName=n1"
#define UNKNOWN_FIELD "field label not supported: status.nodeName"

static const WkReflectorOptions selecting = { .path = THINGS,
                                              .field_selector = FIELD,
                                              .label_selector = "a in (b, c)",
                                              .stall_ms = 60 * 3600 * 1000 };

/* ---- the streamed list ---- */

static void
test_streamed_list(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &reflect_usual);
    call = fake_apiserver_wait(self->api, GET_STREAMED);
    reflect_assert_param(call, "sendInitialEvents", "true");
    reflect_assert_param(call, "resourceVersionMatch", "NotOlderThan");
    reflect_assert_param(call, "resourceVersion", NULL);
    reflect_assert_param(call, "watch", "true");
    reflect_assert_param(call, "allowWatchBookmarks", "true");
    reflect_assert_param(call, "fieldSelector", NULL);
    fake_call_begin(call, 200, NULL);
    reflect_push(call, "ADDED", "a", "90");
    reflect_push(call, "ADDED", "b", "3");
    reflect_push(call, "BOOKMARK", "", "4");
    reflect_push(call, "DELETED", "b", "91");
    reflect_wait_told(self, "relist +a90 +b3 -b91");
    reflect_push_end(call, "95");
    reflect_wait_told(self, "sync");
    reflect_assert_copy(self, "a90");
    /* The same answer is the watch from here. */
    reflect_push(call, "MODIFIED", "a", "96");
    reflect_wait_told(self, "+a96");
    assert_int_equal(fake_apiserver_count(self->api, ""), 1);
}

/* What came before the list's end has no order: nothing to go on from. */
static void
test_streamed_list_broken_off(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &reflect_usual);
    call = fake_apiserver_wait(self->api, GET_STREAMED);
    fake_call_begin(call, 200, NULL);
    reflect_push(call, "ADDED", "a", "1");
    reflect_push(call, "ADDED", "b", "2");
    reflect_wait_told(self, "relist +a1 +b2");
    fake_call_reset(call);
    call = reflect_list(self, "b2 c3", "3");
    reflect_assert_param(call, "resourceVersion", NULL);
    reflect_wait_told(self, "!ConnectionLost relist well +b2 +c3 sync");
    reflect_assert_copy(self, "b2 c3");
}

/* A server, or something before it, that takes the question for a plain watch: each streamed list
 * would take until its time-out and never be whole. */
static void
test_streamed_list_without_end(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &reflect_usual);
    call = fake_apiserver_wait(self->api, GET_STREAMED);
    fake_call_begin(call, 200, NULL);
    reflect_push(call, "ADDED", "a", "1");
    reflect_wait_told(self, "relist +a1");
    fake_call_end(call);
    reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "a1", "5", NULL);
    reflect_wait_told(self, "!WatchEnded relist well +a1 sync");
    call = reflect_watch(self, "5");
    /* It is not held against it for ever. */
    reflect_push_error(call, 410, "Expired");
    reflect_list(self, "", "6");
    reflect_wait_told(self, "relist sync");
}

static void
test_watch_lasts_five_to_ten_minutes(void **state)
{
    ReflectFixture *self = *state;
    gint64 least = G_MAXINT64, most = 0;

    for (int i = 0; i < 40; i++) {
        FakeCall *call = NULL;
        g_autofree char *text = NULL;
        gint64 seconds = 0;

        reflect_start(self, &reflect_usual);
        call = fake_apiserver_wait(self->api, GET_STREAMED);
        text = fake_call_get_param(call, "timeoutSeconds");
        seconds = g_ascii_strtoll(text, NULL, 10);
        assert_in_range(seconds, 300, 600);
        least = MIN(least, seconds);
        most = MAX(most, seconds);
        reflect_stop(self);
        fake_call_wait_gone(call);
    }
    assert_true(most - least > 60); /* all nodes at once would be a stampede */
}

/* ---- the classic list ---- */

static void
test_classic_where_streaming_is_not_known(void **state)
{
    ReflectFixture *self = *state;
    static const struct {
        guint status;
        const char *message;
    } rows[] = {
        { 400, "unknown parameter" },
        { 422, "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden" },
        { 400, "" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        FakeCall *call = NULL;

        reflect_start(self, &reflect_usual);
        call = fake_apiserver_wait(self->api, GET_STREAMED);
        fake_call_fail(call, rows[i].status, NULL, "Invalid", rows[i].message);
        call = fake_apiserver_wait(self->api, GET_PAGE);
        reflect_assert_param(call, "limit", "500");
        reflect_assert_param(call, "watch", NULL);
        reflect_assert_param(call, "resourceVersion", NULL);
        reflect_page(call, "a1 b2", "7", NULL);
        reflect_wait_told(self, "relist relist +a1 +b2 sync");
        call = reflect_watch(self, "7");
        /* It is remembered. */
        reflect_push_error(call, 410, "Expired");
        reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "", "9", NULL);
        reflect_wait_told(self, "relist sync");
        reflect_assert_copy(self, "");
        reflect_stop(self);
        fake_settle();
    }
    assert_int_equal(fake_apiserver_count(self->api, GET_STREAMED), G_N_ELEMENTS(rows));
}

/* A reflector that has come to pages. Returns: the question for the first of them. */
static FakeCall *
start_paging(ReflectFixture *self, const WkReflectorOptions *options)
{
    reflect_start(self, options);
    fake_call_fail(fake_apiserver_wait(self->api, GET_ANYTHING), 422, NULL, "Invalid", "no");
    fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_wait_told(self, "relist relist");
    return fake_apiserver_wait(self->api, GET_ANYTHING);
}

static void
test_pages(void **state)
{
    ReflectFixture *self = *state;
    WkReflectorOptions options = reflect_usual;
    FakeCall *call = NULL;

    options.page_size = 2;
    call = start_paging(self, &options);
    reflect_assert_param(call, "limit", "2");
    reflect_assert_param(call, "continue", NULL);
    reflect_page(call, "a1 b2", "7", "x&y=/+ z");
    call = fake_apiserver_wait(self->api, GET_PAGE);
    reflect_assert_param(call, "limit", "2");
    reflect_assert_param(call, "continue", "x&y=/+ z");
    reflect_assert_param(call, "resourceVersion", NULL);
    reflect_page(call, "", "7", "second");
    call = fake_apiserver_wait(self->api, GET_PAGE);
    reflect_assert_param(call, "continue", "second");
    reflect_page(call, "c3", "8", "");
    reflect_wait_told(self, "+a1 +b2 +c3 sync");
    reflect_assert_copy(self, "a1 b2 c3");
    reflect_watch(self, "8");
}

/* The list is begun anew at once; what the first pages told is told again. */
static void
test_410_in_mid_list(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = start_paging(self, &reflect_usual);

    reflect_page(call, "a1", "7", "more");
    call = fake_apiserver_wait(self->api, GET_PAGE);
    reflect_wait_told(self, "+a1");
    fake_call_fail(call, 410, NULL, "Expired", "the continue parameter is too old");
    call = fake_apiserver_wait(self->api, GET_PAGE);
    reflect_assert_param(call, "continue", NULL);
    reflect_page(call, "b2", "9", NULL);
    reflect_wait_told(self, "relist +b2 sync");
    reflect_assert_copy(self, "b2");
    assert_int_equal(self->retries->len, 0);
}

/* A list that goes on from where another one broke off would be told as whole, and what the first
 * pages had as gone. */
static void
test_400_in_mid_list(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = start_paging(self, &selecting);

    reflect_assert_param(call, "fieldSelector", FIELD);
    reflect_page(call, "a1", "7", "more");
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_wait_told(self, "+a1");
    reflect_assert_param(call, "continue", "more");
    fake_call_fail(call, 400, NULL, "BadRequest", "continue key is not valid");
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_wait_told(self, "!BadRequest relist");
    assert_true(wk_reflector_is_selecting(self->reflector));
    reflect_assert_param(call, "limit", "500");
    reflect_assert_param(call, "continue", NULL);
    reflect_page(call, "a1 b2", "9", NULL);
    reflect_wait_told(self, "well +a1 +b2 sync");
    reflect_assert_copy(self, "a1 b2");
}

static void
test_bad_pages(void **state)
{
    ReflectFixture *self = *state;
    static const char *const bodies[] = {
        "{\"metadata\":{\"resourceVersion\":\"1\"}}",
        "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":{}}",
        "{\"metadata\":{},\"items\":[]}",
        "{\"items\":[{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}]}",
        "[]",
        "<html>",
    };
    FakeCall *call = start_paging(self, &reflect_usual);

    for (gsize i = 0; i < G_N_ELEMENTS(bodies); i++) {
        const guint troubles = self->retries->len;

        fake_call_answer(call, 200, NULL, bodies[i]);
        call = fake_apiserver_wait(self->api, GET_PAGE);
        assert_int_equal(self->retries->len, troubles + 1);
        reflect_assert_copy(self, "");
    }
    reflect_forget_told(self);
    /* An item that is no object is not for the listener. */
    fake_call_answer(call, 200, NULL,
                     "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[null,7,\"a\",[]]}");
    reflect_wait_told(self, "well sync");
}

/* ---- selectors ---- */

static void
test_selectors(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &selecting);
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_assert_param(call, "fieldSelector", FIELD);
    reflect_assert_param(call, "labelSelector", "a in (b, c)");
    assert_true(wk_reflector_is_selecting(self->reflector));
    fake_call_begin(call, 200, NULL);
    reflect_push(call, "ADDED", "a", "1");
    reflect_push_end(call, "1");
    /* Out of the selection, with its state of then. */
    reflect_push(call, "DELETED", "a", "2");
    reflect_wait_told(self, "relist +a1 sync -a2");
    fake_call_end(call);
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_assert_param(call, "resourceVersion", "2");
    reflect_assert_param(call, "fieldSelector", FIELD);
    reflect_assert_param(call, "labelSelector", "a in (b, c)");
}

static void
test_unknown_field(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &selecting);
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_assert_param(call, "fieldSelector", FIELD);
    fake_call_fail(call, 400, NULL, "BadRequest", UNKNOWN_FIELD);
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    assert_false(wk_reflector_is_selecting(self->reflector));
    reflect_assert_param(call, "fieldSelector", NULL);
    reflect_assert_param(call, "labelSelector", "a in (b, c)");
    reflect_assert_param(call, "sendInitialEvents", "true");
    fake_call_begin(call, 200, NULL);
    reflect_push(call, "ADDED", "a", "1");
    reflect_push_end(call, "1");
    reflect_wait_told(self, "relist relist +a1 sync");
    assert_int_equal(self->retries->len, 0);
    fake_call_end(call);
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_assert_param(call, "fieldSelector", NULL);
    reflect_assert_param(call, "resourceVersion", "1");
}

/* An old server knows neither. It says so of one after the other, in whichever order. */
static void
test_neither_field_nor_streaming(void **state)
{
    ReflectFixture *self = *state;

    for (int field_first = 0; field_first < 2; field_first++) {
        FakeCall *call = NULL;

        reflect_start(self, &selecting);
        while (TRUE) {
            g_autofree char *field = NULL;
            g_autofree char *streamed = NULL;

            call = fake_apiserver_wait(self->api, GET_ANYTHING);
            field = fake_call_get_param(call, "fieldSelector");
            streamed = fake_call_get_param(call, "sendInitialEvents");
            if (field == NULL && streamed == NULL)
                break;
            fake_call_fail(call, 400, NULL, "BadRequest",
                           field != NULL && (field_first || streamed == NULL) ? UNKNOWN_FIELD
                                                                              : "streaming?");
        }
        reflect_forget_told(self);
        reflect_page(call, "a1", "1", NULL);
        reflect_wait_told(self, "+a1 sync");
        assert_int_equal(self->retries->len, 0);
        assert_false(wk_reflector_is_selecting(self->reflector));
        fake_apiserver_wait(self->api, GET_ANYTHING);
        reflect_stop(self);
        fake_settle();
    }
}

/* A CRD that is upgraded may know the field by now: it is tried with a list after a while. */
static void
test_field_is_tried_again(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &selecting);
    wk_reflector_set_spans(self->reflector, 120000, 0);
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    fake_call_fail(call, 400, NULL, "BadRequest", UNKNOWN_FIELD);
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_assert_param(call, "fieldSelector", FIELD);
    fake_call_begin(call, 200, NULL);
    reflect_push_end(call, "1");
    reflect_wait_told(self, "relist relist sync");
    assert_true(wk_reflector_is_selecting(self->reflector));
}

/* ---- versions ---- */

static void
test_versions_are_opaque(void **state)
{
    ReflectFixture *self = *state;
    static const char *const versions[] = { "7", "3", "0x10", "a&b=c d%", "18446744073709551616" };
    FakeCall *call = NULL;

    reflect_start(self, &reflect_usual);
    call = reflect_list(self, "", "1");
    reflect_wait_told(self, "relist sync");
    for (gsize i = 0; i < G_N_ELEMENTS(versions); i++) {
        reflect_push(call, "MODIFIED", "a", versions[i]);
        fake_call_end(call);
        call = reflect_watch(self, versions[i]);
    }
    assert_int_equal(self->retries->len, 0);
}

static void
test_bookmarks_advance(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &reflect_usual);
    call = reflect_list(self, "a1", "1");
    reflect_wait_told(self, "relist +a1 sync");
    reflect_push(call, "BOOKMARK", "", "50");
    fake_call_end(call);
    call = reflect_watch(self, "50");
    reflect_push(call, "BOOKMARK", "", "60");
    /* The end of a list that nobody has asked for is a bookmark like others. */
    reflect_push_end(call, "70");
    fake_call_end(call);
    reflect_watch(self, "70");
    assert_string_equal(self->told->str, "");
    reflect_assert_copy(self, "a1");
}

/* What vanished meanwhile is told by its absence between relisting() and synced(). */
static void
test_relist_tells_what_vanished(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &reflect_usual);
    call = reflect_list(self, "a1 b2 c3", "3");
    reflect_wait_told(self, "relist +a1 +b2 +c3 sync");
    reflect_push_error(call, 410, "Expired");
    call = fake_apiserver_wait(self->api, GET_STREAMED);
    reflect_wait_told(self, "relist");
    reflect_assert_copy(self, "a1 b2 c3"); /* nothing is gone before it is known */
    fake_call_begin(call, 200, NULL);
    reflect_push(call, "ADDED", "b", "9");
    reflect_wait_told(self, "+b9");
    reflect_assert_copy(self, "a1 b9 c3");
    reflect_push_end(call, "12");
    reflect_wait_told(self, "sync");
    reflect_assert_copy(self, "b9");
}

/* A version that the server can't be asked for (another etcd, restored from elsewhere) is no reason
 * to ask for less than the selection. */
static void
test_refused_version(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &selecting);
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    fake_call_begin(call, 200, NULL);
    reflect_push_end(call, "12");
    reflect_wait_told(self, "relist sync");
    fake_call_push(call, "garbage\n", -1);
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_assert_param(call, "resourceVersion", "12");
    fake_call_fail(call, 400, NULL, "BadRequest", "invalid resource version");
    call = fake_apiserver_wait(self->api, GET_ANYTHING);
    reflect_assert_param(call, "resourceVersion", NULL);
    reflect_assert_param(call, "fieldSelector", FIELD);
    reflect_assert_param(call, "sendInitialEvents", "true");
    reflect_wait_told(self, "!BadWatch relist relist");
}

/* ---- hurry ---- */

static void
test_hurry(void **state)
{
    ReflectFixture *self = *state;

    const FakeAnswer no = { .status = 403 };

    fake_apiserver_script(self->api, "", &no);
    reflect_start(self, &reflect_usual);
    wk_reflector_set_haste(self->reflector, 1);
    reflect_wait_told(self, "relist !Forbidden"); /* tried again in 0.8 s at the earliest */
    wk_reflector_hurry(self->reflector);
    reflect_list(self, "a1", "1");
    reflect_wait_told(self, "relist well +a1 sync");
    wk_reflector_hurry(self->reflector); /* is of no account while it watches */
    fake_settle();
    assert_int_equal(fake_apiserver_count(self->api, ""), 2);
    assert_true(wk_reflector_get_last_heard_us(self->reflector) > 0);
}

/* Two questions at once would tell everything twice, and the second would never end. */
static void
test_hurry_in_callbacks(void **state)
{
    ReflectFixture *self = *state;
    static const char *const words[] = { "relist", "+a1", "sync", "-a2", "!WatchError", "well" };

    for (gsize i = 0; i < G_N_ELEMENTS(words); i++) {
        FakeCall *call = NULL;

        self->hurry_in = words[i];
        reflect_start(self, &reflect_usual);
        call = reflect_list(self, "a1", "1");
        reflect_push(call, "DELETED", "a", "2");
        reflect_wait_told(self, "relist +a1 sync -a2");
        reflect_push_error(call, 500, "InternalError");
        call = reflect_watch(self, "2");
        reflect_push(call, "ADDED", "b", "3");
        reflect_wait_told(self, "!WatchError well +b3");
        fake_settle();
        assert_null(self->hurry_in);
        assert_null(fake_apiserver_peek(self->api, ""));
        reflect_stop(self);
        fake_call_wait_gone(call);
        assert_int_equal(fake_apiserver_count(self->api, ""), 2 * (i + 1));
    }
}

#define UNIT(function) cmocka_unit_test_setup_teardown(function, reflect_setup, reflect_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_streamed_list),
        UNIT(test_streamed_list_broken_off),
        UNIT(test_streamed_list_without_end),
        UNIT(test_watch_lasts_five_to_ten_minutes),
        UNIT(test_classic_where_streaming_is_not_known),
        UNIT(test_pages),
        UNIT(test_410_in_mid_list),
        UNIT(test_400_in_mid_list),
        UNIT(test_bad_pages),
        UNIT(test_selectors),
        UNIT(test_unknown_field),
        UNIT(test_neither_field_nor_streaming),
        UNIT(test_field_is_tried_again),
        UNIT(test_versions_are_opaque),
        UNIT(test_bookmarks_advance),
        UNIT(test_relist_tells_what_vanished),
        UNIT(test_refused_version),
        UNIT(test_hurry),
        UNIT(test_hurry_in_callbacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
