/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "kube/vmi.h"

#define TEXT_MAX (1024 * 1024)
#define IDENTITY "\"metadata\":{\"name\":\"web-vm\",\"namespace\":\"shop\",\"uid\":\"u-2\"%s}"

/* Returns: (transfer full). */
static JsonObject *
make_object(const char *metadata, const char *spec, const char *status)
{
    g_autofree char *text =
        g_strdup_printf("{" IDENTITY ",\"spec\":%s,\"status\":%s}", metadata, spec, status);
    g_autoptr(GError) error = NULL;
    JsonObject *object = wk_json_parse(text, -1, TEXT_MAX, &error);

    if (object == NULL)
        fail_msg("%s: %s", text, error->message);
    return object;
}

static WkVm *
make(const char *metadata, const char *spec, const char *status)
{
    g_autoptr(JsonObject) object = make_object(metadata, spec, status);
    g_autoptr(GError) error = NULL;
    WkVm *vm = wk_vm_parse(object, &error);

    assert_null(error);
    return vm;
}

/* As the Wukong operator writes it, and KubeVirt completes it. */
static const char *const usual_spec =
    "{\"running\":true,\"template\":{\"metadata\":{\"creationTimestamp\":null,\"labels\":{"
    "\"kubevirt.io/domain\":\"web-vm\"}},\"spec\":{\"architecture\":\"amd64\",\"domain\":{\"cpu\":{"
    "\"cores\":2},\"devices\":{\"disks\":[{\"disk\":{\"bus\":\"virtio\"},\"name\":\"root\"}],"
    "\"interfaces\":[{\"macAddress\":\"02:00:00:00:00:01\",\"masquerade\":{},\"name\":"
    "\"default\"}]},\"firmware\":{\"uuid\":\"5d307ca9-b3ef-428c-8861-06e72d69f223\"},\"machine\":{"
    "\"type\":\"q35\"},\"memory\":{\"guest\":\"4Gi\"},\"resources\":{}},\"networks\":[{\"name\":"
    "\"default\",\"pod\":{}}],\"nodeSelector\":{\"kubernetes.io/hostname\":\"node-1\"},"
    "\"volumes\":[{\"dataVolume\":{\"name\":\"web-root\"},\"name\":\"root\"}]}}}";

static void
test_usual(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVm) vm = make(
        ",\"annotations\":{\"wukong.novasphere.dev/suspended\":\"true\"},\"resourceVersion\":\"9\"",
        usual_spec,
        "{\"printableStatus\":\"Running\",\"runStrategy\":\"Always\",\"conditions\":[{\"type\":"
        "\"Ready\",\"status\":\"True\"}]}");
    const WkVmiVolume *volume = g_ptr_array_index(vm->volumes, 0);

    assert_string_equal(vm->ns, "shop");
    assert_string_equal(vm->name, "web-vm");
    assert_string_equal(vm->uid, "u-2");
    assert_string_equal(vm->resource_version, "9");
    assert_true(vm->suspended_mark);
    assert_false(vm->deleting);
    assert_int_equal(vm->strategy, WK_RUN_ALWAYS);
    assert_int_equal(vm->seen_strategy, WK_RUN_ALWAYS);
    assert_string_equal(vm->printable_status, "Running");
    assert_string_equal(vm->firmware_uuid, "5d307ca9-b3ef-428c-8861-06e72d69f223");
    assert_false(vm->restart_required);
    assert_null(vm->snapshot);
    assert_null(vm->restore);
    assert_false(vm->dumping);
    assert_int_equal(vm->requests, 0);
    assert_int_equal(vm->volumes->len, 1);
    assert_int_equal(volume->kind, WK_VOLUME_DATA_VOLUME);
    assert_string_equal(volume->claim, "web-root");
    assert_string_equal(vm->selected_node, "node-1");
    assert_int_equal(strlen(vm->template_hash), 64);
}

