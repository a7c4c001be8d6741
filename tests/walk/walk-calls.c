/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent really does to files and domains, against the steps that it says it takes. strace
 * sees both in one order: system calls, the lines of the trace, and libvirt's own log of its API.
 */
#include "walk.h"

#include <stdio.h>
#include <string.h>

#define AUTOSTART_DIR "/etc/libvirt/qemu/autostart"
#define LINE_MAX_     4096

/* Step -> what it may do. Of @must at least one has to be seen; NULL: it may come to nothing (the
 * file is not there, or is unusable already). Rows are tried in this order. */
static const struct {
    const char *step; /* glob */
    const char *must; /* space-free alternatives, '|' between */
    const char *may;
} rows[] = {
    { "operation.*", "ledger", "" },
    { "*.commit*", "ledger", "" },
    { "*.autostart-*", "virDomainSetAutostart", "" },
    { "*.sync-autostart*", "fsync:autostart", "" },
    { "save.set-op", "virDomainSetMetadata", "" },
    { "save.pause", "virDomainSuspend", "" },
    { "pause.domain", "virDomainSuspend", "" },
    { "unpause.domain", "virDomainResume", "" },
    { "save.managed-save", "virDomainManagedSave", "" },
    { "save.define-paused", "virDomainSaveImageDefineXML", "" },
    { "save.make-folder", "fsync:vault", "mkdir:folder" },
    { "save.link-hold", "link:M:H", "" },
    { "save.sync-disks", "fsync:disk", "" },
    { "save.note-digest", "ledger", "" },
    { "save.rewrite-image", "write:H", "" },
    { "save.read-back", NULL, "" },
    { "*.sync-image", "fsync:M|fsync:H", "" },
    { "*.sync-vault", NULL, "fsync:folder|rmdir:folder" },
    { "*.sync-save-folder", "fsync:save-folder", "" },
    { "*.dead-magic", NULL, "write:M|write:H" },
    { "*.unlink-managed", "unlink:M", "" },
    { "*.unlink-hold", "unlink:H", "" },
    { "stray.unlink-guard", "unlink:M", "" },
    { "relink.managed", "link:H:M", "" },
    { "relink.hold", "link:M:H", "" },
    { "*.destroy*", "virDomainDestroy", "" },
    { "*.resume", "virDomainResume", "" },
    { "time.sync", "virDomainSetTime", "" },
    { "stop.shutdown", "virDomainShutdown", "" },
    { "stop.start", "virDomainCreateWithFlags", "" },
    { "restore.start-paused", "virDomainCreateWithFlags", "" },
    { "guard.write", "write:draft", "unlink:draft" },
    { "guard.sync", "fsync:draft", "" },
    { "guard.rename", "rename:draft:M", "" },
};

/* Calls of libvirt that change a domain. Aborting a job is none: what it ends is a step. */
static const char *const domain_calls[] = {
    "virDomainSuspend",
    "virDomainResume",
    "virDomainDestroy",
    "virDomainManagedSave",
    "virDomainSetAutostart",
    "virDomainSetMetadata",
    "virDomainSaveImageDefineXML",
    "virDomainCreateWithFlags",
    "virDomainCreate",
    "virDomainShutdown",
    "virDomainSetTime",
    "virDomainManagedSaveRemove",
    "virDomainUndefine",
    "virDomainUndefineFlags",
    "virDomainSave",
    "virDomainRestore",
};

typedef struct {
    guint thread;
    gboolean is_step;
    char *what;
} Event;

static void
event_free(gpointer data)
{
    Event *event = data;

    g_free(event->what);
    g_free(event);
}

/* ---- reading ---- */

static const char *
class_of(Walk *walk, const char *path)
{
    g_autofree char *folder = g_path_get_dirname(walk->hold);
    g_autofree char *disk = lab_guest_disk_path(WALK_GUEST);
    const struct {
        const char *path;
        const char *class;
    } places[] = {
        { LAB_SAVE_DIR, "save-folder" },
        { WALK_SAVE_FILE, "M" },
        { WALK_SAVE_FILE ".wukong-guard", "draft" },
        { WALK_VAULT, "vault" },
        { folder, "folder" },
        { walk->hold, "H" },
        { AUTOSTART_DIR, "autostart" },
        { disk, "disk" },
    };

    if (g_str_has_suffix(path, "/.wukong-link-test"))
        return "trial";
    if (g_str_has_prefix(path, WALK_VAULT "/.wukong-vault"))
        return "id";
    if (g_str_has_prefix(path, LAB_STATE_DIR "/ledger.db"))
        return "ledger";
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++)
        if (g_str_equal(path, places[i].path))
            return places[i].class;
    if (g_str_has_prefix(path, LAB_SAVE_DIR "/") || g_str_has_prefix(path, WALK_VAULT "/"))
        return "stranger";
    return NULL;
}

