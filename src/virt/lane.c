/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/lane.h"

#include "base/error.h"

typedef struct {
    GTask *task;
    GTaskThreadFunc func;
} Job;

/* What workers see of a lane. Each token holds a reference, so that a worker left behind finds it
 * even when the lane is gone. */
typedef struct {
    GMutex lock;
    guint pool;  /* number of the pool that may take jobs; grows */
    GQueue jobs; /* (element-type Job): not started */
} Waiting;

/* What goes through a GThreadPool in place of a job. Those of a pool left behind do nothing. */
typedef struct {
    Waiting *waiting;
    guint pool;
} Token;

struct _WkTaskLane {
    guint threads;
    GThreadPool *pool; /* NULL: stopped */
    Waiting *waiting;
};

static void
waiting_clear(gpointer data)
{
    Waiting *self = data;

    g_mutex_clear(&self->lock);
}

static void
waiting_unref(Waiting *self)
{
    g_atomic_rc_box_release_full(self, waiting_clear);
}

static Job *
waiting_pop(Waiting *self, guint pool)
{
    Job *job = NULL;

    g_mutex_lock(&self->lock);
    if (self->pool == pool)
        job = g_queue_pop_head(&self->jobs);
    g_mutex_unlock(&self->lock);
    return job;
}

static void
job_run(Job *job)
{
    GCancellable *cancellable = g_task_get_cancellable(job->task);

    if (!g_task_return_error_if_cancelled(job->task))
        job->func(job->task, g_task_get_source_object(job->task), g_task_get_task_data(job->task),
                  cancellable);
    g_object_unref(job->task);
    g_free(job);
}

static void
job_refuse(Job *job)
{
    g_task_return_error(
        job->task, g_error_new_literal(WK_ERROR, WK_ERROR_UNAVAILABLE, "the source is stopped"));
    g_object_unref(job->task);
    g_free(job);
}

/* Worker. */
static void
run_next(gpointer data, gpointer user_data G_GNUC_UNUSED)
{
    g_autofree Token *token = data;
    Job *job = waiting_pop(token->waiting, token->pool);

    waiting_unref(token->waiting);
    if (job != NULL)
        job_run(job);
}

static void
add_token(WkTaskLane *self)
{
    Token *token = g_new(Token, 1);

    *token = (Token){ g_atomic_rc_box_acquire(self->waiting), self->waiting->pool };
    (void)g_thread_pool_push(self->pool, token, NULL);
}

static void
start_pool(WkTaskLane *self)
{
    /* Not exclusive: making such a pool can't fail, and idle threads go away. */
    self->pool = g_thread_pool_new(run_next, NULL, (gint)self->threads, FALSE, NULL);
}

/* Not "immediate": then GLib would drop the tokens, and with them their memory.
 * Returns: (transfer full) (element-type Job): what had not started. */
static GQueue *
leave_pool(WkTaskLane *self)
{
    Waiting *waiting = self->waiting;
    GQueue *left = g_queue_new();
    Job *job;

    g_mutex_lock(&waiting->lock);
    waiting->pool++;
    while ((job = g_queue_pop_head(&waiting->jobs)) != NULL)
        g_queue_push_tail(left, job);
    g_mutex_unlock(&waiting->lock);
    g_thread_pool_free(g_steal_pointer(&self->pool), FALSE, FALSE);
    return left;
}

static void
add_job(WkTaskLane *self, Job *job)
{
    g_mutex_lock(&self->waiting->lock);
    g_queue_push_tail(&self->waiting->jobs, job);
    g_mutex_unlock(&self->waiting->lock);
    add_token(self);
}

WkTaskLane *
wk_task_lane_new(guint threads)
{
    WkTaskLane *self = g_new0(WkTaskLane, 1);

    self->threads = MAX(threads, 1);
    self->waiting = g_atomic_rc_box_new0(Waiting);
    g_mutex_init(&self->waiting->lock);
    g_queue_init(&self->waiting->jobs);
    start_pool(self);
    return self;
}

void
wk_task_lane_push(WkTaskLane *self, GTask *task, GTaskThreadFunc func)
{
    Job *job = g_new0(Job, 1);

    *job = (Job){ task, func };
    if (self->pool != NULL)
        add_job(self, job);
    else
        job_refuse(job);
}

void
wk_task_lane_renew(WkTaskLane *self)
{
    g_autoptr(GQueue) left = NULL;
    Job *job;

    if (self->pool == NULL)
        return;
    left = leave_pool(self);
    start_pool(self);
    while ((job = g_queue_pop_head(left)) != NULL)
        add_job(self, job);
}

void
wk_task_lane_stop(WkTaskLane *self)
{
    g_autoptr(GQueue) left = NULL;
    Job *job;

    if (self->pool == NULL)
        return;
    left = leave_pool(self);
    while ((job = g_queue_pop_head(left)) != NULL)
        job_refuse(job);
}

void
wk_task_lane_free(WkTaskLane *self)
{
    if (self == NULL)
        return;
    wk_task_lane_stop(self);
    waiting_unref(self->waiting);
    g_free(self);
}
