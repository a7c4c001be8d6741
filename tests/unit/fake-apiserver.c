/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "fake-apiserver-private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define PATIENCE_S 10
#define SETTLE_MAX 100000
#define READ_PIECE 65536
#define BACKLOG    64

static void
drop_source(GSource **source)
{
    if (*source == NULL)
        return;
    g_source_destroy(*source);
    g_clear_pointer(source, g_source_unref);
}

/* ---- connections ---- */

static void
connection_close(Connection *self)
{
    if (self->socket == NULL)
        return;
    drop_source(&self->readable);
    drop_source(&self->writable);
    g_socket_close(self->socket, NULL);
    g_clear_object(&self->socket);
    self->call = NULL;
}

void
fake_connection_reset(Connection *self)
{
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };

    if (self->socket == NULL)
        return;
    (void)setsockopt(g_socket_get_fd(self->socket), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    connection_close(self);
}

static void
connection_free(gpointer data)
{
    Connection *self = data;

    connection_close(self);
    g_byte_array_unref(self->in);
    g_byte_array_unref(self->out);
    g_free(self);
}

static gboolean on_writable(GSocket *socket, GIOCondition condition, gpointer data);

/* Writes what the kernel takes; the rest when it takes more. */
void
fake_connection_flush(Connection *self)
{
    while (self->socket != NULL && self->out->len > 0) {
        g_autoptr(GError) error = NULL;
        const gssize n = g_socket_send(self->socket, (const char *)self->out->data, self->out->len,
                                       NULL, &error);

        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
            if (self->writable == NULL) {
                self->writable = g_socket_create_source(self->socket, G_IO_OUT, NULL);
                g_source_set_callback(self->writable, G_SOURCE_FUNC(on_writable), self, NULL);
                g_source_attach(self->writable, NULL);
            }
            return;
        }
        if (n <= 0) {
            connection_close(self);
            return;
        }
        g_byte_array_remove_range(self->out, 0, (guint)n);
    }
    drop_source(&self->writable);
    if (self->closing)
        connection_close(self);
}

static gboolean
on_writable(GSocket *socket G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    Connection *self = data;

    drop_source(&self->writable);
    fake_connection_flush(self);
    return G_SOURCE_REMOVE;
}

void
fake_connection_write(Connection *self, const char *bytes, gsize length)
{
    if (self->socket == NULL)
        return;
    g_byte_array_append(self->out, (const guint8 *)bytes, (guint)length);
    fake_connection_flush(self);
}

/* ---- reading ---- */

static Script *
find_script(FakeApiserver *self, const FakeCall *call)
{
    for (guint i = 0; i < self->scripts->len; i++) {
        Script *script = g_ptr_array_index(self->scripts, i);

        if (script->left > 0 && fake_call_matches(call, script->prefix))
            return script;
    }
    return NULL;
}

static void
dispatch(FakeApiserver *self, FakeCall *call)
{
    Script *script = find_script(self, call);

    if (script != NULL) {
        if (script->left != G_MAXUINT)
            script->left--;
        fake_call_do(call, &script->answer);
    } else if (self->handler != NULL) {
        self->handler(call, self->handler_data);
    }
}

void
fake_connection_read_call(Connection *self)
{
    FakeCall *call = NULL;

    if (self->socket == NULL || self->call != NULL || self->closing)
        return;
    call = fake_call_take(self->in);
    if (call == NULL)
        return;
    call->connection = self;
    self->call = call;
    g_ptr_array_add(self->server->calls, call);
    dispatch(self->server, call);
}

