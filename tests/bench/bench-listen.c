/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <curl/curl.h>
#include <string.h>

#define EVENT_S     30
#define CONNECT_MS  5000
#define OPERATION   "\"type\":\"operation\""
#define SYNCED_LINE "\"type\":\"synced\""
#define FINISHED    "\"finishedAt\""

static struct {
    GMutex lock;
    GCond seen;
    gint64 suspended_us; /* 0: not yet */
    virConnectPtr connection;
    int callback;
} events;

static struct {
    GMutex lock;
    GThread *thread;
    GString *line; /* the thread's */
    BenchSpan span;
    gboolean synced;
    gboolean stop;
} operations;

/* --- libvirt's events --- */

static int
on_lifecycle(virConnectPtr connection G_GNUC_UNUSED, virDomainPtr domain G_GNUC_UNUSED, int event,
             int detail G_GNUC_UNUSED, void *data G_GNUC_UNUSED)
{
    const gint64 now = g_get_monotonic_time();

    if (event != VIR_DOMAIN_EVENT_SUSPENDED)
        return 0;
    g_mutex_lock(&events.lock);
    if (events.suspended_us == 0)
        events.suspended_us = now;
    g_cond_signal(&events.seen);
    g_mutex_unlock(&events.lock);
    return 0;
}

/* libvirt's own loop has no end but the process's. */
static gpointer
run_events(gpointer data G_GNUC_UNUSED)
{
    while (virEventRunDefaultImpl() == 0)
        continue;
    return NULL;
}

gboolean
bench_events_start(const char *guest, GError **error)
{
    static gsize running = 0;
    virDomainPtr domain = NULL;

    if (g_once_init_enter(&running)) {
        (void)virEventRegisterDefaultImpl();
        g_thread_unref(g_thread_new("events", run_events, NULL));
        g_once_init_leave(&running, 1);
    }
    events.connection = lab_connect(error);
    if (events.connection == NULL)
        return FALSE;
    domain = virDomainLookupByName(events.connection, guest);
    events.callback = domain == NULL ? -1
                                     : virConnectDomainEventRegisterAny(
                                         events.connection, domain, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), NULL, NULL);
    if (domain != NULL)
        virDomainFree(domain);
    if (events.callback < 0)
        lab_error_set_from_libvirt(error, "registering for events");
    return events.callback >= 0;
}

void
bench_events_arm(void)
{
    g_mutex_lock(&events.lock);
    events.suspended_us = 0;
    g_mutex_unlock(&events.lock);
}

gboolean
bench_events_wait(gint64 *at_us, GError **error)
{
    const gint64 until = g_get_monotonic_time() + EVENT_S * G_USEC_PER_SEC;
    gboolean in_time = TRUE;

    g_mutex_lock(&events.lock);
    while (events.suspended_us == 0 && in_time)
        in_time = g_cond_wait_until(&events.seen, &events.lock, until);
    *at_us = events.suspended_us;
    g_mutex_unlock(&events.lock);
    if (!in_time)
        g_set_error(error, LAB_ERROR, LAB_ERROR_TIMEOUT, "no event of a suspend in %d s", EVENT_S);
    return in_time;
}

void
bench_events_stop(void)
{
    if (events.connection == NULL)
        return;
    if (events.callback >= 0)
        (void)virConnectDomainEventDeregisterAny(events.connection, events.callback);
    (void)virConnectClose(g_steal_pointer(&events.connection));
}

/* --- the agent's operations --- */

static void
take_line(const char *line, gint64 now)
{
    g_mutex_lock(&operations.lock);
    if (strstr(line, SYNCED_LINE) != NULL)
        operations.synced = TRUE;
    if (operations.synced && strstr(line, OPERATION) != NULL) {
        if (operations.span.first_us == 0)
            operations.span.first_us = now;
        if (strstr(line, FINISHED) != NULL)
            operations.span.last_us = now;
    }
    g_mutex_unlock(&operations.lock);
}

static size_t
take_bytes(char *bytes, size_t size, size_t count, void *data G_GNUC_UNUSED)
{
    const gint64 now = g_get_monotonic_time();
    char *end;

    g_string_append_len(operations.line, bytes, (gssize)(size * count));
    while ((end = strchr(operations.line->str, '\n')) != NULL) {
        *end = '\0';
        take_line(operations.line->str, now);
        g_string_erase(operations.line, 0, end + 1 - operations.line->str);
    }
    return size * count;
}

static int
on_progress(void *data G_GNUC_UNUSED, curl_off_t total G_GNUC_UNUSED, curl_off_t now G_GNUC_UNUSED,
            curl_off_t up_total G_GNUC_UNUSED, curl_off_t up_now G_GNUC_UNUSED)
{
    gboolean stop;

    g_mutex_lock(&operations.lock);
    stop = operations.stop;
    g_mutex_unlock(&operations.lock);
    return stop ? 1 : 0;
}

static gpointer
run_operations(gpointer data G_GNUC_UNUSED)
{
    CURL *curl = curl_easy_init();

    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, LAB_CONTROL);
    curl_easy_setopt(curl, CURLOPT_URL, "http://localhost/v1/operations?watch=1");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    return NULL;
}

static gboolean
is_synced(gpointer data G_GNUC_UNUSED)
{
    gboolean synced;

    g_mutex_lock(&operations.lock);
    synced = operations.synced;
    g_mutex_unlock(&operations.lock);
    return synced;
}

gboolean
bench_operations_start(GError **error)
{
    operations.line = g_string_new(NULL);
    operations.stop = FALSE;
    operations.synced = FALSE;
    operations.thread = g_thread_new("operations", run_operations, NULL);
    return lab_wait("the stream of operations", CONNECT_MS, is_synced, NULL, error);
}

void
bench_operations_arm(void)
{
    g_mutex_lock(&operations.lock);
    operations.span = (BenchSpan){ 0, 0 };
    g_mutex_unlock(&operations.lock);
}

static gboolean
is_finished(gpointer data)
{
    BenchSpan *span = data;

    g_mutex_lock(&operations.lock);
    *span = operations.span;
    g_mutex_unlock(&operations.lock);
    return span->last_us != 0;
}

gboolean
bench_operations_wait(BenchSpan *span, GError **error)
{
    return lab_wait("the operation's last word", CONNECT_MS, is_finished, span, error);
}

void
bench_operations_stop(void)
{
    if (operations.thread == NULL)
        return;
    g_mutex_lock(&operations.lock);
    operations.stop = TRUE;
    g_mutex_unlock(&operations.lock);
    g_thread_join(g_steal_pointer(&operations.thread));
    g_string_free(g_steal_pointer(&operations.line), TRUE);
}
