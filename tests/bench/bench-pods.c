/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node with a hundred launcher pods at rest: private memory of the agent, its descriptors, and
 * that no helper process runs. The pods' folders, mounts, sockets and listening processes are real,
 * their VMs and VMIs are objects of the real API server; only libvirt and QEMU are not there, whom
 * nobody asks about a guest at rest.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bench-kube.h"

#include "lab-pod.h"

#include <math.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PODS     100
#define KUBEVIRT "/apis/kubevirt.io/v1/namespaces/default/"
#define USER     107

static pid_t launchers[PODS];

/* ---- a pod ---- */

/* Returns: (transfer full). */
static char *
pod_uid(guint i)
{
    return g_strdup_printf("6f9e9b7c-3c52-4b7e-9a34-0d1f%08u", i);
}

/* As a container sees its emptyDirs. */
static gboolean
enter_pod(const char *uid)
{
    static const char *const dirs[] = { "private", "sockets", "libvirt-runtime" };

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return FALSE;
    for (gsize i = 0; i < G_N_ELEMENTS(dirs); i++) {
        g_autofree char *from = lab_pod_volume(uid, dirs[i]);
        g_autofree char *to = g_build_filename("/run/bench-pod", dirs[i], NULL);

        if (g_mkdir_with_parents(from, 0755) < 0 || chmod(from, 0777) < 0
            || g_mkdir_with_parents(to, 0755) < 0 || mount(from, to, NULL, MS_BIND, NULL) < 0)
            return FALSE;
    }
    return TRUE;
}

static gboolean
listen_as_launcher(void)
{
    static const struct sockaddr_un address = { .sun_family = AF_UNIX,
                                                .sun_path = "launcher-sock" };
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return setresgid(USER, USER, USER) == 0 && setresuid(USER, USER, USER) == 0
           && chdir("/run/bench-pod/sockets") == 0 && fd >= 0
           && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0
           && listen(fd, 8) == 0;
}

/* The child: no report but that its socket is there. */
static void
be_launcher(const char *uid)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (enter_pod(uid) && listen_as_launcher())
        (void)pause();
    _exit(1);
}

static gboolean
start_launcher(guint i, GError **error)
{
    g_autofree char *uid = pod_uid(i);

    launchers[i] = fork();
    if (launchers[i] == 0)
        be_launcher(uid);
    if (launchers[i] > 0)
        return TRUE;
    g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, "fork");
    return FALSE;
}

static void
end_launchers(void)
{
    for (guint i = 0; i < PODS; i++) {
        if (launchers[i] <= 0)
            continue;
        (void)kill(launchers[i], SIGKILL);
        (void)waitpid(launchers[i], NULL, 0);
        launchers[i] = 0;
    }
}

/* ---- its objects ---- */

/* Returns: (transfer full): metadata.uid of an answer. */
static char *
uid_of(const char *answer)
{
    const char *at = answer != NULL ? strstr(answer, "\"uid\":\"") : NULL;

    return at != NULL ? g_strndup(at + strlen("\"uid\":\""), 36) : NULL;
}

static gboolean
make_objects(LabRest *api, guint i, GError **error)
{
    g_autofree char *pod = pod_uid(i);
    g_autofree char *vm = g_strdup_printf(
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{\"name\":"
        "\"p%u-vm\"},\"spec\":{\"running\":true,\"template\":{\"spec\":{\"domain\":{\"devices\":{}}"
        "}}}}",
        i);
    g_autofree char *uid =
        uid_of(lab_rest_send(api, "POST", KUBEVIRT "virtualmachines", vm, error));
    g_autofree char *vmi = g_strdup_printf(
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{"
        "\"name\":\"p%u-vm\",\"labels\":{\"kubevirt.io/nodeName\":\"" LAB_NODE_NAME "\"},"
        "\"ownerReferences\":[{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\","
        "\"name\":\"p%u-vm\",\"uid\":\"%s\",\"controller\":true}]},\"spec\":{\"domain\":{"
        "\"devices\":{},\"memory\":{\"guest\":\"4Gi\"}}},\"status\":{\"phase\":\"Running\","
        "\"nodeName\":\"" LAB_NODE_NAME
        "\",\"runtimeUser\":107,\"activePods\":{\"%s\":\"" LAB_NODE_NAME "\"}}}",
        i, i, uid, pod);

    return uid != NULL
           && lab_rest_send(api, "POST", KUBEVIRT "virtualmachineinstances", vmi, error) != NULL;
}

static gboolean
make_pods(GError **error)
{
    g_autoptr(LabRest) api = lab_api_new();

    for (guint i = 0; i < PODS; i++) {
        if (!make_objects(api, i, error) || !start_launcher(i, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- the agent ---- */

static gboolean
knows_all(gpointer data)
{
    const char *guests = lab_rest_send(data, "GET", "/v1/guests", NULL, NULL);
    guint n = 0;

    for (const char *at = guests; at != NULL && (at = strstr(at, "\"Running\"")) != NULL; at++)
        n++;
    return n >= PODS;
}

static void
tell(BenchReport *report, const char *name, const char *unit, double value, double bound)
{
    const BenchResult result = { .name = name, .unit = unit, .value = value, .bound = bound };

    bench_report_add(report, &result);
}

static gboolean
measure(BenchReport *report, GError **error)
{
    g_autoptr(LabRest) http = lab_rest_new_control();

    if (!lab_agent_kill(error) || !lab_kube_agent_start(NULL, error)
        || !lab_wait("all guests in pods", LAB_POD_MS, knows_all, http, error))
        return FALSE;
    bench_calm();
    tell(report, "launcher-100-pods-rss-anon", "MiB", lab_rss_anon_kib("wukongd") / 1024, 12);
    tell(report, "launcher-100-pods-helpers", "",
         lab_find_process("--launcher-helper") != 0 ? 1 : 0, 0);
    tell(report, "launcher-100-pods-fds", "fds", lab_count_of("wukongd", "fd"), NAN);
    return TRUE;
}

gboolean
bench_pods(BenchReport *report, GError **error)
{
    gboolean ok;

    /* its CRDs; nothing is to start these VMs */
    if (!bench_kube_agent(error) || !lab_standin_is_available() || !lab_standin_start(error)
        || !lab_standin_cluster_kill(error) || !lab_standin_node_kill(error))
        return FALSE;
    ok = make_pods(error) && measure(report, error);
    end_launchers();
    return ok;
}
