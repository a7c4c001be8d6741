/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/failpoint.h"

#ifdef WK_FAILPOINTS

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child says by its exit status. */
enum {
    SAID_PASSED = 10,
    SAID_FAILED,
    SAID_WRONG,
};

/* In a child, since failpoints are kept for the life of the process: reads @spec, then passes
 * @step once, or twice. */
static int
pass_and_say(const char *spec, WkStep step, int passages)
{
    g_autoptr(GError) error = NULL;

    if (!wk_failpoint_init(spec, NULL, NULL))
        return SAID_WRONG;
    for (int i = 0; i < passages; i++) {
        if (!wk_failpoint_pass(step, &error))
            return error != NULL ? SAID_FAILED : SAID_WRONG;
    }
    return SAID_PASSED;
}

static int
in_child(const char *spec, WkStep step, int passages)
{
    const pid_t child = fork();
    int status = 0;

    assert_true(child >= 0);
    if (child == 0)
        _exit(pass_and_say(spec, step, passages));
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    if (WIFSTOPPED(status)) {
        assert_int_equal(WSTOPSIG(status), SIGSTOP);
        assert_int_equal(kill(child, SIGCONT), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == SAID_PASSED);
        return SIGSTOP;
    }
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static const struct {
    const char *label;
    const char *spec;
    int passages;
    int said;
} cases[] = {
    { "no failpoint", NULL, 2, SAID_PASSED },
    { "an empty one", "", 2, SAID_PASSED },
    { "kill", "save.link-hold=kill", 1, SIGKILL },
    { "kill at the second passage, first only", "save.link-hold:2=kill", 1, SAID_PASSED },
    { "kill at the second passage", "save.link-hold:2=kill", 2, SIGKILL },
    { "stop", "save.link-hold=stop", 1, SIGSTOP },
    { "error", "save.link-hold=error:ENOSPC", 1, SAID_FAILED },
    { "error once, then it passes", "save.link-hold:3=error:EIO", 2, SAID_PASSED },
    { "error each time", "save.link-hold:*=error:EIO", 1, SAID_FAILED },
    { "sleep", "save.link-hold=sleep:1", 2, SAID_PASSED },
    { "another step", "save.sync-vault=kill", 2, SAID_PASSED },
    { "two, one of them this step", "save.sync-vault=sleep:1,save.link-hold=kill", 1, SIGKILL },
};

static void
test_each_passage(void **state G_GNUC_UNUSED)
{
    const pid_t child = fork();
    int status = 0;

    assert_true(child >= 0);
    if (child == 0) {
        int failed = 0;

        (void)wk_failpoint_init("save.link-hold:*=error:EIO", NULL, NULL);
        for (int i = 0; i < 3; i++)
            failed += wk_failpoint_pass(WK_STEP_SAVE_LINK_HOLD, NULL) ? 0 : 1;
        _exit(failed);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
}

static void
test_pass(void **state)
{
    const gsize i = GPOINTER_TO_SIZE(*state);

    assert_int_equal(in_child(cases[i].spec, WK_STEP_SAVE_LINK_HOLD, cases[i].passages),
                     cases[i].said);
}

static void
test_wrong_specs(void **state G_GNUC_UNUSED)
{
    static const char *const wrong[] = {
        "save.link-hold",
        "save.link-hold=",
        "save.link-hold=die",
        "no.such-step=kill",
        "=kill",
        "save.link-hold:0=kill",
        "save.link-hold:-1=kill",
        "save.link-hold:x=kill",
        "save.link-hold:=kill",
        "save.link-hold=sleep:",
        "save.link-hold=sleep:-5",
        "save.link-hold=sleep:99999999999",
        "save.link-hold=error:",
        "save.link-hold=error:EWHAT",
        "save.link-hold=kill,",
        "save.link-hold=killed",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;

        if (wk_failpoint_init(wrong[i], NULL, &error))
            fail_msg("taken: %s", wrong[i]);
        unit_assert_error(&error, WK_ERROR_INVALID, "--list-failpoints");
    }
}

static void
test_rules_off(void **state G_GNUC_UNUSED)
{
    assert_true(wk_failpoint_init(NULL, NULL, NULL));
    assert_true(wk_rule_holds("disks"));
    assert_true(wk_failpoint_init(NULL, "disks,guard-sync", NULL));
    assert_false(wk_rule_holds("disks"));
    assert_false(wk_rule_holds("guard-sync"));
    assert_true(wk_rule_holds("spent-first"));
    assert_true(wk_failpoint_init(NULL, NULL, NULL));
}

/* Last in main(): it leaves a failpoint behind. */
static void
test_error_looks_like_the_systems(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    assert_true(wk_failpoint_init("save.link-hold=error:ENOSPC", NULL, &error));
    assert_false(wk_failpoint_pass(WK_STEP_SAVE_LINK_HOLD, &error));
    assert_string_equal(wk_error_get_reason(error), "NoSpace");
    unit_assert_error(&error, WK_ERROR_FAILED, "(failpoint save.link-hold)");
    assert_true(wk_failpoint_pass(WK_STEP_SAVE_LINK_HOLD, &error)); /* only the first passage */
}

int
main(void)
{
    struct CMUnitTest tests[G_N_ELEMENTS(cases) + 4];
    gsize n = 0;

    for (; n < G_N_ELEMENTS(cases); n++)
        tests[n] = (struct CMUnitTest){ .name = cases[n].label,
                                        .test_func = test_pass,
                                        .initial_state = GSIZE_TO_POINTER(n) };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_wrong_specs);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_each_passage);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_rules_off);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_error_looks_like_the_systems);
    return cmocka_run_group_tests_name("base-failpoint", tests, NULL, NULL);
}

#else

/* What a broken rule would do is not in the program that ships: the compiler has to know. */
G_STATIC_ASSERT(wk_rule_holds("spent-first"));

/* What ships refuses the variables, so that nobody believes a test that tested nothing. */
static void
test_refused(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    assert_true(wk_failpoint_init(NULL, NULL, &error));
    assert_false(wk_failpoint_init("save.link-hold=kill", NULL, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "--enable-failpoints");
    assert_false(wk_failpoint_init(NULL, "disks", &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "WK_RULE_OFF");
    assert_true(wk_failpoint_pass(WK_STEP_SAVE_LINK_HOLD, &error));
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_refused) };

    return cmocka_run_group_tests_name("base-failpoint", tests, NULL, NULL);
}

#endif
