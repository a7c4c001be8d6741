/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/ledger_private.h"

#include "base/error.h"

#define BINDINGS_MAX 100000

static sqlite3_stmt *
select_bindings(WkLedger *self, const char *tail, GError **error)
{
    g_autofree char *names = wk_table_names(&wk_table_bindings);
    g_autofree char *sql = g_strdup_printf("SELECT %s FROM bindings %s", names, tail);

    return wk_ledger_prepare(self->db, sql, "reading Wukongs", error);
}

static WkBinding *
read_binding(sqlite3_stmt *stmt, GError **error)
{
    g_autoptr(WkBinding) binding = g_new0(WkBinding, 1);

    if (!wk_row_read(stmt, &wk_table_bindings, binding, error)) {
        g_prefix_error(
            error, "ledger: Wukong '%s': ", binding->uid != NULL ? binding->uid : "without a uid");
        return NULL;
    }
    return g_steal_pointer(&binding);
}

static gboolean
write_binding(WkLedger *self, const WkBinding *binding, GError **error)
{
    static const char what[] = "writing a Wukong";
    g_autofree char *names = wk_table_names(&wk_table_bindings);
    g_autofree char *places = wk_table_places(&wk_table_bindings, 1);
    g_autofree char *settings = wk_table_settings(&wk_table_bindings);
    g_autofree char *sql =
        g_strdup_printf("INSERT INTO bindings (%s) VALUES (%s) ON CONFLICT (uid) DO UPDATE SET %s",
                        names, places, settings);
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(self->db, sql, what, error);

    return stmt != NULL && wk_row_bind(stmt, 1, &wk_table_bindings, binding, error)
           && wk_ledger_finish(stmt, what, error);
}

/* Returns: FALSE with @error, or with @binding NULL when there is none of @uid. */
static gboolean
find_binding(WkLedger *self, const char *uid, WkBinding **binding, GError **error)
{
    g_autoptr(sqlite3_stmt) stmt = select_bindings(self, "WHERE uid = ?1", error);
    int code;

    *binding = NULL;
    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_text(stmt, 1, uid, -1, SQLITE_STATIC) != SQLITE_OK)
        return wk_ledger_fail(self->db, "reading a Wukong", error);
    code = sqlite3_step(stmt);
    if (code == SQLITE_DONE)
        return TRUE;
    if (code != SQLITE_ROW)
        return wk_ledger_fail(self->db, "reading a Wukong", error);
    *binding = read_binding(stmt, error);
    return *binding != NULL;
}

gboolean
wk_ledger_note_outcome(WkLedger *self, const WkOperation *operation, GError **error)
{
    g_autoptr(WkBinding) binding = NULL;

    if (!find_binding(self, operation->wukong_uid, &binding, error))
        return FALSE;
    if (binding == NULL || !wk_binding_note(binding, operation))
        return TRUE;
    return write_binding(self, binding, error);
}

gboolean
wk_ledger_put_binding(WkLedger *self, const WkBinding *binding, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };

    return wk_ledger_begin_write(self, &transaction, error) && write_binding(self, binding, error)
           && wk_ledger_end_write(self, &transaction, error);
}

static void
free_binding(gpointer data)
{
    wk_binding_free(data);
}

GPtrArray *
wk_ledger_list_bindings(WkLedger *self, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_autoptr(GPtrArray) bindings = g_ptr_array_new_with_free_func(free_binding);
    g_autoptr(sqlite3_stmt) stmt = select_bindings(self, "ORDER BY uid", error);
    int code = SQLITE_DONE;

    if (stmt == NULL)
        return NULL;
    while (bindings->len < BINDINGS_MAX && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        WkBinding *binding = read_binding(stmt, error);

        if (binding == NULL)
            return NULL;
        g_ptr_array_add(bindings, binding);
    }
    if (code == SQLITE_DONE)
        return g_steal_pointer(&bindings);
    wk_ledger_fail(self->db, "reading Wukongs", error);
    return NULL;
}

static gboolean
clear_owed(WkLedger *self, const char *uid, const char *owed, GError **error)
{
    static const char what[] = "settling an action";
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(
        self->db, "UPDATE bindings SET owed = NULL WHERE uid = ?1 AND owed = ?2", what, error);

    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_text(stmt, 1, uid, -1, SQLITE_STATIC) != SQLITE_OK
        || sqlite3_bind_text(stmt, 2, owed, -1, SQLITE_STATIC) != SQLITE_OK)
        return wk_ledger_fail(self->db, what, error);
    return wk_ledger_finish(stmt, what, error);
}

gboolean
wk_ledger_settle_owed(WkLedger *self, const char *uid, const char *owed, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };

    return wk_ledger_begin_write(self, &transaction, error) && clear_owed(self, uid, owed, error)
           && wk_ledger_end_write(self, &transaction, error);
}

static gboolean
delete_binding(WkLedger *self, const char *uid, GError **error)
{
    static const char what[] = "forgetting a Wukong";
    g_autoptr(sqlite3_stmt) stmt =
        wk_ledger_prepare(self->db, "DELETE FROM bindings WHERE uid = ?1", what, error);

    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_text(stmt, 1, uid, -1, SQLITE_STATIC) != SQLITE_OK)
        return wk_ledger_fail(self->db, what, error);
    return wk_ledger_finish(stmt, what, error);
}

gboolean
wk_ledger_forget_binding(WkLedger *self, const char *uid, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };

    return wk_ledger_begin_write(self, &transaction, error) && delete_binding(self, uid, error)
           && wk_ledger_end_write(self, &transaction, error);
}
