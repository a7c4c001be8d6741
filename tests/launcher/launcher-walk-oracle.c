/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle. Its witnesses know nothing of each other: the ledger for what was decided, the
 * agent's API and the Wukong for what is said, VMI, pods and files for what is. Then it asks the
 * guest.
 */
#include "launcher-walk.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK     "wukong.novasphere.dev/saved-state"
#define PODS     LAB_KUBELET_DIR "/pods"
#define TIDY_MS  60000 /* a pod that is told to end may take its grace period */
#define REST_GAP (200 * 1000)
#define FDS_MAX  96

typedef struct {
    char *ledger;
    int open;
    GHashTable *view; /* NULL: the agent knows of no such guest */
    WalkEnd end;      /* 0: not at rest, or contradictory */
} Sight;

static guint most_descriptors;

static void
sight_clear(Sight *self)
{
    g_clear_pointer(&self->ledger, g_free);
    g_clear_pointer(&self->view, g_hash_table_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Sight, sight_clear)

const char *
lw_verdict_name(LwVerdict verdict)
{
    static const char *const names[] = { "good",     "LOST",   "DOUBLED", "SILENT",
                                         "LEFTOVER", "BROKEN", "COLD" };

    return names[verdict];
}

guint
lw_most_descriptors(void)
{
    return most_descriptors;
}

static gboolean
complain(GError **error, const char *what, const char *which)
{
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", what, which);
    return FALSE;
}

static const char *
say(const Sight *sight, const char *member)
{
    const char *value = sight->view != NULL ? g_hash_table_lookup(sight->view, member) : NULL;

    return value != NULL ? value : "";
}

static gboolean
said(const Sight *sight, const char *member, const char *value)
{
    return g_str_equal(say(sight, member), value);
}

/* ---- rest ---- */

static WalkEnd
end_of_free_guest(const Sight *sight)
{
    if (said(sight, "state", "Running"))
        return WALK_RUNS;
    if (said(sight, "state", "Suspended") && said(sight, "target", "memory"))
        return WALK_PAUSED;
    return said(sight, "state", "Stopped") ? WALK_OFF : 0;
}

static WalkEnd
end_of(const Sight *sight)
{
    if (sight->open != 0 || sight->ledger == NULL)
        return 0;
    if (sight->view == NULL)
        return g_str_equal(sight->ledger, "none") ? WALK_OFF : 0;
    if (g_hash_table_contains(sight->view, "operation"))
        return 0;
    if (g_str_equal(sight->ledger, "none"))
        return end_of_free_guest(sight);
    if (g_str_equal(sight->ledger, "sealed"))
        return said(sight, "state", "Suspended") && said(sight, "target", "disk")
                       && said(sight, "restorable", "true")
                   ? WALK_DISK
                   : 0;
    return g_str_equal(sight->ledger, "quarantined") && said(sight, "restorable", "false")
                   && *say(sight, "reason") != '\0' && *say(sight, "message") != '\0'
               ? WALK_HELD
               : 0;
}

/* The agent answers, and does not know the guest. */
static gboolean
is_unknown(Walk *walk)
{
    g_autofree char *path = g_strdup_printf("/v1/guests/%s", walk->uuid);

    return lab_http("GET", path, NULL, NULL, NULL) == 404
           && lab_http("GET", "/readyz", NULL, NULL, NULL) == 200;
}

typedef struct {
    Walk *walk;
    Sight sight;
    WalkEnd before; /* the same for a while: at rest, not on its way */
    gint64 since_us;
} Rest;

static gboolean
is_at_rest(gpointer data)
{
    Rest *rest = data;
    Sight *sight = &rest->sight;

    sight_clear(sight);
    sight->ledger = walk_ledger_state(rest->walk, NULL);
    sight->open = walk_ledger_open_operations(rest->walk, NULL);
    sight->view = walk_get_guest(rest->walk, NULL);
    sight->end = sight->view != NULL || is_unknown(rest->walk) ? end_of(sight) : 0;
    if (sight->end == 0 || sight->end != rest->before)
        rest->since_us = g_get_monotonic_time();
    rest->before = sight->end;
    return sight->end != 0 && g_get_monotonic_time() - rest->since_us > REST_GAP;
}

static gboolean
wait_for_rest(Walk *walk, Sight *sight, GError **error)
{
    Rest rest = { .walk = walk };
    const gboolean ok = lab_wait("rest", LAB_POD_MS, is_at_rest, &rest, NULL);
    g_autofree char *phase = NULL;

    sight_clear(sight);
    *sight = rest.sight;
    if (ok)
        return TRUE;
    phase = lab_vmi_get(LW_NAME, "{.status.phase}", NULL);
    g_set_error(error, LAB_ERROR, LAB_ERROR_TIMEOUT,
                "it does not come to rest: ledger %s, %d open operations, said: %s %s %s (%s), its "
                "VMI is %s",
                sight->ledger, sight->open, say(sight, "state"), say(sight, "target"),
                say(sight, "reason"), say(sight, "message"), phase);
    return FALSE;
}

static gboolean
is_dead_or_at_rest(gpointer data)
{
    return !walk_agent_is_alive() || is_at_rest(data);
}

gboolean
lw_rest(Walk *walk, GError **error)
{
    Rest rest = { .walk = walk };
    const gboolean ok = lab_wait("rest", LAB_POD_MS, is_dead_or_at_rest, &rest, error);

    sight_clear(&rest.sight);
    return ok;
}

/* ---- what lies about ---- */

/* No entry of @folder but @allowed (may be NULL), and that one is there. */
static gboolean
folder_is(const char *folder, const char *allowed, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    gboolean found = allowed == NULL;
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        if (g_strcmp0(name, allowed) == 0)
            found = TRUE;
        else if (!g_str_equal(path, WALK_VAULT "/.wukong-vault"))
            return complain(error, "left behind", path);
    }
    return found || complain(error, "not there", allowed);
}

