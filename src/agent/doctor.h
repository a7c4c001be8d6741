/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/engine.h"
#include "agent/wukongs.h"
#include "model/check.h"

G_BEGIN_DECLS

/* What `wukongctl doctor` tells of this node. Main thread; reads only what is known already, and
 * two small files of the host.
 * Returns: (transfer full) (element-type WkCheck). @sources: (element-type WkSource); @wukongs:
 * NULL without Kubernetes. */
GPtrArray *wk_doctor_examine(WkEngine *engine, GPtrArray *sources, WkWukongs *wukongs);

G_END_DECLS
