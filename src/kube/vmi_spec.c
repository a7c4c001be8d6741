/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/vmi_private.h"

#include "base/json.h"
#include "kube/canonical.h"

/* ---- volumes ---- */

/* Returns: the one kind whose member @volume has; UNKNOWN for none, and for more than one. */
static WkVolumeKind
kind_of(JsonObject *volume)
{
    WkVolumeKind kind = WK_VOLUME_UNKNOWN;

    for (int i = WK_VOLUME_UNKNOWN + 1; i < WK_VOLUME_KINDS; i++) {
        if (wk_object_peek(volume, wk_volume_kind_name((WkVolumeKind)i)) == NULL)
            continue;
        if (kind != WK_VOLUME_UNKNOWN)
            return WK_VOLUME_UNKNOWN;
        kind = (WkVolumeKind)i;
    }
    return kind;
}

/* A data volume's claim has its name. Returns: (transfer full) (nullable). */
static char *
claim_of(JsonObject *volume, WkVolumeKind kind)
{
    JsonObject *source = wk_json_get_object(volume, wk_volume_kind_name(kind));

    switch (kind) {
    case WK_VOLUME_CLAIM:
    case WK_VOLUME_MEMORY_DUMP:
        return wk_object_keep_identifier(source, "claimName");
    case WK_VOLUME_DATA_VOLUME:
        return wk_object_keep_identifier(source, "name");
    case WK_VOLUME_EPHEMERAL:
        return wk_object_keep_identifier(
            wk_json_get_object(source, wk_volume_kind_name(WK_VOLUME_CLAIM)), "claimName");
    default:
        return NULL;
    }
}

/* Data of which nothing is known where they lie are data that may be lost. */
static gboolean
has_its_claim(WkVolumeKind kind, const char *claim)
{
    return claim != NULL || (kind != WK_VOLUME_CLAIM && kind != WK_VOLUME_DATA_VOLUME);
}

static void
read_volume(JsonObject *volume, GPtrArray *volumes)
{
    g_autofree char *name = wk_object_keep(volume, "name", WK_OBJECT_NAME_MAX);
    const WkVolumeKind kind = kind_of(volume);
    g_autofree char *claim = claim_of(volume, kind);
    JsonObject *source = wk_json_get_object(volume, wk_volume_kind_name(kind));

    wk_vmi_volumes_add(volumes, has_its_claim(kind, claim) ? kind : WK_VOLUME_UNKNOWN,
                       name != NULL ? name : "?", claim)
        ->hotplugged = wk_object_is_true(source, "hotpluggable");
}

void
wk_vmi_read_volumes(JsonObject *spec, GPtrArray *volumes)
{
    JsonArray *array = wk_json_get_array(spec, "volumes");
    const guint n = wk_object_count(array);

    for (guint i = 0; i < MIN(n, WK_VMI_LIST_MAX); i++)
        read_volume(wk_object_element(array, i), volumes);
    if (n > WK_VMI_LIST_MAX || (array == NULL && wk_object_peek(spec, "volumes") != NULL))
        wk_vmi_volumes_add(volumes, WK_VOLUME_UNKNOWN, "?", NULL);
}

/* ---- devices ---- */

static void
add_named(WkVmi *self, WkVmiDeviceKind kind, const char *what, JsonObject *object,
          const char *member)
{
    g_autofree char *name = wk_bounded_text(wk_json_get_string(object, member), WK_OBJECT_NAME_MAX);
    g_autofree char *text = g_strdup_printf("%s %s", what, *name != '\0' ? name : "?");

    wk_vmi_add_device(self, kind, text);
}

/* Each element of the list @member of @object is one that can't be saved. So is what is no list. */
static void
read_list(WkVmi *self, JsonObject *object, const char *member, WkVmiDeviceKind kind,
          const char *what)
{
    JsonArray *array = wk_json_get_array(object, member);

    for (guint i = 0; i < MIN(wk_object_count(array), WK_VMI_LIST_MAX); i++)
        add_named(self, kind, what, wk_object_element(array, i), "name");
    if (array == NULL && wk_object_peek(object, member) != NULL)
        add_named(self, kind, what, NULL, "name");
}

/* One is enough. */
static void
read_reservations(WkVmi *self, JsonObject *devices)
{
    JsonArray *disks = wk_json_get_array(devices, "disks");

    for (guint i = 0; i < wk_object_count(disks); i++) {
        JsonObject *disk = wk_object_element(disks, i);

        if (!wk_object_is_true(wk_json_get_object(disk, "lun"), "reservation"))
            continue;
        add_named(self, WK_DEVICE_RESERVATION, "disk", disk, "name");
        return;
    }
}

