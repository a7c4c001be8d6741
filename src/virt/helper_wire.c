/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/helper_wire.h"

#include "base/error.h"
#include "base/json.h"
#include "base/names.h"

#include <string.h>

#define MESSAGE_MAX 1024
#define ANSWER_MAX  (256 * 1024)
#define SHORT_MS    10000
/* libvirt's own wait for another job (30 s), and to end a QEMU that does not react. */
#define JOB_MS 45000

static const WkHelperKind kinds[] = {
    [WK_HELPER_PING] = { "ping", SHORT_MS, ANSWER_MAX, FALSE },
    [WK_HELPER_LOOK] = { "look", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_LOOK_BRIEF] = { "look-brief", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_AWAIT_LOADED] = { "await-loaded", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_FACTS] = { "facts", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_SUSPEND] = { "suspend", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_RESUME] = { "resume", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_DESTROY] = { "destroy", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_SHUTDOWN] = { "shutdown", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_SAVE] = { "save", 0, ANSWER_MAX, TRUE },
    [WK_HELPER_SAVE_REMOVE] = { "save-remove", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_SAVE_SET_PAUSED] = { "save-set-paused", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_SET_OP] = { "set-op", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_ABORT_JOB] = { "abort-job", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_PROGRESS] = { "progress", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_SYNC_TIME] = { "sync-time", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_MAKE_PERSISTENT] = { "make-persistent", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_CHECK_STARTABLE] = { "check-startable", JOB_MS, ANSWER_MAX, TRUE },
    [WK_HELPER_READ_IMAGE] = { "read-image", SHORT_MS, ANSWER_MAX, FALSE },
    [WK_HELPER_REWRITE_IMAGE] = { "rewrite-image", SHORT_MS, WK_HELPER_LINE_MAX, FALSE },
#ifdef WK_FAILPOINTS
    [WK_HELPER_PROBE] = { "probe", SHORT_MS, ANSWER_MAX, FALSE },
#endif
};
G_STATIC_ASSERT(G_N_ELEMENTS(kinds) == WK_HELPER_METHODS);

/* What a helper may give as a reason; whatever else it says is left out. */
static const char *const reasons[] = {
    "NoSpace", "TimeNotSynced", "EmulatorMissing", "MachineTypeMissing", "CPUIncompatible",
};

const WkHelperKind *
wk_helper_kind(WkHelperMethod method)
{
    return &kinds[method];
}

static gboolean
can_send(const char *text, GError **error)
{
    const gsize length = text != NULL ? strnlen(text, WK_HELPER_XML_MAX + 1) : 0;

    if (length <= WK_HELPER_XML_MAX && (text == NULL || g_utf8_validate(text, -1, NULL)))
        return TRUE;
    wk_error_set(error, WK_ERROR_CORRUPT, NULL, "XML of an image is %s",
                 length > WK_HELPER_XML_MAX ? "too long" : "not valid UTF-8");
    return FALSE;
}

/* Takes @object (transfer full). */
static char *
to_line(JsonObject *object)
{
    g_autofree char *text = wk_json_to_text(object);

    json_object_unref(object);
    return g_strconcat(text, "\n", NULL);
}

char *
wk_helper_request_format(guint64 id, const WkHelperRequest *request, GError **error)
{
    JsonObject *object;

    if (!can_send(request->domain, error) || !can_send(request->text, error)
        || !can_send(request->from, error) || !can_send(request->to, error))
        return NULL;
    object = json_object_new();
    wk_json_set_int(object, "id", (gint64)id);
    wk_json_set_string(object, "call", kinds[request->method].name);
    wk_json_set_string(object, "domain", request->domain);
    wk_json_set_string(object, "text", request->text);
    wk_json_set_string(object, "from", request->from);
    wk_json_set_string(object, "to", request->to);
    return to_line(object);
}

static gboolean
parse_method(const char *name, WkHelperMethod *method, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (!g_str_equal(name, kinds[i].name))
            continue;
        *method = (WkHelperMethod)i;
        return TRUE;
    }
    wk_error_set(error, WK_ERROR_INVALID, NULL, "there is no such call");
    return FALSE;
}

