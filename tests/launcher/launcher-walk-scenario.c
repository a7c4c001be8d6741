/* SPDX-License-Identifier: Apache-2.0 */
/* The scenarios of both programs. Each begins with a VM that runs. Roads that need no new pod come
 * first: a step is walked in the first scenario that passes it. */
#include "launcher-walk.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TO_DISK   "{\"target\":\"disk\"}"
#define TO_MEMORY "{\"target\":\"memory\"}"
#define BODY_AT   (8 * 1024 * 1024) /* well behind the image's header */

#define ONLY(...) ((const char *const[]){ __VA_ARGS__, NULL })

static gboolean
save(Walk *walk, GError **error)
{
    return lw_request(walk, "suspend", TO_DISK, error);
}

static gboolean
pause_guest(Walk *walk, GError **error)
{
    return lw_request(walk, "suspend", TO_MEMORY, error);
}

static gboolean
resume(Walk *walk, GError **error)
{
    return lw_request(walk, "resume", NULL, error);
}

static gboolean
discard(Walk *walk, GError **error)
{
    return lw_request(walk, "discard", NULL, error);
}

static gboolean
cancel_now(Walk *walk, GError **error)
{
    return (!walk_agent_is_alive() || walk_post(walk, "cancel", NULL, error))
           && walk_await(walk, error);
}

static gboolean
cancel_at(Walk *walk, const char *verb, const char *body, const char *step, GError **error)
{
    return lw_post(walk, verb, body, error) && walk_await_step(walk, step, error)
           && cancel_now(walk, error);
}

static gboolean
cancel_save(Walk *walk, GError **error)
{
    return cancel_at(walk, "suspend", TO_DISK, "save.set-op", error);
}

/* Before the new pod has the image. */
static gboolean
cancel_early(Walk *walk, GError **error)
{
    return cancel_at(walk, "resume", NULL, "stage.lock", error);
}

static gboolean
is_loaded(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *state = walk_agent_is_alive() ? lab_pod_domstate(LW_NAME, NULL) : NULL;

    return !walk_agent_is_alive() || (state != NULL && g_str_has_prefix(state, "paused"));
}

/* Once KubeVirt has loaded it. */
static gboolean
cancel_late(Walk *walk, GError **error)
{
    return lw_post(walk, "resume", NULL, error)
           && walk_await_step(walk, "stage.sync-save-folder", error)
           && lab_wait("the image to be loaded", LAB_POD_MS, is_loaded, NULL, error)
           && cancel_now(walk, error);
}

static gboolean
delete_vm(Walk *walk G_GNUC_UNUSED, GError **error)
{
    g_autofree char *out =
        lab_kubectl_out(error, "delete", "vm", LW_NAME "-vm", "--wait=false", NULL);

    return out != NULL;
}

/* A lock of ours on a VMI of this node, with nothing saved: the ledger was lost, or somebody put it
 * there. */
static gboolean
lock_by_hand(Walk *walk G_GNUC_UNUSED, GError **error)
{
    g_autofree char *out = lab_kubectl_out(
        error, "patch", "vmi", LW_NAME "-vm", "--type=json", "-p",
        "[{\"op\":\"add\",\"path\":\"/metadata/finalizers/-\",\"value\":\"wukong.novasphere.dev/"
        "saved-state\"}]",
        NULL);

    return out != NULL;
}

/* As a disk does it: the file's times say nothing. */
static gboolean
damage_silently(Walk *walk, GError **error)
{
    return walk_flip_byte(walk->hold, BODY_AT, error);
}

static gboolean
damage(Walk *walk, GError **error)
{
    return damage_silently(walk, error) && utimensat(AT_FDCWD, walk->hold, NULL, 0) == 0;
}

/* The new pod has a guard, and nothing else yet. */
static gboolean
die_guarded(Walk *walk, GError **error)
{
    return save(walk, error) && lw_agent_start(walk, "stage.lock=kill", error)
           && resume(walk, error);
}

static gboolean
delete_guarded_vm(Walk *walk, GError **error)
{
    return die_guarded(walk, error) && delete_vm(walk, error);
}

static gboolean
die_locked(Walk *walk, GError **error)
{
    return save(walk, error) && lw_agent_start(walk, "stage.commit-vmi=kill", error)
           && resume(walk, error);
}

