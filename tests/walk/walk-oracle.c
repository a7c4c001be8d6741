/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle. It asks three witnesses that know nothing of each other: libvirt and the file system
 * for what is, the ledger for what was decided, the API for what is said. Then it asks the guest.
 */
#include "walk.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TIDY_MS 5000

typedef struct {
    int power; /* virDomainState */
    char *ledger;
    int open;
    GHashTable *view;
    WalkEnd end; /* 0: not at rest, or contradictory */
} Sight;

static void
sight_clear(Sight *self)
{
    g_clear_pointer(&self->ledger, g_free);
    g_clear_pointer(&self->view, g_hash_table_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Sight, sight_clear)

const char *
walk_verdict_name(WalkVerdict verdict)
{
    static const char *const names[] = {
        "good", "LOST", "DOUBLED", "SILENT", "LEFTOVER", "BROKEN"
    };

    return names[verdict];
}

static gboolean
said(const Sight *sight, const char *member, const char *value)
{
    return g_strcmp0(g_hash_table_lookup(sight->view, member), value) == 0;
}

static gboolean
says_why(const Sight *sight)
{
    return g_hash_table_contains(sight->view, "reason")
           && g_hash_table_contains(sight->view, "message");
}

static WalkEnd
end_of_free_guest(const Sight *sight)
{
    if (sight->power == VIR_DOMAIN_RUNNING && said(sight, "state", "Running"))
        return WALK_RUNS;
    if (sight->power == VIR_DOMAIN_PAUSED && said(sight, "state", "Suspended")
        && said(sight, "target", "memory"))
        return WALK_PAUSED;
    if (sight->power == VIR_DOMAIN_SHUTOFF && said(sight, "state", "Stopped"))
        return WALK_OFF;
    if (sight->power == VIR_DOMAIN_SHUTOFF && said(sight, "state", "Suspended")
        && said(sight, "target", "disk") && said(sight, "reason", "ForeignSave"))
        return WALK_FOREIGN;
    return 0;
}

/* What all three witnesses agree on. */
static WalkEnd
end_of(const Sight *sight)
{
    const gboolean off = sight->power == VIR_DOMAIN_SHUTOFF;

    if (sight->open != 0 || g_hash_table_contains(sight->view, "operation"))
        return 0;
    if (g_str_equal(sight->ledger, "none"))
        return end_of_free_guest(sight);
    if (g_str_equal(sight->ledger, "sealed"))
        return off && said(sight, "state", "Suspended") && said(sight, "target", "disk")
                       && said(sight, "restorable", "true")
                   ? WALK_DISK
                   : 0;
    if (!g_str_equal(sight->ledger, "quarantined") || !says_why(sight)
        || !said(sight, "restorable", "false"))
        return 0;
    if (!off)
        return said(sight, "state", "Running") ? WALK_HELD_RUNNING : 0;
    return said(sight, "state", "Suspended") || said(sight, "reason", "ResumeInterrupted")
               ? WALK_HELD
               : 0;
}

typedef struct {
    Walk *walk;
    Sight sight;
    WalkEnd before; /* twice the same: at rest, not on its way */
} Rest;

static gboolean
is_at_rest(gpointer data)
{
    Rest *rest = data;
    Sight *sight = &rest->sight;
    WalkEnd before = rest->before;

    sight_clear(sight);
    rest->before = 0;
    sight->power = lab_domain_state(WALK_GUEST, NULL, NULL);
    sight->ledger = walk_ledger_state(rest->walk, NULL);
    sight->open = walk_ledger_open_operations(rest->walk, NULL);
    sight->view = walk_get_guest(rest->walk, NULL);
    if (sight->ledger == NULL || sight->view == NULL)
        return FALSE;
    sight->end = end_of(sight);
    rest->before = sight->end;
    return sight->end != 0 && sight->end == before;
}

static gboolean
wait_for_rest(Walk *walk, Sight *sight, GError **error)
{
    Rest rest = { .walk = walk };
    const gboolean ok = lab_wait("rest", WALK_SETTLE_MS, is_at_rest, &rest, NULL);

    *sight = rest.sight;
    if (ok)
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_TIMEOUT,
                "it does not come to rest: domain state %d, ledger %s, %d open operations, said: "
                "%s %s %s (%s)",
                sight->power, sight->ledger, sight->open,
                sight->view != NULL ? (char *)g_hash_table_lookup(sight->view, "state") : "nothing",
                sight->view != NULL ? (char *)g_hash_table_lookup(sight->view, "target") : "",
                sight->view != NULL ? (char *)g_hash_table_lookup(sight->view, "reason") : "",
                sight->view != NULL ? (char *)g_hash_table_lookup(sight->view, "message") : "");
    return FALSE;
}

