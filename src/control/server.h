/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/api.h"

G_BEGIN_DECLS

/*
 * The control server: HTTP/1.1 and JSON on a Unix socket (contract, section 5; data/openapi.yaml),
 * on libsoup's server and the default main context. Main thread only.
 *
 * Bounds: one request a connection, request bodies 64 KiB (413), 64 connections and 16 streams
 * (503); a peer that neither sends nor takes anything for 30 s is dropped, and so is the reader of
 * a stream that leaves more than 1 MiB unread.
 */
typedef struct _WkControl WkControl;

/* Listens on @path, whose folder must be there, replacing a dead socket (one that answers:
 * WK_ERROR_CONFLICT, somebody else serves it; anything but a socket is left alone, the same error).
 * Mode 0660 root:@group when root and the group exists; 0600 otherwise, with one warning when root.
 * Others than uid 0, our own uid, and processes with the group's gid, as their own or a
 * supplementary one when they connected (SO_PEERCRED, SO_PEERGROUPS), are refused with 403; so is
 * uid 65534. A socket handed over by systemd (LISTEN_FDS) is used instead when there is one.
 * @api is copied; @agent must outlive the server. Returns: (transfer full), or NULL. */
WkControl *wk_control_new(const char *path, const char *group, const WkControlApi *api,
                          gpointer agent, GError **error);
void wk_control_free(WkControl *self); /* ends streams, removes the socket; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkControl, wk_control_free)

/* The agent tells what changed; streams pass it on. Nothing is kept: copied or written at once.
 * @self may be NULL. */
void wk_control_guest_changed(WkControl *self, const WkView *view);
void wk_control_guest_gone(WkControl *self, const char *id);
void wk_control_operation_changed(WkControl *self, const WkOperation *operation);

G_END_DECLS
