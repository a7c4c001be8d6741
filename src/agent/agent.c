/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/agent.h"

#include "agent/api.h"
#include "agent/engine.h"
#include "agent/kubernetes.h"
#include "agent/metrics.h"
#include "agent/pods.h"
#include "agent/retention.h"
#include "agent/wukongs.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "control/server.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <systemd/sd-daemon.h>

#define CONTROL_GROUP      "wukong"
#define STOP_POLL_MS       20
#define STOP_PATIENCE_S    3
#define REPORT_PATIENCE_MS 1000
#define QUICK_CALLS        8

struct _WkAgent {
    WkConfig *config;
    char *boot_id;
    WkLedger *ledger;
    WkVault *vault; /* NULL: none, @no_vault says why */
    char *no_vault;
    GPtrArray *sources;  /* (element-type WkSource) */
    GPtrArray *monitors; /* (element-type GFileMonitor): for libvirt's socket to appear */
    WkEngine *engine;
    WkMetrics *metrics;
    WkRetention *retention;
    WkApi api; /* what the control server asks of */
    WkControl *control;
    WkWukongs *wukongs;      /* NULL: without Kubernetes */
    WkSource *launchers;     /* of launcher pods, also in @sources; NULL: none here */
    WkPodGuests *pod_guests; /* NULL: none here */
    gboolean said_ready;

    GSource *stop_timer;
    gint64 stop_by_us;
    gboolean reported; /* the last reports are out, or given up */
    void (*stopped)(gpointer data);
    gpointer stopped_data;
};

/* ---- news from the engine ---- */

static void
say_ready(WkAgent *self)
{
    g_autofree char *why = NULL;

    if (self->said_ready || self->control == NULL)
        return;
    why = wk_api_not_ready(&self->api);
    if (why != NULL)
        return;
    self->said_ready = TRUE;
    wk_wukongs_set_ready(self->wukongs);
    wk_retention_set_ready(self->retention);
    (void)sd_notify(0, "READY=1\nSTATUS=ready");
    wk_log(WK_LOG_INFO, NULL, "ready: %u guest(s) on %u source(s)", wk_engine_count(self->engine),
           self->sources->len);
}

static void
on_guest_changed(const WkView *view, gpointer data)
{
    WkAgent *self = data;

    if (self->control != NULL)
        wk_control_guest_changed(self->control, view);
    wk_metrics_note_guest(self->metrics, view);
    wk_wukongs_guest_changed(self->wukongs, view);
    wk_pod_guests_note_state(self->pod_guests, view->id);
    say_ready(self);
}

static void
on_guest_gone(const char *uuid, gpointer data)
{
    WkAgent *self = data;

    if (self->control != NULL)
        wk_control_guest_gone(self->control, uuid);
    wk_wukongs_guest_gone(self->wukongs, uuid);
}

static void
on_operation_changed(const WkOperation *operation, gpointer data)
{
    WkAgent *self = data;

    wk_metrics_note(self->metrics, operation);
    if (self->control != NULL)
        wk_control_operation_changed(self->control, operation);
    wk_wukongs_operation_changed(self->wukongs, operation);
}

static void
on_settled(gpointer data)
{
    say_ready(data);
}

static void
on_equip(WkGuest *guest, WkJob *job, gboolean working, gpointer data)
{
    WkAgent *self = data;

    wk_pod_guests_equip(self->pod_guests, guest, job, working);
}

static const WkEngineListener engine_listener = { .guest_changed = on_guest_changed,
                                                  .guest_gone = on_guest_gone,
                                                  .operation_changed = on_operation_changed,
                                                  .settled = on_settled,
                                                  .equip = on_equip };

/* ---- news from the sources ---- */

