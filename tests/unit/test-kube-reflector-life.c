/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-reflector-fixture.h"

#include <stdio.h>

/* A reflector is freed in every phase and in every callback: no callback after it, nothing left of
 * its questions, and the next one of the same client is as good as ever. Worth most with
 * --enable-sanitizers. */

static const FakeAnswer no_streaming = { .status = 422, .times = G_MAXUINT };

/* The client still works, and knows nothing of before. */
static void
check_next(ReflectFixture *self)
{
    fake_settle();
    assert_null(self->reflector);
    assert_string_equal(self->told->str, "");
    assert_null(fake_apiserver_peek(self->api, ""));
    fake_apiserver_clear_scripts(self->api);
    reflect_start(self, &reflect_usual);
    reflect_list(self, "a1", "1");
    reflect_wait_told(self, "relist +a1 sync");
    reflect_stop(self);
    fake_settle();
}

/* ---- phases ---- */

typedef void (*Bring)(ReflectFixture *self);

static void
bring_nowhere(ReflectFixture *self)
{
    reflect_start(self, &reflect_usual);
}

static void
bring_streamed_question(ReflectFixture *self)
{
    reflect_start(self, &reflect_usual);
    fake_apiserver_wait(self->api, GET_STREAMED);
}

static void
bring_streamed_head(ReflectFixture *self)
{
    bring_streamed_question(self);
    fake_call_begin(fake_apiserver_wait(self->api, GET_STREAMED), 200, NULL);
    fake_settle();
}

static void
bring_streamed_half(ReflectFixture *self)
{
    FakeCall *call = NULL;

    bring_streamed_question(self);
    call = fake_apiserver_wait(self->api, GET_STREAMED);
    fake_call_begin(call, 200, NULL);
    reflect_push(call, "ADDED", "a", "1");
    fake_call_push(call, "{\"type\":\"ADD", -1);
    reflect_wait_told(self, "relist +a1");
}

static void
bring_watch(ReflectFixture *self)
{
    reflect_start(self, &reflect_usual);
    reflect_list(self, "a1", "1");
    reflect_wait_told(self, "relist +a1 sync");
}

/* The end has come, and is not told yet. */
static void
bring_owed_end(ReflectFixture *self)
{
    FakeCall *call = NULL;

    reflect_start(self, &reflect_usual);
    call = reflect_list(self, "", "1");
    reflect_wait_told(self, "relist sync");
    fake_call_end(call);
    while (!fake_call_is_gone(call) && g_main_context_iteration(NULL, FALSE))
        continue;
}

static void
bring_backoff(ReflectFixture *self)
{
    fake_apiserver_down(self->api);
    reflect_start(self, &reflect_usual);
    wk_reflector_set_haste(self->reflector, 1);
    reflect_wait_told(self, "relist !Unreachable");
    fake_apiserver_up(self->api);
}

static void
bring_page(ReflectFixture *self)
{
    fake_apiserver_script(self->api, GET_STREAMED, &no_streaming);
    reflect_start(self, &reflect_usual);
    fake_apiserver_wait(self->api, GET_PAGE);
}

static void
bring_owed_page(ReflectFixture *self)
{
    bring_page(self);
    reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "a1", "1", NULL);
}

static void
bring_second_page(ReflectFixture *self)
{
    bring_page(self);
    reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "a1", "1", "more");
    fake_apiserver_wait(self->api, GET_PAGE);
}

static void
bring_watch_question(ReflectFixture *self)
{
    bring_page(self);
    reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "a1", "1", NULL);
    fake_apiserver_wait(self->api, GET_WATCH);
}

static const Bring brings[] = {
    bring_nowhere,   bring_streamed_question, bring_streamed_head,  bring_streamed_half,
    bring_watch,     bring_owed_end,          bring_backoff,        bring_page,
    bring_owed_page, bring_second_page,       bring_watch_question,
};

static void
test_free_in_phases(void **state)
{
    ReflectFixture *self = *state;

    for (gsize i = 0; i < G_N_ELEMENTS(brings); i++) {
        brings[i](self);
        reflect_stop(self);
        check_next(self);
    }
    printf("# phases=%zu\n", G_N_ELEMENTS(brings));
}

