/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/config_private.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/names.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS      30000
#define ANSWER_MAX_BYTES (1024 * 1024)
#define LEEWAY_US        (10 * G_USEC_PER_SEC) /* an answer is renewed so long before it expires */
#define COMPLAINT_MAX    500                   /* characters of its stderr that are shown */

static const char *const versions[] = { "client.authentication.k8s.io/v1",
                                        "client.authentication.k8s.io/v1beta1", NULL };

/* ---- its description in the kubeconfig ---- */

static gboolean
check_modes(JsonObject *object, const char *version, GError **error)
{
    const char *mode = NULL;

    if (!wk_json_opt_string(object, "interactiveMode", &mode, error))
        return FALSE;
    if (version == NULL || !g_strv_contains(versions, version)) {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                     "exec.apiVersion is '%s'; %s and %s are known",
                     version != NULL ? version : "(none)", versions[0], versions[1]);
        return FALSE;
    }
    if (g_strcmp0(mode, "Always") == 0) {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                     "exec.interactiveMode is Always, but a daemon has no terminal");
        return FALSE;
    }
    return TRUE;
}

/* A command with a slash is relative to the kubeconfig, else it is looked up in PATH. */
static gboolean
read_command(WkKubeExec *self, JsonObject *object, const char *folder, GError **error)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    JsonArray *args = wk_json_get_array(object, "args");
    const char *command = NULL;

    if (!wk_json_need_string(object, "command", &command, error))
        return FALSE;
    g_ptr_array_add(argv, strchr(command, '/') != NULL && !g_path_is_absolute(command)
                              ? g_build_filename(folder, command, NULL)
                              : g_strdup(command));
    for (guint i = 0; args != NULL && i < json_array_get_length(args); i++) {
        JsonNode *node = json_array_get_element(args, i);

        if (!JSON_NODE_HOLDS_VALUE(node)) {
            wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig", "exec.args is no list of texts");
            return FALSE;
        }
        g_ptr_array_add(argv, json_node_dup_string(node));
    }
    g_ptr_array_add(argv, NULL);
    self->argv = (char **)g_ptr_array_free(g_steal_pointer(&argv), FALSE);
    return TRUE;
}

static gboolean
read_env(WkKubeExec *self, JsonObject *object, GError **error)
{
    g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);
    JsonArray *list = wk_json_get_array(object, "env");

    for (guint i = 0; list != NULL && i < json_array_get_length(list); i++) {
        JsonNode *node = json_array_get_element(list, i);
        JsonObject *item = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
        const char *name = item != NULL ? wk_json_get_string(item, "name") : NULL;
        const char *value = item != NULL ? wk_json_get_string(item, "value") : NULL;

        if (name == NULL || *name == '\0' || strchr(name, '=') != NULL) {
            wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                         "exec.env: an item without a name");
            return FALSE;
        }
        g_ptr_array_add(env, g_strdup_printf("%s=%s", name, value != NULL ? value : ""));
    }
    g_ptr_array_add(env, NULL);
    self->env = (char **)g_ptr_array_free(g_steal_pointer(&env), FALSE);
    return TRUE;
}

WkKubeExec *
wk_kube_exec_parse(JsonObject *object, const char *folder, GError **error)
{
    WkKubeExec *self = g_new0(WkKubeExec, 1);
    const char *version = wk_json_get_string(object, "apiVersion");

    if (!check_modes(object, version, error) || !read_command(self, object, folder, error)
        || !read_env(self, object, error)) {
        wk_kube_exec_free(self);
        return NULL;
    }
    self->patience_ms = PATIENCE_MS;
    self->api_version = g_strdup(version);
    self->install_hint = g_strdup(wk_json_get_string(object, "installHint"));
    self->cluster_info = g_strcmp0(wk_json_get_string(object, "provideClusterInfo"), "true") == 0;
    return self;
}

void
wk_kube_exec_free(WkKubeExec *self)
{
    if (self == NULL)
        return;
    g_strfreev(self->argv);
    g_strfreev(self->env);
    g_free(self->api_version);
    g_free(self->install_hint);
    g_free(self);
}

gboolean
wk_kube_exec_is_fresh(const WkKubeExec *self)
{
    return self->answered
           && (self->expires_at_us == 0 || wk_clock_real_us() < self->expires_at_us - LEEWAY_US);
}

/* ---- running it ---- */

typedef struct {
    WkKubeConfig *config;
    GSubprocess *process;
    GCancellable *give_up; /* of reading: a child of its own may hold the pipes open */
    guint timeout;
    gboolean timed_out;
} Run;

static void
run_free(gpointer data)
{
    Run *run = data;

    if (run->timeout != 0)
        g_source_remove(run->timeout);
    g_clear_object(&run->process);
    g_clear_object(&run->give_up);
    wk_kube_config_unref(run->config);
    g_free(run);
}

/* So that its children end with it. */
static void
lead_group(gpointer data G_GNUC_UNUSED)
{
    (void)setpgid(0, 0);
}

static gboolean
on_timeout(gpointer data)
{
    Run *run = data;
    const char *pid = g_subprocess_get_identifier(run->process); /* NULL: it has ended */

    run->timeout = 0;
    run->timed_out = TRUE;
    if (pid != NULL)
        (void)kill(-(pid_t)g_ascii_strtoll(pid, NULL, 10), SIGKILL);
    g_cancellable_cancel(run->give_up);
    return G_SOURCE_REMOVE;
}

