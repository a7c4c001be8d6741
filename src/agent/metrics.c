/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/metrics.h"

#include "base/clock.h"
#include "base/metrics_text.h"

#include <math.h>

/* Seconds: a pause is milliseconds, a save of a big guest minutes. */
static const double bounds_s[] = { 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,   2.5,
                                   5,    10,    30,   60,  120,  300, 600, 1800 };

typedef struct {
    WkAction action;
    WkTarget target;
    WkOpState result;
    char *reason;
    guint64 count;
} Outcome;

typedef struct {
    guint64 buckets[G_N_ELEMENTS(bounds_s) + 1];
    double sum_s;
    guint64 count;
} Durations;

struct _WkMetrics {
    GPtrArray *outcomes; /* (element-type Outcome) */
    Durations durations[WK_ACTIONS][WK_TARGET_DISK + 1];
    GHashTable *bad; /* ids of guests whose image was found bad, and counted */
    guint64 verify_failures;
};

static void
outcome_free(gpointer data)
{
    Outcome *outcome = data;

    g_free(outcome->reason);
    g_free(outcome);
}

WkMetrics *
wk_metrics_new(void)
{
    WkMetrics *self = g_new0(WkMetrics, 1);

    self->outcomes = g_ptr_array_new_with_free_func(outcome_free);
    self->bad = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return self;
}

void
wk_metrics_free(WkMetrics *self)
{
    if (self == NULL)
        return;
    g_ptr_array_unref(self->outcomes);
    g_hash_table_unref(self->bad);
    g_free(self);
}

/* ---- counting ---- */

static Outcome *
get_outcome(WkMetrics *self, const WkOperation *op)
{
    Outcome *outcome;

    for (guint i = 0; i < self->outcomes->len; i++) {
        outcome = g_ptr_array_index(self->outcomes, i);
        if (outcome->action == op->action && outcome->target == op->target
            && outcome->result == op->state && g_strcmp0(outcome->reason, op->reason) == 0)
            return outcome;
    }
    outcome = g_new0(Outcome, 1);
    *outcome = (Outcome){ .action = op->action,
                          .target = op->target,
                          .result = op->state,
                          .reason = g_strdup(op->reason) };
    g_ptr_array_add(self->outcomes, outcome);
    return outcome;
}

static void
note_duration(Durations *self, gint64 took_us)
{
    const double took_s = (double)MAX(took_us, 0) / G_USEC_PER_SEC;
    gsize i = 0;

    while (i < G_N_ELEMENTS(bounds_s) && took_s > bounds_s[i])
        i++;
    self->buckets[i]++;
    self->sum_s += took_s;
    self->count++;
}

/* What says that an image is not what was sealed. */
static gboolean
is_verify_failure(const char *reason)
{
    static const char *const reasons[] = { "ImageCorrupt", "ImageStale", "DiskChanged", "ImageLost",
                                           NULL };

    return reason != NULL && g_strv_contains(reasons, reason);
}

void
wk_metrics_note(WkMetrics *self, const WkOperation *op)
{
    if (!wk_op_state_is_final(op->state))
        return;
    get_outcome(self, op)->count++;
    if (op->state == WK_OP_SUCCEEDED && op->started_at_us != 0)
        note_duration(&self->durations[op->action][op->target],
                      op->finished_at_us - op->started_at_us);
}

void
wk_metrics_note_guest(WkMetrics *self, const WkView *view)
{
    if (view->restorable != 0 || !is_verify_failure(view->reason)) {
        g_hash_table_remove(self->bad, view->id);
        return;
    }
    if (g_hash_table_add(self->bad, g_strdup(view->id)))
        self->verify_failures++;
}

/* ---- the text ---- */

static void
add_guests(WkMetricsText *text, GPtrArray *guests)
{
    guint counts[WK_STATE_STOPPED + 1] = { 0 };
    guint64 saved_bytes = 0;

    for (guint i = 0; i < guests->len; i++) {
        const WkGuest *guest = g_ptr_array_index(guests, i);

        if (guest->view == NULL)
            continue;
        counts[guest->view->state]++;
        saved_bytes += guest->view->saved_bytes;
    }
    wk_metrics_text_family(text, "wukong_guests", "gauge", "Guests of this node, by state.");
    /* every state has its line: a graph of one must not end when the last guest leaves it */
    for (guint i = 0; i < G_N_ELEMENTS(counts); i++)
        wk_metrics_text_add(text, counts[i], "state", wk_state_name((WkState)i), NULL);
    wk_metrics_text_family(text, "wukong_saved_bytes", "gauge", "Saved images, held ones too.");
    wk_metrics_text_add(text, (double)saved_bytes, NULL);
}