static gboolean
has_ended(gpointer data G_GNUC_UNUSED)
{
    g_autofree char *phase = lab_vmi_get(LW_NAME, "{.status.phase}", NULL);

    return g_strcmp0(phase, "Succeeded") == 0 || g_strcmp0(phase, "Failed") == 0;
}

/* The agent is away while the new VMI, whose guest does not start, is deleted, and ends before its
 * pod's folders go: our lock keeps it until the agent is back. */
static gboolean
delete_vmi(Walk *walk G_GNUC_UNUSED, GError **error)
{
    return lab_standin_set("DirsKeptMs", 8000, error)
           && lab_vmi_wait_phase(LW_NAME, "Scheduled", LAB_POD_MS, error)
           && lab_vmi_delete(LW_NAME, error)
           && lab_wait("the VMI's end", LAB_POD_MS, has_ended, NULL, error);
}

static const WalkScenario saves[] = {
    { .name = "memory",
      .act = pause_guest,
      .only = ONLY("operation.", "pause."),
      .ends = WALK_PAUSED,
      .fault_ends = WALK_RUNS | WALK_PAUSED },
    { .name = "memory-resume",
      .prepare = pause_guest,
      .act = resume,
      .only = ONLY("unpause."),
      .ends = WALK_RUNS,
      .fault_ends = WALK_RUNS | WALK_PAUSED },
    { .name = "save-fails",
      .act = save,
      .arm = "save.managed-save=error:EIO",
      .only = ONLY("save.", "abort."),
      .ends = WALK_RUNS,
      .fault_ends = WALK_RUNS | WALK_DISK },
    { .name = "save-cancelled",
      .act = cancel_save,
      .arm = "save.set-op=sleep:2000",
      .only = ONLY("abort.unlock"),
      .ends = WALK_RUNS,
      .fault_ends = WALK_RUNS | WALK_DISK },
    { .name = "stray-lock",
      .offline = lock_by_hand,
      .only = ONLY("stray."),
      .ends = WALK_RUNS,
      .fault_ends = WALK_RUNS },
    { .name = "save",
      .act = save,
      .only = ONLY("save.", "sealed."),
      .ends = WALK_DISK,
      .fault_ends = WALK_RUNS | WALK_DISK },
};

static const WalkScenario restores[] = {
    { .name = "restore",
      .prepare = save,
      .act = resume,
      .only = ONLY("restore.", "release.", "guard.", "stage.", "spent."),
      .ends = WALK_RUNS,
      .fault_ends = WALK_RUNS | WALK_DISK },
    { .name = "restore-cancelled",
      .prepare = save,
      .act = cancel_early,
      .arm = "stage.lock=sleep:2000",
      .only = ONLY("cancel."),
      .ends = WALK_DISK,
      .fault_ends = WALK_RUNS | WALK_DISK },
    { .name = "restore-cancelled-late",
      .prepare = save,
      .act = cancel_late,
      .arm = "stage.sync-save-folder=sleep:6000",
      .only = ONLY("cancel.", "guard.unlink"),
      .ends = WALK_DISK | WALK_RUNS,
      .fault_ends = WALK_RUNS | WALK_DISK },
    { .name = "successor-deleted",
      .prepare = die_locked,
      .offline = delete_vmi,
      .only = ONLY("guard.unlink"),
      .ends = WALK_RUNS | WALK_DISK,
      .fault_ends = WALK_RUNS | WALK_DISK },
    { .name = "discard",
      .prepare = save,
      .act = discard,
      .only = ONLY("discard.", "spent."),
      .ends = WALK_RUNS | WALK_OFF,
      .fault_ends = WALK_RUNS | WALK_OFF | WALK_DISK,
      .ram_may_go = TRUE },
    { .name = "damaged",
      .prepare = save,
      .offline = damage,
      .only = ONLY("quarantine.commit"),
      .ends = WALK_HELD,
      .fault_ends = WALK_HELD | WALK_DISK,
      .ram_may_go = TRUE },
    { .name = "damaged-guarded",
      .prepare = die_guarded,
      .offline = damage,
      .only = ONLY("guard.", "quarantine."),
      .ends = WALK_HELD,
      .fault_ends = WALK_HELD,
      .ram_may_go = TRUE },
    { .name = "discard-guarded",
      .prepare = die_guarded,
      .offline = damage,
      .act = discard,
      .only = ONLY("discard.", "spent."),
      .ends = WALK_RUNS | WALK_OFF,
      .fault_ends = WALK_RUNS | WALK_OFF | WALK_HELD,
      .ram_may_go = TRUE },
    { .name = "damaged-silently",
      .prepare = save,
      .offline = damage_silently,
      .act = resume,
      .only = ONLY("restore.destroy", "quarantine.", "guard."),
      .ends = WALK_HELD,
      .fault_ends = WALK_HELD | WALK_DISK,
      .ram_may_go = TRUE },
    { .name = "deleted",
      .prepare = save,
      .offline = delete_vm,
      .only = ONLY("deleted."),
      .ends = WALK_OFF,
      .fault_ends = WALK_OFF | WALK_DISK, /* until the next try */
      .ram_may_go = TRUE },
    { .name = "deleted-guarded",
      .prepare = delete_guarded_vm,
      .only = ONLY("deleted.", "spent."),
      .ends = WALK_OFF,
      .fault_ends = WALK_OFF,
      .ram_may_go = TRUE },
};

