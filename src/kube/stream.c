/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/client_private.h"

#include "base/clock.h"
#include "base/error.h"

#include <string.h>

#define STATUS_UNAUTHORIZED 401

/*
 * Waiting (for the pump), running (with a transfer), ended (with the source that tells so), over.
 */
struct _WkKubeStream {
    WkKube *kube; /* NULL: it went first */
    char *path;
    WkKubeStreamOptions options;
    WkKubeStreamListener listener;
    gpointer data;
    WkKubeTransfer *transfer;
    WkKubeLoop *loop; /* it runs in; (transfer none), lives as long as the transfer */
    GSource *idle;    /* runs with the transfer */
    GSource *ending;
    GError *error;   /* why it ended; NULL: properly */
    gsize looked_at; /* bytes of the answer in which there is no end of line */
    gint64 sent_us;
    guint depth; /* calls of ours on the stack, which look at it afterwards */
    gboolean is_waiting;
    gboolean is_counted;
    gboolean reauthorized;
    gboolean is_ended;
    gboolean is_freed;
};

static void
drop_source(GSource **source)
{
    if (*source == NULL)
        return;
    g_source_destroy(*source);
    g_clear_pointer(source, g_source_unref);
}

static void
count_once(WkKubeStream *self, guint status)
{
    const gboolean watch = strstr(self->path, "watch=") != NULL;

    if (self->is_counted || self->kube == NULL)
        return;
    self->is_counted = TRUE;
    wk_kube_count(self->kube, watch ? "WATCH" : "GET", status);
}

static void
stop_transfer(WkKubeStream *self)
{
    drop_source(&self->idle);
    g_clear_pointer(&self->transfer, wk_kube_transfer_free);
    self->loop = NULL;
    self->looked_at = 0;
}

static gboolean
on_ending(gpointer data)
{
    WkKubeStream *self = data;
    g_autoptr(GError) error = g_steal_pointer(&self->error);

    drop_source(&self->ending);
    self->listener.ended(error, self->data);
    return G_SOURCE_REMOVE;
}

/* @error (transfer full), NULL: properly. The first end is the one that is told. */
static void
end(WkKubeStream *self, GError *error)
{
    stop_transfer(self);
    self->is_waiting = FALSE;
    if (self->is_freed || self->is_ended) {
        g_clear_error(&error);
        return;
    }
    self->is_ended = TRUE;
    self->error = error;
    self->ending = g_idle_source_new();
    g_source_set_priority(self->ending, G_PRIORITY_DEFAULT);
    g_source_set_callback(self->ending, on_ending, self, NULL);
    g_source_attach(self->ending, NULL);
}

static void
destroy(WkKubeStream *self)
{
    g_clear_error(&self->error);
    g_free(self->path);
    g_free(self);
}

/* ---- lines ---- */

static gboolean
is_going(WkKubeStream *self)
{
    return self->transfer != NULL && !self->is_freed;
}

/* @text is one line. Returns: FALSE when the stream is over. */
static gboolean
tell_line(WkKubeStream *self, char *text, gsize length)
{
    GError *error = NULL;

    if (length > self->options.max_line_bytes) {
        wk_error_set(&error, WK_ERROR_FAILED, "TooLarge",
                     "GET %s: a line is over the limit of %" G_GSIZE_FORMAT " bytes", self->path,
                     self->options.max_line_bytes);
        end(self, error);
        return FALSE;
    }
    text[length] = '\0';
    if (length == 0 || self->listener.line(text, length, self->data, &error))
        return is_going(self);
    end(self, error);
    return FALSE;
}

/* The beginning of a line that is too long already need not be waited for. */
static void
check_beginning(WkKubeStream *self)
{
    GString *body = wk_kube_transfer_get_body(self->transfer);

    self->looked_at = body->len;
    if (body->len > self->options.max_line_bytes)
        (void)tell_line(self, body->str, body->len);
}

/* The bytes are taken away from the transfer meanwhile, which the listener may free. What is left
 * of them, a line's beginning, goes back. */
static void
tell_lines(WkKubeStream *self)
{
    GString *body = wk_kube_transfer_get_body(self->transfer);
    const gsize length = body->len;
    const gsize known = self->looked_at;
    g_autofree char *text = NULL;
    char *newline = NULL;
    gsize start = 0;

    if (memchr(body->str + known, '\n', length - known) != NULL) {
        text = g_memdup2(body->str, length + 1);
        newline = memchr(text + known, '\n', length - known);
        g_string_truncate(body, 0);
    }
    while (newline != NULL) {
        if (!tell_line(self, text + start, (gsize)(newline - text) - start))
            return;
        start = (gsize)(newline - text) + 1;
        newline = memchr(text + start, '\n', length - start);
    }
    if (text != NULL)
        g_string_prepend_len(body, text + start, (gssize)(length - start));
    check_beginning(self);
}

/* Returns: FALSE when @self is no more. */
static gboolean
leave(WkKubeStream *self)
{
    if (--self->depth > 0 || !self->is_freed)
        return TRUE;
    destroy(self);
    return FALSE;
}

static void
on_woken(gpointer data)
{
    WkKubeStream *self = data;

    if (self->depth > 0) /* an iteration of the main loop inside a line: they stay in order */
        return;
    self->depth++;
    count_once(self, wk_kube_transfer_get_status(self->transfer));
    tell_lines(self);
    (void)leave(self);
}

