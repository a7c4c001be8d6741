/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fault tests of guests in launcher pods share: one VM that lives on from test to test,
 * the faults, and the oracle that looks at everything afterwards. Every function fails the running
 * test by itself.
 *
 * Threading: none, but for the operator's process (lf_operator_start()).
 */
#pragma once

#include "kube-e2e.h"
#include "lab-pod.h"

G_BEGIN_DECLS

#define LF_NAME    "f"
#define LF_DOMAIN  "default_f-vm"
#define LF_LOCK    "wukong.novasphere.dev/saved-state"
#define LF_LONG_MS 90000 /* for whatever takes a pod's end or start */

/* Where Wukong, template and VMI name a node. */
#define LF_SELECTOR    "nodeSelector.kubernetes\\.io/hostname}"
#define LF_WUKONG_NODE "{.spec.highAvailability." LF_SELECTOR
#define LF_VM_NODE     "{.spec.template.spec." LF_SELECTOR
#define LF_VMI_NODE    "{.spec." LF_SELECTOR

/* --- around each test (launcher-fault.c) --- */

/* Group: control plane, stand-in, the brake. Test: the VM runs and the agent says so; afterwards
 * all programs are there again and no setting is left. A test that did not come to its oracle takes
 * the VM, the agent and the ledger along. */
int lf_start_node(void **state);
int lf_setup(void **state);
int lf_teardown(void **state);
int lf_stop_node(void **state); /* prints the counts */
#define lf_test(function) cmocka_unit_test_setup_teardown(function, lf_setup, lf_teardown)

/* The agent anew (SIGKILL); with @failpoint ("save.managed-save=stop"; NULL: none). */
void lf_agent_restart(const char *failpoint);

/* Suspended to disk and its pod gone; then running again. */
void lf_suspend(void);
void lf_resume(void);
/* The user's words; nothing is waited for. */
void lf_act_suspend(void);
void lf_act_resume(void);

/* Until the action has come to its end, whatever that is. */
void lf_wait_settled(void);

/* The pod of before the fault, (transfer none), and its present VMI, (transfer full). */
const char *lf_pod(void);
char *lf_vmi(void);

/* --- faults --- */

/* From now on a save in a pod comes to a stand after its first MiB; and goes on. */
void lf_brake_on(void);
void lf_brake_off(void);
/* A suspend to disk whose save stands in the midst of it, with its job running. */
void lf_begin_held_save(void);

/* SIGKILL of the pod's processes of @program, of which there must be some. */
void lf_kill(const char *program);

/* virtctl's words. */
void lf_subresource(const char *verb);

/* An operator that writes `running: true` into the VM's spec all the time. */
void lf_operator_start(void);
void lf_operator_stop(void);

/* --- the oracle: the guest, what KubeVirt, the Wukong and the ledger say, and what lies about ---
 */

/* It runs with the memory of before, and nothing of ours is left. */
void lf_check_lives(void);
/* The QEMU that held the only copy was killed: it runs, booted anew, and nothing of ours is left.
 */
void lf_check_booted_anew(void);
/* The VM was deleted: VMI, pod and image are gone with it. */
void lf_check_deleted(void);
/* Nothing of ours: no lock, no file in vault and pod, no helper, nothing in the ledger. */
void lf_check_clean(void);
/* Neither restored nor booted: its CPUs stand, now and for a while. */
void lf_check_stands(void);

/* --- tests of what users and KubeVirt do meanwhile (faults-kube.c) --- */

void lf_test_paused_by_user(void **state);
void lf_test_prechecks(void **state);
void lf_test_operator(void **state);
void lf_test_vm_deleted_suspended(void **state);
void lf_test_vm_deleted_in_save(void **state);
void lf_test_vm_deleted_in_resume(void **state);
void lf_test_wukong_deleted(void **state);
void lf_test_image_damaged(void **state);
void lf_test_pinned(void **state);
void lf_test_pin_of_user(void **state);
void lf_test_pin_not_taken(void **state);
void lf_test_claim_replaced(void **state);
void lf_test_two_vms(void **state);
void lf_test_disk_full(void **state);

/* What was found wrong, for the counts. */
typedef enum {
    LF_LOST,
    LF_DOUBLED,
    LF_COLD,
    LF_LEFTOVER,
    LF_FAULTS,
} LfFault;

G_END_DECLS