/* The paths among the arguments: of a descriptor as strace -y shows it, with the name behind it
 * where there is one. */
static GPtrArray *
paths_of(const char *args, gboolean with_names)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) halves = g_strsplit(args, " <unfinished", 2);
    const char *at = halves[0];

    while ((at = strpbrk(at, "<\"")) != NULL) {
        const char *end = strchr(at + 1, *at == '<' ? '>' : '"');
        g_autofree char *text = end != NULL ? g_strndup(at + 1, (gsize)(end - at) - 1) : NULL;

        if (text == NULL)
            break;
        if (*at == '<' && g_str_has_prefix(end + 1, "(deleted)"))
            g_ptr_array_add(paths,
                            g_strdup("")); /* it has no name any more: nothing can come back */
        else if (*at == '<')
            g_ptr_array_add(paths, g_steal_pointer(&text));
        else if (paths->len > 0 && with_names && *text != '/') {
            char *folder = g_ptr_array_steal_index(paths, paths->len - 1);

            g_ptr_array_add(paths, g_build_filename(folder, text, NULL));
            g_free(folder);
        } else if (with_names)
            g_ptr_array_add(paths, g_steal_pointer(&text));
        at = end + 1;
    }
    return paths;
}

static const char *
verb_of(const char *call, const char *args)
{
    static const struct {
        const char *start;
        const char *verb;
    } verbs[] = { { "fsync", "fsync" }, { "fdatasync", "fsync" }, { "linkat", "link" },
                  { "link", "link" },   { "rename", "rename" },   { "pwrite64", "write" },
                  { "mkdir", "mkdir" }, { "rmdir", "rmdir" },     { "ftruncate", "truncate" } };

    if (g_str_has_prefix(call, "unlink"))
        return strstr(args, "AT_REMOVEDIR") != NULL ? "rmdir" : "unlink";
    for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++)
        if (g_str_has_prefix(call, verbs[i].start))
            return verbs[i].verb;
    return NULL;
}

/* Returns: (transfer full): "link:M:H"; NULL: it concerns nothing that is watched. */
static char *
describe_call(Walk *walk, const char *call, const char *args)
{
    const char *verb = verb_of(call, args);
    g_autoptr(GPtrArray) paths = NULL;
    g_autoptr(GString) text = NULL;
    gboolean watched = FALSE;

    if (verb == NULL)
        return NULL;
    paths = paths_of(args, !g_str_equal(verb, "fsync") && !g_str_equal(verb, "write"));
    text = g_string_new(verb);
    for (guint i = 0; i < paths->len; i++) {
        const char *class = class_of(walk, g_ptr_array_index(paths, i));

        if (g_strcmp0(class, "ledger") == 0)
            return g_strdup("ledger");
        watched = watched || class != NULL;
        g_string_append_printf(text, ":%s", class != NULL ? class : "elsewhere");
    }
    return watched ? g_strdup(text->str) : NULL;
}

/* A line of the log: a step, or libvirt telling of a call. */
static Event *
read_log_line(const char *args)
{
    const char *step = strstr(args, "debug: step ");
    const char *call = strstr(args, ": debug : virDomain");
    char word[64];

    if (step != NULL && sscanf(step, "debug: step %63s", word) == 1) {
        Event *event = g_new0(Event, 1);

        event->is_step = TRUE;
        event->what = g_strdup(word);
        return event;
    }
    if (call == NULL || sscanf(call, ": debug : %63[A-Za-z]", word) != 1)
        return NULL;
    for (gsize i = 0; i < G_N_ELEMENTS(domain_calls); i++) {
        if (g_str_equal(word, domain_calls[i])) {
            Event *event = g_new0(Event, 1);

            event->what = g_strdup(word);
            return event;
        }
    }
    return NULL;
}

GPtrArray *
walk_calls_read(Walk *walk, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    GPtrArray *events = g_ptr_array_new_with_free_func(event_free);

    for (gsize i = 0; lines[i] != NULL; i++) {
        const char *args = strchr(lines[i], '(');
        Event *event = NULL;
        char call[32];
        guint thread;

        if (args == NULL || sscanf(lines[i], "%u %31[a-z0-9](", &thread, call) != 2)
            continue; /* "resumed", "exited" */
        if (g_str_equal(call, "write")) {
            event = read_log_line(args);
        } else {
            char *what = describe_call(walk, call, args);

            if (what != NULL) {
                event = g_new0(Event, 1);
                event->what = what;
            }
        }
        if (event == NULL)
            continue;
        event->thread = thread;
        g_ptr_array_add(events, event);
    }
    return events;
}

/* ---- checking ---- */

typedef struct {
    const char *step; /* the last one of this thread */
    int row;
    gboolean met;
} State;

