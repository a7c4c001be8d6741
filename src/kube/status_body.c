/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/status.h"

#include "base/clock.h"
#include "base/json.h"
#include "kube/canonical.h"
#include "kube/wukong_private.h"

#include <string.h>

#define API_VERSION "vm.novasphere.dev/v1alpha1"

/* Where the generation of a condition is told, see wk_status_make(). */
static gboolean
has_generation(const WkStatus *self, WkConditionType type)
{
    return type == WK_CONDITION_SUCCEEDED && self->generation > 0;
}

static gboolean
is_condition_shown(const WkStatus *self, WkConditionType type, const WkSeenCondition *seen)
{
    if (self->conditions[type].status == NULL || seen->status == NULL)
        return self->conditions[type].status == NULL && seen->status == NULL;
    return g_str_equal(self->conditions[type].status, seen->status)
           && g_strcmp0(self->conditions[type].reason, seen->reason) == 0
           && g_strcmp0(self->conditions[type].message, seen->message) == 0
           && (!has_generation(self, type) || self->generation == seen->observed_generation);
}

gboolean
wk_status_is_shown(const WkStatus *self, const WkWukong *seen, gboolean with_conditions)
{
    if (!g_str_equal(self->uid, seen->uid) || g_strcmp0(self->state, seen->seen_state) != 0)
        return FALSE;
    for (int type = 0; with_conditions && type < WK_CONDITION_TYPES; type++) {
        if (!is_condition_shown(self, (WkConditionType)type, &seen->conditions[type]))
            return FALSE;
    }
    return TRUE;
}

/* Returns: (transfer full): @text as JSON; NULL for what is none. It is ours, or was ours once. */
static JsonNode *
to_node(const char *text)
{
    g_autoptr(JsonObject) object = wk_json_parse(text, -1, G_MAXSSIZE, NULL);
    JsonNode *node;

    if (object == NULL)
        return NULL;
    node = json_node_new(JSON_NODE_OBJECT);
    json_node_set_object(node, object);
    return node;
}

/* A time that the server takes. */
static gboolean
is_time(const char *text)
{
    g_autoptr(GDateTime) time = text != NULL ? g_date_time_new_from_iso8601(text, NULL) : NULL;

    return time != NULL && strchr(text, 'T') != NULL;
}

static JsonObject *
make_condition(const WkStatus *self, WkConditionType type, const WkSeenCondition *seen,
               gint64 now_us)
{
    JsonObject *object = json_object_new();
    const gboolean stays = g_strcmp0(self->conditions[type].status, seen->status) == 0
                           && is_time(seen->last_transition);

    wk_json_set_string(object, "type", wk_wukong_condition_names[type]);
    wk_json_set_string(object, "status", self->conditions[type].status);
    wk_json_set_string(object, "reason", self->conditions[type].reason);
    json_object_set_string_member(object, "message", self->conditions[type].message);
    if (has_generation(self, type))
        wk_json_set_int(object, "observedGeneration", self->generation);
    if (stays)
        wk_json_set_string(object, "lastTransitionTime", seen->last_transition);
    else
        wk_json_set_time(object, "lastTransitionTime", now_us);
    return object;
}

static JsonArray *
make_conditions(const WkStatus *self, const WkWukong *seen, gint64 now_us)
{
    JsonArray *array = json_array_new();

    for (int type = 0; type < WK_CONDITION_TYPES; type++) {
        if (self->conditions[type].status != NULL)
            json_array_add_object_element(array, make_condition(self, (WkConditionType)type,
                                                                &seen->conditions[type], now_us));
    }
    return array;
}

char *
wk_status_apply_body(const WkStatus *self, const WkWukong *seen, gint64 now_us,
                     gboolean with_conditions)
{
    g_autoptr(JsonObject) body = json_object_new();
    JsonObject *metadata = json_object_new();
    JsonObject *status = json_object_new();

    wk_json_set_string(metadata, "name", seen->name);
    wk_json_set_string(metadata, "namespace", seen->ns);
    wk_json_set_string(metadata, "uid", self->uid);
    wk_json_set_string(metadata, "resourceVersion", seen->resource_version);
    json_object_set_member(status, "lifecycleState", to_node(self->state));
    if (with_conditions)
        json_object_set_array_member(status, "conditions", make_conditions(self, seen, now_us));
    wk_json_set_string(body, "apiVersion", API_VERSION);
    wk_json_set_string(body, "kind", "Wukong");
    json_object_set_object_member(body, "metadata", metadata);
    json_object_set_object_member(body, "status", status);
    return wk_canonical_object(body);
}

/* "a/b" -> "/metadata/annotations/a~1b" (RFC 6901; none of ours has a "~"). */
static char *
annotation_path(const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, "/", -1);
    g_autofree char *escaped = g_strjoinv("~1", parts);

    return g_strconcat("/metadata/annotations/", escaped, NULL);
}

/* @value: (transfer full), NULL: none. */
static void
add_step(JsonArray *patch, const char *op, const char *path, JsonNode *value)
{
    JsonObject *step = json_object_new();

    wk_json_set_string(step, "op", op);
    wk_json_set_string(step, "path", path);
    if (value != NULL)
        json_object_set_member(step, "value", value);
    json_array_add_object_element(patch, step);
}

static JsonNode *
text_node(const char *text)
{
    return json_node_init_string(json_node_alloc(), text);
}

static void
add_annotation(JsonArray *patch, const char *name, const char *value)
{
    g_autofree char *path = annotation_path(name);

    if (value != NULL)
        add_step(patch, "add", path, text_node(value));
    else
        add_step(patch, "remove", path, NULL);
}

static void
add_annotations(JsonArray *patch, const WkStatus *self, const WkWukong *seen, int mark)
{
    if (!seen->has_annotations) {
        JsonNode *empty = json_node_new(JSON_NODE_OBJECT);

        json_node_take_object(empty, json_object_new());
        /* Somebody may have added some since: they would be overwritten. */
        add_step(patch, "test", "/metadata/annotations", json_node_new(JSON_NODE_NULL));
        add_step(patch, "add", "/metadata/annotations", empty);
    }
    add_annotation(patch, WK_ANNOTATION_STATE, self->state);
    if (mark > 0)
        add_annotation(patch, WK_ANNOTATION_SUSPENDED, "true");
    else if (mark == 0 && seen->marked_suspended) /* removing what is not there is an error */
        add_annotation(patch, WK_ANNOTATION_SUSPENDED, NULL);
    if (!wk_status_is_place_shown(self, seen))
        add_annotation(patch, WK_ANNOTATION_SAVED_ON, self->saved_here ? self->node : NULL);
}

gboolean
wk_status_is_place_shown(const WkStatus *self, const WkWukong *seen)
{
    return self->node == NULL || self->saved_here == (g_strcmp0(seen->saved_on, self->node) == 0);
}

char *
wk_status_patch_body(const WkStatus *self, const WkWukong *seen, const char *owed, int mark)
{
    g_autoptr(JsonArray) patch = json_array_new();
    g_autoptr(JsonNode) root = json_node_new(JSON_NODE_ARRAY);
    JsonNode *action = owed != NULL ? to_node(owed) : NULL;

    add_step(patch, "test", "/metadata/uid", text_node(self->uid));
    add_annotations(patch, self, seen, mark);
    if (action != NULL) {
        add_step(patch, "test", "/spec/lifecycleAction", action);
        add_step(patch, "remove", "/spec/lifecycleAction", NULL);
    }
    json_node_set_array(root, patch);
    return wk_canonical_text(root);
}
