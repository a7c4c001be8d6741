/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/vmi_private.h"

#include "base/json.h"

/* The kubelet adds up its containers' limits for what all of them have in emptyDirs. A limit that
 * can't be read is none that may be reached. */
static void
add_limit(WkVmiPod *self, JsonObject *container)
{
    JsonObject *limits = wk_json_get_object(wk_json_get_object(container, "resources"), "limits");
    const char *text = wk_json_get_string(limits, "ephemeral-storage");
    guint64 bytes = 0;

    if (wk_object_peek(limits, "ephemeral-storage") == NULL)
        return;
    (void)(text != NULL && wk_quantity_parse(text, &bytes));
    self->storage_limit_bytes = MAX(self->storage_limit_bytes, 0);
    self->storage_limit_bytes += (gint64)MIN(bytes, (guint64)(G_MAXINT64 / WK_VMI_LIST_MAX));
}

WkVmiPod *
wk_vmi_pod_parse(JsonObject *object, GError **error)
{
    g_autoptr(WkVmiPod) self = g_new0(WkVmiPod, 1);
    JsonObject *metadata = wk_json_get_object(object, "metadata");
    JsonObject *spec = wk_json_get_object(object, "spec");
    JsonArray *containers = wk_json_get_array(spec, "containers");
    g_autofree char *ns = NULL;
    const char *phase = wk_json_get_string(wk_json_get_object(object, "status"), "phase");

    if (!wk_object_need_identity(metadata, &ns, &self->name, &self->uid, error))
        return NULL;
    self->node = wk_object_keep_identifier(spec, "nodeName");
    self->deleting = wk_object_peek(metadata, "deletionTimestamp") != NULL;
    self->ended = g_strcmp0(phase, "Succeeded") == 0 || g_strcmp0(phase, "Failed") == 0;
    self->user_namespace =
        wk_object_peek(spec, "hostUsers") != NULL && !wk_object_is_true(spec, "hostUsers");
    self->storage_limit_bytes = -1;
    for (guint i = 0; i < MIN(wk_object_count(containers), WK_VMI_LIST_MAX); i++)
        add_limit(self, wk_object_element(containers, i));
    return g_steal_pointer(&self);
}

WkClaim *
wk_claim_parse(JsonObject *object, GError **error)
{
    g_autoptr(WkClaim) self = g_new0(WkClaim, 1);
    JsonObject *metadata = wk_json_get_object(object, "metadata");
    JsonObject *status = wk_json_get_object(object, "status");
    const char *capacity = wk_json_get_string(wk_json_get_object(status, "capacity"), "storage");
    g_autofree char *ns = NULL;

    if (!wk_object_need_identity(metadata, &ns, &self->name, &self->uid, error))
        return NULL;
    self->volume = wk_object_keep_identifier(wk_json_get_object(object, "spec"), "volumeName");
    if (capacity != NULL)
        (void)wk_quantity_parse(capacity, &self->capacity_bytes);
    self->deleting = wk_object_peek(metadata, "deletionTimestamp") != NULL;
    return g_steal_pointer(&self);
}

WkPin *
wk_pin_parse(JsonObject *object, GError **error)
{
    g_autoptr(WkPin) self = g_new0(WkPin, 1);
    JsonObject *metadata = wk_json_get_object(object, "metadata");
    JsonObject *availability =
        wk_json_get_object(wk_json_get_object(object, "spec"), "highAvailability");
    g_autofree char *ns = NULL;

    if (!wk_object_need_identity(metadata, &ns, &self->wukong, &self->uid, error))
        return NULL;
    self->resource_version = wk_object_keep(metadata, "resourceVersion", WK_OBJECT_UID_MAX);
    self->node = wk_object_keep(wk_json_get_object(availability, "nodeSelector"), WK_HOSTNAME,
                                WK_OBJECT_NAME_MAX);
    return g_steal_pointer(&self);
}
