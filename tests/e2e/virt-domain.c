/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on one domain with libvirtd and real guests: each state is told apart, each error known. */
#include "config.h"

#include "base/clock.h"
#include "base/error.h"
#include "virt/domain_xml.h"
#include "virt-fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib/gstdio.h>
#include <string.h>

/* F1, F3: pause, mark, save, restore paused, run: each state is told apart, the mark travels. */
static void
test_save_and_restore(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("round", NULL);
    g_autofree char *nonce = lab_guest_nonce("round", NULL);
    g_autofree char *after = NULL;

    fixture_assert_power(&guest, WK_POWER_RUNNING, NULL);
    lab_ok(wk_domain_suspend(guest.connection, guest.uuid, &error));
    fixture_assert_power(&guest, WK_POWER_PAUSED, NULL);
    lab_ok(wk_domain_set_op(guest.connection, guest.uuid, FIXTURE_OP, &error));
    fixture_assert_power(&guest, WK_POWER_PAUSED, FIXTURE_OP);
    lab_ok(wk_domain_managed_save(guest.connection, guest.uuid, &error));
    fixture_assert_power(&guest, WK_POWER_OFF, NULL);
    assert_true(g_file_test(guest.image, G_FILE_TEST_EXISTS));
    lab_ok(wk_domain_create(guest.connection, guest.uuid, TRUE, &error));
    fixture_assert_power(&guest, WK_POWER_LOADED, FIXTURE_OP);
    assert_false(lab_guest_is_ticking("round", LAB_QUIET_MS));
    lab_ok(wk_domain_resume(guest.connection, guest.uuid, &error));
    fixture_assert_power(&guest, WK_POWER_RUNNING, FIXTURE_OP);
    lab_ok(lab_guest_wait_ticking("round", LAB_WAIT_MS, &error));
    lab_ok((after = lab_guest_nonce("round", &error)) != NULL);
    assert_string_equal(nonce, after);
    lab_ok(lab_guest_check_log("round", &error));
    lab_ok(wk_domain_destroy(guest.connection, guest.uuid, &error));
    lab_ok(wk_domain_create(guest.connection, guest.uuid, TRUE, &error));
    fixture_assert_power(&guest, WK_POWER_PAUSED, NULL); /* a cold boot has no mark */
}

static void
test_op_in_image(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("marked", NULL);
    g_autofree char *op = NULL;
    g_autoptr(WkFacts) facts = NULL;
    char *xml;

    lab_ok(wk_domain_set_op(guest.connection, guest.uuid, FIXTURE_OP, &error));
    lab_ok(wk_domain_managed_save(guest.connection, guest.uuid, &error));
    xml = virDomainSaveImageGetXMLDesc(wk_connection_get(guest.connection), guest.image, 0);
    assert_non_null(xml);
    op = wk_domain_xml_get_op(xml);
    assert_string_equal(op, FIXTURE_OP);
    lab_ok((facts = wk_domain_xml_parse(xml, &error)) != NULL);
    assert_string_equal(facts->uuid, guest.uuid);
    lab_ok(wk_domain_check_startable(guest.connection, guest.uuid, xml, &error));
    free(xml);
}

static const struct {
    const char *what;
    const char *from;
    const char *to;
    const char *reason;
} changes[] = {
    { "emulator", "/usr/bin/qemu-system-x86_64", "/usr/bin/qemu-system-gone", "EmulatorMissing" },
    { "machine", "machine='pc-q35", "machine='pc-gone", "MachineTypeMissing" },
};

static void
test_startable(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("needs", NULL);
    virDomainPtr domain = lab_domain("needs", NULL);
    char *xml = virDomainGetXMLDesc(domain, 0);

    virDomainFree(domain);
    lab_ok(wk_domain_check_startable(guest.connection, guest.uuid, xml, &error));
    for (gsize i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autoptr(GString) changed = g_string_new(xml);
        g_autoptr(GError) refused = NULL;

        assert_int_equal(g_string_replace(changed, changes[i].from, changes[i].to, 0), 1);
        assert_false(
            wk_domain_check_startable(guest.connection, guest.uuid, changed->str, &refused));
        assert_true(g_error_matches(refused, WK_ERROR, WK_ERROR_REFUSED));
        assert_string_equal(wk_error_get_reason(refused), changes[i].reason);
    }
    free(xml);
}

/* F14: one byte of the header, in place; the guest then comes back paused by a plain start. */
static void
test_image_set_paused(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("running", NULL);
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    GStatBuf old, new;
    gsize length, changed = 0;

    lab_ok(wk_domain_managed_save(guest.connection, guest.uuid, &error));
    assert_int_equal(g_stat(guest.image, &old), 0);
    lab_ok(g_file_get_contents(guest.image, &before, &length, &error));
    lab_ok(wk_domain_image_set_paused(guest.connection, guest.uuid, guest.image, &error));
    lab_ok(g_file_get_contents(guest.image, &after, NULL, &error));
    assert_int_equal(g_stat(guest.image, &new), 0);
    assert_int_equal(old.st_ino, new.st_ino);
    assert_int_equal(old.st_size, new.st_size);
    for (gsize i = 0; i < length; i++)
        changed += before[i] != after[i];
    assert_int_equal(changed, 1);
    assert_int_equal(before[24], 1);
    assert_int_equal(after[24], 0);
    lab_ok(wk_domain_create(guest.connection, guest.uuid, FALSE, &error));
    fixture_assert_power(&guest, WK_POWER_LOADED, NULL);
}

