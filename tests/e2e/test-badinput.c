/* SPDX-License-Identifier: Apache-2.0 */
/* Bad input: an error that names the thing and the next step, and everything stays as it was. */
#include "e2e.h"

#include <sys/stat.h>
#include <unistd.h>

#define GUEST "bad"
#define URL   "/v1/guests/" GUEST

/* Whatever was refused: the guest runs, nothing was recorded, nothing is saved. */
static void
check_untouched(void)
{
    e2e_check_guest(GUEST, "state", "Running", "reason", "", "lastAction", "", "operation", "",
                    NULL);
    assert_int_equal(e2e_count_operations(), 0);
    e2e_check_no_image(GUEST);
    e2e_check_domstate(GUEST, "running");
    e2e_check_runs(GUEST);
}

static void
check_problem(const char *method, const char *path, const char *body, int status, const char *type,
              const char *detail)
{
    g_autoptr(JsonObject) problem = e2e_http(method, path, body, status);
    g_autofree char *got_type = e2e_member(problem, "type");
    g_autofree char *got_detail = e2e_member(problem, "detail");
    g_autofree char *got_status = e2e_member(problem, "status");
    g_autofree char *number = g_strdup_printf("%d", status);

    assert_string_equal(got_status, number);
    if (!g_str_has_suffix(got_type, type) || strstr(got_detail, detail) == NULL)
        fail_msg("%s %s: %s, %s", method, path, got_type, got_detail);
}

/* ---- wukongctl ---- */

static void
test_unknown_guest(void **state G_GNUC_UNUSED)
{
    static const char *const verbs[] = { "suspend", "resume", "cancel", "status" };

    e2e_guest_start(GUEST);
    for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++)
        e2e_ctl_says(4, "nobody", verbs[i], "nobody", NULL);
    e2e_ctl_says(4, "nobody", "discard", "nobody", "--yes", NULL);
    e2e_ctl_says(4, "nobody", "wait", "nobody", "--for", "Running", NULL);
    e2e_ctl_says(4, "nobody", "is-running", "nobody", NULL);
    e2e_ctl_says(4, "no guest fits", "suspend", "nob*", NULL);
    check_problem("GET", "/v1/guests/nobody", NULL, 404, "/no-such-guest", "wukongctl list");
    check_problem("POST", "/v1/guests/nobody/suspend", "{}", 404, "/no-such-guest", "'nobody'");
    check_problem("GET", "/v1/operations/nothing", NULL, 404, "/no-such-operation", "'nothing'");
    check_untouched();
}

static void
test_wrong_usage(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_ctl_says(2, "moon", "suspend", GUEST, "--to", "moon", NULL);
    e2e_ctl_says(2, "--timeout", "suspend", GUEST, "--timeout", "-1", NULL);
    e2e_ctl_says(2, "--timeout", "suspend", GUEST, "--timeout", "0", NULL);
    e2e_ctl_says(2, "--timeout", "suspend", GUEST, "--timeout", "86401", NULL);
    e2e_ctl_says(2, "--timeout", "suspend", GUEST, "--timeout", "99999999999999999999", NULL);
    e2e_ctl_says(2, "--timeout", "resume", GUEST, "--timeout", "soon", NULL);
    e2e_ctl_says(2, "--fallback", "suspend", GUEST, "--fallback", "hope", NULL);
    e2e_ctl_says(2, "--for", "wait", GUEST, "--for", "Sleeping", NULL);
    e2e_ctl_says(2, "", "suspend", NULL);
    e2e_ctl_says(2, "", "suspend", GUEST, "--nonsense", NULL);
    e2e_ctl_says(2, "", "sleep", GUEST, NULL);
    e2e_ctl_says(2, "", "list", "-o", "xml", NULL);
    e2e_ctl_says(2, "", "suspend", "", NULL);
    check_untouched();
}

