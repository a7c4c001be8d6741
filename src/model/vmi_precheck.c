/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/vmi.h"

#include "base/error.h"
#include "base/units.h"
#include "model/policy.h"

#include <string.h>

typedef struct {
    const WkVmi *vmi;
    const WkVm *vm; /* NULL: none */
} Input;

/* One thing that forbids a suspend. */
typedef struct {
    const char *reason;
    gboolean to_memory; /* it forbids that as well, not only a suspend to disk */
    /* Returns: (transfer full): what it is about, "" for nothing to add; NULL: all is well. */
    char *(*find)(const Input *in, int which);
    int which;
    const char *what; /* "guest 'NS/NAME' WHAT (DETAIL): NEXT" */
    const char *next;
} Rule;

static char *
say_if(gboolean found, const char *detail)
{
    return found ? g_strdup(detail != NULL ? detail : "") : NULL;
}

/* ---- what is going on ---- */

static char *
find_ending(const Input *in, int which G_GNUC_UNUSED)
{
    return say_if(in->vmi->deleting || (in->vm != NULL && in->vm->deleting), NULL);
}

static char *
find_not_running(const Input *in, int which G_GNUC_UNUSED)
{
    return say_if(in->vmi->phase != WK_PHASE_RUNNING, wk_vmi_phase_name(in->vmi->phase));
}

static char *
find_pause(const Input *in, int which)
{
    return say_if(in->vmi->paused == (WkVmiPaused)which, NULL);
}

static char *
find_migration(const Input *in, int which G_GNUC_UNUSED)
{
    return say_if(in->vmi->migrating != NULL, in->vmi->migrating);
}

static char *
find_evacuation(const Input *in, int which G_GNUC_UNUSED)
{
    return say_if(in->vmi->evacuating != NULL, in->vmi->evacuating);
}

static char *
find_snapshot(const Input *in, int which G_GNUC_UNUSED)
{
    return in->vm != NULL ? say_if(in->vm->snapshot != NULL, in->vm->snapshot) : NULL;
}

static char *
find_restore(const Input *in, int which G_GNUC_UNUSED)
{
    return in->vm != NULL ? say_if(in->vm->restore != NULL, in->vm->restore) : NULL;
}

static char *
find_dump(const Input *in, int which G_GNUC_UNUSED)
{
    return say_if(in->vmi->dumping || (in->vm != NULL && in->vm->dumping), NULL);
}

static char *
find_backup(const Input *in, int which G_GNUC_UNUSED)
{
    return say_if(in->vmi->backing_up, NULL);
}

static char *
find_probe(const Input *in, int which G_GNUC_UNUSED)
{
    return say_if(in->vmi->liveness == WK_PROBE_OTHER, NULL);
}

/* ---- what its VM is ---- */

/* Another VM of that name would make another guest. */
static char *
find_no_vm(const Input *in, int which G_GNUC_UNUSED)
{
    return say_if(in->vm == NULL || in->vmi->vm_uid == NULL
                      || !g_str_equal(in->vmi->vm_uid, in->vm->uid),
                  NULL);
}

/* The controller goes by what it has taken in; the spec is what it will take in next. */
static char *
find_strategy(const Input *in, int which G_GNUC_UNUSED)
{
    const WkRunStrategy strategies[] = { in->vm->strategy, in->vm->seen_strategy };

    if (!wk_run_strategy_row(strategies[0])->can_save)
        return g_strdup(strategies[0] != WK_RUN_UNKNOWN ? wk_run_strategy_name(strategies[0]) : "");
    if (strategies[1] != WK_RUN_UNKNOWN && !wk_run_strategy_row(strategies[1])->can_save)
        return g_strdup(wk_run_strategy_name(strategies[1]));
    return NULL;
}

static char *
find_restart_required(const Input *in, int which G_GNUC_UNUSED)
{
    return say_if(in->vm->restart_required, NULL);
}

static char *
find_requests(const Input *in, int which G_GNUC_UNUSED)
{
    return say_if(in->vm->requests > 0, NULL);
}

