/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launcher pods for a lab-run node: a stand-in for KubeVirt (standin/, its behaviours are the table
 * in README.md) beside the real API server of lab-kube.h. Pods are namespaces with their own
 * libvirtd of uid 107 and real guests; VMs, VMIs and Pods are objects of the API server.
 *
 * Everything goes by the name of the Wukong, in namespace "default": its VM and VMI are
 * "<name>-vm", its domain "default_<name>-vm". All lab_guest_*() of lab.h that read (nonce, tick,
 * command, check) work with the domain's name: the console lies on the claim's volume and outlives
 * the pod.
 *
 * Threading: none; one test, one thread.
 */
#pragma once

#include "lab-kube.h"

G_BEGIN_DECLS

#define LAB_STANDIN_DIR LAB_DIR "/standin"
#define LAB_KUBELET_DIR "/var/lib/kubelet"
#define LAB_POD_MS      60000 /* from nothing to a guest that ticks, beside other work */

/* --- the stand-in (lab-standin.c) --- */

/* FALSE: no control plane, or no stand-in because there was no Go. */
gboolean lab_standin_is_available(void);

/* CRDs, APIService and both programs; the control plane must run (lab_kube_start()) and have the
 * project's CRD (lab_kube_install()). Ready when the subresources answer. Running is fine. */
gboolean lab_standin_start(GError **error);

/* virt-controller with virt-api; virt-handler with the kubelet. Pods live on without either. After
 * lab_node_crash() and lab_node_new_boot() the node's program must be started again. */
gboolean lab_standin_cluster_start(GError **error);
gboolean lab_standin_cluster_kill(GError **error);
gboolean lab_standin_node_start(GError **error);
gboolean lab_standin_node_kill(GError **error);

/* A delay by its name in standin/settings.go ("ContainerStartMs"), from now on: the programs read
 * it at each use, a launcher at its pod's start. */
gboolean lab_standin_set(const char *name, guint ms, GError **error);
gboolean lab_standin_reset(GError **error); /* all back to what KubeVirt has */

/* --- VMs --- */

typedef struct {
    const char *run_strategy; /* NULL: `running: true`, as the operator writes it */
    const char *spec;         /* more members of the VMI's spec, JSON without braces; or NULL */
    guint memory_mib;         /* 0: LAB_GUEST_MIB */
    gboolean persistent_tpm;  /* the pod gets private-libvirt and private-libvirt-qemu */
    gboolean root;            /* a root launcher: qemu:///system, save folder in the container */
    gboolean no_wait;         /* don't wait until the guest ticks */
} LabVmOptions;

/* Wukong (status.nodeName, status.vmName), claim with a raw disk, and VM; waits until the VMI is
 * Running and the guest ticks. @options may be NULL. */
gboolean lab_vm_start(const char *name, const LabVmOptions *options, GError **error);

/* VM, claim and Wukong go; waits for the end of the VMI and its pod, and of the folders. */
gboolean lab_vm_delete(const char *name, GError **error);

/* The VM's claim is deleted, and another one of that name is made, with another uid. What the disk
 * holds stays as it is. */
gboolean lab_claim_replace(const char *name, GError **error);

char *lab_vm_domain(const char *name);                                    /* (transfer full) */
char *lab_vm_get(const char *name, const char *jsonpath, GError **error); /* (transfer full) */
gboolean lab_vm_patch(const char *name, const char *merge_patch, GError **error);

/* (transfer full): @jsonpath of the VMI, "" when there is none. */
char *lab_vmi_get(const char *name, const char *jsonpath, GError **error);
char *lab_vmi_uid(const char *name, GError **error); /* (transfer full): "" when there is none */
gboolean lab_vmi_patch(const char *name, const char *merge_patch, GError **error);
gboolean lab_vmi_delete(const char *name, GError **error); /* does not wait */
/* By hand, as an administrator does; one that is not there is fine. */
gboolean lab_vmi_drop_finalizer(const char *name, const char *finalizer, GError **error);

/* Waits until @jsonpath of the VMI, of whichever uid, is @value. */
gboolean lab_vmi_wait(const char *name, const char *jsonpath, const char *value, guint timeout_ms,
                      GError **error);
gboolean lab_vmi_wait_phase(const char *name, const char *phase, guint timeout_ms, GError **error);

/* Waits for a VMI with another uid than @uid ("": for any). Returns: (transfer full): its uid. */
char *lab_vmi_wait_other(const char *name, const char *uid, guint timeout_ms, GError **error);

/* PUT of a subresource, as virtctl does: "pause" and "unpause" of the VMI, "start" and "stop" of
 * the VM. @output says what the API server said; a refusal is no error. */
gboolean lab_vm_subresource(const char *name, const char *verb, LabOutput *output, GError **error);

/* --- pods (lab-pod.c) --- */

/* The pod that the VMI names now. Each is (transfer full), NULL on error. */
char *lab_pod_uid(const char *name, GError **error);
char *lab_pod_dir(const char *uid);                          /* its folder below LAB_KUBELET_DIR */
char *lab_pod_volume(const char *uid, const char *emptydir); /* host path of an emptyDir */
char *lab_pod_save_path(const char *name, GError **error);   /* host path of the managed image */
char *lab_pod_log(const char *name, const char *uid);        /* what its processes said */

/* What SO_PEERCRED says of launcher-sock; 0 when nobody listens there. */
GPid lab_pod_launcher_pid(const char *uid);

/* virsh on the pod's libvirtd, as the node's root; a non-zero status is no error. */
gboolean
lab_pod_virsh(const char *name, LabOutput *output, GError **error, ...) G_GNUC_NULL_TERMINATED;
/* virsh domstate --reason. (transfer full). */
char *lab_pod_domstate(const char *name, GError **error);

/* The pod's pids of @program ("virt-launcher", "libvirtd", "qemu-system-x86_64") get @signal.
 * Returns: how many there were. */
guint lab_pod_kill(const char *uid, const char *program, int signal);

/* As kubectl drain does: the eviction API. */
gboolean lab_pod_evict(const char *name, GError **error);

/* As the kubelet of a node that is short of disk does: at once, and the Failed object stays. */
gboolean lab_pod_evict_now(const char *name, GError **error);

/* Waits until the pod's folders are gone from the node, or its object from the API server. */
gboolean lab_pod_wait_gone(const char *uid, guint timeout_ms, GError **error);

G_END_DECLS