/* A hold is a hard link: whether one can be made is tried, not worked out (F19). */
static void
try_vault(WkAgent *self, WkSource *source)
{
    const char *folder =
        wk_source_is_launcher(source) ? self->config->kubelet_dir : wk_source_get_save_dir(source);
    g_autoptr(GError) error = NULL;

    if (self->vault == NULL || folder == NULL)
        return;
    if (wk_vault_try_link(self->vault, folder, &error)) {
        wk_engine_set_cannot_save(self->engine, source, NULL);
        return;
    }
    wk_log(WK_LOG_WARNING, NULL, "guests of source '%s' can't be suspended to disk: %s",
           wk_source_get_name(source), error->message);
    wk_engine_set_cannot_save(self->engine, source, error->message);
}

static void
on_source_up(WkSource *source, gpointer data)
{
    WkAgent *self = data;

    wk_log(WK_LOG_INFO, NULL, "source '%s' is up (%s)", wk_source_get_name(source),
           wk_source_get_uri(source));
    try_vault(self, source);
    wk_engine_source_up(self->engine, source);
}

static void
on_source_down(WkSource *source, const char *why, gpointer data)
{
    WkAgent *self = data;

    wk_engine_source_down(self->engine, source, why);
    say_ready(self);
}

static void
on_source_changed(WkSource *source, const char *uuid, gpointer data)
{
    WkAgent *self = data;

    wk_engine_guest_touched(self->engine, source, uuid);
}

static const WkSourceListener source_listener = { .up = on_source_up,
                                                  .down = on_source_down,
                                                  .changed = on_source_changed };

/* ---- start ---- */

/* A damaged ledger is kept for whoever can read it; the images are held from now on (row N2). */
static gboolean
put_aside(const char *path, GError **error)
{
    static const char *const suffixes[] = { "", "-wal", "-shm" };
    const gint64 now_s = wk_clock_real_us() / G_USEC_PER_SEC;

    for (gsize i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *from = g_strconcat(path, suffixes[i], NULL);
        g_autofree char *to =
            g_strdup_printf("%s.corrupt-%" G_GINT64_FORMAT "%s", path, now_s, suffixes[i]);

        if (g_rename(from, to) == 0 || errno == ENOENT)
            continue;
        wk_error_set_errno(error, errno, "putting the damaged ledger '%s' aside", from);
        return FALSE;
    }
    wk_log(WK_LOG_ERROR, NULL,
           "the damaged ledger was put aside as '%s.corrupt-%" G_GINT64_FORMAT
           "' and a new one begun; saved images are held until they are discarded",
           path, now_s);
    return TRUE;
}

static gboolean
open_ledger(WkAgent *self, const char *state_dir, GError **error)
{
    g_autofree char *path = g_build_filename(state_dir, "ledger.db", NULL);
    g_autoptr(GError) local = NULL;

    if (!wk_files_make_folder(state_dir, error))
        return FALSE;
    self->ledger = wk_ledger_open(path, &local);
    if (self->ledger == NULL && g_strcmp0(wk_error_get_reason(local), "LedgerCorrupt") == 0) {
        wk_log(WK_LOG_ERROR, NULL, "%s", local->message);
        g_clear_error(&local);
        if (!put_aside(path, error))
            return FALSE;
        self->ledger = wk_ledger_open(path, &local);
    }
    if (self->ledger == NULL)
        g_propagate_error(error, g_steal_pointer(&local));
    return self->ledger != NULL;
}

static guint
parallel(guint64 configured)
{
    if (configured > 0)
        return (guint)configured;
    return CLAMP(g_get_num_processors() * 2, 2, 8);
}

static WkEngineOptions
engine_options(const WkConfig *config)
{
    return (WkEngineOptions){ .default_target = wk_config_default_target(config),
                              .parallel_saves = parallel(config->parallel_saves),
                              .parallel_restores = parallel(config->parallel_restores),
                              .reserve_percent = (guint)config->reserve_percent };
}

static gboolean
holds_images(WkAgent *self, gboolean *holds, GError **error)
{
    g_autoptr(GPtrArray) records = wk_ledger_list(self->ledger, error);

    *holds = FALSE;
    for (guint i = 0; records != NULL && i < records->len; i++) {
        const WkRecord *record = g_ptr_array_index(records, i);

        *holds = *holds || record->state != WK_LEDGER_NONE;
    }
    return records != NULL;
}

