/* SPDX-License-Identifier: Apache-2.0 */
/* What users, an operator and KubeVirt do to guests meanwhile, and a file system that is full. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "launcher-fault.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define KE_ORIGIN "{.status.lifecycleState.origin}"
#define KE_TARGET "{.status.lifecycleState.target}"

static void
kubectl(const char *verb, const char *object)
{
    g_autofree char *out = NULL;

    lab_ok((out = lab_kubectl_out(&error, verb, object, "--wait=false", NULL)) != NULL);
}

/* ---- pauses by others ---- */

void
lf_test_paused_by_user(void **state G_GNUC_UNUSED)
{
    lf_subresource("pause");
    ke_until(LF_NAME, KE_STATE, "Suspended");
    ke_until(LF_NAME, KE_ORIGIN, "outside");
    ke_check(LF_NAME, KE_TARGET, "memory");
    lf_subresource("unpause");
    ke_until(LF_NAME, KE_STATE, "Running");

    ke_act(LF_NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until(LF_NAME, KE_STATE, "Suspended");
    ke_until(LF_NAME, KE_ORIGIN, "spec");
    lf_subresource("unpause");
    ke_until(LF_NAME, KE_REASON, "PauseLost");
    ke_check(LF_NAME, KE_STATE, "Running");
    ke_until_event(LF_NAME, "PauseLost");
    lf_check_lives();
}

/* ---- what is refused ---- */

typedef struct {
    const char *reason;
    const char *with; /* merge patches of the VMI */
    const char *without;
    gboolean to_memory; /* that is refused as well */
} Refusal;

#define ROOT_VOLUME                                                                                \
    "{\"name\":\"root\",\"persistentVolumeClaim\":{\"claimName\":\"" LF_NAME "-root\"}}"

static const Refusal refusals[] = {
    { "ContainerDisk",
      "{\"spec\":{\"volumes\":[" ROOT_VOLUME
      ",{\"name\":\"boot\",\"containerDisk\":{\"image\":\"guest\"}}]}}",
      "{\"spec\":{\"volumes\":[" ROOT_VOLUME "]}}", FALSE },
    { "HostDevice",
      "{\"spec\":{\"domain\":{\"devices\":{\"hostDevices\":[{\"name\":\"nic\","
      "\"deviceName\":\"vendor.example/nic\"}]}}}}",
      "{\"spec\":{\"domain\":{\"devices\":{\"hostDevices\":null}}}}", FALSE },
    { "LivenessProbe", "{\"spec\":{\"livenessProbe\":{\"tcpSocket\":{\"port\":22}}}}",
      "{\"spec\":{\"livenessProbe\":null}}", TRUE },
    { "MigrationInProgress",
      "{\"status\":{\"migrationState\":{\"startTimestamp\":\"2026-01-01T00:00:00Z\","
      "\"migrationUid\":\"1\"}}}",
      "{\"status\":{\"migrationState\":null}}", TRUE },
};

static void
check_refusal(const Refusal *refusal)
{
    g_autofree char *before = lf_vmi();
    g_autofree char *after = NULL;

    lab_ok(lab_vmi_patch(LF_NAME, refusal->with, &error));
    ke_act(LF_NAME, "{\"action\":\"suspend\",\"target\":\"disk\",\"fallback\":null}");
    ke_until(LF_NAME, KE_DONE_REASON, refusal->reason);
    ke_check(LF_NAME, KE_DONE, "False");
    ke_check(LF_NAME, KE_STATE, "Running");
    lf_check_clean();
    if (!refusal->to_memory) {
        ke_act(LF_NAME, "{\"action\":\"suspend\",\"target\":\"disk\",\"fallback\":\"memory\"}");
        ke_until(LF_NAME, KE_STATE, "Suspended");
        ke_check(LF_NAME, KE_TARGET, "memory");
    }
    /* what was refused is not tried again until the spec has changed */
    ke_act(LF_NAME, "{\"action\":\"resume\",\"target\":null,\"fallback\":null}");
    ke_until(LF_NAME, KE_ACTION, "");
    ke_check(LF_NAME, KE_STATE, "Running");
    lab_ok(lab_vmi_patch(LF_NAME, refusal->without, &error));
    after = lf_vmi();
    assert_string_equal(before, after);
}

void
lf_test_prechecks(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++)
        check_refusal(&refusals[i]);
    lf_check_lives();
}

