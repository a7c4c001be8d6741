/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/reflector_private.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "kube/query.h"
#include "kube/watch_event.h"

#include <string.h>

#define PAGE_SIZE      500
#define PAGE_SIZE_MIN  10
#define STALL_MS       90000
#define LINE_MAX_BYTES (4 * 1024 * 1024)
#define WATCH_MIN_S    300 /* client-go: a watch lasts a random 5 to 10 minutes */
#define FORBIDDEN_MS   30000
#define HEALTHY_MS     120000 /* so long without a failure: backoff starts over */
#define SHORT_WATCH_US G_USEC_PER_SEC
#define RESELECT_MS    600000 /* an upgraded CRD may know the field by now */
#define WATCH_TRIES    3      /* failures of a watch in a row before everything is listed again */

typedef enum {
    PHASE_WAITING,     /* for the end of a backoff */
    PHASE_STREAM_LIST, /* WatchList: the list comes as a watch's first events */
    PHASE_PAGES,       /* the classic list */
    PHASE_WATCHING,
} Phase;

static const char *const phase_names[] = {
    [PHASE_WAITING] = "waiting",
    [PHASE_STREAM_LIST] = "streaming the list",
    [PHASE_PAGES] = "listing",
    [PHASE_WATCHING] = "watching",
};

struct _WkReflector {
    guint refs; /* one of the owner, one of each call into the listener */
    gboolean dead;
    WkKube *kube;
    char *path;
    char *field_selector;
    char *label_selector;
    guint page_size;
    guint stall_ms;
    guint haste;
    guint healthy_ms;
    guint reselect_ms;
    WkReflectorListener listener;
    gpointer data;

    Phase phase;
    gboolean can_stream;
    gboolean pages_next; /* though it can stream: that has just failed */
    gboolean can_select;
    gint64 reselect_at_us;
    char *version;      /* opaque; NULL: everything is to be listed */
    char *list_version; /* what a list must not be older than; NULL: any */
    char *next_page;
    WkKubeStream *stream;
    GCancellable *cancellable; /* of a page */
    GSource *timer;
    guint failures;       /* in a row, of whatever we asked */
    guint denials;        /* 403 in a row */
    gboolean expired;     /* the last failure was a 410 */
    gboolean must_wait;   /* a hurry does not end this backoff */
    guint watch_failures; /* without an event between them */
    gint64 failed_at_us;
    gint64 began_at_us; /* this watch */
    gboolean got_event; /* of this watch */
    gboolean in_trouble;
    gint64 heard_us;
};

static void begin(WkReflector *self);

/* ---- state ---- */

static void
set_phase(WkReflector *self, Phase phase)
{
    g_debug("reflector %s: %s -> %s", self->path, phase_names[self->phase], phase_names[phase]);
    self->phase = phase;
}

static void
set_text(char **place, const char *text)
{
    char *copy = g_strdup(text);

    g_free(*place);
    *place = copy;
}

static void
reflector_unref(WkReflector *self)
{
    if (--self->refs > 0)
        return;
    g_free(self->path);
    g_free(self->field_selector);
    g_free(self->label_selector);
    g_free(self->version);
    g_free(self->list_version);
    g_free(self->next_page);
    g_free(self);
}
typedef WkReflector Held;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Held, reflector_unref)

static Held *
hold(WkReflector *self)
{
    self->refs++;
    return self;
}

static void
stop_timer(WkReflector *self)
{
    if (self->timer == NULL)
        return;
    g_source_destroy(self->timer);
    g_clear_pointer(&self->timer, g_source_unref);
}

/* ---- what is told ---- */

static void
well_again(WkReflector *self)
{
    self->heard_us = wk_clock_mono_us();
    self->watch_failures = self->denials = 0;
    if (!self->in_trouble)
        return;
    self->in_trouble = FALSE;
    if (self->listener.trouble != NULL)
        self->listener.trouble(NULL, 0, self->data);
}

static gboolean
on_timer(gpointer data)
{
    WkReflector *self = data;

    stop_timer(self);
    begin(self);
    return G_SOURCE_REMOVE;
}

static void
wait(WkReflector *self, guint ms)
{
    set_phase(self, PHASE_WAITING);
    stop_timer(self);
    self->timer = g_timeout_source_new(ms / self->haste);
    g_source_set_callback(self->timer, on_timer, self, NULL);
    g_source_attach(self->timer, NULL);
}

/* ---- failures ---- */

