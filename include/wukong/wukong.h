/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/*
 * libwukong: talks to wukongd, the node agent that suspends and resumes virtual machines, over its
 * control socket.
 *
 * Threading: every call blocks until it is answered; cancel it from another thread by its
 * GCancellable (G_IO_ERROR_CANCELLED). A client belongs to one thread at a time; use one each.
 *
 * Objects are those of the API (data/openapi.yaml): camelCase members, unknown values absent and
 * never null, sizes in bytes, times in RFC 3339. Texts may hold anything a guest's owner wrote:
 * escape control characters before printing them.
 *
 * Bounds: an answer has at most 16 MiB, a line of a stream 1 MiB; connecting takes at most 5 s, a
 * request 60 s; a stream that is silent for 40 s (the daemon sends a heartbeat each 15 s) is lost.
 */

#define WUKONG_DEFAULT_SOCKET "/run/wukong/control.sock"

/* Codes are wukongctl's exit statuses. A cancelled call is G_IO_ERROR_CANCELLED instead. */
typedef enum {
    WUKONG_ERROR_FAILED = 1,      /* wrong state (409), source away (503), a bad answer, a bug */
    WUKONG_ERROR_INVALID = 2,     /* the request is wrong (400, 413): fix it */
    WUKONG_ERROR_NOT_FOUND = 4,   /* no such guest or operation (404) */
    WUKONG_ERROR_UNREACHABLE = 5, /* the daemon is not there, does not answer or refuses us (403) */
    WUKONG_ERROR_REFUSED = 6,     /* a precheck said no (422): nothing was changed */
} WukongError;

#define WUKONG_ERROR (wukong_error_quark())
GQuark wukong_error_quark(void);

/* Returns: (transfer none) (nullable): the CamelCase reason the daemon gave, valid as long as
 * @error. */
const char *wukong_error_get_reason(const GError *error);

/* Returns: the HTTP status of the daemon's answer; 0 when @error is not from an answer. */
guint wukong_error_get_status(const GError *error);

typedef struct _WukongClient WukongClient;

/* Does not connect yet. @socket_path is copied; NULL: WUKONG_DEFAULT_SOCKET.
 * Returns: (transfer full): never NULL. */
WukongClient *wukong_client_new(const char *socket_path);
void wukong_client_free(WukongClient *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WukongClient, wukong_client_free)

const char *wukong_client_get_socket_path(const WukongClient *self);

/* Milliseconds, at least 1: how long one request may take, and how long a stream may be silent. */
void wukong_client_set_timeouts(WukongClient *self, guint request_ms, guint silence_ms);

/* GET and POST of any path of the API, such as "/v1/node"; @path is sent as it is, so escape what
 * you put into it. @body may be NULL.
 * Returns: (transfer full): the answer, checked to be one JSON object; _get_text() gives its text
 * unchanged. */
char *wukong_client_get_text(WukongClient *self, const char *path, GCancellable *cancellable,
                             GError **error);
JsonObject *
wukong_client_get(WukongClient *self, const char *path, GCancellable *cancellable, GError **error);
JsonObject *wukong_client_post(WukongClient *self, const char *path, JsonObject *body,
                               GCancellable *cancellable, GError **error);

/* Returns: (transfer full) (element-type JsonObject): every element has "id"; guests and images
 * also have a name ("name", for images "guest"). */
JsonArray *wukong_client_list_guests(WukongClient *self, GCancellable *cancellable, GError **error);
JsonArray *
wukong_client_list_operations(WukongClient *self, GCancellable *cancellable, GError **error);
JsonArray *wukong_client_list_images(WukongClient *self, GCancellable *cancellable, GError **error);

/* @guest: an id, unique name, SOURCE:NAME or NS/NAME; @id: an operation's id.
 * Returns: (transfer full). */
JsonObject *wukong_client_get_guest(WukongClient *self, const char *guest,
                                    GCancellable *cancellable, GError **error);
