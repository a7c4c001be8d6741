/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/reporter_private.h"

#include "base/clock.h"
#include "base/json.h"

/* How often: a status that only differs in its progress, and one that somebody keeps dropping. */
#define PROGRESS_MS     2000
#define ASSERTS_AT_ONCE 5
#define ASSERT_MS       10000
#define PEACE_MS        60000
/* So many conflicts in a row with a version that was newer are answered at once. */
#define CONFLICTS_AT_ONCE 5
/* An echo that has not come after this is not waited for (sight.h, rule 4). */
#define ECHO_MS 5000

#define STATUS_TYPE    "application/apply-patch+yaml"
#define PATCH_TYPE     "application/json-patch+json"
#define STATUS_TAIL    "/status?fieldManager=wukongd"
#define PATCH_TAIL     "?fieldManager=wukongd"
#define STATE_MAX_SIZE (64 * 1024)

static gboolean on_timer(gpointer data);
static gboolean on_doubt(gpointer data);

WkSubject *
wk_subject_new(WkReporter *reporter, const char *uid, const char *ns, const char *name)
{
    WkSubject *self = g_rc_box_new0(WkSubject);

    self->reporter = reporter;
    self->uid = g_strdup(uid);
    self->ns = g_strdup(ns);
    self->name = g_strdup(name);
    self->mark = -1;
    self->sight = wk_sight_new();
    return self;
}

WkSubject *
wk_subject_ref(WkSubject *self)
{
    return g_rc_box_acquire(self);
}

static void
subject_clear(gpointer data)
{
    WkSubject *self = data;

    wk_outlet_drop_timer(&self->timer);
    wk_outlet_drop_timer(&self->doubt);
    wk_status_free(self->want);
    wk_sight_free(self->sight);
    g_free(self->owed);
    g_free(self->sent_owed);
    g_free(self->sent_rv);
    g_free(self->refused_rv);
    g_free(self->status_made);
    g_free(self->meta_made);
    g_free(self->uid);
    g_free(self->ns);
    g_free(self->name);
}

void
wk_subject_unref(WkSubject *self)
{
    g_rc_box_release_full(self, subject_clear);
}

gboolean
wk_subject_is_writing(const WkSubject *self)
{
    return self->state == WK_WRITE_STATUS || self->state == WK_WRITE_PATCH;
}

/* --- what is to be written -------------------------------------------------------------------- */

static gboolean
has_raw(const WkWukong *seen, const char *raw)
{
    return seen != NULL && g_strcmp0(seen->intent.raw, raw) == 0;
}

/* The action is still to be removed. Where the watch says so and is only doubted, the server
 * decides: the patch tests the action before it removes it. */
static gboolean
is_owed_there(WkSubject *self)
{
    if (self->owed_refused)
        return self->owed != NULL && has_raw(wk_sight_get_newest(self->sight), self->owed);
    return self->owed != NULL
           && (has_raw(wk_sight_get(self->sight), self->owed)
               || has_raw(wk_sight_get_doubted(self->sight), self->owed));
}

static gboolean
is_mark_wrong(const WkSubject *self, const WkWukong *seen)
{
    return self->mark >= 0 && seen->marked_suspended != (self->mark == 1);
}

gboolean
wk_subject_is_status_in(WkSubject *self, const WkWukong *seen)
{
    return self->want != NULL && g_strcmp0(self->want->state, seen->seen_state) == 0
           && wk_status_is_shown(self->want, seen, self->reporter->with_conditions);
}

gboolean
wk_subject_is_meta_in(WkSubject *self, const WkWukong *seen)
{
    return self->want != NULL && g_strcmp0(self->want->state, seen->seen_mirror) == 0
           && !is_mark_wrong(self, seen) && wk_status_is_place_shown(self->want, seen);
}

static gboolean
is_status_there(WkSubject *self)
{
    const WkWukong *seen = wk_sight_get(self->sight);
    g_autofree char *made = NULL;

    if (wk_subject_is_status_in(self, seen))
        return TRUE;
    if (self->status_odd != self->version)
        return FALSE;
    made = wk_sight_status_text(seen);
    return g_strcmp0(made, self->status_made) == 0;
}

