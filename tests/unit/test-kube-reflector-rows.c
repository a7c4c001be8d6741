/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-reflector-fixture.h"

#include <stdio.h>

/* The list of faults that a client of the API server has to survive: its rows A1 (the server is
 * away), A3 (a watch goes wrong) and A4 (a server that is behind). A2, each verb with each answer,
 * is in test-kube-faults.c. tests/kube/rows.e2e counts them. */

#define HOUR_MS      3600000
#define MINUTE_MS    60000
#define RUSH         10000 /* an hour in 0.36 s */
#define HOURLY_MAX   130   /* questions: 7 while the backoff grows, then each 30 to 60 s */
#define FLAPS        40
#define OBJECT_BYTES (1500 * 1024)
#define STALL_MS     200

/* ---- A1: the API server is down at start, for an hour, and comes and goes ---- */

static guint64
sum_retries(ReflectFixture *self)
{
    guint64 sum = 0;

    for (guint i = 0; i < self->retries->len; i++)
        sum += reflect_retry_ms(self, i);
    return sum;
}

/* Returns: how often it has asked in that hour. */
static guint
pass_an_hour(ReflectFixture *self)
{
    g_array_set_size(self->retries, 0);
    while (sum_retries(self) < HOUR_MS) {
        const guint n = self->retries->len;

        g_main_context_iteration(NULL, TRUE);
        if (self->retries->len > n)
            assert_true(reflect_retry_ms(self, n) <= MINUTE_MS);
        g_string_truncate(self->told, 0);
    }
    return self->retries->len;
}

static void
test_a1_down(void **state)
{
    ReflectFixture *self = *state;
    guint asked = 0;

    fake_apiserver_down(self->api);
    reflect_start(self, &reflect_usual);
    wk_reflector_set_haste(self->reflector, RUSH);
    asked = pass_an_hour(self);
    assert_in_range(asked, HOUR_MS / MINUTE_MS, HOURLY_MAX);
    fake_apiserver_up(self->api);
    reflect_list(self, "a1 b2", "2");
    while (g_hash_table_size(self->copy) < 2)
        g_main_context_iteration(NULL, TRUE);
    printf("# down at start: questions in an hour=%u\n", asked);
    /* Again, in the midst of a watch: what is known stays known. */
    fake_apiserver_down(self->api);
    asked = pass_an_hour(self);
    assert_in_range(asked, HOUR_MS / MINUTE_MS, HOURLY_MAX);
    reflect_assert_copy(self, "a1 b2");
    fake_apiserver_up(self->api);
    reflect_list(self, "b2 c3", "3");
    while (!g_hash_table_contains(self->copy, "c"))
        g_main_context_iteration(NULL, TRUE);
    fake_settle();
    reflect_assert_copy(self, "b2 c3");
    printf("# down for an hour: questions=%u\n", asked);
}

/* It goes away at a different moment each time. */
static void
test_a1_flapping(void **state)
{
    ReflectFixture *self = *state;
    guint listed = 0;

    reflect_start(self, &reflect_usual);
    wk_reflector_set_haste(self->reflector, RUSH);
    for (guint i = 0; i < FLAPS; i++) {
        FakeCall *call = NULL;
        g_autofree char *streamed = NULL;

        call = fake_apiserver_wait(self->api, GET_ANYTHING);
        streamed = fake_call_get_param(call, "sendInitialEvents");
        if (i % 4 > 0)
            fake_call_begin(call, 200, NULL);
        if (i % 4 > 1)
            reflect_push(call, "ADDED", "a", "1");
        if (i % 4 > 2 && streamed != NULL)
            reflect_push_end(call, "1");
        listed += i % 4 > 2 && streamed != NULL ? 1 : 0;
        if (i % 3 > 0)
            fake_settle();
        fake_apiserver_down(self->api);
        if (i % 5 > 0)
            fake_settle();
        fake_apiserver_up(self->api);
    }
    while (!g_hash_table_contains(self->copy, "z")) {
        FakeCall *call = fake_apiserver_peek(self->api, GET_ANYTHING);
        g_autofree char *streamed = NULL;

        g_main_context_iteration(NULL, call == NULL);
        if (call == NULL || fake_call_is_gone(call))
            continue;
        streamed = fake_call_get_param(call, "sendInitialEvents");
        if (streamed != NULL)
            (void)reflect_list(self, "z9", "9");
        else /* only what it has missed, or "from the start" */
            fake_call_fail(call, 410, NULL, "Expired", "");
    }
    while (self->listed != NULL)
        g_main_context_iteration(NULL, TRUE);
    reflect_assert_copy(self, "z9");
    assert_true(listed > 0);
}

/* ---- A3: a watch goes wrong ---- */

typedef struct {
    const char *name;
    void (*play)(ReflectFixture *self, FakeCall *watch);
    const char *copy;
} Mishap;

