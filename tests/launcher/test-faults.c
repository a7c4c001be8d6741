/* SPDX-License-Identifier: Apache-2.0 */
/* Guests in launcher pods when something dies meanwhile: launcher, libvirtd, QEMU, pod, KubeVirt,
 * API server, node; and virt-handlers of both kinds. WK_WALK_FULL=1 runs what only takes longer. */
#include "launcher-fault.h"

static gboolean
is_full(void)
{
    return g_strcmp0(g_getenv("WK_WALK_FULL"), "1") == 0;
}

/* ---- virt-handlers and their speed ---- */

static void
there_and_back(guint delete_inactive_ms, guint container_start_ms)
{
    lab_ok(lab_standin_set("DeleteInactiveMs", delete_inactive_ms, &error));
    lab_ok(lab_standin_set("ContainerStartMs", container_start_ms, &error));
    /* a launcher whose guest is never started gives up after minutes otherwise */
    lab_ok(lab_standin_set("QemuTimeoutMs", 15000, &error));
    lf_suspend();
    lf_check_stands();
    lf_resume();
    lf_check_lives();
}

static void
test_handler_waits_fast(void **state G_GNUC_UNUSED)
{
    there_and_back(300000, 0);
}

static void
test_handler_waits_slow(void **state G_GNUC_UNUSED)
{
    there_and_back(300000, 4000);
}

/* As releases up to v1.9 are: a start that failed once is not tried again in that pod. */
static void
test_handler_deletes_fast(void **state G_GNUC_UNUSED)
{
    there_and_back(0, 0);
}

static void
test_handler_deletes_slow(void **state G_GNUC_UNUSED)
{
    there_and_back(0, 4000);
}

/* ---- in the midst of a save ---- */

/* Whatever became of the suspend, the guest is to run now. */
static void
settle_and_resume(void)
{
    lf_brake_off();
    lf_wait_settled();
    lf_act_resume();
}

static void
test_launcher_killed_in_save(void **state G_GNUC_UNUSED)
{
    lf_begin_held_save();
    lf_kill("virt-launcher");
    settle_and_resume();
    lf_check_booted_anew();
}

static void
test_libvirtd_killed_in_save(void **state G_GNUC_UNUSED)
{
    lf_begin_held_save();
    lf_kill("libvirtd");
    settle_and_resume();
    lf_check_lives();
}

static void
test_qemu_killed_in_save(void **state G_GNUC_UNUSED)
{
    lf_begin_held_save();
    lf_kill("qemu-system-x86_64");
    lf_brake_off();
    /* its launcher has nothing to wait for, which would be 45 s */
    lab_ok(lab_pod_wait_gone(lf_pod(), LAB_WAIT_MS, &error));
    settle_and_resume();
    lf_check_booted_anew();
}

/* The kubelet of a node that is short of disk gives no time. */
static void
test_evicted_at_once_in_save(void **state G_GNUC_UNUSED)
{
    lf_begin_held_save();
    lab_ok(lab_pod_evict_now(LF_NAME, &error));
    lab_ok(lab_pod_wait_gone(lf_pod(), LAB_WAIT_MS, &error));
    settle_and_resume();
    lf_check_booted_anew();
}

/* A drain gives the pod its grace, in which the save comes to its end. */
static void
test_drained_in_save(void **state G_GNUC_UNUSED)
{
    lf_begin_held_save();
    lab_ok(lab_pod_evict(LF_NAME, &error));
    settle_and_resume();
    lf_check_lives();
}

static void
test_server_killed_in_save(void **state G_GNUC_UNUSED)
{
    lf_begin_held_save();
    lab_ok(lab_kube_server_kill(&error));
    lf_brake_off();
    lf_check_stands();
    lab_ok(lab_kube_server_start(&error));
    settle_and_resume();
    lf_check_lives();
}

static void
restart_kubevirt(void)
{
    lab_ok(lab_standin_cluster_kill(&error));
    lab_ok(lab_standin_node_kill(&error));
    lab_ok(lab_standin_cluster_start(&error));
    lab_ok(lab_standin_node_start(&error));
}

static void
test_kubevirt_restarted_in_save(void **state G_GNUC_UNUSED)
{
    lf_begin_held_save();
    restart_kubevirt();
    settle_and_resume();
    lf_check_lives();
}

/* ---- suspended ---- */

