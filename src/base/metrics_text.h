/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * A text for Prometheus (exposition format 0.0.4): families in the order they were begun, each
 * with its samples. Names and labels are an interface, docs/metrics.md lists them.
 */
typedef struct _WkMetricsText WkMetricsText;

WkMetricsText *wk_metrics_text_new(void); /* (transfer full) */
void wk_metrics_text_free(WkMetricsText *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkMetricsText, wk_metrics_text_free)

/* @name and @type ("gauge", "counter", "histogram") must outlive the text. */
void
wk_metrics_text_family(WkMetricsText *self, const char *name, const char *type, const char *help);

/* One sample of the family begun last; then label, value, ..., NULL. A value may hold anything:
 * it is escaped; NULL is "". */
void wk_metrics_text_add(WkMetricsText *self, double value, ...) G_GNUC_NULL_TERMINATED;
/* The same for a histogram's parts: @suffix "_bucket", "_sum", "_count". */
void wk_metrics_text_add_part(WkMetricsText *self, const char *suffix, double value,
                              ...) G_GNUC_NULL_TERMINATED;

const char *wk_metrics_text_get(WkMetricsText *self); /* (transfer none) */

G_END_DECLS
