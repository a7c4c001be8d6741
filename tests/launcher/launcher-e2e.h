/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests with launcher pods share: one VM, and what is done to it by hand. Every function
 * fails the running test by itself. */
#pragma once

#include "lab-pod.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

G_BEGIN_DECLS

#define LE_NAME    "a"
#define LE_DOMAIN  "default_a-vm"
#define LE_HELD    LAB_DIR "/held.save" /* one file system with the pods' folders */
#define LE_MANAGED "/var/run/kubevirt-private/libvirt/qemu/save/" LE_DOMAIN ".save"
#define LE_UNDO_MS 3000 /* KubeVirt resumes within a second; this machine may be busy */
#define LE_HOLD_MS 2500 /* and after so long it would have */

/* Group: control plane and stand-in. After each test the VM and the settings go. */
int le_start_cluster(void **state);
int le_teardown(void **state);
#define le_test(function) cmocka_unit_test_teardown(function, le_teardown)
/* Without a control plane or a stand-in: skipped as a whole. */
#define le_main(tests)                                                                             \
    (!lab_standin_is_available() ? 77                                                              \
                                 : (cmocka_set_test_filter(g_getenv("WK_E2E_ONLY")),               \
                                    cmocka_run_group_tests(tests, le_start_cluster, NULL)))

void le_start(const char *run_strategy); /* NULL: running: true */
char *le_nonce(void);                    /* (transfer full), as the next two */
char *le_pod_uid(void);
char *le_vmi_uid(void);
void le_virsh(const char *verb, const char *what);
void le_subresource(const char *verb, const char *refused_with); /* NULL: must be granted */

/* Its CPUs stand now and for so long. */
void le_check_stands(guint ms);

/* Another life than that of nonce @old: booted, not restored. */
void le_wait_cold_boot(const char *old);

/* A finalizer on the VMI beside KubeVirt's; and off again. */
void le_lock(void);
void le_unlock(void);

/* Locks, pauses and saves it, keeps the image as LE_HELD and waits for the end of the pod. */
void le_hibernate(void);

/* Lets the successor come and waits for its folders; its container starts 3 s later. */
void le_release(const char *old_pod);

/* The save folder in a pod whose container has not started yet. Returns: (transfer full): the host
 * path of the managed image. */
char *le_make_save_folder(void);
void le_write_guard(const char *path);

/* The old VMI's uid gives way to the new one's in the XML of the image at @path in the pod. */
void le_rewrite_image(const char *path, const char *old_vmi);

/* Waits until KubeVirt reports that the domain can't be brought in line, with @text. */
void le_wait_sync_error(const char *text);

G_END_DECLS
