/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent may do at the API server, and what not: RBAC, and the admission policies for what
 * RBAC can't say. Asked of the real one with the agent's own kind of token. */
#include "kube-e2e.h"

#define NAME       "vm"
#define OTHER      "other"
#define PINNED     "pinned" /* by its user, to another node */
#define NEXT       "next"   /* a guest whose pod is here, and KubeVirt does not say so yet */
#define OTHER_NODE "node-2"
#define UNBOUND    LAB_KUBE_DIR "/unbound.conf"

static void
run_as(const char *kubeconfig, const char *const *words, LabOutput *output)
{
    lab_ok(lab_kubectlv(output, kubeconfig, words, &error));
}

/* RESOURCE [verbs] of "auth can-i --list", without what every user may ask about himself. */
static char *
list_rights(const char *ns)
{
    const char *const words[] = { "auth", "can-i", "--list", "--no-headers", "-n", ns, NULL };
    g_auto(LabOutput) output = { 0 };
    g_auto(GStrv) lines = NULL;
    GString *rights = g_string_new(NULL);

    run_as(LAB_KUBE_AGENT, words, &output);
    lines = g_strsplit(output.out, "\n", -1);
    for (gsize i = 0; lines[i] != NULL; i++) {
        const char *verbs = strrchr(lines[i], '[');

        if (*lines[i] == '\0' || *lines[i] == ' ' || g_str_has_prefix(lines[i], "self"))
            continue;
        g_string_append_len(rights, lines[i], strcspn(lines[i], " "));
        g_string_append_printf(rights, " %s\n", verbs);
    }
    return g_string_free(rights, FALSE);
}

#define RIGHTS_ABOVE "events.events.k8s.io [create patch]\n"
#define RIGHTS_BELOW                                                                               \
    "virtualmachineinstances.kubevirt.io [get list watch patch delete]\n"                          \
    "virtualmachines.kubevirt.io [get list watch patch]\n"                                         \
    "wukongs.vm.novasphere.dev [get list watch patch]\n"                                           \
    "pods [get list]\n"                                                                            \
    "persistentvolumeclaims [get]\n"                                                               \
    "wukongs.vm.novasphere.dev/status [patch]\n"                                                   \
    "virtualmachineinstances.subresources.kubevirt.io/pause [update]\n"                            \
    "virtualmachineinstances.subresources.kubevirt.io/unpause [update]\n"                          \
    "virtualmachines.subresources.kubevirt.io/start [update]\n"

static void
test_rights(void **state G_GNUC_UNUSED)
{
    g_autofree char *own = list_rights("wukong-system");
    g_autofree char *elsewhere = list_rights("default");

    g_print("# the agent may, in its namespace:\n%s", own);
    assert_string_equal(elsewhere, RIGHTS_ABOVE RIGHTS_BELOW);
    assert_string_equal(own, RIGHTS_ABOVE
                        "leases.coordination.k8s.io [get create update patch]\n" RIGHTS_BELOW);
}

typedef struct {
    const char *label;
    const char *path; /* below the namespace */
    const char *patch;
    const char *refusal; /* part of it; NULL: allowed */
} Case;

#define WUKONG(name)     "/apis/vm.novasphere.dev/v1alpha1/namespaces/default/wukongs/" name
#define VMI(name)        "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/" name
#define VM(name)         "/apis/kubevirt.io/v1/namespaces/default/virtualmachines/" name
#define RUNNING          "{\"status\":{\"lifecycleState\":{\"state\":\"Running\"}}}"
#define NOTE(text)       "{\"metadata\":{\"annotations\":{" text "}}}"
#define LOCK             "\"wukong.novasphere.dev/saved-state\""
#define PLACE(text)      "{\"spec\":{\"highAvailability\":{" text "}}}"
#define SELECTOR(text)   "\"nodeSelector\":{" text "}"
#define HOST(text)       "\"kubernetes.io/hostname\":" text
#define FINALIZERS(text) "{\"metadata\":{\"finalizers\":[" text "]}}"

/* The Wukong of this node has an action to be removed, a start strategy, a label of its node and
 * a toleration; the guests one finalizer of KubeVirt's. */