/* Without a vault the agent still suspends to memory, and says why not to disk; but while images
 * are held, a vault that is away (not mounted yet) must not look like images that are lost. */
static gboolean
open_vault(WkAgent *self, GError **error)
{
    g_autoptr(GError) local = NULL;
    gboolean holds;

    self->vault = wk_vault_open(self->config->vault_dir, FALSE, &local);
    if (self->vault != NULL)
        return wk_ledger_adopt_vault(self->ledger, self->vault, error);
    if (!holds_images(self, &holds, error))
        return FALSE;
    if (holds) {
        g_propagate_prefixed_error(error, g_steal_pointer(&local), "images are held, but ");
        return FALSE;
    }
    wk_log(WK_LOG_WARNING, NULL, "guests can't be suspended to disk: %s", local->message);
    self->no_vault = g_strdup(local->message);
    return TRUE;
}

static void
make_engine(WkAgent *self)
{
    WkEngineOptions options = engine_options(self->config);

    options.ledger = self->ledger;
    options.vault = self->vault;
    options.cannot_save = self->no_vault;
    options.boot_id = self->boot_id;
    self->engine = wk_engine_new(&options, &engine_listener, self);
}

static void
make_retention(WkAgent *self)
{
    const WkRetentionOptions options = { .engine = self->engine,
                                         .ledger = self->ledger,
                                         .orphan_ms = self->config->retention_orphan_ms,
                                         .history_ms = self->config->retention_history_ms };

    self->retention = wk_retention_new(&options);
}

static guint
long_calls(const WkConfig *config)
{
    return MIN(parallel(config->parallel_saves) + parallel(config->parallel_restores) + 8, 64);
}

static gboolean
add_source(WkAgent *self, const char *name, const char *uri, const char *save_dir, GError **error)
{
    const WkConfig *config = self->config;
    const WkSourceOptions options = { .name = name,
                                      .uri = uri,
                                      .save_dir = save_dir,
                                      .long_calls = long_calls(config),
                                      .quick_calls = QUICK_CALLS };
    WkSource *source = wk_source_new(&options, &source_listener, self);

    g_ptr_array_add(self->sources, source);
    return wk_engine_add_source(self->engine, source, error);
}

static const char *const default_sockets[] = { "/run/libvirt/libvirt-sock",
                                               "/run/libvirt/virtqemud-sock" };

static gboolean
default_libvirt_is_there(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(default_sockets); i++) {
        if (g_file_test(default_sockets[i], G_FILE_TEST_EXISTS))
            return TRUE;
    }
    return FALSE;
}

static gboolean
add_default_source(WkAgent *self, GError **error)
{
    return add_source(self, "host", "qemu:///system", "auto", error);
}

/* libvirt came after us, or was installed while we run. */
static void
on_default_socket(GFileMonitor *monitor G_GNUC_UNUSED, GFile *file G_GNUC_UNUSED,
                  GFile *other G_GNUC_UNUSED, GFileMonitorEvent event G_GNUC_UNUSED, gpointer data)
{
    WkAgent *self = data;
    g_autoptr(GError) error = NULL;

    if (self->sources->len > 0 || !default_libvirt_is_there())
        return;
    if (add_default_source(self, &error))
        wk_source_start(g_ptr_array_index(self->sources, 0));
    else
        wk_log(WK_LOG_ERROR, NULL, "adding libvirt's QEMU driver: %s", error->message);
}

static void
wait_for_default_libvirt(WkAgent *self)
{
    wk_log(WK_LOG_WARNING, NULL,
           "no [source] is configured and libvirt's socket is not there: waiting for it");
    for (gsize i = 0; i < G_N_ELEMENTS(default_sockets); i++) {
        g_autoptr(GFile) file = g_file_new_for_path(default_sockets[i]);
        GFileMonitor *monitor = g_file_monitor_file(file, G_FILE_MONITOR_NONE, NULL, NULL);

        if (monitor == NULL)
            continue;
        g_signal_connect(monitor, "changed", G_CALLBACK(on_default_socket), self);
        g_ptr_array_add(self->monitors, monitor);
    }
}

