/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/types.h"

G_BEGIN_DECLS

/*
 * What KubeVirt's objects say of a guest that lives in a virt-launcher pod, as far as anything here
 * decides on it. Pure data and tables: kube/vmi.h reads them from the API, the worker gets copies.
 * "Facts" below are docs/kubevirt.md's. Any thread; no object is shared between threads.
 */

/* The lock against a cold boot (docs/ledger.md): while a VMI that has it exists, there can be no
 * successor. */
#define WK_VMI_LOCK "wukong.novasphere.dev/saved-state"

typedef enum {
    WK_PHASE_NONE, /* "": not looked at by KubeVirt yet */
    WK_PHASE_PENDING,
    WK_PHASE_SCHEDULING,
    WK_PHASE_SCHEDULED, /* the pod is up, virt-handler has it: a start may be under way */
    WK_PHASE_RUNNING,   /* not a proof that the CPUs run */
    WK_PHASE_SUCCEEDED, /* also: the end of a save */
    WK_PHASE_FAILED,
    WK_PHASE_WAITING, /* WaitingForSync: receiver of a migration from another cluster */
    WK_PHASE_UNKNOWN, /* its node is lost, or a word that this agent does not know */
} WkVmiPhase;
#define WK_VMI_PHASES 9

/* Reason of the condition Paused. None: not paused, or for a reason that KubeVirt has no word for
 * (saving, restored and not yet run, dumping): only libvirt tells then. */
typedef enum {
    WK_PAUSED_NO,
    WK_PAUSED_BY_USER, /* the subresource, or a raw suspend: it looks the same */
    WK_PAUSED_IO_ERROR,
    WK_PAUSED_BY_MIGRATION,
    WK_PAUSED_OTHER, /* a word that this agent does not know */
} WkVmiPaused;
#define WK_VMI_PAUSES 5

/* By the member of spec.volumes[] that says what it is. */
typedef enum {
    WK_VOLUME_UNKNOWN, /* a kind that this agent does not know */
    WK_VOLUME_CLAIM,   /* persistentVolumeClaim */
    WK_VOLUME_DATA_VOLUME,
    WK_VOLUME_CONTAINER_DISK,
    WK_VOLUME_CONTAINER_PATH,
    WK_VOLUME_EMPTY_DISK,
    WK_VOLUME_EPHEMERAL,
    WK_VOLUME_HOST_DISK,
    WK_VOLUME_CLOUD_INIT_NO_CLOUD,
    WK_VOLUME_CLOUD_INIT_CONFIG_DRIVE,
    WK_VOLUME_SYSPREP,
    WK_VOLUME_CONFIG_MAP,
    WK_VOLUME_SECRET,
    WK_VOLUME_DOWNWARD_API,
    WK_VOLUME_SERVICE_ACCOUNT,
    WK_VOLUME_DOWNWARD_METRICS,
    WK_VOLUME_MEMORY_DUMP,
} WkVolumeKind;
#define WK_VOLUME_KINDS 17

typedef struct {
    WkVolumeKind kind;
    char *name;
    char *claim; /* the PersistentVolumeClaim, also of a data volume; NULL: it has none */
    gboolean hotplugged;
} WkVmiVolume;

/* What of a guest can't be taken to another pod (facts, "refuse suspend-to-disk"). */
typedef enum {
    WK_DEVICE_HOST,            /* hostDevices, gpus, SR-IOV, claims of devices (DRA) */
    WK_DEVICE_SHARED_FOLDER,   /* virtiofs */
    WK_DEVICE_CONFIDENTIAL,    /* SEV, TDX, Secure Execution */
    WK_DEVICE_DEDICATED_CPU,   /* dedicatedCpuPlacement, isolateEmulatorThread, realtime */
    WK_DEVICE_NETWORK_BINDING, /* passt, slirp, a binding plugin: state outside QEMU */
    WK_DEVICE_VSOCK,           /* its CID is the old VMI's */
    WK_DEVICE_RESERVATION,     /* persistent reservations on a LUN */
    WK_DEVICE_HYPERV_PASSTHROUGH,
    WK_DEVICE_DOWNWARD_METRICS, /* a disk or port that the old pod feeds */
    WK_DEVICE_HOTPLUGGED,       /* memory or CPUs plugged in after the start */
} WkVmiDeviceKind;
#define WK_VMI_DEVICE_KINDS 10

typedef struct {
    WkVmiDeviceKind kind;
    char *name; /* for people: "gpu 'a100'" */
} WkVmiDevice;

typedef enum {
    WK_PROBE_NONE,
    WK_PROBE_GUEST_AGENT, /* guestAgentPing: knows about pauses */
    WK_PROBE_OTHER,       /* kills the pod of a paused guest */
} WkVmiProbe;

