/* SPDX-License-Identifier: Apache-2.0 */
#include "lab-kube.h"

#include "lab-api.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ETCD       "etcd"
#define APISERVER  "kube-apiserver"
#define WUKONGS    "/apis/vm.novasphere.dev/v1alpha1/namespaces/default/wukongs"
#define AGENT_USER "system:serviceaccount:wukong-system:wukongd"

static char *
asset(const char *name)
{
    return g_build_filename(g_getenv("KUBEBUILDER_ASSETS"), name, NULL);
}

gboolean
lab_kube_is_available(void)
{
    const char *folder = g_getenv("KUBEBUILDER_ASSETS");

    return folder != NULL && *folder != '\0';
}

static gboolean
run(const char *const *argv, GError **error)
{
    g_auto(LabOutput) output = { 0 };

    if (!lab_run_capture(argv, NULL, LAB_KUBE_MS, &output, error))
        return FALSE;
    if (output.status == 0)
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", argv[0], output.err);
    return FALSE;
}

/* ---- certificates ---- */

/* One shell-free openssl call a step. */
static gboolean
openssl(GError **error, const char *first, ...)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    const char *word;
    va_list words;

    g_ptr_array_add(argv, (char *)"openssl");
    va_start(words, first);
    for (word = first; word != NULL; word = va_arg(words, const char *))
        g_ptr_array_add(argv, (char *)word);
    va_end(words);
    g_ptr_array_add(argv, NULL);
    return run((const char *const *)argv->pdata, error);
}

#define KEY_ARGS "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"

gboolean
lab_kube_certificate(const char *name, const char *subject, const char *extensions, GError **error)
{
    g_autofree char *key = g_strdup_printf("%s/%s.key", LAB_KUBE_DIR, name);
    g_autofree char *crt = g_strdup_printf("%s/%s.crt", LAB_KUBE_DIR, name);

    return openssl(error, "req", "-x509", KEY_ARGS, "-CA", LAB_KUBE_DIR "/ca.crt", "-CAkey",
                   LAB_KUBE_DIR "/ca.key", "-keyout", key, "-out", crt, "-days", "2", "-subj",
                   subject, "-addext", extensions, "-addext", "basicConstraints=CA:FALSE", NULL);
}

static gboolean
make_certificates(GError **error)
{
    if (g_file_test(LAB_KUBE_DIR "/sa.pub", G_FILE_TEST_EXISTS))
        return TRUE;
    if (g_mkdir_with_parents(LAB_KUBE_DIR, 0700) != 0) {
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, "mkdir " LAB_KUBE_DIR);
        return FALSE;
    }
    return openssl(error, "req", "-x509", KEY_ARGS, "-keyout", LAB_KUBE_DIR "/ca.key", "-out",
                   LAB_KUBE_DIR "/ca.crt", "-days", "2", "-subj", "/CN=lab", NULL)
           && lab_kube_certificate("server", "/CN=kube-apiserver",
                                   "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:api.lab", error)
           && lab_kube_certificate("admin", "/O=system:masters/CN=admin",
                                   "extendedKeyUsage=clientAuth", error)
           && lab_kube_certificate("front-proxy", "/CN=front-proxy-client",
                                   "extendedKeyUsage=clientAuth", error)
           && openssl(error, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out",
                      LAB_KUBE_DIR "/sa.key", NULL)
           && openssl(error, "ec", "-in", LAB_KUBE_DIR "/sa.key", "-pubout", "-out",
                      LAB_KUBE_DIR "/sa.pub", NULL);
}

static gboolean
write_text(const char *path, const char *text, GError **error)
{
    return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}

static gboolean
write_admin(GError **error)
{
    return write_text(LAB_KUBE_ADMIN,
                      "apiVersion: v1\nkind: Config\ncurrent-context: lab\n"
                      "clusters:\n- name: lab\n  cluster:\n    server: " LAB_KUBE_SERVER "\n"
                      "    certificate-authority: ca.crt\n"
                      "contexts:\n- name: lab\n  context: {cluster: lab, user: admin}\n"
                      "users:\n- name: admin\n  user:\n    client-certificate: admin.crt\n"
                      "    client-key: admin.key\n",
                      error)
           && write_text(LAB_KUBE_DIR "/audit.yaml",
                         "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: "
                         "[RequestReceived, ResponseStarted]\nrules:\n- level: Metadata\n",
                         error);
}

/* ---- the servers ---- */

