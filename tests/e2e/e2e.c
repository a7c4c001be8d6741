/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "e2e.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGENT       "wukongd"
#define LINGER_MS   60000 /* for an operation to end */
#define VIRSH_WORDS 16

/* ---- around each test ---- */

int
e2e_start_node(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_libvirtd_start(&error));
    return 0;
}

int
e2e_setup(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_agent_start(NULL, &error));
    return 0;
}

static int
remove_below(const char *path, const struct stat *st G_GNUC_UNUSED, int type G_GNUC_UNUSED,
             struct FTW *ftw)
{
    if (ftw->level > 0)
        remove(path);
    return 0;
}

static void
undefine_all(void)
{
    virConnectPtr connection = NULL;
    virDomainPtr *domains = NULL;
    int n;

    lab_ok((connection = lab_connect(&error)) != NULL);
    n = virConnectListAllDomains(connection, &domains, 0);
    for (int i = 0; i < n; i++) {
        lab_ok(lab_guest_undefine(virDomainGetName(domains[i]), &error));
        virDomainFree(domains[i]);
    }
    free(domains);
    virConnectClose(connection);
}

int
e2e_teardown(void **state G_GNUC_UNUSED)
{
    e2e_brake_off();
    lab_ok(lab_agent_kill(&error));
    lab_ok(lab_libvirtd_start(&error));
    undefine_all();
    nftw(LAB_STATE_DIR, remove_below, 16, FTW_DEPTH | FTW_PHYS);
    nftw(LAB_SAVE_DIR, remove_below, 16, FTW_DEPTH | FTW_PHYS);
    unlink(LAB_CONFIG);
    return 0;
}

void
e2e_agent_restart(const char *failpoint)
{
    g_autofree char *variable = g_strdup_printf("WK_FAILPOINT=%s", failpoint);
    const char *const env[] = { failpoint != NULL ? variable : NULL, NULL };
    const LabAgentOptions options = { .env = env };

    lab_ok(lab_agent_restart(&options, &error));
}

void
e2e_agent_configure(const char *text)
{
    g_autofree char *folder = g_path_get_dirname(LAB_CONFIG);

    g_mkdir_with_parents(folder, 0755);
    if (text != NULL)
        lab_ok(g_file_set_contents(LAB_CONFIG, text, -1, &error));
    else
        unlink(LAB_CONFIG);
    e2e_agent_restart(NULL);
}

static gboolean
is_stopped(gpointer pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", GPOINTER_TO_INT(pid));
    g_autofree char *text = NULL;
    const char *end;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && end[2] == 'T';
}

void
e2e_agent_wait_stopped(void)
{
    lab_ok(lab_wait("the agent to stop at its failpoint", LAB_WAIT_MS, is_stopped,
                    GINT_TO_POINTER(lab_pid(AGENT)), &error));
}

void
e2e_agent_continue(void)
{
    assert_int_equal(kill(lab_pid(AGENT), SIGCONT), 0);
}

void
e2e_agent_wait_killed(void)
{
    int status = 0;

    lab_ok(lab_wait_exit(AGENT, LAB_WAIT_MS, &status, &error));
    assert_int_equal(status, 128 + SIGKILL);
}

/* ---- the API ---- */

static JsonObject *
parse_object(const char *text)
{
    g_autoptr(JsonParser) parser = json_parser_new();

    if (!json_parser_load_from_data(parser, text, -1, NULL)
        || !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser)))
        fail_msg("not a JSON object: %s", text);
    return json_object_ref(json_node_get_object(json_parser_get_root(parser)));
}

JsonObject *
e2e_http(const char *method, const char *path, const char *body, int status)
{
    g_autofree char *answer = NULL;
    g_autoptr(GError) failed = NULL;
    const int got = lab_http(method, path, body, &answer, &failed);

    if (got != status)
        fail_msg("%s %s %.60s: %d instead of %d: %s", method, path, body != NULL ? body : "", got,
                 status, failed != NULL ? failed->message : answer);
    return parse_object(answer);
}

char *
e2e_member(JsonObject *object, const char *member)
{
    JsonNode *node = json_object_get_member(object, member);

    if (node == NULL)
        return g_strdup("");
    if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING)
        return g_strdup(json_node_get_string(node));
    return json_to_string(node, FALSE);
}

static char *
guest_path(const char *name)
{
    g_autofree char *escaped = g_uri_escape_string(name, NULL, FALSE);

    return g_strdup_printf("/v1/guests/%s", escaped);
}

static char *
operation_path(const char *id)
{
    return g_strdup_printf("/v1/operations/%s", id);
}

static char *
get_member(const char *path, const char *member)
{
    g_autoptr(JsonObject) object = e2e_http("GET", path, NULL, 200);

    return e2e_member(object, member);
}

