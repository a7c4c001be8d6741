/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bench.h"

G_BEGIN_DECLS

#define BENCH_WUKONGS "/apis/vm.novasphere.dev/v1alpha1/namespaces/default/wukongs"

/* The API server, as an administrator, over one connection that is kept open. */
typedef struct _BenchApi BenchApi;

BenchApi *bench_api_new(void);
void bench_api_free(BenchApi *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchApi, bench_api_free)

/* PATCH is a merge patch. Returns: (transfer none): the answer, until the next request; NULL
 * unless the status is 2xx. */
const char *bench_api_send(BenchApi *self, const char *method, const char *path, const char *body,
                           GError **error);

/* The agent anew, with the control plane. */
gboolean bench_kube_agent(GError **error);

G_END_DECLS
