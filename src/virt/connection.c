/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/connection.h"

#include "base/error.h"
#include "virt/error.h"
#include "virt/remote.h"
#include "virt/watch.h"

#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_MISSES     3

/* Registered on each connection that is watched; only the first one must be there. */
static const int watched_events[] = {
    VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
    VIR_DOMAIN_EVENT_ID_JOB_COMPLETED,
};

/* Counted: libvirt frees each registration's by itself, and some only later (F27). */
typedef struct {
    WkWatchChanged changed;
    WkWatchClosed closed;
    gpointer data;
    GDestroyNotify data_free;
} Watch;

struct _WkConnection {
    virConnectPtr connect;  /* NULL: a lease, or launchers */
    WkLaunchers *launchers; /* NULL: libvirt */
    int callbacks[G_N_ELEMENTS(watched_events)];
    Watch *watch; /* NULL: not watched */

    /* A lease hands @owner's connection out and says when it comes back. */
    WkConnection *owner;
    GDestroyNotify released;
    gpointer released_data;
};

static void
watch_clear(gpointer data)
{
    Watch *watch = data;

    if (watch->data_free != NULL)
        watch->data_free(watch->data);
}

static void
watch_unref(void *data)
{
    g_atomic_rc_box_release_full(data, watch_clear);
}

static WkConnection *
connection_new(void)
{
    WkConnection *self = g_atomic_rc_box_new0(WkConnection);

    for (gsize i = 0; i < G_N_ELEMENTS(self->callbacks); i++)
        self->callbacks[i] = -1;
    return self;
}

WkConnection *
wk_connection_open(const char *uri, GError **error)
{
    virConnectPtr connect;
    WkConnection *self;

    wk_virt_init();
    connect = virConnectOpen(uri);
    if (connect == NULL) {
        const virError *cause = virGetLastError();

        /* Whatever the reason, all that can be done is to try again. */
        wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL, "connecting to '%s': %s", uri,
                     cause != NULL && cause->message != NULL ? cause->message : "no reason given");
        return NULL;
    }
    /* The test driver has no keepalive and needs none. */
    (void)virConnectSetKeepAlive(connect, KEEPALIVE_INTERVAL_S, KEEPALIVE_MISSES);
    self = connection_new();
    self->connect = connect;
    return self;
}

WkConnection *
wk_connection_new_lease(WkConnection *owner, GDestroyNotify released, gpointer data)
{
    WkConnection *self = connection_new();

    self->owner = wk_connection_ref(owner);
    self->released = released;
    self->released_data = data;
    return self;
}

WkConnection *
wk_connection_new_launchers(WkLaunchers *launchers)
{
    WkConnection *self = connection_new();

    self->launchers = wk_launchers_ref(launchers);
    return self;
}

WkLaunchers *
wk_connection_get_launchers(const WkConnection *self)
{
    return self->launchers;
}

WkConnection *
wk_connection_ref(WkConnection *self)
{
    return g_atomic_rc_box_acquire(self);
}

static void
on_event(const Watch *watch, virDomainPtr domain)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (virDomainGetUUIDString(domain, uuid) == 0)
        watch->changed(uuid, watch->data);
}

static int
on_lifecycle(virConnectPtr connect G_GNUC_UNUSED, virDomainPtr domain, int event G_GNUC_UNUSED,
             int detail G_GNUC_UNUSED, void *data)
{
    on_event(data, domain);
    return 0;
}

static void
on_metadata(virConnectPtr connect G_GNUC_UNUSED, virDomainPtr domain, int type G_GNUC_UNUSED,
            const char *uri G_GNUC_UNUSED, void *data)
{
    on_event(data, domain);
}

static void
on_job_completed(virConnectPtr connect G_GNUC_UNUSED, virDomainPtr domain,
                 virTypedParameterPtr params G_GNUC_UNUSED, int n_params G_GNUC_UNUSED, void *data)
{
    on_event(data, domain);
}

static const virConnectDomainEventGenericCallback handlers[] = {
    VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle),
    VIR_DOMAIN_EVENT_CALLBACK(on_metadata),
    VIR_DOMAIN_EVENT_CALLBACK(on_job_completed),
};
G_STATIC_ASSERT(G_N_ELEMENTS(handlers) == G_N_ELEMENTS(watched_events));

