/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/engine.h"
#include "agent/metrics.h"
#include "agent/retention.h"
#include "agent/wukongs.h"
#include "control/api.h"

G_BEGIN_DECLS

/* The control server's questions, answered by the engine. Main thread. */
typedef struct {
    WkEngine *engine;
    GPtrArray *sources; /* (element-type WkSource) */
    WkVault *vault;     /* NULL: none */
    WkWukongs *wukongs; /* NULL: without Kubernetes */
    WkMetrics *metrics;
    WkRetention *retention;
} WkApi;

/* Fills in @api; its functions take a WkApi. */
void wk_api_init(WkControlApi *api, const char *node_name);

/* Returns: (transfer full): NULL when the agent is ready, else what it waits for. */
char *wk_api_not_ready(const WkApi *self);

G_END_DECLS
