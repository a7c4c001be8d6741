/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGKILL of libvirtd, of QEMU, of both, with the agent or without it, at a random moment of a
 * save, a restore or a discard. The seed is printed; WK_WALK_SEED=N repeats it as far as time can
 * be repeated, WK_WALK_ROUNDS=N says how often (20; WK_WALK_FULL=1: 300).
 */
#include "walk.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>

#define ROUNDS      20
#define ROUNDS_FULL 300
#define GAP_MS      200 /* at most, until libvirtd is back */
#define NOTICED_MS  2000
#define GRACE_MS    50 /* from a look to the step that it allows */
#define STATUS      "/run/libvirt/qemu/" WALK_GUEST ".xml"

enum {
    LIBVIRTD = 1 << 0,
    QEMU = 1 << 1,
    AGENT = 1 << 2
};

static const struct {
    const char *name;
    guint victims;
} kinds[] = {
    { "libvirtd", LIBVIRTD },
    { "QEMU", QEMU },
    { "libvirtd and QEMU", LIBVIRTD | QEMU },
    { "libvirtd and agent", LIBVIRTD | AGENT },
    { "QEMU and agent", QEMU | AGENT },
    { "all three", LIBVIRTD | QEMU | AGENT },
};

enum {
    SAVE,
    RESTORE,
    DISCARD
};

static struct {
    const char *scenario;
    const char *verb;
    const char *body;
    const char *point; /* behind this step QEMU has nothing to lose (save), or may be lost */
    guint span_ms;     /* how long it takes here: in that time the moment lies */
} acts[] = {
    [SAVE] = { "save", "suspend", "{\"target\":\"disk\"}", "save.sync-image:1", 0 },
    [RESTORE] = { "restore", "resume", NULL, "restore.commit-spent:1", 0 },
    [DISCARD] = { "discard", "discard", NULL, NULL, 0 },
};
static const guint often[] = { SAVE, SAVE, SAVE, RESTORE, RESTORE, RESTORE, DISCARD };

static Walk walk;
static GRand *dice;
static guint verdicts[WALK_VERDICTS];
static guint n_rounds;
static guint n_midway; /* of them in the midst of it, by the ledger */
static guint n_half_started;

typedef struct {
    guint act;
    guint kind;
    guint at_ms;
    guint gap_ms;
    gboolean passed; /* the point, when it struck */
    const WalkScenario *scenario;
} Round;

static gpointer
post_in_thread(gpointer data)
{
    const Round *round = data;

    (void)walk_post(&walk, acts[round->act].verb, acts[round->act].body, NULL);
    return NULL;
}

static gboolean
has_passed(const char *step)
{
    g_autoptr(GPtrArray) trace = walk_trace(&walk);

    return step != NULL && g_ptr_array_find_with_equal_func(trace, step, g_str_equal, NULL);
}

static gboolean
is_midway(void)
{
    g_autofree char *state = walk_ledger_state(&walk, NULL);

    return state != NULL && !g_str_equal(state, "none") && !g_str_equal(state, "sealed");
}

static gboolean
is_off(gpointer data G_GNUC_UNUSED)
{
    return lab_domain_state(WALK_GUEST, NULL, NULL) == VIR_DOMAIN_SHUTOFF;
}

/* Before libvirt misses QEMU the agent cannot, and what it saw just before it acts on just after:
 * an image that is used up by then is bad luck, one that is used up later the agent's fault. */
static void
await_noticed(void)
{
    if (lab_wait("libvirt to miss QEMU", NOTICED_MS, is_off, NULL, NULL))
        g_usleep(GRACE_MS * 1000);
}

/* libvirt's own trap, out of which no libvirtd finds (docs/limits.md, R10;
 * test_start_that_never_ends of crash.e2e): what the manual tells an administrator to do, while
 * libvirtd is away. */
static void
mend_half_started(void)
{
    g_autofree char *status = NULL;

    if (!g_file_get_contents(STATUS, &status, NULL, NULL) || strstr(status, " pid='0'>") == NULL)
        return;
    n_half_started++;
    (void)unlink(STATUS);
}

static gboolean
strike(Round *round, GError **error)
{
    const guint victims = kinds[round->kind].victims;

    n_midway += is_midway() ? 1 : 0;
    /* a save is past it before QEMU is killed, a restore may come to it meanwhile */
    round->passed = has_passed(acts[round->act].point);
    if ((victims & AGENT) != 0 && !lab_agent_kill(error))
        return FALSE;
    if ((victims & LIBVIRTD) != 0 && !lab_libvirtd_kill(error))
        return FALSE;
    if ((victims & QEMU) != 0)
        walk_signal_qemu(SIGKILL);
    g_usleep(round->gap_ms * 1000);
    if ((victims & LIBVIRTD) != 0) {
        mend_half_started();
        if (!lab_libvirtd_start(error))
            return FALSE;
    }
    if (round->act != SAVE && victims == QEMU)
        await_noticed();
    if (round->act != SAVE)
        round->passed = has_passed(acts[round->act].point);
    return (victims & AGENT) == 0 || walk_agent_start(&walk, NULL, error);
}