static void
test_evicted_in_memory(void **state G_GNUC_UNUSED)
{
    ke_act(LF_NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until(LF_NAME, KE_STATE, "Suspended");
    lab_ok(lab_pod_evict_now(LF_NAME, &error));
    ke_until_event(LF_NAME, "PauseLost");
    lf_check_booted_anew();
}

static void
crash_and_boot(void)
{
    lab_ok(lab_node_crash(&error));
    lab_ok(lab_node_new_boot(&error));
    lab_ok(lab_standin_node_start(&error));
    lab_ok(lab_kube_agent_start(NULL, &error));
}

static void
test_node_crash_while_suspended(void **state G_GNUC_UNUSED)
{
    lf_suspend();
    crash_and_boot();
    lf_resume();
    lf_check_lives();
}

/* ---- in the midst of a resume ---- */

/* The agent stands still before @step. */
static void
begin_held_resume(const char *step)
{
    g_autofree char *failpoint = g_strdup_printf("%s=stop", step);

    lf_suspend();
    lf_agent_restart(failpoint);
    lf_act_resume();
    e2e_agent_wait_stopped();
}

static void
test_agent_restarted_while_pod_comes(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = lf_vmi();
    g_autofree char *new = NULL;

    lf_suspend();
    lab_ok(lab_standin_set("ContainerStartMs", 3000, &error));
    lf_act_resume();
    lab_ok((new = lab_vmi_wait_other(LF_NAME, old, LAB_WAIT_MS, &error)) != NULL);
    lf_agent_restart(NULL);
    lf_check_lives();
}

static void
test_server_killed_in_resume(void **state G_GNUC_UNUSED)
{
    begin_held_resume("stage.lock");
    lab_ok(lab_kube_server_kill(&error));
    e2e_agent_continue();
    lf_check_stands();
    lab_ok(lab_kube_server_start(&error));
    lf_check_lives();
}

#define TRIES   6 /* the next one after them is 32 s away */
#define SOON_US (25 * G_USEC_PER_SEC)

static gboolean
has_tried(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *tries = g_strdup_printf("\"attempt\":%d", TRIES);
    g_autofree char *answer = NULL;

    return lab_http("GET", "/v1/operations", NULL, &answer, NULL) == 200
           && strstr(answer, tries) != NULL;
}

/* However long it was away: what waits goes on when it is back, not when its time has come. */
static void
test_server_away_in_resume(void **state G_GNUC_UNUSED)
{
    gint64 back_us;

    begin_held_resume("stage.lock");
    lab_ok(lab_kube_server_kill(&error));
    e2e_agent_continue();
    lab_ok(lab_wait("tries that come to nothing", LF_LONG_MS, has_tried, NULL, &error));
    lab_ok(lab_kube_server_start(&error));
    back_us = g_get_monotonic_time();
    lf_check_lives();
    if (g_get_monotonic_time() - back_us > SOON_US)
        fail_msg("the resume went on %.0f s after the API server was back",
                 (double)(g_get_monotonic_time() - back_us) / G_USEC_PER_SEC);
}

static void
test_kubevirt_restarted_in_resume(void **state G_GNUC_UNUSED)
{
    begin_held_resume("stage.rename");
    restart_kubevirt();
    e2e_agent_continue();
    lf_check_lives();
}

static void
test_node_crash_in_resume(void **state G_GNUC_UNUSED)
{
    begin_held_resume("stage.sync-save-folder");
    crash_and_boot();
    lf_check_lives();
}

/* The restored guest goes with its QEMU before anything of it has run. */
static void
test_qemu_killed_when_restored(void **state G_GNUC_UNUSED)
{
    g_autofree char *pod = NULL;

    begin_held_resume("restore.commit-spent");
    lab_ok((pod = lab_pod_uid(LF_NAME, &error)) != NULL);
    assert_true(lab_pod_kill(pod, "qemu-system-x86_64", SIGKILL) > 0);
    e2e_agent_continue();
    lf_wait_settled();
    ke_until_event(LF_NAME, "ResumeFailed");
    ke_check(LF_NAME, KE_REASON, "ResumeInterrupted");
    lf_check_stands();
    e2e_ctl_says(0, "", "discard", LF_DOMAIN, "--yes", NULL);
    lf_check_booted_anew();
}

int
main(void)
{
    const struct CMUnitTest everyday[] = {
        lf_test(test_handler_waits_fast),
        lf_test(test_handler_deletes_fast),
        lf_test(test_launcher_killed_in_save),
        lf_test(test_libvirtd_killed_in_save),
        lf_test(test_qemu_killed_in_save),
        lf_test(test_evicted_in_memory),
        lf_test(test_drained_in_save),
        lf_test(test_server_killed_in_save),
        lf_test(test_node_crash_while_suspended),
        lf_test(test_agent_restarted_while_pod_comes),
        lf_test(test_server_killed_in_resume),
        lf_test(test_kubevirt_restarted_in_resume),
        lf_test(test_node_crash_in_resume),
        lf_test(test_qemu_killed_when_restored),
        lf_test(lf_test_paused_by_user),
        lf_test(lf_test_prechecks),
        lf_test(lf_test_operator),
        lf_test(lf_test_vm_deleted_suspended),
        lf_test(lf_test_vm_deleted_in_save),
        lf_test(lf_test_vm_deleted_in_resume),
        lf_test(lf_test_wukong_deleted),
        lf_test(lf_test_image_damaged),
        lf_test(lf_test_claim_replaced),
        lf_test(lf_test_pinned),
        lf_test(lf_test_pin_of_user),
        lf_test(lf_test_pin_not_taken),
        lf_test(lf_test_two_vms),
        lf_test(lf_test_disk_full),
    };
    const struct CMUnitTest thorough[] = {
        lf_test(test_handler_waits_slow),         lf_test(test_handler_deletes_slow),
        lf_test(test_server_away_in_resume),      lf_test(test_evicted_at_once_in_save),
        lf_test(test_kubevirt_restarted_in_save),
    };
    int failed;

    if (!lab_standin_is_available())
        return 77;
    cmocka_set_test_filter(g_getenv("WK_E2E_ONLY"));
    failed = cmocka_run_group_tests_name("faults", everyday, lf_start_node,
                                         is_full() ? NULL : lf_stop_node);
    if (is_full())
        failed += cmocka_run_group_tests_name("more faults", thorough, NULL, lf_stop_node);
    return failed;
}