static gboolean
etcd_start(GError **error)
{
    g_autofree char *program = asset(ETCD);
    const char *const argv[] = { program,
                                 "--data-dir=" LAB_KUBE_DIR "/etcd",
                                 "--listen-client-urls=http://127.0.0.1:2379",
                                 "--advertise-client-urls=http://127.0.0.1:2379",
                                 "--listen-peer-urls=http://127.0.0.1:2380",
                                 "--unsafe-no-fsync",
                                 "--log-level=warn",
                                 NULL };

    return lab_pid(ETCD) != 0 || lab_spawn(ETCD, argv, NULL, error) > 0;
}

gboolean
lab_kube_server_start(GError **error)
{
    g_autofree char *program = asset(APISERVER);
    const char *const argv[] = { program, "--etcd-servers=http://127.0.0.1:2379",
                                 "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
                                 "--secure-port=6443", "--service-cluster-ip-range=10.0.0.0/24",
                                 "--tls-cert-file=" LAB_KUBE_DIR "/server.crt",
                                 "--tls-private-key-file=" LAB_KUBE_DIR "/server.key",
                                 "--client-ca-file=" LAB_KUBE_DIR "/ca.crt",
                                 "--service-account-issuer=https://kubernetes.default.svc",
                                 "--service-account-key-file=" LAB_KUBE_DIR "/sa.pub",
                                 "--service-account-signing-key-file=" LAB_KUBE_DIR "/sa.key",
                                 "--authorization-mode=Node,RBAC",
                                 /* the aggregator: whom the servers behind it believe */
                                 "--proxy-client-cert-file=" LAB_KUBE_DIR "/front-proxy.crt",
                                 "--proxy-client-key-file=" LAB_KUBE_DIR "/front-proxy.key",
                                 "--requestheader-client-ca-file=" LAB_KUBE_DIR "/ca.crt",
                                 "--requestheader-allowed-names=front-proxy-client",
                                 "--requestheader-username-headers=X-Remote-User",
                                 "--requestheader-group-headers=X-Remote-Group",
                                 "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                                 "--audit-policy-file=" LAB_KUBE_DIR "/audit.yaml",
                                 "--audit-log-path=" LAB_KUBE_AUDIT, "--cert-dir=" LAB_KUBE_DIR,
                                 NULL };

    return lab_pid(APISERVER) != 0
           || (lab_spawn(APISERVER, argv, NULL, error) > 0 && lab_kube_server_wait(error));
}

gboolean
lab_kube_server_stop(GError **error)
{
    return lab_kill(APISERVER, SIGTERM, LAB_KUBE_MS, NULL, error);
}

gboolean
lab_kube_server_kill(GError **error)
{
    return lab_kill(APISERVER, SIGKILL, LAB_KUBE_MS, NULL, error);
}

static gboolean
is_ready(gpointer data G_GNUC_UNUSED)
{
    return lab_pid(APISERVER) == 0 || lab_api_is_ok("/readyz");
}

gboolean
lab_kube_server_wait(GError **error)
{
    if (!lab_wait("the API server to be ready", LAB_KUBE_MS, is_ready, NULL, error))
        return FALSE;
    if (lab_pid(APISERVER) != 0)
        return TRUE;
    g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, APISERVER " ended, see its log");
    return FALSE;
}

gboolean
lab_kube_start(GError **error)
{
    g_autofree char *version = NULL;

    if (!lab_init(error) || !make_certificates(error) || !write_admin(error) || !etcd_start(error)
        || !lab_kube_server_start(error))
        return FALSE;
    version = lab_kubectl_out(error, "get", "--raw", "/version", NULL);
    if (version != NULL)
        g_print("# API server: %s\n", g_strdelimit(version, "\n", ' '));
    return version != NULL;
}

/* ---- kubectl ---- */

gboolean
lab_kubectlv(LabOutput *output, const char *kubeconfig, const char *const *words, GError **error)
{
    g_autofree char *program = asset("kubectl");
    g_autofree char *config = g_strdup_printf("KUBECONFIG=%s", kubeconfig);
    const char *const env[] = { config, "HOME=" LAB_KUBE_DIR, NULL };
    g_autoptr(GPtrArray) argv = g_ptr_array_new();

    g_ptr_array_add(argv, program);
    for (gsize i = 0; words[i] != NULL; i++)
        g_ptr_array_add(argv, (char *)words[i]);
    g_ptr_array_add(argv, NULL);
    return lab_run_capture((const char *const *)argv->pdata, env, LAB_KUBE_MS, output, error);
}

