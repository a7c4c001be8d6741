/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control-fixture.h"
#include "unit.h"

#include "base/error.h"
#include "base/json.h"
#include "control/internal.h"

#include <fcntl.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define STRANGER_UID 4321
#define STRANGER_GID 4322

/* The socket itself */

static mode_t
mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    return st.st_mode & 07777;
}

static void
assert_served(Fixture *fixture)
{
    g_autoptr(Answer) answer = ask(fixture, "GET", "/healthz", NULL);

    assert_int_equal(answer->status, 200);
}

/* Serves a path once more, with the fixture's agent. */
static gboolean
serve_again(Fixture *fixture, const char *group, GError **error)
{
    fixture->control = wk_control_new(fixture->path, group, &fixture->api, fixture, error);
    return fixture->control != NULL;
}

static void
test_mode(void **state)
{
    const Fixture *fixture = *state;
    const mode_t before = umask(0);

    (void)umask(before);
    assert_int_equal(mode_of(fixture->path), 0600);
    assert_int_not_equal(before, 0177); /* put back */
}

static void
test_removed_at_the_end(void **state)
{
    Fixture *fixture = *state;

    fixture_stop(fixture);
    assert_int_not_equal(access(fixture->path, F_OK), 0);
}

static void
test_second_server_is_refused(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(WkControl) second =
        wk_control_new(fixture->path, NULL, &fixture->api, fixture, &error);

    assert_null(second);
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_CONFLICT));
    assert_non_null(strstr(error->message, "stop it first"));
    assert_served(fixture);
}

/* Leaves a socket behind that nobody serves. */
static void
leave_dead_socket(const char *path)
{
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(GSocket) socket =
        g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL);

    assert_true(g_socket_bind(socket, address, FALSE, NULL));
    assert_true(g_socket_listen(socket, NULL));
}

static void
test_dead_socket_is_replaced(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(GError) error = NULL;

    fixture_stop(fixture);
    leave_dead_socket(fixture->path);
    assert_true(serve_again(fixture, NULL, &error));
    assert_int_equal(mode_of(fixture->path), 0600);
    assert_served(fixture);
}

static void
test_what_is_no_socket_is_left_alone(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    g_autofree char *content = NULL;

    fixture_stop(fixture);
    assert_true(g_file_set_contents(fixture->path, "precious", -1, NULL));
    assert_false(serve_again(fixture, NULL, &error));
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_CONFLICT));
    assert_true(g_file_get_contents(fixture->path, &content, NULL, NULL));
    assert_string_equal(content, "precious");
}

static void
test_dangling_link_is_left_alone(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(GError) error = NULL;

    fixture_stop(fixture);
    assert_int_equal(symlink("nowhere", fixture->path), 0);
    assert_false(serve_again(fixture, NULL, &error));
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_CONFLICT));
}

static void
test_successors_socket_is_left_alone(void **state)
{
    Fixture *fixture = *state;
    WkControl *first = g_steal_pointer(&fixture->control);

    assert_int_equal(unlink(fixture->path), 0);
    assert_true(serve_again(fixture, NULL, NULL));
    wk_control_free(first);
    assert_served(fixture);
}

static void
test_bad_paths(void **state)
{
    Fixture *fixture = *state;
    g_autofree char *far = g_strnfill(200, 'x');
    const char *paths[] = { "", far, "/nonexistent-folder/control.sock" };
    const char *reasons[] = { "1 to 107 bytes", "1 to 107 bytes", "No such file or directory" };

    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(GError) error = NULL;

        assert_null(wk_control_new(paths[i], NULL, &fixture->api, fixture, &error));
        assert_non_null(error);
        if (strstr(error->message, reasons[i]) == NULL)
            fail_msg("%s", error->message);
    }
}

/* Puts @fd where systemd would; what was there waits at the returned number. */
static int
put_at_3(int fd)
{
    g_autofree char *pid = g_strdup_printf("%d", (int)getpid());
    const int saved = fcntl(3, F_DUPFD_CLOEXEC, 100);

    assert_int_equal(dup2(fd, 3), 3);
    g_setenv("LISTEN_PID", pid, TRUE);
    g_setenv("LISTEN_FDS", "1", TRUE);
    return saved;
}

static void
put_back_at_3(int saved)
{
    (void)close(3);
    if (saved < 0)
        return;
    assert_int_equal(dup2(saved, 3), 3);
    (void)close(saved);
}

/* A socket that systemd made: used as it is, and left behind. */
static void
test_activation(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(fixture->path);
    g_autoptr(GSocket) socket = NULL;
    int listening, saved;

    fixture_stop(fixture);
    socket =
        g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL);
    assert_true(g_socket_bind(socket, address, FALSE, NULL));
    assert_true(g_socket_listen(socket, NULL));
    listening = fcntl(g_socket_get_fd(socket), F_DUPFD_CLOEXEC, 50);
    g_clear_object(&socket);
    saved = put_at_3(listening);
    assert_true(serve_again(fixture, NULL, NULL));
    assert_null(g_getenv("LISTEN_FDS"));
    assert_served(fixture);
    fixture_stop(fixture);
    assert_int_equal(access(fixture->path, F_OK), 0);
    put_back_at_3(saved);
    (void)close(listening);
}

