/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/ledger_private.h"

#include "base/error.h"

static void
free_entry(gpointer data)
{
    WkOutboxEntry *entry = data;

    g_free(entry->body);
    g_free(entry);
}

static gboolean
insert_entry(WkLedger *self, const char *body, gint64 *seq, GError **error)
{
    static const char what[] = "writing to the outbox";
    g_autoptr(sqlite3_stmt) stmt =
        wk_ledger_prepare(self->db, "INSERT INTO outbox (body) VALUES (?1)", what, error);

    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_text(stmt, 1, body, -1, SQLITE_STATIC) != SQLITE_OK)
        return wk_ledger_fail(self->db, what, error);
    if (!wk_ledger_finish(stmt, what, error))
        return FALSE;
    *seq = sqlite3_last_insert_rowid(self->db);
    return TRUE;
}

static gboolean
delete_entries(WkLedger *self, const char *sql, gint64 seq, GError **error)
{
    static const char what[] = "emptying the outbox";
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(self->db, sql, what, error);

    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_int64(stmt, 1, seq) != SQLITE_OK)
        return wk_ledger_fail(self->db, what, error);
    return wk_ledger_finish(stmt, what, error);
}

gboolean
wk_ledger_put_outbox(WkLedger *self, const char *body, gint64 *seq, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };

    if (strlen(body) > WK_OUTBOX_MAX_BYTES) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "ledger: a report of %zu bytes is too long",
                     strlen(body));
        return FALSE;
    }
    return wk_ledger_begin_write(self, &transaction, error) && insert_entry(self, body, seq, error)
           && delete_entries(self, "DELETE FROM outbox WHERE seq <= ?1", *seq - WK_OUTBOX_MAX,
                             error)
           && wk_ledger_end_write(self, &transaction, error);
}

gboolean
wk_ledger_drop_outbox(WkLedger *self, gint64 seq, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };

    return wk_ledger_begin_write(self, &transaction, error)
           && delete_entries(self, "DELETE FROM outbox WHERE seq = ?1", seq, error)
           && wk_ledger_end_write(self, &transaction, error);
}

GPtrArray *
wk_ledger_list_outbox(WkLedger *self, GError **error)
{
    static const char what[] = "reading the outbox";
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(free_entry);
    g_autoptr(sqlite3_stmt) stmt =
        wk_ledger_prepare(self->db, "SELECT seq, body FROM outbox ORDER BY seq", what, error);
    int code;

    if (stmt == NULL)
        return NULL;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *body = (const char *)sqlite3_column_text(stmt, 1);
        WkOutboxEntry *entry;

        if (body == NULL || strlen(body) > WK_OUTBOX_MAX_BYTES)
            continue; /* not worth a ledger that can't be read */
        entry = g_new0(WkOutboxEntry, 1);
        entry->seq = sqlite3_column_int64(stmt, 0);
        entry->body = g_strdup(body);
        g_ptr_array_add(entries, entry);
    }
    if (code == SQLITE_DONE)
        return g_steal_pointer(&entries);
    wk_ledger_fail(self->db, what, error);
    return NULL;
}