static const struct {
    const char *spec;
    WkRunStrategy strategy;
} strategies[] = {
    { "{\"running\":true}", WK_RUN_ALWAYS },
    { "{\"running\":false}", WK_RUN_HALTED },
    { "{\"runStrategy\":\"Manual\"}", WK_RUN_MANUAL },
    { "{\"runStrategy\":\"Manual\",\"running\":null}", WK_RUN_MANUAL },
    { "{\"runStrategy\":\"RerunOnFailure\"}", WK_RUN_RERUN_ON_FAILURE },
    { "{\"runStrategy\":\"Manual\",\"running\":true}", WK_RUN_UNKNOWN },
    { "{\"running\":\"true\"}", WK_RUN_UNKNOWN },
    { "{\"runStrategy\":7}", WK_RUN_UNKNOWN },
    { "{\"runStrategy\":\"Sometimes\"}", WK_RUN_UNKNOWN },
    { "{}", WK_RUN_UNKNOWN },
    { "null", WK_RUN_UNKNOWN },
};

static void
test_strategies(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(strategies); i++) {
        g_autoptr(WkVm) vm = make("", strategies[i].spec, "{}");

        assert_int_equal(vm->strategy, strategies[i].strategy);
        assert_int_equal(vm->seen_strategy, WK_RUN_UNKNOWN);
    }
}

static void
test_going_on(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVm) vm = make(",\"deletionTimestamp\":\"2026-11-22T20:00:00Z\"", "{}",
                              "{\"conditions\":[{\"type\":\"RestartRequired\",\"status\":\"True\"}]"
                              ",\"memoryDumpRequest\":{\"phase\":\"InProgress\"},"
                              "\"restoreInProgress\":\"r-1\",\"snapshotInProgress\":\"s-1\","
                              "\"stateChangeRequests\":[{\"action\":\"Stop\"},"
                              "{\"action\":\"Start\"}]}");
    g_autoptr(WkVm) odd = make("", "{}",
                               "{\"memoryDumpRequest\":7,\"restoreInProgress\":{},"
                               "\"snapshotInProgress\":7}");
    g_autoptr(WkVm) past = make("", "{}",
                                "{\"memoryDumpRequest\":{\"phase\":\"Completed\"},"
                                "\"restoreInProgress\":\"\",\"snapshotInProgress\":null,"
                                "\"conditions\":[{\"type\":\"RestartRequired\",\"status\":"
                                "\"False\"}]}");

    assert_true(vm->deleting && vm->restart_required && vm->dumping);
    assert_string_equal(vm->snapshot, "s-1");
    assert_string_equal(vm->restore, "r-1");
    assert_int_equal(vm->requests, 2);
    assert_true(odd->dumping);
    assert_string_equal(odd->snapshot, "?");
    assert_string_equal(odd->restore, "?");
    assert_false(past->dumping || past->restart_required);
    assert_null(past->snapshot);
    assert_null(past->restore);
}

/* ---- the digest ---- */

static char *
hash_of(const char *spec)
{
    g_autoptr(JsonObject) object = make_object("", spec, "{}");

    return wk_vm_template_hash(wk_json_get_object(object, "spec"));
}

/* (transfer full): the usual spec with @from replaced. */
static char *
with(const char *from, const char *to)
{
    g_auto(GStrv) parts = g_strsplit(usual_spec, from, 2);

    if (parts[1] == NULL)
        fail_msg("'%s' is not in the usual spec", from);
    return g_strjoinv(to, parts);
}

static const struct {
    const char *from;
    const char *to;
} same[] = {
    { "\"running\":true", "\"running\":false" },
    { "\"running\":true", "\"runStrategy\":\"Manual\"" },
    { "\"creationTimestamp\":null,", "\"annotations\":{\"a\":\"b\"}," },
    { "\"kubevirt.io/domain\":\"web-vm\"", "" },
    { "\"nodeSelector\":{\"kubernetes.io/hostname\":\"node-1\"},", "" },
    { "\"nodeSelector\":", "\"tolerations\":[{\"key\":\"a\"}],\"affinity\":{},\"nodeSelector\":" },
    { "\"nodeSelector\":", "\"terminationGracePeriodSeconds\":30,\"nodeSelector\":" },
    { "\"nodeSelector\":", "\"livenessProbe\":{\"guestAgentPing\":{}},\"nodeSelector\":" },
    { "\"nodeSelector\":", "\"startStrategy\":\"Paused\",\"nodeSelector\":" },
    { "\"nodeSelector\":", "\"hostname\":null,\"nodeSelector\":" },
    { "\"firmware\":{\"uuid\":\"5d307ca9-b3ef-428c-8861-06e72d69f223\"},", "" },
    { "\"firmware\":{\"uuid\":\"5d307ca9-b3ef-428c-8861-06e72d69f223\"},", "\"firmware\":{}," },
    { "\"uuid\":", "\"serial\":\"7\",\"uuid\":" },
    { "\"macAddress\":\"02:00:00:00:00:01\",", "" },
    { ",\"resources\":{}", "" },
};

