/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/ledger_private.h"

#include "base/error.h"
#include "base/files.h"

/* More of either is no ledger of a node; reading on would only fill the memory. */
#define GUESTS_MAX    65536
#define WITNESSES_MAX 4096

WkLedger *
wk_ledger_open(const char *path, GError **error)
{
    WK_AUTO_FD int lock_fd = wk_ledger_lock(path, error);
    WK_AUTO_DB sqlite3 *db = NULL;
    WkLedger *self;

    if (lock_fd < 0)
        return NULL;
    db = wk_ledger_open_database(path, error);
    if (db == NULL)
        return NULL;
    self = g_atomic_rc_box_new0(WkLedger);
    self->path = g_strdup(path);
    self->lock_fd = g_steal_fd(&lock_fd);
    self->db = g_steal_pointer(&db);
    g_mutex_init(&self->lock);
    return self;
}

WkLedger *
wk_ledger_ref(WkLedger *self)
{
    return g_atomic_rc_box_acquire(self);
}

static void
ledger_clear(gpointer data)
{
    WkLedger *self = data;

    /* best effort: what is not written back now is played back at the next opening */
    (void)sqlite3_wal_checkpoint_v2(self->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    (void)sqlite3_close(self->db);
    wk_files_auto_close(&self->lock_fd); /* last: until here nobody else may open it */
    g_mutex_clear(&self->lock);
    g_free(self->path);
}

void
wk_ledger_unref(WkLedger *self)
{
    if (self != NULL)
        g_atomic_rc_box_release_full(self, ledger_clear);
}

static gboolean
bind_key(sqlite3_stmt *stmt, const char *source, const char *uuid, const char *what, GError **error)
{
    return (sqlite3_bind_text(stmt, 1, source, -1, SQLITE_STATIC) == SQLITE_OK
            && sqlite3_bind_text(stmt, 2, uuid, -1, SQLITE_STATIC) == SQLITE_OK)
           || wk_ledger_fail(sqlite3_db_handle(stmt), what, error);
}

static gboolean
read_witnesses(WkLedger *self, WkRecord *record, GError **error)
{
    static const char what[] = "reading a guest's disks";
    g_autofree char *names = wk_table_names(&wk_table_witnesses);
    g_autofree char *sql = NULL;
    g_autoptr(sqlite3_stmt) stmt = NULL;
    int code;

    sql = g_strdup_printf("SELECT %s FROM witnesses WHERE source = ?1 AND uuid = ?2 ORDER BY place",
                          names);
    stmt = wk_ledger_prepare(self->db, sql, what, error);
    if (stmt == NULL || !bind_key(stmt, record->source, record->uuid, what, error))
        return FALSE;
    record->disks = wk_witness_array_new();
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        g_autoptr(WkWitness) disk = g_new0(WkWitness, 1);

        if (record->disks->len == WITNESSES_MAX) {
            wk_error_set(error, WK_ERROR_CORRUPT, "LedgerCorrupt", "a guest has too many disks");
            return FALSE;
        }
        if (!wk_row_read(stmt, &wk_table_witnesses, disk, error))
            return FALSE;
        g_ptr_array_add(record->disks, g_steal_pointer(&disk));
    }
    return code == SQLITE_DONE || wk_ledger_fail(self->db, what, error);
}

/* The guest that @stmt stands on; its last column says whether W was noted. */
static WkRecord *
read_guest(WkLedger *self, sqlite3_stmt *stmt, GError **error)
{
    g_autoptr(WkRecord) record = wk_record_new(NULL, NULL, NULL);

    if (!wk_row_read(stmt, &wk_table_guests, record, error)
        || (sqlite3_column_int(stmt, (int)wk_table_guests.n_columns) != 0
            && !read_witnesses(self, record, error))) {
        g_prefix_error(
            error, "ledger: guest '%s': ", record->uuid != NULL ? record->uuid : "without an id");
        return NULL;
    }
    return g_steal_pointer(&record);
}

static sqlite3_stmt *
select_guests(WkLedger *self, const char *where, GError **error)
{
    g_autofree char *names = wk_table_names(&wk_table_guests);
    g_autofree char *sql = g_strdup_printf("SELECT %s, has_witnesses FROM guests %s", names, where);

    return wk_ledger_prepare(self->db, sql, "reading guests", error);
}

