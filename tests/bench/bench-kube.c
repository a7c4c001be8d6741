/* SPDX-License-Identifier: Apache-2.0 */
#include "bench-kube.h"

#include "lab-kube.h"

#include <math.h>
#include <string.h>

#define NAME      "bench"
#define GUEST     "default_bench-vm"
#define PAIRS     100
#define WARM_UPS  5
#define CALM_EACH 20
#define QUIET_US  (50 * 1000)
#define WAIT_MS   60000

/*
 * From the API server's answer to a patch of spec.lifecycleAction until the guest is paused, less
 * what virDomainSuspend alone takes until the same event is seen (bench-pause.c says why by event).
 * The patch is sent over a connection that is kept open: how long kubectl takes to start is not
 * the agent's.
 */
typedef struct {
    virDomainPtr domain;
    LabRest *api;
    BenchSamples *bare;
    BenchSamples *agent;
    BenchSamples *difference;
    BenchSamples *told; /* from the same answer until the status says Suspended */
} Patch;

static void
patch_clear(Patch *self)
{
    bench_events_stop();
    if (self->domain != NULL) {
        virConnectPtr connection = virDomainGetConnect(self->domain);

        virDomainFree(self->domain);
        (void)virConnectClose(connection);
    }
    g_clear_pointer(&self->api, lab_rest_free);
    g_clear_pointer(&self->bare, g_array_unref);
    g_clear_pointer(&self->agent, g_array_unref);
    g_clear_pointer(&self->difference, g_array_unref);
    g_clear_pointer(&self->told, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Patch, patch_clear)

typedef struct {
    LabRest *api;
    const char *state;
} Rest;

/* The state is told, in status and annotation, and the action taken out of the spec. */
static gboolean
is_at_rest(gpointer data)
{
    const Rest *rest = data;
    const char *object = lab_rest_send(rest->api, "GET", BENCH_WUKONGS "/" NAME, NULL, NULL);

    return object != NULL && strstr(object, "\"lifecycleAction\"") == NULL
           && strstr(object, rest->state) != NULL;
}

static gboolean
be_quiet(Patch *self, const char *state, GError **error)
{
    g_autofree char *word = g_strdup_printf("\"state\":\"%s\"", state);
    Rest rest = { .api = self->api, .state = word };

    if (!lab_wait(state, WAIT_MS, is_at_rest, &rest, error))
        return FALSE;
    g_usleep(QUIET_US);
    bench_events_arm();
    return TRUE;
}

static gboolean
act(Patch *self, const char *action, GError **error)
{
    g_autofree char *body = g_strdup_printf("{\"spec\":{\"lifecycleAction\":%s}}", action);

    return lab_rest_send(self->api, "PATCH", BENCH_WUKONGS "/" NAME, body, error) != NULL;
}

static double
ms_since(gint64 from_us, gint64 to_us)
{
    return (double)(to_us - from_us) / 1000;
}

static gboolean
run_bare(Patch *self, double *took_ms, GError **error)
{
    gint64 began;
    gint64 suspended;

    if (!be_quiet(self, "Running", error))
        return FALSE;
    began = g_get_monotonic_time();
    if (virDomainSuspend(self->domain) < 0) {
        lab_error_set_from_libvirt(error, "virDomainSuspend");
        return FALSE;
    }
    if (!bench_events_wait(&suspended, error))
        return FALSE;
    *took_ms = ms_since(began, suspended);
    bench_samples_add(self->bare, *took_ms);
    if (!be_quiet(self, "Suspended", error))
        return FALSE;
    if (virDomainResume(self->domain) < 0)
        lab_error_set_from_libvirt(error, "virDomainResume");
    return be_quiet(self, "Running", error);
}

static gboolean
is_told(gpointer data)
{
    const char *object = lab_rest_send(data, "GET", BENCH_WUKONGS "/" NAME, NULL, NULL);

    return object != NULL && strstr(object, "\"type\":\"Suspended\"") != NULL
           && strstr(object, "\"state\":\"Suspended\"") != NULL;
}

static gboolean
run_agent(Patch *self, double *took_ms, GError **error)
{
    gint64 answered;
    gint64 suspended;

    if (!be_quiet(self, "Running", error)
        || !act(self, "{\"action\":\"suspend\",\"target\":\"memory\"}", error))
        return FALSE;
    answered = g_get_monotonic_time();
    if (!bench_events_wait(&suspended, error)
        || !lab_wait("the status", WAIT_MS, is_told, self->api, error))
        return FALSE;
    bench_samples_add(self->told, ms_since(answered, g_get_monotonic_time()));
    *took_ms = MAX(ms_since(answered, suspended), 0);
    bench_samples_add(self->agent, *took_ms);
    return be_quiet(self, "Suspended", error)
           && act(self, "{\"action\":\"resume\",\"target\":null}", error)
           && be_quiet(self, "Running", error);
}

static gboolean
run_pair(Patch *self, guint i, GError **error)
{
    double bare = 0;
    double agent = 0;
    gboolean ok;

    if (i % 2 == 0)
        ok = run_bare(self, &bare, error) && run_agent(self, &agent, error);
    else
        ok = run_agent(self, &agent, error) && run_bare(self, &bare, error);
    if (ok)
        bench_samples_add(self->difference, agent - bare);
    return ok;
}

static gboolean
prepare(Patch *self, GError **error)
{
    virConnectPtr connection;

    if (!lab_guest_start(GUEST, NULL, error) || !lab_kube_wukong(NAME, error))
        return FALSE;
    connection = lab_connect(error);
    if (connection == NULL)
        return FALSE;
    self->domain = virDomainLookupByName(connection, GUEST);
    self->api = lab_api_new();
    self->bare = bench_samples_new();
    self->agent = bench_samples_new();
    self->difference = bench_samples_new();
    self->told = bench_samples_new();
    if (self->domain == NULL)
        lab_error_set_from_libvirt(error, GUEST);
    return self->domain != NULL && bench_events_start(GUEST, error);
}

static void
forget(Patch *self)
{
    g_array_set_size(self->bare, 0);
    g_array_set_size(self->agent, 0);
    g_array_set_size(self->difference, 0);
    g_array_set_size(self->told, 0);
}

static void
tell(const Patch *self, BenchReport *report)
{
    BenchResult result = { .name = "kube-patch-to-paused-median",
                           .unit = "ms",
                           .peer = "virDomainSuspend",
                           .value = bench_samples_median(self->difference),
                           .bound = 15,
                           .samples = self->difference,
                           .ours = self->agent,
                           .peers = self->bare,
                           .absolute_unit = "ms" };

    bench_report_add(report, &result);
    result.name = "kube-patch-to-paused-p99";
    result.value = bench_samples_percentile(self->difference, 99);
    result.bound = 50;
    bench_report_add(report, &result);
    result = (BenchResult){ .name = "kube-patch-to-status",
                            .unit = "ms",
                            .value = bench_samples_median(self->told),
                            .bound = NAN,
                            .samples = self->told };
    bench_report_add(report, &result);
}

gboolean
bench_kube_agent(GError **error)
{
    static gboolean started = FALSE;

    if (!lab_kube_is_available()) {
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, "there is no control plane");
        return FALSE;
    }
    if (!started && (!lab_kube_start(error) || !lab_kube_install(error)))
        return FALSE;
    started = TRUE;
    return lab_agent_kill(error) && lab_kube_agent_start(NULL, error);
}

gboolean
bench_kube(BenchReport *report, GError **error)
{
    g_auto(Patch) self = { 0 };

    if (!bench_kube_agent(error) || !prepare(&self, error))
        return FALSE;
    for (guint i = 0; i < WARM_UPS; i++) {
        if (!run_pair(&self, i, error))
            return FALSE;
    }
    forget(&self);
    for (guint i = 0; i < PAIRS; i++) {
        if (i % CALM_EACH == 0)
            bench_calm();
        if (!run_pair(&self, i, error))
            return FALSE;
    }
    tell(&self, report);
    return lab_guest_check_log(GUEST, error)
           && lab_rest_send(self.api, "DELETE", BENCH_WUKONGS "/" NAME, NULL, error) != NULL
           && lab_guest_undefine(GUEST, error);
}
