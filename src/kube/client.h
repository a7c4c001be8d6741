/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

#include "kube/config.h"

G_BEGIN_DECLS

/*
 * A client of the Kubernetes API on libcurl's multi interface and the default main context. Main
 * thread only; nothing here blocks. Watches and everything else have separate connections
 * (kubeclient#512: a watch's flow control must not hold up a write).
 *
 * Requests that fail are GErrors. The code says what to do, the reason is the API's own word
 * (metav1.StatusReason), the message the server's:
 *   UNAVAILABLE  no connection, time-out, 408, 429, 5xx: again, with backoff (Retry-After of a 429
 *                or 503 was honoured up to 10 times before)
 *   DENIED       401 "Unauthorized" (credentials were read anew once), 403 "Forbidden"
 *   NOT_FOUND    404 "NotFound"
 *   CONFLICT     409 "Conflict", "AlreadyExists"; 410 "Expired" or "Gone": look again
 *   INVALID      400 "BadRequest", 413, 415, 422 "Invalid": the same again is useless
 *   CANCELLED    the GCancellable, or the client was freed
 *   FAILED       an answer that is no JSON object, too large, ...
 * Where there was no answer the reason is ours: "Unreachable", "BadCertificate", "ConnectionLost",
 * "NoAnswer" (30 s), and for streams "Stalled", "CredentialsChanged" (begin anew at once).
 *
 * A request is sent once more by libcurl itself when a connection that was kept turns out to be
 * closed before a byte of the answer came; so a POST may meet its own "AlreadyExists".
 */
typedef struct _WkKube WkKube;

/* @config is referenced; its credentials are read anew as they change. @user_agent is copied.
 * Returns: (transfer full). */
WkKube *wk_kube_new(WkKubeConfig *config, const char *user_agent);
void wk_kube_free(WkKube *self); /* what is in flight ends CANCELLED; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkKube, wk_kube_free)

typedef struct {
    const char *method;       /* "GET", "PUT", "POST", "PATCH", "DELETE" */
    const char *path;         /* with its query, percent-encoded: "/api/v1/..." */
    const char *content_type; /* NULL: no body */
    const char *body;         /* UTF-8, NUL-ended */
} WkKubeRequest;

/* Sends @request (copied). finish: (transfer full): the answer's object; an empty one for an
 * answer without body. */
void wk_kube_send(WkKube *self, const WkKubeRequest *request, GCancellable *cancellable,
                  GAsyncReadyCallback callback, gpointer user_data);
JsonObject *wk_kube_send_finish(WkKube *self, GAsyncResult *result, GError **error);

/* An answer that comes as lines: a watch, or a list read piece by piece. */
typedef struct _WkKubeStream WkKubeStream;

typedef struct {
    /* One line without its end, NUL-ended, only for the call. FALSE with @error ends the stream
     * with that error. */
    gboolean (*line)(const char *text, gsize length, gpointer data, GError **error);
    /* Once, from the main loop, never from inside a call of this interface; @error NULL: the server
     * ended it properly. The stream is still to be freed. */
    void (*ended)(const GError *error, gpointer data);
} WkKubeStreamListener;

typedef struct {
    gsize max_line_bytes;  /* a longer line ends the stream with WK_ERROR_FAILED "TooLarge" */
    guint idle_timeout_ms; /* no byte for so long (at most 30 s for the answer's head):
                              WK_ERROR_UNAVAILABLE "Stalled" */
} WkKubeStreamOptions;

/* Returns: (transfer full). Does no Retry-After waiting of its own: the error carries it, see
 * wk_kube_retry_after_ms(). */
WkKubeStream *wk_kube_stream_new(WkKube *self, const char *path, const WkKubeStreamOptions *options,
                                 const WkKubeStreamListener *listener, gpointer data);
void wk_kube_stream_free(WkKubeStream *self); /* no callback after it; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkKubeStream, wk_kube_stream_free)

/* What the server asked for with Retry-After (or in the Status) in the answer that failed with
 * @error, unbounded; -1: nothing. */
gint64 wk_kube_retry_after_ms(const GError *error);

/* client-go's backoff: 0.8 s doubled up to 30 s, each with up to 100% jitter on top. Pure but for
 * the randomness. @failures counts from 1. */
guint wk_kube_backoff_ms(guint failures);

/* A kube-apiserver that has just started answers 403 until it has read its roles (seen with 1.36),
 * so the first few in a row are like any failure that passes. @denials: the caller's count of them;
 * any other @error, and NULL (success), begins it anew.
 * Returns: TRUE when @error is a 403 that is to be believed. Pure. */
gboolean wk_kube_is_denied(guint *denials, const GError *error);

/* For metrics and doctor. */
typedef struct {
    const char *verb; /* "GET", "WATCH", ... */
    guint code;       /* HTTP status; 0: none came */
    guint64 count;
} WkKubeCount;
/* Returns: (transfer full) (element-type WkKubeCount). */
GArray *wk_kube_get_counts(WkKube *self);

G_END_DECLS