/* F4, F11: an aborted save leaves a guest that was paused before paused, and no file. */
static void
test_abort(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("abort", &fixture_big);
    Call call = { .func = wk_domain_managed_save, .guest = &guest };
    guint64 done = 0;
    guint64 total = 0;

    lab_ok(wk_domain_suspend(guest.connection, guest.uuid, &error));
    fixture_call_start(&call);
    fixture_meet_job(&guest, &call, WK_POWER_PAUSED);
    while (!g_atomic_int_get(&call.done) && done == 0) {
        (void)wk_domain_job_progress(guest.connection, guest.uuid, &done, &total, NULL);
        g_usleep(10000);
    }
    assert_true(total > (guint64)fixture_big.fill_mib << 20);
    assert_true(done < total);
    lab_ok(wk_domain_abort_job(guest.connection, guest.uuid, &error));
    assert_false(fixture_call_join(&call));
    print_message("aborted save: %s\n", call.error->message);
    assert_true(g_error_matches(call.error, WK_ERROR, WK_ERROR_CANCELLED));
    g_clear_error(&call.error);
    fixture_assert_power(&guest, WK_POWER_PAUSED, NULL);
    assert_false(g_file_test(guest.image, G_FILE_TEST_EXISTS));
    assert_false(wk_domain_job_progress(guest.connection, guest.uuid, &done, &total, &call.error));
    assert_true(g_error_matches(call.error, WK_ERROR, WK_ERROR_CONFLICT));
    g_clear_error(&call.error);
    lab_ok(wk_domain_resume(guest.connection, guest.uuid, &error));
    lab_ok(lab_guest_wait_ticking("abort", LAB_WAIT_MS, &error));
}

static gboolean
create_paused(WkConnection *connection, const char *uuid, GError **error)
{
    return wk_domain_create(connection, uuid, TRUE, error);
}

/* F24: a look during a restore answers at once; destroy ends it, and the image is kept. */
static void
test_cancel_restore(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("cancel", &fixture_big);
    Call call = { .func = create_paused, .guest = &guest };
    guint64 done, total;
    gint64 before;

    lab_ok(wk_domain_managed_save(guest.connection, guest.uuid, &error));
    fixture_call_start(&call);
    fixture_meet_job(&guest, &call, WK_POWER_STARTING);
    before = wk_clock_mono_us();
    assert_false(wk_domain_job_progress(guest.connection, guest.uuid, &done, &total, NULL));
    assert_true(wk_clock_mono_us() - before < G_USEC_PER_SEC / 2);
    lab_ok(wk_domain_destroy(guest.connection, guest.uuid, &error));
    assert_false(fixture_call_join(&call));
    print_message("cancelled restore: %s\n", call.error->message);
    g_clear_error(&call.error);
    fixture_assert_power(&guest, WK_POWER_OFF, NULL);
    assert_true(g_file_test(guest.image, G_FILE_TEST_EXISTS));
}

/* A guest on tmpfs too small for its RAM: the words of a full disk are understood (F11). */
static void
test_no_space(void **state G_GNUC_UNUSED)
{
    static const char *const argv[] = { "mount",   "-t",    "tmpfs",      "-o",
                                        "size=1m", "small", LAB_SAVE_DIR, NULL };
    static const char *const back[] = { "umount", LAB_SAVE_DIR, NULL };
    g_auto(Guest) guest = fixture_start("full", NULL);
    g_auto(LabOutput) output = { 0 };
    g_autoptr(GError) failed = NULL;

    lab_ok(lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, &error));
    lab_ok(wk_domain_suspend(guest.connection, guest.uuid, &error));
    assert_false(wk_domain_managed_save(guest.connection, guest.uuid, &failed));
    print_message("full disk: %s\n", failed->message);
    assert_string_equal(wk_error_get_reason(failed), "NoSpace");
    fixture_assert_power(&guest, WK_POWER_PAUSED, NULL);
    lab_output_clear(&output);
    lab_ok(lab_run_capture(back, NULL, LAB_WAIT_MS, &output, &error));
    assert_int_equal(output.status, 0);
}

static void
test_no_agent(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("clock", NULL);
    g_autoptr(GError) failed = NULL;

    assert_false(wk_domain_sync_time(guest.connection, guest.uuid, &failed));
    assert_string_equal(wk_error_get_reason(failed), "TimeNotSynced");
}

