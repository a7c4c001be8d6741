/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ledger_fixture.h"
#include "vault_fixture.h"

#include "vault/ledger_private.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How the ledger opens, and what it refuses to open. */

static guint
mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

/* Opening must fail with @code, and leave the file as it is. */
static void
expect_refused(void **state, WkErrorCode code, const char *reason)
{
    const char *path = fixture_ledger_path(state);
    g_autoptr(GBytes) before = fixture_read(path);
    g_autoptr(GBytes) after = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(WkLedger) ledger = wk_ledger_open(path, &error);

    assert_null(ledger);
    fixture_expect_error(&error, code, reason);
    after = fixture_read(path);
    assert_true(g_bytes_equal(before, after));
    /* and again without an error to set */
    assert_null(wk_ledger_open(path, NULL));
}

static void
test_modes(void **state)
{
    const char *path = fixture_ledger_path(state);
    g_autofree char *wal = g_strconcat(path, "-wal", NULL);
    g_autofree char *shm = g_strconcat(path, "-shm", NULL);
    g_autofree char *lock = g_strconcat(path, ".lock", NULL);
    const mode_t old_umask = umask(0);
    WkLedger *ledger = fixture_ledger(state);

    umask(old_umask);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(mode_of(wal), 0600);
    assert_int_equal(mode_of(shm), 0600);
    assert_int_equal(mode_of(lock), 0600);
    wk_ledger_unref(ledger);
    assert_false(fixture_exists(wal)); /* written back at close */
    assert_int_equal(g_chmod(path, 0644), 0);
    ledger = fixture_ledger(state);
    assert_int_equal(mode_of(path), 0600);
    wk_ledger_unref(ledger);
}

static void
test_meta(void **state)
{
    const char *path = fixture_ledger_path(state);
    sqlite3_stmt *stmt;
    sqlite3 *db;

    wk_ledger_unref(fixture_ledger(state));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT count(*) FROM meta WHERE key IN ('created_at_us', "
                                        "'created_boot_id', 'opened_at_us', 'opened_boot_id')",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0), 4);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