static gboolean
is_meta_there(WkSubject *self)
{
    const WkWukong *seen = wk_sight_get(self->sight);
    g_autofree char *made = NULL;

    if (wk_subject_is_meta_in(self, seen))
        return TRUE;
    if (self->meta_odd != self->version)
        return FALSE;
    made = wk_sight_meta_text(seen);
    return g_strcmp0(made, self->meta_made) == 0;
}

/* WK_WRITE_REST, WK_WRITE_STATUS or WK_WRITE_PATCH. The status goes first, alone: only what it says
 * at the end of a transition is worth a second write. */
static WkWriteState
next_write(WkSubject *self)
{
    if (self->want == NULL || wk_sight_get(self->sight) == NULL)
        return WK_WRITE_REST;
    if (!is_status_there(self))
        return WK_WRITE_STATUS;
    if (is_owed_there(self))
        return WK_WRITE_PATCH; /* done, whatever is under way by now, perhaps for long */
    return self->passing || is_meta_there(self) ? WK_WRITE_REST : WK_WRITE_PATCH;
}

gboolean
wk_subject_is_pending(WkSubject *self)
{
    if (self->forgotten || self->want == NULL)
        return FALSE;
    return wk_sight_get(self->sight) == NULL || wk_subject_is_writing(self)
           || next_write(self) != WK_WRITE_REST;
}

/* --- when ------------------------------------------------------------------------------------- */

/* What stood there is gone: somebody dropped it. The first few times it is put back at once. */
static void
note_drop(WkSubject *self, gint64 now_us)
{
    WkOutlet *outlet = self->reporter->outlet;

    if (now_us - self->last_drop_us > wk_outlet_us(outlet, PEACE_MS))
        self->drops = 0;
    self->drops++;
    self->last_drop_us = now_us;
    self->asserting = TRUE;
    self->assert_at_us =
        self->drops > ASSERTS_AT_ONCE ? self->last_assert_us + wk_outlet_us(outlet, ASSERT_MS) : 0;
}

static void
note_if_dropped(WkSubject *self, WkWriteState what, gint64 now_us)
{
    guint *stood = what == WK_WRITE_STATUS ? &self->status_stood : &self->meta_stood;

    if (*stood != self->version || (what == WK_WRITE_PATCH && is_meta_there(self)))
        return;
    *stood = 0;
    note_drop(self, now_us);
}

static gint64
due_at(WkSubject *self, WkWriteState what)
{
    gint64 at_us = self->not_before_us;

    if (self->asserting)
        return MAX(at_us, self->assert_at_us);
    if (what == WK_WRITE_STATUS && !self->urgent && self->last_status_us > 0)
        at_us =
            MAX(at_us, self->last_status_us + wk_outlet_us(self->reporter->outlet, PROGRESS_MS));
    return at_us;
}

static void
set_state(WkSubject *self, WkWriteState state)
{
    if (self->state == WK_WRITE_QUEUED && state != WK_WRITE_QUEUED)
        wk_reporter_dequeue(self->reporter, self);
    if (state != WK_WRITE_WAIT && state != WK_WRITE_HELD)
        wk_outlet_drop_timer(&self->timer);
    self->state = state;
}

static void
wait_until(WkSubject *self, WkWriteState state, gint64 at_us, gint64 now_us)
{
    set_state(self, state);
    if (at_us == G_MAXINT64)
        wk_outlet_drop_timer(&self->timer);
    else
        wk_outlet_start_timer(&self->timer, (guint)((MAX(at_us - now_us, 0) + 999) / 1000),
                              on_timer, self);
}

static void
rest(WkSubject *self)
{
    set_state(self, WK_WRITE_REST);
    if (self->want == NULL || wk_sight_get(self->sight) == NULL)
        return;
    self->status_stood = self->version;
    if (!self->passing)
        self->meta_stood = self->version;
    self->urgent = self->asserting = self->untried = FALSE;
}

static void
enqueue(WkSubject *self, WkWriteState what)
{
    if (self->state == WK_WRITE_QUEUED && g_queue_find(&self->reporter->others, self) == NULL)
        return; /* among the urgent ones already */
    if (self->state == WK_WRITE_QUEUED && !self->urgent && what == WK_WRITE_STATUS)
        return;
    set_state(self, WK_WRITE_REST);
    self->state = WK_WRITE_QUEUED;
    wk_reporter_enqueue(self->reporter, self, self->urgent || what == WK_WRITE_PATCH);
}

