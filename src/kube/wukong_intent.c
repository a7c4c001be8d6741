/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/wukong_private.h"

#include "base/error.h"
#include "base/json.h"
#include "base/names.h"
#include "kube/canonical.h"
#include "model/operation.h"

#include <string.h>

#define SHOWN_MAX 80
#define WORD_MAX  32

static const char request_id_allowed[] =
    "a text of 1 to " G_STRINGIFY(WK_WUKONG_REQUEST_ID_MAX) " bytes without control characters";

/* One member, what it may be, and what was found. */
static gboolean
complain(GError **error, const char *member, JsonNode *node, const char *allowed)
{
    g_autofree char *text = node != NULL ? wk_canonical_text(node) : g_strdup("nothing");
    g_autofree char *shown = wk_bounded_text(text, SHOWN_MAX);

    wk_error_set(error, WK_ERROR_INVALID, NULL, "spec.lifecycleAction%s%s: expected %s, found %s",
                 member != NULL ? "." : "", member != NULL ? member : "", allowed, shown);
    return FALSE;
}

/* Returns: the node of @member; NULL: absent or null. */
static JsonNode *
peek(JsonObject *object, const char *member)
{
    JsonNode *node = json_object_get_member(object, member);

    return node != NULL && !JSON_NODE_HOLDS_NULL(node) ? node : NULL;
}

static const char *
text_of(JsonNode *node)
{
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
        return NULL;
    return json_node_get_string(node);
}

/* A word of the contract. Longer ones are none, and not searched for. */
static const char *
word_of(JsonNode *node)
{
    const char *text = text_of(node);

    return text != NULL && wk_object_is_plain(text, WORD_MAX) ? text : NULL;
}

static gboolean
read_action(JsonObject *object, WkIntent *intent, GError **error)
{
    JsonNode *node = peek(object, "action");
    const char *word = node != NULL ? word_of(node) : NULL;

    if (word != NULL && wk_action_parse(word, &intent->action, NULL)
        && intent->action != WK_ACTION_VERIFY)
        return TRUE;
    intent->action = WK_ACTION_NONE;
    return complain(error, "action", node, "suspend, resume or discard");
}

static gboolean
read_target(JsonObject *object, WkIntent *intent, GError **error)
{
    JsonNode *node = peek(object, "target");
    const char *word = node != NULL ? word_of(node) : NULL;

    if (node == NULL)
        return TRUE;
    if (intent->action != WK_ACTION_SUSPEND)
        return complain(error, "target", node, "none (only action suspend has a target)");
    if (word != NULL && wk_target_parse(word, &intent->target, NULL))
        return TRUE;
    return complain(error, "target", node, "memory or disk");
}

/* "none" is what a schema's default fills in: fine with every action. */
static gboolean
read_fallback(JsonObject *object, WkIntent *intent, GError **error)
{
    JsonNode *node = peek(object, "fallback");
    const char *word = node != NULL ? word_of(node) : NULL;

    if (node == NULL)
        return TRUE;
    if (word == NULL || !wk_fallback_parse(word, &intent->fallback, NULL))
        return complain(error, "fallback", node, "none, memory or stop");
    if (intent->fallback != WK_FALLBACK_NONE && intent->action != WK_ACTION_SUSPEND)
        return complain(error, "fallback", node, "none (only action suspend falls back)");
    return TRUE;
}

static gboolean
read_timeout(JsonObject *object, WkIntent *intent, GError **error)
{
    JsonNode *node = peek(object, "timeoutSeconds");
    gint64 seconds;

    if (node == NULL)
        return TRUE;
    seconds = JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64
                  ? json_node_get_int(node)
                  : -1;
    if (seconds < 1 || seconds > WK_TIMEOUT_MAX_S)
        return complain(error, "timeoutSeconds", node,
                        "a whole number from 1 to " G_STRINGIFY(WK_TIMEOUT_MAX_S));
    intent->timeout_s = (guint)seconds;
    return TRUE;
}

static gboolean
read_request_id(JsonObject *object, WkIntent *intent, GError **error)
{
    JsonNode *node = peek(object, "requestId");
    const char *text = node != NULL ? text_of(node) : NULL;

    if (node == NULL)
        return TRUE;
    if (text == NULL || !wk_object_is_plain(text, WK_WUKONG_REQUEST_ID_MAX))
        return complain(error, "requestId", node, request_id_allowed);
    intent->request_id = g_strdup(text);
    return TRUE;
}

static gboolean has_null_in_list(JsonNode *node, gboolean in_list);

static gboolean
has_null_in_object(JsonObject *object)
{
    JsonObjectIter iter;
    JsonNode *value;

    json_object_iter_init(&iter, object);
    while (json_object_iter_next(&iter, NULL, &value)) {
        if (has_null_in_list(value, FALSE))
            return TRUE;
    }
    return FALSE;
}

static gboolean
has_null_in_list(JsonNode *node, gboolean in_list)
{
    JsonArray *array;

    if (JSON_NODE_HOLDS_OBJECT(node))
        return has_null_in_object(json_node_get_object(node));
    if (!JSON_NODE_HOLDS_ARRAY(node))
        return in_list && JSON_NODE_HOLDS_NULL(node);
    array = json_node_get_array(node);
    for (guint i = 0; i < json_array_get_length(array); i++) {
        if (has_null_in_list(json_array_get_element(array, i), TRUE))
            return TRUE;
    }
    return FALSE;
}

static gboolean
read_all(JsonNode *node, WkIntent *intent, GError **error)
{
    JsonObject *object;

    if (!JSON_NODE_HOLDS_OBJECT(node))
        return complain(error, NULL, node, "an object");
    object = json_node_get_object(node);
    intent->raw = wk_canonical_object(object);
    if (strlen(intent->raw) > WK_WUKONG_TEXT_MAX)
        return complain(error, NULL, node, "at most " G_STRINGIFY(WK_WUKONG_TEXT_MAX) " bytes");
    if (has_null_in_list(node, FALSE))
        return complain(error, NULL, node, "no null inside a list");
    return read_action(object, intent, error) && read_target(object, intent, error)
           && read_fallback(object, intent, error) && read_timeout(object, intent, error)
           && read_request_id(object, intent, error);
}

void
wk_wukong_read_intent(JsonObject *spec, WkIntent *intent)
{
    JsonNode *node = spec != NULL ? peek(spec, "lifecycleAction") : NULL;
    g_autoptr(GError) error = NULL;

    if (node == NULL)
        return;
    intent->present = TRUE;
    if (read_all(node, intent, &error))
        return;
    wk_intent_clear(intent);
    intent->present = TRUE;
    intent->error = g_steal_pointer(&error);
}
