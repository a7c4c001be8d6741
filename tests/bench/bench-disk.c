/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <math.h>
#include <unistd.h>

#define GUEST      "bench-disk"
#define MEMORY_MIB 1024
#define FILL_MIB   700
#define PAIRS      10

#define PARALLEL_GUESTS     4
#define PARALLEL_MEMORY_MIB 320
#define PARALLEL_FILL_MIB   150
#define PARALLEL_PAIRS      4

/* Plain virsh, or the agent. */
typedef enum {
    SIDE_PLAIN,
    SIDE_AGENT,
    SIDES,
} Side;

typedef struct {
    BenchSamples *whole[SIDES]; /* seconds of the whole commands */
    BenchSamples *inside;       /* the agent's operation alone */
    BenchSamples *ratio;
    double last[SIDES];
} Figures;

static void
figures_init(Figures *self)
{
    for (int side = 0; side < SIDES; side++)
        self->whole[side] = bench_samples_new();
    self->inside = bench_samples_new();
    self->ratio = bench_samples_new();
}

static void
figures_clear(Figures *self)
{
    for (int side = 0; side < SIDES; side++)
        g_clear_pointer(&self->whole[side], g_array_unref);
    g_clear_pointer(&self->inside, g_array_unref);
    g_clear_pointer(&self->ratio, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Figures, figures_clear)

static gboolean
take(Figures *self, Side side, double seconds)
{
    self->last[side] = seconds;
    if (seconds < 0)
        return FALSE;
    bench_samples_add(self->whole[side], seconds);
    return TRUE;
}

static gboolean
take_span(Figures *self, GError **error)
{
    BenchSpan span;

    if (!bench_operations_wait(&span, error))
        return FALSE;
    bench_samples_add(self->inside, (double)(span.last_us - span.first_us) / G_USEC_PER_SEC);
    return TRUE;
}

static void
pair_up(Figures *self)
{
    bench_samples_add(self->ratio, self->last[SIDE_AGENT] / self->last[SIDE_PLAIN]);
}

static double
virsh(const char *verb, const char *guest, GError **error)
{
    const char *const argv[] = { "virsh", "-q", verb, guest, NULL };

    return bench_run(argv, error);
}

static void
tell(BenchReport *report, const char *name, const char *inside_name, const char *peer,
     const Figures *figures, double bound)
{
    BenchResult result = { .name = name,
                           .unit = "ratio",
                           .peer = peer,
                           .value = bench_samples_median(figures->ratio),
                           .bound = bound,
                           .samples = figures->ratio,
                           .ours = figures->whole[SIDE_AGENT],
                           .peers = figures->whole[SIDE_PLAIN],
                           .absolute_unit = "s" };

    bench_report_add(report, &result);
    if (inside_name == NULL)
        return;
    result = (BenchResult){ .name = inside_name,
                            .unit = "s",
                            .value = bench_samples_median(figures->inside),
                            .bound = NAN,
                            .samples = figures->inside };
    bench_report_add(report, &result);
}

/* ---- one guest: save and restore ---- */

static gboolean
save(Figures *figures, Side side, GError **error)
{
    const char *const words[] = { "suspend", GUEST, "--to", "disk", NULL };

    bench_settle();
    if (side == SIDE_PLAIN)
        return take(figures, side, virsh("managedsave", GUEST, error));
    bench_operations_arm();
    return take(figures, side, bench_ctl(words, error)) && take_span(figures, error);
}

static gboolean
restore(Figures *figures, Side side, GError **error)
{
    const char *const words[] = { "resume", GUEST, NULL };

    bench_settle();
    if (side == SIDE_PLAIN)
        return take(figures, side, virsh("start", GUEST, error));
    bench_operations_arm();
    return take(figures, side, bench_ctl(words, error)) && take_span(figures, error);
}

static gboolean
save_and_restore(Figures *saves, Figures *restores, Side side, GError **error)
{
    g_autofree char *id = lab_guest_uuid(GUEST);
    g_autoptr(LabRest) http = lab_rest_new_control();

    return save(saves, side, error) && restore(restores, side, error)
           && bench_wait_state(http, id, "Running", error)
           && lab_guest_wait_ticking(GUEST, LAB_WAIT_MS, error);
}

/* Plain first, then the agent first, and so on: A B B A. */
static Side
side_of(guint pair, guint turn)
{
    return (pair + turn) % 2 == 0 ? SIDE_PLAIN : SIDE_AGENT;
}

static gboolean
run_pairs(Figures *saves, Figures *restores, GError **error)
{
    for (guint i = 0; i < PAIRS; i++) {
        for (guint turn = 0; turn < 2; turn++) {
            if (!save_and_restore(saves, restores, side_of(i, turn), error))
                return FALSE;
        }
        pair_up(saves);
        pair_up(restores);
        g_print("bench: disk %u of %u: save %.3f s plain, %.3f s agent; restore %.3f s plain, "
                "%.3f s agent\n",
                i + 1, PAIRS, saves->last[SIDE_PLAIN], saves->last[SIDE_AGENT],
                restores->last[SIDE_PLAIN], restores->last[SIDE_AGENT]);
    }
    return TRUE;
}

gboolean
bench_disk(BenchReport *report, GError **error)
{
    static const LabGuestOptions options = { .memory_mib = MEMORY_MIB, .fill_mib = FILL_MIB };
    g_auto(Figures) saves = { 0 };
    g_auto(Figures) restores = { 0 };
    gboolean ok;

    figures_init(&saves);
    figures_init(&restores);
    if (!lab_guest_start(GUEST, &options, error) || !bench_operations_start(error))
        return FALSE;
    ok = run_pairs(&saves, &restores, error);
    bench_operations_stop();
    if (!ok)
        return FALSE;
    tell(report, "save-800MB", "save-800MB-agent-alone", "virsh managedsave", &saves, 1.15);
    tell(report, "restore-800MB", "restore-800MB-agent-alone", "virsh start", &restores, 1.15);
    return lab_guest_check_log(GUEST, error) && lab_guest_undefine(GUEST, error);
}

/* ---- several guests ---- */

static const char *const guests[PARALLEL_GUESTS] = { "bench-one", "bench-two", "bench-three",
                                                     "bench-four" };

/* One after another: what an administrator without the agent does. */
static double
virsh_each(const char *verb, GError **error)
{
    double sum = 0;

    for (guint i = 0; i < PARALLEL_GUESTS; i++) {
        const double seconds = virsh(verb, guests[i], error);

        if (seconds < 0)
            return -1;
        sum += seconds;
    }
    return sum;
}

static gboolean
wait_all_run(GError **error)
{
    g_autoptr(LabRest) http = lab_rest_new_control();

    for (guint i = 0; i < PARALLEL_GUESTS; i++) {
        g_autofree char *id = lab_guest_uuid(guests[i]);

        if (!bench_wait_state(http, id, "Running", error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
all_save_and_restore(Figures *saves, Figures *restores, Side side, GError **error)
{
    const char *const suspend[] = { "suspend", "--all", "--to", "disk", NULL };
    const char *const resume[] = { "resume", "--all", NULL };

    bench_settle();
    if (!take(saves, side,
              side == SIDE_PLAIN ? virsh_each("managedsave", error) : bench_ctl(suspend, error)))
        return FALSE;
    bench_settle();
    return take(restores, side,
                side == SIDE_PLAIN ? virsh_each("start", error) : bench_ctl(resume, error))
           && wait_all_run(error);
}

gboolean
bench_parallel(BenchReport *report, GError **error)
{
    static const LabGuestOptions options = { .memory_mib = PARALLEL_MEMORY_MIB,
                                             .fill_mib = PARALLEL_FILL_MIB };
    g_auto(Figures) saves = { 0 };
    g_auto(Figures) restores = { 0 };

    figures_init(&saves);
    figures_init(&restores);
    for (guint i = 0; i < PARALLEL_GUESTS; i++) {
        if (!lab_guest_start(guests[i], &options, error))
            return FALSE;
    }
    for (guint i = 0; i < PARALLEL_PAIRS; i++) {
        for (guint turn = 0; turn < 2; turn++) {
            if (!all_save_and_restore(&saves, &restores, side_of(i, turn), error))
                return FALSE;
        }
        pair_up(&saves);
        pair_up(&restores);
    }
    tell(report, "save-4-guests-at-once", NULL, "virsh managedsave, one by one", &saves, NAN);
    tell(report, "restore-4-guests-at-once", NULL, "virsh start, one by one", &restores, NAN);
    for (guint i = 0; i < PARALLEL_GUESTS; i++) {
        if (!lab_guest_check_log(guests[i], error) || !lab_guest_undefine(guests[i], error))
            return FALSE;
    }
    return TRUE;
}
