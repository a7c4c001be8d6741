/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "worker/job.h"

G_BEGIN_DECLS

/*
 * Drives one guest: looks, lets the recovery table decide, does that row, looks again, until the
 * guest is at rest and the job's aim is reached. Worker; blocks.
 *
 * Returns: TRUE when the aim is reached. FALSE with
 *   WK_ERROR_UNAVAILABLE, reason "JobRunning" or "WaitingForShutdown": drive again when the domain
 *                         changes; this is no failed try
 *   WK_ERROR_UNAVAILABLE  otherwise: a passing error, retry with backoff
 *   WK_ERROR_CANCELLED    the run was cancelled, and the guest is as it was
 *   anything else         final
 * Whatever it returns, job->record is what the ledger holds.
 */
gboolean wk_drive(WkJob *job, GError **error);

G_END_DECLS
