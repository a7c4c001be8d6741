/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "virt/domain_xml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#define UUID   "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define HEAD   "<domain type='kvm'><name>g</name><uuid>" UUID "</uuid>"
#define MEMORY "<memory unit='KiB'>1048576</memory>"
#define OP     "0b1f6a3e-8f0c-4c5b-9b0e-1d2c3a4b5c6d"
#define NS     "xmlns:wukong='" WK_METADATA_NAMESPACE "'"

/* What is inside <devices> (or <os>), and the facts it gives: "KIND target path [ro] [transient]",
 * devices and shares, each ended by ';'. */
typedef struct {
    const char *label;
    const char *os;
    const char *devices;
    const char *disks;
    const char *host_devices;
    const char *shares;
} Row;

#define DISK(type, device, inner)                                                                  \
    "<disk type='" type "' device='" device "'><driver name='qemu' type='qcow2'/>" inner           \
    "<target dev='vda' bus='virtio'/></disk>"
#define PCI "<address domain='0x0000' bus='0x03' slot='0x10' function='0x1'/>"

static const Row rows[] = {
    { "no devices", "", "", "", "", "" },
    { "file disk", "", DISK("file", "disk", "<source file='/d/a.qcow2' index='1'/>"),
      "file vda /d/a.qcow2;", "", "" },
    { "backing files are not places", "",
      DISK("file", "disk",
           "<source file='/d/a'/><backingStore type='file'><format type='raw'/>"
           "<source file='/d/base'/><backingStore/></backingStore>"),
      "file vda /d/a;", "", "" },
    { "entities in a path", "", DISK("file", "disk", "<source file='/d/a&amp;b&#x27;'/>"),
      "file vda /d/a&b';", "", "" },
    { "block disk", "", DISK("block", "disk", "<source dev='/dev/vg/lv'/>"),
      "block vda /dev/vg/lv;", "", "" },
    { "LUN", "", DISK("block", "lun", "<source dev='/dev/sdb'/>"), "block vda /dev/sdb;", "", "" },
    { "network disk", "",
      DISK("network", "disk",
           "<source protocol='rbd' name='pool/image'><host name='h' port='6789'/></source>"),
      "none vda -;", "", "" },
    { "volume", "", DISK("volume", "disk", "<source pool='default' volume='v'/>"), "none vda -;",
      "", "" },
    { "vhost-user disk", "",
      DISK("vhostuser", "disk", "<source type='unix' path='/tmp/vhost.sock'/>"), "none vda -;", "",
      "" },
    { "NVMe disk", "",
      DISK("nvme", "disk", "<source type='pci' managed='yes' namespace='1'>" PCI "</source>"),
      "none vda -;", "NVMe disk vda;", "" },
    { "read-only disk", "", DISK("file", "disk", "<source file='/d/a'/><readonly/>"),
      "file vda /d/a ro;", "", "" },
    { "transient disk", "", DISK("file", "disk", "<source file='/d/a'/><transient/>"),
      "file vda /d/a transient;", "", "" },
    { "CD-ROM is read-only", "", DISK("file", "cdrom", "<source file='/d/a.iso'/>"),
      "file vda /d/a.iso ro;", "", "" },
    { "empty CD-ROM", "", DISK("file", "cdrom", "<readonly/>"), "", "", "" },
    { "CD-ROM without a file", "", DISK("file", "cdrom", "<source startupPolicy='optional'/>"), "",
      "", "" },
    { "floppy can be written", "", DISK("file", "floppy", "<source file='/d/f.img'/>"),
      "file vda /d/f.img;", "", "" },
    { "relative path", "", DISK("file", "disk", "<source file='a.qcow2'/>"), "none vda -;", "",
      "" },
    { "data file of a qcow2", "",
      DISK("file", "disk",
           "<source file='/d/a'><dataStore type='file'><format type='raw'/>"
           "<source file='/d/a.data'/></dataStore></source>"),
      "file vda /d/a;file vda /d/a.data;", "", "" },
    { "two disks, in order", "",
      DISK("file", "disk", "<source file='/d/a'/>") DISK("block", "disk", "<source dev='/dev/b'/>"),
      "file vda /d/a;block vda /dev/b;", "", "" },
    { "NVRAM", "<nvram template='/usr/share/VARS.fd'>/n/g_VARS.fd</nvram>", "",
      "file nvram /n/g_VARS.fd;", "", "" },
    { "NVRAM not made yet", "<nvram template='/usr/share/VARS.fd'/>", "", "", "", "" },
    { "NVRAM as source", "<nvram type='file'><source file='/n/v.fd'/></nvram>", "",
      "file nvram /n/v.fd;", "", "" },
    { "NVRAM on a block device", "<nvram type='block'><source dev='/dev/v'/></nvram>", "",
      "block nvram /dev/v;", "", "" },
    { "NVRAM on the network", "<nvram type='network'><source protocol='iscsi' name='q'/></nvram>",
      "", "none nvram -;", "", "" },
    { "variable store", "<varstore template='/t.json' path='/n/v.json'/>", "",
      "file nvram /n/v.json;", "", "" },
    { "read-only loader", "<loader readonly='yes' type='pflash'>/usr/CODE.fd</loader>", "", "", "",
      "" },
    { "writable loader", "<loader readonly='no' type='pflash'>/n/FULL.fd</loader>", "",
      "file loader /n/FULL.fd;", "", "" },
    { "emulated TPM", "", "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>",
      "file tpm /var/lib/libvirt/swtpm/" UUID ";", "", "" },
    { "emulated TPM elsewhere", "",
      "<tpm><backend type='emulator'><source type='dir' path='/t/x'/></backend></tpm>",
      "file tpm /t/x;", "", "" },
    { "TPM of somebody else", "",
      "<tpm><backend type='external'><source type='unix' path='/t.sock'/></backend></tpm>",
      "none tpm -;", "", "" },
    { "TPM of the host", "",
      "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>", "",
      "TPM /dev/tpm0;", "" },
    { "NVDIMM", "", "<memory model='nvdimm'><source><path>/d/nv</path></source><target/></memory>",
      "file pmem /d/nv;", "", "" },
    { "virtio-pmem", "",
      "<memory model='virtio-pmem' access='shared'><source><path>/d/pm</path></source></memory>",
      "file pmem /d/pm;", "", "" },
    { "DIMM", "", "<memory model='dimm'><target><size>1</size></target></memory>", "", "", "" },
    { "PCI device", "",
      "<hostdev mode='subsystem' type='pci' managed='yes'><driver name='vfio'/><source>" PCI
      "</source></hostdev>",
      "", "PCI 0000:03:10.1;", "" },
    { "USB device by id", "",
      "<hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/><product id='0xc52b'/>"
      "</source></hostdev>",
      "", "USB 046d:c52b;", "" },
    { "USB device by place", "",
      "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='4'/></source>"
      "</hostdev>",
      "", "USB bus 1 device 4;", "" },
    { "mediated device", "",
      "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='" OP
      "'/></source></hostdev>",
      "", "mdev " OP ";", "" },
    { "SCSI device", "",
      "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>"
      "<address bus='0' target='0' unit='0'/></source></hostdev>",
      "", "SCSI scsi_host0;", "" },
    { "SCSI host", "",
      "<hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='naa.1'/>"
      "</hostdev>",
      "", "scsi_host;", "" },
    { "device without a source", "", "<hostdev mode='subsystem' type='pci'/>", "", "PCI;", "" },
    { "interface on a device", "",
      "<interface type='hostdev' managed='yes'><source><address type='pci' domain='0x0000' "
      "bus='0x03' slot='0x10' function='0x1'/></source></interface>",
      "", "network PCI 0000:03:10.1;", "" },
    { "vDPA interface", "", "<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>",
      "", "network vDPA /dev/vhost-vdpa-0;", "" },
    { "bridge", "", "<interface type='bridge'><source bridge='br0'/></interface>", "", "", "" },
    { "virtiofs", "",
      "<filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/><target dir='t'/>"
      "</filesystem>",
      "", "", "virtiofs /srv;" },
    { "virtiofs by a socket", "",
      "<filesystem type='mount'><driver type='virtiofs'/><source socket='/s'/><target dir='t'/>"
      "</filesystem>",
      "", "", "virtiofs /s;" },
    { "9p", "",
      "<filesystem type='mount' accessmode='mapped'><source dir='/srv'/><target dir='t'/>"
      "</filesystem>",
      "", "", "9p /srv;" },
    { "a device of another namespace", "",
      "<x:disk xmlns:x='urn:x' type='file'><source file='/d/a'/></x:disk>", "", "", "" },
};

