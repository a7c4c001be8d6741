/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/config_private.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "kube/yaml.h"

#include <string.h>
#include <sys/stat.h>

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define LOOK_EVERY_US   (10 * G_USEC_PER_SEC)

/* One kubeconfig of a list: what relative paths in it start from. */
typedef struct {
    JsonObject *root;
    char *path;
    char *folder;
} Layer;

static void
layer_free(gpointer data)
{
    Layer *layer = data;

    json_object_unref(layer->root);
    g_free(layer->path);
    g_free(layer->folder);
    g_free(layer);
}

/* ---- reading and merging ---- */

static gboolean
add_layer(GPtrArray *layers, const char *path, gboolean may_be_missing, GError **error)
{
    WkKubeFile file = { .path = g_strdup(path) };
    Layer *layer;
    JsonObject *root = NULL;

    if (may_be_missing && !g_file_test(path, G_FILE_TEST_EXISTS)) {
        wk_kube_file_clear(&file);
        return TRUE;
    }
    if (wk_kube_file_load(&file, NULL, error)) {
        root =
            wk_yaml_parse(g_bytes_get_data(file.bytes, NULL), g_bytes_get_size(file.bytes), error);
        if (root == NULL)
            g_prefix_error(error, "'%s': ", path);
    }
    wk_kube_file_clear(&file);
    if (root == NULL)
        return FALSE;
    layer = g_new0(Layer, 1);
    layer->root = root;
    layer->path = g_strdup(path);
    layer->folder = g_path_get_dirname(path);
    g_ptr_array_add(layers, layer);
    return TRUE;
}

/* The files of $KUBECONFIG, of which some may be missing; or @path, which must be there. */
static gboolean
add_layers(GPtrArray *layers, const char *path, GError **error)
{
    g_auto(GStrv) paths = NULL;

    if (path != NULL)
        return add_layer(layers, path, FALSE, error);
    paths = g_strsplit(g_getenv("KUBECONFIG") != NULL ? g_getenv("KUBECONFIG") : "", ":", -1);
    for (gsize i = 0; paths[i] != NULL; i++) {
        if (*paths[i] != '\0' && !add_layer(layers, paths[i], TRUE, error))
            return FALSE;
    }
    return TRUE;
}

/* The first layer that says something wins, for each name by itself. (transfer none) */
static JsonObject *
find_named(GPtrArray *layers, const char *list, const char *member, const char *name,
           const Layer **from)
{
    for (guint i = 0; i < layers->len; i++) {
        const Layer *layer = g_ptr_array_index(layers, i);
        JsonArray *array = wk_json_get_array(layer->root, list);

        for (guint n = 0; array != NULL && n < json_array_get_length(array); n++) {
            JsonNode *node = json_array_get_element(array, n);
            JsonObject *item = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;

            if (item == NULL || g_strcmp0(wk_json_get_string(item, "name"), name) != 0)
                continue;
            *from = layer;
            return wk_json_get_object(item, member);
        }
    }
    return NULL;
}

static const char *
find_current_context(GPtrArray *layers)
{
    for (guint i = 0; i < layers->len; i++) {
        const char *name = wk_json_get_string(((const Layer *)g_ptr_array_index(layers, i))->root,
                                              "current-context");

        if (name != NULL && *name != '\0')
            return name;
    }
    return NULL;
}

/* ---- the cluster ---- */

static gboolean
read_flag(JsonObject *object, const char *member, gboolean *flag, GError **error)
{
    const char *text = NULL;

    if (!wk_json_opt_string(object, member, &text, error))
        return FALSE;
    *flag = g_strcmp0(text, "true") == 0;
    if (text == NULL || *flag || g_str_equal(text, "false"))
        return TRUE;
    wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig", "%s is neither true nor false", member);
    return FALSE;
}

static gboolean
is_loopback(const char *host)
{
    g_autoptr(GInetAddress) address = g_inet_address_new_from_string(host);

    return g_str_equal(host, "localhost")
           || (address != NULL && g_inet_address_get_is_loopback(address));
}

/* Without TLS nobody knows who answers, nor who listens: only to ourselves (kubectl proxy). */
static gboolean
check_server(const char *server, GError **error)
{
    g_autoptr(GUri) uri = g_uri_parse(server, G_URI_FLAGS_ENCODED, NULL);
    const char *scheme = uri != NULL ? g_uri_get_scheme(uri) : NULL;

    if (uri == NULL || g_uri_get_host(uri) == NULL || *g_uri_get_host(uri) == '\0'
        || g_uri_get_userinfo(uri) != NULL
        || (!g_str_equal(scheme, "https") && !g_str_equal(scheme, "http"))) {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                     "server is '%s', not https://HOST:PORT", server);
        return FALSE;
    }
    if (g_str_equal(scheme, "https") || is_loopback(g_uri_get_host(uri)))
        return TRUE;
    wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                 "server is '%s': without TLS only this machine itself is talked to", server);
    return FALSE;
}

