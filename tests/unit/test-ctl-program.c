/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "fake-daemon.h"

#include <gio/gio.h>

/* wukongctl as users run it: what it says and how it exits. */

#define ID1 "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
#define ID2 "2b4e28ba-2fa1-11d2-883f-0016d3cca428"
#define ID3 "3b4e28ba-2fa1-11d2-883f-0016d3cca429"

#define GUESTS                                                                                     \
    "{\"items\":["                                                                                 \
    "{\"id\":\"" ID2 "\",\"name\":\"vm2\",\"source\":\"host\",\"state\":\"Suspended\","            \
    "\"target\":\"disk\",\"savedBytes\":833877135,\"savedAt\":\"2026-11-22T20:00:00Z\"},"          \
    "{\"id\":\"" ID1 "\",\"name\":\"vm1\",\"source\":\"host\",\"state\":\"Running\"},"             \
    "{\"id\":\"" ID3 "\",\"name\":\"off\\u001b[1m\",\"source\":\"host\",\"state\":\"Stopped\"}]}"
#define DONE                                                                                       \
    "{\"id\":\"op1\",\"guest\":\"" ID1 "\",\"action\":\"suspend\",\"state\":\"succeeded\","        \
    "\"message\":\"suspended to disk (834 MB in 2.1 s)\"}"
#define QUEUED(n)                                                                                  \
    "{\"id\":\"op" n "\",\"guest\":\"" ID1 "\",\"action\":\"suspend\",\"state\":\"queued\"}"
#define LINE(n, rest)                                                                              \
    "{\"type\":\"operation\",\"operation\":{\"id\":\"op" n "\",\"action\":\"suspend\"," rest "}}"  \
    "\n"
#define SUSPEND1 "POST /v1/guests/" ID1 "/suspend"
#define SUSPEND2 "POST /v1/guests/" ID2 "/suspend"
#define SUSPEND3 "POST /v1/guests/" ID3 "/suspend"

typedef struct {
    FakeDaemon *daemon;
    char *out;
    char *err;
} Fixture;

static int
setup(void **state)
{
    Fixture *self = g_new0(Fixture, 1);

    self->daemon = fake_daemon_new();
    fake_daemon_add(self->daemon, "GET /v1/guests", 200, GUESTS);
    *state = self;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *self = *state;

    fake_daemon_free(self->daemon);
    g_free(self->out);
    g_free(self->err);
    g_free(self);
    return 0;
}

/* Starts wukongctl with @arguments, cut at blanks. Returns: (transfer full). */
static GSubprocess *
start(Fixture *self, const char *arguments)
{
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
    const char *folder = g_getenv("WK_BUILDDIR");
    g_autofree char *program = g_build_filename(folder != NULL ? folder : ".", "wukongctl", NULL);
    g_autofree char *line = g_strconcat(program, " ", arguments, NULL);
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    GSubprocess *process;

    g_subprocess_launcher_setenv(launcher, "WUKONG_SOCKET", fake_daemon_get_path(self->daemon),
                                 TRUE);
    process = g_subprocess_launcher_spawnv(launcher, (const char *const *)argv, NULL);
    assert_non_null(process);
    return process;
}

/* Returns: the exit status, or -1 when a signal ended it. */
static int
finish(Fixture *self, GSubprocess *process)
{
    g_clear_pointer(&self->out, g_free);
    g_clear_pointer(&self->err, g_free);
    assert_true(g_subprocess_communicate_utf8(process, NULL, NULL, &self->out, &self->err, NULL));
    return g_subprocess_get_if_exited(process) ? g_subprocess_get_exit_status(process) : -1;
}

static void
expect(Fixture *self, const char *arguments, int status, const char *out, const char *err)
{
    g_autoptr(GSubprocess) process = start(self, arguments);
    const int actual = finish(self, process);

    if (actual != status || strstr(self->out, out) == NULL || strstr(self->err, err) == NULL
        || (*out == '\0' && *self->out != '\0') || (*err == '\0' && *self->err != '\0'))
        fail_msg("wukongctl %s: exit %d\nstdout: %s\nstderr: %s", arguments, actual, self->out,
                 self->err);
}

