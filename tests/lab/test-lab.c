/* SPDX-License-Identifier: Apache-2.0 */
/* The fixture itself: what it says about guests must be true before anything rests on it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static int
start_libvirtd(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_libvirtd_start(&error));
    return 0;
}

static void
virsh(const char *verb, const char *name)
{
    const char *const argv[] = { "virsh", "-q", verb, name, NULL };
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, &error));
    if (output.status != 0)
        fail_msg("virsh %s %s: %s", verb, name, output.err);
}

static char *
nonce_of(const char *name)
{
    char *nonce = NULL;

    lab_ok((nonce = lab_guest_nonce(name, &error)) != NULL);
    return nonce;
}

static void
test_guest_runs(void **state G_GNUC_UNUSED)
{
    guint64 tick;

    lab_ok(lab_guest_start("runs", NULL, &error));
    assert_int_equal(lab_domain_state("runs", NULL, NULL), VIR_DOMAIN_RUNNING);
    lab_ok((tick = lab_guest_tick("runs", &error)) != 0);
    lab_ok(lab_guest_wait_tick_above("runs", tick + 2, LAB_WAIT_MS, &error));
    lab_ok(lab_guest_check_log("runs", &error));
}

static void
test_pause_is_seen(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_guest_start("pauses", NULL, &error));
    virsh("suspend", "pauses");
    lab_ok(lab_guest_wait_quiet("pauses", LAB_WAIT_MS, &error));
    assert_false(lab_guest_is_ticking("pauses", LAB_QUIET_MS));
    virsh("resume", "pauses");
    lab_ok(lab_guest_wait_ticking("pauses", LAB_WAIT_MS, &error));
    lab_ok(lab_guest_check_log("pauses", &error));
}

static void
test_managed_save_keeps_nonce(void **state G_GNUC_UNUSED)
{
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    guint64 tick;

    lab_ok(lab_guest_start("saves", NULL, &error));
    before = nonce_of("saves");
    virsh("managedsave", "saves");
    assert_int_equal(lab_domain_state("saves", NULL, NULL), VIR_DOMAIN_SHUTOFF);
    assert_false(lab_guest_is_ticking("saves", LAB_QUIET_MS));
    tick = lab_guest_tick("saves", NULL);
    virsh("start", "saves");
    lab_ok(lab_guest_wait_tick_above("saves", tick + 1, LAB_WAIT_MS, &error));
    after = nonce_of("saves");
    assert_string_equal(before, after);
    lab_ok(lab_guest_check_log("saves", &error));
}

static void
test_cold_boot_changes_nonce(void **state G_GNUC_UNUSED)
{
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    lab_ok(lab_guest_start("boots", NULL, &error));
    before = nonce_of("boots");
    lab_ok(lab_guest_destroy("boots", &error));
    lab_ok(lab_guest_create("boots", &error));
    after = nonce_of("boots");
    assert_string_not_equal(before, after);
    lab_ok(lab_guest_check_log("boots", &error));
}

/* What the fixture is for: the same RAM run twice does not go unseen. */
static void
test_double_life_is_seen(void **state G_GNUC_UNUSED)
{
    g_autofree char *image = g_strdup(LAB_SAVE_DIR "/twice.save");
    g_autofree char *copy = g_strdup(LAB_DIR "/twice.copy");
    const char *const cp[] = { "cp", image, copy, NULL };
    const char *const back[] = { "cp", copy, image, NULL };
    g_auto(LabOutput) output = { 0 };
    g_autoptr(GError) seen = NULL;

    lab_ok(lab_guest_start("twice", NULL, &error));
    virsh("managedsave", "twice");
    lab_ok(lab_run_capture(cp, NULL, LAB_WAIT_MS, &output, &error));
    virsh("start", "twice");
    lab_ok(lab_guest_wait_ticking("twice", LAB_WAIT_MS, &error));
    lab_ok(lab_guest_destroy("twice", &error));
    lab_ok(lab_run_capture(back, NULL, LAB_WAIT_MS, &output, &error));
    lab_ok(lab_libvirtd_restart(&error)); /* it notices a managed image only at its start */
    virsh("start", "twice");
    lab_ok(lab_guest_wait_ticking("twice", LAB_WAIT_MS, &error));
    assert_false(lab_guest_check_log("twice", &seen));
    assert_non_null(strstr(seen->message, "ran twice"));
    unlink(copy);
}

