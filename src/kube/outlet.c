/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/outlet.h"

#include "base/clock.h"
#include "base/error.h"

typedef enum {
    TRIAL_NONE,
    TRIAL_DUE,    /* whoever comes first may try */
    TRIAL_FLYING, /* somebody does */
} Trial;

struct _WkOutlet {
    WkKube *kube;
    WkReporterListener listener;
    gpointer data;
    void (*open)(gpointer data);
    gpointer open_data;
    char *node_name;
    char *namespace_name;
    guint speed;

    GCancellable *cancellable;
    gboolean stopped;
    guint flights;
    guint64 successes;
    guint64 outages;

    guint denials;    /* 403 in a row */
    gboolean is_well; /* it let something through since the last outage, or the start */

    gboolean down;
    Trial trial;
    guint failures; /* trials in a row */
    GSource *timer; /* to the next trial; NULL: none */

    GHashTable *notices; /* reason -> owner (utf8); those that hold */
    GQueue tells;        /* (element-type Tell) */
    GSource *teller;     /* NULL: none */
};

/* A call of the listener that waits for the main loop. */
typedef struct {
    void (*call)(const WkReporterListener *listener, const char *first, const char *second,
                 gint64 seq, gpointer data);
    char *first;
    char *second;
    gint64 seq;
} Tell;

typedef struct {
    WkOutlet *outlet;
    WkOutletAnswered answered;
    gpointer data;
    GDestroyNotify destroy;
    gboolean is_trial;
} Flight;

static void
tell_free(gpointer data)
{
    Tell *tell = data;

    g_free(tell->first);
    g_free(tell->second);
    g_free(tell);
}

WkOutlet *
wk_outlet_new(WkKube *kube, const WkReporterOptions *options, const WkReporterListener *listener,
              gpointer data, guint speed)
{
    WkOutlet *self = g_rc_box_new0(WkOutlet);

    self->kube = kube;
    self->listener = *listener;
    self->data = data;
    self->node_name = g_strdup(options->node_name);
    self->namespace_name = g_strdup(options->namespace_name);
    self->speed = MAX(speed, 1);
    self->cancellable = g_cancellable_new();
    self->notices = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_queue_init(&self->tells);
    return self;
}

void
wk_outlet_set_open(WkOutlet *self, void (*open)(gpointer data), gpointer data)
{
    self->open = open;
    self->open_data = data;
}

WkOutlet *
wk_outlet_ref(WkOutlet *self)
{
    return g_rc_box_acquire(self);
}

static void
outlet_clear(gpointer data)
{
    WkOutlet *self = data;

    g_queue_clear_full(&self->tells, tell_free);
    g_hash_table_unref(self->notices);
    g_object_unref(self->cancellable);
    g_free(self->node_name);
    g_free(self->namespace_name);
}

void
wk_outlet_unref(WkOutlet *self)
{
    if (self != NULL)
        g_rc_box_release_full(self, outlet_clear);
}

void
wk_outlet_stop(WkOutlet *self)
{
    self->stopped = TRUE;
    wk_outlet_drop_timer(&self->timer);
    wk_outlet_drop_timer(&self->teller);
    g_cancellable_cancel(self->cancellable);
}

const char *
wk_outlet_get_node_name(WkOutlet *self)
{
    return self->node_name;
}

const char *
wk_outlet_get_namespace(WkOutlet *self)
{
    return self->namespace_name;
}

guint
wk_outlet_ms(WkOutlet *self, guint ms)
{
    return ms / self->speed;
}

gint64
wk_outlet_us(WkOutlet *self, guint ms)
{
    return (gint64)ms * 1000 / self->speed;
}

void
wk_outlet_drop_timer(GSource **timer)
{
    if (*timer == NULL)
        return;
    g_source_destroy(*timer);
    g_clear_pointer(timer, g_source_unref);
}

void
wk_outlet_start_timer(GSource **timer, guint ms, GSourceFunc func, gpointer data)
{
    wk_outlet_drop_timer(timer);
    *timer = ms > 0 ? g_timeout_source_new(ms) : g_idle_source_new();
    g_source_set_priority(*timer, G_PRIORITY_DEFAULT);
    g_source_set_callback(*timer, func, data, NULL);
    (void)g_source_attach(*timer, NULL);
}

/* --- the listener ----------------------------------------------------------------------------- */

