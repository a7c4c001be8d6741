/* SPDX-License-Identifier: Apache-2.0 */
/* Work that is given up: by cancel, by its deadline, by an opposite request; and fallbacks. */
#include "e2e.h"

#include <signal.h>
#include <stdio.h>

#define GUEST   "cnl"
#define OTHER   "cnl-other"
#define TO_DISK "{\"target\":\"disk\"}"

/* A save of GUEST that stands still in libvirt. */
static char *
begin_held_save(const char *body)
{
    char *id;

    e2e_brake_on();
    id = e2e_submit(GUEST, "suspend", body);
    e2e_brake_wait(1);
    e2e_wait_operation(id, "state", "running", "step", "save.managed-save", NULL);
    return id;
}

static void
test_cancel_save(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;
    g_autofree char *cancelled = NULL;

    e2e_guest_start_filled(GUEST, 16);
    life = e2e_remember(GUEST);
    id = begin_held_save(TO_DISK);
    e2e_check_guest(GUEST, "state", "Suspending", "target", "disk", "operation", id, NULL);
    cancelled = e2e_submit(GUEST, "cancel", NULL);
    assert_string_equal(cancelled, id);
    e2e_wait_end(id, "state", "cancelled", "reason", "Cancelled", "message",
                 "*Suspend cancelled: ", NULL);
    e2e_check_domstate(GUEST, "running");
    e2e_check_no_image(GUEST);
    e2e_check_guest(GUEST, "state", "Running", "operation", "", NULL);
    e2e_check_same_life(life);
}

static void
test_cancel_by_ctl(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    e2e_ctl_says(1, "nothing is under way", "cancel", GUEST, NULL);
    id = begin_held_save(TO_DISK);
    e2e_ctl_says(0, "cancelled", "cancel", GUEST, NULL);
    e2e_check_no_image(GUEST);
    e2e_check_runs(GUEST);
}

/* A guest that others had paused is paused as before. */
static void
test_cancel_save_of_a_paused_guest(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    e2e_virsh_do("suspend", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Suspended", NULL);
    id = begin_held_save(TO_DISK);
    e2e_ctl_says(0, "cancelled", "cancel", GUEST, NULL);
    e2e_wait_end(id, "state", "cancelled", NULL);
    e2e_check_domstate(GUEST, "paused");
    e2e_check_no_image(GUEST);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "memory", "origin", "outside", NULL);
    e2e_virsh_do("resume", GUEST);
    e2e_check_runs(GUEST);
}

/* One that we had paused, too, and it is still ours. */
static void
test_cancel_move_to_disk(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "paused in memory", "suspend", GUEST, "--to", "memory", NULL);
    id = begin_held_save(TO_DISK);
    e2e_ctl_says(0, "cancelled", "cancel", GUEST, NULL);
    e2e_wait_end(id, "state", "cancelled", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "memory", "origin", "local", NULL);
    e2e_check_domstate(GUEST, "paused");
    e2e_ctl_says(0, "resumed from memory", "resume", GUEST, NULL);
    e2e_check_runs(GUEST);
}

static void
test_cancel_queued(void **state G_GNUC_UNUSED)
{
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    e2e_agent_configure("[suspend]\nparallel-saves=1\n");
    e2e_guest_start(GUEST);
    e2e_guest_start(OTHER);
    first = begin_held_save(TO_DISK);
    second = e2e_submit(OTHER, "suspend", TO_DISK);
    e2e_wait_operation(second, "state", "queued", NULL);
    e2e_ctl_says(0, "cancelled", "cancel", OTHER, NULL);
    e2e_wait_end(second, "state", "cancelled", NULL);
    e2e_check_no_image(OTHER);
    e2e_check_guest(OTHER, "state", "Running", NULL);
    e2e_check_runs(OTHER);
    e2e_brake_off();
    e2e_wait_end(first, "state", "succeeded", NULL);
}

static gboolean
is_starting(gpointer name)
{
    int reason = 0;

    return lab_domain_state(name, &reason, NULL) == VIR_DOMAIN_PAUSED
           && reason == VIR_DOMAIN_PAUSED_STARTING_UP;
}

static GPid
pid_of_qemu(const char *name)
{
    g_autofree char *path = g_strdup_printf("/run/libvirt/qemu/%s.pid", name);
    g_autofree char *text = NULL;

    lab_ok(g_file_get_contents(path, &text, NULL, &error));
    return (GPid)g_ascii_strtoll(text, NULL, 10);
}

/* libvirt ends a start by SIGTERM; a stopped process has it pending. */
static gboolean
has_pending_term(gpointer pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", GPOINTER_TO_INT(pid));
    g_autofree char *text = NULL;
    unsigned long long mask = 0;
    const char *line;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return TRUE;
    line = strstr(text, "ShdPnd:");
    return line != NULL && sscanf(line, "ShdPnd: %llx", &mask) == 1
           && (mask & (1ULL << (SIGTERM - 1))) != 0;
}

