/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the failpoints: each scenario with the agent killed, and with an error, at each step.
 * The environment: WK_WALK_FULL=1 the whole matrix; WK_WALK_ONLY=SCENARIO[/STEP:N[/FAULT]] one;
 * WK_WALK_VERBOSE=1 tells each case; WK_WALK_LOGS=FOLDER keeps the agent's log of each bad one.
 */
#include "walk.h"

#include "base/steps.h"
#include "model/recovery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define DEATH_MS 1000
#define TRIES    3 /* of a case that depends on a moment and missed it */

static const char *const fault_actions[] = { NULL, "kill", "error:EIO", "error:ENOSPC" };

static Walk walk;
static GHashTable *walked; /* step -> times that a fault was put there */
static GHashTable *failed; /* steps at which an error was put */
static GHashTable *rows;
static guint n_faults;
static guint verdicts[WALK_VERDICTS];

static gboolean
wanted(const char *scenario, const char *step, const char *fault)
{
    const char *only = g_getenv("WK_WALK_ONLY");
    g_auto(GStrv) parts = g_strsplit(only != NULL ? only : "", "/", 3);
    const guint n = g_strv_length(parts);

    return (n < 1 || g_str_equal(parts[0], scenario))
           && (n < 2 || step == NULL || g_str_equal(parts[1], step))
           && (n < 3 || fault == NULL || g_str_equal(parts[2], fault));
}

static gboolean
passed(const char *step)
{
    g_autoptr(GPtrArray) trace = walk_trace(&walk);

    return g_ptr_array_find_with_equal_func(trace, step, g_str_equal, NULL);
}

static void
count(const WalkScenario *scenario, const char *what, WalkVerdict verdict, const GError *error)
{
    verdicts[verdict]++;
    if (verdict == WALK_GOOD)
        return;
    walk.fresh_needed = TRUE;
    print_message("walk: %s, %s: %s: %s\n", scenario->name, what, walk_verdict_name(verdict),
                  error != NULL ? error->message : "");
    walk_keep_log(&walk, scenario->name, what);
}

static void
note_walked(const char *step)
{
    g_autofree char *name = g_strndup(step, strcspn(step, ":"));
    const guint n = GPOINTER_TO_UINT(g_hash_table_lookup(walked, name));

    g_hash_table_replace(walked, g_steal_pointer(&name), GUINT_TO_POINTER(n + 1));
}

static gboolean
is_dead(gpointer data G_GNUC_UNUSED)
{
    return !walk_agent_is_alive();
}

/* Returns: FALSE when the fault was not met. */
static gboolean
run_case(const WalkScenario *scenario, const char *step, WalkFault fault)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *failpoints =
        g_strdup_printf("%s%s%s=%s", scenario->arm != NULL ? scenario->arm : "",
                        scenario->arm != NULL ? "," : "", step, fault_actions[fault]);
    g_autofree char *what = g_strdup_printf("%s=%s", step, fault_actions[fault]);
    const gint64 began = g_get_monotonic_time();
    WalkVerdict verdict = WALK_BROKEN;
    gboolean met;

    if (!walk_run(&walk, scenario, failpoints, &error)) {
        count(scenario, what, WALK_BROKEN, error);
        return TRUE;
    }
    if (fault == WALK_KILL)
        (void)lab_wait("the agent's death", DEATH_MS, is_dead, NULL, NULL);
    met = passed(step) && (fault != WALK_KILL || !walk_agent_is_alive());
    if (met) {
        note_walked(step);
        n_faults++;
    }
    if (walk_agent_is_alive() || walk_agent_start(&walk, NULL, &error))
        verdict = walk_judge(&walk, scenario->fault_ends, &error);
    count(scenario, what, verdict, error);
    walk_note_rows(&walk, rows);
    if (g_getenv("WK_WALK_VERBOSE") != NULL)
        print_message("walk: %s %s %s %d ms\n", scenario->name, what, met ? "met" : "missed",
                      (int)((g_get_monotonic_time() - began) / 1000));
    return met;
}

/* A step that the scenario itself has taken is not free for a fault. */
static gboolean
is_walked_here(const WalkScenario *scenario, const char *step)
{
    g_autofree char *name = g_strndup(step, strcspn(step, ":"));
    gboolean listed = scenario->only == NULL;

    for (gsize i = 0; !listed && scenario->only[i] != NULL; i++)
        listed = g_str_has_prefix(step, scenario->only[i]);
    return listed && wanted(scenario->name, step, NULL)
           && (scenario->arm == NULL || strstr(scenario->arm, name) == NULL);
}

static void
walk_step(const WalkScenario *scenario, const char *step, WalkFault fault)
{
    if (!wanted(scenario->name, step, fault_actions[fault]))
        return;
    for (guint i = 0; i < TRIES; i++) {
        if (run_case(scenario, step, fault))
            return;
    }
    print_message("walk: %s, %s=%s: was never met\n", scenario->name, step, fault_actions[fault]);
    verdicts[WALK_BROKEN]++;
}

