/* SPDX-License-Identifier: Apache-2.0 */
/* What the watches of KubeVirt's objects tell, from a real API server that learns of KubeVirt only
 * while they wait. */
#include "kubevirt-e2e.h"

#include "base/json.h"
#include "kube/reflector.h"

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

/* ---- many watches, of which some end while others have news ---- */

#define LOOKS   8
#define ROUNDS  30
#define LATE_US (2 * G_USEC_PER_SEC)

static struct {
    WkReflector *node;
    WkReflector *looks[LOOKS];
    guint heard;
    guint round;
} crowd;

static void
hear_nothing(JsonObject *object G_GNUC_UNUSED, gpointer data G_GNUC_UNUSED)
{
}

static void
ignore(gpointer data G_GNUC_UNUSED)
{
}

static const WkReflectorListener look_listener = {
    .relisting = ignore, .object = hear_nothing, .left = hear_nothing, .synced = ignore
};

static void
look_anew(guint i)
{
    g_autofree char *selector = g_strdup_printf("metadata.name=s%u", i);
    const WkReflectorOptions options = { .path = WK_KUBEVIRT_PATH "/namespaces/" KV_NS
                                                                  "/virtualmachineinstances",
                                         .field_selector = selector };

    g_clear_pointer(&crowd.looks[i], wk_reflector_free);
    crowd.looks[i] = wk_reflector_new(kv_kube, &options, &look_listener, NULL);
}

/* As the agent does that has seen enough of a guest. */
static void
hear_node(JsonObject *object, gpointer data G_GNUC_UNUSED)
{
    JsonObject *metadata = wk_json_get_object(object, "metadata");
    const char *round = wk_json_get_string(wk_json_get_object(metadata, "labels"), "round");

    if (round == NULL || g_ascii_strtoull(round, NULL, 10) != crowd.round)
        return;
    crowd.heard++;
    look_anew((guint)g_ascii_strtoull(wk_json_get_string(metadata, "name") + 1, NULL, 10));
}

static const WkReflectorListener node_listener = {
    .relisting = ignore, .object = hear_node, .left = hear_nothing, .synced = ignore
};

static gboolean
all_heard(gpointer data G_GNUC_UNUSED)
{
    return crowd.heard == LOOKS;
}

/* Returns: when it was done, in us. */
static gpointer
label_all(gpointer label)
{
    g_free(
        lab_kubectl_out(NULL, "label", "vmi", "--all", (const char *)label, "--overwrite", NULL));
    return (gpointer)g_get_monotonic_time();
}

static void
play_round(guint round)
{
    g_autofree char *label = g_strdup_printf("round=%u", round);
    GThread *thread;
    gint64 heard_us;
    gint64 done_us;

    crowd.round = round;
    crowd.heard = 0;
    thread = g_thread_new("kubectl", label_all, label);
    kv_until(all_heard, NULL, "all news of a round");
    heard_us = g_get_monotonic_time();
    done_us = (gint64)g_thread_join(thread);
    if (heard_us - done_us > LATE_US)
        fail_msg("round %u: the news came %.1f s late", round,
                 (double)(heard_us - done_us) / G_USEC_PER_SEC);
}

static void
test_crowd(void **state G_GNUC_UNUSED)
{
    const WkReflectorOptions options = { .path = WK_KUBEVIRT_PATH "/virtualmachineinstances",
                                         .label_selector = "kubevirt.io/nodeName=" LAB_NODE_NAME };

    crowd.node = wk_reflector_new(kv_kube, &options, &node_listener, NULL);
    for (guint i = 0; i < LOOKS; i++) {
        g_autofree char *name = g_strdup_printf("s%u", i);

        kv_make_vmi(name, "");
        look_anew(i);
    }
    for (guint round = 1; round <= ROUNDS; round++)
        play_round(round);
    for (guint i = 0; i < LOOKS; i++)
        g_clear_pointer(&crowd.looks[i], wk_reflector_free);
    g_clear_pointer(&crowd.node, wk_reflector_free);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_follow, kv_teardown),
        cmocka_unit_test_teardown(test_crowd, kv_teardown),
    };

    if (!lab_kube_is_available())
        return 77;
    return cmocka_run_group_tests_name("kube-kubevirt-watch", tests, kv_setup, NULL);
}