/* What was seen last is no longer there to go on from. */
static void
forget_version(WkReflector *self, gboolean keep_as_bound)
{
    g_clear_pointer(&self->list_version, g_free);
    if (keep_as_bound)
        self->list_version = g_steal_pointer(&self->version);
    g_clear_pointer(&self->version, g_free);
    g_clear_pointer(&self->next_page, g_free);
}

/* 400 or 422: something in our question is not known there. Returns: TRUE when it can be asked
 * another way. */
static gboolean
ask_less(WkReflector *self, const GError *error)
{
    const gboolean names_field = strstr(error->message, "field label") != NULL
                                 || strstr(error->message, "field selector") != NULL
                                 || strstr(error->message, "fieldSelector") != NULL;

    if (self->list_version != NULL) { /* of another server, for all it says */
        forget_version(self, FALSE);
        return TRUE;
    }
    if (self->phase == PHASE_STREAM_LIST && !names_field) {
        self->can_stream = FALSE;
        return TRUE;
    }
    if (self->field_selector == NULL || !self->can_select)
        return FALSE;
    self->can_select = FALSE;
    self->can_stream = TRUE; /* it may have been refused only for the selector */
    self->reselect_at_us = wk_clock_mono_us() + self->reselect_ms * G_TIME_SPAN_MILLISECOND;
    return TRUE;
}

/* Not the server's fault, maybe: there are those between that keep an answer back until it is
 * whole, or take the question for a plain watch. */
static gboolean
came_to_nothing(const GError *error)
{
    static const char *const words[] = { "BadWatch", "Stalled", "WatchEnded", NULL };
    const char *reason = wk_error_get_reason(error);

    return reason != NULL && g_strv_contains(words, reason);
}

static guint
delay_for(WkReflector *self, const GError *error)
{
    const gint64 asked_ms = wk_kube_retry_after_ms(error);
    guint ms = wk_kube_backoff_ms(self->failures);

    self->must_wait = wk_kube_is_denied(&self->denials, error) || asked_ms > ms;
    if (self->denials > 0 && self->must_wait)
        ms = MAX(ms, FORBIDDEN_MS);
    return asked_ms > ms ? (guint)MIN(asked_ms, 60000) : ms;
}

static void
note_failure(WkReflector *self)
{
    const gint64 now_us = wk_clock_mono_us();

    if (now_us - self->failed_at_us > self->healthy_ms * G_TIME_SPAN_MILLISECOND)
        self->failures = 0;
    self->failures++;
    self->failed_at_us = now_us;
}

/* A list that may not be older than what was seen, and fails: any list is better than none. */
static void
note_what_to_ask(WkReflector *self, const GError *error)
{
    const gboolean expired = g_error_matches(error, WK_ERROR, WK_ERROR_CONFLICT);
    const char *reason = wk_error_get_reason(error);

    self->pages_next = self->phase == PHASE_STREAM_LIST && came_to_nothing(error);
    if (self->phase != PHASE_WATCHING) {
        if (g_strcmp0(reason, "TooLarge") == 0)
            self->page_size = MAX(self->page_size / 2, PAGE_SIZE_MIN);
        forget_version(self, FALSE);
    } else if (expired || ++self->watch_failures > WATCH_TRIES
               || g_strcmp0(reason, "BadWatch") == 0) {
        forget_version(self, !expired);
    }
}

static void
fail(WkReflector *self, const GError *error)
{
    const gboolean refused = g_error_matches(error, WK_ERROR, WK_ERROR_INVALID)
                             && g_strcmp0(wk_error_get_reason(error), "BadWatch") != 0;
    gboolean again;
    guint delay_ms;

    if (refused && self->phase != PHASE_WATCHING && self->next_page == NULL
        && ask_less(self, error)) {
        wait(self, 0);
        return;
    }
    note_failure(self);
    note_what_to_ask(self, error);
    /* A version that is gone says nothing against the server, however it fared before: everything
     * is listed at once. Only one that answers so time and again is not hammered. */
    again = self->expired && self->failures > 1;
    self->expired = g_error_matches(error, WK_ERROR, WK_ERROR_CONFLICT);
    if (self->expired && !again) {
        wait(self, 0);
        return;
    }
    delay_ms = delay_for(self, error);
    self->in_trouble = TRUE;
    wait(self, delay_ms);
    if (self->listener.trouble != NULL)
        self->listener.trouble(error, delay_ms, self->data);
}

/* ---- events ---- */

static void
take_bookmark(WkReflector *self, const WkWatchEvent *event)
{
    if (!event->initial_end || self->phase != PHASE_STREAM_LIST)
        return;
    set_phase(self, PHASE_WATCHING);
    self->listener.synced(self->data);
}

