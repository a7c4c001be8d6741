/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/facts.h"
#include "virt/xml.h"

G_BEGIN_DECLS

/* Fills disks, devices and shares of @facts (whose uuid is set) from the <domain> element: every
 * place that holds guest data, and what ties the guest to this host. */
void wk_domain_devices_read(xmlNode *domain, WkFacts *facts);

G_END_DECLS
