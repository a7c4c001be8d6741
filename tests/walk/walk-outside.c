/* SPDX-License-Identifier: Apache-2.0 */
/* What others do to a guest behind the agent's back, and the guest that each case begins with. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int (*DomainCall)(virDomainPtr domain);

static gboolean
call(DomainCall func, const char *what, GError **error)
{
    g_autoptr(virDomain) domain = lab_domain(WALK_GUEST, error);

    if (domain == NULL)
        return FALSE;
    if (func(domain) == 0)
        return TRUE;
    lab_error_set_from_libvirt(error, what);
    return FALSE;
}

gboolean
walk_virsh_start(guint flags, GError **error)
{
    g_autoptr(virDomain) domain = lab_domain(WALK_GUEST, error);

    if (domain == NULL)
        return FALSE;
    if (virDomainCreateWithFlags(domain, flags) == 0)
        return TRUE;
    lab_error_set_from_libvirt(error, "virsh start");
    return FALSE;
}

gboolean
walk_virsh_resume(GError **error)
{
    return call(virDomainResume, "virsh resume", error);
}

gboolean
walk_virsh_suspend(GError **error)
{
    return call(virDomainSuspend, "virsh suspend", error);
}

static int
managed_save(virDomainPtr domain)
{
    return virDomainManagedSave(domain, 0);
}

gboolean
walk_virsh_save(GError **error)
{
    return call(managed_save, "virsh managedsave", error);
}

#define WALK_GUARD_BYTES 92

static gboolean
set_errno(GError **error, const char *path)
{
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", path, g_strerror(errno));
    return FALSE;
}

/* As a medium does it: no time of the file changes. */
gboolean
walk_flip_byte(const char *path, goffset offset, GError **error)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    guint8 byte;
    gboolean ok;

    ok = fd >= 0 && fstat(fd, &st) == 0 && pread(fd, &byte, 1, offset) == 1;
    byte = ok ? byte ^ 0xff : 0;
    ok = ok && pwrite(fd, &byte, 1, offset) == 1
         && futimens(fd, (const struct timespec[]){ st.st_atim, st.st_mtim }) == 0;
    if (!ok)
        set_errno(error, path);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* 92 bytes of header with @magic and a version that nobody knows, then some more. */
gboolean
walk_write_image(const char *path, const char *magic, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    char bytes[256] = { 0 };

    memcpy(bytes, magic, 16);
    if (g_mkdir_with_parents(folder, 0700) != 0)
        return set_errno(error, folder);
    return g_file_set_contents_full(path, bytes, sizeof bytes, G_FILE_SET_CONTENTS_NONE, 0600,
                                    error);
}

/* An image of version 2^32-1 without data, and our mark where no header has anything. */
static void
fill_guard(char *bytes)
{
    memset(bytes, 0, WALK_GUARD_BYTES);
    memcpy(bytes, "LibvirtQemudSave\xff\xff\xff\xff", 20);
    memcpy(bytes + 36, "WukongGuardImage", 16);
}

gboolean
walk_write_guard(const char *path, GError **error)
{
    char bytes[WALK_GUARD_BYTES];

    fill_guard(bytes);
    return g_file_set_contents_full(path, bytes, sizeof bytes, G_FILE_SET_CONTENTS_NONE, 0600,
                                    error);
}

gboolean
walk_is_guard(const char *path, GError **error)
{
    char bytes[WALK_GUARD_BYTES];
    g_autofree char *found = NULL;
    gsize length = 0;

    fill_guard(bytes);
    if (!g_file_get_contents(path, &found, &length, error))
        return FALSE;
    if (length == sizeof bytes && memcmp(found, bytes, length) == 0)
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: is no guard", path);
    return FALSE;
}

gboolean
walk_link(const char *from, const char *to, GError **error)
{
    return link(from, to) == 0 || set_errno(error, to);
}

/* Somebody wrote to the guest's disk: the content is the same, the time is not. */
gboolean
walk_touch_disk(GError **error)
{
    g_autofree char *path = lab_guest_disk_path(WALK_GUEST);

    return utimensat(AT_FDCWD, path, NULL, 0) == 0 || set_errno(error, path);
}

/* Only this node's: lab-run has processes of its own. */
void
walk_signal_qemu(int signal)
{
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *link = g_strdup_printf("/proc/%s/exe", name);
        g_autofree char *target = g_ascii_isdigit(*name) ? g_file_read_link(link, NULL) : NULL;

        if (target != NULL && strstr(target, "/qemu-system-") != NULL)
            kill((pid_t)g_ascii_strtoll(name, NULL, 10), signal);
    }
}

/* ---- the guest that each case begins with ---- */

static gboolean
set_autostart(GError **error)
{
    g_autoptr(virDomain) domain = lab_domain(WALK_GUEST, error);

    if (domain == NULL)
        return FALSE;
    if (virDomainSetAutostart(domain, 1) == 0)
        return TRUE;
    lab_error_set_from_libvirt(error, "setting autostart");
    return FALSE;
}

static gboolean
run_in(const char *command, GError **error)
{
    const char *const argv[] = { "sh", "-c", command, NULL };
    g_auto(LabOutput) output = { 0 };

    return lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, error);
}

/* After a case that went wrong, or that ended the guest: nothing of it stays. */
static gboolean
start_afresh(Walk *walk, GError **error)
{
    static const LabGuestOptions options = { .disk = TRUE };
    g_autofree char *answer = NULL;
    LabTick tick;

    if (!lab_agent_kill(error) || !lab_libvirtd_start(error)
        || !lab_guest_undefine(WALK_GUEST, error)
        || !run_in("rm -rf " LAB_STATE_DIR " " LAB_SAVE_DIR "/*", error)
        || !lab_guest_start(WALK_GUEST, &options, error) || !set_autostart(error))
        return FALSE;
    answer = lab_guest_command(WALK_GUEST, "write", LAB_WAIT_MS, error);
    if (answer == NULL || !lab_guest_last_tick(WALK_GUEST, &tick, error))
        return FALSE;
    g_strlcpy(walk->nonce, tick.nonce, sizeof walk->nonce);
    walk->fresh_needed = FALSE;
    return TRUE;
}

gboolean
walk_base(Walk *walk, GError **error)
{
    if (walk->fresh_needed && !start_afresh(walk, error))
        return FALSE;
    return (walk_agent_is_alive() && !walk->armed) || walk_agent_start(walk, NULL, error);
}
