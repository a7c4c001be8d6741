/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests in launcher pods (tests/launcher): how soon a new pod has its guard, and what hibernate
 * and resume cost beside the bare managed save and restore of the same guest by the pod's own
 * libvirt.
 *
 * For the bare ones the stand-in for KubeVirt stands still, or it would boot the guest anew. What
 * a pod takes to come and go is KubeVirt's and on neither side: a hibernate is from its request
 * until the image is sealed and out of the pod, a restore from QEMU's start until the guest's first
 * sign of life.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bench-kube.h"

#include "lab-pod.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME       "b"
#define DOMAIN     "default_b-vm"
#define WUKONG     BENCH_WUKONGS "/" NAME
#define MEMORY_MIB 1024
#define FILL       "fill 700"
#define PAIRS      10
#define POLL_US    500
#define WAIT_US    (120 * G_USEC_PER_SEC)
#define HELD_BYTES ((gsize)1200 * 1024 * 1024)
#define HOLD_MS    "200" /* each guard stays alone for so long, to be looked at */
#define FILL_MS    180000

typedef enum {
    SIDE_BARE,
    SIDE_AGENT,
    SIDES,
} Side;

typedef struct {
    LabRest *api;
    BenchSamples *guard;        /* ms from the pod's folder to the guard in it */
    BenchSamples *gone;         /* s from the request until the pod's folders are gone */
    BenchSamples *save[SIDES];  /* s */
    BenchSamples *start[SIDES]; /* s */
    BenchSamples *save_ratio;
    BenchSamples *start_ratio;
} Pods;

static void
pods_init(Pods *self)
{
    self->api = lab_api_new();
    self->guard = bench_samples_new();
    self->gone = bench_samples_new();
    self->save_ratio = bench_samples_new();
    self->start_ratio = bench_samples_new();
    for (int side = 0; side < SIDES; side++) {
        self->save[side] = bench_samples_new();
        self->start[side] = bench_samples_new();
    }
}

