/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/ledger_private.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "vault/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define MACHINE_ID_PATH "/etc/machine-id"
#define BUSY_TIMEOUT_MS 1000
#define VALUE_MAX_BYTES (2 * 1024 * 1024) /* a header is the largest, with 92 bytes and 1 MiB */

/* Never change a step that was released: add one. */
static const WkLedgerMigration migrations[] = {
    { "making the tables",
      "CREATE TABLE meta ("
      "  key TEXT NOT NULL PRIMARY KEY,"
      "  value TEXT NOT NULL"
      ") STRICT;"
      "CREATE TABLE guests ("
      "  source TEXT NOT NULL,"
      "  uuid TEXT NOT NULL,"
      "  name TEXT NOT NULL,"
      "  state TEXT NOT NULL,"
      "  op TEXT,"
      "  boot_id TEXT,"
      "  image_dev INTEGER NOT NULL,"
      "  image_inode INTEGER NOT NULL,"
      "  image_bytes INTEGER NOT NULL,"
      "  image_mtime_ns INTEGER NOT NULL,"
      "  header_digest TEXT NOT NULL,"
      "  body_digest TEXT NOT NULL,"
      "  has_witnesses INTEGER NOT NULL DEFAULT 0," /* W noted, be it empty */
      "  paused_by_us INTEGER NOT NULL,"
      "  autostart INTEGER NOT NULL,"
      "  then_do TEXT NOT NULL,"
      "  want TEXT NOT NULL,"
      "  reason TEXT,"
      "  message TEXT,"
      "  save_path TEXT,"
      "  saved_at_us INTEGER NOT NULL,"
      "  last_action TEXT NOT NULL,"
      "  last_action_at_us INTEGER NOT NULL,"
      "  origin TEXT NOT NULL,"
      "  paused_to TEXT NOT NULL,"
      "  stopped_by_fallback INTEGER NOT NULL,"
      "  PRIMARY KEY (source, uuid)"
      ") STRICT;"
      "CREATE TABLE witnesses ("
      "  source TEXT NOT NULL,"
      "  uuid TEXT NOT NULL,"
      "  place INTEGER NOT NULL,"
      "  path TEXT NOT NULL,"
      "  partial INTEGER NOT NULL,"
      "  dev INTEGER NOT NULL,"
      "  inode INTEGER NOT NULL,"
      "  size_bytes INTEGER NOT NULL,"
      "  mtime_ns INTEGER NOT NULL,"
      "  PRIMARY KEY (source, uuid, place),"
      "  FOREIGN KEY (source, uuid) REFERENCES guests ON DELETE CASCADE"
      ") STRICT, WITHOUT ROWID;"
      "CREATE TABLE operations ("
      "  seq INTEGER PRIMARY KEY AUTOINCREMENT," /* the order, which no clock can turn round */
      "  id TEXT NOT NULL UNIQUE,"
      "  source TEXT NOT NULL,"
      "  guest TEXT NOT NULL,"
      "  name TEXT NOT NULL,"
      "  action TEXT NOT NULL,"
      "  target TEXT NOT NULL,"
      "  fallback TEXT NOT NULL,"
      "  origin TEXT NOT NULL,"
      "  state TEXT NOT NULL,"
      "  attempt INTEGER NOT NULL,"
      "  accepted_at_us INTEGER NOT NULL,"
      "  deadline_at_us INTEGER NOT NULL,"
      "  started_at_us INTEGER NOT NULL,"
      "  finished_at_us INTEGER NOT NULL,"
      "  reason TEXT,"
      "  message TEXT"
      ") STRICT;"
      "CREATE INDEX operations_of_guest ON operations (guest, seq);"
      "CREATE INDEX operations_by_state ON operations (state, seq);" },
    { "making the tables for Wukongs",
      "ALTER TABLE operations ADD COLUMN wukong_uid TEXT;"
      "ALTER TABLE operations ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;"
      "ALTER TABLE operations ADD COLUMN request_id TEXT;"
      "ALTER TABLE operations ADD COLUMN owed TEXT;"
      "CREATE TABLE bindings ("
      "  uid TEXT NOT NULL PRIMARY KEY,"
      "  namespace TEXT NOT NULL,"
      "  name TEXT NOT NULL,"
      "  source TEXT,"
      "  guest TEXT,"
      "  observed_generation INTEGER NOT NULL,"
      "  last_request_id TEXT,"
      "  action TEXT NOT NULL,"
      "  result TEXT NOT NULL,"
      "  reason TEXT,"
      "  message TEXT,"
      "  ended_at_us INTEGER NOT NULL,"
      "  owed TEXT,"
      "  deleted_at_us INTEGER NOT NULL"
      ") STRICT;"
      "CREATE TABLE outbox ("
      "  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
      "  body TEXT NOT NULL"
      ") STRICT;" },
    { "adding what guests are told of",
      "ALTER TABLE guests ADD COLUMN verified_at_us INTEGER NOT NULL DEFAULT 0;"
      "ALTER TABLE guests ADD COLUMN told_of TEXT;" },
    { "adding what guests in pods need",
      "ALTER TABLE guests ADD COLUMN vmi_uid TEXT;"
      "ALTER TABLE guests ADD COLUMN saved_vmi_uid TEXT;"
      "ALTER TABLE guests ADD COLUMN staged_for TEXT;"
      "ALTER TABLE guests ADD COLUMN template_hash TEXT;"
      "CREATE TABLE headers ("
      "  source TEXT NOT NULL,"
      "  uuid TEXT NOT NULL,"
      "  header BLOB NOT NULL,"
      "  PRIMARY KEY (source, uuid),"
      "  FOREIGN KEY (source, uuid) REFERENCES guests ON DELETE CASCADE"
      ") STRICT;" },
    { "adding the claims of guests in pods", "ALTER TABLE guests ADD COLUMN claims TEXT;" },
    { "adding the pins of guests in pods", "ALTER TABLE guests ADD COLUMN pinned_wukong TEXT;"
                                           "ALTER TABLE guests ADD COLUMN pinned_uid TEXT;" },
};

