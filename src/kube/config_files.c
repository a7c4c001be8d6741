/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/config_private.h"

#include "base/error.h"
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define FILE_MAX_BYTES (1024 * 1024)

void
wk_kube_file_clear(WkKubeFile *self)
{
    g_clear_pointer(&self->path, g_free);
    g_clear_pointer(&self->bytes, g_bytes_unref);
}

static GBytes *
read_all(int fd, gsize size, const char *path, GError **error)
{
    g_autofree char *text = g_malloc(size + 1);

    if (!wk_files_read_at(fd, text, size, 0, path, error))
        return NULL;
    text[size] = '\0';
    return g_bytes_new_take(g_steal_pointer(&text), size);
}

/* Symbolic links are followed: a pod's service account and most secret mounts are made of them. */
static int
open_file(const char *path, struct stat *st, GError **error)
{
    WK_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, st) < 0) {
        wk_error_set_errno(error, errno, "reading '%s'", path);
        return -1;
    }
    if (!S_ISREG(st->st_mode) || st->st_size > FILE_MAX_BYTES) {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig", "'%s' is no file of at most 1 MiB",
                     path);
        return -1;
    }
    return g_steal_fd(&fd);
}

gboolean
wk_kube_file_load(WkKubeFile *self, gboolean *changed, GError **error)
{
    WK_AUTO_FD int fd = -1;
    struct stat st;
    GBytes *bytes;

    if (self->path == NULL)
        return TRUE;
    fd = open_file(self->path, &st, error);
    if (fd < 0)
        return FALSE;
    if (self->bytes != NULL && self->inode == st.st_ino && self->mtime_ns == wk_files_mtime_ns(&st)
        && self->size_bytes == (guint64)st.st_size)
        return TRUE;
    bytes = read_all(fd, (gsize)st.st_size, self->path, error);
    if (bytes == NULL)
        return FALSE;
    g_clear_pointer(&self->bytes, g_bytes_unref);
    self->bytes = bytes;
    self->inode = st.st_ino;
    self->mtime_ns = wk_files_mtime_ns(&st);
    self->size_bytes = (guint64)st.st_size;
    if (changed != NULL)
        *changed = TRUE;
    return TRUE;
}

/* A token goes into a header line: nothing in it may end that. */
static gboolean
set_token(WkKubeConfig *self, const char *text, const char *path, GError **error)
{
    g_autofree char *token = g_strstrip(g_strdup(text));

    for (const char *c = token; *c != '\0'; c++) {
        if (g_ascii_isgraph(*c))
            continue;
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig",
                     "'%s' holds no token: it has characters that no token has", path);
        return FALSE;
    }
    if (*token == '\0') {
        wk_error_set(error, WK_ERROR_INVALID, "BadKubeconfig", "'%s' is empty: no token in it",
                     path);
        return FALSE;
    }
    g_free(self->token_text);
    self->token_text = g_steal_pointer(&token);
    return TRUE;
}

gboolean
wk_kube_config_take_files(WkKubeConfig *self, GError **error)
{
    WkKubeCredentials *credentials = &self->credentials;

    credentials->ca_pem = self->ca.bytes;
    credentials->cert_pem = self->cert.bytes;
    credentials->key_pem = self->key.bytes;
    if (self->token.bytes != NULL
        && !set_token(self, g_bytes_get_data(self->token.bytes, NULL),
                      self->token.path != NULL ? self->token.path : "token", error))
        return FALSE;
    credentials->token = self->token_text;
    return TRUE;
}
