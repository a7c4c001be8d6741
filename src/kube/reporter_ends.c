/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/reporter_private.h"

#include "base/clock.h"
#include "base/error.h"

#include <string.h>

#define HOLD_MS     (5 * 60 * 1000)
#define FOR_GOOD_MS G_MAXUINT

/* How a write can end other than well. The first row that fits decides. */
typedef struct {
    WkWriteState was; /* WK_WRITE_REST: either */
    int code;         /* -1: any */
    const char *says; /* stands in the server's message; NULL: anything */
    guint hold_ms;    /* 0: again, after a backoff */
    guint hold_ends;
    const char *notice; /* NULL: none */
    const char *text;   /* of the notice, one %s for the Wukong, one for the message */
    /* What else; TRUE: instead of all the above. */
    gboolean (*also)(WkSubject *self, const GError *error);
} Ending;

static gboolean do_without_status(WkSubject *self, const GError *error);
static gboolean is_outage(WkSubject *self, const GError *error);
static gboolean leave_conditions_out(WkSubject *self, const GError *error);
static gboolean forget_replaced(WkSubject *self, const GError *error);
static gboolean wait_for_newer(WkSubject *self, const GError *error);
static gboolean look_again(WkSubject *self, const GError *error);

static const Ending endings[] = {
    /* Kubernetes 1.36 does not prune an apply of fields that the CRD lacks, but answers 500. */
    { WK_WRITE_STATUS, -1, "not declared in schema", 0, 0, NULL, NULL, do_without_status },
    { WK_WRITE_REST, -1, NULL, 0, 0, NULL, NULL, is_outage },
    { WK_WRITE_REST, WK_ERROR_DENIED, NULL, HOLD_MS, 0, "Forbidden",
      "the API server does not let wukongd patch %s: %s", NULL },
    /* Gone, or its kind is: the watch will tell which. */
    { WK_WRITE_REST, WK_ERROR_NOT_FOUND, NULL, FOR_GOOD_MS, WK_END_BY_SAW, NULL, NULL, NULL },
    /* Somebody else has written meanwhile, or it is another object of that name: the watch tells.
     */
    { WK_WRITE_STATUS, WK_ERROR_CONFLICT, "has been modified", 0, 0, NULL, NULL, wait_for_newer },
    { WK_WRITE_STATUS, WK_ERROR_CONFLICT, "uid mismatch", 0, 0, NULL, NULL, forget_replaced },
    { WK_WRITE_STATUS, WK_ERROR_CONFLICT, "UID in precondition", 0, 0, NULL, NULL,
      forget_replaced },
    { WK_WRITE_STATUS, WK_ERROR_INVALID, "metadata.uid", 0, 0, NULL, NULL, forget_replaced },
    { WK_WRITE_STATUS, WK_ERROR_CONFLICT, "status.conditions", 0, 0, NULL, NULL,
      leave_conditions_out },
    { WK_WRITE_STATUS, WK_ERROR_INVALID, "status.conditions", 0, 0, NULL, NULL,
      leave_conditions_out },
    { WK_WRITE_STATUS, WK_ERROR_CONFLICT, "conflict with", HOLD_MS, WK_END_BY_SAW, "FieldConflict",
      "somebody else has written what wukongd writes in the status of %s and is not overruled: %s",
      NULL },
    /* A test in the patch did not hold: the object is not as it was believed to be. */
    { WK_WRITE_PATCH, WK_ERROR_INVALID, NULL, HOLD_MS, WK_END_BY_SAW, NULL, NULL, look_again },
    { WK_WRITE_STATUS, WK_ERROR_INVALID, NULL, FOR_GOOD_MS, WK_END_BY_WANT, "WriteRefused",
      "the API server does not take the status of %s: %s", NULL },
    { WK_WRITE_REST, -1, NULL, 0, 0, NULL, NULL, NULL },
};

static void
back_off(WkSubject *self, gint64 asked_ms)
{
    const gint64 backoff_ms = wk_kube_backoff_ms(++self->failures);
    const gint64 ms = MAX(backoff_ms, asked_ms);

    self->not_before_us =
        wk_clock_mono_us() + wk_outlet_us(self->reporter->outlet, (guint)MIN(ms, HOLD_MS));
}

