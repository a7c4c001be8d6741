/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "reporter-fixture.h"

/* --- the main road ---------------------------------------------------------------------------- */

/* Three writes, and no fourth whatever the watch tells late. */
static void
test_transition(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDING, NULL, TRUE);
    want(f, SUSPENDED, SUSPEND, TRUE); /* the work does not wait for the answer */
    assert_int_equal(count_writes(), 1);
    assert_non_null(strstr(double_get(STATUS, 0)->body, "Suspending"));
    serve(f, STATUS);
    assert_int_equal(count_writes(), 2);
    serve(f, STATUS);
    assert_int_equal(count_writes(), 3);
    assert_string_equal(f->told->str, "");
    serve(f, META);
    assert_string_equal(f->told->str, "removed:u1:suspend ");
    for (guint i = 0; i < f->wukong->versions->len; i++)
        see(f, (int)i);
    double_idle(100); /* 10 s: beyond every wait */
    assert_int_equal(count_writes(), 3);
    assert_int_equal(wk_reporter_count_pending(f->reporter), 0);
    assert_string_equal(f->wukong->mirror, SUSPENDED);
    assert_null(f->wukong->action);
}

/* Done, and at once on its way again by somebody else's doing, perhaps for long: what was done is
 * taken out of the spec all the same. */
static void
test_done_and_on_its_way(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDED, SUSPEND, TRUE);
    want(f, SUSPENDING, SUSPEND, TRUE);
    serve(f, STATUS);
    serve(f, STATUS);
    serve(f, META);
    assert_null(f->wukong->action);
    assert_string_equal(f->told->str, "removed:u1:suspend ");
    double_idle(100);
    assert_int_equal(count_writes(), 3);
    assert_int_equal(wk_reporter_count_pending(f->reporter), 0);
}

static void
test_already_shown(void **state)
{
    Fixture *f = *state;

    f->wukong->state = g_strdup(SUSPENDED);
    f->wukong->mirror = g_strdup(SUSPENDED);
    f->wukong->conditions =
        g_strdup("[{\"type\":\"Suspended\",\"status\":\"True\",\"reason\":\"Reason\","
                 "\"message\":\"m\",\"lastTransitionTime\":\"2026-11-22T20:00:00Z\"}]");
    store_wukong_commit(f->wukong);
    want(f, SUSPENDED, NULL, TRUE); /* before the watch has told anything */
    assert_int_equal(wk_reporter_count_pending(f->reporter), 1);
    see(f, -1);
    double_idle(50);
    assert_int_equal(count_writes(), 0);
    assert_int_equal(wk_reporter_count_pending(f->reporter), 0);
}

static void
test_progress_is_paced(void **state)
{
    Fixture *f = *state;
    gint64 start_us;
    guint n = 0;

    see(f, -1);
    want(f, SUSPENDING, NULL, TRUE);
    serve(f, STATUS);
    assert_int_equal(count_writes(), 1); /* and no annotation */
    start_us = g_get_monotonic_time();
    while (g_get_monotonic_time() - start_us < 200 * 1000) {
        g_autofree char *text =
            g_strdup_printf("{\"progressPercent\":%u,\"state\":\"Suspending\"}", n++ % 100);

        want(f, text, NULL, FALSE);
        double_idle(2);
        if (double_count_waiting(STATUS) > 0)
            serve(f, STATUS);
    }
    assert_in_range(count_writes(), 2, 12); /* 20 s, once in 2 s */
    assert_int_equal(double_count(META), 0);
    want(f, SUSPENDED, NULL, TRUE); /* at once */
    assert_int_equal(double_count_waiting(STATUS), 1);
}

/* The connection is cut: was it done? The same again; when the watch says so first, not even that.
 */
static void
test_unknown_outcome(void **state)
{
    Fixture *f = *state;
    DoubleCall *call;

    make_suspended(f);
    want(f, RUNNING, NULL, TRUE);
    double_fail(double_wait(STATUS), WK_ERROR_UNAVAILABLE, NULL, "connection cut");
    call = double_wait(STATUS);
    assert_true(store_wukong_patch(f->wukong, TRUE, call->body));
    double_fail(call, WK_ERROR_UNAVAILABLE, NULL, "connection cut");
    see(f, -1);
    serve(f, META);
    assert_int_equal(count_writes(), 5);
    assert_string_equal(f->wukong->mirror, RUNNING);
    double_idle(50);
    assert_int_equal(count_writes(), 5);
}

static void
test_mark(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    wk_reporter_want(f->reporter, "ns1", "vm-1", make_status("u1", SUSPENDED), NULL, 1, TRUE);
    serve(f, STATUS);
    serve(f, META);
    assert_true(f->wukong->marked);
    wk_reporter_want(f->reporter, "ns1", "vm-1", make_status("u1", SUSPENDED), NULL, 0, TRUE);
    serve(f, META);
    assert_false(f->wukong->marked);
    assert_int_equal(count_writes(), 3);
}

