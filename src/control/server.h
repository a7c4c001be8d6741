/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/api.h"

G_BEGIN_DECLS

/*
 * The control server: HTTP/1.1 and JSON on a Unix socket (contract, section 5; data/openapi.yaml),
 * on libsoup's server and the default main context. Main thread only.
 *
 * Bounds: request bodies 64 KiB (413), 64 connections, 16 streams; a stream whose reader does not
 * take 1 MiB of backlog, or a heartbeat within 30 s, is cut off.
 */
typedef struct _WkControl WkControl;

/* Listens on @path, replacing a dead socket there (one that answers: WK_ERROR_CONFLICT, somebody
 * else serves it). Mode 0660 root:@group when root and the group exists; 0600 otherwise, one
 * warning. Peers other than uid 0, members of the group's gid (by SO_PEERCRED gid or supplementary
 * groups of the peer's user) and, when not root, our own uid are refused with 403.
 * A socket handed over by systemd (LISTEN_FDS) is used instead when there is one.
 * @api is copied. Returns: (transfer full), or NULL. */
WkControl *wk_control_new(const char *path, const char *group, const WkControlApi *api,
                          gpointer agent, GError **error);
void wk_control_free(WkControl *self); /* ends streams, removes the socket; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkControl, wk_control_free)

/* The agent tells what changed; streams pass it on. Nothing is kept: copied or written at once. */
void wk_control_guest_changed(WkControl *self, const WkView *view);
void wk_control_guest_gone(WkControl *self, const char *id);
void wk_control_operation_changed(WkControl *self, const WkOperation *operation);

G_END_DECLS
