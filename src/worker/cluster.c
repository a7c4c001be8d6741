/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/cluster.h"

WkCluster *
wk_cluster_new(const WkClusterCalls *calls, gpointer data, const char *node_name)
{
    WkCluster *self = g_new0(WkCluster, 1);

    self->calls = calls;
    self->data = data;
    self->node_name = g_strdup(node_name);
    return self;
}

void
wk_cluster_free(WkCluster *self)
{
    if (self == NULL)
        return;
    self->calls->free(self->data);
    g_free(self->node_name);
    g_free(self);
}