/* Whatever was owed is told as removed, once the object shows another action or none. */
static void
settle_if_gone(WkSubject *self)
{
    if (self->owed == NULL || wk_sight_get(self->sight) == NULL || is_owed_there(self))
        return;
    if (self->owed_refused || wk_sight_get_doubted(self->sight) == NULL)
        wk_subject_settle_owed(self, self->owed);
}

/* A status goes to the version that was seen, and no other (kube/status.h). The server knew a newer
 * one; now that we know a newer one too there is nothing to wait for, unless this goes on and on.
 */
static void
note_newer(WkSubject *self)
{
    const WkWukong *seen = wk_sight_get(self->sight);

    if (self->refused_rv == NULL || seen == NULL
        || g_strcmp0(seen->resource_version, self->refused_rv) == 0)
        return;
    g_clear_pointer(&self->refused_rv, g_free);
    if (self->conflicts <= CONFLICTS_AT_ONCE)
        self->not_before_us = 0;
}

/* The one step of the machine: called whenever anything changed; decides what comes next. */
void
wk_subject_step(WkSubject *self)
{
    gint64 now_us = wk_clock_mono_us();
    WkWriteState what;
    gint64 at_us;

    if (self->forgotten || wk_subject_is_writing(self))
        return;
    note_newer(self);
    settle_if_gone(self);
    what = next_write(self);
    if (what == WK_WRITE_REST) {
        rest(self);
        return;
    }
    note_if_dropped(self, what, now_us);
    if (self->hold_until_us > now_us) {
        wait_until(self, WK_WRITE_HELD, self->hold_until_us, now_us);
        return;
    }
    at_us = due_at(self, what);
    if (at_us > now_us)
        wait_until(self, WK_WRITE_WAIT, at_us, now_us);
    else
        enqueue(self, what);
}

static gboolean
on_timer(gpointer data)
{
    WkSubject *self = data;

    wk_outlet_drop_timer(&self->timer);
    wk_subject_step(self);
    return G_SOURCE_REMOVE;
}

static gboolean
on_doubt(gpointer data)
{
    WkSubject *self = data;

    wk_outlet_drop_timer(&self->doubt);
    if (wk_subject_is_writing(self))
        return G_SOURCE_REMOVE; /* its answer starts this anew */
    wk_sight_trust(self->sight);
    wk_subject_step(self);
    return G_SOURCE_REMOVE;
}

void
wk_subject_watch_doubt(WkSubject *self)
{
    if (wk_sight_get_doubted(self->sight) == NULL || wk_subject_is_writing(self))
        wk_outlet_drop_timer(&self->doubt);
    else if (self->doubt == NULL)
        wk_outlet_start_timer(&self->doubt, wk_outlet_ms(self->reporter->outlet, ECHO_MS), on_doubt,
                              self);
}

/* --- what others say -------------------------------------------------------------------------- */

/* An action that is under way needs no annotation: the next state will be there soon. */
static gboolean
is_passing(const WkStatus *status)
{
    g_autoptr(JsonObject) state = wk_json_parse(status->state, -1, STATE_MAX_SIZE, NULL);
    const char *name = state != NULL ? wk_json_get_string(state, "state") : NULL;

    return g_strcmp0(name, "Suspending") == 0 || g_strcmp0(name, "Resuming") == 0;
}

static gboolean
is_only_progress(const WkStatus *old, const WkStatus *status)
{
    for (gsize i = 0; i < WK_CONDITION_TYPES; i++) {
        if (g_strcmp0(old->conditions[i].status, status->conditions[i].status) != 0
            || g_strcmp0(old->conditions[i].reason, status->conditions[i].reason) != 0)
            return FALSE;
    }
    return g_strcmp0(old->compared, status->compared) == 0;
}

/* Where the server did not take a status as it was, its progress is not worth trying again. */
static void
replace_want(WkSubject *self, WkStatus *status)
{
    if (self->want != NULL && self->status_odd == self->version
        && is_only_progress(self->want, status))
        self->status_odd = self->version + 1;
    self->version++;
    self->asserting = FALSE;
    self->passing = is_passing(status);
    wk_status_free(self->want);
    self->want = status;
}

