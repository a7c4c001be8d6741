/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/vmi_private.h"

#include "base/json.h"
#include "kube/canonical.h"

#include <string.h>

#define WORD_MAX     128
#define UID_LARGEST  G_GINT64_CONSTANT(0xfffffffe)
#define NONROOT_UID  107
#define NONROOT_MARK "kubevirt.io/nonroot"

/* ---- parts of an object ---- */

JsonObject *
wk_vmi_find_condition(JsonObject *status, const char *type)
{
    JsonArray *conditions = wk_json_get_array(status, "conditions");

    for (guint i = 0; i < wk_object_count(conditions); i++) {
        JsonObject *condition = wk_object_element(conditions, i);

        if (g_strcmp0(wk_json_get_string(condition, "type"), type) == 0)
            return condition;
    }
    return NULL;
}

gboolean
wk_vmi_has_condition(JsonObject *status, const char *type)
{
    JsonObject *condition = wk_vmi_find_condition(status, type);

    return condition != NULL && g_strcmp0(wk_json_get_string(condition, "status"), "False") != 0;
}

char *
wk_vmi_keep_ongoing(JsonObject *object, const char *member)
{
    JsonNode *node = wk_object_peek(object, member);
    char *name = wk_object_keep(object, member, WK_OBJECT_NAME_MAX);

    if (node == NULL || g_strcmp0(wk_json_get_string(object, member), "") == 0)
        return NULL;
    return name != NULL ? name : g_strdup("?");
}

/* ---- metadata ---- */

static void
read_finalizers(WkVmi *self, JsonObject *metadata)
{
    JsonArray *finalizers = wk_json_get_array(metadata, "finalizers");

    self->finalizers = wk_object_count(finalizers);
    for (guint i = 0; i < self->finalizers && !self->has_lock; i++) {
        JsonNode *node = json_array_get_element(finalizers, i);

        if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING
            || !g_str_equal(json_node_get_string(node), WK_VMI_LOCK))
            continue;
        self->has_lock = TRUE;
        self->lock_index = (int)i;
    }
}

static void
read_owner(WkVmi *self, JsonObject *metadata)
{
    JsonArray *owners = wk_json_get_array(metadata, "ownerReferences");

    for (guint i = 0; i < wk_object_count(owners) && self->vm_uid == NULL; i++) {
        JsonObject *owner = wk_object_element(owners, i);
        const char *group = wk_json_get_string(owner, "apiVersion");

        if (g_strcmp0(wk_json_get_string(owner, "kind"), "VirtualMachine") != 0 || group == NULL
            || !g_str_has_prefix(group, "kubevirt.io/"))
            continue;
        self->vm_name = wk_object_keep_identifier(owner, "name");
        self->vm_uid = wk_object_keep_identifier(owner, "uid");
    }
}

static gboolean
read_metadata(WkVmi *self, JsonObject *metadata, GError **error)
{
    if (!wk_object_need_identity(metadata, &self->ns, &self->name, &self->uid, error))
        return FALSE;
    self->resource_version = wk_object_keep(metadata, "resourceVersion", WK_OBJECT_UID_MAX);
    self->deleting = wk_object_peek(metadata, "deletionTimestamp") != NULL;
    read_finalizers(self, metadata);
    read_owner(self, metadata);
    return TRUE;
}

/* ---- where and how it runs ---- */

