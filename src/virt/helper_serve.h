/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/connection.h"

G_BEGIN_DECLS

/* What a helper does once it is confined. Private to the helper; main thread. */
typedef struct _WkHelperServer WkHelperServer;

/* @agent: the socket to serve. @connection, and @lasting for calls that last, are referenced; both
 * NULL: only what needs no libvirt. Starts
 * the threads that make the calls: later there can be none. Lives as long as the process.
 * Returns: (transfer full): or NULL. */
WkHelperServer *
wk_helper_server_new(int agent, WkConnection *connection, WkConnection *lasting, GError **error);

/* Serves until the agent closes its end, or does not keep to the protocol. */
void wk_helper_server_run(WkHelperServer *self);

#ifdef WK_FAILPOINTS
/* Tries what a helper must not be able to do: "open", "connect", "ptrace", "execve", "fork",
 * "kill", "memory", "code", "root". Returns: (transfer none): "refused", "done", or "?". */
const char *wk_helper_probe(const char *what);
#endif

G_END_DECLS
