/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

G_BEGIN_DECLS

/* A shared libvirt connection; closed with its last reference. Any thread. */
typedef struct _WkConnection WkConnection;

/* Worker: opens @uri, with keepalive where the driver has it (5 s, 3 misses).
 * Returns: (transfer full): or NULL with WK_ERROR_UNAVAILABLE. */
WkConnection *wk_connection_open(const char *uri, GError **error);
WkConnection *wk_connection_ref(WkConnection *self);
void wk_connection_unref(WkConnection *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkConnection, wk_connection_unref)

/* Returns: (transfer none): NULL on a launcher source's: only wk_domain_*() are for it. */
virConnectPtr wk_connection_get(WkConnection *self);

G_END_DECLS