/* Reads the one value of a PRAGMA or query as text; @value (transfer full), "" when no row. */
static gboolean
read_value(sqlite3 *db, const char *sql, char **value, GError **error)
{
    g_autoptr(sqlite3_stmt) stmt = wk_ledger_prepare(db, sql, sql, error);
    int code;

    if (stmt == NULL)
        return FALSE;
    code = sqlite3_step(stmt);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return wk_ledger_fail(db, sql, error);
    *value = g_strdup(code == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL);
    if (*value == NULL)
        *value = g_strdup("");
    return TRUE;
}

static gboolean
read_integer(sqlite3 *db, const char *sql, gint64 *value, GError **error)
{
    g_autofree char *text = NULL;

    if (!read_value(db, sql, &text, error))
        return FALSE;
    *value = g_ascii_strtoll(text, NULL, 10);
    return TRUE;
}

/* Sets a PRAGMA and insists that it took: some are silently ignored where they can't be had, and
 * a ledger without them would promise what it can't keep. */
static gboolean
insist(sqlite3 *db, const char *set, const char *get, const char *expected, GError **error)
{
    g_autofree char *found = NULL;

    if (!wk_ledger_exec(db, set, set, error) || !read_value(db, get, &found, error))
        return FALSE;
    if (g_str_equal(found, expected))
        return TRUE;
    wk_error_set(error, WK_ERROR_FAILED, NULL, "ledger: '%s' gave '%s'", set, found);
    return FALSE;
}

gboolean
wk_ledger_migrate(sqlite3 *db, const WkLedgerMigration *steps, guint n_steps, GError **error)
{
    g_auto(WkLedgerTransaction) transaction = { NULL };
    g_autofree char *stamp = g_strdup_printf("PRAGMA user_version = %u; PRAGMA application_id = %d",
                                             n_steps, WK_LEDGER_APPLICATION_ID);
    gint64 version;

    if (!read_integer(db, "PRAGMA user_version", &version, error))
        return FALSE;
    if (version < 0 || version > n_steps) {
        wk_error_set(error, WK_ERROR_CORRUPT, "LedgerTooNew",
                     "ledger: its schema is version %" G_GINT64_FORMAT
                     ", this agent knows up to %u",
                     version, n_steps);
        return FALSE;
    }
    if (version == n_steps)
        return TRUE;
    if (!wk_ledger_begin(db, &transaction, error))
        return FALSE;
    for (guint i = (guint)version; i < n_steps; i++) {
        if (!wk_ledger_exec(db, steps[i].sql, steps[i].what, error))
            return FALSE;
    }
    return wk_ledger_exec(db, stamp, "noting the schema's version", error)
           && wk_ledger_end(&transaction, error);
}

int
wk_ledger_lock(const char *path, GError **error)
{
    g_auto(WkPlace) place = WK_PLACE_INIT;
    g_autofree char *name = g_strconcat(path, ".lock", NULL);
    WK_AUTO_FD int fd = -1;

    if (!wk_place_open(name, &place, error))
        return -1;
    fd = wk_files_open_at(place.folder_fd, place.name, O_RDWR | O_CREAT, error);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return g_steal_fd(&fd);
    if (errno == EWOULDBLOCK)
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "LedgerLocked",
                     "another agent works with the ledger '%s'", path);
    else
        wk_error_set_errno(error, errno, "locking '%s'", name);
    return -1;
}

