/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/vmi_private.h"

#include "base/json.h"
#include "kube/canonical.h"
#include "kube/wukong.h"

/* ---- the digest ---- */

/* By their way from spec.template.spec; elements of a list are on that of the list. */
static const char *const left_out[] = {
    /* where it may run and how it is looked after */
    "/accessCredentials",
    "/affinity",
    "/dnsConfig",
    "/dnsPolicy",
    "/evictionStrategy",
    "/livenessProbe",
    "/nodeSelector",
    "/priorityClassName",
    "/readinessProbe",
    "/schedulerName",
    "/startStrategy",
    "/subdomain",
    "/terminationGracePeriodSeconds",
    "/tolerations",
    "/topologySpreadConstraints",
    /* KubeVirt puts them back where an operator drops them, and a pool of addresses does */
    "/domain/firmware/serial",
    "/domain/firmware/uuid",
    "/domain/devices/interfaces/macAddress",
    NULL,
};

/* Absent and empty are the same of these; in general they are not ("masquerade": {}). */
static const char *const empty_is_absent[] = { "/domain/firmware", "/domain/resources", NULL };

static JsonNode *copy_node(JsonNode *node, const char *way);

/* Returns: (transfer full) (nullable). */
static JsonNode *
copy_object(JsonObject *object, const char *way)
{
    g_autoptr(JsonObject) copy = json_object_new();
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    json_object_iter_init(&iter, object);
    while (json_object_iter_next(&iter, &name, &value)) {
        g_autofree char *further = g_strconcat(way, "/", name, NULL);
        JsonNode *member = copy_node(value, further);

        if (member != NULL)
            json_object_set_member(copy, name, member);
    }
    if (json_object_get_size(copy) == 0 && g_strv_contains(empty_is_absent, way))
        return NULL;
    return json_node_init_object(json_node_alloc(), copy);
}

/* Returns: (transfer full). */
static JsonNode *
copy_array(JsonArray *array, const char *way)
{
    g_autoptr(JsonArray) copy = json_array_new();

    for (guint i = 0; i < json_array_get_length(array); i++) {
        JsonNode *element = copy_node(json_array_get_element(array, i), way);

        if (element != NULL)
            json_array_add_element(copy, element);
    }
    return json_node_init_array(json_node_alloc(), copy);
}

/* Returns: (transfer full) (nullable): a copy of what counts; null is absent. */
static JsonNode *
copy_node(JsonNode *node, const char *way)
{
    if (JSON_NODE_HOLDS_NULL(node) || g_strv_contains(left_out, way))
        return NULL;
    if (JSON_NODE_HOLDS_ARRAY(node))
        return copy_array(json_node_get_array(node), way);
    if (JSON_NODE_HOLDS_OBJECT(node))
        return copy_object(json_node_get_object(node), way);
    return json_node_copy(node);
}

/* An instance type or a preference: what it is, not who has filled in the rest. */
static void
add_matcher(GChecksum *sum, JsonObject *vm_spec, const char *member)
{
    JsonObject *matcher = wk_json_get_object(vm_spec, member);
    const char *const texts[] = { member, wk_json_get_string(matcher, "kind"),
                                  wk_json_get_string(matcher, "name") };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_checksum_update(sum, (const guchar *)(texts[i] != NULL ? texts[i] : ""), -1);
        g_checksum_update(sum, (const guchar *)"", 1);
    }
}

char *
wk_vm_template_hash(JsonObject *vm_spec)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    JsonObject *template = wk_json_get_object(vm_spec, "template");
    JsonNode *spec = wk_object_peek(template, "spec");
    g_autoptr(JsonNode) counts = spec != NULL ? copy_node(spec, "") : NULL;
    g_autofree char *text = counts != NULL ? wk_canonical_text(counts) : g_strdup("");

    add_matcher(sum, vm_spec, "instancetype");
    add_matcher(sum, vm_spec, "preference");
    g_checksum_update(sum, (const guchar *)text, -1);
    return g_strdup(g_checksum_get_string(sum));
}

/* ---- the rest ---- */

/* "running" is the old way to say it; both at once are refused by KubeVirt. */
static WkRunStrategy
read_strategy(JsonObject *spec)
{
    JsonNode *running = wk_object_peek(spec, "running");

    if (running == NULL)
        return wk_run_strategy_parse(wk_json_get_string(spec, "runStrategy"));
    if (wk_object_peek(spec, "runStrategy") != NULL || !JSON_NODE_HOLDS_VALUE(running)
        || json_node_get_value_type(running) != G_TYPE_BOOLEAN)
        return WK_RUN_UNKNOWN;
    return json_node_get_boolean(running) ? WK_RUN_ALWAYS : WK_RUN_HALTED;
}

static gboolean
is_dumping(JsonObject *status)
{
    static const char *const ended[] = { "Completed", "Failed", NULL };
    JsonNode *node = wk_object_peek(status, "memoryDumpRequest");
    const char *phase =
        wk_json_get_string(wk_json_get_object(status, "memoryDumpRequest"), "phase");

    return node != NULL && (phase == NULL || !g_strv_contains(ended, phase));
}

static void
read_status(WkVm *self, JsonObject *status)
{
    self->seen_strategy = wk_run_strategy_parse(wk_json_get_string(status, "runStrategy"));
    self->printable_status = wk_object_keep(status, "printableStatus", WK_OBJECT_NAME_MAX);
    self->restart_required = wk_vmi_has_condition(status, "RestartRequired");
    self->snapshot = wk_vmi_keep_ongoing(status, "snapshotInProgress");
    self->restore = wk_vmi_keep_ongoing(status, "restoreInProgress");
    self->dumping = is_dumping(status);
    self->requests = wk_object_count(wk_json_get_array(status, "stateChangeRequests"));
}

static void
read_spec(WkVm *self, JsonObject *spec)
{
    JsonObject *template = wk_json_get_object(wk_json_get_object(spec, "template"), "spec");
    JsonObject *domain = wk_json_get_object(template, "domain");

    self->strategy = read_strategy(spec);
    self->firmware_uuid = wk_object_keep_identifier(wk_json_get_object(domain, "firmware"), "uuid");
    self->selected_node = wk_object_keep(wk_json_get_object(template, "nodeSelector"), WK_HOSTNAME,
                                         WK_OBJECT_NAME_MAX);
    wk_vmi_read_volumes(template, self->volumes);
    self->template_hash = wk_vm_template_hash(spec);
}

WkVm *
wk_vm_parse(JsonObject *object, GError **error)
{
    g_autoptr(WkVm) self = wk_vm_new();
    JsonObject *metadata = wk_json_get_object(object, "metadata");
    JsonObject *annotations = wk_json_get_object(metadata, "annotations");

    if (!wk_object_need_identity(metadata, &self->ns, &self->name, &self->uid, error))
        return NULL;
    self->resource_version = wk_object_keep(metadata, "resourceVersion", WK_OBJECT_UID_MAX);
    self->deleting = wk_object_peek(metadata, "deletionTimestamp") != NULL;
    self->suspended_mark =
        g_strcmp0(wk_json_get_string(annotations, WK_ANNOTATION_SUSPENDED), "true") == 0;
    read_spec(self, wk_json_get_object(object, "spec"));
    read_status(self, wk_json_get_object(object, "status"));
    return g_steal_pointer(&self);
}
