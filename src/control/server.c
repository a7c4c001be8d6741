/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control/internal.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Connections are accepted here and handed to libsoup one by one, rather than by its own listener:
 * that one stops listening for good at the first failed accept (too many open files), and counts
 * nothing. Without a listener of its own libsoup serves one request a connection; every answer
 * says so ("Connection: close").
 */

#define SOCKET_KEY   "wk-control-socket"
#define OVER_KEY     "wk-control-over-limit"
#define EXCHANGE_KEY "wk-control-exchange"

#define ACCEPT_REST_S 1

/* A body this many times over the limit is cut off, not read to its end. */
#define DISCARD_FACTOR 256

static const WkControlLimits default_limits = {
    .connections = 64,
    .streams = 16,
    .body_bytes = 64 * 1024,
    .backlog_bytes = 1024 * 1024,
    .heartbeat_ms = 15 * 1000,
    .stall_s = 30,
};

static void start_accepting(WkControl *self);

static void
drop_source(GSource **source)
{
    if (*source == NULL)
        return;
    g_source_destroy(*source);
    g_clear_pointer(source, g_source_unref);
}

/* Exchanges */

static void
exchange_free(gpointer data)
{
    WkExchange *self = data;

    self->message = NULL; /* being finalized */
    if (self->stream != NULL)
        wk_stream_drop(g_steal_pointer(&self->stream));
    if (self->control != NULL)
        g_hash_table_remove(self->control->exchanges, self);
    drop_source(&self->cutter);
    g_clear_object(&self->socket);
    g_free(self->id);
    g_free(self);
}

/* Emitted however the connection ended, unless the message goes with it: then exchange_free() is
 * what happens. Each connection serves one message. */
static void
on_disconnected(SoupServerMessage *message G_GNUC_UNUSED, gpointer user_data)
{
    WkExchange *self = user_data;

    self->gone = TRUE;
    drop_source(&self->cutter);
    if (self->stream != NULL)
        wk_stream_drop(g_steal_pointer(&self->stream));
}

static gboolean
on_cut(gpointer user_data)
{
    WkExchange *self = user_data;
    g_autoptr(SoupServerMessage) message = g_object_ref(self->message);
    g_autoptr(GIOStream) stream = NULL;

    drop_source(&self->cutter);
    stream = soup_server_message_steal_connection(message); /* emits "disconnected" */
    (void)g_socket_close(self->socket, NULL);
    return G_SOURCE_REMOVE;
}

void
wk_exchange_cut(WkExchange *self)
{
    if (self->cutter != NULL || self->gone)
        return;
    /* libsoup reads for as long as there is something to read: this ends it */
    soup_server_message_pause(self->message);
    self->cutter = g_idle_source_new();
    g_source_set_callback(self->cutter, on_cut, self, NULL);
    g_source_attach(self->cutter, NULL);
}

/* A body over the limit is counted, not kept, so that its sender can still be told. One that does
 * not end is cut off. */
static void
on_chunk(SoupServerMessage *message, GBytes *chunk, gpointer user_data)
{
    WkExchange *self = user_data;
    const gsize limit = self->control != NULL ? self->control->limits.body_bytes : 0;
    SoupMessageBody *body = soup_server_message_get_request_body(message);
    const gboolean was_within = self->received_bytes <= limit;

    self->received_bytes += g_bytes_get_size(chunk);
    if (self->received_bytes <= limit)
        return;
    soup_message_body_set_accumulate(body, FALSE);
    soup_message_body_truncate(body);
    if (was_within && soup_server_message_get_status(message) == 0)
        wk_answer_problem(self, WK_ERROR_INVALID, "BodyTooLarge",
                          "the body is larger than %" G_GSIZE_FORMAT " bytes: send less", limit);
    if (self->received_bytes > limit * DISCARD_FACTOR)
        wk_exchange_cut(self);
}

static WkExchange *
exchange_of(SoupServerMessage *message)
{
    return g_object_get_data(G_OBJECT(message), EXCHANGE_KEY);
}

