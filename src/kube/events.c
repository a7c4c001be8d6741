/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/events.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"

#include <string.h>

#define EVENTS    "/apis/events.k8s.io/v1"
#define NOTE_MAX  1024
#define QUEUE_MAX 1000
/* What is remembered of others than those that wait; more is made room for. */
#define KNOWN_MAX 2048
#define SAME_MS   (6 * 60 * 1000)
#define BURST     25
#define REFILL_MS (5 * 60 * 1000)
/* So often is one tried that fails while others get through. */
#define TRIES_MAX 5
/* Of a name's 253 characters, what the dot and the time leave. */
#define NAME_MAX_PREFIX 230
#define OWNER           "events"

/* One that was written, to count the same again on it. */
typedef struct {
    char *event_name;
    guint count;
    gint64 last_us; /* mono */
} Series;

/* Token bucket of one Wukong. */
typedef struct {
    double tokens;
    gint64 at_us; /* mono */
} Bucket;

struct _WkEvents {
    WkOutlet *outlet;
    GQueue queue;        /* (element-type WkKubeEvent); the head may be under way */
    GHashTable *series;  /* key of an event -> Series */
    GHashTable *buckets; /* uid -> Bucket */
    gboolean flying;
    gboolean patching; /* what is under way is a series */
    gboolean stopped;
    gboolean overflown; /* said so already */
    guint tries;        /* of the head, that failed while others got through */
    guint64 successes;  /* of the outlet, when the head failed last */
};

/* --- one event -------------------------------------------------------------------------------- */

static char *
cut_note(const char *note)
{
    g_autofree char *valid = g_utf8_make_valid(note != NULL ? note : "", -1);
    const char *end;

    if (strlen(valid) <= NOTE_MAX)
        return g_steal_pointer(&valid);
    end = g_utf8_find_prev_char(valid, valid + NOTE_MAX + 1);
    return g_strndup(valid, (gsize)(end - valid));
}

/* No two of one process have the same time, since the name is made of it. */
static gint64
next_time_us(void)
{
    static gint64 last_us;

    last_us = MAX(wk_clock_real_us(), last_us + 1);
    return last_us;
}

WkKubeEvent *
wk_kube_event_new(const WkWukong *about, const char *type, const char *reason, const char *action,
                  const char *note)
{
    WkKubeEvent *self = g_new0(WkKubeEvent, 1);

    self->uid = g_strdup(about->uid);
    self->ns = g_strdup(about->ns);
    self->name = g_strdup(about->name);
    self->type = g_strdup(type);
    self->reason = g_strdup(reason);
    self->action = g_strdup(action);
    self->note = cut_note(note);
    self->at_us = next_time_us();
    self->count = 1;
    return self;
}

WkKubeEvent *
wk_kube_event_copy(const WkKubeEvent *self)
{
    WkKubeEvent *copy = g_memdup2(self, sizeof *self);
    char **texts[] = { &copy->uid,    &copy->ns,     &copy->name, &copy->type,
                       &copy->reason, &copy->action, &copy->note, &copy->event_name };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        *texts[i] = g_strdup(*texts[i]);
    return copy;
}

void
wk_kube_event_free(WkKubeEvent *self)
{
    if (self == NULL)
        return;
    g_free(self->uid);
    g_free(self->ns);
    g_free(self->name);
    g_free(self->type);
    g_free(self->reason);
    g_free(self->action);
    g_free(self->note);
    g_free(self->event_name);
    g_free(self);
}

static void
free_event(gpointer data)
{
    wk_kube_event_free(data);
}

static char *
key_of(const WkKubeEvent *event)
{
    return g_strjoin("\x1f", event->uid, event->type, event->reason, event->action, NULL);
}

static const char *
namespace_of(WkEvents *self, const WkKubeEvent *event)
{
    return event->ns != NULL ? event->ns : wk_outlet_get_namespace(self->outlet);
}

/* The same for the same event, so that one that was written and not noted as such, before a crash
 * or a cut connection, is found to be there. */
