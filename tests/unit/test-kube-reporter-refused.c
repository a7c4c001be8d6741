/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "reporter-fixture.h"

/* --- refusals --------------------------------------------------------------------------------- */

/* The action became another one while ours was under way: it must stay. */
static void
test_other_action(void **state)
{
    static const gboolean seen_first[] = { TRUE, FALSE };
    Fixture *f = *state;

    for (gsize i = 0; i < G_N_ELEMENTS(seen_first); i++) {
        if (i > 0) {
            assert_int_equal(teardown(state), 0);
            assert_int_equal(setup(state), 0);
            f = *state;
        }
        see(f, -1);
        want(f, SUSPENDED, SUSPEND, TRUE);
        serve(f, STATUS);
        set_action(f, RESUME);
        if (seen_first[i])
            see(f, -1);
        serve(f, META); /* the test does not hold */
        if (!seen_first[i]) {
            assert_string_equal(f->told->str, "");
            double_idle(30); /* not again on its own */
            assert_int_equal(count_writes(), 2);
            see(f, 1); /* an old one, so it is tried again */
            see(f, -1);
            serve(f, META);
        }
        serve(f, META);
        assert_string_equal(f->told->str, "removed:u1:suspend ");
        assert_string_equal(f->wukong->action, RESUME);
        assert_string_equal(f->wukong->mirror, SUSPENDED);
        assert_in_range(count_writes(), 3, 4);
    }
}

static void
test_removed_by_others(void **state)
{
    Fixture *f = *state;

    set_action(f, NULL);
    see(f, -1);
    want(f, SUSPENDED, SUSPEND, TRUE);
    assert_string_equal(f->told->str, ""); /* not from inside a call */
    double_settle();
    assert_string_equal(f->told->str, "removed:u1:suspend ");
    serve(f, STATUS);
    serve(f, META);
    assert_null(strstr(double_get(META, 0)->body, "lifecycleAction"));
}

/* How a status write can end, what is told, and what brings the next try. */
static void
test_endings(void **state)
{
    static const struct {
        int code;
        const char *reason;
        const char *message;
        const char *told;
        gboolean again_alone; /* without anything new, in 10 s */
        gboolean again_by_saw;
        gboolean again_by_want;
    } rows[] = {
        { WK_ERROR_UNAVAILABLE, NULL, "no connection", "", TRUE, FALSE, FALSE },
        { WK_ERROR_DENIED, "Unauthorized", "who are you", "", TRUE, FALSE, FALSE },
        { WK_ERROR_DENIED, "Forbidden", "cannot patch", "", TRUE, FALSE, FALSE },
        { WK_ERROR_NOT_FOUND, "NotFound", "no such wukong", "", FALSE, TRUE, FALSE },
        { WK_ERROR_INVALID, "Invalid", "bad", "WriteRefused ", FALSE, FALSE, TRUE },
        { WK_ERROR_CONFLICT, "Conflict",
          "Apply failed with 1 conflict: conflict with \"kubectl\": .status.lifecycleState.state",
          "FieldConflict ", FALSE, TRUE, FALSE },
        { WK_ERROR_CONFLICT, "Conflict",
          "Apply failed with 1 conflict: conflict with \"x\": "
          ".status.conditions[type=\"Suspended\"].status",
          "FieldConflict ", FALSE, TRUE, FALSE },
        { WK_ERROR_CONFLICT, "Conflict",
          "Apply failed with 1 conflict: conflict with \"operator\": .status.conditions",
          "ConditionsLeftOut ", TRUE, FALSE, FALSE },
        { WK_ERROR_INVALID, "Invalid", "status.conditions[0].observedGeneration: Required value",
          "ConditionsLeftOut ", TRUE, FALSE, FALSE },
        { WK_ERROR_CONFLICT, "Conflict", "please try again", "", TRUE, FALSE, FALSE },
        { WK_ERROR_CONFLICT, "Conflict",
          "Precondition failed: UID in precondition: u1, UID in object meta: u2",
          "WukongReplaced -WukongReplaced ", FALSE, FALSE, FALSE },
        { WK_ERROR_FAILED, NULL, "no JSON", "", TRUE, FALSE, FALSE },
    };
    Fixture *f = *state;

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        gboolean again;

        if (i > 0) {
            assert_int_equal(teardown(state), 0);
            assert_int_equal(setup(state), 0);
            f = *state;
        }
        see(f, -1);
        want(f, SUSPENDED, NULL, TRUE);
        double_fail(double_wait(STATUS), rows[i].code, rows[i].reason, rows[i].message);
        double_idle(100);
        again = count_writes() > 1;
        if (again != rows[i].again_alone || !g_str_equal(f->told->str, rows[i].told))
            fail_msg("row %d: again %d, told '%s'", (int)i, again, f->told->str);
        if (again) {
            serve(f, STATUS);
            continue;
        }
        see(f, -1);
        double_idle(30);
        if ((count_writes() > 1) != rows[i].again_by_saw)
            fail_msg("row %d: %u writes after another look", (int)i, count_writes());
        if (rows[i].again_by_saw || strstr(rows[i].told, "Replaced") != NULL)
            continue;
        want(f, RUNNING, NULL, TRUE);
        double_idle(30);
        if ((count_writes() > 1) != rows[i].again_by_want)
            fail_msg("row %d: %u writes after another want", (int)i, count_writes());
    }
}

