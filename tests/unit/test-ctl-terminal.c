/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "fake-daemon.h"

#include <poll.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* wukongctl on a terminal: bars, and what Ctrl-C asks. */

#define ID1     "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
#define SUSPEND "POST /v1/guests/" ID1 "/suspend"
#define CANCEL  "POST /v1/guests/" ID1 "/cancel"
#define STREAM  "GET /v1/operations/op1?watch=1"
#define CTRL_C  "\x03"

#define LINE(rest)                                                                                 \
    "{\"type\":\"operation\",\"operation\":{\"id\":\"op1\",\"action\":\"suspend\"," rest "}}\n"
#define RUNNING                                                                                    \
    LINE("\"state\":\"running\",\"step\":\"save.managed-save\",\"progressPercent\":50,"            \
         "\"bytesDone\":400000000,\"bytesTotal\":800000000")

typedef struct {
    FakeDaemon *daemon;
    int terminal;
    pid_t pid;
    GString *seen;
} Fixture;

static int
setup(void **state)
{
    Fixture *self = g_new0(Fixture, 1);

    self->daemon = fake_daemon_new();
    self->seen = g_string_new(NULL);
    self->terminal = -1;
    fake_daemon_add(self->daemon, "GET /v1/guests", 200,
                    "{\"items\":[{\"id\":\"" ID1 "\",\"name\":\"vm1\",\"source\":\"host\","
                    "\"state\":\"Running\"}]}");
    fake_daemon_add(self->daemon, SUSPEND, 202,
                    "{\"id\":\"op1\",\"action\":\"suspend\",\"state\":\"queued\"}");
    *state = self;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *self = *state;

    if (self->terminal >= 0)
        close(self->terminal);
    if (self->pid > 0)
        kill(self->pid, SIGKILL);
    fake_daemon_free(self->daemon);
    g_string_free(self->seen, TRUE);
    g_free(self);
    return 0;
}

static void
start(Fixture *self)
{
    struct winsize size = { .ws_row = 24, .ws_col = 60 };
    const char *folder = g_getenv("WK_BUILDDIR");
    g_autofree char *program = g_build_filename(folder != NULL ? folder : ".", "wukongctl", NULL);
    const char *path = fake_daemon_get_path(self->daemon);

    g_setenv("TERM", "xterm", TRUE);
    self->pid = forkpty(&self->terminal, NULL, NULL, &size);
    assert_true(self->pid >= 0);
    if (self->pid == 0) {
        execl(program, "wukongctl", "--socket", path, "suspend", "vm1", NULL);
        _exit(99);
    }
}

/* Reads until @text is seen, or for a while. Returns: whether it came. */
static gboolean
see(Fixture *self, const char *text)
{
    struct pollfd fd = { .fd = self->terminal, .events = POLLIN };
    char buffer[1024];

    for (guint i = 0; i < 200; i++) {
        gssize n;

        if (text != NULL && strstr(self->seen->str, text) != NULL)
            return TRUE;
        if (poll(&fd, 1, 100) <= 0)
            continue;
        n = read(self->terminal, buffer, sizeof buffer);
        if (n <= 0)
            return text == NULL;
        g_string_append_len(self->seen, buffer, n);
    }
    return FALSE;
}

static void
expect_seen(Fixture *self, const char *text)
{
    if (!see(self, text))
        fail_msg("'%s' did not come: %s", text, self->seen->str);
}

static void
type(Fixture *self, const char *text)
{
    assert_int_equal(write(self->terminal, text, strlen(text)), (gssize)strlen(text));
}

static int
finish(Fixture *self)
{
    int status = 0;

    assert_true(see(self, NULL));
    assert_int_equal(waitpid(self->pid, &status, 0), self->pid);
    self->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
test_bar(void **state)
{
    Fixture *self = *state;

    fake_daemon_add_stream(self->daemon, STREAM, RUNNING, FALSE, 500);
    fake_daemon_add(self->daemon, "GET /v1/operations/op1", 200,
                    "{\"id\":\"op1\",\"state\":\"succeeded\",\"message\":\"suspended to disk\"}");
    start(self);
    /* Cut at 59 columns: a full line would wrap. */
    expect_seen(self, "vm1  [##########..........]  50%  400 MB of 800 MB  saving \033[K");
    assert_int_equal(finish(self), 0);
    assert_non_null(strstr(self->seen->str, "\033[Jvm1: suspended to disk\r\n"));
}

static void
test_second_interrupt_leaves_it(void **state)
{
    Fixture *self = *state;

    fake_daemon_add_stream(self->daemon, STREAM, RUNNING, FALSE, 20000);
    start(self);
    expect_seen(self, "50%");
    type(self, CTRL_C);
    expect_seen(self, "Cancel the work on 1 guest? [y/N]");
    type(self, CTRL_C);
    assert_int_equal(finish(self), 130);
    assert_non_null(strstr(self->seen->str, "vm1: left running"));
    assert_int_equal(fake_daemon_count(self->daemon, CANCEL), 0);
}

static void
test_yes_cancels(void **state)
{
    Fixture *self = *state;

    fake_daemon_add_stream(self->daemon, STREAM, RUNNING, FALSE, 1000);
    fake_daemon_add(self->daemon, CANCEL, 202, "{\"id\":\"op1\",\"state\":\"running\"}");
    fake_daemon_add(self->daemon, "GET /v1/operations/op1", 200,
                    "{\"id\":\"op1\",\"state\":\"cancelled\",\"message\":\"Suspend failed: "
                    "cancelled\"}");
    start(self);
    expect_seen(self, "50%");
    type(self, CTRL_C);
    expect_seen(self, "[y/N]");
    type(self, "y\n");
    assert_int_equal(finish(self), 1);
    assert_int_equal(fake_daemon_count(self->daemon, CANCEL), 1);
    assert_non_null(strstr(self->seen->str, "wukongctl: vm1: Suspend failed: cancelled"));
}

static void
test_no_goes_on(void **state)
{
    Fixture *self = *state;

    fake_daemon_add_stream(self->daemon, STREAM, RUNNING, FALSE, 1000);
    fake_daemon_add(self->daemon, "GET /v1/operations/op1", 200,
                    "{\"id\":\"op1\",\"state\":\"succeeded\",\"message\":\"fine\"}");
    start(self);
    expect_seen(self, "50%");
    type(self, CTRL_C);
    expect_seen(self, "[y/N]");
    type(self, "\n");
    assert_int_equal(finish(self), 0);
    assert_int_equal(fake_daemon_count(self->daemon, CANCEL), 0);
}

#define TERMINAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TERMINAL(test_bar),
        TERMINAL(test_second_interrupt_leaves_it),
        TERMINAL(test_yes_cancels),
        TERMINAL(test_no_goes_on),
    };

    return cmocka_run_group_tests_name("ctl-terminal", tests, NULL, NULL);
}