static gboolean
on_tell(gpointer data)
{
    g_autoptr(WkOutlet) self = wk_outlet_ref(data);
    Tell *tell;

    wk_outlet_drop_timer(&self->teller);
    while (!self->stopped && (tell = g_queue_pop_head(&self->tells)) != NULL) {
        tell->call(&self->listener, tell->first, tell->second, tell->seq, self->data);
        tell_free(tell);
    }
    return G_SOURCE_REMOVE;
}

static void
add_tell(WkOutlet *self, const Tell *model)
{
    Tell *tell = g_new0(Tell, 1);

    tell->call = model->call;
    tell->first = g_strdup(model->first);
    tell->second = g_strdup(model->second);
    tell->seq = model->seq;
    g_queue_push_tail(&self->tells, tell);
    if (self->teller == NULL && !self->stopped)
        wk_outlet_start_timer(&self->teller, 0, on_tell, self);
}

static void
call_removed(const WkReporterListener *listener, const char *first, const char *second, gint64 seq,
             gpointer data)
{
    (void)seq;
    if (listener->removed != NULL)
        listener->removed(first, second, data);
}

static void
call_event_done(const WkReporterListener *listener, const char *first, const char *second,
                gint64 seq, gpointer data)
{
    (void)first;
    (void)second;
    if (listener->event_done != NULL)
        listener->event_done(seq, data);
}

static void
call_notice(const WkReporterListener *listener, const char *first, const char *second, gint64 seq,
            gpointer data)
{
    (void)seq;
    if (listener->notice != NULL)
        listener->notice(first, second, data);
}

static void
call_renewed(const WkReporterListener *listener, const char *first, const char *second, gint64 seq,
             gpointer data)
{
    (void)first;
    (void)second;
    (void)seq;
    if (listener->renewed != NULL)
        listener->renewed(data);
}

void
wk_outlet_tell_removed(WkOutlet *self, const char *uid, const char *owed)
{
    add_tell(self, &(Tell){ call_removed, (char *)uid, (char *)owed, 0 });
}

void
wk_outlet_tell_event_done(WkOutlet *self, gint64 seq)
{
    if (seq > 0)
        add_tell(self, &(Tell){ call_event_done, NULL, NULL, seq });
}

void
wk_outlet_tell_renewed(WkOutlet *self)
{
    add_tell(self, &(Tell){ call_renewed, NULL, NULL, 0 });
}

void
wk_outlet_notice(WkOutlet *self, const char *reason, const char *owner, const char *text)
{
    if (g_hash_table_contains(self->notices, reason))
        return;
    g_hash_table_insert(self->notices, g_strdup(reason), g_strdup(owner));
    add_tell(self, &(Tell){ call_notice, (char *)reason, (char *)text, 0 });
}

void
wk_outlet_clear_notices(WkOutlet *self, const char *owner)
{
    GHashTableIter iter;
    gpointer reason, whose;

    if (g_hash_table_size(self->notices) == 0)
        return;
    g_hash_table_iter_init(&iter, self->notices);
    while (g_hash_table_iter_next(&iter, &reason, &whose)) {
        if (g_strcmp0(whose, owner) != 0)
            continue;
        add_tell(self, &(Tell){ call_notice, reason, NULL, 0 });
        g_hash_table_iter_remove(&iter);
    }
}

/* --- the gate --------------------------------------------------------------------------------- */

gboolean
wk_outlet_is_outage(const GError *error)
{
    static const int outages[] = { WK_ERROR_UNAVAILABLE, WK_ERROR_TIMEOUT, WK_ERROR_CANCELLED };

    const char *why = wk_error_get_reason(error);

    for (gsize i = 0; i < G_N_ELEMENTS(outages); i++) {
        if (g_error_matches(error, WK_ERROR, outages[i]))
            return TRUE;
    }
    return g_error_matches(error, WK_ERROR, WK_ERROR_DENIED) && g_strcmp0(why, "Unauthorized") == 0;
}

gboolean
wk_outlet_is_down(WkOutlet *self)
{
    return self->down;
}

gboolean
wk_outlet_is_open(WkOutlet *self)
{
    return !self->stopped && (!self->down || self->trial == TRIAL_DUE);
}

static gboolean
on_trial_due(gpointer data)
{
    WkOutlet *self = data;

    wk_outlet_drop_timer(&self->timer);
    self->trial = TRIAL_DUE;
    if (self->open != NULL)
        self->open(self->open_data);
    return G_SOURCE_REMOVE;
}

void
wk_outlet_hurry(WkOutlet *self)
{
    if (self->timer != NULL)
        wk_outlet_start_timer(&self->timer, 0, on_trial_due, self);
}