/* ---- what it has ---- */

static char *
find_volume(const Input *in, int which)
{
    for (guint i = 0; i < in->vmi->volumes->len; i++) {
        const WkVmiVolume *volume = g_ptr_array_index(in->vmi->volumes, i);

        if (volume->kind == (WkVolumeKind)which)
            return g_strdup_printf("volume %s", volume->name);
    }
    return NULL;
}

static gboolean
is_in_template(const WkVm *vm, const WkVmiVolume *sought)
{
    for (guint i = 0; i < vm->volumes->len; i++) {
        const WkVmiVolume *volume = g_ptr_array_index(vm->volumes, i);

        if (g_str_equal(volume->name, sought->name))
            return TRUE;
    }
    return FALSE;
}

static char *
find_hotplugged_volume(const Input *in, int which G_GNUC_UNUSED)
{
    for (guint i = 0; i < in->vmi->volumes->len; i++) {
        const WkVmiVolume *volume = g_ptr_array_index(in->vmi->volumes, i);

        if (volume->hotplugged && !is_in_template(in->vm, volume))
            return g_strdup_printf("volume %s", volume->name);
    }
    return NULL;
}

static char *
find_device(const Input *in, int which)
{
    for (guint i = 0; i < in->vmi->devices->len; i++) {
        const WkVmiDevice *device = g_ptr_array_index(in->vmi->devices, i);

        if (device->kind == (WkVmiDeviceKind)which)
            return g_strdup(device->name);
    }
    return NULL;
}

/* ---- what KubeVirt says of its migration ---- */

/* Reasons of LiveMigratable=False. What hinders a migration hinders a save... */
typedef enum {
    BLOCKED_HOST_DEVICE,
    BLOCKED_SEV,
    BLOCKED_TDX,
    BLOCKED_SECURE_EXECUTION,
    BLOCKED_VIRTIOFS,
    BLOCKED_TSC_FREQUENCY,
    BLOCKED_HYPERV,
    BLOCKED_CPU_MODEL,
    BLOCKED_RESERVATION,
} Blocker;

static const char *const blockers[] = {
    [BLOCKED_HOST_DEVICE] = "HostDeviceNotLiveMigratable",
    [BLOCKED_SEV] = "SEVNotLiveMigratable",
    [BLOCKED_TDX] = "TDXNotLiveMigratable",
    [BLOCKED_SECURE_EXECUTION] = "SecureExecutionNotLiveMigratable",
    [BLOCKED_VIRTIOFS] = "VirtIOFSNotLiveMigratable",
    [BLOCKED_TSC_FREQUENCY] = "NoTSCFrequencyNotLiveMigratable",
    [BLOCKED_HYPERV] = "HypervPassthroughNotLiveMigratable",
    [BLOCKED_CPU_MODEL] = "CPUModeLiveMigratable",
    [BLOCKED_RESERVATION] = "PersistentReservationNotLiveMigratable",
};

/* ... but for storage and network, which stay where they are. */
static const char *const no_blockers[] = {
    "DisksNotLiveMigratable",
    "InterfaceNotLiveMigratable",
    "DecentralizedNotLiveMigratable",
    "HotplugNotLiveMigratable",
    NULL,
};

/* One reason hides others, so the list in the condition for storage migration is looked through as
 * well: "REASON: text, REASON: text". */
static char *
find_blocker(const Input *in, int which)
{
    const WkVmi *vmi = in->vmi;
    const char *word = blockers[which];

    if (g_strcmp0(vmi->not_migratable, word) == 0)
        return g_strdup(vmi->not_migratable_why != NULL ? vmi->not_migratable_why : word);
    return say_if(vmi->storage_why != NULL && strstr(vmi->storage_why, word) != NULL, word);
}

static char *
find_unknown_blocker(const Input *in, int which G_GNUC_UNUSED)
{
    const char *reason = in->vmi->not_migratable;
    const char *why = in->vmi->not_migratable_why;

    if (reason == NULL || g_strv_contains(no_blockers, reason))
        return NULL;
    return why != NULL ? g_strdup_printf("%s: %s", reason, why) : g_strdup(reason);
}

