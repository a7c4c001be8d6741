/* SPDX-License-Identifier: Apache-2.0 */
/* The scenarios. Each begins with a running guest that has autostart on and writes to its disk. */
#include "walk.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TO_DISK   "{\"target\":\"disk\"}"
#define TO_MEMORY "{\"target\":\"memory\"}"

#define ONLY(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- save and what comes of it ---- */

static gboolean
save(Walk *walk, GError **error)
{
    return walk_request(walk, "suspend", TO_DISK, error);
}

static gboolean
resume(Walk *walk, GError **error)
{
    return walk_request(walk, "resume", NULL, error);
}

static gboolean
discard(Walk *walk, GError **error)
{
    return walk_request(walk, "discard", NULL, error);
}

static gboolean
verify(Walk *walk, GError **error)
{
    return walk_request(walk, "verify", NULL, error);
}

static gboolean
pause_by_user(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return walk_virsh_suspend(error);
}

/* Somebody lets the guest run in the moment before libvirt saves it: the image says "running". */
static gboolean
save_resumed(Walk *walk, GError **error)
{
    return walk_post(walk, "suspend", TO_DISK, error) && walk_await_stopped(error)
           && walk_virsh_resume(error) && walk_continue(error) && walk_await(walk, error);
}

/* fsync of the image failed once; a page that the kernel then took for written is lost before the
 * save is sealed after all. */
static gboolean
save_losing_page(Walk *walk, GError **error)
{
    return walk_post(walk, "suspend", TO_DISK, error) && walk_await_stopped(error)
           && walk_flip_byte(WALK_SAVE_FILE, 4 * 1024 * 1024, error) && walk_continue(error)
           && walk_await(walk, error);
}

static gboolean
image_has_begun(gpointer data G_GNUC_UNUSED)
{
    struct stat st;

    return stat(WALK_SAVE_FILE, &st) == 0 && st.st_size > 1024 * 1024;
}

/* libvirtd and the agent die in the middle of a save: an unfinished image stays (F6). */
static gboolean
kill_both_in_save(Walk *walk, GError **error)
{
    return walk_post(walk, "suspend", TO_DISK, error)
           && lab_wait("an image to grow", LAB_WAIT_MS, image_has_begun, NULL, error)
           && lab_libvirtd_kill(error) && lab_agent_kill(error);
}

static gboolean
save_by_other(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return walk_virsh_save(error);
}

static gboolean
write_then_save_by_other(Walk *walk, GError **error)
{
    const guint64 tick = lab_guest_tick(WALK_GUEST, error);

    return tick != 0 && lab_guest_wait_tick_above(WALK_GUEST, tick + 2, LAB_WAIT_MS, error)
           && save_by_other(walk, error);
}

static gboolean
crash_in_save(Walk *walk, GError **error)
{
    return walk_post(walk, "suspend", TO_DISK, error)
           && lab_wait("an image to grow", LAB_WAIT_MS, image_has_begun, NULL, error)
           && lab_node_crash(error);
}

static gboolean
boot_anew(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return lab_node_new_boot(error) && lab_libvirtd_start(error);
}

static gboolean
restart_libvirtd(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return lab_libvirtd_start(error);
}

static gboolean
die_before_seal(Walk *walk, GError **error)
{
    return walk_die_at(walk, "save.sync-disks", "suspend", TO_DISK, error);
}

static gboolean
reboot(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return lab_node_crash(error) && lab_node_new_boot(error) && lab_libvirtd_start(error);
}

static gboolean
load_paused(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return walk_virsh_start(VIR_DOMAIN_START_PAUSED, error);
}

/* As libvirtd leaves it when it dies between loading and its unlink (F7), and then somebody wrote
 * to the disk. */
static gboolean
load_left_behind(Walk *walk, GError **error)
{
    return load_paused(walk, error) && walk_link(walk->hold, WALK_SAVE_FILE, error)
           && walk_touch_disk(error);
}

/* An abort that had given autostart back, and an outsider's save that carries our op. */
static gboolean
die_in_abort(Walk *walk, GError **error)
{
    if (!walk_agent_start(walk, "save.managed-save=error:ENOSPC,abort.resume=kill", error))
        return FALSE;
    return walk_request(walk, "suspend", TO_DISK, error);
}

static gboolean
save_or_stop(Walk *walk, GError **error)
{
    return walk_request(walk, "suspend", "{\"target\":\"disk\",\"fallback\":\"stop\"}", error);
}

static gboolean
stop_by_fallback(Walk *walk, GError **error)
{
    return walk_agent_start(walk, "save.managed-save=error:ENOSPC", error)
           && save_or_stop(walk, error);
}

