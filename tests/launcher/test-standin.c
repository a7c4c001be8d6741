/* SPDX-License-Identifier: Apache-2.0 */
/* What KubeVirt does to those who suspend its guests behind its back: each test is a naive way that
 * fails, or the fact that a right one builds on. The table in README.md names the facts. */
#include "lab-pod.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NAME      "a"
#define DOMAIN    "default_a-vm"
#define HELD      LAB_DIR "/held.save" /* one file system with the pods' folders */
#define FINALIZER "wukong.novasphere.dev/saved-state"
#define GUARD     "{.status.conditions[?(@.type==\"Synchronized\")].message}"
#define PAUSED    "{.status.conditions[?(@.type==\"Paused\")].reason}"
#define UNDO_MS   3000 /* KubeVirt resumes within a second; this machine may be busy */
#define HOLD_MS   2500 /* and after so long it would have */

static int
start_cluster(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    lab_ok(lab_standin_start(&error));
    return 0;
}

static int
teardown(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_standin_reset(&error));
    lab_ok(lab_vm_delete(NAME, &error));
    unlink(HELD);
    return 0;
}

/* ---- what the tests do by hand ---- */

static void
start_vm(const char *run_strategy)
{
    LabVmOptions options = { .run_strategy = run_strategy };

    lab_ok(lab_vm_start(NAME, &options, &error));
}

static char *
nonce(void)
{
    char *nonce = NULL;

    lab_ok((nonce = lab_guest_nonce(DOMAIN, &error)) != NULL);
    return nonce;
}

static char *
pod_uid(void)
{
    char *uid = NULL;

    lab_ok((uid = lab_pod_uid(NAME, &error)) != NULL);
    return uid;
}

static char *
vmi_uid(void)
{
    char *uid = NULL;

    lab_ok((uid = lab_vmi_uid(NAME, &error)) != NULL);
    return uid;
}

static void
virsh(const char *verb, const char *what)
{
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_pod_virsh(NAME, &output, &error, verb, what, NULL));
    if (output.status != 0)
        fail_msg("virsh %s: %s", verb, output.err);
}

static void
subresource(const char *verb, const char *refused_with)
{
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_vm_subresource(NAME, verb, &output, &error));
    if (refused_with == NULL && output.status != 0)
        fail_msg("%s: %s", verb, output.err);
    if (refused_with != NULL && (output.status == 0 || strstr(output.err, refused_with) == NULL))
        fail_msg("%s: not refused with '%s': %s", verb, refused_with, output.err);
}

static void
check_stands(guint ms)
{
    lab_ok(lab_guest_wait_quiet(DOMAIN, LAB_WAIT_MS, &error));
    assert_false(lab_guest_is_ticking(DOMAIN, ms));
}

/* Another life: booted, not restored. */
static void
wait_cold_boot(const char *old)
{
    gint64 deadline = g_get_monotonic_time() + LAB_POD_MS * G_GINT64_CONSTANT(1000);

    for (;;) {
        g_autofree char *new = NULL;

        lab_ok(lab_guest_wait_ticking(DOMAIN, LAB_POD_MS, &error));
        new = nonce();
        if (!g_str_equal(new, old))
            return;
        if (g_get_monotonic_time() > deadline)
            fail_msg("no cold boot: still nonce %s", old);
    }
}

static void
lock(void)
{
    lab_ok(lab_vmi_patch(NAME,
                         "{\"metadata\":{\"finalizers\":["
                         "\"kubevirt.io/virtualMachineControllerFinalize\","
                         "\"kubevirt.io/foregroundDeleteVirtualMachine\",\"" FINALIZER "\"]}}",
                         &error));
}

static void
unlock(void)
{
    lab_ok(lab_vmi_patch(NAME, "{\"metadata\":{\"finalizers\":null}}", &error));
}

/* Saves it by hand, keeps the image outside the pod and lets the pod end. */
static void
hibernate(void)
{
    g_autofree char *path = NULL;
    g_autofree char *uid = pod_uid();

    lock();
    subresource("pause", NULL);
    virsh("managedsave", DOMAIN);
    lab_ok((path = lab_pod_save_path(NAME, &error)) != NULL);
    assert_int_equal(link(path, HELD), 0);
    virsh("managedsave-remove", DOMAIN);
    lab_ok(lab_pod_wait_gone(uid, LAB_WAIT_MS, &error));
}

