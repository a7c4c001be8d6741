/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COMMAND_MS   300000
#define CALM_US      (200 * 1000)
#define CALM_PERCENT 80 /* idle; the guests' own work is less than the rest */
#define CALM_WAIT_MS 2000
#define TOUCH_BYTES  ((gsize)1280 * 1024 * 1024)

static guint waits;
static guint busy_waits;

/* In the order they are run: the idle agent is one that has worked. */
static const struct {
    const char *name;
    gboolean (*run)(BenchReport *report, GError **error);
} phases[] = {
    { "pause", bench_pause }, { "disk", bench_disk },         { "parallel", bench_parallel },
    { "idle", bench_idle },   { "kube", bench_kube },         { "fleet", bench_fleet },
    { "scale", bench_scale }, { "launcher", bench_launcher }, { "pods", bench_pods },
};

static double
judge(gboolean ran, const LabOutput *output, const char *what, gint64 began_us, GError **error)
{
    const double seconds = (double)(g_get_monotonic_time() - began_us) / G_USEC_PER_SEC;

    if (!ran)
        return -1;
    if (output->status == 0)
        return seconds;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: status %d: %s%s", what, output->status,
                output->out, output->err);
    return -1;
}

double
bench_run(const char *const *argv, GError **error)
{
    g_auto(LabOutput) output = { 0 };
    const gint64 began_us = g_get_monotonic_time();
    const gboolean ran = lab_run_capture(argv, NULL, COMMAND_MS, &output, error);

    return judge(ran, &output, argv[0], began_us, error);
}

double
bench_ctl(const char *const *words, GError **error)
{
    g_auto(LabOutput) output = { 0 };
    const gint64 began_us = g_get_monotonic_time();
    const gboolean ran = lab_ctlv(&output, words, COMMAND_MS, error);

    return judge(ran, &output, "wukongctl", began_us, error);
}

/* The first line of /proc/stat: time of all CPUs, and how much of it was idle, in ticks. */
static void
read_cpu(guint64 *all, guint64 *idle)
{
    g_autofree char *text = NULL;
    char *at;

    *all = *idle = 0;
    if (!g_file_get_contents("/proc/stat", &text, NULL, NULL))
        return;
    at = text + strlen("cpu");
    for (int field = 0; field < 8; field++) {
        const guint64 ticks = g_ascii_strtoull(at, &at, 10);

        *all += ticks;
        *idle += field == 3 || field == 4 ? ticks : 0;
    }
}

static gboolean
is_calm(gpointer data G_GNUC_UNUSED)
{
    guint64 all[2];
    guint64 idle[2];

    read_cpu(&all[0], &idle[0]);
    g_usleep(CALM_US);
    read_cpu(&all[1], &idle[1]);
    return (idle[1] - idle[0]) * 100 >= (all[1] - all[0]) * CALM_PERCENT;
}

void
bench_calm(void)
{
    waits++;
    if (!lab_wait("a calm machine", CALM_WAIT_MS, is_calm, NULL, NULL))
        busy_waits++;
}

/* In a virtual machine, memory that nobody has used for a while has to come from the host again,
 * which made the same restore take three times as long or not, by chance. What the run will use is
 * used once before, so that neither side pays for it. */
static void
touch_memory(void)
{
    void *memory = mmap(NULL, TOUCH_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory != MAP_FAILED)
        munmap(memory, TOUCH_BYTES);
}

void
bench_settle(void)
{
    sync();
    bench_calm();
    touch_memory();
}

/* How much the rest is worth: figures of a busy machine tell of whoever keeps it busy. */
static void
tell_calm(BenchReport *report)
{
    const BenchResult result = { .name = "waits-for-calm-in-vain",
                                 .unit = "percent",
                                 .value = waits > 0 ? 100.0 * busy_waits / waits : 0,
                                 .bound = NAN };

    bench_report_add(report, &result);
}

static gboolean
is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (g_str_equal(argv[i], name))
            return TRUE;
    }
    return argc <= 1;
}

static gboolean
is_known(const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(phases); i++) {
        if (g_str_equal(phases[i].name, name))
            return TRUE;
    }
    return FALSE;
}

static gboolean
run_phases(BenchReport *report, int argc, char **argv, GError **error)
{
    if (!lab_libvirtd_start(error) || !lab_agent_start(NULL, error))
        return FALSE;
    for (gsize i = 0; i < G_N_ELEMENTS(phases); i++) {
        if (!is_wanted(phases[i].name, argc, argv))
            continue;
        g_print("bench: %s\n", phases[i].name);
        if (!phases[i].run(report, error)) {
            g_prefix_error(error, "%s: ", phases[i].name);
            return FALSE;
        }
    }
    return lab_agent_term(NULL, error);
}

int
main(int argc, char **argv)
{
    g_autoptr(BenchReport) report = bench_report_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *path = lab_build_path("bench.json");
    gboolean good;

    g_setenv("MALLOC_PERTURB_", "0", TRUE); /* lab_agent_start() would have it otherwise */
    for (int i = 1; i < argc; i++) {
        if (is_known(argv[i]))
            continue;
        g_printerr("bench: unknown phase '%s' (pause, disk, parallel, idle, kube, fleet, scale, "
                   "launcher, pods)\n",
                   argv[i]);
        return 2;
    }
    if (!run_phases(report, argc, argv, &error)) {
        g_printerr("bench: %s\n", error->message);
        return EXIT_FAILURE;
    }
    tell_calm(report);
    good = bench_report_print(report);
    if (!bench_report_write(report, path, &error)) {
        g_printerr("bench: %s\n", error->message);
        return EXIT_FAILURE;
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
