/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control-fixture.h"
#include "unit.h"

#include "base/json.h"
#include "control/internal.h"

#define ONE "aaaa1111-0000-4000-8000-000000000001"

/* The next line's type, or of its @member (an object) the value of @key. (transfer full) */
static char *
next_value(Talker *talker, const char *member, const char *key)
{
    g_autoptr(JsonObject) line = talker_line(talker);

    if (line == NULL)
        return NULL;
    return g_strdup(
        wk_json_get_string(member != NULL ? wk_json_get_object(line, member) : line, key));
}

static void
assert_next(Talker *talker, const char *member, const char *key, const char *expected)
{
    g_autofree char *value = next_value(talker, member, key);

    assert_non_null(value);
    assert_string_equal(value, expected);
}

static void
read_snapshot(Talker *talker, guint n)
{
    for (guint i = 0; i < n; i++) {
        g_autoptr(JsonObject) line = talker_line(talker);

        assert_non_null(line);
    }
    assert_next(talker, NULL, "type", "synced");
}

/* Guests */

static void
test_guests_in_order(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = talker_watch(fixture, "/v1/guests?watch=1");
    g_autoptr(WkView) changed = fixture_guest(ONE, "one", WK_STATE_SUSPENDING);

    assert_next(talker, "guest", "name", "one");
    assert_next(talker, "guest", "name", "two");
    assert_next(talker, "guest", "name", "team a/three & more");
    assert_next(talker, NULL, "type", "synced");
    assert_non_null(strstr(talker->got->str, "Content-Type: application/x-ndjson\r\n"));
    assert_non_null(strstr(talker->got->str, "Transfer-Encoding: chunked\r\n"));

    wk_control_guest_changed(fixture->control, changed);
    wk_control_guest_gone(fixture->control, "gone-id");
    wk_control_guest_changed(fixture->control, changed);
    assert_next(talker, "guest", "state", "Suspending");
    assert_next(talker, NULL, "id", "gone-id");
    assert_next(talker, NULL, "type", "guest");
    assert_int_equal(fixture_streams(fixture), 1);
}

static void
test_operations_are_not_guests(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = talker_watch(fixture, "/v1/guests?watch=1");
    g_autoptr(WkOperation) operation = fixture_operation("op-1", WK_OP_RUNNING);

    read_snapshot(talker, 3);
    wk_control_operation_changed(fixture->control, operation);
    wk_control_guest_gone(fixture->control, "gone-id");
    assert_next(talker, NULL, "type", "gone");
}

static void
test_no_guests(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = NULL;

    g_ptr_array_set_size(fixture->guests, 0);
    talker = talker_watch(fixture, "/v1/guests?watch=1");
    assert_next(talker, NULL, "type", "synced");
}

static void
test_http_1_0(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = talker_open(fixture);

    talker_say(talker, "GET /v1/guests?watch=1 HTTP/1.0\r\nHost: x\r\n\r\n");
    read_snapshot(talker, 3);
    assert_null(strstr(talker->got->str, "chunked"));
    wk_control_guest_gone(fixture->control, "gone-id");
    assert_next(talker, NULL, "type", "gone");
}

/* Operations */

static void
test_operations(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = talker_watch(fixture, "/v1/operations?watch=1");
    g_autoptr(WkOperation) fresh = fixture_operation("op-2", WK_OP_QUEUED);
    g_autoptr(WkOperation) failed = fixture_operation("op-2", WK_OP_FAILED);

    assert_next(talker, "operation", "id", "op-1");
    assert_next(talker, "operation", "id", "op-0");
    assert_next(talker, NULL, "type", "synced");
    wk_control_operation_changed(fixture->control, fresh);
    assert_next(talker, "operation", "id", "op-2");
    wk_control_operation_changed(fixture->control, failed);
    assert_next(talker, "operation", "state", "failed");
    wk_control_operation_changed(fixture->control, fresh);
    assert_next(talker, "operation", "state", "queued"); /* it goes on */
}

