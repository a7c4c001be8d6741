/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outsiders: at each step of save, restore and discard somebody does something to the guest with
 * virsh, or libvirtd or QEMU dies, while the agent is held just before the step; then the agent
 * goes on, or is dead and comes back. Without WK_WALK_FULL each step meets two of them, in turn;
 * WK_WALK_ONLY=SCENARIO/NAME: one of them at each step.
 */
#include "walk.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

typedef struct {
    const char *name;
    int (*act)(virDomainPtr domain);
    gboolean (*strike)(GError **error); /* no call of virsh, but a death */
    gboolean ram_may_go;                /* that is what he wants */
    gboolean saves;                     /* his image is his, and not ours to judge */
    gboolean autostart;                 /* changes what the oracle compares */
} Outsider;

static Walk walk;
static guint n_cases;
static guint verdicts[WALK_VERDICTS];
static guint turn;

static int
save(virDomainPtr domain)
{
    return virDomainManagedSave(domain, 0);
}

static int
save_remove(virDomainPtr domain)
{
    return virDomainManagedSaveRemove(domain, 0);
}

static int
start_and_resume(virDomainPtr domain)
{
    const int started = virDomainCreate(domain);

    return started == 0 ? virDomainResume(domain) : started;
}

/* Runs it for a while, and saves it again, into another file. */
static int
run_and_save(virDomainPtr domain)
{
    if (start_and_resume(domain) != 0)
        return -1;
    (void)lab_guest_wait_ticking(WALK_GUEST, LAB_WAIT_MS, NULL);
    return save(domain);
}

static int
set_autostart(virDomainPtr domain)
{
    return virDomainSetAutostart(domain, 1);
}

/* Its definition is put back at once: who has defined it anew finds out what is still held. */
static int
undefine_and_define(virDomainPtr domain)
{
    virConnectPtr connection = virDomainGetConnect(domain);
    g_autofree char *xml =
        virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    g_autoptr(virDomain) anew = NULL;

    if (xml == NULL || virDomainUndefineFlags(domain, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE) != 0)
        return -1;
    anew = virDomainDefineXML(connection, xml);
    return anew != NULL ? 0 : -1;
}

static gboolean
kill_qemu(GError **error G_GNUC_UNUSED)
{
    walk_signal_qemu(SIGKILL);
    return TRUE;
}

static const Outsider outsiders[] = {
    { .name = "start", .act = virDomainCreate },
    { .name = "resume", .act = virDomainResume },
    { .name = "start+resume", .act = start_and_resume },
    { .name = "suspend", .act = virDomainSuspend },
    { .name = "destroy", .act = virDomainDestroy, .ram_may_go = TRUE },
    { .name = "managedsave", .act = save, .saves = TRUE },
    { .name = "run+managedsave", .act = run_and_save, .saves = TRUE },
    { .name = "managedsave-remove", .act = save_remove, .ram_may_go = TRUE },
    { .name = "undefine --managed-save, define",
      .act = undefine_and_define,
      .ram_may_go = TRUE,
      .autostart = TRUE },
    { .name = "autostart", .act = set_autostart, .autostart = TRUE },
    { .name = "(libvirtd dies)", .strike = lab_libvirtd_restart },
    { .name = "(QEMU dies)", .strike = kill_qemu, .ram_may_go = TRUE },
};

/* What he can't do in that moment, virsh tells him. */
static gboolean
act(const Outsider *outsider, GError **error)
{
    g_autoptr(virDomain) domain = NULL;

    if (outsider->strike != NULL)
        return outsider->strike(error);
    domain = lab_domain(WALK_GUEST, error);
    if (domain == NULL)
        return FALSE;
    (void)outsider->act(domain);
    return TRUE;
}

typedef struct {
    const WalkScenario *scenario;
    const Outsider *outsider;
    const char *step;
    gboolean dead; /* the agent, while he acts */
} Case;

/* Every operation waits for its end elsewhere: here only its start is asked for. */
static gboolean
post(const WalkScenario *scenario, GError **error)
{
    if (g_str_equal(scenario->name, "save"))
        return walk_post(&walk, "suspend", "{\"target\":\"disk\"}", error);
    return walk_post(&walk, g_str_equal(scenario->name, "restore") ? "resume" : "discard", NULL,
                     error);
}

/* The first step holds the answer to the request as well. */
static gpointer
post_in_thread(gpointer data)
{
    (void)post(data, NULL);
    return NULL;
}

static gboolean
run_case(const Case *it, GError **error)
{
    g_autofree char *failpoint = g_strdup_printf("%s=%s", it->step, it->dead ? "kill" : "stop");
    GThread *thread;
    gboolean ok;

    if (!walk_base(&walk, error)
        || (it->scenario->prepare != NULL && !it->scenario->prepare(&walk, error)))
        return FALSE;
    walk_mark_log(&walk);
    if (!walk_agent_start(&walk, failpoint, error))
        return FALSE;
    thread = g_thread_new("post", post_in_thread, (gpointer)it->scenario);
    ok = walk_await_stopped(error) && act(it->outsider, error)
         && (it->dead ? walk_agent_start(&walk, NULL, error) : walk_continue(error));
    g_thread_join(thread);
    return ok;
}

