/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/engine.h"
#include "agent/wukongs.h"

G_BEGIN_DECLS

/*
 * What the agent counts, and the text that Prometheus reads (docs/metrics.md). Counters begin with
 * the agent's life. Main thread.
 */
typedef struct _WkMetrics WkMetrics;

WkMetrics *wk_metrics_new(void); /* (transfer full) */
void wk_metrics_free(WkMetrics *self);

/* An operation that has ended; anything else is not counted. */
void wk_metrics_note(WkMetrics *self, const WkOperation *operation);
/* A guest that is published anew: its image may have been found bad. */
void wk_metrics_note_guest(WkMetrics *self, const WkView *view);

typedef struct {
    WkEngine *engine;
    GPtrArray *sources; /* (element-type WkSource) */
    WkVault *vault;     /* NULL: none */
    WkWukongs *wukongs; /* NULL: without Kubernetes */
} WkMetricsInput;

/* Returns: (transfer full). Looks at the vault's file system, nothing else leaves the process. */
char *wk_metrics_text(WkMetrics *self, const WkMetricsInput *input);

G_END_DECLS