static gboolean
add_sources(WkAgent *self, GError **error)
{
    const GPtrArray *configured = self->config->sources;

    if (configured->len == 0 && default_libvirt_is_there())
        return add_default_source(self, error);
    if (configured->len == 0)
        wait_for_default_libvirt(self);
    for (guint i = 0; i < configured->len; i++) {
        const WkConfigSource *source = g_ptr_array_index(configured, i);

        if (!add_source(self, source->name, source->uri, source->save_dir, error))
            return FALSE;
    }
    return TRUE;
}

/* "auto": where a kubelet is. Whether its cluster has KubeVirt is found out by itself. */
static gboolean
wants_launchers(const WkConfig *config)
{
    if (g_str_equal(config->kubevirt_enabled, "auto"))
        return !g_str_equal(config->kube_enabled, "false")
               && g_file_test(config->kubelet_dir, G_FILE_TEST_IS_DIR);
    return g_str_equal(config->kubevirt_enabled, "true");
}

static gboolean
add_launchers(WkAgent *self, GError **error)
{
    const WkConfig *config = self->config;
    g_autoptr(WkLaunchers) launchers = NULL;

    if (!wants_launchers(config))
        return TRUE;
    launchers = wk_launchers_new();
    self->launchers = wk_source_new_launchers("kubevirt", launchers, long_calls(config),
                                              QUICK_CALLS, &source_listener, self);
    g_ptr_array_add(self->sources, self->launchers);
    return wk_engine_add_source(self->engine, self->launchers, error);
}

static void
on_renewed(gpointer data)
{
    WkAgent *self = data;

    wk_pod_guests_hurry(self->pod_guests);
}

static gboolean
start_launchers(WkAgent *self, GError **error)
{
    const WkPodGuestsOptions options = { .engine = self->engine,
                                         .source = self->launchers,
                                         .kube = wk_wukongs_get_kube(self->wukongs),
                                         .node_name = self->config->node_name,
                                         .kubelet_dir = self->config->kubelet_dir };

    if (self->launchers == NULL)
        return TRUE;
    if (self->wukongs == NULL) {
        wk_source_set_up(self->launchers, FALSE, "Kubernetes is off");
        return TRUE;
    }
    wk_source_set_up(self->launchers, FALSE, "the API server has not told of its guests yet");
    self->pod_guests = wk_pod_guests_new(&options, error);
    wk_wukongs_set_renewed(self->wukongs, on_renewed, self);
    return self->pod_guests != NULL;
}

static gboolean
start_kubernetes(WkAgent *self, GError **error)
{
    g_autoptr(WkKubeConfig) kube = NULL;
    WkWukongsOptions options = { .engine = self->engine,
                                 .ledger = self->ledger,
                                 .node_name = self->config->node_name,
                                 .namespace_name = self->config->kube_namespace,
                                 .domain_annotation = self->config->domain_annotation };

    if (!wk_kubernetes_find(self->config, &kube, error))
        return FALSE;
    if (kube == NULL) {
        wk_log(WK_LOG_INFO, NULL, "Kubernetes is off: no kubeconfig is configured");
        return TRUE;
    }
    wk_log(WK_LOG_INFO, NULL, "Kubernetes at %s (%s), as node '%s'",
           wk_kube_config_get_place(kube)->server, wk_kube_config_get_place(kube)->source,
           options.node_name);
    options.config = kube;
    self->wukongs = wk_wukongs_new(&options, error);
    self->api.wukongs = self->wukongs;
    return self->wukongs != NULL;
}