/* Only what is known to keep all its state in the guest and in taps that are made anew is taken. */
static void
read_interface(WkVmi *self, JsonObject *interface)
{
    static const char *const foreign[] = { "slirp",        "macvtap", "passt",
                                           "passtBinding", "binding", NULL };
    const gboolean bridge = wk_object_peek(interface, "bridge") != NULL;
    gboolean good = bridge || wk_object_peek(interface, "masquerade") != NULL;

    if (wk_object_peek(interface, "sriov") != NULL) {
        add_named(self, WK_DEVICE_HOST, "SR-IOV interface", interface, "name");
        return;
    }
    for (gsize i = 0; foreign[i] != NULL; i++)
        good = good && wk_object_peek(interface, foreign[i]) == NULL;
    if (!good)
        add_named(self, WK_DEVICE_NETWORK_BINDING, "interface", interface, "name");
    if (bridge && self->unfixed_mac == NULL && wk_json_get_string(interface, "macAddress") == NULL)
        self->unfixed_mac =
            wk_bounded_text(wk_json_get_string(interface, "name"), WK_OBJECT_NAME_MAX);
}

static void
read_devices(WkVmi *self, JsonObject *devices)
{
    JsonArray *interfaces = wk_json_get_array(devices, "interfaces");

    read_list(self, devices, "hostDevices", WK_DEVICE_HOST, "device");
    read_list(self, devices, "gpus", WK_DEVICE_HOST, "gpu");
    read_list(self, devices, "filesystems", WK_DEVICE_SHARED_FOLDER, "file system");
    read_reservations(self, devices);
    for (guint i = 0; i < MIN(wk_object_count(interfaces), WK_VMI_LIST_MAX); i++)
        read_interface(self, wk_object_element(interfaces, i));
    if (wk_object_count(interfaces) > WK_VMI_LIST_MAX
        || (interfaces == NULL && wk_object_peek(devices, "interfaces") != NULL))
        add_named(self, WK_DEVICE_NETWORK_BINDING, "interface", NULL, "name");
    if (wk_object_is_true(devices, "autoattachVSOCK"))
        wk_vmi_add_device(self, WK_DEVICE_VSOCK, "vsock");
    if (wk_object_peek(devices, "downwardMetrics") != NULL)
        wk_vmi_add_device(self, WK_DEVICE_DOWNWARD_METRICS, "downwardMetrics");
}

/* ---- the machine ---- */

static void
read_cpu(WkVmi *self, JsonObject *cpu)
{
    static const char *const flags[] = { "dedicatedCpuPlacement", "isolateEmulatorThread", NULL };

    for (gsize i = 0; flags[i] != NULL; i++) {
        if (wk_object_is_true(cpu, flags[i]))
            wk_vmi_add_device(self, WK_DEVICE_DEDICATED_CPU, flags[i]);
    }
    if (wk_object_peek(cpu, "realtime") != NULL)
        wk_vmi_add_device(self, WK_DEVICE_DEDICATED_CPU, "realtime");
}

static void
read_domain(WkVmi *self, JsonObject *domain)
{
    JsonObject *features = wk_json_get_object(domain, "features");

    read_cpu(self, wk_json_get_object(domain, "cpu"));
    read_devices(self, wk_json_get_object(domain, "devices"));
    if (wk_object_peek(domain, "launchSecurity") != NULL)
        wk_vmi_add_device(self, WK_DEVICE_CONFIDENTIAL, "launchSecurity");
    if (wk_object_is_true(wk_json_get_object(features, "hypervPassthrough"), "enabled"))
        wk_vmi_add_device(self, WK_DEVICE_HYPERV_PASSTHROUGH, "hypervPassthrough");
}

static WkVmiProbe
read_probe(JsonObject *spec)
{
    static const char *const others[] = { "exec", "httpGet", "tcpSocket", "grpc", NULL };
    JsonNode *node = wk_object_peek(spec, "livenessProbe");
    JsonObject *probe = wk_json_get_object(spec, "livenessProbe");

    if (node == NULL)
        return WK_PROBE_NONE;
    for (gsize i = 0; others[i] != NULL; i++) {
        if (wk_object_peek(probe, others[i]) != NULL)
            return WK_PROBE_OTHER;
    }
    return wk_object_peek(probe, "guestAgentPing") != NULL ? WK_PROBE_GUEST_AGENT : WK_PROBE_OTHER;
}

void
wk_vmi_read_spec(WkVmi *self, JsonObject *spec)
{
    self->liveness = read_probe(spec);
    read_list(self, spec, "resourceClaims", WK_DEVICE_HOST, "resource claim");
    self->dumping = wk_object_count(wk_json_get_array(spec, "utilityVolumes")) > 0;
    read_domain(self, wk_json_get_object(spec, "domain"));
}