static char *
make_name(const WkKubeEvent *event)
{
    g_autofree char *prefix = g_strndup(event->name, NAME_MAX_PREFIX);
    gsize length = strlen(prefix);

    while (length > 0 && !g_ascii_isalnum(prefix[length - 1]))
        prefix[--length] = '\0';
    return g_strdup_printf("%s.%" G_GINT64_MODIFIER "x", prefix, (guint64)event->at_us);
}

static JsonObject *
make_series(guint count)
{
    JsonObject *series = json_object_new();
    g_autofree char *now = wk_outlet_format_micro(wk_clock_real_us());

    json_object_set_int_member(series, "count", count);
    json_object_set_string_member(series, "lastObservedTime", now);
    return series;
}

static JsonObject *
make_regarding(const WkKubeEvent *event)
{
    JsonObject *regarding = json_object_new();

    json_object_set_string_member(regarding, "apiVersion", "vm.novasphere.dev/v1alpha1");
    json_object_set_string_member(regarding, "kind", "Wukong");
    wk_json_set_string(regarding, "namespace", event->ns);
    wk_json_set_string(regarding, "name", event->name);
    wk_json_set_string(regarding, "uid", event->uid);
    return regarding;
}

static char *
make_body(WkEvents *self, const WkKubeEvent *event)
{
    g_autoptr(JsonObject) object = json_object_new();
    JsonObject *metadata = json_object_new();
    g_autofree char *name = make_name(event);
    g_autofree char *at = wk_outlet_format_micro(event->at_us);
    g_autofree char *note = cut_note(event->note);

    json_object_set_string_member(metadata, "name", name);
    json_object_set_string_member(metadata, "namespace", namespace_of(self, event));
    json_object_set_string_member(object, "apiVersion", "events.k8s.io/v1");
    json_object_set_string_member(object, "kind", "Event");
    json_object_set_object_member(object, "metadata", metadata);
    json_object_set_string_member(object, "eventTime", at);
    json_object_set_string_member(object, "reportingController", "wukongd");
    json_object_set_string_member(object, "reportingInstance",
                                  wk_outlet_get_node_name(self->outlet));
    wk_json_set_string(object, "action", event->action);
    wk_json_set_string(object, "reason", event->reason);
    wk_json_set_string(object, "type", event->type);
    wk_json_set_string(object, "note", note);
    json_object_set_object_member(object, "regarding", make_regarding(event));
    if (event->count > 1)
        json_object_set_object_member(object, "series", make_series(event->count));
    return wk_json_to_text(object);
}

/* --- what was said before --------------------------------------------------------------------- */

static void
series_free(gpointer data)
{
    Series *series = data;

    g_free(series->event_name);
    g_free(series);
}

static gboolean
is_old_series(gpointer key, gpointer value, gpointer data)
{
    const Series *series = value;

    (void)key;
    return series->last_us < *(const gint64 *)data;
}

static gboolean
is_full_bucket(gpointer key, gpointer value, gpointer data)
{
    const Bucket *bucket = value;

    (void)key;
    return bucket->at_us < *(const gint64 *)data;
}

/* What is too old to matter goes when there is much; if all of it matters, all of it goes: a
 * series begun anew is better than memory without bound. */
static void
make_room(GHashTable *table, GHRFunc is_old, gint64 old_us)
{
    if (g_hash_table_size(table) < KNOWN_MAX)
        return;
    (void)g_hash_table_foreach_remove(table, is_old, &old_us);
    if (g_hash_table_size(table) >= KNOWN_MAX)
        g_hash_table_remove_all(table);
}

/* (transfer none): the series that @event goes on with; NULL: none. */
static Series *
find_series(WkEvents *self, const WkKubeEvent *event)
{
    g_autofree char *key = key_of(event);
    Series *series = g_hash_table_lookup(self->series, key);

    if (series == NULL)
        return NULL;
    if (wk_clock_mono_us() - series->last_us <= wk_outlet_us(self->outlet, SAME_MS))
        return series;
    g_hash_table_remove(self->series, key);
    return NULL;
}

static void
note_series(WkEvents *self, const WkKubeEvent *event, char *event_name, guint count)
{
    gint64 now_us = wk_clock_mono_us();
    Series *series = g_new0(Series, 1);

    make_room(self->series, is_old_series, now_us - wk_outlet_us(self->outlet, SAME_MS));
    series->event_name = event_name;
    series->count = count;
    series->last_us = now_us;
    g_hash_table_replace(self->series, key_of(event), series);
}

