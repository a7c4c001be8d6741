/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt-pod.h"

#include "base/error.h"
#include "lab-private.h"
#include "virt/error.h"
#include "virt/remote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define RUNTIME "/run/launcher"

WkLaunchers *pod_launchers;
WkConnection *pod_connection;
WkLauncherLease *pod_lease;

/* --- the pod --- */

static void
make_folder(const char *path)
{
    assert_int_equal(g_mkdir_with_parents(path, 0755), 0);
    assert_int_equal(chown(path, POD_USER, POD_USER), 0);
}

static gboolean
answers(gpointer data G_GNUC_UNUSED)
{
    virConnectPtr session = virConnectOpen(POD_URI);

    if (session != NULL)
        virConnectClose(session);
    return session != NULL;
}

void
pod_start_libvirtd(void)
{
    static const char *const argv[] = { "setpriv",
                                        "--reuid=107",
                                        "--regid=107",
                                        "--clear-groups",
                                        "libvirtd",
                                        "--config",
                                        POD_CONFIG "/libvirt/libvirtd.conf",
                                        NULL };
    static const char *const env[] = {
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/",
        "XDG_CONFIG_HOME=" POD_CONFIG,        "XDG_CACHE_HOME=" POD_CONFIG,
        "XDG_RUNTIME_DIR=" RUNTIME,           NULL
    };

    lab_ok(lab_spawn("launcher", argv, env, &error) > 0);
    lab_ok(lab_wait("the launcher's libvirt", LAB_WAIT_MS, answers, NULL, &error));
}

static void
add_line(const char *file, const char *line)
{
    g_autofree char *text = NULL;
    g_autofree char *more = NULL;

    lab_ok(g_file_get_contents(file, &text, NULL, &error));
    more = g_strconcat(text, line, "\n", NULL);
    lab_ok(g_file_set_contents(file, more, -1, &error));
}

/* The pod's image has them, and its libvirt wants to know who connects. */
static void
add_user(void)
{
    add_line("/etc/passwd", "qemu:x:107:107::/:/bin/false");
    add_line("/etc/group", "qemu:x:107:");
}

static void
make_pod(void)
{
    static const char *const folders[] = { RUNTIME,
                                           POD_CONFIG,
                                           POD_CONFIG "/libvirt",
                                           "/run/lab",
                                           POD_PRIVATE,
                                           POD_PRIVATE "/" POD_OLD,
                                           POD_PRIVATE "/" POD_NEW,
                                           LAB_GUESTS_DIR "/" POD_GUEST };

    for (gsize i = 0; i < G_N_ELEMENTS(folders); i++)
        make_folder(folders[i]);
    lab_ok(g_file_set_contents(POD_CONFIG "/libvirt/qemu.conf",
                               "security_driver = \"none\"\nstdio_handler = \"file\"\n"
                               "namespaces = []\ncgroup_controllers = []\n",
                               -1, &error));
    lab_ok(g_file_set_contents(POD_CONFIG "/libvirt/libvirtd.conf", "auth_unix_rw = \"none\"\n", -1,
                               &error));
}

char *
pod_guest_xml(void)
{
    const LabGuestOptions options = { .memory_mib = POD_MIB };
    g_autofree char *plain = lab_guest_xml(POD_GUEST, &options);
    g_autoptr(GString) xml = g_string_new(plain);

    assert_int_equal(g_string_replace(xml, "<memballoon",
                                      "<serial type='unix'><source mode='bind' path='" POD_PRIVATE
                                      "/" POD_OLD "/virt-serial0'/><target port='2'/></serial>"
                                      "<memballoon",
                                      1),
                     1);
    return g_string_free(g_steal_pointer(&xml), FALSE);
}

virDomainPtr
pod_find_domain(virConnectPtr session)
{
    virDomainPtr domain = virDomainLookupByName(session, POD_GUEST);

    assert_non_null(domain);
    return domain;
}

static gboolean
is_filled(gpointer data G_GNUC_UNUSED)
{
    LabTick tick;

    return lab_guest_last_tick(POD_GUEST, &tick, NULL) && tick.filled >= POD_FILL_MIB;
}

