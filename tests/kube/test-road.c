/* SPDX-License-Identifier: Apache-2.0 */
/* The main road: kubectl patch, a real API server, a real guest. */
#include "kube-e2e.h"

#define NAME  "vm"
#define GUEST "default_vm-vm"

static void
expect_kubectl_wait(const char *condition)
{
    g_autofree char *what = g_strdup_printf("--for=condition=%s", condition);
    g_autofree char *out = NULL;

    lab_ok((out = lab_kubectl_out(&error, "wait", what, "wk/" NAME, "--timeout=40s", NULL))
           != NULL);
}

/* The annotation says the same as the status, for operators that drop what they do not know. */
static void
check_mirror(void)
{
    g_autofree char *text = lab_kube_get(
        NAME, "{.metadata.annotations.wukong\\.novasphere\\.dev/lifecycle-state}", NULL);
    g_autofree char *status = lab_kube_get(NAME, "{.status.lifecycleState}", NULL);
    JsonNode *mirror = json_from_string(text, NULL);
    JsonNode *state = json_from_string(status, NULL);

    if (mirror == NULL || state == NULL || !json_node_equal(mirror, state))
        fail_msg("the mirror '%s' is not the state '%s'", text, status);
    json_node_unref(mirror);
    json_node_unref(state);
}

static gboolean
lease_renewed(gpointer data)
{
    return lab_kube_count("", "leases") >= GPOINTER_TO_UINT(data) + 2;
}

static void
test_memory(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    guint before;

    ke_start(NAME);
    life = e2e_remember(GUEST);
    before = ke_writes();
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    expect_kubectl_wait("Suspended");
    e2e_check_domstate(GUEST, "paused");
    e2e_check_stands(GUEST);
    ke_check(NAME, "{.status.lifecycleState.target}", "memory");
    ke_check(NAME, "{.status.lifecycleState.origin}", "spec");
    ke_check(NAME, KE_DONE, "True");
    ke_until(NAME, KE_ACTION, "");
    check_mirror();
    assert_in_range(ke_writes() - before, 2, 3);
    e2e_check_guest(GUEST, "state", "Suspended", "origin", "spec", NULL);

    before = ke_writes();
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_ACTION, "");
    ke_until(NAME, KE_STATE, "Running");
    ke_check(NAME, "{.status.conditions[?(@.type==\"Suspended\")].status}", "False");
    e2e_check_domstate(GUEST, "running");
    e2e_check_same_life(life);
    check_mirror();
    assert_in_range(ke_writes() - before, 2, 3);
    ke_until_event(NAME, "Suspending");
    ke_until_event(NAME, "Suspended");
    ke_until_event(NAME, "Resuming");
    ke_until_event(NAME, "Resumed");
}

static void
test_disk(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    guint before;

    ke_start(NAME);
    life = e2e_remember(GUEST);
    before = ke_writes();
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    expect_kubectl_wait("Suspended");
    expect_kubectl_wait("Restorable");
    ke_until(NAME, KE_SAVED_ON, LAB_NODE_NAME);
    e2e_check_domstate(GUEST, "shut off");
    ke_check(NAME, KE_REASON, "SavedToDisk");
    ke_until(NAME, KE_ACTION, "");
    check_mirror();
    assert_in_range(ke_writes() - before, 2, 4); /* and a progress, perhaps */
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_ACTION, "");
    ke_until(NAME, KE_STATE, "Running");
    ke_check(NAME, "{.status.lifecycleState.savedBytes}", "");
    ke_check(NAME, "{.status.conditions[?(@.type==\"Restorable\")].status}", "");
    ke_until(NAME, KE_SAVED_ON, "");
    e2e_check_same_life(life);
    e2e_check_no_image(GUEST);
}

/* An Event for each, not the second one counted on the first. */
static void
test_events(void **state G_GNUC_UNUSED)
{
    ke_start(NAME);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    ke_until(NAME, KE_ACTION, "");
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, "{.status.lifecycleState.target}", "disk");
    ke_until_event_note(NAME, "suspending domain '" GUEST "' to memory");
    ke_until_event_note(NAME, "suspending domain '" GUEST "' to disk");
    ke_until_event_note(NAME, "saved to disk");
}

