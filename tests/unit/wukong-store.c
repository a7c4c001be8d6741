/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "wukong-store.h"

#include "base/json.h"
#include "kube/canonical.h"
#include "unit.h"

StoreWukong *
store_wukong_new(const char *name, const char *uid, const char *action)
{
    StoreWukong *self = g_new0(StoreWukong, 1);

    self->ns = g_strdup("ns1");
    self->name = g_strdup(name);
    self->uid = g_strdup(uid);
    self->generation = 1;
    self->action = g_strdup(action);
    self->versions = g_ptr_array_new_with_free_func(g_free);
    store_wukong_commit(self);
    return self;
}

void
store_wukong_free(StoreWukong *self)
{
    if (self == NULL)
        return;
    g_free(self->ns);
    g_free(self->name);
    g_free(self->uid);
    g_free(self->state);
    g_free(self->conditions);
    g_free(self->mirror);
    g_free(self->action);
    g_ptr_array_unref(self->versions);
    g_free(self);
}

static JsonNode *
parse(const char *json)
{
    JsonNode *node = json_from_string(json, NULL);

    assert_non_null(node);
    return node;
}

static JsonObject *
make_metadata(StoreWukong *self)
{
    JsonObject *metadata = json_object_new();
    JsonObject *annotations = json_object_new();
    g_autofree char *version = g_strdup_printf("%u", self->versions->len);

    json_object_set_string_member(metadata, "namespace", self->ns);
    json_object_set_string_member(metadata, "name", self->name);
    json_object_set_string_member(metadata, "uid", self->uid);
    json_object_set_int_member(metadata, "generation", self->generation);
    json_object_set_string_member(metadata, "resourceVersion", version);
    json_object_set_string_member(metadata, "creationTimestamp", "2026-11-22T20:00:00Z");
    wk_json_set_string(annotations, WK_ANNOTATION_STATE, self->mirror);
    if (self->marked)
        json_object_set_string_member(annotations, WK_ANNOTATION_SUSPENDED, "true");
    json_object_set_object_member(metadata, "annotations", annotations);
    return metadata;
}

void
store_wukong_commit(StoreWukong *self)
{
    g_autoptr(JsonObject) object = json_object_new();
    JsonObject *spec = json_object_new();
    JsonObject *status = json_object_new();

    json_object_set_string_member(object, "kind", "Wukong");
    json_object_set_object_member(object, "metadata", make_metadata(self));
    if (self->action != NULL)
        json_object_set_member(spec, "lifecycleAction", parse(self->action));
    json_object_set_object_member(object, "spec", spec);
    if (self->state != NULL)
        json_object_set_member(status, "lifecycleState", parse(self->state));
    if (self->conditions != NULL)
        json_object_set_member(status, "conditions", parse(self->conditions));
    json_object_set_object_member(object, "status", status);
    g_ptr_array_add(self->versions, wk_json_to_text(object));
}

const char *
store_wukong_get(StoreWukong *self)
{
    return g_ptr_array_index(self->versions, self->versions->len - 1);
}

WkWukong *
store_wukong_see(StoreWukong *self, guint index)
{
    g_autoptr(JsonObject) object =
        wk_json_parse(g_ptr_array_index(self->versions, index), -1, 1 << 20, NULL);
    WkWukong *seen = wk_wukong_parse(object, NULL);

    assert_non_null(seen);
    return seen;
}

static void
set_json(char **text, JsonObject *from, const char *member)
{
    g_free(*text);
    *text = json_object_has_member(from, member)
                ? wk_canonical_text(json_object_get_member(from, member))
                : NULL;
}

static gboolean
is_newest(StoreWukong *self, const char *version)
{
    g_autofree char *newest = g_strdup_printf("%u", self->versions->len - 1);

    return version == NULL || g_str_equal(version, newest);
}

static gboolean
apply(StoreWukong *self, const char *body)
{
    g_autoptr(JsonObject) object = wk_json_parse(body, -1, 1 << 20, NULL);
    JsonObject *metadata, *status;

    assert_non_null(object);
    metadata = wk_json_get_object(object, "metadata");
    status = wk_json_get_object(object, "status");
    if (!is_newest(self, wk_json_get_string(metadata, "resourceVersion")))
        return FALSE;
    if (!self->pruned)
        set_json(&self->state, status, "lifecycleState");
    set_json(&self->conditions, status, "conditions");
    return TRUE;
}

static gboolean
is_path(JsonObject *op, const char *name, const char *path)
{
    return g_strcmp0(wk_json_get_string(op, "op"), name) == 0
           && g_strcmp0(wk_json_get_string(op, "path"), path) == 0;
}

#define MIRROR_PATH "/metadata/annotations/wukong.novasphere.dev~1lifecycle-state"
#define MARK_PATH   "/metadata/annotations/wukong.novasphere.dev~1suspended"

static gboolean
is_refused(StoreWukong *self, JsonObject *op)
{
    g_autofree char *value = json_object_has_member(op, "value")
                                 ? wk_canonical_text(json_object_get_member(op, "value"))
                                 : NULL;

    if (is_path(op, "test", "/metadata/uid"))
        return g_strcmp0(wk_json_get_string(op, "value"), self->uid) != 0;
    if (is_path(op, "test", "/spec/lifecycleAction"))
        return g_strcmp0(value, self->action) != 0;
    return is_path(op, "remove", MARK_PATH) && !self->marked;
}

static void
do_op(StoreWukong *self, JsonObject *op)
{
    if (is_path(op, "add", MIRROR_PATH)) {
        g_free(self->mirror);
        self->mirror = g_strdup(wk_json_get_string(op, "value"));
    } else if (is_path(op, "remove", "/spec/lifecycleAction")) {
        g_clear_pointer(&self->action, g_free);
        self->generation++;
    } else if (is_path(op, "add", MARK_PATH)) {
        self->marked = TRUE;
    } else if (is_path(op, "remove", MARK_PATH)) {
        self->marked = FALSE;
    }
}

static gboolean
json_patch(StoreWukong *self, const char *body)
{
    g_autoptr(JsonNode) node = parse(body);
    JsonArray *ops = json_node_get_array(node);

    for (guint i = 0; i < json_array_get_length(ops); i++) {
        if (is_refused(self, json_array_get_object_element(ops, i)))
            return FALSE;
    }
    for (guint i = 0; i < json_array_get_length(ops); i++)
        do_op(self, json_array_get_object_element(ops, i));
    return TRUE;
}

/* What of it a write can change: one that changes nothing makes no version. */
static char *
content_of(StoreWukong *self)
{
    return g_strdup_printf("%s\x1f%s\x1f%s\x1f%s\x1f%d", self->state, self->conditions,
                           self->mirror, self->action, self->marked);
}

gboolean
store_wukong_patch(StoreWukong *self, gboolean is_status, const char *body)
{
    g_autofree char *before = content_of(self);
    g_autofree char *after = NULL;

    if (!(is_status ? apply(self, body) : json_patch(self, body)))
        return FALSE;
    after = content_of(self);
    if (!g_str_equal(before, after))
        store_wukong_commit(self);
    return TRUE;
}