static gboolean
refuse_file(const char *path, const char *complaint, GError **error)
{
    wk_error_set(error, WK_ERROR_CORRUPT, "LedgerForeign", "'%s' %s: left as it is", path,
                 complaint);
    return FALSE;
}

/*
 * Whether SQLite may open the file at all: it would play back a journal, or make files beside it,
 * before we could ask whose it is. 100 bytes of header; application_id is big endian at 68. Both
 * ids may still be 0 here when the first transaction is only in the WAL.
 */
static gboolean
check_header(int fd, const struct stat *st, const char *path, GError **error)
{
    static const char magic[16] = { "SQLite format 3" };
    guint8 header[100];
    guint32 id;

    if (st->st_size == 0)
        return TRUE;
    if ((gsize)st->st_size < sizeof header)
        return refuse_file(path, "is no database", error);
    if (!wk_files_read_at(fd, header, sizeof header, 0, path, error))
        return FALSE;
    if (memcmp(header, magic, sizeof magic) != 0)
        return refuse_file(path, "is no database", error);
    memcpy(&id, header + 68, sizeof id);
    id = GUINT32_FROM_BE(id);
    if (id != 0 && id != WK_LEDGER_APPLICATION_ID)
        return refuse_file(path, "is another program's database", error);
    return TRUE;
}

static gboolean
check_folder(const WkPlace *place, GError **error)
{
    struct stat st;

    if (fstat(place->folder_fd, &st) < 0) {
        wk_error_set_errno(error, errno, "looking at the folder of '%s'", place->path);
        return FALSE;
    }
    if (st.st_uid == geteuid() && (st.st_mode & 022) == 0)
        return TRUE;
    wk_error_set(error, WK_ERROR_REFUSED, "LedgerFolder",
                 "the folder of '%s' can be written by others", place->path);
    return FALSE;
}

/* Makes the file 0600 before SQLite sees it: the -wal and -shm files take its mode over. */
static gboolean
prepare_file(const WkPlace *place, GError **error)
{
    WK_AUTO_FD int fd = wk_files_open_at(place->folder_fd, place->name, O_RDWR | O_CREAT, error);
    struct stat st;

    if (fd < 0)
        return FALSE;
    if (fstat(fd, &st) < 0) {
        wk_error_set_errno(error, errno, "looking at '%s'", place->path);
        return FALSE;
    }
    if (st.st_uid != geteuid()) {
        wk_error_set(error, WK_ERROR_REFUSED, "LedgerFolder", "'%s' belongs to another user",
                     place->path);
        return FALSE;
    }
    if (!check_header(fd, &st, place->path, error))
        return FALSE;
    if ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600) < 0) {
        wk_error_set_errno(error, errno, "setting the mode of '%s'", place->path);
        return FALSE;
    }
    return TRUE;
}

/* Settings of the connection alone: nothing here touches the file. */
static gboolean
set_up_connection(sqlite3 *db, GError **error)
{
    (void)sqlite3_extended_result_codes(db, 1);
    (void)sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
    (void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, VALUE_MAX_BYTES);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* until we know that it is ours: a close must not write a newer agent's log back */
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (sqlite3_threadsafe() == 0 || sqlite3_compileoption_used("NO_SYNC") != 0) {
        wk_error_set(error, WK_ERROR_FAILED, NULL,
                     "this SQLite was built without threads or without fsync");
        return FALSE;
    }
    return insist(db, "PRAGMA foreign_keys = ON", "PRAGMA foreign_keys", "1", error);
}

/* Ours, of a version we know; or empty. */
static gboolean
check_identity(sqlite3 *db, const char *path, GError **error)
{
    gint64 id;
    gint64 version;
    gint64 tables;

    if (!read_integer(db, "PRAGMA application_id", &id, error)
        || !read_integer(db, "PRAGMA user_version", &version, error)
        || !read_integer(db, "SELECT count(*) FROM sqlite_schema", &tables, error))
        return FALSE;
    if (id == 0 && version == 0 && tables == 0)
        return TRUE;
    if (id != WK_LEDGER_APPLICATION_ID || version < 1)
        return refuse_file(path, "is another program's database", error);
    if (version <= (gint64)G_N_ELEMENTS(migrations))
        return TRUE;
    wk_error_set(error, WK_ERROR_CORRUPT, "LedgerTooNew",
                 "'%s' was written by a newer agent (schema %" G_GINT64_FORMAT
                 ", this one knows up to %u): left as it is",
                 path, version, (guint)G_N_ELEMENTS(migrations));
    return FALSE;
}