char *
e2e_guest(const char *name, const char *member)
{
    g_autofree char *path = guest_path(name);

    return get_member(path, member);
}

char *
e2e_operation(const char *id, const char *member)
{
    g_autofree char *path = operation_path(id);

    return get_member(path, member);
}

/* Something at @path that is to have these members. */
typedef struct {
    const char *path;
    GPtrArray *pairs; /* utf8: member, value, member, ... */
    char *last;       /* as last told */
    gboolean or_final;
} Expect;

static void
expect_clear(Expect *self)
{
    g_clear_pointer(&self->pairs, g_ptr_array_unref);
    g_clear_pointer(&self->last, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Expect, expect_clear)

static void
read_pairs(Expect *self, va_list list)
{
    const char *word;

    self->pairs = g_ptr_array_new();
    while ((word = va_arg(list, const char *)) != NULL)
        g_ptr_array_add(self->pairs, (char *)word);
    assert_int_equal(self->pairs->len % 2, 0);
}

static gboolean
fits(const char *value, const char *wanted)
{
    return *wanted == '*' ? strstr(value, wanted + 1) != NULL : g_str_equal(value, wanted);
}

static gboolean
holds(JsonObject *object, GPtrArray *pairs)
{
    for (guint i = 0; i < pairs->len; i += 2) {
        g_autofree char *value = e2e_member(object, g_ptr_array_index(pairs, i));

        if (!fits(value, g_ptr_array_index(pairs, i + 1)))
            return FALSE;
    }
    return TRUE;
}

static gboolean
is_final(JsonObject *operation)
{
    g_autofree char *state = e2e_member(operation, "state");

    return !g_str_equal(state, "queued") && !g_str_equal(state, "running");
}

static gboolean
is_as_expected(gpointer data)
{
    Expect *self = data;
    g_autoptr(JsonObject) object = NULL;

    g_clear_pointer(&self->last, g_free);
    if (lab_http("GET", self->path, NULL, &self->last, NULL) != 200)
        return FALSE;
    object = parse_object(self->last);
    return self->or_final ? is_final(object) : holds(object, self->pairs);
}

static void
fail_expected(Expect *self)
{
    g_autoptr(GString) wanted = g_string_new(NULL);

    for (guint i = 0; i < self->pairs->len; i += 2)
        g_string_append_printf(wanted, " %s=%s", (char *)g_ptr_array_index(self->pairs, i),
                               (char *)g_ptr_array_index(self->pairs, i + 1));
    fail_msg("%s: wanted%s, is %s", self->path, wanted->str,
             self->last != NULL ? self->last : "not there");
}

static void
expect(Expect *self, guint timeout_ms)
{
    if (!is_as_expected(self) && !lab_wait("", timeout_ms, is_as_expected, self, NULL))
        fail_expected(self);
}

void
e2e_check_guest(const char *name, ...)
{
    g_autofree char *path = guest_path(name);
    g_auto(Expect) wanted = { .path = path };
    va_list list;

    va_start(list, name);
    read_pairs(&wanted, list);
    va_end(list);
    if (!is_as_expected(&wanted))
        fail_expected(&wanted);
}

void
e2e_wait_guest(const char *name, guint timeout_ms, ...)
{
    g_autofree char *path = guest_path(name);
    g_auto(Expect) wanted = { .path = path };
    va_list list;

    va_start(list, timeout_ms);
    read_pairs(&wanted, list);
    va_end(list);
    expect(&wanted, timeout_ms);
}

static gboolean
is_not_found(gpointer path)
{
    return lab_http("GET", path, NULL, NULL, NULL) == 404;
}

void
e2e_wait_guest_gone(const char *name, guint timeout_ms)
{
    g_autofree char *path = guest_path(name);

    lab_ok(lab_wait("the guest to be gone", timeout_ms, is_not_found, path, &error));
}

char *
e2e_submit(const char *name, const char *action, const char *body)
{
    g_autofree char *guest = guest_path(name);
    g_autofree char *path = g_strdup_printf("%s/%s", guest, action);
    g_autoptr(JsonObject) operation = e2e_http("POST", path, body, 202);

    return e2e_member(operation, "id");
}

void
e2e_wait_end(const char *id, ...)
{
    g_autofree char *path = operation_path(id);
    g_auto(Expect) wanted = { .path = path, .or_final = TRUE };
    va_list list;

    va_start(list, id);
    read_pairs(&wanted, list);
    va_end(list);
    expect(&wanted, LINGER_MS);
    wanted.or_final = FALSE;
    if (!is_as_expected(&wanted))
        fail_expected(&wanted);
}

void
e2e_wait_operation(const char *id, ...)
{
    g_autofree char *path = operation_path(id);
    g_auto(Expect) wanted = { .path = path };
    va_list list;

    va_start(list, id);
    read_pairs(&wanted, list);
    va_end(list);
    expect(&wanted, LAB_WAIT_MS);
}

guint
e2e_count_operations(void)
{
    g_autoptr(JsonObject) list = e2e_http("GET", "/v1/operations", NULL, 200);

    return json_array_get_length(json_object_get_array_member(list, "items"));
}

/* ---- wukongctl and virsh ---- */

static char *
run_ctl(int status, va_list list)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    g_auto(LabOutput) output = { 0 };
    const char *word;

    while ((word = va_arg(list, const char *)) != NULL)
        g_ptr_array_add(words, (char *)word);
    g_ptr_array_add(words, NULL);
    lab_ok(lab_ctlv(&output, (const char *const *)words->pdata, LINGER_MS, &error));
    if (output.status != status)
        fail_msg("wukongctl %s %s: status %d instead of %d: %s%s",
                 (char *)g_ptr_array_index(words, 0),
                 words->len > 2 ? (char *)g_ptr_array_index(words, 1) : "", output.status, status,
                 output.out, output.err);
    return g_strconcat(output.out, output.err, NULL);
}

