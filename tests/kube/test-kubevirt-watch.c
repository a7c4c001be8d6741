/* SPDX-License-Identifier: Apache-2.0 */
/* What the watches of KubeVirt's objects tell, from a real API server that learns of KubeVirt only
 * while they wait. */
#include "kubevirt-e2e.h"

#include <string.h>

static GString *told;

static void
tell_vmi(const WkVmi *vmi, gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "+%s%s ", vmi->name, vmi->deleting ? "(deleting)" : "");
}

static void
tell_vmi_gone(const char *ns G_GNUC_UNUSED, const char *name, const char *uid G_GNUC_UNUSED,
              gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "-%s ", name);
}

static void
tell_vm(const WkVm *vm, gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "v+%s ", vm->name);
}

static void
tell_vm_gone(const char *ns G_GNUC_UNUSED, const char *name, const char *uid G_GNUC_UNUSED,
             gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "v-%s ", name);
}

static void
tell_synced(gpointer data G_GNUC_UNUSED)
{
    g_string_append(told, "sync ");
}

static void
tell_looked(const char *ns G_GNUC_UNUSED, const char *name, gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "look:%s ", name);
}

static void
tell_trouble(const GError *error, gpointer data G_GNUC_UNUSED)
{
    g_string_append_printf(told, "!%s ", error != NULL ? error->message : "well");
}

static const WkKubevirtListener listener = { .vmi = tell_vmi,
                                             .vmi_gone = tell_vmi_gone,
                                             .vm = tell_vm,
                                             .vm_gone = tell_vm_gone,
                                             .synced = tell_synced,
                                             .looked = tell_looked,
                                             .trouble = tell_trouble };

static gboolean
is_told(gpointer data)
{
    return strstr(told->str, data) != NULL;
}

static void
until_told(const char *what)
{
    kv_until(is_told, (gpointer)what, what);
    g_print("# told: %s\n", told->str);
    g_string_set_size(told, 0);
}

static gboolean
is_heard(gpointer data)
{
    return lab_kube_count("", "virtualmachineinstances") > *(guint *)data;
}

/* The server learns of KubeVirt while we wait, and then of guests. */
static void
test_follow(void **state G_GNUC_UNUSED)
{
    WkKubevirt *kubevirt = wk_kubevirt_new(kv_kube, LAB_NODE_NAME, &listener, NULL);
    guint none = 0;

    told = g_string_new(NULL);
    kv_until(is_heard, &none, "the first question");
    assert_false(wk_kubevirt_is_present(kubevirt));
    assert_string_equal(told->str, "");
    lab_ok(lab_kube_kubevirt(&error));
    wk_kubevirt_hurry(kubevirt);
    until_told("sync ");
    kv_make_vmi(KV_NAME, "a.b/c");
    until_told("+" KV_NAME " ");
    wk_kubevirt_follow(kubevirt, KV_NS, KV_NAME, TRUE);
    until_told("v-" KV_NAME " look:" KV_NAME);
    kv_make_vm(KV_NAME);
    until_told("v+" KV_NAME);
    kv_do("label", "vmi/" KV_NAME, "kubevirt.io/nodeName=other", "--overwrite");
    until_told("+" KV_NAME); /* by name it is still there */
    assert_non_null(wk_kubevirt_get_vmi(kubevirt, KV_NS, KV_NAME));
    kv_do("delete", "vmi/" KV_NAME, "--wait=false", NULL);
    until_told("+" KV_NAME "(deleting)");
    kv_do("patch", "vmi/" KV_NAME, "--type=merge", "-p={\"metadata\":{\"finalizers\":null}}");
    until_told("-" KV_NAME);
    kv_make_vmi(KV_NAME, "");
    until_told("+" KV_NAME);
    kv_do("delete", "vm/" KV_NAME, NULL, NULL);
    until_told("v-" KV_NAME);
    wk_kubevirt_follow(kubevirt, KV_NS, KV_NAME, FALSE);
    kv_do("label", "vmi/" KV_NAME, "kubevirt.io/nodeName=other", "--overwrite");
    until_told("-" KV_NAME);
    wk_kubevirt_free(kubevirt);
    g_string_free(told, TRUE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_follow, kv_teardown),
    };

    if (!lab_kube_is_available())
        return 77;
    return cmocka_run_group_tests_name("kube-kubevirt-watch", tests, kv_setup, NULL);
}
