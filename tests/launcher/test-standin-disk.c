/* SPDX-License-Identifier: Apache-2.0 */
/* What KubeVirt does to those who save its guests behind its back: each test is a naive way that
 * fails, or the fact that a right one builds on. The table in README.md names the facts. */
#include "launcher-e2e.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
    le_start("RerunOnFailure");
    uid = le_pod_uid();
    le_virsh("managedsave", LE_DOMAIN);
    from = g_get_monotonic_time();
    lab_ok(lab_pod_wait_gone(uid, LAB_WAIT_MS, &error));
    lived_ms = (int)((g_get_monotonic_time() - from) / 1000);
    print_message("with its image left the pod lived on for %d ms\n", lived_ms);
    assert_true(lived_ms >= 4000);
    log = lab_pod_log(LE_NAME, uid);
    assert_non_null(strstr(log, "Refusing to undefine"));
}

static void
test_image_removed_ends_the_pod(void **state G_GNUC_UNUSED)
{
    g_autofree char *uid = NULL;
    gint64 from;

    le_start("Manual");
    uid = le_pod_uid();
    le_virsh("managedsave", LE_DOMAIN);
    le_virsh("managedsave-remove", LE_DOMAIN);
    from = g_get_monotonic_time();
    lab_ok(lab_vmi_wait_phase(LE_NAME, "Succeeded", LAB_WAIT_MS, &error));
    lab_ok(lab_pod_wait_gone(uid, 10000, &error));
    print_message("pod gone %d ms after its image\n",
                  (int)((g_get_monotonic_time() - from) / 1000));
    /* Manual: nobody starts it again */
    lab_ok(lab_vmi_wait_phase(LE_NAME, "Succeeded", LAB_WAIT_MS, &error));
}

static void
test_no_finalizer_cold_boots(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *vmi = NULL;
    g_autofree char *other = NULL;

    le_start(NULL);
    old = le_nonce();
    vmi = le_vmi_uid();
    le_subresource("pause", NULL);
    le_virsh("managedsave", LE_DOMAIN);
    le_virsh("managedsave-remove", LE_DOMAIN);
    lab_ok((other = lab_vmi_wait_other(LE_NAME, vmi, LAB_POD_MS, &error)) != NULL);
    le_wait_cold_boot(old);
}

static void
test_finalizer_keeps_the_successor_away(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *vmi = NULL;
    g_autofree char *other = NULL;

    le_start(NULL);
    old = le_nonce();
    vmi = le_vmi_uid();
    le_hibernate();
    le_check_stands(LE_HOLD_MS);
    other = le_vmi_uid();
    assert_string_equal(other, vmi);
    le_unlock();
    le_wait_cold_boot(old);
}

static void
test_late_staging_cold_boots(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *vmi = NULL;
    g_autofree char *other = NULL;
    g_autofree char *path = NULL;

    le_start(NULL);
    old = le_nonce();
    vmi = le_vmi_uid();
    le_hibernate();
    le_unlock();
    lab_ok((other = lab_vmi_wait_other(LE_NAME, vmi, LAB_POD_MS, &error)) != NULL);
    lab_ok(lab_vmi_wait_phase(LE_NAME, "Running", LAB_POD_MS, &error));
    lab_ok((path = lab_pod_save_path(LE_NAME, &error)) != NULL);
    assert_int_equal(link(LE_HELD, path), 0);
    le_wait_cold_boot(old);
    unlink(path);
}

static void
test_old_sockets_fail_the_restore(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *pod = NULL;
    g_autofree char *path = NULL;

    le_start(NULL);
    old = le_nonce();
    pod = le_pod_uid();
    le_hibernate();
    le_release(pod);
    path = le_make_save_folder();
    assert_int_equal(link(LE_HELD, path), 0);
    le_wait_sync_error("virsh start");
    le_check_stands(LE_HOLD_MS);
    assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    lab_ok(lab_vmi_wait_phase(LE_NAME, "Scheduled", LAB_WAIT_MS, &error));
    unlink(path);
}

static gboolean
is_restored_paused(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *domstate = lab_pod_domstate(LE_NAME, NULL);

    return g_strcmp0(domstate, "paused (migrating)") == 0;
}

static void
check_restored(const char *old)
{
    g_autofree char *new = NULL;

    lab_ok(lab_guest_wait_ticking(LE_DOMAIN, LAB_POD_MS, &error));
    new = le_nonce();
    assert_string_equal(new, old);
    lab_ok(lab_guest_check_log(LE_DOMAIN, &error));
}

