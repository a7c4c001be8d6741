/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "worker/job.h"

G_BEGIN_DECLS

/*
 * Save, seal and abort of docs/ledger.md ("Save", "Abort"). Worker. Each may be repeated from its
 * start; the recovery table decides again afterwards.
 */

/* Steps 1 to 6: from a guest that runs or is paused to the end of libvirt's managed save. What
 * came of it is for the table to see; FALSE only tells why the try is over. */
gboolean wk_save_begin(WkJob *job, GError **error);

/* Steps 7 to 12, row S2. TRUE without being sealed when the second look saw something else. */
gboolean wk_save_seal(WkJob *job, GError **error);

/* Row S3: the guest is as it was before the save, no image is left. */
gboolean wk_save_abort(WkJob *job, GError **error);

/* Row S1: H is not M's inode. Rows N2: leftovers without a row. */
gboolean wk_save_drop_hold(WkJob *job, GError **error);
gboolean wk_save_drop_stray(WkJob *job, GError **error);

/* Row N1: an image lies under a running guest: it is stale. */
gboolean wk_save_drop_stale(WkJob *job, GError **error);

G_END_DECLS
