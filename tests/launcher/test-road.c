/* SPDX-License-Identifier: Apache-2.0 */
/* The main road: guests in launcher pods are suspended to memory and to disk by kubectl, their pods
 * go, and they come back in new ones with the memory that they had. */
#include "kube-e2e.h"
#include "lab-pod.h"

#define NAME "vm"
#define VM   NAME "-vm"

#define KE_ORIGIN "{.status.lifecycleState.origin}"

static int
start_node(void **state)
{
    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    lab_ok(lab_standin_start(&error));
    (void)state;
    return 0;
}

static void
start(void)
{
    lab_ok(lab_vm_start(NAME, NULL, &error));
    lab_ok(lab_kube_agent_start(NULL, &error));
    ke_until(NAME, KE_STATE, "Running");
}

static int
teardown(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_standin_reset(&error));
    lab_ok(lab_vm_delete(NAME, &error)); /* no lock is left behind */
    lab_ok(lab_agent_kill(&error));
    return 0;
}

#define PAUSED "{.status.conditions[?(@.type==\"Paused\")].status}"

/* Suspended is told once KubeVirt knows of it as well. */
static void
check_told(gint64 began_us)
{
    g_autofree char *paused = NULL;

    ke_until(NAME, KE_STATE, "Suspended");
    print_message("# suspended to memory, as kubectl sees it: %d ms\n",
                  (int)((g_get_monotonic_time() - began_us) / 1000));
    lab_ok((paused = lab_vmi_get(NAME, PAUSED, &error)) != NULL);
    assert_string_equal(paused, "True");
    ke_check(NAME, KE_ORIGIN, "spec");
}

static void
test_memory(void **state G_GNUC_UNUSED)
{
    g_autofree char *domain = lab_vm_domain(NAME);
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    gint64 began_us;

    start();
    lab_ok((before = lab_guest_nonce(domain, &error)) != NULL);
    began_us = g_get_monotonic_time();
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    check_told(began_us);
    ke_until(NAME, KE_ACTION, "");
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_STATE, "Running");
    lab_ok((after = lab_guest_nonce(domain, &error)) != NULL);
    assert_string_equal(before, after);
}

/* KubeVirt takes longer than it is waited for in one try. */
static void
test_memory_told_late(void **state G_GNUC_UNUSED)
{
    gint64 began_us;

    start();
    lab_ok(lab_standin_set("PausedLagMs", 7000, &error));
    began_us = g_get_monotonic_time();
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    check_told(began_us);
    assert_true(g_get_monotonic_time() - began_us > 7 * G_USEC_PER_SEC);
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_STATE, "Running");
}

/* It never says so: the guest runs on, and that is told. */
static void
test_memory_never_told(void **state G_GNUC_UNUSED)
{
    g_autofree char *domain = lab_vm_domain(NAME);

    start();
    lab_ok(lab_standin_set("PausedLagMs", 600000, &error));
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\",\"timeoutSeconds\":8}");
    lab_ok(lab_guest_wait_quiet(domain, LAB_WAIT_MS, &error));
    ke_until(NAME, KE_DONE_REASON, "Timeout");
    ke_until_event(NAME, "SuspendFailed");
    ke_until(NAME, KE_STATE, "Running");
    lab_ok(lab_guest_wait_ticking(domain, LAB_WAIT_MS, &error));
}

/* The same for its end. */
static void
test_resume_told_late(void **state G_GNUC_UNUSED)
{
    g_autofree char *paused = NULL;

    start();
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    lab_ok(lab_standin_set("RunningLagMs", 2000, &error));
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_STATE, "Running");
    lab_ok((paused = lab_vmi_get(NAME, PAUSED, &error)) != NULL);
    assert_string_equal(paused, "");
}

#define MESSAGE "{.status.lifecycleState.message}"

/* The time that is told is that of the whole of it, most of which is waiting for KubeVirt. */
static void
check_time_told(const char *words, gint64 began_us)
{
    const double took_s = (double)(g_get_monotonic_time() - began_us) / G_USEC_PER_SEC;
    g_autofree char *message = NULL;
    const char *time;

    lab_ok((message = lab_kube_get(NAME, MESSAGE, &error)) != NULL);
    time = strstr(message, " in ");
    if (!g_str_has_prefix(message, words) || time == NULL
        || g_ascii_strtod(time + 4, NULL) < took_s / 2)
        fail_msg("after %.1f s: %s", took_s, message);
}

