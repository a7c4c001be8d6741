/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "kube/vmi.h"

#define TEXT_MAX (4 * 1024 * 1024)

static WkVmi *
parse(const char *text, GError **error)
{
    g_autoptr(JsonObject) object = wk_json_parse(text, -1, TEXT_MAX, error);

    return object != NULL ? wk_vmi_parse(object, error) : NULL;
}

static void
add(GString *out, const char *name, const char *value)
{
    if (value != NULL)
        g_string_append_printf(out, "%s=%s ", name, value);
}

/* (transfer full): a VMI's facts in one line, "name=value name=value "; what is not there is left
 * out. */
static char *
describe(const WkVmi *vmi)
{
    GString *out = g_string_new(NULL);
    WkPower power = WK_POWER_ABSENT;

    add(out, "phase", wk_vmi_phase_name(vmi->phase));
    add(out, "power", wk_vmi_power(vmi, &power) ? wk_power_name(power) : "untold");
    add(out, "node", vmi->node);
    for (guint i = 0; i < vmi->pod_uids->len; i++)
        add(out, "pod", g_ptr_array_index(vmi->pod_uids, i));
    g_string_append_printf(out, "foreign=%u uid=%" G_GINT64_FORMAT " kib=%" G_GUINT64_FORMAT " ",
                           vmi->foreign_pods, vmi->runtime_uid, vmi->memory_kib);
    g_string_append_printf(out, "finalizers=%u lock=%d ", vmi->finalizers, vmi->lock_index);
    g_string_append_printf(out, "probe=%d ", vmi->liveness);
    add(out, "deleting", vmi->deleting ? "yes" : NULL);
    add(out, "vm", vmi->vm_name);
    add(out, "vm_uid", vmi->vm_uid);
    add(out, "migrating", vmi->migrating);
    add(out, "evacuating", vmi->evacuating);
    add(out, "dumping", vmi->dumping ? "yes" : NULL);
    add(out, "backing_up", vmi->backing_up ? "yes" : NULL);
    add(out, "blocked", vmi->not_migratable);
    add(out, "why", vmi->not_migratable_why);
    add(out, "storage", vmi->storage_why);
    add(out, "mac", vmi->unfixed_mac);
    for (guint i = 0; i < vmi->volumes->len; i++) {
        const WkVmiVolume *volume = g_ptr_array_index(vmi->volumes, i);

        g_string_append_printf(
            out, "volume=%s:%s:%s%s ", volume->name, wk_volume_kind_name(volume->kind),
            volume->claim != NULL ? volume->claim : "", volume->hotplugged ? ":hotplugged" : "");
    }
    for (guint i = 0; i < vmi->devices->len; i++) {
        const WkVmiDevice *device = g_ptr_array_index(vmi->devices, i);

        g_string_append_printf(out, "device=%d:%s ", device->kind, device->name);
    }
    return g_string_free(out, FALSE);
}

