/* SPDX-License-Identifier: Apache-2.0 */
/* Suspend to disk, resume, discard; several guests at once. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fallocate */
#endif
#include "e2e.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT        LAB_STATE_DIR "/kept"
#define GUEST       "dsk"
#define SMALL_FILE  LAB_DIR "/small.img"
#define SMALL_DIR   LAB_DIR "/small"
#define FILLER      SMALL_DIR "/filler"
#define SMALL_BYTES (560LL * 1024 * 1024) /* room for two guests, not for three */

static const char *const four[] = { "four-a", "four-b", "four-c", "four-d" };

static void
suspend(const char *name)
{
    e2e_ctl_says(0, "saved to disk", "suspend", name, "--to", "disk", NULL);
}

static void
test_round_trip(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *hold = e2e_hold_path(GUEST);
    g_autofree char *size = NULL;
    struct stat st;

    e2e_guest_start_filled(GUEST, 16);
    life = e2e_remember(GUEST);
    suspend(GUEST);
    e2e_check_domstate(GUEST, "shut off");
    e2e_check_image(GUEST);
    e2e_check_ledger(GUEST, "state", "sealed");
    assert_int_equal(stat(hold, &st), 0);
    assert_true(st.st_size > 16 * 1024 * 1024);
    size = g_strdup_printf("%lld", (long long)st.st_size);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "disk", "reason", "SavedToDisk",
                    "message", "*saved to disk: ", "origin", "local", "lastAction", "suspend",
                    "savedBytes", size, "savedAt", "*T", "restorable", "true", "operation", "",
                    "progressPercent", "", NULL);
    e2e_virsh_refused("undefine", GUEST);
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_same_life(life);
    e2e_check_no_image(GUEST);
    e2e_check_guest(GUEST, "state", "Running", "target", "", "savedBytes", "", "savedAt", "",
                    "restorable", "", "lastAction", "resume", NULL);
}

static void
test_images(void **state G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) list = NULL;
    JsonObject *image;
    g_autofree char *uuid = lab_guest_uuid(GUEST);
    g_autofree char *id = NULL;
    g_autofree char *disks = NULL;

    e2e_guest_start(GUEST);
    suspend(GUEST);
    list = e2e_http("GET", "/v1/images", NULL, 200);
    assert_int_equal(json_array_get_length(json_object_get_array_member(list, "items")), 1);
    image = json_array_get_object_element(json_object_get_array_member(list, "items"), 0);
    id = e2e_member(image, "id");
    disks = e2e_member(image, "disksVerified");
    assert_string_equal(id, uuid);
    assert_string_equal(disks, "full");
    assert_false(json_object_get_boolean_member(image, "orphan"));
    e2e_ctl_says(0, GUEST, "images", NULL);
    e2e_ctl_says(0, GUEST "\n", "images", "-o", "name", NULL);
    e2e_ctl_says(0, "GUEST", "images", "--orphans", NULL);
}

static void
test_already_so(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    suspend(GUEST);
    e2e_ctl_says(0, "already suspended to disk", "suspend", GUEST, "--to", "disk", NULL);
    e2e_ctl_says(0, "already suspended to disk", "suspend", GUEST, NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "disk", "message", "*saved to disk",
                    NULL);
    /* back to memory it doesn't go by itself */
    e2e_ctl_says(1, "resume it first", "suspend", GUEST, "--to", "memory", NULL);
    e2e_check_image(GUEST);
}

