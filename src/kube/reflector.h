/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/client.h"

G_BEGIN_DECLS

/*
 * Keeps somebody up to date with the objects of one kind: list and watch, as client-go's reflector
 * does (WatchList where the server knows it, pages where not; bookmarks; resourceVersion opaque;
 * 410, ERROR events, stalls and outages survived). It keeps no objects. Main thread only.
 *
 * What arrives is level-triggered: object() may say the same twice, or skip what came between.
 * After relisting(), every object that is there is told once, then synced(): whatever was not told
 * is gone. left() says that an object is out of our selection: deleted, or no longer matching.
 */
typedef struct _WkReflector WkReflector;

typedef struct {
    void (*relisting)(gpointer data);
    void (*object)(JsonObject *object, gpointer data); /* only for the call; reference to keep */
    void (*left)(JsonObject *last, gpointer data);     /* its last known state */
    void (*synced)(gpointer data);
    /* Each time that something goes wrong (NULL: all is well again): for doctor and the log. It
     * goes on by itself, in @retry_ms. */
    void (*trouble)(const GError *error, guint retry_ms, gpointer data);
} WkReflectorListener;

typedef struct {
    const char *path; /* "/apis/vm.novasphere.dev/v1alpha1/wukongs" */
    const char
        *field_selector; /* "status.nodeName=n1"; NULL: none. One that the server does not know
                            (400) is left out from then on, see wk_reflector_is_selecting() */
    const char *label_selector; /* NULL: none */
    guint page_size;            /* 0: 500 */
    guint stall_ms;             /* 0: 90 s without a byte, bookmarks included */
} WkReflectorOptions;

/* Options and listener are copied; starts by itself. Returns: (transfer full). */
WkReflector *wk_reflector_new(WkKube *kube, const WkReflectorOptions *options,
                              const WkReflectorListener *listener, gpointer data);
void wk_reflector_free(WkReflector *self); /* no callback after it; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkReflector, wk_reflector_free)

/* FALSE: the server does not know the field selector, everything comes and the listener filters. */
gboolean wk_reflector_is_selecting(WkReflector *self);
/* Monotonic time of the last byte of the watch or list; 0: none yet. */
gint64 wk_reflector_get_last_heard_us(WkReflector *self);
/* Does not wait out a backoff: something says that the server is at work. What the server itself
 * asked for (Retry-After), or a denial that is believed, is waited out. */
void wk_reflector_hurry(WkReflector *self);

G_END_DECLS