/* --- echoes ----------------------------------------------------------------------------------- */

/*
 * Versions: 0 made, 1 and 2 ours (status, annotation), then the row's steps:
 *   w  we want Running, and the server has done it (version 3) but not answered yet
 *   a  it answers; then comes the annotation: done and answered as well (version 4)
 *   d  somebody drops our fields (a version more)
 *   u  somebody changes what is not ours (a version more; its content of ours as it is)
 *   0..9 the watch tells of that version    . 5 s pass
 */
static void
test_echoes(void **state)
{
    static const struct {
        const char *steps;
        guint writes; /* beyond the two of "wa" */
        const char *why;
    } rows[] = {
        { "wa34", 0, "in order" },
        { "w3a4", 0, "the echo ahead of the answer" },
        { "w23a4", 0, "an older one and the echo ahead of it" },
        { "w2a34", 0, "an older one ahead, the echo behind" },
        { "wa0234", 0, "older ones behind the answer" },
        { "wa2222234", 0, "the same older one many times" },
        { "wa34343", 1, "back and forth, as no watch tells it: once for the annotation" },
        { "wa4", 0, "the first echo is left out" },
        { "wa.34", 0, "the watch is late" },
        { "wa2.34", 1, "later than we wait: one needless write, no more" },
        { "wad34", 0, "dropped, not told yet" },
        { "wad345", 1, "dropped after the echo" },
        { "wad5", 0, "dropped, without the echo: waits" },
        { "wad5.", 1, "dropped, without the echo: after a while" },
        { "wad5345", 1, "that again, in disorder" },
    };
    Fixture *f;

    speed = SPEED_OF_ECHOES;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        guint writes;

        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
        f = *state;
        make_suspended(f);
        for (const char *p = rows[i].steps; *p != '\0'; p++) {
            if (*p == 'w') {
                want(f, RUNNING, NULL, TRUE);
                assert_true(store_wukong_patch(f->wukong, TRUE, double_wait(STATUS)->body));
            } else if (*p == 'a') {
                double_answer(double_wait(STATUS), store_wukong_get(f->wukong));
                serve(f, META);
            } else if (*p == 'd') {
                drop_fields(f);
            } else if (*p == '.') {
                double_idle(600);
            } else {
                see(f, *p - '0');
            }
            double_settle();
        }
        writes = count_writes() - 4;
        if (writes != rows[i].writes)
            fail_msg("%s (%s): %u writes, not %u", rows[i].steps, rows[i].why, writes,
                     rows[i].writes);
    }
    speed = SPEED;
}

/* Somebody drops our fields whenever they are written: 5 times at once, then once in 10 s. */
static void
test_dropped(void **state)
{
    Fixture *f = *state;
    gint64 start_us;

    make_suspended(f);
    start_us = g_get_monotonic_time();
    drop_fields(f);
    see(f, -1);
    for (guint i = 0; i < 5; i++) {
        serve(f, STATUS);
        see(f, -1);
        drop_fields(f);
        see(f, -1);
    }
    assert_int_equal(count_writes(), 2 + 5);
    assert_int_equal(double_count_waiting(WUKONGS), 0);
    for (guint i = 0; i < 3; i++) {
        serve(f, STATUS);
        see(f, -1);
        drop_fields(f);
        see(f, -1);
    }
    assert_true(g_get_monotonic_time() - start_us >= 3 * 99 * 1000);
    /* A change of state does not wait for that. */
    want(f, RUNNING, NULL, TRUE);
    assert_int_equal(double_count_waiting(STATUS), 1);
    serve(f, STATUS);
    serve(f, META);
    /* A minute of peace, and the row is forgotten. */
    see(f, -1);
    double_idle(620);
    drop_fields(f);
    see(f, -1);
    assert_int_equal(double_count_waiting(STATUS), 1);
}

static void
test_mirror_dropped(void **state)
{
    Fixture *f = *state;

    make_suspended(f);
    g_clear_pointer(&f->wukong->mirror, g_free);
    store_wukong_commit(f->wukong);
    see(f, -1);
    serve(f, META);
    assert_int_equal(count_writes(), 3);
    assert_string_equal(f->wukong->mirror, SUSPENDED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_transition),      TEST(test_done_and_on_its_way),
        TEST(test_already_shown),   TEST(test_progress_is_paced),
        TEST(test_unknown_outcome), TEST(test_mark),
        TEST(test_echoes),          TEST(test_dropped),
        TEST(test_mirror_dropped),
    };

    return cmocka_run_group_tests_name("kube-reporter", tests, NULL, NULL);
}
