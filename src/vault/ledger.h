/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/intent.h"
#include "model/operation.h"
#include "model/record.h"
#include "vault/vault.h"

G_BEGIN_DECLS

/*
 * The ledger: SQLite, WAL, synchronous=FULL. Every write is one transaction and durable when the
 * call returns TRUE. Any thread; calls block for an fsync and are serialised.
 *
 * Errors: WK_ERROR_CONFLICT when the row is not in the state that the caller left it in;
 * WK_ERROR_UNAVAILABLE when busy; WK_ERROR_CORRUPT for a damaged file, a foreign file or a newer
 * schema (refused, not touched); WK_ERROR_FAILED with reason "NoSpace"/"IOError" otherwise.
 */
typedef struct _WkLedger WkLedger;

/* Opens (or makes, 0600) @path and upgrades its schema. A second agent on the same ledger gets
 * WK_ERROR_UNAVAILABLE, reason "LedgerLocked": it is locked for the life of this object (flock on
 * "<path>.lock"). The machine id (/etc/machine-id; absent: not checked) is noted at the first
 * open; another one later is WK_ERROR_REFUSED, reason "OtherMachine".
 * Returns: (transfer full). */
WkLedger *wk_ledger_open(const char *path, GError **error);
WkLedger *wk_ledger_ref(WkLedger *self);
void wk_ledger_unref(WkLedger *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkLedger, wk_ledger_unref)

/* Tells the ledger which vault its images lie in; call it once, before rows are read. The vault
 * gets an id when it has none. A file system may have another number (st_dev) after a reboot:
 * images noted under the old one are noted under the new one, so that they are known again.
 * WK_ERROR_REFUSED, reason "OtherVault", when images are held and this is not the vault they were
 * noted in (not mounted?): nothing is changed, and no image must be judged by what lies there. */
gboolean wk_ledger_adopt_vault(WkLedger *self, WkVault *vault, GError **error);

/* Returns: (transfer full): the guest's row, or NULL without @error when there is none. */
WkRecord *wk_ledger_get(WkLedger *self, const char *source, const char *uuid, GError **error);

/* Returns: (transfer full) (element-type WkRecord): all rows. */
GPtrArray *wk_ledger_list(WkLedger *self, GError **error);

/* Writes @record in one transaction, provided that the row is in state @from now (no row counts as
 * WK_LEDGER_NONE) and, where @from is not NONE, has the op it was read with: @from_op. */
gboolean wk_ledger_commit(WkLedger *self, const WkRecord *record, WkLedgerState from,
                          const char *from_op, GError **error);

/* The header of a guest's image, [0, 92 + data_len), before its XML is rewritten: what heals one
 * that was torn. Kept once, until the row is in state none again. */
gboolean wk_ledger_keep_header(WkLedger *self, const char *source, const char *uuid, GBytes *header,
                               GError **error);
/* Returns: (transfer full) (nullable): NULL without @error when none is kept. */
GBytes *wk_ledger_get_header(WkLedger *self, const char *source, const char *uuid, GError **error);

/* Removes the row of a guest in state none. */
gboolean wk_ledger_forget(WkLedger *self, const char *source, const char *uuid, GError **error);

/* Operations: put inserts or replaces by id. An operation that ends and has a Wukong is noted in
 * that one's binding (wk_binding_note), where there is one, in the same transaction: what was done
 * and that it was done can't be told apart by a crash (I5). */
gboolean wk_ledger_put_operation(WkLedger *self, const WkOperation *operation, GError **error);
/* Returns: (transfer full) (element-type WkOperation): those not final, oldest first. */
GPtrArray *wk_ledger_open_operations(WkLedger *self, GError **error);
/* Returns: (transfer full) (element-type WkOperation): newest first, at most @limit; @guest NULL:
 * of all guests. */
GPtrArray *wk_ledger_history(WkLedger *self, const char *guest, guint limit, GError **error);
/* Drops final operations that finished before @before_us. */
gboolean wk_ledger_trim(WkLedger *self, gint64 before_us, guint *n_dropped, GError **error);

/* Wukongs: put inserts or replaces by uid. */
gboolean wk_ledger_put_binding(WkLedger *self, const WkBinding *binding, GError **error);
/* Returns: (transfer full) (element-type WkBinding): all. */
GPtrArray *wk_ledger_list_bindings(WkLedger *self, GError **error);
/* An action's removal is owed no longer: only while @owed is what is owed. */
gboolean wk_ledger_settle_owed(WkLedger *self, const char *uid, const char *owed, GError **error);
gboolean wk_ledger_forget_binding(WkLedger *self, const char *uid, GError **error);

/* The outbox: what is to be told to the API server and was not yet, oldest first. */
#define WK_OUTBOX_MAX       1000
#define WK_OUTBOX_MAX_BYTES 8192
typedef struct {
    gint64 seq;
    char *body;
} WkOutboxEntry;
/* The oldest goes where there are WK_OUTBOX_MAX. @seq: of the new one. */
gboolean wk_ledger_put_outbox(WkLedger *self, const char *body, gint64 *seq, GError **error);
gboolean wk_ledger_drop_outbox(WkLedger *self, gint64 seq, GError **error);
/* Returns: (transfer full) (element-type WkOutboxEntry). */
GPtrArray *wk_ledger_list_outbox(WkLedger *self, GError **error);

G_END_DECLS