/* As KubeVirt shows a guest of the Wukong operator. */
static const char *const usual =
    "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{"
    "\"annotations\":{\"kubevirt.io/latest-observed-api-version\":\"v1\","
    "\"kubevirt.io/vm-generation\":\"1\"},\"creationTimestamp\":\"2026-11-22T20:00:00Z\","
    "\"finalizers\":[\"kubevirt.io/virtualMachineControllerFinalize\","
    "\"foregroundDeleteVirtualMachine\",\"wukong.novasphere.dev/saved-state\"],"
    "\"generation\":9,\"labels\":{\"kubevirt.io/nodeName\":\"node-1\"},"
    "\"name\":\"web-vm\",\"namespace\":\"shop\",\"ownerReferences\":[{\"apiVersion\":\"v1\","
    "\"kind\":\"VirtualMachine\",\"name\":\"not-this\",\"uid\":\"u-0\"},{\"apiVersion\":"
    "\"kubevirt.io/v1\",\"blockOwnerDeletion\":true,\"controller\":true,"
    "\"kind\":\"VirtualMachine\",\"name\":\"web-vm\",\"uid\":\"u-2\"}],"
    "\"resourceVersion\":\"4711\",\"uid\":\"u-1\"},"
    "\"spec\":{\"domain\":{\"cpu\":{\"cores\":2,\"model\":\"host-model\"},\"devices\":{\"disks\":[{"
    "\"disk\":{\"bus\":\"virtio\"},\"name\":\"root\"},{\"disk\":{\"bus\":\"virtio\"},"
    "\"name\":\"cloudinit\"}],\"interfaces\":[{\"masquerade\":{},\"name\":\"default\"},{"
    "\"bridge\":{},\"name\":\"lan\"}]},\"firmware\":{\"uuid\":\"5d307ca9-b3ef-428c-8861-"
    "06e72d69f223\"},\"memory\":{\"guest\":\"4Gi\"},\"resources\":{\"requests\":{\"memory\":"
    "\"4Gi\"}}},\"networks\":[{\"name\":\"default\",\"pod\":{}},{\"multus\":{\"networkName\":"
    "\"lan\"},\"name\":\"lan\"}],\"livenessProbe\":{\"guestAgentPing\":{},\"periodSeconds\":5},"
    "\"volumes\":[{\"dataVolume\":{\"name\":\"web-root\"},\"name\":\"root\"},{"
    "\"cloudInitNoCloud\":{\"userData\":\"#cloud-config\"},\"name\":\"cloudinit\"},{\"name\":"
    "\"more\",\"persistentVolumeClaim\":{\"claimName\":\"web-more\",\"hotpluggable\":true}},{"
    "\"name\":\"late\",\"persistentVolumeClaim\":{\"claimName\":\"web-late\"}}]},"
    "\"status\":{\"activePods\":{\"p-1\":\"node-1\"},\"conditions\":[{\"status\":\"True\","
    "\"type\":\"Ready\"},{\"lastProbeTime\":\"2026-11-22T20:01:00Z\",\"message\":\"VMI was paused "
    "by user\",\"reason\":\"PausedByUser\",\"status\":\"True\",\"type\":\"Paused\"},{\"message\":"
    "\"PVC web-root is not shared\",\"reason\":\"DisksNotLiveMigratable\",\"status\":\"False\","
    "\"type\":\"LiveMigratable\"},{\"status\":\"True\",\"type\":\"StorageLiveMigratable\"}],"
    "\"memory\":{\"guestAtBoot\":\"4Gi\",\"guestCurrent\":\"4Gi\",\"guestRequested\":\"4Gi\"},"
    "\"migrationState\":{\"completed\":true,\"endTimestamp\":\"2026-11-22T20:00:30Z\","
    "\"startTimestamp\":\"2026-11-22T20:00:10Z\"},\"nodeName\":\"node-1\",\"phase\":\"Running\","
    "\"runtimeUser\":107,\"volumeStatus\":[{\"name\":\"root\",\"target\":\"vda\"},{"
    "\"hotplugVolume\""
    ":{\"attachPodName\":\"hp-x\"},\"name\":\"late\",\"phase\":\"Ready\"}]}}";

static void
test_usual(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkVmi) vmi = parse(usual, &error);
    g_autofree char *said = NULL;

    assert_null(error);
    assert_string_equal(vmi->ns, "shop");
    assert_string_equal(vmi->name, "web-vm");
    assert_string_equal(vmi->uid, "u-1");
    assert_string_equal(vmi->resource_version, "4711");
    assert_true(vmi->has_lock);
    said = describe(vmi);
    assert_string_equal(said,
                        "phase=Running power=paused node=node-1 pod=p-1 foreign=0 uid=107 "
                        "kib=4194304 finalizers=3 lock=2 probe=1 vm=web-vm vm_uid=u-2 "
                        "blocked=DisksNotLiveMigratable why=PVC web-root is not shared mac=lan "
                        "volume=root:dataVolume:web-root volume=cloudinit:cloudInitNoCloud: "
                        "volume=more:persistentVolumeClaim:web-more:hotplugged "
                        "volume=late:persistentVolumeClaim:web-late:hotplugged ");
}

