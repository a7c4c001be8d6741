/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

#include "ctl/operation.h"
#include "ctl/table.h"

G_BEGIN_DECLS

/* How a guest is shown. Pure; all texts are printable. */

/* Adds a row of `list`: NAME STATE TARGET SIZE SINCE ORIGIN MESSAGE. */
void wk_ctl_view_add_row(WkCtlTable *table, GPtrArray *all, JsonObject *guest);

/* Since when @guest is as it is: RFC 3339, or NULL when that is not known. */
const char *wk_ctl_view_since(JsonObject *guest);

/* Returns: (transfer full): the block of `status`; @operation may be NULL. */
char *wk_ctl_view_block(GPtrArray *all, JsonObject *guest, const WkCtlOperation *operation);

/* Returns: (transfer full): one line of `watch` without name: "Suspending to disk 40%: ...". */
char *wk_ctl_view_line(JsonObject *guest);

/* Returns: (transfer full): a size without a space, for a column; NULL when @bytes is not above 0.
 */
char *wk_ctl_view_size(gint64 bytes);

G_END_DECLS
