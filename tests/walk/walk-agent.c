/* SPDX-License-Identifier: Apache-2.0 */
/* The agent under test: starting it with faults, asking it, reading its trace. */
#include "walk.h"

#include <json-glib/json-glib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEATH_MS  2000 /* for an agent whose connection broke */
#define AGENT     "wukongd"
#define LOOKS     3
#define AGENT_LOG LAB_LOG_DIR "/" AGENT ".log"

gboolean
walk_agent_is_alive(void)
{
    return lab_pid(AGENT) != 0;
}

gboolean
walk_agent_end(GError **error)
{
    if (lab_pid(AGENT) != 0)
        kill(lab_pid(AGENT), SIGCONT);
    return lab_agent_term(NULL, error);
}

static gboolean
is_ready_or_dead(gpointer data G_GNUC_UNUSED)
{
    return !walk_agent_is_alive() || lab_http("GET", "/readyz", NULL, NULL, NULL) == 200;
}

/* @data: in how many looks it was. Under strace "t" is seen in a short stop at each call too. */
static gboolean
is_stopped_or_dead(gpointer data)
{
    guint *looks = data;

    const GPid pid = lab_pid(AGENT);
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *text = NULL;
    const char *end;

    if (pid == 0 || !g_file_get_contents(path, &text, NULL, NULL))
        return TRUE;
    end = strrchr(text, ')');
    *looks = end != NULL && end[1] == ' ' && g_ascii_tolower(end[2]) == 't' ? *looks + 1 : 0;
    return *looks >= LOOKS;
}

/* Not ready because it waits in a failpoint is fine too: the test goes on from there. */
static gboolean
is_started(gpointer data)
{
    return is_stopped_or_dead(data) || is_ready_or_dead(data);
}

#define TRACED_DIR  LAB_DIR "/traced"
#define STRACE_FILE TRACED_DIR "/strace"

/* A program of the agent's name that becomes the agent, with strace as its grandchild (-D), so that
 * its pid and how it ends are its own. */
static gboolean
write_wrapper(GError **error)
{
    g_autofree char *program = lab_build_path(AGENT);
    g_autofree char *script = g_strdup_printf(
        "#!/bin/sh\nexec strace -D -f -y -s 160 --seccomp-bpf -o " STRACE_FILE
        " -e trace=fsync,fdatasync,link,linkat,unlink,unlinkat,rename,renameat,renameat2,pwrite64,"
        "ftruncate,mkdir,mkdirat,rmdir,write '%s' \"$@\"\n",
        program);

    g_mkdir_with_parents(TRACED_DIR, 0755);
    return g_file_set_contents_full(TRACED_DIR "/" AGENT, script, -1, G_FILE_SET_CONTENTS_NONE,
                                    0755, error);
}

static gboolean
start_traced(const LabAgentOptions *options, GError **error)
{
    g_autofree char *builddir = g_strdup(g_getenv("WK_BUILDDIR"));
    gboolean ok;

    if (!write_wrapper(error))
        return FALSE;
    g_setenv("WK_BUILDDIR", TRACED_DIR, TRUE);
    ok = lab_agent_start(options, error);
    g_setenv("WK_BUILDDIR", builddir, TRUE);
    return ok;
}

static gboolean
strace_has_ended(gpointer data)
{
    char **text = data;

    g_clear_pointer(text, g_free);
    return g_file_get_contents(STRACE_FILE, text, NULL, NULL)
           && g_regex_match_simple("(exited with \\d+|killed by SIG\\w+) \\+\\+\\+\\n\\z", *text, 0,
                                   0);
}

char *
walk_strace(GError **error)
{
    char *text = NULL;

    return lab_wait("strace's last line", LAB_WAIT_MS, strace_has_ended, &text, error) ? text
                                                                                       : NULL;
}

gboolean
walk_agent_start(Walk *walk, const char *failpoints, GError **error)
{
    static const char *const args[] = { "--no-kube", "--log-level", "debug", NULL };
    g_autofree char *setting = g_strdup_printf("WK_FAILPOINT=%s", failpoints);
    const char *const env[] = {
        failpoints != NULL ? setting : "LAB=1",
        walk->traced ? "LIBVIRT_DEBUG=4" : NULL,
        "LIBVIRT_LOG_FILTERS=1:libvirt.domain",
        "LIBVIRT_LOG_OUTPUTS=1:stderr",
        NULL,
    };
    const LabAgentOptions options = { .args = walk->agent_args != NULL ? walk->agent_args : args,
                                      .env = env,
                                      .no_wait = TRUE };
    guint looks = 0;

    g_clear_pointer(&walk->op, g_free);
    walk->armed = failpoints != NULL;
    return walk_agent_end(error)
           && (walk->traced ? start_traced(&options, error) : lab_agent_start(&options, error))
           && lab_wait("the agent to be ready", LAB_WAIT_MS, is_started, &looks, error);
}