/* Another agent: in this process, and in another one. */
static void
test_locked(void **state)
{
    const char *path = fixture_ledger_path(state);
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(GError) error = NULL;
    pid_t child;
    int status;

    assert_null(wk_ledger_open(path, &error));
    fixture_expect_error(&error, WK_ERROR_UNAVAILABLE, "LedgerLocked");
    child = fork();
    if (child == 0) {
        WkLedger *second = wk_ledger_open(path, &error);

        _exit(second == NULL && g_error_matches(error, WK_ERROR, WK_ERROR_UNAVAILABLE) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    wk_ledger_unref(g_steal_pointer(&ledger));
    ledger = fixture_ledger(state);
}

static const struct {
    const char *label;
    const char *bytes;
    gsize length; /* the rest is filled with 'x' */
} garbage[] = {
    { "one byte", "x", 1 },
    { "text", "a letter to somebody", 20 },
    { "a lot of text", "a letter to somebody", 20000 },
    { "half a header", "SQLite format 3", 40 },
    { "a header and nothing that fits", "SQLite format 3", 8192 },
};

static void
test_garbage(void **state)
{
    const char *path = fixture_ledger_path(state);

    for (gsize i = 0; i < G_N_ELEMENTS(garbage); i++) {
        g_autofree char *bytes = g_strnfill(garbage[i].length, 'x');
        const gsize known = MIN(strlen(garbage[i].bytes) + 1, garbage[i].length);

        memcpy(bytes, garbage[i].bytes, known);
        fixture_write(path, bytes, garbage[i].length);
        expect_refused(state, WK_ERROR_CORRUPT, "LedgerForeign");
    }
}

/* The last case above has another program's id by chance; this one has none. */
static void
test_damaged_header(void **state)
{
    g_autofree char *bytes = g_malloc0(8192);

    memcpy(bytes, "SQLite format 3", 15);
    fixture_write(fixture_ledger_path(state), bytes, 8192);
    expect_refused(state, WK_ERROR_CORRUPT, NULL);
}

static void
test_foreign(void **state)
{
    static const char *const makers[] = {
        "CREATE TABLE t (x); PRAGMA application_id = 42",
        "CREATE TABLE t (x); PRAGMA application_id = 42; PRAGMA journal_mode = WAL",
        "CREATE TABLE t (x)",
        "PRAGMA user_version = 1",
        "CREATE TABLE t (x); PRAGMA application_id = 0x77756b67",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(makers); i++) {
        fixture_sql(fixture_ledger_path(state), makers[i]);
        expect_refused(state, WK_ERROR_CORRUPT, "LedgerForeign");
        assert_int_equal(g_unlink(fixture_ledger_path(state)), 0);
    }
}

static gint64
ask(sqlite3 *db, const char *sql)
{
    g_autoptr(sqlite3_stmt) stmt = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return -1;
    return sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
}

/* Returns: (transfer full): what makes the ledger one of its present version again. */
static char *
read_stamp(void **state)
{
    WK_AUTO_DB sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(fixture_ledger_path(state), &db), SQLITE_OK);
    return g_strdup_printf("PRAGMA user_version = %d", (int)ask(db, "PRAGMA user_version"));
}

static void
test_too_new(void **state)
{
    g_autofree char *stamp = NULL;

    wk_ledger_unref(fixture_ledger(state));
    stamp = read_stamp(state);
    fixture_sql(fixture_ledger_path(state), "PRAGMA user_version = 1000");
    expect_refused(state, WK_ERROR_CORRUPT, "LedgerTooNew");
    fixture_sql(fixture_ledger_path(state), stamp);
    wk_ledger_unref(fixture_ledger(state));
}

/* The newer agent died: that it was there is only in its log, which must not be touched either. */
static void
test_too_new_in_the_log(void **state)
{
    const char *path = fixture_ledger_path(state);
    g_autofree char *wal = g_strconcat(path, "-wal", NULL);
    g_autoptr(GBytes) before = NULL;
    g_autoptr(GBytes) after = NULL;
    int status;
    pid_t child;

    wk_ledger_unref(fixture_ledger(state));
    child = fork();
    if (child == 0) {
        sqlite3 *db;

        if (sqlite3_open(path, &db) != SQLITE_OK
            || sqlite3_exec(db, "PRAGMA user_version = 1000", NULL, NULL, NULL) != SQLITE_OK)
            _exit(1);
        kill(getpid(), SIGKILL); /* without closing */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    before = fixture_read(wal);
    expect_refused(state, WK_ERROR_CORRUPT, "LedgerTooNew");
    after = fixture_read(wal);
    assert_true(g_bytes_equal(before, after));
}

/* Page by page: a damaged ledger is refused, or what was damaged was not in use. */
static void
test_damaged_pages(void **state)
{
    const char *path = fixture_ledger_path(state);
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);
    WkLedger *ledger = fixture_ledger(state);
    g_autoptr(GBytes) good = NULL;
    guint refused = 0;

    for (guint i = 0; i < 20; i++) {
        g_autoptr(WkRecord) record = fixture_random_record(rand, i);

        assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_NONE, NULL, NULL));
    }
    wk_ledger_unref(ledger);
    good = fixture_read(path);
    for (gsize page = 0; page < g_bytes_get_size(good); page += 4096) {
        g_autofree guint8 *bytes = g_memdup2(g_bytes_get_data(good, NULL), g_bytes_get_size(good));
        g_autoptr(GError) error = NULL;

        memset(bytes + page + (page == 0 ? 100 : 0), 0x5a, page == 0 ? 3996 : 4096);
        fixture_write(path, bytes, g_bytes_get_size(good));
        ledger = wk_ledger_open(path, &error);
        if (ledger != NULL) {
            wk_ledger_unref(ledger);
            continue;
        }
        fixture_expect_error(&error, WK_ERROR_CORRUPT, NULL);
        expect_refused(state, WK_ERROR_CORRUPT, NULL);
        refused++;
    }
    assert_in_range(refused, 5, G_MAXUINT);
    fixture_write(path, g_bytes_get_data(good, NULL), g_bytes_get_size(good));
    wk_ledger_unref(fixture_ledger(state));
}

static void
test_other_machine(void **state)
{
    const char *path = fixture_ledger_path(state);
    sqlite3 *db;
    int changes;

    wk_ledger_unref(fixture_ledger(state));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_exec(db, "UPDATE meta SET value = 'another' WHERE key = 'machine_id'", NULL, NULL,
                 NULL);
    changes = sqlite3_changes(db);
    sqlite3_close(db);
    if (changes == 0)
        skip(); /* this machine has no id */
    expect_refused(state, WK_ERROR_REFUSED, "OtherMachine");
    fixture_sql(path, "DELETE FROM meta WHERE key = 'machine_id'");
    wk_ledger_unref(fixture_ledger(state)); /* not noted: it is now */
    fixture_sql(path, "UPDATE meta SET value = 'another' WHERE key = 'machine_id'");
    expect_refused(state, WK_ERROR_REFUSED, "OtherMachine");
}

