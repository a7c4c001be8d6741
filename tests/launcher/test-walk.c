/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the failpoints of a guest in a launcher pod: each step once with the agent killed right
 * before it, in the first scenario that passes it, and some with an error. The environment:
 * WK_WALK_FULL=1 each step of each scenario with both; WK_WALK_ONLY=SCENARIO[,...][/STEP:N[/FAULT]]
 * these; WK_WALK_VERBOSE=1 tells each case; WK_WALK_LOGS=FOLDER keeps the agent's log of each bad
 * one.
 */
#include "launcher-walk.h"

#include "base/steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define DEATH_MS 1000
#define TRIES    2 /* of a case that depends on a moment and missed it */
/* Outside of the whole matrix one step of so many gets an error as well, as long as the walk is not
 * held up by a busy machine. */
#define SAMPLE_OF      8
#define SAMPLE_UNTIL_S 240

static const char *const fault_actions[] = { NULL, "kill", "error:EIO" };

#ifdef WK_WALK_RESTORES
#define PART      LW_RESTORES
#define PART_NAME "launcher walk, restores"
#else
#define PART      LW_SAVES
#define PART_NAME "launcher walk, saves"
#endif

static Walk walk;
static GHashTable *walked; /* names of steps that were met by a death */
static GHashTable *failed; /* and by an error */
static gint64 began_us;
static guint n_faults;
static guint verdicts[LW_VERDICTS];

static gboolean
wanted(const char *scenario, const char *step, const char *fault)
{
    const char *only = g_getenv("WK_WALK_ONLY");
    g_auto(GStrv) parts = g_strsplit(only != NULL ? only : "", "/", 3);
    g_auto(GStrv) names = g_strsplit(parts[0] != NULL ? parts[0] : "", ",", -1);
    const guint n = g_strv_length(parts);

    return (n < 1 || *parts[0] == '\0' || g_strv_contains((const char *const *)names, scenario))
           && (n < 2 || step == NULL || *parts[1] == '\0' || g_str_equal(parts[1], step))
           && (n < 3 || fault == NULL || g_str_equal(parts[2], fault));
}

static gboolean
is_full(void)
{
    return g_getenv("WK_WALK_FULL") != NULL || g_getenv("WK_WALK_ONLY") != NULL;
}

static void
count(const WalkScenario *scenario, const char *what, LwVerdict verdict, const GError *error)
{
    verdicts[verdict]++;
    if (verdict == LW_GOOD)
        return;
    walk.fresh_needed = TRUE;
    print_message("launcher walk: %s, %s: %s: %s\n", scenario->name, what, lw_verdict_name(verdict),
                  error != NULL ? error->message : "");
    walk_keep_log(&walk, scenario->name, what);
}

static void
tell_case(const WalkScenario *scenario, const char *what, const char *how, gint64 began)
{
    if (g_getenv("WK_WALK_VERBOSE") != NULL)
        print_message("launcher walk: %s %s %s, end %d, %d ms\n", scenario->name, what, how,
                      (int)walk.ended, (int)((g_get_monotonic_time() - began) / 1000));
}

static gboolean
is_dead(gpointer data G_GNUC_UNUSED)
{
    return !walk_agent_is_alive();
}

static gboolean
has_met(const char *step, WalkFault fault)
{
    g_autoptr(GPtrArray) trace = NULL;

    if (fault == WALK_KILL)
        (void)lab_wait("the agent's death", DEATH_MS, is_dead, NULL, NULL);
    trace = walk_trace(&walk);
    return g_ptr_array_find_with_equal_func(trace, step, g_str_equal, NULL)
           && (fault != WALK_KILL || !walk_agent_is_alive());
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
    LwVerdict verdict = LW_BROKEN;
    gboolean met;

    if (!lw_run(&walk, scenario, failpoints, &error)) {
        count(scenario, what, LW_BROKEN, error);
        return TRUE;
    }
    met = has_met(step, fault);
    n_faults += met ? 1 : 0;
    if (walk_agent_is_alive() || lw_agent_start(&walk, NULL, &error))
        verdict = lw_judge(&walk, scenario->fault_ends, &error);
    count(scenario, what, verdict, error);
    tell_case(scenario, what, met ? "met" : "missed", began);
    return met;
}

/* A step that the scenario itself has taken is not free for a fault. */
static gboolean
is_walked_here(const WalkScenario *scenario, const char *step)
{
    g_autofree char *name = g_strndup(step, strcspn(step, ":"));
    gboolean listed = FALSE;

    for (gsize i = 0; !listed && scenario->only[i] != NULL; i++)
        listed = g_str_has_prefix(step, scenario->only[i]);
    return listed && wanted(scenario->name, step, NULL)
           && (scenario->arm == NULL || strstr(scenario->arm, name) == NULL);
}

