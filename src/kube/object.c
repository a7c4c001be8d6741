/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/object.h"

#include "base/error.h"
#include "base/json.h"
#include "base/names.h"
#include "kube/canonical.h"

#include <string.h>

gboolean
wk_object_is_plain(const char *text, gsize max_bytes)
{
    g_autofree char *shown = NULL;

    if (*text == '\0' || strlen(text) > max_bytes)
        return FALSE;
    shown = wk_name_printable(text);
    return g_str_equal(shown, text);
}

gboolean
wk_object_is_identifier(const char *text, gsize max_bytes)
{
    if (text == NULL || strlen(text) > max_bytes || !g_ascii_isalnum(*text))
        return FALSE;
    for (const char *p = text; *p != '\0'; p++) {
        if (!g_ascii_isalnum(*p) && *p != '-' && *p != '.' && *p != '_')
            return FALSE;
    }
    return TRUE;
}

char *
wk_object_keep(JsonObject *object, const char *member, gsize max_bytes)
{
    const char *text = wk_json_get_string(object, member);

    return text != NULL && wk_object_is_plain(text, max_bytes) ? g_strdup(text) : NULL;
}

char *
wk_object_keep_identifier(JsonObject *object, const char *member)
{
    const char *text = wk_json_get_string(object, member);

    return wk_object_is_identifier(text, WK_OBJECT_NAME_MAX) ? g_strdup(text) : NULL;
}

char *
wk_object_need_identifier(JsonObject *metadata, const char *member, gsize max_bytes, GError **error)
{
    const char *text = wk_json_get_string(metadata, member);
    g_autofree char *shown = NULL;

    if (wk_object_is_identifier(text, max_bytes))
        return g_strdup(text);
    shown = wk_bounded_text(text, 80);
    wk_error_set(error, WK_ERROR_INVALID, NULL,
                 "metadata.%s: expected letters, digits, '-', '.', '_', at most %" G_GSIZE_FORMAT
                 " of them, found \"%s\"",
                 member, max_bytes, shown);
    return NULL;
}

gboolean
wk_object_need_identity(JsonObject *metadata, char **ns, char **name, char **uid, GError **error)
{
    *uid = wk_object_need_identifier(metadata, "uid", WK_OBJECT_UID_MAX, error);
    if (*uid == NULL)
        return FALSE;
    *name = wk_object_need_identifier(metadata, "name", WK_OBJECT_NAME_MAX, error);
    if (*name == NULL)
        return FALSE;
    *ns = wk_object_need_identifier(metadata, "namespace", WK_OBJECT_NAME_MAX, error);
    return *ns != NULL;
}

JsonNode *
wk_object_peek(JsonObject *object, const char *member)
{
    JsonNode *node = object != NULL ? json_object_get_member(object, member) : NULL;

    return node != NULL && !JSON_NODE_HOLDS_NULL(node) ? node : NULL;
}

gboolean
wk_object_is_true(JsonObject *object, const char *member)
{
    JsonNode *node = wk_object_peek(object, member);

    return node != NULL && JSON_NODE_HOLDS_VALUE(node)
           && json_node_get_value_type(node) == G_TYPE_BOOLEAN && json_node_get_boolean(node);
}

JsonObject *
wk_object_element(JsonArray *array, guint index)
{
    JsonNode *node = json_array_get_element(array, index);

    return JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

guint
wk_object_count(JsonArray *array)
{
    return array != NULL ? json_array_get_length(array) : 0;
}