/* The image keeps its Wukong with this node, whatever status.nodeName says. */
static void
test_moved_with_image(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *out = NULL;

    ke_start(NAME);
    life = e2e_remember(GUEST);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_SAVED_ON, LAB_NODE_NAME);
    lab_ok(
        (out = lab_kubectl_out(&error, "patch", "wk", NAME, "--subresource=status", "--type=merge",
                               "-p", "{\"status\":{\"nodeName\":\"node-2\"}}", NULL))
        != NULL);
    ke_agent_restart();
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_until(NAME, KE_ACTION, "");
    ke_until(NAME, KE_STATE, "Running");
    ke_until(NAME, KE_SAVED_ON, "");
    e2e_check_same_life(life);
    /* from now on it is the other node's */
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    lab_ok(lab_wait("the Lease to be renewed", 40000, lease_renewed,
                    GUINT_TO_POINTER(lab_kube_count("", "leases")), &error));
    e2e_check_domstate(GUEST, "running");
}

/* The same guest from the node: whose it is, by which name, what doctor and metrics tell. */
static void
test_from_the_node(void **state G_GNUC_UNUSED)
{
    g_autofree char *metrics = NULL;

    ke_start(NAME);
    e2e_ctl_says(0, GUEST, "status", "default/" NAME, NULL);
    e2e_ctl_says(0, "kubernetes", "doctor", NULL);
    assert_int_equal(lab_http("GET", "/metrics", NULL, &metrics, NULL), 200);
    assert_non_null(strstr(metrics, "\nwukong_kube_requests_total{verb=\"PATCH\",code=\"200\"} "));
    assert_non_null(strstr(metrics, "\nwukong_kube_watch_age_seconds "));
    assert_non_null(strstr(metrics, "\nwukong_outbox_pending 0\n"));
    e2e_ctl_says(0, "", "suspend", "default/" NAME, "--to", "memory", NULL);
    ke_until(NAME, KE_STATE, "Suspended");
    ke_check(NAME, "{.status.lifecycleState.origin}", "local");
}

/* Nothing is left to say: nothing is said, but the Lease. */
static void
test_idle(void **state G_GNUC_UNUSED)
{
    guint before;

    ke_start(NAME);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    expect_kubectl_wait("Suspended");
    ke_until(NAME, KE_ACTION, "");
    check_mirror();
    ke_until_event(NAME, "Suspended");
    before = ke_writes();
    lab_ok(lab_wait("the Lease to be renewed", 40000, lease_renewed,
                    GUINT_TO_POINTER(lab_kube_count("", "leases")), &error));
    assert_int_equal(ke_writes(), before);
    /* nor after a restart of the agent, when all is told already */
    ke_agent_restart();
    lab_ok(lab_wait("the Lease to be renewed", 40000, lease_renewed,
                    GUINT_TO_POINTER(lab_kube_count("", "leases")), &error));
    assert_int_equal(ke_writes(), before);
}

/* What others do to the guest is in the status within a second. */
static void
test_outside(void **state G_GNUC_UNUSED)
{
    ke_start(NAME);
    e2e_virsh_do("suspend", GUEST);
    ke_until_within(NAME, KE_STATE, "Suspended", 1500);
    ke_check(NAME, "{.status.lifecycleState.origin}", "outside");
    e2e_virsh_do("resume", GUEST);
    ke_until_within(NAME, KE_STATE, "Running", 1500);
    lab_ok(lab_libvirtd_kill(&error));
    ke_until(NAME, KE_REASON, "SourceAway");
    ke_check(NAME, KE_STATE, "Unknown");
    lab_ok(lab_libvirtd_start(&error));
    ke_until(NAME, KE_STATE, "Running");
    e2e_virsh_do("destroy", GUEST);
    ke_until_within(NAME, KE_STATE, "Stopped", 1500);
}

/* A pause that somebody else ends is said, and not pretended. */
static void
test_pause_lost(void **state G_GNUC_UNUSED)
{
    ke_start(NAME);
    ke_act(NAME, "{\"action\":\"suspend\"}"); /* no target: the node's */
    ke_until(NAME, KE_ACTION, "");
    ke_check(NAME, "{.status.lifecycleState.target}", "memory");
    e2e_virsh_do("resume", GUEST);
    ke_until(NAME, KE_REASON, "PauseLost");
    ke_check(NAME, KE_STATE, "Running");
    ke_until_event(NAME, "PauseLost");
}

