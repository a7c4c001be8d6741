/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>

G_BEGIN_DECLS

/*
 * Reading XML that a tenant may have written: no network, no files, no document type (so no
 * entities), bounded size; libxml2 bounds the depth (256).
 */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* Returns: (transfer full): a document with a root, or NULL with WK_ERROR_CORRUPT. */
xmlDoc *wk_xml_parse(const char *text, gsize max_bytes, GError **error);

/* The first child element @name of @node (no namespace); @node may be NULL.
 * Returns: (transfer none) (nullable). */
xmlNode *wk_xml_child(xmlNode *node, const char *name);

gboolean wk_xml_is(const xmlNode *node, const char *name);

/* Returns: (transfer full) (nullable): without spaces around it; NULL also when nothing is left.
 * @node may be NULL. */
char *wk_xml_attribute(xmlNode *node, const char *name);
char *wk_xml_text(xmlNode *node);

/* Returns: (transfer full): @node as text. */
char *wk_xml_dump(xmlNode *node);

G_END_DECLS
