/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control/internal.h"

#include "base/error.h"

#include <errno.h>
#include <sys/socket.h>

/* What the kernel says in place of an id that our user namespace does not know. */
#define OVERFLOW_ID 65534

/*
 * The supplementary groups are asked of the kernel (SO_PEERGROUPS), as it noted them when the peer
 * connected. A look-up of the user's groups would ask NSS, which may block for seconds, and would
 * answer for a user's name where a process was meant.
 */
static gboolean
read_groups(int fd, WkPeer *peer, GError **error)
{
    socklen_t length = 0;
    int outcome = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &length);

    while (outcome < 0 && errno == ERANGE) {
        g_free(peer->groups);
        peer->groups = g_malloc0(length);
        outcome = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->groups, &length);
    }
    if (outcome < 0) {
        wk_error_set_errno(error, errno, "asking for the groups of the peer");
        return FALSE;
    }
    peer->n_groups = length / sizeof(gid_t);
    return TRUE;
}

gboolean
wk_peer_read(GSocket *socket, WkPeer *peer, GError **error)
{
    const int fd = g_socket_get_fd(socket);
    struct ucred ucred = { 0, (uid_t)-1, (gid_t)-1 };
    socklen_t length = sizeof ucred;
    g_auto(WkPeer) result = { 0 };

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &length) < 0) {
        wk_error_set_errno(error, errno, "asking who the peer is");
        return FALSE;
    }
    if (!read_groups(fd, &result, error))
        return FALSE;
    result.uid = ucred.uid;
    result.gid = ucred.gid;
    *peer = result;
    result = (WkPeer){ 0 };
    return TRUE;
}

void
wk_peer_clear(WkPeer *peer)
{
    g_clear_pointer(&peer->groups, g_free);
    peer->n_groups = 0;
}

static gboolean
in_group(const WkPeer *peer, gid_t gid)
{
    if (peer->gid == gid)
        return TRUE;
    for (gsize i = 0; i < peer->n_groups; i++) {
        if (peer->groups[i] == gid)
            return TRUE;
    }
    return FALSE;
}

gboolean
wk_peer_check(const WkPeer *peer, uid_t own_uid, const gid_t *gid, GError **error)
{
    if (peer->uid == OVERFLOW_ID || peer->uid == (uid_t)-1) {
        wk_error_set(error, WK_ERROR_DENIED, NULL,
                     "the caller's user is not known on this host (another user namespace): "
                     "call from the host, as root or as a member of group wukong");
        return FALSE;
    }
    if (peer->uid == 0 || peer->uid == own_uid)
        return TRUE;
    if (gid != NULL && *gid != OVERFLOW_ID && in_group(peer, *gid))
        return TRUE;
    wk_error_set(error, WK_ERROR_DENIED, NULL,
                 "user %u may not use this daemon: join group wukong and log in again, "
                 "or be root",
                 (unsigned)peer->uid);
    return FALSE;
}
