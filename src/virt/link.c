/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/link.h"

#include "base/error.h"
#include "virt/watch.h"

struct _WkLink {
    char *uri;

    /* Main thread. */
    const WkLinkListener *listener; /* NULL: dropped */
    gpointer data;
    gboolean answered; /* the thread's answer has arrived */
    const char *lost;  /* why; NULL: not lost */

    /* The opening thread's until its answer is posted, then the main thread's. */
    WkConnection *connection;
    GError *error;
};

/* A call into the main thread. */
typedef struct {
    WkLink *link; /* referenced */
    const char *why;
} Post;

static void
link_clear(gpointer data)
{
    WkLink *self = data;

    /* The last one may be libvirt, which lets go only while the connection closes. */
    g_assert(self->connection == NULL);
    g_clear_error(&self->error);
    g_free(self->uri);
}

static void
link_unref(gpointer data)
{
    g_atomic_rc_box_release_full(data, link_clear);
}

static void
post_free(gpointer data)
{
    Post *post = data;

    link_unref(post->link);
    g_free(post);
}

/* Never runs @func at once: the caller may hold locks of libvirt's. */
static void
post(WkLink *self, const char *why, GSourceFunc func)
{
    GSource *source = g_idle_source_new();
    Post *message = g_new(Post, 1);

    *message = (Post){ g_atomic_rc_box_acquire(self), why };
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, func, message, post_free);
    (void)g_source_attach(source, NULL);
    g_source_unref(source);
}

static void
on_changed(const char *uuid, gpointer data)
{
    WkLink *self = data;

    if (self->listener != NULL && self->answered && self->lost == NULL)
        self->listener->changed(self, uuid, self->data);
}

static gboolean
tell_lost(gpointer data)
{
    const Post *message = data;
    WkLink *self = message->link;
    const gboolean news = self->lost == NULL;

    self->lost = message->why;
    if (news && self->listener != NULL && self->answered)
        self->listener->lost(self, self->lost, self->data);
    return G_SOURCE_REMOVE;
}

static void
on_closed(const char *why, gpointer data)
{
    post(data, why, tell_lost);
}

static gboolean
tell_opened(gpointer data)
{
    const Post *message = data;
    WkLink *self = message->link;

    self->answered = TRUE;
    if (self->listener == NULL || self->lost != NULL)
        g_clear_pointer(&self->connection, wk_connection_unref);
    if (self->listener != NULL)
        self->listener->opened(self, self->connection,
                               self->error != NULL ? self->error->message : self->lost, self->data);
    return G_SOURCE_REMOVE;
}

/* A connection that was lost before its close callback was registered tells nobody. */
static WkConnection *
open_watched(WkLink *self, GError **error)
{
    g_autoptr(WkConnection) connection = wk_connection_open(self->uri, error);

    if (connection == NULL
        || !wk_connection_watch(connection, on_changed, on_closed, g_atomic_rc_box_acquire(self),
                                link_unref, error))
        return NULL;
    if (wk_connection_is_alive(connection))
        return g_steal_pointer(&connection);
    wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL, "libvirt closed the connection at once");
    return NULL;
}

static gpointer
open_thread(gpointer data)
{
    WkLink *self = data;

    self->connection = open_watched(self, &self->error);
    post(self, NULL, tell_opened);
    link_unref(self);
    return NULL;
}

WkLink *
wk_link_open(const char *uri, const WkLinkListener *listener, gpointer data)
{
    WkLink *self = g_atomic_rc_box_new0(WkLink);
    GThread *thread;

    self->uri = g_strdup(uri);
    self->listener = listener;
    self->data = data;
    thread =
        g_thread_try_new("wk-connect", open_thread, g_atomic_rc_box_acquire(self), &self->error);
    if (thread != NULL) {
        g_thread_unref(thread);
    } else {
        link_unref(self);
        post(self, NULL, tell_opened);
    }
    return self;
}

void
wk_link_drop(WkLink *self)
{
    self->listener = NULL;
    if (self->answered)
        g_clear_pointer(&self->connection, wk_connection_unref);
    link_unref(self);
}