static GPtrArray *
collect(va_list words)
{
    GPtrArray *argv = g_ptr_array_new();
    const char *word;

    while ((word = va_arg(words, const char *)) != NULL)
        g_ptr_array_add(argv, (char *)word);
    g_ptr_array_add(argv, NULL);
    return argv;
}

gboolean
lab_kubectl(LabOutput *output, GError **error, ...)
{
    g_autoptr(GPtrArray) argv = NULL;
    va_list words;

    va_start(words, error);
    argv = collect(words);
    va_end(words);
    return lab_kubectlv(output, LAB_KUBE_ADMIN, (const char *const *)argv->pdata, error);
}

char *
lab_kubectl_out(GError **error, ...)
{
    g_auto(LabOutput) output = { 0 };
    g_autoptr(GPtrArray) argv = NULL;
    va_list words;

    va_start(words, error);
    argv = collect(words);
    va_end(words);
    if (!lab_kubectlv(&output, LAB_KUBE_ADMIN, (const char *const *)argv->pdata, error))
        return NULL;
    if (output.status == 0)
        return g_strdup(g_strstrip(output.out));
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "kubectl %s %s: %s",
                (const char *)argv->pdata[0], (const char *)argv->pdata[1], output.err);
    return NULL;
}

gboolean
lab_kube_apply(const char *text, GError **error)
{
    g_autofree char *out = NULL;

    if (!write_text(LAB_KUBE_DIR "/apply.yaml", text, error))
        return FALSE;
    out = lab_kubectl_out(error, "apply", "-f", LAB_KUBE_DIR "/apply.yaml", NULL);
    return out != NULL;
}

/* ---- what the project installs ---- */

gboolean
lab_kube_new_token(const char *node, const char *path, GError **error)
{
    g_autofree char *token = lab_kubectl_out(
        error, "create", "token", "wukongd", "-n", "wukong-system",
        node != NULL ? "--bound-object-kind=Node" : NULL, "--bound-object-name", node, NULL);
    g_autofree char *text = NULL;
    g_autofree char *token_path = g_strconcat(path, ".token", NULL);

    if (token == NULL || !write_text(token_path, token, error))
        return FALSE;
    text = g_strdup_printf("apiVersion: v1\nkind: Config\ncurrent-context: lab\n"
                           "clusters:\n- name: lab\n  cluster:\n    server: " LAB_KUBE_SERVER "\n"
                           "    certificate-authority: ca.crt\n"
                           "contexts:\n- name: lab\n  context: {cluster: lab, user: agent}\n"
                           "users:\n- name: agent\n  user: {tokenFile: \"%s\"}\n",
                           token_path);
    return write_text(path, text, error);
}

static gboolean
apply_path(const char *option, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(g_getenv("WK_SRCDIR"), name, NULL);
    g_autofree char *out = lab_kubectl_out(error, "apply", option, path, NULL);

    return out != NULL;
}

static gboolean
say_who(GError **error)
{
    static const char *const words[] = { "auth", "whoami", "-o",
                                         "jsonpath={.status.userInfo.username} "
                                         "{.status.userInfo.extra.authentication\\.kubernetes\\.io/"
                                         "node-name[0]}",
                                         NULL };
    g_auto(LabOutput) output = { 0 };

    if (!lab_kubectlv(&output, LAB_KUBE_AGENT, words, error))
        return FALSE;
    g_print("# the agent is: %s\n", output.out);
    if (g_str_equal(output.out, AGENT_USER " " LAB_NODE_NAME))
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "the agent is '%s' (%s)", output.out,
                output.err);
    return FALSE;
}

gboolean
lab_kube_install(GError **error)
{
    g_autofree char *waited = NULL;

    if (!apply_path("-f", "data/crd/wukongs.yaml", error)
        || !apply_path("-k", "data/kubernetes", error))
        return FALSE;
    waited = lab_kubectl_out(error, "wait", "--for=condition=Established", "--timeout=30s",
                             "crd/wukongs.vm.novasphere.dev", NULL);
    return waited != NULL
           && lab_kube_apply("apiVersion: v1\nkind: Node\nmetadata:\n  name: " LAB_NODE_NAME "\n",
                             error)
           && lab_kube_new_token(LAB_NODE_NAME, LAB_KUBE_AGENT, error) && say_who(error);
}