static WkExchange *
exchange_new(WkControl *control, SoupServerMessage *message)
{
    GSocketAddress *remote = soup_server_message_get_remote_address(message);
    WkExchange *self = g_new0(WkExchange, 1);

    self->control = control;
    self->message = message;
    self->socket = g_object_ref(g_object_get_data(G_OBJECT(remote), SOCKET_KEY));
    self->over_limit = g_object_get_data(G_OBJECT(remote), OVER_KEY) != NULL;
    g_hash_table_add(control->exchanges, self);
    g_object_set_data_full(G_OBJECT(message), EXCHANGE_KEY, self, exchange_free);
    g_signal_connect(message, "got-chunk", G_CALLBACK(on_chunk), self);
    g_signal_connect(message, "disconnected", G_CALLBACK(on_disconnected), self);
    return self;
}

static void
on_headers(SoupServer *server G_GNUC_UNUSED, SoupServerMessage *message,
           const char *path G_GNUC_UNUSED, GHashTable *query G_GNUC_UNUSED, gpointer user_data)
{
    WkControl *self = user_data;

    wk_routes_on_headers(exchange_new(self, message));
}

static void
on_body(SoupServer *server G_GNUC_UNUSED, SoupServerMessage *message,
        const char *path G_GNUC_UNUSED, GHashTable *query G_GNUC_UNUSED,
        gpointer user_data G_GNUC_UNUSED)
{
    wk_routes_on_body(exchange_of(message));
}

/* Connections */

static void
on_connection_freed(gpointer user_data, GObject *where)
{
    WkControl *self = user_data;

    g_hash_table_remove(self->connections, where);
}

/*
 * The address is libsoup's handle for what it knows of a connection, so the socket rides on it. It
 * is an internet address because libsoup takes one for granted where a request names no host.
 */
static GSocketAddress *
address_for(GSocket *socket, gboolean over_limit)
{
    GSocketAddress *address = g_inet_socket_address_new_from_string("127.0.0.1", 80);

    g_object_set_data_full(G_OBJECT(address), SOCKET_KEY, g_object_ref(socket), g_object_unref);
    if (over_limit)
        g_object_set_data(G_OBJECT(address), OVER_KEY, GINT_TO_POINTER(1));
    return address;
}

static void
add_connection(WkControl *self, GSocket *socket)
{
    const guint n = g_hash_table_size(self->connections);
    const gboolean over_limit = n >= self->limits.connections;
    g_autoptr(GSocketAddress) address = NULL;
    g_autoptr(GIOStream) stream = NULL;
    g_autoptr(GError) error = NULL;

    if (n >= self->limits.connections + WK_CONTROL_SPARE_CONNECTIONS)
        return;
    g_socket_set_timeout(socket, self->limits.stall_s);
    address = address_for(socket, over_limit);
    stream = G_IO_STREAM(g_socket_connection_factory_create_connection(socket));
    g_object_weak_ref(G_OBJECT(stream), on_connection_freed, self);
    g_hash_table_add(self->connections, stream);
    if (!soup_server_accept_iostream(self->server, stream, address, address, &error))
        wk_log(WK_LOG_WARNING, NULL, "control: taking a connection: %s", error->message);
}

static gboolean
on_rested(gpointer user_data)
{
    WkControl *self = user_data;

    drop_source(&self->resume_source);
    start_accepting(self);
    return G_SOURCE_REMOVE;
}

/* Out of descriptors or memory: the socket stays readable, so trying again at once would spin. */
static void
rest(WkControl *self)
{
    drop_source(&self->accept_source);
    self->resume_source = g_timeout_source_new_seconds(ACCEPT_REST_S);
    g_source_set_callback(self->resume_source, on_rested, self, NULL);
    g_source_attach(self->resume_source, NULL);
}

static gboolean
on_accept(GSocket *listener, GIOCondition condition G_GNUC_UNUSED, gpointer user_data)
{
    WkControl *self = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocket) socket = g_socket_accept(listener, NULL, &error);

    if (socket != NULL) {
        add_connection(self, socket);
        return G_SOURCE_CONTINUE;
    }
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
        return G_SOURCE_CONTINUE;
    wk_log(WK_LOG_WARNING, NULL, "control: taking a connection: %s; trying again in %d s",
           error->message, ACCEPT_REST_S);
    rest(self);
    return G_SOURCE_REMOVE;
}

