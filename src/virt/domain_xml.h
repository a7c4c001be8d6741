/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/facts.h"

G_BEGIN_DECLS

#define WK_METADATA_NAMESPACE "https://novasphere.dev/wukong/1.0"
#define WK_DOMAIN_XML_MAX     (4 * 1024 * 1024)

/* Reads facts out of a domain's XML (libxml2: no network, no entities, bounded).
 * Returns: (transfer full): or NULL with WK_ERROR_CORRUPT. */
WkFacts *wk_domain_xml_parse(const char *xml, GError **error);

/* The save's id in the metadata of a domain's or an image's XML.
 * Returns: (transfer full) (nullable): NULL when there is none (not an error). */
char *wk_domain_xml_get_op(const char *xml);

G_END_DECLS
