/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/ledger_private.h"

#include "base/error.h"

#define OPERATIONS_MAX 100000 /* open ones; far more than a node can have */

static gboolean
write_operation(WkLedger *self, const WkOperation *operation, GError **error)
{
    static const char what[] = "writing an operation";
    g_autofree char *names = wk_table_names(&wk_table_operations);
    g_autofree char *places = wk_table_places(&wk_table_operations, 1);
    g_autofree char *settings = wk_table_settings(&wk_table_operations);
    g_autofree char *sql = NULL;
    g_autoptr(sqlite3_stmt) stmt = NULL;

    sql =
        g_strdup_printf("INSERT INTO operations (%s) VALUES (%s) ON CONFLICT (id) DO UPDATE SET %s",
                        names, places, settings);
    stmt = wk_ledger_prepare(self->db, sql, what, error);
    return stmt != NULL && wk_row_bind(stmt, 1, &wk_table_operations, operation, error)
           && wk_ledger_finish(stmt, what, error);
}

gboolean
wk_ledger_put_operation(WkLedger *self, const WkOperation *operation, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };

    return wk_ledger_begin_write(self, &transaction, error)
           && write_operation(self, operation, error)
           && (operation->wukong_uid == NULL || !wk_op_state_is_final(operation->state)
               || wk_ledger_note_outcome(self, operation, error))
           && wk_ledger_end_write(self, &transaction, error);
}

static void
free_operation(gpointer data)
{
    wk_operation_free(data);
}

static WkOperation *
read_operation(sqlite3_stmt *stmt, GError **error)
{
    g_autoptr(WkOperation) operation = g_new0(WkOperation, 1);

    operation->step = WK_STEP_NONE; /* of the life of the agent that ran it */
    if (!wk_row_read(stmt, &wk_table_operations, operation, error)) {
        g_prefix_error(error, "ledger: operation '%s': ",
                       operation->id != NULL ? operation->id : "without an id");
        return NULL;
    }
    return g_steal_pointer(&operation);
}

static sqlite3_stmt *
select_operations(WkLedger *self, const char *tail, GError **error)
{
    g_autofree char *names = wk_table_names(&wk_table_operations);
    g_autofree char *sql = g_strdup_printf("SELECT %s FROM operations %s", names, tail);

    return wk_ledger_prepare(self->db, sql, "reading operations", error);
}

/* The final states, as parameters @first to @first + 2. */
static gboolean
bind_final_states(sqlite3_stmt *stmt, int first, GError **error)
{
    for (int state = WK_OP_SUCCEEDED; state <= WK_OP_CANCELLED; state++) {
        if (sqlite3_bind_text(stmt, first + state - WK_OP_SUCCEEDED,
                              wk_op_state_name((WkOpState)state), -1, SQLITE_STATIC)
            != SQLITE_OK)
            return wk_ledger_fail(sqlite3_db_handle(stmt), "reading operations", error);
    }
    return TRUE;
}

static GPtrArray *
read_operations(sqlite3_stmt *stmt, GError **error)
{
    g_autoptr(GPtrArray) operations = g_ptr_array_new_with_free_func(free_operation);
    int code;

    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        WkOperation *operation = NULL;

        if (operations->len < OPERATIONS_MAX)
            operation = read_operation(stmt, error);
        else
            wk_error_set(error, WK_ERROR_CORRUPT, "LedgerCorrupt", "too many operations");
        if (operation == NULL)
            return NULL;
        g_ptr_array_add(operations, operation);
    }
    if (code == SQLITE_DONE)
        return g_steal_pointer(&operations);
    wk_ledger_fail(sqlite3_db_handle(stmt), "reading operations", error);
    return NULL;
}

GPtrArray *
wk_ledger_open_operations(WkLedger *self, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    /* "not final" rather than "queued or running": a state that can't be read must show */
    g_autoptr(sqlite3_stmt) stmt =
        select_operations(self, "WHERE state NOT IN (?1, ?2, ?3) ORDER BY seq", error);

    if (stmt == NULL || !bind_final_states(stmt, 1, error))
        return NULL;
    return read_operations(stmt, error);
}

GPtrArray *
wk_ledger_history(WkLedger *self, const char *guest, guint limit, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_autoptr(sqlite3_stmt) stmt =
        select_operations(self,
                          guest != NULL ? "WHERE guest = ?2 ORDER BY seq DESC LIMIT ?1"
                                        : "ORDER BY seq DESC LIMIT ?1",
                          error);

    if (stmt == NULL)
        return NULL;
    if (sqlite3_bind_int64(stmt, 1, MIN(limit, OPERATIONS_MAX)) != SQLITE_OK
        || (guest != NULL && sqlite3_bind_text(stmt, 2, guest, -1, SQLITE_STATIC) != SQLITE_OK)) {
        wk_ledger_fail(self->db, "reading operations", error);
        return NULL;
    }
    return read_operations(stmt, error);
}

static gboolean
delete_finished(WkLedger *self, gint64 before_us, GError **error)
{
    static const char what[] = "dropping old operations";
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(
        self->db, "DELETE FROM operations WHERE finished_at_us < ?1 AND state IN (?2, ?3, ?4)",
        what, error);

    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_int64(stmt, 1, before_us) != SQLITE_OK)
        return wk_ledger_fail(self->db, what, error);
    return bind_final_states(stmt, 2, error) && wk_ledger_finish(stmt, what, error);
}

gboolean
wk_ledger_trim(WkLedger *self, gint64 before_us, guint *n_dropped, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };

    if (!wk_ledger_begin_write(self, &transaction, error)
        || !delete_finished(self, before_us, error))
        return FALSE;
    if (n_dropped != NULL)
        *n_dropped = (guint)sqlite3_changes(self->db);
    return wk_ledger_end_write(self, &transaction, error);
}