static char *
show_disks(const WkFacts *facts)
{
    static const char *const kinds[] = { "file", "block", "none" };
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < facts->disks->len; i++) {
        const WkDiskFact *disk = g_ptr_array_index(facts->disks, i);

        g_string_append_printf(text, "%s %s %s%s%s;", kinds[disk->kind], disk->target,
                               disk->path != NULL ? disk->path : "-", disk->readonly ? " ro" : "",
                               disk->transient ? " transient" : "");
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *
show_strings(const GPtrArray *strings)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < strings->len; i++)
        g_string_append_printf(text, "%s;", (const char *)g_ptr_array_index(strings, i));
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void
test_row(void **state)
{
    const Row *row = *state;
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = g_strdup_printf(
        HEAD MEMORY "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>%s</os>"
                    "<devices><emulator>/usr/bin/qemu</emulator>%s</devices></domain>",
        row->os, row->devices);
    g_autoptr(WkFacts) facts = wk_domain_xml_parse(xml, &error);
    g_autofree char *disks = NULL;
    g_autofree char *devices = NULL;
    g_autofree char *shares = NULL;

    assert_null(error);
    assert_non_null(facts);
    disks = show_disks(facts);
    devices = show_strings(facts->devices);
    shares = show_strings(facts->shares);
    assert_string_equal(disks, row->disks);
    assert_string_equal(devices, row->host_devices);
    assert_string_equal(shares, row->shares);
    assert_string_equal(facts->uuid, UUID);
    assert_string_equal(facts->name, "g");
    assert_string_equal(facts->emulator, "/usr/bin/qemu");
    assert_string_equal(facts->machine, "pc-q35-7.2");
    assert_int_equal(facts->memory_kib, 1048576);
}