/* The least there is, with one more part; what it says then, or "!" and what it must not say. */
static const struct {
    const char *metadata; /* further members, each with its comma before it */
    const char *spec;
    const char *status;
    const char *said;
} rows[] = {
    { "", "{}", "{}", "phase= power=off foreign=0 uid=-1 kib=0 finalizers=0 lock=-1 probe=0 " },
    { "", "null", "null", "phase= " },
    { "", "7", "[]", "phase= " },
    { "", "{}", "{\"phase\":\"Succeeded\"}", "phase=Succeeded power=off" },
    { "", "{}", "{\"phase\":\"Scheduled\"}", "phase=Scheduled power=starting" },
    { "", "{}", "{\"phase\":\"Sleeping\"}", "phase=Unknown power=untold" },
    { "", "{}", "{\"phase\":7}", "phase=Unknown power=untold" },
    { "", "{}", "{\"phase\":null}", "phase= " },

    { ",\"deletionTimestamp\":\"2026-11-22T20:00:00Z\"", "{}", "{}", "deleting=yes" },
    { ",\"deletionTimestamp\":null", "{}", "{}", "!deleting" },
    { ",\"finalizers\":[7,null,\"a\",\"wukong.novasphere.dev/saved-state\"]", "{}", "{}",
      "finalizers=4 lock=3 " },
    { ",\"finalizers\":[\"wukong.novasphere.dev/saved-state-2\"]", "{}", "{}",
      "finalizers=1 lock=-1" },
    { ",\"finalizers\":\"wukong.novasphere.dev/saved-state\"", "{}", "{}", "finalizers=0 lock=-1" },
    { ",\"ownerReferences\":[{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":"
      "\"VirtualMachineInstanceReplicaSet\",\"name\":\"a\",\"uid\":\"b\"}]",
      "{}", "{}", "!vm=" },
    { ",\"ownerReferences\":[{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\","
      "\"name\":\"a/b\",\"uid\":\"../x\"}]",
      "{}", "{}", "!vm=" },
    { ",\"annotations\":{\"kubevirt.io/nonroot\":\"true\"}", "{}", "{}", "uid=107" },
    { ",\"annotations\":{\"kubevirt.io/nonroot\":\"true\"}", "{}", "{\"runtimeUser\":0}",
      "uid=0 " },
    { "", "{}", "{\"runtimeUser\":-7}", "uid=-1" },
    { "", "{}", "{\"runtimeUser\":4294967295}", "uid=-1" },
    { "", "{}", "{\"runtimeUser\":\"107\"}", "uid=-1" },

    { "", "{}", "{\"activePods\":{\"b\":\"n1\",\"a\":\"n1\",\"c\":\"\"},\"nodeName\":\"n1\"}",
      "node=n1 pod=a pod=b foreign=0 " },
    { "", "{}", "{\"activePods\":{\"b\":\"n1\",\"a\":\"n1\"},\"nodeName\":\"n1\"}",
      "migrating=it has several pods" },
    { "", "{}", "{\"activePods\":{\"a\":\"n1\",\"b\":\"n2\"},\"nodeName\":\"n1\"}",
      "pod=a foreign=1 " },
    { "", "{}", "{\"activePods\":{\"a\":\"n1\",\"b\":\"n2\"},\"nodeName\":\"n1\"}",
      "migrating=it has a pod on another node" },
    { "", "{}", "{\"activePods\":{\"../../x\":\"n1\"},\"nodeName\":\"n1\"}", "!pod=" },
    { "", "{}", "{\"activePods\":{\"a\":\"n1\"}}", "pod=a foreign=0" },

    { "", "{\"domain\":{\"resources\":{\"requests\":{\"memory\":\"1025\"}}}}", "{}", "kib=2 " },
    { "", "{\"domain\":{\"memory\":{\"guest\":\"512Mi\"}}}", "{}", "kib=524288 " },
    { "", "{\"domain\":{\"memory\":{\"guest\":\"512Mi\"}}}",
      "{\"memory\":{\"guestCurrent\":\"1Gi\"}}", "kib=1048576 " },
    { "", "{\"domain\":{\"memory\":{\"guest\":\"lots\"}}}", "{}", "kib=0 " },

    { "", "{}",
      "{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Paused\",\"status\":\"False\"}]}",
      "power=running" },
    { "", "{}",
      "{\"phase\":\"Running\",\"conditions\":[7,{\"type\":\"Paused\",\"status\":\"True\","
      "\"reason\":\"PausedIOError\"}]}",
      "power=paused on an I/O error" },
    { "", "{}",
      "{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Paused\",\"status\":\"True\"}]}",
      "power=busy" },
    { "", "{}",
      "{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Paused\",\"status\":\"True\","
      "\"reason\":\"PausedByMigrationMonitor\"}]}",
      "power=busy" },

    { "", "{}", "{\"migrationState\":{\"startTimestamp\":\"x\",\"targetNode\":\"n2\"}}",
      "migrating=to node n2" },
    { "", "{}", "{\"migrationState\":{}}", "migrating=to node ?" },
    { "", "{}", "{\"migrationState\":7}", "migrating=to node ?" },
    { "", "{}", "{\"migrationState\":{\"startTimestamp\":\"x\",\"endTimestamp\":\"y\"}}",
      "!migrating" },
    { "", "{}", "{\"migrationState\":null}", "!migrating" },
    { "", "{}", "{\"evacuationNodeName\":\"n1\"}", "evacuating=n1" },
    { "", "{}", "{\"evacuationNodeName\":\"\"}", "!evacuating" },
    { "", "{}", "{\"evacuationNodeName\":{}}", "evacuating=?" },
    { "", "{}", "{\"volumeStatus\":[{\"memoryDumpVolume\":{\"claimName\":\"c\"},\"name\":\"d\"}]}",
      "dumping=yes" },
    { "", "{\"utilityVolumes\":[{\"name\":\"d\"}]}", "{}", "dumping=yes" },
    { "", "{}", "{\"changedBlockTracking\":{\"state\":\"Enabled\"}}", "backing_up=yes" },
    { "", "{}", "{\"changedBlockTracking\":{\"state\":\"Disabled\"}}", "!backing_up" },
    { "", "{}", "{\"conditions\":[{\"type\":\"LiveMigratable\",\"status\":\"False\"}]}",
      "blocked=? " },
    { "", "{}",
      "{\"conditions\":[{\"type\":\"LiveMigratable\",\"status\":\"True\",\"reason\":\"X\"}]}",
      "!blocked" },
    { "", "{}",
      "{\"conditions\":[{\"type\":\"StorageLiveMigratable\",\"status\":\"False\",\"reason\":"
      "\"NotMigratable\",\"message\":\"A: b, C: d\"}]}",
      "storage=NotMigratable: A: b, C: d" },

    { "", "{\"livenessProbe\":{\"httpGet\":{\"port\":80}}}", "{}", "probe=2" },
    { "", "{\"livenessProbe\":{\"guestAgentPing\":{}}}", "{}", "probe=1" },
    { "", "{\"livenessProbe\":{\"guestAgentPing\":{},\"exec\":{\"command\":[]}}}", "{}",
      "probe=2" },
    { "", "{\"livenessProbe\":{}}", "{}", "probe=2" },
    { "", "{\"livenessProbe\":\"yes\"}", "{}", "probe=2" },
    { "", "{\"readinessProbe\":{\"httpGet\":{\"port\":80}}}", "{}", "probe=0" },

    { "", "{\"volumes\":[{\"name\":\"a\",\"containerDisk\":{\"image\":\"x\"}}]}", "{}",
      "volume=a:containerDisk: " },
    { "",
      "{\"volumes\":[{\"name\":\"a\",\"ephemeral\":{\"persistentVolumeClaim\":{\"claimName\":"
      "\"base\"}}}]}",
      "{}", "volume=a:ephemeral:base " },
    { "", "{\"volumes\":[{\"name\":\"a\",\"emptyDisk\":{\"capacity\":\"1Gi\"}}]}", "{}",
      "volume=a:emptyDisk: " },
    { "", "{\"volumes\":[{\"name\":\"a\",\"hostDisk\":{\"path\":\"/x\"}}]}", "{}",
      "volume=a:hostDisk: " },
    { "", "{\"volumes\":[{\"name\":\"a\",\"memoryDump\":{\"claimName\":\"d\"}}]}", "{}",
      "volume=a:memoryDump:d " },
    { "", "{\"volumes\":[{\"name\":\"a\",\"tapeDrive\":{}}]}", "{}", "volume=a:?: " },
    { "", "{\"volumes\":[{\"name\":\"a\",\"secret\":{},\"containerDisk\":{}}]}", "{}",
      "volume=a:?: " },
    { "", "{\"volumes\":[{\"name\":\"a\",\"persistentVolumeClaim\":{}}]}", "{}", "volume=a:?: " },
    { "", "{\"volumes\":[{\"name\":\"a\",\"dataVolume\":{\"name\":\"../x\"}}]}", "{}",
      "volume=a:?: " },
    { "", "{\"volumes\":[7]}", "{}", "volume=?:?: " },
    { "", "{\"volumes\":{}}", "{}", "volume=?:?: " },

#define DEVICES(text) "{\"domain\":{\"devices\":{" text "}}}"
    { "", DEVICES("\"hostDevices\":[{\"name\":\"h\",\"deviceName\":\"x/y\"}]"), "{}",
      "device=0:device h " },
    { "", DEVICES("\"gpus\":[{\"name\":\"g\",\"deviceName\":\"x/y\"},7]"), "{}",
      "device=0:gpu g device=0:gpu ? " },
    { "", DEVICES("\"gpus\":[]"), "{}", "!device=" },
    { "", DEVICES("\"gpus\":7"), "{}", "device=0:gpu ? " },
    { "", DEVICES("\"interfaces\":[{\"name\":\"s\",\"sriov\":{}}]"), "{}",
      "device=0:SR-IOV interface s " },
    { "", "{\"resourceClaims\":[{\"name\":\"r\"}]}", "{}", "device=0:resource claim r " },
    { "", DEVICES("\"filesystems\":[{\"name\":\"f\",\"virtiofs\":{}}]"), "{}",
      "device=1:file system f " },
    { "", "{\"domain\":{\"launchSecurity\":{\"sev\":{}}}}", "{}", "device=2:launchSecurity " },
    { "", "{\"domain\":{\"launchSecurity\":{}}}", "{}", "device=2:launchSecurity " },
    { "", "{\"domain\":{\"cpu\":{\"dedicatedCpuPlacement\":true}}}", "{}",
      "device=3:dedicatedCpuPlacement " },
    { "", "{\"domain\":{\"cpu\":{\"isolateEmulatorThread\":true}}}", "{}",
      "device=3:isolateEmulatorThread " },
    { "", "{\"domain\":{\"cpu\":{\"realtime\":{}}}}", "{}", "device=3:realtime " },
    { "", "{\"domain\":{\"cpu\":{\"dedicatedCpuPlacement\":false}}}", "{}", "!device=" },
    { "", DEVICES("\"interfaces\":[{\"name\":\"p\",\"passt\":{}}]"), "{}",
      "device=4:interface p " },
    { "", DEVICES("\"interfaces\":[{\"name\":\"p\",\"passtBinding\":{}}]"), "{}",
      "device=4:interface p " },
    { "", DEVICES("\"interfaces\":[{\"name\":\"p\",\"binding\":{\"name\":\"x\"}}]"), "{}",
      "device=4:interface p " },
    { "", DEVICES("\"interfaces\":[{\"name\":\"p\",\"teleport\":{}}]"), "{}",
      "device=4:interface p " },
    { "", DEVICES("\"interfaces\":{}"), "{}", "device=4:interface ? " },
    { "", DEVICES("\"interfaces\":[{\"name\":\"b\",\"bridge\":{}}]"), "{}", "mac=b " },
    { "",
      DEVICES("\"interfaces\":[{\"name\":\"b\",\"bridge\":{},\"macAddress\":\"02:00:00:00:00:01\"}"
              ",{\"name\":\"m\",\"masquerade\":{}}]"),
      "{}", "!mac=" },
    { "", DEVICES("\"autoattachVSOCK\":true"), "{}", "device=5:vsock " },
    { "", "{}", "{\"VSOCKCID\":7}", "device=5:vsock " },
    { "", DEVICES("\"disks\":[{\"name\":\"l\",\"lun\":{\"reservation\":true}}]"), "{}",
      "device=6:disk l " },
    { "", DEVICES("\"disks\":[{\"name\":\"l\",\"lun\":{}}]"), "{}", "!device=" },
    { "", "{\"domain\":{\"features\":{\"hypervPassthrough\":{\"enabled\":true}}}}", "{}",
      "device=7:hypervPassthrough " },
    { "", DEVICES("\"downwardMetrics\":{}"), "{}", "device=8:downwardMetrics " },
    { "", "{}", "{\"memory\":{\"guestAtBoot\":\"1Gi\",\"guestCurrent\":\"2Gi\"}}",
      "device=9:memory " },
    { "", "{}", "{\"memory\":{\"guestAtBoot\":\"1Gi\",\"guestCurrent\":\"1024Mi\"}}", "!device=" },
    { "", "{}", "{\"memory\":{\"guestAtBoot\":\"1Gi\",\"guestCurrent\":\"?\"}}",
      "device=9:memory " },
    { "", "{}", "{\"conditions\":[{\"type\":\"HotVCPUChange\",\"status\":\"True\"}]}",
      "device=9:processors " },
    { "", "{}", "{\"conditions\":[{\"type\":\"HotMemoryChange\",\"status\":\"Unknown\"}]}",
      "device=9:memory " },
};