static void
start_accepting(WkControl *self)
{
    self->accept_source = g_socket_create_source(self->listener, G_IO_IN, NULL);
    g_source_set_callback(self->accept_source, G_SOURCE_FUNC(on_accept), self, NULL);
    g_source_attach(self->accept_source, NULL);
}

/* Life */

/* getgrnam_r() may ask the network; here it is once, at start. */
static gboolean
look_up_group(const char *name, gid_t *gid)
{
    g_autofree char *buffer = NULL;
    struct group entry;
    struct group *found = NULL;
    int outcome = ERANGE;

    for (gsize size = 4096; outcome == ERANGE && size <= 16 * 1024 * 1024; size *= 4) {
        g_free(buffer);
        buffer = g_malloc(size);
        outcome = getgrnam_r(name, &entry, buffer, size, &found);
    }
    if (outcome != 0 || found == NULL)
        return FALSE;
    *gid = found->gr_gid;
    return TRUE;
}

static void
find_group(WkControl *self, const char *group)
{
    self->has_group = group != NULL && *group != '\0' && look_up_group(group, &self->gid);
    if (group != NULL && *group != '\0' && !self->has_group && geteuid() == 0)
        wk_log(WK_LOG_WARNING, NULL,
               "control: there is no group '%s', so only root can use the socket: "
               "make it with 'groupadd --system %s'",
               group, group);
}

static WkControl *
control_alloc(const WkControlApi *api, gpointer agent)
{
    WkControl *self = g_new0(WkControl, 1);

    self->api = *api;
    self->agent = agent;
    self->limits = default_limits;
    self->started_at_us = wk_clock_real_us();
    self->connections = g_hash_table_new(NULL, NULL);
    self->exchanges = g_hash_table_new(NULL, NULL);
    self->streams = g_ptr_array_new_with_free_func((GDestroyNotify)wk_stream_free);
    /* Raw paths: a %2F inside a name is not a separator. */
    self->server = soup_server_new("raw-paths", TRUE, NULL);
    soup_server_add_early_handler(self->server, NULL, on_headers, self, NULL);
    soup_server_add_handler(self->server, NULL, on_body, self, NULL);
    soup_server_add_early_handler(self->server, "*", on_headers, self, NULL);
    soup_server_add_handler(self->server, "*", on_body, self, NULL);
    return self;
}

WkControl *
wk_control_new(const char *path, const char *group, const WkControlApi *api, gpointer agent,
               GError **error)
{
    g_autoptr(WkControl) self = control_alloc(api, agent);
    WkListen listen = { 0 };

    find_group(self, group);
    if (!wk_listen_open(path, self->has_group && geteuid() == 0 ? &self->gid : NULL, &listen,
                        error))
        return NULL;
    self->listener = listen.socket;
    g_socket_set_blocking(self->listener, FALSE);
    if (listen.bound) {
        self->path = g_strdup(path);
        self->path_dev = listen.dev;
        self->path_ino = listen.ino;
    }
    start_accepting(self);
    return g_steal_pointer(&self);
}

/* Only the very socket that was made: another one there is a successor's. */
static void
remove_socket(WkControl *self)
{
    struct stat st;

    if (self->path != NULL && lstat(self->path, &st) == 0 && st.st_dev == self->path_dev
        && st.st_ino == self->path_ino)
        (void)unlink(self->path);
}

/* Messages that somebody still holds outlive the server; they must not find it again. */
static void
forget_all(WkControl *self)
{
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, self->connections);
    while (g_hash_table_iter_next(&iter, &key, NULL))
        g_object_weak_unref(key, on_connection_freed, self);
    g_hash_table_iter_init(&iter, self->exchanges);
    while (g_hash_table_iter_next(&iter, &key, NULL))
        ((WkExchange *)key)->control = NULL;
}

void
wk_control_free(WkControl *self)
{
    if (self == NULL)
        return;
    drop_source(&self->accept_source);
    drop_source(&self->resume_source);
    remove_socket(self);
    soup_server_disconnect(self->server);
    forget_all(self);
    g_clear_pointer(&self->streams, g_ptr_array_unref);
    g_clear_pointer(&self->exchanges, g_hash_table_unref);
    g_clear_pointer(&self->connections, g_hash_table_unref);
    g_clear_object(&self->server);
    g_clear_object(&self->listener);
    g_free(self->path);
    g_free(self);
}