/* Spam filter: FALSE when this Wukong has said too much of late. */
static gboolean
take_token(WkEvents *self, const char *uid)
{
    gint64 now_us = wk_clock_mono_us();
    gint64 refill_us = wk_outlet_us(self->outlet, REFILL_MS);
    Bucket *bucket = g_hash_table_lookup(self->buckets, uid);

    if (bucket == NULL) {
        make_room(self->buckets, is_full_bucket, now_us - BURST * refill_us);
        bucket = g_new0(Bucket, 1);
        bucket->tokens = BURST;
        bucket->at_us = now_us;
        g_hash_table_insert(self->buckets, g_strdup(uid), bucket);
    }
    bucket->tokens += (double)(now_us - bucket->at_us) / (double)refill_us;
    bucket->tokens = MIN(bucket->tokens, BURST);
    bucket->at_us = now_us;
    if (bucket->tokens < 1)
        return FALSE;
    bucket->tokens -= 1;
    return TRUE;
}

/* --- the queue -------------------------------------------------------------------------------- */

/* @event (transfer full) is dealt with, well or not. */
static void
finish(WkEvents *self, WkKubeEvent *event)
{
    wk_outlet_tell_event_done(self->outlet, event->seq);
    wk_kube_event_free(event);
}

static void
finish_head(WkEvents *self)
{
    self->tries = 0;
    self->overflown = self->overflown && g_queue_get_length(&self->queue) > QUEUE_MAX / 2;
    finish(self, g_queue_pop_head(&self->queue));
}

/* One that still waits, that @event says again; not the one under way. */
static WkKubeEvent *
find_waiting(WkEvents *self, const WkKubeEvent *event)
{
    gint64 since_us = event->at_us - SAME_MS * (gint64)1000;
    g_autofree char *key = key_of(event);

    for (GList *link = self->queue.tail; link != NULL; link = link->prev) {
        WkKubeEvent *other = link->data;
        g_autofree char *other_key = NULL;

        if (self->flying && link == self->queue.head)
            break;
        if (g_strcmp0(other->uid, event->uid) != 0 || other->at_us < since_us)
            continue;
        other_key = key_of(other);
        if (g_str_equal(other_key, key))
            return other;
    }
    return NULL;
}

static void
drop_oldest(WkEvents *self)
{
    WkKubeEvent *event = g_queue_pop_nth(&self->queue, self->flying ? 1 : 0);

    if (!self->overflown)
        wk_log(WK_LOG_WARNING, NULL,
               "too many Events wait for the API server; the oldest are dropped, first: %s of "
               "%s/%s",
               event->reason, event->ns, event->name);
    self->overflown = TRUE;
    finish(self, event);
}

void
wk_events_add(WkEvents *self, WkKubeEvent *event)
{
    WkKubeEvent *waiting = find_waiting(self, event);

    event->count = MAX(event->count, 1);
    if (waiting != NULL) {
        waiting->count += event->count;
        finish(self, event);
        return;
    }
    if (!take_token(self, event->uid)) {
        finish(self, event);
        return;
    }
    if (g_queue_get_length(&self->queue) >= QUEUE_MAX)
        drop_oldest(self);
    g_queue_push_tail(&self->queue, event);
    wk_events_pump(self);
}

static void
written(WkEvents *self)
{
    const WkKubeEvent *event = g_queue_peek_head(&self->queue);
    Series *series = find_series(self, event);

    if (self->patching && series != NULL)
        series->count += event->count;
    if (self->patching && series != NULL)
        series->last_us = wk_clock_mono_us();
    else
        note_series(self, event,
                    event->event_name != NULL ? g_strdup(event->event_name) : make_name(event),
                    event->count);
    wk_outlet_clear_notices(self->outlet, OWNER);
    finish_head(self);
}

