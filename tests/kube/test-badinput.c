/* SPDX-License-Identifier: Apache-2.0 */
/* Wrong values that no schema stopped, objects near the API server's limit, Wukongs that go at the
 * wrong moment: each is said, and leaves everything as it was. */
#include "kube-e2e.h"

#define NAME         "vm"
#define GUEST        "default_vm-vm"
#define DONE_MESSAGE "{.status.conditions[?(@.type==\"LifecycleActionSucceeded\")].message}"
#define LARGE_BYTES  (1400 * 1024)

/* A CRD as an operator might have it: any lifecycleAction goes. */
static void
loosen_schema(void)
{
    static const char patch[] =
        "[{\"op\":\"replace\",\"path\":\"/spec/versions/0/schema/openAPIV3Schema/properties/spec/"
        "properties/lifecycleAction\",\"value\":{\"x-kubernetes-preserve-unknown-fields\":true}}]";
    g_autofree char *out = NULL;

    lab_ok((out = lab_kubectl_out(&error, "patch", "crd", "wukongs.vm.novasphere.dev",
                                  "--type=json", "-p", patch, NULL))
           != NULL);
}

static void
tighten_schema(void)
{
    g_autofree char *path = g_build_filename(g_getenv("WK_SRCDIR"), "data/crd/wukongs.yaml", NULL);
    g_autofree char *out = NULL;

    lab_ok((out = lab_kubectl_out(&error, "apply", "-f", path, NULL)) != NULL);
}

/* The API server takes the new schema a moment after it was patched. */
static gboolean
is_taken(gpointer data)
{
    return lab_kube_act(NAME, data, NULL);
}

static void
test_wrong_actions(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *action;
        const char *named;
    } rows[] = {
        { "{\"action\":\"hibernate\"}", "*hibernate" },
        { "{\"action\":\"suspend\",\"target\":\"cloud\"}", "*cloud" },
        { "{\"action\":\"suspend\",\"target\":null,\"timeoutSeconds\":-5}", "*timeoutSeconds" },
        { "{\"action\":\"suspend\",\"timeoutSeconds\":1e99}", "*timeoutSeconds" },
        { "{\"action\":\"suspend\",\"timeoutSeconds\":null,\"fallback\":[]}", "*fallback" },
        { "\"suspend\"", "*lifecycleAction" },
        { "[]", "*lifecycleAction" },
    };

    ke_start(NAME);
    loosen_schema();
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        lab_ok(lab_wait(rows[i].action, LAB_KUBE_MS, is_taken, (gpointer)rows[i].action, &error));
        ke_until(NAME, DONE_MESSAGE, rows[i].named);
        ke_check(NAME, KE_DONE, "False");
        ke_check(NAME, KE_STATE, "Running");
        e2e_check_domstate(GUEST, "running");
    }
    ke_until_event(NAME, "ActionRefused");
    /* and a good one after all of them */
    ke_act(NAME, "null");
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    ke_until(NAME, KE_ACTION, "");
    tighten_schema();
}

/* Nearly all that etcd takes, in a field that is not ours. */
static void
test_large_object(void **state G_GNUC_UNUSED)
{
    g_autofree char *filler = g_strnfill(LARGE_BYTES, 'x');
    g_autofree char *patch = g_strdup_printf("{\"spec\":{\"userData\":\"%s\"}}", filler);
    g_autofree char *out = NULL;

    ke_start(NAME);
    lab_ok(g_file_set_contents(LAB_KUBE_DIR "/large.json", patch, -1, &error));
    lab_ok((out = lab_kubectl_out(&error, "patch", "wk", NAME, "--type=merge", "--patch-file",
                                  LAB_KUBE_DIR "/large.json", NULL))
           != NULL);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    ke_until(NAME, KE_ACTION, "");
    e2e_check_domstate(GUEST, "paused");
}

/* Nobody will ask for it to be resumed: the save is called off, and the guest runs on. */
static void
test_deleted_in_mid_save(void **state G_GNUC_UNUSED)
{
    g_autofree char *guest = ke_guest_name(NAME);
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *out = NULL;

    e2e_guest_start_filled(guest, 16);
    lab_ok(lab_kube_wukong(NAME, &error));
    ke_until(NAME, KE_STATE, "Running");
    life = e2e_remember(guest);
    e2e_brake_on();
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_STATE, "Suspending");
    e2e_brake_wait(1);
    lab_ok((out = lab_kubectl_out(&error, "delete", "wk", NAME, NULL)) != NULL);
    e2e_wait_guest(guest, LAB_WAIT_MS, "state", "Running", "operation", "", NULL);
    e2e_brake_off();
    e2e_check_same_life(life);
    e2e_check_no_image(guest);
}

