/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/settings.h"
#include "kube/config.h"

G_BEGIN_DECLS

/* Where Kubernetes is, by @config: *@kube (transfer full) is NULL when it is switched off, or when
 * enabled=auto finds no kubeconfig and no pod's service account. FALSE: it was asked for and can't
 * be had; @error names the file and the field. */
gboolean wk_kubernetes_find(const WkConfig *config, WkKubeConfig **kube, GError **error);

G_END_DECLS
