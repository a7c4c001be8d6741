/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/client_private.h"

#include "base/clock.h"
#include "base/error.h"

#include <string.h>

/*
 * What a node may ask of the API server at most, whatever the rooms above do: so many requests at
 * once (the rest waits), and so many a second after a burst. A node with 100 guests that all
 * change needs less; a loop gone wild is held to what the server does not notice.
 */
#define RUNNING_MAX    16
#define RATE_PER_S     50.0
#define RATE_BURST     100.0
#define BACKOFF_MIN_MS 800u
#define BACKOFF_MAX_MS 30000u

static const WkKubeTimes default_times = {
    .connect_ms = 10000,
    .request_ms = 30000,
    .suspect_ms = 10000,
    .retry_s_ms = 1000,
    .credentials_ms = 5000,
};

static gboolean
on_pump(GSource *source, GSourceFunc callback, gpointer data)
{
    g_source_set_ready_time(source, -1);
    return callback(data);
}

static GSourceFuncs pump_funcs = { .dispatch = on_pump };

void
wk_kube_ref_private(WkKube *self)
{
    self->refs++;
}

void
wk_kube_unref_private(WkKube *self)
{
    if (--self->refs > 0)
        return;
    wk_kube_config_unref(self->config);
    g_free(self->user_agent);
    g_hash_table_unref(self->counts);
    g_free(self);
}

/* ---- credentials and connections ---- */

static void
drop_roads(WkKube *self)
{
    for (int i = 0; i < WK_KUBE_ROADS; i++)
        g_clear_pointer(&self->roads[i], wk_kube_loop_unref);
}

/* A loop that is left closes its connections with its last transfer. */
static void
open_roads(WkKube *self)
{
    for (int i = 0; i < WK_KUBE_ROADS; i++) {
        if (self->roads[i] == NULL)
            self->roads[i] = wk_kube_loop_new();
    }
}

void
wk_kube_leave_road(WkKube *self, WkKubeRoad road, WkKubeLoop *loop)
{
    if (loop == NULL || self->roads[road] != loop)
        return;
    wk_kube_loop_unref(loop);
    self->roads[road] = NULL;
}

static void
fail_streams(WkKube *self, gboolean waiting, const GError *error)
{
    for (GList *link = self->streams.head, *next; link != NULL; link = next) {
        next = link->next;
        if (wk_kube_stream_is_waiting(link->data) == waiting)
            wk_kube_stream_fail(link->data, error);
    }
}

/* Requests under way end by themselves; watches would stay on the old certificate for minutes. */
static void
follow_generation(WkKube *self)
{
    const guint generation = wk_kube_config_get_credentials(self->config)->tls_generation;
    g_autoptr(GError) error = NULL;

    if (self->tls_generation == generation)
        return;
    self->tls_generation = generation;
    drop_roads(self);
    wk_error_set(&error, WK_ERROR_UNAVAILABLE, "CredentialsChanged",
                 "certificates have changed: the connection is made anew");
    fail_streams(self, FALSE, error);
}

void
wk_kube_doubt_credentials(WkKube *self, gint64 sent_us)
{
    /* Several get a 401 at once; one reading is enough. */
    if (sent_us >= self->renewed_us)
        self->anew = TRUE;
}

static void
on_refreshed(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkKube *self = data;
    g_autoptr(GError) error = NULL;
    const gboolean good = wk_kube_config_refresh_finish(self->config, result, &error);
    const gint64 now = wk_clock_mono_us();

    g_clear_object(&self->refreshing);
    if (self->dead) {
        wk_kube_unref_private(self);
        return;
    }
    self->refreshed_us = good ? now : 0;
    if (self->renewing)
        self->renewed_us = now;
    if (!good) {
        WkKubeJob *job;

        while ((job = g_queue_pop_head(&self->waiting)) != NULL)
            wk_kube_job_fail(job, error);
        fail_streams(self, TRUE, error);
    }
    wk_kube_pump_soon(self);
    wk_kube_unref_private(self);
}

static void
refresh(WkKube *self)
{
    self->renewing = self->anew;
    self->anew = FALSE;
    self->refreshing = g_cancellable_new();
    wk_kube_ref_private(self);
    wk_kube_config_refresh(self->config, self->renewing, self->refreshing, on_refreshed, self);
}

static gboolean
are_credentials_fresh(WkKube *self)
{
    const gint64 age_us = wk_clock_mono_us() - self->refreshed_us;

    return !self->anew && self->refreshed_us != 0
           && age_us < self->times.credentials_ms * G_TIME_SPAN_MILLISECOND;
}

/* ---- the pump: what starts, and when ---- */

static gboolean
has_waiting_stream(WkKube *self)
{
    for (GList *link = self->streams.head; link != NULL; link = link->next) {
        if (wk_kube_stream_is_waiting(link->data))
            return TRUE;
    }
    return FALSE;
}

