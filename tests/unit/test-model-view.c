/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "model/view.h"

static const char *
cell_of(const char *text)
{
    return text == NULL || *text == '\0' ? "-" : text;
}

static void
assert_view(const WkView *view, const char *state, const char *target, const char *reason)
{
    assert_string_equal(wk_state_name(view->state), state);
    assert_string_equal(cell_of(wk_target_name(view->target)), target);
    assert_string_equal(cell_of(view->reason), reason);
}

/* A guest, and what a view of it is made of. */
typedef struct {
    WkRecord *record;
    WkLook look;
    WkOperation *operation;
    WkViewInput input;
} Guest;

static int
setup(void **state)
{
    const WkRequest request = { .guest = "uuid",
                                .action = WK_ACTION_SUSPEND,
                                .target = WK_TARGET_DISK,
                                .origin = WK_ORIGIN_PRESSURE };
    Guest *guest = g_new0(Guest, 1);

    guest->record = wk_record_new("host", "uuid", "web");
    guest->look.power = WK_POWER_RUNNING;
    guest->operation = wk_operation_new(&request, "host", "web", 60);
    guest->input =
        (WkViewInput){ .source_up = TRUE, .record = guest->record, .look = &guest->look };
    *state = guest;
    return 0;
}

static int
teardown(void **state)
{
    Guest *guest = *state;

    wk_record_free(guest->record);
    wk_operation_free(guest->operation);
    g_free(guest);
    return 0;
}

static void
seal(Guest *guest, WkLedgerState ledger)
{
    guest->record->state = ledger;
    guest->record->seal.file.size_bytes = 833877135;
    guest->record->saved_at_us = 7;
    guest->look.power = WK_POWER_OFF;
}

static void
test_table_without_an_image(void **state)
{
    Guest *guest = *state;
    g_autoptr(GPtrArray) rows = unit_read_table("docs/states.md", "Without an image");

    assert_int_equal(rows->len, WK_POWER_STOPPING + 1);
    for (guint i = 0; i < rows->len; i++) {
        const GStrv cells = g_ptr_array_index(rows, i);
        g_autoptr(WkView) view = NULL;

        assert_string_equal(cells[0], wk_power_name((WkPower)i));
        guest->look.power = (WkPower)i;
        view = wk_view_make(&guest->input);
        assert_view(view, cells[2], cells[3], cells[4]);
        assert_int_equal(view->restorable, -1);
        assert_int_equal(view->saved_bytes, 0);
    }
}

static void
test_last_word_of_an_operation(void **state)
{
    Guest *guest = *state;

    wk_record_explain(guest->record, "NoSpace", "Suspend failed: full");
    for (int power = WK_POWER_ABSENT; power <= WK_POWER_STOPPING; power++) {
        const gboolean told =
            power == WK_POWER_OFF || power == WK_POWER_RUNNING || power == WK_POWER_PAUSED;
        g_autoptr(WkView) view = NULL;

        guest->look.power = (WkPower)power;
        view = wk_view_make(&guest->input);
        assert_int_equal(g_strcmp0(view->reason, "NoSpace") == 0, told);
        assert_int_equal(g_strcmp0(view->message, "Suspend failed: full") == 0, told);
    }
}

/* Words that are about one state are not told of another (I3). */
static void
test_words_about_another_state(void **state)
{
    Guest *guest = *state;

    wk_record_explain(guest->record, NULL, "resumed from memory in 0.1 s");
    wk_record_tell_of(guest->record, WK_POWER_RUNNING);
    for (int power = WK_POWER_ABSENT; power <= WK_POWER_STOPPING; power++) {
        g_autoptr(WkView) view = NULL;

        guest->look.power = (WkPower)power;
        view = wk_view_make(&guest->input);
        assert_int_equal(g_strcmp0(view->message, "resumed from memory in 0.1 s") == 0,
                         power == WK_POWER_RUNNING);
    }
}

static void
test_who_paused_it(void **state)
{
    Guest *guest = *state;
    g_autoptr(WkView) outside = NULL;
    g_autoptr(WkView) ours = NULL;

    guest->look.power = WK_POWER_PAUSED;
    guest->record->origin = WK_ORIGIN_SPEC;
    outside = wk_view_make(&guest->input);
    assert_int_equal(outside->origin, WK_ORIGIN_OUTSIDE);
    guest->record->paused_to = WK_TARGET_MEMORY;
    ours = wk_view_make(&guest->input);
    assert_int_equal(ours->origin, WK_ORIGIN_SPEC);
}