/* Wrong usage never reaches the daemon. */
static void
test_usage(void **state)
{
    Fixture *self = *state;
    static const struct {
        const char *arguments;
        const char *fragment;
    } cases[] = {
        { "frobnicate", "unknown command 'frobnicate'" },
        { "plan", "unknown command 'plan'" },
        { "--nosuch list", "--nosuch" },
        { "list --nosuch", "--nosuch" },
        { "list extra", "'extra'" },
        { "-o yaml list", "--output" },
        { "list -o yaml", "--output" },
        { "--socket= list", "--socket" },
        { "suspend", "which GUEST?" },
        { "suspend vm1 --all", "--all" },
        { "suspend vm1 --to floppy", "--to: 'floppy'" },
        { "suspend vm1 --to=", "--to: ''" },
        { "suspend vm1 --timeout -5", "--timeout: '-5'" },
        { "suspend vm1 --timeout=0", "--timeout: '0'" },
        { "suspend vm1 --timeout 86401", "--timeout: '86401'" },
        { "suspend vm1 --timeout 99999999999999999999", "--timeout" },
        { "suspend vm1 --fallback reboot", "--fallback: 'reboot'" },
        { "resume vm1 --timeout x", "--timeout: 'x'" },
        { "resume vm1 --to disk", "--to" },
        { "wait vm1", "--for" },
        { "wait vm1 --for Sleeping", "--for: 'Sleeping'" },
        { "wait vm1 --for Running --timeout -1", "--timeout: '-1'" },
        { "wait vm1 vm2 --for Running", "'vm2'" },
        { "is-running", "which GUEST?" },
        { "is-running vm1 vm2", "'vm2'" },
        { "suspend ", "can't be empty" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        expect(self, cases[i].arguments, 2, "", cases[i].fragment);
    assert_int_equal(fake_daemon_count(self->daemon, "GET /v1/guests"), 0);
}

static void
test_list(void **state)
{
    Fixture *self = *state;

    expect(self, "list", 0,
           "NAME        STATE      TARGET  SIZE   SINCE                 ORIGIN  MESSAGE\n"
           "off\\x1b[1m  Stopped    -       -      -                     -       -\n"
           "vm1         Running    -       -      -                     -       -\n"
           "vm2         Suspended  disk    834MB  2026-11-22T20:00:00Z  -       -\n",
           "");
    expect(self, "-o json list", 0, GUESTS "\n", "");
    expect(self, "list -o json", 0, GUESTS "\n", "");
    expect(self, "list --output=name", 0, ID3 "\nvm1\nvm2\n", "");
    expect(self, "list -q", 0, "", "");
    expect(self, "--version", 0, "wukongctl " PACKAGE_VERSION "\n", "");
    expect(self, "list --version", 0, "wukongctl " PACKAGE_VERSION "\n", "");
    expect(self, "suspend --help", 0, "--fallback", "");
}

static void
test_is(void **state)
{
    Fixture *self = *state;

    expect(self, "is-running vm1", 0, "Running\n", "");
    expect(self, "is-running vm2", 3, "Suspended\n", "");
    expect(self, "is-suspended vm2", 0, "Suspended\n", "");
    expect(self, "is-suspended vm1 -q", 3, "", "");
    expect(self, "is-suspended nosuch", 4, "", "no such guest: 'nosuch'");
    expect(self, "is-suspended vm*", 2, "", "ambiguous");
}

static void
test_suspend(void **state)
{
    Fixture *self = *state;
    g_autofree char *body = NULL;

    fake_daemon_add(self->daemon, SUSPEND1, 202, QUEUED("1"));
    fake_daemon_add_stream(
        self->daemon, "GET /v1/operations/op1?watch=1",
        LINE("1", "\"state\":\"running\",\"step\":\"save.managed-save\",\"progressPercent\":40,"
                  "\"bytesDone\":320000000,\"bytesTotal\":800000000")
            LINE("1",
                 "\"state\":\"succeeded\",\"message\":\"suspended to disk (834 MB in 2.1 s)\""),
        TRUE, 0);
    expect(self, "suspend vm1 --to disk --timeout 30 --fallback stop", 0,
           "vm1: suspended to disk (834 MB in 2.1 s)\n",
           "vm1: saving memory to disk 40% (320 MB of 800 MB)\n");
    body = fake_daemon_last_body(self->daemon, SUSPEND1);
    assert_string_equal(body, "{\"timeoutSeconds\":30,\"target\":\"disk\",\"fallback\":\"stop\"}");
    expect(self, "-q suspend vm1", 0, "", "");
    expect(self, "suspend vm1 --no-wait", 0, "vm1: suspend accepted\n", "");
    expect(self, "suspend vm1 -o name", 0, "vm1\n", "vm1: ");
}

static void
test_already_so(void **state)
{
    Fixture *self = *state;

    fake_daemon_add(self->daemon, SUSPEND1, 202, DONE);
    fake_daemon_add(self->daemon, "POST /v1/guests/" ID1 "/cancel", 202, DONE);
    expect(self, "suspend vm1", 0, "vm1: suspended to disk (834 MB in 2.1 s)\n", "");
    expect(self, "suspend vm1 -o json", 0, DONE "\n", "");
    expect(self, "suspend vm1 vm1 -o json", 0, "{\"items\":[" DONE "]}\n", "");
    expect(self, "suspend vm1 --dry-run", 0, "vm1: would suspend: suspended", "");
    expect(self, "cancel vm1", 1, "", "vm1: too late to cancel: suspended");
}

/* One failure each, then together. */
static void
test_failures(void **state)
{
    Fixture *self = *state;

    fake_daemon_add(self->daemon, SUSPEND1, 202, DONE);
    fake_daemon_add(
        self->daemon, SUSPEND2, 422,
        "{\"detail\":\"guest 'vm2': needs 2.1 GB, has 1.0 GB\",\"reason\":\"NoSpace\"}");
    fake_daemon_add(self->daemon, SUSPEND3, 409, "{\"detail\":\"is \\u001b Stopped\"}");
    expect(self, "suspend vm2", 6, "", "wukongctl: vm2: needs 2.1 GB, has 1.0 GB\n");
    expect(self, "suspend " ID3, 1, "", "wukongctl: off\\x1b[1m: is \\x1b Stopped\n");
    expect(self, "suspend nosuch", 4, "", "wukongctl: no such guest: 'nosuch'");
    expect(self, "suspend vm1 vm2", 6, "vm1: suspended to disk", "vm2: needs");
    expect(self, "suspend vm1 nosuch no*", 4, "vm1: suspended to disk", "no guest fits 'no*'");
    expect(self, "suspend vm2 nosuch", 1, "", "vm2: needs");
    expect(self, "suspend vm2 " ID3, 1, "", "vm2: needs");
    expect(self, "suspend --all", 6, "vm1: suspended to disk",
           "left out: 1 with nothing to suspend");
    assert_int_equal(fake_daemon_count(self->daemon, SUSPEND3), 2);
}

static void
test_operation_fails(void **state)
{
    Fixture *self = *state;

    fake_daemon_add(self->daemon, SUSPEND1, 202, QUEUED("1"));
    fake_daemon_add(self->daemon, SUSPEND2, 202, QUEUED("2"));
    fake_daemon_add_stream(self->daemon, "GET /v1/operations/op1?watch=1",
                           LINE("1",
                                "\"state\":\"failed\",\"message\":\"Suspend failed: it broke\","
                                "\"reason\":\"Broken\""),
                           TRUE, 0);
    fake_daemon_add_stream(
        self->daemon, "GET /v1/operations?watch=1",
        LINE("0", "\"state\":\"failed\"") LINE("2", "\"state\":\"succeeded\",\"message\":\"fine\"")
            LINE("1", "\"state\":\"running\"") "{\"type\":\"synced\"}\n" LINE(
                "1", "\"state\":\"cancelled\",\"message\":\"Suspend failed: cancelled\""),
        TRUE, 0);
    expect(self, "suspend vm1", 1, "", "wukongctl: vm1: Suspend failed: it broke (Broken)\n");
    expect(self, "suspend vm1 vm2", 1, "vm2: fine\n",
           "wukongctl: vm1: Suspend failed: cancelled\n");
}

static void
test_discard(void **state)
{
    Fixture *self = *state;
    const char *request = "POST /v1/guests/" ID2 "/discard";

    fake_daemon_add(self->daemon, request, 202,
                    "{\"id\":\"op1\",\"action\":\"discard\",\"state\":\"succeeded\"}");
    expect(self, "discard vm2", 2, "",
           "vm2: would drop the saved memory (834 MB, saved 2026-11-22T20:00:00Z)");
    expect(self, "discard --all", 2, "", "add --yes");
    expect(self, "discard vm1", 2, "", "vm1: nothing is saved on disk");
    expect(self, "discard nosuch", 4, "", "no such guest");
    assert_int_equal(fake_daemon_count(self->daemon, request), 0);
    expect(self, "discard vm2 --yes", 0, "vm2: saved state dropped\n", "");
    expect(self, "discard --all --yes", 0, "vm2: saved state dropped\n", "left out: 2");
    assert_int_equal(fake_daemon_count(self->daemon, request), 2);
}

static void
test_daemon(void **state)
{
    Fixture *self = *state;
    g_autoptr(FakeDaemon) other = fake_daemon_new();
    g_autofree char *arguments =
        g_strconcat("--socket ", fake_daemon_get_path(other), " list", NULL);
    const gint64 before = g_get_monotonic_time();

    expect(self, "--socket /nonexistent/socket list", 5, "",
           "wukongctl: can't reach wukongd at /nonexistent/socket: No such file or directory; is "
           "the service running? (systemctl status wukongd)\n");
    expect(self, "suspend vm1 --socket /nonexistent/socket", 5, "", "can't reach wukongd");
    expect(self, "watch --socket /dev/null", 5, "", "can't reach wukongd");
    assert_true(g_get_monotonic_time() - before < 10 * G_USEC_PER_SEC);
    fake_daemon_add(other, "GET /v1/guests", 403, "{\"detail\":\"uid 1000 is not in it\"}");
    fake_daemon_add(other, "GET /v1/guests", 200, "garbage");
    fake_daemon_add_bytes(other, "GET /v1/guests", "", -1, 0);
    expect(self, arguments, 5, "", "join group wukong");
    expect(self, arguments, 1, "", "is bad");
    expect(self, arguments, 5, "", "was lost");
}

/* The stream is cut, the daemon answers again: the end is read. */
static void
test_cut(void **state)
{
    Fixture *self = *state;

    fake_daemon_add(self->daemon, SUSPEND1, 202, QUEUED("1"));
    fake_daemon_add_stream(self->daemon, "GET /v1/operations/op1?watch=1",
                           LINE("1", "\"state\":\"running\""), FALSE, 0);
    fake_daemon_add(self->daemon, "GET /v1/operations/op1", 503, "{}");
    fake_daemon_add(self->daemon, "GET /v1/operations/op1", 200, DONE);
    expect(self, "suspend vm1", 0, "vm1: suspended to disk", "vm1: suspending\n");
}

static void
test_wait(void **state)
{
    Fixture *self = *state;
    const char *request = "GET /v1/guests?watch=1";
    static const char guest[] =
        "{\"type\":\"guest\",\"guest\":{\"id\":\"" ID1 "\",\"name\":\"vm1\",\"state\":\"";
    g_autofree char *lines =
        g_strconcat(guest, "Running\"}}\n{\"type\":\"synced\"}\n", guest, "Stopped\"}}\n", NULL);
    g_autofree char *gone =
        g_strconcat(guest, "Running\"}}\n{\"type\":\"gone\",\"id\":\"" ID1 "\"}\n", NULL);

    expect(self, "wait vm1 --for running", 0, "vm1: Running\n", "");
    expect(self, "wait vm1 --for SUSPENDED --timeout 0", 1, "", "vm1: still Running after 0 s");
    expect(self, "wait nosuch --for running", 4, "", "no such guest");
    fake_daemon_add_stream(self->daemon, request, guest, FALSE, 0); /* cut: opened again */
    fake_daemon_add_stream(self->daemon, request, lines, FALSE, 20000);
    fake_daemon_add_stream(self->daemon, request, gone, FALSE, 20000);
    fake_daemon_add_stream(self->daemon, request, "{\"type\":\"synced\"}\n", FALSE, 20000);
    fake_daemon_add_stream(self->daemon, request, "{\"type\":\"heartbeat\"}\n", FALSE, 20000);
    expect(self, "wait vm1 --for stopped", 0, "vm1: Stopped\n", "");
    expect(self, "wait vm1 --for stopped", 4, "", "vm1: the guest is gone");
    expect(self, "wait vm1 --for stopped", 4, "", "vm1: the guest is gone");
    expect(self, "wait vm1 --for stopped --timeout 1", 1, "", "still Running after 1 s");
}

/* Ctrl-C without a terminal leaves the work running at once. */
static void
test_interrupt(void **state)
{
    Fixture *self = *state;
    static const char *const commands[] = { "suspend vm1", "wait vm1 --for stopped", "watch",
                                            "-q suspend vm1" };
    static const char *const requests[] = { "GET /v1/operations/op1?watch=1",
                                            "GET /v1/guests?watch=1", "GET /v1/guests?watch=1",
                                            "GET /v1/operations/op1?watch=1" };

    fake_daemon_add(self->daemon, SUSPEND1, 202, QUEUED("1"));
    for (gsize i = 0; i < 2; i++)
        fake_daemon_add_stream(self->daemon, requests[i], "{\"type\":\"heartbeat\"}\n", FALSE,
                               20000);
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
        const guint before = fake_daemon_count(self->daemon, requests[i]);
        g_autoptr(GSubprocess) process = start(self, commands[i]);

        for (guint k = 0; k < 1000 && fake_daemon_count(self->daemon, requests[i]) == before; k++)
            g_usleep(10000);
        g_subprocess_send_signal(process, SIGINT);
        assert_int_equal(finish(self, process), 130);
        if (i == 0)
            assert_non_null(strstr(self->err, "vm1: left running"));
        if (i == 3)
            assert_string_equal(self->err, "");
    }
    assert_int_equal(fake_daemon_count(self->daemon, "POST /v1/guests/" ID1 "/cancel"), 0);
}

static void
test_doctor(void **state)
{
    Fixture *self = *state;
    const char *well = "{\"items\":[{\"name\":\"vault\",\"level\":\"ok\",\"message\":\"fine\"}]}";
    const char *ill = "{\"items\":[{\"name\":\"vault\",\"level\":\"error\",\"message\":\"full\","
                      "\"nextStep\":\"make room\"}]}";

    fake_daemon_add(self->daemon, "GET /v1/doctor", 200, well);
    fake_daemon_add(self->daemon, "GET /v1/doctor", 200, ill);
    expect(self, "doctor", 0,
           "CHECK  LEVEL  FOUND  NEXT STEP\n"
           "vault  ok     fine   -\n",
           "");
    expect(self, "doctor -o json", 1, ill, "");
    expect(self, "doctor", 1,
           "CHECK  LEVEL  FOUND  NEXT STEP\n"
           "vault  error  full   make room\n",
           "");
}

static void
test_verify_and_prune(void **state)
{
    Fixture *self = *state;
    const char *pruned = "{\"items\":[{\"name\":\"vm2\"}],\"historyDropped\":3}";

    fake_daemon_add(self->daemon, "POST /v1/images/" ID2 "/verify", 202,
                    "{\"id\":\"op1\",\"action\":\"verify\",\"state\":\"succeeded\"}");
    expect(self, "verify vm2", 0, "vm2: saved image is good\n", "");
    expect(self, "verify", 0, "vm2: saved image is good\n", "left out: 2");
    fake_daemon_add(self->daemon, "POST /v1/prune", 200, "{\"items\":[],\"historyDropped\":0}");
    fake_daemon_add(self->daemon, "POST /v1/prune", 200, pruned);
    expect(self, "prune", 0, "", "nothing to prune");
    expect(self, "prune", 0, "vm2: its orphaned image is dropped\n", "3 operation(s)");
    expect(self, "prune -o name", 0, "vm2\n", "3 operation(s)");
    expect(self, "prune -o json", 0, pruned, "");
}

static void
test_images_and_status(void **state)
{
    Fixture *self = *state;
    const char *images =
        "{\"items\":[{\"id\":\"" ID2 "\",\"guest\":\"vm2\",\"state\":\"sealed\","
        "\"sizeBytes\":833877135,\"savedAt\":\"2026-11-22T20:00:00Z\",\"bootId\":"
        "\"deadbeef-1\",\"disksVerified\":\"full\",\"digest\":\"x\"},{\"id\":\"9\","
        "\"guest\":\"lost\",\"state\":\"quarantined\",\"reason\":\"ImageCorrupt\","
        "\"orphan\":true,\"disksVerified\":\"partial\"}]}";

    fake_daemon_add(self->daemon, "GET /v1/images", 200, images);
    fake_daemon_add(self->daemon, "GET /v1/operations", 200, "{\"items\":[" DONE "]}");
    fake_daemon_add(self->daemon, "GET /v1/guests/" ID1, 200, "{\"id\": \"" ID1 "\"}");
    expect(self, "images", 0,
           "GUEST  SIZE   WHEN                  BOOT      VERIFIED      DISKS\n"
           "lost   -      -                     -         ImageCorrupt  partial (orphan: its "
           "guest is gone)\n"
           "vm2    834MB  2026-11-22T20:00:00Z  deadbeef  sealed        full\n",
           "");
    expect(self, "images --orphans -o name", 0, "9\n", "");
    expect(self, "images -o json", 0, images, "");
    expect(self, "status vm1", 0, "Operation: suspend succeeded: suspended to disk", "");
    expect(self, "status vm1 -o json", 0, "{\"id\": \"" ID1 "\"}\n", "");
    expect(self, "status vm1 nosuch", 4, "State: Running", "no such guest");
    expect(self, "status", 0, "off\\x1b[1m\n", "");
}

static void
test_full_disk(void **state)
{
    Fixture *self = *state;
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDERR_PIPE);
    const char *folder = g_getenv("WK_BUILDDIR");
    g_autofree char *program = g_build_filename(folder != NULL ? folder : ".", "wukongctl", NULL);
    g_autoptr(GSubprocess) process = NULL;

    g_subprocess_launcher_set_stdout_file_path(launcher, "/dev/full");
    process = g_subprocess_launcher_spawn(launcher, NULL, program, "--socket",
                                          fake_daemon_get_path(self->daemon), "list", NULL);
    assert_int_equal(finish(self, process), 1);
    assert_non_null(strstr(self->err, "can't write the results"));
}

#define PROGRAM(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        PROGRAM(test_usage),
        PROGRAM(test_list),
        PROGRAM(test_is),
        PROGRAM(test_suspend),
        PROGRAM(test_already_so),
        PROGRAM(test_failures),
        PROGRAM(test_discard),
        PROGRAM(test_operation_fails),
        PROGRAM(test_daemon),
        PROGRAM(test_cut),
        PROGRAM(test_wait),
        PROGRAM(test_interrupt),
        PROGRAM(test_full_disk),
        PROGRAM(test_images_and_status),
        PROGRAM(test_verify_and_prune),
        PROGRAM(test_doctor),
    };

    return cmocka_run_group_tests_name("ctl-program", tests, NULL, NULL);
}