WkRecord *
wk_ledger_get(WkLedger *self, const char *source, const char *uuid, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_autoptr(sqlite3_stmt) stmt = select_guests(self, "WHERE source = ?1 AND uuid = ?2", error);
    int code;

    if (stmt == NULL || !bind_key(stmt, source, uuid, "reading a guest", error))
        return NULL;
    code = sqlite3_step(stmt);
    if (code == SQLITE_DONE)
        return NULL;
    if (code == SQLITE_ROW)
        return read_guest(self, stmt, error);
    wk_ledger_fail(self->db, "reading a guest", error);
    return NULL;
}

static void
free_record(gpointer data)
{
    wk_record_free(data);
}

GPtrArray *
wk_ledger_list(WkLedger *self, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func(free_record);
    g_autoptr(sqlite3_stmt) stmt = select_guests(self, "ORDER BY source, uuid", error);
    int code;

    if (stmt == NULL)
        return NULL;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        WkRecord *record = NULL;

        if (records->len < GUESTS_MAX)
            record = read_guest(self, stmt, error);
        else
            wk_error_set(error, WK_ERROR_CORRUPT, "LedgerCorrupt", "the ledger has too many rows");
        if (record == NULL)
            return NULL;
        g_ptr_array_add(records, record);
    }
    if (code == SQLITE_DONE)
        return g_steal_pointer(&records);
    wk_ledger_fail(self->db, "reading guests", error);
    return NULL;
}

/* One statement that writes the row only if it is what the caller saw. Parameters: the columns,
 * then the state and, where there is one, the op. */
static char *
commit_sql(WkLedgerState from)
{
    const guint n = wk_table_guests.n_columns;
    g_autofree char *names = wk_table_names(&wk_table_guests);
    g_autofree char *places = wk_table_places(&wk_table_guests, 1);
    g_autofree char *settings = wk_table_settings(&wk_table_guests);

    if (from == WK_LEDGER_NONE)
        return g_strdup_printf("INSERT INTO guests (%s) VALUES (%s) ON CONFLICT (source, uuid) DO "
                               "UPDATE SET %s WHERE guests.state = ?%u",
                               names, places, settings, n + 1);
    return g_strdup_printf("UPDATE guests SET %s WHERE source = ?1 AND uuid = ?2 AND state = ?%u "
                           "AND op IS ?%u",
                           settings, n + 1, n + 2);
}

static gboolean
write_guest(WkLedger *self, const WkRecord *record, WkLedgerState from, const char *from_op,
            GError **error)
{
    static const char what[] = "writing a guest";
    const int n = (int)wk_table_guests.n_columns;
    g_autofree char *sql = commit_sql(from);
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(self->db, sql, what, error);

    if (stmt == NULL || !wk_row_bind(stmt, 1, &wk_table_guests, record, error))
        return FALSE;
    if (sqlite3_bind_text(stmt, n + 1, wk_ledger_state_name(from), -1, SQLITE_STATIC) != SQLITE_OK
        || (from != WK_LEDGER_NONE
            && sqlite3_bind_text(stmt, n + 2, from_op, -1, SQLITE_STATIC) != SQLITE_OK))
        return wk_ledger_fail(self->db, what, error);
    if (!wk_ledger_finish(stmt, what, error))
        return FALSE;
    if (sqlite3_changes(self->db) == 1)
        return TRUE;
    wk_error_set(error, WK_ERROR_CONFLICT, NULL,
                 "ledger: guest '%s' is not '%s' with save '%s' any more", record->uuid,
                 wk_ledger_state_name(from), from_op != NULL ? from_op : "");
    return FALSE;
}

static gboolean
write_key_flag(WkLedger *self, const WkRecord *record, const char *sql, gboolean flag,
               GError **error)
{
    static const char what[] = "writing a guest's disks";
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(self->db, sql, what, error);

    if (stmt == NULL || !bind_key(stmt, record->source, record->uuid, what, error))
        return FALSE;
    if (sqlite3_bind_parameter_count(stmt) == 3 && sqlite3_bind_int(stmt, 3, flag) != SQLITE_OK)
        return wk_ledger_fail(self->db, what, error);
    return wk_ledger_finish(stmt, what, error);
}