static void
test_ambiguous(void **state G_GNUC_UNUSED)
{
    static const char *const names[] = { "twin-a", "twin-b" };
    static const char *const ids[] = { "abcd0000-0000-4000-8000-000000000001",
                                       "abcd0000-0000-4000-8000-000000000002" };

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *xml = lab_guest_xml(names[i], NULL);
        g_autofree char *own = lab_guest_uuid(names[i]);
        g_autoptr(GString) text = g_string_new(xml);

        g_string_replace(text, own, ids[i], 0);
        lab_ok(g_file_set_contents(LAB_DIR "/twin.xml", text->str, -1, &error));
        e2e_virsh_do("define", LAB_DIR "/twin.xml");
        e2e_wait_guest(names[i], E2E_OTHERS, "state", "Stopped", NULL);
    }
    e2e_ctl_says(2, "twin-b", "status", "abcd", NULL);
    e2e_ctl_says(2, "twin-a", "suspend", "abcd0000", NULL);
    e2e_ctl_says(0, "twin-a", "status", ids[0], NULL);
    e2e_ctl_says(0, "twin-b", "status", "host:twin-b", NULL);
    e2e_ctl_says(4, "abc", "status", "abc", NULL); /* too short to be a prefix */
    check_problem("POST", "/v1/guests/abcd0000/suspend", "{}", 400, "/ambiguous-guest", "twin-b");
    check_problem("POST", "/v1/guests/twin-a/suspend", "{}", 409, "/not-running", "'twin-a'");
    e2e_ctl_says(1, "start it first", "suspend", "twin-a", NULL);
}

static void
test_discard_nothing(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_ctl_says(2, "--yes", "discard", GUEST, NULL);
    e2e_ctl_says(6, "nothing of it is saved", "discard", GUEST, "--yes", NULL);
    check_problem("POST", URL "/discard", "{}", 422, "/no-saved-state", GUEST);
    check_untouched();
}

static void
test_daemon_down(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    lab_ok(lab_agent_kill(&error));
    e2e_ctl_says(5, "control.sock", "list", NULL);
    e2e_ctl_says(5, "control.sock", "suspend", GUEST, NULL);
    lab_ok(lab_agent_start(NULL, &error));
    check_untouched();
}

/* ---- the API ---- */

static void
test_bad_bodies(void **state G_GNUC_UNUSED)
{
    static const char *const bodies[] = {
        "{",
        "[]",
        "null",
        "\"disk\"",
        "{\"target\":\"moon\"}",
        "{\"target\":7}",
        "{\"target\":\"\"}",
        "{\"timeoutSeconds\":-1}",
        "{\"timeoutSeconds\":0}",
        "{\"timeoutSeconds\":86401}",
        "{\"timeoutSeconds\":1.5}",
        "{\"timeoutSeconds\":\"60\"}",
        "{\"timeoutSeconds\":99999999999999999999}",
        "{\"fallback\":\"hope\"}",
        "{\"dryRun\":\"yes\"}",
        "{\"unknown\":1}",
        "{\"target\":\"disk\"} trailing",
        "\xff\xfe",
    };

    e2e_guest_start(GUEST);
    for (gsize i = 0; i < G_N_ELEMENTS(bodies); i++)
        check_problem("POST", URL "/suspend", bodies[i], 400, "", "");
    check_problem("POST", URL "/resume", "{\"target\":\"disk\"}", 400, "", "target");
    check_problem("POST", URL "/cancel", "{\"target\":\"disk\"}", 400, "", "target");
    check_untouched();
}

static void
test_large_body(void **state G_GNUC_UNUSED)
{
    const gsize length = 5 * 1024 * 1024;
    g_autofree char *body = g_malloc(length + 1);

    memset(body, ' ', length);
    body[length] = '\0';
    e2e_guest_start(GUEST);
    check_problem("POST", URL "/suspend", body, 413, "/body-too-large", "");
    memset(body, '[', length);
    check_problem("POST", URL "/suspend", body, 413, "/body-too-large", "");
    check_untouched();
}

static void
test_bad_paths(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    check_problem("GET", "/v1/nothing", NULL, 404, "/not-found", "no such path");
    check_problem("GET", "/", NULL, 404, "", "");
    check_problem("GET", "/v1/guests/../../etc/passwd", NULL, 404, "", "");
    check_problem("GET", "/v1/guests/%00", NULL, 400, "", "");
    check_problem("POST", URL "/destroy", "{}", 404, "", "");
    check_problem("DELETE", URL, NULL, 405, "/method-not-allowed", "");
    check_problem("GET", URL "/suspend", NULL, 405, "/method-not-allowed", "");
    check_problem("POST", "/v1/guests", "{}", 405, "/method-not-allowed", "");
    check_untouched();
}

static void
test_nothing_to_cancel(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    check_problem("POST", URL "/cancel", NULL, 409, "/nothing-to-cancel", GUEST);
    check_untouched();
}

/* ---- guests that can't be saved ---- */

