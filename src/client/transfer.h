/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <curl/curl.h>

#include "client/lines.h"
#include "wukong/wukong.h"

G_BEGIN_DECLS

#define WK_TRANSFER_BODY_MAX (16 * 1024 * 1024) /* bytes of one answer */

struct _WukongClient {
    char *socket_path;
    CURLM *multi; /* keeps the connection between calls */
    guint request_ms;
    guint silence_ms;
};

/* One exchange with the daemon. */
typedef struct {
    const char *method;
    const char *path;
    const char *body;   /* JSON text; NULL: none */
    WkLines *lines;     /* takes the body of a good answer as a stream; NULL: it is collected */
    gint64 deadline_us; /* monotonic; 0: none */
    guint silence_ms;   /* longest time without a byte; 0: no matter */
} WkTransferCall;

/* Blocks until the exchange is over. Returns: (transfer full): the body collected ("" for a
 * stream), or NULL: WUKONG_ERROR, G_IO_ERROR_CANCELLED or G_IO_ERROR_TIMED_OUT. */
GString *wk_transfer_run(WukongClient *client, const WkTransferCall *call,
                         GCancellable *cancellable, GError **error);

G_END_DECLS
