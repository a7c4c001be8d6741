/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/config_private.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

/* (transfer full): base64 decoded with a NUL behind it; NULL when it is not base64. */
static GBytes *
decode(const char *text)
{
    g_autofree char *packed = g_strdup(text);
    gsize length = strlen(packed);
    gsize out = 0;

    /* wrapped lines are common in files edited by hand */
    for (gsize i = 0; i < length; i++) {
        if (!g_ascii_isspace(packed[i]))
            packed[out++] = packed[i];
    }
    packed[out] = '\0';
    if (out == 0 || out % 4 != 0
        || strspn(packed, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
               != out)
        return NULL;
    g_base64_decode_inplace(packed, &length);
    if (length == 0)
        return NULL;
    packed[length] = '\0';
    return g_bytes_new_take(g_steal_pointer(&packed), length);
}

static char *
resolve(const char *path, const char *folder)
{
    return g_path_is_absolute(path) ? g_strdup(path) : g_build_filename(folder, path, NULL);
}

gboolean
wk_kube_config_read_file(JsonObject *object, const char *member, const char *folder,
                         WkKubeFile *file, GError **error)
{
    g_autofree char *data_member = g_strconcat(member, "-data", NULL);
    const char *data = NULL;
    const char *path = NULL;

    if (!wk_json_opt_string(object, data_member, &data, error)
        || !wk_json_opt_string(object, member, &path, error))
        return FALSE;
    if (data != NULL) { /* wins, as it does for kubectl */
        file->bytes = decode(data);
        if (file->bytes == NULL)
            wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig", "%s is not base64", data_member);
        return file->bytes != NULL;
    }
    if (path == NULL)
        return TRUE;
    file->path = resolve(path, folder);
    if (wk_kube_file_load(file, NULL, error))
        return TRUE;
    g_prefix_error(error, "%s: ", member);
    return FALSE;
}

static gboolean
read_token(WkKubeConfig *self, JsonObject *user, const char *folder, GError **error)
{
    const char *token = NULL;
    const char *path = NULL;

    if (!wk_json_opt_string(user, "token", &token, error)
        || !wk_json_opt_string(user, "tokenFile", &path, error))
        return FALSE;
    if (path != NULL) { /* wins over token, as it does for kubectl */
        self->token.path = resolve(path, folder);
        if (!wk_kube_file_load(&self->token, NULL, error)) {
            g_prefix_error(error, "tokenFile: ");
            return FALSE;
        }
    } else if (token != NULL) {
        self->token.bytes = g_bytes_new(token, strlen(token) + 1);
    }
    return TRUE;
}

static gboolean
read_certificate(WkKubeConfig *self, JsonObject *user, const char *folder, GError **error)
{
    if (!wk_kube_config_read_file(user, "client-certificate", folder, &self->cert, error)
        || !wk_kube_config_read_file(user, "client-key", folder, &self->key, error))
        return FALSE;
    if ((self->cert.bytes != NULL) == (self->key.bytes != NULL))
        return TRUE;
    wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig", "client-certificate and client-key %s",
                 "go together: one of them is missing");
    return FALSE;
}

static gboolean
read_as_groups(WkKubeConfig *self, JsonObject *user, GError **error)
{
    JsonArray *groups = wk_json_get_array(user, "as-groups");
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);

    if (!json_object_has_member(user, "as-groups"))
        return TRUE;
    for (guint i = 0; groups != NULL && i < json_array_get_length(groups); i++) {
        JsonNode *node = json_array_get_element(groups, i);

        if (!JSON_NODE_HOLDS_VALUE(node))
            break;
        g_ptr_array_add(list, json_node_dup_string(node));
    }
    if (groups == NULL || list->len != json_array_get_length(groups)) {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig", "as-groups is not a list of texts");
        return FALSE;
    }
    g_ptr_array_add(list, NULL);
    self->place.as_groups = (const char *const *)g_ptr_array_free(g_steal_pointer(&list), FALSE);
    return TRUE;
}

static gboolean
read_text(JsonObject *user, const char *member, const char **place, GError **error)
{
    const char *value = NULL;

    if (!wk_json_opt_string(user, member, &value, error))
        return FALSE;
    for (const char *c = value; c != NULL && *c != '\0'; c++) {
        if (g_ascii_iscntrl(*c)) {
            wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig", "%s holds a control character",
                         member);
            return FALSE;
        }
    }
    *place = g_strdup(value);
    return TRUE;
}

static gboolean
read_exec(WkKubeConfig *self, JsonObject *user, const char *folder, GError **error)
{
    JsonObject *exec = wk_json_get_object(user, "exec");

    if (exec == NULL)
        return TRUE;
    self->exec = wk_kube_exec_parse(exec, folder, error);
    return self->exec != NULL;
}

gboolean
wk_kube_config_read_user(WkKubeConfig *self, JsonObject *user, const char *name, const char *folder,
                         GError **error)
{
    if (json_object_has_member(user, "auth-provider")) {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                     "user '%s': auth-provider is not supported, nor by today's kubectl: use exec",
                     name);
        return FALSE;
    }
    if (read_token(self, user, folder, error) && read_certificate(self, user, folder, error)
        && read_text(user, "username", &self->credentials.username, error)
        && read_text(user, "password", &self->credentials.password, error)
        && read_text(user, "as", &self->place.as_user, error)
        && read_text(user, "as-uid", &self->place.as_uid, error)
        && read_as_groups(self, user, error) && read_exec(self, user, folder, error))
        return TRUE;
    g_prefix_error(error, "user '%s': ", name);
    return FALSE;
}
