/* SPDX-License-Identifier: Apache-2.0 */
/* Suspend to memory, and what others do to guests meanwhile. */
#include "e2e.h"

#define GUEST "mem"

static void
test_suspend_and_resume(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    e2e_ctl_says(0, "paused in memory", "suspend", GUEST, "--to", "memory", NULL);
    e2e_check_domstate(GUEST, "paused");
    e2e_check_stands(GUEST);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "memory", "reason", "Paused", "origin",
                    "local", "lastAction", "suspend", "operation", "", "savedBytes", "", NULL);
    /* there is no guest agent that could set the clock: that is said (I3) */
    e2e_ctl_says(0, "its clock is behind", "resume", GUEST, NULL);
    e2e_check_domstate(GUEST, "running");
    e2e_check_guest(GUEST, "state", "Running", "target", "", "reason", "TimeNotSynced",
                    "lastAction", "resume", NULL);
    e2e_check_same_life(life);
    e2e_check_no_image(GUEST);
}

static void
test_by_api(void **state G_GNUC_UNUSED)
{
    g_autofree char *suspend = NULL;
    g_autofree char *resume = NULL;
    g_autofree char *since = NULL;

    e2e_guest_start(GUEST);
    suspend = e2e_submit(GUEST, "suspend", "{\"target\":\"memory\"}");
    e2e_wait_end(suspend, "state", "succeeded", "action", "suspend", "target", "memory", "reason",
                 "Paused", "message", "paused in memory", NULL);
    e2e_check_guest(GUEST, "state", "Suspended", NULL);
    since = e2e_guest(GUEST, "lastActionTime");
    assert_string_not_equal(since, "");
    e2e_check_stands(GUEST);
    resume = e2e_submit(GUEST, "resume", NULL);
    e2e_wait_end(resume, "state", "succeeded", "action", "resume", "target", "memory", NULL);
    e2e_check_guest(GUEST, "state", "Running", NULL);
    e2e_check_runs(GUEST);
}

/* No target given: the node's, which is memory unless configured. */
static void
test_default_target(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "paused in memory", "suspend", GUEST, NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "memory", NULL);
}

static void
test_already_so(void **state G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) running = NULL;
    g_autoptr(JsonObject) paused = NULL;
    g_autofree char *said = NULL;

    e2e_guest_start(GUEST);
    running = e2e_http("POST", "/v1/guests/" GUEST "/resume", NULL, 202);
    said = e2e_member(running, "state");
    assert_string_equal(said, "succeeded");
    e2e_ctl_says(0, "already running", "resume", GUEST, NULL);
    e2e_ctl_says(0, "paused in memory", "suspend", GUEST, "--to", "memory", NULL);
    paused = e2e_http("POST", "/v1/guests/" GUEST "/suspend", "{\"target\":\"memory\"}", 202);
    g_free(said);
    said = e2e_member(paused, "state");
    assert_string_equal(said, "succeeded");
    e2e_ctl_says(0, "already suspended to memory", "suspend", GUEST, NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "message", "paused in memory", NULL);
}

static void
test_dry_run(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "would suspend", "suspend", GUEST, "--dry-run", NULL);
    e2e_check_guest(GUEST, "state", "Running", "lastAction", "", NULL);
    assert_int_equal(e2e_count_operations(), 0);
    e2e_check_runs(GUEST);
}

static void
test_is_and_wait(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "Running", "is-running", GUEST, NULL);
    e2e_ctl_says(3, "Running", "is-suspended", GUEST, NULL);
    e2e_ctl_says(1, "not Suspended", "wait", GUEST, "--for", "Suspended", "--timeout", "0", NULL);
    e2e_ctl_says(0, "", "suspend", GUEST, NULL);
    e2e_ctl_says(0, "Suspended", "is-suspended", GUEST, NULL);
    e2e_ctl_says(0, GUEST, "wait", GUEST, "--for", "suspended", "--timeout", "10", NULL);
}