/* ---- the operator ---- */

void
lf_test_operator(void **state G_GNUC_UNUSED)
{
    lf_operator_start();
    lf_suspend();
    lf_check_stands();
    lf_resume();
    lf_operator_stop();
    lf_check_lives();
}

/* ---- deletions ---- */

/* The Wukong is told that it has no guest any more. */
static void
check_vm_deleted(void)
{
    lf_brake_off();
    lf_check_deleted();
    ke_until(LF_NAME, KE_REASON, "NoSuchGuest");
}

void
lf_test_vm_deleted_suspended(void **state G_GNUC_UNUSED)
{
    lf_suspend();
    kubectl("delete", "vm/" LF_NAME "-vm");
    check_vm_deleted();
}

void
lf_test_vm_deleted_in_save(void **state G_GNUC_UNUSED)
{
    /* of a new pod: its launcher waits so long for the end of its domain */
    lab_ok(lab_standin_set("UndefineWaitMs", 2000, &error));
    lab_ok(lab_standin_set("KillWaitMs", 2000, &error));
    lf_suspend();
    lf_resume();
    lf_begin_held_save();
    kubectl("delete", "vm/" LF_NAME "-vm");
    check_vm_deleted();
}

void
lf_test_vm_deleted_in_resume(void **state G_GNUC_UNUSED)
{
    lf_suspend();
    lf_agent_restart("stage.rename=stop");
    lf_act_resume();
    e2e_agent_wait_stopped();
    kubectl("delete", "vm/" LF_NAME "-vm");
    e2e_agent_continue();
    check_vm_deleted();
}

void
lf_test_wukong_deleted(void **state G_GNUC_UNUSED)
{
    g_autofree char *finalizers = NULL;

    lf_suspend();
    kubectl("delete", "wk/" LF_NAME);
    e2e_wait_guest(LF_DOMAIN, LAB_WAIT_MS, "state", "Suspended", "restorable", "true", NULL);
    e2e_ctl_says(0, LF_DOMAIN, "images", NULL);
    lf_check_stands();
    lab_ok((finalizers = lab_vmi_get(LF_NAME, "{.metadata.finalizers}", &error)) != NULL);
    assert_non_null(strstr(finalizers, LF_LOCK));
    e2e_ctl_says(0, "", "discard", LF_DOMAIN, "--yes", NULL);
    lab_ok(lab_kube_wukong(LF_NAME, &error));
    lf_check_booted_anew();
}

/* ---- images ---- */

static void
damage_image(void)
{
    g_autofree char *id = NULL;
    g_autofree char *path = NULL;

    lab_ok((id = lab_vm_get(LF_NAME, "{.metadata.uid}", &error)) != NULL);
    path = g_build_filename(E2E_VAULT, id, "image", NULL);
    e2e_flip_byte_unseen(path, -4096);
}

static gboolean
is_guarded(gpointer data)
{
    g_autofree char *path = lab_pod_save_path(LF_NAME, NULL);
    g_autofree char *bytes = NULL;
    gsize length;

    (void)data;
    return path != NULL && g_file_get_contents(path, &bytes, &length, NULL) && length == 92;
}

/* Somebody takes the lock off by hand: KubeVirt makes a pod, and that has to be guarded. */
static void
let_a_pod_come(void)
{
    g_autofree char *old = lf_vmi();
    g_autofree char *new = NULL;

    lab_ok(lab_vmi_drop_finalizer(LF_NAME, LF_LOCK, &error));
    lab_ok((new = lab_vmi_wait_other(LF_NAME, old, LF_LONG_MS, &error)) != NULL);
    lab_ok(lab_wait("a guard in the new pod", LAB_WAIT_MS, is_guarded, NULL, &error));
}

