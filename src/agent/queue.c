/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/drive.h"
#include "agent/engine_private.h"
#include "worker/memory.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "model/policy.h"

#define TICK_MS 100

/* A worker that ignores a stop for so long is in a call that does not come back. */
#define STUCK_AFTER_S 60

/* What goes to the worker, and comes back. */
typedef struct {
    WkTask *task;
    WkJob *job;
} Work;

static void
work_free(gpointer data)
{
    Work *work = data;

    wk_task_unref(work->task);
    wk_job_free(work->job);
    g_free(work);
}

/* Worker. */
static void
run_work(GTask *task, gpointer object G_GNUC_UNUSED, gpointer data,
         GCancellable *cancellable G_GNUC_UNUSED)
{
    Work *work = data;
    GError *error = NULL;

    if (wk_drive(work->job, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

void
wk_engine_release_slot(WkEngine *self, WkTask *task)
{
    if (task->slot == WK_SLOT_SAVE)
        self->saves--;
    else if (task->slot == WK_SLOT_RESTORE)
        self->restores--;
    task->slot = WK_SLOT_NONE;
}

static void pump(WkEngine *self);

static void
on_worked(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkEngine *self = data;
    Work *work = g_task_get_task_data(G_TASK(result));
    WkTask *task = work->task;
    GError *error = NULL;
    const gboolean ok = g_task_propagate_boolean(G_TASK(result), &error);

    self->working--;
    if (task->given_up || self->quiet) {
        g_clear_error(&error);
        return;
    }
    task->working = FALSE;
    wk_engine_release_slot(self, task);
    wk_task_disarm(&task->tick_timer);
    (void)wk_task_update_progress(task);
    wk_engine_tried(self, task, work->job, ok ? NULL : error);
    pump(self);
}

static WkTarget
target_of(WkEngine *self, const WkTask *task)
{
    return task->asked != WK_TARGET_NONE ? task->asked : self->default_target;
}

static WkSlot
slot_of(WkEngine *self, const WkTask *task, const WkGuest *guest)
{
    const WkLedgerState state = guest->record->state;

    if (task->aim == WK_AIM_SUSPEND && target_of(self, task) == WK_TARGET_DISK
        && state != WK_LEDGER_SEALED)
        return WK_SLOT_SAVE;
    if (task->aim == WK_AIM_RESUME && (state == WK_LEDGER_SEALED || state == WK_LEDGER_RESTORING))
        return WK_SLOT_RESTORE;
    return WK_SLOT_NONE;
}

static void
set_slot(WkEngine *self, WkTask *task, WkSlot slot)
{
    wk_engine_release_slot(self, task);
    if (slot == WK_SLOT_SAVE)
        self->saves++;
    else if (slot == WK_SLOT_RESTORE)
        self->restores++;
    task->slot = slot;
}

static gboolean
take_slot(WkEngine *self, WkTask *task, WkGuest *guest)
{
    const WkSlot slot = slot_of(self, task, guest);

    if (slot == task->slot)
        return TRUE;
    if ((slot == WK_SLOT_SAVE && self->saves >= self->parallel_saves)
        || (slot == WK_SLOT_RESTORE && self->restores >= self->parallel_restores))
        return FALSE;
    set_slot(self, task, slot);
    return TRUE;
}

void
wk_engine_keep_slot(WkEngine *self, WkTask *task, WkGuest *guest)
{
    set_slot(self, task, slot_of(self, task, guest));
}

/* What @task will still write: all of the image before its turn, the rest of it afterwards. */
static guint64
promised_to(WkEngine *self, const WkTask *task, const WkGuest *guest, gboolean waiting)
{
    guint64 bytes;
    guint64 done;
    guint64 total;

    if (task == NULL || guest->facts == NULL
        || (task->slot != WK_SLOT_SAVE && (!waiting || slot_of(self, task, guest) != WK_SLOT_SAVE)))
        return 0;
    bytes = wk_policy_image_bytes(guest->facts->memory_kib);
    wk_run_get_progress(task->run, &done, &total);
    return bytes > done ? bytes - done : 0;
}

guint64
wk_engine_promised(WkEngine *self, const WkTask *except, gboolean waiting)
{
    guint64 sum = 0;
    GHashTableIter iter;
    WkGuest *guest;

    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        if (guest->task != except)
            sum += promised_to(self, guest->task, guest, waiting);
        if (waiting)
            sum += promised_to(self, guest->next, guest, waiting);
    }
    return sum;
}

WkJob *
wk_engine_make_job(WkEngine *self, WkTask *task, WkGuest *guest)
{
    WkJob *job = wk_job_new(guest->source, self->ledger, self->vault, task->run, guest->uuid,
                            guest->name, guest->record);

    job->boot_id = g_strdup(self->boot_id);
    job->aim = task->aim;
    job->default_target = self->default_target;
    job->guard_synced = guest->guard_synced;
    job->asked_to_stop = task->asked_to_stop;
    job->body_digest_of = task->body_digest_of;
    g_strlcpy(job->body_digest, task->body_digest, sizeof job->body_digest);
    job->asked_to_pause = task->asked_to_pause;
    job->cannot_save = g_strdup(wk_engine_get_cannot_save(self, guest->source));
    if (wk_source_get_save_dir(guest->source) == NULL && job->cannot_save == NULL
        && !wk_source_is_launcher(guest->source))
        job->cannot_save = g_strdup("its source has no managed saves");
    job->reserve_percent = self->reserve_percent;
    job->promised_bytes = wk_engine_promised(self, task, FALSE);
    if (task->op != NULL) {
        job->target = task->asked;
        job->action = task->op->action;
        job->origin = task->op->origin;
    }
    wk_engine_equip(self, guest, job, task->op != NULL);
    return job;
}

static WkLane
lane_of(WkEngine *self, const WkTask *task)
{
    const gboolean pause = task->aim == WK_AIM_SUSPEND && target_of(self, task) == WK_TARGET_MEMORY;

    return pause ? WK_LANE_QUICK : WK_LANE_LONG;
}

static gboolean on_tick(gpointer data);

static void
mark_running(WkEngine *self, WkTask *task, WkGuest *guest)
{
    const gboolean goes_on = task->try_goes_on;
    WkOperation *op = task->op;

    task->attempt++;
    if (!goes_on)
        task->try_began_us = wk_clock_mono_us();
    task->try_goes_on = FALSE;
    if (op == NULL)
        return;
    if (op->action == WK_ACTION_RESUME && op->target == WK_TARGET_NONE)
        op->target = guest->record->state != WK_LEDGER_NONE ? WK_TARGET_DISK : WK_TARGET_MEMORY;
    if (op->action == WK_ACTION_SUSPEND)
        op->target = target_of(self, task);
    op->attempt = task->attempt;
    if (op->state != WK_OP_RUNNING || (op->reason != NULL && !goes_on))
        wk_operation_set_state(op, WK_OP_RUNNING, NULL, NULL);
    wk_engine_publish_operation(self, op);
    wk_engine_publish_guest(self, guest);
}

static void
start(WkEngine *self, WkTask *task, WkGuest *guest)
{
    g_autoptr(GTask) async = g_task_new(NULL, NULL, on_worked, self);
    Work *work = g_new0(Work, 1);

    mark_running(self, task, guest);
    work->task = wk_task_ref(task);
    work->job = wk_engine_make_job(self, task, guest);
    task->working = TRUE;
    task->touched = FALSE;
    self->working++;
    g_task_set_task_data(async, work, work_free);
    if (lane_of(self, task) == WK_LANE_LONG)
        wk_task_arm(task, &task->tick_timer, TICK_MS, on_tick);
    wk_source_push(guest->source, lane_of(self, task), g_steal_pointer(&async), run_work);
}

/* Starts what waits for a place, as far as there are places. */
static void
pump(WkEngine *self)
{
    GList *next;

    for (GList *l = self->waiting.head; l != NULL && !self->quiet; l = next) {
        WkTask *task = l->data;
        WkGuest *guest = wk_engine_find(self, task->uuid);

        next = l->next;
        if (guest != NULL && guest->task == task && !take_slot(self, task, guest))
            continue;
        g_queue_delete_link(&self->waiting, l);
        if (guest != NULL && guest->task == task)
            start(self, task, guest);
        wk_task_unref(task);
    }
}

void
wk_engine_ready(WkEngine *self, WkTask *task)
{
    g_queue_push_tail(&self->waiting, wk_task_ref(task));
    pump(self);
}

static gboolean
on_deadline(gpointer data)
{
    WkTask *task = data;

    task->timed_out = TRUE;
    wk_engine_stop_task(task->engine, task,
                        task->last_failure != NULL ? task->last_failure : "its time is up");
    return G_SOURCE_REMOVE;
}

void
wk_engine_arm_deadline(WkTask *task)
{
    const gint64 left_us = task->op->deadline_at_us - wk_clock_real_us();

    wk_task_arm(task, &task->deadline_timer, (guint)(CLAMP(left_us, 0, G_MAXINT32) / 1000),
                on_deadline);
}

/* An opposite request ends a save in flight; a restore is let finish (contract, section 1).
 * Reading an image through is never worth waiting for. */
static gboolean
is_overtaken(const WkTask *running, const WkTask *next)
{
    if (running->op == NULL || next->op == NULL)
        return FALSE;
    return running->aim == WK_AIM_VERIFY
           || (running->aim == WK_AIM_SUSPEND && next->aim == WK_AIM_RESUME);
}

void
wk_engine_enqueue(WkEngine *self, WkGuest *guest, WkTask *task)
{
    wk_engine_publish_operation(self, task->op);
    /* An operation settles the guest itself, so it need not wait for a recovery's next try. */
    if (guest->task != NULL && guest->task->op == NULL && guest->task->retry_timer != NULL) {
        wk_task_disarm_all(guest->task);
        g_clear_pointer(&guest->task, wk_task_unref);
    }
    if (guest->task == NULL) {
        guest->task = task;
        if (task->op != NULL)
            wk_engine_arm_deadline(task);
        wk_engine_ready(self, task);
        return;
    }
    if (guest->next != NULL) {
        wk_engine_end_unstarted(self, guest->next, WK_OP_CANCELLED, "Superseded",
                                "a newer request took its place");
        wk_task_unref(guest->next);
    }
    guest->next = task;
    if (is_overtaken(guest->task, task) && !guest->task->finishing) {
        guest->task->superseded = TRUE;
        wk_engine_stop_task(self, guest->task, "a newer request came");
    }
}

void
wk_engine_recover(WkEngine *self, WkGuest *guest)
{
    if (guest->task != NULL)
        return;
    guest->needs_recovery = TRUE;
    guest->task = wk_task_new(self, guest->uuid, guest->name, NULL, WK_AIM_RECOVER);
    wk_engine_ready(self, guest->task);
}

void
wk_engine_recover_in(WkEngine *self, WkGuest *guest, guint ms)
{
    if (guest->task != NULL)
        return;
    guest->needs_recovery = FALSE;
    guest->task = wk_task_new(self, guest->uuid, guest->name, NULL, WK_AIM_RECOVER);
    wk_engine_retry_in(guest->task, ms);
}

/* ---- while a worker has it: progress, and pushing a stop through ---- */

typedef struct {
    WkTask *task;
    WkSource *source;
    gboolean stop;
} Tick;

static void
tick_free(gpointer data)
{
    Tick *tick = data;

    wk_task_unref(tick->task);
    wk_source_unref(tick->source);
    g_free(tick);
}

/* What ends the call that the worker is in: a save can be aborted, a restore only by ending the
 * half loaded guest (F24). The answer decides nothing, the worker's next look does. */
static void
push_stop(WkConnection *connection, const char *uuid, WkStep step)
{
    g_auto(WkLook) look = { 0 };

    if (step == WK_STEP_SAVE_MANAGED_SAVE)
        (void)wk_domain_abort_job(connection, uuid, NULL);
    if (step == WK_STEP_RESTORE_START_PAUSED && wk_domain_look(connection, uuid, &look, NULL)
        && look.power == WK_POWER_STARTING)
        (void)wk_domain_destroy(connection, uuid, NULL);
}

/* Worker. */
static void
run_tick(GTask *async, gpointer object G_GNUC_UNUSED, gpointer data,
         GCancellable *cancellable G_GNUC_UNUSED)
{
    Tick *tick = data;
    const WkStep step = wk_run_get_step(tick->task->run);
    g_autoptr(WkConnection) connection = wk_source_borrow(tick->source, WK_LANE_QUICK, NULL);
    guint64 done;
    guint64 total;

    if (connection != NULL && tick->stop)
        push_stop(connection, tick->task->uuid, step);
    else if (connection != NULL && step == WK_STEP_SAVE_MANAGED_SAVE
             && wk_domain_job_progress(connection, tick->task->uuid, &done, &total, NULL))
        wk_run_set_progress(tick->task->run, done, total);
    g_task_return_boolean(async, TRUE);
}

static void
on_ticked(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkEngine *self = data;
    Tick *tick = g_task_get_task_data(G_TASK(result));
    WkTask *task = tick->task;
    WkGuest *guest = wk_engine_find(self, task->uuid);

    task->tick_pending = FALSE;
    if (self->quiet || guest == NULL || guest->task != task || !task->working)
        return;
    if (!wk_task_update_progress(task))
        return;
    wk_engine_publish_operation(self, task->op);
    wk_engine_publish_guest(self, guest);
}

/* The worker is in a call that does not come back: it is left behind with its connection, and may
 * change nothing when it does come back (wk_run_step). The guest's truth is looked for anew. */
static void
give_up(WkEngine *self, WkTask *task, WkGuest *guest)
{
    GError *error = NULL;

    wk_log(WK_LOG_ERROR, &(WkLogFields){ .guest = guest->name, .uuid = guest->uuid },
           "libvirt does not answer at '%s': giving the connection up",
           wk_step_text(wk_run_get_step(task->run)));
    wk_run_abandon(task->run);
    task->given_up = TRUE;
    task->working = FALSE;
    wk_engine_release_slot(self, task);
    wk_task_disarm_all(task);
    wk_error_set(&error, WK_ERROR_TIMEOUT, "LibvirtStuck", "libvirt did not answer");
    wk_source_abandon(guest->source, "a call got stuck");
    wk_engine_tried(self, task, NULL, error);
}

/* A slow disk is not a stuck libvirt: what is written back takes the time that it takes. */
static gboolean
writes_back(WkStep step)
{
    return step == WK_STEP_SAVE_SYNC_DISKS || step == WK_STEP_SAVE_SYNC_IMAGE
           || step == WK_STEP_SAVE_REWRITE_IMAGE || step == WK_STEP_SAVE_READ_BACK
           || step == WK_STEP_SAVE_SYNC_VAULT || step == WK_STEP_SAVE_SYNC_SAVE_FOLDER;
}

static gboolean
on_tick(gpointer data)
{
    WkTask *task = data;
    WkEngine *self = task->engine;
    WkGuest *guest = wk_engine_find(self, task->uuid);
    g_autoptr(GTask) async = NULL;
    Tick *tick;

    if (guest == NULL || guest->task != task || !task->working)
        return G_SOURCE_REMOVE;
    if (task->stopping && !writes_back(wk_run_get_step(task->run))
        && wk_clock_mono_us() - task->stopping_since_us > STUCK_AFTER_S * G_USEC_PER_SEC) {
        give_up(self, task, guest);
        return G_SOURCE_REMOVE;
    }
    if (task->tick_pending || !wk_source_is_up(guest->source))
        return G_SOURCE_CONTINUE;
    task->tick_pending = TRUE;
    tick = g_new0(Tick, 1);
    tick->task = wk_task_ref(task);
    tick->source = wk_source_ref(guest->source);
    tick->stop = task->stopping;
    async = g_task_new(NULL, NULL, on_ticked, self);
    g_task_set_task_data(async, tick, tick_free);
    wk_source_push(guest->source, WK_LANE_QUICK, g_steal_pointer(&async), run_tick);
    return G_SOURCE_CONTINUE;
}

void
wk_engine_stop_task(WkEngine *self, WkTask *task, const char *why)
{
    GError *error = NULL;

    if (task->stopping || task->finishing)
        return;
    task->stopping = TRUE;
    task->stopping_since_us = wk_clock_mono_us();
    g_free(task->stop_why);
    task->stop_why = g_strdup(why);
    wk_run_cancel(task->run, why);
    if (task->working) {
        wk_task_arm(task, &task->tick_timer, TICK_MS, on_tick);
        return;
    }
    /* It waits, for a place or for its next try: nothing has to be stopped. */
    if (g_queue_remove(&self->waiting, task))
        wk_task_unref(task);
    wk_task_disarm(&task->retry_timer);
    wk_error_set(&error, WK_ERROR_CANCELLED, "Cancelled", "%s", why);
    wk_engine_tried(self, task, NULL, error);
}
