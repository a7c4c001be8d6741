/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/source.h"

#include "base/clock.h"
#include "base/error.h"
#include "virt/error.h"
#include "virt/lane.h"
#include "virt/link.h"
#include "virt/places.h"
#include "virt/remote.h"
#include "virt/watch.h"
#include "virt/workset.h"

#include <libvirt-glib/libvirt-glib-event.h>
#include <signal.h>

#define BACKOFF_MIN_MS 250
#define BACKOFF_MAX_MS 15000
#define STEADY_US      (2 * G_USEC_PER_SEC)
/* An open that takes longer counts as failed for whoever waits to hear; it goes on all the same,
 * since libvirt has no time-out that would free its thread for another try. */
#define OPEN_SLOW_MS 10000

struct _WkSource {
    char *name;
    char *uri;
    char *save_dir;
    char *autostart_dir;
    gboolean single;        /* one connection for everything */
    WkLaunchers *launchers; /* NULL: @uri is a libvirt */

    /* Main thread. */
    const WkSourceListener *listener; /* NULL: stopped */
    gpointer data;
    WkTaskLane *lanes[WK_LANE_LONG + 1];
    WkLink *link;        /* opening or open; NULL: waiting for @retry */
    GSource *retry;      /* NULL: none */
    GSource *slow;       /* NULL: none */
    GSource *tell;       /* NULL: none */
    GHashTable *changed; /* (element-type utf8): to be told */
    guint life;          /* how often everything was dropped */
    gboolean started;    /* between start and stop */
    guint failures;      /* tries in a row that came to nothing */
    gint64 up_since_us;  /* mono */
    gboolean tried;
    gboolean told_down;
    gboolean followed; /* launchers: the API server tells of them */

    GMutex lock;
    WkConnection *control; /* NULL: down */
    WkWorkset *work;       /* NULL: down */
    char *why;             /* down, for people */
};

static void connect_now(WkSource *self);

void
wk_source_init_events(void)
{
    wk_virt_init();
    (void)signal(SIGPIPE, SIG_IGN); /* libvirt's client writes to a daemon that may be dead */
    gvir_event_register();
}

static gboolean
is_auto(const char *save_dir)
{
    return save_dir == NULL || *save_dir == '\0' || g_str_equal(save_dir, "auto");
}

/* Everything but what @options' URI stands for. */
static WkSource *
source_new(const WkSourceOptions *options, const WkSourceListener *listener, gpointer data)
{
    WkSource *self = g_atomic_rc_box_new0(WkSource);

    self->name = g_strdup(options->name);
    self->uri = g_strdup(options->uri);
    self->listener = listener;
    self->data = data;
    self->changed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    self->why = g_strdup("not connected yet");
    g_mutex_init(&self->lock);
    self->lanes[WK_LANE_QUICK] = wk_task_lane_new(options->quick_calls);
    self->lanes[WK_LANE_LONG] = wk_task_lane_new(options->long_calls);
    return self;
}

WkSource *
wk_source_new(const WkSourceOptions *options, const WkSourceListener *listener, gpointer data)
{
    WkSource *self = source_new(options, listener, data);

    self->single = g_str_has_prefix(options->uri, "test:");
    if (!self->single) {
        self->save_dir = is_auto(options->save_dir) ? wk_places_save_dir(options->uri)
                                                    : g_strdup(options->save_dir);
        self->autostart_dir = wk_places_autostart_dir(options->uri);
    }
    return self;
}

WkSource *
wk_source_new_launchers(const char *name, WkLaunchers *launchers, guint long_calls,
                        guint quick_calls, const WkSourceListener *listener, gpointer data)
{
    const WkSourceOptions options = {
        .name = name, .uri = "kubevirt", .long_calls = long_calls, .quick_calls = quick_calls
    };
    WkSource *self = source_new(&options, listener, data);

    self->single = TRUE;
    self->launchers = wk_launchers_ref(launchers);
    return self;
}

WkSource *
wk_source_ref(WkSource *self)
{
    return g_atomic_rc_box_acquire(self);
}

/* Started means referenced: whoever is last to let go finds it stopped, or never started. */
static void
source_clear(gpointer data)
{
    WkSource *self = data;

    for (gsize i = 0; i < G_N_ELEMENTS(self->lanes); i++)
        wk_task_lane_free(self->lanes[i]);
    wk_launchers_unref(self->launchers);
    g_hash_table_unref(self->changed);
    g_mutex_clear(&self->lock);
    g_free(self->why);
    g_free(self->autostart_dir);
    g_free(self->save_dir);
    g_free(self->uri);
    g_free(self->name);
}

void
wk_source_unref(WkSource *self)
{
    if (self != NULL)
        g_atomic_rc_box_release_full(self, source_clear);
}

