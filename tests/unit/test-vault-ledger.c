/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ledger_fixture.h"
#include "vault_fixture.h"

#include "vault/ledger.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the ledger holds, and what it lets through. How it opens: test-vault-ledger-open.c; what
 * it survives: test-vault-ledger-crash.c. */

static void
test_empty(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(WkLedger) more = wk_ledger_ref(ledger);
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) guests = wk_ledger_list(more, &error);
    g_autoptr(GPtrArray) open_ones = wk_ledger_open_operations(ledger, &error);
    g_autoptr(GPtrArray) history = wk_ledger_history(ledger, NULL, 10, &error);

    wk_ledger_unref(NULL);
    assert_null(wk_ledger_get(ledger, "host", "nobody", &error));
    fixture_no_error(&error);
    assert_int_equal(guests->len + open_ones->len + history->len, 0);
    assert_true(wk_ledger_forget(ledger, "host", "nobody", &error));
    assert_true(wk_ledger_trim(ledger, G_MAXINT64, NULL, &error));
}

/* Whatever is in a record comes back, also after the agent came back. */
static void
test_record_round_trip(void **state)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(20261122);
    g_autoptr(GPtrArray) wanted = g_ptr_array_new_with_free_func((GDestroyNotify)wk_record_free);
    WkLedger *ledger = fixture_ledger(state);

    for (guint i = 0; i < fixture_rounds(300); i++) {
        g_autoptr(WkRecord) first = fixture_random_record(rand, i);
        g_autoptr(WkRecord) second = fixture_random_record(rand, i);
        g_autoptr(GError) error = NULL;

        wk_ledger_commit(ledger, first, WK_LEDGER_NONE, NULL, &error);
        fixture_no_error(&error);
        fixture_expect_row(ledger, first);
        wk_ledger_commit(ledger, second, first->state, first->op, &error);
        fixture_no_error(&error);
        fixture_expect_row(ledger, second);
        g_ptr_array_add(wanted, g_steal_pointer(&second));
    }
    wk_ledger_unref(ledger);
    ledger = fixture_ledger(state);
    for (guint i = 0; i < wanted->len; i++)
        fixture_expect_row(ledger, g_ptr_array_index(wanted, i));
    wk_ledger_unref(ledger);
}

static void
test_list(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) guests = NULL;
    static const char *const keys[][2] = { { "b", "2" }, { "a", "2" }, { "b", "1" } };

    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_autoptr(WkRecord) record = wk_record_new(keys[i][0], keys[i][1], "x");

        assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_NONE, NULL, &error));
    }
    guests = wk_ledger_list(ledger, &error);
    fixture_no_error(&error);
    assert_int_equal(guests->len, 3);
    assert_string_equal(((WkRecord *)g_ptr_array_index(guests, 0))->source, "a");
    assert_string_equal(((WkRecord *)g_ptr_array_index(guests, 1))->uuid, "1");
    assert_string_equal(((WkRecord *)g_ptr_array_index(guests, 2))->uuid, "2");
}

