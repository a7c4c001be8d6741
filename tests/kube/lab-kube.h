/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real control plane for a lab-run node: etcd and kube-apiserver on loopback, with TLS and RBAC,
 * and kubectl for the user. It is another machine as far as the node is concerned: lab_node_crash()
 * leaves it alone.
 */
#pragma once

#include "lab.h"

G_BEGIN_DECLS

#define LAB_KUBE_DIR    LAB_DIR "/kube"
#define LAB_KUBE_ADMIN  LAB_KUBE_DIR "/admin.conf" /* kubeconfig of a cluster administrator */
#define LAB_KUBE_AGENT  LAB_KUBE_DIR "/agent.conf" /* of wukongd: its own bound token */
#define LAB_KUBE_AUDIT  LAB_KUBE_DIR "/audit.log"
#define LAB_KUBE_SERVER "https://127.0.0.1:6443"
#define LAB_NODE_NAME   "node-1"
#define LAB_KUBE_MS     60000

/* FALSE: no etcd, kube-apiserver and kubectl ($KUBEBUILDER_ASSETS); ./dev test says why. */
gboolean lab_kube_is_available(void);

/* Makes certificates where there are none, starts etcd and the API server; ready when it returns.
 * Prints the server's version. */
gboolean lab_kube_start(GError **error);
gboolean lab_kube_server_start(GError **error);
gboolean lab_kube_server_stop(GError **error); /* SIGTERM */
gboolean lab_kube_server_kill(GError **error); /* SIGKILL */
gboolean lab_kube_server_wait(GError **error); /* until /readyz says ok */

/* LAB_KUBE_DIR/@name.crt and .key of the cluster's CA; @extensions as openssl's -addext. */
gboolean
lab_kube_certificate(const char *name, const char *subject, const char *extensions, GError **error);

/* kubectl with these words, as the administrator; the last one NULL. A non-zero status is no error.
 */
gboolean lab_kubectl(LabOutput *output, GError **error, ...) G_GNUC_NULL_TERMINATED;
gboolean
lab_kubectlv(LabOutput *output, const char *kubeconfig, const char *const *words, GError **error);
/* The same, and the status must be 0. Returns: (transfer full): what it printed, trimmed. */
char *lab_kubectl_out(GError **error, ...) G_GNUC_NULL_TERMINATED;
gboolean lab_kube_apply(const char *text, GError **error);

/* The project's CRD, RBAC and policies, and the agent's kubeconfig: a service account's token bound
 * to Node LAB_NODE_NAME. Prints who the API server takes the agent for. */
gboolean lab_kube_install(GError **error);
/* @node NULL: bound to none. */
gboolean lab_kube_new_token(const char *node, const char *path, GError **error);

/* wukongd with that kubeconfig and node name; @more (may be NULL) as in LabAgentOptions. */
gboolean lab_kube_agent_start(const LabAgentOptions *more, GError **error);

/* A Wukong @name in namespace default of this node. Its guest is the domain "default_<name>-vm". */
gboolean lab_kube_wukong(const char *name, GError **error);
/* Sets spec.lifecycleAction to @action, a JSON object. */
gboolean lab_kube_act(const char *name, const char *action, GError **error);
/* Waits until @jsonpath of the Wukong is @value (kubectl wait: by events). */
gboolean lab_kube_wait(const char *name, const char *jsonpath, const char *value, GError **error);
/* (transfer full): @jsonpath of the Wukong, "" when it is not there. */
char *lab_kube_get(const char *name, const char *jsonpath, GError **error);

/* How many requests the audit log holds of the agent with @verb ("" any) on @resource ("wukongs",
 * "wukongs/status", "leases", "events"; "" any). */
guint lab_kube_count(const char *verb, const char *resource);

G_END_DECLS
