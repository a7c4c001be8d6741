/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "fake-daemon.h"

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>

#define THREADS_MAX 16
#define SLICE_MS    10

typedef struct {
    GBytes *bytes;
    guint delay_ms;
    guint linger_ms;
} Answer;

typedef struct {
    GQueue answers; /* (element-type Answer) */
    guint count;
    char *last_body;
} Route;

struct _FakeDaemon {
    char *folder;
    char *path;
    GSocketService *service;
    GMainContext *context;
    GMainLoop *loop;
    GThread *thread;
    GMutex lock;
    GHashTable *routes; /* (element-type utf8 Route), under lock */
    guint busy;         /* connections being served, atomic */
    gboolean ending;    /* atomic */
};

static void
answer_free(gpointer data)
{
    Answer *answer = data;

    g_bytes_unref(answer->bytes);
    g_free(answer);
}

static void
route_free(gpointer data)
{
    Route *route = data;

    g_queue_clear_full(&route->answers, answer_free);
    g_free(route->last_body);
    g_free(route);
}

/* Under lock. */
static Route *
get_route(FakeDaemon *self, const char *request)
{
    Route *route = g_hash_table_lookup(self->routes, request);

    if (route == NULL) {
        route = g_new0(Route, 1);
        g_queue_init(&route->answers);
        g_hash_table_insert(self->routes, g_strdup(request), route);
    }
    return route;
}

static void
wait_ms(FakeDaemon *self, guint ms)
{
    for (guint i = 0; i < ms && !g_atomic_int_get(&self->ending); i += SLICE_MS)
        g_usleep(SLICE_MS * 1000);
}

/* Reads one request. Returns: (transfer full): "METHOD PATH", or NULL; @body: (transfer full). */
static char *
read_request(GInputStream *input, char **body)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const char *end, *length;
    gsize size = 0;
    char byte;

    while (strstr(text->str, "\r\n\r\n") == NULL) {
        if (g_input_stream_read(input, &byte, 1, NULL, NULL) != 1)
            return NULL;
        g_string_append_c(text, byte);
    }
    length = strstr(text->str, "Content-Length: ");
    size = length != NULL ? (gsize)g_ascii_strtoull(length + 16, NULL, 10) : 0;
    *body = g_malloc0(size + 1);
    (void)g_input_stream_read_all(input, *body, size, NULL, NULL, NULL);
    end = strstr(text->str, " HTTP/");
    if (end == NULL)
        return NULL;
    return g_strndup(text->str, (gsize)(end - text->str));
}

static gboolean
on_run(GThreadedSocketService *service G_GNUC_UNUSED, GSocketConnection *connection,
       GObject *source G_GNUC_UNUSED, gpointer user_data)
{
    FakeDaemon *self = user_data;
    GOutputStream *output = g_io_stream_get_output_stream(G_IO_STREAM(connection));
    g_autofree char *body = NULL;
    g_autofree char *request = NULL;
    g_autoptr(GBytes) bytes = NULL;
    guint delay_ms = 0, linger_ms = 0;

    g_atomic_int_inc(&self->busy);
    request = read_request(g_io_stream_get_input_stream(G_IO_STREAM(connection)), &body);
    g_mutex_lock(&self->lock);
    if (request != NULL) {
        Route *route = get_route(self, request);
        Answer *answer = g_queue_peek_head(&route->answers);

        route->count++;
        g_free(route->last_body);
        route->last_body = g_strdup(body);
        if (answer != NULL) {
            bytes = g_bytes_ref(answer->bytes);
            delay_ms = answer->delay_ms;
            linger_ms = answer->linger_ms;
        }
        if (route->answers.length > 1)
            answer_free(g_queue_pop_head(&route->answers));
    }
    g_mutex_unlock(&self->lock);
    wait_ms(self, delay_ms);
    if (bytes != NULL)
        (void)g_output_stream_write_all(output, g_bytes_get_data(bytes, NULL),
                                        g_bytes_get_size(bytes), NULL, NULL, NULL);
    wait_ms(self, linger_ms);
    (void)g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
    (void)g_atomic_int_dec_and_test(&self->busy);
    return TRUE;
}

static gpointer
serve(gpointer data)
{
    FakeDaemon *self = data;

    g_main_context_push_thread_default(self->context);
    g_socket_service_start(self->service);
    g_main_loop_run(self->loop);
    g_socket_service_stop(self->service);
    g_main_context_pop_thread_default(self->context);
    return NULL;
}

