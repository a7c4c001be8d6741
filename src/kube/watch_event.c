/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/watch_event.h"

#include "base/error.h"
#include "base/json.h"
#include "base/names.h"
#include "kube/error.h"

#include <string.h>

#define LINE_MAX_BYTES  (16 * 1024 * 1024)
#define INITIAL_END     "k8s.io/initial-events-end"
#define MESSAGE_MAX     300
#define STATUS_GONE     410
#define STATUS_TOO_MANY 429
#define STATUS_SERVER   500

static const char *const type_names[] = {
    [WK_WATCH_ADDED] = "ADDED",
    [WK_WATCH_MODIFIED] = "MODIFIED",
    [WK_WATCH_DELETED] = "DELETED",
    [WK_WATCH_BOOKMARK] = "BOOKMARK",
};

static const char *const words_of_gone[] = { "Expired", "Gone", NULL };

static gboolean
refuse(GError **error, const char *what)
{
    wk_error_set(error, WK_ERROR_INVALID, "BadWatch", "the watch sent %s", what);
    return FALSE;
}

/* As client-go: the code or the word. */
static gboolean
is_expired(JsonObject *status, gint64 code)
{
    const char *word = wk_json_get_string(status, "reason");

    return code == STATUS_GONE || (word != NULL && g_strv_contains(words_of_gone, word));
}

/* Returns: (transfer full): the status's message, printable and not too long. */
static char *
shown_message(JsonObject *status)
{
    const char *message = wk_json_get_string(status, "message");
    g_autofree char *shown = wk_name_printable(message != NULL ? message : "(no message)");

    if (strlen(shown) > MESSAGE_MAX)
        *g_utf8_find_prev_char(shown, shown + MESSAGE_MAX + 1) = '\0';
    return g_steal_pointer(&shown);
}

/* An ERROR event carries a metav1.Status. */
static gboolean
fail_with_status(JsonObject *status, GError **error)
{
    const gint64 code = wk_json_get_int(status, "code", 0);
    const gboolean expired = is_expired(status, code);
    const gboolean passing = code == STATUS_TOO_MANY || code >= STATUS_SERVER;
    g_autofree char *shown = shown_message(status);
    GError *made = NULL;

    wk_error_set(&made,
                 expired   ? WK_ERROR_CONFLICT
                 : passing ? WK_ERROR_UNAVAILABLE
                           : WK_ERROR_FAILED,
                 expired ? "Expired" : "WatchError", "the watch ended: %s (%" G_GINT64_FORMAT ")",
                 shown, code);
    wk_error_set_retry_after_ms(made, wk_kube_status_retry_after_ms(status));
    g_propagate_error(error, made);
    return FALSE;
}

static gboolean
is_initial_end(JsonObject *metadata)
{
    JsonObject *annotations = wk_json_get_object(metadata, "annotations");

    return g_strcmp0(annotations != NULL ? wk_json_get_string(annotations, INITIAL_END) : NULL,
                     "true")
           == 0;
}

static gboolean
read_event(JsonObject *line, WkWatchEvent *event, GError **error)
{
    const char *type = wk_json_get_string(line, "type");
    JsonObject *object = wk_json_get_object(line, "object");
    JsonObject *metadata;
    int value;

    if (type == NULL || object == NULL)
        return refuse(error, "a line without type or object");
    if (g_str_equal(type, "ERROR"))
        return fail_with_status(object, error);
    if (!wk_name_parse(type_names, G_N_ELEMENTS(type_names), "type", type, &value, NULL))
        return refuse(error, "an event of a type that is not known");
    metadata = wk_json_get_object(object, "metadata");
    event->version = metadata != NULL ? wk_json_get_string(metadata, "resourceVersion") : NULL;
    if (event->version == NULL || *event->version == '\0')
        return refuse(error, "an object without a resourceVersion");
    event->type = (WkWatchType)value;
    event->object = json_object_ref(object);
    event->initial_end = event->type == WK_WATCH_BOOKMARK && is_initial_end(metadata);
    return TRUE;
}

gboolean
wk_watch_event_parse(const char *text, gsize length, WkWatchEvent *event, GError **error)
{
    g_autoptr(JsonObject) line = NULL;
    g_autoptr(GError) local = NULL;

    *event = (WkWatchEvent){ .object = NULL };
    line = wk_json_parse(text, (gssize)length, LINE_MAX_BYTES, &local);
    if (line != NULL)
        return read_event(line, event, error);
    wk_error_set(error, WK_ERROR_INVALID, "BadWatch", "the watch sent a line that is no JSON: %s",
                 local->message);
    return FALSE;
}

void
wk_watch_event_clear(WkWatchEvent *self)
{
    g_clear_pointer(&self->object, json_object_unref);
}
