/* SPDX-License-Identifier: Apache-2.0 */
/* Deaths in the middle: of the agent, of libvirtd, of QEMU, of the node. */
#include "e2e.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GUEST   "crs"
#define OTHER   "crs-other"
#define TO_DISK "{\"target\":\"disk\"}"

static char *
begin_held_save(void)
{
    char *id;

    e2e_brake_on();
    id = e2e_submit(GUEST, "suspend", TO_DISK);
    e2e_brake_wait(1);
    e2e_wait_operation(id, "state", "running", "step", "save.managed-save", NULL);
    return id;
}

static void
save(void)
{
    e2e_ctl_says(0, "saved to disk", "suspend", GUEST, "--to", "disk", NULL);
}

static void
check_resumes(const E2eLife *life)
{
    e2e_ctl_says(0, "resumed from disk", "resume", life->name, NULL);
    e2e_check_same_life(life);
    e2e_check_no_image(life->name);
}

/* ---- the agent ---- */

/* The save goes on in libvirt (F5); the next agent takes it up: same operation, same end. */
static void
test_agent_killed_in_save(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start_filled(GUEST, 16);
    life = e2e_remember(GUEST);
    id = begin_held_save();
    e2e_agent_restart(NULL);
    e2e_check_guest(GUEST, "state", "Suspending", "target", "disk", "operation", id, NULL);
    e2e_brake_off();
    e2e_wait_end(id, "state", "succeeded", "reason", "SavedToDisk", NULL);
    e2e_check_image(GUEST);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "disk", "lastAction", "suspend", NULL);
    check_resumes(life);
}

/* It ends while no agent is there. */
static void
test_save_ends_without_agent(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    id = begin_held_save();
    lab_ok(lab_agent_kill(&error));
    e2e_brake_off();
    lab_ok(lab_domain_wait_state(GUEST, VIR_DOMAIN_SHUTOFF, LAB_WAIT_MS, &error));
    lab_ok(lab_agent_start(NULL, &error));
    e2e_wait_end(id, "state", "succeeded", NULL);
    e2e_check_image(GUEST);
    check_resumes(life);
}

