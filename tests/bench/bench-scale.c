/* SPDX-License-Identifier: Apache-2.0 */
#include "bench-kube.h"

#include "lab-kube.h"

#include <math.h>
#include <string.h>

#define HERE        50
#define CLUSTER     10000
#define SETTLE_MS   120000
#define CRD_TIMEOUT "--timeout=60s"

/*
 * What a large cluster costs the agent of one node: private memory and bytes received after its
 * start, with only the node's own Wukongs there, with 10,000 and a CRD whose status.nodeName is
 * selectable, and with 10,000 and one where it is not.
 */
typedef struct {
    double rss_kib;
    double bytes;
} Load;

static gboolean
make_wukong(LabRest *api, guint i, gboolean here, GError **error)
{
    g_autofree char *body = g_strdup_printf(
        "{\"apiVersion\":\"vm.novasphere.dev/v1alpha1\",\"kind\":\"Wukong\",\"metadata\":{\"name\":"
        "\"w%05u\"},\"spec\":{\"cpu\":2,\"memory\":\"4Gi\",\"osImage\":\"debian-12\",\"networks\":"
        "[{\"name\":\"default\"}],\"disks\":[{\"name\":\"root\",\"size\":\"40Gi\",\"boot\":true,"
        "\"image\":\"registry.example/debian:12\"}]}}",
        i);
    g_autofree char *path = g_strdup_printf(BENCH_WUKONGS "/w%05u/status", i);

    if (lab_rest_send(api, "POST", BENCH_WUKONGS, body, error) == NULL)
        return FALSE;
    return !here
           || lab_rest_send(api, "PATCH", path, "{\"status\":{\"nodeName\":\"" LAB_NODE_NAME "\"}}",
                            error)
                  != NULL;
}

static gboolean
make_wukongs(guint from, guint to, gboolean here, GError **error)
{
    g_autoptr(LabRest) api = lab_api_new();

    for (guint i = from; i < to; i++) {
        if (!make_wukong(api, i, here, error))
            return FALSE;
    }
    return TRUE;
}

/* ss: the sums of bytes_received of the agent's connections to the API server. */
static double
bytes_received(void)
{
    const char *const argv[] = { "ss",    "-tinpHO", "state", "established",
                                 "dport", "=",       ":6443", NULL };
    g_autofree char *owner = g_strdup_printf("pid=%d,", (int)lab_pid("wukongd"));
    g_auto(LabOutput) output = { 0 };
    g_auto(GStrv) lines = NULL;
    double sum = 0;

    if (!lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, NULL))
        return NAN;
    lines = g_strsplit(output.out, "\n", -1);
    for (gsize i = 0; lines[i] != NULL; i++) {
        const char *at = strstr(lines[i], "bytes_received:");

        if (at != NULL && strstr(lines[i], owner) != NULL)
            sum += g_ascii_strtod(at + strlen("bytes_received:"), NULL);
    }
    return sum;
}

/* It has listed, and told what is to be told. */
static gboolean
is_settled(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *metrics = NULL;
    g_autofree char *checks = NULL;

    return lab_http("GET", "/metrics", NULL, &metrics, NULL) == 200
           && strstr(metrics, "\nwukong_outbox_pending 0\n") != NULL
           && lab_http("GET", "/v1/doctor", NULL, &checks, NULL) == 200
           && strstr(checks, "belong to a Wukong") != NULL;
}

static gboolean
measure(Load *load, GError **error)
{
    /* twice: the first writes what the second finds written */
    for (int i = 0; i < 2; i++) {
        if (!bench_kube_agent(error)
            || !lab_wait("the agent to settle", SETTLE_MS, is_settled, NULL, error))
            return FALSE;
    }
    bench_calm();
    *load = (Load){ .rss_kib = lab_rss_anon_kib("wukongd"), .bytes = bytes_received() };
    return TRUE;
}

static gboolean
without_selector(GError **error)
{
    g_autofree char *out = lab_kubectl_out(
        error, "patch", "crd", "wukongs.vm.novasphere.dev", "--type=json", "-p",
        "[{\"op\":\"remove\",\"path\":\"/spec/versions/0/selectableFields\"}]", NULL);

    return out != NULL;
}

static void
tell_one(BenchReport *report, const char *name, const char *unit, double value, double bound)
{
    const BenchResult result = { .name = name, .unit = unit, .value = value, .bound = bound };

    bench_report_add(report, &result);
}

static void
tell(BenchReport *report, const Load *few, const Load *many, const Load *all)
{
    tell_one(report, "kube-50-rss-anon", "MiB", few->rss_kib / 1024, 12);
    tell_one(report, "kube-10000-rss-anon", "MiB", many->rss_kib / 1024, 12);
    tell_one(report, "kube-10000-rss-ratio", "x", many->rss_kib / few->rss_kib, 1.10);
    tell_one(report, "kube-10000-bytes-ratio", "x", many->bytes / few->bytes, 1.10);
    tell_one(report, "kube-50-bytes", "KiB", few->bytes / 1024, NAN);
    tell_one(report, "kube-10000-unselected-rss-anon", "MiB", all->rss_kib / 1024, 48);
    tell_one(report, "kube-10000-unselected-bytes", "KiB", all->bytes / 1024, NAN);
}

gboolean
bench_scale(BenchReport *report, GError **error)
{
    Load few;
    Load many;
    Load all;

    if (!bench_kube_agent(error) || !make_wukongs(0, HERE, TRUE, error) || !measure(&few, error)
        || !make_wukongs(HERE, CLUSTER, FALSE, error) || !measure(&many, error)
        || !without_selector(error) || !measure(&all, error))
        return FALSE;
    tell(report, &few, &many, &all);
    return TRUE;
}
