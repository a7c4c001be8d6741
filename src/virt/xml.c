/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/xml.h"

#include "base/error.h"
#include "base/names.h"

#include <libxml/parser.h>
#include <string.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlParserCtxt, xmlFreeParserCtxt)

/* libvirt writes no document type, and entities live only there. Stopping here rather than looking
 * at the finished document keeps entities from being expanded in attributes at all. */
static void
on_document_type(void *context, const xmlChar *name G_GNUC_UNUSED,
                 const xmlChar *external_id G_GNUC_UNUSED, const xmlChar *system_id G_GNUC_UNUSED)
{
    xmlStopParser(context);
}

static void
init_parser(void)
{
    static gsize once;

    if (g_once_init_enter(&once)) {
        xmlInitParser();
        g_once_init_leave(&once, 1);
    }
}

static void
set_parse_error(GError **error, const xmlParserCtxt *context)
{
    const xmlError *cause = &context->lastError;
    g_autofree char *words = wk_name_printable(cause->message);

    g_strchomp(words);
    wk_error_set(error, WK_ERROR_CORRUPT, NULL, "XML of a domain, line %d: %s", cause->line,
                 cause->code == XML_ERR_USER_STOP || *words == '\0' ? "not allowed here" : words);
}

xmlDoc *
wk_xml_parse(const char *text, gsize max_bytes, GError **error)
{
    const gsize length = text != NULL ? strnlen(text, max_bytes + 1) : 0;
    g_autoptr(xmlParserCtxt) context = NULL;
    g_autoptr(xmlDoc) document = NULL;

    if (length == 0 || length > max_bytes) {
        wk_error_set(error, WK_ERROR_CORRUPT, NULL, "XML of a domain is %s",
                     length == 0 ? "empty" : "too long");
        return NULL;
    }
    init_parser();
    context = xmlNewParserCtxt();
    if (context == NULL)
        g_error("out of memory");
    context->sax->internalSubset = on_document_type;
    document = xmlCtxtReadMemory(context, text, (int)length, NULL, NULL,
                                 XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING
                                     | XML_PARSE_NOCDATA);
    if (document == NULL || xmlDocGetRootElement(document) == NULL) {
        set_parse_error(error, context);
        return NULL;
    }
    return g_steal_pointer(&document);
}

gboolean
wk_xml_is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns == NULL
           && g_str_equal((const char *)node->name, name);
}

xmlNode *
wk_xml_child(xmlNode *node, const char *name)
{
    xmlNode *child = node != NULL ? node->children : NULL;

    while (child != NULL && !wk_xml_is(child, name))
        child = child->next;
    return child;
}

/* libxml2's allocator need not be GLib's. */
static char *
take(xmlChar *value)
{
    g_autofree char *copy = g_strdup((const char *)value);

    if (value != NULL)
        xmlFree(value);
    return copy != NULL && *g_strstrip(copy) != '\0' ? g_steal_pointer(&copy) : NULL;
}

char *
wk_xml_attribute(xmlNode *node, const char *name)
{
    return node != NULL ? take(xmlGetNoNsProp(node, (const xmlChar *)name)) : NULL;
}

char *
wk_xml_text(xmlNode *node)
{
    return node != NULL ? take(xmlNodeGetContent(node)) : NULL;
}

char *
wk_xml_dump(xmlNode *node)
{
    xmlBuffer *buffer = xmlBufferCreate();
    char *text;

    (void)xmlNodeDump(buffer, node->doc, node, 0, 0);
    text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}
