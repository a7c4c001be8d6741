/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "worker/job.h"

G_BEGIN_DECLS

/* Suspend to memory, resume from it, and a graceful stop. Worker. */

/* Pauses the guest, confirms it by its state, records it. */
gboolean wk_memory_pause(WkJob *job, GError **error);
/* A suspend found it paused: by an earlier try of this operation, or by somebody else. */
gboolean wk_memory_is_paused(WkJob *job, GError **error);

/* A suspend to memory is given up that paused the guest and did not come to be told: it runs on
 * (I7). */
gboolean wk_memory_undo_pause(WkJob *job, GError **error);

/* Lets a guest that is paused in memory run, confirms it. */
gboolean wk_memory_unpause(WkJob *job, GError **error);

/* Somebody else ended a pause of ours, or started what a fallback of ours had stopped. */
gboolean wk_memory_is_lost(const WkRecord *record, WkPower power);

/* Records it; TRUE with *@lost when there was such a thing. */
gboolean wk_memory_note_lost(WkJob *job, gboolean *lost, GError **error);

/* Sets the guest's clock after it stood still (I3: where it can't, that is said).
 * Returns: FALSE with reason "TimeNotSynced". */
gboolean wk_memory_sync_time(WkJob *job, GError **error);

/* Fallback stop: asks for a shutdown once; WK_ERROR_UNAVAILABLE, reason "WaitingForShutdown",
 * until the guest is off; then records that it was stopped by us. */
gboolean wk_memory_stop(WkJob *job, GError **error);

/* Starts a guest that a fallback stopped. */
gboolean wk_memory_start(WkJob *job, GError **error);

G_END_DECLS