static gboolean
is_dead_or_at_rest(gpointer data)
{
    return !walk_agent_is_alive() || is_at_rest(data);
}

gboolean
walk_rest(Walk *walk, GError **error)
{
    Rest rest = { .walk = walk };
    const gboolean ok = lab_wait("rest", WALK_SETTLE_MS, is_dead_or_at_rest, &rest, error);

    sight_clear(&rest.sight);
    return ok;
}

/* ---- files ---- */

static gboolean
complain(GError **error, const char *what, const char *path)
{
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", what, path);
    return FALSE;
}

/* Every entry of @folder is in the NULL-terminated @allowed, and all of these are there. */
static gboolean
folder_is(const char *folder, const char *const *allowed, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        if (!g_strv_contains(allowed, name) && !g_str_equal(path, WALK_VAULT "/.wukong-vault"))
            return complain(error, "left behind", path);
    }
    for (gsize i = 0; allowed[i] != NULL; i++) {
        g_autofree char *path = g_build_filename(folder, allowed[i], NULL);

        if (access(path, F_OK) != 0)
            return complain(error, "not there", path);
    }
    return TRUE;
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
one_inode(const char *a, const char *b, GError **error)
{
    struct stat left;
    struct stat right;

    return (stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_ino == right.st_ino)
           || complain(error, "is not the image in the vault", a);
}

/* An interrupted resume has used its image up, and a lost one was removed by somebody, perhaps
 * under both names; all other holds keep theirs. */
static gboolean
files_of_hold(Walk *walk, const Sight *sight, GError **error)
{
    static const char *const guard[] = { WALK_GUEST ".save", NULL };
    static const char *const nothing[] = { NULL };
    const char *const folders[] = { walk->uuid, NULL };
    const gboolean used_up =
        said(sight, "reason", "ResumeInterrupted")
        || (said(sight, "reason", "ImageLost") && access(walk->hold, F_OK) != 0);

    if (!folder_is(WALK_VAULT, used_up ? nothing : folders, error))
        return FALSE;
    if (sight->end == WALK_HELD_RUNNING)
        return folder_is(LAB_SAVE_DIR, nothing, error);
    return folder_is(LAB_SAVE_DIR, guard, error)
           && (walk_is_guard(WALK_SAVE_FILE, error) || walk->scenario->foreign_save);
}

static gboolean
files_are_right(Walk *walk, const Sight *sight, GError **error)
{
    static const char *const nothing[] = { NULL };
    static const char *const image[] = { "image", NULL };
    static const char *const saved[] = { WALK_GUEST ".save", NULL };
    const char *const folders[] = { walk->uuid, NULL };
    g_autofree char *folder = g_path_get_dirname(walk->hold);

    switch (sight->end) {
    case WALK_DISK:
        return folder_is(LAB_SAVE_DIR, saved, error) && folder_is(WALK_VAULT, folders, error)
               && folder_is(folder, image, error) && magic_is(walk->hold, "LibvirtQemudSave", error)
               && one_inode(WALK_SAVE_FILE, walk->hold, error);
    case WALK_HELD:
    case WALK_HELD_RUNNING:
        return files_of_hold(walk, sight, error);
    case WALK_FOREIGN:
        return folder_is(LAB_SAVE_DIR, saved, error) && folder_is(WALK_VAULT, nothing, error)
               && magic_is(WALK_SAVE_FILE, "LibvirtQemudSave", error);
    case WALK_RUNS:
    case WALK_PAUSED:
    case WALK_OFF:
    default:
        return folder_is(LAB_SAVE_DIR, nothing, error) && folder_is(WALK_VAULT, nothing, error);
    }
}

typedef struct {
    Walk *walk;
    Sight *sight;
    GError *error; /* of the last look */
} Tidy;

static gboolean
is_tidy(gpointer data)
{
    Tidy *tidy = data;

    g_clear_error(&tidy->error);
    sight_clear(tidy->sight);
    return wait_for_rest(tidy->walk, tidy->sight, &tidy->error)
           && files_are_right(tidy->walk, tidy->sight, &tidy->error);
}

/* What went wrong once is tried again after a second, then after two. */
static gboolean
wait_for_tidiness(Walk *walk, Sight *sight, GError **error)
{
    Tidy tidy = { walk, sight, NULL };

    if (lab_wait("tidiness", TIDY_MS, is_tidy, &tidy, NULL))
        return TRUE;
    g_propagate_error(error, tidy.error);
    return FALSE;
}