/* A discarded image is dead, even for whoever still has its inode (F16). */
static void
test_discard(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *hold = e2e_hold_path(GUEST);
    char magic[17] = "";
    int fd;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    suspend(GUEST);
    e2e_ctl_says(2, "--yes", "discard", GUEST, NULL);
    e2e_check_image(GUEST);
    assert_int_equal(link(hold, KEPT), 0); /* what has no name left is truncated */
    fd = open(KEPT, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    e2e_ctl_says(0, "dropped", "discard", GUEST, "--yes", NULL);
    assert_int_equal(pread(fd, magic, 16, 0), 16);
    assert_string_equal(magic, "LibvirtQemudPart");
    assert_int_equal(unlink(KEPT), 0);
    close(fd);
    e2e_check_no_image(GUEST);
    e2e_check_domstate(GUEST, "shut off");
    e2e_check_guest(GUEST, "state", "Stopped", "target", "", "savedBytes", "", "lastAction",
                    "discard", NULL);
    e2e_ctl_says(6, "nothing of it is saved", "discard", GUEST, "--yes", NULL);
    lab_ok(lab_guest_create(GUEST, &error));
    e2e_check_other_life(life);
}

static void
test_memory_to_disk(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    e2e_guest_start(GUEST);
    e2e_ctl_says(0, "paused in memory", "suspend", GUEST, "--to", "memory", NULL);
    life = e2e_remember(GUEST);
    suspend(GUEST);
    e2e_check_image(GUEST);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "disk", NULL);
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_domstate(GUEST, "running");
    e2e_check_same_life(life);
    e2e_check_guest(GUEST, "state", "Running", NULL);
}

static void
test_paused_by_others(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;

    e2e_guest_start(GUEST);
    e2e_virsh_do("suspend", GUEST);
    e2e_wait_guest(GUEST, E2E_OTHERS, "state", "Suspended", NULL);
    life = e2e_remember(GUEST);
    suspend(GUEST);
    e2e_check_ledger(GUEST, "paused_by_us", "0");
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_domstate(GUEST, "running");
    e2e_check_same_life(life);
}