/* A server that has just started knows no roles yet; one that says so for a while means it. */
static void
test_denied(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDED, NULL, TRUE);
    for (guint i = 0; i < 5; i++) {
        assert_string_equal(f->told->str, "");
        double_fail(double_wait(STATUS), WK_ERROR_DENIED, "Forbidden", "cannot patch");
    }
    double_settle();
    assert_string_equal(f->told->str, "Forbidden ");
    double_idle(100);
    assert_int_equal(count_writes(), 5);
}

/* The operator writes while we do: the next look, and on. Twice, once seen before the answer. */
static void
test_modified(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDED, NULL, TRUE);
    set_action(f, RESUME);
    serve(f, STATUS); /* refused */
    double_settle();
    assert_int_equal(count_writes(), 1);
    see(f, 0);
    assert_int_equal(double_count_waiting(STATUS), 0);
    see(f, 1);
    assert_int_equal(double_count_waiting(STATUS), 1);
    set_action(f, SUSPEND);
    see(f, 2);
    serve(f, STATUS); /* refused */
    serve(f, STATUS);
    serve(f, META);
    assert_int_equal(count_writes(), 4);
    assert_string_equal(f->told->str, "");
}

/* However long the server was away: a conflict with a version that is known by now is answered at
 * once, not behind the backoff that the outage has grown. */
static void
test_modified_in_outage(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDED, NULL, TRUE);
    for (guint i = 0; i < 8; i++)
        double_fail(double_wait(STATUS), WK_ERROR_UNAVAILABLE, NULL, "no connection");
    set_action(f, RESUME);
    serve(f, STATUS); /* refused */
    see(f, -1);
    assert_int_equal(double_count_waiting(STATUS), 1);
    serve(f, STATUS);
}

static void
test_conflict_is_over(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDED, NULL, TRUE);
    double_fail(double_wait(STATUS), WK_ERROR_CONFLICT, "Conflict", "conflict with \"x\": .s");
    see(f, -1);
    serve(f, STATUS);
    assert_string_equal(f->told->str, "FieldConflict -FieldConflict ");
}

/* Without conditions from then on, for every Wukong, said once. */
static void
test_conditions_left_out(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDED, NULL, TRUE);
    assert_non_null(strstr(double_wait(STATUS)->body, "conditions"));
    double_fail(double_wait(STATUS), WK_ERROR_CONFLICT, "Conflict",
                "conflict with \"operator\": .status.conditions");
    assert_null(strstr(double_wait(STATUS)->body, "conditions"));
    serve(f, STATUS);
    serve(f, META);
    see(f, -1);
    double_idle(20);
    assert_int_equal(count_writes(), 3);
    assert_string_equal(f->told->str, "ConditionsLeftOut ");
}