static void
pods_clear(Pods *self)
{
    g_clear_pointer(&self->api, lab_rest_free);
    g_clear_pointer(&self->guard, g_array_unref);
    g_clear_pointer(&self->gone, g_array_unref);
    g_clear_pointer(&self->save_ratio, g_array_unref);
    g_clear_pointer(&self->start_ratio, g_array_unref);
    for (int side = 0; side < SIDES; side++) {
        g_clear_pointer(&self->save[side], g_array_unref);
        g_clear_pointer(&self->start[side], g_array_unref);
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pods, pods_clear)

static double
seconds_since(gint64 began_us)
{
    return (double)(g_get_monotonic_time() - began_us) / G_USEC_PER_SEC;
}

/* ---- what is waited for, closely ---- */

static gboolean
poll_until(const char *what, gboolean (*is_so)(const char *path), const char *path, GError **error)
{
    const gint64 until_us = g_get_monotonic_time() + WAIT_US;

    while (!is_so(path)) {
        if (g_get_monotonic_time() > until_us) {
            g_set_error(error, LAB_ERROR, LAB_ERROR_TIMEOUT, "waited in vain for %s", what);
            return FALSE;
        }
        g_usleep(POLL_US);
    }
    return TRUE;
}

static gboolean
is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static gboolean
is_away(const char *path)
{
    return access(path, F_OK) != 0;
}

static off_t log_bytes;

static gboolean
has_grown(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_size > log_bytes;
}

/* The guest stands still: its next line is its first sign of life. */
static gboolean
note_log(GError **error)
{
    g_autofree char *path = lab_guest_serial_path(DOMAIN);
    struct stat st;

    if (!lab_guest_wait_quiet(DOMAIN, LAB_WAIT_MS, error) || stat(path, &st) != 0)
        return FALSE;
    log_bytes = st.st_size;
    return TRUE;
}

/* ---- the memory that QEMU will need ---- */

/* A node that is a guest itself gives memory that was freed back to its host within seconds, and a
 * QEMU that starts later pays for each page of it anew: half as long again for this guest. What
 * KubeVirt takes to come to its start is no part of what is measured, so on both sides the memory
 * is held until then. */
static gpointer held;

static void
hold_memory(void)
{
    held = mmap(NULL, HELD_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (held == MAP_FAILED)
        held = NULL;
}

static void
release_memory(void)
{
    if (held != NULL)
        (void)munmap(held, HELD_BYTES);
    held = NULL;
}

/* ---- QEMU's age ---- */

/* Seconds that the guest's QEMU has been there for, or -1. Its pid is one of the pod's own, so it
 * is looked for by what it has for a command line. */
static double
age_of(GPid pid)
{
    g_autofree char *stat_path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *words = NULL;
    g_auto(GStrv) fields = NULL;
    const char *behind;
    struct timespec now;

    if (!g_file_get_contents(stat_path, &words, NULL, NULL)
        || (behind = strrchr(words, ')')) == NULL)
        return -1;
    fields = g_strsplit(behind + 2, " ", -1);
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    if (g_strv_length(fields) < 20)
        return -1;
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9
           - g_ascii_strtod(fields[19], NULL) / (double)sysconf(_SC_CLK_TCK);
}

static gboolean
take_start(BenchSamples *samples, double *took_s, GError **error)
{
    g_autofree char *log = lab_guest_serial_path(DOMAIN);

    if (!poll_until("the guest's first sign of life", has_grown, log, error))
        return FALSE;
    *took_s = age_of(lab_find_process("guest=" DOMAIN));
    if (*took_s < 0) {
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, "there is no QEMU");
        return FALSE;
    }
    bench_samples_add(samples, *took_s);
    return lab_guest_wait_ticking(DOMAIN, LAB_WAIT_MS, error);
}

/* ---- by the pod's libvirt alone ---- */

typedef struct {
    const char *verb;
    GError *error;
    double seconds;
} Virsh;

static gpointer
run_virsh(gpointer data)
{
    Virsh *self = data;
    g_autofree char *uid = lab_pod_uid(NAME, &self->error);
    g_autofree char *uri = NULL;
    const char *argv[] = { "virsh", "-q", "-c", NULL, self->verb, DOMAIN, NULL };

    if (uid == NULL)
        return NULL;
    uri = g_strdup_printf("qemu+unix:///session?socket=/proc/%d/root/run/libvirt/virtqemud-sock",
                          (int)lab_pod_launcher_pid(uid));
    argv[3] = uri;
    self->seconds = bench_run(argv, &self->error);
    return NULL;
}

static gboolean
stand_still(GError **error)
{
    return lab_standin_cluster_kill(error) && lab_standin_node_kill(error);
}

static gboolean
go_on(GError **error)
{
    return lab_standin_cluster_start(error) && lab_standin_node_start(error)
           && lab_vmi_wait_phase(NAME, "Running", LAB_POD_MS, error);
}

static gboolean
bare_save(Pods *self, double *took_s, GError **error)
{
    Virsh virsh = { .verb = "managedsave" };

    bench_settle();
    (void)run_virsh(&virsh);
    if (virsh.error != NULL) {
        g_propagate_error(error, virsh.error);
        return FALSE;
    }
    *took_s = virsh.seconds;
    bench_samples_add(self->save[SIDE_BARE], *took_s);
    return TRUE;
}

static gboolean
bare_start(Pods *self, double *took_s, GError **error)
{
    Virsh virsh = { .verb = "start" };
    GThread *thread;
    gboolean ok;

    if (!note_log(error))
        return FALSE;
    hold_memory();
    bench_settle();
    release_memory();
    thread = g_thread_new("virsh", run_virsh, &virsh);
    ok = take_start(self->start[SIDE_BARE], took_s, error);
    g_thread_join(thread);
    if (virsh.error == NULL)
        return ok;
    g_clear_error(error);
    g_propagate_error(error, virsh.error);
    return FALSE;
}

static gboolean
run_bare(Pods *self, double *took_s, GError **error)
{
    return stand_still(error) && bare_save(self, &took_s[0], error)
           && bare_start(self, &took_s[1], error) && go_on(error);
}

/* ---- by the agent ---- */

static gboolean
act(Pods *self, const char *action, GError **error)
{
    g_autofree char *body = g_strdup_printf("{\"spec\":{\"lifecycleAction\":%s}}", action);

    return lab_rest_send(self->api, "PATCH", WUKONG, body, error) != NULL;
}

static gboolean
is_done(gpointer data)
{
    const char *object = lab_rest_send(data, "GET", WUKONG, NULL, NULL);

    return object != NULL && strstr(object, "\"lifecycleAction\"") == NULL;
}

/* Out of the pod, and in the vault. One that is in neither was a try that came to nothing. */
static gboolean
poll_until_sealed(const char *managed, GError **error)
{
    g_autofree char *vm = lab_vm_get(NAME, "{.metadata.uid}", error);
    g_autofree char *hold = NULL;

    if (vm == NULL)
        return FALSE;
    hold = g_build_filename(LAB_STATE_DIR, "vault", vm, "image", NULL);
    do {
        if (!poll_until("the image", is_there, managed, error)
            || !poll_until("the seal", is_away, managed, error))
            return FALSE;
    } while (is_away(hold));
    return TRUE;
}

static gboolean
hibernate(Pods *self, double *took_s, GError **error)
{
    g_autofree char *managed = lab_pod_save_path(NAME, error);
    g_autofree char *uid = managed != NULL ? lab_pod_uid(NAME, error) : NULL;
    g_autofree char *folder = uid != NULL ? lab_pod_dir(uid) : NULL;
    gint64 began_us;

    if (folder == NULL)
        return FALSE;
    bench_settle();
    began_us = g_get_monotonic_time();
    if (!act(self, "{\"action\":\"suspend\",\"target\":\"disk\"}", error)
        || !poll_until_sealed(managed, error))
        return FALSE;
    *took_s = seconds_since(began_us);
    bench_samples_add(self->save[SIDE_AGENT], *took_s);
    if (!poll_until("the pod's end", is_away, folder, error))
        return FALSE;
    bench_samples_add(self->gone, seconds_since(began_us));
    return lab_wait("Suspended", LAB_POD_MS, is_done, self->api, error);
}

static double
ms_of(const struct statx_timestamp *at)
{
    return (double)at->tv_sec * 1000 + (double)at->tv_nsec / 1e6;
}

/* The guard's last change is its rename, the folder's birth the pod's appearance. The agent waits
 * before it puts the image over the guard, so that there is time to look. */
static gboolean
take_guard(Pods *self, const char *old_vmi, GError **error)
{
    g_autofree char *vmi = lab_vmi_wait_other(NAME, old_vmi, LAB_POD_MS, error);
    g_autofree char *managed = NULL;
    g_autofree char *folder = NULL;
    g_autofree char *uid = NULL;
    struct statx pod;
    struct statx guard;

    while (vmi != NULL && uid == NULL) /* it gets its pod in a moment */
        uid = lab_pod_uid(NAME, NULL);
    managed = vmi != NULL ? lab_pod_save_path(NAME, error) : NULL;
    if (managed == NULL || !poll_until("the guard", is_there, managed, error))
        return FALSE;
    folder = lab_pod_dir(uid);
    if (statx(AT_FDCWD, managed, 0, STATX_BASIC_STATS, &guard) != 0
        || statx(AT_FDCWD, folder, 0, STATX_BTIME, &pod) != 0 || (pod.stx_mask & STATX_BTIME) == 0
        || guard.stx_size != 92) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED,
                    "the guard can't be timed here: %s has %u bytes, %s", managed,
                    (guint)guard.stx_size, g_strerror(errno));
        return FALSE;
    }
    bench_samples_add(self->guard, ms_of(&guard.stx_ctime) - ms_of(&pod.stx_btime));
    return TRUE;
}

