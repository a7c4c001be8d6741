/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/intent.h"

void
wk_intent_clear(WkIntent *self)
{
    g_clear_pointer(&self->request_id, g_free);
    g_clear_pointer(&self->raw, g_free);
    g_clear_error(&self->error);
    *self = (WkIntent){ 0 };
}

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

/* An id whose action failed is no reason to leave it at that: a changed spec may try it again. */
static gboolean
is_done_by_id(const WkIntent *intent, const WkBinding *binding, const char *mirrored_request_id)
{
    if (intent->request_id == NULL)
        return FALSE;
    if (binding == NULL)
        return g_strcmp0(intent->request_id, mirrored_request_id) == 0;
    return binding->result == WK_OP_SUCCEEDED
           && g_strcmp0(intent->request_id, binding->last_request_id) == 0;
}

WkIntentVerdict
wk_intent_judge(const WkIntent *intent, gint64 generation, const WkBinding *binding,
                const char *mirrored_request_id)
{
    if (!intent->present)
        return WK_INTENT_NOTHING;
    if (is_done_by_id(intent, binding, mirrored_request_id))
        return WK_INTENT_DONE;
    /* 0 is "none": it must not be taken for an object that has no generation. */
    if (binding != NULL && binding->observed_generation > 0
        && binding->observed_generation == generation && wk_op_state_is_final(binding->result))
        return binding->result == WK_OP_SUCCEEDED ? WK_INTENT_DONE : WK_INTENT_FAILED;
    if (binding != NULL && binding->owed != NULL && g_strcmp0(intent->raw, binding->owed) == 0)
        return WK_INTENT_DONE;
    return intent->error != NULL ? WK_INTENT_WRONG : WK_INTENT_DO;
}
