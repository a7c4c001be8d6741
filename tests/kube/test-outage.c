/* SPDX-License-Identifier: Apache-2.0 */
/* The API server away, flapping, without our fields or our CRD; tokens that end; operators that
 * drop what they do not know. Nothing is lost, and the status is true soon after. */
#include "kube-e2e.h"

#define NAME    "vm"
#define GUEST   "default_vm-vm"
#define SOON_MS 30000 /* after the fault ends (contract) */

static void
test_away_at_start(void **state G_GNUC_UNUSED)
{
    ke_start(NAME);
    lab_ok(lab_kube_server_kill(&error));
    ke_agent_restart(); /* ready without Kubernetes */
    e2e_ctl_says(0, "", "suspend", GUEST, "--to", "memory", NULL);
    lab_ok(lab_kube_server_start(&error));
    ke_until_within(NAME, KE_STATE, "Suspended", SOON_MS);
    ke_check(NAME, "{.status.lifecycleState.origin}", "local");
}

/* It is told that the save is done, though nobody listened then, and the agent died in between. */
static void
test_away_in_mid_save(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    ke_start(NAME);
    life = e2e_remember(GUEST);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_STATE, "*Susp");
    lab_ok(lab_kube_server_kill(&error));
    e2e_wait_guest(GUEST, 30000, "state", "Suspended", "target", "disk", NULL);
    ke_until_in_outbox("Suspended");
    ke_agent_restart();
    lab_ok(lab_kube_server_start(&error));
    ke_until_within(NAME, KE_STATE, "Suspended", SOON_MS);
    ke_until_within(NAME, KE_ACTION, "", SOON_MS);
    ke_until_event(NAME, "Suspended");
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_STATE, "Running");
    e2e_check_same_life(life);
}

/* Many actions while nobody listens: what is told afterwards is the truth, once. */
static void
test_many_actions_while_away(void **state G_GNUC_UNUSED)
{
    const guint rounds = g_getenv("WK_WALK_FULL") != NULL ? 500 : 20;
    guint before;

    ke_start(NAME);
    lab_ok(lab_kube_server_kill(&error));
    for (guint i = 0; i < rounds; i++) {
        e2e_ctl_says(0, "", "suspend", GUEST, "--to", "memory", NULL);
        e2e_ctl_says(0, "", "resume", GUEST, NULL);
    }
    e2e_ctl_says(0, "", "suspend", GUEST, "--to", "memory", NULL);
    before = ke_writes();
    lab_ok(lab_kube_server_start(&error));
    ke_until_within(NAME, KE_STATE, "Suspended", SOON_MS);
    assert_in_range(ke_writes() - before, 1, 3);
}

static void
test_flapping(void **state G_GNUC_UNUSED)
{
    ke_start(NAME);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    for (int i = 0; i < 3; i++) {
        lab_ok(lab_kube_server_kill(&error));
        lab_ok(lab_kube_server_start(&error));
    }
    ke_until_within(NAME, KE_STATE, "Suspended", SOON_MS);
    ke_until_within(NAME, KE_ACTION, "", SOON_MS);
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until_within(NAME, KE_STATE, "Running", SOON_MS);
}

/* The token's Node is deleted: 401 from then on. A new token in the file is found by itself. */
static void
test_token_ends(void **state G_GNUC_UNUSED)
{
    g_autofree char *out = NULL;

    ke_start(NAME);
    lab_ok((out = lab_kubectl_out(&error, "delete", "node", LAB_NODE_NAME, NULL)) != NULL);
    lab_ok(lab_kube_apply("apiVersion: v1\nkind: Node\nmetadata:\n  name: " LAB_NODE_NAME "\n",
                          &error));
    lab_ok(lab_kube_server_kill(&error)); /* its cache of tokens, too */
    lab_ok(lab_kube_server_start(&error));
    e2e_ctl_says(0, "", "suspend", GUEST, "--to", "memory", NULL);
    lab_ok(lab_kube_new_token(LAB_NODE_NAME, LAB_KUBE_AGENT, &error));
    ke_until_within(NAME, KE_STATE, "Suspended", 60000);
}

static void
delete_crd(void)
{
    g_autofree char *out = NULL;

    lab_ok((out = lab_kubectl_out(&error, "delete", "crd", "wukongs.vm.novasphere.dev",
                                  "--timeout=40s", NULL))
           != NULL);
}

