/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control/internal.h"

#include "base/json.h"
#include "base/log.h"
#include "control/codec.h"

#include <glib-unix.h>
#include <string.h>

/*
 * Answers that go on: one JSON object a line, chunked. libsoup keeps what the reader has not taken
 * yet; it is counted here, and a reader that lets it grow is cut off. Where nothing is taken at
 * all, the socket's own timeout strikes while a write waits (limits.stall_s).
 */
struct _WkStream {
    WkExchange *exchange; /* not owned; outlives the stream */
    WkStreamKind kind;
    char *operation; /* id, once known; WK_STREAM_OPERATION */
    gboolean live;
    gboolean ended;
    gsize pending_bytes;
    gsize limit_bytes;
    GSource *heartbeat;
    GSource *hangup;
};

static void
drop_source(GSource **source)
{
    if (*source == NULL)
        return;
    g_source_destroy(*source);
    g_clear_pointer(source, g_source_unref);
}

/* Returns: (transfer full). Takes @object (transfer full). */
static GBytes *
line_of(JsonObject *object)
{
    g_autofree char *text = wk_json_to_text(object);
    char *line = g_strconcat(text, "\n", NULL);

    json_object_unref(object);
    return g_bytes_new_take(line, strlen(line));
}

static JsonObject *
typed(const char *type, JsonObject *object)
{
    JsonObject *line = json_object_new();

    json_object_set_string_member(line, "type", type);
    if (object != NULL)
        json_object_set_object_member(line, type, object);
    return line;
}

static void
send_line(WkStream *self, GBytes *line)
{
    SoupServerMessage *message = self->exchange->message;
    const gsize limit = self->limit_bytes;

    if (self->ended || self->exchange->gone)
        return;
    soup_message_body_append_bytes(soup_server_message_get_response_body(message), line);
    self->pending_bytes += g_bytes_get_size(line);
    if (!self->live)
        return;
    if (self->pending_bytes <= limit) {
        soup_server_message_unpause(message);
        return;
    }
    wk_log(WK_LOG_WARNING, NULL,
           "control: a watcher leaves %" G_GSIZE_FORMAT " bytes unread: cut off",
           self->pending_bytes);
    self->ended = TRUE;
    wk_exchange_cut(self->exchange);
}

static gboolean
on_heartbeat(gpointer user_data)
{
    g_autoptr(GBytes) line = line_of(typed("heartbeat", NULL));

    send_line(user_data, line);
    return G_SOURCE_CONTINUE;
}

/* The reader went away; waiting for the next line to find out would hold its place. */
static gboolean
on_hangup(gint fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer user_data)
{
    WkStream *self = user_data;

    self->ended = TRUE;
    wk_exchange_cut(self->exchange);
    return G_SOURCE_REMOVE;
}

static void
on_wrote(SoupServerMessage *message G_GNUC_UNUSED, guint size, gpointer user_data)
{
    WkStream *self = user_data;

    self->pending_bytes -= MIN(self->pending_bytes, size);
}

static void
watch_exchange(WkStream *self)
{
    WkExchange *exchange = self->exchange;

    g_signal_connect(exchange->message, "wrote-body-data", G_CALLBACK(on_wrote), self);
    self->heartbeat = g_timeout_source_new(exchange->control->limits.heartbeat_ms);
    g_source_set_callback(self->heartbeat, on_heartbeat, self, NULL);
    g_source_attach(self->heartbeat, NULL);
    self->hangup = g_unix_fd_source_new(g_socket_get_fd(exchange->socket), G_IO_HUP | G_IO_ERR);
    g_source_set_callback(self->hangup, G_SOURCE_FUNC(on_hangup), self, NULL);
    g_source_attach(self->hangup, NULL);
}

static void
set_headers(SoupServerMessage *message)
{
    SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);
    const gboolean old = soup_server_message_get_http_version(message) == SOUP_HTTP_1_0;

    soup_message_headers_replace(headers, "Content-Type", "application/x-ndjson");
    soup_message_headers_replace(headers, "Connection", "close");
    soup_message_headers_set_encoding(headers, old ? SOUP_ENCODING_EOF : SOUP_ENCODING_CHUNKED);
    soup_message_body_set_accumulate(soup_server_message_get_response_body(message), FALSE);
    soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
}