/* Final errors: said, left in the spec, not tried again until that changes. */
static void
test_final_error(void **state G_GNUC_UNUSED)
{
    ke_start(NAME);
    ke_act(NAME, "{\"action\":\"discard\"}");
    ke_until(NAME, KE_DONE, "False");
    ke_check(NAME, KE_STATE, "Running");
    ke_check(NAME, KE_ACTION, "discard");
    ke_until_event(NAME, "DiscardFailed");
    /* the next one is done all the same */
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    ke_until(NAME, KE_ACTION, "");
    ke_check(NAME, KE_DONE, "True");
    /* it can't go from disk to memory */
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until(NAME, KE_DONE, "False");
    ke_check(NAME, KE_STATE, "Suspended");
    ke_check(NAME, "{.status.lifecycleState.target}", "disk");
    /* and away for good */
    ke_act(NAME, "{\"action\":\"discard\",\"target\":null}");
    ke_until(NAME, KE_STATE, "Stopped");
    ke_until_event(NAME, "SavedStateDiscarded");
    e2e_check_no_image(GUEST);
}

/* Applied again and again, as GitOps does, an action with an id is done once. */
static void
test_request_id(void **state G_GNUC_UNUSED)
{
    static const char action[] =
        "{\"action\":\"suspend\",\"target\":\"memory\",\"requestId\":\"r1\"}";

    ke_start(NAME);
    ke_act(NAME, action);
    ke_until(NAME, "{.status.lifecycleState.lastRequestId}", "r1");
    ke_until(NAME, KE_ACTION, "");
    e2e_ctl_says(0, "", "resume", GUEST, NULL);
    ke_until(NAME, KE_STATE, "Running");
    ke_act(NAME, action);
    ke_until(NAME, KE_ACTION, "");
    e2e_check_domstate(GUEST, "running");
    ke_agent_restart();
    ke_act(NAME, action);
    ke_until(NAME, KE_ACTION, "");
    e2e_check_domstate(GUEST, "running");
}

static gboolean
is_later(gpointer data)
{
    return g_get_real_time() / G_USEC_PER_SEC > *(const gint64 *)data;
}

static void
test_two_for_one_guest(void **state G_GNUC_UNUSED)
{
    g_autofree char *out = NULL;

    gint64 second;

    ke_start(NAME);
    second = g_get_real_time() / G_USEC_PER_SEC; /* creationTimestamp has no finer grain */
    lab_ok(lab_wait("the next second", 2000, is_later, &second, &error));
    lab_ok(lab_kube_wukong("second", &error));
    lab_ok(
        (out = lab_kubectl_out(&error, "patch", "wk", "second", "--subresource=status",
                               "--type=merge", "-p", "{\"status\":{\"vmName\":\"vm-vm\"}}", NULL))
        != NULL);
    ke_until("second", KE_REASON, "GuestTaken");
    ke_act("second", "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"memory\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    ke_check("second", KE_ACTION, "suspend");
    ke_check("second", KE_REASON, "GuestTaken");
}

/* The Wukong goes while its guest is saved: the image stays, and a new one of the same name does
 * not get it. */
static void
test_deleted_and_made_anew(void **state G_GNUC_UNUSED)
{
    g_autofree char *out = NULL;

    ke_start(NAME);
    ke_act(NAME, "{\"action\":\"suspend\",\"target\":\"disk\"}");
    ke_until(NAME, KE_STATE, "Suspended");
    ke_until(NAME, KE_ACTION, "");
    lab_ok((out = lab_kubectl_out(&error, "delete", "wk", NAME, NULL)) != NULL);
    lab_ok(lab_kube_wukong(NAME, &error));
    ke_until(NAME, KE_REASON, "OrphanedImage");
    ke_act(NAME, "{\"action\":\"resume\"}");
    ke_agent_restart();
    ke_until(NAME, KE_REASON, "OrphanedImage");
    e2e_check_domstate(GUEST, "shut off");
    e2e_ctl_says(0, "", "discard", GUEST, "--yes", NULL);
    ke_until(NAME, KE_STATE, "Stopped");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ke_test(test_memory),
        ke_test(test_disk),
        ke_test(test_events),
        ke_test(test_moved_with_image),
        ke_test(test_from_the_node),
        ke_test(test_idle),
        ke_test(test_outside),
        ke_test(test_pause_lost),
        ke_test(test_final_error),
        ke_test(test_request_id),
        ke_test(test_two_for_one_guest),
        ke_test(test_deleted_and_made_anew),
    };

    return ke_main(tests);
}
