/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lab-private.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static const char *const node_programs[] = { "libvirt",       "qemu-system-", "virtlog",
                                             "swtpm",         "wukongd",      "lt-wukongd",
                                             "virt-launcher", "kubevirt-node" };

/* What a crash of the node would end; the test and its own helpers live on. */
static gboolean
is_of_node(const char *pid)
{
    g_autofree char *link = g_strdup_printf("/proc/%s/exe", pid);
    g_autofree char *target = g_file_read_link(link, NULL);
    g_autofree char *name = target != NULL ? g_path_get_basename(target) : NULL;

    for (gsize i = 0; name != NULL && i < G_N_ELEMENTS(node_programs); i++)
        if (g_str_has_prefix(name, node_programs[i]))
            return TRUE;
    return FALSE;
}

static gboolean
kill_all(gpointer data G_GNUC_UNUSED)
{
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    gboolean none = dir != NULL;
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        if (!g_ascii_isdigit(*name) || !is_of_node(name))
            continue;
        none = FALSE;
        kill((pid_t)g_ascii_strtoll(name, NULL, 10), SIGKILL);
    }
    return none;
}

gboolean
lab_node_crash(GError **error)
{
    /* only from inside: elsewhere these would be somebody else's processes */
    return lab_init(error)
           && lab_wait("the end of the node's processes", LAB_WAIT_MS, kill_all, NULL, error)
           && lab_libvirtd_kill(error) && lab_agent_kill(error);
}

static gboolean
any_running(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        if (g_ascii_isdigit(*name) && is_of_node(name))
            return TRUE;
    return FALSE;
}

static int
remove_entry(const char *path, const struct stat *st G_GNUC_UNUSED, int type G_GNUC_UNUSED,
             struct FTW *ftw)
{
    return ftw->level == 0 || remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

static gboolean
empty_run(GError **error)
{
    static const char *const folders[] = { "/run/libvirt", "/run/wukong", LAB_RUN_DIR };

    unlink("/run/libvirtd.pid");
    for (gsize i = 0; i < G_N_ELEMENTS(folders); i++) {
        if (nftw(folders[i], remove_entry, 32, FTW_DEPTH | FTW_PHYS) != 0) {
            g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", folders[i],
                        g_strerror(errno));
            return FALSE;
        }
    }
    return TRUE;
}

gboolean
lab_node_new_boot(GError **error)
{
    static const char path[] = LAB_DIR "/state/boot_id";
    g_autofree char *uuid = g_uuid_string_random();
    g_autofree char *line = g_strdup_printf("%s\n", uuid);

    if (!lab_init(error))
        return FALSE;
    if (any_running()) {
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED,
                            "the node still runs: lab_node_crash() or stop it first");
        return FALSE;
    }
    umount2(BOOT_ID, MNT_DETACH); /* that of the boot before, if any */
    if (!g_file_set_contents(path, line, -1, error) || !empty_run(error))
        return FALSE;
    if (mount(path, BOOT_ID, NULL, MS_BIND, NULL) != 0) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, BOOT_ID ": %s", g_strerror(errno));
        return FALSE;
    }
    return TRUE;
}