/* The save folder in a pod whose container has not started yet. Returns: the managed path. */
static char *
make_save_folder(void)
{
    g_autofree char *path = NULL;
    g_autofree char *save = NULL;
    g_autofree char *qemu = NULL;
    g_autofree char *libvirt = NULL;
    const char *folders[3];

    lab_ok((path = lab_pod_save_path(NAME, &error)) != NULL);
    save = g_path_get_dirname(path);
    qemu = g_path_get_dirname(save);
    libvirt = g_path_get_dirname(qemu);
    folders[0] = libvirt;
    folders[1] = qemu;
    folders[2] = save;
    for (gsize i = 0; i < G_N_ELEMENTS(folders); i++)
        if (mkdir(folders[i], 0700) != 0 || chown(folders[i], 107, 107) != 0)
            fail_msg("%s can't be made", folders[i]);
    return g_steal_pointer(&path);
}

static gboolean
has_new_pod(gpointer old)
{
    g_autofree char *uid = lab_pod_uid(NAME, NULL);
    g_autofree char *last = uid != NULL ? lab_pod_volume(uid, "hotplug-disks") : NULL;

    return uid != NULL && !g_str_equal(uid, old) && g_file_test(last, G_FILE_TEST_IS_DIR);
}

/* Lets the successor come, whose container takes its time to start. */
static void
release(const char *old_pod)
{
    lab_ok(lab_standin_set("ContainerStartMs", 3000, &error));
    unlock();
    lab_ok(lab_wait("the successor's pod", LAB_WAIT_MS, has_new_pod, (char *)old_pod, &error));
}

static void
write_guard(const char *path)
{
    char guard[92] = "not an image";

    lab_ok(g_file_set_contents(path, guard, sizeof guard, &error));
    assert_int_equal(chown(path, 107, 107), 0);
}

static gboolean
sync_says(gpointer data)
{
    g_autofree char *message = lab_vmi_get(NAME, GUARD, NULL);

    return message != NULL && strstr(message, data) != NULL;
}

static void
wait_sync_error(const char *text)
{
    if (!lab_wait("an error", LAB_WAIT_MS, sync_says, (char *)text, NULL)) {
        g_autofree char *message = lab_vmi_get(NAME, GUARD, NULL);

        fail_msg("no error '%s': '%s'", text, message);
    }
}

/* The old VMI's uid gives way to the new one's in the image's XML. */
static void
rewrite_image(const char *path, const char *old_vmi)
{
    g_autofree char *new_vmi = vmi_uid();
    static const char xml[] = LAB_DIR "/image.xml";
    g_auto(LabOutput) output = { 0 };
    g_auto(LabOutput) defined = { 0 };
    g_autoptr(GString) text = NULL;

    lab_ok(lab_pod_virsh(NAME, &output, &error, "save-image-dumpxml", path, NULL));
    assert_int_equal(output.status, 0);
    text = g_string_new(output.out);
    assert_true(g_string_replace(text, old_vmi, new_vmi, 0) > 0);
    lab_ok(g_file_set_contents(xml, text->str, -1, &error));
    lab_ok(lab_pod_virsh(NAME, &defined, &error, "save-image-define", path, xml, NULL));
    if (defined.status != 0)
        fail_msg("%s", defined.err);
}

#define MANAGED "/var/run/kubevirt-private/libvirt/qemu/save/" DOMAIN ".save"

/* ---- suspend to memory ---- */

static void
test_raw_suspend_is_undone(void **state G_GNUC_UNUSED)
{
    g_autofree char *domstate = NULL;
    gint64 from;

    start_vm(NULL);
    virsh("suspend", DOMAIN);
    from = g_get_monotonic_time();
    lab_ok(lab_guest_wait_ticking(DOMAIN, UNDO_MS, &error));
    print_message("raw suspend undone after %d ms\n",
                  (int)((g_get_monotonic_time() - from) / 1000));
    lab_ok((domstate = lab_pod_domstate(NAME, &error)) != NULL);
    assert_string_equal(domstate, "running (unpaused)");
}