static gboolean
set_server(WkKubeConfig *self, const char *server, GError **error)
{
    g_autofree char *trimmed = NULL;

    if (server == NULL || *server == '\0') {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig", "it has no server");
        return FALSE;
    }
    trimmed = g_strdup(server);
    while (g_str_has_suffix(trimmed, "/"))
        trimmed[strlen(trimmed) - 1] = '\0';
    if (!check_server(trimmed, error))
        return FALSE;
    self->place.server = g_steal_pointer(&trimmed);
    return TRUE;
}

static gboolean
read_cluster(WkKubeConfig *self, JsonObject *cluster, const char *name, const char *folder,
             GError **error)
{
    WkKubePlace *place = &self->place;

    if (set_server(self, wk_json_get_string(cluster, "server"), error)
        && wk_kube_config_read_file(cluster, "certificate-authority", folder, &self->ca, error)
        && read_flag(cluster, "insecure-skip-tls-verify", &place->insecure_skip_tls_verify, error)
        && read_flag(cluster, "disable-compression", &place->disable_compression, error)) {
        place->tls_server_name = g_strdup(wk_json_get_string(cluster, "tls-server-name"));
        place->proxy_url = g_strdup(wk_json_get_string(cluster, "proxy-url"));
        return TRUE;
    }
    g_prefix_error(error, "cluster '%s': ", name);
    return FALSE;
}

/* ---- a kubeconfig as a whole ---- */

static JsonObject *
need_named(GPtrArray *layers, const char *list, const char *member, const char *name,
           const Layer **from, GError **error)
{
    JsonObject *found = name != NULL ? find_named(layers, list, member, name, from) : NULL;

    if (found == NULL)
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig", "there is no %s '%s' in it", member,
                     name != NULL ? name : "(none named)");
    return found;
}

static gboolean
read_context(WkKubeConfig *self, GPtrArray *layers, GError **error)
{
    const char *current = find_current_context(layers);
    const Layer *from = NULL;
    JsonObject *context;
    JsonObject *part;
    const char *name;

    if (current == NULL) {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                     "it has no current context: kubectl config use-context NAME sets one");
        return FALSE;
    }
    context = need_named(layers, "contexts", "context", current, &from, error);
    if (context == NULL)
        return FALSE;
    self->place.namespace_name = g_strdup(wk_json_get_string(context, "namespace"));
    name = wk_json_get_string(context, "cluster");
    part = need_named(layers, "clusters", "cluster", name, &from, error);
    if (part == NULL || !read_cluster(self, part, name, from->folder, error))
        return FALSE;
    name = wk_json_get_string(context, "user");
    if (name == NULL || *name == '\0')
        return TRUE; /* anonymous: the server decides */
    part = need_named(layers, "users", "user", name, &from, error);
    return part != NULL && wk_kube_config_read_user(self, part, name, from->folder, error);
}

/* Secrets in the kubeconfig itself: a token, a key, a password. */
static gboolean
holds_secret(const WkKubeConfig *self)
{
    return (self->token.bytes != NULL && self->token.path == NULL)
           || (self->key.bytes != NULL && self->key.path == NULL)
           || self->credentials.password != NULL;
}

static void
warn_of_readers(const WkKubeConfig *self, const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0 && holds_secret(self))
        wk_log(WK_LOG_WARNING, NULL,
               "kubeconfig '%s' holds a secret and others may read it: chmod 600", path);
}

static WkKubeConfig *
config_new(void)
{
    WkKubeConfig *self = g_new0(WkKubeConfig, 1);

    self->refs = 1;
    self->waiting = g_ptr_array_new();
    self->credentials.tls_generation = 1;
    self->looked_at_us = wk_clock_mono_us();
    return self;
}

static WkKubeConfig *
config_from_layers(GPtrArray *layers, GError **error)
{
    g_autoptr(WkKubeConfig) self = config_new();
    const Layer *first = g_ptr_array_index(layers, 0);

    self->place.source = g_strdup(first->path);
    if (!read_context(self, layers, error) || !wk_kube_config_take_files(self, error)) {
        g_prefix_error(error, "kubeconfig '%s': ", first->path);
        return NULL;
    }
    warn_of_readers(self, first->path);
    return g_steal_pointer(&self);
}

