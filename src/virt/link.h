/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/connection.h"

G_BEGIN_DECLS

/*
 * One life of a source's control connection: opened and watched in a thread of its own, then lost
 * or let go. A link is never used again.
 *
 * Threading: main thread. All callbacks come from the main loop, none after wk_link_drop().
 */
typedef struct _WkLink WkLink;

typedef struct {
    /* Once. @connection (transfer none): NULL when it failed, with @why for people. */
    void (*opened)(WkLink *link, WkConnection *connection, const char *why, gpointer data);
    /* At most once, after an opened() that did not fail. */
    void (*lost)(WkLink *link, const char *why, gpointer data);
    /* After an opened() that did not fail: this domain changed. */
    void (*changed)(WkLink *link, const char *uuid, gpointer data);
} WkLinkListener;

/* Starts to open. Returns: (transfer full). @listener must live as long. */
WkLink *wk_link_open(const char *uri, const WkLinkListener *listener, gpointer data);

/* Lets go of it (transfer full), also while it still opens. */
void wk_link_drop(WkLink *self);

G_END_DECLS
