/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <math.h>

#define GUEST     "bench-pause"
#define PAIRS     200
#define WARM_UPS  5
#define CALM_EACH 20 /* pairs */
#define QUIET_US  (20 * 1000)

/*
 * The agent's own time between a request to suspend to memory and the return of virDomainSuspend.
 *
 * Nobody outside the agent sees its call return, so both sides of a pair are timed to the same
 * thing that is seen from outside: libvirt's event "suspended", on one connection that does
 * nothing else. In libvirtd the event is sent at the same point of the same call, whoever calls,
 * so what differs between the sides is what the agent does before its call. How far the event is
 * from the return is measured on the bare side, and told.
 *
 * Bare: virDomainSuspend() on an open connection with the domain looked up. Agent: POST on a
 * kept-open connection. Both begin with everything at rest for a while.
 */
typedef struct {
    virDomainPtr domain;
    LabRest *http;
    char *id;
    char *suspend;
    char *resume;
    BenchSamples *bare;
    BenchSamples *agent;
    BenchSamples *returned; /* bare: the call's return */
    BenchSamples *answered; /* agent: the HTTP answer */
    BenchSamples *difference;
} Pause;

static void
pause_clear(Pause *self)
{
    bench_events_stop();
    if (self->domain != NULL) {
        virConnectPtr connection = virDomainGetConnect(self->domain);

        virDomainFree(self->domain);
        (void)virConnectClose(connection);
    }
    g_clear_pointer(&self->http, lab_rest_free);
    g_clear_pointer(&self->id, g_free);
    g_clear_pointer(&self->suspend, g_free);
    g_clear_pointer(&self->resume, g_free);
    g_clear_pointer(&self->bare, g_array_unref);
    g_clear_pointer(&self->agent, g_array_unref);
    g_clear_pointer(&self->returned, g_array_unref);
    g_clear_pointer(&self->answered, g_array_unref);
    g_clear_pointer(&self->difference, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pause, pause_clear)

static double
ms(gint64 from_us, gint64 to_us)
{
    return (double)(to_us - from_us) / 1000;
}

/* Nobody is still at work for the run before. */
static gboolean
be_quiet(Pause *self, const char *state, GError **error)
{
    if (!bench_wait_state(self->http, self->id, state, error))
        return FALSE;
    g_usleep(QUIET_US);
    bench_events_arm();
    return TRUE;
}

static gboolean
run_bare(Pause *self, double *took_ms, GError **error)
{
    gint64 began;
    gint64 returned;
    gint64 suspended;

    if (!be_quiet(self, "Running", error))
        return FALSE;
    began = g_get_monotonic_time();
    if (virDomainSuspend(self->domain) < 0) {
        lab_error_set_from_libvirt(error, "virDomainSuspend");
        return FALSE;
    }
    returned = g_get_monotonic_time();
    if (!bench_events_wait(&suspended, error))
        return FALSE;
    *took_ms = ms(began, suspended);
    bench_samples_add(self->bare, *took_ms);
    bench_samples_add(self->returned, ms(began, returned));
    if (!be_quiet(self, "Suspended", error))
        return FALSE;
    if (virDomainResume(self->domain) < 0)
        lab_error_set_from_libvirt(error, "virDomainResume");
    return lab_domain_wait_state(GUEST, VIR_DOMAIN_RUNNING, LAB_WAIT_MS, error);
}

static gboolean
run_agent(Pause *self, double *took_ms, GError **error)
{
    gint64 began;
    gint64 answered;
    gint64 suspended;

    if (!be_quiet(self, "Running", error))
        return FALSE;
    began = g_get_monotonic_time();
    if (lab_rest_send(self->http, "POST", self->suspend, "{\"target\":\"memory\"}", error) == NULL)
        return FALSE;
    answered = g_get_monotonic_time();
    if (!bench_events_wait(&suspended, error))
        return FALSE;
    *took_ms = ms(began, suspended);
    bench_samples_add(self->agent, *took_ms);
    bench_samples_add(self->answered, ms(began, answered));
    return be_quiet(self, "Suspended", error)
           && lab_rest_send(self->http, "POST", self->resume, "{}", error) != NULL;
}

static gboolean
run_pair(Pause *self, guint i, GError **error)
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

static void
forget(Pause *self)
{
    g_array_set_size(self->bare, 0);
    g_array_set_size(self->agent, 0);
    g_array_set_size(self->returned, 0);
    g_array_set_size(self->answered, 0);
    g_array_set_size(self->difference, 0);
}

static gboolean
prepare(Pause *self, GError **error)
{
    virConnectPtr connection;

    if (!lab_guest_start(GUEST, NULL, error))
        return FALSE;
    /* before libvirt has an event loop here: a plain blocking connection */
    connection = lab_connect(error);
    if (connection == NULL)
        return FALSE;
    self->domain = virDomainLookupByName(connection, GUEST);
    self->http = lab_rest_new_control();
    self->id = lab_guest_uuid(GUEST);
    self->suspend = g_strdup_printf("/v1/guests/%s/suspend", self->id);
    self->resume = g_strdup_printf("/v1/guests/%s/resume", self->id);
    self->bare = bench_samples_new();
    self->agent = bench_samples_new();
    self->returned = bench_samples_new();
    self->answered = bench_samples_new();
    self->difference = bench_samples_new();
    if (self->domain == NULL)
        lab_error_set_from_libvirt(error, GUEST);
    return self->domain != NULL && bench_events_start(GUEST, error);
}

static void
tell(const Pause *self, BenchReport *report)
{
    BenchResult result = { .name = "pause-own-time-median",
                           .unit = "ms",
                           .peer = "virDomainSuspend",
                           .value = bench_samples_median(self->difference),
                           .bound = 5,
                           .samples = self->difference,
                           .ours = self->agent,
                           .peers = self->bare,
                           .absolute_unit = "ms" };

    bench_report_add(report, &result);
    result.name = "pause-own-time-p99";
    result.value = bench_samples_percentile(self->difference, 99);
    result.bound = 20;
    bench_report_add(report, &result);
    result.name = "pause-p99-difference";
    result.value =
        bench_samples_percentile(self->agent, 99) - bench_samples_percentile(self->bare, 99);
    result.bound = NAN;
    bench_report_add(report, &result);
    result = (BenchResult){ .name = "pause-answer",
                            .unit = "ms",
                            .peer = "virDomainSuspend's return",
                            .value = bench_samples_median(self->answered),
                            .bound = NAN,
                            .samples = self->answered,
                            .ours = self->answered,
                            .peers = self->returned,
                            .absolute_unit = "ms" };
    bench_report_add(report, &result);
}

gboolean
bench_pause(BenchReport *report, GError **error)
{
    g_auto(Pause) self = { 0 };

    if (!prepare(&self, error))
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
    if (!bench_wait_state(self.http, self.id, "Running", error))
        return FALSE;
    tell(&self, report);
    return lab_guest_check_log(GUEST, error) && lab_guest_undefine(GUEST, error);
}