WkKubeConfig *
wk_kube_config_in_cluster(const char *folder, const char *host, const char *port, GError **error)
{
    g_autoptr(WkKubeConfig) self = config_new();
    g_autofree char *space = g_build_filename(folder, "namespace", NULL);
    char *namespace_name = NULL;

    self->place.source = g_strdup("in-cluster");
    self->place.server = g_strdup_printf(
        strchr(host, ':') != NULL ? "https://[%s]:%s" : "https://%s:%s", host, port);
    self->token.path = g_build_filename(folder, "token", NULL);
    self->ca.path = g_build_filename(folder, "ca.crt", NULL);
    if (!wk_kube_file_load(&self->token, NULL, error) || !wk_kube_file_load(&self->ca, NULL, error)
        || !wk_kube_config_take_files(self, error)) {
        g_prefix_error(error, "the pod's service account: ");
        return NULL;
    }
    if (g_file_get_contents(space, &namespace_name, NULL, NULL))
        self->place.namespace_name = g_strstrip(namespace_name);
    return g_steal_pointer(&self);
}

WkKubeConfig *
wk_kube_config_load(const char *path, GError **error)
{
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func(layer_free);
    const char *host = g_getenv("KUBERNETES_SERVICE_HOST");
    const char *port = g_getenv("KUBERNETES_SERVICE_PORT");

    if (!add_layers(layers, path, error)) {
        g_prefix_error(error, "kubeconfig: ");
        return NULL;
    }
    if (layers->len > 0)
        return config_from_layers(layers, error);
    if (host != NULL && *host != '\0')
        return wk_kube_config_in_cluster(SERVICE_ACCOUNT, host, port != NULL ? port : "443", error);
    wk_error_set(error, WK_ERROR_NOT_FOUND, "NoKubeconfig",
                 "no kubeconfig is configured ([kube] kubeconfig=, --kubeconfig, $KUBECONFIG), and "
                 "this is no pod");
    return NULL;
}

/* ---- life ---- */

WkKubeConfig *
wk_kube_config_ref(WkKubeConfig *self)
{
    self->refs++;
    return self;
}

static void
free_place(WkKubePlace *place)
{
    g_free((gpointer)place->server);
    g_free((gpointer)place->tls_server_name);
    g_free((gpointer)place->proxy_url);
    g_free((gpointer)place->namespace_name);
    g_free((gpointer)place->as_user);
    g_free((gpointer)place->as_uid);
    g_strfreev((gpointer)place->as_groups);
    g_free((gpointer)place->source);
}

void
wk_kube_config_unref(WkKubeConfig *self)
{
    if (self == NULL || --self->refs > 0)
        return;
    free_place(&self->place);
    wk_kube_file_clear(&self->ca);
    wk_kube_file_clear(&self->cert);
    wk_kube_file_clear(&self->key);
    wk_kube_file_clear(&self->token);
    g_free((gpointer)self->credentials.username);
    g_free((gpointer)self->credentials.password);
    g_free(self->token_text);
    wk_kube_exec_free(self->exec);
    g_ptr_array_unref(self->waiting);
    g_free(self);
}

const WkKubePlace *
wk_kube_config_get_place(WkKubeConfig *self)
{
    return &self->place;
}

const WkKubeCredentials *
wk_kube_config_get_credentials(WkKubeConfig *self)
{
    return &self->credentials;
}

/* ---- staying fresh ---- */

/* A file that can't be read now leaves what was read before: it may be in the middle of a rotation.
 */
static void
look_at(WkKubeFile *file, gboolean *changed)
{
    g_autoptr(GError) error = NULL;

    if (!wk_kube_file_load(file, changed, &error))
        wk_log(WK_LOG_WARNING, NULL, "Kubernetes credentials stay as they were: %s",
               error->message);
}

static void
look_at_files(WkKubeConfig *self, gboolean anew)
{
    const gint64 now_us = wk_clock_mono_us();
    gboolean tls_changed = FALSE;
    g_autoptr(GError) error = NULL;

    if (!anew && now_us - self->looked_at_us < LOOK_EVERY_US)
        return;
    self->looked_at_us = now_us;
    look_at(&self->ca, &tls_changed);
    look_at(&self->cert, &tls_changed);
    look_at(&self->key, &tls_changed);
    look_at(&self->token, NULL);
    if (!wk_kube_config_take_files(self, &error))
        wk_log(WK_LOG_WARNING, NULL, "Kubernetes credentials stay as they were: %s",
               error->message);
    if (tls_changed)
        self->credentials.tls_generation++;
}

