/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/connection.h"
#include "virt/domain.h"
#include "virt/helper_wire.h"
#include "virt/launchers.h"

G_BEGIN_DECLS

/*
 * wk_domain_*() on a launcher source's connection. Private to virt/: each of them comes here when
 * the connection has launchers. Workers; errors as domain.h says.
 */

/* Returns: (transfer full): a connection without a libvirt of its own. */
WkConnection *wk_connection_new_launchers(WkLaunchers *launchers);
/* Returns: (transfer none) (nullable): NULL: @self is a libvirt's. */
WkLaunchers *wk_connection_get_launchers(const WkConnection *self);

/* @method: one of those that answer with a look. */
gboolean wk_remote_look(WkLaunchers *launchers, const char *id, WkHelperMethod method, WkLook *look,
                        GError **error);
WkFacts *wk_remote_read_facts(WkLaunchers *launchers, const char *id, GError **error);

/* A call whose answer is only that it was done; @text may be NULL. */
gboolean wk_remote_do(WkLaunchers *launchers, const char *id, WkHelperMethod method,
                      const char *text, GError **error);
gboolean wk_remote_progress(WkLaunchers *launchers, const char *id, guint64 *done, guint64 *total,
                            GError **error);
gboolean wk_remote_read_image(WkLaunchers *launchers, const char *id, const char *xml, char **op,
                              WkFacts **facts, GError **error);
char *wk_remote_rewrite_image(WkLaunchers *launchers, const char *id, const char *xml,
                              const char *from, const char *to, GError **error);

typedef enum {
    WK_LAUNCHER_UNKNOWN, /* no such guest */
    WK_LAUNCHER_NO_POD,
    WK_LAUNCHER_POD,
} WkLauncherPresence;

WkLauncherPresence wk_launchers_get_presence(WkLaunchers *self, const char *id);

/* What only launchers.c knows: makes @request of the guest's helper, started if need be.
 * @request->domain is filled in. WK_ERROR_NOT_FOUND: no such guest; WK_ERROR_CONFLICT: it has no
 * pod. Returns: (transfer full). */
JsonObject *
wk_launchers_call(WkLaunchers *self, const char *id, WkHelperRequest *request, GError **error);
/* Returns: (transfer full) (element-type WkDomainEntry): all guests, as peeked at. */
GPtrArray *wk_launchers_list(WkLaunchers *self);

/* Frees a WkDomainEntry. */
void wk_domain_entry_free(gpointer entry);

G_END_DECLS
