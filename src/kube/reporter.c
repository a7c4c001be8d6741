/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/reporter.h"

#include "kube/reporter_private.h"

/* So many Wukongs are written at a time: what waits here can still be replaced by something newer,
 * what was handed to the client can't. */
#define WRITING_MAX 8

static void
free_subject(gpointer data)
{
    WkSubject *self = data;

    wk_subject_stop(self);
    wk_subject_unref(self);
}

/* --- whose turn it is ------------------------------------------------------------------------- */

static gboolean
has_untried(WkReporter *self)
{
    GHashTableIter iter;
    gpointer subject;

    g_hash_table_iter_init(&iter, self->subjects);
    while (g_hash_table_iter_next(&iter, NULL, &subject)) {
        if (((const WkSubject *)subject)->untried)
            return TRUE;
    }
    return FALSE;
}

static gboolean
on_drained(gpointer data)
{
    WkReporter *self = data;
    void (*drained)(gpointer data) = g_steal_pointer(&self->drained);

    wk_outlet_drop_timer(&self->patience);
    if (drained != NULL)
        drained(self->drained_data);
    return G_SOURCE_REMOVE;
}

/* A server that is away is away for all of them: one try is enough to know. */
static void
look_if_drained(WkReporter *self)
{
    /* Whether the Lease is renewed once more matters to nobody. */
    guint flights =
        wk_outlet_count_flights(self->outlet) - (wk_lease_is_flying(self->lease) ? 1 : 0);

    if (self->drained == NULL || flights > 0)
        return;
    if (!has_untried(self) || wk_outlet_count_outages(self->outlet) > self->outages)
        wk_outlet_start_timer(&self->patience, 0, on_drained, self);
}

/* Sends what may be sent; the outlet calls it after every answer. */
static void
pump(gpointer data)
{
    WkReporter *self = data;

    while (wk_outlet_is_open(self->outlet) && self->writing < WRITING_MAX) {
        WkSubject *subject = g_queue_peek_head(&self->urgent);

        if (subject == NULL)
            subject = g_queue_peek_head(&self->others);
        if (subject == NULL)
            break;
        wk_subject_send(subject);
    }
    wk_events_pump(self->events);
    look_if_drained(self);
}

void
wk_reporter_enqueue(WkReporter *self, WkSubject *subject, gboolean first)
{
    g_queue_push_tail(first ? &self->urgent : &self->others, subject);
    pump(self);
}

void
wk_reporter_dequeue(WkReporter *self, WkSubject *subject)
{
    if (!g_queue_remove(&self->urgent, subject))
        (void)g_queue_remove(&self->others, subject);
}

/* --- who there is ----------------------------------------------------------------------------- */

static WkSubject *
need_subject(WkReporter *self, const char *uid, const char *ns, const char *name)
{
    WkSubject *subject = g_hash_table_lookup(self->subjects, uid);

    if (subject != NULL)
        return subject;
    subject = wk_subject_new(self, uid, ns, name);
    g_hash_table_insert(self->subjects, subject->uid, subject);
    return subject;
}

void
wk_reporter_remove(WkReporter *self, WkSubject *subject)
{
    if (g_hash_table_lookup(self->subjects, subject->uid) == subject)
        g_hash_table_remove(self->subjects, subject->uid);
}

void
wk_reporter_want(WkReporter *self, const char *ns, const char *name, WkStatus *status,
                 const char *owed, int mark, gboolean urgent)
{
    wk_subject_want(need_subject(self, status->uid, ns, name), status, owed, mark, urgent);
}

void
wk_reporter_saw(WkReporter *self, const WkWukong *seen)
{
    wk_subject_saw(need_subject(self, seen->uid, seen->ns, seen->name), seen);
}

void
wk_reporter_forget(WkReporter *self, const char *uid)
{
    WkSubject *subject = g_hash_table_lookup(self->subjects, uid);

    if (subject == NULL)
        return;
    wk_outlet_clear_notices(self->outlet, uid);
    if (wk_subject_is_writing(subject))
        wk_subject_stop(subject);
    else
        wk_reporter_remove(self, subject);
    look_if_drained(self);
}

void
wk_reporter_event(WkReporter *self, WkKubeEvent *event)
{
    wk_events_add(self->events, event);
}

static void
each_subject(WkReporter *self, void (*call)(WkSubject *subject))
{
    g_autoptr(GList) all = g_hash_table_get_values(self->subjects);

    for (GList *link = all; link != NULL; link = link->next)
        call(link->data);
}

void
wk_reporter_hurry(WkReporter *self)
{
    wk_outlet_hurry(self->outlet);
    wk_lease_hurry(self->lease);
    each_subject(self, wk_subject_hurry);
}

guint
wk_reporter_count_pending(WkReporter *self)
{
    guint pending = wk_events_count(self->events);
    GHashTableIter iter;
    gpointer subject;

    g_hash_table_iter_init(&iter, self->subjects);
    while (g_hash_table_iter_next(&iter, NULL, &subject))
        pending += wk_subject_is_pending(subject) ? 1 : 0;
    return pending;
}

/* --- its life --------------------------------------------------------------------------------- */

static void
mark_untried(WkSubject *subject)
{
    subject->untried = wk_subject_is_pending(subject) && (subject->urgent || !subject->passing)
                       && subject->state != WK_WRITE_HELD && wk_sight_get(subject->sight) != NULL;
}

void
wk_reporter_drain(WkReporter *self, guint patience_ms, void (*done)(gpointer data), gpointer data)
{
    self->drained = done;
    self->drained_data = data;
    self->outages = wk_outlet_count_outages(self->outlet);
    wk_outlet_start_timer(&self->patience, wk_outlet_ms(self->outlet, patience_ms), on_drained,
                          self);
    wk_events_stop(self->events);
    wk_lease_stop(self->lease);
    each_subject(self, mark_untried);
    wk_outlet_hurry(self->outlet);
    each_subject(self, wk_subject_hurry);
    look_if_drained(self);
}

WkReporter *
wk_reporter_new_fast(WkKube *kube, const WkReporterOptions *options,
                     const WkReporterListener *listener, gpointer data, guint speed)
{
    WkReporter *self = g_new0(WkReporter, 1);

    self->outlet = wk_outlet_new(kube, options, listener, data, speed);
    self->with_conditions = TRUE;
    g_queue_init(&self->urgent);
    g_queue_init(&self->others);
    self->subjects = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_subject);
    self->events = wk_events_new(self->outlet);
    self->lease = wk_lease_new(self->outlet, options->lease_renew_s, options->lease_duration_s);
    wk_outlet_set_open(self->outlet, pump, self);
    return self;
}

WkReporter *
wk_reporter_new(WkKube *kube, const WkReporterOptions *options, const WkReporterListener *listener,
                gpointer data)
{
    return wk_reporter_new_fast(kube, options, listener, data, 1);
}

void
wk_reporter_free(WkReporter *self)
{
    if (self == NULL)
        return;
    wk_outlet_stop(self->outlet);
    wk_outlet_drop_timer(&self->patience);
    g_hash_table_unref(self->subjects);
    g_queue_clear(&self->urgent);
    g_queue_clear(&self->others);
    wk_lease_free(self->lease);
    wk_events_free(self->events);
    wk_outlet_unref(self->outlet);
    g_free(self);
}
