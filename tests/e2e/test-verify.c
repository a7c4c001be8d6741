/* SPDX-License-Identifier: Apache-2.0 */
/* A saved image is read through without being restored. */
#include "e2e.h"

#define GUEST   "verified"
#define TO_DISK "{\"target\":\"disk\"}"
#define VERIFY  "/v1/images/" GUEST "/verify"

static void
save(void)
{
    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "saved to disk", "suspend", GUEST, "--to", "disk", NULL);
}

static void
test_good(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *images = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    e2e_ctl_says(0, "saved to disk", "suspend", GUEST, "--to", "disk", NULL);
    e2e_ctl_says(0, "sealed", "images", NULL);
    e2e_ctl_says(0, "its saved image is good", "verify", NULL);
    images = e2e_ctl(0, "images", "-o", "json", NULL);
    assert_non_null(strstr(images, "\"verified\":\"2"));
    /* what was last done is still the suspend */
    e2e_check_guest(GUEST, "state", "Suspended", "reason", "SavedToDisk", "lastAction", "suspend",
                    NULL);
    lab_ok(lab_agent_restart(NULL, &error));
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_same_life(life);
    e2e_check_no_image(GUEST);
}

static void
test_bad(void **state G_GNUC_UNUSED)
{
    g_autofree char *hold = e2e_hold_path(GUEST);

    save();
    e2e_flip_byte_unseen(hold, -4096);
    e2e_ctl_says(1, "not what was written", "verify", GUEST, NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "restorable", "false", "reason", "ImageCorrupt",
                    NULL);
    e2e_ctl_says(1, "held", "verify", GUEST, NULL);
    e2e_ctl_says(1, "held", "resume", GUEST, NULL);
    e2e_check_domstate(GUEST, "shut off");
    e2e_ctl_says(0, "nothing to prune", "prune", NULL); /* it is kept until somebody decides */
    e2e_check_ledger(GUEST, "state", "quarantined");
    e2e_ctl_says(0, "dropped", "discard", GUEST, "--yes", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_guest(GUEST, "state", "Stopped", "restorable", "", NULL);
    lab_ok(lab_guest_create(GUEST, &error));
    e2e_check_runs(GUEST);
}

/* What an earlier agent has put in libvirt's way may be no hindrance to the libvirt of today. */
static void
test_old_guard(void **state G_GNUC_UNUSED)
{
    static const char old[92] = "WukongGuardImage";
    g_autofree char *hold = e2e_hold_path(GUEST);
    g_autofree char *managed = e2e_managed_path(GUEST);
    g_autofree char *bytes = NULL;
    gsize length = 0;

    save();
    e2e_flip_byte_unseen(hold, -4096);
    e2e_ctl_says(1, "not what was written", "verify", GUEST, NULL);
    lab_ok(g_file_set_contents(managed, old, sizeof old, &error));
    lab_ok(lab_agent_restart(NULL, &error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Suspended", "restorable", "false", NULL);
    lab_ok(g_file_get_contents(managed, &bytes, &length, &error));
    assert_int_equal(length, sizeof old);
    assert_memory_equal(bytes, "LibvirtQemudSave\xff\xff\xff\xff", 20);
    e2e_ctl_says(0, "dropped", "discard", GUEST, "--yes", NULL);
    e2e_check_no_image(GUEST);
}

static void
test_nothing_saved(void **state G_GNUC_UNUSED)
{
    e2e_ctl_says(0, "nothing to verify", "verify", NULL);
    e2e_guest_start(GUEST);
    e2e_ctl_says(6, "nothing of it is saved on disk", "verify", GUEST, NULL);
    e2e_ctl_says(4, "", "verify", "nobody", NULL);
    e2e_check_domstate(GUEST, "running");
}

/* It never takes the place of what somebody waits for. */
static void
test_while_another_runs(void **state G_GNUC_UNUSED)
{
    g_autofree char *save_id = NULL;
    g_autofree char *answer = NULL;

    e2e_guest_start_filled(GUEST, 16);
    e2e_brake_on();
    save_id = e2e_submit(GUEST, "suspend", TO_DISK);
    e2e_brake_wait(1);
    assert_int_equal(lab_http("POST", VERIFY, "{}", &answer, NULL), 409);
    assert_non_null(strstr(answer, "GuestBusy"));
    e2e_brake_off();
    e2e_wait_end(save_id, "state", "succeeded", NULL);
    e2e_ctl_says(0, "", "verify", GUEST, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(test_good),
        e2e_test(test_bad),
        e2e_test(test_old_guard),
        e2e_test(test_nothing_saved),
        e2e_test(test_while_another_runs),
    };

    return e2e_main(tests);
}
