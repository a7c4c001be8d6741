/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/wukong.h"

#include "base/json.h"
#include "kube/canonical.h"
#include "kube/object.h"
#include "kube/wukong_private.h"

#include <string.h>

#define TIME_MAX    64
#define REASON_MAX  1024
#define MESSAGE_MAX (2 * 1024)
#define NO_GUEST    "/" /* no domain's name: libvirt refuses it */

const char *const wk_wukong_state_members[] = {
    "lastAction",
    "lastActionTime",
    "lastRequestId",
    "message",
    "observedGeneration",
    "origin",
    "progressPercent",
    "reason",
    "savedAt",
    "savedBytes",
    "state",
    "target",
    NULL,
};

const char *const wk_wukong_condition_names[WK_CONDITION_TYPES] = {
    [WK_CONDITION_SUSPENDED] = "Suspended",
    [WK_CONDITION_RESTORABLE] = "Restorable",
    [WK_CONDITION_SUCCEEDED] = "LifecycleActionSucceeded",
};

/* The name of a guest. One that can't be used must not be taken for an absent one: another guest
 * would be meant then. Returns: (transfer full), or NULL: none given. */
static char *
keep_guest_name(JsonObject *object, const char *member)
{
    JsonNode *node = object != NULL ? json_object_get_member(object, member) : NULL;
    const char *text = wk_json_get_string(object, member);

    if (node == NULL || JSON_NODE_HOLDS_NULL(node) || (text != NULL && *text == '\0'))
        return NULL;
    return text != NULL && wk_object_is_plain(text, WK_WUKONG_NAME_MAX) ? g_strdup(text)
                                                                        : g_strdup(NO_GUEST);
}

static gboolean
read_metadata(WkWukong *self, JsonObject *metadata, GError **error)
{
    if (!wk_object_need_identity(metadata, &self->ns, &self->name, &self->uid, error))
        return FALSE;
    self->generation = MAX(wk_json_get_int(metadata, "generation", 0), 0);
    self->resource_version = wk_object_keep(metadata, "resourceVersion", WK_OBJECT_UID_MAX);
    self->created = wk_object_keep(metadata, "creationTimestamp", TIME_MAX);
    if (self->created == NULL)
        self->created = g_strdup("");
    self->deleting = wk_object_peek(metadata, "deletionTimestamp") != NULL;
    return TRUE;
}

static char *
request_id_of(const char *mirror)
{
    g_autoptr(JsonObject) object = wk_json_parse(mirror, -1, WK_WUKONG_TEXT_MAX, NULL);

    return object != NULL ? wk_object_keep(object, "lastRequestId", WK_WUKONG_REQUEST_ID_MAX)
                          : NULL;
}

static void
read_annotations(WkWukong *self, JsonObject *annotations)
{
    const char *mirror = wk_json_get_string(annotations, WK_ANNOTATION_STATE);

    self->has_annotations = annotations != NULL;
    self->domain = keep_guest_name(annotations, WK_ANNOTATION_DOMAIN);
    self->marked_suspended =
        g_strcmp0(wk_json_get_string(annotations, WK_ANNOTATION_SUSPENDED), "true") == 0;
    self->saved_on = wk_object_keep(annotations, WK_ANNOTATION_SAVED_ON, WK_WUKONG_NAME_MAX);
    if (mirror == NULL || strlen(mirror) > WK_WUKONG_TEXT_MAX)
        return;
    self->seen_mirror = g_strdup(mirror);
    self->mirrored_request_id = request_id_of(mirror);
}

/* Returns: (transfer full): the one of @words that is there, or the first. */
static char *
read_word(JsonObject *object, const char *member, const char *const *words)
{
    const char *text = wk_json_get_string(object, member);

    return g_strdup(text != NULL && g_strv_contains(words, text) ? text : words[0]);
}

static void
read_policy(WkWukong *self, JsonObject *policy)
{
    static const char *const pressure[] = { "never", "memory", "disk", NULL };
    static const char *const on_failure[] = { "Hold", "ColdBoot", NULL };

    self->priority = (int)CLAMP(wk_json_get_int(policy, "priority", 0), G_MININT, G_MAXINT);
    self->pressure = read_word(policy, "pressure", pressure);
    self->on_restore_failure = read_word(policy, "onRestoreFailure", on_failure);
}

/* Members that are not ours are somebody else's business: they stay, whatever we write. */
static char *
read_state(JsonObject *state)
{
    g_autoptr(JsonObject) ours = json_object_new();
    g_autofree char *text = NULL;

    if (state == NULL)
        return NULL;
    for (gsize i = 0; wk_wukong_state_members[i] != NULL; i++) {
        JsonNode *node = json_object_get_member(state, wk_wukong_state_members[i]);

        if (node != NULL)
            json_object_set_member(ours, wk_wukong_state_members[i], json_node_copy(node));
    }
    text = wk_canonical_object(ours);
    return strlen(text) <= WK_WUKONG_TEXT_MAX ? g_steal_pointer(&text) : NULL;
}

