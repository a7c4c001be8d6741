/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of a launcher source's connection share: a real libvirt as KubeVirt's launcher
 * runs it, as user 107 in session mode with its XDG variables (kubevirt-facts, 3), a real guest in
 * it, and the helper's process seen from outside. The program that uses it is what is started as
 * the helper: its main() looks for that first.
 */
#pragma once

#include "lab.h"
#include "virt/domain.h"
#include "virt/launchers.h"

G_BEGIN_DECLS

#define POD_USER     107
#define POD_ID       "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define POD_OP       "0b1f6a3e-8f0c-4c5b-9b0e-1d2c3a4b5c6d"
#define POD_OLD      "11111111-2222-4333-8444-555555555555"
#define POD_NEW      "99999999-8888-4777-8666-555555555555"
#define POD_GUEST    "kube_vm"
#define POD_PRIVATE  "/var/run/kubevirt-private"
#define POD_MIB      512
#define POD_FILL_MIB 320
/* On the file system of what is to be the vault, as an emptyDir is. */
#define POD_CONFIG LAB_DIR "/private"
#define POD_SAVE   POD_CONFIG "/libvirt/qemu/save"
#define POD_IMAGE  POD_SAVE "/" POD_GUEST ".save"
#define POD_VAULT  LAB_DIR "/vault"
#define POD_SOCKET "/run/launcher/libvirt/libvirt-sock"
#define POD_URI    "qemu+unix:///session?socket=" POD_SOCKET

extern WkLaunchers *pod_launchers;
extern WkConnection *pod_connection;
extern WkLauncherLease *pod_lease; /* of the running test */

/* cmocka: a pod with its guest, which runs; once a program. */
int pod_setup_group(void **state);
/* cmocka: a lease for each test. */
int pod_setup(void **state);
int pod_teardown(void **state);

void pod_start_libvirtd(void); /* as "launcher" (lab_kill()) */
/* The guest's pod becomes one with this socket and user. */
void pod_set(const char *uid, const char *socket, uid_t user);

/* (transfer full): the lab's guest, with a console at a path that bears its VMI's uid. */
char *pod_guest_xml(void);
virDomainPtr pod_find_domain(virConnectPtr session); /* (transfer full) */
void pod_assert_power(WkPower power, const char *op);

/* Returns: the helper's pid: the one child of this program; 0: there is none. */
pid_t pod_find_helper(void);
gboolean pod_has_no_helper(gpointer data); /* a LabCheck */
guint pod_count_descriptors(void);
void pod_assert_status(pid_t pid, const char *name, const char *wanted); /* of /proc/PID/status */

G_END_DECLS
