/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/status.h"

#include "base/json.h"
#include "kube/canonical.h"
#include "kube/wukong_private.h"

#include <string.h>

#define REASON_MAX  128
#define MESSAGE_MAX 1024

/* Messages where a state has none of its own. */
static const char unknown_guest[] = "its guest is not known on this node";
static const char image_good[] = "the saved memory is safe on disk";
static const char image_held[] = "the saved image is not safe to restore";
static const char image_open[] = "whether its saved memory can be restored is not known now";

/* What a state is called in a sentence. */
static const char *const state_texts[] = {
    [WK_STATE_UNKNOWN] = "what the guest does is not known",
    [WK_STATE_RUNNING] = "the guest runs",
    [WK_STATE_SUSPENDING] = "the guest is being suspended",
    [WK_STATE_SUSPENDED] = "the guest is suspended",
    [WK_STATE_RESUMING] = "the guest is being resumed",
    [WK_STATE_STOPPED] = "the guest is off",
};

/* metav1.Condition: ^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$ */
static gboolean
is_reason(const char *text)
{
    const gsize length = text != NULL ? strlen(text) : 0;

    if (length == 0 || length > REASON_MAX || !g_ascii_isalpha(*text))
        return FALSE;
    for (const char *p = text; *p != '\0'; p++) {
        const gboolean last = p[1] == '\0';

        if (!g_ascii_isalnum(*p) && *p != '_' && (last || (*p != ',' && *p != ':')))
            return FALSE;
    }
    return TRUE;
}

static WkState
state_of(const WkStatusInput *in)
{
    if (in->view != NULL)
        return in->view->state;
    /* Only this reason says that the guest is off and not just out of sight. */
    return g_strcmp0(in->missing, "NotRunning") == 0 ? WK_STATE_STOPPED : WK_STATE_UNKNOWN;
}

/* The action went wrong after whatever the guest's own record tells of: a wrong value never gets
 * as far as there. */
static gboolean
is_failure_latest(const WkStatusInput *in)
{
    const WkBinding *binding = in->binding;

    return binding != NULL && binding->result == WK_OP_FAILED && in->operation == NULL
           && (in->view == NULL || binding->ended_at_us > in->view->last_action_at_us);
}

/* Reason and message of the state. */
static void
choose_words(const WkStatusInput *in, const char **reason, const char **message)
{
    *reason = in->view != NULL ? in->view->reason : in->missing;
    *message = in->view != NULL ? in->view->message : in->missing_message;
    /* What the state itself has to say matters more. */
    if (*reason != NULL || *message != NULL || !is_failure_latest(in))
        return;
    *reason = in->binding->reason;
    *message = in->binding->message;
}

/* The message is nothing but the step that an operation is at. */
static gboolean
is_progress(const WkStatusInput *in)
{
    return in->view != NULL && in->operation != NULL && in->operation->state == WK_OP_RUNNING
           && in->operation->message == NULL
           && (in->view->state == WK_STATE_SUSPENDING || in->view->state == WK_STATE_RESUMING);
}

static void
set_message(JsonObject *object, const char *message)
{
    g_autofree char *text = wk_bounded_text(message, MESSAGE_MAX);

    wk_json_set_string(object, "message", text);
}

static void
add_last_action(JsonObject *object, const WkStatusInput *in)
{
    const WkView *view = in->view;
    const WkBinding *binding = in->binding;
    WkAction action = view != NULL ? view->last_action : WK_ACTION_NONE;
    gint64 at_us = view != NULL ? view->last_action_at_us : 0;

    if (binding != NULL && binding->action != WK_ACTION_NONE && binding->ended_at_us > at_us) {
        action = binding->action;
        at_us = binding->ended_at_us;
    }
    wk_json_set_string(object, "lastAction", wk_action_name(action));
    if (action != WK_ACTION_NONE)
        wk_json_set_time(object, "lastActionTime", at_us);
}

static void
add_view(JsonObject *object, const WkView *view)
{
    wk_json_set_string(object, "target", wk_target_name(view->target));
    wk_json_set_string(object, "origin", wk_origin_name(view->origin));
    if (view->progress_percent >= 0)
        wk_json_set_int(object, "progressPercent", MIN(view->progress_percent, 100));
    if (view->saved_bytes > 0)
        wk_json_set_int(object, "savedBytes", (gint64)MIN(view->saved_bytes, (guint64)G_MAXINT64));
    wk_json_set_time(object, "savedAt", view->saved_at_us);
}

static void
add_binding(JsonObject *object, const WkBinding *binding)
{
    if (binding->observed_generation > 0)
        wk_json_set_int(object, "observedGeneration", binding->observed_generation);
    /* It is believed where the ledger is lost: only what was done may be in it. */
    if (binding->result == WK_OP_SUCCEEDED && binding->last_request_id != NULL
        && wk_object_is_plain(binding->last_request_id, WK_WUKONG_REQUEST_ID_MAX))
        wk_json_set_string(object, "lastRequestId", binding->last_request_id);
}

static void
make_state(WkStatus *self, const WkStatusInput *in)
{
    g_autoptr(JsonObject) object = json_object_new();
    const char *reason;
    const char *message;

    choose_words(in, &reason, &message);
    wk_json_set_string(object, "state", wk_state_name(state_of(in)));
    if (is_reason(reason))
        wk_json_set_string(object, "reason", reason);
    set_message(object, message);
    add_last_action(object, in);
    if (in->view != NULL)
        add_view(object, in->view);
    if (in->binding != NULL)
        add_binding(object, in->binding);
    self->state = wk_canonical_object(object);
    if (json_object_has_member(object, "progressPercent"))
        json_object_remove_member(object, "progressPercent");
    if (is_progress(in) && json_object_has_member(object, "message"))
        json_object_remove_member(object, "message");
    self->compared = wk_canonical_object(object);
}