typedef struct {
    char *ns;
    char *name;
    char *uid;
    char *resource_version; /* opaque; NULL: none was sent */
    gboolean deleting;      /* has a deletionTimestamp */
    guint finalizers;       /* how many it has */
    int lock_index;         /* of WK_VMI_LOCK among them; -1: not there */
    gboolean has_lock;
    char *vm_name; /* owner of kind VirtualMachine; NULL: none */
    char *vm_uid;

    WkVmiPhase phase;
    char *node;          /* status.nodeName; NULL: none yet */
    GPtrArray *pod_uids; /* (element-type utf8): status.activePods on @node; of all nodes while
                            there is no @node */
    guint foreign_pods;  /* active pods on other nodes than @node: a migration */
    gint64 runtime_uid;  /* of its libvirt: 107 or 0; -1: not said */
    guint64 memory_kib;  /* what the guest has now, else what it is to have; 0: not said */
    WkVmiPaused paused;

    char *migrating;          /* why it is taken for migrating, for people; NULL: it is not */
    char *evacuating;         /* evacuationNodeName; NULL: it is not */
    gboolean dumping;         /* a memory dump is attached or on its way */
    gboolean backing_up;      /* a backup runs, or changed blocks are tracked */
    char *not_migratable;     /* reason of LiveMigratable=False; NULL: not so */
    char *not_migratable_why; /* its message */
    char *storage_why;        /* reason and message of StorageLiveMigratable=False, which lists
                                 every reason but that of disks; NULL: not so */

    WkVmiProbe liveness;
    char *unfixed_mac;  /* an interface by whose MAC the guest is reached and which gets another
                           with its next pod; NULL: none */
    GPtrArray *volumes; /* (element-type WkVmiVolume) */
    GPtrArray *devices; /* (element-type WkVmiDevice) */
} WkVmi;

/* Returns: (transfer full): empty, with its arrays; runtime_uid and lock_index -1. */
WkVmi *wk_vmi_new(void);
WkVmi *wk_vmi_copy(const WkVmi *self); /* (transfer full) */
void wk_vmi_free(WkVmi *self);         /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkVmi, wk_vmi_free)

/* Strings are copied. @volumes of a WkVmi or WkVm; (transfer none). */
WkVmiVolume *
wk_vmi_volumes_add(GPtrArray *volumes, WkVolumeKind kind, const char *name, const char *claim);
void wk_vmi_add_device(WkVmi *self, WkVmiDeviceKind kind, const char *name);

/* spec.running or spec.runStrategy of a VirtualMachine. */
typedef enum {
    WK_RUN_UNKNOWN, /* a word that this agent does not know, or none */
    WK_RUN_ALWAYS,
    WK_RUN_RERUN_ON_FAILURE,
    WK_RUN_MANUAL,
    WK_RUN_HALTED,
    WK_RUN_ONCE,
    WK_RUN_WAIT_AS_RECEIVER,
} WkRunStrategy;
#define WK_RUN_STRATEGIES 7

/* What the VM controller does once its VMI has ended by a save (facts, 1.3). */
typedef struct {
    gboolean can_save;    /* FALSE: a save can't be carried to another pod under it */
    gboolean vmi_stays;   /* the ended VMI is not deleted until somebody asks for a start */
    gboolean boots_alone; /* a new VMI comes by itself as soon as the old one is gone: only the lock
                             holds it back */
    gboolean needs_start; /* a resume has to ask for it: wk_kubevirt_start() */
} WkRunStrategyRow;

typedef struct {
    char *ns;
    char *name;
    char *uid;
    char *resource_version; /* opaque; NULL: none was sent */
    gboolean deleting;
    WkRunStrategy strategy;      /* what the spec says */
    WkRunStrategy seen_strategy; /* status.runStrategy: what the controller has taken in;
                                    WK_RUN_UNKNOWN: nothing yet */
    char *printable_status;      /* status.printableStatus; NULL: none */
    gboolean restart_required;   /* condition RestartRequired: the next VMI is another machine */
    char *snapshot;              /* status.snapshotInProgress; NULL: none */
    char *restore;               /* status.restoreInProgress; NULL: none */
    gboolean dumping;            /* status.memoryDumpRequest is under way */
    guint requests;              /* status.stateChangeRequests that are waiting */
    gboolean suspended_mark;     /* annotation wukong.novasphere.dev/suspended is "true" */
    char *firmware_uuid;         /* of the template; NULL: KubeVirt makes it from the name */
    char *selected_node;         /* the template's nodeSelector under WK_HOSTNAME; NULL: none */
    char *template_hash;         /* of what the next VMI is made of, see kube/vmi.h; never NULL */
    GPtrArray *volumes;          /* (element-type WkVmiVolume): of the template */
} WkVm;

