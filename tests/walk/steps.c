/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call that changes something is announced by its own step, right before it: all scenarios
 * once, under strace. A durable call without a failpoint can't be walked, so it fails here.
 */
#include "walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static Walk walk;
static guint all_calls;
static guint all_bites;

static GPtrArray *
traced_run(const WalkScenario *scenario)
{
    g_autofree char *text = NULL;

    walk.fresh_needed = TRUE;
    walk.traced = TRUE;
    lab_ok(walk_run(&walk, scenario, scenario->arm, &error));
    lab_ok(walk_agent_end(&error));
    lab_ok((text = walk_strace(&error)) != NULL);
    return walk_calls_read(&walk, text);
}

static void
test_scenario(void **state)
{
    const WalkScenario *scenario = *state;
    g_autoptr(GPtrArray) events = NULL;
    guint calls;
    guint bites;

    if (!walk_is_wanted(scenario))
        skip();
    events = traced_run(scenario);
    lab_ok(walk_calls_check(events, scenario->arm, &calls, &error));
    assert_true(calls > 0);
    /* taking any step's line away has to be noticed; commits alone are SQLite's to sync */
    lab_ok((bites = walk_calls_bite(events, scenario->arm, &error)) > 0
           || strstr(scenario->name, "pause-lost") || strstr(scenario->name, "verify"));
    all_calls += calls;
    all_bites += bites;
}

static int
start_node(void **state G_GNUC_UNUSED)
{
    walk_init(&walk);
    lab_ok(lab_libvirtd_start(&error));
    return 0;
}

static int
tell(void **state G_GNUC_UNUSED)
{
    print_message("steps: calls=%u doctored=%u unnoticed=0\n", all_calls, all_bites);
    walk_clear(&walk);
    return 0;
}

int
main(void)
{
    gsize n;
    const WalkScenario *scenarios = walk_scenarios(&n);
    g_autofree struct CMUnitTest *tests = g_new0(struct CMUnitTest, n);

    for (gsize i = 0; i < n; i++) {
        tests[i].name = scenarios[i].name;
        tests[i].test_func = test_scenario;
        tests[i].initial_state = (void *)&scenarios[i];
    }
    return _cmocka_run_group_tests("steps", tests, n, start_node, tell);
}