static void
test_odd_places(void **state)
{
    const char *path = fixture_ledger_path(state);
    const char *other = fixture_path(state, "other");
    const char *open_dir = fixture_path(state, "open");
    g_autoptr(GError) error = NULL;

    assert_null(wk_ledger_open(fixture_path(state, "none/ledger.db"), &error));
    fixture_expect_error(&error, WK_ERROR_NOT_FOUND, NULL);
    assert_int_equal(g_mkdir(path, 0700), 0);
    assert_null(wk_ledger_open(path, &error));
    fixture_expect_error(&error, WK_ERROR_FAILED, NULL);
    assert_int_equal(g_rmdir(path), 0);
    fixture_write(other, "", 0);
    assert_int_equal(symlink(other, path), 0);
    assert_null(wk_ledger_open(path, &error));
    fixture_expect_error(&error, WK_ERROR_FAILED, NULL);
    assert_int_equal(fixture_file_id(other).size_bytes, 0);
    assert_int_equal(g_mkdir(open_dir, 0700), 0);
    assert_int_equal(g_chmod(open_dir, 0777), 0);
    assert_null(wk_ledger_open(fixture_path(state, "open/ledger.db"), &error));
    fixture_expect_error(&error, WK_ERROR_REFUSED, "LedgerFolder");
    assert_false(fixture_exists(fixture_path(state, "open/ledger.db")));
}

/* /var/lib may be a symlink to another disk; the last folder may not. */
static void
test_folder_above_is_symlink(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkLedger) ledger = NULL;

    assert_int_equal(g_mkdir_with_parents(fixture_path(state, "real/state"), 0700), 0);
    assert_int_equal(symlink("real", fixture_path(state, "link")), 0);
    ledger = wk_ledger_open(fixture_path(state, "link/state/ledger.db"), &error);
    fixture_no_error(&error);
    assert_true(fixture_exists(fixture_path(state, "real/state/ledger.db")));
}

/* Values that this program would not have written. */
static const struct {
    const char *label;
    const char *set;
} unreadable[] = {
    { "state", "state = 'asleep'" },
    { "empty state", "state = ''" },
    { "state with a NUL", "state = 'none' || char(0) || 'x'" },
    { "then", "then_do = 'dance'" },
    { "want", "want = ''" },
    { "origin", "origin = '?'" },
    { "action", "last_action = 'Suspend'" },
    { "target", "paused_to = 'tape'" },
    { "short digest", "header_digest = 'abc'" },
    { "long digest", "header_digest = '0123456789abcdef0123456789abcdef0'" },
    { "digest in capitals", "body_digest = '0123456789ABCDEF0123456789ABCDEF'" },
    { "boolean", "autostart = 2" },
    { "negative boolean", "paused_by_us = -1" },
    { "endless name", "name = printf('%.5000c', 'x')" },
    { "endless reason", "reason = printf('%.129c', 'x')" },
    { "NUL in a path", "save_path = '/a' || char(0) || 'b'" },
};

static void
test_unreadable_rows(void **state)
{
    const char *path = fixture_ledger_path(state);

    for (gsize i = 0; i < G_N_ELEMENTS(unreadable); i++) {
        WkLedger *ledger = fixture_ledger(state);
        g_autoptr(WkRecord) record = wk_record_new("host", "broken", "name");
        g_autoptr(GError) error = NULL;
        g_autofree char *sql = g_strdup_printf("UPDATE guests SET %s", unreadable[i].set);

        assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_NONE, NULL, &error));
        wk_ledger_unref(ledger);
        fixture_sql(path, sql);
        ledger = fixture_ledger(state);
        assert_null(wk_ledger_get(ledger, "host", "broken", &error));
        assert_non_null(strstr(error->message, "broken"));
        fixture_expect_error(&error, WK_ERROR_CORRUPT, "LedgerCorrupt");
        assert_null(wk_ledger_list(ledger, &error)); /* none is silently left out */
        fixture_expect_error(&error, WK_ERROR_CORRUPT, "LedgerCorrupt");
        wk_ledger_unref(ledger);
        fixture_sql(path, "DELETE FROM guests");
    }
}