static gboolean
magic_is(const char *path, const char *magic, GError **error)
{
    g_autofree char *bytes = NULL;
    gsize length;

    if (!g_file_get_contents(path, &bytes, &length, error))
        return FALSE;
    return (length >= 16 && memcmp(bytes, magic, 16) == 0)
           || complain(error, "has another magic than it should", path);
}

static gboolean
is_locked(GError **error, gboolean *locked)
{
    g_autofree char *names = lab_vmi_get(LW_NAME, "{.metadata.finalizers}", error);

    if (names == NULL)
        return FALSE;
    *locked = strstr(names, LOCK) != NULL;
    return TRUE;
}

static gboolean
lock_is(gboolean wanted, GError **error)
{
    gboolean locked = FALSE;

    if (!is_locked(error, &locked))
        return FALSE;
    return locked == wanted
           || complain(error, "finalizer", wanted ? "ours is not on the VMI" : "ours is left");
}

static gboolean
pin_is_off(GError **error)
{
    g_autofree char *node = lab_kube_get(
        LW_NAME, "{.spec.highAvailability.nodeSelector.kubernetes\\.io/hostname}", error);

    return node != NULL && (*node == '\0' || complain(error, "a pin of ours is left", node));
}

static gboolean
no_helper_runs(GError **error)
{
    const GPid pid = lab_find_process("--launcher-helper");
    g_autofree char *which = g_strdup_printf("%d", (int)pid);

    return pid == 0 || complain(error, "a helper is left", which);
}

static gboolean
descriptors_are_bounded(GError **error)
{
    const guint n = lab_count_of("wukongd", "fd");
    g_autofree char *count = g_strdup_printf("%u", n);

    most_descriptors = MAX(most_descriptors, n);
    return n <= FDS_MAX || complain(error, "descriptors of the agent at rest", count);
}

/* A held guest's image is in the vault, unless it is said to be used up or lost. */
static gboolean
files_of_hold(Walk *walk, const Sight *sight, GError **error)
{
    const gboolean used_up =
        said(sight, "reason", "ResumeInterrupted") || said(sight, "reason", "ImageLost");
    g_autofree char *pod = lab_pod_uid(LW_NAME, NULL);
    g_autofree char *managed = pod != NULL ? lab_pod_save_path(LW_NAME, NULL) : NULL;
    g_autofree char *dir = pod != NULL ? lab_pod_dir(pod) : NULL;
    g_autofree char *phase = lab_vmi_get(LW_NAME, "{.status.phase}", error);

    if (phase == NULL || !folder_is(WALK_VAULT, used_up ? NULL : walk->uuid, error)
        || !lock_is(TRUE, error))
        return FALSE;
    if (g_str_equal(phase, "Succeeded") || g_str_equal(phase, "Failed") || dir == NULL
        || access(dir, F_OK) != 0)
        return TRUE;
    return walk_is_guard(managed, error);
}