static void
add_outcomes(WkMetricsText *text, WkMetrics *self)
{
    wk_metrics_text_family(text, "wukong_operations_total", "counter",
                           "Operations that have ended, by how.");
    for (guint i = 0; i < self->outcomes->len; i++) {
        const Outcome *outcome = g_ptr_array_index(self->outcomes, i);

        wk_metrics_text_add(text, (double)outcome->count, "action", wk_action_name(outcome->action),
                            "target", wk_target_name(outcome->target), "result",
                            wk_op_state_name(outcome->result), "reason", outcome->reason, NULL);
    }
    wk_metrics_text_family(text, "wukong_image_verify_failures_total", "counter",
                           "Images that were found not to be what was sealed.");
    wk_metrics_text_add(text, (double)self->verify_failures, NULL);
}

static void
add_histogram(WkMetricsText *text, const Durations *durations, const char *action,
              const char *target)
{
    guint64 below = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(durations->buckets); i++) {
        g_autofree char *bound =
            i < G_N_ELEMENTS(bounds_s) ? g_strdup_printf("%g", bounds_s[i]) : g_strdup("+Inf");

        below += durations->buckets[i];
        wk_metrics_text_add_part(text, "_bucket", (double)below, "action", action, "target", target,
                                 "le", bound, NULL);
    }
    wk_metrics_text_add_part(text, "_sum", durations->sum_s, "action", action, "target", target,
                             NULL);
    wk_metrics_text_add_part(text, "_count", (double)durations->count, "action", action, "target",
                             target, NULL);
}

static void
add_durations(WkMetricsText *text, WkMetrics *self)
{
    wk_metrics_text_family(text, "wukong_operation_duration_seconds", "histogram",
                           "From the start of an operation that succeeded to its end.");
    for (guint i = 0; i < G_N_ELEMENTS(self->durations); i++) {
        for (guint j = 0; j < G_N_ELEMENTS(self->durations[i]); j++) {
            if (self->durations[i][j].count > 0)
                add_histogram(text, &self->durations[i][j], wk_action_name((WkAction)i),
                              wk_target_name((WkTarget)j));
        }
    }
}

static void
add_sources(WkMetricsText *text, GPtrArray *sources)
{
    wk_metrics_text_family(text, "wukong_source_up", "gauge", "1: libvirt is connected.");
    for (guint i = 0; i < sources->len; i++) {
        WkSource *source = g_ptr_array_index(sources, i);

        wk_metrics_text_add(text, wk_source_is_up(source) ? 1 : 0, "source",
                            wk_source_get_name(source), NULL);
    }
}

static void
add_vault(WkMetricsText *text, WkVault *vault)
{
    guint64 free_bytes = 0;
    guint64 size_bytes = 0;

    if (vault == NULL || !wk_vault_space(vault, &free_bytes, &size_bytes, NULL))
        return;
    wk_metrics_text_family(text, "wukong_vault_free_bytes", "gauge",
                           "Room left on the vault's file system.");
    wk_metrics_text_add(text, (double)free_bytes, NULL);
}

static void
add_requests(WkMetricsText *text, WkWukongs *wukongs)
{
    g_autoptr(GArray) counts = wk_wukongs_get_requests(wukongs);

    wk_metrics_text_family(text, "wukong_kube_requests_total", "counter",
                           "Requests to the API server; code 0: no answer came.");
    for (guint i = 0; i < counts->len; i++) {
        const WkKubeCount *count = &g_array_index(counts, WkKubeCount, i);
        g_autofree char *code = g_strdup_printf("%u", count->code);

        wk_metrics_text_add(text, (double)count->count, "verb", count->verb, "code", code, NULL);
    }
}

static void
add_kubernetes(WkMetricsText *text, WkWukongs *wukongs)
{
    const WkWukongsHealth health = wk_wukongs_get_health(wukongs);
    const gint64 quiet_us = wk_clock_mono_us() - health.heard_at_us;

    add_requests(text, wukongs);
    wk_metrics_text_family(text, "wukong_kube_watch_age_seconds", "gauge",
                           "Since the watch last said anything; +Inf: never yet.");
    wk_metrics_text_add(
        text, health.heard_at_us != 0 ? (double)quiet_us / G_USEC_PER_SEC : (double)INFINITY, NULL);
    wk_metrics_text_family(text, "wukong_outbox_pending", "gauge",
                           "Reports that the API server has not taken yet.");
    wk_metrics_text_add(text, health.pending, NULL);
}

char *
wk_metrics_text(WkMetrics *self, const WkMetricsInput *input)
{
    g_autoptr(WkMetricsText) text = wk_metrics_text_new();
    g_autoptr(GPtrArray) guests = wk_engine_list(input->engine);

    add_guests(text, guests);
    add_outcomes(text, self);
    add_durations(text, self);
    add_sources(text, input->sources);
    add_vault(text, input->vault);
    if (input->wukongs != NULL)
        add_kubernetes(text, input->wukongs);
    wk_metrics_text_family(text, "wukong_build_info", "gauge",
                           "Always 1; the version is in the label.");
    wk_metrics_text_add(text, 1, "version", PACKAGE_VERSION, NULL);
    return g_strdup(wk_metrics_text_get(text));
}
