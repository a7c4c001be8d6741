/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger as another program sees it: SQLite, read only, beside the agent. */
#include "walk.h"

#include <sqlite3.h>

#define LEDGER LAB_STATE_DIR "/ledger.db"

static void
close_db(sqlite3 **db)
{
    sqlite3_close(*db);
}

static gboolean
fail(sqlite3 *db, const char *sql, GError **error)
{
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "ledger, '%s': %s", sql, sqlite3_errmsg(db));
    return FALSE;
}

/* The first value of the first row; @value (transfer full): NULL when there is no row. */
static gboolean
ask(const char *sql, const char *parameter, char **value, GError **error)
{
    __attribute__((cleanup(close_db))) sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    gboolean ok;
    int code;

    *value = NULL;
    if (sqlite3_open_v2(LEDGER, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK
        || sqlite3_busy_timeout(db, 2000) != SQLITE_OK
        || sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return fail(db, sql, error);
    if (parameter != NULL)
        sqlite3_bind_text(stmt, 1, parameter, -1, SQLITE_STATIC);
    code = sqlite3_step(stmt);
    ok = code == SQLITE_ROW || code == SQLITE_DONE || fail(db, sql, error);
    if (code == SQLITE_ROW)
        *value = g_strdup((const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    return ok;
}

char *
walk_ledger_state(Walk *walk, GError **error)
{
    char *state = NULL;

    if (!ask("SELECT state FROM guests WHERE uuid = ?1", walk->uuid, &state, error))
        return NULL;
    return state != NULL ? state : g_strdup("none");
}

char *
walk_ledger_op(Walk *walk)
{
    char *op = NULL;

    return ask("SELECT op FROM guests WHERE uuid = ?1", walk->uuid, &op, NULL) ? op : NULL;
}

int
walk_ledger_open_operations(Walk *walk, GError **error)
{
    g_autofree char *count = NULL;

    if (!ask("SELECT count(*) FROM operations WHERE guest = ?1 AND state IN ('queued', 'running')",
             walk->uuid, &count, error))
        return -1;
    return (int)g_ascii_strtoll(count, NULL, 10);
}

char *
walk_ledger_rows(GError **error)
{
    char *rows = NULL;

    (void)ask("SELECT 'guests ' || (SELECT count(*) FROM guests) || ', witnesses ' || (SELECT "
              "count(*) FROM witnesses) || ', bindings ' || (SELECT count(*) FROM bindings) || ', "
              "outbox ' || (SELECT count(*) FROM outbox) || ', headers ' || (SELECT count(*) FROM "
              "headers) || ', open operations ' || (SELECT count(*) FROM operations WHERE state IN "
              "('queued', 'running'))",
              NULL, &rows, error);
    return rows;
}

gboolean
walk_ledger_check(GError **error)
{
    g_autofree char *verdict = NULL;

    if (!ask("PRAGMA integrity_check", NULL, &verdict, error))
        return FALSE;
    if (g_strcmp0(verdict, "ok") == 0)
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "the ledger is damaged: %s", verdict);
    return FALSE;
}