static void
drop_timer(GSource **timer)
{
    if (*timer == NULL)
        return;
    g_source_destroy(*timer);
    g_clear_pointer(timer, g_source_unref);
}

static void
start_timer(WkSource *self, GSource **timer, guint ms, GSourceFunc func)
{
    drop_timer(timer);
    *timer = ms > 0 ? g_timeout_source_new(ms) : g_idle_source_new();
    g_source_set_priority(*timer, G_PRIORITY_DEFAULT);
    g_source_set_callback(*timer, func, self, NULL);
    (void)g_source_attach(*timer, NULL);
}

static gboolean
on_retry(gpointer data)
{
    WkSource *self = data;

    drop_timer(&self->retry);
    connect_now(self);
    return G_SOURCE_REMOVE;
}

/* Half of the delay is by chance, so that many nodes do not come back in step. */
static void
retry_later(WkSource *self)
{
    const guint shift = MIN(self->failures, 6);
    const gint delay = MIN(BACKOFF_MIN_MS << shift, BACKOFF_MAX_MS);
    const gint wait = g_random_int_range(delay / 2, delay + 1);

    self->failures++;
    start_timer(self, &self->retry, (guint)MAX(wait, BACKOFF_MIN_MS), on_retry);
}

static void
tell_down(WkSource *self, const char *why)
{
    const gboolean news = !self->told_down;

    self->tried = TRUE;
    self->told_down = TRUE;
    if (news && self->listener != NULL)
        self->listener->down(self, why, self->data);
}

static gboolean
on_slow(gpointer data)
{
    WkSource *self = data;

    drop_timer(&self->slow);
    tell_down(self, "libvirt does not answer");
    return G_SOURCE_REMOVE;
}

/* Takes what workers borrow from; @control and @work (transfer full) may be NULL, @why then says
 * why there is nothing. */
static void
set_connections(WkSource *self, WkConnection *control, WkWorkset *work, const char *why)
{
    g_autofree char *old_why = NULL;
    g_autoptr(WkConnection) old_control = NULL;
    g_autoptr(WkWorkset) old_work = NULL;

    g_mutex_lock(&self->lock);
    old_control = self->control;
    old_work = self->work;
    old_why = self->why;
    self->control = control;
    self->work = work;
    self->why = g_strdup(why);
    g_mutex_unlock(&self->lock);
    if (old_work != NULL)
        wk_workset_close(old_work);
}

/* Everything of the present link goes; nothing is told. */
static void
disconnect(WkSource *self, const char *why)
{
    self->life++;
    set_connections(self, NULL, NULL, why);
    g_clear_pointer(&self->link, wk_link_drop);
    drop_timer(&self->slow);
    drop_timer(&self->tell);
    drop_timer(&self->retry);
    g_hash_table_remove_all(self->changed);
}

static void
go_up(WkSource *self, WkConnection *connection)
{
    set_connections(self, wk_connection_ref(connection),
                    self->single ? NULL : wk_workset_new(self->uri, WK_SOURCE_CALLS_MAX), NULL);
    self->up_since_us = wk_clock_mono_us();
    self->tried = TRUE;
    self->told_down = FALSE;
    self->listener->up(self, self->data);
}

static void
on_opened(WkLink *link G_GNUC_UNUSED, WkConnection *connection, const char *why, gpointer data)
{
    g_autoptr(WkSource) self = wk_source_ref(data);

    drop_timer(&self->slow);
    if (connection != NULL) {
        go_up(self, connection);
        return;
    }
    disconnect(self, why);
    retry_later(self);
    tell_down(self, why);
}

/* A libvirt that was there for a while and goes is met soon when it comes back; one that takes us
 * only to drop us again is not. */
static void
lose(WkSource *self, const char *why)
{
    if (wk_clock_mono_us() - self->up_since_us > STEADY_US)
        self->failures = 0;
    disconnect(self, why);
    retry_later(self);
    tell_down(self, why);
}

static void
on_lost(WkLink *link G_GNUC_UNUSED, const char *why, gpointer data)
{
    g_autoptr(WkSource) self = wk_source_ref(data);

    lose(self, why);
}

/* Any of these may lead to wk_source_stop() or wk_source_abandon(): both drop @tell. */
static gboolean
on_tell(gpointer data)
{
    g_autoptr(WkSource) self = wk_source_ref(data);
    g_autoptr(GHashTable) changed = g_steal_pointer(&self->changed);
    const guint life = self->life;
    GHashTableIter iter;
    gpointer uuid;

    self->changed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    drop_timer(&self->tell);
    g_hash_table_iter_init(&iter, changed);
    while (self->life == life && g_hash_table_iter_next(&iter, &uuid, NULL))
        self->listener->changed(self, uuid, self->data);
    return G_SOURCE_REMOVE;
}