static JsonObject *
cluster_info(const WkKubeConfig *config)
{
    JsonObject *cluster = json_object_new();
    const WkKubePlace *place = &config->place;

    wk_json_set_string(cluster, "server", place->server);
    wk_json_set_string(cluster, "tls-server-name", place->tls_server_name);
    wk_json_set_string(cluster, "proxy-url", place->proxy_url);
    if (place->insecure_skip_tls_verify)
        json_object_set_boolean_member(cluster, "insecure-skip-tls-verify", TRUE);
    if (config->ca.bytes != NULL) {
        gsize size;
        const guchar *data = g_bytes_get_data(config->ca.bytes, &size);
        g_autofree char *text = g_base64_encode(data, size);

        wk_json_set_string(cluster, "certificate-authority-data", text);
    }
    return cluster;
}

/* KUBERNETES_EXEC_INFO, as the plugin expects it. */
static char *
exec_info(const WkKubeConfig *config)
{
    g_autoptr(JsonObject) info = json_object_new();
    JsonObject *spec = json_object_new();

    wk_json_set_string(info, "apiVersion", config->exec->api_version);
    wk_json_set_string(info, "kind", "ExecCredential");
    json_object_set_boolean_member(spec, "interactive", FALSE);
    if (config->exec->cluster_info)
        json_object_set_object_member(spec, "cluster", cluster_info(config));
    json_object_set_object_member(info, "spec", spec);
    return wk_json_to_text(info);
}

static JsonObject *
read_answer(const WkKubeExec *exec, const char *text, gsize length, GError **error)
{
    g_autoptr(JsonObject) answer = wk_json_parse(text, (gssize)length, ANSWER_MAX_BYTES, error);
    JsonObject *status;

    if (answer == NULL)
        return NULL;
    status = wk_json_get_object(answer, "status");
    if (g_strcmp0(wk_json_get_string(answer, "kind"), "ExecCredential") == 0
        && g_strcmp0(wk_json_get_string(answer, "apiVersion"), exec->api_version) == 0
        && status != NULL)
        return json_object_ref(status);
    wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                 "its answer is no ExecCredential of %s with a status", exec->api_version);
    return NULL;
}

/* What it said on stderr, printable; how it ended where it said nothing. */
static void
set_failure(Run *run, GBytes *complaint, GError **error)
{
    gsize length = 0;
    const char *said = g_bytes_get_data(complaint, &length);
    g_autofree char *text = g_strndup(said != NULL ? said : "", MIN(length, COMPLAINT_MAX));
    g_autofree char *shown = wk_name_printable(g_strstrip(text));
    const gboolean exited = g_subprocess_get_if_exited(run->process);

    wk_error_set(error, WK_ERROR_UNAVAILABLE, "PluginFailed", "it failed (%s %d)%s%s",
                 exited ? "status" : "signal",
                 exited ? g_subprocess_get_exit_status(run->process)
                        : g_subprocess_get_term_sig(run->process),
                 *shown != '\0' ? ": " : "", shown);
}

static JsonObject *
take_output(Run *run, GAsyncResult *result, GError **error)
{
    const WkKubeExec *exec = run->config->exec;
    g_autoptr(GBytes) out = NULL;
    g_autoptr(GBytes) complaint = NULL;
    g_autoptr(GError) local = NULL;
    const gboolean ended =
        g_subprocess_communicate_finish(run->process, result, &out, &complaint, &local);
    gsize length = 0;

    if (run->timed_out) {
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "PluginTimeout", "it did not end in %.3g s",
                     exec->patience_ms / 1000.0);
        return NULL;
    }
    if (!ended) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    if (!g_subprocess_get_successful(run->process)) {
        set_failure(run, complaint, error);
        return NULL;
    }
    return read_answer(exec, g_bytes_get_data(out, &length), g_bytes_get_size(out), error);
}

static void
on_communicated(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    Run *run = g_task_get_task_data(task);
    GError *error = NULL;
    JsonObject *status = take_output(run, result, &error);

    if (status != NULL) {
        g_task_return_pointer(task, status, (GDestroyNotify)json_object_unref);
        return;
    }
    g_prefix_error(&error, "credential plugin '%s': ", run->config->exec->argv[0]);
    g_task_return_error(task, error);
}

static GSubprocess *
spawn(const WkKubeConfig *config, GError **error)
{
    const WkKubeExec *exec = config->exec;
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_autofree char *info = exec_info(config);
    GSubprocess *process;

    g_subprocess_launcher_set_child_setup(launcher, lead_group, NULL, NULL);
    for (gsize i = 0; exec->env[i] != NULL; i++) {
        g_auto(GStrv) pair = g_strsplit(exec->env[i], "=", 2);

        g_subprocess_launcher_setenv(launcher, pair[0], pair[1], TRUE);
    }
    g_subprocess_launcher_setenv(launcher, "KUBERNETES_EXEC_INFO", info, TRUE);
    process = g_subprocess_launcher_spawnv(launcher, (const char *const *)exec->argv, error);
    if (process == NULL)
        g_prefix_error(error, "credential plugin '%s'%s%s: ", exec->argv[0],
                       exec->install_hint != NULL ? ": " : "",
                       exec->install_hint != NULL ? exec->install_hint : "");
    return process;
}

void
wk_kube_exec_run(WkKubeConfig *config, GCancellable *cancellable, GAsyncReadyCallback callback,
                 gpointer user_data)
{
    GTask *task = g_task_new(NULL, cancellable, callback, user_data);
    Run *run = g_new0(Run, 1);
    GError *error = NULL;

    run->config = wk_kube_config_ref(config);
    g_task_set_task_data(task, run, run_free);
    run->process = spawn(config, &error);
    if (run->process == NULL) {
        g_task_return_error(task, error);
        g_object_unref(task);
        return;
    }
    run->timeout = g_timeout_add(config->exec->patience_ms, on_timeout, run);
    run->give_up = g_cancellable_new();
    g_subprocess_communicate_async(run->process, NULL, run->give_up, on_communicated, task);
}

JsonObject *
wk_kube_exec_run_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}