gboolean
lab_kube_kubevirt(GError **error)
{
    g_autofree char *waited = NULL;

    if (!apply_path("-f", "tests/kube/kubevirt-crds.yaml", error))
        return FALSE;
    waited = lab_kubectl_out(error, "wait", "--for=condition=Established", "--timeout=30s",
                             "crd/virtualmachineinstances.kubevirt.io",
                             "crd/virtualmachines.kubevirt.io", NULL);
    return waited != NULL;
}

gboolean
lab_kube_agent_start(const LabAgentOptions *more, GError **error)
{
    static const char *const args[] = { "--kubeconfig", LAB_KUBE_AGENT, "--node-name",
                                        LAB_NODE_NAME, NULL };
    LabAgentOptions options = { 0 };

    if (more != NULL)
        options = *more;
    if (options.args == NULL)
        options.args = args;
    return lab_agent_start(&options, error);
}

/* ---- Wukongs ---- */

gboolean
lab_kube_wukong(const char *name, GError **error)
{
    g_autofree char *text = g_strdup_printf("apiVersion: vm.novasphere.dev/v1alpha1\nkind: Wukong\n"
                                            "metadata: {name: %s, namespace: default}\n"
                                            "spec: {cpu: 1, memory: 128Mi, osImage: lab}\n",
                                            name);
    g_autofree char *out = NULL;

    if (!lab_kube_apply(text, error))
        return FALSE;
    out = lab_kubectl_out(error, "patch", "wk", name, "--subresource=status", "--type=merge", "-p",
                          "{\"status\":{\"nodeName\":\"" LAB_NODE_NAME "\",\"phase\":\"Running\"}}",
                          NULL);
    return out != NULL;
}

gboolean
lab_kube_act(const char *name, const char *action, GError **error)
{
    g_autofree char *patch = g_strdup_printf("{\"spec\":{\"lifecycleAction\":%s}}", action);
    g_autofree char *out =
        lab_kubectl_out(error, "patch", "wk", name, "--type=merge", "-p", patch, NULL);

    return out != NULL;
}

gboolean
lab_kube_wait(const char *name, const char *jsonpath, const char *value, GError **error)
{
    g_autofree char *object = g_strdup_printf("wk/%s", name);
    g_autofree char *what = g_strdup_printf("--for=jsonpath=%s=%s", jsonpath, value);
    g_autofree char *out = lab_kubectl_out(error, "wait", object, what, "--timeout=40s", NULL);

    if (out == NULL) {
        g_autofree char *shown = lab_kubectl_out(NULL, "get", "wk", name, "-o", "yaml", NULL);

        g_prefix_error(error, "waiting for %s=%s: %s\n", jsonpath, value, shown);
    }
    return out != NULL;
}

char *
lab_kube_get(const char *name, const char *jsonpath, GError **error)
{
    g_autofree char *path = g_strconcat(WUKONGS "/", name, NULL);

    return lab_api_pick(path, jsonpath, FALSE, error);
}

/* ---- the audit log ---- */

static gboolean
is_counted(const char *line, const char *verb, const char *resource)
{
    g_autofree char *by_verb = g_strdup_printf("\"verb\":\"%s\"", verb);
    g_auto(GStrv) parts = g_strsplit(resource, "/", 2);
    g_autofree char *by_resource =
        g_strdup_printf("\"resource\":\"%s\"", resource[0] ? parts[0] : "");
    g_autofree char *by_sub =
        g_strdup_printf("\"subresource\":\"%s\"", resource[0] && parts[1] ? parts[1] : "");

    if (strstr(line, "\"username\":\"" AGENT_USER "\"") == NULL
        || (*verb != '\0' && strstr(line, by_verb) == NULL))
        return FALSE;
    if (*resource == '\0')
        return TRUE;
    return strstr(line, by_resource) != NULL
           && (parts[1] != NULL ? strstr(line, by_sub) != NULL
                                : strstr(line, "\"subresource\"") == NULL);
}

guint
lab_kube_count(const char *verb, const char *resource)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    guint count = 0;

    if (!g_file_get_contents(LAB_KUBE_AUDIT, &text, NULL, NULL))
        return 0;
    lines = g_strsplit(text, "\n", -1);
    for (gsize i = 0; lines[i] != NULL; i++)
        count += is_counted(lines[i], verb, resource) ? 1 : 0;
    return count;
}
