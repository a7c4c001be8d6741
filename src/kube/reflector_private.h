/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/reflector.h"

G_BEGIN_DECLS

/* For tests: every wait of @self is @divisor times shorter from now on. */
void wk_reflector_set_haste(WkReflector *self, guint divisor);

G_END_DECLS
