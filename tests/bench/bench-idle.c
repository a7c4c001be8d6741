/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <math.h>
#include <signal.h>
#include <string.h>

#define GUESTS    3
#define WINDOW_US (10 * G_USEC_PER_SEC)
#define PEER      "virsh-event"
#define PEER_NAME "virsh event --all --loop"

/* What a process that waits costs. */
typedef struct {
    double anonymous_kib;
    double fds;
    double wakeups; /* so far */
} Cost;

static double
sum_wakeups(const char *tasks)
{
    g_autoptr(GDir) dir = g_dir_open(tasks, 0, NULL);
    const char *name;
    double sum = 0;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(tasks, name, "status", NULL);

        sum += lab_status_number(path, "voluntary_ctxt_switches");
    }
    return sum;
}

static Cost
cost_of(const char *name)
{
    const int pid = (int)lab_pid(name);
    g_autofree char *tasks = g_strdup_printf("/proc/%d/task", pid);

    return (Cost){ .anonymous_kib = lab_rss_anon_kib(name),
                   .fds = lab_count_of(name, "fd"),
                   .wakeups = sum_wakeups(tasks) };
}

static void
tell(BenchReport *report, const char *name, const char *unit, double ours, double peers)
{
    g_autoptr(BenchSamples) mine = bench_samples_new();
    g_autoptr(BenchSamples) theirs = bench_samples_new();
    const BenchResult result = { .name = name,
                                 .unit = unit,
                                 .peer = PEER_NAME,
                                 .value = ours,
                                 .bound = NAN,
                                 .ours = mine,
                                 .peers = theirs,
                                 .absolute_unit = unit };

    bench_samples_add(mine, ours);
    bench_samples_add(theirs, peers);
    bench_report_add(report, &result);
}

/*
 * The agent at rest beside a few guests, after all it did before; next to it libvirt's own program
 * that holds one connection and waits for events of all guests.
 */
gboolean
bench_idle(BenchReport *report, GError **error)
{
    static const char *const names[GUESTS] = { "idle-one", "idle-two", "idle-three" };
    const char *const peer[] = { "virsh", "event", "--all", "--loop", NULL };
    Cost before[2];
    Cost after[2];

    for (guint i = 0; i < GUESTS; i++) {
        if (!lab_guest_start(names[i], NULL, error))
            return FALSE;
    }
    if (lab_spawn(PEER, peer, NULL, error) < 0)
        return FALSE;
    bench_calm(); /* what the start has stirred up settles */
    before[0] = cost_of("wukongd");
    before[1] = cost_of(PEER);
    g_usleep(WINDOW_US);
    after[0] = cost_of("wukongd");
    after[1] = cost_of(PEER);
    tell(report, "idle-rss-anon", "KiB", after[0].anonymous_kib, after[1].anonymous_kib);
    tell(report, "idle-fds", "fds", after[0].fds, after[1].fds);
    tell(report, "idle-wakeups-10s", "wakeups", after[0].wakeups - before[0].wakeups,
         after[1].wakeups - before[1].wakeups);
    for (guint i = 0; i < GUESTS; i++) {
        if (!lab_guest_undefine(names[i], error))
            return FALSE;
    }
    return lab_kill(PEER, SIGTERM, LAB_WAIT_MS, NULL, error);
}
