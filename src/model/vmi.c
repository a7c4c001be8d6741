/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/vmi.h"

#include "base/names.h"

/* ---- words ---- */

static const char *const phase_names[WK_VMI_PHASES] = {
    [WK_PHASE_NONE] = "",
    [WK_PHASE_PENDING] = "Pending",
    [WK_PHASE_SCHEDULING] = "Scheduling",
    [WK_PHASE_SCHEDULED] = "Scheduled",
    [WK_PHASE_RUNNING] = "Running",
    [WK_PHASE_SUCCEEDED] = "Succeeded",
    [WK_PHASE_FAILED] = "Failed",
    [WK_PHASE_WAITING] = "WaitingForSync",
    [WK_PHASE_UNKNOWN] = "Unknown",
};

static const char *const paused_names[WK_VMI_PAUSES] = {
    [WK_PAUSED_BY_USER] = "PausedByUser",
    [WK_PAUSED_IO_ERROR] = "PausedIOError",
    [WK_PAUSED_BY_MIGRATION] = "PausedByMigrationMonitor",
};

static const char *const strategy_names[WK_RUN_STRATEGIES] = {
    [WK_RUN_ALWAYS] = "Always", [WK_RUN_RERUN_ON_FAILURE] = "RerunOnFailure",
    [WK_RUN_MANUAL] = "Manual", [WK_RUN_HALTED] = "Halted",
    [WK_RUN_ONCE] = "Once",     [WK_RUN_WAIT_AS_RECEIVER] = "WaitAsReceiver",
};

static const char *const volume_names[WK_VOLUME_KINDS] = {
    [WK_VOLUME_CLAIM] = "persistentVolumeClaim",
    [WK_VOLUME_DATA_VOLUME] = "dataVolume",
    [WK_VOLUME_CONTAINER_DISK] = "containerDisk",
    [WK_VOLUME_CONTAINER_PATH] = "containerPath",
    [WK_VOLUME_EMPTY_DISK] = "emptyDisk",
    [WK_VOLUME_EPHEMERAL] = "ephemeral",
    [WK_VOLUME_HOST_DISK] = "hostDisk",
    [WK_VOLUME_CLOUD_INIT_NO_CLOUD] = "cloudInitNoCloud",
    [WK_VOLUME_CLOUD_INIT_CONFIG_DRIVE] = "cloudInitConfigDrive",
    [WK_VOLUME_SYSPREP] = "sysprep",
    [WK_VOLUME_CONFIG_MAP] = "configMap",
    [WK_VOLUME_SECRET] = "secret",
    [WK_VOLUME_DOWNWARD_API] = "downwardAPI",
    [WK_VOLUME_SERVICE_ACCOUNT] = "serviceAccount",
    [WK_VOLUME_DOWNWARD_METRICS] = "downwardMetrics",
    [WK_VOLUME_MEMORY_DUMP] = "memoryDump",
};

/* Returns: the place of @word in @names, or @unknown. */
static int
find_word(const char *const *names, gsize n_names, const char *word, int unknown)
{
    for (gsize i = 0; word != NULL && i < n_names; i++) {
        if (names[i] != NULL && g_str_equal(names[i], word))
            return (int)i;
    }
    return unknown;
}

const char *
wk_vmi_phase_name(WkVmiPhase value)
{
    return wk_name_of(phase_names, G_N_ELEMENTS(phase_names), (int)value);
}

const char *
wk_run_strategy_name(WkRunStrategy value)
{
    return wk_name_of(strategy_names, G_N_ELEMENTS(strategy_names), (int)value);
}

const char *
wk_volume_kind_name(WkVolumeKind value)
{
    return wk_name_of(volume_names, G_N_ELEMENTS(volume_names), (int)value);
}

WkVmiPhase
wk_vmi_phase_parse(const char *word)
{
    return (WkVmiPhase)find_word(phase_names, G_N_ELEMENTS(phase_names), word, WK_PHASE_UNKNOWN);
}

WkVmiPaused
wk_vmi_paused_parse(const char *reason)
{
    return (WkVmiPaused)find_word(paused_names, G_N_ELEMENTS(paused_names), reason,
                                  WK_PAUSED_OTHER);
}

WkRunStrategy
wk_run_strategy_parse(const char *word)
{
    return (WkRunStrategy)find_word(strategy_names, G_N_ELEMENTS(strategy_names), word,
                                    WK_RUN_UNKNOWN);
}

char *
wk_vmi_domain_name(const char *ns, const char *name)
{
    return g_strdup_printf("%s_%s", ns, name);
}

/* ---- tables ---- */

#define UNTOLD (-1)

/* By phase; a running one by its pause, see below. OFF before the pod is up: there is no libvirt in
 * which a domain could be. */