void
lf_test_image_damaged(void **state G_GNUC_UNUSED)
{
    lf_suspend();
    damage_image();
    lf_act_resume();
    ke_until_within(LF_NAME, KE_REASON, "ImageCorrupt", LF_LONG_MS);
    ke_check(LF_NAME, KE_STATE, "Suspended");
    lf_check_stands();
    let_a_pod_come();
    lf_check_stands();
    e2e_ctl_says(0, "", "discard", LF_DOMAIN, "--yes", NULL);
    lf_check_booted_anew();
}

/* ---- the node ---- */

#define MESSAGE      "{.status.lifecycleState.message}"
#define ALL_SELECTED "{.spec.highAvailability.nodeSelector}"

static void
check_text(char *text, const char *expected)
{
    g_autofree char *owned = text;

    assert_non_null(owned);
    assert_string_equal(owned, expected);
}

static gboolean
is_template_free(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *node = lab_vm_get(LF_NAME, LF_VM_NODE, NULL);

    return node != NULL && *node == '\0';
}

static void
select_nodes(const char *selector)
{
    g_autofree char *patch = g_strdup_printf("{\"spec\":{\"highAvailability\":%s}}", selector);
    g_autofree char *out = NULL;

    lab_ok(
        (out = lab_kubectl_out(&error, "patch", "wk", LF_NAME, "--type=merge", "-p", patch, NULL))
        != NULL);
}

/* The new pod is sent here, and the VM is as free as before once the guest runs. */
void
lf_test_pinned(void **state G_GNUC_UNUSED)
{
    lf_suspend();
    check_text(lab_vm_get(LF_NAME, LF_VM_NODE, NULL), "");
    lf_resume();
    check_text(lab_vmi_get(LF_NAME, LF_VMI_NODE, NULL), LAB_NODE_NAME);
    lab_ok(lab_wait("the template's release", LAB_WAIT_MS, is_template_free, NULL, &error));
    check_text(lab_kube_get(LF_NAME, LF_WUKONG_NODE, NULL), "");
    lf_check_lives();
}

/* What the user wants is left as it is: other labels, and a node of his. */
void
lf_test_pin_of_user(void **state G_GNUC_UNUSED)
{
    static const char named[] = "{\"kubernetes.io/hostname\":\"" LAB_NODE_NAME "\",\"tier\":\"a\"}";

    select_nodes("{\"nodeSelector\":{\"tier\":\"a\"}}");
    lf_suspend();
    lf_resume();
    check_text(lab_vmi_get(LF_NAME, "{.spec.nodeSelector}", NULL), named);
    check_text(lab_kube_get(LF_NAME, ALL_SELECTED, NULL), "{\"tier\":\"a\"}");
    lf_check_lives();

    select_nodes("{\"nodeSelector\":{\"kubernetes.io/hostname\":\"" LAB_NODE_NAME "\"}}");
    lf_setup(NULL);
    lf_suspend();
    lf_resume();
    check_text(lab_kube_get(LF_NAME, ALL_SELECTED, NULL), named);
    select_nodes("null");
    lf_check_lives();
}

/* It goes on without, and says so. */
void
lf_test_pin_not_taken(void **state G_GNUC_UNUSED)
{
    g_autofree char *message = NULL;

    lab_ok(lab_standin_set("IgnorePins", 1, &error));
    lf_suspend();
    lf_resume();
    lab_ok((message = lab_kube_get(LF_NAME, MESSAGE, &error)) != NULL);
    if (strstr(message, "not pinned to this node: its operator") == NULL)
        fail_msg("it does not say that it is not pinned: %s", message);
    check_text(lab_vmi_get(LF_NAME, LF_VMI_NODE, NULL), "");
    lf_check_lives();
}

/* ---- disks ---- */