static gboolean
resume(Pods *self, double *took_s, GError **error)
{
    g_autofree char *old_vmi = lab_vmi_uid(NAME, error);
    gboolean ok;

    if (old_vmi == NULL || !note_log(error))
        return FALSE;
    hold_memory();
    bench_settle();
    ok = act(self, "{\"action\":\"resume\",\"target\":null}", error)
         && take_guard(self, old_vmi, error);
    release_memory(); /* the image comes into its place now, and then QEMU */
    return ok && take_start(self->start[SIDE_AGENT], took_s, error)
           && lab_wait("Running", LAB_POD_MS, is_done, self->api, error);
}

static gboolean
run_agent(Pods *self, double *took_s, GError **error)
{
    return hibernate(self, &took_s[0], error) && resume(self, &took_s[1], error);
}

static gboolean
run_pair(Pods *self, guint i, GError **error)
{
    double bare[2] = { 0 };
    double agent[2] = { 0 };
    gboolean ok;

    if (i % 2 == 0)
        ok = run_bare(self, bare, error) && run_agent(self, agent, error);
    else
        ok = run_agent(self, agent, error) && run_bare(self, bare, error);
    if (!ok)
        return FALSE;
    bench_samples_add(self->save_ratio, agent[0] / bare[0]);
    bench_samples_add(self->start_ratio, agent[1] / bare[1]);
    g_print("bench: launcher %u of %u: save %.3f s bare, %.3f s agent; restore %.3f s bare, %.3f s "
            "agent\n",
            i + 1, PAIRS, bare[0], agent[0], bare[1], agent[1]);
    return TRUE;
}

