/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/connection.h"

G_BEGIN_DECLS

/* What only the source needs of a connection. */

/* A domain changed somehow. Main thread (libvirt's event loop). */
typedef void (*WkWatchChanged)(const char *uuid, gpointer data);
/* The connection is lost; @why is constant. Any thread. */
typedef void (*WkWatchClosed)(const char *why, gpointer data);

/* Worker: registers for domain events and for the loss of the connection; undone when the
 * connection closes. @data_free is called once, in any thread, after the last callback; also on
 * failure. At most once for each connection. */
gboolean wk_connection_watch(WkConnection *self, WkWatchChanged changed, WkWatchClosed closed,
                             gpointer data, GDestroyNotify data_free, GError **error);

/* FALSE once libvirt knows that the connection is lost. Asks nobody: any thread. */
gboolean wk_connection_is_alive(WkConnection *self);

/* Another handle on @owner's connection; calls @released when its last reference goes.
 * Returns: (transfer full). */
WkConnection *wk_connection_new_lease(WkConnection *owner, GDestroyNotify released, gpointer data);

G_END_DECLS