/* Starts of the steps that the program of restores answers for; the other one for the rest. */
static const char *const of_restores[] = {
    "restore.", "release.", "guard.",      "stage.",   "spent.",
    "cancel.",  "discard.", "quarantine.", "deleted.", NULL,
};

const WalkScenario *
lw_scenarios(LwPart part, gsize *n)
{
    *n = part == LW_SAVES ? G_N_ELEMENTS(saves) : G_N_ELEMENTS(restores);
    return part == LW_SAVES ? saves : restores;
}

gboolean
lw_answers_for(LwPart part, const char *step)
{
    gboolean restoring = FALSE;

    for (gsize i = 0; !restoring && of_restores[i] != NULL; i++)
        restoring = g_str_has_prefix(step, of_restores[i]);
    return restoring == (part == LW_RESTORES);
}

static const char *const out_of_reach[] = {
    /* a guest of this fixture has no guest agent, and no ACPI to be shut down by */
    "time.sync",
    "stop.shutdown",
    "stop.commit",
    "stop.start",
    /* launchers have no autostart */
    "save.autostart-off",
    "save.sync-autostart",
    "save.autostart-off-again",
    "save.sync-autostart-again",
    "abort.autostart-back",
    "spent.autostart-back",
    "guard.autostart-off",
    "guard.sync-autostart",
    /* a host's image is made by libvirt and linked afterwards; a launcher's is linked before */
    "save.link-hold",
    "relink.managed",
    "relink.sync-save-folder",
    "relink.hold",
    "relink.sync-vault",
    /* a disk that loses what it was given: the same code as for hosts, tests/walk */
    "save.note-digest",
    "save.rewrite-image",
    "save.read-back",
    /* somebody resumes the guest between our look and libvirt's save: the same */
    "save.define-paused",
    /* no guest of a pod outlives its boot */
    "abort.destroy",
    "abort.destroy-stale",
    "reboot.commit-restoring",
    "reboot.destroy",
    /* KubeVirt starts the guest, not we */
    "restore.commit-boot",
    "restore.start-paused",
    /* between two looks of one job only */
    "cancel.destroy",
    "spent.destroy",
    "quarantine.destroy",
    "guard.unlink-managed",
    /* a guest that KubeVirt boots over a saved one: the guard and the lock are against it */
    "outside.commit-spent",
    /* a start that takes longer than KubeVirt waits: test-road */
    "spent.persist",
    /* images that nobody knows of: tests/walk */
    "stale.unlink-managed",
    "stale.dead-magic",
    "stale.sync-image",
    "stale.sync-save-folder",
    "stray.dead-magic",
    "stray.sync-image",
    "stray.unlink-hold",
    "stray.sync-vault",
    "stray.unlink-guard",
    "stray.sync-save-folder",
    /* images are read through on request: the same code as for hosts */
    "verify.commit",
    NULL,
};

gboolean
lw_is_out_of_reach(const char *step)
{
    return g_strv_contains(out_of_reach, step);
}
