/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control/internal.h"

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "control/codec.h"

#include <string.h>
#include <unistd.h>

#define PATH_SEGMENTS_MAX 8

struct _WkRoute {
    const char *method;
    const char *path; /* "{id}" takes one segment */
    void (*handle)(WkExchange *exchange);
    gboolean watch; /* takes ?watch=1 */
    WkAction action;
};

/* Reading */

static void
get_node(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    g_autofree char *why_not = control->api.not_ready(control->agent);
    JsonObject *node = json_object_new();

    wk_json_set_string(node, "name", control->api.node_name);
    wk_json_set_string(node, "version", PACKAGE_VERSION);
    wk_json_set_string(node, "apiVersion", "v1");
    wk_json_set_time(node, "startedAt", control->started_at_us);
    json_object_set_boolean_member(node, "ready", why_not == NULL);
    wk_answer_json(exchange, SOUP_STATUS_OK, node);
}

/* Takes @items (transfer full). */
static void
answer_items(WkExchange *exchange, JsonArray *items)
{
    JsonObject *list = json_object_new();

    json_object_set_array_member(list, "items", items);
    wk_answer_json(exchange, SOUP_STATUS_OK, list);
}

static void
watch_guests(WkExchange *exchange, const GPtrArray *guests)
{
    WkStream *stream = wk_stream_begin(exchange, WK_STREAM_GUESTS);

    if (stream == NULL)
        return;
    for (guint i = 0; i < guests->len; i++)
        wk_stream_send_guest(stream, g_ptr_array_index(guests, i));
    wk_stream_send_synced(stream);
    wk_stream_go_live(stream);
}

static void
list_guests(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    g_autoptr(GPtrArray) guests = control->api.list_guests(control->agent);
    JsonArray *items;

    if (exchange->watch) {
        watch_guests(exchange, guests);
        return;
    }
    items = json_array_new();
    for (guint i = 0; i < guests->len; i++)
        json_array_add_object_element(items, wk_codec_guest(g_ptr_array_index(guests, i)));
    answer_items(exchange, items);
}

/* Returns: (transfer full): the guest {id} means; NULL when @exchange is answered. */
static WkView *
find_guest(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    GError *error = NULL;
    WkView *view = control->api.find_guest(control->agent, exchange->id, &error);

    if (view == NULL)
        wk_answer_error(exchange, error);
    return view;
}

static void
get_guest(WkExchange *exchange)
{
    g_autoptr(WkView) view = find_guest(exchange);

    if (view != NULL)
        wk_answer_json(exchange, SOUP_STATUS_OK, wk_codec_guest(view));
}

static void
watch_operations(WkExchange *exchange, const GPtrArray *operations)
{
    WkStream *stream = wk_stream_begin(exchange, WK_STREAM_OPERATIONS);

    if (stream == NULL)
        return;
    for (guint i = 0; i < operations->len; i++)
        wk_stream_send_operation(stream, g_ptr_array_index(operations, i));
    wk_stream_send_synced(stream);
    wk_stream_go_live(stream);
}

static void
list_operations(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    g_autoptr(GPtrArray) operations = control->api.list_operations(control->agent);
    JsonArray *items;

    if (exchange->watch) {
        watch_operations(exchange, operations);
        return;
    }
    items = json_array_new();
    for (guint i = 0; i < operations->len; i++)
        json_array_add_object_element(items, wk_codec_operation(g_ptr_array_index(operations, i)));
    answer_items(exchange, items);
}

static void
get_operation(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    GError *error = NULL;
    g_autoptr(WkOperation) operation = NULL;
    WkStream *stream;

    operation = control->api.find_operation(control->agent, exchange->id, &error);
    if (operation == NULL) {
        wk_answer_error(exchange, error);
        return;
    }
    if (!exchange->watch) {
        wk_answer_json(exchange, SOUP_STATUS_OK, wk_codec_operation(operation));
        return;
    }
    stream = wk_stream_begin(exchange, WK_STREAM_OPERATION);
    if (stream == NULL)
        return;
    wk_stream_send_operation(stream, operation);
    wk_stream_go_live(stream);
}

static void
list_images(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    g_autoptr(GPtrArray) images = control->api.list_images(control->agent);
    JsonArray *items = json_array_new();

    for (guint i = 0; i < images->len; i++)
        json_array_add_object_element(items, wk_codec_image(g_ptr_array_index(images, i)));
    answer_items(exchange, items);
}

