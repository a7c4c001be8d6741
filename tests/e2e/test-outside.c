/* SPDX-License-Identifier: Apache-2.0 */
/* Others at work on saved guests: with virsh, on the disks, on the images. */
#include "e2e.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define GUEST "out"

static void
save(void)
{
    e2e_ctl_says(0, "saved to disk", "suspend", GUEST, "--to", "disk", NULL);
}

static void
start_and_save(void)
{
    e2e_guest_start(GUEST);
    save();
}

/* Held for @reason: told, not started by anybody, kept; until it is discarded. */
static void
check_held(const char *reason)
{
    g_autofree char *hold = e2e_hold_path(GUEST);

    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Suspended", "target", "disk", "reason", reason,
                   "restorable", "false", NULL);
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "operation", "", NULL);
    e2e_check_ledger(GUEST, "state", "quarantined");
    e2e_check_domstate(GUEST, "shut off");
    assert_true(g_file_test(hold, G_FILE_TEST_EXISTS));
    e2e_virsh_refused("start", GUEST);
    e2e_virsh_refused("undefine", GUEST);
    e2e_check_domstate(GUEST, "shut off");
    e2e_ctl_says(1, "discard", "resume", GUEST, NULL);
    e2e_ctl_says(1, "discard", "suspend", GUEST, "--to", "disk", NULL);
    e2e_ctl_says(0, reason, "images", NULL);
    e2e_agent_restart(NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "reason", reason, "restorable", "false", NULL);
    e2e_virsh_refused("start", GUEST);
}

