/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/error.h"

#include "base/error.h"
#include "base/json.h"
#include "base/names.h"
#include "kube/client.h"

#include <string.h>

#define MESSAGE_MAX  1024 /* bytes of a server's message */
#define SNIPPET_MAX  120  /* bytes of an answer that is no Status */
#define STATUS_BYTES (4 * 1024 * 1024)
#define S_TO_MS      G_GINT64_CONSTANT(1000)
#define DENIALS_MIN  5 /* in a row: 12 to 24 s of backoff */

typedef struct {
    guint status;
    WkErrorCode code;
    const char *reason; /* when the server gives none */
} Meaning;

/* Others: 4xx INVALID, 5xx UNAVAILABLE, the rest FAILED. */
static const Meaning meanings[] = {
    { 400, WK_ERROR_INVALID, "BadRequest" },
    { 401, WK_ERROR_DENIED, "Unauthorized" },
    { 403, WK_ERROR_DENIED, "Forbidden" },
    { 404, WK_ERROR_NOT_FOUND, "NotFound" },
    { 405, WK_ERROR_INVALID, "MethodNotAllowed" },
    { 406, WK_ERROR_INVALID, "NotAcceptable" },
    { 408, WK_ERROR_UNAVAILABLE, "Timeout" },
    { 409, WK_ERROR_CONFLICT, "Conflict" },
    { 410, WK_ERROR_CONFLICT, "Gone" },
    { 413, WK_ERROR_INVALID, "RequestEntityTooLarge" },
    { 415, WK_ERROR_INVALID, "UnsupportedMediaType" },
    { 422, WK_ERROR_INVALID, "Invalid" },
    { 429, WK_ERROR_UNAVAILABLE, "TooManyRequests" },
    { 500, WK_ERROR_UNAVAILABLE, "InternalError" },
    { 503, WK_ERROR_UNAVAILABLE, "ServiceUnavailable" },
    { 504, WK_ERROR_UNAVAILABLE, "Timeout" },
};

/* What metav1 knows besides; a word from elsewhere is not passed on, reasons are kept for ever. */
static const char *const more_reasons[] = {
    "AlreadyExists", "Expired", "ServerTimeout", "StoreReadError", NULL,
};

static Meaning
meaning_of(guint status)
{
    Meaning other = { status, WK_ERROR_FAILED, NULL };

    for (gsize i = 0; i < G_N_ELEMENTS(meanings); i++) {
        if (meanings[i].status == status)
            return meanings[i];
    }
    if (status >= 400 && status < 500)
        other.code = WK_ERROR_INVALID;
    else if (status >= 500)
        other.code = WK_ERROR_UNAVAILABLE;
    return other;
}

static const char *
known_reason(const char *reason, const char *fallback)
{
    if (reason == NULL)
        return fallback;
    for (gsize i = 0; i < G_N_ELEMENTS(meanings); i++) {
        if (g_str_equal(meanings[i].reason, reason))
            return meanings[i].reason;
    }
    for (gsize i = 0; more_reasons[i] != NULL; i++) {
        if (g_str_equal(more_reasons[i], reason))
            return more_reasons[i];
    }
    return fallback;
}

/* Returns: (transfer full): the start of @text in one printable line. */
static char *
snippet(const char *text, gsize length, gsize max)
{
    g_autofree char *start = g_strndup(text, MIN(length, max));
    g_autofree char *printable = NULL;

    g_strstrip(g_strdelimit(start, "\r\n\t", ' '));
    printable = wk_name_printable(start);
    return g_strconcat(printable, length > max ? "..." : "", NULL);
}

/* Returns: (transfer full) (nullable): the body, if it is a Status. */
static JsonObject *
parse_status(const char *body, gsize length)
{
    g_autoptr(JsonObject) object = NULL;

    if (length == 0)
        return NULL;
    object = wk_json_parse(body, (gssize)length, STATUS_BYTES, NULL);
    if (object == NULL || g_strcmp0(wk_json_get_string(object, "kind"), "Status") != 0)
        return NULL;
    return g_steal_pointer(&object);
}

gint64
wk_kube_status_retry_after_ms(JsonObject *status)
{
    JsonObject *details = wk_json_get_object(status, "details");
    const gint64 seconds = details != NULL ? wk_json_get_int(details, "retryAfterSeconds", 0) : 0;

    return seconds > 0 && seconds < G_MAXINT ? seconds * S_TO_MS : -1;
}

void
wk_kube_error_from_answer(GError **error, guint status, const char *body, gsize length,
                          gint64 retry_after_ms, const char *what)
{
    const Meaning meaning = meaning_of(status);
    g_autoptr(JsonObject) object = parse_status(body, length);
    const char *message = object != NULL ? wk_json_get_string(object, "message") : NULL;
    const char *reason = object != NULL ? wk_json_get_string(object, "reason") : NULL;
    g_autofree char *text = NULL;
    GError *made = NULL;

    if (message != NULL && *message != '\0') {
        text = snippet(message, strlen(message), MESSAGE_MAX);
        wk_error_set(&made, meaning.code, known_reason(reason, meaning.reason), "%s", text);
    } else {
        text = snippet(body, length, SNIPPET_MAX);
        wk_error_set(&made, meaning.code, known_reason(reason, meaning.reason),
                     "%s was answered with status %u and %s%s%s", what, status,
                     length > 0 ? "\"" : "nothing", text, length > 0 ? "\"" : "");
    }
    if (retry_after_ms < 0 && object != NULL)
        retry_after_ms = wk_kube_status_retry_after_ms(object);
    wk_error_set_retry_after_ms(made, retry_after_ms);
    g_propagate_error(error, made);
}

gint64
wk_kube_retry_after_ms(const GError *error)
{
    return wk_error_get_retry_after_ms(error);
}

gboolean
wk_kube_is_denied(guint *denials, const GError *error)
{
    if (g_strcmp0(wk_error_get_reason(error), "Forbidden") != 0) {
        *denials = 0;
        return FALSE;
    }
    *denials = MIN(*denials + 1, DENIALS_MIN);
    return *denials == DENIALS_MIN;
}

void
wk_kube_error_from_curl(GError **error, CURLcode code, const char *detail, const char *what)
{
    const char *text = *detail != '\0' ? detail : curl_easy_strerror(code);

    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: /* libcurl keeps no time but that for connecting */
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "Unreachable", "%s: no connection: %s", what,
                     text);
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
        /* May be put right while we run: another file, the right time of day. */
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "BadCertificate", "%s: no connection: %s", what,
                     text);
        break;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_FILESIZE_EXCEEDED:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
        wk_error_set(error, WK_ERROR_FAILED, NULL, "%s: what answers is no API server: %s", what,
                     text);
        break;
    default:
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "ConnectionLost",
                     "%s: the connection was lost: %s", what, text);
        break;
    }
}