/* The memory fits the old disk. Nothing is let go for a resume that can't be. */
void
lf_test_claim_replaced(void **state G_GNUC_UNUSED)
{
    lf_suspend();
    lab_ok(lab_claim_replace(LF_NAME, &error));
    lf_act_resume();
    ke_until(LF_NAME, KE_DONE_REASON, "ClaimReplaced");
    ke_check(LF_NAME, KE_DONE, "False");
    ke_check(LF_NAME, KE_STATE, "Suspended");
    ke_check(LF_NAME, KE_TARGET, "disk");
    lf_check_stands();
    e2e_ctl_says(0, "", "discard", LF_DOMAIN, "--yes", NULL);
    lf_check_booted_anew();
}

/* ---- two at once ---- */

#define OTHER        "g"
#define OTHER_DOMAIN "default_g-vm"

void
lf_test_two_vms(void **state G_GNUC_UNUSED)
{
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    lab_ok(lab_vm_start(OTHER, NULL, &error));
    ke_until(OTHER, KE_STATE, "Running");
    lab_ok((before = lab_guest_nonce(OTHER_DOMAIN, &error)) != NULL);
    ke_act(OTHER, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    lf_suspend();
    ke_until_within(OTHER, KE_STATE, "Suspended", LF_LONG_MS);
    ke_act(OTHER, "{\"action\":\"resume\",\"target\":null}");
    lf_resume();
    ke_until_within(OTHER, KE_STATE, "Running", LF_LONG_MS);
    lab_ok(lab_guest_wait_ticking(OTHER_DOMAIN, LAB_WAIT_MS, &error));
    lab_ok((after = lab_guest_nonce(OTHER_DOMAIN, &error)) != NULL);
    assert_string_equal(before, after);
    lab_ok(lab_guest_check_log(OTHER_DOMAIN, &error));
    lab_ok(lab_vm_delete(OTHER, &error));
    lf_check_lives();
}

/* ---- a full disk ---- */

#define SMALL_BYTES (400 * 1024 * 1024)
#define SMALL_VAULT LAB_KUBELET_DIR "/wukong"

static void
sh(const char *command)
{
    const char *const argv[] = { "sh", "-ec", command, NULL };
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, &error));
    if (output.status != 0)
        fail_msg("%s: %s", command, output.err);
}

/* The kubelet's folder, and with it the vault, on a file system that is soon full. */
static void
mount_small(void)
{
    g_autofree char *file = g_build_filename(g_getenv("WK_LAB_SCRATCH"), "small.img", NULL);
    g_autofree char *command = g_strdup_printf("truncate -s %d '%s'; mkfs.ext4 -q -F '%s'; "
                                               "mount -t ext4 -o loop '%s' " LAB_KUBELET_DIR,
                                               SMALL_BYTES, file, file, file);

    lab_ok(lab_vm_delete(LF_NAME, &error));
    lab_ok(lab_agent_kill(&error));
    sh(command);
    sh("mkdir -p " LAB_KUBELET_DIR "/pods");
}

/* All but @left_mib is taken by somebody else. */
static void
fill_up(guint left_mib)
{
    g_autofree char *command =
        g_strdup_printf("free=$(df -B1M --output=avail " LAB_KUBELET_DIR " | tail -1); "
                        "fallocate -l $((free - %u))M " LAB_KUBELET_DIR "/others",
                        left_mib);

    sh(command);
}

void
lf_test_disk_full(void **state)
{
    mount_small();
    ke_agent_restart_with("[vault]\ndir=" SMALL_VAULT "\n");
    lf_setup(state);
    lf_begin_held_save();
    fill_up(4);
    lf_brake_off();
    ke_until_event(LF_NAME, "SuspendFailed");
    sh("rm " LAB_KUBELET_DIR "/others");
    lf_act_resume();
    lf_check_lives();
    lab_ok(lab_vm_delete(LF_NAME, &error));
    lab_ok(lab_agent_kill(&error));
    assert_int_equal(umount2(LAB_KUBELET_DIR, MNT_DETACH), 0);
}
