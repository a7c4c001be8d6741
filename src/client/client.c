/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "wukong/wukong.h"

#include "base/json.h"
#include "client/problem.h"
#include "client/transfer.h"

#define REQUEST_MS (60 * 1000)
#define SILENCE_MS (40 * 1000)

static void
init_curl(void)
{
    static gsize done = 0;

    if (!g_once_init_enter(&done))
        return;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    g_once_init_leave(&done, 1);
}

WukongClient *
wukong_client_new(const char *socket_path)
{
    WukongClient *self = g_new0(WukongClient, 1);

    init_curl();
    self->socket_path = g_strdup(socket_path != NULL ? socket_path : WUKONG_DEFAULT_SOCKET);
    self->multi = curl_multi_init();
    self->request_ms = REQUEST_MS;
    self->silence_ms = SILENCE_MS;
    return self;
}

void
wukong_client_free(WukongClient *self)
{
    if (self == NULL)
        return;
    if (self->multi != NULL)
        curl_multi_cleanup(self->multi);
    g_free(self->socket_path);
    g_free(self);
}

const char *
wukong_client_get_socket_path(const WukongClient *self)
{
    return self->socket_path;
}

void
wukong_client_set_timeouts(WukongClient *self, guint request_ms, guint silence_ms)
{
    g_return_if_fail(request_ms > 0 && silence_ms > 0);
    self->request_ms = request_ms;
    self->silence_ms = silence_ms;
}

