/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gio/gio.h>

#include "virt/connection.h"
#include "virt/launchers.h"

G_BEGIN_DECLS

/*
 * A source of guests: one libvirt with a life of its own. It keeps one control connection (events,
 * state, abort: nothing on it may last) and opens work connections for calls that can last, at
 * most WK_SOURCE_CALLS_MAX at once on each (libvirtd serves 5 a client: F25). While the control
 * connection is away the source is down; it is opened again with backoff (0.25 s to 15 s, jitter).
 *
 * libvirt calls have no time-out, so each source has pools of its own: one that is stuck does not
 * touch the others, and wk_source_abandon() leaves a stuck call behind with its connection.
 *
 * Events only say "look again" (I5). libvirt events are registered before up() is called, so a
 * listing made in or after up() misses nothing.
 *
 * Threading: main thread, except where a function says worker.
 */
typedef struct _WkSource WkSource;

#define WK_SOURCE_CALLS_MAX 4

typedef enum {
    WK_LANE_QUICK, /* looks, pause, resume, abort: milliseconds; never behind a save */
    WK_LANE_LONG,  /* save, restore and all that may last */
} WkLane;

typedef struct {
    void (*up)(WkSource *source, gpointer data);
    /* @why: for people. Called once for each loss, and once when the first try fails. */
    void (*down)(WkSource *source, const char *why, gpointer data);
    /* Something about this domain changed, or it came or went. Bursts are merged: at most one
     * call a guest for each main loop turn. */
    void (*changed)(WkSource *source, const char *uuid, gpointer data);
} WkSourceListener;

typedef struct {
    const char *name;     /* "host" */
    const char *uri;      /* "qemu:///system" */
    const char *save_dir; /* NULL or "auto": by the URI */
    guint long_calls;     /* threads of the long lane, 1 .. 64 */
    guint quick_calls;    /* threads of the quick lane, 1 .. 16 */
} WkSourceOptions;

/* Returns: (transfer full): not started. Strings are copied; @listener must live as long. */
WkSource *
wk_source_new(const WkSourceOptions *options, const WkSourceListener *listener, gpointer data);
WkSource *wk_source_ref(WkSource *self); /* any thread */
void wk_source_unref(WkSource *self);    /* any thread; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkSource, wk_source_unref)

/* The source of all launcher pods of this node: it connects to nothing, its connections lead to
 * @launchers (referenced). Up and down is what wk_source_set_up() says, changed() what is given to
 * wk_source_touch(); for the rest it is as any other. */
WkSource *wk_source_new_launchers(const char *name, WkLaunchers *launchers, guint long_calls,
                                  guint quick_calls, const WkSourceListener *listener,
                                  gpointer data);

/* Launchers: the VMs and VMIs of this node are known (TRUE), or can't be followed any more; @why:
 * for people, when not @up. Before wk_source_start() it is only noted. */
void wk_source_set_up(WkSource *self, gboolean up, const char *why);
/* Launchers: something about this guest changed; told by changed(). Nothing while it is down. */
void wk_source_touch(WkSource *self, const char *id);

/* Returns: (transfer none) (nullable): NULL: it is not of launchers. Any thread; constant. */
WkLaunchers *wk_source_get_launchers(WkSource *self);
gboolean wk_source_is_launcher(WkSource *self); /* any thread; constant */

/* Registers libvirt's event loop (libvirt-glib) with the default main context and ignores SIGPIPE
 * in the whole process; once a process, before the first source starts. */
void wk_source_init_events(void);

void wk_source_start(WkSource *self); /* connects in the background */
/* Closes the connections; no callback comes after it returns. Workers that still run end on their
 * own; their tasks are delivered. */
void wk_source_stop(WkSource *self);

gboolean wk_source_is_up(WkSource *self);       /* any thread */
gboolean wk_source_was_tried(WkSource *self);   /* up, or failed at least once (readyz) */
const char *wk_source_get_name(WkSource *self); /* any thread; constant */
const char *wk_source_get_uri(WkSource *self);  /* any thread; constant */

/* Folder of managed saves of this source: /var/lib/libvirt/qemu/save for qemu:///system; the
 * configured one; NULL where the source can't save to disk (test:///), and for launchers, where
 * each pod has its own. Any thread; constant. */
const char *wk_source_get_save_dir(WkSource *self);
/* Any thread. Returns: (transfer full) (nullable): M of this guest: in the save folder by its
 * @name; launchers: in the guest's present pod. NULL: the source can't save, or the guest has no
 * pod. */
char *wk_source_managed_path(WkSource *self, const char *id, const char *name);
/* Folder of autostart links, to be synced: /etc/libvirt/qemu/autostart, or NULL. Any thread. */
const char *wk_source_get_autostart_dir(WkSource *self);

/* Runs @func(task, ...) in a worker of @lane; tasks of one lane start in the order pushed. Takes
 * @task (transfer full). */
void wk_source_push(WkSource *self, WkLane lane, GTask *task, GTaskThreadFunc func);

/* Worker: a connection for calls of @lane; release it with wk_connection_unref() when the calls
 * are done. QUICK: the control connection. LONG: a work connection with a free place, opened when
 * needed. test:/// sources have one connection for everything.
 * Returns: (transfer full): or NULL with WK_ERROR_UNAVAILABLE (retry later). */
WkConnection *wk_source_borrow(WkSource *self, WkLane lane, GError **error);

/* A call is stuck: drops all connections, gives the lanes new pools, goes down and connects anew.
 * The stuck threads are left to end on their own, with the connections they hold; their tasks are
 * delivered then. Tasks that had not started start in the new pools, in their order: until the
 * source is up again they can't borrow. Launchers: every helper is ended. */
void wk_source_abandon(WkSource *self, const char *why);

G_END_DECLS