static void
list_checks(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    g_autoptr(GPtrArray) checks = control->api.list_checks(control->agent);
    JsonArray *items = json_array_new();

    for (guint i = 0; i < checks->len; i++)
        json_array_add_object_element(items, wk_codec_check(g_ptr_array_index(checks, i)));
    answer_items(exchange, items);
}

static void
answer_status(WkExchange *exchange, const char *status)
{
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "status", status);
    wk_answer_json(exchange, SOUP_STATUS_OK, object);
}

static void
get_healthz(WkExchange *exchange)
{
    answer_status(exchange, "ok");
}

static void
get_readyz(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    g_autofree char *why_not = control->api.not_ready(control->agent);

    if (why_not == NULL)
        answer_status(exchange, "ready");
    else
        wk_answer_problem(exchange, WK_ERROR_UNAVAILABLE, "NotReady", "%s", why_not);
}

static void
get_metrics(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    g_autofree char *text = control->api.metrics(control->agent);

    wk_answer_text(exchange, "text/plain; version=0.0.4; charset=utf-8", text);
}

/* Acting */

/* Empty: {}. Returns: (transfer full): NULL when @exchange is answered. */
static JsonObject *
read_body(WkExchange *exchange)
{
    SoupServerMessage *message = exchange->message;
    SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
    const char *type = soup_message_headers_get_content_type(headers, NULL);
    SoupMessageBody *body = soup_server_message_get_request_body(message);
    JsonObject *object;
    GError *error = NULL;

    if (body->length == 0)
        return json_object_new();
    if (type != NULL && g_ascii_strcasecmp(type, "application/json") != 0) {
        wk_answer_problem(exchange, WK_ERROR_INVALID, "UnsupportedMediaType",
                          "the body must be JSON: send Content-Type: application/json");
        return NULL;
    }
    object = wk_json_parse(body->data, body->length, exchange->control->limits.body_bytes, &error);
    if (object == NULL)
        wk_answer_error(exchange, error);
    return object;
}

static gboolean
read_request(WkExchange *exchange, WkRequest *request)
{
    g_autoptr(JsonObject) body = read_body(exchange);
    GError *error = NULL;

    if (body == NULL)
        return FALSE;
    if (wk_codec_read_request(body, exchange->route->action, request, &error))
        return TRUE;
    wk_answer_error(exchange, error);
    return FALSE;
}

/* One request that the agent is looking at; holds the message, whatever becomes of its peer. */
typedef struct {
    WkExchange *exchange;
    SoupServerMessage *message;
    gboolean dry_run;
} Submission;

