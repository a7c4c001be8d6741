/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * Where the API server is and who we are there: from a kubeconfig file, or from a pod's service
 * account. Main thread only. Secrets stay in memory and never get into a message or a log.
 */
typedef struct _WkKubeConfig WkKubeConfig;

/* @path: a kubeconfig; NULL: the files of $KUBECONFIG merged (the first that says something wins,
 * as kubectl does), else in-cluster when KUBERNETES_SERVICE_HOST is set, else WK_ERROR_NOT_FOUND
 * "NoKubeconfig". Errors name file and field: WK_ERROR_INVALID (not YAML, no current context, an
 * unknown context, no server, wrong base64, ...), WK_ERROR_DENIED (the file is readable by
 * others and holds a secret: only a warning, see the log), WK_ERROR_FAILED (unreadable).
 * Returns: (transfer full). */
WkKubeConfig *wk_kube_config_load(const char *path, GError **error);
WkKubeConfig *wk_kube_config_ref(WkKubeConfig *self);
void wk_kube_config_unref(WkKubeConfig *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkKubeConfig, wk_kube_config_unref)

/* Constant for the life of the object; (transfer none), NULL where not given. */
typedef struct {
    const char *server;          /* "https://10.0.0.1:6443", no slash at the end; may have a path */
    const char *tls_server_name; /* SNI and the name to verify, when not the URL's */
    const char *proxy_url;
    const char *namespace_name;
    const char *as_user; /* impersonation */
    const char *as_uid;
    const char *const *as_groups; /* NULL-ended */
    const char *source;           /* the file, or "in-cluster": for messages */
    gboolean insecure_skip_tls_verify;
    gboolean disable_compression;
} WkKubePlace;
const WkKubePlace *wk_kube_config_get_place(WkKubeConfig *self);

/* What may change while running: (transfer none) until the next refresh; NULL where not given. */
typedef struct {
    GBytes *ca_pem;
    GBytes *cert_pem;
    GBytes *key_pem;
    const char *token;
    const char *username; /* basic authentication */
    const char *password;
    guint tls_generation; /* another number: connections made before are of no use any more */
} WkKubeCredentials;
const WkKubeCredentials *wk_kube_config_get_credentials(WkKubeConfig *self);

/* Sees to it that the credentials are fresh: files are read again when they changed (looked at no
 * more than once in 10 s, token files at least once a minute), an exec plugin is run when its
 * answer has expired. @anew: the server said 401: whatever is cached is read again at once.
 * Async, because a plugin is a process (killed after 30 s); without one it calls back from the main
 * loop soon. finish: FALSE with an error when there are no credentials to go on with; an old
 * token is kept when a file can't be read. */
void wk_kube_config_refresh(WkKubeConfig *self, gboolean anew, GCancellable *cancellable,
                            GAsyncReadyCallback callback, gpointer user_data);
gboolean wk_kube_config_refresh_finish(WkKubeConfig *self, GAsyncResult *result, GError **error);

G_END_DECLS