/* Dropped, it is an ordinary guest that is off, and boots anew. */
static void
check_released(const E2eLife *life)
{
    e2e_ctl_says(0, "dropped", "discard", GUEST, "--yes", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_guest(GUEST, "state", "Stopped", "restorable", "", NULL);
    lab_ok(lab_guest_create(GUEST, &error));
    if (life != NULL)
        e2e_check_other_life(life);
    save();
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_runs(GUEST);
}

/* ---- virsh ---- */

/* Rows K1 and K2: somebody's start is the image's one life. Our saves leave guests paused, so the
 * agent verifies it as ever, and lets it run. */
static void
test_started_by_others(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *hold = e2e_hold_path(GUEST);
    char magic[17] = "";
    int fd;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    save();
    fd = open(hold, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    e2e_virsh_do("start", GUEST);
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", "origin", "outside", "reason",
                   "StartedOutside", "savedBytes", "", "restorable", "", NULL);
    e2e_check_no_image(GUEST);
    if (pread(fd, magic, 16, 0) > 0)
        assert_string_equal(magic, "LibvirtQemudPart");
    close(fd);
    e2e_check_domstate(GUEST, "running");
    e2e_ctl_says(0, "already running", "resume", GUEST, NULL);
    e2e_check_same_life(life);
    save();
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_same_life(life);
}

/* Damaged, it is not let run by anybody's start. */
static void
test_damaged_and_started_by_others(void **state G_GNUC_UNUSED)
{
    g_autofree char *hold = e2e_hold_path(GUEST);
    guint64 last;

    start_and_save();
    last = lab_guest_tick(GUEST, NULL);
    e2e_flip_byte_unseen(hold, -4096);
    e2e_virsh_do("start", GUEST);
    check_held("ImageCorrupt");
    assert_int_equal(lab_guest_tick(GUEST, NULL), last);
}

/* The same while no agent is there. */
static void
test_started_behind_the_back(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    save();
    lab_ok(lab_agent_kill(&error));
    e2e_virsh_do("start", GUEST);
    e2e_virsh_do("resume", GUEST);
    lab_ok(lab_guest_wait_ticking(GUEST, LAB_WAIT_MS, &error));
    lab_ok(lab_agent_start(NULL, &error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", "reason", "StartedOutside", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_same_life(life);
}

/* It ran, and is off again: what lies in the vault is the RAM of before. */
/* What was last done is not said of a guest that somebody has changed since, while nobody looked.
 */
static void
test_paused_behind_the_back(void **state G_GNUC_UNUSED)
{
    g_autofree char *message = NULL;

    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "", "suspend", GUEST, "--to", "memory", NULL);
    e2e_ctl_says(0, "resumed", "resume", GUEST, NULL);
    lab_ok(lab_agent_kill(&error));
    e2e_virsh_do("suspend", GUEST);
    lab_ok(lab_agent_start(NULL, &error));
    e2e_check_guest(GUEST, "state", "Suspended", "origin", "outside", NULL);
    message = e2e_guest(GUEST, "message");
    assert_null(strstr(message, "resumed"));
    /* nor of one that is as it was left, once it is so again */
    e2e_virsh_do("resume", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Running", NULL);
}

static void
test_lived_behind_the_back(void **state G_GNUC_UNUSED)
{
    static const LabGuestOptions options = { .disk = TRUE };
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *answer = NULL;

    lab_ok(lab_guest_start(GUEST, &options, &error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", NULL);
    life = e2e_remember(GUEST);
    save();
    lab_ok(lab_agent_kill(&error));
    e2e_virsh_do("start", GUEST);
    e2e_virsh_do("resume", GUEST);
    lab_ok(lab_guest_wait_ticking(GUEST, LAB_WAIT_MS, &error));
    lab_ok((answer = lab_guest_command(GUEST, "write", LAB_WAIT_MS, &error)) != NULL);
    lab_ok(lab_guest_wait_ticking(GUEST, LAB_WAIT_MS, &error));
    e2e_virsh_do("destroy", GUEST);
    lab_ok(lab_agent_start(NULL, &error));
    check_held("DiskChanged");
    check_released(life);
    lab_ok(lab_guest_check_log(GUEST, &error));
}

static void
test_cold_booted_behind_the_back(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    save();
    lab_ok(lab_agent_kill(&error));
    e2e_virsh_do("managedsave-remove", GUEST);
    lab_ok(lab_guest_create(GUEST, &error));
    lab_ok(lab_agent_start(NULL, &error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", NULL);
    e2e_check_no_image(GUEST);
    e2e_check_other_life(life);
}

/* Whoever asked for what was saved is told that it is not what runs. */
static void
test_booted_anew_in_resume(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "saved to disk", "suspend", GUEST, "--to", "disk", NULL);
    e2e_agent_restart("restore.start-paused=stop");
    id = e2e_submit(GUEST, "resume", NULL);
    e2e_agent_wait_stopped();
    g_free(e2e_virsh("start", "--force-boot", GUEST, NULL));
    e2e_agent_continue();
    e2e_wait_end(id, "state", "failed", "reason", "StartedOutside", NULL);
    e2e_check_guest(GUEST, "state", "Running", NULL);
    e2e_check_no_image(GUEST);
}

static void
test_save_removed(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    save();
    e2e_virsh_do("managedsave-remove", GUEST);
    /* nothing tells of it, so it is seen when somebody asks for the guest */
    e2e_ctl_says(1, "", "resume", GUEST, NULL);
    check_held("ImageRemoved");
    check_released(life);
}

/* Seen without being asked, at the next start of the agent or of libvirtd. */
static void
test_save_removed_is_seen_at_start(void **state G_GNUC_UNUSED)
{
    start_and_save();
    e2e_virsh_do("managedsave-remove", GUEST);
    e2e_agent_restart(NULL);
    check_held("ImageRemoved");
}

static void
test_undefined_with_its_save(void **state G_GNUC_UNUSED)
{
    g_autofree char *said = NULL;
    g_autofree char *hold = e2e_hold_path(GUEST);
    g_autofree char *uuid = lab_guest_uuid(GUEST);

    start_and_save();
    e2e_virsh_refused("undefine", GUEST);
    e2e_check_image(GUEST);
    said = e2e_virsh("undefine", GUEST, "--managed-save", NULL);
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Suspended", "restorable", "false", NULL);
    assert_true(g_file_test(hold, G_FILE_TEST_EXISTS));
    e2e_ctl_says(0, "orphan", "images", "--orphans", NULL);
    e2e_ctl_says(0, "dropped", "discard", uuid, "--yes", NULL);
    e2e_wait_guest_gone(GUEST, E2E_OTHERS);
    e2e_check_no_image(GUEST);
}

static void
test_foreign_save(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *managed = e2e_managed_path(GUEST);
    struct stat before;
    struct stat after;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    e2e_virsh_do("managedsave", GUEST);
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Suspended", "target", "disk", "origin", "outside",
                   "reason", "ForeignSave", "restorable", "", NULL);
    assert_int_equal(stat(managed, &before), 0);
    e2e_ctl_says(1, "saved by somebody else", "suspend", GUEST, NULL);
    e2e_ctl_says(1, "saved by somebody else", "resume", GUEST, NULL);
    e2e_ctl_says(1, "saved by somebody else", "discard", GUEST, "--yes", NULL);
    e2e_agent_restart(NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "reason", "ForeignSave", NULL);
    assert_int_equal(stat(managed, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mtime, after.st_mtime);
    e2e_virsh_do("start", GUEST);
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", "reason", "", NULL);
    e2e_check_same_life(life);
}

/* While somebody's save is under way the guest is busy; afterwards it is foreign. */
static void
test_foreign_save_under_way(void **state G_GNUC_UNUSED)
{
    const char *const argv[] = { "virsh", "managedsave", GUEST, NULL };
    g_autofree char *id = NULL;
    int status = -1;

    e2e_guest_start(GUEST);
    e2e_brake_on();
    lab_ok(lab_spawn("virsh-save", argv, NULL, &error) > 0);
    e2e_brake_wait(1);
    id = e2e_submit(GUEST, "suspend", "{\"target\":\"disk\",\"timeoutSeconds\":60}");
    e2e_wait_operation(id, "state", "running", NULL);
    e2e_brake_off();
    lab_ok(lab_wait_exit("virsh-save", LAB_WAIT_MS, &status, &error));
    assert_int_equal(status, 0);
    e2e_wait_end(id, "state", "failed", "reason", "ForeignSave", NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "origin", "outside", NULL);
    e2e_virsh_do("start", GUEST);
    e2e_check_runs(GUEST);
}

/* ---- disks and images ---- */

static void
test_disk_touched(void **state G_GNUC_UNUSED)
{
    static const LabGuestOptions options = { .disk = TRUE };
    g_autofree char *disk = lab_guest_disk_path(GUEST);
    g_autoptr(E2eLife) life = NULL;

    lab_ok(lab_guest_start(GUEST, &options, &error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Running", NULL);
    life = e2e_remember(GUEST);
    save();
    e2e_flip_byte(disk, 4096);
    e2e_ctl_says(1, "", "resume", GUEST, NULL);
    check_held("DiskChanged");
    check_released(life);
}

static void
check_damage(gint64 at)
{
    g_autofree char *hold = e2e_hold_path(GUEST);
    g_autoptr(E2eLife) life = NULL;
    guint64 last;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    save();
    last = lab_guest_tick(GUEST, NULL);
    e2e_flip_byte_unseen(hold, at);
    e2e_ctl_says(1, "", "resume", GUEST, NULL);
    check_held("ImageCorrupt");
    assert_int_equal(lab_guest_tick(GUEST, NULL), last); /* no CPU ran */
    check_released(life);
    lab_ok(lab_guest_check_log(GUEST, &error));
}

static void
test_body_damaged(void **state G_GNUC_UNUSED)
{
    check_damage(-4096);
}

static void
test_header_damaged(void **state G_GNUC_UNUSED)
{
    check_damage(200);
}

static void
test_image_truncated(void **state G_GNUC_UNUSED)
{
    g_autofree char *hold = e2e_hold_path(GUEST);

    start_and_save();
    assert_int_equal(truncate(hold, 1024 * 1024), 0);
    e2e_ctl_says(1, "", "resume", GUEST, NULL);
    check_held("ImageCorrupt");
    check_released(NULL);
}

/* The name in the vault is gone, but libvirt's still is the image: it is not lost (E5). */
static void
test_hold_removed(void **state G_GNUC_UNUSED)
{
    g_autofree char *hold = e2e_hold_path(GUEST);

    start_and_save();
    unlink(hold);
    e2e_ctl_says(1, "", "resume", GUEST, NULL);
    check_held("ImageLost");
    check_released(NULL);
}

/* Another guest's image under this one's name. */
static void
test_image_swapped(void **state G_GNUC_UNUSED)
{
    g_autofree char *hold = e2e_hold_path(GUEST);
    g_autofree char *other = e2e_hold_path("out-other");
    const char *const cp[] = { "cp", other, hold, NULL };
    g_auto(LabOutput) output = { 0 };

    start_and_save();
    e2e_guest_start("out-other");
    e2e_ctl_says(0, "saved to disk", "suspend", "out-other", "--to", "disk", NULL);
    lab_ok(lab_run_capture(cp, NULL, LAB_WAIT_MS, &output, &error));
    assert_int_equal(output.status, 0);
    e2e_ctl_says(1, "", "resume", GUEST, NULL);
    check_held("ImageCorrupt");
    e2e_ctl_says(0, "resumed from disk", "resume", "out-other", NULL);
    e2e_check_runs("out-other");
}

/* ---- between the steps of a save ---- */

/* R1's neighbour: resumed by others after our pause, before libvirt saves. It is given up, the
 * guest runs on. */
static void
test_resumed_before_the_save(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_agent_restart("save.managed-save=sleep:1500");
    e2e_guest_start(GUEST);
    id = e2e_submit(GUEST, "suspend", "{\"target\":\"disk\"}");
    e2e_wait_operation(id, "step", "save.managed-save", NULL);
    e2e_virsh_do("resume", GUEST);
    e2e_wait_end(id, "state", "succeeded", NULL);
    /* it was saved running: the image must not start so (DefineXML) */
    e2e_check_image(GUEST);
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_runs(GUEST);
    e2e_check_no_image(GUEST);
}

static void
test_destroyed_during_save(void **state G_GNUC_UNUSED)
{
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    e2e_brake_on();
    id = e2e_submit(GUEST, "suspend", "{\"target\":\"disk\"}");
    e2e_brake_wait(1);
    e2e_virsh_do("destroy", GUEST);
    e2e_wait_end(id, "state", "failed", NULL);
    e2e_brake_off();
    e2e_check_no_image(GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Stopped", NULL);
}

/* An outsider aborts our job: a failed try, which is made again. */
static void
test_save_aborted_by_others(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    e2e_brake_on();
    id = e2e_submit(GUEST, "suspend", "{\"target\":\"disk\"}");
    e2e_brake_wait(1);
    e2e_virsh_do("domjobabort", GUEST);
    e2e_brake_off();
    e2e_wait_end(id, NULL);
    e2e_check_guest(GUEST, "operation", "", NULL);
    e2e_ctl_says(0, "", "resume", GUEST, NULL);
    e2e_check_same_life(life);
    e2e_check_no_image(GUEST);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(test_started_by_others),
        e2e_test(test_damaged_and_started_by_others),
        e2e_test(test_started_behind_the_back),
        e2e_test(test_paused_behind_the_back),
        e2e_test(test_lived_behind_the_back),
        e2e_test(test_cold_booted_behind_the_back),
        e2e_test(test_booted_anew_in_resume),
        e2e_test(test_save_removed),
        e2e_test(test_save_removed_is_seen_at_start),
        e2e_test(test_undefined_with_its_save),
        e2e_test(test_foreign_save),
        e2e_test(test_foreign_save_under_way),
        e2e_test(test_disk_touched),
        e2e_test(test_body_damaged),
        e2e_test(test_header_damaged),
        e2e_test(test_image_truncated),
        e2e_test(test_hold_removed),
        e2e_test(test_image_swapped),
        e2e_test(test_resumed_before_the_save),
        e2e_test(test_destroyed_during_save),
        e2e_test(test_save_aborted_by_others),
    };

    return e2e_main(tests);
}
