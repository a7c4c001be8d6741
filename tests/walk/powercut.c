/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts: at each step of save, restore, discard and quarantine the node's disk is copied as a
 * cut would leave it; then the node boots with each copy. What was "Suspended" in that instant has
 * to come back with its memory, and with the disk that this memory knows (I1, I2); what is held
 * must not boot cold (I4). And in the midst of the save itself, while libvirt writes the image:
 * what it had written by then must never be taken for one.
 */
#include "walk-power.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define POLL_MS    5
#define RUN_ON_MS  250
#define SILENCE_MS 700

/* of the image, between two cuts in the midst of a save */
#define GROWTH      ((off_t)16 * 1024 * 1024)
#define GROWTH_FULL ((off_t)1024 * 1024)

typedef struct {
    char *file;
    char *step;   /* the next one */
    char *ledger; /* the guest's state in the ledger of that instant */
    char *op;     /* the save that its row was about */
    LabTick tick; /* the last one before it */
} Cut;

static Walk walk;
static GPtrArray *cuts;
static gint cutting; /* atomic */
static guint n_cuts, n_midst, n_restored, n_held, n_gone, n_before, n_bad;

/* ---- a thread that cuts whenever the agent has stopped itself ---- */

static gboolean
agent_is_stopped(void)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)lab_pid("wukongd"));
    g_autofree char *text = NULL;
    const char *end;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && end[2] == 'T';
}

static void
add_cut(const char *step)
{
    Cut *cut = g_new0(Cut, 1);

    cut->file = g_strdup_printf("%s/cut-%u.img", g_getenv("WK_LAB_SCRATCH"), cuts->len);
    cut->step = g_strdup(step);
    cut->ledger = walk_ledger_state(&walk, NULL);
    cut->op = walk_ledger_op(&walk);
    (void)lab_guest_last_tick(WALK_GUEST, &cut->tick, NULL);
    if (!walk_power_cut(cut->file, NULL))
        g_atomic_int_set(&cutting, -1);
    g_ptr_array_add(cuts, cut);
}

static gpointer
cut_at_each_stop(gpointer data G_GNUC_UNUSED)
{
    while (g_atomic_int_get(&cutting) == 1) {
        if (agent_is_stopped()) {
            g_autoptr(GPtrArray) trace = walk_trace(&walk);

            /* a guest that runs although it must not has time to show it */
            g_usleep(RUN_ON_MS * 1000);
            add_cut(trace->len > 0 ? g_ptr_array_index(trace, trace->len - 1) : "a step");
            (void)walk_continue(NULL);
        }
        g_usleep(POLL_MS * 1000);
    }
    return NULL;
}

static void
cut_free(gpointer data)
{
    Cut *cut = data;

    unlink(cut->file);
    g_free(cut->file);
    g_free(cut->step);
    g_free(cut->ledger);
    g_free(cut->op);
    g_free(cut);
}

/* ---- the run that is cut ---- */

/* Stops before each step of @trace, besides what the scenario itself arms. */
static char *
stops_of(const WalkScenario *scenario, GPtrArray *trace)
{
    g_autoptr(GString) spec = g_string_new(scenario->arm);

    for (guint i = 0; i < trace->len; i++) {
        const char *step = g_ptr_array_index(trace, i);
        g_autofree char *name = g_strndup(step, strcspn(step, ":"));

        if (!g_str_has_suffix(step, ":1") || strstr(spec->str, name) != NULL)
            continue;
        g_string_append_printf(spec, "%s%s=stop", spec->len > 0 ? "," : "", step);
    }
    return g_string_free(g_steal_pointer(&spec), FALSE);
}

static GPtrArray *
learn(const WalkScenario *scenario)
{
    GPtrArray *trace;

    walk.fresh_needed = TRUE;
    lab_ok(walk_run(&walk, scenario, scenario->arm, &error));
    trace = walk_trace(&walk);
    return trace;
}

static void
run_and_cut(const WalkScenario *scenario)
{
    g_autoptr(GPtrArray) trace = learn(scenario);
    g_autofree char *stops = stops_of(scenario, trace);
    GThread *thread;

    walk.fresh_needed = TRUE;
    lab_ok(walk_base(&walk, &error));
    lab_ok(walk_power_sync(&error));
    g_atomic_int_set(&cutting, 1);
    thread = g_thread_new("cut", cut_at_each_stop, NULL);
    lab_ok(walk_run(&walk, scenario, stops, &error));
    assert_int_equal(g_atomic_int_get(&cutting), 1);
    g_atomic_int_set(&cutting, 0);
    g_thread_join(thread);
    add_cut("the end");
}

/* ---- the save itself ---- */

static gpointer
save_in_thread(gpointer data G_GNUC_UNUSED)
{
    (void)walk_request(&walk, "suspend", "{\"target\":\"disk\"}", NULL);
    g_atomic_int_set(&cutting, 0);
    return NULL;
}

