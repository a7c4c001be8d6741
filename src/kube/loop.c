/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/loop.h"

#include <glib-unix.h>

/* Each keeps some 100 KiB of TLS state. libcurl would keep four times as many as were in use at
 * once.
 */
#define IDLE_CONNECTIONS_MAX 8L

/*
 * Each descriptor has a source of its own, which ends when libcurl lets go of the descriptor: the
 * number may be another connection's in the same turn of the main loop, and what poll() said of the
 * old one must not be taken for the new one's.
 */
typedef struct {
    GSource source;
    WkKubeLoop *loop;
    curl_socket_t fd;
    gpointer tag;
} FdSource;

typedef struct {
    GSource source;
    WkKubeLoop *loop;
} TimerSource;

struct _WkKubeLoop {
    guint refs;
    CURLM *multi;
    GSource *timer;
    GQueue awake;    /* (element-type WkKubeTicket) */
    GQueue finished; /* (element-type WkKubeTicket) */
};

static void
call_awake(WkKubeLoop *self)
{
    WkKubeTicket *ticket;

    while ((ticket = g_queue_pop_head(&self->awake)) != NULL) {
        ticket->awake = FALSE;
        ticket->woken(ticket->data);
    }
}

/* How many still run says nothing about who has ended, so the messages are always read. */
static void
collect_finished(WkKubeLoop *self)
{
    CURLMsg *message;
    int left = 0;

    while ((message = curl_multi_info_read(self->multi, &left)) != NULL) {
        WkKubeTicket *ticket = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &ticket);
        ticket->result = message->data.result;
        g_queue_push_tail(&self->finished, ticket);
    }
}

static void
act(WkKubeLoop *self, curl_socket_t fd, int events)
{
    WkKubeTicket *ticket;
    int running = 0;

    self->refs++;
    curl_multi_socket_action(self->multi, fd, events, &running);
    collect_finished(self);
    call_awake(self);
    while ((ticket = g_queue_pop_head(&self->finished)) != NULL)
        ticket->done(ticket->result, ticket->data);
    wk_kube_loop_unref(self);
}

static gboolean
dispatch_fd(GSource *source, GSourceFunc callback G_GNUC_UNUSED, gpointer user_data G_GNUC_UNUSED)
{
    FdSource *self = (FdSource *)source;
    const GIOCondition is = g_source_query_unix_fd(source, self->tag);
    int events = 0;

    if ((is & (G_IO_IN | G_IO_HUP | G_IO_PRI)) != 0)
        events |= CURL_CSELECT_IN;
    if ((is & G_IO_OUT) != 0)
        events |= CURL_CSELECT_OUT;
    if ((is & (G_IO_ERR | G_IO_NVAL)) != 0)
        events |= CURL_CSELECT_ERR;
    if (events != 0)
        act(self->loop, self->fd, events);
    return G_SOURCE_CONTINUE;
}

static gboolean
dispatch_timer(GSource *source, GSourceFunc callback G_GNUC_UNUSED,
               gpointer user_data G_GNUC_UNUSED)
{
    g_source_set_ready_time(source, -1);
    act(((TimerSource *)source)->loop, CURL_SOCKET_TIMEOUT, 0);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs fd_funcs = { .dispatch = dispatch_fd };
static GSourceFuncs timer_funcs = { .dispatch = dispatch_timer };

static GIOCondition
condition_of(int what)
{
    GIOCondition condition = G_IO_ERR | G_IO_HUP;

    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        condition |= G_IO_IN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        condition |= G_IO_OUT;
    return condition;
}

static int
on_socket(CURL *easy G_GNUC_UNUSED, curl_socket_t fd, int what, void *user_data, void *fd_data)
{
    WkKubeLoop *self = user_data;
    FdSource *source = fd_data;

    if (what == CURL_POLL_REMOVE) {
        if (source != NULL) {
            g_source_destroy(&source->source);
            g_source_unref(&source->source);
        }
        return 0;
    }
    if (source != NULL) {
        g_source_modify_unix_fd(&source->source, source->tag, condition_of(what));
        return 0;
    }
    source = (FdSource *)g_source_new(&fd_funcs, sizeof(FdSource));
    source->loop = self;
    source->fd = fd;
    source->tag = g_source_add_unix_fd(&source->source, fd, condition_of(what));
    g_source_set_static_name(&source->source, "kube connection");
    g_source_attach(&source->source, NULL);
    curl_multi_assign(self->multi, fd, source);
    return 0;
}

/* A time of 0 means "soon", never "now": that would be a call from inside. */
static int
on_timer(CURLM *multi G_GNUC_UNUSED, long timeout_ms, void *user_data)
{
    WkKubeLoop *self = user_data;
    gint64 when = -1;

    if (timeout_ms >= 0)
        when = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
    g_source_set_ready_time(self->timer, when);
    return 0;
}

WkKubeLoop *
wk_kube_loop_new(void)
{
    CURLM *multi = curl_multi_init();
    WkKubeLoop *self = NULL;

    if (multi == NULL)
        return NULL;
    self = g_new0(WkKubeLoop, 1);
    self->refs = 1;
    self->multi = multi;
    self->timer = g_source_new(&timer_funcs, sizeof(TimerSource));
    ((TimerSource *)self->timer)->loop = self;
    g_source_set_static_name(self->timer, "kube timer");
    g_source_attach(self->timer, NULL);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS_MAX);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, self);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, self);
    return self;
}

void
wk_kube_loop_unref(WkKubeLoop *self)
{
    if (self == NULL || --self->refs > 0)
        return;
    /* Closes the connections, which calls on_socket(). */
    curl_multi_cleanup(self->multi);
    g_source_destroy(self->timer);
    g_source_unref(self->timer);
    g_free(self);
}

gboolean
wk_kube_loop_add(WkKubeLoop *self, WkKubeTicket *ticket)
{
    curl_easy_setopt(ticket->easy, CURLOPT_PRIVATE, ticket);
    if (curl_multi_add_handle(self->multi, ticket->easy) != CURLM_OK)
        return FALSE;
    ticket->loop = self;
    self->refs++;
    return TRUE;
}

void
wk_kube_loop_remove(WkKubeTicket *ticket)
{
    WkKubeLoop *loop = g_steal_pointer(&ticket->loop);

    if (loop == NULL)
        return;
    curl_multi_remove_handle(loop->multi, ticket->easy);
    g_queue_remove(&loop->awake, ticket);
    g_queue_remove(&loop->finished, ticket);
    wk_kube_loop_unref(loop);
}

void
wk_kube_loop_wake(WkKubeTicket *ticket)
{
    if (ticket->awake || ticket->loop == NULL)
        return;
    ticket->awake = TRUE;
    g_queue_push_tail(&ticket->loop->awake, ticket);
}
