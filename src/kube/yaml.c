/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/yaml.h"

#include "base/error.h"

#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 32
#define NODES_MAX 20000

typedef struct {
    yaml_document_t *document;
    guint nodes; /* made so far: an alias counts as often as it is used */
} Converter;

static JsonNode *convert(Converter *self, int index, guint depth, GError **error);

static void
auto_delete_parser(yaml_parser_t *parser)
{
    yaml_parser_delete(parser);
}

static void
auto_delete_document(yaml_document_t *document)
{
    yaml_document_delete(document);
}

static JsonNode *
refuse(const yaml_node_t *node, const char *what, GError **error)
{
    wk_error_set(error, WK_ERROR_INVALID, "BadYaml", "line %zu: %s", node->start_mark.line + 1,
                 what);
    return NULL;
}

/* Returns: (transfer full): the scalar's text; NULL for YAML's null. */
static char *
scalar_text(const yaml_node_t *node)
{
    const char *value = (const char *)node->data.scalar.value;
    const gboolean plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

    if (plain
        && (*value == '\0' || g_str_equal(value, "~") || g_ascii_strcasecmp(value, "null") == 0))
        return NULL;
    return g_strdup(value);
}

static JsonNode *
convert_scalar(const yaml_node_t *node, GError **error)
{
    g_autofree char *text = NULL;

    if (strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
        return refuse(node, "a NUL character in a text", error);
    text = scalar_text(node);
    if (text == NULL)
        return json_node_new(JSON_NODE_NULL);
    return json_node_init_string(json_node_alloc(), text);
}

static JsonNode *
convert_sequence(Converter *self, const yaml_node_t *node, guint depth, GError **error)
{
    g_autoptr(JsonArray) array = json_array_new();

    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        JsonNode *element = convert(self, *item, depth + 1, error);

        if (element == NULL)
            return NULL;
        json_array_add_element(array, element);
    }
    return json_node_init_array(json_node_alloc(), array);
}

static JsonNode *
convert_mapping(Converter *self, const yaml_node_t *node, guint depth, GError **error)
{
    g_autoptr(JsonObject) object = json_object_new();

    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(self->document, pair->key);
        JsonNode *value;

        if (key->type != YAML_SCALAR_NODE)
            return refuse(key, "a key that is no text", error);
        if (json_object_has_member(object, (const char *)key->data.scalar.value))
            return refuse(key, "the same key twice", error);
        value = convert(self, pair->value, depth + 1, error);
        if (value == NULL)
            return NULL;
        if (JSON_NODE_HOLDS_NULL(value))
            json_node_unref(value);
        else
            json_object_set_member(object, (const char *)key->data.scalar.value, value);
    }
    return json_node_init_object(json_node_alloc(), object);
}

/* Returns: (transfer full). */
static JsonNode *
convert(Converter *self, int index, guint depth, GError **error)
{
    const yaml_node_t *node = yaml_document_get_node(self->document, index);

    if (depth > DEPTH_MAX)
        return refuse(node, "nested too deeply", error);
    if (++self->nodes > NODES_MAX)
        return refuse(node, "too many values", error);
    switch (node->type) {
    case YAML_SCALAR_NODE:
        return convert_scalar(node, error);
    case YAML_SEQUENCE_NODE:
        return convert_sequence(self, node, depth, error);
    case YAML_MAPPING_NODE:
        return convert_mapping(self, node, depth, error);
    case YAML_NO_NODE:
    default:
        return refuse(node, "an empty node", error);
    }
}

static JsonObject *
convert_document(yaml_document_t *document, GError **error)
{
    Converter converter = { .document = document };
    const yaml_node_t *root = yaml_document_get_root_node(document);
    g_autoptr(JsonNode) tree = NULL;

    if (root == NULL || root->type != YAML_MAPPING_NODE) {
        wk_error_set(error, WK_ERROR_INVALID, "BadYaml", "it is not a mapping");
        return NULL;
    }
    tree = convert(&converter, 1, 0, error);
    return tree != NULL ? json_object_ref(json_node_get_object(tree)) : NULL;
}

JsonObject *
wk_yaml_parse(const char *text, gsize length, GError **error)
{
    __attribute__((cleanup(auto_delete_parser))) yaml_parser_t parser;
    __attribute__((cleanup(auto_delete_document))) yaml_document_t document;

    memset(&document, 0, sizeof document);
    if (yaml_parser_initialize(&parser) == 0)
        g_error("out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    if (yaml_parser_load(&parser, &document) == 0) {
        wk_error_set(error, WK_ERROR_INVALID, "BadYaml", "line %zu: %s",
                     parser.problem_mark.line + 1,
                     parser.problem != NULL ? parser.problem : "it can't be read");
        return NULL;
    }
    return convert_document(&document, error);
}