static const struct {
    const char *memory;
    guint64 kib;
} memories[] = {
    { "<memory>2048</memory>", 2048 },
    { "<memory unit='KiB'>4096</memory><currentMemory unit='KiB'>2048</currentMemory>", 2048 },
    { "<currentMemory unit='MiB'>2</currentMemory>", 2048 },
    { "<memory unit='b'>4096</memory>", 4 },
    { "<memory unit='bytes'>4096</memory>", 4 },
    { "<memory unit='KB'>1024</memory>", 1000 },
    { "<memory unit='k'>7</memory>", 7 },
    { "<memory unit='M'>1</memory>", 1024 },
    { "<memory unit='MB'>1024</memory>", 1000000 },
    { "<memory unit='GiB'>1</memory>", 1048576 },
    { "<memory unit='G'>1</memory>", 1048576 },
    { "<memory unit='GB'>1024</memory>", 1000000000 },
    { "<memory unit='TiB'>1</memory>", 1073741824 },
    { "<memory unit='KiB'>\n  2048\n</memory>", 2048 },
};

static void
test_memory(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(memories); i++) {
        g_autofree char *xml = g_strdup_printf(HEAD "%s</domain>", memories[i].memory);
        g_autoptr(WkFacts) facts = wk_domain_xml_parse(xml, NULL);

        print_message("%s\n", memories[i].memory);
        assert_non_null(facts);
        assert_int_equal(facts->memory_kib, memories[i].kib);
        assert_null(facts->emulator);
        assert_null(facts->machine);
    }
}

