/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bench.h"

#include "lab-api.h"

G_BEGIN_DECLS

#define BENCH_WUKONGS "/apis/vm.novasphere.dev/v1alpha1/namespaces/default/wukongs"

/* The agent anew, with the control plane. */
gboolean bench_kube_agent(GError **error);

G_END_DECLS
