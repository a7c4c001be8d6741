/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "model/policy.h"
#include "model/vmi.h"

/* A guest that may be suspended to either target, its VM and its pod. */
typedef struct {
    WkVmi *vmi;
    WkVm *vm; /* NULL: there is none */
    WkVmiPod pod;
} Guest;

static int
setup(void **state)
{
    Guest *guest = g_new0(Guest, 1);

    guest->vmi = wk_vmi_new();
    guest->vmi->ns = g_strdup("shop");
    guest->vmi->name = g_strdup("web-vm");
    guest->vmi->uid = g_strdup("u-1");
    guest->vmi->vm_name = g_strdup("web-vm");
    guest->vmi->vm_uid = g_strdup("u-2");
    guest->vmi->phase = WK_PHASE_RUNNING;
    guest->vmi->memory_kib = 1 << 20;
    guest->vm = wk_vm_new();
    guest->vm->ns = g_strdup("shop");
    guest->vm->name = g_strdup("web-vm");
    guest->vm->uid = g_strdup("u-2");
    guest->vm->strategy = guest->vm->seen_strategy = WK_RUN_ALWAYS;
    guest->vm->template_hash = g_strdup("hash");
    wk_vmi_volumes_add(guest->vmi->volumes, WK_VOLUME_DATA_VOLUME, "root", "web-root");
    wk_vmi_volumes_add(guest->vm->volumes, WK_VOLUME_DATA_VOLUME, "root", "web-root");
    guest->pod = (WkVmiPod){ .name = (char *)"virt-launcher-web", .storage_limit_bytes = -1 };
    *state = guest;
    return 0;
}

static int
teardown(void **state)
{
    Guest *guest = *state;

    wk_vmi_free(guest->vmi);
    wk_vm_free(guest->vm);
    g_free(guest);
    return 0;
}

#define SPOIL(name, change)                                                                        \
    static void spoil_##name(Guest *guest)                                                         \
    {                                                                                              \
        change;                                                                                    \
    }

SPOIL(deleting, guest->vmi->deleting = TRUE)
SPOIL(vm_deleting, guest->vm->deleting = TRUE)
SPOIL(scheduled, guest->vmi->phase = WK_PHASE_SCHEDULED)
SPOIL(io_error, guest->vmi->paused = WK_PAUSED_IO_ERROR)
SPOIL(migrating, guest->vmi->migrating = g_strdup("to node n2"))
SPOIL(migration_pause, guest->vmi->paused = WK_PAUSED_BY_MIGRATION)
SPOIL(evacuating, guest->vmi->evacuating = g_strdup("node-1"))
SPOIL(snapshot, guest->vm->snapshot = g_strdup("snap-1"))
SPOIL(restore, guest->vm->restore = g_strdup("restore-1"))
SPOIL(dump, guest->vmi->dumping = TRUE)
SPOIL(vm_dump, guest->vm->dumping = TRUE)
SPOIL(dump_volume, wk_vmi_volumes_add(guest->vmi->volumes, WK_VOLUME_MEMORY_DUMP, "dump", "d"))
SPOIL(probe, guest->vmi->liveness = WK_PROBE_OTHER)
SPOIL(no_vm, g_clear_pointer(&guest->vm, wk_vm_free))
SPOIL(no_owner, g_clear_pointer(&guest->vmi->vm_uid, g_free))
SPOIL(other_vm, guest->vm->uid[0] = 'x')
SPOIL(halted, guest->vm->strategy = WK_RUN_HALTED)
SPOIL(still_once, guest->vm->seen_strategy = WK_RUN_ONCE)
SPOIL(receiver, guest->vm->strategy = WK_RUN_WAIT_AS_RECEIVER)
SPOIL(no_strategy, guest->vm->strategy = WK_RUN_UNKNOWN)
SPOIL(restart, guest->vm->restart_required = TRUE)
SPOIL(requests, guest->vm->requests = 1)
SPOIL(backup, guest->vmi->backing_up = TRUE)

#define SPOIL_VOLUME(name, kind)                                                                   \
    SPOIL(name, wk_vmi_volumes_add(guest->vmi->volumes, kind, "extra", NULL))
