/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "worker/job.h"

G_BEGIN_DECLS

/* Restore, cancel, discard and quarantine of docs/ledger.md. Worker. Each may be repeated. */

/* Step 1: sealed -> restoring. */
gboolean wk_restore_begin(WkJob *job, GError **error);

/* Step 2, row K5: loads the image, CPUs stopped; hashes the body meanwhile. */
gboolean wk_restore_start(WkJob *job, GError **error);

/* The body's digest, while there is nothing else to do; kept for the verification of the same file,
 * also over tries of one operation. */
gboolean wk_restore_read_ahead(WkJob *job, GError **error);

/* Steps 3 and 4, row K1: everything verified while paused, then `spent` (the point of no return),
 * or the guest is destroyed and the image quarantined. */
gboolean wk_restore_verify(WkJob *job, GError **error);

/* For `verify`: the body of a sealed image, whose header and disks the table has just found good,
 * is read through. Good: when is noted. Bad: quarantined, as a restore would. */
gboolean wk_restore_check(WkJob *job, GError **error);

/* Rows K1b, K1 with a cancel, K5 with a cancel, K4, K2. */
gboolean wk_restore_reboot_destroy(WkJob *job, GError **error);
gboolean wk_restore_cancel_destroy(WkJob *job, GError **error);
gboolean wk_restore_cancel_sealed(WkJob *job, GError **error);
gboolean wk_restore_relink(WkJob *job, GError **error);
gboolean wk_restore_outside(WkJob *job, GError **error);

/* Commits that the restore under way is to be given up. */
gboolean wk_restore_commit_cancel(WkJob *job, GError **error);

/* Steps 5 to 10, row P1. */
gboolean wk_spent_finish(WkJob *job, GError **error);

/* Discard: `spent`, then off. */
gboolean wk_spent_discard(WkJob *job, GError **error);

/* Row K3: the image is kept, and why; and the rows after it. @reason: CamelCase. */
gboolean wk_quarantine_commit(WkJob *job, const char *reason, const char *message, GError **error);
gboolean wk_quarantine_lost(WkJob *job, GError **error); /* works out reason and message */
gboolean wk_quarantine_destroy(WkJob *job, GError **error);
gboolean wk_quarantine_guard(WkJob *job, GError **error);

G_END_DECLS