static void
set_pem(WkKubeFile *file, const char *text, gboolean *changed)
{
    g_autoptr(GBytes) bytes = text != NULL ? g_bytes_new_take(g_strdup(text), strlen(text)) : NULL;

    if (bytes == NULL || (file->bytes != NULL && g_bytes_equal(file->bytes, bytes)))
        return;
    g_clear_pointer(&file->bytes, g_bytes_unref);
    file->bytes = g_steal_pointer(&bytes);
    *changed = TRUE;
}

/* @time_us: 0 where it says none. */
static gboolean
read_expiry(JsonObject *status, gint64 *time_us, GError **error)
{
    const char *text = NULL;
    g_autoptr(GDateTime) time = NULL;

    *time_us = 0;
    if (!wk_json_opt_string(status, "expirationTimestamp", &text, error))
        return FALSE;
    if (text == NULL)
        return TRUE;
    time = g_date_time_new_from_iso8601(text, NULL);
    if (time == NULL) {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                     "the credential plugin's expirationTimestamp is no time");
        return FALSE;
    }
    *time_us = g_date_time_to_unix(time) * G_USEC_PER_SEC;
    return TRUE;
}

/* One that can't be sent leaves the old one. */
static gboolean
take_token(WkKubeConfig *self, const char *token, GError **error)
{
    g_autoptr(GBytes) old = g_steal_pointer(&self->token.bytes);

    self->token.bytes = g_bytes_new(token, strlen(token) + 1);
    if (wk_kube_config_take_files(self, error))
        return TRUE;
    g_bytes_unref(self->token.bytes);
    self->token.bytes = g_steal_pointer(&old);
    return FALSE;
}

static gboolean
take_answer(WkKubeConfig *self, JsonObject *status, GError **error)
{
    const char *token = wk_json_get_string(status, "token");
    const char *cert = wk_json_get_string(status, "clientCertificateData");
    const char *key = wk_json_get_string(status, "clientKeyData");
    gboolean tls_changed = FALSE;
    gint64 expires_at_us;

    if ((token == NULL && cert == NULL) || (cert != NULL) != (key != NULL)) {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                     "the credential plugin gave neither a token nor a certificate with its key");
        return FALSE;
    }
    if (!read_expiry(status, &expires_at_us, error)
        || (token != NULL && !take_token(self, token, error)))
        return FALSE;
    set_pem(&self->cert, cert, &tls_changed);
    set_pem(&self->key, key, &tls_changed);
    if (tls_changed)
        self->credentials.tls_generation++;
    self->exec->expires_at_us = expires_at_us;
    self->exec->answered = TRUE;
    return wk_kube_config_take_files(self, error);
}

/* Returns: (transfer full): @error as it is for those who wait: nothing is wrong with what they
 * ask, and the next run may be better. */
static GError *
as_passing(const GError *error)
{
    const gboolean late = g_strcmp0(wk_error_get_reason(error), "PluginTimeout") == 0;
    GError *passing = NULL;

    wk_error_set(&passing, WK_ERROR_UNAVAILABLE, late ? "PluginTimeout" : "PluginFailed", "%s",
                 error->message);
    return passing;
}

/* All that waited for the plugin get the same answer. */
static void
on_plugin(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(WkKubeConfig) self = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) status = wk_kube_exec_run_finish(result, &error);
    g_autoptr(GPtrArray) waiting = g_steal_pointer(&self->waiting);
    const gboolean ok = status != NULL && take_answer(self, status, &error);

    self->waiting = g_ptr_array_new();
    self->running = FALSE;
    for (guint i = 0; i < waiting->len; i++) {
        g_autoptr(GTask) task = g_ptr_array_index(waiting, i);

        if (ok)
            g_task_return_boolean(task, TRUE);
        else
            g_task_return_error(task, as_passing(error));
    }
}

void
wk_kube_config_refresh(WkKubeConfig *self, gboolean anew, GCancellable *cancellable,
                       GAsyncReadyCallback callback, gpointer user_data)
{
    g_autoptr(GTask) task = g_task_new(NULL, cancellable, callback, user_data);

    look_at_files(self, anew);
    if (self->exec == NULL || (!anew && wk_kube_exec_is_fresh(self->exec))) {
        g_task_return_boolean(task, TRUE);
        return;
    }
    g_ptr_array_add(self->waiting, g_steal_pointer(&task));
    if (self->running)
        return;
    self->running = TRUE;
    wk_kube_exec_run(self, NULL, on_plugin, wk_kube_config_ref(self));
}

gboolean
wk_kube_config_refresh_finish(WkKubeConfig *self G_GNUC_UNUSED, GAsyncResult *result,
                              GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}