static gboolean
run_round(Round *round, GError **error)
{
    GThread *thread;
    gboolean ok;

    if (!walk_base(&walk, error)
        || (round->scenario->prepare != NULL && !round->scenario->prepare(&walk, error)))
        return FALSE;
    walk_mark_log(&walk);
    thread = g_thread_new("post", post_in_thread, round);
    g_usleep(round->at_ms * 1000);
    ok = strike(round, error);
    g_thread_join(thread);
    return ok;
}

/* A guest whose QEMU is killed while its memory is nowhere else loses it; nobody else does. */
static gboolean
ram_may_go(const Round *round)
{
    if (round->scenario->ram_may_go)
        return TRUE;
    return (kinds[round->kind].victims & QEMU) != 0 && (round->act == SAVE) != round->passed;
}

static void
play(Round *round)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *what = NULL;
    WalkVerdict verdict = WALK_BROKEN;
    WalkScenario as = { .name = round->scenario->name, .any_outcome = TRUE };

    walk.scenario = round->scenario;
    if (run_round(round, &error)) {
        as.ram_may_go = ram_may_go(round);
        walk.scenario = &as;
        verdict = walk_judge(&walk, G_MAXUINT, &error);
    }
    verdicts[verdict]++;
    what = g_strdup_printf("%s,%s,%u", acts[round->act].scenario, kinds[round->kind].name,
                           round->at_ms);
    if (g_getenv("WK_WALK_VERBOSE") != NULL || verdict != WALK_GOOD)
        print_message("kills: round %u: %s ms%s: %s %d%s%s\n", n_rounds, what,
                      as.ram_may_go ? " (its memory may go)" : "", walk_verdict_name(verdict),
                      (int)walk.ended, error != NULL ? ": " : "",
                      error != NULL ? error->message : "");
    if (verdict != WALK_GOOD)
        walk_keep_log(&walk, "kills", what);
    if (verdict != WALK_GOOD || error != NULL || as.ram_may_go)
        walk.fresh_needed = TRUE;
}

static const WalkScenario *
find_scenario(const char *name)
{
    gsize n;
    const WalkScenario *scenarios = walk_scenarios(&n);

    for (gsize i = 0; i < n; i++)
        if (g_str_equal(scenarios[i].name, name))
            return &scenarios[i];
    return NULL;
}

/* Once without a fault. */
static void
measure(guint act)
{
    const WalkScenario *scenario = find_scenario(acts[act].scenario);
    gint64 began;

    walk.fresh_needed = TRUE;
    lab_ok(walk_base(&walk, &error));
    lab_ok(scenario->prepare == NULL || scenario->prepare(&walk, &error));
    began = g_get_monotonic_time();
    lab_ok(walk_request(&walk, acts[act].verb, acts[act].body, &error));
    acts[act].span_ms = (guint)((g_get_monotonic_time() - began) / 1000) + 10;
}

static guint
number(const char *variable, guint otherwise)
{
    const char *text = g_getenv(variable);

    return text != NULL ? (guint)strtoul(text, NULL, 10) : otherwise;
}

static void
test_rounds(void **state G_GNUC_UNUSED)
{
    const guint rounds =
        number("WK_WALK_ROUNDS", g_getenv("WK_WALK_FULL") != NULL ? ROUNDS_FULL : ROUNDS);

    for (guint act = 0; act < G_N_ELEMENTS(acts); act++)
        measure(act);
    print_message("kills: save %u ms, restore %u ms, discard %u ms\n", acts[SAVE].span_ms,
                  acts[RESTORE].span_ms, acts[DISCARD].span_ms);
    walk.fresh_needed = TRUE;
    for (n_rounds = 0; n_rounds < rounds; n_rounds++) {
        Round round = { .act = often[g_rand_int_range(dice, 0, G_N_ELEMENTS(often))],
                        .kind = (guint)g_rand_int_range(dice, 0, G_N_ELEMENTS(kinds)),
                        .gap_ms = (guint)g_rand_int_range(dice, 0, GAP_MS) };

        round.at_ms = (guint)g_rand_int_range(dice, 0, (int)acts[round.act].span_ms);
        round.scenario = find_scenario(acts[round.act].scenario);
        play(&round);
    }
    assert_int_equal(verdicts[WALK_GOOD], rounds);
}

static int
start_node(void **state G_GNUC_UNUSED)
{
    const guint seed = number("WK_WALK_SEED", g_random_int());

    print_message("kills: WK_WALK_SEED=%u\n", seed);
    dice = g_rand_new_with_seed(seed);
    walk_init(&walk);
    lab_ok(lab_libvirtd_start(&error));
    return 0;
}

static int
tell(void **state G_GNUC_UNUSED)
{
    print_message("kills: rounds=%u midway=%u lost=%u doubled=%u silent=%u leftover=%u broken=%u "
                  "(half started by libvirt: %u)\n",
                  n_rounds, n_midway, verdicts[WALK_LOST], verdicts[WALK_DOUBLED],
                  verdicts[WALK_SILENT], verdicts[WALK_LEFTOVER], verdicts[WALK_BROKEN],
                  n_half_started);
    g_rand_free(dice);
    walk_clear(&walk);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rounds) };

    return cmocka_run_group_tests_name("kills", tests, start_node, tell);
}