static const struct {
    const char *from;
    const char *to;
} different[] = {
    { "\"cores\":2", "\"cores\":3" },
    { "\"guest\":\"4Gi\"", "\"guest\":\"8Gi\"" },
    { "\"masquerade\":{}", "\"bridge\":{}" },
    { "\"masquerade\":{},", "" },
    { "\"type\":\"q35\"", "\"type\":\"pc-q35-9.0\"" },
    { "\"dataVolume\":{\"name\":\"web-root\"}", "\"dataVolume\":{\"name\":\"other\"}" },
    { "\"uuid\":", "\"bootloader\":{\"efi\":{}},\"uuid\":" },
    { "\"resources\":{}", "\"resources\":{\"requests\":{\"memory\":\"4Gi\"}}" },
    { "\"running\":true", "\"instancetype\":{\"name\":\"big\"}" },
    { "\"running\":true", "\"preference\":{\"name\":\"big\"}" },
    { "\"pod\":{}", "\"multus\":{\"networkName\":\"a\"}" },
};

static void
test_digest_same(void **state G_GNUC_UNUSED)
{
    g_autofree char *usual = hash_of(usual_spec);

    for (gsize i = 0; i < G_N_ELEMENTS(same); i++) {
        g_autofree char *spec = with(same[i].from, same[i].to);
        g_autofree char *hash = hash_of(spec);

        if (!g_str_equal(hash, usual))
            fail_msg("'%s' counts", same[i].to);
    }
}

static void
test_digest_different(void **state G_GNUC_UNUSED)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    g_hash_table_add(seen, hash_of(usual_spec));
    for (gsize i = 0; i < G_N_ELEMENTS(different); i++) {
        g_autofree char *spec = with(different[i].from, different[i].to);

        if (!g_hash_table_add(seen, hash_of(spec)))
            fail_msg("'%s' does not count", different[i].to);
    }
}

/* Members in another order are the same; elements of a list are not. */
static void
test_digest_order(void **state G_GNUC_UNUSED)
{
    g_autofree char *one =
        hash_of("{\"template\":{\"spec\":{\"a\":[1,2],\"b\":{\"c\":1,\"d\":2}}}}");
    g_autofree char *two =
        hash_of("{\"template\":{\"spec\":{\"b\":{\"d\":2,\"c\":1},\"a\":[1,2]}}}");
    g_autofree char *three =
        hash_of("{\"template\":{\"spec\":{\"a\":[2,1],\"b\":{\"c\":1,\"d\":2}}}}");
    g_autofree char *revision =
        hash_of("{\"instancetype\":{\"kind\":\"k\",\"name\":\"n\",\"revisionName\":\"r\"}}");
    g_autofree char *no_revision = hash_of("{\"instancetype\":{\"kind\":\"k\",\"name\":\"n\"}}");
    g_autofree char *shifted = hash_of("{\"instancetype\":{\"kind\":\"kn\",\"name\":\"\"}}");

    assert_string_equal(one, two);
    assert_string_not_equal(one, three);
    assert_string_equal(revision, no_revision);
    assert_string_not_equal(revision, shifted);
}

/* ---- pods and claims ---- */

static const struct {
    const char *metadata;
    const char *spec;
    const char *status;
    gboolean deleting, ended, user_namespace;
    gint64 limit_bytes;
} pods[] = {
#define LIMIT(text) "{\"resources\":{\"limits\":{\"ephemeral-storage\":" text "}}}"
    { "", "{}", "{}", FALSE, FALSE, FALSE, -1 },
    { ",\"deletionTimestamp\":\"x\"", "{}", "{\"phase\":\"Running\"}", TRUE, FALSE, FALSE, -1 },
    { "", "{}", "{\"phase\":\"Succeeded\"}", FALSE, TRUE, FALSE, -1 },
    { "", "{}", "{\"phase\":\"Failed\"}", FALSE, TRUE, FALSE, -1 },
    { "", "{\"hostUsers\":false}", "{}", FALSE, FALSE, TRUE, -1 },
    { "", "{\"hostUsers\":true}", "{}", FALSE, FALSE, FALSE, -1 },
    { "", "{\"hostUsers\":\"?\"}", "{}", FALSE, FALSE, TRUE, -1 },
    { "", "{\"containers\":[" LIMIT("\"1Ki\"") ",{}," LIMIT("\"1k\"") "]}", "{}", FALSE, FALSE,
      FALSE, 2024 },
    { "", "{\"containers\":[" LIMIT("\"a lot\"") "]}", "{}", FALSE, FALSE, FALSE, 0 },
    { "", "{\"containers\":[" LIMIT("7") "]}", "{}", FALSE, FALSE, FALSE, 0 },
    { "", "{\"containers\":[7]}", "{}", FALSE, FALSE, FALSE, -1 },
};