static void
test_operation_to_its_end(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = talker_watch(fixture, "/v1/operations/op-1?watch=1");
    g_autoptr(WkOperation) other = fixture_operation("op-2", WK_OP_SUCCEEDED);
    g_autoptr(WkOperation) going = fixture_operation("op-1", WK_OP_RUNNING);
    g_autoptr(WkOperation) ended = fixture_operation("op-1", WK_OP_SUCCEEDED);

    assert_next(talker, "operation", "state", "running");
    wk_control_operation_changed(fixture->control, other);
    going->done_bytes = 5;
    going->total_bytes = 10;
    wk_control_operation_changed(fixture->control, going);
    assert_next(talker, "operation", "state", "running");
    wk_control_operation_changed(fixture->control, ended);
    wk_control_operation_changed(fixture->control, ended); /* late news: not sent */
    assert_next(talker, "operation", "state", "succeeded");
    assert_true(g_str_has_suffix(talker_rest(talker), "\r\n0\r\n\r\n"));
    assert_true(talker->ended);
    assert_true(fixture_run_until(fixture_no_streams, fixture, 1000));
}

static void
test_operation_already_final(void **state)
{
    g_autoptr(Talker) talker = talker_watch(*state, "/v1/operations/op-0?watch=1");

    assert_next(talker, "operation", "state", "succeeded");
    assert_true(g_str_has_suffix(talker_rest(talker), "\r\n0\r\n\r\n"));
    assert_true(fixture_run_until(fixture_no_streams, *state, 1000));
}

/* Bounds */

static void
test_heartbeat(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = NULL;

    fixture->control->limits.heartbeat_ms = 30;
    talker = talker_watch(fixture, "/v1/guests?watch=1");
    read_snapshot(talker, 3);
    assert_next(talker, NULL, "type", "heartbeat");
    assert_next(talker, NULL, "type", "heartbeat");
}

static gboolean
is_watching(gpointer fixture)
{
    return fixture_streams(fixture) > 0;
}

/* Sends @n changes of about @size bytes each. */
static void
send_changes(Fixture *fixture, guint n, gsize size)
{
    g_autoptr(WkView) view = fixture_guest(ONE, "one", WK_STATE_RUNNING);

    view->message = g_strnfill(size, 'm');
    for (guint i = 0; i < n; i++) {
        wk_control_guest_changed(fixture->control, view);
        fixture_run_for(1);
    }
}

static void
test_slow_reader_is_cut_off(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) slow = talker_watch(fixture, "/v1/guests?watch=1");
    g_autoptr(Answer) answer = NULL;

    assert_true(fixture_run_until(is_watching, fixture, 1000));
    send_changes(fixture, 9, 100 * 1000);
    assert_int_equal(fixture_streams(fixture), 1); /* 0.9 MB are within 1 MiB */
    send_changes(fixture, 40, 100 * 1000);
    assert_true(fixture_run_until(fixture_no_streams, fixture, 1000));
    (void)talker_rest(slow);
    assert_true(slow->ended);
    assert_true(slow->got->len < 2 * 1024 * 1024);
    answer = ask(fixture, "GET", "/v1/node", NULL);
    assert_int_equal(answer->status, 200);
}

static void
test_quick_reader_is_not(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) quick = talker_watch(fixture, "/v1/guests?watch=1");

    read_snapshot(quick, 3);
    for (guint i = 0; i < 60; i++) {
        send_changes(fixture, 1, 100 * 1000);
        assert_next(quick, NULL, "type", "guest");
    }
    assert_int_equal(fixture_streams(fixture), 1);
}

/* A node with very many guests: its first snapshot is no backlog. */
static void
test_large_snapshot(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = NULL;

    for (guint i = 0; i < 400; i++) {
        WkView *view = fixture_guest(ONE, "one", WK_STATE_RUNNING);
        view->message = g_strnfill(10 * 1000, 'm');
        g_ptr_array_add(fixture->guests, view);
    }
    talker = talker_watch(fixture, "/v1/guests?watch=1");
    assert_true(fixture_run_until(is_watching, fixture, 1000));
    send_changes(fixture, 1, 100);
    read_snapshot(talker, 403);
    assert_next(talker, NULL, "type", "guest");
}

