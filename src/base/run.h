/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gio/gio.h>

#include "base/steps.h"

G_BEGIN_DECLS

/*
 * One run of an operation in a worker thread: what the worker and the main thread share. The
 * worker announces each step here; the main thread reads step and progress, and asks it to stop.
 *
 * Threading: every function may be called in any thread.
 */
typedef struct _WkRun WkRun;

/* @id names the operation and @guest the guest in traces and logs; both are copied.
 * Returns: (transfer full). */
WkRun *wk_run_new(const char *id, const char *guest);
WkRun *wk_run_ref(WkRun *self);
void wk_run_unref(WkRun *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkRun, wk_run_unref)

const char *wk_run_get_id(const WkRun *self);
const char *wk_run_get_guest(const WkRun *self);

/* The one road to every change outside the process (design.md, "Steps and failpoints"): traces,
 * remembers the step for progress, fires the failpoint. Call it right before the change.
 * Returns: FALSE when the change must not be made: the failpoint says so, or the main thread has
 * abandoned this run (WK_ERROR_CANCELLED) and another may be at work on the guest. */
gboolean wk_run_step(WkRun *self, WkStep step, GError **error);

WkStep wk_run_get_step(WkRun *self);

/* Asks the run to stop at the next place where stopping is safe; the first @why wins. */
void wk_run_cancel(WkRun *self, const char *why);
gboolean wk_run_is_cancelled(WkRun *self);

/* Returns: FALSE with WK_ERROR_CANCELLED and the reason given, when asked to stop. */
gboolean wk_run_check(WkRun *self, GError **error);

/* The worker is stuck in a call that will not come back: from now on it may change nothing. */
void wk_run_abandon(WkRun *self);

/* Bytes done and in all (0: not known), for progress. */
void wk_run_set_progress(WkRun *self, guint64 done, guint64 total);
void wk_run_get_progress(WkRun *self, guint64 *done, guint64 *total);

G_END_DECLS