/* Brings the guest "u" into @row_state with @op. */
static void
put_in_state(WkLedger *ledger, WkLedgerState row_state, const char *op)
{
    g_autoptr(WkRecord) record = wk_ledger_get(ledger, "host", "u", NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *old_op = NULL;
    WkLedgerState old_state;

    if (record == NULL)
        record = wk_record_new("host", "u", "name");
    old_state = record->state;
    old_op = g_steal_pointer(&record->op);
    record->state = row_state;
    record->op = g_strdup(op);
    wk_ledger_commit(ledger, record, old_state, old_op, &error);
    fixture_no_error(&error);
}

static gboolean
may_commit(WkLedgerState actual, const char *actual_op, WkLedgerState from, const char *from_op)
{
    return actual == from && (from == WK_LEDGER_NONE || g_strcmp0(actual_op, from_op) == 0);
}

/* Every state that a row can be in, against every state that a caller can believe in. */
static void
test_conditions(void **state)
{
    static const char *const ops[] = { NULL, "op-1", "op-2" };
    g_autoptr(WkLedger) ledger = fixture_ledger(state);

    for (guint i = 0; i < WK_LEDGER_STATES * WK_LEDGER_STATES * 9; i++) {
        const WkLedgerState actual = (WkLedgerState)(i / 9 / WK_LEDGER_STATES);
        const WkLedgerState from = (WkLedgerState)(i / 9 % WK_LEDGER_STATES);
        const char *actual_op = ops[i % 9 / 3];
        const char *from_op = ops[i % 3];
        g_autoptr(WkRecord) candidate = NULL;
        g_autoptr(WkRecord) before = NULL;
        g_autoptr(GError) error = NULL;
        gboolean done;

        put_in_state(ledger, actual, actual_op);
        before = wk_ledger_get(ledger, "host", "u", NULL);
        candidate = wk_record_copy(before);
        candidate->state = WK_LEDGER_SPENT;
        wk_record_explain(candidate, "New", "new");
        candidate->disks = wk_witness_array_new();
        g_ptr_array_add(candidate->disks, wk_witness_new("/new", TRUE, &candidate->seal.file));
        done = wk_ledger_commit(ledger, candidate, from, from_op, &error);
        assert_int_equal(done, may_commit(actual, actual_op, from, from_op));
        if (!done)
            fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
        fixture_expect_row(ledger, done ? candidate : before);
        g_clear_pointer(&candidate->disks, g_ptr_array_unref);
        if (done) /* and W can be forgotten again */
            assert_true(wk_ledger_commit(ledger, candidate, WK_LEDGER_SPENT, candidate->op, NULL));
    }
}

/* No row counts as none, and only as that. */
static void
test_no_row(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(WkRecord) record = wk_record_new("host", "u", "name");
    g_autoptr(GError) error = NULL;

    for (int from = WK_LEDGER_SAVING; from < WK_LEDGER_STATES; from++) {
        assert_false(wk_ledger_commit(ledger, record, (WkLedgerState)from, NULL, &error));
        fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
        assert_null(wk_ledger_get(ledger, "host", "u", &error));
    }
    assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_NONE, "ignored", &error));
    fixture_expect_row(ledger, record);
}

static void
test_forget(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(WkRecord) record = NULL;
    g_autoptr(GError) error = NULL;

    for (int row_state = WK_LEDGER_SAVING; row_state < WK_LEDGER_STATES; row_state++) {
        put_in_state(ledger, (WkLedgerState)row_state, "op");
        record = wk_ledger_get(ledger, "host", "u", NULL);
        assert_false(wk_ledger_forget(ledger, "host", "u", &error));
        fixture_expect_error(&error, WK_ERROR_CONFLICT, NULL);
        fixture_expect_row(ledger, record);
        g_clear_pointer(&record, wk_record_free);
    }
    put_in_state(ledger, WK_LEDGER_NONE, NULL);
    assert_true(wk_ledger_forget(ledger, "host", "u", &error));
    assert_null(wk_ledger_get(ledger, "host", "u", &error));
    assert_true(wk_ledger_forget(ledger, "host", "u", &error));
    fixture_no_error(&error);
}

static void
expect_invalid(WkLedger *ledger, const WkRecord *record)
{
    g_autoptr(GError) error = NULL;

    assert_false(wk_ledger_commit(ledger, record, WK_LEDGER_NONE, NULL, &error));
    fixture_expect_error(&error, WK_ERROR_INVALID, NULL);
    assert_null(wk_ledger_get(ledger, "host", "u", &error));
    fixture_no_error(&error);
}

/* What could not be read back is not written. */
static void
test_bounds(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autofree char *long_text = g_strnfill(5000, 'x');

    for (int i = 0; i < 8; i++) {
        g_autoptr(WkRecord) record = wk_record_new("host", "u", i == 0 ? long_text : "name");

        if (i == 1)
            record->op = g_strdup(long_text);
        else if (i == 2)
            record->save_path = g_strdup(long_text);
        else if (i == 3)
            record->reason = g_strdup(long_text);
        else if (i == 4)
            record->state = (WkLedgerState)17;
        else if (i == 5)
            g_clear_pointer(&record->name, g_free);
        else if (i >= 6)
            record->disks = wk_witness_array_new();
        if (i == 6)
            g_ptr_array_add(record->disks, wk_witness_new(long_text, FALSE, &record->seal.file));
        for (int n = 0; i == 7 && n < 4097; n++)
            g_ptr_array_add(record->disks, wk_witness_new("/x", FALSE, &record->seal.file));
        expect_invalid(ledger, record);
    }
}

/* A message is for people: it is cut, between two characters, rather than refused. */
static void
test_long_message(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(GError) error = NULL;

    for (gsize lead = 0; lead < 4; lead++) {
        g_autoptr(WkRecord) record = wk_record_new("host", "u", "name");
        g_autoptr(WkRecord) found = NULL;
        GString *text = g_string_new(NULL);

        for (gsize i = 0; i < lead; i++)
            g_string_append_c(text, 'x');
        while (text->len < 3000)
            g_string_append(text, "\xe6\x82\x9f"); /* 3 bytes each */
        record->message = g_string_free(text, FALSE);
        assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_NONE, NULL, &error));
        found = wk_ledger_get(ledger, "host", "u", &error);
        fixture_no_error(&error);
        assert_true(g_utf8_validate(found->message, -1, NULL));
        assert_true(g_str_has_prefix(record->message, found->message));
        assert_in_range(strlen(found->message), 2048 - 3, 2048);
    }
}