static void
test_guard_holds_until_the_image_comes(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;
    g_autofree char *pod = NULL;
    g_autofree char *vmi = NULL;
    g_autofree char *path = NULL;
    g_autofree char *staged = NULL;

    le_start(NULL);
    old = le_nonce();
    pod = le_pod_uid();
    vmi = le_vmi_uid();
    le_hibernate();
    le_release(pod);
    path = le_make_save_folder();
    le_write_guard(path);
    le_wait_sync_error("version is not supported");
    le_check_stands(LE_HOLD_MS);
    staged = g_strconcat(path, ".new", NULL);
    assert_int_equal(link(LE_HELD, staged), 0);
    le_rewrite_image(LE_MANAGED ".new", vmi);
    assert_int_equal(rename(staged, path), 0);
    /* saved while paused: it comes back paused, and KubeVirt takes that for a migration */
    lab_ok(lab_wait("the restored guest", LAB_WAIT_MS, is_restored_paused, NULL, &error));
    le_check_stands(LE_HOLD_MS);
    lab_ok(lab_vmi_wait_phase(LE_NAME, "Scheduled", LAB_WAIT_MS, &error));
    le_subresource("unpause", "not running");
    le_virsh("resume", LE_DOMAIN);
    check_restored(old);
    lab_ok(lab_vmi_wait_phase(LE_NAME, "Running", LAB_WAIT_MS, &error));
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
    le_start(NULL);
    pod = le_pod_uid();
    le_hibernate();
    le_release(pod);
    path = le_make_save_folder();
    le_write_guard(path);
    le_wait_sync_error("Refusing to undefine");
    uid = le_pod_uid();
    log = lab_pod_log(LE_NAME, uid);
    assert_ptr_equal(strstr(strstr(log, "/sync: virsh start") + 1, "/sync: virsh start"), NULL);
    le_check_stands(LE_HOLD_MS);
    unlink(path);
    /* undefined, defined anew, and booted: nothing but the guard was in the way */
    lab_ok(lab_vmi_wait_phase(LE_NAME, "Running", LAB_POD_MS, &error));
}

static gboolean
is_transient(gpointer data G_GNUC_UNUSED)
{
    g_auto(LabOutput) output = { 0 };

    return lab_pod_virsh(LE_NAME, &output, NULL, "dominfo", LE_DOMAIN, NULL) && output.status == 0
           && strstr(output.out, "running") != NULL
           && g_regex_match_simple("Persistent: +no", output.out, 0, 0);
}

static void
test_slow_start_makes_it_transient(void **state G_GNUC_UNUSED)
{
    LabVmOptions options = { .no_wait = TRUE };

    lab_ok(lab_standin_set("DeleteInactiveMs", 0, &error));
    lab_ok(lab_standin_set("SyncDeadlineMs", 300, &error));
    lab_ok(lab_vm_start(LE_NAME, &options, &error));
    lab_ok(lab_wait("a transient domain", LAB_POD_MS, is_transient, NULL, &error));
}

static void
test_private_libvirt_folders(void **state G_GNUC_UNUSED)
{
    LabVmOptions options = { .run_strategy = "Manual", .persistent_tpm = TRUE };
    g_autofree char *path = NULL;

    lab_ok(lab_vm_start(LE_NAME, &options, &error));
    le_subresource("pause", NULL);
    lab_ok((path = lab_pod_save_path(LE_NAME, &error)) != NULL);
    assert_non_null(strstr(path, "/private-libvirt-qemu/save/"));
    le_virsh("managedsave", LE_DOMAIN);
    assert_true(g_file_test(path, G_FILE_TEST_IS_REGULAR));
    le_virsh("managedsave-remove", LE_DOMAIN);
    lab_ok(lab_vmi_wait_phase(LE_NAME, "Succeeded", LAB_WAIT_MS, &error));
}

static void
test_root_launcher(void **state G_GNUC_UNUSED)
{
    LabVmOptions options = { .run_strategy = "Manual", .root = TRUE };
    g_autofree char *path = NULL;
    g_autofree char *uid = NULL;

    lab_ok(lab_vm_start(LE_NAME, &options, &error));
    uid = le_pod_uid();
    le_subresource("pause", NULL);
    lab_ok((path = lab_pod_save_path(LE_NAME, &error)) != NULL);
    le_virsh("managedsave", LE_DOMAIN);
    assert_true(g_file_test(path, G_FILE_TEST_IS_REGULAR));
    le_virsh("managedsave-remove", LE_DOMAIN);
    lab_ok(lab_pod_wait_gone(uid, LAB_WAIT_MS, &error));
}

static void
test_start_and_stop(void **state G_GNUC_UNUSED)
{
    g_autofree char *old = NULL;

    le_start("Manual");
    old = le_nonce();
    le_subresource("start", "already running");
    le_subresource("stop", NULL);
    lab_ok(lab_vmi_wait(LE_NAME, "{.metadata.uid}", "", LAB_WAIT_MS, &error));
    le_subresource("stop", "not running");
    le_subresource("start", NULL);
    le_wait_cold_boot(old);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        le_test(test_image_left_blocks_undefine),
        le_test(test_image_removed_ends_the_pod),
        le_test(test_no_finalizer_cold_boots),
        le_test(test_finalizer_keeps_the_successor_away),
        le_test(test_late_staging_cold_boots),
        le_test(test_old_sockets_fail_the_restore),
        le_test(test_guard_holds_until_the_image_comes),
        le_test(test_old_releases_never_retry_a_guarded_start),
        le_test(test_slow_start_makes_it_transient),
        le_test(test_private_libvirt_folders),
        le_test(test_root_launcher),
        le_test(test_start_and_stop),
    };

    return le_main(tests);
}
