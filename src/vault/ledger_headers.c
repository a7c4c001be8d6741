/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/ledger_private.h"

#include "base/error.h"

/* Headers of images whose XML was, or is being, rewritten for another pod. */

#define HEADER_MAX_BYTES (92 + 1024 * 1024)

static const char what[] = "the header of an image";

/* Returns: (transfer full): @sql with the key of a guest bound, or NULL. */
static sqlite3_stmt *
prepare(WkLedger *self, const char *sql, const char *source, const char *uuid, GError **error)
{
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(self->db, sql, what, error);

    if (stmt == NULL)
        return NULL;
    if (sqlite3_bind_text(stmt, 1, source, -1, SQLITE_TRANSIENT) == SQLITE_OK
        && sqlite3_bind_text(stmt, 2, uuid, -1, SQLITE_TRANSIENT) == SQLITE_OK)
        return g_steal_pointer(&stmt);
    wk_ledger_fail(self->db, what, error);
    return NULL;
}

static gboolean
insert(WkLedger *self, const char *source, const char *uuid, GBytes *header, GError **error)
{
    g_autoptr(sqlite3_stmt) stmt = prepare(self,
                                           "INSERT INTO headers (source, uuid, header) "
                                           "VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                                           source, uuid, error);
    gsize length;
    const void *bytes = g_bytes_get_data(header, &length);

    if (stmt == NULL)
        return FALSE;
    if (sqlite3_bind_blob(stmt, 3, bytes, (int)length, SQLITE_STATIC) != SQLITE_OK)
        return wk_ledger_fail(self->db, what, error);
    return wk_ledger_finish(stmt, what, error);
}

gboolean
wk_ledger_keep_header(WkLedger *self, const char *source, const char *uuid, GBytes *header,
                      GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };

    if (g_bytes_get_size(header) > HEADER_MAX_BYTES) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "ledger: the header is too long");
        return FALSE;
    }
    return wk_ledger_begin_write(self, &transaction, error)
           && insert(self, source, uuid, header, error)
           && wk_ledger_end_write(self, &transaction, error);
}

GBytes *
wk_ledger_get_header(WkLedger *self, const char *source, const char *uuid, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_autoptr(sqlite3_stmt) stmt = prepare(
        self, "SELECT header FROM headers WHERE source = ?1 AND uuid = ?2", source, uuid, error);
    const int code = stmt != NULL ? sqlite3_step(stmt) : SQLITE_ERROR;

    if (stmt == NULL || code == SQLITE_DONE)
        return NULL;
    if (code == SQLITE_ROW)
        return g_bytes_new(sqlite3_column_blob(stmt, 0), (gsize)sqlite3_column_bytes(stmt, 0));
    wk_ledger_fail(self->db, what, error);
    return NULL;
}

gboolean
wk_ledger_drop_header(WkLedger *self, const char *source, const char *uuid, GError **error)
{
    g_autoptr(sqlite3_stmt) stmt =
        prepare(self, "DELETE FROM headers WHERE source = ?1 AND uuid = ?2", source, uuid, error);

    return stmt != NULL && wk_ledger_finish(stmt, what, error);
}
