/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "fake-kube-config.h"

#include "base/error.h"

struct _WkKubeConfig {
    guint refs;
    WkKubePlace place;
    WkKubeCredentials credentials;
    char *server;
    char *token;
    char *next_token;
    char *refresh_error;
    guint n_refreshes;
    guint n_anew;
};

WkKubeConfig *
fake_kube_config_new(const char *url, const char *token)
{
    WkKubeConfig *self = g_new0(WkKubeConfig, 1);

    self->refs = 1;
    self->server = g_strdup(url);
    self->token = g_strdup(token);
    self->place.server = self->server;
    self->place.namespace_name = "default";
    self->place.source = "the test";
    self->credentials.token = self->token;
    self->credentials.tls_generation = 1;
    return self;
}

WkKubePlace *
fake_kube_config_edit_place(WkKubeConfig *self)
{
    return &self->place;
}

WkKubeCredentials *
fake_kube_config_edit_credentials(WkKubeConfig *self)
{
    return &self->credentials;
}

void
fake_kube_config_set_next_token(WkKubeConfig *self, const char *token)
{
    g_free(self->next_token);
    self->next_token = g_strdup(token);
}

void
fake_kube_config_set_refresh_error(WkKubeConfig *self, const char *text)
{
    g_free(self->refresh_error);
    self->refresh_error = g_strdup(text);
}

guint
fake_kube_config_count_refreshes(WkKubeConfig *self)
{
    return self->n_refreshes;
}

guint
fake_kube_config_count_anew(WkKubeConfig *self)
{
    return self->n_anew;
}

WkKubeConfig *
wk_kube_config_load(const char *path G_GNUC_UNUSED, GError **error)
{
    wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "there are no files here");
    return NULL;
}

WkKubeConfig *
wk_kube_config_ref(WkKubeConfig *self)
{
    self->refs++;
    return self;
}

void
wk_kube_config_unref(WkKubeConfig *self)
{
    if (self == NULL || --self->refs > 0)
        return;
    g_free(self->server);
    g_free(self->token);
    g_free(self->next_token);
    g_free(self->refresh_error);
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

void
wk_kube_config_refresh(WkKubeConfig *self, gboolean anew, GCancellable *cancellable,
                       GAsyncReadyCallback callback, gpointer user_data)
{
    g_autoptr(GTask) task = g_task_new(NULL, cancellable, callback, user_data);
    GError *error = NULL;

    self->n_refreshes++;
    self->n_anew += anew ? 1 : 0;
    if (anew && self->next_token != NULL) {
        g_free(self->token);
        self->token = g_steal_pointer(&self->next_token);
        self->credentials.token = self->token;
    }
    if (self->refresh_error != NULL) {
        wk_error_set(&error, WK_ERROR_DENIED, NULL, "%s", self->refresh_error);
        g_task_return_error(task, error);
        return;
    }
    g_task_return_boolean(task, TRUE);
}

gboolean
wk_kube_config_refresh_finish(WkKubeConfig *self G_GNUC_UNUSED, GAsyncResult *result,
                              GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}