static void
submission_free(Submission *self)
{
    g_object_unref(self->message);
    g_free(self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Submission, submission_free)

static void
on_submitted(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(Submission) self = user_data;
    g_autoptr(WkOperation) operation = NULL;
    WkExchange *exchange = self->exchange;
    WkControl *control = exchange->control;
    GError *error = NULL;

    if (control == NULL)
        return;
    operation = control->api.submit_finish(control->agent, result, &error);
    if (exchange->gone) {
        g_clear_error(&error);
        return;
    }
    if (operation == NULL)
        wk_answer_error(exchange, error);
    else
        wk_answer_json(exchange, self->dry_run ? SOUP_STATUS_OK : SOUP_STATUS_ACCEPTED,
                       wk_codec_operation(operation));
    soup_server_message_unpause(self->message);
}

static void
post_action(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    WkRequest request = { .origin = WK_ORIGIN_LOCAL };
    g_autoptr(WkView) view = find_guest(exchange);
    Submission *submission;

    if (view == NULL || !read_request(exchange, &request))
        return;
    request.guest = view->id;
    submission = g_new0(Submission, 1);
    submission->exchange = exchange;
    submission->message = g_object_ref(exchange->message);
    submission->dry_run = request.dry_run;
    soup_server_message_pause(exchange->message);
    control->api.submit(control->agent, &request, on_submitted, submission);
}

static void
post_cancel(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    WkRequest request = { .origin = WK_ORIGIN_LOCAL };
    g_autoptr(WkView) view = find_guest(exchange);
    g_autoptr(WkOperation) operation = NULL;
    GError *error = NULL;

    if (view == NULL || !read_request(exchange, &request))
        return;
    operation = control->api.cancel(control->agent, view->id, &error);
    if (operation == NULL)
        wk_answer_error(exchange, error);
    else
        wk_answer_json(exchange, SOUP_STATUS_ACCEPTED, wk_codec_operation(operation));
}

static void
post_prune(WkExchange *exchange)
{
    WkControl *control = exchange->control;
    WkRequest nothing = { .origin = WK_ORIGIN_LOCAL };
    g_autoptr(GPtrArray) guests = NULL;
    JsonArray *items;
    JsonObject *answer;
    GError *error = NULL;
    guint n_history = 0;

    if (!read_request(exchange, &nothing))
        return;
    guests = control->api.prune(control->agent, &n_history, &error);
    if (guests == NULL) {
        wk_answer_error(exchange, error);
        return;
    }
    items = json_array_new();
    for (guint i = 0; i < guests->len; i++)
        json_array_add_object_element(items, wk_codec_guest(g_ptr_array_index(guests, i)));
    answer = json_object_new();
    json_object_set_array_member(answer, "items", items);
    wk_json_set_int(answer, "historyDropped", n_history);
    wk_answer_json(exchange, SOUP_STATUS_OK, answer);
}

/* The table */

static const WkRoute routes[] = {
    { "GET", "/v1/node", get_node, FALSE, WK_ACTION_NONE },
    { "GET", "/v1/guests", list_guests, TRUE, WK_ACTION_NONE },
    { "GET", "/v1/guests/{id}", get_guest, FALSE, WK_ACTION_NONE },
    { "POST", "/v1/guests/{id}/suspend", post_action, FALSE, WK_ACTION_SUSPEND },
    { "POST", "/v1/guests/{id}/resume", post_action, FALSE, WK_ACTION_RESUME },
    { "POST", "/v1/guests/{id}/discard", post_action, FALSE, WK_ACTION_DISCARD },
    { "POST", "/v1/guests/{id}/cancel", post_cancel, FALSE, WK_ACTION_NONE },
    { "GET", "/v1/operations", list_operations, TRUE, WK_ACTION_NONE },
    { "GET", "/v1/operations/{id}", get_operation, TRUE, WK_ACTION_NONE },
    { "GET", "/v1/images", list_images, FALSE, WK_ACTION_NONE },
    { "POST", "/v1/images/{id}/verify", post_action, FALSE, WK_ACTION_VERIFY },
    { "POST", "/v1/prune", post_prune, FALSE, WK_ACTION_NONE },
    { "GET", "/v1/doctor", list_checks, FALSE, WK_ACTION_NONE },
    { "GET", "/healthz", get_healthz, FALSE, WK_ACTION_NONE },
    { "GET", "/readyz", get_readyz, FALSE, WK_ACTION_NONE },
    { "GET", "/metrics", get_metrics, FALSE, WK_ACTION_NONE },
};

/* TRUE when @segments fit @pattern; @id is then the segment at {id}, still encoded, or NULL. */
static gboolean
path_fits(const char *pattern, char **segments, const char **id)
{
    g_auto(GStrv) parts = g_strsplit(pattern, "/", -1);
    guint i = 0;

    *id = NULL;
    for (; parts[i] != NULL && segments[i] != NULL; i++) {
        if (g_str_equal(parts[i], "{id}") && *segments[i] != '\0')
            *id = segments[i];
        else if (!g_str_equal(parts[i], segments[i]))
            return FALSE;
    }
    return parts[i] == NULL && segments[i] == NULL;
}

static gboolean
method_fits(const WkRoute *route, const char *method)
{
    return g_str_equal(route->method, method)
           || (g_str_equal(route->method, "GET") && g_str_equal(method, "HEAD"));
}

/* Each path here has one method (and HEAD where that is GET). */
static void
answer_not_allowed(WkExchange *exchange, const WkRoute *route)
{
    SoupMessageHeaders *headers = soup_server_message_get_response_headers(exchange->message);
    const char *allow = g_str_equal(route->method, "GET") ? "GET, HEAD" : route->method;

    soup_message_headers_replace(headers, "Allow", allow);
    wk_answer_problem(exchange, WK_ERROR_INVALID, "MethodNotAllowed", "this path takes %s", allow);
}

static gboolean
read_id(WkExchange *exchange, const char *segment)
{
    if (segment == NULL)
        return TRUE;
    exchange->id = g_uri_unescape_string(segment, NULL);
    if (exchange->id != NULL && g_utf8_validate(exchange->id, -1, NULL))
        return TRUE;
    wk_answer_problem(exchange, WK_ERROR_INVALID, NULL,
                      "the name in the path is not percent-encoded UTF-8: encode it again");
    return FALSE;
}

/* FALSE when @exchange is answered. */
static gboolean
find_route(WkExchange *exchange)
{
    GUri *uri = soup_server_message_get_uri(exchange->message);
    const char *method = soup_server_message_get_method(exchange->message);
    g_auto(GStrv) segments = g_strsplit(g_uri_get_path(uri), "/", PATH_SEGMENTS_MAX);
    const char *id;

    for (gsize i = 0; i < G_N_ELEMENTS(routes); i++) {
        if (!path_fits(routes[i].path, segments, &id))
            continue;
        if (!method_fits(&routes[i], method)) {
            answer_not_allowed(exchange, &routes[i]);
            return FALSE;
        }
        exchange->route = &routes[i];
        return read_id(exchange, id);
    }
    wk_answer_problem(exchange, WK_ERROR_NOT_FOUND, NULL,
                      "there is no such path in API v1: data/openapi.yaml lists them");
    return FALSE;
}

static gboolean
read_watch(const char *value, gboolean *watch)
{
    if (g_str_equal(value, "1") || g_str_equal(value, "true"))
        *watch = TRUE;
    else if (g_str_equal(value, "0") || g_str_equal(value, "false"))
        *watch = FALSE;
    else
        return FALSE;
    return TRUE;
}

/* FALSE when @exchange is answered: a query that does nothing would be a silent surprise. */
static gboolean
read_query(WkExchange *exchange)
{
    const char *query = g_uri_get_query(soup_server_message_get_uri(exchange->message));
    g_autoptr(GHashTable) members = NULL;
    GHashTableIter iter;
    gpointer key, value;

    if (query == NULL || *query == '\0')
        return TRUE;
    members = g_uri_parse_params(query, -1, "&", G_URI_PARAMS_NONE, NULL);
    if (members == NULL) {
        wk_answer_problem(exchange, WK_ERROR_INVALID, NULL, "the query is not well formed");
        return FALSE;
    }
    g_hash_table_iter_init(&iter, members);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        if (exchange->route->watch && g_str_equal(key, "watch")
            && read_watch(value, &exchange->watch))
            continue;
        wk_answer_problem(exchange, WK_ERROR_INVALID, NULL,
                          exchange->route->watch ? "the only query here is watch=1"
                                                 : "this path takes no query");
        return FALSE;
    }
    return TRUE;
}

