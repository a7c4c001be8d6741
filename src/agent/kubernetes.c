/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/kubernetes.h"

#include "base/error.h"

gboolean
wk_kubernetes_find(const WkConfig *config, WkKubeConfig **kube, GError **error)
{
    const char *path = *config->kubeconfig != '\0' ? config->kubeconfig : NULL;
    g_autoptr(GError) local = NULL;

    *kube = NULL;
    if (g_str_equal(config->kube_enabled, "false"))
        return TRUE;
    *kube = wk_kube_config_load(path, &local);
    if (*kube != NULL)
        return TRUE;
    if (path == NULL && g_str_equal(config->kube_enabled, "auto")
        && g_error_matches(local, WK_ERROR, WK_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}