static const int power_of_phase[WK_VMI_PHASES] = {
    [WK_PHASE_NONE] = WK_POWER_OFF,        [WK_PHASE_PENDING] = WK_POWER_OFF,
    [WK_PHASE_SCHEDULING] = WK_POWER_OFF,  [WK_PHASE_SCHEDULED] = WK_POWER_STARTING,
    [WK_PHASE_RUNNING] = WK_POWER_RUNNING, [WK_PHASE_SUCCEEDED] = WK_POWER_OFF,
    [WK_PHASE_FAILED] = WK_POWER_OFF,      [WK_PHASE_WAITING] = WK_POWER_BUSY,
    [WK_PHASE_UNKNOWN] = UNTOLD,
};

/* A pause that this agent has no word for is somebody else's business. */
static const WkPower power_of_pause[WK_VMI_PAUSES] = {
    [WK_PAUSED_NO] = WK_POWER_RUNNING,        [WK_PAUSED_BY_USER] = WK_POWER_PAUSED,
    [WK_PAUSED_IO_ERROR] = WK_POWER_IO_ERROR, [WK_PAUSED_BY_MIGRATION] = WK_POWER_BUSY,
    [WK_PAUSED_OTHER] = WK_POWER_BUSY,
};

gboolean
wk_vmi_power_of(WkVmiPhase phase, WkVmiPaused paused, WkPower *power)
{
    const int of_phase = phase < WK_VMI_PHASES ? power_of_phase[phase] : UNTOLD;

    if (of_phase == UNTOLD || paused >= WK_VMI_PAUSES)
        return FALSE;
    *power = phase == WK_PHASE_RUNNING ? power_of_pause[paused] : (WkPower)of_phase;
    return TRUE;
}

gboolean
wk_vmi_power(const WkVmi *self, WkPower *power)
{
    return wk_vmi_power_of(self->phase, self->paused, power);
}

gboolean
wk_vmi_is_final(const WkVmi *self)
{
    return self->phase == WK_PHASE_SUCCEEDED || self->phase == WK_PHASE_FAILED;
}

/* Once: a start can't be asked for, and its ended VMI stays, so nothing would bring the next one.
 * Halted: its VMI is on the way out. */
static const WkRunStrategyRow strategy_rows[WK_RUN_STRATEGIES] = {
    [WK_RUN_UNKNOWN] = { .can_save = FALSE },
    [WK_RUN_ALWAYS] = { .can_save = TRUE, .boots_alone = TRUE },
    [WK_RUN_RERUN_ON_FAILURE] = { .can_save = TRUE, .needs_start = TRUE },
    [WK_RUN_MANUAL] = { .can_save = TRUE, .vmi_stays = TRUE, .needs_start = TRUE },
    [WK_RUN_HALTED] = { .can_save = FALSE, .needs_start = TRUE },
    [WK_RUN_ONCE] = { .can_save = FALSE, .vmi_stays = TRUE, .boots_alone = TRUE },
    [WK_RUN_WAIT_AS_RECEIVER] = { .can_save = FALSE, .boots_alone = TRUE },
};

const WkRunStrategyRow *
wk_run_strategy_row(WkRunStrategy strategy)
{
    return &strategy_rows[strategy < WK_RUN_STRATEGIES ? strategy : WK_RUN_UNKNOWN];
}

/* ---- volumes and devices ---- */

static void
volume_free(gpointer data)
{
    WkVmiVolume *volume = data;

    g_free(volume->name);
    g_free(volume->claim);
    g_free(volume);
}

static void
device_free(gpointer data)
{
    WkVmiDevice *device = data;

    g_free(device->name);
    g_free(device);
}

WkVmiVolume *
wk_vmi_volumes_add(GPtrArray *volumes, WkVolumeKind kind, const char *name, const char *claim)
{
    WkVmiVolume *volume = g_new0(WkVmiVolume, 1);

    volume->kind = kind;
    volume->name = g_strdup(name);
    volume->claim = g_strdup(claim);
    g_ptr_array_add(volumes, volume);
    return volume;
}

/* Returns: (transfer full). */
static GPtrArray *
copy_volumes(GPtrArray *from)
{
    GPtrArray *copy = g_ptr_array_new_with_free_func(volume_free);

    for (guint i = 0; i < from->len; i++) {
        const WkVmiVolume *volume = g_ptr_array_index(from, i);

        wk_vmi_volumes_add(copy, volume->kind, volume->name, volume->claim)->hotplugged =
            volume->hotplugged;
    }
    return copy;
}

void
wk_vmi_add_device(WkVmi *self, WkVmiDeviceKind kind, const char *name)
{
    WkVmiDevice *device = g_new0(WkVmiDevice, 1);

    device->kind = kind;
    device->name = g_strdup(name);
    g_ptr_array_add(self->devices, device);
}

/* ---- VMI ---- */

WkVmi *
wk_vmi_new(void)
{
    WkVmi *self = g_new0(WkVmi, 1);

    self->lock_index = -1;
    self->runtime_uid = -1;
    self->pod_uids = g_ptr_array_new_with_free_func(g_free);
    self->volumes = g_ptr_array_new_with_free_func(volume_free);
    self->devices = g_ptr_array_new_with_free_func(device_free);
    return self;
}