static void
test_two_guests_differ(void **state G_GNUC_UNUSED)
{
    static const LabGuestOptions with_disk = { .disk = TRUE, .fill_mib = 16 };
    g_autofree char *one = NULL;
    g_autofree char *two = NULL;
    g_autofree char *on_disk = NULL;
    g_autofree char *answer = NULL;
    LabTick tick;

    lab_ok(lab_guest_start("one", NULL, &error));
    lab_ok(lab_guest_start("two", &with_disk, &error));
    one = nonce_of("one");
    two = nonce_of("two");
    assert_string_not_equal(one, two);
    lab_ok(lab_guest_is_ticking("one", LAB_WAIT_MS) && lab_guest_is_ticking("two", LAB_WAIT_MS));
    lab_ok((answer = lab_guest_command("two", "write", LAB_WAIT_MS, &error)) != NULL);
    lab_ok((on_disk = lab_guest_command("two", "read", LAB_WAIT_MS, &error)) != NULL);
    assert_non_null(strstr(on_disk, two));
    lab_ok(lab_guest_last_tick("two", &tick, &error));
    assert_int_equal(tick.filled, 16);
}

static void
test_guests_outlive_libvirtd(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_guest_start("outlives", NULL, &error));
    lab_ok(lab_libvirtd_kill(&error));
    lab_ok(lab_guest_is_ticking("outlives", LAB_WAIT_MS));
    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_domain_wait_state("outlives", VIR_DOMAIN_RUNNING, LAB_WAIT_MS, &error));
    lab_ok(lab_guest_check_log("outlives", &error));
}

static void
test_power_button(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_guest_start("button", NULL, &error));
    virsh("shutdown", "button");
    lab_ok(lab_domain_wait_state("button", VIR_DOMAIN_SHUTOFF, LAB_WAIT_MS, &error));
}

static char *
boot_id(void)
{
    char *text = NULL;

    lab_ok(g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, &error));
    return text;
}

static void
test_node_crash(void **state G_GNUC_UNUSED)
{
    g_autofree char *before = boot_id();
    g_autofree char *after = NULL;

    lab_ok(lab_guest_start("crashes", NULL, &error));
    lab_ok(lab_node_crash(&error));
    assert_false(lab_guest_is_ticking("crashes", LAB_QUIET_MS));
    lab_ok(lab_node_new_boot(&error));
    after = boot_id();
    assert_string_not_equal(before, after);
    assert_int_equal(access("/run/libvirt/libvirt-sock", F_OK), -1);
    lab_ok(lab_libvirtd_start(&error));
    assert_int_equal(lab_domain_state("crashes", NULL, NULL), VIR_DOMAIN_SHUTOFF);
}

static void
test_spawned_exit_status(void **state G_GNUC_UNUSED)
{
    const char *const argv[] = { "sh", "-c", "echo said; exit 3", NULL };
    g_autofree char *log = NULL;
    int status = 0;

    lab_ok(lab_spawn("short", argv, NULL, &error) > 0);
    lab_ok(lab_wait_exit("short", LAB_WAIT_MS, &status, &error));
    assert_int_equal(status, 3);
    log = lab_log("short");
    assert_string_equal(log, "said\n");
}

static void
test_capture_has_deadline(void **state G_GNUC_UNUSED)
{
    const char *const argv[] = { "sleep", "60", NULL };
    g_auto(LabOutput) output = { 0 };
    g_autoptr(GError) error = NULL;

    assert_false(lab_run_capture(argv, NULL, 100, &output, &error));
    assert_true(g_error_matches(error, LAB_ERROR, LAB_ERROR_TIMEOUT));
}

static gboolean
file_exists(gpointer path)
{
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* Any process whose mounts have @folder in them belongs to that lab-run. */
static gboolean
nobody_has_mounts_of(gpointer folder)
{
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename("/proc", name, "mountinfo", NULL);
        g_autofree char *text = NULL;

        if (g_ascii_isdigit(*name) && g_file_get_contents(path, &text, NULL, NULL)
            && strstr(text, folder) != NULL)
            return FALSE;
    }
    return TRUE;
}

