/* SPDX-License-Identifier: Apache-2.0 */
#include "bench-kube.h"

#include "lab-kube.h"

#include <json-glib/json-glib.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define AGENTS     200
#define FLEET      LAB_DIR "/fleet"
#define IDLE_US    (60 * G_USEC_PER_SEC)
#define START_MS   180000
#define BOUND_S    60
#define APISERVER  "kube-apiserver"
#define TOKEN_PATH "/api/v1/namespaces/wukong-system/serviceaccounts/wukongd/token"

/*
 * 200 nodes and one API server: what an idle agent costs it, and how long all of them take to do
 * what was asked for right after its restart. Guests are libvirt's test driver's: what is measured
 * is the API server and the agents' way to it.
 */

static char *
node_of(guint i)
{
    return g_strdup_printf("fleet-%03u", i);
}

static gboolean
write_file(const char *text, GError **error, const char *format, guint i)
{
    g_autofree char *name = node_of(i);
    g_autofree char *path = g_strdup_printf("%s/%s%s", FLEET, name, format);

    return g_file_set_contents(path, text, -1, error);
}

static gboolean
make_token(LabRest *api, guint i, GError **error)
{
    g_autofree char *node = node_of(i);
    g_autofree char *object = g_strdup_printf(
        "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\"}}", node);
    g_autofree char *request =
        g_strdup_printf("{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\","
                        "\"spec\":{\"expirationSeconds\":3600,\"boundObjectRef\":{\"apiVersion\":"
                        "\"v1\",\"kind\":\"Node\",\"name\":\"%s\"}}}",
                        node);
    g_autoptr(JsonParser) parser = json_parser_new();
    const char *answer;
    JsonObject *status;

    if (lab_rest_send(api, "POST", "/api/v1/nodes", object, error) == NULL)
        return FALSE;
    answer = lab_rest_send(api, "POST", TOKEN_PATH, request, error);
    if (answer == NULL || !json_parser_load_from_data(parser, answer, -1, error))
        return FALSE;
    status =
        json_object_get_object_member(json_node_get_object(json_parser_get_root(parser)), "status");
    return write_file(json_object_get_string_member(status, "token"), error, ".token", i);
}

static gboolean
make_wukong(LabRest *api, guint i, GError **error)
{
    g_autofree char *node = node_of(i);
    g_autofree char *body =
        g_strdup_printf("{\"apiVersion\":\"vm.novasphere.dev/v1alpha1\",\"kind\":\"Wukong\","
                        "\"metadata\":{\"name\":\"%s\"},\"spec\":{\"cpu\":1,\"memory\":\"1Gi\","
                        "\"osImage\":\"x\"}}",
                        node);
    g_autofree char *status = g_strdup_printf("{\"status\":{\"nodeName\":\"%s\"}}", node);
    g_autofree char *path = g_strdup_printf(BENCH_WUKONGS "/%s/status", node);

    return lab_rest_send(api, "POST", BENCH_WUKONGS, body, error) != NULL
           && lab_rest_send(api, "PATCH", path, status, error) != NULL;
}