/* The second cell of a row about the ledger, made true. */
static void
make_true(Guest *guest, const char *ledger, const char *then)
{
    WkLedgerState ledger_state;

    assert_true(wk_ledger_state_parse(ledger, &ledger_state, NULL));
    seal(guest, ledger_state);
    guest->record->then = WK_THEN_NONE;
    wk_record_explain(guest->record, NULL, NULL);
    if (g_str_has_prefix(then, "to be resumed"))
        guest->record->then = WK_THEN_RESUME;
    else if (g_str_has_prefix(then, "to be dropped"))
        guest->record->then = WK_THEN_OFF;
    else if (g_str_has_prefix(then, "reason ResumeInterrupted"))
        wk_record_explain(guest->record, "ResumeInterrupted", "its memory is lost");
    else if (ledger_state == WK_LEDGER_QUARANTINED)
        wk_record_explain(guest->record, "ImageStale", "its disks are newer");
    if (g_str_has_prefix(then, "somebody runs"))
        guest->look.power = WK_POWER_RUNNING;
}

static void
assert_ledger_row(Guest *guest, const GStrv cells)
{
    static const char *const restorable[] = { "-", "no", "yes" };
    const gboolean as_without = g_str_equal(cells[2], "as without an image");
    g_autoptr(WkView) view = wk_view_make(&guest->input);

    assert_string_equal(restorable[view->restorable + 1], cells[5]);
    if (as_without)
        assert_string_equal(wk_state_name(view->state),
                            guest->look.power == WK_POWER_RUNNING ? "Running" : "Stopped");
    else
        assert_view(view, cells[2], cells[3],
                    g_str_equal(cells[4], "why it is held") ? "ImageStale" : cells[4]);
}

static void
test_table_with_an_image(void **state)
{
    Guest *guest = *state;
    g_autoptr(GPtrArray) rows = unit_read_table("docs/states.md", "With an image in the ledger");
    guint seen = 1u << WK_LEDGER_NONE;

    for (guint i = 0; i < rows->len; i++) {
        const GStrv cells = g_ptr_array_index(rows, i);

        make_true(guest, cells[0], cells[1]);
        assert_ledger_row(guest, cells);
        seen |= 1u << guest->record->state;
    }
    assert_int_equal(seen, (1u << WK_LEDGER_STATES) - 1);
}

static void
test_spent_and_dropped_tells_the_domain(void **state)
{
    Guest *guest = *state;
    g_autoptr(WkView) view = NULL;

    seal(guest, WK_LEDGER_SPENT);
    guest->record->then = WK_THEN_OFF;
    guest->look.power = WK_POWER_RUNNING; /* somebody started it: row K2 */
    view = wk_view_make(&guest->input);
    assert_view(view, "Running", "-", "-");
}

/* I3: a guest that somebody runs although its image is held is not "Suspended". */
static void
test_quarantined_and_running(void **state)
{
    Guest *guest = *state;
    g_autoptr(WkView) view = NULL;

    seal(guest, WK_LEDGER_QUARANTINED);
    guest->look.power = WK_POWER_RUNNING;
    wk_record_explain(guest->record, "ImageStale", "its disks are newer");
    view = wk_view_make(&guest->input);
    assert_view(view, "Running", "-", "ImageStale");
    assert_int_equal(view->restorable, 0);
    assert_int_equal(view->saved_bytes, 833877135);
}

static void
test_saved_bytes(void **state)
{
    Guest *guest = *state;

    for (int ledger = WK_LEDGER_NONE; ledger < WK_LEDGER_STATES; ledger++) {
        const gboolean kept = ledger == WK_LEDGER_SEALED || ledger == WK_LEDGER_RESTORING
                              || ledger == WK_LEDGER_QUARANTINED;
        g_autoptr(WkView) view = NULL;

        seal(guest, (WkLedgerState)ledger);
        view = wk_view_make(&guest->input);
        assert_int_equal(view->saved_bytes, kept ? 833877135 : 0);
        assert_int_equal(view->saved_at_us, kept ? 7 : 0);
        g_clear_pointer(&view, wk_view_free);
        guest->input.source_up = FALSE;
        view = wk_view_make(&guest->input);
        assert_view(view, "Unknown", "-", "SourceAway");
        assert_int_equal(view->saved_bytes, kept ? 833877135 : 0);
        guest->input.source_up = TRUE;
    }
}