static gboolean
autostart_is_right(const Sight *sight, GError **error)
{
    const int expected = (sight->end & (WALK_DISK | WALK_HELD | WALK_HELD_RUNNING)) != 0 ? 0 : 1;
    g_autoptr(virDomain) domain = lab_domain(WALK_GUEST, error);
    int on = -1;

    if (domain == NULL)
        return FALSE;
    if (virDomainGetAutostart(domain, &on) == 0 && on == expected)
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "autostart is %d, not %d", on, expected);
    return FALSE;
}

/* ---- what is said ---- */

/* wukongctl and the API say the same. */
static gboolean
ctl_agrees(const Sight *sight, GError **error)
{
    static const char *const members[] = { "state", "target", "reason", "restorable" };
    g_auto(LabOutput) output = { 0 };
    g_autoptr(GHashTable) listed = NULL;

    if (!lab_ctl(&output, error, "list", "-o", "json", NULL)
        || (listed = walk_parse_guest(output.out, error)) == NULL)
        return FALSE;
    for (gsize i = 0; i < G_N_ELEMENTS(members); i++) {
        if (said(sight, members[i], g_hash_table_lookup(listed, members[i])))
            continue;
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "wukongctl list says of %s: '%s', not '%s'",
                    members[i], (char *)g_hash_table_lookup(listed, members[i]),
                    (char *)g_hash_table_lookup(sight->view, members[i]));
        return FALSE;
    }
    return TRUE;
}

static gboolean
success_is_true(GHashTable *op, WalkEnd end)
{
    const char *action = g_hash_table_lookup(op, "action");
    const char *target = g_hash_table_lookup(op, "target");

    if (g_strcmp0(g_hash_table_lookup(op, "reason"), "StoppedByFallback") == 0)
        return end == WALK_OFF;
    if (g_strcmp0(action, "suspend") == 0)
        return end == (g_strcmp0(target, "disk") == 0 ? WALK_DISK : WALK_PAUSED);
    if (g_strcmp0(action, "resume") == 0)
        return (end & (WALK_RUNS | WALK_PAUSED)) != 0;
    return end == (g_strcmp0(action, "verify") == 0 ? WALK_DISK : WALK_OFF);
}

/* A success is one, and a failure says why. */
static gboolean
outcome_is_true(Walk *walk, const Sight *sight, GError **error)
{
    g_autoptr(GHashTable) op = walk_get_operation(walk);
    const char *state = op != NULL ? g_hash_table_lookup(op, "state") : NULL;

    if (op == NULL)
        return TRUE; /* ended before the agent died: in its history only */
    if (g_strcmp0(state, "succeeded") == 0 && !success_is_true(op, sight->end)) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED,
                    "the operation says that it succeeded (%s %s), the guest is in end %d",
                    (char *)g_hash_table_lookup(op, "action"),
                    (char *)g_hash_table_lookup(op, "target"), (int)sight->end);
        return FALSE;
    }
    if (g_strcmp0(state, "succeeded") == 0 || g_hash_table_contains(op, "message"))
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "the operation is %s and says nothing", state);
    return FALSE;
}

/* ---- the guest ---- */

/* It runs on in the same memory; @cold_ok: or was booted anew. */
static WalkVerdict
check_life(Walk *walk, gboolean cold_ok, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autofree char *nonce = NULL;

    if (!lab_guest_wait_ticking(WALK_GUEST, LAB_WAIT_MS, error)
        || (nonce = lab_guest_nonce(WALK_GUEST, error)) == NULL)
        return WALK_LOST;
    if (!lab_guest_check_log(WALK_GUEST, &local)) {
        const gboolean twice = strstr(local->message, "ran twice") != NULL;

        g_propagate_error(error, g_steal_pointer(&local));
        return twice ? WALK_DOUBLED : WALK_LOST;
    }
    if (g_str_equal(nonce, walk->nonce) || cold_ok)
        return WALK_GOOD;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "the memory is another one: %s, not %s", nonce,
                walk->nonce);
    return WALK_LOST;
}

static WalkVerdict
revive_from_memory(Walk *walk, GError **error)
{
    if (!walk_virsh_resume(error))
        return WALK_BROKEN;
    return check_life(walk, FALSE, error);
}