/* A list's last line may have no end. */
static void
tell_rest(WkKubeStream *self)
{
    GString *body = wk_kube_transfer_get_body(self->transfer);
    g_autofree char *text = g_memdup2(body->str, body->len + 1);
    const gsize length = body->len;

    g_string_truncate(body, 0);
    (void)tell_line(self, text, length);
}

static void
on_done(gpointer data)
{
    WkKubeStream *self = data;
    const guint status = wk_kube_transfer_get_status(self->transfer);
    GError *error = NULL;

    count_once(self, status);
    if (!wk_kube_transfer_check(self->transfer, &error)) {
        if (status == STATUS_UNAUTHORIZED && !self->reauthorized) {
            g_error_free(error);
            self->reauthorized = TRUE;
            self->is_counted = FALSE;
            stop_transfer(self);
            wk_kube_doubt_credentials(self->kube, self->sent_us);
            self->is_waiting = TRUE;
            wk_kube_pump_soon(self->kube);
            return;
        }
        end(self, error);
        return;
    }
    self->depth++;
    tell_lines(self);
    if (is_going(self))
        tell_rest(self);
    if (leave(self))
        end(self, NULL);
}

/* ---- silence ---- */

/* How long it may be silent now: the head of the answer comes at once, or never. */
static guint
patience_ms(WkKubeStream *self)
{
    const guint idle_ms = self->options.idle_timeout_ms;

    if (wk_kube_transfer_get_status(self->transfer) != 0)
        return idle_ms;
    return MIN(idle_ms, self->kube->times.request_ms);
}

/* Looks after a time in which it could have been silent, instead of being set with each byte. */
static gboolean
on_idle(gpointer data)
{
    WkKubeStream *self = data;
    const guint ms = patience_ms(self);
    const gint64 until_us =
        wk_kube_transfer_get_heard_us(self->transfer) + ms * G_TIME_SPAN_MILLISECOND;
    GError *error = NULL;

    if (wk_clock_mono_us() < until_us) {
        g_source_set_ready_time(self->idle, until_us);
        return G_SOURCE_CONTINUE;
    }
    count_once(self, 0);
    wk_error_set(&error, WK_ERROR_UNAVAILABLE, "Stalled", "GET %s: not a byte in %.3g s",
                 self->path, ms / 1000.0);
    wk_kube_leave_road(self->kube, WK_KUBE_ROAD_WATCHES, self->loop);
    end(self, error);
    return G_SOURCE_REMOVE;
}

static gboolean
dispatch_idle(GSource *source G_GNUC_UNUSED, GSourceFunc callback, gpointer data)
{
    return callback(data);
}

static GSourceFuncs idle_funcs = { .dispatch = dispatch_idle };

static void
watch_silence(WkKubeStream *self)
{
    self->idle = g_source_new(&idle_funcs, sizeof(GSource));
    g_source_set_callback(self->idle, on_idle, self, NULL);
    g_source_set_ready_time(self->idle,
                            wk_clock_mono_us() + patience_ms(self) * G_TIME_SPAN_MILLISECOND);
    g_source_set_static_name(self->idle, "kube silence");
    g_source_attach(self->idle, NULL);
}

/* ---- for client.c ---- */

gboolean
wk_kube_stream_is_waiting(WkKubeStream *self)
{
    return self->is_waiting;
}

void
wk_kube_stream_start(WkKubeStream *self)
{
    WkKube *kube = self->kube;
    const WkKubeTransferOptions options = {
        .request = { .method = "GET", .path = self->path },
        .is_stream = TRUE,
        .connect_ms = kube->times.connect_ms,
        .user_agent = kube->user_agent,
        .woken = on_woken,
        .done = on_done,
        .data = self,
    };
    GError *error = NULL;

    self->is_waiting = FALSE;
    self->loop = kube->roads[WK_KUBE_ROAD_WATCHES];
    self->transfer = wk_kube_transfer_new(self->loop, kube->config, &options, &error);
    if (self->transfer == NULL) {
        end(self, error);
        return;
    }
    self->sent_us = wk_clock_mono_us();
    watch_silence(self);
}

void
wk_kube_stream_fail(WkKubeStream *self, const GError *error)
{
    end(self, g_error_copy(error));
}

void
wk_kube_stream_orphan(WkKubeStream *self)
{
    self->kube = NULL;
}

/* ---- the stream ---- */

WkKubeStream *
wk_kube_stream_new(WkKube *kube, const char *path, const WkKubeStreamOptions *options,
                   const WkKubeStreamListener *listener, gpointer data)
{
    WkKubeStream *self = NULL;

    g_return_val_if_fail(path != NULL && *path == '/', NULL);
    self = g_new0(WkKubeStream, 1);
    self->kube = kube;
    self->path = g_strdup(path);
    self->options = *options;
    self->listener = *listener;
    self->data = data;
    self->is_waiting = TRUE;
    g_queue_push_tail(&kube->streams, self);
    wk_kube_pump_soon(kube);
    return self;
}

void
wk_kube_stream_free(WkKubeStream *self)
{
    if (self == NULL)
        return;
    stop_transfer(self);
    drop_source(&self->ending);
    if (self->kube != NULL)
        g_queue_remove(&self->kube->streams, self);
    self->kube = NULL;
    self->is_freed = TRUE;
    if (self->depth == 0)
        destroy(self);
}
