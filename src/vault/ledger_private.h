/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "vault/ledger.h"

#include <sqlite3.h>

G_BEGIN_DECLS

/* Private to the ledger: its database (ledger_schema.c) and its rows (ledger_rows.c). */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sqlite3_stmt, sqlite3_finalize)

static inline void
wk_ledger_auto_close(sqlite3 **db)
{
    (void)sqlite3_close(*db); /* NULL is fine */
}
#define WK_AUTO_DB __attribute__((cleanup(wk_ledger_auto_close)))

/* "wukg", so that `file` and a person tell our database from others. */
#define WK_LEDGER_APPLICATION_ID 0x77756b67

/* Sets @error from the last failure of @db; always FALSE. @what: "reading a guest". */
gboolean wk_ledger_fail(sqlite3 *db, const char *what, GError **error);

/* Runs SQL that gives no rows. */
gboolean wk_ledger_exec(sqlite3 *db, const char *sql, const char *what, GError **error);

/* Prepares one statement. Returns: (transfer full): it, or NULL. */
sqlite3_stmt *wk_ledger_prepare(sqlite3 *db, const char *sql, const char *what, GError **error);

/* Runs a statement that gives no rows. */
gboolean wk_ledger_finish(sqlite3_stmt *stmt, const char *what, GError **error);

/* What the ledger notes about itself; @value (transfer full): "" when it was not noted. */
gboolean wk_ledger_get_meta(sqlite3 *db, const char *key, char **value, GError **error);
gboolean wk_ledger_set_meta(sqlite3 *db, const char *key, const char *value, GError **error);

/* BEGIN IMMEDIATE; rolled back at the end of the scope unless COMMIT went through. */
typedef struct {
    sqlite3 *db; /* NULL: nothing to roll back */
} WkLedgerTransaction;

gboolean wk_ledger_begin(sqlite3 *db, WkLedgerTransaction *self, GError **error);
gboolean wk_ledger_end(WkLedgerTransaction *self, GError **error);
void wk_ledger_transaction_clear(WkLedgerTransaction *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WkLedgerTransaction, wk_ledger_transaction_clear)

/* One step of the schema's history; @sql makes version i + 1 of it, i its place in the table. */
typedef struct {
    const char *what;
    const char *sql;
} WkLedgerMigration;

/* Takes @db from its version to @n_steps in one transaction. WK_ERROR_CORRUPT when its version is
 * newer than that; then, and when a step fails, it is as it was. */
gboolean
wk_ledger_migrate(sqlite3 *db, const WkLedgerMigration *steps, guint n_steps, GError **error);

/* Locks "<@path>.lock". Returns: the descriptor that holds the lock, or -1. */
int wk_ledger_lock(const char *path, GError **error);

/* Opens and checks the database, and brings it up to date. The lock must be held.
 * Returns: (transfer full): it, or NULL. */
sqlite3 *wk_ledger_open_database(const char *path, GError **error);

struct _WkLedger {
    char *path;
    int lock_fd;

    GMutex lock; /* for all below */
    sqlite3 *db;
    gboolean unsettled; /* a COMMIT failed in I/O: nobody knows yet what it left in the log */
};

/* Holds the ledger to the end of the scope: WK_LEDGER_LOCK GMutex *lock = wk_ledger_hold(self); */
static inline GMutex *
wk_ledger_hold(WkLedger *self)
{
    g_mutex_lock(&self->lock);
    return &self->lock;
}

static inline void
wk_ledger_auto_unlock(GMutex **lock)
{
    g_mutex_unlock(*lock);
}
#define WK_LEDGER_LOCK __attribute__((cleanup(wk_ledger_auto_unlock)))

/* Around every change of the ledger; the ledger is held. After a failed end the change is undone
 * for good. */
gboolean wk_ledger_begin_write(WkLedger *self, WkLedgerTransaction *transaction, GError **error);
gboolean wk_ledger_end_write(WkLedger *self, WkLedgerTransaction *transaction, GError **error);

/* After a COMMIT that failed in I/O its pages may still lie in the WAL, whole, and come alive at
 * the next recovery: makes that impossible, or fails. */
gboolean wk_ledger_settle(sqlite3 *db, GError **error);

/* Part of the transaction that ends a save: nothing is left of its image. */
gboolean
wk_ledger_drop_header(WkLedger *self, const char *source, const char *uuid, GError **error);

/* Part of the transaction that ends @operation: what became of it is noted with its Wukong. */
gboolean wk_ledger_note_outcome(WkLedger *self, const WkOperation *operation, GError **error);

/*
 * A table as this program knows it: which column is which member of the struct. The one list is
 * used for reading and writing, so that the two can't disagree.
 */
typedef enum {
    WK_COLUMN_TEXT,   /* char *, NULL is kept */
    WK_COLUMN_INT64,  /* gint64 or guint64, all 64 bits */
    WK_COLUMN_UINT,   /* guint */
    WK_COLUMN_BOOL,   /* gboolean */
    WK_COLUMN_DIGEST, /* char[WK_DIGEST_LENGTH + 1] */
    WK_COLUMN_ENUM,   /* stored by name */
} WkColumnKind;

typedef struct {
    const char *(*to_name)(int value);
    gboolean (*from_name)(const char *name, int *value, GError **error);
} WkColumnNames;

typedef struct {
    const char *name;
    WkColumnKind kind;
    gsize offset;
    gsize max_bytes;            /* TEXT: longer is refused */
    gboolean required;          /* TEXT: never NULL */
    gboolean cut;               /* TEXT for people: longer is cut when written */
    const WkColumnNames *names; /* ENUM */
} WkColumn;

typedef struct {
    const char *name;
    const WkColumn *columns;
    guint n_columns;
} WkTable;

extern const WkTable wk_table_guests;     /* WkRecord; the first two columns are its key */
extern const WkTable wk_table_operations; /* WkOperation; the first column is its key */
extern const WkTable wk_table_bindings;   /* WkBinding; the first column is its key */
extern const WkTable wk_table_witnesses;  /* WkWitness */

/* Returns: (transfer full): "a, b, c" and "?N, ?N+1, ..." (from @first), "a = ?1, b = ?2". */
char *wk_table_names(const WkTable *self);
char *wk_table_places(const WkTable *self, guint first);
char *wk_table_settings(const WkTable *self);

/* Binds @row to the statement's parameters from @first on (1 is the first). */
gboolean wk_row_bind(sqlite3_stmt *stmt, guint first, const WkTable *table, gconstpointer row,
                     GError **error);

/* Reads columns from 0 on into @row, whose strings are replaced. WK_ERROR_CORRUPT for anything
 * that this program would not have written; @row is then half filled, but can be freed. */
gboolean wk_row_read(sqlite3_stmt *stmt, const WkTable *table, gpointer row, GError **error);

G_END_DECLS
