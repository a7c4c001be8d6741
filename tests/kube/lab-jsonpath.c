/* SPDX-License-Identifier: Apache-2.0 */
/* As much of kubectl's JSONPath as the tests use. */
#include "lab-api.h"

#include <string.h>

/* A name up to a dot, a bracket or the end; "\\." is a dot in it. (transfer full) */
static char *
take_name(const char **at)
{
    GString *name = g_string_new(NULL);

    for (; **at != '\0' && **at != '.' && **at != '['; (*at)++) {
        if ((*at)[0] == '\\' && (*at)[1] == '.')
            (*at)++;
        g_string_append_c(name, **at);
    }
    return g_string_free(name, FALSE);
}

static void
add_members(GPtrArray *nodes, const char *name, GPtrArray *found)
{
    for (guint i = 0; i < nodes->len; i++) {
        JsonNode *node = g_ptr_array_index(nodes, i);
        JsonNode *member = JSON_NODE_HOLDS_OBJECT(node)
                               ? json_object_get_member(json_node_get_object(node), name)
                               : NULL;

        if (member != NULL)
            g_ptr_array_add(found, member);
    }
}

/* @filter: NULL, or "@.name=="text"". */
static gboolean
passes(JsonNode *element, const char *filter)
{
    g_auto(GStrv) sides = filter != NULL ? g_strsplit(filter, "==", 2) : NULL;
    g_autofree char *wanted = NULL;
    JsonNode *member;

    if (filter == NULL)
        return TRUE;
    if (!JSON_NODE_HOLDS_OBJECT(element) || g_strv_length(sides) != 2)
        return FALSE;
    wanted = g_strndup(sides[1] + 1, strlen(sides[1]) - 2); /* between the quotes */
    member = json_object_get_member(json_node_get_object(element), sides[0] + strlen("@."));
    return member != NULL && g_strcmp0(json_node_get_string(member), wanted) == 0;
}

/* @what: between the brackets. */
static void
add_elements(GPtrArray *nodes, const char *what, GPtrArray *found)
{
    const gboolean filters = g_str_has_prefix(what, "?(");
    g_autofree char *filter = filters ? g_strndup(what + 2, strlen(what) - 3) : NULL;
    const gboolean all = filters || g_str_equal(what, "*");
    const guint wanted = all ? 0 : (guint)g_ascii_strtoull(what, NULL, 10);

    for (guint i = 0; i < nodes->len; i++) {
        JsonNode *node = g_ptr_array_index(nodes, i);
        JsonArray *array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
        const guint n = array != NULL ? json_array_get_length(array) : 0;

        for (guint j = all ? 0 : wanted; j < n && (all || j == wanted); j++) {
            if (passes(json_array_get_element(array, j), filter))
                g_ptr_array_add(found, json_array_get_element(array, j));
        }
    }
}

/* (transfer container): NULL: not what we know. */
static GPtrArray *
walk(JsonNode *root, const char *path)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();

    g_ptr_array_add(nodes, root);
    while (*path != '\0') {
        g_autoptr(GPtrArray) found = g_ptr_array_new();
        const char *end = *path == '[' ? strchr(path, ']') : NULL;
        g_autofree char *word = NULL;

        if (*path == '.') {
            path++;
            word = take_name(&path);
            add_members(nodes, word, found);
        } else if (end != NULL) {
            word = g_strndup(path + 1, (gsize)(end - path) - 1);
            add_elements(nodes, word, found);
            path = end + 1;
        } else {
            return NULL;
        }
        g_ptr_array_unref(nodes);
        nodes = g_steal_pointer(&found);
    }
    return g_steal_pointer(&nodes);
}

static void
print(GString *text, JsonNode *node)
{
    g_autofree char *json = NULL;

    if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING) {
        g_string_append(text, json_node_get_string(node));
        return;
    }
    if (JSON_NODE_HOLDS_NULL(node))
        return;
    json = json_to_string(node, FALSE);
    g_string_append(text, json);
}

char *
lab_jsonpath(JsonNode *root, const char *template)
{
    g_autoptr(GString) text = g_string_new(NULL);

    while (*template != '\0') {
        g_autoptr(GPtrArray) found = NULL;
        g_autofree char *path = NULL;
        const char *end = *template == '{' ? strchr(template, '}') : NULL;

        if (end == NULL) {
            g_string_append_c(text, *template ++);
            continue;
        }
        path = g_strndup(template + 1, (gsize)(end - template) - 1);
        found = walk(root, path);
        if (found == NULL)
            return NULL;
        for (guint i = 0; i < found->len; i++) {
            if (i > 0)
                g_string_append_c(text, ' ');
            print(text, g_ptr_array_index(found, i));
        }
        template = end + 1;
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}
