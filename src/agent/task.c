/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/task.h"

#include "base/clock.h"

WkTask *
wk_task_new(WkEngine *engine, const char *uuid, const char *guest, WkOperation *op, WkAim aim)
{
    WkTask *self = g_new0(WkTask, 1);

    g_atomic_ref_count_init(&self->refs);
    self->engine = engine;
    self->uuid = g_strdup(uuid);
    self->op = op;
    self->aim = aim;
    self->asked = op != NULL ? op->target : WK_TARGET_NONE;
    self->run = wk_run_new(op != NULL ? op->id : "recovery", guest);
    return self;
}

WkTask *
wk_task_ref(WkTask *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

void
wk_task_unref(WkTask *self)
{
    if (self == NULL || !g_atomic_ref_count_dec(&self->refs))
        return;
    wk_task_disarm_all(self);
    wk_operation_free(self->op);
    wk_operation_free(self->ended);
    wk_run_unref(self->run);
    g_clear_error(&self->failure);
    g_free(self->uuid);
    g_free(self->stop_why);
    g_free(self->last_failure);
    g_free(self->caveat);
    wk_launcher_lease_free(self->lease);
    g_free(self);
}

void
wk_task_disarm(GSource **place)
{
    if (*place == NULL)
        return;
    g_source_destroy(*place);
    g_clear_pointer(place, g_source_unref);
}

void
wk_task_arm(WkTask *self, GSource **place, guint ms, gboolean (*callback)(gpointer task))
{
    wk_task_disarm(place);
    *place = g_timeout_source_new(ms);
    g_source_set_callback(*place, callback, self, NULL);
    g_source_attach(*place, NULL);
}

void
wk_task_disarm_all(WkTask *self)
{
    wk_task_disarm(&self->retry_timer);
    wk_task_disarm(&self->deadline_timer);
    wk_task_disarm(&self->tick_timer);
}

void
wk_task_renew_run(WkTask *self)
{
    g_autoptr(WkRun) old = self->run;

    self->run = wk_run_new(wk_run_get_id(old), wk_run_get_guest(old));
}

void
wk_task_forget_calls(WkTask *self)
{
    self->tick_pending = FALSE;
    self->breaking = FALSE;
}

static void
update_rate(WkTask *self, guint64 done)
{
    const gint64 now = wk_clock_mono_us();
    const gint64 elapsed = now - self->rate_at_us;

    if (self->rate_at_us == 0 || done < self->rate_done_bytes) {
        self->rate_at_us = now;
        self->rate_done_bytes = done;
        return;
    }
    if (elapsed < G_USEC_PER_SEC / 5)
        return;
    self->op->bytes_per_second = (done - self->rate_done_bytes) * G_USEC_PER_SEC / (guint64)elapsed;
    self->rate_at_us = now;
    self->rate_done_bytes = done;
}

gboolean
wk_task_update_progress(WkTask *self)
{
    WkOperation *op = self->op;
    const WkStep step = wk_run_get_step(self->run);
    guint64 done;
    guint64 total;
    gboolean changed;

    if (op == NULL)
        return FALSE;
    wk_run_get_progress(self->run, &done, &total);
    changed = op->step != step || op->done_bytes != done || op->total_bytes != total;
    op->step = step;
    op->done_bytes = done;
    op->total_bytes = total;
    update_rate(self, done);
    return changed;
}

WkAim
wk_task_aim_of(WkAction action)
{
    static const WkAim aims[] = { [WK_ACTION_NONE] = WK_AIM_RECOVER,
                                  [WK_ACTION_SUSPEND] = WK_AIM_SUSPEND,
                                  [WK_ACTION_RESUME] = WK_AIM_RESUME,
                                  [WK_ACTION_DISCARD] = WK_AIM_DISCARD,
                                  [WK_ACTION_VERIFY] = WK_AIM_VERIFY };

    return aims[action];
}