static void
test_disk(void **state G_GNUC_UNUSED)
{
    g_autofree char *domain = lab_vm_domain(NAME);
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    g_autofree char *pod = NULL;
    g_autofree char *vmi = NULL;
    g_autofree char *other = NULL;
    gint64 began_us;

    start();
    lab_ok((before = lab_guest_nonce(domain, &error)) != NULL);
    lab_ok((pod = lab_pod_uid(NAME, &error)) != NULL);
    lab_ok((vmi = lab_vmi_uid(NAME, &error)) != NULL);
    began_us = g_get_monotonic_time();
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    check_time_told("saved to disk: ", began_us);
    ke_until(NAME, KE_ACTION, "");
    lab_ok(lab_pod_wait_gone(pod, 1000, &error));
    began_us = g_get_monotonic_time();
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_STATE, "Running");
    check_time_told("resumed from disk ", began_us);
    lab_ok((other = lab_vmi_wait_other(NAME, vmi, 1000, &error)) != NULL);
    lab_ok((after = lab_guest_nonce(domain, &error)) != NULL);
    assert_string_equal(before, after);
    lab_ok(lab_guest_check_log(domain, &error));
}

/* A guest that libvirt runs and KubeVirt still starts is not back yet: who pauses or saves it again
 * would be refused, and the next look would tell of a start. */
static void
test_disk_told_late(void **state G_GNUC_UNUSED)
{
    g_autofree char *phase = NULL;
    gint64 began_us;

    start();
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    lab_ok(lab_standin_set("RunningLagMs", 2000, &error));
    began_us = g_get_monotonic_time();
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_STATE, "Running");
    lab_ok((phase = lab_vmi_get(NAME, "{.status.phase}", &error)) != NULL);
    assert_string_equal(phase, "Running");
    check_time_told("resumed from disk ", began_us);
}

/* It is not waited for without end: the guest runs, whether KubeVirt says so or not. */
static void
test_disk_never_told(void **state G_GNUC_UNUSED)
{
    g_autofree char *domain = lab_vm_domain(NAME);

    start();
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    lab_ok(lab_standin_set("RunningLagMs", 600000, &error));
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_ACTION, "");
    ke_until_event(NAME, "Resumed");
    lab_ok(lab_guest_wait_ticking(domain, LAB_WAIT_MS, &error));
}

/* A pod whose domain is undefined already has nothing to look at, for as long as its launcher
 * likes: that is no failure. */
static void
test_pod_without_domain(void **state G_GNUC_UNUSED)
{
    g_autofree char *log = NULL;

    lab_ok(lab_standin_set("ExitLagMs", 3000, &error));
    start();
    lab_ok(lab_vm_delete(NAME, &error));
    log = lab_log("wukongd");
    assert_null(strstr(log, "can't be looked at"));
}

/* A server that has just started answers 404 where it knows no CRDs yet: nothing is dropped for
 * that. */
static void
test_server_restarts(void **state G_GNUC_UNUSED)
{
    g_autofree char *domain = lab_vm_domain(NAME);
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    start();
    lab_ok((before = lab_guest_nonce(domain, &error)) != NULL);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    for (int i = 0; i < 3; i++) {
        lab_ok(lab_kube_server_kill(&error));
        lab_ok(lab_kube_server_start(&error));
    }
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until_within(NAME, KE_STATE, "Running", 60000);
    lab_ok((after = lab_guest_nonce(domain, &error)) != NULL);
    assert_string_equal(before, after);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_memory, teardown),
        cmocka_unit_test_teardown(test_memory_told_late, teardown),
        cmocka_unit_test_teardown(test_memory_never_told, teardown),
        cmocka_unit_test_teardown(test_resume_told_late, teardown),
        cmocka_unit_test_teardown(test_disk, teardown),
        cmocka_unit_test_teardown(test_disk_told_late, teardown),
        cmocka_unit_test_teardown(test_disk_never_told, teardown),
        cmocka_unit_test_teardown(test_pod_without_domain, teardown),
        cmocka_unit_test_teardown(test_server_restarts, teardown),
    };

    if (!lab_standin_is_available())
        return 77;
    cmocka_set_test_filter(g_getenv("WK_E2E_ONLY"));
    return cmocka_run_group_tests_name("road", tests, start_node, NULL);
}