static void
test_pause_by_subresource_holds(void **state G_GNUC_UNUSED)
{
    start_vm(NULL);
    subresource("unpause", "not paused");
    subresource("pause", NULL);
    lab_ok(lab_vmi_wait(NAME, PAUSED, "PausedByUser", LAB_WAIT_MS, &error));
    check_stands(HOLD_MS);
    subresource("pause", "already paused");
    /* the launcher remembers: raw ones are left alone from now on */
    virsh("resume", DOMAIN);
    lab_ok(lab_guest_wait_ticking(DOMAIN, LAB_WAIT_MS, &error));
    virsh("suspend", DOMAIN);
    check_stands(HOLD_MS);
    lab_ok(lab_vmi_wait(NAME, PAUSED, "PausedByUser", LAB_WAIT_MS, &error));
    subresource("unpause", NULL);
    lab_ok(lab_guest_wait_ticking(DOMAIN, LAB_WAIT_MS, &error));
    lab_ok(lab_vmi_wait(NAME, PAUSED, "", LAB_WAIT_MS, &error));
    virsh("suspend", DOMAIN);
    lab_ok(lab_guest_wait_ticking(DOMAIN, UNDO_MS, &error));
}

static void
test_pause_is_refused(void **state G_GNUC_UNUSED)
{
    LabVmOptions options = { .spec = "livenessProbe: {tcpSocket: {port: 1}}" };
    g_autofree char *out = NULL;

    lab_ok(lab_vm_start(NAME, &options, &error));
    subresource("pause", "LivenessProbe");
    lab_ok(
        (out = lab_kubectl_out(&error, "patch", "vm/a-vm", "--subresource=status", "--type=merge",
                               "-p", "{\"status\":{\"snapshotInProgress\":\"s\"}}", NULL))
        != NULL);
    subresource("unpause", "snapshot");
}

/* ---- suspend to disk ---- */

static void
test_image_left_blocks_undefine(void **state G_GNUC_UNUSED)
{
    g_autofree char *uid = NULL;
    g_autofree char *log = NULL;
    gint64 from;
    int lived_ms;

    lab_ok(lab_standin_set("UndefineWaitMs", 2000, &error));
    lab_ok(lab_standin_set("KillWaitMs", 2000, &error));
    start_vm("RerunOnFailure");
    uid = pod_uid();
    virsh("managedsave", DOMAIN);
    from = g_get_monotonic_time();
    lab_ok(lab_pod_wait_gone(uid, LAB_WAIT_MS, &error));
    lived_ms = (int)((g_get_monotonic_time() - from) / 1000);
    print_message("with its image left the pod lived on for %d ms\n", lived_ms);
    assert_true(lived_ms >= 4000);
    log = lab_pod_log(NAME, uid);
    assert_non_null(strstr(log, "Refusing to undefine"));
}

static void
test_image_removed_ends_the_pod(void **state G_GNUC_UNUSED)
{
    g_autofree char *uid = NULL;
    gint64 from;

    start_vm("Manual");
    uid = pod_uid();
    virsh("managedsave", DOMAIN);
    virsh("managedsave-remove", DOMAIN);
    from = g_get_monotonic_time();
    lab_ok(lab_vmi_wait_phase(NAME, "Succeeded", LAB_WAIT_MS, &error));
    lab_ok(lab_pod_wait_gone(uid, 10000, &error));
    print_message("pod gone %d ms after its image\n",
                  (int)((g_get_monotonic_time() - from) / 1000));
    /* Manual: nobody starts it again */
    lab_ok(lab_vmi_wait_phase(NAME, "Succeeded", LAB_WAIT_MS, &error));
}

static void
test_no_finalizer_cold_boots(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *vmi = NULL;
    g_autofree char *other = NULL;

    start_vm(NULL);
    old = nonce();
    vmi = vmi_uid();
    subresource("pause", NULL);
    virsh("managedsave", DOMAIN);
    virsh("managedsave-remove", DOMAIN);
    lab_ok((other = lab_vmi_wait_other(NAME, vmi, LAB_POD_MS, &error)) != NULL);
    wait_cold_boot(old);
}

static void
test_finalizer_keeps_the_successor_away(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *vmi = NULL;
    g_autofree char *other = NULL;

    start_vm(NULL);
    old = nonce();
    vmi = vmi_uid();
    hibernate();
    check_stands(HOLD_MS);
    other = vmi_uid();
    assert_string_equal(other, vmi);
    unlock();
    wait_cold_boot(old);
}

static void
test_late_staging_cold_boots(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *vmi = NULL;
    g_autofree char *other = NULL;
    g_autofree char *path = NULL;

    start_vm(NULL);
    old = nonce();
    vmi = vmi_uid();
    hibernate();
    unlock();
    lab_ok((other = lab_vmi_wait_other(NAME, vmi, LAB_POD_MS, &error)) != NULL);
    lab_ok(lab_vmi_wait_phase(NAME, "Running", LAB_POD_MS, &error));
    lab_ok((path = lab_pod_save_path(NAME, &error)) != NULL);
    assert_int_equal(link(HELD, path), 0);
    wait_cold_boot(old);
    unlink(path);
}