static gboolean
parse_id(JsonObject *object, guint64 *id, GError **error)
{
    gint64 value = -1;

    if (!wk_json_opt_int(object, "id", 0, G_MAXINT64, &value, error))
        return FALSE;
    if (value < 0) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "a line without 'id'");
        return FALSE;
    }
    *id = (guint64)value;
    return TRUE;
}

JsonObject *
wk_helper_request_parse(const char *line, gsize length, guint64 *id, WkHelperRequest *request,
                        GError **error)
{
    static const char *const known[] = { "id", "call", "domain", "text", "from", "to", NULL };
    g_autoptr(JsonObject) object = wk_json_parse(line, (gssize)length, WK_HELPER_LINE_MAX, error);
    const char *call;

    *request = (WkHelperRequest){ 0 };
    if (object == NULL || !wk_json_only(object, known, error) || !parse_id(object, id, error)
        || !wk_json_need_string(object, "call", &call, error)
        || !parse_method(call, &request->method, error)
        || !wk_json_opt_string(object, "domain", &request->domain, error)
        || !wk_json_opt_string(object, "text", &request->text, error)
        || !wk_json_opt_string(object, "from", &request->from, error)
        || !wk_json_opt_string(object, "to", &request->to, error))
        return NULL;
    return g_steal_pointer(&object);
}

char *
wk_helper_result_format(guint64 id, JsonObject *result)
{
    JsonObject *object = json_object_new();

    wk_json_set_int(object, "id", (gint64)id);
    json_object_set_object_member(object, "result",
                                  result != NULL ? json_object_ref(result) : json_object_new());
    return to_line(object);
}

char *
wk_helper_error_format(guint64 id, const GError *failed)
{
    g_autofree char *message = wk_name_printable(failed->message);
    g_autofree char *cut = g_utf8_substring(message, 0, MIN(g_utf8_strlen(message, -1), 512));
    JsonObject *object = json_object_new();
    JsonObject *said = json_object_new();

    wk_json_set_int(said, "code", failed->domain == WK_ERROR ? failed->code : WK_ERROR_FAILED);
    wk_json_set_string(said, "reason", wk_error_get_reason(failed));
    wk_json_set_string(said, "message", cut);
    wk_json_set_int(object, "id", (gint64)id);
    json_object_set_object_member(object, "error", said);
    return to_line(object);
}

static const char *
known_reason(const char *reason)
{
    for (gsize i = 0; reason != NULL && i < G_N_ELEMENTS(reasons); i++) {
        if (g_str_equal(reason, reasons[i]))
            return reasons[i];
    }
    return NULL;
}

/* What a helper says of its failures goes into logs, status and answers: bounded, printable. */
static gboolean
parse_error(JsonObject *said, GError **failed, GError **error)
{
    static const char *const known[] = { "code", "reason", "message", NULL };
    g_autofree char *words = NULL;
    const char *reason = NULL;
    const char *message;
    gint64 code = WK_ERROR_FAILED;

    if (!wk_json_only(said, known, error)
        || !wk_json_opt_int(said, "code", WK_ERROR_FAILED, WK_ERROR_CORRUPT, &code, error)
        || !wk_json_opt_string(said, "reason", &reason, error)
        || !wk_json_need_string(said, "message", &message, error))
        return FALSE;
    words = wk_name_printable(message);
    if (strlen(words) > MESSAGE_MAX)
        *g_utf8_find_prev_char(words, words + MESSAGE_MAX) = '\0';
    wk_error_set(failed, (WkErrorCode)code, known_reason(reason), "%s", words);
    return TRUE;
}

JsonObject *
wk_helper_answer_parse(const char *line, gsize length, guint64 *id, GError **failed, GError **error)
{
    static const char *const known[] = { "id", "result", "error", NULL };
    g_autoptr(JsonObject) object = wk_json_parse(line, (gssize)length, WK_HELPER_LINE_MAX, error);
    JsonObject *result;
    JsonObject *said;

    if (object == NULL || !wk_json_only(object, known, error) || !parse_id(object, id, error))
        return NULL;
    result = wk_json_get_object(object, "result");
    said = wk_json_get_object(object, "error");
    if ((result == NULL) == (said == NULL)) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "an answer has either 'result' or 'error'");
        return NULL;
    }
    if (result != NULL)
        return json_object_ref(result);
    return parse_error(said, failed, error) ? json_object_new() : NULL;
}
