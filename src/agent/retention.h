/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/engine.h"

G_BEGIN_DECLS

/*
 * What is kept for a time only: the image of a Wukong that was deleted ([retention] orphan), and
 * the history of operations (history). Hourly, and when somebody asks. An image that is held is
 * never dropped by time. Main thread.
 */
typedef struct _WkRetention WkRetention;

typedef struct {
    WkEngine *engine; /* outlives it */
    WkLedger *ledger;
    guint64 orphan_ms;
    guint64 history_ms;
} WkRetentionOptions;

/* Returns: (transfer full). A reference to the ledger is taken. */
WkRetention *wk_retention_new(const WkRetentionOptions *options);
void wk_retention_free(WkRetention *self); /* NULL is fine */

/* Earlier lives were looked at: from now on it may act by itself. */
void wk_retention_set_ready(WkRetention *self);

/* Drops what is due. Returns: (transfer full) (element-type WkView): guests whose image is on its
 * way out, as one operation each; NULL when the ledger can't be read or written. */
GPtrArray *wk_retention_prune(WkRetention *self, guint *n_history, GError **error);

G_END_DECLS
