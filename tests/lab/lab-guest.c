/* SPDX-License-Identifier: Apache-2.0 */
#include "lab-private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_BYTES (16 * 1024 * 1024)
#define BOOT_MS    120000 /* TCG beside other work; 5 s on an idle machine */
#define FILL_MS    300000

/* All paths are the same in each lab-run: golden images are shared between them. */
static const char guest_xml[] =
    "<domain type='qemu'>\n"
    "  <name>%s</name>\n"
    "  <uuid>%s</uuid>\n"
    "  <memory unit='MiB'>%u</memory>\n"
    "  <vcpu>1</vcpu>\n"
    "  <os>\n"
    "    <type arch='x86_64' machine='q35'>hvm</type>\n"
    "    <kernel>" LAB_KERNEL "</kernel>\n"
    "    <initrd>" LAB_INITRAMFS "</initrd>\n"
    "    <cmdline>console=ttyS0 quiet</cmdline>\n"
    "  </os>\n"
    "  <features><acpi/><apic/></features>\n"
    "  <cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>\n"
    "  <clock offset='utc'/>\n"
    "  <on_poweroff>destroy</on_poweroff>\n"
    "  <on_reboot>restart</on_reboot>\n"
    "  <on_crash>destroy</on_crash>\n"
    "  <devices>\n"
    "    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
    "%s"
    "    <controller type='usb' model='none'/>\n"
    "    <serial type='file'>\n"
    "      <source path='" LAB_GUESTS_DIR "/%s/serial.log' append='on'/>\n"
    "      <target port='0'/>\n"
    "    </serial>\n"
    "    <serial type='unix'>\n"
    "      <source mode='bind' path='" LAB_RUN_DIR "/%s.commands'/>\n"
    "      <target port='1'/>\n"
    "    </serial>\n"
    "    <memballoon model='none'/>\n"
    "  </devices>\n"
    "</domain>\n";

char *
lab_guest_disk_path(const char *name)
{
    return g_strdup_printf(LAB_GUESTS_DIR "/%s/disk.raw", name);
}

char *
lab_guest_uuid(const char *name)
{
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, name, -1);

    return g_strdup_printf("%.8s-%.4s-4%.3s-8%.3s-%.12s", sum, sum + 8, sum + 12, sum + 15,
                           sum + 18);
}

char *
lab_guest_xml(const char *name, const LabGuestOptions *options)
{
    g_autofree char *uuid = lab_guest_uuid(name);
    g_autofree char *path = lab_guest_disk_path(name);
    g_autofree char *disk = g_strdup("");

    if (options != NULL && options->disk) {
        g_free(disk);
        disk = g_strdup_printf("    <disk type='file' device='disk'>\n"
                               "      <driver name='qemu' type='raw' cache='none'/>\n"
                               "      <source file='%s'/>\n"
                               "      <target dev='vda' bus='virtio'/>\n"
                               "    </disk>\n",
                               path);
    }
    return g_strdup_printf(guest_xml, name, uuid,
                           options != NULL && options->memory_mib != 0 ? options->memory_mib
                                                                       : LAB_GUEST_MIB,
                           disk, name, name);
}

static gboolean
make_disk(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    gboolean ok;

    ok = fd >= 0 && ftruncate(fd, DISK_BYTES) == 0;
    if (!ok)
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s can't be made", path);
    if (fd >= 0)
        close(fd);
    return ok;
}

gboolean
lab_guest_prepare(const char *name, const LabGuestOptions *options, GError **error)
{
    g_autofree char *serial = lab_guest_serial_path(name);
    g_autofree char *disk = lab_guest_disk_path(name);
    g_autofree char *folder = g_path_get_dirname(serial);

    if (g_mkdir_with_parents(folder, 0755) != 0) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s can't be made", folder);
        return FALSE;
    }
    unlink(disk);
    return g_file_set_contents(serial, "", 0, error)
           && (options == NULL || !options->disk || make_disk(disk, error));
}

static gboolean
define(const char *xml, GError **error)
{
    virConnectPtr connection = lab_own_connection(error);
    g_autoptr(virDomain) domain = NULL;

    if (connection == NULL)
        return FALSE;
    domain = virDomainDefineXML(connection, xml);
    if (domain == NULL)
        lab_error_set_from_libvirt(error, "defining a guest");
    return domain != NULL;
}