static void
test_operations(void **state)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    WkLedger *ledger = fixture_ledger(state);
    g_autoptr(GPtrArray) wanted = g_ptr_array_new_with_free_func((GDestroyNotify)wk_operation_free);
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) history = NULL;

    for (guint i = 0; i < 100; i++) {
        g_autoptr(WkOperation) first = fixture_random_operation(rand);
        WkOperation *second = fixture_random_operation(rand);

        g_free(second->id);
        second->id = g_strdup(first->id);
        assert_true(wk_ledger_put_operation(ledger, first, &error));
        assert_true(wk_ledger_put_operation(ledger, second, &error));
        g_ptr_array_add(wanted, second);
    }
    wk_ledger_unref(ledger);
    ledger = fixture_ledger(state);
    history = wk_ledger_history(ledger, NULL, 1000, &error);
    fixture_no_error(&error);
    assert_int_equal(history->len, 100);
    for (guint i = 0; i < 100; i++)
        fixture_same_operation(g_ptr_array_index(history, 99 - i), g_ptr_array_index(wanted, i));
    wk_ledger_unref(ledger);
}

static void
put(WkLedger *ledger, const char *guest, WkOpState op_state, gint64 finished_at_us)
{
    const WkRequest request = { .guest = guest, .action = WK_ACTION_SUSPEND };
    g_autoptr(WkOperation) operation = wk_operation_new(&request, "host", "name", 60);

    operation->state = op_state;
    operation->finished_at_us = finished_at_us;
    operation->attempt = (guint)finished_at_us;
    operation->accepted_at_us = 1000 - finished_at_us; /* a clock that runs backwards */
    assert_true(wk_ledger_put_operation(ledger, operation, NULL));
}

/* Takes @operations; @attempts: in this order, 0 at the end. */
static void
expect_attempts(GPtrArray *operations, const guint *attempts)
{
    guint n = 0;

    assert_non_null(operations);
    for (; attempts[n] != 0; n++) {
        assert_true(n < operations->len);
        assert_int_equal(((WkOperation *)g_ptr_array_index(operations, n))->attempt, attempts[n]);
    }
    assert_int_equal(operations->len, n);
    g_ptr_array_unref(operations);
}

static void
test_operation_queries(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);

    put(ledger, "a", WK_OP_SUCCEEDED, 1);
    put(ledger, "a", WK_OP_QUEUED, 2);
    put(ledger, "b", WK_OP_RUNNING, 3);
    put(ledger, "a", WK_OP_FAILED, 4);
    put(ledger, "b", WK_OP_CANCELLED, 5);
    expect_attempts(wk_ledger_open_operations(ledger, NULL), (guint[]){ 2, 3, 0 });
    expect_attempts(wk_ledger_history(ledger, NULL, 100, NULL), (guint[]){ 5, 4, 3, 2, 1, 0 });
    expect_attempts(wk_ledger_history(ledger, "a", 100, NULL), (guint[]){ 4, 2, 1, 0 });
    expect_attempts(wk_ledger_history(ledger, NULL, 2, NULL), (guint[]){ 5, 4, 0 });
    expect_attempts(wk_ledger_history(ledger, NULL, 0, NULL), (guint[]){ 0 });
    expect_attempts(wk_ledger_history(ledger, "c", 9, NULL), (guint[]){ 0 });
    assert_true(wk_ledger_trim(ledger, 4, NULL, NULL)); /* final, and before 4 */
    expect_attempts(wk_ledger_history(ledger, NULL, 100, NULL), (guint[]){ 5, 4, 3, 2, 0 });
    assert_true(wk_ledger_trim(ledger, G_MAXINT64, NULL, NULL));
    expect_attempts(wk_ledger_history(ledger, NULL, 100, NULL), (guint[]){ 3, 2, 0 });
}

/* Eight threads: each has a guest of its own, and all fight for one more. */
typedef struct {
    WkLedger *ledger;
    guint number;
    guint rounds;
    guint won;
    guint failures;
} Worker;