/* ---- the table ---- */

#define TO_MEMORY TRUE
#define TO_DISK   FALSE

#define OR_MEMORY   ", or suspend to memory"
#define WAIT        "try again when that is done"
#define USE_CLAIM   "put it on a PersistentVolumeClaim" OR_MEMORY
#define REMOVE_IT   "remove it from the VirtualMachine" OR_MEMORY
#define ONLY_MEMORY "suspend to memory"

/* The source of every row is in docs/kubevirt.md ("What is refused"). Rows that need the VM come
 * after the one that refuses without it. */
static const Rule rules[] = {
    { "GuestDeleting", TO_MEMORY, find_ending, 0, "is being deleted",
      "nothing can be done for it" },
    { "NotRunning", TO_MEMORY, find_not_running, 0, "does not run", "start it first" },
    { "PausedByIOError", TO_MEMORY, find_pause, WK_PAUSED_IO_ERROR,
      "was paused by an I/O error of its storage", "repair that first" },
    { "MigrationInProgress", TO_MEMORY, find_migration, 0, "is being migrated", WAIT },
    { "MigrationInProgress", TO_MEMORY, find_pause, WK_PAUSED_BY_MIGRATION, "is being migrated",
      WAIT },
    { "Evacuating", TO_MEMORY, find_evacuation, 0, "is being moved off its node", WAIT },
    { "SnapshotInProgress", TO_MEMORY, find_snapshot, 0, "has a snapshot taken of it", WAIT },
    { "RestoreInProgress", TO_MEMORY, find_restore, 0, "is being restored from a snapshot", WAIT },
    { "MemoryDumpInProgress", TO_MEMORY, find_dump, 0, "has its memory dumped", WAIT },
    { "MemoryDumpInProgress", TO_MEMORY, find_volume, WK_VOLUME_MEMORY_DUMP,
      "has its memory dumped", WAIT },
    { "LivenessProbe", TO_MEMORY, find_probe, 0,
      "has a liveness probe, which would kill it while it is paused",
      "use guestAgentPing, or remove the probe" },

    { "NoVirtualMachine", TO_DISK, find_no_vm, 0,
      "belongs to no VirtualMachine, so that nothing could start it again", ONLY_MEMORY },
    { "RunStrategy", TO_DISK, find_strategy, 0,
      "has a run strategy under which nothing could start it again",
      "set Always, RerunOnFailure or Manual" OR_MEMORY },
    { "RestartRequired", TO_DISK, find_restart_required, 0,
      "was changed since it was started and would be another machine in its next pod",
      "restart it first" OR_MEMORY },
    { "ChangePending", TO_DISK, find_requests, 0,
      "has a start or stop that KubeVirt has not carried out yet", WAIT },
    { "BackupInProgress", TO_DISK, find_backup, 0,
      "has its changed blocks tracked, whose record may die with its pod",
      "switch that off" OR_MEMORY },

    { "ContainerDisk", TO_DISK, find_volume, WK_VOLUME_CONTAINER_DISK,
      "has a container disk, whose writes die with its pod", USE_CLAIM },
    { "ContainerDisk", TO_DISK, find_volume, WK_VOLUME_CONTAINER_PATH,
      "has a folder of its pod, which dies with that", REMOVE_IT },
    { "EphemeralDisk", TO_DISK, find_volume, WK_VOLUME_EPHEMERAL,
      "has an ephemeral disk, whose writes die with its pod", USE_CLAIM },
    { "EphemeralDisk", TO_DISK, find_volume, WK_VOLUME_EMPTY_DISK,
      "has an empty disk, which dies with its pod", USE_CLAIM },
    { "DownwardMetrics", TO_DISK, find_volume, WK_VOLUME_DOWNWARD_METRICS,
      "has a disk of metrics, which its pod feeds", REMOVE_IT },
    { "DownwardMetrics", TO_DISK, find_device, WK_DEVICE_DOWNWARD_METRICS,
      "has a port of metrics, which its pod feeds", REMOVE_IT },
    { "UnknownVolume", TO_DISK, find_volume, WK_VOLUME_UNKNOWN,
      "has a volume of a kind that this agent does not know", "use a newer agent" OR_MEMORY },
    { "HotpluggedVolume", TO_DISK, find_hotplugged_volume, 0,
      "has a volume plugged in that its VirtualMachine does not list",
      "plug it in persistently, or out" OR_MEMORY },
    { "HotpluggedHardware", TO_DISK, find_device, WK_DEVICE_HOTPLUGGED,
      "had memory or CPUs plugged in since it was started", "restart it first" OR_MEMORY },
    { "SharedFolder", TO_DISK, find_device, WK_DEVICE_SHARED_FOLDER,
      "shares a folder by virtiofs, which can't be saved", REMOVE_IT },
    { "HostDevice", TO_DISK, find_device, WK_DEVICE_HOST,
      "has a device of the node, whose state can't be saved", REMOVE_IT },
    { "ConfidentialGuest", TO_DISK, find_device, WK_DEVICE_CONFIDENTIAL,
      "is a confidential guest, whose memory can't be read", ONLY_MEMORY },
    { "DedicatedCPU", TO_DISK, find_device, WK_DEVICE_DEDICATED_CPU,
      "has CPUs of its own, and may get others in its next pod", REMOVE_IT },
    { "NetworkBinding", TO_DISK, find_device, WK_DEVICE_NETWORK_BINDING,
      "has a network binding that keeps its state outside of the guest",
      "use masquerade or bridge" OR_MEMORY },
    { "VsockDevice", TO_DISK, find_device, WK_DEVICE_VSOCK,
      "has a vsock, whose number may be another guest's by then", REMOVE_IT },
    { "PersistentReservation", TO_DISK, find_device, WK_DEVICE_RESERVATION,
      "has a LUN with persistent reservations, which die with its pod", REMOVE_IT },
    { "HypervPassthrough", TO_DISK, find_device, WK_DEVICE_HYPERV_PASSTHROUGH,
      "has the node's own set of Hyper-V features", REMOVE_IT },

    { "HostDevice", TO_DISK, find_blocker, BLOCKED_HOST_DEVICE,
      "has a device of the node, whose state can't be saved", REMOVE_IT },
    { "ConfidentialGuest", TO_DISK, find_blocker, BLOCKED_SEV,
      "is a confidential guest, whose memory can't be read", ONLY_MEMORY },
    { "ConfidentialGuest", TO_DISK, find_blocker, BLOCKED_TDX,
      "is a confidential guest, whose memory can't be read", ONLY_MEMORY },
    { "ConfidentialGuest", TO_DISK, find_blocker, BLOCKED_SECURE_EXECUTION,
      "is a confidential guest, whose memory can't be read", ONLY_MEMORY },
    { "SharedFolder", TO_DISK, find_blocker, BLOCKED_VIRTIOFS,
      "shares a folder by virtiofs, which can't be saved", REMOVE_IT },
    { "NoTSCFrequency", TO_DISK, find_blocker, BLOCKED_TSC_FREQUENCY,
      "has a clock (invtsc) whose frequency is not fixed", "fix it, or remove invtsc" OR_MEMORY },
    { "HypervPassthrough", TO_DISK, find_blocker, BLOCKED_HYPERV,
      "has the node's own set of Hyper-V features", REMOVE_IT },
    { "CPUModelUnknown", TO_DISK, find_blocker, BLOCKED_CPU_MODEL,
      "has a CPU model (host-model) that KubeVirt does not know here", "name a model" OR_MEMORY },
    { "PersistentReservation", TO_DISK, find_blocker, BLOCKED_RESERVATION,
      "has a LUN with persistent reservations, which die with its pod", REMOVE_IT },
    { "NotMigratable", TO_DISK, find_unknown_blocker, 0,
      "can't be migrated for a reason that this agent does not know", ONLY_MEMORY },
};

