/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "model/lifecycle.h"

/* What the contract wants, written out: each place, each ask; the ask without a target once for
 * each default. A word is the verb; a CamelCase word the reason of a refusal, with "..." before it
 * where it passes by itself. */
static const struct {
    WkPlace place;
    const char *suspend_default_memory;
    const char *suspend_default_disk;
    const char *suspend_memory;
    const char *suspend_disk;
    const char *resume;
    const char *discard;
} wanted[] = {
    { WK_PLACE_RUNNING, "pause", "save", "pause", "save", "nothing", "NoSavedState" },
    { WK_PLACE_PAUSED, "nothing", "nothing", "nothing", "save", "unpause", "NoSavedState" },
    { WK_PLACE_ON_DISK, "nothing", "nothing", "OnDisk", "nothing", "restore", "discard" },
    { WK_PLACE_HELD, "ImageHeld", "ImageHeld", "ImageHeld", "ImageHeld", "ImageHeld", "discard" },
    { WK_PLACE_OFF, "NotRunning", "NotRunning", "NotRunning", "NotRunning", "NoSavedState",
      "NoSavedState" },
    { WK_PLACE_STOPPED, "NotRunning", "NotRunning", "NotRunning", "NotRunning", "start",
      "NoSavedState" },
    { WK_PLACE_FOREIGN, "ForeignSave", "ForeignSave", "ForeignSave", "ForeignSave", "ForeignSave",
      "ForeignSave" },
    { WK_PLACE_IO_ERROR, "PausedByIOError", "PausedByIOError", "PausedByIOError", "PausedByIOError",
      "PausedByIOError", "NoSavedState" },
    { WK_PLACE_CRASHED, "Crashed", "Crashed", "Crashed", "Crashed", "Crashed", "NoSavedState" },
    { WK_PLACE_ASLEEP, "GuestAsleep", "GuestAsleep", "GuestAsleep", "GuestAsleep", "GuestAsleep",
      "NoSavedState" },
    { WK_PLACE_BUSY, "...GuestBusy", "...GuestBusy", "...GuestBusy", "...GuestBusy", "...GuestBusy",
      "...GuestBusy" },
    { WK_PLACE_GONE, "NoSuchGuest", "NoSuchGuest", "NoSuchGuest", "NoSuchGuest", "NoSuchGuest",
      "NoSuchGuest" },
    { WK_PLACE_MIDWAY, "...Settling", "...Settling", "...Settling", "...Settling", "...Settling",
      "...Settling" },
};

static const char *const verbs[] = {
    [WK_DO_NOTHING] = "nothing", [WK_DO_PAUSE] = "pause",     [WK_DO_UNPAUSE] = "unpause",
    [WK_DO_SAVE] = "save",       [WK_DO_RESTORE] = "restore", [WK_DO_DISCARD] = "discard",
    [WK_DO_VERIFY] = "verify",   [WK_DO_START] = "start",
};

static void
check(WkPlace place, WkAsk ask, WkTarget default_target, const char *want)
{
    const WkDecision *decision = wk_lifecycle_decide(place, ask, default_target);
    const gboolean passes = g_str_has_prefix(want, "...");
    g_autoptr(GError) error = NULL;

    if (decision->what < G_N_ELEMENTS(verbs)) {
        assert_string_equal(verbs[decision->what], want);
        return;
    }
    assert_int_equal(decision->what, passes ? WK_DO_RETRY : WK_DO_REFUSE);
    assert_string_equal(decision->reason, passes ? want + 3 : want);
    assert_true((decision->code == WK_ERROR_UNAVAILABLE) == passes);
    assert_true(strchr(decision->message, '%') == NULL);
    wk_decision_set_error(decision, "web", &error);
    assert_string_equal(wk_error_get_reason(error), decision->reason);
    unit_assert_error(&error, decision->code, "guest 'web': ");
}

/* As discard, but for what lies on disk. */
static const char *
verify_of(gsize place)
{
    if (place == WK_PLACE_HELD)
        return "ImageHeld";
    return place == WK_PLACE_ON_DISK ? "verify" : wanted[place].discard;
}

static void
test_every_place_and_ask(void **state G_GNUC_UNUSED)
{
    static const WkTarget targets[] = { WK_TARGET_NONE, WK_TARGET_MEMORY, WK_TARGET_DISK };

    assert_int_equal(G_N_ELEMENTS(wanted), WK_PLACES);
    for (gsize i = 0; i < G_N_ELEMENTS(wanted); i++) {
        assert_int_equal(wanted[i].place, i);
        for (gsize t = 0; t < G_N_ELEMENTS(targets); t++) {
            const gboolean disk = targets[t] == WK_TARGET_DISK;

            check(wanted[i].place, WK_ASK_SUSPEND, targets[t],
                  disk ? wanted[i].suspend_default_disk : wanted[i].suspend_default_memory);
            check(wanted[i].place, WK_ASK_SUSPEND_MEMORY, targets[t], wanted[i].suspend_memory);
            check(wanted[i].place, WK_ASK_SUSPEND_DISK, targets[t], wanted[i].suspend_disk);
            check(wanted[i].place, WK_ASK_RESUME, targets[t], wanted[i].resume);
            check(wanted[i].place, WK_ASK_DISCARD, targets[t], wanted[i].discard);
            check(wanted[i].place, WK_ASK_VERIFY, targets[t], verify_of(i));
        }
    }
}