WkVm *wk_vm_new(void);              /* (transfer full): empty, with its array */
WkVm *wk_vm_copy(const WkVm *self); /* (transfer full) */
void wk_vm_free(WkVm *self);        /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkVm, wk_vm_free)

/* A pod as far as it tells what becomes of a guest. */
typedef struct {
    char *uid;
    char *name;
    char *node; /* NULL: not scheduled */
    gboolean deleting;
    gboolean ended;             /* phase Succeeded or Failed: its emptyDirs go, or are gone */
    gboolean user_namespace;    /* hostUsers: false: uids of its files are not what they seem */
    gint64 storage_limit_bytes; /* least ephemeral-storage limit of its containers; -1: none */
} WkVmiPod;

void wk_vmi_pod_free(WkVmiPod *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkVmiPod, wk_vmi_pod_free)

/* A PersistentVolumeClaim: other data if one of these is another. */
typedef struct {
    char *name;
    char *uid;
    char *volume;           /* spec.volumeName; NULL: not bound */
    guint64 capacity_bytes; /* status.capacity, else 0 */
    gboolean deleting;      /* has a deletionTimestamp: it goes with the last pod that uses it */
} WkClaim;

void wk_claim_free(WkClaim *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkClaim, wk_claim_free)

/* Label of a node by which a pod is sent to it. */
#define WK_HOSTNAME "kubernetes.io/hostname"

/* A Wukong as far as it says on which node its guest may run (highAvailability.nodeSelector). */
typedef struct {
    char *wukong;
    char *uid;
    char *resource_version; /* NULL: none was sent */
    char *node;             /* under WK_HOSTNAME; NULL: none */
} WkPin;

WkPin *wk_pin_copy(const WkPin *self); /* (transfer full) */
void wk_pin_free(WkPin *self);         /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkPin, wk_pin_free)

/* ---- tables ---- */

/* What the guest does, by its VMI alone; total. FALSE: it can't be told (phase Unknown), @power
 * untouched. A VMI tells less than libvirt: STARTING covers all of a start and of a restore, and
 * RUNNING may be any pause that KubeVirt has no word for. */
gboolean wk_vmi_power(const WkVmi *self, WkPower *power);

/* The same by its two inputs, for the table's test. */
gboolean wk_vmi_power_of(WkVmiPhase phase, WkVmiPaused paused, WkPower *power);

/* TRUE for Succeeded and Failed: KubeVirt will not run this VMI again. */
gboolean wk_vmi_is_final(const WkVmi *self);

const WkRunStrategyRow *wk_run_strategy_row(WkRunStrategy strategy); /* (transfer none) */

/* Names as KubeVirt spells them; "?" for a value outside. Parsers give the UNKNOWN of their kind
 * for a word that is not in the table (NULL too). */
const char *wk_vmi_phase_name(WkVmiPhase value);
const char *wk_run_strategy_name(WkRunStrategy value);
const char *wk_volume_kind_name(WkVolumeKind value); /* the member of spec.volumes[] */
WkVmiPhase wk_vmi_phase_parse(const char *word);
WkVmiPaused wk_vmi_paused_parse(const char *reason); /* of a Paused condition that is True */
WkRunStrategy wk_run_strategy_parse(const char *word);

/* (transfer full): the domain of a VMI: "<ns>_<name>". */
char *wk_vmi_domain_name(const char *ns, const char *name);

/*
 * Can this guest be suspended to @target, by what KubeVirt says? @vm: NULL where there is none (to
 * memory that is fine, to disk it is a refusal). Pure, nothing is touched (I7). Refusals are
 * WK_ERROR_REFUSED with a reason of docs/reasons.md and the next step; the first row of the table
 * in vmi_precheck.c that matches. A guest that is paused already is no refusal.
 */
gboolean wk_precheck_vmi(const WkVmi *vmi, const WkVm *vm, WkTarget target, GError **error);

/* The same of its pod, for a suspend to disk of a guest with @memory_kib. */
gboolean wk_precheck_pod(const WkVmi *vmi, const WkVmiPod *pod, guint64 memory_kib, GError **error);

/* May the image of a guest go on in what @vm makes now? @template_hash as it was when saved.
 * Refusals as above: TemplateChanged, RestoreInProgress, ... */
gboolean wk_precheck_vm_resume(const WkVm *vm, const char *template_hash, GError **error);

/* (transfer full) (nullable): what will not be as before in another pod, for the message of a
 * suspend to disk; NULL: nothing. */
char *wk_vmi_caveat(const WkVmi *self);

G_END_DECLS
