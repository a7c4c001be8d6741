/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/domain_xml.h"

#include "base/error.h"
#include "virt/xml.h"

#include <string.h>

/* KubeVirt's folder of a VMI: sockets of its consoles, and the logs beside them. */
#define PRIVATE_DIR "/var/run/kubevirt-private/"

typedef struct {
    char *from; /* "/var/run/kubevirt-private/<uid>/" */
    char *to;
} Move;

static void
move_clear(Move *move)
{
    g_free(move->from);
    g_free(move->to);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Move, move_clear)

static void
move_attribute(xmlAttr *attribute, const Move *move)
{
    xmlChar *value = xmlNodeListGetString(attribute->doc, attribute->children, 1);
    g_autofree char *moved = NULL;

    if (value != NULL && g_str_has_prefix((const char *)value, move->from)) {
        moved = g_strconcat(move->to, (const char *)value + strlen(move->from), NULL);
        (void)xmlSetNsProp(attribute->parent, attribute->ns, attribute->name,
                           (const xmlChar *)moved);
    }
    if (value != NULL)
        xmlFree(value);
}

/* libxml2 bounds the depth (virt/xml.h). */
static void
move_below(xmlNode *node, const Move *move)
{
    for (; node != NULL; node = node->next) {
        if (node->type != XML_ELEMENT_NODE)
            continue;
        for (xmlAttr *attribute = node->properties; attribute != NULL; attribute = attribute->next)
            move_attribute(attribute, move);
        move_below(node->children, move);
    }
}

char *
wk_domain_xml_rewrite(const char *xml, const char *from_uid, const char *to_uid, GError **error)
{
    g_autoptr(xmlDoc) document = NULL;
    g_auto(Move) move = { 0 };
    xmlNode *root;

    if (!g_uuid_string_is_valid(from_uid) || !g_uuid_string_is_valid(to_uid)) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "no uid of a VMI");
        return NULL;
    }
    document = wk_xml_parse(xml, WK_DOMAIN_XML_MAX, error);
    if (document == NULL)
        return NULL;
    root = xmlDocGetRootElement(document);
    if (!wk_xml_is(root, "domain")) {
        wk_error_set(error, WK_ERROR_CORRUPT, NULL, "XML of a domain: its root is something else");
        return NULL;
    }
    move.from = g_strconcat(PRIVATE_DIR, from_uid, "/", NULL);
    move.to = g_strconcat(PRIVATE_DIR, to_uid, "/", NULL);
    move_below(wk_xml_child(root, "devices"), &move);
    return wk_xml_dump(root);
}
