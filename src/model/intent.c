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