static void
refuse(const WkVmi *vmi, const Rule *rule, const char *detail, GError **error)
{
    wk_error_set(error, WK_ERROR_REFUSED, rule->reason, "guest '%s/%s' %s%s%s%s: %s", vmi->ns,
                 vmi->name, rule->what, *detail != '\0' ? " (" : "", detail,
                 *detail != '\0' ? ")" : "", rule->next);
}

gboolean
wk_precheck_vmi(const WkVmi *vmi, const WkVm *vm, WkTarget target, GError **error)
{
    const Input input = { vmi, vm };

    for (gsize i = 0; i < G_N_ELEMENTS(rules); i++) {
        g_autofree char *detail = NULL;

        if (target != WK_TARGET_DISK && !rules[i].to_memory)
            continue;
        detail = rules[i].find(&input, rules[i].which);
        if (detail == NULL)
            continue;
        refuse(vmi, &rules[i], detail, error);
        return FALSE;
    }
    return TRUE;
}

/* ---- the pod ---- */

/* The image's bytes are the pod's as long as its name lies in an emptyDir there, and a pod over its
 * limit is evicted, in mid-save if need be. */
static gboolean
check_storage_limit(const WkVmi *vmi, const WkVmiPod *pod, guint64 memory_kib, GError **error)
{
    const guint64 need = wk_policy_image_bytes(memory_kib);
    g_autofree char *need_text = NULL;
    g_autofree char *limit_text = NULL;

    if (pod->storage_limit_bytes < 0 || (guint64)pod->storage_limit_bytes >= need)
        return TRUE;
    need_text = wk_units_format_bytes(need);
    limit_text = wk_units_format_bytes((guint64)pod->storage_limit_bytes);
    wk_error_set(error, WK_ERROR_REFUSED, "PodStorageLimit",
                 "guest '%s/%s' needs up to %s for its image, and its pod %s may hold %s of "
                 "ephemeral storage: raise that limit (LimitRange), or suspend to memory",
                 vmi->ns, vmi->name, need_text, pod->name, limit_text);
    return FALSE;
}