static void
work_alone(Worker *self, guint round)
{
    g_autofree char *uuid = g_strdup_printf("own-%u", self->number);
    g_autofree char *old_op = g_strdup_printf("%u", round);
    g_autoptr(WkRecord) record = wk_ledger_get(self->ledger, "host", uuid, NULL);
    const WkLedgerState from = round > 0 ? WK_LEDGER_SAVING : WK_LEDGER_NONE;

    if ((round > 0) != (record != NULL))
        self->failures++;
    if (record == NULL)
        record = wk_record_new("host", uuid, "name");
    g_free(record->op);
    record->state = WK_LEDGER_SAVING;
    record->op = g_strdup_printf("%u", round + 1);
    if (!wk_ledger_commit(self->ledger, record, from, old_op, NULL))
        self->failures++;
}

static void
fight(Worker *self, guint round)
{
    g_autofree char *old_op = g_strdup_printf("%u", round);
    g_autoptr(WkRecord) record = wk_record_new("host", "contended", "name");
    g_autoptr(GError) error = NULL;

    record->state = WK_LEDGER_SAVING;
    record->op = g_strdup_printf("%u", round + 1);
    if (wk_ledger_commit(self->ledger, record, WK_LEDGER_SAVING, old_op, &error))
        self->won++;
    else if (!g_error_matches(error, WK_ERROR, WK_ERROR_CONFLICT))
        self->failures++;
}

static gpointer
run_worker(gpointer data)
{
    Worker *self = data;

    for (guint round = 0; round < self->rounds; round++) {
        g_autoptr(GPtrArray) all = NULL;

        work_alone(self, round);
        fight(self, round);
        all = wk_ledger_list(self->ledger, NULL);
        if (all == NULL)
            self->failures++;
    }
    return NULL;
}

static void
test_threads(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(WkRecord) record = wk_record_new("host", "contended", "name");
    g_autoptr(WkRecord) last = NULL;
    Worker workers[8];
    GThread *threads[G_N_ELEMENTS(workers)];
    guint won = 0;

    record->state = WK_LEDGER_SAVING;
    record->op = g_strdup("0");
    assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_NONE, NULL, NULL));
    for (guint i = 0; i < G_N_ELEMENTS(workers); i++) {
        workers[i] = (Worker){ .ledger = ledger, .number = i, .rounds = fixture_rounds(50) };
        threads[i] = g_thread_new("ledger", run_worker, &workers[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(workers); i++) {
        g_thread_join(threads[i]);
        assert_int_equal(workers[i].failures, 0);
        won += workers[i].won;
    }
    /* each step of the contended guest was taken by at most one */
    last = wk_ledger_get(ledger, "host", "contended", NULL);
    assert_int_equal(g_ascii_strtoull(last->op, NULL, 10), won);
    assert_in_range(won, 1, fixture_rounds(50));
}

/* Kept as it was first, until the guest is in state none again. */
static void
test_header(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(WkRecord) record = wk_record_new("kubevirt", "u", "ns_vm");
    g_autoptr(GBytes) first = g_bytes_new("\0\1first", 7);
    g_autoptr(GBytes) second = g_bytes_new("second", 6);
    g_autoptr(GBytes) kept = NULL;
    g_autoptr(GError) error = NULL;

    assert_false(wk_ledger_keep_header(ledger, "kubevirt", "u", first, &error)); /* no row */
    g_clear_error(&error);
    record->state = WK_LEDGER_SEALED;
    record->op = g_strdup("op");
    assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_NONE, NULL, &error));
    assert_null(wk_ledger_get_header(ledger, "kubevirt", "u", &error));
    assert_true(wk_ledger_keep_header(ledger, "kubevirt", "u", first, &error));
    assert_true(wk_ledger_keep_header(ledger, "kubevirt", "u", second, &error));
    fixture_no_error(&error);
    kept = wk_ledger_get_header(ledger, "kubevirt", "u", &error);
    assert_true(g_bytes_equal(kept, first));
    wk_record_reset(record);
    assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_SEALED, "op", &error));
    assert_null(wk_ledger_get_header(ledger, "kubevirt", "u", &error));
    fixture_no_error(&error);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_header),
        WITH_FOLDER(test_empty),
        WITH_FOLDER(test_record_round_trip),
        WITH_FOLDER(test_list),
        WITH_FOLDER(test_conditions),
        WITH_FOLDER(test_no_row),
        WITH_FOLDER(test_forget),
        WITH_FOLDER(test_bounds),
        WITH_FOLDER(test_long_message),
        WITH_FOLDER(test_operations),
        WITH_FOLDER(test_operation_queries),
        WITH_FOLDER(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