/* The server drops what it does not know: said once, not tried again, the annotation has it. */
static void
test_pruned(void **state)
{
    Fixture *f = *state;

    f->wukong->pruned = TRUE;
    see(f, -1);
    want(f, SUSPENDING, NULL, TRUE);
    serve(f, STATUS);
    for (guint i = 0; i < 5; i++) {
        g_autofree char *text =
            g_strdup_printf("{\"progressPercent\":%u,\"state\":\"Suspending\"}", i);

        want(f, text, NULL, FALSE);
        double_idle(25);
    }
    assert_int_equal(count_writes(), 1);
    want(f, SUSPENDED, SUSPEND, TRUE);
    serve(f, STATUS);
    serve(f, META);
    for (guint i = 0; i < f->wukong->versions->len; i++)
        see(f, (int)i);
    double_idle(100);
    see(f, -1);
    double_idle(100);
    assert_int_equal(count_writes(), 3);
    assert_string_equal(f->told->str, "FieldsPruned removed:u1:suspend ");
    assert_string_equal(f->wukong->mirror, SUSPENDED);
    /* The kind was brought up to date. */
    f->wukong->pruned = FALSE;
    want(f, RUNNING, NULL, TRUE);
    serve(f, STATUS);
    assert_string_equal(f->told->str, "FieldsPruned removed:u1:suspend -FieldsPruned ");
}

/* --- forgetting ------------------------------------------------------------------------------- */

static void
test_forget(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDING, NULL, TRUE);
    wk_reporter_forget(f->reporter, "u1");
    assert_int_equal(wk_reporter_count_pending(f->reporter), 0);
    serve(f, STATUS);
    assert_int_equal(g_hash_table_size(f->reporter->subjects), 0);
    /* And back again while the old write is still under way: one at a time all the same. */
    see(f, -1);
    want(f, RUNNING, NULL, TRUE);
    wk_reporter_forget(f->reporter, "u1");
    see(f, -1);
    want(f, SUSPENDED, NULL, TRUE);
    assert_int_equal(double_count_waiting(WUKONGS), 1);
    serve(f, STATUS);
    serve(f, STATUS);
    serve(f, META);
    assert_string_equal(f->wukong->state, SUSPENDED);
}

static void
test_freed_in_flight(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDING, NULL, TRUE);
    (void)double_wait(STATUS);
}

/* --- outages ---------------------------------------------------------------------------------- */

static gboolean is_server_up;
static guint most_waiting;

static void
on_call(DoubleCall *call, gpointer data)
{
    Fixture *f = data;

    most_waiting = MAX(most_waiting, double_count_waiting(WUKONGS));
    if (strstr(call->line, "wukongs/") == NULL) {
        double_fail(call, WK_ERROR_UNAVAILABLE, NULL, "not asked about");
        return;
    }
    if (!is_server_up) {
        double_fail(call, WK_ERROR_UNAVAILABLE, NULL, "no connection");
        return;
    }
    for (guint i = 0; i < f->many->len; i++) {
        StoreWukong *wukong = g_ptr_array_index(f->many, i);
        g_autofree char *fragment =
            g_strdup_printf("/%s%s", wukong->name, strstr(call->line, STATUS) != NULL ? "/" : "?");

        if (strstr(call->line, fragment) != NULL)
            serve_of(wukong, call);
    }
}

static gboolean
is_idle(gpointer data)
{
    return wk_reporter_count_pending(((Fixture *)data)->reporter) == 0;
}

static void
want_many(Fixture *f, const char *text)
{
    for (guint i = 0; i < f->many->len; i++) {
        StoreWukong *wukong = g_ptr_array_index(f->many, i);

        wk_reporter_want(f->reporter, "ns1", wukong->name, make_status(wukong->uid, text), NULL, -1,
                         TRUE);
    }
}

