/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gio/gio.h>

#include "model/check.h"
#include "model/view.h"

G_BEGIN_DECLS

/*
 * What the control server asks of the agent. The agent fills in the table; everything is called on
 * the main thread and answers at once, or, where it says async, through @callback.
 */
typedef struct {
    const char *node_name; /* constant for the life of the table */

    /* (transfer full) (element-type WkView): all guests, by name. */
    GPtrArray *(*list_guests)(gpointer agent);

    /* (transfer full): the guest @key means: id, unique id prefix of 4 or more characters, unique
     * name, or SOURCE:NAME. WK_ERROR_NOT_FOUND, or WK_ERROR_INVALID with the candidates. */
    WkView *(*find_guest)(gpointer agent, const char *key, GError **error);

    /* Async: prechecks, then the operation is recorded and queued. finish: (transfer full): the
     * operation as accepted (already so: succeeded). Errors: REFUSED (precheck), CONFLICT (wrong
     * state), UNAVAILABLE (source away), INVALID, NOT_FOUND. A dry run returns an operation that
     * was never recorded. */
    void (*submit)(gpointer agent, const WkRequest *request, GAsyncReadyCallback callback,
                   gpointer user_data);
    WkOperation *(*submit_finish)(gpointer agent, GAsyncResult *result, GError **error);

    /* Asks the operation in flight (or queued) on a guest to stop.
     * (transfer full): the operation; WK_ERROR_CONFLICT when there is none. */
    WkOperation *(*cancel)(gpointer agent, const char *guest, GError **error);

    /* (transfer full) (element-type WkOperation): in flight and the latest finished ones. */
    GPtrArray *(*list_operations)(gpointer agent);
    WkOperation *(*find_operation)(gpointer agent, const char *id, GError **error);

    /* (transfer full) (element-type WkImageView). */
    GPtrArray *(*list_images)(gpointer agent);

    /* (transfer full) (element-type WkCheck): what a person should know of this node. */
    GPtrArray *(*list_checks)(gpointer agent);

    /* Drops what is kept for a time only, once that is over. (transfer full) (element-type WkView):
     * guests whose image is on its way out; @n_history: operations dropped from the history. */
    GPtrArray *(*prune)(gpointer agent, guint *n_history, GError **error);

    /* (transfer full): the text for Prometheus. */
    char *(*metrics)(gpointer agent);

    /* Readiness: NULL when ready, else (transfer full) why not yet. */
    char *(*not_ready)(gpointer agent);
} WkControlApi;

G_END_DECLS