/* What was saved is known to the next life of the agent, and of libvirtd. */
static void
test_restarts_while_saved(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *at = NULL;

    e2e_guest_start(GUEST);
    life = e2e_remember(GUEST);
    suspend(GUEST);
    at = e2e_guest(GUEST, "savedAt");
    e2e_agent_restart(NULL);
    e2e_check_guest(GUEST, "state", "Suspended", "target", "disk", "reason", "SavedToDisk",
                    "origin", "local", "savedAt", at, "restorable", "true", NULL);
    lab_ok(lab_libvirtd_kill(&error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Unknown", "reason", "SourceAway", "savedAt", at,
                   NULL);
    lab_ok(lab_libvirtd_start(&error));
    e2e_wait_guest(GUEST, LAB_WAIT_MS, "state", "Suspended", "target", "disk", NULL);
    e2e_check_image(GUEST);
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_same_life(life);
}

static gboolean
autostarts(const char *name)
{
    g_autofree char *said = e2e_virsh("dominfo", name, NULL);

    return g_regex_match_simple("Autostart: +enable", said, 0, 0);
}

/* libvirtd's autostart would boot a guest whose image is held. */
static void
test_autostart(void **state G_GNUC_UNUSED)
{
    e2e_guest_start(GUEST);
    e2e_virsh_do("autostart", GUEST);
    suspend(GUEST);
    assert_false(autostarts(GUEST));
    e2e_ctl_says(0, "resumed", "resume", GUEST, NULL);
    assert_true(autostarts(GUEST));
    suspend(GUEST);
    assert_false(autostarts(GUEST));
    e2e_ctl_says(0, "dropped", "discard", GUEST, "--yes", NULL);
    assert_true(autostarts(GUEST));
}

static gboolean
wrote_more(gpointer before)
{
    LabTick tick;

    return lab_guest_last_tick(GUEST, &tick, NULL) && tick.wrote > *(const guint64 *)before;
}

static void
test_disk_goes_on(void **state G_GNUC_UNUSED)
{
    static const LabGuestOptions options = { .disk = TRUE };
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *answer = NULL;
    g_autofree char *on_disk = NULL;
    guint64 none = 0;

    lab_ok(lab_guest_start(GUEST, &options, &error));
    lab_ok((answer = lab_guest_command(GUEST, "write", LAB_WAIT_MS, &error)) != NULL);
    lab_ok(lab_wait("the guest to write", LAB_WAIT_MS, wrote_more, &none, &error));
    life = e2e_remember(GUEST);
    suspend(GUEST);
    e2e_ctl_says(0, "full", "images", NULL);
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_same_life(life);
    lab_ok(lab_wait("the guest to write on", LAB_WAIT_MS, wrote_more, &life->tick.wrote, &error));
    lab_ok((on_disk = lab_guest_command(GUEST, "read", LAB_WAIT_MS, &error)) != NULL);
    assert_non_null(strstr(on_disk, life->tick.nonce));
}

/* ---- several guests ---- */

static void
test_four_at_once(void **state G_GNUC_UNUSED)
{
    E2eLife *lives[G_N_ELEMENTS(four)];

    for (gsize i = 0; i < G_N_ELEMENTS(four); i++) {
        e2e_guest_start(four[i]);
        lives[i] = e2e_remember(four[i]);
    }
    e2e_ctl_says(0, "saved to disk", "suspend", "--all", "--to", "disk", NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(four); i++) {
        e2e_check_domstate(four[i], "shut off");
        e2e_check_image(four[i]);
    }
    e2e_ctl_says(0, "resumed from disk", "resume", "--all", NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(four); i++) {
        e2e_check_same_life(lives[i]);
        e2e_check_no_image(four[i]);
        e2e_life_free(lives[i]);
    }
}

/* A guest whose turn has not come is not even paused. */
static void
test_one_save_at_a_time(void **state G_GNUC_UNUSED)
{
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    g_autofree char *ended = NULL;
    g_autofree char *began = NULL;

    e2e_agent_configure("[suspend]\nparallel-saves=1\n");
    e2e_guest_start(four[0]);
    e2e_guest_start(four[1]);
    e2e_brake_on();
    first = e2e_submit(four[0], "suspend", "{\"target\":\"disk\"}");
    second = e2e_submit(four[1], "suspend", "{\"target\":\"disk\"}");
    e2e_brake_wait(1);
    e2e_wait_operation(first, "state", "running", "step", "save.managed-save", NULL);
    e2e_wait_operation(second, "state", "queued", "step", "", NULL);
    e2e_check_guest(four[1], "state", "Running", NULL);
    lab_ok(lab_guest_is_ticking(four[1], LAB_WAIT_MS));
    e2e_brake_off();
    e2e_wait_end(first, "state", "succeeded", NULL);
    e2e_wait_end(second, "state", "succeeded", NULL);
    ended = e2e_operation(first, "finishedAt");
    began = e2e_operation(second, "startedAt");
    assert_true(strcmp(ended, began) <= 0);
}

static void
run(const char *const *argv)
{
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, &error));
    if (output.status != 0)
        fail_msg("%s: %s", argv[0], output.err);
}

