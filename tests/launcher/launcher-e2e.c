/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher-e2e.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FINALIZER  "wukong.novasphere.dev/saved-state"
#define SYNC_ERROR "{.status.conditions[?(@.type==\"Synchronized\")].message}"

int
le_start_cluster(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    lab_ok(lab_standin_start(&error));
    return 0;
}

int
le_teardown(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_standin_reset(&error));
    lab_ok(lab_vm_delete(LE_NAME, &error));
    unlink(LE_HELD);
    return 0;
}

/* ---- what the tests do by hand ---- */

void
le_start(const char *run_strategy)
{
    LabVmOptions options = { .run_strategy = run_strategy };

    lab_ok(lab_vm_start(LE_NAME, &options, &error));
}

char *
le_nonce(void)
{
    char *nonce = NULL;

    lab_ok((nonce = lab_guest_nonce(LE_DOMAIN, &error)) != NULL);
    return nonce;
}

char *
le_pod_uid(void)
{
    char *uid = NULL;

    lab_ok((uid = lab_pod_uid(LE_NAME, &error)) != NULL);
    return uid;
}

char *
le_vmi_uid(void)
{
    char *uid = NULL;

    lab_ok((uid = lab_vmi_uid(LE_NAME, &error)) != NULL);
    return uid;
}

void
le_virsh(const char *verb, const char *what)
{
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_pod_virsh(LE_NAME, &output, &error, verb, what, NULL));
    if (output.status != 0)
        fail_msg("virsh %s: %s", verb, output.err);
}

void
le_subresource(const char *verb, const char *refused_with)
{
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_vm_subresource(LE_NAME, verb, &output, &error));
    if (refused_with == NULL && output.status != 0)
        fail_msg("%s: %s", verb, output.err);
    if (refused_with != NULL && (output.status == 0 || strstr(output.err, refused_with) == NULL))
        fail_msg("%s: not refused with '%s': %s", verb, refused_with, output.err);
}

void
le_check_stands(guint ms)
{
    lab_ok(lab_guest_wait_quiet(LE_DOMAIN, LAB_WAIT_MS, &error));
    assert_false(lab_guest_is_ticking(LE_DOMAIN, ms));
}

/* Another life: booted, not restored. */
void
le_wait_cold_boot(const char *old)
{
    gint64 deadline = g_get_monotonic_time() + LAB_POD_MS * G_GINT64_CONSTANT(1000);

    for (;;) {
        g_autofree char *new = NULL;

        lab_ok(lab_guest_wait_ticking(LE_DOMAIN, LAB_POD_MS, &error));
        new = le_nonce();
        if (!g_str_equal(new, old))
            return;
        if (g_get_monotonic_time() > deadline)
            fail_msg("no cold boot: still nonce %s", old);
    }
}

void
le_lock(void)
{
    lab_ok(lab_vmi_patch(LE_NAME,
                         "{\"metadata\":{\"finalizers\":["
                         "\"kubevirt.io/virtualMachineControllerFinalize\","
                         "\"kubevirt.io/foregroundDeleteVirtualMachine\",\"" FINALIZER "\"]}}",
                         &error));
}

void
le_unlock(void)
{
    lab_ok(lab_vmi_drop_finalizer(LE_NAME, FINALIZER, &error));
}

/* Saves it by hand, keeps the image outside the pod and lets the pod end. */
void
le_hibernate(void)
{
    g_autofree char *path = NULL;
    g_autofree char *uid = le_pod_uid();

    le_lock();
    le_subresource("pause", NULL);
    le_virsh("managedsave", LE_DOMAIN);
    lab_ok((path = lab_pod_save_path(LE_NAME, &error)) != NULL);
    assert_int_equal(link(path, LE_HELD), 0);
    le_virsh("managedsave-remove", LE_DOMAIN);
    lab_ok(lab_pod_wait_gone(uid, LAB_WAIT_MS, &error));
}

/* The save folder in a pod whose container has not started yet. Returns: the managed path. */
char *
le_make_save_folder(void)
{
    g_autofree char *path = NULL;
    g_autofree char *save = NULL;
    g_autofree char *qemu = NULL;
    g_autofree char *libvirt = NULL;
    const char *folders[3];

    lab_ok((path = lab_pod_save_path(LE_NAME, &error)) != NULL);
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
    g_autofree char *uid = lab_pod_uid(LE_NAME, NULL);
    g_autofree char *last = uid != NULL ? lab_pod_volume(uid, "hotplug-disks") : NULL;

    return uid != NULL && !g_str_equal(uid, old) && g_file_test(last, G_FILE_TEST_IS_DIR);
}

/* Lets the successor come, whose container takes its time to start. */
void
le_release(const char *old_pod)
{
    lab_ok(lab_standin_set("ContainerStartMs", 3000, &error));
    le_unlock();
    lab_ok(lab_wait("the successor's pod", LAB_WAIT_MS, has_new_pod, (char *)old_pod, &error));
}

void
le_write_guard(const char *path)
{
    char guard[92] = "LibvirtQemudSave\xff\xff\xff\xff";

    lab_ok(g_file_set_contents(path, guard, sizeof guard, &error));
    assert_int_equal(chown(path, 107, 107), 0);
}

static gboolean
sync_says(gpointer data)
{
    g_autofree char *message = lab_vmi_get(LE_NAME, SYNC_ERROR, NULL);

    return message != NULL && strstr(message, data) != NULL;
}

void
le_wait_sync_error(const char *text)
{
    if (!lab_wait("an error", LAB_WAIT_MS, sync_says, (char *)text, NULL)) {
        g_autofree char *message = lab_vmi_get(LE_NAME, SYNC_ERROR, NULL);

        fail_msg("no error '%s': '%s'", text, message);
    }
}

/* The old VMI's uid gives way to the new one's in the image's XML. */
void
le_rewrite_image(const char *path, const char *old_vmi)
{
    g_autofree char *new_vmi = le_vmi_uid();
    static const char xml[] = LAB_DIR "/image.xml";
    g_auto(LabOutput) output = { 0 };
    g_auto(LabOutput) defined = { 0 };
    g_autoptr(GString) text = NULL;

    lab_ok(lab_pod_virsh(LE_NAME, &output, &error, "save-image-dumpxml", path, NULL));
    assert_int_equal(output.status, 0);
    text = g_string_new(output.out);
    assert_true(g_string_replace(text, old_vmi, new_vmi, 0) > 0);
    lab_ok(g_file_set_contents(xml, text->str, -1, &error));
    lab_ok(lab_pod_virsh(LE_NAME, &defined, &error, "save-image-define", path, xml, NULL));
    if (defined.status != 0)
        fail_msg("%s", defined.err);
}
