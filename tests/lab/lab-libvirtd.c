/* SPDX-License-Identifier: Apache-2.0 */
#include "lab-private.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define URI "qemu:///system"

static const char libvirtd_conf[] = "auth_unix_ro = \"none\"\n"
                                    "auth_unix_rw = \"none\"\n"
                                    "unix_sock_group = \"root\"\n"
                                    "unix_sock_rw_perms = \"0770\"\n"
                                    "listen_tls = 0\n"
                                    "listen_tcp = 0\n";

static const char qemu_conf[] = "user = \"root\"\n"
                                "group = \"root\"\n"
                                "security_driver = \"none\"\n"
                                "cgroup_controllers = []\n"
                                "namespaces = []\n"
                                "stdio_handler = \"file\"\n";

static virConnectPtr own_connection;

static void
ignore_error(void *data G_GNUC_UNUSED, virErrorPtr error G_GNUC_UNUSED)
{
}

virConnectPtr
lab_connect(GError **error)
{
    virConnectPtr connection;

    virSetErrorFunc(NULL, ignore_error); /* or else libvirt prints what we report ourselves */
    signal(SIGPIPE, SIG_IGN);            /* closing towards a dead libvirtd is part of the tests */
    connection = virConnectOpen(URI);
    if (connection == NULL)
        lab_error_set_from_libvirt(error, URI);
    return connection;
}

virConnectPtr
lab_own_connection(GError **error)
{
    if (own_connection != NULL && virConnectIsAlive(own_connection) != 1)
        g_clear_pointer(&own_connection, virConnectClose);
    if (own_connection == NULL)
        own_connection = lab_connect(error);
    return own_connection;
}

static gboolean
answers(gpointer data G_GNUC_UNUSED)
{
    virConnectPtr connection = lab_own_connection(NULL);

    return connection != NULL && virConnectNumOfDomains(connection) >= 0;
}

static gboolean
is_up(gpointer data G_GNUC_UNUSED)
{
    /* a daemon that has ended at once is told below, not waited for */
    return lab_pid("libvirtd") == 0 || answers(NULL);
}

/* Probing QEMU costs a second; libvirt checks by itself whether an old answer still holds. */
static void
copy_probed(const char *from, const char *to)
{
    g_autoptr(GDir) folder = g_dir_open(from, 0, NULL);
    const char *name;

    g_mkdir_with_parents(to, 0755);
    while (folder != NULL && (name = g_dir_read_name(folder)) != NULL) {
        g_autofree char *source = g_build_filename(from, name, NULL);
        g_autofree char *target = g_build_filename(to, name, NULL);
        g_autofree char *content = NULL;
        gsize length;

        if (!g_file_test(target, G_FILE_TEST_EXISTS)
            && g_file_get_contents(source, &content, &length, NULL))
            g_file_set_contents(target, content, (gssize)length, NULL);
    }
}

/* libvirtd looks its compiled-in user up before it reads which one to use instead; the package
 * that makes it (libvirt-daemon-system) is not needed for anything else. */
static gboolean
add_account(const char *file, const char *line, GError **error)
{
    g_autofree char *name = g_strndup(line, strcspn(line, ":") + 1);
    g_autofree char *text = NULL;
    g_autofree char *more = NULL;

    if (!g_file_get_contents(file, &text, NULL, error))
        return FALSE;
    more = g_strconcat(line, "\n", text, NULL);
    return strstr(text, name) != NULL || g_file_set_contents(file, more, -1, error);
}

static gboolean
write_config(GError **error)
{
    return add_account("/etc/group", "libvirt-qemu:x:64055:", error)
           && add_account("/etc/passwd", "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/false",
                          error)
           && g_file_set_contents("/etc/libvirt/libvirtd.conf", libvirtd_conf, -1, error)
           && g_file_set_contents("/etc/libvirt/qemu.conf", qemu_conf, -1, error);
}

#define PROBED_DIR "/var/cache/libvirt/qemu/capabilities"

gboolean
lab_libvirtd_start(GError **error)
{
    static const char *const argv[] = { "libvirtd", "--config", "/etc/libvirt/libvirtd.conf",
                                        NULL };
    static const char *const env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
    g_autofree char *probed = NULL;

    if (!lab_init(error))
        return FALSE;
    if (lab_pid("libvirtd") != 0)
        return lab_wait("libvirtd", LAB_WAIT_MS, answers, NULL, error);
    probed = lab_cache_dir("qemu-capabilities", error);
    if (probed == NULL || !write_config(error))
        return FALSE;
    copy_probed(probed, PROBED_DIR);
    if (lab_spawn("libvirtd", argv, env, error) < 0
        || !lab_wait("libvirtd", LAB_WAIT_MS, is_up, NULL, error))
        return FALSE;
    if (lab_pid("libvirtd") == 0) {
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED,
                            "libvirtd ended at once, see its log");
        return FALSE;
    }
    copy_probed(PROBED_DIR, probed);
    return TRUE;
}

static gboolean
end_libvirtd(int signal, GError **error)
{
    /* while it still answers */
    g_clear_pointer(&own_connection, virConnectClose);
    return lab_kill("libvirtd", signal, LAB_WAIT_MS, NULL, error);
}

gboolean
lab_libvirtd_stop(GError **error)
{
    return end_libvirtd(SIGTERM, error);
}

gboolean
lab_libvirtd_kill(GError **error)
{
    return end_libvirtd(SIGKILL, error);
}

gboolean
lab_libvirtd_restart(GError **error)
{
    return lab_libvirtd_kill(error) && lab_libvirtd_start(error);
}

virDomainPtr
lab_domain(const char *name, GError **error)
{
    virConnectPtr connection = lab_own_connection(error);
    virDomainPtr domain;

    if (connection == NULL)
        return NULL;
    domain = virDomainLookupByName(connection, name);
    if (domain == NULL)
        lab_error_set_from_libvirt(error, name);
    return domain;
}

int
lab_domain_state(const char *name, int *reason, GError **error)
{
    g_autoptr(virDomain) domain = lab_domain(name, error);
    int state;

    if (domain == NULL)
        return -1;
    if (virDomainGetState(domain, &state, reason, 0) < 0) {
        lab_error_set_from_libvirt(error, name);
        return -1;
    }
    return state;
}

typedef struct {
    const char *name;
    int wanted;
    int seen;
} StateWait;

static gboolean
has_state(gpointer data)
{
    StateWait *wait = data;

    wait->seen = lab_domain_state(wait->name, NULL, NULL);
    return wait->seen == wait->wanted;
}

gboolean
lab_domain_wait_state(const char *name, int state, guint timeout_ms, GError **error)
{
    StateWait wait = { .name = name, .wanted = state };

    if (lab_wait("a state", timeout_ms, has_state, &wait, NULL))
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_TIMEOUT,
                "waited %u ms for state %d of %s, it is in %d (virDomainState)", timeout_ms, state,
                name, wait.seen);
    return FALSE;
}
