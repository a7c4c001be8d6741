/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/outlet.h"

G_BEGIN_DECLS

/*
 * The Lease wukongd-NODE (coordination.k8s.io/v1): renewed while this agent lives, so that others
 * can see that it does not. Made when it is not there. It goes out whether the server is thought
 * to be away or not: it is what finds out on a node where nothing happens. Main thread.
 */
typedef struct _WkLease WkLease;

/* Starts by itself. @renew_s and @duration_s: 0 for 10 and 40. Returns: (transfer full). */
WkLease *wk_lease_new(WkOutlet *outlet, guint renew_s, guint duration_s);
void wk_lease_free(WkLease *self); /* after wk_outlet_stop(); NULL is fine */
void wk_lease_hurry(WkLease *self);
gboolean wk_lease_is_flying(const WkLease *self);
void wk_lease_stop(WkLease *self); /* no more renewals */

G_END_DECLS