static void
set_condition(WkStatus *self, WkConditionType type, const char *status, const char *reason,
              const char *message)
{
    self->conditions[type].status = status;
    self->conditions[type].reason = g_strdup(reason);
    self->conditions[type].message = wk_bounded_text(message, MESSAGE_MAX);
}

static void
make_suspended(WkStatus *self, const WkStatusInput *in)
{
    const WkState state = state_of(in);
    const char *status = state == WK_STATE_SUSPENDED ? "True" : "False";
    const char *reason;
    const char *message;

    choose_words(in, &reason, &message);
    if (message == NULL && in->view == NULL)
        message = unknown_guest;
    if (message == NULL || is_progress(in))
        message = state_texts[state];
    set_condition(self, WK_CONDITION_SUSPENDED, state == WK_STATE_UNKNOWN ? "Unknown" : status,
                  is_reason(reason) ? reason : wk_state_name(state), message);
}

/* The view's own words are about the image. */
static gboolean
is_told_of_image(const WkView *view)
{
    if (view->state == WK_STATE_STOPPED)
        return g_strcmp0(view->reason, "ResumeInterrupted") == 0;
    return view->state == WK_STATE_SUSPENDED && view->target == WK_TARGET_DISK
           && is_reason(view->reason);
}

static void
make_restorable(WkStatus *self, const WkStatusInput *in)
{
    const WkView *view = in->view;
    const gboolean on_disk =
        view != NULL && view->target == WK_TARGET_DISK && view->state == WK_STATE_SUSPENDED;
    const gboolean told = view != NULL && is_told_of_image(view);

    if (view == NULL || (view->restorable < 0 && view->saved_bytes == 0 && !on_disk))
        return;
    if (view->restorable > 0)
        set_condition(self, WK_CONDITION_RESTORABLE, "True", "SavedToDisk", image_good);
    else if (view->restorable == 0)
        set_condition(self, WK_CONDITION_RESTORABLE, "False", told ? view->reason : "ImageHeld",
                      told && view->message != NULL ? view->message : image_held);
    else
        set_condition(self, WK_CONDITION_RESTORABLE, "Unknown",
                      is_reason(view->reason) ? view->reason : wk_state_name(view->state),
                      view->message != NULL && !is_progress(in) ? view->message : image_open);
}

/* What the spec asked for is on its way; actions of others say nothing of it. */
static gboolean
is_in_progress(const WkStatusInput *in)
{
    return in->operation != NULL && in->operation->origin == WK_ORIGIN_SPEC
           && !wk_op_state_is_final(in->operation->state);
}

static void
make_in_progress(WkStatus *self, const WkStatusInput *in)
{
    g_autofree char *text =
        g_strdup_printf("%s is %s", wk_action_name(in->operation->action),
                        in->operation->state == WK_OP_QUEUED ? "queued" : "under way");

    set_condition(self, WK_CONDITION_SUCCEEDED, "Unknown", "InProgress",
                  in->operation->message != NULL ? in->operation->message : text);
    self->generation = in->generation;
}

static void
make_succeeded(WkStatus *self, const WkStatusInput *in)
{
    static const char *const reasons[] = {
        [WK_OP_SUCCEEDED] = "Succeeded", [WK_OP_FAILED] = "Failed", [WK_OP_CANCELLED] = "Cancelled"
    };
    const WkBinding *binding = in->binding;
    const char *reason;
    g_autofree char *text = NULL;

    if (is_in_progress(in)) {
        make_in_progress(self, in);
        return;
    }
    if (binding == NULL || !wk_op_state_is_final(binding->result))
        return;
    reason = is_reason(binding->reason) ? binding->reason : reasons[binding->result];
    /* The guest was stopped by its fallback; the action fell back, whichever way. */
    if (binding->result == WK_OP_SUCCEEDED && g_str_equal(reason, "StoppedByFallback"))
        reason = "FellBack";
    text = g_strdup_printf("%s %s", wk_action_name(binding->action),
                           wk_op_state_name(binding->result));
    set_condition(self, WK_CONDITION_SUCCEEDED,
                  binding->result == WK_OP_SUCCEEDED ? "True" : "False", reason,
                  binding->message != NULL ? binding->message : g_strchug(text));
    self->generation = binding->observed_generation;
}

WkStatus *
wk_status_make(const WkStatusInput *input)
{
    WkStatus *self = g_new0(WkStatus, 1);

    self->uid = g_strdup(input->uid);
    self->node = g_strdup(input->node);
    self->saved_here = input->saved_here;
    make_state(self, input);
    make_suspended(self, input);
    make_restorable(self, input);
    make_succeeded(self, input);
    return self;
}

void
wk_status_free(WkStatus *self)
{
    if (self == NULL)
        return;
    g_free(self->state);
    g_free(self->compared);
    for (gsize i = 0; i < WK_CONDITION_TYPES; i++) {
        g_free(self->conditions[i].reason);
        g_free(self->conditions[i].message);
    }
    g_free(self->uid);
    g_free(self->node);
    g_free(self);
}

gboolean
wk_status_equal(const WkStatus *a, const WkStatus *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    for (gsize i = 0; i < WK_CONDITION_TYPES; i++) {
        if (g_strcmp0(a->conditions[i].status, b->conditions[i].status) != 0
            || g_strcmp0(a->conditions[i].reason, b->conditions[i].reason) != 0
            || g_strcmp0(a->conditions[i].message, b->conditions[i].message) != 0)
            return FALSE;
    }
    return g_str_equal(a->uid, b->uid) && g_str_equal(a->state, b->state)
           && a->generation == b->generation && a->saved_here == b->saved_here;
}