/* Between any two turns of the main loop, the server being quick. */
static void
test_free_after_turns(void **state)
{
    ReflectFixture *self = *state;
    guint turns = 0;

    for (gboolean done = FALSE; !done; turns++) {
        g_autofree char *list = g_strdup(
            "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[{\"metadata\":{\"name\":\"a\","
            "\"resourceVersion\":\"1\"}}]}");
        const FakeAnswer page = { .body = list };

        fake_apiserver_script(self->api, GET_STREAMED, &no_streaming);
        fake_apiserver_script(self->api, GET_PAGE, &page);
        reflect_start(self, &reflect_usual);
        for (guint i = 0; i < turns; i++)
            g_main_context_iteration(NULL, FALSE);
        done = fake_apiserver_peek(self->api, GET_WATCH) != NULL;
        reflect_stop(self);
        check_next(self);
        assert_true(turns < 10000);
    }
    printf("# turns=%u\n", turns);
}

/* The client may go first; the reflector is not freed in its callbacks then. */
static void
test_client_goes_first(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(brings); i++) {
        void *own = NULL;
        ReflectFixture *self = NULL;

        reflect_setup(&own);
        self = own;
        brings[i](self);
        g_clear_pointer(&self->kube, wk_kube_free);
        reflect_stop(self);
        fake_settle();
        assert_string_equal(self->told->str, "");
        reflect_teardown(&own);
    }
    wk_reflector_free(NULL);
}

/* ---- callbacks ---- */

static void
on_call(FakeCall *call, gpointer data)
{
    const gboolean pages = GPOINTER_TO_INT(data);

    if (strstr(fake_call_get_path(call), "resourceVersion=1&") != NULL
        || (!pages && strstr(fake_call_get_path(call), "sendInitialEvents") != NULL)) {
        fake_call_begin(call, 200, NULL);
        reflect_push(call, "ADDED", "a", "1");
        if (!pages)
            reflect_push_end(call, "1");
        reflect_push(call, "DELETED", "b", "2");
        reflect_push_error(call, 500, "InternalError");
    } else if (strstr(fake_call_get_path(call), "limit=") != NULL) {
        reflect_page(call, "a1 b1", "1", NULL);
    } else if (strstr(fake_call_get_path(call), "resourceVersion=2&") != NULL) {
        fake_call_begin(call, 200, NULL);
        reflect_push(call, "BOOKMARK", "", "2");
    } else {
        fake_call_fail(call, 422, NULL, "Invalid", "");
    }
}

static gboolean
is_freed(gpointer data)
{
    return ((ReflectFixture *)data)->reflector == NULL;
}

static void
test_free_in_callbacks(void **state)
{
    ReflectFixture *self = *state;
    static const char *const words[] = { "relist", "+a", "sync", "-b2", "!WatchError", "well" };

    for (int pages = 0; pages < 2; pages++) {
        for (gsize i = 0; i < G_N_ELEMENTS(words); i++) {
            const char *last = NULL;

            fake_apiserver_set_handler(self->api, on_call, GINT_TO_POINTER(pages));
            self->free_in = words[i];
            reflect_start(self, &reflect_usual);
            fake_wait_until(is_freed, self, words[i]);
            last = strrchr(self->told->str, ' ');
            assert_true(g_str_has_prefix(last != NULL ? last + 1 : self->told->str, words[i]));
            reflect_stop(self);
            fake_settle();
            fake_apiserver_set_handler(self->api, NULL, NULL);
            check_next(self);
        }
    }
}

/* "well" of a page, which the page itself is told after. */
static void
test_free_in_well_of_a_page(void **state)
{
    ReflectFixture *self = *state;
    const FakeAnswer no = { .status = 500 };

    fake_apiserver_script(self->api, GET_STREAMED, &no_streaming);
    fake_apiserver_script(self->api, GET_PAGE, &no);
    self->free_in = "well";
    reflect_start(self, &reflect_usual);
    reflect_page(fake_apiserver_wait(self->api, GET_PAGE), "a1", "1", NULL);
    fake_wait_until(is_freed, self, "well");
    assert_string_equal(self->told->str, "relist relist !InternalError relist well");
    reflect_stop(self);
    check_next(self);
}

#define UNIT(function) cmocka_unit_test_setup_teardown(function, reflect_setup, reflect_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(test_free_in_phases),
        UNIT(test_free_after_turns),
        UNIT(test_free_in_callbacks),
        UNIT(test_free_in_well_of_a_page),
        cmocka_unit_test(test_client_goes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
