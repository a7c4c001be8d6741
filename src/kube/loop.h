/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <curl/curl.h>
#include <glib.h>

G_BEGIN_DECLS

/*
 * A curl multi handle on the default main context, with the connections of its transfers. Main
 * thread only.
 *
 * libcurl must not be called from inside its own callbacks. So a callback only takes note, and what
 * follows from it is done here once libcurl has returned: woken() for tickets that were woken, then
 * done() for those that ended. Inside these two everything is allowed, freeing included.
 */
typedef struct _WkKubeLoop WkKubeLoop;

/* One transfer's place in the loop; part of its owner, who keeps it until it is removed. */
typedef struct {
    CURL *easy;
    void (*woken)(gpointer data);
    void (*done)(CURLcode result, gpointer data);
    gpointer data;
    /* the loop's own */
    WkKubeLoop *loop; /* NULL: not in one */
    CURLcode result;
    gboolean awake;
} WkKubeTicket;

/* Returns: (transfer full), or NULL when libcurl can't be used. */
WkKubeLoop *wk_kube_loop_new(void);
/* A loop lives on while there are tickets in it. */
void wk_kube_loop_unref(WkKubeLoop *self); /* NULL is fine */

gboolean wk_kube_loop_add(WkKubeLoop *self, WkKubeTicket *ticket);
/* Ends the transfer, whatever its state; no callback after it. Not inside libcurl's callbacks. */
void wk_kube_loop_remove(WkKubeTicket *ticket);
/* From libcurl's callbacks: woken() is to be called. */
void wk_kube_loop_wake(WkKubeTicket *ticket);

G_END_DECLS