static gboolean
shows_all(const WalkScenario *scenario, GPtrArray *trace)
{
    for (gsize i = 0; scenario->only != NULL && scenario->only[i] != NULL; i++) {
        gboolean found = FALSE;

        for (guint j = 0; !found && j < trace->len; j++)
            found = g_str_has_prefix(g_ptr_array_index(trace, j), scenario->only[i]);
        if (!found) {
            print_message("walk: %s: passes no step '%s'\n", scenario->name, scenario->only[i]);
            walk_keep_log(&walk, scenario->name, scenario->only[i]);
            return FALSE;
        }
    }
    return TRUE;
}

/* The scenario as it is, and the steps that it passed. Later ones are the oracle's own doing. */
static GPtrArray *
learn(const WalkScenario *scenario)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) trace = NULL;
    WalkVerdict verdict;

    for (guint i = 0; i < TRIES; i++) {
        if (!walk_run(&walk, scenario, scenario->arm, &error)) {
            count(scenario, "without a fault", WALK_BROKEN, error);
            return NULL;
        }
        g_clear_pointer(&trace, g_ptr_array_unref);
        trace = walk_trace(&walk);
        verdict = walk_judge(&walk, scenario->ends, &error);
        count(scenario, "without a fault", verdict, error);
        walk_note_rows(&walk, rows);
        if (error != NULL)
            return NULL;
        if (shows_all(scenario, trace))
            return g_steal_pointer(&trace);
    }
    verdicts[WALK_BROKEN]++;
    return NULL;
}

/* Outside of the whole matrix: a death at each step of each scenario, an error once at each. */
static gboolean
is_due(const char *step, WalkFault fault)
{
    g_autofree char *name = g_strndup(step, strcspn(step, ":"));

    if (fault == WALK_KILL || g_getenv("WK_WALK_FULL") != NULL)
        return TRUE;
    return fault == WALK_EIO && g_hash_table_add(failed, g_steal_pointer(&name));
}

static guint
bad_cases(void)
{
    guint bad = 0;

    for (int verdict = WALK_GOOD + 1; verdict < WALK_VERDICTS; verdict++)
        bad += verdicts[verdict];
    return bad;
}

static void
test_scenario(void **state)
{
    const WalkScenario *scenario = *state;
    const guint bad_before = bad_cases();
    g_autoptr(GPtrArray) trace = NULL;

    if (!wanted(scenario->name, NULL, NULL))
        skip();
    trace = learn(scenario);
    for (guint i = 0; trace != NULL && i < trace->len; i++) {
        const char *step = g_ptr_array_index(trace, i);

        for (int fault = WALK_KILL; is_walked_here(scenario, step) && fault < WALK_FAULTS; fault++)
            if (is_due(step, (WalkFault)fault))
                walk_step(scenario, step, (WalkFault)fault);
    }
    assert_int_equal(bad_cases() - bad_before, 0);
}

/* ---- what has to be walked at least once ---- */

static void
test_every_failpoint_is_walked(void **state G_GNUC_UNUSED)
{
    guint missing = 0;

    if (g_getenv("WK_WALK_ONLY") != NULL)
        skip();
    for (int step = 0; step < WK_STEP_COUNT; step++) {
        const char *name = wk_step_name((WkStep)step);

        if (g_hash_table_contains(walked, name) || walk_is_out_of_reach(name))
            continue;
        print_message("walk: no scenario passes %s\n", name);
        missing++;
    }
    assert_int_equal(missing, 0);
}

static void
test_every_row_is_reached(void **state G_GNUC_UNUSED)
{
    gsize n;
    const WkRecoveryRow *table = wk_recovery_table(&n);
    guint missing = 0;

    if (g_getenv("WK_WALK_ONLY") != NULL)
        skip();
    for (gsize i = 0; i < n; i++) {
        if (g_hash_table_contains(rows, table[i].id) || walk_is_out_of_reach(table[i].id))
            continue;
        print_message("walk: row %s is never reached\n", table[i].id);
        missing++;
    }
    assert_int_equal(missing, 0);
}

static int
start_node(void **state G_GNUC_UNUSED)
{
    walk_init(&walk);
    walked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    failed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    rows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    lab_ok(lab_libvirtd_start(&error));
    return 0;
}

static int
tell(void **state G_GNUC_UNUSED)
{
    print_message("walk: steps=%u faults=%u rows=%u lost=%u doubled=%u silent=%u leftover=%u "
                  "broken=%u\n",
                  g_hash_table_size(walked), n_faults, g_hash_table_size(rows), verdicts[WALK_LOST],
                  verdicts[WALK_DOUBLED], verdicts[WALK_SILENT], verdicts[WALK_LEFTOVER],
                  verdicts[WALK_BROKEN]);
    g_hash_table_unref(walked);
    g_hash_table_unref(failed);
    g_hash_table_unref(rows);
    walk_clear(&walk);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest last[] = { cmocka_unit_test(test_every_failpoint_is_walked),
                                       cmocka_unit_test(test_every_row_is_reached) };
    gsize n;
    const WalkScenario *scenarios = walk_scenarios(&n);
    g_autofree struct CMUnitTest *tests = g_new0(struct CMUnitTest, n + G_N_ELEMENTS(last));

    for (gsize i = 0; i < n; i++) {
        tests[i].name = scenarios[i].name;
        tests[i].test_func = test_scenario;
        tests[i].initial_state = (void *)&scenarios[i];
    }
    memcpy(tests + n, last, sizeof last);
    return _cmocka_run_group_tests("walk", tests, n + G_N_ELEMENTS(last), start_node, tell);
}