static void
start_with_device(const char *device)
{
    g_autofree char *xml = lab_guest_xml(GUEST, NULL);
    g_autofree char *more = g_strconcat(device, "  </devices>", NULL);
    g_autoptr(GString) text = g_string_new(xml);

    lab_ok(lab_guest_define(GUEST, NULL, &error));
    g_string_replace(text, "  </devices>", more, 0);
    lab_ok(g_file_set_contents(LAB_DIR "/device.xml", text->str, -1, &error));
    e2e_virsh_do("define", LAB_DIR "/device.xml");
    lab_ok(lab_guest_create(GUEST, &error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", NULL);
}

static void
check_unsuspendable(const char *type, const char *word)
{
    check_problem("POST", URL "/suspend", "{\"target\":\"disk\"}", 422, type, word);
    e2e_ctl_says(6, word, "suspend", GUEST, "--to", "disk", NULL);
    e2e_ctl_says(6, word, "suspend", GUEST, "--to", "disk", "--dry-run", NULL);
    check_untouched();
}

static void
test_shared_folder(void **state G_GNUC_UNUSED)
{
    start_with_device("    <filesystem type='mount' accessmode='passthrough'>\n"
                      "      <source dir='" LAB_DIR "'/>\n"
                      "      <target dir='lab'/>\n"
                      "    </filesystem>\n");
    check_unsuspendable("/shared-folder", "shares a folder");
    /* a refusal goes to the fallback at once */
    e2e_ctl_says(0, "suspended to memory instead", "suspend", GUEST, "--to", "disk", "--fallback",
                 "memory", NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "memory", "reason", "FellBack", NULL);
    e2e_ctl_says(0, "resumed from memory", "resume", GUEST, NULL);
    e2e_ctl_says(0, "shut down instead", "suspend", GUEST, "--to", "disk", "--fallback", "stop",
                 NULL);
    e2e_check_guest(GUEST, "state", "Stopped", "reason", "StoppedByFallback", NULL);
    e2e_check_no_image(GUEST);
}

static void
test_transient_disk(void **state G_GNUC_UNUSED)
{
    static const char path[] = LAB_DIR "/scratch.raw";
    const char *const make[] = { "qemu-img", "create", "-q", "-f", "qcow2", path, "4M", NULL };
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_run_capture(make, NULL, LAB_WAIT_MS, &output, &error));
    assert_int_equal(output.status, 0);
    start_with_device("    <disk type='file' device='disk'>\n"
                      "      <driver name='qemu' type='qcow2'/>\n"
                      "      <source file='" LAB_DIR "/scratch.raw'/>\n"
                      "      <target dev='vdb' bus='virtio'/>\n"
                      "      <transient/>\n"
                      "    </disk>\n");
    check_unsuspendable("/transient-disk", "vdb is transient");
    unlink(path);
}

/* A guest that is off is refused for that, whatever its devices. */
static void
test_host_device_of_a_guest_that_is_off(void **state G_GNUC_UNUSED)
{
    g_autofree char *xml = lab_guest_xml(GUEST, NULL);
    g_autoptr(GString) text = g_string_new(xml);

    g_string_replace(text, "  </devices>",
                     "    <hostdev mode='subsystem' type='pci' managed='yes'>\n"
                     "      <source><address domain='0' bus='9' slot='0' function='0'/></source>\n"
                     "    </hostdev>\n"
                     "  </devices>",
                     0);
    lab_ok(g_file_set_contents(LAB_DIR "/device.xml", text->str, -1, &error));
    e2e_virsh_do("define", LAB_DIR "/device.xml");
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Stopped", NULL);
    e2e_ctl_says(1, "start it first", "suspend", GUEST, "--to", "disk", NULL);
    e2e_check_guest(GUEST, "state", "Stopped", "lastAction", "", NULL);
}

/* A vault on another file system than libvirt's save folder: said, with the way out. */
static void
test_vault_elsewhere(void **state G_GNUC_UNUSED)
{
    e2e_agent_configure("[vault]\ndir=/run/vault\n");
    e2e_guest_start(GUEST);
    check_unsuspendable("/no-vault", "tmpfs");
    e2e_ctl_says(0, "paused in memory", "suspend", GUEST, "--to", "memory", NULL);
}

/* ---- names ---- */

static void
define_named(const char *name)
{
    g_autofree char *plain = lab_guest_xml("plain", NULL);
    g_autofree char *own = lab_guest_uuid("plain");
    g_autofree char *uuid = lab_guest_uuid(name);
    g_autofree char *escaped = g_markup_escape_text(name, -1);
    g_autofree char *element = g_strdup_printf("<name>%s</name>", escaped);
    g_autoptr(GString) text = g_string_new(plain);

    g_string_replace(text, "<name>plain</name>", element, 0);
    g_string_replace(text, own, uuid, 0);
    lab_ok(g_file_set_contents(LAB_DIR "/named.xml", text->str, -1, &error));
    e2e_virsh_do("define", LAB_DIR "/named.xml");
    e2e_wait_guest(name, E2E_OTHERS, "state", "Stopped", "name", name, NULL);
}

static void
test_strange_names(void **state G_GNUC_UNUSED)
{
    static const char *const names[] = { "two words",    "\xc3\xbc\xe6\x82\x9f\xe7\xa9\xba",
                                         "a%2fb?c#d",    "-rf",
                                         "quote'\"$(x)", "star*" };
    g_autofree char *all = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        define_named(names[i]);
        e2e_ctl_says(0, "Stopped", "status", "--", names[i], NULL);
        e2e_ctl_says(1, "start it first", "suspend", "--", names[i], NULL);
    }
    all = e2e_ctl(0, "list", NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        assert_non_null(strstr(all, names[i]));
}

/* libvirt takes such a name; a terminal must not. */
static void
test_control_characters(void **state G_GNUC_UNUSED)
{
    static const char name[] = "esc\xc2\x9b"
                               "31mred"; /* U+009B: a control sequence begins */
    g_autofree char *listed = NULL;
    g_autofree char *refused = NULL;

    define_named(name);
    listed = e2e_ctl(0, "list", NULL);
    assert_null(strstr(listed, "\xc2\x9b"));
    refused = e2e_ctl(1, "suspend", name, NULL);
    assert_null(strstr(refused, "\xc2\x9b"));
    e2e_ctl_says(4, "no such guest", "suspend",
                 "a\x1b"
                 "b",
                 NULL);
    g_free(refused);
    refused = e2e_ctl(4, "suspend",
                      "a\x1b"
                      "b",
                      NULL);
    assert_null(strstr(refused, "\x1b"));
}

/* ---- configuration ---- */

static void
check_config(const char *text, const char *const *words)
{
    g_autofree char *program = lab_build_path("wukongd");
    const char *const check[] = { program, "--check-config", NULL };
    const char *const run[] = { program, "--no-kube", NULL };
    const char *const *const both[] = { check, run };

    lab_ok(g_file_set_contents(LAB_CONFIG, text, -1, &error));
    for (gsize i = 0; i < G_N_ELEMENTS(both); i++) {
        g_auto(LabOutput) output = { 0 };

        lab_ok(lab_run_capture(both[i], NULL, LAB_WAIT_MS, &output, &error));
        assert_int_equal(output.status, 1);
        for (gsize w = 0; words[w] != NULL; w++) {
            if (strstr(output.err, words[w]) == NULL)
                fail_msg("'%s' is missing in: %s", words[w], output.err);
        }
    }
    unlink(LAB_CONFIG);
}

static void
test_bad_configuration(void **state G_GNUC_UNUSED)
{
    static const char *const key[] = { LAB_CONFIG, "vault", "colour", NULL };
    static const char *const group[] = { LAB_CONFIG, "valut", NULL };
    static const char *const value[] = { LAB_CONFIG, "suspend", "parallel-saves", "many", NULL };
    static const char *const text[] = { LAB_CONFIG, NULL };
    g_autofree char *program = lab_build_path("wukongd");
    const char *const missing[] = { program, "--config", E2E_MISSING, "--check-config", NULL };
    g_auto(LabOutput) output = { 0 };

    e2e_guest_start(GUEST);
    check_config("[vault]\ncolour=blue\n", key);
    check_config("[valut]\ndir=/x\n", group);
    check_config("[suspend]\nparallel-saves=many\n", value);
    check_config("this is not a key file\n", text);
    lab_ok(lab_run_capture(missing, NULL, LAB_WAIT_MS, &output, &error));
    assert_int_equal(output.status, 1);
    assert_non_null(strstr(output.err, E2E_MISSING));
    check_untouched();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(test_unknown_guest),      e2e_test(test_wrong_usage),
        e2e_test(test_ambiguous),          e2e_test(test_discard_nothing),
        e2e_test(test_daemon_down),        e2e_test(test_bad_bodies),
        e2e_test(test_large_body),         e2e_test(test_bad_paths),
        e2e_test(test_nothing_to_cancel),  e2e_test(test_shared_folder),
        e2e_test(test_transient_disk),     e2e_test(test_host_device_of_a_guest_that_is_off),
        e2e_test(test_vault_elsewhere),    e2e_test(test_strange_names),
        e2e_test(test_control_characters), e2e_test(test_bad_configuration),
    };

    return e2e_main(tests);
}