SPOIL_VOLUME(container_disk, WK_VOLUME_CONTAINER_DISK)
SPOIL_VOLUME(container_path, WK_VOLUME_CONTAINER_PATH)
SPOIL_VOLUME(ephemeral, WK_VOLUME_EPHEMERAL)
SPOIL_VOLUME(empty_disk, WK_VOLUME_EMPTY_DISK)
SPOIL_VOLUME(metrics_disk, WK_VOLUME_DOWNWARD_METRICS)
SPOIL_VOLUME(unknown_volume, WK_VOLUME_UNKNOWN)
SPOIL(hotplugged,
      wk_vmi_volumes_add(guest->vmi->volumes, WK_VOLUME_CLAIM, "extra", "c")->hotplugged = TRUE)

#define SPOIL_DEVICE(name, kind) SPOIL(name, wk_vmi_add_device(guest->vmi, kind, "thing x"))
SPOIL_DEVICE(metrics_port, WK_DEVICE_DOWNWARD_METRICS)
SPOIL_DEVICE(plugged, WK_DEVICE_HOTPLUGGED)
SPOIL_DEVICE(shared, WK_DEVICE_SHARED_FOLDER)
SPOIL_DEVICE(host, WK_DEVICE_HOST)
SPOIL_DEVICE(confidential, WK_DEVICE_CONFIDENTIAL)
SPOIL_DEVICE(dedicated, WK_DEVICE_DEDICATED_CPU)
SPOIL_DEVICE(binding, WK_DEVICE_NETWORK_BINDING)
SPOIL_DEVICE(vsock, WK_DEVICE_VSOCK)
SPOIL_DEVICE(reservation, WK_DEVICE_RESERVATION)
SPOIL_DEVICE(hyperv, WK_DEVICE_HYPERV_PASSTHROUGH)

#define SPOIL_REASON(name, word)                                                                   \
    SPOIL(name, guest->vmi->not_migratable = g_strdup(word);                                       \
          guest->vmi->not_migratable_why = g_strdup("its own words"))
SPOIL_REASON(said_host, "HostDeviceNotLiveMigratable")
SPOIL_REASON(said_sev, "SEVNotLiveMigratable")
SPOIL_REASON(said_tdx, "TDXNotLiveMigratable")
SPOIL_REASON(said_secure, "SecureExecutionNotLiveMigratable")
SPOIL_REASON(said_virtiofs, "VirtIOFSNotLiveMigratable")
SPOIL_REASON(said_tsc, "NoTSCFrequencyNotLiveMigratable")
SPOIL_REASON(said_hyperv, "HypervPassthroughNotLiveMigratable")
SPOIL_REASON(said_cpu, "CPUModeLiveMigratable")
SPOIL_REASON(said_reservation, "PersistentReservationNotLiveMigratable")
SPOIL_REASON(said_new, "TooHeavyNotLiveMigratable")
SPOIL(said_no_text, guest->vmi->not_migratable = g_strdup("SEVNotLiveMigratable"))
SPOIL(said_new_no_text, guest->vmi->not_migratable = g_strdup("TooHeavyNotLiveMigratable"))
SPOIL(hidden, guest->vmi->not_migratable = g_strdup("InterfaceNotLiveMigratable");
      guest->vmi->storage_why =
          g_strdup("NotMigratable: InterfaceNotLiveMigratable: a, TDXNotLiveMigratable: b"))

