/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node whose disk can lose its power: everything that outlives a reboot (vault, ledger, libvirt's
 * save folder and definitions, the guests' disks) is on one ext4 in a file, behind a loop device.
 * What has reached that file has reached the platter; what ext4 still has in memory has not. A copy
 * of the file is what a power cut would have left.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "walk-power.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODE        "/var/lib"
#define DEFINITIONS "/etc/libvirt/qemu"
#define ON_DISK     NODE "/definitions"
#define BOOT_ID     "/proc/sys/kernel/random/boot_id"
#define DISK_BYTES  (768 * 1024 * 1024LL)
#define UMOUNT_MS   10000
#define COPY_TRIES  20

static gboolean run(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static gboolean
run(GError **error, const char *format, ...)
{
    g_autofree char *command = NULL;
    const char *argv[] = { "sh", "-ec", NULL, NULL };
    g_auto(LabOutput) output = { 0 };
    va_list args;

    va_start(args, format);
    command = g_strdup_vprintf(format, args);
    va_end(args);
    argv[2] = command;
    if (!lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, error))
        return FALSE;
    if (output.status == 0)
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", command, output.err);
    return FALSE;
}

static char *
scratch_path(const char *name)
{
    return g_build_filename(g_getenv("WK_LAB_SCRATCH"), name, NULL);
}

static gboolean
mount_file(const char *file, GError **error)
{
    return run(error,
               "mount -t ext4 -o loop,discard,nosuid '%s' " NODE "; mkdir -p " DEFINITIONS
               " " ON_DISK "; mount --bind " ON_DISK " " DEFINITIONS,
               file);
}

gboolean
walk_power_on(GError **error)
{
    g_autofree char *file = scratch_path("power.img");
    const int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    gboolean ok;

    ok = fd >= 0 && ftruncate(fd, DISK_BYTES) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", file, g_strerror(errno));
        return FALSE;
    }
    /* what lab-run has put there moves along */
    return lab_init(error)
           && run(
               error,
               "mkfs.ext4 -q -F -E nodiscard '%s'; mkdir -p /mnt; mount -t ext4 -o loop '%s' /mnt;"
               " cp -a " NODE "/. /mnt; umount /mnt",
               file, file)
           && mount_file(file, error);
}

static gboolean
is_unmounted(gpointer data)
{
    return umount(data) == 0 || errno == EINVAL;
}

/* Everything has ended: nothing holds the file system any more. */
static gboolean
unmount(GError **error)
{
    umount2(BOOT_ID, MNT_DETACH); /* lies on it, since a "new boot" */
    return lab_wait("the unmount of " DEFINITIONS, UMOUNT_MS, is_unmounted, (gpointer)DEFINITIONS,
                    error)
           && lab_wait("the unmount of " NODE, UMOUNT_MS, is_unmounted, (gpointer)NODE, error);
}

gboolean
walk_power_restart_with(const char *file, GError **error)
{
    g_autofree char *live = scratch_path("power.img");

    return lab_node_crash(error) && unmount(error)
           && mount_file(file != NULL ? file : live, error)
           /* pids and the like of the life before */
           && run(error, "rm -f " LAB_DIR "/state/*.pid " LAB_DIR "/exits")
           && lab_node_new_boot(error);
}

gboolean
walk_power_sync(GError **error)
{
    return run(error, "sync -f " NODE "/.");
}

/* ---- cutting ---- */

static gint64
changed_at(const char *file)
{
    struct stat st;

    return stat(file, &st) == 0
               ? (gint64)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec + st.st_blocks
               : -1;
}

/* Of one instant: if the file changed meanwhile (ext4's journal has a life of its own), again. */
static gboolean
copy_still(const char *from, const char *to, GError **error)
{
    for (guint i = 0; i < COPY_TRIES; i++) {
        const gint64 before = changed_at(from);

        if (!run(error, "cp --sparse=always '%s' '%s'", from, to))
            return FALSE;
        if (changed_at(from) == before)
            return TRUE;
    }
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s never stands still", from);
    return FALSE;
}

gboolean
walk_power_cut(const char *copy, GError **error)
{
    g_autofree char *live = scratch_path("power.img");
    const GPid libvirtd = lab_pid("libvirtd");
    gboolean ok;

    if (libvirtd != 0)
        kill(libvirtd, SIGSTOP);
    walk_signal_qemu(SIGSTOP);
    ok = copy_still(live, copy, error);
    walk_signal_qemu(SIGCONT);
    if (libvirtd != 0)
        kill(libvirtd, SIGCONT);
    return ok;
}
