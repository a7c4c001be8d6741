/* SPDX-License-Identifier: Apache-2.0 */
/* KubeVirt's objects in a real API server, and a client with the agent's own token. Functions fail
 * the running test by themselves. */
#pragma once

#include "kube-e2e.h"

#include "base/error.h"
#include "kube/kubevirt.h"
#include "kube/kubevirt_request.h"

#define KV_NS   "default"
#define KV_NAME "web-vm"

extern WkKube *kv_kube;

int kv_setup(void **state);    /* group: the control plane, the agent's rights, the client */
int kv_teardown(void **state); /* every VMI and VM goes, as KubeVirt does it */

/* Iterates the main context until @check is true. */
void kv_until(gboolean (*check)(gpointer data), gpointer data, const char *what);

/* kubectl with up to four words, the rest NULL. (transfer full): what it printed. */
char *kv_kubectl(const char *verb, const char *object, const char *third, const char *fourth);
void kv_do(const char *verb, const char *object, const char *third, const char *fourth);
void kv_make_vmi(const char *name, const char *finalizers); /* on this node; "a, b" */
void kv_make_vm(const char *name);
