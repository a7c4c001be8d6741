/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/domain_devices.h"

#define SWTPM_FOLDER "/var/lib/libvirt/swtpm"

static gboolean
attribute_is(xmlNode *node, const char *name, const char *value)
{
    g_autofree char *text = wk_xml_attribute(node, name);

    return g_strcmp0(text, value) == 0;
}

/* A place without a usable path is still a place: it is listed as one that can't be looked at. */
static void
add_place(WkFacts *facts, WkDiskKind kind, const char *path, const char *target, gboolean readonly,
          gboolean transient)
{
    const gboolean usable = path != NULL && *path == '/';

    wk_facts_add_disk(facts, usable ? kind : WK_DISK_NETWORK, usable ? path : NULL, target,
                      readonly, transient);
}

static void
add_device(WkFacts *facts, const char *what, char *which)
{
    g_autofree char *owned = which;

    g_ptr_array_add(facts->devices,
                    owned != NULL ? g_strdup_printf("%s %s", what, owned) : g_strdup(what));
}

/* Kind and path of a <source> element of @type; network, volume and the rest have no path. */
static WkDiskKind
read_source(const char *type, xmlNode *source, char **path)
{
    if (g_strcmp0(type, "file") == 0) {
        *path = wk_xml_attribute(source, "file");
        return WK_DISK_FILE;
    }
    if (g_strcmp0(type, "block") == 0) {
        *path = wk_xml_attribute(source, "dev");
        return WK_DISK_BLOCK;
    }
    return WK_DISK_NETWORK;
}

/* A qcow2 image may keep its data in a file of its own (in the XML since libvirt 10.10). */
static void
read_data_store(xmlNode *store, const char *target, gboolean readonly, WkFacts *facts)
{
    g_autofree char *type = wk_xml_attribute(store, "type");
    g_autofree char *path = NULL;
    const WkDiskKind kind = read_source(type, wk_xml_child(store, "source"), &path);

    add_place(facts, kind, path, target, readonly, FALSE);
}

static void
read_disk(xmlNode *node, WkFacts *facts)
{
    xmlNode *source = wk_xml_child(node, "source");
    xmlNode *store = wk_xml_child(source, "dataStore");
    g_autofree char *type = wk_xml_attribute(node, "type");
    g_autofree char *target = wk_xml_attribute(wk_xml_child(node, "target"), "dev");
    g_autofree char *path = NULL;
    const WkDiskKind kind = read_source(type, source, &path);
    const gboolean readonly =
        attribute_is(node, "device", "cdrom") || wk_xml_child(node, "readonly") != NULL;

    if (source == NULL || (kind != WK_DISK_NETWORK && path == NULL))
        return; /* an empty drive */
    add_place(facts, kind, path, target, readonly, wk_xml_child(node, "transient") != NULL);
    if (store != NULL)
        read_data_store(store, target, readonly, facts);
    if (g_strcmp0(type, "nvme") == 0)
        add_device(facts, "NVMe disk", g_strdup(target));
}