/* Many that were on their way when the server went away are one failure, not many. */
static void
note_outage(WkOutlet *self, const GError *error, gboolean is_trial)
{
    gint64 asked_ms = wk_kube_retry_after_ms(error);
    guint ms;

    self->outages++;
    if (self->down && !is_trial)
        return;
    self->down = TRUE;
    self->trial = TRIAL_NONE;
    self->failures++;
    ms = wk_kube_backoff_ms(self->failures);
    if (asked_ms > ms)
        ms = (guint)asked_ms;
    wk_outlet_start_timer(&self->timer, wk_outlet_ms(self, ms), on_trial_due, self);
}

static void
note_answer(WkOutlet *self)
{
    self->down = FALSE;
    self->trial = TRIAL_NONE;
    self->failures = 0;
    wk_outlet_drop_timer(&self->timer);
}

/* wk_kube_is_denied(): once it has let anything through it has read its roles, and means it. */
static gboolean
is_denied_too_soon(WkOutlet *self, const GError *error)
{
    const gboolean believed = wk_kube_is_denied(&self->denials, error);

    return self->denials > 0 && !believed && !self->is_well;
}

static void
note_landing(WkOutlet *self, const Flight *flight, const GError *error)
{
    if (error != NULL && wk_outlet_is_outage(error)) {
        self->is_well = FALSE;
        note_outage(self, error, flight->is_trial);
        return;
    }
    note_answer(self);
    self->successes += error == NULL;
    /* whatever it says: to say that something is not there it has let us ask */
    self->is_well = self->is_well || self->denials == 0;
}

static void
flight_land(Flight *flight, JsonObject *answer, const GError *error)
{
    g_autoptr(WkOutlet) self = flight->outlet;
    g_autoptr(GError) instead = NULL;

    self->flights--;
    if (!self->stopped) {
        if (is_denied_too_soon(self, error))
            wk_error_set(&instead, WK_ERROR_UNAVAILABLE, "NotReady", "%s", error->message);
        note_landing(self, flight, instead != NULL ? instead : error);
        flight->answered(answer, instead != NULL ? instead : error, flight->data);
    }
    if (flight->destroy != NULL)
        flight->destroy(flight->data);
    if (!self->stopped && self->open != NULL)
        self->open(self->open_data);
    g_free(flight);
}

static void
on_sent(GObject *source, GAsyncResult *result, gpointer data)
{
    Flight *flight = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) answer = wk_kube_send_finish(flight->outlet->kube, result, &error);

    (void)source;
    flight_land(flight, answer, error);
}

void
wk_outlet_send(WkOutlet *self, const WkKubeRequest *request, WkOutletAnswered answered,
               gpointer data, GDestroyNotify destroy)
{
    Flight *flight = g_new0(Flight, 1);

    flight->outlet = wk_outlet_ref(self);
    flight->answered = answered;
    flight->data = data;
    flight->destroy = destroy;
    flight->is_trial = self->trial == TRIAL_DUE;
    if (flight->is_trial)
        self->trial = TRIAL_FLYING;
    self->flights++;
    wk_kube_send(self->kube, request, self->cancellable, on_sent, flight);
}

guint
wk_outlet_count_flights(WkOutlet *self)
{
    return self->flights;
}

guint64
wk_outlet_count_successes(WkOutlet *self)
{
    return self->successes;
}

guint64
wk_outlet_count_outages(WkOutlet *self)
{
    return self->outages;
}

/* --- texts ------------------------------------------------------------------------------------ */

char *
wk_outlet_format_micro(gint64 real_us)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(real_us / G_USEC_PER_SEC);
    g_autofree char *seconds = time != NULL ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%S") : NULL;

    if (seconds == NULL)
        return g_strdup("1970-01-01T00:00:00.000000Z");
    return g_strdup_printf("%s.%06dZ", seconds, (int)(real_us % G_USEC_PER_SEC));
}

char *
wk_outlet_path(const char *prefix, const char *ns, const char *plural, const char *name,
               const char *tail)
{
    g_autofree char *ns_text = g_uri_escape_string(ns, NULL, FALSE);
    g_autofree char *name_text = name != NULL ? g_uri_escape_string(name, NULL, FALSE) : NULL;

    return g_strconcat(prefix, "/namespaces/", ns_text, "/", plural, name_text != NULL ? "/" : "",
                       name_text != NULL ? name_text : "", tail != NULL ? tail : "", NULL);
}