/* ---- restore ---- */

static gboolean
cancel_restore(Walk *walk, GError **error)
{
    return walk_post(walk, "resume", NULL, error)
           && walk_await_step(walk, "restore.start-paused", error)
           && (!walk_agent_is_alive() || walk_post(walk, "cancel", NULL, error))
           && walk_await(walk, error);
}

/* Our images start paused, whatever the flags: the agent takes it from there. */
static gboolean
start_by_other(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return walk_virsh_start(0, error);
}

static gboolean
run_by_other(Walk *walk, GError **error)
{
    return start_by_other(walk, error) && walk_virsh_resume(error);
}

static gboolean
save_then_reboot(Walk *walk, GError **error)
{
    return save(walk, error) && walk_agent_end(error) && reboot(walk, error);
}

static gboolean
die_in_discard(Walk *walk, GError **error)
{
    return save(walk, error) && walk_die_at(walk, "spent.unlink-managed", "discard", NULL, error);
}

static gboolean
die_before_resume(Walk *walk, GError **error)
{
    return save(walk, error) && walk_die_at(walk, "spent.resume", "resume", NULL, error);
}

/* Resumed by us, and not yet noted so, the guest runs on and is saved by somebody: into a file that
 * may well have the number of the inode that has just been freed. */
static gboolean
die_after_resume(Walk *walk, GError **error)
{
    return save(walk, error) && walk_die_at(walk, "spent.commit-none", "resume", NULL, error);
}

/* A guest that its user had paused is restored, and stays paused; autostart is given back. */
static gboolean
die_after_autostart(Walk *walk, GError **error)
{
    return pause_by_user(walk, error) && die_after_resume(walk, error);
}

static gboolean
destroy(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return lab_guest_destroy(WALK_GUEST, error);
}

/* ---- quarantine ---- */

static gboolean
save_and_damage(Walk *walk, GError **error)
{
    return save(walk, error) && walk_flip_byte(walk->hold, 4 * 1024 * 1024, error);
}

static gboolean
remove_hold(Walk *walk, GError **error)
{
    if (unlink(walk->hold) == 0)
        return TRUE;
    g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, "the hold can't be removed");
    return FALSE;
}

/* Quarantined, and its image is still where libvirt finds it. */
static gboolean
die_before_guard(Walk *walk, GError **error)
{
    return save(walk, error) && walk_agent_end(error) && walk_touch_disk(error)
           && walk_die_at(walk, "guard.write", NULL, NULL, error);
}

static gboolean
run_left_behind(Walk *walk, GError **error)
{
    return run_by_other(walk, error) && walk_link(walk->hold, WALK_SAVE_FILE, error);
}

/* ---- leftovers ---- */

static gboolean
leave_stale(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return walk_write_image(WALK_SAVE_FILE, "LibvirtQemudSave", error);
}

static gboolean
leave_strays(Walk *walk, GError **error)
{
    return lab_guest_destroy(WALK_GUEST, error)
           && walk_write_image(walk->hold, "LibvirtQemudPart", error)
           && walk_write_guard(WALK_SAVE_FILE, error);
}

/* A whole image that the ledger does not know, as after a lost ledger. */
static gboolean
leave_image(Walk *walk, GError **error)
{
    return lab_guest_destroy(WALK_GUEST, error)
           && walk_write_image(walk->hold, "LibvirtQemudSave", error);
}

/* ---- memory ---- */

static gboolean
suspend(Walk *walk, GError **error)
{
    return walk_request(walk, "suspend", TO_MEMORY, error);
}

static gboolean
unpause_by_other(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return walk_virsh_resume(error);
}

#define MAIN_ENDS (WALK_RUNS | WALK_DISK)