static void
test_pods(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(pods); i++) {
        g_autoptr(JsonObject) object = make_object(pods[i].metadata, pods[i].spec, pods[i].status);
        g_autoptr(WkVmiPod) pod = wk_vmi_pod_parse(object, NULL);

        assert_string_equal(pod->uid, "u-2");
        assert_int_equal(pod->deleting, pods[i].deleting);
        assert_int_equal(pod->ended, pods[i].ended);
        assert_int_equal(pod->user_namespace, pods[i].user_namespace);
        assert_int_equal(pod->storage_limit_bytes, pods[i].limit_bytes);
        assert_null(pod->node);
    }
}

static void
test_claim(void **state G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) object =
        make_object("", "{\"volumeName\":\"pv-1\"}", "{\"capacity\":{\"storage\":\"10Gi\"}}");
    g_autoptr(JsonObject) unbound =
        make_object(",\"deletionTimestamp\":\"x\"", "{}", "{\"capacity\":{\"storage\":7}}");
    g_autoptr(WkClaim) claim = wk_claim_parse(object, NULL);
    g_autoptr(WkClaim) other = wk_claim_parse(unbound, NULL);

    assert_string_equal(claim->name, "web-vm");
    assert_string_equal(claim->uid, "u-2");
    assert_string_equal(claim->volume, "pv-1");
    assert_false(claim->deleting);
    assert_int_equal(claim->capacity_bytes, G_GUINT64_CONSTANT(10) << 30);
    assert_null(other->volume);
    assert_true(other->deleting);
    assert_int_equal(other->capacity_bytes, 0);
}

static const struct {
    const char *spec;
    const char *node;
} pins[] = {
    { "{}", NULL },
    { "{\"highAvailability\":7}", NULL },
    { "{\"highAvailability\":{}}", NULL },
    { "{\"highAvailability\":{\"nodeSelector\":{\"tier\":\"a\"}}}", NULL },
    { "{\"highAvailability\":{\"nodeSelector\":{\"kubernetes.io/hostname\":7}}}", NULL },
    { "{\"highAvailability\":{\"nodeSelector\":{\"kubernetes.io/hostname\":\"n\"}}}", "n" },
};

static void
test_pin(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(pins); i++) {
        g_autoptr(JsonObject) object =
            make_object(",\"resourceVersion\":\"9\"", pins[i].spec, "{}");
        g_autoptr(WkPin) pin = wk_pin_parse(object, NULL);
        g_autoptr(WkPin) copy = wk_pin_copy(pin);

        assert_string_equal(copy->wukong, "web-vm");
        assert_string_equal(copy->uid, "u-2");
        assert_string_equal(copy->resource_version, "9");
        if (g_strcmp0(copy->node, pins[i].node) != 0)
            fail_msg("%s: %s", pins[i].spec, copy->node);
    }
}

static void
test_none(void **state G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) object = json_object_new();
    g_autoptr(GError) error = NULL;

    assert_null(wk_vm_parse(object, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "metadata.uid");
    assert_null(wk_vmi_pod_parse(object, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "metadata.uid");
    assert_null(wk_claim_parse(object, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "metadata.uid");
    assert_null(wk_pin_parse(object, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "metadata.uid");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual),
        cmocka_unit_test(test_strategies),
        cmocka_unit_test(test_going_on),
        cmocka_unit_test(test_digest_same),
        cmocka_unit_test(test_digest_different),
        cmocka_unit_test(test_digest_order),
        cmocka_unit_test(test_pods),
        cmocka_unit_test(test_claim),
        cmocka_unit_test(test_pin),
        cmocka_unit_test(test_none),
    };

    return cmocka_run_group_tests_name("kube/vm", tests, NULL, NULL);
}