static gboolean
check_content(sqlite3 *db, const char *path, GError **error)
{
    g_autofree char *verdict = NULL;

    if (!read_value(db, "PRAGMA quick_check(1)", &verdict, error))
        return FALSE;
    if (g_str_equal(verdict, "ok"))
        return TRUE;
    wk_error_set(error, WK_ERROR_CORRUPT, "LedgerCorrupt", "'%s' is damaged: %s", path, verdict);
    return FALSE;
}

/* Returns: (transfer full): this machine's id; NULL: it has none (yet), don't check. */
static char *
read_machine_id(void)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(MACHINE_ID_PATH, &text, NULL, NULL))
        return NULL;
    g_strstrip(text);
    if (strlen(text) != 32 || strspn(text, "0123456789abcdef") != 32)
        return NULL; /* "uninitialized", on the first boot of an image */
    return g_steal_pointer(&text);
}

/* S10: a ledger copied to another machine speaks of images that aren't there. */
static gboolean
check_machine(sqlite3 *db, const char *path, GError **error)
{
    g_autofree char *here = read_machine_id();
    g_autofree char *noted = NULL;
    gint64 version;

    if (!read_integer(db, "PRAGMA user_version", &version, error))
        return FALSE;
    if (here == NULL || version == 0)
        return TRUE;
    if (!wk_ledger_get_meta(db, "machine_id", &noted, error))
        return FALSE;
    if (*noted == '\0' || g_str_equal(noted, here))
        return TRUE;
    wk_error_set(error, WK_ERROR_REFUSED, "OtherMachine",
                 "'%s' belongs to machine %s, this one is %s: left as it is", path, noted, here);
    return FALSE;
}

/* Notes @value once: what is there stays. */
static gboolean
keep_meta(sqlite3 *db, const char *key, const char *value, GError **error)
{
    g_autofree char *noted = NULL;

    if (!wk_ledger_get_meta(db, key, &noted, error))
        return FALSE;
    return *noted != '\0' || wk_ledger_set_meta(db, key, value, error);
}

static gboolean
note_opening(sqlite3 *db, GError **error)
{
    g_auto(WkLedgerTransaction) transaction = { NULL };
    g_autofree char *machine = read_machine_id();
    g_autofree char *boot = wk_clock_boot_id(error);
    g_autofree char *now = g_strdup_printf("%" G_GINT64_FORMAT, wk_clock_real_us());

    if (boot == NULL || !wk_ledger_begin(db, &transaction, error))
        return FALSE;
    if (machine != NULL && !keep_meta(db, "machine_id", machine, error))
        return FALSE;
    return keep_meta(db, "created_at_us", now, error)
           && keep_meta(db, "created_boot_id", boot, error)
           && wk_ledger_set_meta(db, "opened_at_us", now, error)
           && wk_ledger_set_meta(db, "opened_boot_id", boot, error)
           && wk_ledger_end(&transaction, error);
}

/* From here on the file is ours to write. */
static gboolean
bring_up(sqlite3 *db, GError **error)
{
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return insist(db, "PRAGMA journal_mode = WAL", "PRAGMA journal_mode", "wal", error)
           && insist(db, "PRAGMA synchronous = FULL", "PRAGMA synchronous", "2", error)
           && wk_ledger_exec(db, "PRAGMA journal_size_limit = 4194304", "bounding the log", error)
           && wk_ledger_migrate(db, migrations, G_N_ELEMENTS(migrations), error)
           && note_opening(db, error);
}

sqlite3 *
wk_ledger_open_database(const char *path, GError **error)
{
    g_auto(WkPlace) place = WK_PLACE_INIT;
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *full = NULL;
    WK_AUTO_DB sqlite3 *db = NULL;
    char real[PATH_MAX];

    if (!wk_place_open(path, &place, error) || !check_folder(&place, error)
        || !prepare_file(&place, error))
        return NULL;
    /* SQLite's own NOFOLLOW minds symlinks anywhere in a path */
    if (realpath(folder, real) == NULL) {
        wk_error_set_errno(error, errno, "resolving '%s'", folder);
        return NULL;
    }
    full = g_build_filename(real, place.name, NULL);
    if (sqlite3_open_v2(full, &db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL)
            != SQLITE_OK
        || !set_up_connection(db, error) || !check_identity(db, path, error)
        || !check_content(db, path, error) || !check_machine(db, path, error)
        || !bring_up(db, error) || !wk_files_sync(place.folder_fd, "the ledger's folder", error)) {
        if (error != NULL && *error == NULL)
            wk_ledger_fail(db, "opening", error);
        return NULL;
    }
    return g_steal_pointer(&db);
}
