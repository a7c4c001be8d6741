/* SPDX-License-Identifier: Apache-2.0 */
/* What lab-pod.h does, for shell scripts inside lab-run. */
#include "lab-pod.h"

#include <stdio.h>

static gboolean
start(const char *argument G_GNUC_UNUSED, GError **error)
{
    return lab_kube_start(error) && lab_kube_install(error) && lab_standin_start(error);
}

static gboolean
node_start(const char *argument G_GNUC_UNUSED, GError **error)
{
    return lab_standin_node_start(error);
}

static gboolean
vm_start(const char *name, GError **error)
{
    return lab_vm_start(name, NULL, error);
}

static gboolean
print_and_free(char *text)
{
    if (text != NULL)
        g_print("%s\n", text);
    g_free(text);
    return text != NULL;
}

static gboolean
pod_uid(const char *name, GError **error)
{
    return print_and_free(lab_pod_uid(name, error));
}

static gboolean
domstate(const char *name, GError **error)
{
    return print_and_free(lab_pod_domstate(name, error));
}

static gboolean
wait_gone(const char *uid, GError **error)
{
    return lab_pod_wait_gone(uid, LAB_POD_MS, error);
}

static const struct {
    const char *name;
    gboolean (*run)(const char *argument, GError **error);
    gboolean takes_argument;
} commands[] = {
    { "start", start, FALSE },
    { "node-start", node_start, FALSE },
    { "vm-start", vm_start, TRUE },
    { "vm-delete", lab_vm_delete, TRUE },
    { "pod-uid", pod_uid, TRUE },
    { "domstate", domstate, TRUE },
    { "pod-wait-gone", wait_gone, TRUE },
};

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    for (gsize i = 0; argc > 1 && i < G_N_ELEMENTS(commands); i++) {
        if (!g_str_equal(commands[i].name, argv[1]) || argc != (commands[i].takes_argument ? 3 : 2))
            continue;
        if (commands[i].run(argv[2], &error))
            return 0;
        fprintf(stderr, "pod-tool: %s: %s\n", argv[1], error->message);
        return 1;
    }
    fprintf(stderr, "usage: pod-tool start|node-start\n"
                    "       pod-tool vm-start|vm-delete|pod-uid|domstate NAME\n"
                    "       pod-tool pod-wait-gone POD-UID\n");
    return 2;
}