static void
take_event(WkReflector *self, const WkWatchEvent *event)
{
    /* while the list streams, its versions are not in order: only its end is a place to go on from
     */
    if (self->phase == PHASE_WATCHING || event->initial_end)
        set_text(&self->version, event->version);
    switch (event->type) {
    case WK_WATCH_ADDED:
    case WK_WATCH_MODIFIED:
        self->listener.object(event->object, self->data);
        return;
    case WK_WATCH_DELETED:
        self->listener.left(event->object, self->data);
        return;
    case WK_WATCH_BOOKMARK:
    default:
        take_bookmark(self, event);
        return;
    }
}

static gboolean
on_line(const char *text, gsize length, gpointer data, GError **error)
{
    g_autoptr(Held) self = hold(data);
    g_auto(WkWatchEvent) event = { .object = NULL };

    if (length == 0)
        return TRUE;
    if (!wk_watch_event_parse(text, length, &event, error))
        return FALSE;
    self->got_event = TRUE;
    well_again(self);
    if (!self->dead)
        take_event(self, &event);
    return TRUE;
}

/* The server's time-out, usually. A server that ends every watch at once must not be hammered. */
static void
ended_properly(WkReflector *self)
{
    g_autoptr(GError) error = NULL;

    if (self->phase == PHASE_WATCHING
        && (self->got_event || wk_clock_mono_us() - self->began_at_us > SHORT_WATCH_US)) {
        wait(self, 0);
        return;
    }
    wk_error_set(&error, WK_ERROR_UNAVAILABLE, "WatchEnded", "the server ended the watch %s",
                 self->phase == PHASE_WATCHING ? "at once" : "before its list was complete");
    fail(self, error);
}

static void
on_ended(const GError *error, gpointer data)
{
    g_autoptr(Held) self = hold(data);

    g_clear_pointer(&self->stream, wk_kube_stream_free);
    if (error == NULL)
        ended_properly(self);
    else
        fail(self, error);
}

static const WkKubeStreamListener stream_listener = { .line = on_line, .ended = on_ended };

/* ---- questions ---- */

static GString *
begin_query(WkReflector *self)
{
    GString *query = g_string_new(self->path);

    wk_query_add(query, "fieldSelector", self->can_select ? self->field_selector : NULL);
    wk_query_add(query, "labelSelector", self->label_selector);
    return query;
}

static void
open_stream(WkReflector *self, Phase phase, GString *query)
{
    const WkKubeStreamOptions options = { .max_line_bytes = LINE_MAX_BYTES,
                                          .idle_timeout_ms = self->stall_ms / self->haste };
    g_autofree char *seconds =
        g_strdup_printf("%d", WATCH_MIN_S + g_random_int_range(0, WATCH_MIN_S));

    wk_query_add(query, "watch", "true");
    wk_query_add(query, "allowWatchBookmarks", "true");
    wk_query_add(query, "timeoutSeconds", seconds);
    set_phase(self, phase);
    self->began_at_us = wk_clock_mono_us();
    self->got_event = FALSE;
    self->stream = wk_kube_stream_new(self->kube, query->str, &options, &stream_listener, self);
}

static void
watch(WkReflector *self)
{
    g_autoptr(GString) query = begin_query(self);

    wk_query_add(query, "resourceVersion", self->version);
    open_stream(self, PHASE_WATCHING, query);
}

static void
stream_list(WkReflector *self)
{
    g_autoptr(GString) query = begin_query(self);

    wk_query_add(query, "sendInitialEvents", "true");
    wk_query_add(query, "resourceVersionMatch", "NotOlderThan");
    wk_query_add(query, "resourceVersion", self->list_version);
    open_stream(self, PHASE_STREAM_LIST, query);
}

/* ---- the classic list ---- */

static void ask_page(WkReflector *self);

static gboolean
take_items(WkReflector *self, JsonObject *page, GError **error)
{
    JsonArray *items = wk_json_get_array(page, "items");

    for (guint i = 0; items != NULL && i < json_array_get_length(items) && !self->dead; i++) {
        JsonNode *node = json_array_get_element(items, i);

        if (JSON_NODE_HOLDS_OBJECT(node))
            self->listener.object(json_node_get_object(node), self->data);
    }
    if (items == NULL)
        wk_error_set(error, WK_ERROR_FAILED, "BadList", "the server's list has no items");
    return items != NULL;
}