static void
test_activation_with_the_wrong_socket(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int saved;

    fixture_stop(fixture);
    saved = put_at_3(null);
    assert_false(serve_again(fixture, NULL, &error));
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_INVALID));
    assert_non_null(strstr(error->message, "ListenStream="));
    put_back_at_3(saved);
    (void)close(null);
}

/* Peers */

static void
test_peer_rules(void **state G_GNUC_UNUSED)
{
    static gid_t others[] = { 7, 8 };
    static gid_t members[] = { 7, 50, 8 };
    static const gid_t wukong = 50, overflow = 65534;
    static const struct {
        const char *label;
        WkPeer peer;
        uid_t own;
        const gid_t *gid;
        gboolean allowed;
    } cases[] = {
        { "root", { 0, 0, NULL, 0 }, 0, NULL, TRUE },
        { "root, we are not", { 0, 0, NULL, 0 }, 1000, NULL, TRUE },
        { "ourselves", { 1000, 1000, NULL, 0 }, 1000, NULL, TRUE },
        { "somebody", { 1001, 1001, others, 2 }, 0, &wukong, FALSE },
        { "group's number as a user", { 50, 51, NULL, 0 }, 0, &wukong, FALSE },
        { "primary group", { 1001, 50, NULL, 0 }, 0, &wukong, TRUE },
        { "supplementary group", { 1001, 1001, members, 3 }, 0, &wukong, TRUE },
        { "member, but there is no group", { 1001, 50, members, 3 }, 0, NULL, FALSE },
        { "overflow user", { 65534, 50, members, 3 }, 0, &wukong, FALSE },
        { "overflow user is us", { 65534, 65534, NULL, 0 }, 65534, NULL, FALSE },
        { "nobody at all", { (uid_t)-1, 50, NULL, 0 }, 0, &wukong, FALSE },
        { "overflow group", { 1001, 65534, NULL, 0 }, 0, &overflow, FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        const gboolean allowed = wk_peer_check(&cases[i].peer, cases[i].own, cases[i].gid, &error);

        if (allowed != cases[i].allowed)
            fail_msg("%s", cases[i].label);
        assert_true(allowed || g_error_matches(error, WK_ERROR, WK_ERROR_DENIED));
        assert_true(allowed || strstr(error->message, "group wukong") != NULL);
    }
}

static void
skip_unless_root(void)
{
    if (geteuid() != 0) {
        print_message("skipped: needs root\n");
        skip();
    }
}

static void
let_everybody_connect(const Fixture *fixture)
{
    assert_int_equal(chmod(fixture->folder, 0755), 0);
    assert_int_equal(chmod(fixture->path, 0666), 0);
}

static void
test_stranger(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Answer) barred = NULL;
    g_autoptr(Answer) denied = NULL;

    skip_unless_root();
    assert_int_equal(chmod(fixture->folder, 0755), 0);
    barred = ask_as(fixture, STRANGER_UID, STRANGER_GID, 0);
    assert_int_equal(barred->status, 0); /* the socket's mode */
    let_everybody_connect(fixture);
    denied = ask_as(fixture, STRANGER_UID, STRANGER_GID, 0);
    assert_int_equal(denied->status, 403);
    assert_string_equal(denied->content_type, "application/problem+json");
    assert_non_null(strstr(wk_json_get_string(denied->json, "detail"), "join group wukong"));
}

/* Some group of this host that is not root's. */
static const struct group *
any_group(void)
{
    const struct group *found = getgrnam("daemon");

    return found != NULL ? found : getgrgid(getgid() + 1);
}

static void
test_members(void **state)
{
    Fixture *fixture = *state;
    const struct group *group = any_group();
    g_autoptr(Answer) primary = NULL;
    g_autoptr(Answer) supplementary = NULL;
    g_autoptr(Answer) stranger = NULL;
    struct stat st;

    skip_unless_root();
    assert_non_null(group);
    fixture_stop(fixture);
    assert_true(serve_again(fixture, group->gr_name, NULL));
    assert_int_equal(mode_of(fixture->path), 0660);
    assert_int_equal(lstat(fixture->path, &st), 0);
    assert_int_equal(st.st_gid, group->gr_gid);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(chmod(fixture->folder, 0755), 0);
    primary = ask_as(fixture, STRANGER_UID, group->gr_gid, 0);
    supplementary = ask_as(fixture, STRANGER_UID, STRANGER_GID, group->gr_gid);
    let_everybody_connect(fixture);
    stranger = ask_as(fixture, STRANGER_UID, STRANGER_GID, 0);
    assert_int_equal(primary->status, 200);
    assert_int_equal(supplementary->status, 200);
    assert_int_equal(stranger->status, 403);
}

