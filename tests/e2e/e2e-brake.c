/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saves held in the middle: libvirt pipes QEMU's bytes through its I/O helper, and a script in the
 * helper's place copies so slowly that a save would take minutes. Its job goes on for as long as a
 * test likes, and can be aborted; then the script becomes the helper and copies the rest. Only
 * this lab-run's mounts are changed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "e2e.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER LAB_DIR "/brake"
#define REAL   FOLDER "/iohelper"

/* libvirt_iohelper FILE FD: from stdin to FD, which may be 1. The folder is this brake's own: "on"
 * lies in it while it holds, and a file named by the pid of each that it holds. */
static const char script[] =
    "#!/bin/bash\n"
    "cd '%s' || exit 1\n"
    ": >$$\n"
    "exec 8>&\"$2\"\n"
    "while [ -e on ]; do\n"
    "    copied=$(LC_ALL=C dd bs=16384 count=1 iflag=fullblock 2>&1 1>&8)\n"
    "    [[ $copied == 1+0* ]] || break\n"
    "    sleep 0.05\n"
    "done\n"
    "exec " REAL " \"$@\"\n";

static char *folder; /* NULL: no brake */

static const char *const places[] = { "/usr/lib/libvirt/libvirt_iohelper",
                                      "/usr/libexec/libvirt_iohelper" };

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
    static guint last;
    const char *helper = find_helper();
    g_autoptr(GFile) source = g_file_new_for_path(helper);
    g_autoptr(GFile) real = g_file_new_for_path(REAL);
    g_autofree char *path = NULL;
    g_autofree char *on = NULL;
    g_autofree char *text = NULL;

    assert_null(folder);
    folder = g_strdup_printf(FOLDER "/%u", ++last);
    path = g_build_filename(folder, "script", NULL);
    on = g_build_filename(folder, "on", NULL);
    text = g_strdup_printf(script, folder);
    assert_int_equal(g_mkdir_with_parents(folder, 0700), 0);
    lab_ok(g_file_copy(source, real, G_FILE_COPY_OVERWRITE, NULL, NULL, NULL, &error));
    lab_ok(g_file_set_contents(path, text, -1, &error));
    lab_ok(g_file_set_contents(on, "", 0, &error));
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(chmod(REAL, 0755), 0);
    assert_int_equal(mount(path, helper, NULL, MS_BIND, NULL), 0);
}

/* Still the script: neither at its end nor the helper. */
static gboolean
is_held(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/exe", pid);
    g_autofree char *program = g_file_read_link(path, NULL);

    return program != NULL && !g_str_equal(program, REAL);
}

guint
e2e_brake_count(void)
{
    g_autoptr(GDir) held = g_dir_open(folder, 0, NULL);
    guint n = 0;
    const char *name;

    while (held != NULL && (name = g_dir_read_name(held)) != NULL)
        n += g_ascii_isdigit(*name) && is_held(name) ? 1 : 0;
    return n;
}

static gboolean
are_held(gpointer n)
{
    return e2e_brake_count() >= GPOINTER_TO_UINT(n);
}

void
e2e_brake_wait(guint n)
{
    lab_ok(lab_wait("libvirt to be in a save", LAB_WAIT_MS, are_held, GUINT_TO_POINTER(n), &error));
}

/* One whose QEMU writes nothing goes on as soon as it does; it is not waited for. */
void
e2e_brake_off(void)
{
    g_autofree char *on = NULL;

    if (folder == NULL)
        return;
    on = g_build_filename(folder, "on", NULL);
    unlink(on);
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++)
        umount2(places[i], MNT_DETACH);
    g_clear_pointer(&folder, g_free);
}