/* Few, and their owners wait between them: no limits. */
static void
start_streams(WkKube *self)
{
    for (GList *link = self->streams.head, *next; link != NULL; link = next) {
        next = link->next;
        if (wk_kube_stream_is_waiting(link->data))
            wk_kube_stream_start(link->data);
    }
}

static void
refill(WkKube *self)
{
    const gint64 now = wk_clock_mono_us();
    const double seconds = (double)(now - self->tokens_at_us) / G_TIME_SPAN_SECOND;

    self->tokens = MIN(RATE_BURST, self->tokens + seconds * RATE_PER_S);
    self->tokens_at_us = now;
}

static void
start_jobs(WkKube *self)
{
    refill(self);
    while (self->waiting.length > 0 && self->n_running < RUNNING_MAX && self->tokens >= 1) {
        self->tokens -= 1;
        wk_kube_job_start(g_queue_pop_head(&self->waiting));
    }
    if (self->waiting.length > 0 && self->n_running < RUNNING_MAX)
        g_source_set_ready_time(
            self->pump, self->tokens_at_us
                            + (gint64)(G_TIME_SPAN_SECOND * (1 - self->tokens) / RATE_PER_S) + 1);
}

static gboolean
pump(gpointer data)
{
    WkKube *self = data;

    if (self->refreshing != NULL || (self->waiting.length == 0 && !has_waiting_stream(self)))
        return G_SOURCE_CONTINUE;
    if (!are_credentials_fresh(self)) {
        refresh(self);
        return G_SOURCE_CONTINUE;
    }
    follow_generation(self);
    open_roads(self);
    start_streams(self);
    start_jobs(self);
    return G_SOURCE_CONTINUE;
}

void
wk_kube_pump_soon(WkKube *self)
{
    if (!self->dead)
        g_source_set_ready_time(self->pump, 0);
}

/* ---- the client ---- */

WkKube *
wk_kube_new(WkKubeConfig *config, const char *user_agent)
{
    WkKube *self = g_new0(WkKube, 1);

    curl_global_init(CURL_GLOBAL_DEFAULT);
    self->refs = 1;
    self->config = wk_kube_config_ref(config);
    self->user_agent = g_strdup(user_agent);
    self->times = default_times;
    self->tokens = RATE_BURST;
    self->tokens_at_us = wk_clock_mono_us();
    self->tls_generation = wk_kube_config_get_credentials(config)->tls_generation;
    self->counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    self->pump = g_source_new(&pump_funcs, sizeof(GSource));
    g_source_set_callback(self->pump, pump, self, NULL);
    g_source_set_static_name(self->pump, "kube pump");
    g_source_attach(self->pump, NULL);
    return self;
}

void
wk_kube_free(WkKube *self)
{
    g_autoptr(GError) error = NULL;

    if (self == NULL)
        return;
    self->dead = TRUE;
    wk_error_set(&error, WK_ERROR_CANCELLED, NULL, "the client of the API server was closed");
    while (self->jobs.head != NULL)
        wk_kube_job_fail(self->jobs.head->data, error);
    while (self->streams.head != NULL) {
        WkKubeStream *stream = g_queue_pop_head(&self->streams);

        wk_kube_stream_fail(stream, error);
        wk_kube_stream_orphan(stream);
    }
    if (self->refreshing != NULL)
        g_cancellable_cancel(self->refreshing);
    g_source_destroy(self->pump);
    g_clear_pointer(&self->pump, g_source_unref);
    drop_roads(self);
    wk_kube_unref_private(self);
}

void
wk_kube_set_times(WkKube *self, const WkKubeTimes *times)
{
    self->times = *times;
}

guint
wk_kube_backoff_ms(guint failures)
{
    guint ms = BACKOFF_MIN_MS;

    for (guint i = 1; i < failures && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    ms = MIN(ms, BACKOFF_MAX_MS);
    return ms + (guint)g_random_int_range(0, (gint32)ms + 1);
}

/* ---- counts ---- */

void
wk_kube_count(WkKube *self, const char *verb, guint code)
{
    g_autofree char *key = g_strdup_printf("%s %u", verb, code);
    WkKubeCount *count = g_hash_table_lookup(self->counts, key);

    if (count == NULL) {
        count = g_new0(WkKubeCount, 1);
        count->verb = g_intern_string(verb);
        count->code = code;
        g_hash_table_insert(self->counts, g_steal_pointer(&key), count);
    }
    count->count++;
}

static gint
compare_counts(gconstpointer a, gconstpointer b)
{
    const WkKubeCount *one = a;
    const WkKubeCount *other = b;
    const int order = strcmp(one->verb, other->verb);

    return order != 0 ? order : (int)one->code - (int)other->code;
}

GArray *
wk_kube_get_counts(WkKube *self)
{
    GArray *counts = g_array_new(FALSE, FALSE, sizeof(WkKubeCount));
    GHashTableIter iter;
    gpointer count;

    g_hash_table_iter_init(&iter, self->counts);
    while (g_hash_table_iter_next(&iter, NULL, &count))
        g_array_append_vals(counts, count, 1);
    g_array_sort(counts, compare_counts);
    return counts;
}