static const Case cases[] = {
    { "its status", WUKONG(NAME) "/status", RUNNING, NULL },
    { "an annotation", WUKONG(NAME), NOTE("\"a\":\"b\""), NULL },
    { "another action", WUKONG(NAME), "{\"spec\":{\"lifecycleAction\":{\"action\":\"discard\"}}}",
      "may remove spec.lifecycleAction, not change it" },
    { "the spec", WUKONG(NAME), "{\"spec\":{\"cpu\":2}}", "changes nothing else in the spec" },
    { "a new field of the spec", WUKONG(NAME), "{\"spec\":{\"osImage2\":\"a\"}}",
      "changes nothing else in the spec" },
    { "that it starts by itself", WUKONG(NAME),
      "{\"spec\":{\"startStrategy\":{\"autoStart\":false}}}", NULL },
    { "how it starts", WUKONG(NAME), "{\"spec\":{\"startStrategy\":{\"runStrategy\":\"Always\"}}}",
      "nothing but autoStart" },
    { "more of how it starts", WUKONG(NAME), "{\"spec\":{\"startStrategy\":{\"delay\":1}}}",
      "nothing but autoStart" },
    { "that it has a start strategy", WUKONG(NAME), "{\"spec\":{\"startStrategy\":null}}",
      "nothing but autoStart" },
    { "its node", WUKONG(NAME) "/status", "{\"status\":{\"nodeName\":\"node-2\"}}",
      "does not change status.nodeName" },
    { "another node's status", WUKONG(OTHER) "/status", RUNNING, "of node " OTHER_NODE },
    { "another node's annotation", WUKONG(OTHER), NOTE("\"a\":\"b\""), "of node " OTHER_NODE },
    { "another node's start", WUKONG(OTHER), "{\"spec\":{\"startStrategy\":{\"autoStart\":false}}}",
      "of node " OTHER_NODE },
    { "to take over another node's", WUKONG(OTHER),
      NOTE("\"wukong.novasphere.dev/saved-on\":\"node-1\""), "of node " OTHER_NODE },
    { "to pin it elsewhere", WUKONG(NAME), PLACE(SELECTOR(HOST("\"node-2\""))),
      "pins a Wukong that names no node to its own" },
    { "another label of its node", WUKONG(NAME), PLACE(SELECTOR("\"disk\":\"ssd\"")),
      "nothing but kubernetes.io/hostname" },
    { "what it tolerates", WUKONG(NAME), PLACE("\"tolerations\":[{\"key\":\"a\"}]"),
      "changes nothing but nodeSelector" },
    { "to pin it here", WUKONG(NAME), PLACE(SELECTOR(HOST("\"" LAB_NODE_NAME "\""))), NULL },
    { "to send it elsewhere", WUKONG(NAME), PLACE(SELECTOR(HOST("\"node-2\""))),
      "pins a Wukong that names no node to its own" },
    { "to take a label off", WUKONG(NAME), PLACE(SELECTOR("\"tier\":null")),
      "nothing but kubernetes.io/hostname" },
    { "to take all labels off", WUKONG(NAME), PLACE("\"nodeSelector\":null"),
      "nothing but kubernetes.io/hostname" },
    { "to take its place off", WUKONG(NAME), "{\"spec\":{\"highAvailability\":null}}",
      "changes nothing but nodeSelector" },
    { "to take the pin off", WUKONG(NAME), PLACE(SELECTOR(HOST("null"))), NULL },
    { "a user's pin", WUKONG(PINNED), PLACE(SELECTOR(HOST("null"))),
      "pins a Wukong that names no node to its own" },
    { "another node's pin", WUKONG(OTHER), PLACE(SELECTOR(HOST("\"" LAB_NODE_NAME "\""))),
      "of node " OTHER_NODE },
    { "to take the action away", WUKONG(NAME), "{\"spec\":{\"lifecycleAction\":null}}", NULL },

    { "the lock of a guest", VMI(NAME), FINALIZERS("\"kubevirt\"," LOCK), NULL },
    { "an annotation of a guest", VMI(NAME), NOTE("\"wukong.novasphere.dev/a\":\"b\""), NULL },
    { "somebody's annotation of it", VMI(NAME), NOTE("\"a\":\"b\""), "no annotation but its own" },
    { "to remove one", VMI(NAME), NOTE("\"kubevirt\":null"), "no annotation but its own" },
    { "KubeVirt's finalizer", VMI(NAME), FINALIZERS(LOCK), "no finalizer but" },
    { "another finalizer", VMI(NAME), FINALIZERS("\"kubevirt\"," LOCK ",\"b\""),
      "no finalizer but" },
    { "a guest's spec", VMI(NAME), "{\"spec\":{\"domain\":null}}", "neither spec nor status" },
    { "a guest's node", VMI(NAME), "{\"status\":{\"nodeName\":\"node-2\"}}",
      "neither spec nor status" },
    { "a guest's label", VMI(NAME), "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}",
      "neither labels nor owners" },
    { "to take the lock off", VMI(NAME), FINALIZERS("\"kubevirt\""), NULL },
    { "the lock of another node's", VMI(OTHER), FINALIZERS("\"kubevirt\"," LOCK),
      "may not touch a guest of node " OTHER_NODE },
    { "the lock of one that comes", VMI(NEXT), FINALIZERS("\"kubevirt\"," LOCK), NULL },
    { "the lock of one without a pod", VMI("nowhere"), FINALIZERS("\"kubevirt\"," LOCK),
      "may not touch a guest of node" },

    { "the mark of a VM", VM(NAME), NOTE("\"wukong.novasphere.dev/suspended\":\"true\""), NULL },
    { "its removal", VM(NAME), NOTE("\"wukong.novasphere.dev/suspended\":null"), NULL },
    { "another annotation of it", VM(NAME), NOTE("\"a\":\"b\""),
      "changes nothing but the annotation" },
    { "a VM's spec", VM(NAME), "{\"spec\":{\"running\":false}}",
      "changes nothing but the annotation" },
    { "a VM's finalizer", VM(NAME), FINALIZERS(LOCK), "changes nothing but the annotation" },
};

