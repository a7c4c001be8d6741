/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/client.h"
#include "kube/reporter.h"

G_BEGIN_DECLS

/*
 * What the parts of the reporter (a Wukong's writes, Events, the Lease) share: one way out to the
 * server that knows when the server is away, and one way back to the listener. Private to
 * reporter*.c, events.c and lease.c. Main thread.
 *
 * While the server is away, one request at a time finds out whether it is back, however many wait:
 * it is tried after wk_kube_backoff_ms(), longer each time, and the first answer of any kind opens
 * the way for all.
 */
typedef struct _WkOutlet WkOutlet;

/* @answer (transfer none) or @error, never both. */
typedef void (*WkOutletAnswered)(JsonObject *answer, const GError *error, gpointer data);

/* @speed divides every duration: 1, more only in tests. @open: called when what waits may be sent,
 * after every answer and when it is time for a trial. Returns: (transfer full). */
WkOutlet *wk_outlet_new(WkKube *kube, const WkReporterOptions *options,
                        const WkReporterListener *listener, gpointer data, guint speed);
void wk_outlet_set_open(WkOutlet *self, void (*open)(gpointer data), gpointer data);
WkOutlet *wk_outlet_ref(WkOutlet *self);
void wk_outlet_unref(WkOutlet *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkOutlet, wk_outlet_unref)

/* From now on nobody is called any more; what is in flight is cancelled. */
void wk_outlet_stop(WkOutlet *self);

/* Constant: (transfer none). */
const char *wk_outlet_get_node_name(WkOutlet *self);
const char *wk_outlet_get_namespace(WkOutlet *self);

/* FALSE while the server is away and it is not time, or not the caller's turn, to try. */
gboolean wk_outlet_is_open(WkOutlet *self);
/* The server is away. */
gboolean wk_outlet_is_down(WkOutlet *self);
/* Does not wait out the backoff. */
void wk_outlet_hurry(WkOutlet *self);

/* Sends, whether open or not. @answered is not called after wk_outlet_stop(); @destroy always is,
 * after it (NULL: nothing to free). */
void wk_outlet_send(WkOutlet *self, const WkKubeRequest *request, WkOutletAnswered answered,
                    gpointer data, GDestroyNotify destroy);
guint wk_outlet_count_flights(WkOutlet *self);
/* Grows with every answer that shows the server at work. */
guint64 wk_outlet_count_successes(WkOutlet *self);
/* Grows with every request that came to nothing because the server is away. */
guint64 wk_outlet_count_outages(WkOutlet *self);
/* TRUE for an error that says nothing of the request: no server, not now, credentials. A 403 of a
 * server that has just started comes as one of them ("NotReady"). */
gboolean wk_outlet_is_outage(const GError *error);

/* The listener hears of these from the main loop, never from inside a call. */
void wk_outlet_tell_removed(WkOutlet *self, const char *uid, const char *owed);
void wk_outlet_tell_event_done(WkOutlet *self, gint64 seq);
void wk_outlet_tell_renewed(WkOutlet *self);
/* Said once for each @reason until it is cleared; @owner: whose success clears it. */
void wk_outlet_notice(WkOutlet *self, const char *reason, const char *owner, const char *text);
void wk_outlet_clear_notices(WkOutlet *self, const char *owner);

/* Durations and times as tests scale them. */
guint wk_outlet_ms(WkOutlet *self, guint ms);
gint64 wk_outlet_us(WkOutlet *self, guint ms);
/* Replaces *@timer; calls @func once, in @ms (not scaled here). */
void wk_outlet_start_timer(GSource **timer, guint ms, GSourceFunc func, gpointer data);
void wk_outlet_drop_timer(GSource **timer);

/* (transfer full): RFC 3339 with microseconds, as metav1.MicroTime. */
char *wk_outlet_format_micro(gint64 real_us);
/* (transfer full): "PREFIX/namespaces/NS/PLURAL[/NAME][TAIL]", percent-encoded; @name and @tail may
 * be NULL. */
char *wk_outlet_path(const char *prefix, const char *ns, const char *plural, const char *name,
                     const char *tail);

G_END_DECLS