/* A small file system with libvirt's save folder and the vault on it. */
static void
use_small_vault(const char *more)
{
    const char *const mkfs[] = { "mkfs.ext4", "-q", "-m", "0", SMALL_FILE, NULL };
    const char *const mnt[] = { "mount", "-o", "loop", SMALL_FILE, SMALL_DIR, NULL };
    g_autofree char *config =
        g_strdup_printf("[vault]\ndir=%s/vault\nreserve-percent=0\n%s", LAB_SAVE_DIR, more);
    int fd = open(SMALL_FILE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_equal(ftruncate(fd, SMALL_BYTES), 0);
    close(fd);
    run(mkfs);
    g_mkdir_with_parents(SMALL_DIR, 0755);
    run(mnt);
    assert_int_equal(mount(SMALL_DIR, LAB_SAVE_DIR, NULL, MS_BIND, NULL), 0);
    e2e_agent_configure(config);
}

static int
small_teardown(void **state)
{
    const int result = e2e_teardown(state);

    umount2(LAB_SAVE_DIR, MNT_DETACH);
    umount2(SMALL_DIR, MNT_DETACH);
    unlink(SMALL_FILE);
    return result;
}

/* Room is promised to each save that was accepted, whether its turn has come or not. */
static void
check_room_for_two(const char *more)
{
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    for (gsize i = 0; i < 3; i++)
        e2e_guest_start(four[i]);
    use_small_vault(more);
    e2e_brake_on();
    first = e2e_submit(four[0], "suspend", "{\"target\":\"disk\"}");
    second = e2e_submit(four[1], "suspend", "{\"target\":\"disk\"}");
    e2e_brake_wait(1);
    e2e_ctl_says(6, "needs up to 209 MB in the vault", "suspend", four[2], "--to", "disk", NULL);
    e2e_check_guest(four[2], "state", "Running", "lastAction", "", "reason", "", NULL);
    lab_ok(lab_guest_is_ticking(four[2], LAB_WAIT_MS));
    e2e_brake_off();
    e2e_wait_end(first, "state", "succeeded", NULL);
    e2e_wait_end(second, "state", "succeeded", NULL);
    e2e_check_runs(four[2]);
    e2e_ctl_says(0, "resumed from disk", "resume", four[0], four[1], NULL);
}

static void
test_room_for_all_together(void **state G_GNUC_UNUSED)
{
    check_room_for_two("");
}

static void
test_room_for_those_that_wait(void **state G_GNUC_UNUSED)
{
    check_room_for_two("[suspend]\nparallel-saves=1\n");
}

/* To the last block. */
static void
fill_small_vault(void)
{
    const int fd = open(FILLER, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    off_t end = 0;

    assert_true(fd >= 0);
    for (off_t step = SMALL_BYTES; step >= 4096; step /= 2) {
        while (fallocate(fd, 0, end, step) == 0)
            end += step;
        assert_int_equal(errno, ENOSPC);
    }
    close(fd);
}

/* The precheck saw room, and somebody else took it while the image was written. */
static void
test_full_in_mid_save(void **state G_GNUC_UNUSED)
{
    g_autoptr(E2eLife) life = NULL;
    g_autofree char *id = NULL;

    e2e_guest_start_filled(GUEST, 32);
    use_small_vault("");
    life = e2e_remember(GUEST);
    e2e_brake_on();
    id = e2e_submit(GUEST, "suspend", "{\"target\":\"disk\"}");
    e2e_brake_wait(1);
    fill_small_vault();
    e2e_brake_off();
    e2e_wait_end(id, "state", "failed", "reason", "NoSpace", NULL);
    e2e_check_same_life(life);
    e2e_check_runs(GUEST);
    e2e_check_no_image(GUEST);
    e2e_check_guest(GUEST, "state", "Running", "operation", "", NULL);
    assert_int_equal(unlink(FILLER), 0);
    suspend(GUEST);
    e2e_ctl_says(0, "resumed from disk", "resume", GUEST, NULL);
    e2e_check_same_life(life);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(test_round_trip),
        e2e_test(test_images),
        e2e_test(test_already_so),
        e2e_test(test_discard),
        e2e_test(test_memory_to_disk),
        e2e_test(test_paused_by_others),
        e2e_test(test_restarts_while_saved),
        e2e_test(test_autostart),
        e2e_test(test_disk_goes_on),
        e2e_test(test_four_at_once),
        e2e_test(test_one_save_at_a_time),
        cmocka_unit_test_setup_teardown(test_room_for_all_together, e2e_setup, small_teardown),
        cmocka_unit_test_setup_teardown(test_room_for_those_that_wait, e2e_setup, small_teardown),
        cmocka_unit_test_setup_teardown(test_full_in_mid_save, e2e_setup, small_teardown),
    };

    return e2e_main(tests);
}