/* Its saved state is dropped by whoever deletes the domain's state on the node, not by a name. */
static void
test_deleted_while_suspended(void **state G_GNUC_UNUSED)
{
    g_autofree char *out = NULL;

    ke_start(NAME);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    ke_until(NAME, KE_ACTION, "");
    lab_ok((out = lab_kubectl_out(&error, "delete", "wk", NAME, NULL)) != NULL);
    /* paused it stays: whoever made the object anew can resume it */
    lab_ok(lab_kube_wukong(NAME, &error));
    ke_until(NAME, KE_STATE, "Suspended");
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_STATE, "Running");
}

static gboolean
prune_drops_it(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *said = e2e_ctl(0, "prune", NULL);

    return strstr(said, GUEST ": its orphaned image is dropped") != NULL;
}

/* The image of a Wukong that is gone is dropped once its time is over, and no sooner. */
static void
test_orphan_is_pruned(void **state G_GNUC_UNUSED)
{
    g_autofree char *out = NULL;
    g_autofree char *said = NULL;

    ke_agent_restart_with("[retention]\norphan=2s\n");
    ke_start(NAME);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_ACTION, "");
    e2e_ctl_says(0, "nothing to prune", "prune", NULL);
    lab_ok((out = lab_kubectl_out(&error, "delete", "wk", NAME, NULL)) != NULL);
    ke_agent_restart(); /* the default, 24 h: it stays an orphan over a restart */
    said = e2e_ctl(0, "prune", NULL);
    assert_null(strstr(said, "dropped"));
    e2e_check_guest(GUEST, "state", "Suspended", NULL);
    ke_agent_restart_with("[retention]\norphan=0s\nhistory=1h\n");
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Stopped", "operation", "", NULL); /* by itself */
    e2e_check_no_image(GUEST);
    /* asked for by hand */
    ke_agent_restart_with("[retention]\norphan=2s\n");
    lab_ok(lab_guest_create(GUEST, &error));
    lab_ok(lab_kube_wukong(NAME, &error));
    ke_until(NAME, KE_STATE, "Running");
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_ACTION, "");
    g_free(out);
    lab_ok((out = lab_kubectl_out(&error, "delete", "wk", NAME, NULL)) != NULL);
    lab_ok(lab_wait("prune to drop it", LAB_WAIT_MS, prune_drops_it, NULL, &error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Stopped", "operation", "", NULL);
    e2e_check_no_image(GUEST);
}

/* One that is held is nobody's to drop but a person's, however long its Wukong is gone. */
static void
test_bad_orphan_is_held(void **state G_GNUC_UNUSED)
{
    g_autofree char *hold = e2e_hold_path(GUEST);
    g_autofree char *out = NULL;

    ke_start(NAME);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_ACTION, "");
    e2e_flip_byte_unseen(hold, -4096);
    e2e_ctl_says(1, "not what was written", "verify", GUEST, NULL);
    ke_until(NAME, KE_REASON, "ImageCorrupt");
    ke_check(NAME, "{.status.conditions[?(@.type==\"Restorable\")].status}", "False");
    lab_ok((out = lab_kubectl_out(&error, "delete", "wk", NAME, NULL)) != NULL);
    ke_agent_restart_with("[retention]\norphan=0s\n");
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Suspended", "operation", "", NULL);
    e2e_ctl_says(0, "nothing to prune", "prune", NULL);
    e2e_check_ledger(GUEST, "state", "quarantined");
    e2e_ctl_says(0, "dropped", "discard", GUEST, "--yes", NULL);
    e2e_check_no_image(GUEST);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ke_test(test_wrong_actions),       ke_test(test_large_object),
        ke_test(test_deleted_in_mid_save), ke_test(test_deleted_while_suspended),
        ke_test(test_orphan_is_pruned),    ke_test(test_bad_orphan_is_held),
    };

    return ke_main(tests);
}