/* Every text of a VMI: for copying and freeing. */
#define N_VMI_TEXTS 13
static void
list_vmi_texts(WkVmi *self, char **texts[N_VMI_TEXTS])
{
    char **all[N_VMI_TEXTS] = {
        &self->ns,
        &self->name,
        &self->uid,
        &self->resource_version,
        &self->vm_name,
        &self->vm_uid,
        &self->node,
        &self->migrating,
        &self->evacuating,
        &self->not_migratable,
        &self->not_migratable_why,
        &self->storage_why,
        &self->unfixed_mac,
    };

    for (gsize i = 0; i < N_VMI_TEXTS; i++)
        texts[i] = all[i];
}

WkVmi *
wk_vmi_copy(const WkVmi *self)
{
    WkVmi *copy = g_memdup2(self, sizeof *self);
    char **texts[N_VMI_TEXTS];

    list_vmi_texts(copy, texts);
    for (gsize i = 0; i < N_VMI_TEXTS; i++)
        *texts[i] = g_strdup(*texts[i]);
    copy->pod_uids = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < self->pod_uids->len; i++)
        g_ptr_array_add(copy->pod_uids, g_strdup(g_ptr_array_index(self->pod_uids, i)));
    copy->volumes = copy_volumes(self->volumes);
    copy->devices = g_ptr_array_new_with_free_func(device_free);
    for (guint i = 0; i < self->devices->len; i++) {
        const WkVmiDevice *device = g_ptr_array_index(self->devices, i);

        wk_vmi_add_device(copy, device->kind, device->name);
    }
    return copy;
}

void
wk_vmi_free(WkVmi *self)
{
    char **texts[N_VMI_TEXTS];

    if (self == NULL)
        return;
    list_vmi_texts(self, texts);
    for (gsize i = 0; i < N_VMI_TEXTS; i++)
        g_free(*texts[i]);
    g_ptr_array_unref(self->pod_uids);
    g_ptr_array_unref(self->volumes);
    g_ptr_array_unref(self->devices);
    g_free(self);
}

char *
wk_vmi_caveat(const WkVmi *self)
{
    if (self->unfixed_mac == NULL)
        return NULL;
    return g_strdup_printf("network interface %s has no fixed macAddress: its next pod may have "
                           "another one, and the guest be cut off until it renews its address",
                           self->unfixed_mac);
}

/* ---- VM ---- */

WkVm *
wk_vm_new(void)
{
    WkVm *self = g_new0(WkVm, 1);

    self->volumes = g_ptr_array_new_with_free_func(volume_free);
    return self;
}

#define N_VM_TEXTS 10
static void
list_vm_texts(WkVm *self, char **texts[N_VM_TEXTS])
{
    char **all[N_VM_TEXTS] = {
        &self->ns,
        &self->name,
        &self->uid,
        &self->resource_version,
        &self->printable_status,
        &self->snapshot,
        &self->restore,
        &self->firmware_uuid,
        &self->selected_node,
        &self->template_hash,
    };

    for (gsize i = 0; i < N_VM_TEXTS; i++)
        texts[i] = all[i];
}

WkVm *
wk_vm_copy(const WkVm *self)
{
    WkVm *copy = g_memdup2(self, sizeof *self);
    char **texts[N_VM_TEXTS];

    list_vm_texts(copy, texts);
    for (gsize i = 0; i < N_VM_TEXTS; i++)
        *texts[i] = g_strdup(*texts[i]);
    copy->volumes = copy_volumes(self->volumes);
    return copy;
}

void
wk_vm_free(WkVm *self)
{
    char **texts[N_VM_TEXTS];

    if (self == NULL)
        return;
    list_vm_texts(self, texts);
    for (gsize i = 0; i < N_VM_TEXTS; i++)
        g_free(*texts[i]);
    g_ptr_array_unref(self->volumes);
    g_free(self);
}

/* ---- what is around ---- */

void
wk_vmi_pod_free(WkVmiPod *self)
{
    if (self == NULL)
        return;
    g_free(self->uid);
    g_free(self->name);
    g_free(self->node);
    g_free(self);
}

void
wk_claim_free(WkClaim *self)
{
    if (self == NULL)
        return;
    g_free(self->name);
    g_free(self->uid);
    g_free(self->volume);
    g_free(self);
}

WkPin *
wk_pin_copy(const WkPin *self)
{
    WkPin *copy = g_new0(WkPin, 1);

    copy->wukong = g_strdup(self->wukong);
    copy->uid = g_strdup(self->uid);
    copy->resource_version = g_strdup(self->resource_version);
    copy->node = g_strdup(self->node);
    return copy;
}

void
wk_pin_free(WkPin *self)
{
    if (self == NULL)
        return;
    g_free(self->wukong);
    g_free(self->uid);
    g_free(self->resource_version);
    g_free(self->node);
    g_free(self);
}