FakeDaemon *
fake_daemon_new(void)
{
    FakeDaemon *self = g_new0(FakeDaemon, 1);
    g_autoptr(GSocketAddress) address = NULL;

    g_mutex_init(&self->lock);
    self->routes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, route_free);
    self->folder = g_dir_make_tmp("wukong-XXXXXX", NULL);
    self->path = g_build_filename(self->folder, "control.sock", NULL);
    self->context = g_main_context_new();
    self->loop = g_main_loop_new(self->context, FALSE);
    g_main_context_push_thread_default(self->context);
    self->service = g_threaded_socket_service_new(THREADS_MAX);
    address = g_unix_socket_address_new(self->path);
    if (!g_socket_listener_add_address(G_SOCKET_LISTENER(self->service), address,
                                       G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL,
                                       NULL))
        g_error("the fake daemon can't listen at '%s'", self->path);
    g_signal_connect(self->service, "run", G_CALLBACK(on_run), self);
    g_main_context_pop_thread_default(self->context);
    self->thread = g_thread_new("fake-daemon", serve, self);
    return self;
}

void
fake_daemon_free(FakeDaemon *self)
{
    if (self == NULL)
        return;
    g_atomic_int_set(&self->ending, TRUE);
    while (!g_main_loop_is_running(self->loop))
        g_usleep(1000);
    g_main_loop_quit(self->loop);
    g_thread_join(self->thread);
    while (g_atomic_int_get(&self->busy) > 0)
        g_usleep(1000);
    g_socket_listener_close(G_SOCKET_LISTENER(self->service));
    g_object_unref(self->service);
    g_main_loop_unref(self->loop);
    g_main_context_unref(self->context);
    (void)g_unlink(self->path);
    (void)g_rmdir(self->folder);
    g_hash_table_unref(self->routes);
    g_mutex_clear(&self->lock);
    g_free(self->folder);
    g_free(self->path);
    g_free(self);
}

const char *
fake_daemon_get_path(const FakeDaemon *self)
{
    return self->path;
}

static void
add(FakeDaemon *self, const char *request, GBytes *bytes, guint delay_ms, guint linger_ms)
{
    Answer *answer = g_new0(Answer, 1);

    answer->bytes = bytes;
    answer->delay_ms = delay_ms;
    answer->linger_ms = linger_ms;
    g_mutex_lock(&self->lock);
    g_queue_push_tail(&get_route(self, request)->answers, answer);
    g_mutex_unlock(&self->lock);
}

void
fake_daemon_add_bytes(FakeDaemon *self, const char *request, const char *answer, gssize length,
                      guint delay_ms)
{
    add(self, request, g_bytes_new(answer, length < 0 ? strlen(answer) : (gsize)length), delay_ms,
        0);
}

void
fake_daemon_add(FakeDaemon *self, const char *request, guint status, const char *body)
{
    g_autofree char *text =
        g_strdup_printf("HTTP/1.1 %u Whatever\r\nContent-Type: application/json\r\n"
                        "Content-Length: %" G_GSIZE_FORMAT "\r\nConnection: close\r\n\r\n%s",
                        status, strlen(body), body);

    fake_daemon_add_bytes(self, request, text, -1, 0);
}

void
fake_daemon_add_stream(FakeDaemon *self, const char *request, const char *lines, gboolean whole,
                       guint linger_ms)
{
    g_autofree char *text =
        g_strdup_printf("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
                        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n%zx\r\n%s\r\n%s",
                        strlen(lines), lines, whole ? "0\r\n\r\n" : "");

    add(self, request, g_bytes_new(text, strlen(text)), 0, linger_ms);
}

guint
fake_daemon_count(FakeDaemon *self, const char *request)
{
    guint count;

    g_mutex_lock(&self->lock);
    count = get_route(self, request)->count;
    g_mutex_unlock(&self->lock);
    return count;
}

char *
fake_daemon_last_body(FakeDaemon *self, const char *request)
{
    char *body;

    g_mutex_lock(&self->lock);
    body = g_strdup(get_route(self, request)->last_body);
    g_mutex_unlock(&self->lock);
    return body != NULL ? body : g_strdup("");
}
