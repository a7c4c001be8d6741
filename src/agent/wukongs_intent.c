/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/wukongs_private.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

/* What a request's answer is for. */
typedef struct {
    WkWukongs *self;
    char *uid;
    gint64 generation;
    WkAction action;
} Submitted;

static const char *
verb_of(WkAction action)
{
    switch (action) {
    case WK_ACTION_SUSPEND:
        return "Suspend";
    case WK_ACTION_RESUME:
        return "Resume";
    case WK_ACTION_DISCARD:
        return "Discard";
    case WK_ACTION_VERIFY:
        return "Verify";
    case WK_ACTION_NONE:
    default:
        return "Action";
    }
}

/* A final error: noted, so that it is not tried again until the spec changes. */
static void
note_refusal(WkWukongs *self, WkEntry *entry, gint64 generation, WkAction action,
             const GError *error)
{
    g_autofree char *message = g_strdup_printf("%s failed: %s", verb_of(action), error->message);
    g_autoptr(GError) local = NULL;
    g_autoptr(WkOperation) op = NULL;
    const WkRequest request = { .guest = entry->guest != NULL ? entry->guest : "",
                                .action = action,
                                .wukong_uid = entry->uid,
                                .generation = generation };
    const char *reason = wk_error_get_reason(error);

    wk_log(WK_LOG_WARNING, &(WkLogFields){ .guest = entry->seen->name, .action = "refuse" },
           "Wukong %s/%s: %s", entry->seen->ns, entry->seen->name, message);
    op = wk_operation_new(&request, "", entry->seen->name, 0);
    wk_operation_set_state(op, WK_OP_FAILED, reason != NULL ? reason : "Failed", message);
    if (wk_wukongs_keep(self, entry) && wk_binding_note(entry->binding, op)
        && !wk_ledger_put_binding(self->ledger, entry->binding, &local))
        wk_log(WK_LOG_ERROR, NULL, "Wukong %s/%s: %s", entry->seen->ns, entry->seen->name,
               local->message);
    wk_wukongs_tell_refusal(self, entry, action, message);
}

static void
on_submitted(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Submitted *submitted = data;
    WkWukongs *self = submitted->self;
    g_autoptr(GError) error = NULL;
    g_autoptr(WkOperation) op = wk_engine_submit_finish(self->engine, result, &error);
    WkEntry *entry = g_hash_table_lookup(self->entries, submitted->uid);

    if (entry != NULL) {
        entry->submitting = FALSE;
        if (op == NULL && g_error_matches(error, WK_ERROR, WK_ERROR_UNAVAILABLE))
            entry->waits_for = submitted->generation; /* until the guest's source says more */
        else if (op == NULL && entry->seen != NULL)
            note_refusal(self, entry, submitted->generation, submitted->action, error);
        wk_wukongs_reconcile(self, entry);
    }
    g_free(submitted->uid);
    g_free(submitted);
}

/* The action is in the engine already: of this generation, or the same text of an older one (the
 * rest of the spec changed meanwhile). */
static gboolean
is_under_way(const WkTask *task, const WkWukong *wukong)
{
    if (task == NULL || task->op == NULL || g_strcmp0(task->op->wukong_uid, wukong->uid) != 0)
        return FALSE;
    return task->op->generation == wukong->generation
           || (task->op->action == wukong->intent.action && !task->stopping
               && g_strcmp0(task->op->owed, wukong->intent.raw) == 0);
}

static void
submit(WkWukongs *self, WkEntry *entry, WkGuest *guest)
{
    const WkIntent *intent = &entry->seen->intent;
    const WkRequest request = { .guest = guest->uuid,
                                .action = intent->action,
                                .target = intent->target,
                                .fallback = intent->fallback,
                                .origin = WK_ORIGIN_SPEC,
                                .timeout_s = intent->timeout_s,
                                .wukong_uid = entry->uid,
                                .generation = entry->seen->generation,
                                .request_id = intent->request_id,
                                .owed = intent->raw };
    Submitted *submitted;

    if (!wk_wukongs_keep(self, entry))
        return;
    submitted = g_new0(Submitted, 1);
    submitted->self = self;
    submitted->uid = g_strdup(entry->uid);
    submitted->generation = request.generation;
    submitted->action = request.action;
    entry->submitting = TRUE;
    wk_engine_submit(self->engine, &request, on_submitted, submitted);
}

/* What was done before counts for this generation too: whoever waits for it must see that. */
static void
note_known(WkWukongs *self, WkEntry *entry)
{
    const WkWukong *wukong = entry->seen;
    g_autoptr(GError) error = NULL;

    if (!wk_wukongs_keep(self, entry) || entry->binding->observed_generation >= wukong->generation)
        return;
    entry->binding->observed_generation = wukong->generation;
    if (!wk_op_state_is_final(entry->binding->result)) { /* only the annotation knew */
        entry->binding->result = WK_OP_SUCCEEDED;
        entry->binding->action = wukong->intent.action;
        entry->binding->ended_at_us = wk_clock_real_us();
        entry->binding->last_request_id = g_strdup(wukong->intent.request_id);
        entry->binding->message = g_strdup("done before, by its requestId");
    }
    if (!wk_ledger_put_binding(self->ledger, entry->binding, &error))
        wk_log(WK_LOG_ERROR, NULL, "Wukong %s/%s: %s", wukong->ns, wukong->name, error->message);
}

void
wk_wukongs_act(WkWukongs *self, WkEntry *entry, WkGuest *guest)
{
    const WkWukong *wukong = entry->seen;

    if (!entry->told && !wk_wukongs_has_stake(self, entry))
        return; /* another node's by now; only the last report is still on its way */
    switch (wk_intent_judge(&wukong->intent, wukong->generation, entry->binding,
                            wukong->mirrored_request_id)) {
    case WK_INTENT_WRONG:
        note_refusal(self, entry, wukong->generation, WK_ACTION_NONE, wukong->intent.error);
        return;
    case WK_INTENT_DO:
        break;
    case WK_INTENT_DONE:
        note_known(self, entry);
        return;
    case WK_INTENT_NOTHING:
    case WK_INTENT_FAILED:
    default:
        return;
    }
    if (guest == NULL || entry->submitting || wukong->deleting
        || entry->waits_for == wukong->generation
        || (guest->next == NULL ? is_under_way(guest->task, wukong)
                                : is_under_way(guest->next, wukong)))
        return;
    submit(self, entry, guest);
}