static gboolean
is_one_of(const char *alternatives, const char *what)
{
    g_auto(GStrv) parts = g_strsplit(alternatives != NULL ? alternatives : "", "|", -1);

    return g_strv_contains((const char *const *)parts, what);
}

static int
row_of(const char *step)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++)
        if (g_pattern_match_simple(rows[i].step, step))
            return (int)i;
    return -1;
}

static gboolean
fail(GError **error, const char *what, const char *step, const char *text)
{
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s (step %s): %s", what,
                step != NULL ? step : "none", text);
    return FALSE;
}

/* Is it what the run itself lets fail? */
static gboolean
is_armed(const char *arm, const char *step)
{
    g_autofree char *failing = g_strdup_printf("%s=error", step);

    return arm != NULL && strstr(arm, failing) != NULL;
}

static gboolean
is_complete(const State *state, const char *arm, GError **error)
{
    return state->step == NULL || state->met || rows[state->row].must == NULL
           || is_armed(arm, state->step)
           || fail(error, rows[state->row].must, state->step, "was announced and not done");
}

static gboolean
take_step(State *state, const char *step, const char *arm, GError **error)
{
    if (!is_complete(state, arm, error))
        return FALSE;
    *state = (State){ .step = step, .row = row_of(step) };
    return state->row >= 0 || fail(error, "what it may do", step, "is not listed in walk-calls.c");
}

/* Before there is work: the ledger's schema, the vault's folder and its id, a link tried (F19).
 * The main thread also writes down operations that never got to work. */
static gboolean
needs_no_step(const Event *event, guint main_thread)
{
    static const char *const starting[] = { "ledger",   "mkdir:vault",  "rmdir:folder", "write:id",
                                            "fsync:id", "rename:id:id", "fsync:vault",  NULL };

    return strstr(event->what, "trial") != NULL
           || (event->thread == main_thread && g_strv_contains(starting, event->what));
}

/* A restore that is to stop is ended by a destroy beside it (F24), in the midst of its step. */
static gboolean
ends_restore(GHashTable *threads, const State *own, const char *what)
{
    GHashTableIter iter;
    State *state;

    g_hash_table_iter_init(&iter, threads);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&state))
        if (state != own && g_strcmp0(state->step, "restore.start-paused") == 0)
            return g_str_equal(what, "virDomainDestroy");
    return FALSE;
}

static gboolean
take_call(State *state, const char *what, GError **error)
{
    if (state->step == NULL)
        return fail(error, what, NULL, "has no step");
    if (is_one_of(rows[state->row].must, what)) {
        state->met = TRUE;
        return TRUE;
    }
    return is_one_of(rows[state->row].may, what)
           || fail(error, what, state->step, "is not what that step does");
}

gboolean
walk_calls_check(GPtrArray *events, const char *arm, guint *n_calls, GError **error)
{
    g_autoptr(GHashTable) threads = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    const guint main_thread = events->len > 0 ? ((Event *)g_ptr_array_index(events, 0))->thread : 0;
    GHashTableIter iter;
    State *state;

    *n_calls = 0;
    for (guint i = 0; i < events->len; i++) {
        const Event *event = g_ptr_array_index(events, i);

        state = g_hash_table_lookup(threads, GUINT_TO_POINTER(event->thread));
        if (state == NULL) {
            state = g_new0(State, 1);
            g_hash_table_insert(threads, GUINT_TO_POINTER(event->thread), state);
        }
        if (event->is_step) {
            if (!take_step(state, event->what, arm, error))
                return FALSE;
        } else if (!needs_no_step(event, main_thread)
                   && !ends_restore(threads, state, event->what)) {
            if (!take_call(state, event->what, error))
                return FALSE;
            ++*n_calls;
        }
    }
    g_hash_table_iter_init(&iter, threads);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&state))
        if (!is_complete(state, arm, error))
            return FALSE;
    return TRUE;
}

/* ---- teeth ---- */

static gboolean
is_mandatory(GPtrArray *events, const char *arm, guint at)
{
    const Event *event = g_ptr_array_index(events, at);
    const int row = row_of(event->what);

    return event->is_step && row >= 0 && rows[row].must != NULL
           && !g_str_equal(rows[row].must, "ledger") && !is_armed(arm, event->what);
}

guint
walk_calls_bite(GPtrArray *events, const char *arm, GError **error)
{
    guint n = 0;

    for (guint i = 0; i < events->len; i++) {
        g_autoptr(GError) seen = NULL;
        Event *event;
        gboolean passed;
        guint n_calls;

        if (!is_mandatory(events, arm, i))
            continue;
        event = g_ptr_array_steal_index(events, i);
        passed = walk_calls_check(events, arm, &n_calls, &seen);
        g_ptr_array_insert(events, (int)i, event);
        if (passed) {
            fail(error, "a trace", event->what, "passes without the line of this step");
            return 0;
        }
        n++;
    }
    return n;
}