static void
test_wrong_state(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("wrong", NULL);
    g_autoptr(GError) resumed = NULL;
    g_autoptr(GError) created = NULL;

    assert_false(wk_domain_resume(guest.connection, guest.uuid, &resumed));
    assert_true(g_error_matches(resumed, WK_ERROR, WK_ERROR_CONFLICT));
    assert_false(wk_domain_create(guest.connection, guest.uuid, TRUE, &created));
    assert_true(g_error_matches(created, WK_ERROR, WK_ERROR_CONFLICT));
    lab_ok(wk_domain_set_autostart(guest.connection, guest.uuid, TRUE, &error));
    assert_true(g_file_test("/etc/libvirt/qemu/autostart/wrong.xml", G_FILE_TEST_EXISTS));
    lab_ok(wk_domain_set_autostart(guest.connection, guest.uuid, FALSE, &error));
}

static void
test_facts(void **state G_GNUC_UNUSED)
{
    static const LabGuestOptions with_disk = { .disk = TRUE };
    g_auto(Guest) guest = fixture_start("facts", &with_disk);
    g_autoptr(WkFacts) facts = NULL;
    g_autofree char *path = lab_guest_disk_path("facts");
    const WkDiskFact *disk;

    lab_ok((facts = wk_domain_read_facts(guest.connection, guest.uuid, &error)) != NULL);
    assert_int_equal(facts->memory_kib, LAB_GUEST_MIB * 1024);
    assert_string_equal(facts->emulator, "/usr/bin/qemu-system-x86_64");
    assert_true(g_str_has_prefix(facts->machine, "pc-q35-"));
    assert_int_equal(facts->disks->len, 1);
    disk = g_ptr_array_index(facts->disks, 0);
    assert_int_equal(disk->kind, WK_DISK_FILE);
    assert_string_equal(disk->path, path);
    assert_int_equal(facts->devices->len, 0);
}

static void
test_connection_lost(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("lost", NULL);
    g_auto(WkLook) seen = { 0 };
    g_autoptr(GError) failed = NULL;

    lab_ok(lab_libvirtd_kill(&error));
    assert_false(wk_domain_look(guest.connection, guest.uuid, &seen, &failed));
    print_message("connection lost: %s\n", failed->message);
    assert_true(g_error_matches(failed, WK_ERROR, WK_ERROR_UNAVAILABLE));
    lab_ok(lab_libvirtd_start(&error));
}

/* libvirtd dies with a save on it: try again, not failed. Paused first, the guest stays so (F4). */
static void
test_lost_in_a_save(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("orphan", &fixture_big);
    Call call = { .func = wk_domain_managed_save, .guest = &guest };

    lab_ok(wk_domain_suspend(guest.connection, guest.uuid, &error));
    fixture_call_start(&call);
    fixture_meet_job(&guest, &call, WK_POWER_PAUSED);
    lab_ok(lab_libvirtd_kill(&error));
    assert_false(fixture_call_join(&call));
    print_message("lost in a save: %s\n", call.error->message);
    assert_true(g_error_matches(call.error, WK_ERROR, WK_ERROR_UNAVAILABLE));
    g_clear_error(&call.error);
    lab_ok(lab_libvirtd_start(&error));
    g_clear_pointer(&guest.connection, wk_connection_unref);
    guest.connection = fixture_open();
    lab_ok(lab_domain_wait_state("orphan", VIR_DOMAIN_PAUSED, LAB_WAIT_MS, &error));
    fixture_assert_power(&guest, WK_POWER_PAUSED, NULL);
}

static int
compare_times(const void *a, const void *b)
{
    const gint64 x = *(const gint64 *)a;
    const gint64 y = *(const gint64 *)b;

    return x < y ? -1 : x > y;
}

/* The suspend path has 5 ms for all: a look is a part of it. */
static void
test_look_is_quick(void **state G_GNUC_UNUSED)
{
    g_auto(Guest) guest = fixture_start("quick", NULL);
    gint64 times[200];

    lab_ok(wk_domain_suspend(guest.connection, guest.uuid, &error)); /* else it takes the CPU */
    lab_ok(wk_domain_set_op(guest.connection, guest.uuid, FIXTURE_OP, &error));
    for (gsize i = 0; i < G_N_ELEMENTS(times); i++) {
        const gint64 before = wk_clock_mono_us();

        fixture_assert_power(&guest, WK_POWER_PAUSED, FIXTURE_OP);
        times[i] = wk_clock_mono_us() - before;
    }
    qsort(times, G_N_ELEMENTS(times), sizeof times[0], compare_times);
    print_message("a look: median %d us, 99 in 100 %d us\n", (int)times[100], (int)times[197]);
    assert_true(times[100] < 5000);
}

static int
start_libvirtd(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_libvirtd_start(&error));
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_save_and_restore),
        cmocka_unit_test(test_op_in_image),
        cmocka_unit_test(test_startable),
        cmocka_unit_test(test_image_set_paused),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_cancel_restore),
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_no_agent),
        cmocka_unit_test(test_wrong_state),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_connection_lost),
        cmocka_unit_test(test_lost_in_a_save),
        cmocka_unit_test(test_look_is_quick),
    };

    return cmocka_run_group_tests_name("virt-domain", tests, start_libvirtd, NULL);
}
