/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control/codec.h"

#include "base/error.h"
#include "base/json.h"

#include <libsoup/soup.h>

#define PROBLEM_BASE "https://novasphere.dev/wukong/problems/"

/* One row a code; what is not here is a 500. */
static const struct {
    WkErrorCode code;
    guint status;
    const char *word;
    const char *title;
} kinds[] = {
    { WK_ERROR_FAILED, SOUP_STATUS_INTERNAL_SERVER_ERROR, "Failed", "It failed" },
    { WK_ERROR_INVALID, SOUP_STATUS_BAD_REQUEST, "Invalid", "The request is not valid" },
    { WK_ERROR_NOT_FOUND, SOUP_STATUS_NOT_FOUND, "NotFound", "There is no such thing" },
    { WK_ERROR_CONFLICT, SOUP_STATUS_CONFLICT, "Conflict", "Not possible in this state" },
    { WK_ERROR_REFUSED, SOUP_STATUS_UNPROCESSABLE_ENTITY, "Refused", "A precheck says no" },
    { WK_ERROR_DENIED, SOUP_STATUS_FORBIDDEN, "Denied", "You may not" },
    { WK_ERROR_UNAVAILABLE, SOUP_STATUS_SERVICE_UNAVAILABLE, "Unavailable", "Not available now" },
    { WK_ERROR_TIMEOUT, SOUP_STATUS_GATEWAY_TIMEOUT, "Timeout", "The deadline passed" },
    { WK_ERROR_CANCELLED, SOUP_STATUS_INTERNAL_SERVER_ERROR, "Cancelled", "It was cancelled" },
    { WK_ERROR_CORRUPT, SOUP_STATUS_INTERNAL_SERVER_ERROR, "Corrupt", "Data are damaged" },
};

/* Reasons of HTTP's own that have a status of their own. */
static const struct {
    const char *reason;
    guint status;
} http_reasons[] = {
    { "MethodNotAllowed", SOUP_STATUS_METHOD_NOT_ALLOWED },
    { "BodyTooLarge", SOUP_STATUS_REQUEST_ENTITY_TOO_LARGE },
    { "UnsupportedMediaType", SOUP_STATUS_UNSUPPORTED_MEDIA_TYPE },
};

/* Members of the body of a POST; WK_ACTION_NONE is cancel. */
static const char *const known_members[][5] = {
    [WK_ACTION_NONE] = { NULL },
    [WK_ACTION_SUSPEND] = { "target", "timeoutSeconds", "fallback", "dryRun", NULL },
    [WK_ACTION_RESUME] = { "timeoutSeconds", "dryRun", NULL },
    [WK_ACTION_DISCARD] = { "timeoutSeconds", "dryRun", NULL },
    [WK_ACTION_VERIFY] = { "timeoutSeconds", "dryRun", NULL },
};

/* What is not UTF-8 (an error text of somebody else's) must not make the whole answer unreadable.
 */
static void
set_text(JsonObject *object, const char *member, const char *value)
{
    g_autofree char *valid = value != NULL ? g_utf8_make_valid(value, -1) : NULL;

    wk_json_set_string(object, member, valid);
}

/* JSON has signed numbers here; nothing on a node is that large, but nothing may turn negative. */
static void
set_count(JsonObject *object, const char *member, guint64 value)
{
    wk_json_set_int(object, member, (gint64)MIN(value, (guint64)G_MAXINT64));
}

static void
set_count_if(JsonObject *object, const char *member, guint64 value)
{
    if (value > 0)
        set_count(object, member, value);
}

static JsonObject *
codec_owner(const WkOwner *owner)
{
    JsonObject *object = json_object_new();

    set_text(object, "namespace", owner->ns);
    set_text(object, "name", owner->name);
    set_text(object, "uid", owner->uid);
    return object;
}

JsonObject *
wk_codec_guest(const WkView *view)
{
    JsonObject *object = json_object_new();

    set_text(object, "id", view->id);
    set_text(object, "name", view->name);
    set_text(object, "source", view->source);
    if (view->owner.uid != NULL)
        json_object_set_object_member(object, "wukong", codec_owner(&view->owner));
    set_text(object, "state", wk_state_name(view->state));
    set_text(object, "target", wk_target_name(view->target));
    set_text(object, "reason", view->reason);
    set_text(object, "message", view->message);
    set_text(object, "origin", wk_origin_name(view->origin));
    if (view->progress_percent >= 0)
        wk_json_set_int(object, "progressPercent", view->progress_percent);
    set_count_if(object, "savedBytes", view->saved_bytes);
    wk_json_set_time(object, "savedAt", view->saved_at_us);
    set_count_if(object, "memoryBytes", view->memory_bytes);
    set_text(object, "lastAction", wk_action_name(view->last_action));
    wk_json_set_time(object, "lastActionTime", view->last_action_at_us);
    if (view->restorable >= 0)
        json_object_set_boolean_member(object, "restorable", view->restorable > 0);
    set_text(object, "operation", view->operation);
    return object;
}

static void
add_progress(JsonObject *object, const WkOperation *operation)
{
    const int percent = wk_operation_percent(operation);
    const gint64 seconds_left = wk_operation_seconds_left(operation);

    if (percent >= 0)
        wk_json_set_int(object, "progressPercent", percent);
    if (operation->total_bytes > 0) {
        set_count(object, "bytesDone", operation->done_bytes);
        set_count(object, "bytesTotal", operation->total_bytes);
        set_count_if(object, "bytesPerSecond", operation->bytes_per_second);
    }
    if (seconds_left >= 0 && !wk_op_state_is_final(operation->state))
        wk_json_set_int(object, "secondsLeft", seconds_left);
}