/* A copy each time that the image has grown, with the agent held as well. */
static void
cut_while_it_grows(void)
{
    const off_t stride = g_getenv("WK_WALK_FULL") != NULL ? GROWTH_FULL : GROWTH;
    off_t next = 1;

    while (g_atomic_int_get(&cutting) == 1) {
        g_autofree char *what = NULL;
        struct stat st;

        if (stat(WALK_SAVE_FILE, &st) != 0 || st.st_size < next) {
            g_usleep(G_USEC_PER_SEC / 1000);
            continue;
        }
        what = g_strdup_printf("byte %" G_GINT64_FORMAT " of the image", (gint64)st.st_size);
        kill(lab_pid("wukongd"), SIGSTOP);
        add_cut(what);
        kill(lab_pid("wukongd"), SIGCONT);
        next = st.st_size + stride;
    }
}

/* ---- the boot after it ---- */

static gboolean
held_promise(const Cut *cut)
{
    return g_strcmp0(cut->ledger, "sealed") == 0 || g_strcmp0(cut->ledger, "restoring") == 0;
}

/* What the guest has written to its disk, as the disk was at the cut. */
static gboolean
read_disk(guint64 *counter)
{
    g_autofree char *path = lab_guest_disk_path(WALK_GUEST);
    char text[128] = "";
    FILE *file = fopen(path, "re");
    gboolean ok;

    ok = file != NULL && fread(text, 1, sizeof text - 1, file) > 0
         && sscanf(text, "nonce=%*s counter=%" G_GUINT64_FORMAT, counter) == 1;
    if (file != NULL)
        fclose(file);
    return ok;
}

static gboolean
empty_serial_log(GError **error)
{
    g_autofree char *path = lab_guest_serial_path(WALK_GUEST);

    return g_file_set_contents(path, "", 0, error);
}

static gboolean
first_tick(LabTick *tick, GError **error)
{
    g_autofree char *path = lab_guest_serial_path(WALK_GUEST);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, error))
        return FALSE;
    if (sscanf(text,
               "nonce=%32s tick=%" G_GUINT64_FORMAT " filled=%" G_GUINT64_FORMAT
               " wrote=%" G_GUINT64_FORMAT,
               tick->nonce, &tick->tick, &tick->filled, &tick->wrote)
        == 4)
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "the guest's first line: '%.80s'", text);
    return FALSE;
}

/* The memory that goes on is that of the cut, and knows the disk that it finds. */
static gboolean
memory_fits(const Cut *cut, guint64 on_disk, GError **error)
{
    LabTick tick;

    if (!first_tick(&tick, error))
        return FALSE;
    /* the last write may have been done, and its line not printed */
    if (tick.tick == cut->tick.tick + 1 && (tick.wrote == on_disk + 1 || tick.wrote == on_disk))
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED,
                "tick %" G_GUINT64_FORMAT " after %" G_GUINT64_FORMAT ", writes %" G_GUINT64_FORMAT
                " to a disk with %" G_GUINT64_FORMAT,
                tick.tick, cut->tick.tick, tick.wrote, on_disk);
    return FALSE;
}

static gboolean
boot_with(const char *file, GError **error)
{
    return walk_power_restart_with(file, error) && empty_serial_log(error)
           && lab_libvirtd_start(error) && walk_agent_start(&walk, NULL, error);
}

/* It was not saved yet, or its image was used up: whatever comes, it is not the old memory. */
static gboolean
old_memory_is_gone(GError **error)
{
    g_autofree char *nonce = NULL;

    if (!lab_guest_is_ticking(WALK_GUEST, SILENCE_MS))
        return TRUE;
    nonce = lab_guest_nonce(WALK_GUEST, error);
    if (nonce == NULL || strcmp(nonce, walk.nonce) != 0)
        return nonce != NULL;
    g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED,
                        "memory that was not held, or was used up, runs again");
    return FALSE;
}

static gboolean
judge_promise(const WalkScenario *scenario, const Cut *cut, GError **error)
{
    /* what the scenario itself does away with may go on going away */
    const guint more = scenario->ram_may_go ? WALK_OFF | WALK_HELD : 0;
    guint64 on_disk;

    if (!read_disk(&on_disk)) {
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, "the guest's disk is empty");
        return FALSE;
    }
    walk.scenario = scenario;
    if (walk_judge(&walk, WALK_DISK | WALK_RUNS | more, error) != WALK_GOOD)
        return FALSE;
    if (more != 0 && lab_domain_state(WALK_GUEST, NULL, NULL) != VIR_DOMAIN_RUNNING) {
        n_gone++;
        return TRUE;
    }
    n_restored++;
    return memory_fits(cut, on_disk, error);
}

/* The guest ran already when the power went: it may boot by itself again. */
static gboolean
has_autostart_back(const Cut *cut)
{
    return g_str_has_prefix(cut->step, "spent.commit-none");
}

/* What was not sealed before the cut is not known to be whole: it must never be. */
static gboolean
sealed_after_cut(const Cut *cut, GError **error)
{
    g_autofree char *op = walk_ledger_op(&walk);

    if (walk.ended != WALK_DISK || cut->op == NULL || g_strcmp0(op, cut->op) != 0)
        return FALSE;
    g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED,
                        "an image of the boot before was sealed in this one");
    return TRUE;
}

