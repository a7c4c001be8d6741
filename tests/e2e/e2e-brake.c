/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves held in the middle: libvirt pipes QEMU's bytes through its I/O helper, and a script in the
 * helper's place stops itself before it becomes the helper. QEMU then waits with a full pipe and
 * its job goes on, for as long as a test likes. Only this lab-run's mounts are changed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "e2e.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER LAB_DIR "/brake"
#define HELD   FOLDER "/held"
#define REAL   FOLDER "/iohelper"
#define SCRIPT FOLDER "/script"

static const char script[] = "#!/bin/sh\n"
                             ": >" HELD "/$$\n"
                             "kill -STOP $$\n"
                             "exec " REAL " \"$@\"\n";

static const char *const places[] = { "/usr/lib/libvirt/libvirt_iohelper",
                                      "/usr/libexec/libvirt_iohelper",
                                      "/usr/lib/libvirt-daemon/libvirt_iohelper" };

static const char *
find_helper(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        if (g_file_test(places[i], G_FILE_TEST_IS_EXECUTABLE))
            return places[i];
    }
    fail_msg("libvirt's I/O helper is not where it was looked for");
    return NULL;
}

void
e2e_brake_on(void)
{
    const char *helper = find_helper();
    g_autoptr(GFile) source = g_file_new_for_path(helper);
    g_autoptr(GFile) real = g_file_new_for_path(REAL);

    assert_int_equal(g_mkdir_with_parents(HELD, 0700), 0);
    lab_ok(g_file_copy(source, real, G_FILE_COPY_OVERWRITE, NULL, NULL, NULL, &error));
    lab_ok(g_file_set_contents(SCRIPT, script, -1, &error));
    assert_int_equal(chmod(SCRIPT, 0755), 0);
    assert_int_equal(chmod(REAL, 0755), 0);
    assert_int_equal(mount(SCRIPT, helper, NULL, MS_BIND, NULL), 0);
}

static gboolean
is_held(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/stat", pid);
    g_autofree char *text = NULL;
    const char *end;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && end[2] == 'T';
}

static gboolean
are_held(gpointer n)
{
    g_autoptr(GDir) folder = g_dir_open(HELD, 0, NULL);
    guint found = 0;
    const char *name;

    while (folder != NULL && (name = g_dir_read_name(folder)) != NULL)
        found += is_held(name) ? 1 : 0;
    return found >= GPOINTER_TO_UINT(n);
}

void
e2e_brake_wait(guint n)
{
    lab_ok(lab_wait("libvirt to be in a save", LAB_WAIT_MS, are_held, GUINT_TO_POINTER(n), &error));
}

static void
release(const char *pid)
{
    g_autofree char *path = g_build_filename(HELD, pid, NULL);

    if (is_held(pid))
        kill((pid_t)g_ascii_strtoll(pid, NULL, 10), SIGCONT);
    unlink(path);
}

/* One that began while the mount went may stop after the first look. */
static gboolean
release_all(gpointer data G_GNUC_UNUSED)
{
    g_autoptr(GDir) folder = g_dir_open(HELD, 0, NULL);
    gboolean none = TRUE;
    const char *name;

    while (folder != NULL && (name = g_dir_read_name(folder)) != NULL) {
        g_autofree char *proc = g_strdup_printf("/proc/%s", name);

        if (is_held(name) || !g_file_test(proc, G_FILE_TEST_EXISTS))
            release(name);
        else
            none = FALSE;
    }
    return none;
}

void
e2e_brake_off(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++)
        umount2(places[i], MNT_DETACH);
    lab_ok(lab_wait("held saves to go on", LAB_WAIT_MS, release_all, NULL, &error));
}