static void
test_old_sockets_fail_the_restore(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *pod = NULL;
    g_autofree char *path = NULL;

    start_vm(NULL);
    old = nonce();
    pod = pod_uid();
    hibernate();
    release(pod);
    path = make_save_folder();
    assert_int_equal(link(HELD, path), 0);
    wait_sync_error("virsh start");
    check_stands(HOLD_MS);
    assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    lab_ok(lab_vmi_wait_phase(NAME, "Scheduled", LAB_WAIT_MS, &error));
    unlink(path);
}

static gboolean
is_restored_paused(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *domstate = lab_pod_domstate(NAME, NULL);

    return g_strcmp0(domstate, "paused (migrating)") == 0;
}

static void
check_restored(const char *old)
{
    g_autofree char *new = NULL;

    lab_ok(lab_guest_wait_ticking(DOMAIN, LAB_POD_MS, &error));
    new = nonce();
    assert_string_equal(new, old);
    lab_ok(lab_guest_check_log(DOMAIN, &error));
}

static void
test_guard_holds_until_the_image_comes(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *pod = NULL;
    g_autofree char *vmi = NULL;
    g_autofree char *path = NULL;
    g_autofree char *staged = NULL;

    start_vm(NULL);
    old = nonce();
    pod = pod_uid();
    vmi = vmi_uid();
    hibernate();
    release(pod);
    path = make_save_folder();
    write_guard(path);
    wait_sync_error("magic is incorrect");
    check_stands(HOLD_MS);
    staged = g_strconcat(path, ".new", NULL);
    assert_int_equal(link(HELD, staged), 0);
    rewrite_image(MANAGED ".new", vmi);
    assert_int_equal(rename(staged, path), 0);
    /* saved while paused: it comes back paused, and KubeVirt takes that for a migration */
    lab_ok(lab_wait("the restored guest", LAB_WAIT_MS, is_restored_paused, NULL, &error));
    check_stands(HOLD_MS);
    lab_ok(lab_vmi_wait_phase(NAME, "Scheduled", LAB_WAIT_MS, &error));
    subresource("unpause", "not running");
    virsh("resume", DOMAIN);
    check_restored(old);
    lab_ok(lab_vmi_wait_phase(NAME, "Running", LAB_WAIT_MS, &error));
}

/* Releases up to 1.9: an inactive domain is deleted as soon as virt-handler looks again. */
static void
test_old_releases_never_retry_a_guarded_start(void **state G_GNUC_UNUSED)
{
    g_autofree char *pod = NULL;
    g_autofree char *path = NULL;
    g_autofree char *uid = NULL;
    g_autofree char *log = NULL;

    lab_ok(lab_standin_set("DeleteInactiveMs", 0, &error));
    start_vm(NULL);
    pod = pod_uid();
    hibernate();
    release(pod);
    path = make_save_folder();
    write_guard(path);
    wait_sync_error("Refusing to undefine");
    uid = pod_uid();
    log = lab_pod_log(NAME, uid);
    assert_ptr_equal(strstr(strstr(log, "/sync: virsh start") + 1, "/sync: virsh start"), NULL);
    check_stands(HOLD_MS);
    unlink(path);
    /* undefined, defined anew, and booted: nothing but the guard was in the way */
    lab_ok(lab_vmi_wait_phase(NAME, "Running", LAB_POD_MS, &error));
}

static gboolean
is_transient(gpointer data G_GNUC_UNUSED)
{
    g_auto(LabOutput) output = { 0 };

    return lab_pod_virsh(NAME, &output, NULL, "dominfo", DOMAIN, NULL) && output.status == 0
           && strstr(output.out, "running") != NULL
           && g_regex_match_simple("Persistent: +no", output.out, 0, 0);
}

static void
test_slow_start_makes_it_transient(void **state G_GNUC_UNUSED)
{
    LabVmOptions options = { .no_wait = TRUE };

    lab_ok(lab_standin_set("DeleteInactiveMs", 0, &error));
    lab_ok(lab_standin_set("SyncDeadlineMs", 300, &error));
    lab_ok(lab_vm_start(NAME, &options, &error));
    lab_ok(lab_wait("a transient domain", LAB_POD_MS, is_transient, NULL, &error));
}

