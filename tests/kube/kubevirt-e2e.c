/* SPDX-License-Identifier: Apache-2.0 */
#include "kubevirt-e2e.h"

#define WAIT_MS 20000

WkKube *kv_kube;

/* ---- the main loop ---- */

static gboolean
on_overdue(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

/* Iterates until @check is true. */
void
kv_until(gboolean (*check)(gpointer data), gpointer data, const char *what)
{
    gboolean overdue = FALSE;
    const guint timer = g_timeout_add(WAIT_MS, on_overdue, &overdue);

    while (!check(data) && !overdue)
        g_main_context_iteration(NULL, TRUE);
    if (overdue)
        fail_msg("waited in vain: %s", what);
    g_source_remove(timer);
}

/* ---- the cluster's side ---- */

char *
kv_kubectl(const char *verb, const char *object, const char *third, const char *fourth)
{
    char *out = NULL;

    lab_ok((out = lab_kubectl_out(&error, verb, object, third, fourth, NULL)) != NULL);
    return out;
}

void
kv_do(const char *verb, const char *object, const char *third, const char *fourth)
{
    G_GNUC_UNUSED g_autofree char *out = kv_kubectl(verb, object, third, fourth);
}

void
kv_make_vmi(const char *name, const char *finalizers)
{
    g_autofree char *text = g_strdup_printf(
        "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: %s, "
        "labels: {kubevirt.io/nodeName: " LAB_NODE_NAME "}, finalizers: [%s]}, spec: {domain: {}}, "
        "status: {phase: Running, nodeName: " LAB_NODE_NAME "}}\n",
        name, finalizers);

    lab_ok(lab_kube_apply(text, &error));
}

void
kv_make_vm(const char *name)
{
    g_autofree char *text = g_strdup_printf("{apiVersion: kubevirt.io/v1, kind: VirtualMachine, "
                                            "metadata: {name: %s}, spec: {running: true}}\n",
                                            name);

    lab_ok(lab_kube_apply(text, &error));
}

/* As KubeVirt does: it takes its finalizers off and the object goes, if nobody else has one. */
int
kv_teardown(void **state G_GNUC_UNUSED)
{
    static const char *const kinds[] = { "vmi", "vm" };

    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *names = kv_kubectl("get", kinds[i], "-oname", NULL);
        g_auto(GStrv) each = g_strsplit(names, "\n", -1);

        for (gsize j = 0; each[j] != NULL && *each[j] != '\0'; j++) {
            kv_do("patch", each[j], "--type=merge", "-p={\"metadata\":{\"finalizers\":null}}");
            kv_do("delete", each[j], "--ignore-not-found", NULL);
        }
    }
    return 0;
}

int
kv_setup(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkKubeConfig) config = NULL;

    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    lab_ok((config = wk_kube_config_load(LAB_KUBE_AGENT, &error)) != NULL);
    kv_kube = wk_kube_new(config, "test/1");
    return 0;
}