static gboolean
make_files(guint i, GError **error)
{
    g_autofree char *node = node_of(i);
    g_autofree char *guests =
        g_strdup_printf("<node><domain type='test'><name>default_%s-vm</name><memory>65536</memory>"
                        "<os><type>hvm</type></os></domain></node>",
                        node);
    g_autofree char *conf = g_strdup_printf("[source t]\nuri=test://" FLEET "/%s.xml\n", node);
    g_autofree char *kube = g_strdup_printf(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: \"" LAB_KUBE_SERVER "\", certificate-authority: "
        "\"" LAB_KUBE_DIR "/ca.crt\"}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "users: [{name: u, user: {tokenFile: \"" FLEET "/%s.token\"}}]\n",
        node);

    return write_file(guests, error, ".xml", i) && write_file(conf, error, ".conf", i)
           && write_file(kube, error, ".kube", i);
}

static gboolean
start_one(guint i, GError **error)
{
    g_autofree char *program = lab_build_path("wukongd");
    g_autofree char *node = node_of(i);
    g_autofree char *conf = g_strdup_printf(FLEET "/%s.conf", node);
    g_autofree char *kube = g_strdup_printf(FLEET "/%s.kube", node);
    g_autofree char *state = g_strdup_printf(FLEET "/%s.state", node);
    g_autofree char *control = g_strdup_printf(FLEET "/%s.sock", node);
    const char *const argv[] = { program, "--config",  conf,    "--kubeconfig", kube, "--state-dir",
                                 state,   "--control", control, "--node-name",  node, NULL };

    return lab_spawn(node, argv, NULL, error) >= 0;
}

static gboolean
start_fleet(LabRest *api, GError **error)
{
    if (g_mkdir_with_parents(FLEET, 0700) != 0)
        return FALSE;
    for (guint i = 0; i < AGENTS; i++) {
        if (!make_token(api, i, error) || !make_wukong(api, i, error) || !make_files(i, error)
            || !start_one(i, error))
            return FALSE;
    }
    return TRUE;
}

static void
stop_fleet(void)
{
    for (guint i = 0; i < AGENTS; i++) {
        g_autofree char *node = node_of(i);

        (void)lab_kill(node, SIGKILL, LAB_WAIT_MS, NULL, NULL);
    }
}

/* ---- what is seen ---- */

typedef struct {
    LabRest *api;
    const char *word;
} Count;

static gboolean
all_say(gpointer data)
{
    const Count *count = data;
    const char *list = lab_rest_send(count->api, "GET", BENCH_WUKONGS, NULL, NULL);
    guint found = 0;

    for (const char *at = list; at != NULL && (at = strstr(at, count->word)) != NULL; at++)
        found++;
    return found >= AGENTS;
}

static gboolean
wait_all(LabRest *api, const char *state, guint ms, GError **error)
{
    /* in the status, not in the annotation, where quotes are escaped */
    g_autofree char *word = g_strdup_printf("\"state\":\"%s\"", state);
    Count count = { .api = api, .word = word };

    return lab_wait(word, ms, all_say, &count, error);
}

/* User and system time of a process so far, in seconds. */
static double
cpu_s(const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)lab_pid(name));
    g_autofree char *text = NULL;
    g_auto(GStrv) fields = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return NAN;
    fields = g_strsplit(strrchr(text, ')') + 2, " ", -1);
    return (g_ascii_strtod(fields[11], NULL) + g_ascii_strtod(fields[12], NULL))
           / (double)sysconf(_SC_CLK_TCK);
}

static gboolean
suspend_all(LabRest *api, GError **error)
{
    for (guint i = 0; i < AGENTS; i++) {
        g_autofree char *node = node_of(i);
        g_autofree char *path = g_strdup_printf(BENCH_WUKONGS "/%s", node);

        if (lab_rest_send(api, "PATCH", path,
                          "{\"spec\":{\"lifecycleAction\":{\"action\":\"suspend\",\"target\":"
                          "\"memory\"}}}",
                          error)
            == NULL)
            return FALSE;
    }
    return TRUE;
}

static void
tell(BenchReport *report, const char *name, const char *unit, double value, double bound)
{
    const BenchResult result = { .name = name, .unit = unit, .value = value, .bound = bound };

    bench_report_add(report, &result);
}

static gboolean
measure_idle(BenchReport *report, LabRest *api, GError **error)
{
    double before;

    if (!wait_all(api, "Running", START_MS, error))
        return FALSE;
    bench_calm(); /* what the start has stirred up settles */
    before = cpu_s(APISERVER);
    g_usleep(IDLE_US);
    tell(report, "fleet-apiserver-cpu-per-idle-agent", "ms/min",
         (cpu_s(APISERVER) - before) * 1000 / AGENTS, NAN);
    return TRUE;
}

static gboolean
measure_storm(BenchReport *report, LabRest *api, GError **error)
{
    gint64 began;

    if (!lab_kube_server_kill(error) || !lab_kube_server_start(error))
        return FALSE;
    began = g_get_monotonic_time();
    if (!suspend_all(api, error) || !wait_all(api, "Suspended", START_MS, error))
        return FALSE;
    tell(report, "fleet-converged-after-restart", "s",
         (double)(g_get_monotonic_time() - began) / G_USEC_PER_SEC, BOUND_S);
    tell(report, "fleet-apiserver-cpu-after-restart", "s", cpu_s(APISERVER), NAN);
    return TRUE;
}

gboolean
bench_fleet(BenchReport *report, GError **error)
{
    g_autoptr(LabRest) api = lab_api_new();
    gboolean ok;

    if (!bench_kube_agent(error) || !lab_agent_kill(error))
        return FALSE;
    ok = start_fleet(api, error) && measure_idle(report, api, error)
         && measure_storm(report, api, error);
    stop_fleet();
    return ok && bench_kube_agent(error);
}