static const struct {
    const char *label;
    void (*spoil)(Guest *guest);
    gboolean to_memory; /* refused as well */
    const char *reason;
    const char *said;
} cases[] = {
    { "VMI being deleted", spoil_deleting, TRUE, "GuestDeleting", "is being deleted" },
    { "VM being deleted", spoil_vm_deleting, TRUE, "GuestDeleting", "is being deleted" },
    { "not running", spoil_scheduled, TRUE, "NotRunning", "does not run (Scheduled): start it" },
    { "I/O error", spoil_io_error, TRUE, "PausedByIOError", "I/O error of its storage: repair" },
    { "migration", spoil_migrating, TRUE, "MigrationInProgress", "migrated (to node n2): try" },
    { "migration's pause", spoil_migration_pause, TRUE, "MigrationInProgress", "being migrated:" },
    { "evacuation", spoil_evacuating, TRUE, "Evacuating", "off its node (node-1)" },
    { "snapshot", spoil_snapshot, TRUE, "SnapshotInProgress", "(snap-1): try again" },
    { "restore", spoil_restore, TRUE, "RestoreInProgress", "(restore-1): try again" },
    { "memory dump", spoil_dump, TRUE, "MemoryDumpInProgress", "dumped: try again" },
    { "memory dump of the VM", spoil_vm_dump, TRUE, "MemoryDumpInProgress", "dumped" },
    { "memory dump's volume", spoil_dump_volume, TRUE, "MemoryDumpInProgress", "(volume dump)" },
    { "liveness probe", spoil_probe, TRUE, "LivenessProbe", "use guestAgentPing" },
    { "no VM", spoil_no_vm, FALSE, "NoVirtualMachine", "nothing could start it again" },
    { "no owner", spoil_no_owner, FALSE, "NoVirtualMachine", "suspend to memory" },
    { "another VM", spoil_other_vm, FALSE, "NoVirtualMachine", "belongs to no VirtualMachine" },
    { "Halted", spoil_halted, FALSE, "RunStrategy", "(Halted): set Always" },
    { "Once, as the controller has it", spoil_still_once, FALSE, "RunStrategy", "(Once)" },
    { "WaitAsReceiver", spoil_receiver, FALSE, "RunStrategy", "(WaitAsReceiver)" },
    { "unknown strategy", spoil_no_strategy, FALSE, "RunStrategy", "start it again: set" },
    { "RestartRequired", spoil_restart, FALSE, "RestartRequired", "restart it first" },
    { "queued requests", spoil_requests, FALSE, "ChangePending", "not carried out yet" },
    { "changed blocks", spoil_backup, FALSE, "BackupInProgress", "switch that off" },
    { "containerDisk", spoil_container_disk, FALSE, "ContainerDisk",
      "(volume extra): put it on a PersistentVolumeClaim, or suspend to memory" },
    { "containerPath", spoil_container_path, FALSE, "ContainerDisk", "(volume extra): remove" },
    { "ephemeral", spoil_ephemeral, FALSE, "EphemeralDisk", "an ephemeral disk" },
    { "emptyDisk", spoil_empty_disk, FALSE, "EphemeralDisk", "an empty disk" },
    { "metrics disk", spoil_metrics_disk, FALSE, "DownwardMetrics", "a disk of metrics" },
    { "metrics port", spoil_metrics_port, FALSE, "DownwardMetrics", "a port of metrics" },
    { "unknown volume", spoil_unknown_volume, FALSE, "UnknownVolume", "(volume extra)" },
    { "volume not in the VM", spoil_hotplugged, FALSE, "HotpluggedVolume", "(volume extra)" },
    { "plugged memory", spoil_plugged, FALSE, "HotpluggedHardware", "(thing x): restart" },
    { "virtiofs", spoil_shared, FALSE, "SharedFolder", "(thing x): remove" },
    { "host device", spoil_host, FALSE, "HostDevice", "(thing x): remove" },
    { "launch security", spoil_confidential, FALSE, "ConfidentialGuest", "suspend to memory" },
    { "dedicated CPUs", spoil_dedicated, FALSE, "DedicatedCPU", "CPUs of its own" },
    { "network binding", spoil_binding, FALSE, "NetworkBinding", "masquerade or bridge" },
    { "vsock", spoil_vsock, FALSE, "VsockDevice", "vsock" },
    { "reservation", spoil_reservation, FALSE, "PersistentReservation", "LUN" },
    { "Hyper-V passthrough", spoil_hyperv, FALSE, "HypervPassthrough", "Hyper-V" },
    { "KubeVirt: host device", spoil_said_host, FALSE, "HostDevice", "(its own words)" },
    { "KubeVirt: SEV", spoil_said_sev, FALSE, "ConfidentialGuest", "(its own words)" },
    { "KubeVirt: TDX", spoil_said_tdx, FALSE, "ConfidentialGuest", "(its own words)" },
    { "KubeVirt: secure execution", spoil_said_secure, FALSE, "ConfidentialGuest", "confidential" },
    { "KubeVirt: virtiofs", spoil_said_virtiofs, FALSE, "SharedFolder", "(its own words)" },
    { "KubeVirt: TSC", spoil_said_tsc, FALSE, "NoTSCFrequency", "invtsc" },
    { "KubeVirt: Hyper-V", spoil_said_hyperv, FALSE, "HypervPassthrough", "(its own words)" },
    { "KubeVirt: host-model", spoil_said_cpu, FALSE, "CPUModelUnknown", "name a model" },
    { "KubeVirt: reservation", spoil_said_reservation, FALSE, "PersistentReservation", "LUN" },
    { "KubeVirt: a new reason", spoil_said_new, FALSE, "NotMigratable",
      "(TooHeavyNotLiveMigratable: its own words)" },
    { "KubeVirt: a reason without text", spoil_said_no_text, FALSE, "ConfidentialGuest",
      "(SEVNotLiveMigratable)" },
    { "KubeVirt: a new one without text", spoil_said_new_no_text, FALSE, "NotMigratable",
      "(TooHeavyNotLiveMigratable)" },
    { "KubeVirt: a reason behind another", spoil_hidden, FALSE, "ConfidentialGuest",
      "(TDXNotLiveMigratable)" },
};

