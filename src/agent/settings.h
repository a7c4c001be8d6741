/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/types.h"

G_BEGIN_DECLS

/*
 * The daemon's configuration (wukongd.conf(5)): strict GKeyFile. An unknown group or key, and a bad
 * value, is an error that names file, group and key.
 */
typedef struct {
    char *name;
    char *uri;
    char *save_dir; /* "auto": by the URI */
} WkConfigSource;

/* Policy of guests whose name matches, where there is no Wukong. */
typedef struct {
    char *glob;
    gint64 priority;
    char *pressure;           /* "never", "memory", "disk" */
    char *on_restore_failure; /* "Hold", "ColdBoot" */
} WkConfigGuest;

typedef struct {
    char *node_name;
    GPtrArray *sources; /* (element-type WkConfigSource) */
    GPtrArray *guests;  /* (element-type WkConfigGuest) */

    char *kubevirt_enabled; /* "auto", "true", "false" */
    char *kubelet_dir;
    char *kubevirt_vault_dir; /* "" none; else it is vault_dir, unless KubeVirt is off */

    char *kube_enabled; /* "auto", "true", "false" */
    char *kubeconfig;   /* "" none */
    char *kube_namespace;
    char *domain_annotation; /* "none", or namespaces */

    char *default_target;   /* "memory", "disk" */
    guint64 parallel_saves; /* 0: auto */
    guint64 parallel_restores;

    char *vault_dir;
    char *vault_format; /* "auto", "raw", "zstd" */
    guint64 reserve_percent;
    char *bypass_cache; /* "auto", "true", "false" */

    guint64 retention_orphan_ms;
    guint64 retention_quarantine_ms;
    guint64 retention_history_ms;

    guint64 maintenance_deadline_ms;
    char *maintenance_fallback; /* "stop", "leave" */
    gboolean restore_on_boot;

    gboolean pressure_enabled;
    char *pressure_some_stall;
    guint64 pressure_hold_ms;
    guint64 pressure_resume_below_percent;
    char *pressure_reclaim; /* "auto", "true", "false" */

    char *metrics_listen; /* "" none */
} WkConfig;

#define WK_CONFIG_PATH WK_SYSCONFDIR "/wukong/wukongd.conf"

/* Reads @path, then @path.d (its *.conf files) in byte order, key by key. @path NULL: the default
 * file, which may be missing. @state_dir: what vault.dir defaults to lies in it. Returns: (transfer
 * full): or NULL with WK_ERROR_INVALID (WK_ERROR_NOT_FOUND: no such file). */
WkConfig *wk_config_load(const char *path, const char *state_dir, GError **error);
void wk_config_free(WkConfig *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkConfig, wk_config_free)

WkTarget wk_config_default_target(const WkConfig *self);

G_END_DECLS