static void
give_up(WkEvents *self, const GError *error)
{
    const WkKubeEvent *event = g_queue_peek_head(&self->queue);
    g_autofree char *text = NULL;

    if (g_error_matches(error, WK_ERROR, WK_ERROR_DENIED)
        && strstr(error->message, "being terminated") == NULL) {
        text = g_strdup_printf("the API server does not let wukongd create Events: %s",
                               error->message);
        wk_outlet_notice(self->outlet, "EventsForbidden", OWNER, text);
    } else {
        wk_log(WK_LOG_DEBUG, NULL, "gave up an Event, %s of %s/%s: %s", event->reason, event->ns,
               event->name, error->message);
    }
    finish_head(self);
}

/* One that fails while others get through is not waited for without end. */
static void
keep_for_later(WkEvents *self, const GError *error)
{
    guint64 successes = wk_outlet_count_successes(self->outlet);

    if (self->tries == 0 || successes > self->successes)
        self->tries++;
    self->successes = successes;
    if (self->tries > TRIES_MAX)
        give_up(self, error);
}

static void
failed(WkEvents *self, const GError *error)
{
    WkKubeEvent *event = g_queue_peek_head(&self->queue);
    g_autofree char *key = key_of(event);

    if (wk_outlet_is_outage(error)) {
        keep_for_later(self, error);
        return;
    }
    if (g_strcmp0(wk_error_get_reason(error), "AlreadyExists") == 0) {
        written(self);
        return;
    }
    /* Whoever cleans up has taken the one that was to be counted on: a new one. */
    if (self->patching) {
        g_hash_table_remove(self->series, key);
        g_clear_pointer(&event->event_name, g_free);
        return;
    }
    give_up(self, error);
}

static void
on_answered(JsonObject *answer, const GError *error, gpointer data)
{
    WkEvents *self = data;

    (void)answer;
    self->flying = FALSE;
    if (error != NULL)
        failed(self, error);
    else
        written(self);
}

static void
send_new(WkEvents *self, const WkKubeEvent *event)
{
    g_autofree char *path = wk_outlet_path(EVENTS, namespace_of(self, event), "events", NULL, NULL);
    g_autofree char *body = make_body(self, event);
    WkKubeRequest request = { "POST", path, "application/json", body };

    self->patching = FALSE;
    wk_outlet_send(self->outlet, &request, on_answered, self, NULL);
}

static void
send_series(WkEvents *self, const WkKubeEvent *event, const char *event_name, guint count)
{
    g_autofree char *path =
        wk_outlet_path(EVENTS, namespace_of(self, event), "events", event_name, NULL);
    g_autoptr(JsonObject) patch = json_object_new();
    g_autofree char *body = NULL;
    WkKubeRequest request = { "PATCH", path, "application/merge-patch+json", NULL };

    json_object_set_object_member(patch, "series", make_series(count));
    request.body = body = wk_json_to_text(patch);
    self->patching = TRUE;
    wk_outlet_send(self->outlet, &request, on_answered, self, NULL);
}

void
wk_events_pump(WkEvents *self)
{
    const WkKubeEvent *event = g_queue_peek_head(&self->queue);
    const Series *series;

    if (event == NULL || self->flying || self->stopped || !wk_outlet_is_open(self->outlet))
        return;
    self->flying = TRUE;
    series = find_series(self, event);
    if (series != NULL)
        send_series(self, event, series->event_name, series->count + event->count);
    else if (event->event_name != NULL && event->count > 1)
        send_series(self, event, event->event_name, event->count);
    else
        send_new(self, event);
}

WkEvents *
wk_events_new(WkOutlet *outlet)
{
    WkEvents *self = g_new0(WkEvents, 1);

    self->outlet = wk_outlet_ref(outlet);
    g_queue_init(&self->queue);
    self->series = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, series_free);
    self->buckets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return self;
}

void
wk_events_stop(WkEvents *self)
{
    self->stopped = TRUE;
}

guint
wk_events_count(WkEvents *self)
{
    return g_queue_get_length(&self->queue);
}

void
wk_events_free(WkEvents *self)
{
    if (self == NULL)
        return;
    g_queue_clear_full(&self->queue, free_event);
    g_hash_table_unref(self->series);
    g_hash_table_unref(self->buckets);
    wk_outlet_unref(self->outlet);
    g_free(self);
}
