/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/connection.h"

G_BEGIN_DECLS

/*
 * The connections of one source for calls that last. Each is handed out at most @places times at
 * once and closed when the last one who had it gives it back: an idle source keeps none open.
 *
 * Threading: any thread.
 */
typedef struct _WkWorkset WkWorkset;

/* Returns: (transfer full). */
WkWorkset *wk_workset_new(const char *uri, guint places);
WkWorkset *wk_workset_ref(WkWorkset *self);
void wk_workset_unref(WkWorkset *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkWorkset, wk_workset_unref)

/* Worker: a connection with a free place, opened when there is none. It goes back with
 * wk_connection_unref(). Returns: (transfer full): or NULL with WK_ERROR_UNAVAILABLE. */
WkConnection *wk_workset_borrow(WkWorkset *self, GError **error);

/* Hands out nothing more, now and ever. What is lent stays open until it comes back. */
void wk_workset_close(WkWorkset *self);

G_END_DECLS
