/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * A queue of tasks and the bounded pool of threads that runs them. Tasks wait in a queue of our
 * own, not in the pool's: so a pool whose threads are stuck can be left behind without the tasks
 * that had not started.
 *
 * Threading: main thread; the tasks run in workers.
 */
typedef struct _WkTaskLane WkTaskLane;

/* Returns: (transfer full). @threads: how many tasks run at once, 1 or more. */
WkTaskLane *wk_task_lane_new(guint threads);

/* Runs @func in a worker; tasks start in the order pushed. Takes @task (transfer full). After
 * wk_task_lane_stop() it fails with WK_ERROR_UNAVAILABLE instead. */
void wk_task_lane_push(WkTaskLane *self, GTask *task, GTaskThreadFunc func);

/* Leaves the threads to end on their own; tasks that have not started start in new ones. */
void wk_task_lane_renew(WkTaskLane *self);

/* Tasks that have not started fail with WK_ERROR_UNAVAILABLE; those that run end on their own. */
void wk_task_lane_stop(WkTaskLane *self);

/* Stops it; lets go. NULL is fine. */
void wk_task_lane_free(WkTaskLane *self);

G_END_DECLS
