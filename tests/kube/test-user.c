/* SPDX-License-Identifier: Apache-2.0 */
/* What a user of the cluster types: explain, samples, the plugin. */
#include "kube-e2e.h"

#define NAME  "vm"
#define GUEST "default_vm-vm"

/* "kubectl wukong WORDS", its status must be @status. Returns: (transfer full): both its streams.
 */
static char *G_GNUC_NULL_TERMINATED
plugin(int status, ...)
{
    g_autofree char *script = g_build_filename(g_getenv("WK_SRCDIR"), "data/kubectl-wukong", NULL);
    g_autofree char *path =
        g_strdup_printf("PATH=%s:%s", g_getenv("KUBEBUILDER_ASSETS"), g_getenv("PATH"));
    const char *const env[] = { "KUBECONFIG=" LAB_KUBE_ADMIN, "HOME=" LAB_KUBE_DIR, path, NULL };
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_auto(LabOutput) output = { 0 };
    va_list words;
    const char *word;

    g_ptr_array_add(argv, script);
    va_start(words, status);
    while ((word = va_arg(words, const char *)) != NULL)
        g_ptr_array_add(argv, (char *)word);
    va_end(words);
    g_ptr_array_add(argv, NULL);
    lab_ok(lab_run_capture((const char *const *)argv->pdata, env, LAB_KUBE_MS, &output, &error));
    if (output.status != status)
        fail_msg("kubectl wukong %s: %d, not %d: %s%s", (char *)argv->pdata[1], output.status,
                 status, output.out, output.err);
    return g_strconcat(output.out, output.err, NULL);
}

#define expect(part, status, ...)                                                                  \
    do {                                                                                           \
        g_autofree char *said = plugin(status, __VA_ARGS__, NULL);                                 \
        if (strstr(said, part) == NULL)                                                            \
            fail_msg("'%s' is not in '%s'", part, said);                                           \
    } while (0)

/* The plugin's watches end with it. */
static void
check_no_watch_left(void)
{
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(proc)) != NULL) {
        g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", name);
        g_autofree char *line = NULL;
        gsize length;

        if (!g_ascii_isdigit(*name) || !g_file_get_contents(path, &line, &length, NULL))
            continue;
        for (gsize i = 0; i + 1 < length; i++) {
            if (line[i] == '\0')
                line[i] = ' ';
        }
        if (strstr(line, "/kubectl get wukong") != NULL || g_str_has_prefix(line, "kubectl get wu"))
            fail_msg("left behind: %s", line);
    }
}

/* The API server publishes the schema of a new CRD a moment later. */
static gboolean
is_explained(gpointer data)
{
    char **text = data;

    *text = lab_kubectl_out(NULL, "explain", "wukong.spec.lifecycleAction", NULL);
    return *text != NULL;
}

static void
test_explain(void **state G_GNUC_UNUSED)
{
    static const char *const fields[] = { "action", "target", "timeoutSeconds", "fallback",
                                          "requestId" };
    g_autofree char *text = NULL;

    lab_ok(lab_wait("kubectl explain", LAB_KUBE_MS, is_explained, &text, &error));
    for (gsize i = 0; i < G_N_ELEMENTS(fields); i++) {
        g_autofree char *path = g_strdup_printf("wukong.spec.lifecycleAction.%s", fields[i]);
        g_autofree char *field = NULL;

        assert_non_null(strstr(text, fields[i]));
        lab_ok((field = lab_kubectl_out(&error, "explain", path, NULL)) != NULL);
        assert_null(strstr(field, "<empty>"));
    }
    g_print("%s\n", text);
}

static void
test_samples(void **state G_GNUC_UNUSED)
{
    static const char *const patches[] = { "suspend-to-disk.yaml", "policy.yaml" };
    g_autofree char *gitops =
        g_build_filename(g_getenv("WK_SRCDIR"), "data/samples/gitops.yaml", NULL);
    g_autofree char *applied = NULL;

    lab_ok(lab_kube_wukong(NAME, &error));
    lab_ok((applied = lab_kubectl_out(&error, "apply", "--dry-run=server", "-f", gitops, NULL))
           != NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(patches); i++) {
        g_autofree char *path =
            g_build_filename(g_getenv("WK_SRCDIR"), "data/samples", patches[i], NULL);
        g_autofree char *out = NULL;

        lab_ok((out = lab_kubectl_out(&error, "patch", "wk", NAME, "--type=merge",
                                      "--dry-run=server", "--patch-file", path, NULL))
               != NULL);
    }
}

/* The schema stops what no agent should have to explain. */
static void
test_schema(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *action;
        const char *refusal;
    } rows[] = {
        { "{\"action\":\"hibernate\"}", "supported values: " },
        { "{\"action\":\"suspend\",\"target\":\"cloud\"}", "supported values: " },
        { "{\"action\":\"suspend\",\"timeoutSeconds\":-1}", "greater than or equal to 1" },
        { "{\"action\":\"suspend\",\"timeoutSeconds\":86401}", "less than or equal to 86400" },
        { "{\"target\":\"disk\"}", "Required value" },
    };

    lab_ok(lab_kube_wukong(NAME, &error));
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;

        assert_false(lab_kube_act(NAME, rows[i].action, &error));
        if (strstr(error->message, rows[i].refusal) == NULL)
            fail_msg("%s: %s", rows[i].action, error->message);
    }
}

static void
test_plugin(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    ke_start(NAME);
    life = e2e_remember(GUEST);
    expect("vm: paused in memory", 0, "suspend", NAME, "--to", "memory");
    check_no_watch_left();
    e2e_check_domstate(GUEST, "paused");
    expect("Suspended", 0, "list");
    expect("vm: resumed from memory", 0, "resume", NAME);
    expect("vm: saved to disk", 0, "suspend", "--all", "--to", "disk", "--timeout", "60");
    expect("default/vm\t", 0, "images");
    expect("Restorable=True", 0, "status", NAME);
    expect("memory", 1, "suspend", NAME, "--to", "memory");
    expect("vm: resumed from disk", 0, "resume", NAME, "--request-id", "r-1");
    e2e_check_same_life(life);
    expect("SuspendFailed", 0, "why", NAME);
    expect("nothing is under way", 1, "cancel", NAME);
    expect("say --yes", 2, "discard", NAME);
    expect("not found", 4, "resume", "nobody");
    expect("is none of", 2, "suspend", NAME, "--to", "cloud");
    expect("characters", 2, "suspend", "a\"b");
    check_no_watch_left();
}

/* Without an operator: which node, and which of its domains. */
static void
test_bind(void **state G_GNUC_UNUSED)
{
    e2e_guest_start("plain");
    lab_ok(lab_kube_apply("apiVersion: vm.novasphere.dev/v1alpha1\nkind: Wukong\n"
                          "metadata: {name: bound, namespace: default}\n"
                          "spec: {cpu: 1, memory: 128Mi, osImage: lab}\n",
                          &error));
    expect("bound to node node-1", 0, "bind", "bound", "--node", LAB_NODE_NAME, "--domain",
           "plain");
    ke_until("bound", KE_REASON, "DomainNotAllowed");
    ke_agent_restart_with("[kube]\ndomain-annotation=default\n");
    ke_until("bound", KE_STATE, "Running");
    ke_act("bound", "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until("bound", KE_STATE, "Suspended");
    e2e_check_domstate("plain", "paused");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ke_test(test_explain), ke_test(test_samples), ke_test(test_schema),
        ke_test(test_plugin),  ke_test(test_bind),
    };

    return ke_main(tests);
}