/* It says nothing of this write, so it is tried again when its turn comes. */
static gboolean
is_outage(WkSubject *self, const GError *error)
{
    if (!wk_outlet_is_outage(error))
        return FALSE;
    back_off(self, wk_kube_retry_after_ms(error));
    return TRUE;
}

static void
drop_conditions(WkReporter *reporter)
{
    reporter->with_conditions = FALSE;
    wk_outlet_notice(reporter->outlet, "ConditionsLeftOut", NULL,
                     "status.conditions of Wukongs belongs to somebody else as a whole here, so "
                     "wukongd does not write its conditions (lifecycleState says the same)");
}

/* conditions[type="..."] in a message is one condition of a list by type; without the bracket it
 * is the whole list that belongs to somebody else, for every Wukong of this server. */
static gboolean
leave_conditions_out(WkSubject *self, const GError *error)
{
    const char *after = strstr(error->message, "status.conditions") + strlen("status.conditions");
    gboolean whole = *after != '[' || error->code == WK_ERROR_INVALID;

    if (!whole || !self->reporter->with_conditions)
        return FALSE;
    drop_conditions(self->reporter);
    return TRUE;
}

static gboolean
forget_replaced(WkSubject *self, const GError *error)
{
    g_autofree char *text =
        g_strdup_printf("%s/%s was deleted and made anew; nothing of the old one is written to it",
                        self->ns, self->name);

    (void)error;
    wk_outlet_notice(self->reporter->outlet, "WukongReplaced", self->uid, text);
    wk_outlet_clear_notices(self->reporter->outlet, self->uid);
    wk_reporter_remove(self->reporter, self);
    return TRUE;
}

/* The same again would be refused again; the backoff is for a watch that has fallen silent. */
static gboolean
wait_for_newer(WkSubject *self, const GError *error)
{
    (void)error;
    g_free(self->refused_rv);
    self->refused_rv = g_strdup(self->sent_rv);
    self->conflicts++;
    back_off(self, -1);
    return TRUE;
}

/* If the watch has told of another action meanwhile, that is why, and the rest is written now. */
static gboolean
look_again(WkSubject *self, const GError *error)
{
    const WkWukong *newest = wk_sight_get_newest(self->sight);

    (void)error;
    if (self->sent_owed == NULL)
        return FALSE;
    self->owed_refused = g_strcmp0(self->owed, self->sent_owed) == 0;
    return g_strcmp0(newest->intent.raw, self->sent_owed) != 0;
}

static gboolean
fits(const Ending *ending, WkWriteState was, const GError *error)
{
    if (ending->was != WK_WRITE_REST && ending->was != was)
        return FALSE;
    if (ending->code != -1 && !g_error_matches(error, WK_ERROR, ending->code))
        return FALSE;
    return ending->says == NULL || strstr(error->message, ending->says) != NULL;
}

static void
give_notice(WkSubject *self, const Ending *ending, const GError *error)
{
    g_autofree char *what = g_strdup_printf("Wukong %s/%s", self->ns, self->name);
    g_auto(GStrv) parts = g_strsplit(ending->text, "%s", 3);
    g_autofree char *text = g_strconcat(parts[0], what, parts[1], error->message, parts[2], NULL);

    wk_outlet_notice(self->reporter->outlet, ending->notice, self->uid, text);
}

static void
hold(WkSubject *self, const Ending *ending)
{
    WkOutlet *outlet = self->reporter->outlet;

    back_off(self, -1);
    if (ending->hold_ms == 0)
        return;
    self->hold_ends = ending->hold_ends;
    self->hold_until_us = ending->hold_ms == FOR_GOOD_MS
                              ? G_MAXINT64
                              : wk_clock_mono_us() + wk_outlet_us(outlet, ending->hold_ms);
}

