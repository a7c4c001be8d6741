/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/types.h"

G_BEGIN_DECLS

/* What libvirt's state and reason (virDomainGetState) mean here; @job: a job runs on the domain.
 * Pure and total: a state or reason that this table does not know is read as the safest one. */
WkPower wk_power_of(int state, int reason, gboolean job);

G_END_DECLS