static void
test_private_libvirt_folders(void **state G_GNUC_UNUSED)
{
    LabVmOptions options = { .run_strategy = "Manual", .persistent_tpm = TRUE };
    g_autofree char *path = NULL;

    lab_ok(lab_vm_start(NAME, &options, &error));
    subresource("pause", NULL);
    lab_ok((path = lab_pod_save_path(NAME, &error)) != NULL);
    assert_non_null(strstr(path, "/private-libvirt-qemu/save/"));
    virsh("managedsave", DOMAIN);
    assert_true(g_file_test(path, G_FILE_TEST_IS_REGULAR));
    virsh("managedsave-remove", DOMAIN);
    lab_ok(lab_vmi_wait_phase(NAME, "Succeeded", LAB_WAIT_MS, &error));
}

static void
test_start_and_stop(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;

    start_vm("Manual");
    old = nonce();
    subresource("start", "already running");
    subresource("stop", NULL);
    lab_ok(lab_vmi_wait(NAME, "{.metadata.uid}", "", LAB_WAIT_MS, &error));
    subresource("stop", "not running");
    subresource("start", NULL);
    wait_cold_boot(old);
}

/* ---- what else happens to pods ---- */

static void
test_eviction_cold_boots(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *pod = NULL;

    start_vm(NULL);
    old = nonce();
    pod = pod_uid();
    lab_ok(lab_pod_evict(NAME, &error));
    lab_ok(lab_pod_wait_gone(pod, LAB_WAIT_MS, &error));
    wait_cold_boot(old);
}

static void
test_kubevirt_restart_harms_nobody(void **state G_GNUC_UNUSED)
{
    g_autofree char *pod = NULL;
    g_autofree char *old = NULL;
    g_autofree char *new = NULL;

    start_vm(NULL);
    pod = pod_uid();
    old = nonce();
    lab_ok(lab_standin_cluster_kill(&error));
    lab_ok(lab_standin_node_kill(&error));
    lab_ok(lab_standin_node_start(&error));
    lab_ok(lab_standin_start(&error));
    assert_int_equal(lab_pod_kill(pod, "libvirtd", SIGKILL), 1);
    lab_ok(lab_guest_wait_ticking(DOMAIN, LAB_WAIT_MS, &error));
    subresource("pause", NULL);
    check_stands(HOLD_MS);
    subresource("unpause", NULL);
    lab_ok(lab_guest_wait_ticking(DOMAIN, LAB_WAIT_MS, &error));
    new = nonce();
    assert_string_equal(new, old);
}

static void
test_dead_qemu_and_launcher(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *second = NULL;
    g_autofree char *pod = NULL;
    g_autofree char *next = NULL;

    start_vm(NULL);
    old = nonce();
    pod = pod_uid();
    assert_int_equal(lab_pod_kill(pod, "qemu-system-x86_64", SIGKILL), 1);
    wait_cold_boot(old);
    second = nonce();
    next = pod_uid();
    assert_string_not_equal(next, pod);
    assert_int_equal(kill(lab_pod_launcher_pid(next), SIGKILL), 0);
    wait_cold_boot(second);
}

static void
test_node_crash_cold_boots(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;

    start_vm(NULL);
    old = nonce();
    lab_ok(lab_node_crash(&error));
    lab_ok(lab_node_new_boot(&error));
    lab_ok(lab_standin_node_start(&error));
    wait_cold_boot(old);
}

#define standin_test(function) cmocka_unit_test_teardown(function, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        standin_test(test_raw_suspend_is_undone),
        standin_test(test_pause_by_subresource_holds),
        standin_test(test_pause_is_refused),
        standin_test(test_image_left_blocks_undefine),
        standin_test(test_image_removed_ends_the_pod),
        standin_test(test_no_finalizer_cold_boots),
        standin_test(test_finalizer_keeps_the_successor_away),
        standin_test(test_late_staging_cold_boots),
        standin_test(test_old_sockets_fail_the_restore),
        standin_test(test_guard_holds_until_the_image_comes),
        standin_test(test_old_releases_never_retry_a_guarded_start),
        standin_test(test_slow_start_makes_it_transient),
        standin_test(test_private_libvirt_folders),
        standin_test(test_start_and_stop),
        standin_test(test_eviction_cold_boots),
        standin_test(test_kubevirt_restart_harms_nobody),
        standin_test(test_dead_qemu_and_launcher),
        standin_test(test_node_crash_cold_boots),
    };

    if (!lab_standin_is_available())
        return 77;
    cmocka_set_test_filter(g_getenv("WK_E2E_ONLY"));
    return cmocka_run_group_tests_name("standin", tests, start_cluster, NULL);
}