/* Its image was made unusable before the CPUs were to run: nothing is on disk. */
static void
test_interrupted_has_nothing_on_disk(void **state)
{
    Guest *guest = *state;
    g_autoptr(WkView) view = NULL;

    seal(guest, WK_LEDGER_QUARANTINED);
    wk_record_explain(guest->record, "ResumeInterrupted", "its memory is lost");
    view = wk_view_make(&guest->input);
    assert_view(view, "Stopped", "-", "ResumeInterrupted");
    assert_int_equal(view->saved_bytes, 0);
    assert_int_equal(view->saved_at_us, 0);
}

static void
test_sealed_says_how_much(void **state)
{
    Guest *guest = *state;
    g_autoptr(WkView) plain = NULL;
    g_autoptr(WkView) moved = NULL;

    seal(guest, WK_LEDGER_SEALED);
    plain = wk_view_make(&guest->input);
    assert_string_equal(plain->message, "saved to disk: 834 MB");
    wk_record_explain(guest->record, "MovedToDiskForMaintenance", "the node goes down");
    moved = wk_view_make(&guest->input);
    assert_view(moved, "Suspended", "disk", "MovedToDiskForMaintenance");
    assert_string_equal(moved->message, "the node goes down");
}

/* The keys of the last table, made true. */
static void
set_over(Guest *guest, const char *when)
{
    guest->input.source_up = !g_str_equal(when, "source away");
    guest->input.look = g_str_equal(when, "not seen yet") ? NULL : &guest->look;
    guest->input.foreign_save = g_str_equal(when, "foreign save");
    guest->look.power = guest->input.foreign_save ? WK_POWER_OFF : WK_POWER_RUNNING;
    guest->input.operation = NULL;
    if (!g_str_has_suffix(when, " running"))
        return;
    guest->input.operation = guest->operation;
    guest->operation->state = WK_OP_RUNNING;
    if (g_str_has_prefix(when, "suspend"))
        guest->operation->action = WK_ACTION_SUSPEND;
    else
        guest->operation->action =
            g_str_has_prefix(when, "resume") ? WK_ACTION_RESUME : WK_ACTION_DISCARD;
}

static void
test_table_over_everything_else(void **state)
{
    Guest *guest = *state;
    g_autoptr(GPtrArray) rows = unit_read_table("docs/states.md", "Over everything else");

    assert_int_equal(rows->len, 6);
    for (guint i = 0; i < rows->len; i++) {
        const GStrv cells = g_ptr_array_index(rows, i);
        g_autoptr(WkView) view = NULL;

        set_over(guest, cells[0]);
        view = wk_view_make(&guest->input);
        if (g_str_equal(cells[1], "as without an operation"))
            assert_view(view, "Running", "-", "-");
        else if (g_str_equal(cells[2], "the operation's"))
            assert_view(view, cells[1], "disk", "-");
        else
            assert_view(view, cells[1], cells[2], cells[3]);
        if (guest->input.foreign_save)
            assert_int_equal(view->origin, WK_ORIGIN_OUTSIDE);
    }
}

static void
test_operation(void **state)
{
    Guest *guest = *state;
    g_autoptr(WkView) queued = NULL;
    g_autoptr(WkView) running = NULL;
    g_autoptr(WkView) retrying = NULL;

    guest->input.operation = guest->operation;
    queued = wk_view_make(&guest->input);
    assert_view(queued, "Running", "-", "-");
    assert_string_equal(queued->operation, guest->operation->id);
    assert_int_equal(queued->progress_percent, -1);
    guest->operation->state = WK_OP_RUNNING;
    guest->operation->step = WK_STEP_SAVE_SYNC_DISKS;
    guest->operation->total_bytes = 200;
    guest->operation->done_bytes = 50;
    running = wk_view_make(&guest->input);
    assert_view(running, "Suspending", "disk", "-");
    assert_string_equal(running->message, "syncing the guest's disks");
    assert_int_equal(running->progress_percent, 25);
    assert_int_equal(running->origin, WK_ORIGIN_PRESSURE);
    wk_operation_set_state(guest->operation, WK_OP_RUNNING, "GuestBusy", "attempt 2");
    retrying = wk_view_make(&guest->input);
    assert_view(retrying, "Suspending", "disk", "GuestBusy");
    assert_string_equal(retrying->message, "attempt 2");
}