WkStream *
wk_stream_begin(WkExchange *exchange, WkStreamKind kind)
{
    WkControl *control = exchange->control;
    WkStream *self;

    if (control->streams->len >= control->limits.streams) {
        wk_answer_problem(exchange, WK_ERROR_UNAVAILABLE, "TooManyStreams",
                          "%u streams are open, which is the limit: end one, or ask without watch",
                          control->streams->len);
        return NULL;
    }
    set_headers(exchange->message);
    if (soup_server_message_get_method(exchange->message) == SOUP_METHOD_HEAD)
        return NULL;
    self = g_new0(WkStream, 1);
    self->exchange = exchange;
    self->kind = kind;
    self->limit_bytes = control->limits.backlog_bytes;
    exchange->stream = self;
    g_ptr_array_add(control->streams, self);
    watch_exchange(self);
    return self;
}

void
wk_stream_send_guest(WkStream *self, const WkView *view)
{
    g_autoptr(GBytes) line = line_of(typed("guest", wk_codec_guest(view)));

    send_line(self, line);
}

void
wk_stream_send_operation(WkStream *self, const WkOperation *operation)
{
    g_autoptr(GBytes) line = line_of(typed("operation", wk_codec_operation(operation)));

    if (self->kind == WK_STREAM_OPERATION && self->operation == NULL)
        self->operation = g_strdup(operation->id);
    send_line(self, line);
    if (self->kind == WK_STREAM_OPERATION && wk_op_state_is_final(operation->state))
        wk_stream_end(self);
}

void
wk_stream_send_synced(WkStream *self)
{
    g_autoptr(GBytes) line = line_of(typed("synced", NULL));

    send_line(self, line);
}

void
wk_stream_go_live(WkStream *self)
{
    self->live = TRUE;
    self->limit_bytes += self->pending_bytes;
}

void
wk_stream_end(WkStream *self)
{
    SoupServerMessage *message = self->exchange->message;

    if (self->ended || self->exchange->gone)
        return;
    self->ended = TRUE;
    drop_source(&self->heartbeat);
    soup_message_body_complete(soup_server_message_get_response_body(message));
    soup_server_message_unpause(message);
}

void
wk_stream_drop(WkStream *self)
{
    (void)g_ptr_array_remove(self->exchange->control->streams, self);
}

void
wk_stream_free(WkStream *self)
{
    if (self == NULL)
        return;
    if (self->exchange->message != NULL)
        g_signal_handlers_disconnect_by_data(self->exchange->message, self);
    drop_source(&self->heartbeat);
    drop_source(&self->hangup);
    g_free(self->operation);
    g_free(self);
}

/* News from the agent. Sending never frees a stream: cuts and ends come later, from the loop. */

void
wk_control_guest_changed(WkControl *self, const WkView *view)
{
    for (guint i = 0; self != NULL && i < self->streams->len; i++) {
        WkStream *stream = g_ptr_array_index(self->streams, i);

        if (stream->kind == WK_STREAM_GUESTS)
            wk_stream_send_guest(stream, view);
    }
}

void
wk_control_guest_gone(WkControl *self, const char *id)
{
    JsonObject *object = typed("gone", NULL);
    g_autoptr(GBytes) line = NULL;

    json_object_set_string_member(object, "id", id);
    line = line_of(object);
    for (guint i = 0; self != NULL && i < self->streams->len; i++) {
        WkStream *stream = g_ptr_array_index(self->streams, i);

        if (stream->kind == WK_STREAM_GUESTS)
            send_line(stream, line);
    }
}

static gboolean
is_about(const WkStream *stream, const WkOperation *operation)
{
    if (stream->kind == WK_STREAM_OPERATIONS)
        return TRUE;
    return stream->kind == WK_STREAM_OPERATION && g_strcmp0(stream->operation, operation->id) == 0;
}

void
wk_control_operation_changed(WkControl *self, const WkOperation *operation)
{
    for (guint i = 0; self != NULL && i < self->streams->len; i++) {
        WkStream *stream = g_ptr_array_index(self->streams, i);

        if (is_about(stream, operation))
            wk_stream_send_operation(stream, operation);
    }
}