/* FALSE when @exchange is answered. */
static gboolean
check_peer(WkExchange *exchange)
{
    const WkControl *control = exchange->control;
    const gid_t *gid = control->has_group ? &control->gid : NULL;
    g_auto(WkPeer) peer = { 0 };
    GError *error = NULL;

    if (wk_peer_read(exchange->socket, &peer, &error)
        && wk_peer_check(&peer, geteuid(), gid, &error))
        return TRUE;
    wk_log(WK_LOG_INFO, NULL, "control: refused: %s", error->message);
    wk_answer_error(exchange, error);
    return FALSE;
}

static void
check_length(WkExchange *exchange)
{
    SoupMessageHeaders *headers = soup_server_message_get_request_headers(exchange->message);
    const gsize limit = exchange->control->limits.body_bytes;

    if (soup_message_headers_get_encoding(headers) == SOUP_ENCODING_CONTENT_LENGTH
        && soup_message_headers_get_content_length(headers) > (goffset)limit)
        wk_answer_problem(exchange, WK_ERROR_INVALID, "BodyTooLarge",
                          "the body is larger than %" G_GSIZE_FORMAT " bytes: send less", limit);
}

void
wk_routes_on_headers(WkExchange *exchange)
{
    SoupMessageHeaders *headers = soup_server_message_get_request_headers(exchange->message);

    /* libsoup would cut answers to pieces by itself. */
    soup_message_headers_remove(headers, "Range");
    if (exchange->over_limit) {
        wk_answer_problem(exchange, WK_ERROR_UNAVAILABLE, "TooManyConnections",
                          "%u connections are open, which is the limit: try again later",
                          exchange->control->limits.connections);
        return;
    }
    if (check_peer(exchange) && find_route(exchange) && read_query(exchange))
        check_length(exchange);
}

void
wk_routes_on_body(WkExchange *exchange)
{
    exchange->route->handle(exchange);
}