static void
tell_later(WkSource *self, const char *uuid)
{
    g_hash_table_add(self->changed, g_strdup(uuid));
    if (self->tell == NULL)
        start_timer(self, &self->tell, 0, on_tell);
}

static void
on_changed(WkLink *link G_GNUC_UNUSED, const char *uuid, gpointer data)
{
    tell_later(data, uuid);
}

static const WkLinkListener link_listener = {
    .opened = on_opened,
    .lost = on_lost,
    .changed = on_changed,
};

/* There is nothing to connect to: it is up when its guests are known. */
static void
go_up_launchers(WkSource *self)
{
    g_autoptr(WkConnection) connection = NULL;

    if (!self->followed || wk_source_is_up(self))
        return;
    connection = wk_connection_new_launchers(self->launchers);
    go_up(self, connection);
}

static void
connect_now(WkSource *self)
{
    if (self->launchers != NULL) {
        go_up_launchers(self);
        return;
    }
    self->link = wk_link_open(self->uri, &link_listener, self);
    start_timer(self, &self->slow, OPEN_SLOW_MS, on_slow);
}

void
wk_source_start(WkSource *self)
{
    g_return_if_fail(self->listener != NULL && !self->started);
    self->started = TRUE;
    (void)wk_source_ref(self); /* until wk_source_stop() */
    if (self->launchers != NULL)
        start_timer(self, &self->retry, 0, on_retry); /* up() may not come before this returns */
    else
        connect_now(self);
}

void
wk_source_stop(WkSource *self)
{
    const gboolean started = self->started;

    self->started = FALSE;
    self->listener = NULL;
    disconnect(self, "stopped");
    for (gsize i = 0; i < G_N_ELEMENTS(self->lanes); i++)
        wk_task_lane_stop(self->lanes[i]);
    if (started)
        wk_source_unref(self);
}

void
wk_source_set_up(WkSource *self, gboolean up, const char *why)
{
    g_autoptr(WkSource) alive = NULL;

    g_return_if_fail(self->launchers != NULL);
    alive = wk_source_ref(self); /* whoever listens may let go of it */
    self->followed = up;
    if (!self->started)
        return;
    if (up) {
        drop_timer(&self->retry);
        go_up_launchers(self);
        return;
    }
    disconnect(self, why);
    tell_down(self, why);
}

void
wk_source_touch(WkSource *self, const char *id)
{
    if (self->started && wk_source_is_up(self))
        tell_later(self, id);
}

WkLaunchers *
wk_source_get_launchers(WkSource *self)
{
    return self->launchers;
}

gboolean
wk_source_is_launcher(WkSource *self)
{
    return self->launchers != NULL;
}

gboolean
wk_source_is_up(WkSource *self)
{
    gboolean up;

    g_mutex_lock(&self->lock);
    up = self->control != NULL;
    g_mutex_unlock(&self->lock);
    return up;
}

gboolean
wk_source_was_tried(WkSource *self)
{
    return self->tried;
}

const char *
wk_source_get_name(WkSource *self)
{
    return self->name;
}

const char *
wk_source_get_uri(WkSource *self)
{
    return self->uri;
}

const char *
wk_source_get_save_dir(WkSource *self)
{
    return self->save_dir;
}

char *
wk_source_managed_path(WkSource *self, const char *id, const char *name)
{
    if (self->launchers != NULL)
        return wk_launchers_managed_path(self->launchers, id);
    return self->save_dir != NULL ? g_strdup_printf("%s/%s.save", self->save_dir, name) : NULL;
}

const char *
wk_source_get_autostart_dir(WkSource *self)
{
    return self->autostart_dir;
}

void
wk_source_push(WkSource *self, WkLane lane, GTask *task, GTaskThreadFunc func)
{
    wk_task_lane_push(self->lanes[lane], task, func);
}

WkConnection *
wk_source_borrow(WkSource *self, WkLane lane, GError **error)
{
    WkConnection *control = NULL;
    g_autoptr(WkWorkset) work = NULL;

    g_mutex_lock(&self->lock);
    if (self->control == NULL)
        wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL, "source '%s' is away: %s", self->name,
                     self->why);
    else if (lane == WK_LANE_QUICK || self->single)
        control = wk_connection_ref(self->control);
    else
        work = wk_workset_ref(self->work);
    g_mutex_unlock(&self->lock);
    return work != NULL ? wk_workset_borrow(work, error) : control;
}

void
wk_source_abandon(WkSource *self, const char *why)
{
    if (!self->started)
        return;
    for (gsize i = 0; i < G_N_ELEMENTS(self->lanes); i++)
        wk_task_lane_renew(self->lanes[i]);
    if (self->launchers != NULL)
        wk_launchers_end_helpers(self->launchers);
    lose(self, why);
}
