/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent costs, measured against libvirt alone: real libvirtd, real guest, the agent as it
 * is built. Runs inside lab-run; started by "./dev bench".
 *
 * A machine has moods, so every figure is paired: plain, agent, agent, plain, ... on the same
 * guest, each compared with its neighbour, and the median of the comparisons is what counts.
 *
 * Threading: the phases run in the main thread; what listens (bench-listen.c) has threads of its
 * own and hands out times under a lock.
 */
#pragma once

#include "lab-rest.h"

G_BEGIN_DECLS

/* --- samples and results (bench-report.c) --- */

typedef GArray BenchSamples; /* (element-type double) */

BenchSamples *bench_samples_new(void);
void bench_samples_add(BenchSamples *self, double value);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchSamples, g_array_unref)

/* By nearest rank: the smallest sample that @percent of all don't exceed; NAN when empty. */
double bench_samples_percentile(const BenchSamples *self, double percent);
double bench_samples_median(const BenchSamples *self);

typedef struct {
    const char *name;
    const char *unit;
    const char *peer; /* what it is compared with; NULL: nothing */
    double value;
    double bound;                /* NAN: none */
    const BenchSamples *samples; /* what @value is taken from; NULL: one look */
    const BenchSamples *ours;    /* absolute, in @absolute_unit; NULL: not told */
    const BenchSamples *peers;
    const char *absolute_unit;
} BenchResult;

typedef struct _BenchReport BenchReport;

BenchReport *bench_report_new(void);
void bench_report_free(BenchReport *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchReport, bench_report_free)

/* Copies what it is given. */
void bench_report_add(BenchReport *self, const BenchResult *result);

/* All of it as a table. Returns: FALSE when a bound is missed. */
gboolean bench_report_print(const BenchReport *self);
gboolean bench_report_write(const BenchReport *self, const char *path, GError **error);

/* --- asking and listening (bench-state.c, bench-listen.c) --- */

/* Waits until the agent says @state of guest @id and has nothing more to do with it. */
gboolean bench_wait_state(LabRest *self, const char *id, const char *state, GError **error);

/* Lifecycle events "suspended" of one guest, seen over a connection of its own. */
gboolean bench_events_start(const char *guest, GError **error);
void bench_events_arm(void); /* forgets what was seen */

/* Returns: when the guest was first seen suspended since it was armed (monotonic, us). */
gboolean bench_events_wait(gint64 *at_us, GError **error);
void bench_events_stop(void);

/* The agent's stream of operations: when the first word of one came, and the last of one. */
typedef struct {
    gint64 first_us; /* monotonic; 0: none */
    gint64 last_us;
} BenchSpan;

gboolean bench_operations_start(GError **error);
void bench_operations_arm(void);
gboolean bench_operations_wait(BenchSpan *span, GError **error);
void bench_operations_stop(void);

/* --- phases --- */

gboolean bench_pause(BenchReport *report, GError **error);
gboolean bench_disk(BenchReport *report, GError **error);
gboolean bench_parallel(BenchReport *report, GError **error);
gboolean bench_idle(BenchReport *report, GError **error);
gboolean bench_kube(BenchReport *report, GError **error);
gboolean bench_fleet(BenchReport *report, GError **error);
gboolean bench_scale(BenchReport *report, GError **error);
gboolean bench_launcher(BenchReport *report, GError **error);
gboolean bench_pods(BenchReport *report, GError **error);

/* Runs a command whose time counts. Returns: seconds it took, -1 when it failed. */
double bench_run(const char *const *argv, GError **error);
double bench_ctl(const char *const *words, GError **error); /* wukongctl */

/* Waits until the machine is calm, or has not been for a while. */
void bench_calm(void);

/* The same, with everything on the disk that was written, and memory at hand: no run pays for what
 * was before it. */
void bench_settle(void);

G_END_DECLS
