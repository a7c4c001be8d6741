/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/domain_xml.h"

#include "base/error.h"
#include "virt/domain_devices.h"
#include "virt/xml.h"

static const struct {
    const char *name;
    guint64 bytes;
} memory_units[] = {
    { "b", 1 },
    { "bytes", 1 },
    { "KB", 1000 },
    { "k", G_GUINT64_CONSTANT(1) << 10 },
    { "KiB", G_GUINT64_CONSTANT(1) << 10 },
    { "MB", 1000 * 1000 },
    { "M", G_GUINT64_CONSTANT(1) << 20 },
    { "MiB", G_GUINT64_CONSTANT(1) << 20 },
    { "GB", 1000 * 1000 * 1000 },
    { "G", G_GUINT64_CONSTANT(1) << 30 },
    { "GiB", G_GUINT64_CONSTANT(1) << 30 },
    { "TB", G_GUINT64_CONSTANT(1000) * 1000 * 1000 * 1000 },
    { "T", G_GUINT64_CONSTANT(1) << 40 },
    { "TiB", G_GUINT64_CONSTANT(1) << 40 },
};

static gboolean
parse_memory(const char *text, const char *unit, guint64 *kib)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &number, NULL))
        return FALSE;
    for (gsize i = 0; i < G_N_ELEMENTS(memory_units); i++) {
        if (g_ascii_strcasecmp(unit, memory_units[i].name) != 0)
            continue;
        if (number > G_MAXUINT64 / memory_units[i].bytes)
            return FALSE;
        *kib = number * memory_units[i].bytes / 1024;
        return TRUE;
    }
    return FALSE;
}

static gboolean
read_memory(xmlNode *domain, guint64 *kib, GError **error)
{
    xmlNode *current = wk_xml_child(domain, "currentMemory");
    xmlNode *node = current != NULL ? current : wk_xml_child(domain, "memory");
    g_autofree char *text = wk_xml_text(node);
    g_autofree char *unit = wk_xml_attribute(node, "unit");

    if (text != NULL && parse_memory(text, unit != NULL ? unit : "KiB", kib))
        return TRUE;
    wk_error_set(error, WK_ERROR_CORRUPT, NULL, "XML of a domain: no memory size that can be read");
    return FALSE;
}

static xmlDoc *
parse_domain(const char *xml, GError **error)
{
    g_autoptr(xmlDoc) document = wk_xml_parse(xml, WK_DOMAIN_XML_MAX, error);

    if (document == NULL || wk_xml_is(xmlDocGetRootElement(document), "domain"))
        return g_steal_pointer(&document);
    wk_error_set(error, WK_ERROR_CORRUPT, NULL, "XML of a domain: its root is something else");
    return NULL;
}

/* The name becomes part of the path of the guest's managed save. */
static gboolean
read_identity(xmlNode *domain, WkFacts *facts, GError **error)
{
    facts->uuid = wk_xml_text(wk_xml_child(domain, "uuid"));
    facts->name = wk_xml_text(wk_xml_child(domain, "name"));
    if (facts->uuid == NULL || !g_uuid_string_is_valid(facts->uuid)) {
        wk_error_set(error, WK_ERROR_CORRUPT, NULL, "XML of a domain: no UUID");
        return FALSE;
    }
    if (facts->name == NULL || strchr(facts->name, '/') != NULL) {
        wk_error_set(error, WK_ERROR_CORRUPT, NULL, "XML of domain %s: no name that can be used",
                     facts->uuid);
        return FALSE;
    }
    return TRUE;
}

static xmlNode *
os_type(xmlNode *domain)
{
    return wk_xml_child(wk_xml_child(domain, "os"), "type");
}

static char *
emulator_of(xmlNode *domain)
{
    return wk_xml_text(wk_xml_child(wk_xml_child(domain, "devices"), "emulator"));
}

WkFacts *
wk_domain_xml_parse(const char *xml, GError **error)
{
    g_autoptr(xmlDoc) document = parse_domain(xml, error);
    g_autoptr(WkFacts) facts = wk_facts_new();
    xmlNode *domain;

    if (document == NULL)
        return NULL;
    domain = xmlDocGetRootElement(document);
    if (!read_identity(domain, facts, error) || !read_memory(domain, &facts->memory_kib, error))
        return NULL;
    facts->emulator = emulator_of(domain);
    facts->machine = wk_xml_attribute(os_type(domain), "machine");
    wk_domain_devices_read(domain, facts);
    return g_steal_pointer(&facts);
}

static gboolean
is_saved(const xmlNode *node)
{
    return node->type == XML_ELEMENT_NODE && g_str_equal((const char *)node->name, "saved")
           && node->ns != NULL && g_str_equal((const char *)node->ns->href, WK_METADATA_NAMESPACE);
}

char *
wk_domain_xml_get_op(const char *xml)
{
    g_autoptr(xmlDoc) document = wk_xml_parse(xml, WK_DOMAIN_XML_MAX, NULL);
    xmlNode *root = document != NULL ? xmlDocGetRootElement(document) : NULL;
    xmlNode *node;

    if (root == NULL)
        return NULL;
    /* virDomainGetMetadata takes the namespace off. */
    if (wk_xml_is(root, "saved"))
        return wk_xml_attribute(root, "op");
    node = wk_xml_is(root, "domain") ? wk_xml_child(root, "metadata") : NULL;
    for (node = node != NULL ? node->children : NULL; node != NULL; node = node->next) {
        if (is_saved(node))
            return wk_xml_attribute(node, "op");
    }
    return NULL;
}

/* Only a CPU that is spelled out can be compared; "host-passthrough" is whatever the host has. */
static char *
comparable_cpu(xmlNode *domain)
{
    xmlNode *cpu = wk_xml_child(domain, "cpu");
    g_autofree char *mode = wk_xml_attribute(cpu, "mode");

    if (cpu == NULL || wk_xml_child(cpu, "model") == NULL
        || (mode != NULL && !g_str_equal(mode, "custom")))
        return NULL;
    return wk_xml_dump(cpu);
}

WkStartNeeds *
wk_domain_xml_parse_needs(const char *xml, GError **error)
{
    g_autoptr(xmlDoc) document = parse_domain(xml, error);
    WkStartNeeds *needs;
    xmlNode *domain;

    if (document == NULL)
        return NULL;
    domain = xmlDocGetRootElement(document);
    needs = g_new0(WkStartNeeds, 1);
    needs->type = wk_xml_attribute(domain, "type");
    needs->arch = wk_xml_attribute(os_type(domain), "arch");
    needs->machine = wk_xml_attribute(os_type(domain), "machine");
    needs->emulator = emulator_of(domain);
    needs->cpu = comparable_cpu(domain);
    return needs;
}

void
wk_start_needs_free(WkStartNeeds *self)
{
    if (self == NULL)
        return;
    g_free(self->type);
    g_free(self->arch);
    g_free(self->machine);
    g_free(self->emulator);
    g_free(self->cpu);
    g_free(self);
}