gboolean
walk_await_stopped(GError **error)
{
    guint looks = 0;

    return lab_wait("the agent to stop itself", WALK_SETTLE_MS, is_stopped_or_dead, &looks, error);
}

gboolean
walk_continue(GError **error)
{
    const GPid pid = lab_pid(AGENT);

    if (pid != 0 && kill(pid, SIGCONT) == 0)
        return TRUE;
    g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, "there is no agent to go on");
    return FALSE;
}

/* ---- the API ---- */

static void
take_member(JsonObject *object, const char *name, JsonNode *node, gpointer data)
{
    GHashTable *members = data;
    const GType type = json_node_get_value_type(node);
    char *text = NULL;

    (void)object;
    if (!JSON_NODE_HOLDS_VALUE(node))
        return;
    if (type == G_TYPE_STRING)
        text = g_strdup(json_node_get_string(node));
    else if (type == G_TYPE_BOOLEAN)
        text = g_strdup(json_node_get_boolean(node) ? "true" : "false");
    else
        text = g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(node));
    g_hash_table_insert(members, g_strdup(name), text);
}

static GHashTable *
members_of(JsonObject *object)
{
    GHashTable *members = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    json_object_foreach_member(object, take_member, members);
    return members;
}

static JsonNode *
parse_object(const char *text, GError **error)
{
    JsonNode *node = json_from_string(text, error);

    if (node != NULL && JSON_NODE_HOLDS_OBJECT(node))
        return node;
    if (error != NULL && *error == NULL)
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "no JSON object: %s", text);
    g_clear_pointer(&node, json_node_unref);
    return NULL;
}

static GHashTable *
get(const char *path, GError **error)
{
    g_autofree char *answer = NULL;
    g_autoptr(JsonNode) node = NULL;
    const int status = lab_http("GET", path, NULL, &answer, error);

    if (status < 0)
        return NULL;
    if (status != 200) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "GET %s: %d %s", path, status, answer);
        return NULL;
    }
    node = parse_object(answer, error);
    return node != NULL ? members_of(json_node_get_object(node)) : NULL;
}

GHashTable *
walk_get_guest(Walk *walk, GError **error)
{
    g_autofree char *path = g_strdup_printf("/v1/guests/%s", walk->uuid);

    return get(path, error);
}

GHashTable *
walk_get_operation(Walk *walk)
{
    g_autofree char *path = g_strdup_printf("/v1/operations/%s", walk->op);

    return walk->op != NULL ? get(path, NULL) : NULL;
}

GHashTable *
walk_parse_guest(const char *text, GError **error)
{
    g_autoptr(JsonNode) node = parse_object(text, error);
    JsonArray *items;

    if (node == NULL)
        return NULL;
    items = json_object_get_array_member(json_node_get_object(node), "items");
    for (guint i = 0; items != NULL && i < json_array_get_length(items); i++) {
        JsonObject *item = json_array_get_object_element(items, i);

        if (g_strcmp0(json_object_get_string_member_with_default(item, "name", NULL), WALK_GUEST)
            == 0)
            return members_of(item);
    }
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "the guest is not listed: %s", text);
    return NULL;
}

static gboolean
is_dead(gpointer data G_GNUC_UNUSED)
{
    return !walk_agent_is_alive();
}

gboolean
walk_post(Walk *walk, const char *verb, const char *body, GError **error)
{
    const char *kind = g_str_equal(verb, "verify") ? "images" : "guests";
    g_autofree char *path = g_strdup_printf("/v1/%s/%s/%s", kind, walk->uuid, verb);
    g_autofree char *answer = NULL;
    g_autoptr(JsonNode) node = NULL;
    g_autoptr(GError) local = NULL;
    const int status = lab_http("POST", path, body, &answer, &local);

    /* The connection ends a moment before the process does. */
    if (status < 0 && lab_wait("the agent's death", DEATH_MS, is_dead, NULL, NULL))
        return TRUE;
    if (status == 500 && walk->armed)
        return TRUE; /* refused for the error that was put there; it has to leave no trace (I7) */
    if (status < 200 || status > 299) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "POST %s: %d %s", path, status,
                    local != NULL ? local->message : answer);
        return FALSE;
    }
    node = parse_object(answer, error);
    if (node == NULL)
        return FALSE;
    g_free(walk->op);
    walk->op = g_strdup(
        json_object_get_string_member_with_default(json_node_get_object(node), "id", NULL));
    return TRUE;
}