/* By curl: kubectl reads before it writes, which the agent may not do with a status. */
static void
try_case(const char *token, const Case *row, const char *refusal)
{
    g_autofree char *url = g_strconcat(LAB_KUBE_SERVER, row->path, NULL);
    g_autofree char *header = g_strdup_printf("@%s", token);
    const char *const argv[] = {
        "curl", "-sS",   "--cacert", LAB_KUBE_DIR "/ca.crt",
        "-X",   "PATCH", "-H",       "Content-Type: application/merge-patch+json",
        "-H",   header,  "-d",       row->patch,
        url,    NULL
    };
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_run_capture(argv, NULL, LAB_KUBE_MS, &output, &error));
    if ((strstr(output.out, "\"kind\": \"Status\"") != NULL) != (refusal != NULL)
        || (refusal != NULL
            && (strstr(output.out, refusal) == NULL
                || strstr(output.out, "\"code\": 403") == NULL)))
        fail_msg("%s: %s%s", row->label, output.out, output.err);
}

/* (transfer full): a file with the header that shows the token of @kubeconfig. */
static char *
authorization(const char *kubeconfig)
{
    g_autofree char *token_path = g_strconcat(kubeconfig, ".token", NULL);
    g_autofree char *token = NULL;
    g_autofree char *line = NULL;
    char *path = g_strconcat(kubeconfig, ".header", NULL);

    lab_ok(g_file_get_contents(token_path, &token, NULL, &error));
    line = g_strdup_printf("Authorization: Bearer %s\n", g_strstrip(token));
    lab_ok(g_file_set_contents(path, line, -1, &error));
    return path;
}

static void
test_own_node_only(void **state G_GNUC_UNUSED)
{
    g_autofree char *token = authorization(LAB_KUBE_AGENT);

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        try_case(token, &cases[i], cases[i].refusal);
}

static gboolean
doctor_says(gpointer data)
{
    g_auto(LabOutput) output = { 0 };

    return lab_ctl(&output, NULL, "doctor", NULL) && strstr(output.out, data) != NULL;
}

/* A token that is bound to no node may change nothing at all. */
static void
test_unbound_token(void **state G_GNUC_UNUSED)
{
    g_autofree char *token = authorization(UNBOUND);

    lab_ok(lab_kube_act(NAME, "{\"action\":\"suspend\"}", &error));
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        try_case(token, &cases[i], "not bound to a Node");
}