/* ---- all of it ---- */

static void
tell_ratio(BenchReport *report, const char *name, const char *peer, const BenchSamples *ratio,
           BenchSamples *const *sides)
{
    const BenchResult result = { .name = name,
                                 .unit = "ratio",
                                 .peer = peer,
                                 .value = bench_samples_median(ratio),
                                 .bound = 1.15,
                                 .samples = ratio,
                                 .ours = sides[SIDE_AGENT],
                                 .peers = sides[SIDE_BARE],
                                 .absolute_unit = "s" };

    bench_report_add(report, &result);
}

static void
tell(const Pods *self, BenchReport *report)
{
    BenchResult result = { .name = "launcher-pod-to-guard-median",
                           .unit = "ms",
                           .value = bench_samples_median(self->guard),
                           .bound = 20,
                           .samples = self->guard };

    bench_report_add(report, &result);
    result = (BenchResult){ .name = "launcher-hibernate-to-pod-gone",
                            .unit = "s",
                            .value = bench_samples_median(self->gone),
                            .bound = NAN,
                            .samples = self->gone };
    bench_report_add(report, &result);
    tell_ratio(report, "launcher-hibernate", "virsh managedsave in the pod", self->save_ratio,
               self->save);
    tell_ratio(report, "launcher-restore", "virsh start in the pod", self->start_ratio,
               self->start);
}

/* A launcher is not to end while nobody but us works in its pod. */
static gboolean
prepare(GError **error)
{
    static const LabVmOptions options = { .memory_mib = MEMORY_MIB };
    static const char *const env[] = { "WK_FAILPOINT=guard.sync-save-folder:*=sleep:" HOLD_MS,
                                       NULL };
    static const LabAgentOptions agent = { .env = env };
    g_autofree char *filled = NULL;

    if (!lab_standin_start(error) || !lab_standin_set("UndefineWaitMs", 600000, error)
        || !lab_vm_start(NAME, &options, error) || !lab_agent_kill(error)
        || !lab_kube_agent_start(&agent, error))
        return FALSE;
    filled = lab_guest_command(DOMAIN, FILL, FILL_MS, error);
    return filled != NULL;
}

gboolean
bench_launcher(BenchReport *report, GError **error)
{
    g_auto(Pods) self = { 0 };

    pods_init(&self);
    if (!bench_kube_agent(error) || !lab_standin_is_available() || !prepare(error))
        return FALSE;
    for (guint i = 0; i < PAIRS; i++) {
        if (!run_pair(&self, i, error))
            return FALSE;
    }
    tell(&self, report);
    return lab_guest_check_log(DOMAIN, error) && lab_vm_delete(NAME, error);
}