char *
e2e_ctl(int status, ...)
{
    va_list list;
    char *said;

    va_start(list, status);
    said = run_ctl(status, list);
    va_end(list);
    return said;
}

void
e2e_ctl_says(int status, const char *text, ...)
{
    g_autofree char *said = NULL;
    va_list list;

    va_start(list, text);
    said = run_ctl(status, list);
    va_end(list);
    if (strstr(said, text) == NULL)
        fail_msg("'%s' is missing in: %s", text, said);
}

char *
e2e_virsh(const char *verb, ...)
{
    const char *argv[VIRSH_WORDS] = { "virsh", "-q", verb };
    g_auto(LabOutput) output = { 0 };
    gsize n = 3;
    va_list list;

    va_start(list, verb);
    while (n < VIRSH_WORDS - 1 && (argv[n] = va_arg(list, const char *)) != NULL)
        n++;
    va_end(list);
    lab_ok(lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, &error));
    if (output.status != 0)
        fail_msg("virsh %s %s: %s", verb, argv[3], output.err);
    return g_strstrip(g_steal_pointer(&output.out));
}

void
e2e_virsh_do(const char *verb, const char *name)
{
    g_free(e2e_virsh(verb, name, NULL));
}

void
e2e_virsh_refused(const char *verb, const char *name)
{
    const char *const argv[] = { "virsh", "-q", verb, name, NULL };
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, &error));
    if (output.status == 0)
        fail_msg("virsh %s %s was not refused", verb, name);
}

void
e2e_check_domstate(const char *name, const char *state)
{
    g_autofree char *said = e2e_virsh("domstate", name, NULL);

    assert_string_equal(said, state);
}

/* ---- guests ---- */

void
e2e_guest_start(const char *name)
{
    e2e_guest_start_filled(name, 0);
}

void
e2e_guest_start_filled(const char *name, guint fill_mib)
{
    const LabGuestOptions options = { .fill_mib = fill_mib };

    lab_ok(lab_guest_start(name, &options, &error));
    e2e_wait_guest(name, LAB_WAIT_MS, "state", "Running", NULL);
}

void
e2e_check_runs(const char *name)
{
    lab_ok(lab_guest_wait_ticking(name, LAB_WAIT_MS, &error));
    lab_ok(lab_guest_check_log(name, &error));
}

void
e2e_check_stands(const char *name)
{
    lab_ok(lab_guest_wait_quiet(name, LAB_WAIT_MS, &error));
    lab_ok(lab_guest_check_log(name, &error));
}

E2eLife *
e2e_remember(const char *name)
{
    E2eLife *life = g_new0(E2eLife, 1);

    life->name = g_strdup(name);
    lab_ok(lab_guest_last_tick(name, &life->tick, &error));
    return life;
}

void
e2e_check_same_life(const E2eLife *life)
{
    LabTick now;

    lab_ok(lab_guest_wait_tick_above(life->name, life->tick.tick, LAB_WAIT_MS, &error));
    e2e_check_runs(life->name);
    lab_ok(lab_guest_last_tick(life->name, &now, &error));
    assert_string_equal(now.nonce, life->tick.nonce);
}

void
e2e_check_other_life(const E2eLife *life)
{
    LabTick now;

    e2e_check_runs(life->name);
    lab_ok(lab_guest_last_tick(life->name, &now, &error));
    assert_string_not_equal(now.nonce, life->tick.nonce);
}

void
e2e_life_free(E2eLife *life)
{
    g_free(life->name);
    g_free(life);
}