static void
test_rows(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text =
            g_strdup_printf("{\"metadata\":{\"name\":\"web-vm\",\"namespace\":\"shop\",\"uid\":"
                            "\"u-1\"%s},\"spec\":%s,\"status\":%s}",
                            rows[i].metadata, rows[i].spec, rows[i].status);
        g_autoptr(GError) error = NULL;
        g_autoptr(WkVmi) vmi = parse(text, &error);
        g_autofree char *said = NULL;
        const gboolean is_not = *rows[i].said == '!';

        if (vmi == NULL)
            fail_msg("%s: %s", text, error->message);
        said = describe(vmi);
        if ((strstr(said, rows[i].said + is_not) == NULL) != is_not)
            fail_msg("%s\nsays %s\nnot %s", text, said, rows[i].said);
    }
}

static const struct {
    const char *text;
    const char *complaint;
} wrong[] = {
    { "{}", "metadata.uid" },
    { "{\"metadata\":7}", "metadata.uid" },
    { "{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"}}", "metadata.uid" },
    { "{\"metadata\":{\"uid\":\"u\",\"namespace\":\"b\"}}", "metadata.name" },
    { "{\"metadata\":{\"uid\":\"u\",\"name\":\"../a\",\"namespace\":\"b\"}}", "metadata.name" },
    { "{\"metadata\":{\"uid\":\"u\",\"name\":\"a\",\"namespace\":\"b?c\"}}", "metadata.namespace" },
    { "{\"metadata\":{\"uid\":\"u/v\",\"name\":\"a\",\"namespace\":\"b\"}}", "metadata.uid" },
};