static gboolean
insert_witnesses(WkLedger *self, const WkRecord *record, GError **error)
{
    static const char what[] = "writing a guest's disks";
    g_autofree char *names = wk_table_names(&wk_table_witnesses);
    g_autofree char *places = wk_table_places(&wk_table_witnesses, 4);
    g_autofree char *sql = NULL;
    g_autoptr(sqlite3_stmt) stmt = NULL;

    sql = g_strdup_printf("INSERT INTO witnesses (source, uuid, place, %s) VALUES (?1, ?2, ?3, %s)",
                          names, places);
    stmt = wk_ledger_prepare(self->db, sql, what, error);
    if (stmt == NULL || !bind_key(stmt, record->source, record->uuid, what, error))
        return FALSE;
    for (guint i = 0; i < record->disks->len; i++) {
        if (sqlite3_bind_int(stmt, 3, (int)i) != SQLITE_OK)
            return wk_ledger_fail(self->db, what, error);
        if (!wk_row_bind(stmt, 4, &wk_table_witnesses, g_ptr_array_index(record->disks, i), error)
            || !wk_ledger_finish(stmt, what, error))
            return FALSE;
        (void)sqlite3_reset(stmt);
    }
    return TRUE;
}

static gboolean
write_witnesses(WkLedger *self, const WkRecord *record, GError **error)
{
    if (record->disks != NULL && record->disks->len > WITNESSES_MAX) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "ledger: guest '%s' has too many disks",
                     record->uuid);
        return FALSE;
    }
    return write_key_flag(self, record, "DELETE FROM witnesses WHERE source = ?1 AND uuid = ?2",
                          FALSE, error)
           && write_key_flag(self, record,
                             "UPDATE guests SET has_witnesses = ?3 WHERE source = ?1 AND uuid = ?2",
                             record->disks != NULL, error)
           && (record->disks == NULL || insert_witnesses(self, record, error));
}

gboolean
wk_ledger_commit(WkLedger *self, const WkRecord *record, WkLedgerState from, const char *from_op,
                 GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };

    return wk_ledger_begin_write(self, &transaction, error)
           && write_guest(self, record, from, from_op, error)
           && write_witnesses(self, record, error)
           && (record->state != WK_LEDGER_NONE
               || wk_ledger_drop_header(self, record->source, record->uuid, error))
           && wk_ledger_end_write(self, &transaction, error);
}

/* TRUE when the guest has a row that is not in state none. */
static gboolean
is_held(WkLedger *self, const char *source, const char *uuid, gboolean *held, GError **error)
{
    static const char what[] = "looking for a guest";
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(
        self->db, "SELECT 1 FROM guests WHERE source = ?1 AND uuid = ?2", what, error);
    int code;

    if (stmt == NULL || !bind_key(stmt, source, uuid, what, error))
        return FALSE;
    code = sqlite3_step(stmt);
    *held = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE || wk_ledger_fail(self->db, what, error);
}

static gboolean
delete_guest(WkLedger *self, const char *source, const char *uuid, GError **error)
{
    static const char what[] = "forgetting a guest";
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(
        self->db, "DELETE FROM guests WHERE source = ?1 AND uuid = ?2 AND state = ?3", what, error);

    if (stmt == NULL || !bind_key(stmt, source, uuid, what, error))
        return FALSE;
    if (sqlite3_bind_text(stmt, 3, wk_ledger_state_name(WK_LEDGER_NONE), -1, SQLITE_STATIC)
        != SQLITE_OK)
        return wk_ledger_fail(self->db, what, error);
    return wk_ledger_finish(stmt, what, error);
}

gboolean
wk_ledger_forget(WkLedger *self, const char *source, const char *uuid, GError **error)
{
    WK_LEDGER_LOCK GMutex *lock G_GNUC_UNUSED = wk_ledger_hold(self);
    g_auto(WkLedgerTransaction) transaction = { NULL };
    gboolean held = FALSE;

    if (!wk_ledger_begin_write(self, &transaction, error)
        || !delete_guest(self, source, uuid, error) || !is_held(self, source, uuid, &held, error))
        return FALSE;
    if (!held)
        return wk_ledger_end_write(self, &transaction, error);
    wk_error_set(error, WK_ERROR_CONFLICT, NULL, "ledger: guest '%s' still has an image", uuid);
    return FALSE;
}