/* Libvirt can't abort a restore: the half loaded guest is ended, its image stays (F24). */
static void
test_cancel_restore(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;
    g_autofree char *cancelled = NULL;
    GPid qemu;

    e2e_guest_start_filled(GUEST, 32);
    life = e2e_remember(GUEST);
    e2e_ctl_says(0, "saved to disk", "suspend", GUEST, "--to", "disk", NULL);
    id = e2e_submit(GUEST, "resume", NULL);
    lab_ok(lab_wait("the restore", LAB_WAIT_MS, is_starting, (char *)GUEST, &error));
    qemu = pid_of_qemu(GUEST);
    kill(qemu, SIGSTOP);
    e2e_wait_operation(id, "state", "running", "step", "restore.start-paused", NULL);
    e2e_check_guest(GUEST, "state", "Resuming", "target", "disk", NULL);
    cancelled = e2e_submit(GUEST, "cancel", NULL);
    lab_ok(
        lab_wait("QEMU to be ended", LAB_WAIT_MS, has_pending_term, GINT_TO_POINTER(qemu), &error));
    kill(qemu, SIGCONT);
    e2e_wait_end(id, "state", "cancelled", "message", "*Resume cancelled: ", NULL);
    e2e_check_domstate(GUEST, "shut off");
    e2e_check_image(GUEST);
    e2e_check_ledger(GUEST, "state", "sealed");
    e2e_check_guest(GUEST, "state", "Suspended", "target", "disk", "restorable", "true", NULL);
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_same_life(life);
}

/* Cancelled when all is loaded, right before the point of no return. */
static void
test_cancel_restore_late(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;
    g_autofree char *cancelled = NULL;

    e2e_agent_restart("restore.start-paused=sleep:2000");
    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    e2e_ctl_says(0, "saved to disk", "suspend", GUEST, "--to", "disk", NULL);
    id = e2e_submit(GUEST, "resume", NULL);
    e2e_wait_operation(id, "state", "running", "step", "restore.start-paused", NULL);
    cancelled = e2e_submit(GUEST, "cancel", NULL);
    e2e_wait_end(id, "state", "cancelled", NULL);
    e2e_check_domstate(GUEST, "shut off");
    e2e_check_image(GUEST);
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_same_life(life);
}

/* ---- deadlines ---- */