gboolean
wk_precheck_pod(const WkVmi *vmi, const WkVmiPod *pod, guint64 memory_kib, GError **error)
{
    if (pod->deleting || pod->ended) {
        wk_error_set(error, WK_ERROR_REFUSED, "PodEnding",
                     "guest '%s/%s': its pod %s is at its end: try again when it runs in another",
                     vmi->ns, vmi->name, pod->name);
        return FALSE;
    }
    if (pod->user_namespace) {
        wk_error_set(
            error, WK_ERROR_REFUSED, "UserNamespace",
            "guest '%s/%s': its pod %s has user ids of its own (hostUsers: false), so that "
            "its files can't be taken to another pod: suspend to memory",
            vmi->ns, vmi->name, pod->name);
        return FALSE;
    }
    return check_storage_limit(vmi, pod, memory_kib, error);
}

/* ---- resume ---- */

gboolean
wk_precheck_vm_resume(const WkVm *vm, const char *template_hash, GError **error)
{
    if (vm->deleting) {
        wk_error_set(error, WK_ERROR_REFUSED, "GuestDeleting",
                     "guest '%s/%s': its VirtualMachine is being deleted: nothing can be done for "
                     "it",
                     vm->ns, vm->name);
        return FALSE;
    }
    if (vm->restore != NULL) {
        wk_error_set(error, WK_ERROR_REFUSED, "RestoreInProgress",
                     "guest '%s/%s': its disks are being restored from a snapshot (%s), which its "
                     "saved memory does not fit: discard that",
                     vm->ns, vm->name, vm->restore);
        return FALSE;
    }
    if (g_strcmp0(vm->template_hash, template_hash) != 0) {
        wk_error_set(error, WK_ERROR_REFUSED, "TemplateChanged",
                     "guest '%s/%s': its VirtualMachine was changed since the guest was saved: "
                     "change it back, or discard the saved memory",
                     vm->ns, vm->name);
        return FALSE;
    }
    return TRUE;
}
