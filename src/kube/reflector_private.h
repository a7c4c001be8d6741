/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/reflector.h"

G_BEGIN_DECLS

/* For tests: every wait of @self is @divisor times shorter from now on. */
void wk_reflector_set_haste(WkReflector *self, guint divisor);
/* After so long without a failure the backoff starts over; after so long a field selector that was
 * refused is tried again. */
void wk_reflector_set_spans(WkReflector *self, guint healthy_ms, guint reselect_ms);

G_END_DECLS