static void
test_save_timeout(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    id = begin_held_save("{\"target\":\"disk\",\"timeoutSeconds\":1}");
    e2e_wait_end(id, "state", "failed", "reason", "Timeout", "message", "*Suspend timeout: ", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_guest(GUEST, "state", "Running", "reason", "Timeout", "message",
                    "*Suspend timeout: ", "lastAction", "suspend", NULL);
    e2e_check_same_life(life);
}

static void
test_ctl_timeout(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_brake_on();
    e2e_ctl_says(1, "Suspend timeout: ", "suspend", GUEST, "--to", "disk", "--timeout", "1", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_runs(GUEST);
}

static void
test_restore_timeout(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    e2e_agent_restart("restore.start-paused=sleep:2000");
    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    e2e_ctl_says(0, "saved to disk", "suspend", GUEST, "--to", "disk", NULL);
    e2e_ctl_says(1, "Resume timeout: ", "resume", GUEST, "--timeout", "1", NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "disk", "restorable", "true", "message",
                    "*Resume timeout: ", NULL);
    e2e_check_image(GUEST);
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_same_life(life);
}

/* Its deadline runs while a request waits behind another one, too. */
static void
test_queued_timeout(void **state G_GNUC_UNUSED)
{
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    e2e_agent_configure("[suspend]\nparallel-saves=1\n");
    e2e_guest_start(GUEST);
    e2e_guest_start(OTHER);
    first = begin_held_save(TO_DISK);
    second = e2e_submit(OTHER, "suspend", "{\"target\":\"disk\",\"timeoutSeconds\":1}");
    e2e_wait_end(second, "state", "failed", "reason", "Timeout", NULL);
    e2e_check_guest(OTHER, "state", "Running", NULL);
    e2e_check_runs(OTHER);
    e2e_brake_off();
    e2e_wait_end(first, "state", "succeeded", NULL);
}

/* ---- requests that meet ---- */

static void
test_resume_while_saving(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *save = NULL;
    g_autofree char *resume = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    save = begin_held_save(TO_DISK);
    resume = e2e_submit(GUEST, "resume", NULL);
    e2e_wait_end(save, "state", "cancelled", "reason", "Superseded", NULL);
    e2e_wait_end(resume, "state", "succeeded", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_domstate(GUEST, "running");
    e2e_check_guest(GUEST, "state", "Running", "lastAction", "resume", NULL);
    e2e_check_same_life(life);
}

static void
test_suspend_while_restoring(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *resume = NULL;
    g_autofree char *suspend = NULL;

    e2e_agent_restart("restore.start-paused=sleep:500");
    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    e2e_ctl_says(0, "saved to disk", "suspend", GUEST, "--to", "disk", NULL);
    resume = e2e_submit(GUEST, "resume", NULL);
    e2e_wait_operation(resume, "state", "running", "step", "restore.start-paused", NULL);
    suspend = e2e_submit(GUEST, "suspend", TO_DISK);
    e2e_wait_end(resume, "state", "succeeded", NULL);
    e2e_wait_end(suspend, "state", "succeeded", "reason", "SavedToDisk", NULL);
    e2e_check_image(GUEST);
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_same_life(life);
}

static void
test_same_request_twice(void **state G_GNUC_UNUSED)
{
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    e2e_guest_start(GUEST);
    first = begin_held_save(TO_DISK);
    second = e2e_submit(GUEST, "suspend", TO_DISK);
    assert_string_equal(first, second);
    assert_int_equal(e2e_count_operations(), 1);
    e2e_brake_off();
    e2e_wait_end(first, "state", "succeeded", NULL);
}

static gpointer
submit_suspend(gpointer data G_GNUC_UNUSED)
{
    char *answer = NULL;

    if (lab_http("POST", "/v1/guests/" GUEST "/suspend", TO_DISK, &answer, NULL) != 202)
        g_clear_pointer(&answer, g_free);
    return answer;
}

/* Also when they come at the same moment. */
static void
test_same_request_at_once(void **state G_GNUC_UNUSED)
{
    GThread *threads[4];
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    e2e_brake_on();
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("suspend", submit_suspend, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_autofree char *answer = g_thread_join(threads[i]);

        assert_non_null(answer);
    }
    e2e_brake_wait(1);
    assert_int_equal(e2e_count_operations(), 1);
    id = e2e_guest(GUEST, "operation");
    e2e_brake_off();
    e2e_wait_end(id, "state", "succeeded", NULL);
}

/* ---- fallbacks ---- */

static void
test_fallback_after_timeout(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    id = begin_held_save("{\"target\":\"disk\",\"timeoutSeconds\":1,\"fallback\":\"memory\"}");
    e2e_wait_end(id, "state", "succeeded", "reason", "FellBack", "message",
                 "*suspended to memory instead", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_domstate(GUEST, "paused");
    e2e_check_guest(GUEST, "state", "Suspended", "target", "memory", "reason", "FellBack", NULL);
    e2e_ctl_says(0, "resumed from memory", "resume", GUEST, NULL);
    e2e_check_runs(GUEST);
}

static void
test_fallback_stop(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    id = begin_held_save("{\"target\":\"disk\",\"timeoutSeconds\":1,\"fallback\":\"stop\"}");
    e2e_wait_end(id, "state", "succeeded", "reason", "StoppedByFallback", NULL);
    e2e_brake_off();
    e2e_check_no_image(GUEST);
    e2e_check_domstate(GUEST, "shut off");
    e2e_check_guest(GUEST, "state", "Stopped", "target", "", "reason", "StoppedByFallback", NULL);
    e2e_agent_restart(NULL);
    e2e_check_guest(GUEST, "state", "Stopped", "reason", "StoppedByFallback", NULL);
    e2e_ctl_says(0, "started again", "resume", "--all", NULL);
    e2e_check_domstate(GUEST, "running");
    e2e_check_guest(GUEST, "state", "Running", "reason", "", NULL);
    e2e_check_ledger(GUEST, "stopped_by_fallback", "0");
    e2e_check_other_life(life);
}

/* Somebody starts and stops it meanwhile: then it is an ordinary stopped guest. */
static void
test_fallback_stop_is_forgotten(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    id = begin_held_save("{\"target\":\"disk\",\"timeoutSeconds\":1,\"fallback\":\"stop\"}");
    e2e_wait_end(id, "state", "succeeded", "reason", "StoppedByFallback", NULL);
    e2e_brake_off();
    lab_ok(lab_guest_create(GUEST, &error));
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Running", "reason", "", NULL);
    e2e_virsh_do("destroy", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Stopped", "reason", "", NULL);
    e2e_ctl_says(1, "start it with the usual tool", "resume", GUEST, NULL);
    e2e_check_domstate(GUEST, "shut off");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(test_cancel_save),
        e2e_test(test_cancel_by_ctl),
        e2e_test(test_cancel_save_of_a_paused_guest),
        e2e_test(test_cancel_move_to_disk),
        e2e_test(test_cancel_queued),
        e2e_test(test_cancel_restore),
        e2e_test(test_cancel_restore_late),
        e2e_test(test_save_timeout),
        e2e_test(test_ctl_timeout),
        e2e_test(test_restore_timeout),
        e2e_test(test_queued_timeout),
        e2e_test(test_resume_while_saving),
        e2e_test(test_suspend_while_restoring),
        e2e_test(test_same_request_twice),
        e2e_test(test_same_request_at_once),
        e2e_test(test_fallback_after_timeout),
        e2e_test(test_fallback_stop),
        e2e_test(test_fallback_stop_is_forgotten),
    };

    return e2e_main(tests);
}