static int
compare_texts(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
read_pods(WkVmi *self, JsonObject *pods)
{
    JsonObjectIter iter;
    const char *uid;
    JsonNode *value;

    if (pods == NULL)
        return;
    json_object_iter_init(&iter, pods);
    while (json_object_iter_next(&iter, &uid, &value)) {
        const char *node = wk_json_get_string(pods, uid);

        if (node == NULL || *node == '\0')
            continue; /* not scheduled */
        if (self->node != NULL && !g_str_equal(node, self->node))
            self->foreign_pods++;
        else if (wk_object_is_identifier(uid, WK_OBJECT_UID_MAX)
                 && self->pod_uids->len < WK_VMI_LIST_MAX)
            g_ptr_array_add(self->pod_uids, g_strdup(uid));
    }
    g_ptr_array_sort(self->pod_uids, compare_texts);
}

/* Root launchers say 0. Before there was the member, the others were marked by an annotation. */
static gint64
read_runtime_uid(JsonObject *status, JsonObject *metadata)
{
    const gint64 uid = wk_json_get_int(status, "runtimeUser", -1);

    if (uid >= 0 && uid <= UID_LARGEST)
        return uid;
    return wk_object_peek(wk_json_get_object(metadata, "annotations"), NONROOT_MARK) != NULL
               ? NONROOT_UID
               : -1;
}

static guint64
read_memory_kib(JsonObject *status, JsonObject *spec)
{
    JsonObject *now = wk_json_get_object(status, "memory");
    JsonObject *domain = wk_json_get_object(spec, "domain");
    JsonObject *memory = wk_json_get_object(domain, "memory");
    JsonObject *requests = wk_json_get_object(wk_json_get_object(domain, "resources"), "requests");
    const char *const texts[] = { wk_json_get_string(now, "guestCurrent"),
                                  wk_json_get_string(now, "guestAtBoot"),
                                  wk_json_get_string(memory, "guest"),
                                  wk_json_get_string(requests, "memory") };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        guint64 bytes = 0;

        if (texts[i] != NULL && wk_quantity_parse(texts[i], &bytes) && bytes > 0)
            return (bytes + 1023) / 1024;
    }
    return 0;
}

static WkVmiPaused
read_pause(JsonObject *status)
{
    if (!wk_vmi_has_condition(status, "Paused"))
        return WK_PAUSED_NO;
    return wk_vmi_paused_parse(
        wk_json_get_string(wk_vmi_find_condition(status, "Paused"), "reason"));
}

/* ---- what is going on ---- */

static gboolean
has_ended(JsonObject *state)
{
    return wk_object_is_true(state, "completed") || wk_object_peek(state, "endTimestamp") != NULL;
}

/* Returns: (transfer full) (nullable). */
static char *
read_migration(const WkVmi *self, JsonObject *status)
{
    JsonNode *node = wk_object_peek(status, "migrationState");
    JsonObject *state = wk_json_get_object(status, "migrationState");
    g_autofree char *target = wk_object_keep(state, "targetNode", WK_OBJECT_NAME_MAX);

    if (node != NULL && (state == NULL || !has_ended(state)))
        return g_strdup_printf("to node %s", target != NULL ? target : "?");
    if (self->foreign_pods > 0)
        return g_strdup("it has a pod on another node");
    if (self->pod_uids->len > 1)
        return g_strdup("it has several pods");
    return NULL;
}

/* A backup can't be told from tracking alone, and what is tracked may be kept in the pod. */
static gboolean
read_backup(JsonObject *status)
{
    JsonNode *node = wk_object_peek(status, "changedBlockTracking");
    JsonObject *tracking = wk_json_get_object(status, "changedBlockTracking");

    return node != NULL && g_strcmp0(wk_json_get_string(tracking, "state"), "Disabled") != 0;
}

static void
read_volume_status(WkVmi *self, JsonObject *volume_status)
{
    const char *name = wk_json_get_string(volume_status, "name");

    if (wk_object_peek(volume_status, "memoryDumpVolume") != NULL)
        self->dumping = TRUE;
    if (name == NULL || wk_object_peek(volume_status, "hotplugVolume") == NULL)
        return;
    for (guint i = 0; i < self->volumes->len; i++) {
        WkVmiVolume *volume = g_ptr_array_index(self->volumes, i);

        volume->hotplugged = volume->hotplugged || g_str_equal(volume->name, name);
    }
}

