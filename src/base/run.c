/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/run.h"

#include "base/error.h"
#include "base/failpoint.h"

struct _WkRun {
    char *id;
    char *guest;

    GMutex lock;
    WkStep step;
    guint64 done_bytes;
    guint64 total_bytes;
    char *cancelled; /* why; NULL: not asked */
    gboolean abandoned;
};

WkRun *
wk_run_new(const char *id, const char *guest)
{
    WkRun *self = g_atomic_rc_box_new0(WkRun);

    self->id = g_strdup(id);
    self->guest = g_strdup(guest);
    self->step = WK_STEP_NONE;
    g_mutex_init(&self->lock);
    return self;
}

WkRun *
wk_run_ref(WkRun *self)
{
    return g_atomic_rc_box_acquire(self);
}

static void
run_clear(gpointer data)
{
    WkRun *self = data;

    g_free(self->id);
    g_free(self->guest);
    g_free(self->cancelled);
    g_mutex_clear(&self->lock);
}

void
wk_run_unref(WkRun *self)
{
    if (self != NULL)
        g_atomic_rc_box_release_full(self, run_clear);
}

const char *
wk_run_get_id(const WkRun *self)
{
    return self->id;
}

const char *
wk_run_get_guest(const WkRun *self)
{
    return self->guest;
}

gboolean
wk_run_step(WkRun *self, WkStep step, GError **error)
{
    gboolean abandoned;

    g_mutex_lock(&self->lock);
    abandoned = self->abandoned;
    if (!abandoned)
        self->step = step;
    g_mutex_unlock(&self->lock);
    if (abandoned) {
        wk_error_set(error, WK_ERROR_CANCELLED, NULL,
                     "guest '%s': operation %s was given up before '%s'", self->guest, self->id,
                     wk_step_text(step));
        return FALSE;
    }
    g_debug("step %s guest=%s operation=%s", wk_step_name(step), self->guest, self->id);
    return wk_failpoint_pass(step, error);
}

WkStep
wk_run_get_step(WkRun *self)
{
    WkStep step;

    g_mutex_lock(&self->lock);
    step = self->step;
    g_mutex_unlock(&self->lock);
    return step;
}

void
wk_run_cancel(WkRun *self, const char *why)
{
    g_mutex_lock(&self->lock);
    if (self->cancelled == NULL)
        self->cancelled = g_strdup(why);
    g_mutex_unlock(&self->lock);
}

gboolean
wk_run_is_cancelled(WkRun *self)
{
    return !wk_run_check(self, NULL);
}

gboolean
wk_run_check(WkRun *self, GError **error)
{
    gboolean cancelled;

    g_mutex_lock(&self->lock);
    cancelled = self->cancelled != NULL;
    if (cancelled)
        wk_error_set(error, WK_ERROR_CANCELLED, NULL, "%s", self->cancelled);
    g_mutex_unlock(&self->lock);
    return !cancelled;
}

void
wk_run_abandon(WkRun *self)
{
    g_mutex_lock(&self->lock);
    self->abandoned = TRUE;
    g_mutex_unlock(&self->lock);
}

void
wk_run_set_progress(WkRun *self, guint64 done, guint64 total)
{
    g_mutex_lock(&self->lock);
    self->done_bytes = done;
    self->total_bytes = total;
    g_mutex_unlock(&self->lock);
}

void
wk_run_get_progress(WkRun *self, guint64 *done, guint64 *total)
{
    g_mutex_lock(&self->lock);
    *done = self->done_bytes;
    *total = self->total_bytes;
    g_mutex_unlock(&self->lock);
}