static gboolean
is_behind_last_look(const Case *it)
{
    return g_str_has_prefix(it->step, "operation.finish")
           || g_str_has_prefix(it->step, "save.commit-sealed");
}

/* Whoever saves a guest that we have sealed, or are just restoring, has its memory in a file of his
 * own, which nobody touches; ours is held. */
static gboolean
is_excused(const Case *it, WalkVerdict verdict)
{
    if (verdict != WALK_LOST)
        return FALSE;
    return it->outsider->ram_may_go
           || (it->outsider->saves && walk.ended == WALK_HELD
               && (g_str_equal(it->scenario->name, "restore") || is_behind_last_look(it)));
}

/* Whoever starts a guest that is being saved is noticed before it is told as saved. Behind the last
 * look it is a guest that was saved, and was started then. */
static gboolean
outcome_is_fixed(const Case *it)
{
    return g_str_equal(it->scenario->name, "save") && it->outsider->act != NULL
           && !it->outsider->ram_may_go && !it->outsider->saves && !is_behind_last_look(it);
}

static void
try_case(const Case *it)
{
    const WalkScenario as = { .name = it->scenario->name,
                              .ram_may_go = it->scenario->ram_may_go || it->outsider->ram_may_go,
                              .any_autostart = it->outsider->autostart,
                              .any_outcome = !outcome_is_fixed(it),
                              .foreign_save = it->outsider->saves };
    g_autoptr(GError) error = NULL;
    WalkVerdict verdict = WALK_BROKEN;

    n_cases++;
    walk.scenario = it->scenario;
    if (run_case(it, &error)) {
        walk.scenario = &as;
        verdict = walk_judge(&walk, G_MAXUINT, &error);
    }
    if (is_excused(it, verdict))
        verdict = WALK_GOOD;
    verdicts[verdict]++;
    if (g_getenv("WK_WALK_VERBOSE") != NULL || verdict != WALK_GOOD)
        print_message("outsiders: %s, virsh %s before %s, agent %s: %s %d%s%s\n",
                      it->scenario->name, it->outsider->name, it->step, it->dead ? "dead" : "held",
                      walk_verdict_name(verdict), (int)walk.ended, error != NULL ? ": " : "",
                      error != NULL ? error->message : "");
    if (verdict != WALK_GOOD) {
        g_autofree char *name = g_strdup_printf("%s,%s", it->outsider->name, it->step);

        walk_keep_log(&walk, it->scenario->name, name);
    }
    if (verdict != WALK_GOOD || error != NULL || as.ram_may_go || it->outsider->autostart)
        walk.fresh_needed = TRUE;
}

static gboolean
is_due(guint outsider, gboolean dead)
{
    const char *only = g_getenv("WK_WALK_ONLY");

    if (only != NULL)
        return g_str_has_suffix(only, outsiders[outsider].name);
    return g_getenv("WK_WALK_FULL") != NULL
           || (turn + (dead ? G_N_ELEMENTS(outsiders) / 2 : 0)) % G_N_ELEMENTS(outsiders)
                  == outsider;
}

static void
test_scenario(void **state)
{
    const WalkScenario *scenario = *state;
    g_autoptr(GPtrArray) trace = NULL;
    guint good = verdicts[WALK_GOOD];
    const guint cases = n_cases;

    if (g_getenv("WK_WALK_ONLY") != NULL && !walk_is_wanted(scenario))
        skip();
    walk.fresh_needed = TRUE;
    lab_ok(walk_run(&walk, scenario, NULL, &error));
    trace = walk_trace(&walk);
    walk.fresh_needed = TRUE;
    for (guint i = 0; i < trace->len; i++, turn++) {
        for (guint o = 0; o < G_N_ELEMENTS(outsiders); o++) {
            for (int dead = 0; dead < 2; dead++) {
                const Case it = { scenario, &outsiders[o], g_ptr_array_index(trace, i), dead };

                if (is_due(o, dead))
                    try_case(&it);
            }
        }
    }
    assert_int_equal(verdicts[WALK_GOOD] - good, n_cases - cases);
}

static int
start_node(void **state G_GNUC_UNUSED)
{
    walk_init(&walk);
    lab_ok(lab_libvirtd_start(&error));
    return 0;
}

static int
tell(void **state G_GNUC_UNUSED)
{
    print_message("outsiders: cases=%u lost=%u doubled=%u silent=%u leftover=%u broken=%u\n",
                  n_cases, verdicts[WALK_LOST], verdicts[WALK_DOUBLED], verdicts[WALK_SILENT],
                  verdicts[WALK_LEFTOVER], verdicts[WALK_BROKEN]);
    walk_clear(&walk);
    return 0;
}

int
main(void)
{
    static const char *const names[] = { "save", "restore", "discard" };
    struct CMUnitTest tests[G_N_ELEMENTS(names)];
    gsize n;
    const WalkScenario *scenarios = walk_scenarios(&n);

    memset(tests, 0, sizeof tests);
    for (gsize i = 0; i < n; i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(names); j++) {
            if (!g_str_equal(scenarios[i].name, names[j]))
                continue;
            tests[j].name = names[j];
            tests[j].test_func = test_scenario;
            tests[j].initial_state = (void *)&scenarios[i];
        }
    }
    return _cmocka_run_group_tests("outsiders", tests, G_N_ELEMENTS(names), start_node, tell);
}