/* The watch's bytes in pieces of one, each for itself on its way. */
static void
play_slow_bytes(ReflectFixture *self G_GNUC_UNUSED, FakeCall *watch)
{
    static const char text[] = "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\","
                               "\"resourceVersion\":\"5\"}}}\n";

    for (const char *p = text; *p != '\0'; p++) {
        fake_call_push(watch, p, 1);
        fake_settle();
    }
}

static void
play_large_object(ReflectFixture *self G_GNUC_UNUSED, FakeCall *watch)
{
    g_autofree char *fill = g_strnfill(OBJECT_BYTES, 'x');

    fake_call_pushf(watch,
                    "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\","
                    "\"resourceVersion\":\"5\"},\"spec\":\"%s\"}}\n",
                    fill);
}

static void
play_error_event(ReflectFixture *self, FakeCall *watch)
{
    reflect_push_error(watch, 500, "InternalError");
    reflect_push(reflect_watch(self, "2"), "MODIFIED", "a", "5");
}

static void
play_gone(ReflectFixture *self, FakeCall *watch)
{
    reflect_push_error(watch, 410, "Expired");
    reflect_list(self, "a5 b2", "6");
}

/* Nothing but the last event to go on from. */
static void
play_no_bookmark(ReflectFixture *self, FakeCall *watch)
{
    reflect_push(watch, "ADDED", "c", "3");
    fake_call_end(watch);
    watch = reflect_watch(self, "3");
    reflect_push(watch, "DELETED", "c", "4");
    reflect_push(watch, "MODIFIED", "a", "5");
}

/* No order is read into versions: it goes on from what came last. */
static void
play_version_going_back(ReflectFixture *self, FakeCall *watch)
{
    reflect_push(watch, "MODIFIED", "b", "9");
    reflect_push(watch, "MODIFIED", "b", "2");
    fake_call_end(watch);
    reflect_push(reflect_watch(self, "2"), "MODIFIED", "a", "5");
}

static void
play_duplicates(ReflectFixture *self, FakeCall *watch)
{
    for (int i = 0; i < 3; i++) {
        reflect_push(watch, "ADDED", "c", "3");
        reflect_push(watch, "ADDED", "c", "3");
        reflect_push(watch, "DELETED", "c", "4");
        reflect_push(watch, "DELETED", "c", "4");
        reflect_push(watch, "MODIFIED", "a", "5");
    }
    fake_call_reset(watch);
    watch = reflect_watch(self, "5");
    reflect_push(watch, "MODIFIED", "a", "5");
}

/* Gone before it came, changed before it was added; the last word on each counts. */
static void
play_reordered(ReflectFixture *self G_GNUC_UNUSED, FakeCall *watch)
{
    reflect_push(watch, "DELETED", "c", "4");
    reflect_push(watch, "MODIFIED", "d", "6");
    reflect_push(watch, "ADDED", "d", "5");
    reflect_push(watch, "DELETED", "d", "7");
    reflect_push(watch, "MODIFIED", "a", "5");
}

static void
play_left_selector(ReflectFixture *self, FakeCall *watch)
{
    reflect_push(watch, "ADDED", "c", "3");
    reflect_push(watch, "DELETED", "c", "4"); /* as it is there, and of another node */
    reflect_push(watch, "MODIFIED", "a", "5");
    (void)self;
}

static void
play_silence(ReflectFixture *self, FakeCall *watch)
{
    fake_call_wait_gone(watch);
    reflect_push(reflect_watch(self, "2"), "MODIFIED", "a", "5");
}

static const Mishap mishaps[] = {
    { "slow bytes", play_slow_bytes, "a5 b2" },
    { "1.5 MB object", play_large_object, "a5 b2" },
    { "ERROR event", play_error_event, "a5 b2" },
    { "410", play_gone, "a5 b2" },
    { "no bookmark", play_no_bookmark, "a5 b2" },
    { "version going back", play_version_going_back, "a5 b2" },
    { "duplicates", play_duplicates, "a5 b2" },
    { "reordered", play_reordered, "a5 b2" },
    { "left the selector", play_left_selector, "a5 b2" },
    { "silent stall", play_silence, "a5 b2" },
};

static gboolean
is_a5(gpointer data)
{
    ReflectFixture *self = data;

    return g_strcmp0(g_hash_table_lookup(self->copy, "a"), "5") == 0 && self->listed == NULL;
}

static void
test_a3(void **state)
{
    ReflectFixture *self = *state;
    WkReflectorOptions options = reflect_usual;

    for (gsize i = 0; i < G_N_ELEMENTS(mishaps); i++) {
        FakeCall *call = NULL;

        if (mishaps[i].play == play_silence)
            options.stall_ms = STALL_MS * REFLECT_HASTE;
        reflect_start(self, &options);
        call = reflect_list(self, "a1 b2", "2");
        reflect_wait_told(self, "relist +a1 +b2 sync");
        mishaps[i].play(self, call);
        fake_wait_until(is_a5, self, mishaps[i].name);
        fake_settle();
        reflect_assert_copy(self, mishaps[i].copy);
        reflect_stop(self);
        fake_settle();
    }
    printf("# A3 mishaps=%zu\n", G_N_ELEMENTS(mishaps));
}