JsonObject *
wk_codec_operation(const WkOperation *operation)
{
    JsonObject *object = json_object_new();

    set_text(object, "id", operation->id);
    set_text(object, "guest", operation->guest);
    set_text(object, "name", operation->name);
    set_text(object, "action", wk_action_name(operation->action));
    set_text(object, "target", wk_target_name(operation->target));
    set_text(object, "state", wk_op_state_name(operation->state));
    set_text(object, "step", wk_step_name(operation->step));
    set_text(object, "origin", wk_origin_name(operation->origin));
    set_count_if(object, "attempt", operation->attempt);
    add_progress(object, operation);
    set_text(object, "reason", operation->reason);
    set_text(object, "message", operation->message);
    wk_json_set_time(object, "acceptedAt", operation->accepted_at_us);
    wk_json_set_time(object, "deadline", operation->deadline_at_us);
    wk_json_set_time(object, "startedAt", operation->started_at_us);
    wk_json_set_time(object, "finishedAt", operation->finished_at_us);
    return object;
}

JsonObject *
wk_codec_image(const WkImageView *image)
{
    JsonObject *object = json_object_new();

    set_text(object, "id", image->id);
    set_text(object, "guest", image->name);
    set_text(object, "source", image->source);
    set_text(object, "state", wk_ledger_state_name(image->state));
    set_count_if(object, "sizeBytes", image->size_bytes);
    wk_json_set_time(object, "savedAt", image->saved_at_us);
    wk_json_set_time(object, "verified", image->verified_at_us);
    set_text(object, "bootId", image->boot_id);
    set_text(object, "disksVerified", image->disks_partial ? "partial" : "full");
    json_object_set_boolean_member(object, "orphan", image->orphan);
    set_text(object, "digest", image->digest);
    set_text(object, "reason", image->reason);
    return object;
}

JsonObject *
wk_codec_check(const WkCheck *check)
{
    JsonObject *object = json_object_new();

    set_text(object, "name", check->name);
    set_text(object, "level", wk_check_level_name(check->level));
    set_text(object, "message", check->message);
    set_text(object, "nextStep", check->next_step);
    return object;
}

/* "PausedByIOError" -> "paused-by-io-error": a dash where a word or the end of an acronym begins.
 * Returns: (transfer full). */
static char *
kebab(const char *word)
{
    GString *text = g_string_new(NULL);

    for (const char *p = word; *p != '\0'; p++) {
        const gboolean upper = g_ascii_isupper(*p);

        if (upper && p > word && (!g_ascii_isupper(p[-1]) || g_ascii_islower(p[1])))
            g_string_append_c(text, '-');
        g_string_append_c(text, g_ascii_isalnum(*p) ? g_ascii_tolower(*p) : '-');
    }
    return g_string_free(text, FALSE);
}

/* Returns: the row of @error; errors of other domains are failures of ours. */
static gsize
kind_of(const GError *error)
{
    for (gsize i = 0; error->domain == WK_ERROR && i < G_N_ELEMENTS(kinds); i++) {
        if ((int)kinds[i].code == error->code)
            return i;
    }
    return 0;
}

static guint
status_of(gsize kind, const char *reason)
{
    for (gsize i = 0; i < G_N_ELEMENTS(http_reasons); i++) {
        if (g_strcmp0(reason, http_reasons[i].reason) == 0)
            return http_reasons[i].status;
    }
    return kinds[kind].status;
}

JsonObject *
wk_codec_problem(const GError *error, guint *status)
{
    const gsize kind = kind_of(error);
    const char *reason = wk_error_get_reason(error);
    g_autofree char *word = kebab(reason != NULL ? reason : kinds[kind].word);
    g_autofree char *type = g_strconcat(PROBLEM_BASE, word, NULL);
    JsonObject *object = json_object_new();

    *status = status_of(kind, reason);
    set_text(object, "type", type);
    set_text(object, "title", kinds[kind].title);
    wk_json_set_int(object, "status", *status);
    set_text(object, "detail", error->message);
    set_text(object, "reason", reason);
    return object;
}

static gboolean
read_target(JsonObject *body, WkTarget *target, GError **error)
{
    const char *name = NULL;

    if (!wk_json_opt_string(body, "target", &name, error))
        return FALSE;
    return name == NULL || wk_target_parse(name, target, error);
}

static gboolean
read_fallback(JsonObject *body, WkFallback *fallback, GError **error)
{
    const char *name = NULL;

    if (!wk_json_opt_string(body, "fallback", &name, error))
        return FALSE;
    return name == NULL || wk_fallback_parse(name, fallback, error);
}

gboolean
wk_codec_read_request(JsonObject *body, WkAction action, WkRequest *request, GError **error)
{
    WkTarget target = WK_TARGET_NONE;
    WkFallback fallback = WK_FALLBACK_NONE;
    gint64 timeout_s = 0;
    gboolean dry_run = FALSE;

    g_return_val_if_fail((gsize)action < G_N_ELEMENTS(known_members), FALSE);

    if (!wk_json_only(body, known_members[action], error) || !read_target(body, &target, error)
        || !read_fallback(body, &fallback, error)
        || !wk_json_opt_int(body, "timeoutSeconds", 1, WK_TIMEOUT_MAX_S, &timeout_s, error)
        || !wk_json_opt_bool(body, "dryRun", &dry_run, error))
        return FALSE;
    request->action = action;
    request->target = target;
    request->fallback = fallback;
    request->timeout_s = (guint)timeout_s;
    request->dry_run = dry_run;
    return TRUE;
}