static const WalkScenario scenarios[] = {
    { .name = "save", .act = save, .ends = WALK_DISK, .fault_ends = MAIN_ENDS },
    { .name = "restore",
      .prepare = save,
      .act = resume,
      .ends = WALK_RUNS,
      .fault_ends = MAIN_ENDS },
    { .name = "discard",
      .prepare = save,
      .act = discard,
      .ends = WALK_OFF,
      .fault_ends = WALK_OFF | WALK_DISK,
      .ram_may_go = TRUE },
    { .name = "verify",
      .prepare = save,
      .act = verify,
      .ends = WALK_DISK,
      .fault_ends = WALK_DISK },
    { .name = "memory",
      .act = suspend,
      .ends = WALK_PAUSED,
      .fault_ends = WALK_RUNS | WALK_PAUSED },
    { .name = "memory-resume",
      .prepare = suspend,
      .act = resume,
      .ends = WALK_RUNS,
      .fault_ends = WALK_RUNS | WALK_PAUSED },
    { .name = "started-outside",
      .prepare = save,
      .act = start_by_other,
      .only = ONLY("restore.commit-spent"),
      .ends = WALK_RUNS,
      .fault_ends = WALK_RUNS },
    { .name = "run-outside",
      .prepare = save,
      .offline = run_by_other,
      .only = ONLY("outside.", "spent."),
      .ends = WALK_RUNS,
      .fault_ends = WALK_RUNS },
    { .name = "save-fails",
      .act = save,
      .arm = "save.managed-save=error:ENOSPC",
      .only = ONLY("abort."),
      .ends = WALK_RUNS,
      .fault_ends = MAIN_ENDS },
    { .name = "sync-fails",
      .act = save,
      .arm = "save.sync-image=error:EIO",
      .only = ONLY("save.note-digest", "save.rewrite-image", "save.read-back"),
      .ends = WALK_DISK,
      .fault_ends = MAIN_ENDS },
    { .name = "sync-fails-page-lost",
      .act = save_losing_page,
      .arm = "save.sync-image=error:EIO,save.sync-disks:2=stop",
      .only = ONLY("abort."),
      .ends = WALK_OFF,
      .fault_ends = WALK_OFF,
      .ram_may_go = TRUE },
    { .name = "restore-fails",
      .prepare = save,
      .act = resume,
      .arm = "restore.commit-spent=error:EIO",
      .only = ONLY("cancel.", "relink."),
      .ends = WALK_DISK,
      .fault_ends = MAIN_ENDS },
    { .name = "restore-cancelled",
      .prepare = save,
      .act = cancel_restore,
      .arm = "restore.start-paused=sleep:300",
      .only = ONLY("cancel.commit"),
      .ends = MAIN_ENDS,
      .fault_ends = MAIN_ENDS },
    { .name = "image-damaged",
      .prepare = save_and_damage,
      .act = resume,
      .only = ONLY("restore.destroy", "quarantine.", "guard."),
      .ends = WALK_HELD,
      .fault_ends = WALK_HELD | WALK_DISK,
      .ram_may_go = TRUE },
    { .name = "hold-removed",
      .prepare = save,
      .offline = remove_hold,
      .only = ONLY("save.make-folder", "relink.", "quarantine."),
      .ends = WALK_HELD,
      .fault_ends = WALK_HELD,
      .ram_may_go = TRUE },
    { .name = "both-killed-in-save",
      .prepare = kill_both_in_save,
      .offline = restart_libvirtd,
      .only = ONLY("abort."),
      .ends = MAIN_ENDS,
      .fault_ends = MAIN_ENDS },
    { .name = "crash-in-save",
      .prepare = crash_in_save,
      .offline = boot_anew,
      .only = ONLY("abort.unlink-managed", "abort.sync-save-folder"),
      .ends = WALK_OFF,
      .fault_ends = WALK_OFF,
      .ram_may_go = TRUE },
    { .name = "saved-outside-after-resume",
      .prepare = die_after_resume,
      .offline = write_then_save_by_other,
      .only = ONLY("spent.commit-none"),
      .ends = WALK_FOREIGN,
      .fault_ends = WALK_FOREIGN },
    { .name = "reboot-in-save",
      .prepare = die_before_seal,
      .offline = reboot,
      .only = ONLY("abort."),
      .ends = WALK_OFF,
      .fault_ends = WALK_OFF,
      .ram_may_go = TRUE },
    { .name = "loaded-in-save",
      .prepare = die_before_seal,
      .offline = load_paused,
      .only = ONLY("stray."),
      .ends = MAIN_ENDS,
      .fault_ends = MAIN_ENDS },
    { .name = "loaded-in-save-disk-changed",
      .prepare = die_before_seal,
      .offline = load_left_behind,
      .only = ONLY("abort.destroy", "abort.unlink"),
      .ends = WALK_OFF,
      .fault_ends = WALK_OFF,
      .ram_may_go = TRUE },
    { .name = "resumed-in-save",
      .act = save_resumed,
      .arm = "save.managed-save=stop",
      .only = ONLY("save.define-paused"),
      .ends = WALK_DISK,
      .fault_ends = MAIN_ENDS },
    { .name = "abort-then-saved-outside",
      .prepare = die_in_abort,
      .offline = save_by_other,
      .only = ONLY("save.autostart-off-again", "save.sync-autostart-again"),
      .ends = WALK_DISK,
      .fault_ends = MAIN_ENDS },
    { .name = "loaded-after-reboot",
      .prepare = save_then_reboot,
      .offline = load_paused,
      .only = ONLY("reboot.", "relink."),
      .ends = WALK_RUNS,
      .fault_ends = MAIN_ENDS },
    { .name = "loaded-in-discard",
      .prepare = die_in_discard,
      .offline = load_paused,
      .only = ONLY("spent.destroy"),
      .ends = WALK_OFF,
      .fault_ends = WALK_OFF,
      .ram_may_go = TRUE },
    { .name = "reboot-before-resume",
      .prepare = die_before_resume,
      .offline = reboot,
      .only = ONLY("quarantine.", "guard."),
      .ends = WALK_HELD,
      .fault_ends = WALK_HELD,
      .ram_may_go = TRUE },
    { .name = "ended-before-it-ran",
      .prepare = die_after_autostart,
      .offline = destroy,
      .only = ONLY("guard.autostart-off", "guard.sync-autostart"),
      .ends = WALK_HELD,
      .fault_ends = WALK_HELD,
      .ram_may_go = TRUE },
    { .name = "held-loaded",
      .prepare = die_before_guard,
      .offline = load_paused,
      .only = ONLY("quarantine.destroy"),
      .ends = WALK_HELD,
      .fault_ends = WALK_HELD,
      .ram_may_go = TRUE },
    { .name = "held-running",
      .prepare = die_before_guard,
      .offline = run_left_behind,
      .only = ONLY("guard.unlink-managed"),
      .ends = WALK_HELD_RUNNING,
      .fault_ends = WALK_HELD_RUNNING,
      .ram_may_go = TRUE },
    { .name = "stale-image",
      .offline = leave_stale,
      .only = ONLY("stale."),
      .ends = WALK_RUNS,
      .fault_ends = WALK_RUNS },
    { .name = "strays",
      .offline = leave_strays,
      .only = ONLY("stray."),
      .ends = WALK_OFF,
      .fault_ends = WALK_OFF,
      .ram_may_go = TRUE },
    { .name = "image-unknown",
      .offline = leave_image,
      .only = ONLY("quarantine.commit", "guard.rename"),
      .ends = WALK_HELD,
      .fault_ends = WALK_HELD,
      .ram_may_go = TRUE },
    { .name = "pause-lost",
      .prepare = suspend,
      .offline = unpause_by_other,
      .only = ONLY("unpause.commit"),
      .ends = WALK_RUNS,
      .fault_ends = WALK_RUNS },
    { .name = "fallback-stop",
      .act = save_or_stop,
      .arm = "save.managed-save=error:ENOSPC",
      .only = ONLY("stop."),
      .ends = WALK_OFF,
      .fault_ends = WALK_OFF | MAIN_ENDS,
      .ram_may_go = TRUE },
    { .name = "start-stopped",
      .prepare = stop_by_fallback,
      .act = resume,
      .only = ONLY("stop.start"),
      .ends = WALK_RUNS,
      .fault_ends = WALK_OFF | WALK_RUNS,
      .ram_may_go = TRUE },
    { .name = "save-paused",
      .prepare = pause_by_user,
      .act = save,
      .only = ONLY("save.commit-", "save.managed-save"),
      .ends = WALK_DISK,
      .fault_ends = WALK_PAUSED | WALK_DISK },
};

