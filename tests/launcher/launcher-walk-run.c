/* SPDX-License-Identifier: Apache-2.0 */
/* One run of a scenario, and the VM that each begins with. */
#include "launcher-walk.h"

#include <string.h>

static const char *const agent_args[] = {
    "--kubeconfig", LAB_KUBE_AGENT, "--node-name", LAB_NODE_NAME, "--log-level", "debug", NULL
};

static gboolean
remove_state(GError **error)
{
    static const char *const argv[] = { "rm", "-rf", LAB_STATE_DIR, NULL };
    g_auto(LabOutput) output = { 0 };

    return lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, error);
}

/* At work, or dead of its failpoint; until then it says of its guests what the ledger says. */
static gboolean
has_looked(gpointer data)
{
    const gsize *log_at = data;
    g_autofree char *text = lab_log("wukongd");

    if (!walk_agent_is_alive())
        return TRUE;
    return strlen(text) > *log_at && strstr(text + *log_at, "source 'kubevirt' is up") != NULL
           && lab_http("GET", "/readyz", NULL, NULL, NULL) == 200;
}

gboolean
lw_agent_start(Walk *walk, const char *failpoints, GError **error)
{
    g_autofree char *before = NULL;
    gsize log_at;

    if (!walk_agent_end(error))
        return FALSE;
    before = lab_log("wukongd");
    log_at = strlen(before);
    return walk_agent_start(walk, failpoints, error)
           && lab_wait("the agent to look at its guests", LAB_POD_MS, has_looked, &log_at, error);
}

static gboolean
note_vm(Walk *walk, GError **error)
{
    LabTick tick;

    g_free(walk->uuid);
    g_free(walk->hold);
    walk->uuid = lab_vm_get(LW_NAME, "{.metadata.uid}", error);
    walk->hold = g_strdup_printf(WALK_VAULT "/%s/image", walk->uuid);
    if (walk->uuid == NULL || !lab_guest_last_tick(LW_DOMAIN, &tick, error))
        return FALSE;
    g_strlcpy(walk->nonce, tick.nonce, sizeof walk->nonce);
    return TRUE;
}

/* What a bad case left. No agent without a ledger finds the lock of a VMI that never got a node. */
static gboolean
delete_by_force(GError **error)
{
    g_autofree char *out = NULL;

    if (!walk_agent_end(error))
        return FALSE;
    out = lab_kubectl_out(NULL, "patch", "vmi", LW_NAME "-vm", "--type=merge", "-p",
                          "{\"metadata\":{\"finalizers\":null}}", NULL);
    return lab_vm_delete(LW_NAME, error);
}

/* After a case that went wrong, or that ended the VM: it is deleted with whatever is saved of it.
 */
static gboolean
start_afresh(Walk *walk, GError **error)
{
    if (!lw_agent_start(walk, NULL, error)
        || (!lab_vm_delete(LW_NAME, NULL) && !delete_by_force(error)) || !walk_agent_end(error)
        || !remove_state(error) || !lab_vm_start(LW_NAME, NULL, error) || !note_vm(walk, error))
        return FALSE;
    walk->fresh_needed = FALSE;
    return TRUE;
}

static gboolean
knows_guest(gpointer data)
{
    g_autoptr(GHashTable) view = walk_get_guest(data, NULL);

    return view != NULL && g_strcmp0(g_hash_table_lookup(view, "state"), "Running") == 0
           && !g_hash_table_contains(view, "operation");
}

gboolean
lw_base(Walk *walk, GError **error)
{
    walk->guest = LW_DOMAIN;
    walk->agent_args = agent_args;
    if (!lab_standin_reset(error) || (walk->fresh_needed && !start_afresh(walk, error)))
        return FALSE;
    return ((walk_agent_is_alive() && !walk->armed) || lw_agent_start(walk, NULL, error))
           && lab_wait("the guest to be known as running", LAB_WAIT_MS, knows_guest, walk, error);
}

typedef struct {
    Walk *walk;
    const char *verb;
    const char *body;
    GError *error;
} Post;

/* An agent that has just begun has not been told of all guests yet. */
static gboolean
is_accepted(gpointer data)
{
    Post *post = data;

    g_clear_error(&post->error);
    if (walk_post(post->walk, post->verb, post->body, &post->error))
        return TRUE;
    return strstr(post->error->message, ": 404 ") == NULL
           && strstr(post->error->message, ": 503 ") == NULL;
}

gboolean
lw_post(Walk *walk, const char *verb, const char *body, GError **error)
{
    Post post = { walk, verb, body, NULL };

    if (lab_wait(verb, LAB_WAIT_MS, is_accepted, &post, NULL) && post.error == NULL)
        return TRUE;
    g_propagate_error(error, post.error);
    return FALSE;
}

gboolean
lw_request(Walk *walk, const char *verb, const char *body, GError **error)
{
    return lw_post(walk, verb, body, error) && walk_await(walk, error);
}

gboolean
lw_run(Walk *walk, const WalkScenario *scenario, const char *failpoints, GError **error)
{
    walk->scenario = scenario;
    if (!lw_base(walk, error) || (scenario->prepare != NULL && !scenario->prepare(walk, error))
        || !walk_agent_end(error) || (scenario->offline != NULL && !scenario->offline(walk, error)))
        return FALSE;
    walk_mark_log(walk);
    if (!lw_agent_start(walk, failpoints, error)
        || (walk_agent_is_alive() && scenario->act != NULL && !scenario->act(walk, error)))
        return FALSE;
    return lw_rest(walk, error);
}