static gboolean
start(WkAgent *self, const WkAgentOptions *options, GError **error)
{
    WkControlApi api;

    self->boot_id = wk_clock_boot_id(error);
    if (self->boot_id == NULL || !open_ledger(self, options->state_dir, error))
        return FALSE;
    if (!open_vault(self, error))
        return FALSE;
    make_engine(self);
    make_retention(self);
    if (!add_sources(self, error) || !add_launchers(self, error))
        return FALSE;
    wk_api_init(&api, self->config->node_name);
    self->api = (WkApi){ .engine = self->engine,
                         .sources = self->sources,
                         .vault = self->vault,
                         .metrics = self->metrics,
                         .retention = self->retention };
    self->control = wk_control_new(options->control_path, CONTROL_GROUP, &api, &self->api, error);
    if (self->control == NULL)
        return FALSE;
    if (!start_kubernetes(self, error))
        return FALSE;
    wk_source_init_events();
    for (guint i = 0; i < self->sources->len; i++)
        wk_source_start(g_ptr_array_index(self->sources, i));
    if (!start_launchers(self, error))
        return FALSE;
    say_ready(self);
    return TRUE;
}

gboolean
wk_agent_check(const WkConfig *config, GError **error)
{
    g_autoptr(WkKubeConfig) kube = NULL;

    return wk_kubernetes_find(config, &kube, error);
}

WkAgent *
wk_agent_new(const WkAgentOptions *options, WkConfig *config, GError **error)
{
    g_autoptr(WkAgent) self = g_new0(WkAgent, 1);

    self->config = config;
    self->metrics = wk_metrics_new();
    self->sources = g_ptr_array_new_with_free_func((GDestroyNotify)wk_source_unref);
    self->monitors = g_ptr_array_new_with_free_func(g_object_unref);
    return start(self, options, error) ? g_steal_pointer(&self) : NULL;
}

void
wk_agent_free(WkAgent *self)
{
    if (self == NULL)
        return;
    g_clear_pointer(&self->control, wk_control_free);
    wk_pod_guests_free(self->pod_guests);
    wk_wukongs_free(self->wukongs);
    wk_retention_free(self->retention);
    g_ptr_array_unref(self->monitors);
    for (guint i = 0; i < self->sources->len; i++)
        wk_source_stop(g_ptr_array_index(self->sources, i));
    wk_engine_free(self->engine);
    g_ptr_array_unref(self->sources);
    wk_vault_unref(self->vault);
    wk_ledger_unref(self->ledger);
    wk_metrics_free(self->metrics);
    wk_config_free(self->config);
    g_free(self->boot_id);
    g_free(self->no_vault);
    if (self->stop_timer != NULL) {
        g_source_destroy(self->stop_timer);
        g_source_unref(self->stop_timer);
    }
    g_free(self);
}

void
wk_agent_reconfigure(WkAgent *self, const WkConfig *config)
{
    const WkEngineOptions options = engine_options(config);

    wk_engine_configure(self->engine, &options);
}

static gboolean
on_stop_poll(gpointer data)
{
    WkAgent *self = data;

    if ((!wk_engine_is_idle(self->engine) || !self->reported)
        && wk_clock_mono_us() < self->stop_by_us)
        return G_SOURCE_CONTINUE;
    self->stopped(self->stopped_data);
    return G_SOURCE_REMOVE;
}

static void
on_reported(gpointer data)
{
    WkAgent *self = data;

    self->reported = TRUE;
}

void
wk_agent_stop(WkAgent *self, void (*done)(gpointer data), gpointer data)
{
    if (self->stop_timer != NULL)
        return;
    (void)sd_notify(0, "STOPPING=1");
    g_clear_pointer(&self->control, wk_control_free);
    wk_engine_quiesce(self->engine);
    self->reported = self->wukongs == NULL;
    if (self->wukongs != NULL)
        wk_wukongs_drain(self->wukongs, REPORT_PATIENCE_MS, on_reported, self);
    self->stopped = done;
    self->stopped_data = data;
    self->stop_by_us = wk_clock_mono_us() + STOP_PATIENCE_S * G_USEC_PER_SEC;
    self->stop_timer = g_timeout_source_new(STOP_POLL_MS);
    g_source_set_callback(self->stop_timer, on_stop_poll, self, NULL);
    g_source_attach(self->stop_timer, NULL);
}