static WalkVerdict
let_go(Walk *walk, GError **error)
{
    g_auto(Sight) sight = { 0 };

    walk->fresh_needed = TRUE;
    if (!lab_guest_destroy(WALK_GUEST, error) || !walk_request(walk, "discard", NULL, error)
        || !wait_for_rest(walk, &sight, error))
        return WALK_BROKEN;
    /* somebody's own save stays his */
    if ((sight.end & (WALK_OFF | WALK_FOREIGN)) == 0)
        return complain(error, "a held guest can't be let go", sight.ledger) ? WALK_GOOD
                                                                             : WALK_BROKEN;
    return files_are_right(walk, &sight, error)
                   && (walk->scenario->any_autostart || autostart_is_right(&sight, error))
               ? WALK_GOOD
               : WALK_LEFTOVER;
}

static WalkVerdict
revive_from_disk(Walk *walk, GError **error)
{
    g_auto(Sight) sight = { 0 };

    if (!walk_request(walk, "resume", NULL, error) || !wait_for_rest(walk, &sight, error))
        return WALK_BROKEN;
    if (sight.end == WALK_HELD && walk->scenario->ram_may_go)
        return let_go(walk, error);
    if (sight.end != WALK_RUNS) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "resumed, it is in end %d: %s",
                    (int)sight.end, (char *)g_hash_table_lookup(sight.view, "message"));
        return WALK_LOST;
    }
    if (!files_are_right(walk, &sight, error))
        return WALK_LEFTOVER;
    return check_life(walk, walk->scenario->ram_may_go, error);
}

/* Saved while it was paused, it comes back paused. */
static WalkVerdict
revive_foreign(Walk *walk, GError **error)
{
    if (!walk_virsh_start(0, error))
        return WALK_LOST;
    if (lab_domain_state(WALK_GUEST, NULL, NULL) == VIR_DOMAIN_PAUSED && !walk_virsh_resume(error))
        return WALK_BROKEN;
    return check_life(walk, walk->scenario->ram_may_go, error);
}

static WalkVerdict
bring_to_life(Walk *walk, const Sight *sight, GError **error)
{
    const gboolean may_go = walk->scenario->ram_may_go;

    switch (sight->end) {
    case WALK_RUNS:
        return check_life(walk, may_go, error);
    case WALK_PAUSED:
        return revive_from_memory(walk, error);
    case WALK_DISK:
        return revive_from_disk(walk, error);
    case WALK_FOREIGN:
        return revive_foreign(walk, error);
    case WALK_HELD:
    case WALK_HELD_RUNNING:
        if (may_go)
            return let_go(walk, error);
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "its image is held: %s",
                    (char *)g_hash_table_lookup(sight->view, "message"));
        return WALK_LOST;
    case WALK_OFF:
    default:
        walk->fresh_needed = TRUE;
        if (may_go)
            return WALK_GOOD;
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "it is off, and nothing of it is saved: %s",
                    (char *)g_hash_table_lookup(sight->view, "message"));
        return WALK_LOST;
    }
}

static WalkVerdict
inspect(Walk *walk, Sight *sight, GError **error)
{
    if (!wait_for_rest(walk, sight, error) || !walk_ledger_check(error))
        return WALK_BROKEN;
    if (!wait_for_tidiness(walk, sight, error))
        return WALK_LEFTOVER;
    walk->ended = sight->end;
    if (!walk->scenario->any_autostart && !autostart_is_right(sight, error))
        return WALK_LEFTOVER;
    return ctl_agrees(sight, error)
                   && (walk->scenario->any_outcome || outcome_is_true(walk, sight, error))
               ? WALK_GOOD
               : WALK_SILENT;
}

static WalkVerdict
check_end(const Sight *sight, guint ends, GError **error)
{
    if ((sight->end & ends) != 0)
        return WALK_GOOD;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "it ended as %d, which is none of %u (%s)",
                (int)sight->end, ends, (char *)g_hash_table_lookup(sight->view, "message"));
    return WALK_BROKEN;
}

WalkVerdict
walk_inspect(Walk *walk, guint ends, GError **error)
{
    g_auto(Sight) sight = { 0 };
    const WalkVerdict verdict = inspect(walk, &sight, error);

    return verdict == WALK_GOOD ? check_end(&sight, ends, error) : verdict;
}

WalkVerdict
walk_judge(Walk *walk, guint ends, GError **error)
{
    g_auto(Sight) sight = { 0 };
    WalkVerdict verdict = inspect(walk, &sight, error);

    if (verdict == WALK_GOOD)
        verdict = bring_to_life(walk, &sight, error);
    return verdict == WALK_GOOD ? check_end(&sight, ends, error) : verdict;
}