/* Two views are equal only while every member is. */
static void
test_copy_and_equal(void **state)
{
    Guest *guest = *state;
    g_autoptr(WkView) view = NULL;
    g_autoptr(WkView) copy = NULL;

    guest->input.operation = guest->operation;
    guest->operation->state = WK_OP_RUNNING;
    view = wk_view_make(&guest->input);
    copy = wk_view_copy(view);
    assert_true(wk_view_equal(view, copy));
    assert_ptr_not_equal(view->message, copy->message);
#define DIFFERS(member, other)                                                                     \
    copy->member = (other);                                                                        \
    assert_false(wk_view_equal(view, copy));                                                       \
    copy->member = view->member;                                                                   \
    assert_true(wk_view_equal(view, copy));
    DIFFERS(state, WK_STATE_STOPPED)
    DIFFERS(target, WK_TARGET_MEMORY)
    DIFFERS(origin, WK_ORIGIN_LOCAL)
    DIFFERS(progress_percent, 99)
    DIFFERS(saved_bytes, 1)
    DIFFERS(saved_at_us, 1)
    DIFFERS(memory_bytes, 1)
    DIFFERS(last_action, WK_ACTION_DISCARD)
    DIFFERS(last_action_at_us, 1)
    DIFFERS(restorable, 1)
#undef DIFFERS
    g_clear_pointer(&copy->message, g_free);
    assert_false(wk_view_equal(view, copy));
    wk_view_free(NULL);
}

static void
test_image(void **state)
{
    Guest *guest = *state;
    const WkFileId disk = { .inode = 1 };
    g_autoptr(WkImageView) good = NULL;
    g_autoptr(WkImageView) held = NULL;

    seal(guest, WK_LEDGER_SEALED);
    guest->record->boot_id = g_strdup("boot");
    memset(guest->record->seal.body_digest, 'b', WK_DIGEST_LENGTH);
    wk_record_explain(guest->record, "SavedToDisk", NULL);
    good = wk_image_view_new(guest->record, FALSE);
    assert_string_equal(good->name, "web");
    assert_string_equal(good->boot_id, "boot");
    assert_int_equal(good->size_bytes, 833877135);
    assert_int_equal(strlen(good->digest), WK_DIGEST_LENGTH);
    assert_true(good->disks_partial && !good->orphan); /* no W: nothing was verified */
    assert_null(good->reason);                         /* only a held image needs one */
    guest->record->state = WK_LEDGER_QUARANTINED;
    guest->record->disks = wk_witness_array_new();
    g_ptr_array_add(guest->record->disks, wk_witness_new("/dev/disk", TRUE, &disk));
    wk_record_explain(guest->record, "DiskChanged", NULL);
    held = wk_image_view_new(guest->record, TRUE);
    assert_true(held->disks_partial && held->orphan);
    assert_string_equal(held->reason, "DiskChanged");
    wk_image_view_free(NULL);
}

#define WITH_GUEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_GUEST(test_table_without_an_image),
        WITH_GUEST(test_table_with_an_image),
        WITH_GUEST(test_table_over_everything_else),
        WITH_GUEST(test_last_word_of_an_operation),
        WITH_GUEST(test_words_about_another_state),
        WITH_GUEST(test_who_paused_it),
        WITH_GUEST(test_spent_and_dropped_tells_the_domain),
        WITH_GUEST(test_quarantined_and_running),
        WITH_GUEST(test_saved_bytes),
        WITH_GUEST(test_interrupted_has_nothing_on_disk),
        WITH_GUEST(test_sealed_says_how_much),
        WITH_GUEST(test_operation),
        WITH_GUEST(test_copy_and_equal),
        WITH_GUEST(test_image),
    };

    return cmocka_run_group_tests_name("model-view", tests, NULL, NULL);
}