/* Returns: (transfer full) (nullable): the start of @member, whatever may be in it. */
static char *
keep_start(JsonObject *object, const char *member)
{
    const char *text = wk_json_get_string(object, member);

    return text != NULL && *text != '\0' ? wk_bounded_text(text, WK_OBJECT_TEXT_MAX) : NULL;
}

static void
read_migratable(WkVmi *self, JsonObject *status)
{
    JsonObject *live = wk_vmi_find_condition(status, "LiveMigratable");
    JsonObject *storage = wk_vmi_find_condition(status, "StorageLiveMigratable");

    if (live != NULL && g_strcmp0(wk_json_get_string(live, "status"), "True") != 0) {
        self->not_migratable = wk_object_keep(live, "reason", WORD_MAX);
        if (self->not_migratable == NULL)
            self->not_migratable = g_strdup("?");
        self->not_migratable_why = keep_start(live, "message");
    }
    if (storage != NULL && g_strcmp0(wk_json_get_string(storage, "status"), "True") != 0) {
        g_autofree char *reason = keep_start(storage, "reason");
        g_autofree char *message = keep_start(storage, "message");

        self->storage_why = g_strdup_printf("%s: %s", reason != NULL ? reason : "?",
                                            message != NULL ? message : "?");
    }
}

/* What was plugged in is in the image, and not in what the next pod is made for. */
static void
read_hotplug(WkVmi *self, JsonObject *status)
{
    JsonObject *memory = wk_json_get_object(status, "memory");
    const char *at_boot = wk_json_get_string(memory, "guestAtBoot");
    const char *now = wk_json_get_string(memory, "guestCurrent");
    guint64 at_boot_bytes = 0, now_bytes = 0;

    if (at_boot != NULL && now != NULL
        && (!wk_quantity_parse(at_boot, &at_boot_bytes) || !wk_quantity_parse(now, &now_bytes)
            || at_boot_bytes != now_bytes))
        wk_vmi_add_device(self, WK_DEVICE_HOTPLUGGED, "memory");
    if (wk_vmi_has_condition(status, "HotMemoryChange"))
        wk_vmi_add_device(self, WK_DEVICE_HOTPLUGGED, "memory");
    if (wk_vmi_has_condition(status, "HotVCPUChange"))
        wk_vmi_add_device(self, WK_DEVICE_HOTPLUGGED, "processors");
}

static void
read_status(WkVmi *self, JsonObject *status)
{
    JsonArray *volumes = wk_json_get_array(status, "volumeStatus");
    const char *phase = wk_json_get_string(status, "phase");

    self->phase =
        wk_object_peek(status, "phase") == NULL ? WK_PHASE_NONE : wk_vmi_phase_parse(phase);
    self->node = wk_object_keep_identifier(status, "nodeName");
    read_pods(self, wk_json_get_object(status, "activePods"));
    self->paused = read_pause(status);
    self->migrating = read_migration(self, status);
    self->evacuating = wk_vmi_keep_ongoing(status, "evacuationNodeName");
    self->backing_up = read_backup(status);
    for (guint i = 0; i < wk_object_count(volumes); i++)
        read_volume_status(self, wk_object_element(volumes, i));
    read_migratable(self, status);
    read_hotplug(self, status);
    if (wk_object_peek(status, "VSOCKCID") != NULL)
        wk_vmi_add_device(self, WK_DEVICE_VSOCK, "vsock");
}

WkVmi *
wk_vmi_parse(JsonObject *object, GError **error)
{
    g_autoptr(WkVmi) self = wk_vmi_new();
    JsonObject *metadata = wk_json_get_object(object, "metadata");
    JsonObject *spec = wk_json_get_object(object, "spec");
    JsonObject *status = wk_json_get_object(object, "status");

    if (!read_metadata(self, metadata, error))
        return NULL;
    wk_vmi_read_volumes(spec, self->volumes);
    wk_vmi_read_spec(self, spec);
    read_status(self, status);
    self->runtime_uid = read_runtime_uid(status, metadata);
    self->memory_kib = read_memory_kib(status, spec);
    return g_steal_pointer(&self);
}