static gboolean
files_of_free_guest(GError **error)
{
    g_autofree char *pod = lab_pod_uid(LW_NAME, NULL);
    g_autofree char *managed = pod != NULL ? lab_pod_save_path(LW_NAME, NULL) : NULL;
    g_autofree char *folder = managed != NULL ? g_path_get_dirname(managed) : NULL;

    return folder_is(WALK_VAULT, NULL, error) && lock_is(FALSE, error) && pin_is_off(error)
           && (folder == NULL || folder_is(folder, NULL, error));
}

static gboolean
files_are_right(Walk *walk, const Sight *sight, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(walk->hold);

    switch (sight->end) {
    case WALK_DISK:
        return folder_is(PODS, NULL, error) && folder_is(WALK_VAULT, walk->uuid, error)
               && folder_is(folder, "image", error)
               && magic_is(walk->hold, "LibvirtQemudSave", error) && lock_is(TRUE, error);
    case WALK_HELD:
        return files_of_hold(walk, sight, error);
    default:
        return files_of_free_guest(error);
    }
}

/* ---- what is said ---- */

static gboolean
wukong_says(const char *path, const char *value, GError **error)
{
    g_autofree char *found = lab_kube_get(LW_NAME, path, error);

    if (found == NULL)
        return FALSE;
    if (g_str_equal(found, value))
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "the Wukong's %s is '%s', not '%s'", path,
                found, value);
    return FALSE;
}

/* Where the VM was deleted there may be no Wukong either. */
static gboolean
wukong_agrees(const Sight *sight, GError **error)
{
    if (sight->view == NULL)
        return TRUE;
    return wukong_says("{.status.lifecycleState.state}", say(sight, "state"), error)
           && (sight->end != WALK_HELD
               || wukong_says("{.status.lifecycleState.reason}", say(sight, "reason"), error));
}

/* KubeVirt's own word. */
static gboolean
vmi_agrees(const Sight *sight, GError **error)
{
    g_autofree char *phase = lab_vmi_get(LW_NAME, "{.status.phase}", error);

    if (phase == NULL)
        return FALSE;
    if ((sight->end & (WALK_RUNS | WALK_PAUSED)) != 0)
        return g_str_equal(phase, "Running") || complain(error, "phase of a live VMI", phase);
    return !g_str_equal(phase, "Running") || complain(error, "phase of a VMI that is off", phase);
}

typedef struct {
    Walk *walk;
    Sight *sight;
    LwVerdict verdict;
    GError *error; /* of the last look */
} Tidy;

static LwVerdict
look_around(Tidy *tidy)
{
    GError **error = &tidy->error;

    if (!wait_for_rest(tidy->walk, tidy->sight, error) || !walk_ledger_check(error))
        return LW_BROKEN;
    if (!files_are_right(tidy->walk, tidy->sight, error) || !no_helper_runs(error)
        || !descriptors_are_bounded(error))
        return LW_LEFTOVER;
    return wukong_agrees(tidy->sight, error) && vmi_agrees(tidy->sight, error) ? LW_GOOD
                                                                               : LW_SILENT;
}

static gboolean
is_tidy(gpointer data)
{
    Tidy *tidy = data;

    g_clear_error(&tidy->error);
    tidy->verdict = look_around(tidy);
    return tidy->verdict == LW_GOOD || tidy->verdict == LW_BROKEN;
}

static LwVerdict
inspect(Walk *walk, Sight *sight, GError **error)
{
    Tidy tidy = { walk, sight, LW_BROKEN, NULL };

    (void)lab_wait("tidiness", TIDY_MS, is_tidy, &tidy, NULL);
    if (tidy.error != NULL)
        g_propagate_error(error, tidy.error);
    walk->ended = sight->end;
    return tidy.verdict;
}

/* ---- the guest ---- */