static void
read_condition(WkSeenCondition *seen, JsonObject *condition)
{
    static const char *const values[] = { "True", "False", "Unknown", NULL };
    const char *status = wk_json_get_string(condition, "status");

    if (seen->status != NULL || status == NULL || !g_strv_contains(values, status))
        return;
    seen->status = g_strdup(status);
    seen->reason = wk_object_keep(condition, "reason", REASON_MAX);
    seen->message = wk_object_keep(condition, "message", MESSAGE_MAX);
    seen->last_transition = wk_object_keep(condition, "lastTransitionTime", TIME_MAX);
    seen->observed_generation = MAX(wk_json_get_int(condition, "observedGeneration", 0), 0);
}

static void
read_conditions(WkWukong *self, JsonArray *conditions)
{
    const guint length = conditions != NULL ? json_array_get_length(conditions) : 0;

    for (guint i = 0; i < length; i++) {
        JsonNode *node = json_array_get_element(conditions, i);
        JsonObject *condition = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
        const char *type = wk_json_get_string(condition, "type");

        for (gsize t = 0; type != NULL && t < WK_CONDITION_TYPES; t++) {
            if (g_str_equal(type, wk_wukong_condition_names[t]))
                read_condition(&self->conditions[t], condition);
        }
    }
}

static void
read_status(WkWukong *self, JsonObject *status)
{
    self->vm_name = keep_guest_name(status, "vmName");
    self->node_name = wk_object_keep(status, "nodeName", WK_WUKONG_NAME_MAX);
    self->seen_state = read_state(wk_json_get_object(status, "lifecycleState"));
    read_conditions(self, wk_json_get_array(status, "conditions"));
}

WkWukong *
wk_wukong_parse(JsonObject *object, GError **error)
{
    g_autoptr(WkWukong) self = g_new0(WkWukong, 1);
    JsonObject *metadata = wk_json_get_object(object, "metadata");
    JsonObject *spec = wk_json_get_object(object, "spec");

    if (!read_metadata(self, metadata, error))
        return NULL;
    read_annotations(self, wk_json_get_object(metadata, "annotations"));
    wk_wukong_read_intent(spec, &self->intent);
    read_policy(self, wk_json_get_object(spec, "suspendPolicy"));
    read_status(self, wk_json_get_object(object, "status"));
    return g_steal_pointer(&self);
}

WkWukong *
wk_wukong_copy(const WkWukong *self)
{
    WkWukong *copy = g_memdup2(self, sizeof *self);
    char **texts[] = {
        &copy->ns,
        &copy->name,
        &copy->uid,
        &copy->created,
        &copy->vm_name,
        &copy->node_name,
        &copy->domain,
        &copy->pressure,
        &copy->on_restore_failure,
        &copy->seen_state,
        &copy->seen_mirror,
        &copy->saved_on,
        &copy->mirrored_request_id,
        &copy->resource_version,
    };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        *texts[i] = g_strdup(*texts[i]);
    for (gsize i = 0; i < WK_CONDITION_TYPES; i++) {
        copy->conditions[i].status = g_strdup(copy->conditions[i].status);
        copy->conditions[i].reason = g_strdup(copy->conditions[i].reason);
        copy->conditions[i].message = g_strdup(copy->conditions[i].message);
        copy->conditions[i].last_transition = g_strdup(copy->conditions[i].last_transition);
    }
    copy->intent.request_id = g_strdup(copy->intent.request_id);
    copy->intent.raw = g_strdup(copy->intent.raw);
    if (copy->intent.error != NULL)
        copy->intent.error = g_error_copy(copy->intent.error);
    return copy;
}

void
wk_wukong_free(WkWukong *self)
{
    if (self == NULL)
        return;
    g_free(self->ns);
    g_free(self->name);
    g_free(self->uid);
    g_free(self->resource_version);
    g_free(self->created);
    g_free(self->vm_name);
    g_free(self->node_name);
    g_free(self->domain);
    wk_intent_clear(&self->intent);
    g_free(self->pressure);
    g_free(self->on_restore_failure);
    g_free(self->seen_state);
    g_free(self->seen_mirror);
    g_free(self->saved_on);
    g_free(self->mirrored_request_id);
    for (gsize i = 0; i < WK_CONDITION_TYPES; i++) {
        g_free(self->conditions[i].status);
        g_free(self->conditions[i].reason);
        g_free(self->conditions[i].message);
        g_free(self->conditions[i].last_transition);
    }
    g_free(self);
}

const char *
wk_wukong_peek_uid(JsonObject *object)
{
    return wk_json_get_string(wk_json_get_object(object, "metadata"), "uid");
}

const char *
wk_wukong_peek_node(JsonObject *object)
{
    return wk_json_get_string(wk_json_get_object(object, "status"), "nodeName");
}

char *
wk_wukong_domain_name(const WkWukong *self)
{
    if (self->vm_name != NULL)
        return g_strdup_printf("%s_%s", self->ns, self->vm_name);
    return g_strdup_printf("%s_%s-vm", self->ns, self->name);
}
