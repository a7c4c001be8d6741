/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/client.h"
#include "kube/loop.h"

G_BEGIN_DECLS

/*
 * One request on its way: an easy handle with everything that makes it ours, and its answer as far
 * as it has come. Main thread only.
 */
typedef struct _WkKubeTransfer WkKubeTransfer;

typedef struct {
    WkKubeRequest request; /* kept by the caller as long as the transfer */
    gboolean is_stream;    /* a good answer is not bounded: woken() takes it piece by piece */
    guint connect_ms;
    gsize body_max_bytes; /* of a good answer that is no stream */
    const char *user_agent;
    void (*woken)(gpointer data); /* streams: there is something to take; NULL otherwise */
    void (*done)(gpointer data);  /* once: see the getters below */
    gpointer data;
} WkKubeTransferOptions;

/* Starts in @loop with what @config says now. Both callbacks come from the main loop; the transfer
 * may be freed in them. Returns: (transfer full), or NULL with WK_ERROR_FAILED. */
WkKubeTransfer *wk_kube_transfer_new(WkKubeLoop *loop, WkKubeConfig *config,
                                     const WkKubeTransferOptions *options, GError **error);
void wk_kube_transfer_free(WkKubeTransfer *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkKubeTransfer, wk_kube_transfer_free)

/* 0: no answer yet. */
guint wk_kube_transfer_get_status(WkKubeTransfer *self);
/* Monotonic time of the last byte from the server; of the start before any. */
gint64 wk_kube_transfer_get_heard_us(WkKubeTransfer *self);
/* The answer so far, without what was taken; the caller of a stream takes from its start. */
GString *wk_kube_transfer_get_body(WkKubeTransfer *self);
/* After done(): FALSE with the error that the answer, or its absence, is. */
gboolean wk_kube_transfer_check(WkKubeTransfer *self, GError **error);

G_END_DECLS