/* An agent with such a token says what is wrong, and goes on looking after its guests. */
static void
test_agent_with_unbound_token(void **state G_GNUC_UNUSED)
{
    static const char *const args[] = { "--kubeconfig", UNBOUND, "--node-name", LAB_NODE_NAME,
                                        NULL };
    const LabAgentOptions options = { .args = args };

    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_agent_start(&options, &error));
    lab_ok(lab_wait("doctor", LAB_KUBE_MS, doctor_says, (gpointer) "kubernetes Forbidden", &error));
    e2e_ctl_says(0, "not bound to a Node", "doctor", NULL);
    lab_ok(lab_agent_kill(&error));
    lab_ok(lab_libvirtd_kill(&error));
}

static void
test_others(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *words[8];
        const char *refusal;
    } rows[] = {
        { { "delete", "wk", NAME, NULL }, "cannot delete resource" },
        { { "delete", "vmi", NAME, NULL }, "deletes only those that it has locked" },
        { { "delete", "vm", NAME, NULL }, "cannot delete resource" },
        { { "get", "configmaps", NULL }, "cannot list resource \"configmaps\"" },
        { { "get", "pvc", NULL }, "cannot list resource \"persistentvolumeclaims\"" },
        { { "get", "secrets", "-A", NULL }, "cannot list resource \"secrets\"" },
        { { "create", "-f", LAB_KUBE_DIR "/lease.yaml", NULL }, "Lease of its own node only" },
    };

    lab_ok(g_file_set_contents(LAB_KUBE_DIR "/lease.yaml",
                               "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata:\n"
                               "  name: wukongd-" OTHER_NODE "\n  namespace: wukong-system\n",
                               -1, &error));
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(LabOutput) output = { 0 };

        run_as(LAB_KUBE_AGENT, rows[i].words, &output);
        if (output.status == 0 || strstr(output.err, rows[i].refusal) == NULL)
            fail_msg("%s %s: %d %s", rows[i].words[0], rows[i].words[1], output.status, output.err);
    }
}

#define GUEST(name, status)                                                                        \
    "---\n{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance,\n"                            \
    " metadata: {name: " name ", finalizers: [kubevirt], annotations: {kubevirt: a}},\n"           \
    " spec: {domain: {cpu: {cores: 1}}}, status: {" status "}}\n"

static const char *const guests = GUEST(NAME, "nodeName: " LAB_NODE_NAME)
    GUEST(OTHER, "nodeName: " OTHER_NODE) GUEST(NEXT, "activePods: {uid-1: " LAB_NODE_NAME "}")
        GUEST("nowhere", "phase: Pending") "---\n{apiVersion: kubevirt.io/v1, kind: "
                                           "VirtualMachine, metadata: {name: " NAME "},\n"
                                           " spec: {running: true}}\n";

static int
setup(void **state G_GNUC_UNUSED)
{
    g_autofree char *out = NULL;
    g_autofree char *more = NULL;
    g_autofree char *pinned = NULL;

    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    lab_ok(lab_kube_kubevirt(&error));
    lab_ok(lab_kube_new_token(NULL, UNBOUND, &error));
    lab_ok(lab_kube_wukong(NAME, &error));
    lab_ok(lab_kube_wukong(OTHER, &error));
    lab_ok(lab_kube_wukong(PINNED, &error));
    lab_ok(
        (out = lab_kubectl_out(&error, "patch", "wk", OTHER, "--subresource=status", "--type=merge",
                               "-p", "{\"status\":{\"nodeName\":\"" OTHER_NODE "\"}}", NULL))
        != NULL);
    lab_ok(lab_kube_act(NAME, "{\"action\":\"suspend\"}", &error));
    lab_ok((more = lab_kubectl_out(&error, "patch", "wk", NAME, "--type=merge", "-p",
                                   "{\"spec\":{\"startStrategy\":{\"runStrategy\":\"Manual\"},"
                                   "\"highAvailability\":{\"nodeSelector\":{\"tier\":\"a\"},"
                                   "\"tolerations\":[]}}}",
                                   NULL))
           != NULL);
    lab_ok((pinned = lab_kubectl_out(&error, "patch", "wk", PINNED, "--type=merge", "-p",
                                     PLACE(SELECTOR(HOST("\"node-2\""))), NULL))
           != NULL);
    lab_ok(lab_kube_apply(guests, &error));
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_agent_with_unbound_token), /* before any other status is there */
        cmocka_unit_test(test_own_node_only),
        cmocka_unit_test(test_unbound_token),
        cmocka_unit_test(test_others),
    };

    if (!lab_kube_is_available())
        return 77;
    return cmocka_run_group_tests_name("kube-access", tests, setup, NULL);
}
