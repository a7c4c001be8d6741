/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wukongd: the node agent. main() reads options and configuration, starts the agent on the default
 * main loop, and ends it on SIGTERM or SIGINT. All state lives in the main thread; workers only
 * make blocking calls for it (worker/drive.h). What it starts as its own helper (virt/helper.h) is
 * another program in all but name: nothing of the daemon is initialised there.
 */
#include "config.h"

#include "agent/agent.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "virt/helper_main.h"

#include <glib-unix.h>
#include <locale.h>
#include <malloc.h>
#include <systemd/sd-daemon.h>
#include <sys/stat.h>

#define EXIT_USAGE 2

typedef struct {
    char *config;
    char *state_dir;
    char *control;
    char *kubeconfig;
    char *node_name;
    char *log_level;
    gboolean no_kube;
    gboolean check_config;
    gboolean list_failpoints;
    gboolean version;
} Options;

typedef struct {
    GMainLoop *loop;
    WkAgent *agent;
    const Options *options;
} Daemon;

static void
options_clear(Options *options)
{
    g_free(options->config);
    g_free(options->state_dir);
    g_free(options->control);
    g_free(options->kubeconfig);
    g_free(options->node_name);
    g_free(options->log_level);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static gboolean
parse_options(int *argc, char ***argv, Options *options, GError **error)
{
    const GOptionEntry entries[] = {
        { "config", 'c', 0, G_OPTION_ARG_FILENAME, &options->config, "Configuration file", "FILE" },
        { "state-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->state_dir, "Ledger and vault",
          "DIR" },
        { "control", 0, 0, G_OPTION_ARG_FILENAME, &options->control, "Control socket", "PATH" },
        { "no-kube", 0, 0, G_OPTION_ARG_NONE, &options->no_kube, "Do not talk to Kubernetes",
          NULL },
        { "kubeconfig", 0, 0, G_OPTION_ARG_FILENAME, &options->kubeconfig, "kubeconfig", "FILE" },
        { "node-name", 0, 0, G_OPTION_ARG_STRING, &options->node_name, "This node's name", "NAME" },
        { "log-level", 0, 0, G_OPTION_ARG_STRING, &options->log_level,
          "error, warning, info or debug", "LEVEL" },
        { "check-config", 0, 0, G_OPTION_ARG_NONE, &options->check_config,
          "Check the configuration and exit", NULL },
        { "list-failpoints", 0, 0, G_OPTION_ARG_NONE, &options->list_failpoints,
          "List the steps that WK_FAILPOINT knows", NULL },
        { "version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version", NULL },
        G_OPTION_ENTRY_NULL,
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- suspend and resume of guests");

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, error))
        return FALSE;
    if (*argc <= 1)
        return TRUE;
    wk_error_set(error, WK_ERROR_INVALID, NULL, "unexpected argument '%s'", (*argv)[1]);
    return FALSE;
}

static void
list_failpoints(void)
{
    for (int step = 0; step < WK_STEP_COUNT; step++)
        g_print("%s\n", wk_step_name((WkStep)step));
}

static WkConfig *
load_config(const Options *options, GError **error)
{
    const char *state_dir =
        options->state_dir != NULL ? options->state_dir : WK_LOCALSTATEDIR "/lib/wukong";
    g_autoptr(WkConfig) config = wk_config_load(options->config, state_dir, error);

    if (config == NULL)
        return NULL;
    if (options->node_name != NULL) {
        g_free(config->node_name);
        config->node_name = g_strdup(options->node_name);
    }
    if (options->kubeconfig != NULL) {
        g_free(config->kubeconfig);
        config->kubeconfig = g_strdup(options->kubeconfig);
    }
    if (options->no_kube) {
        g_free(config->kube_enabled);
        config->kube_enabled = g_strdup("false");
    }
    return g_steal_pointer(&config);
}

static void
on_stopped(gpointer data)
{
    Daemon *self = data;

    g_main_loop_quit(self->loop);
}

static gboolean
on_terminate(gpointer data)
{
    Daemon *self = data;

    wk_log(WK_LOG_INFO, NULL, "going down; what libvirt is at goes on and is taken up again");
    wk_agent_stop(self->agent, on_stopped, self);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_reload(gpointer data)
{
    Daemon *self = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(WkConfig) config = load_config(self->options, &error);

    if (config == NULL) {
        wk_log(WK_LOG_ERROR, NULL, "configuration not reloaded: %s", error->message);
        return G_SOURCE_CONTINUE;
    }
    wk_agent_reconfigure(self->agent, config);
    wk_log(WK_LOG_INFO, NULL, "configuration reloaded");
    return G_SOURCE_CONTINUE;
}

static gboolean
run(const Options *options, WkConfig *config, GError **error)
{
    const WkAgentOptions agent_options = {
        .state_dir =
            options->state_dir != NULL ? options->state_dir : WK_LOCALSTATEDIR "/lib/wukong",
        .control_path = options->control != NULL ? options->control : "/run/wukong/control.sock",
    };
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autoptr(WkAgent) agent = wk_agent_new(&agent_options, config, error);
    Daemon self = { .loop = loop, .agent = agent, .options = options };

    if (agent == NULL)
        return FALSE;
    g_unix_signal_add(SIGTERM, on_terminate, &self);
    g_unix_signal_add(SIGINT, on_terminate, &self);
    g_unix_signal_add(SIGHUP, on_reload, &self);
    g_main_loop_run(loop);
    return TRUE;
}

static int
complain(const GError *error, int status)
{
    wk_log(WK_LOG_ERROR, NULL, "%s", error->message);
    return status;
}

int
main(int argc, char **argv)
{
    g_auto(Options) options = { 0 };
    g_autoptr(GError) error = NULL;
    g_autoptr(WkConfig) config = NULL;
    WkLogLevel level = WK_LOG_INFO;

    if (wk_helper_is_asked_for(argc, argv))
        return wk_helper_main(argc, argv);
    /* Workers come and go; an arena for each of them would keep what they freed for good. */
    (void)mallopt(M_ARENA_MAX, 2);
    setlocale(LC_ALL, "");
    umask(0077);
    wk_log_init(level);
    if (!parse_options(&argc, &argv, &options, &error)
        || (options.log_level != NULL && !wk_log_parse_level(options.log_level, &level, &error)))
        return complain(error, EXIT_USAGE);
    wk_log_set_level(level);
    if (options.version) {
        g_print("wukongd %s\n", PACKAGE_VERSION);
        return EXIT_SUCCESS;
    }
    if (options.list_failpoints) {
        list_failpoints();
        return EXIT_SUCCESS;
    }
    config = load_config(&options, &error);
    if (config == NULL)
        return complain(error, EXIT_FAILURE);
    if (options.check_config)
        return wk_agent_check(config, &error) ? EXIT_SUCCESS : complain(error, EXIT_FAILURE);
    if (!wk_failpoint_init(g_getenv("WK_FAILPOINT"), g_getenv("WK_RULE_OFF"), &error)
        || !run(&options, g_steal_pointer(&config), &error))
        return complain(error, EXIT_FAILURE);
    return EXIT_SUCCESS;
}