static LwVerdict
check_life(Walk *walk, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autofree char *nonce = NULL;

    if (!lab_guest_wait_ticking(LW_DOMAIN, LAB_POD_MS, error)
        || (nonce = lab_guest_nonce(LW_DOMAIN, error)) == NULL)
        return LW_LOST;
    if (!lab_guest_check_log(LW_DOMAIN, &local)) {
        const gboolean twice = strstr(local->message, "ran twice") != NULL;

        g_propagate_error(error, g_steal_pointer(&local));
        return twice ? LW_DOUBLED : LW_LOST;
    }
    if (g_str_equal(nonce, walk->nonce))
        return LW_GOOD;
    if (walk->scenario->ram_may_go) {
        g_strlcpy(walk->nonce, nonce, sizeof walk->nonce);
        return LW_GOOD;
    }
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "the memory is another one: %s, not %s", nonce,
                walk->nonce);
    return LW_COLD;
}

/* With @verb it runs, and nothing is left. */
static LwVerdict
revive(Walk *walk, const char *verb, GError **error)
{
    g_auto(Sight) sight = { 0 };
    g_autoptr(GError) local = NULL;
    gboolean gone = FALSE;
    LwVerdict verdict;

    if (!lw_request(walk, verb, NULL, &local)) {
        /* found bad since we looked, where the first try to say so failed */
        if (walk->scenario->ram_may_go && strstr(local->message, "ImageHeld") != NULL)
            return revive(walk, "discard", error);
        if (!walk->scenario->ram_may_go || strstr(local->message, "no-such-guest") == NULL) {
            g_propagate_error(error, g_steal_pointer(&local));
            return LW_BROKEN;
        }
        /* dropped since we looked, where the first try to do so failed */
        gone = TRUE;
        walk->fresh_needed = TRUE;
    }
    verdict = inspect(walk, &sight, error);
    if (verdict != LW_GOOD)
        return verdict;
    if (gone && sight.end == WALK_OFF)
        return LW_GOOD;
    /* After a discard it is KubeVirt's to boot, which may just be at it. */
    if (sight.end == WALK_RUNS || (sight.end == WALK_OFF && g_str_equal(verb, "discard")))
        return check_life(walk, error);
    if (sight.end == WALK_HELD && walk->scenario->ram_may_go && g_str_equal(verb, "resume"))
        return revive(walk, "discard", error);
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "after %s it is in end %d: %s (%s)", verb,
                (int)sight.end, say(&sight, "reason"), say(&sight, "message"));
    return LW_LOST;
}

/* Off, or suspended, it has to stand still. */
static LwVerdict
check_stands(GError **error)
{
    if (!lab_guest_is_ticking(LW_DOMAIN, LAB_QUIET_MS))
        return LW_GOOD;
    return complain(error, "runs", "although it is said to stand") ? LW_GOOD : LW_SILENT;
}

static LwVerdict
bring_to_life(Walk *walk, const Sight *sight, GError **error)
{
    const gboolean may_go = walk->scenario->ram_may_go;
    const LwVerdict stands = sight->end == WALK_RUNS ? LW_GOOD : check_stands(error);

    if (stands != LW_GOOD)
        return stands;
    switch (sight->end) {
    case WALK_RUNS:
        return check_life(walk, error);
    case WALK_PAUSED:
    case WALK_DISK:
        return revive(walk, "resume", error);
    case WALK_HELD:
        if (may_go)
            return revive(walk, "discard", error);
        break;
    default:
        walk->fresh_needed = TRUE;
        if (may_go)
            return LW_GOOD;
    }
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "its memory is gone (end %d): %s (%s)",
                (int)sight->end, say(sight, "reason"), say(sight, "message"));
    return LW_LOST;
}

LwVerdict
lw_judge(Walk *walk, guint ends, GError **error)
{
    g_auto(Sight) sight = { 0 };
    LwVerdict verdict = inspect(walk, &sight, error);
    const WalkEnd end = sight.end;

    if (verdict == LW_GOOD)
        verdict = bring_to_life(walk, &sight, error);
    if (verdict != LW_GOOD || (end & ends) != 0)
        return verdict;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "it ended as %d, which is none of %u (%s)",
                (int)end, ends, say(&sight, "message"));
    return LW_BROKEN;
}