static void
test_adopted_save_is_cancelled(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    id = begin_held_save();
    e2e_agent_restart(NULL);
    e2e_ctl_says(0, "cancelled", "cancel", GUEST, NULL);
    e2e_wait_end(id, "state", "cancelled", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_same_life(life);
}

/* An adopted save counts: the bounds hold over a restart, too. */
static void
test_adopted_save_keeps_its_place(void **state G_GNUC_UNUSED)
{
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    e2e_agent_configure("[suspend]\nparallel-saves=1\n");
    e2e_guest_start(GUEST);
    e2e_guest_start(OTHER);
    first = begin_held_save();
    second = e2e_submit(OTHER, "suspend", TO_DISK);
    e2e_agent_restart(NULL);
    e2e_check_guest(GUEST, "state", "Suspending", NULL);
    e2e_check_guest(OTHER, "state", "Running", "operation", second, NULL);
    /* several looks at the adopted job later */
    lab_ok(lab_guest_wait_tick_above(OTHER, lab_guest_tick(OTHER, NULL) + 15, LAB_WAIT_MS, &error));
    e2e_check_guest(OTHER, "state", "Running", NULL);
    assert_int_equal(e2e_brake_count(), 1);
    e2e_brake_off();
    e2e_wait_end(first, "state", "succeeded", NULL);
    e2e_wait_end(second, "state", "succeeded", NULL);
}

/* Its deadline is that of its acceptance. */
static void
test_adopted_save_times_out(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;
    g_autofree char *deadline = NULL;

    e2e_guest_start(GUEST);
    e2e_brake_on();
    id = e2e_submit(GUEST, "suspend", "{\"target\":\"disk\",\"timeoutSeconds\":3}");
    e2e_brake_wait(1);
    deadline = e2e_operation(id, "deadline");
    e2e_agent_restart(NULL);
    e2e_wait_operation(id, "deadline", deadline, NULL);
    e2e_wait_end(id, "state", "failed", "reason", "Timeout", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_runs(GUEST);
}

static void
test_agent_ends_in_save(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;
    gint64 began;
    int status = -1;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    id = begin_held_save();
    began = g_get_monotonic_time();
    lab_ok(lab_agent_term(&status, &error));
    assert_int_equal(status, 0);
    assert_true(g_get_monotonic_time() - began < 5 * G_USEC_PER_SEC);
    lab_ok(lab_agent_start(NULL, &error));
    e2e_check_guest(GUEST, "state", "Suspending", "operation", id, NULL);
    e2e_brake_off();
    e2e_wait_end(id, "state", "succeeded", NULL);
    check_resumes(life);
}

static void
test_idle_agent_ends(void **state G_GNUC_UNUSED)
{
    int status = -1;

    e2e_guest_start(GUEST);
    lab_ok(lab_agent_term(&status, &error));
    assert_int_equal(status, 0);
    e2e_check_runs(GUEST);
    lab_ok(lab_agent_start(NULL, &error));
}

/* Loaded by libvirt, not yet let run: verified and let run by the next agent. */
static void
test_agent_killed_in_restore(void **state G_GNUC_UNUSED)
{
    static const char *const points[] = {
        "restore.commit-restoring=kill", "restore.start-paused=kill", "restore.commit-spent=kill",
        "spent.dead-magic=kill",         "spent.resume=kill",         "spent.commit-none=kill",
    };

    e2e_guest_start(GUEST);
    for (gsize i = 0; i < G_N_ELEMENTS(points); i++) {
        g_autoptr(E2eLife) life = e2e_remember(GUEST);
        g_autofree char *id = NULL;

        e2e_agent_restart(points[i]);
        save();
        id = e2e_submit(GUEST, "resume", NULL);
        e2e_agent_wait_killed();
        lab_ok(lab_agent_start(NULL, &error));
        e2e_wait_end(id, "state", "succeeded", NULL);
        e2e_check_guest(GUEST, "state", "Running", NULL);
        e2e_check_same_life(life);
        e2e_check_no_image(GUEST);
    }
}

/* A request that was told to be accepted is not forgotten. */
static void
test_accepted_is_kept(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_agent_restart("save.commit-saving=kill");
    e2e_guest_start(GUEST);
    id = e2e_submit(GUEST, "suspend", TO_DISK);
    e2e_agent_wait_killed();
    lab_ok(lab_agent_start(NULL, &error));
    e2e_wait_end(id, "state", "succeeded", "action", "suspend", NULL);
    e2e_check_image(GUEST);
}

static void
test_second_agent_refuses(void **state G_GNUC_UNUSED)
{
    g_autofree char *program = lab_build_path("wukongd");
    const char *const argv[] = { program, "--no-kube", "--control", LAB_DIR "/second.sock", NULL };
    g_auto(LabOutput) output = { 0 };

    e2e_guest_start(GUEST);
    lab_ok(lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, &error));
    assert_int_equal(output.status, 1);
    assert_non_null(strstr(output.err, "ledger"));
    e2e_check_guest(GUEST, "state", "Running", NULL);
    save();
}

/* ---- libvirtd ---- */

/* QEMU stays paused and nobody saves it: aborted, then tried again, until it is saved. */
static void
test_libvirtd_killed_in_save(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    id = begin_held_save();
    lab_ok(lab_libvirtd_kill(&error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Unknown", "reason", "SourceAway", NULL);
    e2e_brake_off();
    lab_ok(lab_libvirtd_start(&error));
    e2e_wait_end(id, "state", "succeeded", "reason", "SavedToDisk", NULL);
    e2e_check_image(GUEST);
    check_resumes(life);
}

/* The time is up while libvirtd is away: the guest runs on. */
static void
test_libvirtd_killed_and_time_is_up(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    e2e_brake_on();
    id = e2e_submit(GUEST, "suspend", "{\"target\":\"disk\",\"timeoutSeconds\":2}");
    e2e_brake_wait(1);
    lab_ok(lab_libvirtd_kill(&error));
    e2e_wait_end(id, "state", "failed", "reason", "Timeout", NULL);
    e2e_brake_off();
    lab_ok(lab_libvirtd_start(&error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", NULL);
    e2e_check_same_life(life);
    e2e_check_no_image(GUEST);
}

static void
test_both_killed_in_save(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    id = begin_held_save();
    lab_ok(lab_libvirtd_kill(&error));
    lab_ok(lab_agent_kill(&error));
    e2e_brake_off();
    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_agent_start(NULL, &error));
    e2e_wait_end(id, "state", "succeeded", NULL);
    check_resumes(life);
}

static gboolean
is_starting(gpointer name)
{
    int reason = 0;

    return lab_domain_state(name, &reason, NULL) == VIR_DOMAIN_PAUSED
           && reason == VIR_DOMAIN_PAUSED_STARTING_UP;
}

static void
test_libvirtd_killed_in_restore(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start_filled(GUEST, 32);
    life = e2e_remember(GUEST);
    save();
    id = e2e_submit(GUEST, "resume", NULL);
    lab_ok(lab_wait("the restore", LAB_WAIT_MS, is_starting, (char *)GUEST, &error));
    lab_ok(lab_libvirtd_restart(&error));
    e2e_wait_end(id, "state", "succeeded", NULL);
    e2e_check_same_life(life);
    e2e_check_no_image(GUEST);
}

#define STATUS "/run/libvirt/qemu/" GUEST ".xml"
/* What waits for a job in libvirt waits 30 s; a disk that others write to keeps a change of the
 * ledger for seconds. */
#define NOT_HELD_UP_S "25"

/* libvirt's own note of a guest that it starts, as one that died right then leaves it behind: QEMU
 * has no pid yet. Each libvirtd takes it for a start that goes on, for ever (docs/limits.md, R10).
 * Returns: (transfer full). */
static char *
note_of_a_start(void)
{
    g_autofree char *text = NULL;
    g_autofree char *id = e2e_submit(GUEST, "resume", NULL);
    g_autoptr(GRegex) pid = g_regex_new("(?<=reason='starting up' pid=')\\d+", 0, 0, NULL);
    char *note;

    lab_ok(lab_wait("the restore", LAB_WAIT_MS, is_starting, (char *)GUEST, &error));
    lab_ok(g_file_get_contents(STATUS, &text, NULL, &error));
    note = g_regex_replace_literal(pid, text, -1, 0, "0", 0, NULL);
    assert_string_not_equal(note, text);
    e2e_wait_end(id, "state", "succeeded", NULL);
    return note;
}

static char *
begin_a_start_that_never_ends(const char *note)
{
    char *id;

    e2e_agent_restart("restore.start-paused=kill");
    id = e2e_submit(GUEST, "resume", "{\"timeoutSeconds\":4}");
    e2e_agent_wait_killed();
    lab_ok(lab_libvirtd_kill(&error));
    lab_ok(g_file_set_contents(STATUS, note, -1, &error));
    lab_ok(lab_libvirtd_start(&error));
    assert_true(is_starting((char *)GUEST));
    lab_ok(lab_agent_start(NULL, &error));
    return id;
}

static void
put_libvirt_in_order(void)
{
    lab_ok(lab_libvirtd_kill(&error));
    assert_int_equal(unlink(STATUS), 0);
    lab_ok(lab_libvirtd_start(&error));
}

/* Where the test has failed before that: the tests that follow need a libvirt in order as well. */
static int
teardown_a_start(void **state)
{
    g_autofree char *text = NULL;

    if (g_file_get_contents(STATUS, &text, NULL, NULL) && strstr(text, "pid='0'") != NULL)
        put_libvirt_in_order();
    return e2e_teardown(state);
}

/* Nothing of it is the agent's to end: it says so, other guests are not held up, and once an
 * administrator has put libvirt in order the memory is there. */
static void
test_start_that_never_ends(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *note = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start_filled(GUEST, 32);
    e2e_guest_start(OTHER);
    save();
    note = note_of_a_start();
    life = e2e_remember(GUEST);
    save();
    id = begin_a_start_that_never_ends(note);
    e2e_wait_operation(id, "reason", "JobRunning", "message", "*libvirt", NULL);
    for (int i = 0; i < 5; i++) {
        e2e_ctl_says(0, "paused in memory", "suspend", OTHER, "--timeout", NOT_HELD_UP_S, NULL);
        e2e_ctl_says(0, "resumed from memory", "resume", OTHER, "--timeout", NOT_HELD_UP_S, NULL);
    }
    put_libvirt_in_order();
    e2e_wait_end(id, "state", "failed", "reason", "Timeout", NULL);
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Suspended", "target", "disk", NULL);
    e2e_check_stands(GUEST); /* what was given up does not go on behind that */
    e2e_check_image(GUEST);
    check_resumes(life);
}

static void
test_libvirtd_restart_while_paused(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    e2e_ctl_says(0, "paused in memory", "suspend", GUEST, NULL);
    lab_ok(lab_libvirtd_kill(&error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Unknown", NULL);
    e2e_ctl_says(1, "try again later", "resume", GUEST, NULL);
    lab_ok(lab_libvirtd_start(&error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Suspended", "target", "memory", "origin", "local",
                   "reason", "Paused", NULL);
    e2e_ctl_says(0, "resumed from memory", "resume", GUEST, NULL);
    e2e_check_same_life(life);
}

/* ---- QEMU ---- */

static GPid
pid_of_qemu(const char *name)
{
    g_autofree char *path = g_strdup_printf("/run/libvirt/qemu/%s.pid", name);
    g_autofree char *text = NULL;

    lab_ok(g_file_get_contents(path, &text, NULL, &error));
    return (GPid)g_ascii_strtoll(text, NULL, 10);
}

static void
test_qemu_killed_in_save(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    id = begin_held_save();
    kill(pid_of_qemu(GUEST), SIGKILL);
    e2e_wait_end(id, "state", "failed", "message", "*Suspend failed: ", NULL);
    e2e_brake_off();
    e2e_check_domstate(GUEST, "shut off");
    e2e_check_no_image(GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Stopped", NULL);
    lab_ok(lab_guest_create(GUEST, &error));
}

/* ---- the node ---- */

static void
reboot_node(void)
{
    lab_ok(lab_node_crash(&error));
    lab_ok(lab_node_new_boot(&error));
    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_agent_start(NULL, &error));
}

static void
test_node_crash(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    e2e_guest_start(GUEST);
    e2e_guest_start(OTHER);
    life = e2e_remember(GUEST);
    save();
    e2e_ctl_says(0, "paused in memory", "suspend", OTHER, "--to", "memory", NULL);
    reboot_node();
    e2e_wait_guest(OTHER, E2E_OTHERS, "state", "Stopped", "reason", "PauseLost", NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "disk", "restorable", "true", NULL);
    check_resumes(life);
    e2e_check_domstate(OTHER, "shut off");
}

/* An unfinished save is given up in another boot; the request is still there, and fails. */
static void
test_node_crash_in_save(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    id = begin_held_save();
    lab_ok(lab_node_crash(&error));
    e2e_brake_off();
    reboot_node();
    e2e_wait_end(id, "state", "failed", "reason", "NotRunning", NULL);
    e2e_check_no_image(GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Stopped", NULL);
}

/* RAM that was used up and did not get to run is lost by design, and it is said (R4). */
static void
test_node_crash_after_spent(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_agent_restart("spent.resume=stop");
    e2e_guest_start(GUEST);
    save();
    id = e2e_submit(GUEST, "resume", NULL);
    e2e_agent_wait_stopped();
    reboot_node();
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Stopped", "reason", "ResumeInterrupted",
                   "restorable", "false", NULL);
    e2e_wait_end(id, "state", "failed", NULL);
    /* held: it does not boot by accident (I4) */
    e2e_virsh_refused("start", GUEST);
    e2e_ctl_says(1, "discard", "resume", GUEST, NULL);
    e2e_ctl_says(0, "dropped", "discard", GUEST, "--yes", NULL);
    e2e_check_no_image(GUEST);
    lab_ok(lab_guest_create(GUEST, &error));
}

/* Before that point it is restored in the new boot. */
static void
test_node_crash_in_restore(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_agent_restart("restore.commit-spent=stop");
    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    save();
    id = e2e_submit(GUEST, "resume", NULL);
    e2e_agent_wait_stopped();
    reboot_node();
    e2e_wait_end(id, "state", "succeeded", NULL);
    e2e_check_same_life(life);
    e2e_check_no_image(GUEST);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(test_agent_killed_in_save),
        e2e_test(test_save_ends_without_agent),
        e2e_test(test_adopted_save_is_cancelled),
        e2e_test(test_adopted_save_keeps_its_place),
        e2e_test(test_adopted_save_times_out),
        e2e_test(test_agent_ends_in_save),
        e2e_test(test_idle_agent_ends),
        e2e_test(test_agent_killed_in_restore),
        e2e_test(test_accepted_is_kept),
        e2e_test(test_second_agent_refuses),
        e2e_test(test_libvirtd_killed_in_save),
        e2e_test(test_libvirtd_killed_and_time_is_up),
        e2e_test(test_both_killed_in_save),
        e2e_test(test_libvirtd_killed_in_restore),
        cmocka_unit_test_setup_teardown(test_start_that_never_ends, e2e_setup, teardown_a_start),
        e2e_test(test_libvirtd_restart_while_paused),
        e2e_test(test_qemu_killed_in_save),
        e2e_test(test_node_crash),
        e2e_test(test_node_crash_in_save),
        e2e_test(test_node_crash_after_spent),
        e2e_test(test_node_crash_in_restore),
    };

    return e2e_main(tests);
}
