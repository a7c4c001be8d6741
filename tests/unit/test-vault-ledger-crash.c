/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "faulty_vfs.h"
#include "ledger_fixture.h"
#include "vault_fixture.h"

#include "vault/ledger.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the ledger survives: kills, power cuts, disks that are full or fail. */

/* The n-th row that the tests write: who reads it can tell that it is whole. */
static WkRecord *
numbered_record(guint number)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(number + 1);
    WkRecord *record = fixture_random_record(rand, 0);

    g_free(record->op);
    record->op = g_strdup("op");
    record->state = WK_LEDGER_SAVING;
    record->saved_at_us = number;
    return record;
}

static gboolean
commit_number(WkLedger *ledger, guint number, GError **error)
{
    g_autoptr(WkRecord) record = numbered_record(number);

    return wk_ledger_commit(ledger, record, number > 0 ? WK_LEDGER_SAVING : WK_LEDGER_NONE, "op",
                            error);
}

/* Returns: how many were committed; what is there must be the last of them, whole. */
static guint
count_committed(WkLedger *ledger)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkRecord) found = wk_ledger_get(ledger, "host", "guest-0", &error);
    g_autoptr(WkRecord) expected = NULL;

    fixture_no_error(&error);
    if (found == NULL)
        return 0;
    expected = numbered_record((guint)found->saved_at_us);
    fixture_same_record(found, expected);
    return (guint)found->saved_at_us + 1;
}

/* In a child: commits, and says so on the pipe after each. Never returns. */
static void
commit_for_ever(const char *path, int report)
{
    WkLedger *ledger = wk_ledger_open(path, NULL);

    if (ledger == NULL)
        _exit(1);
    for (guint number = 0; commit_number(ledger, number, NULL); number++) {
        if (write(report, "x", 1) != 1)
            break;
    }
    _exit(2);
}