static const struct {
    const char *label;
    const char *xml;
    const char *complaint;
} refused[] = {
    { "empty", "", "empty" },
    { "not XML", "hello", "line 1" },
    { "JSON", "{\"domain\":1}", "line 1" },
    { "cut", HEAD MEMORY, "line 1" },
    { "bytes that are no text", "<domain>\xff\xfe</domain>", "line 1" },
    { "another root", "<network><name>g</name></network>", "root" },
    { "root of another namespace", "<domain xmlns='urn:x'><name>g</name></domain>", "root" },
    { "no UUID", "<domain><name>g</name>" MEMORY "</domain>", "no UUID" },
    { "no real UUID", "<domain><name>g</name><uuid>../../etc</uuid>" MEMORY "</domain>",
      "no UUID" },
    { "no name", "<domain><uuid>" UUID "</uuid>" MEMORY "</domain>", "no name" },
    { "a path as name", "<domain><name>../etc/x</name><uuid>" UUID "</uuid>" MEMORY "</domain>",
      "no name" },
    { "no memory", HEAD "</domain>", "memory" },
    { "memory is a word", HEAD "<memory>much</memory></domain>", "memory" },
    { "negative memory", HEAD "<memory>-1</memory></domain>", "memory" },
    { "too much memory", HEAD "<memory unit='TiB'>99999999999</memory></domain>", "memory" },
    { "unknown unit", HEAD "<memory unit='EiB'>1</memory></domain>", "memory" },
    { "document type", "<!DOCTYPE domain>" HEAD MEMORY "</domain>", "not allowed" },
    { "external document type",
      "<!DOCTYPE domain SYSTEM 'http://127.0.0.1:1/x.dtd'>" HEAD MEMORY "</domain>",
      "not allowed" },
    { "external entity",
      "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain><name>&x;</name><uuid>" UUID
      "</uuid>" MEMORY "</domain>",
      "not allowed" },
    { "entity bomb in an attribute",
      "<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'>"
      "<!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>"
      "<!ENTITY e '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'><!ENTITY f '&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;'>"
      "<!ENTITY g '&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;'><!ENTITY h '&g;&g;&g;&g;&g;&g;&g;&g;&g;&g;'>]>"
      "<domain type='&h;'><name>&h;</name><uuid>" UUID "</uuid>" MEMORY "</domain>",
      "not allowed" },
    { "unknown entity", "<domain><name>&x;</name><uuid>" UUID "</uuid>" MEMORY "</domain>",
      "line 1" },
};

static void
test_refused(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(WkFacts) facts = wk_domain_xml_parse(refused[i].xml, &error);

        print_message("%s\n", refused[i].label);
        assert_null(facts);
        assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_CORRUPT));
        assert_non_null(strstr(error->message, refused[i].complaint));
        assert_null(wk_domain_xml_get_op(refused[i].xml));
    }
}

static void
assert_corrupt(const char *xml)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkFacts) facts = wk_domain_xml_parse(xml, &error);

    assert_null(facts);
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_CORRUPT));
}

static void
test_too_long(void **state G_GNUC_UNUSED)
{
    g_autofree char *filler = g_strnfill(5 * 1024 * 1024, ' ');
    g_autofree char *xml = g_strconcat(HEAD MEMORY, filler, "</domain>", NULL);

    assert_corrupt(xml);
}

/* As long as libvirt's own limit, and still read in a moment. */
static void
test_long(void **state G_GNUC_UNUSED)
{
    g_autoptr(GString) xml = g_string_new(HEAD MEMORY "<devices>");
    g_autoptr(WkFacts) facts = NULL;
    guint n = 0;

    for (; xml->len < WK_DOMAIN_XML_MAX - 200; n++)
        g_string_append(xml, "<disk type='file'><source file='/d/a'/><target dev='vda'/></disk>");
    g_string_append(xml, "</devices></domain>");
    facts = wk_domain_xml_parse(xml->str, NULL);
    assert_non_null(facts);
    assert_int_equal(facts->disks->len, n);
}

static void
test_deep(void **state G_GNUC_UNUSED)
{
    g_autoptr(GString) xml = g_string_new(HEAD MEMORY);

    for (guint i = 0; i < 100000; i++)
        g_string_append(xml, "<a>");
    for (guint i = 0; i < 100000; i++)
        g_string_append(xml, "</a>");
    g_string_append(xml, "</domain>");
    assert_corrupt(xml->str);
}

static const struct {
    const char *label;
    const char *xml;
    const char *op;
} ops[] = {
    { "as libvirt keeps it",
      HEAD "<metadata><wukong:saved " NS " op='" OP "'/></metadata>" MEMORY "</domain>", OP },
    { "another prefix",
      HEAD "<metadata><w:saved xmlns:w='" WK_METADATA_NAMESPACE "' op='" OP
           "'/></metadata></domain>",
      OP },
    { "a default namespace",
      HEAD "<metadata><saved xmlns='" WK_METADATA_NAMESPACE "' op='" OP "'/></metadata></domain>",
      OP },
    { "among others",
      HEAD "<metadata><o:saved xmlns:o='urn:o' op='no'/><wukong:other " NS " op='no'/>"
           "<wukong:saved " NS " op='" OP "'/></metadata></domain>",
      OP },
    { "as libvirt answers", "<saved op='" OP "'/>", OP },
    { "quoted", "<saved op=\"a&quot;&amp;&lt;b\"/>", "a\"&<b" },
    { "no metadata", HEAD "</domain>", NULL },
    { "metadata of others", HEAD "<metadata><o:x xmlns:o='urn:o'/></metadata></domain>", NULL },
    { "no namespace", HEAD "<metadata><saved op='" OP "'/></metadata></domain>", NULL },
    { "no op", HEAD "<metadata><wukong:saved " NS "/></metadata></domain>", NULL },
    { "empty op", "<saved op=''/>", NULL },
    { "not in <metadata>", HEAD "<wukong:saved " NS " op='" OP "'/></domain>", NULL },
    { "not at the top of <metadata>",
      HEAD "<metadata><a><wukong:saved " NS " op='" OP "'/></a></metadata></domain>", NULL },
    { "another root", "<image><metadata><wukong:saved " NS " op='x'/></metadata></image>", NULL },
};