static void
test_wrong(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;

        assert_null(parse(wrong[i].text, &error));
        unit_assert_error(&error, WK_ERROR_INVALID, wrong[i].complaint);
    }
}

/* More than there may be is not taken for less. */
static void
test_bounds(void **state G_GNUC_UNUSED)
{
    GString *volumes = g_string_new(NULL);
    g_autofree char *text = NULL;
    g_autoptr(WkVmi) vmi = NULL;
    const WkVmiVolume *last;

    for (guint i = 0; i < WK_VMI_LIST_MAX + 7; i++)
        g_string_append_printf(volumes, "%s{\"name\":\"v%u\",\"secret\":{}}", i > 0 ? "," : "", i);
    text = g_strdup_printf("{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\",\"uid\":\"u\"},"
                           "\"spec\":{\"volumes\":[%s]}}",
                           volumes->str);
    g_string_free(volumes, TRUE);
    vmi = parse(text, NULL);
    assert_int_equal(vmi->volumes->len, WK_VMI_LIST_MAX + 1);
    last = g_ptr_array_index(vmi->volumes, WK_VMI_LIST_MAX);
    assert_int_equal(last->kind, WK_VOLUME_UNKNOWN);
}

static const struct {
    const char *text;
    gint64 bytes; /* -1: none */
} quantities[] = {
    { "0", 0 },
    { "128974848", 128974848 },
    { "4Gi", G_GINT64_CONSTANT(4) << 30 },
    { "512Mi", 512 << 20 },
    { "1500M", 1500000000 },
    { "1k", 1000 },
    { "2Ki", 2048 },
    { "1e9", 1000000000 },
    { "1E3", 1000 },
    { "1E", G_GINT64_CONSTANT(1000000000000000000) },
    { "2.5Gi", G_GINT64_CONSTANT(5) << 29 },
    { ".5Ki", 512 },
    { "5.", 5 },
    { "+7", 7 },
    { "100m", 1 },
    { "1500m", 2 },
    { "4Ei", G_GINT64_CONSTANT(1) << 62 },
    { "4.1Ei", -1 },
    { "5Ei", -1 },
    { "9999999999999999999", -1 },
    { "1e30", -1 },
    { "1e", -1 },
    { "e3", -1 },
    { "-1", -1 },
    { "", -1 },
    { ".", -1 },
    { "1 Gi", -1 },
    { "1gi", -1 },
    { "1GiB", -1 },
    { "Gi", -1 },
    { "1.2.3", -1 },
    { "0x10", -1 },
    { "1e1.5", -1 },
};

static void
test_quantities(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(quantities); i++) {
        guint64 bytes = 42;
        const gboolean parsed = wk_quantity_parse(quantities[i].text, &bytes);

        if (parsed != (quantities[i].bytes >= 0)
            || bytes != (parsed ? (guint64)quantities[i].bytes : 42))
            fail_msg("'%s': %d %" G_GUINT64_FORMAT, quantities[i].text, parsed, bytes);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual),      cmocka_unit_test(test_rows),
        cmocka_unit_test(test_wrong),      cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_quantities),
    };

    return cmocka_run_group_tests_name("kube/vmi", tests, NULL, NULL);
}