static gboolean
is_due(const char *step, WalkFault fault)
{
    static guint n_steps;
    g_autofree char *name = g_strndup(step, strcspn(step, ":"));
    GHashTable *done = fault == WALK_KILL ? walked : failed;
    const gboolean first = g_hash_table_add(done, g_steal_pointer(&name));

    if (is_full())
        return TRUE;
    if (fault == WALK_KILL)
        return first;
    return first && n_steps++ % SAMPLE_OF == 0
           && g_get_monotonic_time() - began_us < SAMPLE_UNTIL_S * G_USEC_PER_SEC;
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
    if (!g_str_has_suffix(step, ":1"))
        return; /* how often it is tried depends on how busy KubeVirt is */
    print_message("launcher walk: %s, %s=%s: was never met\n", scenario->name, step,
                  fault_actions[fault]);
    verdicts[LW_BROKEN]++;
}

/* The scenario as it is, and the steps that it passed. Later ones are the oracle's own doing. */
static GPtrArray *
learn(const WalkScenario *scenario)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) trace = NULL;
    const gint64 began = g_get_monotonic_time();
    LwVerdict verdict;

    if (!lw_run(&walk, scenario, scenario->arm, &error)) {
        count(scenario, "without a fault", LW_BROKEN, error);
        return NULL;
    }
    trace = walk_trace(&walk);
    verdict = lw_judge(&walk, scenario->ends, &error);
    count(scenario, "without a fault", verdict, error);
    tell_case(scenario, "without a fault", "run", began);
    return error == NULL ? g_steal_pointer(&trace) : NULL;
}

static guint
bad_cases(void)
{
    guint bad = 0;

    for (int verdict = LW_GOOD + 1; verdict < LW_VERDICTS; verdict++)
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

        if (!is_walked_here(scenario, step))
            continue;
        for (int fault = WALK_KILL; fault <= WALK_EIO; fault++)
            if (is_due(step, (WalkFault)fault))
                walk_step(scenario, step, (WalkFault)fault);
    }
    assert_int_equal(bad_cases() - bad_before, 0);
}

static void
test_every_failpoint_is_walked(void **state G_GNUC_UNUSED)
{
    guint missing = 0;

    if (g_getenv("WK_WALK_ONLY") != NULL)
        skip();
    for (int step = 0; step < WK_STEP_COUNT; step++) {
        const char *name = wk_step_name((WkStep)step);

        if (!lw_answers_for(PART, name) || g_hash_table_contains(walked, name)
            || lw_is_out_of_reach(name))
            continue;
        print_message("launcher walk: no scenario passes %s\n", name);
        missing++;
    }
    assert_int_equal(missing, 0);
}

static int
start_node(void **state G_GNUC_UNUSED)
{
    walk = (Walk){ .fresh_needed = TRUE };
    began_us = g_get_monotonic_time();
    walked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    failed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    lab_ok(lab_standin_start(&error));
    lab_ok(lab_standin_set("ContainerStartMs", 100, &error));
    lab_ok(lab_standin_set("SyncRetryMs", 100, &error));
    lab_ok(lab_standin_set("UndefineWaitMs", 1000, &error));
    lab_ok(lab_standin_set("KillWaitMs", 1000, &error));
    lab_ok(lw_base(&walk, &error));
    return 0;
}

static int
tell(void **state G_GNUC_UNUSED)
{
    print_message(PART_NAME ": steps=%u faults=%u lost=%u doubled=%u silent=%u leftover=%u "
                            "broken=%u cold=%u (descriptors <= %u)\n",
                  g_hash_table_size(walked), n_faults, verdicts[LW_LOST], verdicts[LW_DOUBLED],
                  verdicts[LW_SILENT], verdicts[LW_LEFTOVER], verdicts[LW_BROKEN],
                  verdicts[LW_COLD], lw_most_descriptors());
    g_hash_table_unref(walked);
    g_hash_table_unref(failed);
    walk_clear(&walk);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest last = cmocka_unit_test(test_every_failpoint_is_walked);
    gsize n;
    const WalkScenario *scenarios = lw_scenarios(PART, &n);
    g_autofree struct CMUnitTest *tests = g_new0(struct CMUnitTest, n + 1);

    if (!lab_standin_is_available())
        return 77;
    for (gsize i = 0; i < n; i++) {
        tests[i].name = scenarios[i].name;
        tests[i].test_func = test_scenario;
        tests[i].initial_state = (void *)&scenarios[i];
    }
    tests[n] = last;
    return _cmocka_run_group_tests(PART_NAME, tests, n + 1, start_node, tell);
}