static void
test_unreadable_operation(void **state)
{
    const WkRequest request = { .guest = "guest" };
    g_autoptr(WkOperation) operation = wk_operation_new(&request, "host", "name", 60);
    WkLedger *ledger = fixture_ledger(state);
    g_autoptr(GError) error = NULL;

    assert_true(wk_ledger_put_operation(ledger, operation, &error));
    wk_ledger_unref(ledger);
    fixture_sql(fixture_ledger_path(state), "UPDATE operations SET state = 'asleep'");
    ledger = fixture_ledger(state);
    assert_null(wk_ledger_open_operations(ledger, &error));
    assert_non_null(strstr(error->message, operation->id));
    fixture_expect_error(&error, WK_ERROR_CORRUPT, "LedgerCorrupt");
    wk_ledger_unref(ledger);
}

/* Puts a guest with an image into the ledger. */
static WkRecord *
hold_image(WkLedger *ledger, guint64 device)
{
    g_autoptr(GError) error = NULL;
    WkRecord *record = wk_record_new("host", "guest", "name");

    record->state = WK_LEDGER_SEALED;
    record->op = g_strdup("op");
    record->seal.file = (WkFileId){ device, 12, 13, 14 };
    wk_ledger_commit(ledger, record, WK_LEDGER_NONE, NULL, &error);
    fixture_no_error(&error);
    return record;
}

static gboolean
adopt(void **state, WkLedger *ledger, const char *name, GError **error)
{
    g_autoptr(WkVault) vault = wk_vault_open(fixture_path(state, name), TRUE, NULL);

    assert_non_null(vault);
    return wk_ledger_adopt_vault(ledger, vault, error);
}

/* After a reboot the file system has another number: the image is known again. */
static void
test_vault_renumbered(void **state)
{
    const char *path = fixture_ledger_path(state);
    WkLedger *ledger = fixture_ledger(state);
    g_autoptr(WkRecord) record = NULL;
    g_autoptr(GError) error = NULL;
    guint64 device;

    assert_true(adopt(state, ledger, "vault", &error));
    assert_true(adopt(state, ledger, "vault", &error));
    device = fixture_file_id(fixture_path(state, "vault")).dev;
    record = hold_image(ledger, device);
    wk_ledger_unref(ledger);
    fixture_sql(path, "UPDATE meta SET value = '77' WHERE key = 'vault_device';"
                      "UPDATE guests SET image_dev = 77");
    ledger = fixture_ledger(state);
    record->seal.file.dev = 77;
    fixture_expect_row(ledger, record);
    assert_true(adopt(state, ledger, "vault", &error));
    record->seal.file.dev = device;
    fixture_expect_row(ledger, record);
    fixture_no_error(&error);
    wk_ledger_unref(ledger);

    /* what was noted elsewhere stays as it is */
    fixture_sql(path, "UPDATE meta SET value = '77' WHERE key = 'vault_device';"
                      "UPDATE guests SET image_dev = 78");
    ledger = fixture_ledger(state);
    assert_true(adopt(state, ledger, "vault", &error));
    record->seal.file.dev = 78;
    fixture_expect_row(ledger, record);
    wk_ledger_unref(ledger);
}

/* An empty folder where the vault should be mounted. */
static void
test_vault_not_mounted(void **state)
{
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(WkRecord) record = NULL;
    g_autoptr(GError) error = NULL;

    assert_true(adopt(state, ledger, "vault", &error));
    record = hold_image(ledger, 5);
    assert_false(adopt(state, ledger, "other", &error));
    fixture_expect_error(&error, WK_ERROR_REFUSED, "OtherVault");
    assert_false(fixture_exists(fixture_path(state, "other/.wukong-vault"))); /* no trace */
    fixture_expect_row(ledger, record);
    assert_true(adopt(state, ledger, "vault", &error));

    /* nothing is held: another vault is fine, and then it is the one */
    record->state = WK_LEDGER_NONE;
    assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_SEALED, "op", &error));
    assert_true(adopt(state, ledger, "other", &error));
    record->state = WK_LEDGER_SEALED;
    assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_NONE, NULL, &error));
    assert_false(adopt(state, ledger, "vault", &error));
    fixture_expect_error(&error, WK_ERROR_REFUSED, "OtherVault");
    assert_true(adopt(state, ledger, "other", &error));
}

static const WkLedgerMigration history[] = {
    { "one", "CREATE TABLE t (a TEXT NOT NULL) STRICT; INSERT INTO t VALUES ('kept')" },
    { "two", "ALTER TABLE t ADD COLUMN b INTEGER NOT NULL DEFAULT 7" },
    { "three", "UPDATE t SET b = b + 1; CREATE INDEX i ON t (a)" },
};

