/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/facts.h"

G_BEGIN_DECLS

#define WK_METADATA_NAMESPACE "https://novasphere.dev/wukong/1.0"
#define WK_METADATA_PREFIX    "wukong"
#define WK_DOMAIN_XML_MAX     (4 * 1024 * 1024)

/* Reads facts out of a domain's XML (libxml2: no network, no entities, bounded).
 * Returns: (transfer full): or NULL with WK_ERROR_CORRUPT. */
WkFacts *wk_domain_xml_parse(const char *xml, GError **error);

/* The save's id in the metadata of a domain's or an image's XML; libvirt's answer for our metadata
 * alone (<saved op='...'/>) is taken too.
 * Returns: (transfer full) (nullable): NULL when there is none (not an error). */
char *wk_domain_xml_get_op(const char *xml);

/* The XML of a domain for another VMI of KubeVirt's: see wk_domain_image_rewrite().
 * Returns: (transfer full): or NULL with WK_ERROR_CORRUPT; WK_ERROR_INVALID when a uid is none. */
char *
wk_domain_xml_rewrite(const char *xml, const char *from_uid, const char *to_uid, GError **error);

/* What a domain needs of the host that is to start it; any member may be NULL. */
typedef struct {
    char *type; /* "kvm", "qemu" */
    char *arch;
    char *machine;
    char *emulator;
    char *cpu; /* the <cpu> element, when it names a model of its own */
} WkStartNeeds;

/* Returns: (transfer full): or NULL with WK_ERROR_CORRUPT. */
WkStartNeeds *wk_domain_xml_parse_needs(const char *xml, GError **error);
void wk_start_needs_free(WkStartNeeds *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkStartNeeds, wk_start_needs_free)

G_END_DECLS