void
wk_subject_want(WkSubject *self, WkStatus *status, const char *owed, int mark, gboolean urgent)
{
    gboolean same = wk_status_equal(self->want, status);

    self->forgotten = FALSE;
    if (same && g_strcmp0(self->owed, owed) == 0 && self->mark == mark) {
        wk_status_free(status);
        return;
    }
    if (self->mark != mark)
        self->meta_stood = 0;
    self->mark = mark;
    if (g_strcmp0(self->owed, owed) != 0) {
        g_free(self->owed);
        self->owed = g_strdup(owed);
        self->owed_refused = FALSE;
    }
    if (same)
        wk_status_free(status);
    else
        replace_want(self, status);
    self->urgent = self->urgent || urgent;
    if ((self->hold_ends & WK_END_BY_WANT) != 0)
        self->hold_until_us = 0;
    wk_subject_step(self);
}

void
wk_subject_saw(WkSubject *self, const WkWukong *seen)
{
    self->forgotten = FALSE;
    (void)wk_sight_saw(self->sight, seen, wk_subject_is_writing(self));
    wk_subject_watch_doubt(self);
    if ((self->hold_ends & WK_END_BY_SAW) != 0)
        self->hold_until_us = 0;
    wk_subject_step(self);
}

void
wk_subject_stop(WkSubject *self)
{
    if (!wk_subject_is_writing(self))
        set_state(self, WK_WRITE_REST);
    wk_outlet_drop_timer(&self->timer);
    wk_outlet_drop_timer(&self->doubt);
    wk_sight_free(self->sight);
    self->sight = wk_sight_new();
    g_clear_pointer(&self->want, wk_status_free);
    g_clear_pointer(&self->owed, g_free);
    self->urgent = self->untried = FALSE;
    self->forgotten = TRUE;
}

void
wk_subject_hurry(WkSubject *self)
{
    self->not_before_us = 0;
    wk_subject_step(self);
}

void
wk_subject_settle_owed(WkSubject *self, const char *owed)
{
    gboolean is_last = g_strcmp0(self->owed, owed) == 0;

    wk_outlet_tell_removed(self->reporter->outlet, self->uid, owed);
    if (!is_last)
        return;
    g_clear_pointer(&self->owed, g_free);
    self->owed_refused = FALSE;
}

/* --- sending ---------------------------------------------------------------------------------- */

static void
on_answered(JsonObject *answer, const GError *error, gpointer data)
{
    WkSubject *self = data;
    WkWriteState was = self->state;

    self->state = WK_WRITE_REST;
    self->reporter->writing--;
    wk_subject_ended(self, was, answer, error);
}

static void
on_sent_unref(gpointer data)
{
    wk_subject_unref(data);
}

static void
send(WkSubject *self, const char *tail, const char *type, const char *body)
{
    g_autofree char *path = wk_outlet_path(WK_WUKONG_PATH, self->ns, "wukongs", self->name, tail);
    WkKubeRequest request = { "PATCH", path, type, body };

    self->reporter->writing++;
    wk_outlet_send(self->reporter->outlet, &request, on_answered, wk_subject_ref(self),
                   on_sent_unref);
}

static void
send_status(WkSubject *self, gint64 now_us)
{
    g_autofree char *body = wk_status_apply_body(
        self->want, wk_sight_get(self->sight), wk_clock_real_us(), self->reporter->with_conditions);

    g_free(self->sent_rv);
    self->sent_rv = g_strdup(wk_sight_get(self->sight)->resource_version);
    self->sent_urgent = self->urgent;
    self->urgent = FALSE;
    self->last_status_us = now_us;
    send(self, STATUS_TAIL, STATUS_TYPE, body);
}

static void
send_patch(WkSubject *self)
{
    const WkWukong *seen = wk_sight_get(self->sight);
    const char *owed = is_owed_there(self) ? self->owed : NULL;
    g_autofree char *body =
        wk_status_patch_body(self->want, seen, owed, is_mark_wrong(self, seen) ? self->mark : -1);

    g_free(self->sent_owed);
    self->sent_owed = g_strdup(owed);
    send(self, PATCH_TAIL, PATCH_TYPE, body);
}

void
wk_subject_send(WkSubject *self)
{
    WkWriteState what = next_write(self);
    gint64 now_us = wk_clock_mono_us();

    if (what == WK_WRITE_REST) {
        rest(self);
        return;
    }
    set_state(self, what);
    self->sent_version = self->version;
    if (self->asserting)
        self->last_assert_us = now_us;
    wk_subject_watch_doubt(self);
    if (what == WK_WRITE_STATUS)
        send_status(self, now_us);
    else
        send_patch(self);
}