JsonObject *wukong_client_get_operation(WukongClient *self, const char *id,
                                        GCancellable *cancellable, GError **error);

typedef enum {
    WUKONG_ACT_NONE = 0,
    WUKONG_ACT_DRY_RUN = 1 << 0, /* only the prechecks; the operation is never recorded */
} WukongActFlags;

/* Ask for something to be done. @target ("memory", "disk"), @fallback ("none", "memory", "stop")
 * and @timeout_s (1 .. 86400 seconds) may be NULL or 0: the daemon's default.
 * Returns: (transfer full): the operation as accepted, not its end; one that had nothing to do is
 * already "succeeded". After WUKONG_ERROR_UNREACHABLE it may have been accepted all the same. */
JsonObject *wukong_client_suspend(WukongClient *self, const char *guest, const char *target,
                                  guint timeout_s, const char *fallback, WukongActFlags flags,
                                  GCancellable *cancellable, GError **error);
JsonObject *wukong_client_resume(WukongClient *self, const char *guest, guint timeout_s,
                                 WukongActFlags flags, GCancellable *cancellable, GError **error);
JsonObject *wukong_client_discard(WukongClient *self, const char *guest, WukongActFlags flags,
                                  GCancellable *cancellable, GError **error);

/* Has the saved image of @guest read through; nothing is restored. A bad one is held from then on.
 * Returns: (transfer full): the operation as accepted. */
JsonObject *wukong_client_verify(WukongClient *self, const char *guest, GCancellable *cancellable,
                                 GError **error);

/* Drops what is kept for a time only, once that is over. Returns: (transfer full): the guests whose
 * orphaned image is on its way out ("items"), and "historyDropped". */
JsonObject *wukong_client_prune(WukongClient *self, GCancellable *cancellable, GError **error);

/* Asks the operation in flight on @guest to stop. Returns: (transfer full): that operation. */
JsonObject *wukong_client_cancel(WukongClient *self, const char *guest, GCancellable *cancellable,
                                 GError **error);

/* TRUE once @operation can no longer change. */
gboolean wukong_operation_is_final(JsonObject *operation);

/* What a watch hands over: (transfer none), valid during the call, in the thread of the watch.
 * Return FALSE to end the watch. */
typedef gboolean (*WukongWatchFunc)(JsonObject *object, gpointer user_data);

/* One stream of events: {"type":"guest","guest":{...}} for each guest, {"type":"synced"}, then
 * changes and {"type":"gone","id":...}. Heartbeats are kept back. @timeout_ms 0: no limit.
 * Returns: TRUE when @func ended it; FALSE with WUKONG_ERROR_UNREACHABLE when the stream was lost
 * (a new watch starts with all guests again), G_IO_ERROR_TIMED_OUT when @timeout_ms is over. */
gboolean wukong_client_watch_guests(WukongClient *self, guint timeout_ms, WukongWatchFunc func,
                                    gpointer user_data, GCancellable *cancellable, GError **error);

/* Calls @func with each operation of @ids (NULL-ended) whenever it changes, until all are final.
 * A lost stream is opened again and what was missed is read, for as long as the daemon is not away
 * for more than 30 s in a row. An operation that the daemon no longer knows ends as "failed" with
 * reason "OperationForgotten".
 * Returns: TRUE when all are final or @func ended it. */
gboolean wukong_client_watch_operations(WukongClient *self, const char *const *ids,
                                        WukongWatchFunc func, gpointer user_data,
                                        GCancellable *cancellable, GError **error);

/* The same for one. @func may be NULL. Returns: (transfer full) (nullable): the operation at its
 * end; NULL without an error when @func ended the watch before. */
JsonObject *wukong_client_watch_operation(WukongClient *self, const char *id, WukongWatchFunc func,
                                          gpointer user_data, GCancellable *cancellable,
                                          GError **error);

G_END_DECLS