static guint
kill_while_committing(const char *path, useconds_t after_us)
{
    int ends[2];
    char said[4096];
    gssize n;
    guint committed = 0;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        close(ends[0]);
        commit_for_ever(path, ends[1]);
    }
    close(ends[1]);
    g_usleep(after_us);
    assert_int_equal(kill(child, SIGKILL), 0);
    while ((n = read(ends[0], said, sizeof said)) > 0)
        committed += (guint)n;
    close(ends[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    return committed;
}

/* Killed at any moment: what was said to be done is there, and at most one more. */
static void
test_kill(void **state)
{
    const char *path = fixture_ledger_path(state);
    g_autoptr(GRand) rand = g_rand_new_with_seed(11);
    guint most = 0;

    for (guint i = 0; i < fixture_rounds(25); i++) {
        const guint said = kill_while_committing(path, (guint)g_rand_int_range(rand, 0, 60000));
        WkLedger *ledger = fixture_ledger(state); /* the lock died with the child */
        const guint found = count_committed(ledger);

        assert_in_range(found, said, said + 1);
        most = MAX(most, said);
        wk_ledger_unref(ledger);
        fixture_sql(path, "DELETE FROM guests");
    }
    assert_true(most > 0);
}

static void
copy_file(const char *from, const char *to, gsize length)
{
    g_autoptr(GBytes) bytes = fixture_read(from);

    fixture_write(to, g_bytes_get_data(bytes, NULL), MIN(length, g_bytes_get_size(bytes)));
}

/* What a power cut would leave, were all written so far on the disk: the files as they are now,
 * the log only up to @wal_length, opened elsewhere. Returns: how many were committed there. */
static guint
count_after_power_cut(void **state, gsize wal_length)
{
    const char *path = fixture_ledger_path(state);
    const char *copy = fixture_path(state, "after/ledger.db");
    g_autofree char *wal = g_strconcat(path, "-wal", NULL);
    g_autofree char *to_wal = g_strconcat(copy, "-wal", NULL);
    g_autoptr(GError) error = NULL;
    WkLedger *ledger;
    guint n;

    fixture_remove(fixture_path(state, "after"));
    assert_int_equal(g_mkdir(fixture_path(state, "after"), 0700), 0);
    copy_file(path, copy, G_MAXSIZE);
    copy_file(wal, to_wal, wal_length);
    ledger = wk_ledger_open(copy, &error);
    fixture_no_error(&error);
    n = count_committed(ledger);
    wk_ledger_unref(ledger);
    return n;
}

/* A log that is torn anywhere is a ledger some commits ago, never a broken one. */
static void
test_torn_log(void **state)
{
    const char *path = fixture_ledger_path(state);
    g_autofree char *wal = g_strconcat(path, "-wal", NULL);
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    guint last = 0;
    gsize size;

    for (guint number = 0; number < 8; number++)
        assert_true(commit_number(ledger, number, NULL));
    size = fixture_file_id(wal).size_bytes;
    for (gsize length = 0; length <= size; length += 1031) {
        const guint found = count_after_power_cut(state, length);

        assert_in_range(found, last, 8);
        last = found;
    }
    assert_int_equal(count_after_power_cut(state, size), 8);
}

/* The promise itself: when a commit says TRUE, nothing written to the log waits for a sync. */
static void
test_every_commit_syncs(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    const WkRequest request = { .guest = "guest" };
    g_autoptr(WkOperation) operation = wk_operation_new(&request, "host", "name", 60);

    for (guint number = 0; number < 2000; number++) { /* over several checkpoints */
        const int before = faulty_vfs.wal_syncs;

        assert_true(commit_number(ledger, number, NULL));
        assert_true(faulty_vfs.wal_syncs > before);
        assert_int_equal(faulty_vfs.wal_writes_unsynced, 0);
    }
    for (int i = 0; i < 4; i++) {
        const int before = faulty_vfs.wal_syncs;

        if (i < 2)
            assert_true(wk_ledger_put_operation(ledger, operation, NULL));
        operation->state = WK_OP_FAILED;
        if (i == 2)
            assert_true(wk_ledger_trim(ledger, G_MAXINT64, NULL, NULL));
        if (i == 3) {
            fixture_sql(fixture_ledger_path(state), "UPDATE guests SET state = 'none'");
            assert_true(wk_ledger_forget(ledger, "host", "guest-0", NULL));
        }
        assert_true(faulty_vfs.wal_syncs > before);
        assert_int_equal(faulty_vfs.wal_writes_unsynced, 0);
    }
}

/* FALSE must stay FALSE: what failed to sync must not come alive after the next crash. */
static void
test_failed_sync(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(GError) error = NULL;

    assert_true(commit_number(ledger, 0, &error));
    for (guint round = 0; round < 5; round++) {
        faulty_vfs.fail_wal_syncs = 1;
        assert_false(commit_number(ledger, 1, &error));
        fixture_expect_error(&error, WK_ERROR_FAILED, "IOError");
        assert_int_equal(count_committed(ledger), 1);
        assert_int_equal(count_after_power_cut(state, G_MAXSIZE), 1);
    }
    assert_true(commit_number(ledger, 1, &error));
    assert_int_equal(count_after_power_cut(state, G_MAXSIZE), 2);
    fixture_no_error(&error);
}

/* The disk goes on failing: no write is let through before the log is settled. */
static void
test_failing_disk(void **state)
{
    WkLedger *ledger = fixture_ledger(state);
    g_autoptr(GError) error = NULL;

    assert_true(commit_number(ledger, 0, &error));
    faulty_vfs.fail_wal_syncs = 1000;
    faulty_vfs.fail_db_syncs = 1000;
    for (int i = 0; i < 3; i++) {
        assert_false(commit_number(ledger, 1, &error));
        fixture_expect_error(&error, WK_ERROR_FAILED, "IOError");
        assert_int_equal(count_committed(ledger), 1);
        assert_false(wk_ledger_trim(ledger, 0, NULL, &error));
        fixture_expect_error(&error, WK_ERROR_FAILED, "IOError");
    }
    faulty_vfs_reset(); /* and comes back */
    assert_true(commit_number(ledger, 1, &error));
    assert_int_equal(count_after_power_cut(state, G_MAXSIZE), 2);
    wk_ledger_unref(ledger);
    ledger = fixture_ledger(state);
    assert_int_equal(count_committed(ledger), 2);
    wk_ledger_unref(ledger);
}

/* No space, after any number of writes into the transaction: nothing of it stays. */
static void
test_no_space(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(GError) error = NULL;
    guint n = 0;

    assert_true(commit_number(ledger, 0, &error));
    for (;; n++) {
        faulty_vfs.full_after_writes = (int)n;
        if (commit_number(ledger, 1, &error))
            break;
        faulty_vfs.full_after_writes = -1;
        fixture_expect_error(&error, WK_ERROR_FAILED, "NoSpace");
        assert_int_equal(count_committed(ledger), 1);
        assert_int_equal(count_after_power_cut(state, G_MAXSIZE), 1);
    }
    faulty_vfs.full_after_writes = -1;
    assert_in_range(n, 2, 1000);
    assert_int_equal(count_after_power_cut(state, G_MAXSIZE), 2);
    fixture_no_error(&error);
}

/* A ledger that was moved away would take commits that nobody ever finds. */
static void
test_removed_under_us(void **state)
{
    const char *path = fixture_ledger_path(state);
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(GError) error = NULL;

    assert_true(commit_number(ledger, 0, &error));
    assert_int_equal(g_rename(path, fixture_path(state, "moved")), 0);
    assert_false(commit_number(ledger, 1, &error));
    fixture_expect_error(&error, WK_ERROR_FAILED, "IOError");
    fixture_write(path, "", 0);
    assert_false(commit_number(ledger, 1, &error));
    fixture_expect_error(&error, WK_ERROR_FAILED, "IOError");
    assert_int_equal(g_rename(fixture_path(state, "moved"), path), 0);
    assert_true(commit_number(ledger, 1, &error));
    fixture_no_error(&error);
}

/* Somebody else's transaction: worth another try, and nothing has happened. */
static void
test_busy(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(GError) error = NULL;
    int ends[2];
    char byte;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        fixture_hold_database(fixture_ledger_path(state), ends[1]);
        _exit(0);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_false(commit_number(ledger, 0, &error));
    fixture_expect_error(&error, WK_ERROR_UNAVAILABLE, "LedgerBusy");
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[0]);
    assert_true(commit_number(ledger, 0, &error));
    assert_int_equal(count_committed(ledger), 1);
}

static int
set_up(void **state)
{
    faulty_vfs_reset();
    return fixture_setup(state);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_kill),
        WITH_FOLDER(test_torn_log),
        WITH_FOLDER(test_every_commit_syncs),
        WITH_FOLDER(test_failed_sync),
        WITH_FOLDER(test_failing_disk),
        WITH_FOLDER(test_no_space),
        WITH_FOLDER(test_removed_under_us),
        WITH_FOLDER(test_busy),
    };

    faulty_vfs_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