/* Returns: (transfer full): an answer that is left open, in chunks of @size that heed no line. */
static char *
chunked(const char *text, gsize size)
{
    GString *answer = g_string_new("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");

    for (gsize left = strlen(text); left > 0; left -= MIN(size, left)) {
        g_string_append_printf(answer, "%zx\r\n", MIN(size, left));
        g_string_append_len(answer, text + strlen(text) - left, (gssize)MIN(size, left));
        g_string_append(answer, "\r\n");
    }
    return g_string_free(answer, FALSE);
}

/* A streamed list and what follows, in two pieces, cut at each byte, heads of chunks included. */
static void
test_a3_split_everywhere(void **state)
{
    ReflectFixture *self = *state;
    g_autofree char *answer = chunked("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":"
                                      "\"a\",\"resourceVersion\":\"1\"}}}\n"
                                      "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{"
                                      "\"resourceVersion\":\"1\",\"annotations\":"
                                      "{\"k8s.io/initial-events-end\":\"true\"}}}}\n"
                                      "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":"
                                      "\"a\",\"resourceVersion\":\"5\"}}"
                                      "}\n",
                                      100);
    const gsize length = strlen(answer);

    for (gsize i = 1; i < length; i++) {
        FakeCall *call = NULL;

        reflect_start(self, &reflect_usual);
        call = fake_apiserver_wait(self->api, GET_STREAMED);
        fake_call_raw(call, answer, (gssize)i);
        fake_settle();
        fake_call_raw(call, answer + i, -1);
        reflect_wait_told(self, "relist +a1 sync +a5");
        reflect_stop(self);
        fake_call_wait_gone(call);
    }
    printf("# A3 splits=%zu\n", length - 1);
}

/* ---- A4: a server that is behind ---- */

/* After trouble a list may come from another server. It is asked for one that is not older than
 * what was seen; a server that can't has to say so, and then the list is asked from the store
 * itself (no version at all), never from whatever that server has ("0"). */
static void
test_a4_lists_are_bound(void **state)
{
    ReflectFixture *self = *state;

    for (int pages = 0; pages < 2; pages++) {
        const char *question = pages ? GET_PAGE : GET_STREAMED;
        const FakeAnswer no_streaming = { .status = 422, .times = G_MAXUINT };
        FakeCall *call = NULL;

        if (pages)
            fake_apiserver_script(self->api, GET_STREAMED, &no_streaming);
        reflect_start(self, &reflect_usual);
        call = fake_apiserver_wait(self->api, question);
        reflect_assert_param(call, "resourceVersion", NULL);
        fake_call_reset(call);
        call = fake_apiserver_wait(self->api, question);
        reflect_assert_param(call, "resourceVersion", NULL);
        if (pages)
            reflect_page(call, "a1", "1", NULL);
        else
            (void)reflect_list(self, "a1", "1");
        if (pages)
            call = reflect_watch(self, "1");
        reflect_push(call, "MODIFIED", "a", "50");
        fake_call_push(call, "garbage\n", -1);
        call = fake_apiserver_wait(self->api, question);
        reflect_assert_param(call, "resourceVersion", "50");
        reflect_assert_param(call, "resourceVersionMatch", "NotOlderThan");
        reflect_assert_copy(self, "a50");
        fake_call_fail(call, 504, NULL, "Timeout", "Too large resource version: 50, current: 7");
        call = fake_apiserver_wait(self->api, question);
        reflect_assert_param(call, "resourceVersion", NULL);
        reflect_assert_copy(self, "a50");
        reflect_stop(self);
        fake_call_wait_gone(call);
    }
}

/* A watch goes on from the newest that was seen, whichever server it meets. */
static void
test_a4_watch_goes_on(void **state)
{
    ReflectFixture *self = *state;
    FakeCall *call = NULL;

    reflect_start(self, &reflect_usual);
    call = reflect_list(self, "a1", "1");
    reflect_push(call, "MODIFIED", "a", "50");
    reflect_wait_told(self, "relist +a1 sync +a50");
    for (int i = 0; i < 3; i++) {
        fake_call_reset(call);
        call = reflect_watch(self, "50");
        fake_settle();
    }
    reflect_assert_copy(self, "a50");
}

#define UNIT(function) cmocka_unit_test_setup_teardown(function, reflect_setup, reflect_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_a1_down),
        UNIT(test_a1_flapping),
        UNIT(test_a3),
        UNIT(test_a3_split_everywhere),
        UNIT(test_a4_lists_are_bound),
        UNIT(test_a4_watch_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