static void
test_paused_by_others(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_virsh_do("suspend", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Suspended", "target", "memory", "origin", "outside",
                   "lastAction", "", NULL);
    e2e_virsh_do("resume", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Running", "origin", "", NULL);
    e2e_virsh_do("suspend", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Suspended", NULL);
    /* whose pause it is matters not: resume is asked for by name */
    e2e_ctl_says(0, "resumed from memory", "resume", GUEST, NULL);
    e2e_check_runs(GUEST);
}

/* What was last done is not told of a state that others made since (I3). */
static void
test_old_outcome_is_not_told(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "", "suspend", GUEST, NULL);
    e2e_ctl_says(0, "resumed", "resume", GUEST, NULL);
    e2e_virsh_do("suspend", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Suspended", "origin", "outside", "reason", "Paused",
                   "message", "paused in memory", NULL);
    e2e_virsh_do("destroy", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Stopped", "reason", "", "message", "", NULL);
    e2e_virsh_do("start", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Running", "reason", "", "message", "", NULL);
}

static void
test_resumed_by_others(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "", "suspend", GUEST, NULL);
    e2e_virsh_do("resume", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Running", "reason", "PauseLost", "origin",
                   "outside", "lastAction", "suspend", NULL);
    e2e_check_ledger(GUEST, "paused_to", "");
    e2e_check_runs(GUEST);
    /* a pause by others is not taken for ours afterwards */
    e2e_virsh_do("suspend", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Suspended", "origin", "outside", NULL);
}

static void
test_destroyed_while_paused(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "", "suspend", GUEST, NULL);
    e2e_virsh_do("destroy", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Stopped", "reason", "PauseLost", NULL);
    e2e_ctl_says(1, "nothing of it is saved", "resume", GUEST, NULL);
    e2e_check_domstate(GUEST, "shut off");
}

static void
test_others_are_seen(void **state G_GNUC_UNUSED)
{
    g_autofree char *xml = lab_guest_xml("other", NULL);

    e2e_guest_start(GUEST);
    e2e_virsh_do("destroy", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Stopped", "operation", "", NULL);
    e2e_virsh_do("start", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Running", NULL);
    lab_ok(g_file_set_contents(LAB_DIR "/other.xml", xml, -1, &error));
    e2e_virsh_do("define", LAB_DIR "/other.xml");
    e2e_wait_guest("other", E2E_OTHERS, "state", "Stopped", NULL);
    e2e_ctl_says(0, "other", "list", NULL);
    e2e_virsh_do("undefine", "other");
    e2e_wait_guest_gone("other", E2E_OTHERS);
}

/* A running guest that is undefined is transient until it ends, and then gone. */
static void
test_undefined_while_running(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_virsh_do("undefine", GUEST);
    e2e_check_guest(GUEST, "state", "Running", NULL);
    e2e_virsh_do("destroy", GUEST);
    e2e_wait_guest_gone(GUEST, E2E_OTHERS);
}

static void
test_agent_restart(void **state G_GNUC_UNUSED)
{
    g_autofree char *since = NULL;
    g_autoptr(E2eLife) life = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    e2e_ctl_says(0, "", "suspend", GUEST, NULL);
    since = e2e_guest(GUEST, "lastActionTime");
    e2e_agent_restart(NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "memory", "origin", "local",
                    "lastAction", "suspend", "lastActionTime", since, "reason", "Paused", NULL);
    e2e_check_stands(GUEST);
    e2e_ctl_says(0, "resumed from memory", "resume", GUEST, NULL);
    e2e_check_same_life(life);
}

/* "Ready" means that every guest was looked at, so that who asks then is not told half of it. */
static void
test_ready_knows_all(void **state G_GNUC_UNUSED)
{
    static const guint n = 20;

    lab_ok(lab_agent_kill(&error));
    for (guint i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("many-%u", i);

        lab_ok(lab_guest_define(name, NULL, &error));
    }
    for (guint round = 0; round < 5; round++) {
        g_autoptr(JsonObject) list = NULL;

        e2e_agent_restart(NULL);
        list = e2e_http("GET", "/v1/guests", NULL, 200);
        assert_int_equal(json_array_get_length(json_object_get_array_member(list, "items")), n);
        e2e_check_guest("many-19", "state", "Stopped", NULL);
    }
}

/* The pause is lost while the agent is down: told when it is back. */
static void
test_resumed_behind_the_back(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "", "suspend", GUEST, NULL);
    lab_ok(lab_agent_kill(&error));
    e2e_virsh_do("resume", GUEST);
    lab_ok(lab_agent_start(NULL, &error));
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Running", "reason", "PauseLost", NULL);
}

static void
test_transient_guest(void **state G_GNUC_UNUSED)
{
    static const LabGuestOptions options = { .cold = TRUE, .transient = TRUE };

    lab_ok(lab_guest_start(GUEST, &options, &error));
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Running", NULL);
    e2e_ctl_says(6, "transient", "suspend", GUEST, "--to", "disk", NULL);
    e2e_check_runs(GUEST);
    e2e_ctl_says(0, "paused in memory", "suspend", GUEST, "--to", "memory", NULL);
    e2e_check_stands(GUEST);
    e2e_ctl_says(0, "resumed from memory", "resume", GUEST, NULL);
    e2e_virsh_do("destroy", GUEST);
    e2e_wait_guest_gone(GUEST, E2E_OTHERS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(test_suspend_and_resume),
        e2e_test(test_by_api),
        e2e_test(test_default_target),
        e2e_test(test_already_so),
        e2e_test(test_dry_run),
        e2e_test(test_is_and_wait),
        e2e_test(test_paused_by_others),
        e2e_test(test_old_outcome_is_not_told),
        e2e_test(test_resumed_by_others),
        e2e_test(test_destroyed_while_paused),
        e2e_test(test_others_are_seen),
        e2e_test(test_undefined_while_running),
        e2e_test(test_agent_restart),
        e2e_test(test_ready_knows_all),
        e2e_test(test_resumed_behind_the_back),
        e2e_test(test_transient_guest),
    };

    return e2e_main(tests);
}