static gboolean
on_readable(GSocket *socket, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    Connection *self = data;
    g_autoptr(GError) error = NULL;
    g_autofree char *piece = g_malloc(READ_PIECE);
    const gssize n = g_socket_receive(socket, piece, READ_PIECE, NULL, &error);

    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
        return G_SOURCE_CONTINUE;
    if (n <= 0) {
        connection_close(self);
        return G_SOURCE_REMOVE;
    }
    g_byte_array_append(self->in, (const guint8 *)piece, (guint)n);
    fake_connection_read_call(self);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_acceptable(GSocket *socket, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
    FakeApiserver *self = data;
    GSocket *accepted = g_socket_accept(socket, NULL, NULL);
    Connection *connection = NULL;

    if (accepted == NULL)
        return G_SOURCE_CONTINUE;
    connection = g_new0(Connection, 1);
    connection->server = self;
    connection->socket = accepted;
    connection->number = self->connections->len + 1;
    connection->in = g_byte_array_new();
    connection->out = g_byte_array_new();
    g_socket_set_blocking(accepted, FALSE);
    /* A piece pushed is a piece sent. */
    g_socket_set_option(accepted, IPPROTO_TCP, TCP_NODELAY, 1, NULL);
    connection->readable = g_socket_create_source(accepted, G_IO_IN, NULL);
    g_source_set_callback(connection->readable, G_SOURCE_FUNC(on_readable), connection, NULL);
    g_source_attach(connection->readable, NULL);
    g_ptr_array_add(self->connections, connection);
    return G_SOURCE_CONTINUE;
}

/* ---- the server ---- */

void
fake_apiserver_up(FakeApiserver *self)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GInetAddress) loopback = g_inet_address_new_loopback(G_SOCKET_FAMILY_IPV4);
    g_autoptr(GSocketAddress) address = g_inet_socket_address_new(loopback, self->port);
    g_autoptr(GSocketAddress) bound = NULL;

    if (self->listener != NULL)
        return;
    self->listener = g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, 0, &error);
    if (self->listener == NULL || !g_socket_bind(self->listener, address, TRUE, &error))
        fail_msg("cannot listen: %s", error->message);
    g_socket_set_listen_backlog(self->listener, BACKLOG);
    g_socket_set_blocking(self->listener, FALSE);
    if (!g_socket_listen(self->listener, &error))
        fail_msg("cannot listen: %s", error->message);
    bound = g_socket_get_local_address(self->listener, NULL);
    self->port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
    self->acceptable = g_socket_create_source(self->listener, G_IO_IN, NULL);
    g_source_set_callback(self->acceptable, G_SOURCE_FUNC(on_acceptable), self, NULL);
    g_source_attach(self->acceptable, NULL);
}

void
fake_apiserver_down(FakeApiserver *self)
{
    if (self->listener == NULL)
        return;
    drop_source(&self->acceptable);
    g_socket_close(self->listener, NULL);
    g_clear_object(&self->listener);
    for (guint i = 0; i < self->connections->len; i++)
        fake_connection_reset(g_ptr_array_index(self->connections, i));
}

static void
script_free(gpointer data)
{
    Script *self = data;

    g_free(self->prefix);
    g_free((char *)self->answer.headers);
    g_free((char *)self->answer.body);
    g_free(self);
}

FakeApiserver *
fake_apiserver_new(void)
{
    FakeApiserver *self = g_new0(FakeApiserver, 1);

    self->connections = g_ptr_array_new_with_free_func(connection_free);
    self->calls = g_ptr_array_new_with_free_func(fake_call_free);
    self->scripts = g_ptr_array_new_with_free_func(script_free);
    fake_apiserver_up(self);
    self->url = g_strdup_printf("http://127.0.0.1:%u", self->port);
    return self;
}

void
fake_apiserver_free(FakeApiserver *self)
{
    if (self == NULL)
        return;
    fake_apiserver_down(self);
    g_ptr_array_unref(self->connections);
    g_ptr_array_unref(self->calls);
    g_ptr_array_unref(self->scripts);
    g_free(self->url);
    g_free(self);
}

const char *
fake_apiserver_get_url(const FakeApiserver *self)
{
    return self->url;
}

void
fake_apiserver_script(FakeApiserver *self, const char *prefix, const FakeAnswer *answer)
{
    Script *script = g_new0(Script, 1);

    script->prefix = g_strdup(prefix);
    script->answer = *answer;
    script->answer.headers = g_strdup(answer->headers);
    script->answer.body = g_strdup(answer->body);
    script->left = answer->times != 0 ? answer->times : 1;
    g_ptr_array_add(self->scripts, script);
}

