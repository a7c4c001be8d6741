/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Wukong goes while its guest is saved, and another of the same name is made at once, which asks
 * for a resume: it never gets what the first one had saved (contract, section 1), nothing is lost,
 * nothing hangs.
 */
#include "kube-e2e.h"

#define NAME    "vm"
#define GUEST   "default_vm-vm"
#define TO_DISK "{\"action\":\"suspend\",\"target\":\"disk\"}"
#define RESUME  "{\"action\":\"resume\"}"

static void
agent_restart_failing(const char *failpoint)
{
    g_autofree char *variable = g_strdup_printf("WK_FAILPOINT=%s", failpoint);
    const char *const env[] = { variable, NULL };
    const LabAgentOptions options = { .env = env };

    lab_ok(lab_agent_kill(&error));
    lab_ok(lab_kube_agent_start(&options, &error));
}

static void
delete_wukong(void)
{
    g_autofree char *out = NULL;

    lab_ok((out = lab_kubectl_out(&error, "delete", "wk", NAME, NULL)) != NULL);
}

static void
make_anew(void)
{
    delete_wukong();
    lab_ok(lab_kube_wukong(NAME, &error));
    ke_act(NAME, RESUME);
}

/* A running guest whose save stops the agent, or kills it, at @failpoint. */
static E2eLife *
begin_save(const char *failpoint)
{
    E2eLife *life;

    agent_restart_failing(failpoint);
    ke_start(NAME);
    life = e2e_remember(GUEST);
    ke_act(NAME, TO_DISK);
    return life;
}

/* It is told to the new one, whose resume waits; and the image lies there until it is discarded. */
static void
check_orphaned(const E2eLife *life)
{
    ke_until(NAME, KE_REASON, "OrphanedImage");
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Suspended", "operation", "", NULL);
    e2e_check_ledger(GUEST, "state", "sealed");
    ke_agent_restart();
    ke_until(NAME, KE_REASON, "OrphanedImage");
    ke_check(NAME, KE_ACTION, "resume");
    e2e_check_ledger(GUEST, "state", "sealed");
    e2e_check_domstate(GUEST, "shut off");
    e2e_ctl_says(0, "dropped", "discard", GUEST, "--yes", NULL);
    ke_until(NAME, KE_STATE, "Stopped");
    e2e_check_no_image(GUEST);
    lab_ok(lab_guest_create(GUEST, &error));
    e2e_check_other_life(life);
}

/* Called off while it can be: the guest runs on, and is the new one's. */
static void
check_runs_on(const E2eLife *life)
{
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", "operation", "", NULL);
    e2e_check_same_life(life);
    e2e_check_no_image(GUEST);
    ke_until(NAME, KE_STATE, "Running");
    ke_until(NAME, KE_ACTION, "");
}

static void
test_while_memory_is_written(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    e2e_guest_start_filled(GUEST, 16);
    lab_ok(lab_kube_wukong(NAME, &error));
    ke_until(NAME, KE_STATE, "Running");
    life = e2e_remember(GUEST);
    e2e_brake_on();
    ke_act(NAME, TO_DISK);
    e2e_brake_wait(1);
    make_anew();
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", NULL);
    e2e_brake_off();
    check_runs_on(life);
}

/* The agent is told of both at one moment: before anything was done, and when it can't be undone.
 */
static void
test_told_at_once_early(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = begin_save("save.set-op=stop");

    e2e_agent_wait_stopped();
    make_anew();
    e2e_brake_on(); /* or the save may be done before the news have come */
    e2e_agent_continue();
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", "operation", "", NULL);
    e2e_brake_off();
    check_runs_on(life);
}

static void
test_told_at_once_late(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = begin_save("save.commit-sealed=stop");

    e2e_agent_wait_stopped();
    make_anew();
    e2e_agent_continue();
    check_orphaned(life);
}

/* The agent is away, and finds the new one in the old one's place. */
static void
test_while_the_agent_is_away(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = begin_save("save.sync-image=kill");

    e2e_agent_wait_killed();
    make_anew();
    ke_agent_restart();
    check_orphaned(life);
}

/* What a guest's first Wukong left in the ledger does not take the second one's image away. */
static void
test_second_ones_own_image(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    ke_start(NAME);
    ke_act(NAME, TO_DISK);
    ke_until(NAME, KE_ACTION, "");
    ke_act(NAME, RESUME);
    ke_until(NAME, KE_ACTION, "");
    ke_until(NAME, KE_STATE, "Running");
    ke_until(NAME, KE_SAVED_ON, "");
    delete_wukong();
    lab_ok(lab_kube_wukong(NAME, &error));
    ke_until(NAME, KE_STATE, "Running");
    life = e2e_remember(GUEST);
    ke_act(NAME, TO_DISK);
    ke_until(NAME, KE_STATE, "Suspended");
    ke_until(NAME, KE_SAVED_ON, LAB_NODE_NAME);
    ke_until(NAME, KE_ACTION, "");
    ke_agent_restart();
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Suspended", NULL);
    ke_act(NAME, RESUME);
    ke_until(NAME, KE_STATE, "Running");
    e2e_check_same_life(life);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ke_test(test_while_memory_is_written), ke_test(test_told_at_once_early),
        ke_test(test_told_at_once_late),       ke_test(test_while_the_agent_is_away),
        ke_test(test_second_ones_own_image),
    };

    return ke_main(tests);
}