static void
on_close(virConnectPtr connect G_GNUC_UNUSED, int reason, void *data)
{
    static const char *const reasons[] = {
        [VIR_CONNECT_CLOSE_REASON_ERROR] = "the connection broke",
        [VIR_CONNECT_CLOSE_REASON_EOF] = "libvirt closed the connection",
        [VIR_CONNECT_CLOSE_REASON_KEEPALIVE] = "libvirt did not answer the keepalive",
    };
    const Watch *watch = data;

    if (reason >= 0 && (gsize)reason < G_N_ELEMENTS(reasons))
        watch->closed(reasons[reason], watch->data);
}

static gboolean
register_event(WkConnection *self, gsize i)
{
    Watch *watch = g_atomic_rc_box_acquire(self->watch);

    self->callbacks[i] = virConnectDomainEventRegisterAny(self->connect, NULL, watched_events[i],
                                                          handlers[i], watch, watch_unref);
    if (self->callbacks[i] < 0)
        watch_unref(watch);
    return self->callbacks[i] >= 0;
}

gboolean
wk_connection_watch(WkConnection *self, WkWatchChanged changed, WkWatchClosed closed, gpointer data,
                    GDestroyNotify data_free, GError **error)
{
    gboolean success = TRUE;

    g_return_val_if_fail(self->watch == NULL, FALSE);
    self->watch = g_atomic_rc_box_new0(Watch);
    *self->watch = (Watch){ changed, closed, data, data_free };
    /* A driver that can't be lost answers as if it had registered, and never frees anything: so
     * the connection itself keeps what this callback uses. */
    (void)virConnectRegisterCloseCallback(self->connect, on_close, self->watch, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(watched_events) && success; i++)
        success = register_event(self, i) || i > 0;
    if (!success)
        wk_virt_set_error(error, "registering for events");
    return success;
}

gboolean
wk_connection_is_alive(WkConnection *self)
{
    return self->launchers != NULL || virConnectIsAlive(wk_connection_get(self)) != 0;
}

/* Each registration holds libvirt's own reference on the connection, so without taking them back
 * it would stay open for ever. On a dead connection they fail, but still let go (F27). */
static gpointer
close_blocking(gpointer data)
{
    WkConnection *self = data;

    for (gsize i = 0; i < G_N_ELEMENTS(self->callbacks); i++) {
        if (self->callbacks[i] >= 0)
            (void)virConnectDomainEventDeregisterAny(self->connect, self->callbacks[i]);
    }
    if (self->watch != NULL)
        (void)virConnectUnregisterCloseCallback(self->connect, on_close);
    (void)virConnectClose(self->connect);
    g_clear_pointer(&self->watch, watch_unref);
    return NULL;
}

static gpointer
close_copy(gpointer data)
{
    g_autofree WkConnection *copy = data;

    return close_blocking(copy);
}

/* Closing asks libvirtd and waits for its answer: never in the thread of the main loop. */
static void
close_elsewhere(const WkConnection *self)
{
    WkConnection *copy = g_memdup2(self, sizeof *self);
    GThread *thread = g_thread_try_new("wk-close", close_copy, copy, NULL);

    if (thread != NULL)
        g_thread_unref(thread);
    else
        g_free(copy); /* out of threads: a lost descriptor is better than a stopped main loop */
}

static void
connection_clear(gpointer data)
{
    WkConnection *self = data;

    if (self->launchers != NULL) {
        wk_launchers_unref(self->launchers);
    } else if (self->owner != NULL) {
        self->released(self->released_data);
        wk_connection_unref(self->owner);
    } else if (g_main_context_is_owner(g_main_context_default())) {
        close_elsewhere(self);
    } else {
        close_blocking(self);
    }
}

void
wk_connection_unref(WkConnection *self)
{
    if (self != NULL)
        g_atomic_rc_box_release_full(self, connection_clear);
}

virConnectPtr
wk_connection_get(WkConnection *self)
{
    return self->owner != NULL ? self->owner->connect : self->connect;
}