static void
check_refused(const GError *error, gsize i)
{
    if (error == NULL)
        fail_msg("%s: not refused", cases[i].label);
    if (!g_error_matches(error, WK_ERROR, WK_ERROR_REFUSED)
        || g_strcmp0(wk_error_get_reason(error), cases[i].reason) != 0
        || strstr(error->message, "guest 'shop/web-vm' ") != error->message
        || strstr(error->message, cases[i].said) == NULL)
        fail_msg("%s: %s: %s", cases[i].label, wk_error_get_reason(error), error->message);
}

static void
test_refused(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        void *own = NULL;
        Guest *guest;
        g_autoptr(GError) to_disk = NULL;
        g_autoptr(GError) to_memory = NULL;

        setup(&own);
        guest = own;
        cases[i].spoil(guest);
        assert_false(wk_precheck_vmi(guest->vmi, guest->vm, WK_TARGET_DISK, &to_disk));
        check_refused(to_disk, i);
        if (wk_precheck_vmi(guest->vmi, guest->vm, WK_TARGET_MEMORY, &to_memory)
            == cases[i].to_memory)
            fail_msg("%s: to memory: %s", cases[i].label,
                     to_memory != NULL ? to_memory->message : "not refused");
        teardown(&own);
    }
}

SPOIL(nothing, (void)guest)
SPOIL(paused, guest->vmi->paused = WK_PAUSED_BY_USER)
SPOIL(guest_agent, guest->vmi->liveness = WK_PROBE_GUEST_AGENT)
SPOIL(manual, guest->vm->strategy = guest->vm->seen_strategy = WK_RUN_MANUAL)
SPOIL(rerun, guest->vm->strategy = WK_RUN_RERUN_ON_FAILURE)
SPOIL(not_seen, guest->vm->seen_strategy = WK_RUN_UNKNOWN)
SPOIL(template_volume,
      ((WkVmiVolume *)g_ptr_array_index(guest->vmi->volumes, 0))->hotplugged = TRUE)
SPOIL_VOLUME(host_disk, WK_VOLUME_HOST_DISK)
SPOIL_VOLUME(cloud_init, WK_VOLUME_CLOUD_INIT_NO_CLOUD)
SPOIL_VOLUME(config_drive, WK_VOLUME_CLOUD_INIT_CONFIG_DRIVE)
SPOIL_VOLUME(sysprep, WK_VOLUME_SYSPREP)
SPOIL_VOLUME(config_map, WK_VOLUME_CONFIG_MAP)
SPOIL_VOLUME(secret, WK_VOLUME_SECRET)
SPOIL_VOLUME(downward_api, WK_VOLUME_DOWNWARD_API)
SPOIL_VOLUME(service_account, WK_VOLUME_SERVICE_ACCOUNT)
SPOIL_VOLUME(claim, WK_VOLUME_CLAIM)
SPOIL_REASON(disks, "DisksNotLiveMigratable")
SPOIL_REASON(interface, "InterfaceNotLiveMigratable")
SPOIL_REASON(decentralized, "DecentralizedNotLiveMigratable")
SPOIL_REASON(hotplug, "HotplugNotLiveMigratable")