/* "0x0000", "0x01", "0x00", "0x0" -> "0000:01:00.0" */
static char *
pci_address(xmlNode *address)
{
    static const char *const parts[] = { "domain", "bus", "slot", "function" };
    static const char *const ends[] = { ":", ":", ".", "" };
    g_autoptr(GString) text = g_string_new(NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_autofree char *part = wk_xml_attribute(address, parts[i]);

        if (part == NULL)
            return NULL;
        g_string_append(text, g_str_has_prefix(part, "0x") ? part + 2 : part);
        g_string_append(text, ends[i]);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* "0x046d", "0xc52b" -> "046d:c52b"; without them bus and device. */
static char *
usb_device(xmlNode *source)
{
    xmlNode *address = wk_xml_child(source, "address");
    g_autofree char *vendor = wk_xml_attribute(wk_xml_child(source, "vendor"), "id");
    g_autofree char *product = wk_xml_attribute(wk_xml_child(source, "product"), "id");
    g_autofree char *bus = wk_xml_attribute(address, "bus");
    g_autofree char *number = wk_xml_attribute(address, "device");

    if (vendor != NULL && product != NULL)
        return g_strdup_printf("%s:%s", g_str_has_prefix(vendor, "0x") ? vendor + 2 : vendor,
                               g_str_has_prefix(product, "0x") ? product + 2 : product);
    if (bus != NULL && number != NULL)
        return g_strdup_printf("bus %s device %s", bus, number);
    return NULL;
}

static char *
scsi_adapter(xmlNode *source)
{
    return wk_xml_attribute(wk_xml_child(source, "adapter"), "name");
}

static void
read_hostdev(xmlNode *node, WkFacts *facts)
{
    xmlNode *source = wk_xml_child(node, "source");
    xmlNode *address = wk_xml_child(source, "address");
    g_autofree char *type = wk_xml_attribute(node, "type");

    if (g_strcmp0(type, "pci") == 0)
        add_device(facts, "PCI", pci_address(address));
    else if (g_strcmp0(type, "usb") == 0)
        add_device(facts, "USB", usb_device(source));
    else if (g_strcmp0(type, "mdev") == 0)
        add_device(facts, "mdev", wk_xml_attribute(address, "uuid"));
    else if (g_strcmp0(type, "scsi") == 0)
        add_device(facts, "SCSI", scsi_adapter(source));
    else
        add_device(facts, type != NULL ? type : "host device", NULL);
}

/* In the live XML an interface from a pool of virtual functions is of type hostdev, too. */
static void
read_interface(xmlNode *node, WkFacts *facts)
{
    xmlNode *source = wk_xml_child(node, "source");

    if (attribute_is(node, "type", "hostdev"))
        add_device(facts, "network PCI", pci_address(wk_xml_child(source, "address")));
    else if (attribute_is(node, "type", "vdpa"))
        add_device(facts, "network vDPA", wk_xml_attribute(source, "dev"));
}

static void
read_filesystem(xmlNode *node, WkFacts *facts)
{
    xmlNode *source = wk_xml_child(node, "source");
    g_autofree char *driver = wk_xml_attribute(wk_xml_child(node, "driver"), "type");
    g_autofree char *tag = wk_xml_attribute(wk_xml_child(node, "target"), "dir");
    g_autofree char *folder = wk_xml_attribute(source, "dir");
    g_autofree char *socket = wk_xml_attribute(source, "socket");
    const char *where = folder != NULL ? folder : socket != NULL ? socket : tag;

    g_ptr_array_add(facts->shares,
                    g_strdup_printf("%s %s", g_strcmp0(driver, "virtiofs") == 0 ? "virtiofs" : "9p",
                                    where != NULL ? where : "(unknown)"));
}

/* The emulator's state is a folder named after the guest, unless the XML says where (libvirt 10.10
 * on). */
static void
read_tpm_emulator(xmlNode *backend, WkFacts *facts)
{
    g_autofree char *given = wk_xml_attribute(wk_xml_child(backend, "source"), "path");
    g_autofree char *folder = g_build_filename(SWTPM_FOLDER, facts->uuid, NULL);

    add_place(facts, WK_DISK_FILE, given != NULL ? given : folder, "tpm", FALSE, FALSE);
}

static void
read_tpm(xmlNode *node, WkFacts *facts)
{
    xmlNode *backend = wk_xml_child(node, "backend");

    if (attribute_is(backend, "type", "emulator"))
        read_tpm_emulator(backend, facts);
    else if (attribute_is(backend, "type", "passthrough"))
        add_device(facts, "TPM", wk_xml_attribute(wk_xml_child(backend, "device"), "path"));
    else
        add_place(facts, WK_DISK_NETWORK, NULL, "tpm", FALSE,
                  FALSE); /* an emulator that somebody else runs */
}

/* NVDIMM and virtio-pmem are memory that is a file: a disk by another name. */
static void
read_memory_device(xmlNode *node, WkFacts *facts)
{
    g_autofree char *path = wk_xml_text(wk_xml_child(wk_xml_child(node, "source"), "path"));

    if (attribute_is(node, "model", "nvdimm") || attribute_is(node, "model", "virtio-pmem"))
        add_place(facts, WK_DISK_FILE, path, "pmem", FALSE, FALSE);
}

static void
read_nvram(xmlNode *node, WkFacts *facts)
{
    xmlNode *source = wk_xml_child(node, "source");
    g_autofree char *type = wk_xml_attribute(node, "type");
    g_autofree char *path = NULL;
    WkDiskKind kind = WK_DISK_FILE;

    if (source != NULL)
        kind = read_source(type, source, &path);
    else
        path = wk_xml_text(node);
    if (path != NULL || kind == WK_DISK_NETWORK)
        add_place(facts, kind, path, "nvram", FALSE, FALSE);
}

/* Firmware variables: a file of their own, inside a writable firmware image, or (uefi-vars) in
 * <varstore>. */
static void
read_firmware(xmlNode *os, WkFacts *facts)
{
    xmlNode *loader = wk_xml_child(os, "loader");
    xmlNode *nvram = wk_xml_child(os, "nvram");
    xmlNode *varstore = wk_xml_child(os, "varstore");
    g_autofree char *firmware = wk_xml_text(loader);
    g_autofree char *vars = wk_xml_attribute(varstore, "path");

    if (nvram != NULL)
        read_nvram(nvram, facts);
    if (vars != NULL)
        add_place(facts, WK_DISK_FILE, vars, "nvram", FALSE, FALSE);
    if (firmware != NULL && attribute_is(loader, "type", "pflash")
        && attribute_is(loader, "readonly", "no"))
        add_place(facts, WK_DISK_FILE, firmware, "loader", FALSE, FALSE);
}

static const struct {
    const char *name;
    void (*read)(xmlNode *node, WkFacts *facts);
} readers[] = {
    { "disk", read_disk },           { "filesystem", read_filesystem }, { "hostdev", read_hostdev },
    { "interface", read_interface }, { "memory", read_memory_device },  { "tpm", read_tpm },
};

static void
read_device(xmlNode *node, WkFacts *facts)
{
    for (gsize i = 0; i < G_N_ELEMENTS(readers); i++) {
        if (wk_xml_is(node, readers[i].name))
            readers[i].read(node, facts);
    }
}

void
wk_domain_devices_read(xmlNode *domain, WkFacts *facts)
{
    xmlNode *devices = wk_xml_child(domain, "devices");

    read_firmware(wk_xml_child(domain, "os"), facts);
    for (xmlNode *node = devices != NULL ? devices->children : NULL; node != NULL;
         node = node->next)
        read_device(node, facts);
}