static void
test_migrations(void **state)
{
    g_autoptr(GError) error = NULL;

    for (guint from = 0; from <= 3; from++) {
        WK_AUTO_DB sqlite3 *db = NULL;
        g_autofree char *name = g_strdup_printf("from-%u.db", from);

        assert_int_equal(sqlite3_open(fixture_path(state, name), &db), SQLITE_OK);
        assert_true(wk_ledger_migrate(db, history, from, &error));
        assert_int_equal(ask(db, "PRAGMA user_version"), from);
        assert_true(wk_ledger_migrate(db, history, 3, &error));
        assert_true(wk_ledger_migrate(db, history, 3, &error)); /* nothing left to do */
        fixture_no_error(&error);
        assert_int_equal(ask(db, "PRAGMA user_version"), 3);
        assert_int_equal(ask(db, "PRAGMA application_id"), WK_LEDGER_APPLICATION_ID);
        assert_int_equal(ask(db, "SELECT count(*) FROM t WHERE a = 'kept' AND b = 8"), 1);
        assert_false(wk_ledger_migrate(db, history, 2, &error));
        fixture_expect_error(&error, WK_ERROR_CORRUPT, "LedgerTooNew");
    }
}

/* All or nothing, wherever it breaks. */
static void
test_migration_fails(void **state)
{
    g_autoptr(GError) error = NULL;
    WkLedgerMigration broken[G_N_ELEMENTS(history) + 1];

    memcpy(broken, history, sizeof history);
    broken[3] = (WkLedgerMigration){ "four", "DROP TABLE t; INSERT INTO nowhere VALUES (1)" };
    for (guint from = 0; from <= 3; from++) {
        WK_AUTO_DB sqlite3 *db = NULL;
        g_autofree char *name = g_strdup_printf("from-%u.db", from);

        assert_int_equal(sqlite3_open(fixture_path(state, name), &db), SQLITE_OK);
        assert_true(wk_ledger_migrate(db, broken, from, &error));
        assert_false(wk_ledger_migrate(db, broken, 4, &error));
        assert_non_null(strstr(error->message, "four"));
        g_clear_error(&error);
        assert_int_equal(ask(db, "PRAGMA user_version"), from);
        assert_int_equal(ask(db, "SELECT count(*) FROM t"), from > 0 ? 1 : -1);
        assert_int_equal(ask(db, "SELECT b FROM t"), from < 2 ? -1 : from == 2 ? 7 : 8);
        assert_int_not_equal(sqlite3_get_autocommit(db), 0);
    }
}

/* Every column that the program reads and writes is in the schema, and the other way round. */
static void
test_columns(void **state)
{
    static const WkTable *const tables[] = { &wk_table_guests, &wk_table_witnesses,
                                             &wk_table_operations };
    static const gint64 extra[] = { 1, 3, 1 }; /* has_witnesses; key and place; seq */
    WK_AUTO_DB sqlite3 *db = NULL;

    wk_ledger_unref(fixture_ledger(state));
    assert_int_equal(sqlite3_open(fixture_ledger_path(state), &db), SQLITE_OK);
    for (gsize i = 0; i < G_N_ELEMENTS(tables); i++) {
        g_autofree char *names = wk_table_names(tables[i]);
        g_autofree char *read = g_strdup_printf("SELECT %s FROM %s", names, tables[i]->name);
        g_autofree char *count =
            g_strdup_printf("SELECT count(*) FROM pragma_table_info('%s')", tables[i]->name);

        assert_int_equal(sqlite3_exec(db, read, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(ask(db, count), tables[i]->n_columns + extra[i]);
    }
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_modes),
        WITH_FOLDER(test_meta),
        WITH_FOLDER(test_locked),
        WITH_FOLDER(test_garbage),
        WITH_FOLDER(test_damaged_header),
        WITH_FOLDER(test_foreign),
        WITH_FOLDER(test_too_new),
        WITH_FOLDER(test_too_new_in_the_log),
        WITH_FOLDER(test_damaged_pages),
        WITH_FOLDER(test_other_machine),
        WITH_FOLDER(test_odd_places),
        WITH_FOLDER(test_folder_above_is_symlink),
        WITH_FOLDER(test_unreadable_rows),
        WITH_FOLDER(test_unreadable_operation),
        WITH_FOLDER(test_vault_renumbered),
        WITH_FOLDER(test_vault_not_mounted),
        WITH_FOLDER(test_migrations),
        WITH_FOLDER(test_migration_fails),
        WITH_FOLDER(test_columns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
