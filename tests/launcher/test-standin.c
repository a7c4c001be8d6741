/* SPDX-License-Identifier: Apache-2.0 */
/* What KubeVirt does to those who pause its guests behind its back, and what happens to pods. The
 * table in README.md names the facts. */
#include "launcher-e2e.h"

#include <signal.h>
#include <string.h>

#define PAUSED "{.status.conditions[?(@.type==\"Paused\")].reason}"

/* ---- suspend to memory ---- */

static void
test_raw_suspend_is_undone(void **state G_GNUC_UNUSED)
{
    g_autofree char *domstate = NULL;
    gint64 from;

    le_start(NULL);
    le_virsh("suspend", LE_DOMAIN);
    from = g_get_monotonic_time();
    lab_ok(lab_guest_wait_ticking(LE_DOMAIN, LE_UNDO_MS, &error));
    print_message("raw suspend undone after %d ms\n",
                  (int)((g_get_monotonic_time() - from) / 1000));
    lab_ok((domstate = lab_pod_domstate(LE_NAME, &error)) != NULL);
    assert_string_equal(domstate, "running (unpaused)");
}

static void
test_pause_by_subresource_holds(void **state G_GNUC_UNUSED)
{
    le_start(NULL);
    le_subresource("unpause", "not paused");
    le_subresource("pause", NULL);
    lab_ok(lab_vmi_wait(LE_NAME, PAUSED, "PausedByUser", LAB_WAIT_MS, &error));
    le_check_stands(LE_HOLD_MS);
    le_subresource("pause", "already paused");
    /* the launcher remembers: raw ones are left alone from now on */
    le_virsh("resume", LE_DOMAIN);
    lab_ok(lab_guest_wait_ticking(LE_DOMAIN, LAB_WAIT_MS, &error));
    le_virsh("suspend", LE_DOMAIN);
    le_check_stands(LE_HOLD_MS);
    lab_ok(lab_vmi_wait(LE_NAME, PAUSED, "PausedByUser", LAB_WAIT_MS, &error));
    le_subresource("unpause", NULL);
    lab_ok(lab_guest_wait_ticking(LE_DOMAIN, LAB_WAIT_MS, &error));
    lab_ok(lab_vmi_wait(LE_NAME, PAUSED, "", LAB_WAIT_MS, &error));
    le_virsh("suspend", LE_DOMAIN);
    lab_ok(lab_guest_wait_ticking(LE_DOMAIN, LE_UNDO_MS, &error));
}

static void
test_pause_is_refused(void **state G_GNUC_UNUSED)
{
    LabVmOptions options = { .spec = "livenessProbe: {tcpSocket: {port: 1}}" };
    g_autofree char *out = NULL;

    lab_ok(lab_vm_start(LE_NAME, &options, &error));
    le_subresource("pause", "LivenessProbe");
    lab_ok(
        (out = lab_kubectl_out(&error, "patch", "vm/a-vm", "--subresource=status", "--type=merge",
                               "-p", "{\"status\":{\"snapshotInProgress\":\"s\"}}", NULL))
        != NULL);
    le_subresource("unpause", "snapshot");
}

/* ---- what else happens to pods ---- */

static void
test_eviction_cold_boots(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *pod = NULL;

    le_start(NULL);
    old = le_nonce();
    pod = le_pod_uid();
    lab_ok(lab_pod_evict(LE_NAME, &error));
    lab_ok(lab_pod_wait_gone(pod, LAB_WAIT_MS, &error));
    le_wait_cold_boot(old);
}

static void
test_node_pressure_cold_boots(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *pod = NULL;

    le_start(NULL);
    old = le_nonce();
    pod = le_pod_uid();
    lab_ok(lab_pod_evict_now(LE_NAME, &error));
    lab_ok(lab_pod_wait_gone(pod, LAB_WAIT_MS, &error));
    le_wait_cold_boot(old);
}

static void
test_kubevirt_restart_harms_nobody(void **state G_GNUC_UNUSED)
{
    g_autofree char *pod = NULL;
    g_autofree char *old = NULL;
    g_autofree char *new = NULL;

    le_start(NULL);
    pod = le_pod_uid();
    old = le_nonce();
    lab_ok(lab_standin_cluster_kill(&error));
    lab_ok(lab_standin_node_kill(&error));
    lab_ok(lab_standin_node_start(&error));
    lab_ok(lab_standin_start(&error));
    assert_int_equal(lab_pod_kill(pod, "libvirtd", SIGKILL), 1);
    lab_ok(lab_guest_wait_ticking(LE_DOMAIN, LAB_WAIT_MS, &error));
    le_subresource("pause", NULL);
    le_check_stands(LE_HOLD_MS);
    le_subresource("unpause", NULL);
    lab_ok(lab_guest_wait_ticking(LE_DOMAIN, LAB_WAIT_MS, &error));
    new = le_nonce();
    assert_string_equal(new, old);
}

static void
test_dead_qemu_and_launcher(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *second = NULL;
    g_autofree char *pod = NULL;
    g_autofree char *next = NULL;

    le_start(NULL);
    old = le_nonce();
    pod = le_pod_uid();
    assert_int_equal(lab_pod_kill(pod, "qemu-system-x86_64", SIGKILL), 1);
    le_wait_cold_boot(old);
    second = le_nonce();
    next = le_pod_uid();
    assert_string_not_equal(next, pod);
    assert_int_equal(kill(lab_pod_launcher_pid(next), SIGKILL), 0);
    le_wait_cold_boot(second);
}

static void
test_node_crash_cold_boots(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;

    le_start(NULL);
    old = le_nonce();
    lab_ok(lab_node_crash(&error));
    lab_ok(lab_node_new_boot(&error));
    lab_ok(lab_standin_node_start(&error));
    le_wait_cold_boot(old);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        le_test(test_raw_suspend_is_undone),    le_test(test_pause_by_subresource_holds),
        le_test(test_pause_is_refused),         le_test(test_eviction_cold_boots),
        le_test(test_node_pressure_cold_boots), le_test(test_kubevirt_restart_harms_nobody),
        le_test(test_dead_qemu_and_launcher),   le_test(test_node_crash_cold_boots),
    };

    return le_main(tests);
}