gboolean
lab_guest_define(const char *name, const LabGuestOptions *options, GError **error)
{
    g_autofree char *xml = lab_guest_xml(name, options);

    return lab_init(error) && lab_guest_undefine(name, error)
           && lab_guest_prepare(name, options, error) && define(xml, error);
}

gboolean
lab_guest_create(const char *name, GError **error)
{
    g_autoptr(virDomain) domain = lab_domain(name, error);

    if (domain == NULL)
        return FALSE;
    if (virDomainCreate(domain) < 0) {
        lab_error_set_from_libvirt(error, name);
        return FALSE;
    }
    return lab_guest_wait_ticking(name, BOOT_MS, error);
}

static gboolean
boot_transient(const char *name, const LabGuestOptions *options, GError **error)
{
    g_autofree char *xml = lab_guest_xml(name, options);
    virConnectPtr connection = lab_own_connection(error);
    g_autoptr(virDomain) domain = NULL;

    if (connection == NULL)
        return FALSE;
    domain = virDomainCreateXML(connection, xml, 0);
    if (domain == NULL) {
        lab_error_set_from_libvirt(error, name);
        return FALSE;
    }
    return lab_guest_wait_ticking(name, BOOT_MS, error);
}

typedef struct {
    const char *name;
    const char *nonce;
    guint64 filled;
} GuestWait;

static gboolean
says_it_all(gpointer data)
{
    GuestWait *wait = data;
    LabTick tick;

    return lab_guest_last_tick(wait->name, &tick, NULL) && tick.filled >= wait->filled
           && strcmp(tick.nonce, wait->nonce) == 0;
}

/* Its own nonce, and RAM worth saving. */
static gboolean
settle(const char *name, guint fill_mib, GError **error)
{
    g_autofree char *nonce = lab_guest_command(name, "nonce", LAB_WAIT_MS, error);
    g_autofree char *fill = g_strdup_printf("fill %u", fill_mib);
    g_autofree char *answer = NULL;
    GuestWait wait = { .name = name, .nonce = nonce, .filled = fill_mib };

    if (nonce == NULL)
        return FALSE;
    if (fill_mib > 0) {
        answer = lab_guest_command(name, fill, LAB_WAIT_MS, error);
        if (answer == NULL)
            return FALSE;
    }
    return lab_wait("a guest's own nonce, and its RAM to be filled", FILL_MS, says_it_all, &wait,
                    error);
}

gboolean
lab_guest_start(const char *name, const LabGuestOptions *options, GError **error)
{
    LabGuestOptions none = { 0 };
    gboolean running;

    if (options == NULL)
        options = &none;
    if (!lab_init(error) || !lab_guest_undefine(name, error)
        || !lab_guest_prepare(name, options, error))
        return FALSE;
    if (!options->transient) {
        g_autofree char *xml = lab_guest_xml(name, options);

        if (!define(xml, error))
            return FALSE;
    }
    if (!options->cold)
        running = lab_golden_wake(name, options, error);
    else if (options->transient)
        running = boot_transient(name, options, error);
    else
        running = lab_guest_create(name, error);
    return running && settle(name, options->fill_mib, error);
}

gboolean
lab_guest_destroy(const char *name, GError **error)
{
    g_autoptr(virDomain) domain = lab_domain(name, error);

    if (domain == NULL)
        return FALSE;
    if (virDomainIsActive(domain) == 1 && virDomainDestroy(domain) < 0
        && virDomainIsActive(domain) == 1) {
        lab_error_set_from_libvirt(error, name);
        return FALSE;
    }
    return TRUE;
}

gboolean
lab_guest_undefine(const char *name, GError **error)
{
    g_autoptr(virDomain) domain = NULL;

    if (lab_own_connection(error) == NULL)
        return FALSE;
    domain = lab_domain(name, NULL);
    if (domain == NULL)
        return TRUE;
    if (!lab_guest_destroy(name, error))
        return FALSE;
    if (virDomainIsPersistent(domain) == 1
        && virDomainUndefineFlags(domain, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE) < 0) {
        lab_error_set_from_libvirt(error, name);
        return FALSE;
    }
    return TRUE;
}