static void
test_op(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(ops); i++) {
        g_autofree char *op = wk_domain_xml_get_op(ops[i].xml);

        print_message("%s\n", ops[i].label);
        assert_true(g_strcmp0(op, ops[i].op) == 0);
    }
}

static const struct {
    const char *label;
    const char *cpu;
    const char *want; /* NULL: not to be compared */
} cpus[] = {
    { "none", "", NULL },
    { "custom",
      "<cpu mode='custom' match='exact'><model fallback='forbid'>Nehalem</model>"
      "<feature policy='require' name='vme'/></cpu>",
      "<cpu mode=\"custom\" match=\"exact\"><model fallback=\"forbid\">Nehalem</model>"
      "<feature policy=\"require\" name=\"vme\"/></cpu>" },
    { "no mode", "<cpu><model>Nehalem</model></cpu>", "<cpu><model>Nehalem</model></cpu>" },
    { "passthrough", "<cpu mode='host-passthrough'/>", NULL },
    { "host's model", "<cpu mode='host-model'><model>Nehalem</model></cpu>", NULL },
    { "topology only", "<cpu><topology sockets='1' cores='2' threads='1'/></cpu>", NULL },
};

static void
test_needs(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cpus); i++) {
        g_autofree char *xml =
            g_strdup_printf(HEAD "<os><type arch='x86_64' machine='pc'>hvm</type></os>%s"
                                 "<devices><emulator>/q</emulator></devices></domain>",
                            cpus[i].cpu);
        g_autoptr(WkStartNeeds) needs = wk_domain_xml_parse_needs(xml, NULL);

        print_message("%s\n", cpus[i].label);
        assert_non_null(needs);
        assert_string_equal(needs->type, "kvm");
        assert_string_equal(needs->arch, "x86_64");
        assert_string_equal(needs->machine, "pc");
        assert_string_equal(needs->emulator, "/q");
        assert_true(g_strcmp0(needs->cpu, cpus[i].want) == 0);
    }
}

/* Every cut and every changed byte of a good text: read or refused, never a crash. */
static void
test_torn(void **state G_GNUC_UNUSED)
{
    static const char whole[] = HEAD MEMORY
        "<metadata><wukong:saved " NS " op='" OP "'/></metadata>"
        "<os><nvram>/n</nvram></os><devices>" DISK(
            "file", "disk", "<source file='/d/a'/>") "<hostdev type='pci'><source>" PCI
                                                     "</source></hostdev></devices></domain>";

    for (gsize i = 0; i < sizeof whole - 1; i++) {
        g_autofree char *cut = g_strndup(whole, i);
        g_autofree char *changed = g_strdup(whole);
        g_autofree char *op = NULL;

        changed[i] ^= 0x15;
        wk_facts_free(wk_domain_xml_parse(cut, NULL));
        wk_facts_free(wk_domain_xml_parse(changed, NULL));
        op = wk_domain_xml_get_op(changed);
    }
}

int
main(void)
{
    struct CMUnitTest tests[G_N_ELEMENTS(rows) + 8] = {
        cmocka_unit_test(test_memory),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_long), cmocka_unit_test(test_long),
        cmocka_unit_test(test_deep),     cmocka_unit_test(test_op),
        cmocka_unit_test(test_needs),    cmocka_unit_test(test_torn),
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++)
        tests[8 + i] = (struct CMUnitTest){ .name = rows[i].label,
                                            .test_func = test_row,
                                            .initial_state = (void *)&rows[i] };
    return cmocka_run_group_tests_name("virt-xml", tests, NULL, NULL);
}
