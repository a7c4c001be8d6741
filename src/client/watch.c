/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "wukong/wukong.h"

#include "base/json.h"
#include "client/problem.h"
#include "client/transfer.h"

#include <string.h>

#define AWAY_MAX_US (30 * G_USEC_PER_SEC)
#define BACKOFF_MS  100
#define BACKOFF_MAX 2000

gboolean
wukong_operation_is_final(JsonObject *operation)
{
    static const char *const final[] = { "succeeded", "failed", "cancelled", NULL };
    const char *state = wk_json_get_string(operation, "state");

    return state != NULL && g_strv_contains(final, state);
}

/* Opens one stream and feeds @lines until it ends.
 * Returns: TRUE when the lines' function ended it; FALSE with the reason otherwise. */
static gboolean
stream(WukongClient *self, const char *path, WkLines *lines, guint timeout_ms,
       GCancellable *cancellable, GError **error)
{
    WkTransferCall call = {
        .method = "GET", .path = path, .lines = lines, .silence_ms = self->silence_ms
    };
    GString *rest;

    if (timeout_ms > 0)
        call.deadline_us = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    rest = wk_transfer_run(self, &call, cancellable, error);
    if (rest == NULL)
        return FALSE;
    g_string_free(rest, TRUE);
    if (wk_lines_is_ended(lines))
        return TRUE;
    wk_problem_set(error, WUKONG_ERROR_UNREACHABLE, 0, NULL, "wukongd at %s ended the stream",
                   self->socket_path);
    return FALSE;
}

typedef struct {
    WukongWatchFunc func;
    gpointer user_data;
} GuestWatch;

static gboolean
on_guest_event(JsonObject *event, gpointer user_data)
{
    const GuestWatch *watch = user_data;

    if (g_strcmp0(wk_json_get_string(event, "type"), "heartbeat") == 0)
        return TRUE;
    return watch->func(event, watch->user_data);
}

gboolean
wukong_client_watch_guests(WukongClient *self, guint timeout_ms, WukongWatchFunc func,
                           gpointer user_data, GCancellable *cancellable, GError **error)
{
    GuestWatch watch = { .func = func, .user_data = user_data };
    g_autoptr(WkLines) lines = wk_lines_new(on_guest_event, &watch);

    return stream(self, "/v1/guests?watch=1", lines, timeout_ms, cancellable, error);
}

typedef struct {
    WukongClient *client;
    GHashTable *open; /* (element-type utf8 utf8): id -> last text seen, of those not yet final */
    GHashTable *told; /* (element-type utf8): ids that this connection has spoken of */
    WukongWatchFunc func;
    gpointer user_data;
    gint64 last_good_us;
    guint backoff_ms;
    gboolean ended; /* by func */
} OperationWatch;

static gboolean
is_done(const OperationWatch *self)
{
    return self->ended || g_hash_table_size(self->open) == 0;
}

/* Hands @operation on if it is one of ours and has changed. */
static void
take_operation(OperationWatch *self, const char *id, JsonObject *operation)
{
    g_autofree char *text = NULL;
    gpointer seen = NULL;

    if (id == NULL || self->ended || !g_hash_table_lookup_extended(self->open, id, NULL, &seen))
        return;
    text = wk_json_to_text(operation);
    if (g_strcmp0(seen, text) == 0)
        return;
    if (!self->func(operation, self->user_data))
        self->ended = TRUE;
    if (wukong_operation_is_final(operation))
        g_hash_table_remove(self->open, id);
    else
        g_hash_table_replace(self->open, g_strdup(id), g_steal_pointer(&text));
}

static void
take_forgotten(OperationWatch *self, const char *id)
{
    g_autoptr(JsonObject) operation = json_object_new();

    wk_json_set_string(operation, "id", id);
    wk_json_set_string(operation, "state", "failed");
    wk_json_set_string(operation, "reason", "OperationForgotten");
    wk_json_set_string(operation, "message",
                       "wukongd no longer knows this operation: look at the guest's state");
    take_operation(self, id, operation);
}

