/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/intent.h"

WkBinding *
wk_binding_new(const char *uid, const char *ns, const char *name)
{
    WkBinding *self = g_new0(WkBinding, 1);

    self->uid = g_strdup(uid);
    self->ns = g_strdup(ns);
    self->name = g_strdup(name);
    return self;
}

WkBinding *
wk_binding_copy(const WkBinding *self)
{
    WkBinding *copy = g_memdup2(self, sizeof *self);

    copy->uid = g_strdup(self->uid);
    copy->ns = g_strdup(self->ns);
    copy->name = g_strdup(self->name);
    copy->source = g_strdup(self->source);
    copy->guest = g_strdup(self->guest);
    copy->last_request_id = g_strdup(self->last_request_id);
    copy->reason = g_strdup(self->reason);
    copy->message = g_strdup(self->message);
    copy->owed = g_strdup(self->owed);
    return copy;
}

void
wk_binding_free(WkBinding *self)
{
    if (self == NULL)
        return;
    g_free(self->uid);
    g_free(self->ns);
    g_free(self->name);
    g_free(self->source);
    g_free(self->guest);
    g_free(self->last_request_id);
    g_free(self->reason);
    g_free(self->message);
    g_free(self->owed);
    g_free(self);
}

static void
set_text(char **place, const char *text)
{
    g_free(*place);
    *place = g_strdup(text);
}

gboolean
wk_binding_note(WkBinding *self, const WkOperation *operation)
{
    g_return_val_if_fail(wk_op_state_is_final(operation->state), FALSE);

    if (g_strcmp0(self->uid, operation->wukong_uid) != 0
        || operation->generation < self->observed_generation)
        return FALSE;
    self->observed_generation = operation->generation;
    self->action = operation->action;
    self->result = operation->state;
    self->ended_at_us = operation->finished_at_us;
    set_text(&self->reason, operation->reason);
    set_text(&self->message, operation->message);
    set_text(&self->owed, operation->state == WK_OP_SUCCEEDED ? operation->owed : NULL);
    if (operation->state == WK_OP_SUCCEEDED && operation->request_id != NULL)
        set_text(&self->last_request_id, operation->request_id);
    return TRUE;
}