/* A thousand in an outage: few requests, one at a time; afterwards two each, the newest state. */
static void
test_thousand(void **state)
{
    Fixture *f = *state;
    guint during;

    is_server_up = FALSE;
    most_waiting = 0;
    double_set_handler(on_call, f);
    for (guint i = 0; i < 1000; i++) {
        g_autofree char *name = g_strdup_printf("vm-%u", i);
        g_autofree char *uid = g_strdup_printf("u%u", i);
        StoreWukong *wukong = store_wukong_new(name, uid, NULL);
        g_autoptr(WkWukong) seen = store_wukong_see(wukong, 0);

        g_ptr_array_add(f->many, wukong);
        wk_reporter_saw(f->reporter, seen);
    }
    want_many(f, SUSPENDING);
    double_idle(100);
    most_waiting = 0;
    want_many(f, RUNNING);
    want_many(f, SUSPENDED);
    double_idle(400);
    during = count_writes();
    assert_in_range(during, 9, 22); /* 8 before it was known, then after 8, 16, 32, ... ms */
    assert_in_range(most_waiting, 0, 1);
    assert_int_equal(wk_reporter_count_pending(f->reporter), 1000);
    is_server_up = TRUE;
    wk_reporter_hurry(f->reporter);
    double_wait_until(is_idle, f, "all of them");
    assert_int_equal(count_writes() - during, 2000);
    for (guint i = 0; i < 1000; i++)
        assert_string_equal(((StoreWukong *)g_ptr_array_index(f->many, i))->mirror, SUSPENDED);
}

static void
test_hurry(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDED, NULL, TRUE);
    for (guint i = 0; i < 6; i++) {
        double_fail(double_wait(STATUS), WK_ERROR_UNAVAILABLE, NULL, "no connection");
        double_settle();
        assert_int_equal(double_count_waiting(STATUS), 0);
        wk_reporter_hurry(f->reporter);
        double_settle();
        assert_int_equal(double_count_waiting(STATUS), 1);
    }
}

/* --- before the end --------------------------------------------------------------------------- */

static void
on_drained(gpointer data)
{
    ((Fixture *)data)->drained = TRUE;
}

static gboolean
is_drained(gpointer data)
{
    return ((Fixture *)data)->drained;
}

static void
test_drain_idle(void **state)
{
    Fixture *f = *state;

    double_settle();
    wk_reporter_drain(f->reporter, 100000, on_drained, f);
    assert_false(f->drained);
    double_settle();
    assert_true(f->drained);
}

/* What is urgent goes out, to its end. */
static void
test_drain_urgent(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDING, NULL, TRUE);
    double_settle();
    want(f, SUSPENDED, SUSPEND, TRUE);
    wk_reporter_drain(f->reporter, 100000, on_drained, f);
    serve(f, STATUS);
    assert_false(f->drained);
    serve(f, STATUS);
    assert_false(f->drained);
    serve(f, META);
    double_wait_until(is_drained, f, "the drain");
    assert_string_equal(f->told->str, "removed:u1:suspend ");
}

/* One try, whatever the backoff says, is enough to know that nobody is there. */
static void
test_drain_outage(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDED, NULL, TRUE);
    double_settle();
    double_fail(double_wait(STATUS), WK_ERROR_UNAVAILABLE, NULL, "no connection");
    double_settle();
    wk_reporter_drain(f->reporter, 100000, on_drained, f);
    double_settle();
    assert_false(f->drained);
    double_fail(double_wait(STATUS), WK_ERROR_UNAVAILABLE, NULL, "no connection");
    double_settle();
    assert_true(f->drained);
    assert_int_equal(count_writes(), 2);
}

static void
test_drain_patience(void **state)
{
    Fixture *f = *state;

    see(f, -1);
    want(f, SUSPENDED, NULL, TRUE);
    wk_reporter_drain(f->reporter, 2000, on_drained, f);
    double_wait_until(is_drained, f, "the end of patience");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_other_action),
        TEST(test_removed_by_others),
        TEST(test_endings),
        TEST(test_denied),
        TEST(test_conflict_is_over),
        TEST(test_modified),
        TEST(test_modified_in_outage),
        TEST(test_conditions_left_out),
        TEST(test_pruned),
        TEST(test_forget),
        TEST(test_freed_in_flight),
        TEST(test_thousand),
        TEST(test_hurry),
        TEST(test_drain_idle),
        TEST(test_drain_urgent),
        TEST(test_drain_outage),
        TEST(test_drain_patience),
    };

    return cmocka_run_group_tests_name("kube-reporter-refused", tests, NULL, NULL);
}