/* Reads every open operation by itself. Returns: FALSE when the daemon can't be asked. */
static gboolean
read_open(OperationWatch *self, GCancellable *cancellable, GError **error)
{
    g_autoptr(GHashTable) todo = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GHashTableIter iter;
    gpointer id;

    g_hash_table_iter_init(&iter, self->open);
    while (g_hash_table_iter_next(&iter, &id, NULL))
        g_hash_table_add(todo, g_strdup(id));
    g_hash_table_iter_init(&iter, todo);
    while (!self->ended && g_hash_table_iter_next(&iter, &id, NULL)) {
        g_autoptr(GError) local = NULL;
        g_autoptr(JsonObject) operation =
            wukong_client_get_operation(self->client, id, cancellable, &local);

        if (operation != NULL) {
            take_operation(self, id, operation);
        } else if (g_error_matches(local, WUKONG_ERROR, WUKONG_ERROR_NOT_FOUND)) {
            take_forgotten(self, id);
        } else {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
has_told_all(const OperationWatch *self)
{
    GHashTableIter iter;
    gpointer id;

    g_hash_table_iter_init(&iter, self->open);
    while (g_hash_table_iter_next(&iter, &id, NULL)) {
        if (!g_hash_table_contains(self->told, id))
            return FALSE;
    }
    return TRUE;
}

static gboolean
on_operation_event(JsonObject *event, gpointer user_data)
{
    OperationWatch *self = user_data;
    JsonObject *operation = wk_json_get_object(event, "operation");
    const char *id = wk_json_get_string(operation, "id");

    self->last_good_us = g_get_monotonic_time();
    if (id != NULL) {
        g_hash_table_add(self->told, g_strdup(id));
        take_operation(self, id, operation);
        self->backoff_ms = BACKOFF_MS;
    }
    /* What a full list leaves out has ended long ago: its stream will never speak of it. */
    if (g_strcmp0(wk_json_get_string(event, "type"), "synced") == 0 && !has_told_all(self))
        return FALSE;
    return !is_done(self);
}

/* One stream carries all operations: the daemon has few places for streams. */
static char *
stream_path(const char *const *ids)
{
    g_autofree char *escaped = NULL;

    if (ids[0] == NULL || ids[1] != NULL)
        return g_strdup("/v1/operations?watch=1");
    escaped = g_uri_escape_string(ids[0], NULL, FALSE);
    return g_strconcat("/v1/operations/", escaped, "?watch=1", NULL);
}

static gboolean
is_worth_retrying(const OperationWatch *self, const GError *error)
{
    if (error->domain != WUKONG_ERROR || wukong_error_get_status(error) == 403)
        return FALSE;
    return g_get_monotonic_time() - self->last_good_us < AWAY_MAX_US;
}

/* Waits before the next try, a little longer each time. */
static gboolean
back_off(OperationWatch *self, GCancellable *cancellable, GError **error)
{
    GPollFD fd = { 0 };

    if (g_cancellable_make_pollfd(cancellable, &fd)) {
        g_poll(&fd, 1, (int)self->backoff_ms);
        g_cancellable_release_fd(cancellable);
    } else {
        g_usleep(self->backoff_ms * 1000);
    }
    self->backoff_ms = MIN(self->backoff_ms * 2, BACKOFF_MAX);
    return !g_cancellable_set_error_if_cancelled(cancellable, error);
}

/* One round: follow the stream until it ends, then read what it did not tell.
 * Returns: FALSE when the watch must be given up. */
static gboolean
follow_once(OperationWatch *self, const char *path, GCancellable *cancellable, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(WkLines) lines = wk_lines_new(on_operation_event, self);

    g_hash_table_remove_all(self->told);
    (void)stream(self->client, path, lines, 0, cancellable, &local);
    if (is_done(self))
        return TRUE;
    if (local == NULL || is_worth_retrying(self, local)) {
        g_clear_error(&local);
        if (read_open(self, cancellable, &local))
            self->last_good_us = g_get_monotonic_time();
    }
    if (local == NULL || is_worth_retrying(self, local))
        return is_done(self) || back_off(self, cancellable, error);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

gboolean
wukong_client_watch_operations(WukongClient *self, const char *const *ids, WukongWatchFunc func,
                               gpointer user_data, GCancellable *cancellable, GError **error)
{
    g_autoptr(GHashTable) open = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *path = stream_path(ids);
    OperationWatch watch = {
        .client = self,
        .open = open,
        .told = told,
        .func = func,
        .user_data = user_data,
        .last_good_us = g_get_monotonic_time(),
        .backoff_ms = BACKOFF_MS,
    };

    for (gsize i = 0; ids[i] != NULL; i++)
        g_hash_table_insert(open, g_strdup(ids[i]), NULL);
    while (!is_done(&watch)) {
        if (!follow_once(&watch, path, cancellable, error))
            return FALSE;
    }
    return TRUE;
}

typedef struct {
    WukongWatchFunc func;
    gpointer user_data;
    JsonObject *last;
} OneWatch;

static gboolean
on_one_operation(JsonObject *operation, gpointer user_data)
{
    OneWatch *self = user_data;

    if (wukong_operation_is_final(operation))
        self->last = json_object_ref(operation);
    return self->func == NULL || self->func(operation, self->user_data);
}

JsonObject *
wukong_client_watch_operation(WukongClient *self, const char *id, WukongWatchFunc func,
                              gpointer user_data, GCancellable *cancellable, GError **error)
{
    const char *const ids[] = { id, NULL };
    OneWatch watch = { .func = func, .user_data = user_data };

    if (wukong_client_watch_operations(self, ids, on_one_operation, &watch, cancellable, error))
        return watch.last;
    g_clear_pointer(&watch.last, json_object_unref);
    return NULL;
}