static void (*const fine[])(Guest *) = {
    spoil_nothing,    spoil_paused,   spoil_guest_agent,     spoil_manual,
    spoil_rerun,      spoil_not_seen, spoil_template_volume, spoil_host_disk,
    spoil_cloud_init, spoil_sysprep,  spoil_config_drive,    spoil_config_map,
    spoil_secret,     spoil_claim,    spoil_downward_api,    spoil_service_account,
    spoil_disks,      spoil_hotplug,  spoil_interface,       spoil_decentralized,
};

static void
test_fine(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(fine); i++) {
        void *own = NULL;
        Guest *guest;
        g_autoptr(GError) error = NULL;

        setup(&own);
        guest = own;
        fine[i](guest);
        if (!wk_precheck_vmi(guest->vmi, guest->vm, WK_TARGET_DISK, &error)
            || !wk_precheck_vmi(guest->vmi, guest->vm, WK_TARGET_MEMORY, &error))
            fail_msg("fine[%" G_GSIZE_FORMAT "]: %s", i, error->message);
        teardown(&own);
    }
}

static void
assert_refused(GError **error, const char *reason, const char *said)
{
    assert_non_null(*error);
    assert_string_equal(wk_error_get_reason(*error), reason);
    unit_assert_error(error, WK_ERROR_REFUSED, said);
}

static void
test_pod(void **state)
{
    Guest *guest = *state;
    const guint64 need = wk_policy_image_bytes(guest->vmi->memory_kib);
    WkVmiPod *pod = &guest->pod;
    g_autoptr(GError) error = NULL;

    assert_true(wk_precheck_pod(guest->vmi, pod, guest->vmi->memory_kib, &error));
    pod->storage_limit_bytes = (gint64)need;
    assert_true(wk_precheck_pod(guest->vmi, pod, guest->vmi->memory_kib, &error));
    pod->storage_limit_bytes--;
    assert_false(wk_precheck_pod(guest->vmi, pod, guest->vmi->memory_kib, &error));
    assert_refused(&error, "PodStorageLimit", "may hold 1.2 GB of ephemeral storage");
    pod->storage_limit_bytes = 0;
    assert_false(wk_precheck_pod(guest->vmi, pod, guest->vmi->memory_kib, &error));
    assert_refused(&error, "PodStorageLimit", "LimitRange");
    pod->user_namespace = TRUE;
    assert_false(wk_precheck_pod(guest->vmi, pod, guest->vmi->memory_kib, &error));
    assert_refused(&error, "UserNamespace", "hostUsers: false");
    pod->ended = TRUE;
    assert_false(wk_precheck_pod(guest->vmi, pod, guest->vmi->memory_kib, &error));
    assert_refused(&error, "PodEnding", "virt-launcher-web");
    pod->ended = FALSE;
    pod->deleting = TRUE;
    assert_false(wk_precheck_pod(guest->vmi, pod, guest->vmi->memory_kib, &error));
    assert_refused(&error, "PodEnding", "at its end");
}

static void
test_resume(void **state)
{
    Guest *guest = *state;
    WkVm *vm = guest->vm;
    g_autoptr(GError) error = NULL;

    assert_true(wk_precheck_vm_resume(vm, "hash", &error));
    vm->strategy = WK_RUN_HALTED; /* the operator's answer to autoStart: false */
    assert_true(wk_precheck_vm_resume(vm, "hash", &error));
    assert_false(wk_precheck_vm_resume(vm, "other", &error));
    assert_refused(&error, "TemplateChanged", "changed since the guest was saved");
    assert_false(wk_precheck_vm_resume(vm, NULL, &error));
    assert_refused(&error, "TemplateChanged", "discard");
    vm->restore = g_strdup("restore-1");
    assert_false(wk_precheck_vm_resume(vm, "hash", &error));
    assert_refused(&error, "RestoreInProgress", "(restore-1)");
    vm->deleting = TRUE;
    assert_false(wk_precheck_vm_resume(vm, "hash", &error));
    assert_refused(&error, "GuestDeleting", "being deleted");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_fine),
        cmocka_unit_test_setup_teardown(test_pod, setup, teardown),
        cmocka_unit_test_setup_teardown(test_resume, setup, teardown),
    };

    return cmocka_run_group_tests_name("model/vmi precheck", tests, NULL, NULL);
}