/* Rows of one error in a row: what "also" declines goes on to the next that fits. */
static void
failed(WkSubject *self, WkWriteState was, const GError *error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(endings); i++) {
        const Ending *ending = &endings[i];

        if (!fits(ending, was, error))
            continue;
        if (ending->also != NULL && ending->also(self, error))
            return;
        if (ending->also != NULL && ending->hold_ms == 0)
            continue;
        if (ending->notice != NULL)
            give_notice(self, ending, error);
        hold(self, ending);
        return;
    }
}

/* What the server made of it. Where that is not what was sent (an older CRD prunes what it does
 * not know, a webhook has its own mind), the same again would change nothing: it counts as done
 * until it looks different, or something else is wanted. */
static void
note_status_made(WkSubject *self, const WkWukong *made)
{
    WkOutlet *outlet = self->reporter->outlet;

    g_free(self->status_made);
    self->status_made = wk_sight_status_text(made);
    self->status_stood = self->sent_version;
    self->status_odd = wk_subject_is_status_in(self, made) ? 0 : self->sent_version;
    if (made->seen_state == NULL)
        wk_outlet_notice(outlet, "FieldsPruned", "crd",
                         "the Wukong CRD of this cluster has no status.lifecycleState, so the API "
                         "server drops it; the state is only in the annotation " WK_ANNOTATION_STATE
                         " (data/crd has the patch for the CRD)");
    else
        wk_outlet_clear_notices(outlet, "crd");
}

static void
note_meta_made(WkSubject *self, const WkWukong *made)
{
    g_free(self->meta_made);
    self->meta_made = wk_sight_meta_text(made);
    self->meta_stood = self->sent_version;
    self->meta_odd = wk_subject_is_meta_in(self, made) ? 0 : self->sent_version;
    if (self->sent_owed != NULL)
        wk_subject_settle_owed(self, self->sent_owed);
}

/* As if it had been taken and pruned: the annotation carries the state. Where only our conditions
 * have a member too many for an operator's list, lifecycleState goes without them. */
static gboolean
do_without_status(WkSubject *self, const GError *error)
{
    const WkWukong *shown = wk_sight_get(self->sight);

    if (self->reporter->with_conditions && strstr(error->message, "status.conditions") != NULL
        && strstr(error->message, "status.lifecycleState") == NULL) {
        drop_conditions(self->reporter);
        return TRUE;
    }
    if (shown == NULL)
        return FALSE;
    self->failures = 0;
    self->not_before_us = self->hold_until_us = 0;
    note_status_made(self, shown);
    return TRUE;
}

/* An answer that is no Wukong says no more than that the write was done: what the watch tells
 * next is not doubted then. */
static void
succeeded(WkSubject *self, WkWriteState was, JsonObject *answer)
{
    WkWukong *made = wk_wukong_parse(answer, NULL);
    const WkWukong *shown = made != NULL ? made : wk_sight_get(self->sight);

    self->failures = self->conflicts = 0;
    self->not_before_us = self->hold_until_us = 0;
    wk_outlet_clear_notices(self->reporter->outlet, self->uid);
    if (shown != NULL && was == WK_WRITE_STATUS)
        note_status_made(self, shown);
    else if (shown != NULL)
        note_meta_made(self, shown);
    if (made != NULL)
        wk_sight_answered(self->sight, made);
    else
        wk_sight_failed(self->sight, FALSE);
}

void
wk_subject_ended(WkSubject *self, WkWriteState was, JsonObject *answer, const GError *error)
{
    gboolean refuted = was == WK_WRITE_PATCH && self->sent_owed == NULL
                       && g_error_matches(error, WK_ERROR, WK_ERROR_INVALID);

    self->untried = FALSE;
    if (self->forgotten) {
        wk_reporter_remove(self->reporter, self);
        return;
    }
    if (error == NULL) {
        succeeded(self, was, answer);
    } else {
        wk_sight_failed(self->sight, refuted);
        self->urgent = self->urgent || (was == WK_WRITE_STATUS && self->sent_urgent);
        failed(self, was, error);
    }
    wk_subject_watch_doubt(self);
    wk_subject_step(self);
}
