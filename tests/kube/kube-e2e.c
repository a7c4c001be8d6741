/* SPDX-License-Identifier: Apache-2.0 */
#include "kube-e2e.h"

#include <sqlite3.h>

#define UNTIL_MS 40000
#define LEDGER   LAB_STATE_DIR "/ledger.db"
#define CONFIG   LAB_KUBE_DIR "/wukongd.conf"

int
ke_start_node(void **state)
{
    const int status = e2e_start_node(state);

    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    return status;
}

void
ke_agent_restart(void)
{
    lab_ok(lab_agent_kill(&error));
    lab_ok(lab_kube_agent_start(NULL, &error));
}

void
ke_agent_restart_with(const char *config)
{
    static const char *const args[] = {
        "--kubeconfig", LAB_KUBE_AGENT, "--node-name", LAB_NODE_NAME, "--config", CONFIG, NULL
    };
    const LabAgentOptions options = { .args = args };

    lab_ok(g_file_set_contents(CONFIG, config, -1, &error));
    lab_ok(lab_agent_kill(&error));
    lab_ok(lab_kube_agent_start(&options, &error));
}

int
ke_setup(void **state)
{
    const int status = e2e_setup(state);

    ke_agent_restart();
    return status;
}

int
ke_teardown(void **state)
{
    g_autofree char *out = NULL;

    lab_ok(lab_kube_server_start(&error));
    lab_ok((out = lab_kubectl_out(&error, "delete", "wk", "--all", "--timeout=30s", NULL)) != NULL);
    return e2e_teardown(state);
}

char *
ke_guest_name(const char *name)
{
    return g_strdup_printf("default_%s-vm", name);
}

void
ke_start(const char *name)
{
    g_autofree char *guest = ke_guest_name(name);

    e2e_guest_start(guest);
    lab_ok(lab_kube_wukong(name, &error));
    ke_until(name, KE_STATE, "Running");
    ke_until(name, KE_MIRROR, "*\"state\":\"Running\"");
}

void
ke_act(const char *name, const char *action)
{
    lab_ok(lab_kube_act(name, action, &error));
}

typedef struct {
    const char *name;
    const char *jsonpath;
    const char *value;
    char *found;
} Look;

static gboolean
fits(gpointer data)
{
    Look *look = data;

    g_free(look->found);
    look->found = lab_kube_get(look->name, look->jsonpath, NULL);
    if (look->found == NULL)
        return FALSE;
    return *look->value == '*' ? strstr(look->found, look->value + 1) != NULL
                               : g_str_equal(look->found, look->value);
}

void
ke_until_within(const char *name, const char *jsonpath, const char *value, guint ms)
{
    Look look = { .name = name, .jsonpath = jsonpath, .value = value };

    if (!lab_wait(jsonpath, ms, fits, &look, NULL)) {
        g_autofree char *shown = lab_kubectl_out(NULL, "get", "wk", name, "-o", "yaml", NULL);

        fail_msg("%s of %s is '%s', not '%s':\n%s", jsonpath, name, look.found, value, shown);
    }
    g_free(look.found);
}

void
ke_until(const char *name, const char *jsonpath, const char *value)
{
    ke_until_within(name, jsonpath, value, UNTIL_MS);
}

void
ke_check(const char *name, const char *jsonpath, const char *value)
{
    g_autofree char *found = NULL;

    lab_ok((found = lab_kube_get(name, jsonpath, &error)) != NULL);
    if (!g_str_equal(found, value))
        fail_msg("%s of %s is '%s', not '%s'", jsonpath, name, found, value);
}

static gboolean
has_event(gpointer data)
{
    const Look *look = data;
    g_autofree char *names = lab_kubectl_out(
        NULL, "get", "events.events.k8s.io", "-o",
        "jsonpath={range .items[*]}{.regarding.name}/{.reason}{\"\\n\"}{end}", NULL);
    g_autofree char *wanted = g_strdup_printf("%s/%s\n", look->name, look->value);
    g_autofree char *whole = g_strdup_printf("%s\n", names != NULL ? names : "");

    return strstr(whole, wanted) != NULL;
}

void
ke_until_event(const char *name, const char *reason)
{
    Look look = { .name = name, .value = reason };

    lab_ok(lab_wait(reason, UNTIL_MS, has_event, &look, &error));
}

static gboolean
is_in_outbox(gpointer data)
{
    g_autofree char *pattern = g_strdup_printf("%%\"%s\"%%", ((const Look *)data)->value);
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    gboolean found = FALSE;

    if (sqlite3_open_v2(LEDGER, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK
        && sqlite3_prepare_v2(db, "SELECT 1 FROM outbox WHERE body LIKE ?1", -1, &stmt, NULL)
               == SQLITE_OK
        && sqlite3_bind_text(stmt, 1, pattern, -1, SQLITE_STATIC) == SQLITE_OK)
        found = sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return found;
}

void
ke_until_in_outbox(const char *reason)
{
    Look look = { .value = reason };

    lab_ok(lab_wait(reason, UNTIL_MS, is_in_outbox, &look, &error));
}

static gboolean
has_note(gpointer data)
{
    const Look *look = data;
    g_autofree char *path = g_strdup_printf(
        "jsonpath={range .items[?(@.regarding.name==\"%s\")]}{.note}{\"\\n\"}{end}", look->name);
    g_autofree char *notes = lab_kubectl_out(NULL, "get", "events.events.k8s.io", "-o", path, NULL);

    return notes != NULL && strstr(notes, look->value) != NULL;
}

void
ke_until_event_note(const char *name, const char *note)
{
    Look look = { .name = name, .value = note };

    lab_ok(lab_wait(note, UNTIL_MS, has_note, &look, &error));
}

guint
ke_writes(void)
{
    return lab_kube_count("patch", "wukongs") + lab_kube_count("patch", "wukongs/status");
}
