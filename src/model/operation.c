/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/operation.h"

#include "base/clock.h"

WkOperation *
wk_operation_new(const WkRequest *request, const char *source, const char *name, guint timeout_s)
{
    WkOperation *self = g_new0(WkOperation, 1);

    self->id = wk_clock_new_id();
    self->source = g_strdup(source);
    self->guest = g_strdup(request->guest);
    self->name = g_strdup(name);
    self->action = request->action;
    self->target = request->target;
    self->fallback = request->fallback;
    self->origin = request->origin;
    self->wukong_uid = g_strdup(request->wukong_uid);
    self->generation = request->generation;
    self->request_id = g_strdup(request->request_id);
    self->owed = g_strdup(request->owed);
    self->state = WK_OP_QUEUED;
    self->step = WK_STEP_NONE;
    self->accepted_at_us = wk_clock_real_us();
    self->deadline_at_us = self->accepted_at_us + (gint64)timeout_s * G_USEC_PER_SEC;
    return self;
}

WkOperation *
wk_operation_copy(const WkOperation *self)
{
    WkOperation *copy = g_memdup2(self, sizeof *self);

    copy->id = g_strdup(self->id);
    copy->source = g_strdup(self->source);
    copy->guest = g_strdup(self->guest);
    copy->name = g_strdup(self->name);
    copy->reason = g_strdup(self->reason);
    copy->message = g_strdup(self->message);
    copy->wukong_uid = g_strdup(self->wukong_uid);
    copy->request_id = g_strdup(self->request_id);
    copy->owed = g_strdup(self->owed);
    return copy;
}

void
wk_operation_free(WkOperation *self)
{
    if (self == NULL)
        return;
    g_free(self->id);
    g_free(self->source);
    g_free(self->guest);
    g_free(self->name);
    g_free(self->reason);
    g_free(self->message);
    g_free(self->wukong_uid);
    g_free(self->request_id);
    g_free(self->owed);
    g_free(self);
}

void
wk_operation_set_state(WkOperation *self, WkOpState state, const char *reason, const char *message)
{
    g_autofree char *old_reason = NULL;
    g_autofree char *old_message = NULL;

    g_return_if_fail(!wk_op_state_is_final(self->state));

    g_debug("operation %s of '%s': %s -> %s (%s)", self->id, self->name,
            wk_op_state_name(self->state), wk_op_state_name(state), reason != NULL ? reason : "-");
    old_reason = g_steal_pointer(&self->reason);
    old_message = g_steal_pointer(&self->message);
    self->state = state;
    self->reason = g_strdup(reason);
    self->message = g_strdup(message);
    if (state == WK_OP_RUNNING && self->started_at_us == 0)
        self->started_at_us = wk_clock_real_us();
    if (wk_op_state_is_final(state))
        self->finished_at_us = wk_clock_real_us();
}

int
wk_operation_percent(const WkOperation *self)
{
    if (self->state == WK_OP_SUCCEEDED)
        return 100;
    if (self->total_bytes == 0)
        return -1;
    return (int)(MIN(self->done_bytes, self->total_bytes) * 100 / self->total_bytes);
}

gint64
wk_operation_seconds_left(const WkOperation *self)
{
    if (self->bytes_per_second == 0 || self->total_bytes < self->done_bytes)
        return -1;
    return (gint64)((self->total_bytes - self->done_bytes) / self->bytes_per_second);
}