static void
apply_crd(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(g_getenv("WK_SRCDIR"), folder, name, NULL);
    g_autofree char *out = NULL;
    g_autofree char *waited = NULL;

    lab_ok((out = lab_kubectl_out(&error, "apply", "-f", path, NULL)) != NULL);
    lab_ok((waited = lab_kubectl_out(&error, "wait", "--for=condition=Established", "--timeout=30s",
                                     "crd/wukongs.vm.novasphere.dev", NULL))
           != NULL);
}

static void
test_without_crd(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    delete_crd();
    ke_agent_restart();
    apply_crd("data/crd", "wukongs.yaml");
    lab_ok(lab_kube_wukong(NAME, &error));
    ke_until_within(NAME, KE_STATE, "Running", 60000);
}

/* An operator's CRD as it is today: no fields of ours, no selectable fields. */
static void
test_operators_crd(void **state G_GNUC_UNUSED)
{
    g_autofree char *patch =
        g_build_filename(g_getenv("WK_SRCDIR"), "data/crd", "wukong-fields-patch.json", NULL);
    g_autofree char *out = NULL;
    guint before;

    e2e_guest_start(GUEST);
    delete_crd();
    apply_crd("tests/kube", "operator-crd.yaml");
    ke_agent_restart();
    lab_ok(lab_kube_wukong(NAME, &error));
    /* pruned: the annotation says it */
    ke_until_within(NAME, KE_MIRROR, "*\"state\":\"Running\"", 60000);
    ke_check(NAME, KE_STATE, "");
    before = ke_writes();
    e2e_virsh_do("suspend", GUEST);
    ke_until(NAME, KE_MIRROR, "*\"state\":\"Suspended\"");
    assert_in_range(ke_writes() - before, 1, 4); /* it does not go on trying */

    lab_ok((out = lab_kubectl_out(&error, "patch", "crd", "wukongs.vm.novasphere.dev",
                                  "--type=json", "--patch-file", patch, NULL))
           != NULL);
    ke_agent_restart();
    ke_until(NAME, KE_STATE, "Suspended");
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_STATE, "Running");
    delete_crd();
    apply_crd("data/crd", "wukongs.yaml");
}

/* The spec flips faster than anything can be done: the last generation wins. */
static void
test_flips(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    const gint64 seconds = g_getenv("WK_WALK_FULL") != NULL ? 60 : 5;
    const gint64 end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
    guint flips = 0;

    ke_start(NAME);
    life = e2e_remember(GUEST);
    while (g_get_monotonic_time() < end) {
        ke_act(NAME, flips % 2 == 0 ? "{\"action\":\"suspend\",\"target\":\"memory\"}"
                                    : "{\"action\":\"resume\",\"target\":null}");
        flips++;
    }
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until(NAME, KE_ACTION, "");
    ke_until(NAME, KE_STATE, "Suspended");
    e2e_check_domstate(GUEST, "paused");
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_ACTION, "");
    ke_until(NAME, KE_STATE, "Running");
    e2e_check_same_life(life);
    g_print("# %u flips in %d s\n", flips, (int)seconds);
}

/* Somebody who writes the whole status as he knows it drops ours: it is back soon, at a bounded
 * rate. */
static void
test_dropped_fields(void **state G_GNUC_UNUSED)
{
    guint before;

    ke_start(NAME);
    before = ke_writes();
    for (int i = 0; i < 10; i++) {
        G_GNUC_UNUSED g_autofree char *out =
            lab_kubectl_out(NULL, "patch", "wk", NAME, "--subresource=status", "--type=json", "-p",
                            "[{\"op\":\"remove\",\"path\":\"/status/lifecycleState\"}]", NULL);
    }
    ke_until_within(NAME, KE_STATE, "Running", SOON_MS);
    assert_in_range(ke_writes() - before, 1, 8);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ke_test(test_away_at_start),
        ke_test(test_away_in_mid_save),
        ke_test(test_many_actions_while_away),
        ke_test(test_flapping),
        ke_test(test_token_ends),
        ke_test(test_without_crd),
        ke_test(test_operators_crd),
        ke_test(test_flips),
        ke_test(test_dropped_fields),
    };

    return ke_main(tests);
}