typedef struct {
    Walk *walk;
    const char *step;
} Wait;

static gboolean
has_ended(gpointer data)
{
    Wait *wait = data;
    g_autoptr(GHashTable) op = NULL;
    const char *state;

    if (!walk_agent_is_alive() || wait->walk->op == NULL)
        return TRUE;
    op = walk_get_operation(wait->walk);
    if (op == NULL)
        return !walk_agent_is_alive();
    state = g_hash_table_lookup(op, "state");
    if (wait->step != NULL && g_strcmp0(g_hash_table_lookup(op, "step"), wait->step) == 0)
        return TRUE;
    return g_strcmp0(state, "queued") != 0 && g_strcmp0(state, "running") != 0;
}

gboolean
walk_await(Walk *walk, GError **error)
{
    Wait wait = { walk, NULL };

    return lab_wait("the end of an operation", WALK_SETTLE_MS, has_ended, &wait, error);
}

gboolean
walk_await_step(Walk *walk, const char *step, GError **error)
{
    Wait wait = { walk, step };

    return lab_wait(step, WALK_SETTLE_MS, has_ended, &wait, error);
}

gboolean
walk_request(Walk *walk, const char *verb, const char *body, GError **error)
{
    return walk_post(walk, verb, body, error) && walk_await(walk, error);
}

gboolean
walk_die_at(Walk *walk, const char *failpoint, const char *verb, const char *body, GError **error)
{
    g_autofree char *setting = g_strdup_printf("%s=kill", failpoint);

    if (!walk_agent_start(walk, setting, error)
        || (verb != NULL && !walk_request(walk, verb, body, error)))
        return FALSE;
    if (!walk_agent_is_alive())
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "the agent did not pass %s", failpoint);
    return FALSE;
}

/* ---- its trace ---- */

void
walk_mark_log(Walk *walk)
{
    struct stat st;

    walk->log_at = stat(AGENT_LOG, &st) == 0 ? (gsize)st.st_size : 0;
}

char *
walk_log_since(Walk *walk)
{
    g_autofree char *text = lab_log(AGENT);

    return g_strdup(strlen(text) > walk->log_at ? text + walk->log_at : "");
}

void
walk_keep_log(Walk *walk, const char *scenario, const char *what)
{
    const char *folder = g_getenv("WK_WALK_LOGS");
    g_autofree char *name = g_strdup_printf("%s,%s.log", scenario, what);
    g_autofree char *path = folder != NULL ? g_build_filename(folder, name, NULL) : NULL;
    g_autofree char *text = walk_log_since(walk);

    if (path != NULL)
        (void)g_file_set_contents(path, text, -1, NULL);
}

GPtrArray *
walk_trace(Walk *walk)
{
    g_autofree char *text = walk_log_since(walk);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(GHashTable) counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GPtrArray *steps = g_ptr_array_new_with_free_func(g_free);

    for (gsize i = 0; lines[i] != NULL; i++) {
        const char *found = strstr(lines[i], "debug: step ");
        char name[64];
        guint n;

        if (found == NULL || sscanf(found, "debug: step %63s guest=", name) != 1)
            continue;
        n = GPOINTER_TO_UINT(g_hash_table_lookup(counts, name)) + 1;
        g_hash_table_replace(counts, g_strdup(name), GUINT_TO_POINTER(n));
        g_ptr_array_add(steps, g_strdup_printf("%s:%u", name, n));
    }
    return steps;
}

void
walk_note_rows(Walk *walk, GHashTable *rows)
{
    g_autofree char *guest =
        g_strdup_printf("debug: guest '%s'", walk->guest != NULL ? walk->guest : WALK_GUEST);
    g_autofree char *text = walk_log_since(walk);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (gsize i = 0; lines[i] != NULL; i++) {
        const char *found = g_strrstr(lines[i], ", row ");

        if (strstr(lines[i], guest) != NULL && found != NULL)
            g_hash_table_add(rows, g_strdup(found + strlen(", row ")));
    }
}
