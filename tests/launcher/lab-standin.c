/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-in's programs and settings. */
#include "lab-pod.h"

#include <json-glib/json-glib.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRAM  "tests/launcher/kubevirt-standin"
#define CLUSTER  "kubevirt-cluster"
#define NODE     "kubevirt-node"
#define SETTINGS LAB_STANDIN_DIR "/settings.json"

gboolean
lab_standin_is_available(void)
{
    g_autofree char *program = lab_build_path(PROGRAM);

    return lab_kube_is_available() && g_file_test(program, G_FILE_TEST_IS_EXECUTABLE);
}

/* One file each, so that a crash of the node tells them apart. */
static gboolean
copy_program(const char *name, GError **error)
{
    g_autofree char *path = lab_build_path(PROGRAM);
    g_autofree char *copy = g_build_filename(LAB_STANDIN_DIR, name, NULL);
    g_autoptr(GFile) source = g_file_new_for_path(path);
    g_autoptr(GFile) target = g_file_new_for_path(copy);

    return g_file_test(copy, G_FILE_TEST_EXISTS)
           || g_file_copy(source, target, G_FILE_COPY_NONE, NULL, NULL, NULL, error);
}

static gboolean
start(const char *name, const char *role, GError **error)
{
    g_autofree char *program = g_build_filename(LAB_STANDIN_DIR, name, NULL);
    const char *const argv[] = { program, role, NULL };

    if (lab_pid(name) != 0)
        return TRUE;
    /* everybody may reach the pods' command sockets, which their guests make as uid 107 */
    if (g_mkdir_with_parents(LAB_STANDIN_DIR, 0755) != 0
        || g_mkdir_with_parents(LAB_DIR "/guests", 0755) != 0
        || g_mkdir_with_parents("/run/lab", 0755) != 0 || chmod("/run/lab", 01777) != 0) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "folders of %s can't be made", name);
        return FALSE;
    }
    return copy_program(name, error) && lab_spawn(name, argv, NULL, error) > 0;
}

gboolean
lab_standin_cluster_start(GError **error)
{
    return start(CLUSTER, "cluster", error);
}

gboolean
lab_standin_cluster_kill(GError **error)
{
    return lab_kill(CLUSTER, SIGKILL, LAB_WAIT_MS, NULL, error);
}

gboolean
lab_standin_node_start(GError **error)
{
    return start(NODE, "node", error);
}

gboolean
lab_standin_node_kill(GError **error)
{
    return lab_kill(NODE, SIGKILL, LAB_WAIT_MS, NULL, error);
}

static gboolean
subresources_answer(gpointer data G_GNUC_UNUSED)
{
    g_auto(LabOutput) output = { 0 };

    return lab_pid(CLUSTER) == 0
           || (lab_kubectl(&output, NULL, "get", "--raw", "/apis/subresources.kubevirt.io/v1", NULL)
               && output.status == 0);
}

/* virt-api's certificate is of the cluster's CA; the API server must be told which that is. */
static gboolean
register_api(GError **error)
{
    g_autofree char *pem = NULL;
    g_autofree char *ca = NULL;
    g_autofree char *text = NULL;
    gsize length;

    if (!g_file_get_contents(LAB_KUBE_DIR "/ca.crt", &pem, &length, error))
        return FALSE;
    ca = g_base64_encode((const guchar *)pem, length);
    text = g_strdup_printf("apiVersion: apiregistration.k8s.io/v1\nkind: APIService\n"
                           "metadata: {name: v1.subresources.kubevirt.io}\n"
                           "spec:\n  group: subresources.kubevirt.io\n  version: v1\n"
                           "  groupPriorityMinimum: 1000\n  versionPriority: 15\n"
                           "  service: {namespace: kubevirt, name: virt-api, port: 7443}\n"
                           "  caBundle: %s\n",
                           ca);
    return lab_kube_apply(text, error);
}

static gboolean
install(GError **error)
{
    g_autofree char *path =
        g_build_filename(g_getenv("WK_SRCDIR"), "tests/launcher/kubevirt.yaml", NULL);
    g_autofree char *applied = lab_kubectl_out(error, "apply", "-f", path, NULL);
    g_autofree char *waited = NULL;

    if (applied == NULL
        || !lab_kube_certificate("virt-api", "/CN=virt-api",
                                 "subjectAltName=DNS:virt-api.kubevirt.svc", error)
        || !register_api(error))
        return FALSE;
    waited = lab_kubectl_out(error, "wait", "--for=condition=Established", "--timeout=30s",
                             "crd/virtualmachines.kubevirt.io",
                             "crd/virtualmachineinstances.kubevirt.io", NULL);
    return waited != NULL;
}

gboolean
lab_standin_start(GError **error)
{
    if (!install(error) || !lab_standin_cluster_start(error) || !lab_standin_node_start(error)
        || !lab_wait("the subresources", LAB_KUBE_MS, subresources_answer, NULL, error))
        return FALSE;
    if (lab_pid(CLUSTER) != 0 && lab_pid(NODE) != 0)
        return TRUE;
    g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED,
                        "the stand-in ended at once, see its logs");
    return FALSE;
}

gboolean
lab_standin_set(const char *name, guint ms, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(JsonObject) settings = NULL;
    g_autoptr(JsonNode) node = json_node_alloc();
    g_autofree char *text = NULL;

    if (json_parser_load_from_file(parser, SETTINGS, NULL))
        settings = json_object_ref(json_node_get_object(json_parser_get_root(parser)));
    else
        settings = json_object_new();
    json_object_set_int_member(settings, name, ms);
    json_node_init_object(node, settings);
    text = json_to_string(node, FALSE);
    if (g_mkdir_with_parents(LAB_STANDIN_DIR, 0755) != 0) {
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, LAB_STANDIN_DIR);
        return FALSE;
    }
    return g_file_set_contents(SETTINGS, text, -1, error);
}

gboolean
lab_standin_reset(GError **error G_GNUC_UNUSED)
{
    unlink(SETTINGS);
    return TRUE;
}