static void
test_missing_group(void **state)
{
    Fixture *fixture = *state;

    fixture_stop(fixture);
    assert_true(serve_again(fixture, "no-such-group-here", NULL));
    assert_int_equal(mode_of(fixture->path), 0600);
    assert_served(fixture);
}

static void
test_overflow_user(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Answer) denied = NULL;

    skip_unless_root();
    let_everybody_connect(fixture);
    denied = ask_as(fixture, 65534, 0, 0);
    assert_int_equal(denied->status, 403);
    assert_non_null(strstr(denied->body->str, "user namespace"));
}

/* Limits */

static gboolean
no_connections(gpointer data)
{
    return g_hash_table_size(((Fixture *)data)->control->connections) == 0;
}

static guint
count_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    guint n = 0;

    while (g_dir_read_name(dir) != NULL)
        n++;
    return n;
}

static void
ask_raw(Fixture *fixture, const char *path)
{
    g_autoptr(Talker) talker = talker_watch(fixture, path);

    assert_true(g_str_has_prefix(talker_rest(talker), "HTTP/1.1 "));
}

static void
test_thousand_requests(void **state)
{
    static const char *paths[] = { "/v1/guests", "/v1/nowhere", "/metrics",
                                   "/v1/operations/op-0?watch=1" };
    Fixture *fixture = *state;
    guint before;

    /* GLib opens an eventfd of its own at the first chunked answer */
    for (guint i = 0; i < G_N_ELEMENTS(paths); i++)
        ask_raw(fixture, paths[i]);
    assert_true(fixture_run_until(no_connections, fixture, 1000));
    before = count_fds();
    for (guint i = 0; i < 1000; i++)
        ask_raw(fixture, paths[i % G_N_ELEMENTS(paths)]);
    assert_true(fixture_run_until(no_connections, fixture, 1000));
    assert_int_equal(count_fds(), before);
    assert_int_equal(g_hash_table_size(fixture->control->exchanges), 0);
}

static void
test_too_many_connections(void **state)
{
    Fixture *fixture = *state;
    Talker *idle[80] = { NULL };
    g_autoptr(Answer) busy = NULL;
    g_autoptr(Answer) closed = NULL;

    for (guint i = 0; i < 64; i++)
        idle[i] = talker_open(fixture);
    busy = ask(fixture, "GET", "/healthz", NULL);
    assert_int_equal(busy->status, 503);
    assert_string_equal(wk_json_get_string(busy->json, "reason"), "TooManyConnections");
    for (guint i = 64; i < 80; i++)
        idle[i] = talker_open(fixture);
    closed = ask(fixture, "GET", "/healthz", NULL);
    assert_int_equal(closed->status, 0);
    for (guint i = 0; i < 80; i++)
        talker_free(idle[i]);
    assert_true(fixture_run_until(no_connections, fixture, 1000));
    assert_served(fixture);
}

static void
test_idle_connection_is_dropped(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) silent = NULL;
    g_autoptr(Talker) halfway = NULL;

    fixture->control->limits.stall_s = 1;
    silent = talker_open(fixture);
    halfway = talker_open(fixture);
    talker_say(halfway, "GET /v1/no");
    (void)talker_rest(silent);
    (void)talker_rest(halfway);
    assert_true(silent->ended && halfway->ended);
    assert_true(fixture_run_until(no_connections, fixture, 1000));
}

/* Without descriptors nothing can be accepted; the server rests, and goes on later. */
static void
test_out_of_descriptors(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = talker_open(fixture); /* in the queue, not accepted yet */
    const int free_fd = dup(0);
    struct rlimit full, none;

    assert_int_equal(close(free_fd), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &full), 0);
    none = full;
    none.rlim_cur = (rlim_t)free_fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    fixture_run_for(100);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
    assert_non_null(fixture->control->resume_source);
    assert_null(fixture->control->accept_source);
    talker_say(talker, "GET /healthz HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(talker_rest(talker), " 200 "));
    assert_served(fixture);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mode),
        TEST(test_removed_at_the_end),
        TEST(test_second_server_is_refused),
        TEST(test_dead_socket_is_replaced),
        TEST(test_what_is_no_socket_is_left_alone),
        TEST(test_dangling_link_is_left_alone),
        TEST(test_successors_socket_is_left_alone),
        TEST(test_bad_paths),
        TEST(test_activation),
        TEST(test_activation_with_the_wrong_socket),
        cmocka_unit_test(test_peer_rules),
        TEST(test_stranger),
        TEST(test_members),
        TEST(test_missing_group),
        TEST(test_overflow_user),
        TEST(test_thousand_requests),
        TEST(test_too_many_connections),
        TEST(test_idle_connection_is_dropped),
        TEST(test_out_of_descriptors),
    };

    return cmocka_run_group_tests_name("control-socket", tests, NULL, NULL);
}
