/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "model/policy.h"
#include "model/precheck.h"

/* A guest that may be saved, and a vault with just enough room for it. */
typedef struct {
    WkFacts *facts;
    WkPrecheck input;
} Guest;

static int
setup(void **state)
{
    Guest *guest = g_new0(Guest, 1);

    guest->facts = wk_facts_new();
    guest->facts->name = g_strdup("web");
    guest->facts->uuid = g_strdup("uuid");
    guest->facts->memory_kib = 1 << 20;
    wk_facts_add_disk(guest->facts, WK_DISK_FILE, "/disk.img", "vda", FALSE, FALSE);
    wk_facts_add_disk(guest->facts, WK_DISK_BLOCK, "/dev/disk", "vdb", FALSE, FALSE);
    wk_facts_add_disk(guest->facts, WK_DISK_NETWORK, NULL, "vdc", TRUE, FALSE);
    guest->input = (WkPrecheck){ .facts = guest->facts, .persistent = TRUE, .can_save = TRUE };
    guest->input.free_bytes = wk_policy_image_bytes(guest->facts->memory_kib);
    *state = guest;
    return 0;
}

static int
teardown(void **state)
{
    Guest *guest = *state;

    wk_facts_free(guest->facts);
    g_free(guest);
    return 0;
}

static void
test_good(void **state)
{
    const Guest *guest = *state;
    g_autoptr(GError) error = NULL;

    assert_true(wk_precheck_suspend(&guest->input, WK_TARGET_DISK, &error));
    assert_true(wk_precheck_suspend(&guest->input, WK_TARGET_DISK, NULL));
}

static void
break_transient_guest(Guest *guest)
{
    guest->input.persistent = FALSE;
}

static void
break_vault(Guest *guest)
{
    guest->input.can_save = FALSE;
    guest->input.cannot_why = "set [vault] dir";
}

static void
break_device(Guest *guest)
{
    g_ptr_array_add(guest->facts->devices, g_strdup("pci 0000:3b:00.0"));
    g_ptr_array_add(guest->facts->devices, g_strdup("usb 1-2"));
}

static void
break_share(Guest *guest)
{
    g_ptr_array_add(guest->facts->shares, g_strdup("/srv/share"));
}

static void
break_transient_disk(Guest *guest)
{
    wk_facts_add_disk(guest->facts, WK_DISK_FILE, "/scratch.img", "vdd", FALSE, TRUE);
}

static void
break_room(Guest *guest)
{
    guest->input.free_bytes--;
}

static void
break_reserve(Guest *guest)
{
    guest->input.kept_bytes = 1;
}

static void
break_promises(Guest *guest)
{
    guest->input.promised_bytes = guest->input.free_bytes + 1; /* others want more than there is */
}

static const struct {
    const char *label;
    void (*spoil)(Guest *guest);
    const char *reason;
    const char *said; /* names the thing, or the next step */
} cases[] = {
    { "transient guest", break_transient_guest, "TransientGuest", "to memory only" },
    { "no vault", break_vault, "NoVault", "set [vault] dir" },
    { "passed-through device", break_device, "HostDevice", "2 passed-through device(s) (pci 0000" },
    { "shared folder", break_share, "SharedFolder", "/srv/share" },
    { "transient disk", break_transient_disk, "TransientDisk", "disk vdd" },
    { "one byte too little room", break_room, "NoSpace", "needs up to 1.2 GB" },
    { "the reserve counts", break_reserve, "NoSpace", "1.2 GB are free" },
    { "promises count", break_promises, "NoSpace", "0 B are free" },
};

static void
test_refused(void **state)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        void *guest = NULL;

        assert_int_equal(setup(&guest), 0);
        cases[i].spoil(guest);
        assert_true(
            wk_precheck_suspend(&((Guest *)guest)->input, WK_TARGET_MEMORY, &error)); /* I7 */
        assert_true(wk_precheck_suspend(&((Guest *)guest)->input, WK_TARGET_NONE, &error));
        assert_false(wk_precheck_suspend(&((Guest *)guest)->input, WK_TARGET_DISK, &error));
        assert_string_equal(wk_error_get_reason(error), cases[i].reason);
        assert_non_null(strstr(error->message, "guest 'web'"));
        unit_assert_error(&error, WK_ERROR_REFUSED, cases[i].said);
        assert_int_equal(teardown(&guest), 0);
    }
    (void)state;
}

static void
test_facts_copy(void **state)
{
    const Guest *guest = *state;
    g_autoptr(WkFacts) copy = NULL;
    const WkDiskFact *disk;

    g_ptr_array_add(guest->facts->devices, g_strdup("usb 1-2"));
    g_ptr_array_add(guest->facts->shares, g_strdup("/srv"));
    guest->facts->machine = g_strdup("pc-q35-7.2");
    guest->facts->emulator = g_strdup("/usr/bin/qemu");
    copy = wk_facts_copy(guest->facts);
    assert_string_equal(copy->name, "web");
    assert_ptr_not_equal(copy->name, guest->facts->name);
    assert_string_equal(copy->machine, "pc-q35-7.2");
    assert_string_equal(copy->emulator, "/usr/bin/qemu");
    assert_int_equal(copy->memory_kib, 1 << 20);
    assert_string_equal(g_ptr_array_index(copy->devices, 0), "usb 1-2");
    assert_string_equal(g_ptr_array_index(copy->shares, 0), "/srv");
    assert_int_equal(copy->disks->len, 3);
    disk = g_ptr_array_index(copy->disks, 2);
    assert_int_equal(disk->kind, WK_DISK_NETWORK);
    assert_null(disk->path);
    assert_string_equal(disk->target, "vdc");
    assert_true(disk->readonly && !disk->transient);
    wk_facts_free(NULL);
}

static void
test_look_copy(void **state G_GNUC_UNUSED)
{
    g_auto(WkLook) look = { .power = WK_POWER_LOADED, .persistent = TRUE, .op = g_strdup("op") };
    g_auto(WkLook) copy = { .op = g_strdup("old") };

    wk_look_copy(&look, &copy);
    assert_int_equal(copy.power, WK_POWER_LOADED);
    assert_true(copy.persistent && !copy.job && !copy.autostart);
    assert_string_equal(copy.op, "op");
    assert_ptr_not_equal(copy.op, look.op);
    wk_look_clear(&copy);
    assert_null(copy.op);
    assert_int_equal(copy.power, WK_POWER_ABSENT);
    assert_false(copy.persistent);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, setup, teardown),
        cmocka_unit_test(test_refused),
        cmocka_unit_test_setup_teardown(test_facts_copy, setup, teardown),
        cmocka_unit_test(test_look_copy),
    };

    return cmocka_run_group_tests_name("model-precheck", tests, NULL, NULL);
}
