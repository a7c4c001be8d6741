/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/wukongs_private.h"

#include "base/log.h"

/* ---- status ---- */

/* Only once the guest's state shows it: state and conditions are told together, in one write. */
static const WkOperation *
operation_of(const WkGuest *guest)
{
    const WkOperation *op = guest != NULL && guest->task != NULL ? guest->task->op : NULL;

    return op != NULL && guest->view != NULL && g_strcmp0(guest->view->operation, op->id) == 0
               ? op
               : NULL;
}

/* What is to be taken out of the spec: what the ledger owes, or an action that it knew as done. */
static const char *
owed_by(const WkEntry *entry)
{
    const WkIntent *intent = &entry->seen->intent;

    if (entry->binding != NULL && entry->binding->owed != NULL)
        return entry->binding->owed;
    if (wk_intent_judge(intent, entry->seen->generation, entry->binding,
                        entry->seen->mirrored_request_id)
        == WK_INTENT_DONE)
        return intent->raw;
    return NULL;
}

/* Without KubeVirt the mark of a guest that the fallback shut down is on the Wukong. */
static int
mark_of(const WkEntry *entry, const WkGuest *guest)
{
    const gboolean stopped = guest != NULL && guest->record->stopped_by_fallback;

    if (guest == NULL || stopped == entry->seen->marked_suspended)
        return -1;
    return stopped ? 1 : 0;
}

void
wk_wukongs_report(WkWukongs *self, WkEntry *entry, WkGuest *guest, const char *reason,
                  const char *message)
{
    const WkStatusInput input = { .uid = entry->uid,
                                  .view = guest != NULL ? guest->view : NULL,
                                  .missing = reason,
                                  .missing_message = message,
                                  .operation = operation_of(guest),
                                  .binding = entry->binding,
                                  .generation = entry->seen->generation,
                                  .node = self->node_name,
                                  .saved_here =
                                      guest != NULL && guest->record->state != WK_LEDGER_NONE };
    WkStatus *status = NULL;
    const char *owed = owed_by(entry);
    const int mark = mark_of(entry, guest);
    gboolean urgent;

    if (guest != NULL && guest->view == NULL)
        return; /* not looked at yet: nothing is known */
    status = wk_status_make(&input);
    if (wk_status_equal(status, entry->wanted) && g_strcmp0(owed, entry->wanted_owed) == 0
        && mark == entry->wanted_mark) {
        wk_status_free(status);
        return;
    }
    urgent = entry->wanted == NULL || g_strcmp0(status->compared, entry->wanted->compared) != 0
             || g_strcmp0(owed, entry->wanted_owed) != 0 || mark != entry->wanted_mark;
    wk_status_free(entry->wanted);
    entry->wanted = wk_status_make(&input);
    g_free(entry->wanted_owed);
    entry->wanted_owed = g_strdup(owed);
    entry->wanted_mark = mark;
    wk_reporter_want(self->reporter, entry->seen->ns, entry->seen->name, status, owed, mark,
                     urgent);
}

/* ---- Events ---- */

typedef struct {
    WkAction action;
    const char *name;
    const char *begun;
    const char *done;
    const char *failed;
} Words;

static const Words words[] = {
    { WK_ACTION_NONE, "LifecycleAction", NULL, NULL, "ActionRefused" },
    { WK_ACTION_SUSPEND, "Suspend", "Suspending", "Suspended", "SuspendFailed" },
    { WK_ACTION_RESUME, "Resume", "Resuming", "Resumed", "ResumeFailed" },
    { WK_ACTION_DISCARD, "Discard", NULL, "SavedStateDiscarded", "DiscardFailed" },
    { WK_ACTION_VERIFY, "Verify", NULL, NULL, NULL }, /* the node's own business */
};

static void
tell(WkWukongs *self, const WkEntry *entry, const char *type, const char *reason,
     const char *action, const char *note)
{
    if (entry->seen == NULL || reason == NULL)
        return;
    wk_outbox_put(self->outbox, wk_kube_event_new(entry->seen, type, reason, action,
                                                  note != NULL ? note : reason));
}

/* Events with the same action and reason are counted together (as in client-go): a suspend to disk
 * must not be counted as another one to memory. */
static const char *
action_of(const WkOperation *op)
{
    if (op->action == WK_ACTION_SUSPEND && op->target == WK_TARGET_DISK)
        return "SuspendToDisk";
    if (op->action == WK_ACTION_SUSPEND && op->target == WK_TARGET_MEMORY)
        return "SuspendToMemory";
    return words[op->action].name;
}

static void
tell_begun(WkWukongs *self, WkEntry *entry, const WkOperation *op)
{
    const Words *of = &words[op->action];
    g_autofree char *note = NULL;

    if (g_strcmp0(entry->begun, op->id) == 0 || of->begun == NULL)
        return;
    g_free(entry->begun);
    entry->begun = g_strdup(op->id);
    note =
        op->action == WK_ACTION_SUSPEND && op->target != WK_TARGET_NONE
            ? g_strdup_printf("suspending domain '%s' to %s", op->name, wk_target_name(op->target))
            : g_strdup_printf("%s domain '%s'",
                              op->action == WK_ACTION_SUSPEND ? "suspending" : "resuming",
                              op->name);
    tell(self, entry, "Normal", of->begun, action_of(op), note);
}

void
wk_wukongs_tell_operation(WkWukongs *self, WkEntry *entry, const WkOperation *op)
{
    const Words *of = &words[op->action];

    switch (op->state) {
    case WK_OP_RUNNING:
        tell_begun(self, entry, op);
        return;
    case WK_OP_SUCCEEDED:
        if (g_strcmp0(op->reason, "AlreadySo") != 0)
            tell(self, entry, "Normal", of->done, action_of(op), op->message);
        return;
    case WK_OP_FAILED:
        tell(self, entry, "Warning", of->failed, action_of(op), op->message);
        return;
    case WK_OP_QUEUED:
    case WK_OP_CANCELLED: /* whoever asked for it knows */
    default:
        return;
    }
}

void
wk_wukongs_tell_refusal(WkWukongs *self, WkEntry *entry, WkAction action, const char *message)
{
    tell(self, entry, "Warning", words[action].failed, words[action].name, message);
}

/* Reasons that nobody asked for, so that no operation tells of them. */
static const char *const outside_events[][2] = {
    { "PauseLost", "PauseLost" },
    { "ResumeInterrupted", "SavedStateQuarantined" },
};

/* Returns: the Event's reason for a view with @reason; NULL: none. */
static const char *
event_for(const WkView *view)
{
    for (gsize i = 0; i < G_N_ELEMENTS(outside_events); i++) {
        if (g_strcmp0(view->reason, outside_events[i][0]) == 0)
            return outside_events[i][1];
    }
    return view->restorable == 0 && view->reason != NULL ? "SavedStateQuarantined" : NULL;
}

/* What the object shows already was told by an earlier life of the agent. */
static gboolean
is_shown(const WkEntry *entry, const char *reason)
{
    g_autofree char *member = g_strdup_printf("\"reason\":\"%s\"", reason);

    return entry->seen != NULL && entry->seen->seen_state != NULL
           && strstr(entry->seen->seen_state, member) != NULL;
}

void
wk_wukongs_tell_view(WkWukongs *self, WkEntry *entry, const WkView *view)
{
    const char *event = event_for(view);

    if (g_strcmp0(entry->told_reason, view->reason) == 0)
        return;
    g_free(entry->told_reason);
    entry->told_reason = g_strdup(view->reason);
    if (event == NULL || is_shown(entry, view->reason))
        return;
    tell(self, entry, "Warning", event, "Observe", view->message);
}
