/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/config.h"

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* A file whose content is a credential, read again when it changes. */
typedef struct {
    char *path;    /* NULL: none, @bytes came with the kubeconfig itself */
    guint64 inode; /* of what was read */
    gint64 mtime_ns;
    guint64 size_bytes;
    GBytes *bytes; /* NULL: none */
} WkKubeFile;

/* What runs a credential plugin (client.authentication.k8s.io). */
typedef struct {
    char **argv;
    char **env; /* "NAME=value" on top of ours */
    char *api_version;
    char *install_hint;
    gboolean cluster_info;
    guint patience_ms;    /* then it is killed */
    gint64 expires_at_us; /* wall clock; 0: its answer does not expire */
    gboolean answered;
} WkKubeExec;

struct _WkKubeConfig {
    gint refs;
    char *folder; /* of the kubeconfig: what relative paths start from */
    WkKubePlace place;
    WkKubeCredentials credentials; /* points into what follows */
    WkKubeFile ca;
    WkKubeFile cert;
    WkKubeFile key;
    WkKubeFile token;
    char *token_text;
    WkKubeExec *exec;    /* NULL: none */
    gint64 looked_at_us; /* monotonic: the files */
    GPtrArray *waiting;  /* (element-type GTask): refreshes that wait for the plugin */
    gboolean running;    /* the plugin */
};

/* config_files.c */
void wk_kube_file_clear(WkKubeFile *self);
/* Reads the file when it changed since (or was never read). @changed (may be NULL) is set when it
 * was read. */
gboolean wk_kube_file_load(WkKubeFile *self, gboolean *changed, GError **error);
/* Takes what the files hold over into config->credentials; FALSE: a token that can't be sent. */
gboolean wk_kube_config_take_files(WkKubeConfig *self, GError **error);

/* config_user.c: the credentials of one user of a kubeconfig. */
gboolean wk_kube_config_read_user(WkKubeConfig *self, JsonObject *user, const char *name,
                                  const char *folder, GError **error);
/* Decodes NAME-data, or notes the path in NAME; either, both or none may be there. */
gboolean wk_kube_config_read_file(JsonObject *object, const char *member, const char *folder,
                                  WkKubeFile *file, GError **error);

/* config_exec.c */
WkKubeExec *wk_kube_exec_parse(JsonObject *object, const char *folder, GError **error);
void wk_kube_exec_free(WkKubeExec *self);
/* Runs the plugin; finish: (transfer full): its answer's status object. */
void wk_kube_exec_run(WkKubeConfig *config, GCancellable *cancellable, GAsyncReadyCallback callback,
                      gpointer user_data);
JsonObject *wk_kube_exec_run_finish(GAsyncResult *result, GError **error);
/* Whether its last answer is still good. */
gboolean wk_kube_exec_is_fresh(const WkKubeExec *self);

/* In-cluster, from @folder instead of the service account's; for tests. */
WkKubeConfig *
wk_kube_config_in_cluster(const char *folder, const char *host, const char *port, GError **error);

G_END_DECLS