const WalkScenario *
walk_scenarios(gsize *n)
{
    *n = G_N_ELEMENTS(scenarios);
    return scenarios;
}

static const char *const out_of_reach[] = {
    "G1",                  /* launchers only: a pod */
    "G2",                  /* launchers only */
    "abort.destroy-stale", /* the guest must be loaded between two looks of one abort, from an image
                              that the first of them has just made unusable */
    /* launchers only: tests/launcher/test-walk.c has them */
    "save.lock",
    "save.make-hold",
    "save.sync-hold",
    "save.prelink",
    "save.claim",
    "sealed.forget-managed",
    "sealed.unlink-managed",
    "sealed.no-start",
    "abort.empty",
    "abort.unlock",
    "release.commit-pin",
    "release.start",
    "release.unlock",
    "stage.lock",
    "stage.commit-vmi",
    "stage.keep-header",
    "stage.rewrite",
    "stage.give",
    "stage.sync-image",
    "stage.commit",
    "stage.rename",
    "stage.sync-save-folder",
    "cancel.end-vmi",
    "cancel.header-back",
    "cancel.sync-image",
    "spent.persist",
    "spent.unpin",
    "spent.unlock",
    "deleted.commit-spent",
    "guard.make-folder",
    "guard.unlink",
    "stray.unlock",
};

gboolean
walk_is_out_of_reach(const char *step_or_row)
{
    for (gsize i = 0; i < G_N_ELEMENTS(out_of_reach); i++)
        if (g_str_equal(out_of_reach[i], step_or_row))
            return TRUE;
    return FALSE;
}