/* Exit status and HTTP status hang on these. */
static void
test_codes(void **state G_GNUC_UNUSED)
{
    static const struct {
        WkPlace place;
        WkAsk ask;
        WkErrorCode code;
    } cases[] = {
        { WK_PLACE_RUNNING, WK_ASK_DISCARD, WK_ERROR_REFUSED }, /* "refused by precheck" */
        { WK_PLACE_ON_DISK, WK_ASK_SUSPEND_MEMORY, WK_ERROR_CONFLICT },
        { WK_PLACE_HELD, WK_ASK_RESUME, WK_ERROR_CONFLICT },
        { WK_PLACE_OFF, WK_ASK_RESUME, WK_ERROR_CONFLICT },
        { WK_PLACE_IO_ERROR, WK_ASK_RESUME, WK_ERROR_CONFLICT },
        { WK_PLACE_GONE, WK_ASK_SUSPEND, WK_ERROR_NOT_FOUND },
        { WK_PLACE_BUSY, WK_ASK_SUSPEND, WK_ERROR_UNAVAILABLE },
        { WK_PLACE_MIDWAY, WK_ASK_RESUME, WK_ERROR_UNAVAILABLE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_int_equal(wk_lifecycle_decide(cases[i].place, cases[i].ask, WK_TARGET_MEMORY)->code,
                         cases[i].code);
}

static const WkPlace of_power[] = {
    [WK_POWER_ABSENT] = WK_PLACE_GONE,       [WK_POWER_OFF] = WK_PLACE_OFF,
    [WK_POWER_RUNNING] = WK_PLACE_RUNNING,   [WK_POWER_PAUSED] = WK_PLACE_PAUSED,
    [WK_POWER_LOADED] = WK_PLACE_PAUSED,     [WK_POWER_STARTING] = WK_PLACE_BUSY,
    [WK_POWER_IO_ERROR] = WK_PLACE_IO_ERROR, [WK_POWER_BUSY] = WK_PLACE_BUSY,
    [WK_POWER_CRASHED] = WK_PLACE_CRASHED,   [WK_POWER_ASLEEP] = WK_PLACE_ASLEEP,
    [WK_POWER_STOPPING] = WK_PLACE_BUSY,
};

static WkPlace
place_of_off(const WkRecord *record, gboolean foreign_save)
{
    if (foreign_save)
        return WK_PLACE_FOREIGN;
    return record->stopped_by_fallback ? WK_PLACE_STOPPED : WK_PLACE_OFF;
}

static void
test_places_without_an_image(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkRecord) record = wk_record_new("host", "uuid", "web");

    for (int i = 0; i < (WK_POWER_STOPPING + 1) * 8; i++) {
        const WkLook look = { .power = (WkPower)(i / 8), .job = (i & 1) != 0 };
        const gboolean foreign_save = (i & 2) != 0;
        WkPlace want = of_power[look.power];

        record->stopped_by_fallback = (i & 4) != 0;
        if (look.job)
            want = WK_PLACE_BUSY;
        else if (want == WK_PLACE_OFF)
            want = place_of_off(record, foreign_save);
        assert_int_equal(wk_lifecycle_place(record, &look, foreign_save), want);
    }
}

/* With a row in the ledger, the row decides, whatever libvirt says (recovery has settled it). */
static void
test_places_with_an_image(void **state G_GNUC_UNUSED)
{
    static const struct {
        WkLedgerState ledger;
        WkPlace place;
    } cases[] = {
        { WK_LEDGER_SAVING, WK_PLACE_MIDWAY },    { WK_LEDGER_SEALED, WK_PLACE_ON_DISK },
        { WK_LEDGER_RESTORING, WK_PLACE_MIDWAY }, { WK_LEDGER_SPENT, WK_PLACE_MIDWAY },
        { WK_LEDGER_QUARANTINED, WK_PLACE_HELD },
    };
    g_autoptr(WkRecord) record = wk_record_new("host", "uuid", "web");

    for (gsize i = 0; i < G_N_ELEMENTS(cases) * (WK_POWER_STOPPING + 1); i++) {
        const WkLook look = { .power = (WkPower)(i / G_N_ELEMENTS(cases)), .job = (i & 1) != 0 };
        const gsize c = i % G_N_ELEMENTS(cases);

        record->state = cases[c].ledger;
        assert_int_equal(wk_lifecycle_place(record, &look, FALSE), cases[c].place);
    }
}

static void
test_asks(void **state G_GNUC_UNUSED)
{
    assert_int_equal(wk_lifecycle_ask(WK_ACTION_SUSPEND, WK_TARGET_NONE), WK_ASK_SUSPEND);
    assert_int_equal(wk_lifecycle_ask(WK_ACTION_SUSPEND, WK_TARGET_MEMORY), WK_ASK_SUSPEND_MEMORY);
    assert_int_equal(wk_lifecycle_ask(WK_ACTION_SUSPEND, WK_TARGET_DISK), WK_ASK_SUSPEND_DISK);
    for (int target = WK_TARGET_NONE; target <= WK_TARGET_DISK; target++) {
        assert_int_equal(wk_lifecycle_ask(WK_ACTION_RESUME, (WkTarget)target), WK_ASK_RESUME);
        assert_int_equal(wk_lifecycle_ask(WK_ACTION_DISCARD, (WkTarget)target), WK_ASK_DISCARD);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_place_and_ask),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_places_without_an_image),
        cmocka_unit_test(test_places_with_an_image),
        cmocka_unit_test(test_asks),
    };

    return cmocka_run_group_tests_name("model-lifecycle", tests, NULL, NULL);
}
