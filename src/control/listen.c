/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control/internal.h"

#include "base/error.h"

#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define LISTEN_BACKLOG 64

/* Returns: (transfer full): the first Unix socket among those that systemd handed over; NULL
 * without @error when there are none. */
static GSocket *
take_activated(GError **error)
{
    const int n = sd_listen_fds(TRUE); /* children must not think the sockets were theirs */

    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
        if (sd_is_socket_unix(fd, SOCK_STREAM, TRUE, NULL, 0) > 0)
            return g_socket_new_from_fd(fd, error);
    }
    if (n < 0)
        wk_error_set_errno(error, -n, "taking the sockets that systemd handed over");
    if (n > 0)
        wk_error_set(error, WK_ERROR_INVALID, NULL,
                     "systemd handed over %d sockets, but no listening Unix socket: "
                     "the socket unit needs ListenStream= with a path",
                     n);
    return NULL;
}

static GSocketAddress *
address_of(const char *path, GError **error)
{
    if (*path == '\0' || strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        wk_error_set(error, WK_ERROR_INVALID, NULL,
                     "'%s' can't be the path of a socket: it must have 1 to %zu bytes", path,
                     sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
        return NULL;
    }
    return g_unix_socket_address_new(path);
}

/* TRUE when nobody answers at @address; an error when somebody does, or it can't be told. */
static gboolean
is_dead(GSocketAddress *address, const char *path, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(GSocket) probe =
        g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, error);

    if (probe == NULL)
        return FALSE;
    /* A full queue of a live server says "would block": alive. */
    g_socket_set_blocking(probe, FALSE);
    if (g_socket_connect(probe, address, NULL, &local)
        || g_error_matches(local, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)
        || g_error_matches(local, G_IO_ERROR, G_IO_ERROR_PENDING)) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL,
                     "another wukongd serves '%s': stop it first, or choose another socket "
                     "with --control",
                     path);
        return FALSE;
    }
    if (g_error_matches(local, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED))
        return TRUE;
    g_propagate_prefixed_error(error, g_steal_pointer(&local), "asking who serves '%s': ", path);
    return FALSE;
}

/* Removes a socket that nobody serves any more. Anything else there is left alone. */
static gboolean
remove_stale(GSocketAddress *address, const char *path, GError **error)
{
    struct stat st;

    if (lstat(path, &st) < 0) {
        if (errno == ENOENT)
            return TRUE;
        wk_error_set_errno(error, errno, "looking at the socket '%s'", path);
        return FALSE;
    }
    if (!S_ISSOCK(st.st_mode)) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL,
                     "'%s' is there and is not a socket: remove it, or choose another socket "
                     "with --control",
                     path);
        return FALSE;
    }
    if (!is_dead(address, path, error))
        return FALSE;
    if (unlink(path) < 0 && errno != ENOENT) {
        wk_error_set_errno(error, errno, "removing the dead socket '%s'", path);
        return FALSE;
    }
    return TRUE;
}

/* Binds so that the socket is never wider than 0600; its final mode comes when it listens. */
static gboolean
bind_narrow(GSocket *socket, GSocketAddress *address, GError **error)
{
    const mode_t old = umask(0177);
    const gboolean ok = g_socket_bind(socket, address, FALSE, error);

    (void)umask(old);
    return ok;
}

static gboolean
bind_socket(GSocket *socket, GSocketAddress *address, const char *path, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (bind_narrow(socket, address, &local))
        return TRUE;
    if (!g_error_matches(local, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE)) {
        g_propagate_prefixed_error(error, g_steal_pointer(&local),
                                   "making the socket '%s': ", path);
        return FALSE;
    }
    return remove_stale(address, path, error) && bind_narrow(socket, address, error);
}

/* The group gets in only once everything else is done. */
static gboolean
open_to_group(const char *path, gid_t gid, GError **error)
{
    if (lchown(path, 0, gid) == 0 && chmod(path, 0660) == 0)
        return TRUE;
    wk_error_set_errno(error, errno, "giving the socket '%s' to its group", path);
    return FALSE;
}

static gboolean
start_listening(GSocket *socket, const char *path, const gid_t *gid, WkListen *result,
                GError **error)
{
    struct stat st;

    g_socket_set_listen_backlog(socket, LISTEN_BACKLOG);
    if (!g_socket_listen(socket, error) || (gid != NULL && !open_to_group(path, *gid, error)))
        return FALSE;
    if (lstat(path, &st) < 0) {
        wk_error_set_errno(error, errno, "looking at the socket '%s'", path);
        return FALSE;
    }
    *result = (WkListen){
        .socket = g_object_ref(socket), .bound = TRUE, .dev = st.st_dev, .ino = st.st_ino
    };
    return TRUE;
}

static gboolean
open_own(const char *path, const gid_t *gid, WkListen *result, GError **error)
{
    g_autoptr(GSocket) socket = NULL;
    g_autoptr(GSocketAddress) address = address_of(path, error);

    if (address == NULL)
        return FALSE;
    socket =
        g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, error);
    if (socket == NULL || !bind_socket(socket, address, path, error))
        return FALSE;
    if (start_listening(socket, path, gid, result, error))
        return TRUE;
    (void)unlink(path);
    return FALSE;
}

gboolean
wk_listen_open(const char *path, const gid_t *gid, WkListen *result, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(GSocket) socket = take_activated(&local);

    if (local != NULL) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (socket == NULL)
        return open_own(path, gid, result, error);
    *result = (WkListen){ .socket = g_steal_pointer(&socket) };
    return TRUE;
}