/* Takes nothing, but leaves little: the write waits until the socket's time is over. */
static void
test_stalled_reader_is_dropped(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) stalled = NULL;

    fixture->control->limits.stall_s = 1;
    stalled = talker_watch(fixture, "/v1/guests?watch=1");
    assert_true(fixture_run_until(is_watching, fixture, 1000));
    send_changes(fixture, 8, 100 * 1000);
    assert_int_equal(fixture_streams(fixture), 1);
    assert_true(fixture_run_until(fixture_no_streams, fixture, 5000));
    (void)talker_rest(stalled);
    assert_true(stalled->ended);
}

/* Reads all that comes, and nothing comes for longer than the limit. */
static void
test_quiet_stream_lives(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = NULL;

    fixture->control->limits.stall_s = 1;
    talker = talker_watch(fixture, "/v1/guests?watch=1");
    read_snapshot(talker, 3);
    fixture_run_for(2500);
    wk_control_guest_gone(fixture->control, "gone-id");
    assert_next(talker, NULL, "type", "gone");
}

static void
test_reader_leaves(void **state)
{
    Fixture *fixture = *state;
    Talker *talker = talker_watch(fixture, "/v1/guests?watch=1");

    read_snapshot(talker, 3);
    talker_free(talker);
    assert_true(fixture_run_until(fixture_no_streams, fixture, 1000));
}

/* "No more questions" is not "gone". */
static void
test_reader_half_closes(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) talker = talker_watch(fixture, "/v1/guests?watch=1");

    (void)g_socket_shutdown(talker->socket, FALSE, TRUE, NULL);
    read_snapshot(talker, 3);
    fixture_run_for(50);
    wk_control_guest_gone(fixture->control, "gone-id");
    assert_next(talker, NULL, "type", "gone");
}

static void
test_too_many_streams(void **state)
{
    Fixture *fixture = *state;
    Talker *talkers[16] = { NULL };
    static const char *const paths[] = { "/v1/guests?watch=1", "/v1/operations?watch=1",
                                         "/v1/operations/op-1?watch=1" };

    for (guint i = 0; i < 16; i++) {
        talkers[i] = talker_watch(fixture, "/v1/guests?watch=1");
        read_snapshot(talkers[i], 3);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(Answer) answer = ask(fixture, "GET", paths[i], NULL);

        assert_int_equal(answer->status, 503);
        assert_string_equal(wk_json_get_string(answer->json, "reason"), "TooManyStreams");
    }
    for (guint i = 0; i < 16; i++)
        talker_free(talkers[i]);
    assert_true(fixture_run_until(fixture_no_streams, fixture, 1000));
}

static void
test_server_ends(void **state)
{
    Fixture *fixture = *state;
    g_autoptr(Talker) guests = talker_watch(fixture, "/v1/guests?watch=1");
    g_autoptr(Talker) one = talker_watch(fixture, "/v1/operations/op-1?watch=1");

    read_snapshot(guests, 3);
    assert_next(one, "operation", "state", "running");
    fixture_stop(fixture);
    (void)talker_rest(guests);
    (void)talker_rest(one);
    assert_true(guests->ended && one->ended);
    wk_control_guest_gone(NULL, "gone-id");
    wk_control_operation_changed(NULL, g_ptr_array_index(fixture->operations, 0));
    wk_control_guest_changed(NULL, g_ptr_array_index(fixture->guests, 0));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_guests_in_order),
        TEST(test_operations_are_not_guests),
        TEST(test_no_guests),
        TEST(test_http_1_0),
        TEST(test_operations),
        TEST(test_operation_to_its_end),
        TEST(test_operation_already_final),
        TEST(test_heartbeat),
        TEST(test_slow_reader_is_cut_off),
        TEST(test_quick_reader_is_not),
        TEST(test_large_snapshot),
        TEST(test_stalled_reader_is_dropped),
        TEST(test_quiet_stream_lives),
        TEST(test_reader_leaves),
        TEST(test_reader_half_closes),
        TEST(test_too_many_streams),
        TEST(test_server_ends),
    };

    return cmocka_run_group_tests_name("control-stream", tests, NULL, NULL);
}