/* A plain request: here the end of the time means that the daemon does not answer. */
static GString *
request(WukongClient *self, const char *method, const char *path, const char *body,
        GCancellable *cancellable, GError **error)
{
    g_autoptr(GError) local = NULL;
    const WkTransferCall call = {
        .method = method,
        .path = path,
        .body = body,
        .deadline_us = g_get_monotonic_time() + (gint64)self->request_ms * 1000,
    };
    GString *answer = wk_transfer_run(self, &call, cancellable, &local);

    if (answer != NULL)
        return answer;
    if (g_error_matches(local, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
        wk_problem_set(error, WUKONG_ERROR_UNREACHABLE, 0, NULL,
                       "wukongd at %s did not answer within %u s", self->socket_path,
                       (self->request_ms + 999) / 1000);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
}

static JsonObject *
parse_answer(const GString *text, const char *path, GError **error)
{
    g_autoptr(GError) local = NULL;
    JsonObject *object = wk_json_parse(text->str, (gssize)text->len, WK_TRANSFER_BODY_MAX, &local);

    if (object == NULL)
        wk_problem_set(error, WUKONG_ERROR_FAILED, 0, NULL, "wukongd's answer to %s is bad: %s",
                       path, local->message);
    return object;
}

char *
wukong_client_get_text(WukongClient *self, const char *path, GCancellable *cancellable,
                       GError **error)
{
    GString *text = request(self, "GET", path, NULL, cancellable, error);
    g_autoptr(JsonObject) object = NULL;

    if (text == NULL)
        return NULL;
    object = parse_answer(text, path, error);
    return g_string_free(text, object == NULL);
}

static JsonObject *
call_json(WukongClient *self, const char *method, const char *path, const char *body,
          GCancellable *cancellable, GError **error)
{
    GString *text = request(self, method, path, body, cancellable, error);
    JsonObject *object;

    if (text == NULL)
        return NULL;
    object = parse_answer(text, path, error);
    g_string_free(text, TRUE);
    return object;
}

JsonObject *
wukong_client_get(WukongClient *self, const char *path, GCancellable *cancellable, GError **error)
{
    return call_json(self, "GET", path, NULL, cancellable, error);
}

JsonObject *
wukong_client_post(WukongClient *self, const char *path, JsonObject *body,
                   GCancellable *cancellable, GError **error)
{
    g_autofree char *text = body != NULL ? wk_json_to_text(body) : NULL;

    return call_json(self, "POST", path, text, cancellable, error);
}

static gboolean
is_item(JsonNode *node, const char *name_member)
{
    JsonObject *item = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;

    return wk_json_get_string(item, "id") != NULL
           && (name_member == NULL || wk_json_get_string(item, name_member) != NULL);
}

/* A list whose items all have an id and, unless @name_member is NULL, that member too. */
static JsonArray *
list(WukongClient *self, const char *path, const char *name_member, GCancellable *cancellable,
     GError **error)
{
    g_autoptr(JsonObject) answer = wukong_client_get(self, path, cancellable, error);
    JsonArray *items;

    if (answer == NULL)
        return NULL;
    items = wk_json_get_array(answer, "items");
    if (items == NULL) {
        wk_problem_set(error, WUKONG_ERROR_FAILED, 0, NULL,
                       "wukongd's answer to %s is bad: it has no 'items'", path);
        return NULL;
    }
    for (guint i = 0; i < json_array_get_length(items); i++) {
        if (is_item(json_array_get_element(items, i), name_member))
            continue;
        wk_problem_set(error, WUKONG_ERROR_FAILED, 0, NULL,
                       "wukongd's answer to %s is bad: item %u has no id or name", path, i);
        return NULL;
    }
    return json_array_ref(items);
}

JsonArray *
wukong_client_list_guests(WukongClient *self, GCancellable *cancellable, GError **error)
{
    return list(self, "/v1/guests", "name", cancellable, error);
}

JsonArray *
wukong_client_list_operations(WukongClient *self, GCancellable *cancellable, GError **error)
{
    return list(self, "/v1/operations", NULL, cancellable, error);
}

JsonArray *
wukong_client_list_images(WukongClient *self, GCancellable *cancellable, GError **error)
{
    return list(self, "/v1/images", "guest", cancellable, error);
}

/* Returns: (transfer full): @before, @key escaped for a URL, @after. */
static char *
path_of(const char *before, const char *key, const char *after)
{
    g_autofree char *escaped = g_uri_escape_string(key, NULL, FALSE);

    return g_strconcat(before, escaped, after, NULL);
}

JsonObject *
wukong_client_get_guest(WukongClient *self, const char *guest, GCancellable *cancellable,
                        GError **error)
{
    g_autofree char *path = path_of("/v1/guests/", guest, "");

    return wukong_client_get(self, path, cancellable, error);
}

JsonObject *
wukong_client_get_operation(WukongClient *self, const char *id, GCancellable *cancellable,
                            GError **error)
{
    g_autofree char *path = path_of("/v1/operations/", id, "");

    return wukong_client_get(self, path, cancellable, error);
}

/* Takes @body over. */
static JsonObject *
act_at(WukongClient *self, const char *path, JsonObject *body, GCancellable *cancellable,
       GError **error)
{
    g_autoptr(JsonObject) owned = body;
    g_autoptr(JsonObject) operation = NULL;

    operation = wukong_client_post(self, path, owned, cancellable, error);
    if (operation == NULL)
        return NULL;
    if (wk_json_get_string(operation, "state") == NULL) {
        wk_problem_set(error, WUKONG_ERROR_FAILED, 0, NULL,
                       "wukongd's answer to %s is bad: it is no operation", path);
        return NULL;
    }
    return g_steal_pointer(&operation);
}

/* Takes @body over. */
static JsonObject *
act(WukongClient *self, const char *guest, const char *action, JsonObject *body,
    GCancellable *cancellable, GError **error)
{
    g_autofree char *path = path_of("/v1/guests/", guest, action);

    return act_at(self, path, body, cancellable, error);
}

static JsonObject *
body_new(guint timeout_s, WukongActFlags flags)
{
    JsonObject *body = json_object_new();

    if (timeout_s > 0)
        wk_json_set_int(body, "timeoutSeconds", timeout_s);
    if ((flags & WUKONG_ACT_DRY_RUN) != 0)
        json_object_set_boolean_member(body, "dryRun", TRUE);
    return body;
}

JsonObject *
wukong_client_suspend(WukongClient *self, const char *guest, const char *target, guint timeout_s,
                      const char *fallback, WukongActFlags flags, GCancellable *cancellable,
                      GError **error)
{
    JsonObject *body = body_new(timeout_s, flags);

    wk_json_set_string(body, "target", target);
    wk_json_set_string(body, "fallback", fallback);
    return act(self, guest, "/suspend", body, cancellable, error);
}

JsonObject *
wukong_client_resume(WukongClient *self, const char *guest, guint timeout_s, WukongActFlags flags,
                     GCancellable *cancellable, GError **error)
{
    return act(self, guest, "/resume", body_new(timeout_s, flags), cancellable, error);
}

JsonObject *
wukong_client_discard(WukongClient *self, const char *guest, WukongActFlags flags,
                      GCancellable *cancellable, GError **error)
{
    return act(self, guest, "/discard", body_new(0, flags), cancellable, error);
}

JsonObject *
wukong_client_verify(WukongClient *self, const char *guest, GCancellable *cancellable,
                     GError **error)
{
    g_autofree char *path = path_of("/v1/images/", guest, "/verify");

    return act_at(self, path, body_new(0, WUKONG_ACT_NONE), cancellable, error);
}

JsonObject *
wukong_client_prune(WukongClient *self, GCancellable *cancellable, GError **error)
{
    g_autoptr(JsonObject) body = json_object_new();

    return wukong_client_post(self, "/v1/prune", body, cancellable, error);
}

JsonObject *
wukong_client_cancel(WukongClient *self, const char *guest, GCancellable *cancellable,
                     GError **error)
{
    return act(self, guest, "/cancel", body_new(0, WUKONG_ACT_NONE), cancellable, error);
}
