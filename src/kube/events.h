/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/outlet.h"

G_BEGIN_DECLS

/*
 * Events on their way (events.k8s.io/v1). In order, one at a time. The same said again within 6
 * minutes is a number on the one that is there (series), not another one. One Wukong gets 25, then
 * one in 5 minutes, as in client-go; more are dropped. 1,000 wait for a server that is away, then
 * the oldest is dropped. Whatever goes wrong here keeps nothing else from its work. Main thread.
 */
typedef struct _WkEvents WkEvents;

WkEvents *wk_events_new(WkOutlet *outlet); /* (transfer full) */
void wk_events_free(WkEvents *self);       /* after wk_outlet_stop(); NULL is fine */

void wk_events_add(WkEvents *self, WkKubeEvent *event); /* (transfer full) */
/* The next goes out, when none is under way and the outlet is open. */
void wk_events_pump(WkEvents *self);
void wk_events_stop(WkEvents *self); /* nothing more goes out */
guint wk_events_count(WkEvents *self);

G_END_DECLS
