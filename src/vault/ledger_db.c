/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/ledger_private.h"

#include "base/error.h"

#include <errno.h>

static const char *
reason_of(sqlite3 *db, int code)
{
    const int errnum = sqlite3_system_errno(db);

    if ((code & 0xff) == SQLITE_FULL
        || ((code & 0xff) == SQLITE_IOERR && (errnum == ENOSPC || errnum == EDQUOT)))
        return "NoSpace";
    switch (code & 0xff) {
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
        return "IOError";
    default:
        return NULL;
    }
}

gboolean
wk_ledger_fail(sqlite3 *db, const char *what, GError **error)
{
    const int code = sqlite3_extended_errcode(db);
    const char *text = sqlite3_errmsg(db);

    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "LedgerBusy", "ledger: %s: %s", what, text);
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        wk_error_set(error, WK_ERROR_CORRUPT, "LedgerCorrupt", "ledger: %s: %s (%d)", what, text,
                     code);
        break;
    default:
        wk_error_set(error, WK_ERROR_FAILED, reason_of(db, code), "ledger: %s: %s (%d)", what, text,
                     code);
        break;
    }
    return FALSE;
}

gboolean
wk_ledger_exec(sqlite3 *db, const char *sql, const char *what, GError **error)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK || wk_ledger_fail(db, what, error);
}

sqlite3_stmt *
wk_ledger_prepare(sqlite3 *db, const char *sql, const char *what, GError **error)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        wk_ledger_fail(db, what, error);
    return stmt;
}

gboolean
wk_ledger_begin(sqlite3 *db, WkLedgerTransaction *self, GError **error)
{
    if (!wk_ledger_exec(db, "BEGIN IMMEDIATE", "beginning a transaction", error))
        return FALSE;
    self->db = db;
    return TRUE;
}

gboolean
wk_ledger_end(WkLedgerTransaction *self, GError **error)
{
    if (!wk_ledger_exec(self->db, "COMMIT", "committing", error))
        return FALSE;
    self->db = NULL;
    return TRUE;
}

void
wk_ledger_transaction_clear(WkLedgerTransaction *self)
{
    /* some failures have rolled it back already */
    if (self->db != NULL && sqlite3_get_autocommit(self->db) == 0)
        (void)sqlite3_exec(self->db, "ROLLBACK", NULL, NULL, NULL);
    self->db = NULL;
}

gboolean
wk_ledger_finish(sqlite3_stmt *stmt, const char *what, GError **error)
{
    return sqlite3_step(stmt) == SQLITE_DONE
           || wk_ledger_fail(sqlite3_db_handle(stmt), what, error);
}

gboolean
wk_ledger_get_meta(sqlite3 *db, const char *key, char **value, GError **error)
{
    static const char what[] = "reading what was noted";
    g_autoptr(sqlite3_stmt) stmt =
        wk_ledger_prepare(db, "SELECT value FROM meta WHERE key = ?1", what, error);
    int code;

    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC) != SQLITE_OK)
        return wk_ledger_fail(db, what, error);
    code = sqlite3_step(stmt);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return wk_ledger_fail(db, what, error);
    *value = g_strdup(code == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : "");
    return *value != NULL || wk_ledger_fail(db, what, error);
}

gboolean
wk_ledger_set_meta(sqlite3 *db, const char *key, const char *value, GError **error)
{
    static const char what[] = "noting something";
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(
        db, "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", what, error);

    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC) != SQLITE_OK
        || sqlite3_bind_text(stmt, 2, value, -1, SQLITE_STATIC) != SQLITE_OK)
        return wk_ledger_fail(db, what, error);
    return wk_ledger_finish(stmt, what, error);
}

gboolean
wk_ledger_settle(sqlite3 *db, GError **error)
{
    g_auto(WkLedgerTransaction) transaction = { NULL };

    /* empty the WAL, then begin it anew with another salt: frames of old can't count any more,
     * even if the truncation is lost with the power */
    if (sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) != SQLITE_OK)
        return wk_ledger_fail(db, "emptying the log after a failed commit", error);
    return wk_ledger_begin(db, &transaction, error)
           && wk_ledger_exec(db,
                             "INSERT INTO meta (key, value) VALUES ('settled', '1') ON CONFLICT "
                             "(key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
                             "settling a failed commit", error)
           && wk_ledger_end(&transaction, error);
}

/*
 * Every change of the ledger is one transaction between these two. With synchronous=FULL the WAL
 * is synced inside COMMIT, so TRUE means durable. When that sync fails the pages may be whole in
 * the log all the same, and a later recovery would take for done what the caller was told had
 * failed: the log is settled first, before anything else is written.
 */
gboolean
wk_ledger_begin_write(WkLedger *self, WkLedgerTransaction *transaction, GError **error)
{
    int moved = 0;

    if (sqlite3_file_control(self->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK
        && moved != 0) {
        wk_error_set(error, WK_ERROR_FAILED, "IOError",
                     "the ledger '%s' was removed or replaced under the agent", self->path);
        return FALSE;
    }
    if (self->unsettled && !wk_ledger_settle(self->db, error))
        return FALSE;
    self->unsettled = FALSE;
    return wk_ledger_begin(self->db, transaction, error);
}

gboolean
wk_ledger_end_write(WkLedger *self, WkLedgerTransaction *transaction, GError **error)
{
    if (wk_ledger_end(transaction, error))
        return TRUE;
    self->unsettled = (sqlite3_errcode(self->db) & 0xff) == SQLITE_IOERR;
    wk_ledger_transaction_clear(transaction);
    if (self->unsettled)
        self->unsettled = !wk_ledger_settle(self->db, NULL); /* else at the next write */
    return FALSE;
}