void
fake_apiserver_clear_scripts(FakeApiserver *self)
{
    g_ptr_array_set_size(self->scripts, 0);
}

void
fake_apiserver_set_handler(FakeApiserver *self, void (*handler)(FakeCall *call, gpointer data),
                           gpointer data)
{
    self->handler = handler;
    self->handler_data = data;
}

/* ---- waiting ---- */

static gboolean
on_patience_over(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

void
fake_wait_until(gboolean (*check)(gpointer data), gpointer data, const char *what)
{
    gboolean over = FALSE;
    g_autoptr(GSource) patience = g_timeout_source_new_seconds(PATIENCE_S);

    g_source_set_callback(patience, on_patience_over, &over, NULL);
    g_source_attach(patience, NULL);
    while (!over && !check(data))
        g_main_context_iteration(NULL, TRUE);
    g_source_destroy(patience);
    if (over)
        fail_msg("waited %d s in vain: %s", PATIENCE_S, what);
}

void
fake_settle(void)
{
    for (int i = 0; i < SETTLE_MAX && g_main_context_iteration(NULL, FALSE); i++)
        continue;
}

typedef struct {
    FakeApiserver *server;
    const char *prefix;
    guint n;
} Wish;

static gboolean
is_there(gpointer data)
{
    const Wish *wish = data;

    return fake_apiserver_peek(wish->server, wish->prefix) != NULL;
}

static gboolean
are_enough(gpointer data)
{
    const Wish *wish = data;

    return fake_apiserver_count(wish->server, wish->prefix) >= wish->n;
}

static gboolean
is_call_gone(gpointer data)
{
    return fake_call_is_gone(data);
}

FakeCall *
fake_apiserver_peek(FakeApiserver *self, const char *prefix)
{
    for (guint i = 0; i < self->calls->len; i++) {
        FakeCall *call = g_ptr_array_index(self->calls, i);

        if (!call->begun && !fake_call_is_gone(call) && fake_call_matches(call, prefix))
            return call;
    }
    return NULL;
}

FakeCall *
fake_apiserver_wait(FakeApiserver *self, const char *prefix)
{
    Wish wish = { self, prefix, 0 };

    fake_wait_until(is_there, &wish, prefix);
    return fake_apiserver_peek(self, prefix);
}

void
fake_apiserver_wait_count(FakeApiserver *self, const char *prefix, guint n)
{
    Wish wish = { self, prefix, n };

    fake_wait_until(are_enough, &wish, prefix);
}

void
fake_call_wait_gone(FakeCall *call)
{
    fake_wait_until(is_call_gone, call, "the client should close");
}

/* ---- looking ---- */

guint
fake_apiserver_count(FakeApiserver *self, const char *prefix)
{
    guint n = 0;

    for (guint i = 0; i < self->calls->len; i++)
        n += fake_call_matches(g_ptr_array_index(self->calls, i), prefix) ? 1 : 0;
    return n;
}

FakeCall *
fake_apiserver_get_call(FakeApiserver *self, const char *prefix, guint index)
{
    guint n = 0;

    for (guint i = 0; i < self->calls->len; i++) {
        FakeCall *call = g_ptr_array_index(self->calls, i);

        if (fake_call_matches(call, prefix) && n++ == index)
            return call;
    }
    fail_msg("there is no call %u with '%s'", index, prefix);
    return NULL;
}

guint
fake_apiserver_count_accepted(FakeApiserver *self)
{
    return self->connections->len;
}

guint
fake_apiserver_count_open(FakeApiserver *self)
{
    guint n = 0;

    for (guint i = 0; i < self->connections->len; i++) {
        const Connection *connection = g_ptr_array_index(self->connections, i);

        n += connection->socket != NULL ? 1 : 0;
    }
    return n;
}