static gboolean
judge_other(const Cut *cut, GError **error)
{
    static const WalkScenario other = { .name = "cut", .ram_may_go = TRUE };
    const gboolean spent = g_strcmp0(cut->ledger, "spent") == 0;
    const gboolean quarantined = g_strcmp0(cut->ledger, "quarantined") == 0;
    guint ends = WALK_OFF | WALK_RUNS | WALK_DISK | WALK_PAUSED;

    if (quarantined)
        ends = WALK_HELD;
    else if (spent)
        ends = WALK_HELD | WALK_OFF | (has_autostart_back(cut) ? WALK_RUNS : 0);
    walk.scenario = &other;
    if (walk_inspect(&walk, ends, error) != WALK_GOOD || !old_memory_is_gone(error)
        || sealed_after_cut(cut, error))
        return FALSE;
    if (walk.ended == WALK_HELD)
        n_held++;
    else if (spent)
        n_gone++;
    else
        n_before++;
    return TRUE;
}

static void
judge_cut(const WalkScenario *scenario, const Cut *cut)
{
    g_autoptr(GError) error = NULL;

    n_cuts++;
    walk_mark_log(&walk);
    if (boot_with(cut->file, &error)
        && (held_promise(cut) ? judge_promise(scenario, cut, &error) : judge_other(cut, &error))) {
        if (g_getenv("WK_WALK_VERBOSE") != NULL)
            print_message("powercut: %s, before %s (%s): end %d\n", scenario->name, cut->step,
                          cut->ledger, (int)walk.ended);
        return;
    }
    n_bad++;
    print_message("powercut: %s, before %s (%s): %s\n", scenario->name, cut->step, cut->ledger,
                  error != NULL ? error->message : "");
    walk_keep_log(&walk, scenario->name, cut->step);
}

static void
test_scenario(void **state)
{
    const WalkScenario *scenario = *state;
    const guint bad_before = n_bad;

    if (!walk_is_wanted(scenario))
        skip();
    cuts = g_ptr_array_new_with_free_func(cut_free);
    lab_ok(walk_power_restart_with(NULL, &error));
    lab_ok(lab_libvirtd_start(&error));
    run_and_cut(scenario);
    for (guint i = 0; i < cuts->len; i++)
        judge_cut(scenario, g_ptr_array_index(cuts, i));
    g_clear_pointer(&cuts, g_ptr_array_unref);
    assert_int_equal(n_bad - bad_before, 0);
}

static void
test_in_the_midst(void **state G_GNUC_UNUSED)
{
    static const WalkScenario midst = { .name = "midst" };
    const guint bad_before = n_bad;
    GThread *thread;

    if (!walk_is_wanted(&midst))
        skip();
    cuts = g_ptr_array_new_with_free_func(cut_free);
    lab_ok(walk_power_restart_with(NULL, &error));
    lab_ok(lab_libvirtd_start(&error));
    walk.fresh_needed = TRUE;
    lab_ok(walk_base(&walk, &error));
    lab_ok(walk_power_sync(&error));
    g_atomic_int_set(&cutting, 1);
    thread = g_thread_new("save", save_in_thread, NULL);
    cut_while_it_grows();
    assert_int_equal(g_atomic_int_get(&cutting), 0);
    g_thread_join(thread);
    assert_true(cuts->len > 1);
    for (guint i = 0; i < cuts->len; i++)
        judge_cut(&midst, g_ptr_array_index(cuts, i));
    n_midst = cuts->len;
    g_clear_pointer(&cuts, g_ptr_array_unref);
    assert_int_equal(n_bad - bad_before, 0);
}

static int
start_node(void **state G_GNUC_UNUSED)
{
    walk_init(&walk);
    lab_ok(walk_power_on(&error));
    return 0;
}

static int
tell(void **state G_GNUC_UNUSED)
{
    print_message(
        "powercut: cuts=%u mid-save=%u restored=%u held=%u dropped=%u running-before=%u lost=%u\n",
        n_cuts, n_midst, n_restored, n_held, n_gone, n_before, n_bad);
    walk_clear(&walk);
    return 0;
}

static const char *const cut_scenarios[] = { "save", "restore", "discard", "image-damaged",
                                             "restore-fails" };

int
main(void)
{
    gsize n;
    gsize n_tests = 0;
    const WalkScenario *scenarios = walk_scenarios(&n);
    struct CMUnitTest tests[G_N_ELEMENTS(cut_scenarios) + 1];

    memset(tests, 0, sizeof tests);
    for (gsize i = 0; i < n; i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(cut_scenarios); j++) {
            if (!g_str_equal(scenarios[i].name, cut_scenarios[j]))
                continue;
            tests[n_tests].name = scenarios[i].name;
            tests[n_tests].test_func = test_scenario;
            tests[n_tests++].initial_state = (void *)&scenarios[i];
        }
    }
    tests[n_tests++] = (struct CMUnitTest)cmocka_unit_test(test_in_the_midst);
    return _cmocka_run_group_tests("powercut", tests, n_tests, start_node, tell);
}