static void
take_page(WkReflector *self, JsonObject *page)
{
    JsonObject *metadata = wk_json_get_object(page, "metadata");
    const char *version = metadata != NULL ? wk_json_get_string(metadata, "resourceVersion") : NULL;
    const char *next = metadata != NULL ? wk_json_get_string(metadata, "continue") : NULL;
    g_autoptr(GError) error = NULL;

    well_again(self);
    if (self->dead)
        return;
    if (version == NULL || *version == '\0')
        wk_error_set(&error, WK_ERROR_FAILED, "BadList", "the server's list has no version");
    if (error != NULL || !take_items(self, page, &error)) {
        fail(self, error);
        return;
    }
    if (self->dead)
        return;
    set_text(&self->next_page, next != NULL && *next != '\0' ? next : NULL);
    if (self->next_page != NULL) {
        ask_page(self);
        return;
    }
    set_text(&self->version, version);
    self->pages_next = FALSE;
    self->listener.synced(self->data);
    if (!self->dead)
        watch(self);
}

static void
on_page(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(Held) self = data; /* the reference that ask_page() took */
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) page = NULL;

    if (self->dead)
        return;
    page = wk_kube_send_finish(self->kube, result, &error);
    g_clear_object(&self->cancellable);
    if (page != NULL)
        take_page(self, page);
    else
        fail(self, error);
}

static void
ask_page(WkReflector *self)
{
    g_autoptr(GString) query = begin_query(self);
    g_autofree char *limit = g_strdup_printf("%u", self->page_size);
    WkKubeRequest page = { .method = "GET" };

    set_phase(self, PHASE_PAGES);
    wk_query_add(query, "limit", limit);
    if (self->next_page != NULL) {
        wk_query_add(query, "continue", self->next_page);
    } else if (self->list_version != NULL) {
        wk_query_add(query, "resourceVersion", self->list_version);
        wk_query_add(query, "resourceVersionMatch", "NotOlderThan");
    }
    page.path = query->str;
    self->cancellable = g_cancellable_new();
    wk_kube_send(self->kube, &page, self->cancellable, on_page, hold(self));
}

static void
begin(WkReflector *self)
{
    G_GNUC_UNUSED g_autoptr(Held) held = hold(self);

    if (self->version != NULL) {
        watch(self);
        return;
    }
    if (!self->can_select && wk_clock_mono_us() > self->reselect_at_us) {
        self->can_select = TRUE;
        self->can_stream = TRUE;
    }
    self->listener.relisting(self->data);
    if (self->dead)
        return;
    stop_timer(self); /* of a hurry in that call */
    if (self->can_stream && !self->pages_next)
        stream_list(self);
    else
        ask_page(self);
}

/* ---- life ---- */

WkReflector *
wk_reflector_new(WkKube *kube, const WkReflectorOptions *options,
                 const WkReflectorListener *listener, gpointer data)
{
    WkReflector *self = g_new0(WkReflector, 1);

    self->refs = 1;
    self->kube = kube;
    self->path = g_strdup(options->path);
    self->field_selector = g_strdup(options->field_selector);
    self->label_selector = g_strdup(options->label_selector);
    self->page_size = options->page_size != 0 ? options->page_size : PAGE_SIZE;
    self->stall_ms = options->stall_ms != 0 ? options->stall_ms : STALL_MS;
    self->haste = 1;
    self->healthy_ms = HEALTHY_MS;
    self->reselect_ms = RESELECT_MS;
    self->can_stream = TRUE;
    self->can_select = options->field_selector != NULL;
    self->reselect_at_us = G_MAXINT64; /* unless it is refused */
    self->listener = *listener;
    self->data = data;
    wait(self, 0);
    return self;
}

void
wk_reflector_free(WkReflector *self)
{
    if (self == NULL)
        return;
    self->dead = TRUE;
    stop_timer(self);
    g_clear_pointer(&self->stream, wk_kube_stream_free);
    if (self->cancellable != NULL) {
        g_cancellable_cancel(self->cancellable);
        g_clear_object(&self->cancellable);
    }
    reflector_unref(self);
}

gboolean
wk_reflector_is_selecting(WkReflector *self)
{
    return self->can_select;
}

gint64
wk_reflector_get_last_heard_us(WkReflector *self)
{
    return self->heard_us;
}

void
wk_reflector_hurry(WkReflector *self)
{
    if (self->phase == PHASE_WAITING && !self->must_wait)
        wait(self, 0);
}

void
wk_reflector_set_haste(WkReflector *self, guint divisor)
{
    self->haste = divisor;
}

void
wk_reflector_set_spans(WkReflector *self, guint healthy_ms, guint reselect_ms)
{
    self->healthy_ms = healthy_ms;
    self->reselect_ms = reselect_ms;
}