/* The one folder of the inner run. */
static char *
inner_scratch(const char *base)
{
    g_autoptr(GDir) dir = g_dir_open(base, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        if (g_str_has_prefix(name, "run."))
            return g_build_filename(base, name, NULL);
    return NULL;
}

static gboolean
lock_is_free(const char *scratch)
{
    g_autofree char *path = g_build_filename(scratch, "lock", NULL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    gboolean is_free = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;

    if (fd >= 0)
        close(fd);
    return is_free;
}

/* lab-run with libvirtd and a guest in it, killed from outside. */
static void
test_killed_run_leaves_nothing(void **state G_GNUC_UNUSED)
{
    g_autofree char *base = g_dir_make_tmp("wk-inner-XXXXXX", NULL);
    g_autofree char *run = lab_build_path("tests/lab/lab-run");
    g_autofree char *tool = lab_build_path("tests/lab/lab-tool");
    g_autofree char *ready = g_build_filename(base, "ready", NULL);
    g_autofree char *script =
        g_strdup_printf("%s libvirtd start && %s guest start inner && touch %s && exec sleep 600",
                        tool, tool, ready);
    const char *const argv[] = { run, "--scratch", base, "sh", "-c", script, NULL };
    const char *const next[] = { run, "--scratch", base, "true", NULL };
    g_auto(LabOutput) output = { 0 };
    g_autofree char *scratch = NULL;
    g_autofree char *left = NULL;
    g_autofree char *name = NULL;

    lab_ok(lab_spawn("inner", argv, NULL, &error) > 0);
    lab_ok(lab_wait("the inner guest", LAB_WAIT_MS, file_exists, ready, &error));
    scratch = inner_scratch(base);
    assert_non_null(scratch);
    assert_false(lock_is_free(scratch));
    name = g_path_get_basename(scratch);
    assert_false(nobody_has_mounts_of(name));
    lab_ok(lab_kill("inner", SIGKILL, LAB_WAIT_MS, NULL, &error));
    lab_ok(lab_wait("the inner processes' end", LAB_WAIT_MS, nobody_has_mounts_of, name, &error));
    lab_ok(lock_is_free(scratch));
    lab_ok(lab_run_capture(next, NULL, LAB_WAIT_MS, &output, &error));
    assert_int_equal(output.status, 0);
    left = inner_scratch(base);
    assert_null(left);
    unlink(ready);
    g_free(script);
    script = g_build_filename(base, ".lock", NULL);
    unlink(script);
    assert_int_equal(rmdir(base), 0);
}

static void
test_run_passes_status_on(void **state G_GNUC_UNUSED)
{
    g_autofree char *run = lab_build_path("tests/lab/lab-run");
    const char *const five[] = { run, "sh", "-c", "exit 5", NULL };
    const char *const term[] = { run, "sh", "-c", "kill -TERM $$", NULL };
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_run_capture(five, NULL, LAB_WAIT_MS, &output, &error));
    assert_int_equal(output.status, 5);
    lab_ok(lab_run_capture(term, NULL, LAB_WAIT_MS, &output, &error));
    assert_int_equal(output.status, 128 + SIGTERM);
}

/* A program called like the agent, that nobody waits for. Returns: lab-run's exit status. */
static int
status_after_end_by(const char *signal)
{
    g_autofree char *run = lab_build_path("tests/lab/lab-run");
    g_autofree char *script =
        g_strdup_printf("cp /bin/sh /run/lab/wukongd; (/run/lab/wukongd -c 'kill -%s $$' &); "
                        "until [ -s /var/lib/lab/exits ]; do sleep 0.05; done",
                        signal);
    const char *const argv[] = { run, "--no-logs", "sh", "-c", script, NULL };
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, &error));
    return output.status;
}

static void
test_crash_is_noticed(void **state G_GNUC_UNUSED)
{
    assert_int_equal(status_after_end_by("SEGV"), 124);
    assert_int_equal(status_after_end_by("ABRT"), 124);
    assert_int_equal(status_after_end_by("KILL"), 0);
}

/* One mount for libvirt's save folder and the vault, or the agent could not link. */
static void
test_link_between_save_folder_and_vault(void **state G_GNUC_UNUSED)
{
    lab_ok(g_file_set_contents(LAB_SAVE_DIR "/x.save", "x", 1, &error));
    assert_int_equal(link(LAB_SAVE_DIR "/x.save", LAB_STATE_DIR "/x"), 0);
    unlink(LAB_SAVE_DIR "/x.save");
    unlink(LAB_STATE_DIR "/x");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guest_runs),
        cmocka_unit_test(test_pause_is_seen),
        cmocka_unit_test(test_managed_save_keeps_nonce),
        cmocka_unit_test(test_cold_boot_changes_nonce),
        cmocka_unit_test(test_double_life_is_seen),
        cmocka_unit_test(test_two_guests_differ),
        cmocka_unit_test(test_guests_outlive_libvirtd),
        cmocka_unit_test(test_power_button),
        cmocka_unit_test(test_node_crash),
        cmocka_unit_test(test_spawned_exit_status),
        cmocka_unit_test(test_capture_has_deadline),
        cmocka_unit_test(test_link_between_save_folder_and_vault),
        cmocka_unit_test(test_run_passes_status_on),
        cmocka_unit_test(test_crash_is_noticed),
        cmocka_unit_test(test_killed_run_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, start_libvirtd, NULL);
}