/* Boots it, RAM filled with what takes a while to save. */
static void
start_guest(void)
{
    virConnectPtr session = virConnectOpen(POD_URI);
    g_autofree char *xml = pod_guest_xml();
    g_autofree char *serial = lab_guest_serial_path(POD_GUEST);
    g_autofree char *fill = g_strdup_printf("fill %d", POD_FILL_MIB);
    g_autofree char *answer = NULL;
    virDomainPtr domain;

    lab_ok(g_file_set_contents(serial, "", 0, &error));
    assert_int_equal(chown(serial, POD_USER, POD_USER), 0);
    domain = virDomainDefineXML(session, xml);
    /* QEMU answers nobody while it writes what it thinks takes no longer than this: at the speed of
     * a page cache all of a small guest's RAM, with the 300 ms that it would take. */
    if (domain == NULL || virDomainCreate(domain) < 0
        || virDomainMigrateSetMaxDowntime(domain, 1, 0) < 0)
        fail_msg("%s", virGetLastErrorMessage());
    virDomainFree(domain);
    virConnectClose(session);
    lab_ok(lab_guest_wait_ticking(POD_GUEST, 4 * LAB_WAIT_MS, &error));
    lab_ok((answer = lab_guest_command(POD_GUEST, fill, LAB_WAIT_MS, &error)) != NULL);
    lab_ok(lab_wait("RAM to be filled", 4 * LAB_WAIT_MS, is_filled, NULL, &error));
}

static int
open_socket(gpointer data, GError **error)
{
    const int fd = open(data, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        wk_error_set_errno(error, errno, "'%s'", (const char *)data);
    return fd;
}

void
pod_set(const char *uid, const char *socket, uid_t user)
{
    const WkLauncherPod pod = { .pod_uid = uid,
                                .save_folder = POD_SAVE,
                                .user = user,
                                .group = user,
                                .open_socket = open_socket,
                                .data = (gpointer)socket };

    wk_launchers_set_pod(pod_launchers, POD_ID, &pod);
}

int
pod_setup_group(void **state G_GNUC_UNUSED)
{
    const WkLauncherGuest guest = {
        .id = POD_ID, .domain = POD_GUEST, .memory_kib = POD_MIB * 1024, .power = WK_POWER_RUNNING
    };

    lab_ok(lab_init(&error));
    signal(SIGPIPE, SIG_IGN);
    wk_virt_init();
    add_user();
    make_pod();
    pod_start_libvirtd();
    start_guest();
    pod_launchers = wk_launchers_new();
    wk_launchers_set_guest(pod_launchers, &guest);
    pod_set("pod", POD_SOCKET, POD_USER);
    pod_connection = wk_connection_new_launchers(pod_launchers);
    return 0;
}

int
pod_setup(void **state G_GNUC_UNUSED)
{
    pod_lease = wk_launchers_lease(pod_launchers, POD_ID);
    return 0;
}

int
pod_teardown(void **state G_GNUC_UNUSED)
{
    wk_launcher_lease_free(pod_lease);
    return 0;
}

void
pod_assert_power(WkPower power, const char *op)
{
    g_auto(WkLook) look = { 0 };

    lab_ok(wk_domain_look(pod_connection, POD_ID, &look, &error));
    assert_string_equal(wk_power_name(look.power), wk_power_name(power));
    assert_true(g_strcmp0(look.op, op) == 0);
}

/* --- processes --- */

pid_t
pod_find_helper(void)
{
    g_autoptr(GDir) tasks = g_dir_open("/proc/self/task", 0, NULL);
    const char *task;

    while ((task = g_dir_read_name(tasks)) != NULL) {
        g_autofree char *path = g_strdup_printf("/proc/self/task/%s/children", task);
        g_autofree char *text = NULL;

        if (g_file_get_contents(path, &text, NULL, NULL) && *text != '\0')
            return (pid_t)g_ascii_strtoll(text, NULL, 10);
    }
    return 0;
}

gboolean
pod_has_no_helper(gpointer data G_GNUC_UNUSED)
{
    return pod_find_helper() == 0;
}

guint
pod_count_descriptors(void)
{
    g_autoptr(GDir) folder = g_dir_open("/proc/self/fd", 0, NULL);
    guint n = 0;

    while (g_dir_read_name(folder) != NULL)
        n++;
    return n;
}

/* A line of /proc/PID/status. Returns: (transfer full). */
static char *
read_status(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    g_auto(GStrv) lines = NULL;
    g_autofree char *text = NULL;

    lab_ok(g_file_get_contents(path, &text, NULL, &error));
    lines = g_strsplit(text, "\n", -1);
    for (gsize i = 0; lines[i] != NULL; i++) {
        if (g_str_has_prefix(lines[i], name))
            return g_strdup(g_strstrip(lines[i] + strlen(name) + 1));
    }
    return g_strdup("");
}

void
pod_assert_status(pid_t pid, const char *name, const char *wanted)
{
    g_autofree char *value = read_status(pid, name);

    if (!g_str_equal(value, wanted))
        fail_msg("%s: '%s' was expected, got '%s'", name, wanted, value);
}
