/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/lifecycle.h"

static const WkPlace places_of_power[] = {
    [WK_POWER_ABSENT] = WK_PLACE_GONE,       [WK_POWER_OFF] = WK_PLACE_OFF,
    [WK_POWER_RUNNING] = WK_PLACE_RUNNING,   [WK_POWER_PAUSED] = WK_PLACE_PAUSED,
    [WK_POWER_LOADED] = WK_PLACE_PAUSED,     [WK_POWER_STARTING] = WK_PLACE_BUSY,
    [WK_POWER_IO_ERROR] = WK_PLACE_IO_ERROR, [WK_POWER_BUSY] = WK_PLACE_BUSY,
    [WK_POWER_CRASHED] = WK_PLACE_CRASHED,   [WK_POWER_ASLEEP] = WK_PLACE_ASLEEP,
    [WK_POWER_STOPPING] = WK_PLACE_BUSY,
};

static const WkPlace places_of_ledger[] = {
    [WK_LEDGER_SAVING] = WK_PLACE_MIDWAY,    [WK_LEDGER_SEALED] = WK_PLACE_ON_DISK,
    [WK_LEDGER_RESTORING] = WK_PLACE_MIDWAY, [WK_LEDGER_SPENT] = WK_PLACE_MIDWAY,
    [WK_LEDGER_QUARANTINED] = WK_PLACE_HELD,
};

WkPlace
wk_lifecycle_place(const WkRecord *record, const WkLook *look, gboolean foreign_save)
{
    WkPlace place;

    if (record->state != WK_LEDGER_NONE)
        return places_of_ledger[record->state];
    place = places_of_power[look->power];
    if (look->job)
        return WK_PLACE_BUSY;
    if (place != WK_PLACE_OFF)
        return place;
    if (foreign_save)
        return WK_PLACE_FOREIGN;
    return record->stopped_by_fallback ? WK_PLACE_STOPPED : WK_PLACE_OFF;
}

WkAsk
wk_lifecycle_ask(WkAction action, WkTarget target)
{
    if (action == WK_ACTION_RESUME)
        return WK_ASK_RESUME;
    if (action == WK_ACTION_DISCARD)
        return WK_ASK_DISCARD;
    if (action == WK_ACTION_VERIFY)
        return WK_ASK_VERIFY;
    if (target == WK_TARGET_DISK)
        return WK_ASK_SUSPEND_DISK;
    return target == WK_TARGET_MEMORY ? WK_ASK_SUSPEND_MEMORY : WK_ASK_SUSPEND;
}

#define DO(verb)                                                                                   \
    {                                                                                              \
        WK_DO_##verb, 0, NULL, NULL                                                                \
    }

static const WkDecision do_already = DO(NOTHING);
static const WkDecision do_pause = DO(PAUSE);
static const WkDecision do_unpause = DO(UNPAUSE);
static const WkDecision do_save = DO(SAVE);
static const WkDecision do_restore = DO(RESTORE);
static const WkDecision do_discard = DO(DISCARD);
static const WkDecision do_verify = DO(VERIFY);
static const WkDecision do_start = DO(START);

static const WkDecision on_disk = {
    WK_DO_REFUSE, WK_ERROR_CONFLICT, "OnDisk",
    "it is suspended to disk; resume it first, then suspend it to memory"
};
static const WkDecision held = {
    WK_DO_REFUSE, WK_ERROR_CONFLICT, "ImageHeld",
    "its saved image is held because it is not safe to restore (see status); discard drops it"
};
static const WkDecision not_running = { WK_DO_REFUSE, WK_ERROR_CONFLICT, "NotRunning",
                                        "it is not running; start it first" };
static const WkDecision no_saved_state = {
    WK_DO_REFUSE, WK_ERROR_CONFLICT, "NoSavedState",
    "it is off and nothing of it is saved; start it with the usual tool (virsh start)"
};
static const WkDecision nothing_saved = { WK_DO_REFUSE, WK_ERROR_REFUSED, "NoSavedState",
                                          "nothing of it is saved on disk" };
static const WkDecision foreign = {
    WK_DO_REFUSE, WK_ERROR_CONFLICT, "ForeignSave",
    "it was saved by somebody else (virsh managedsave); start it, or remove that save, with virsh"
};
static const WkDecision io_error = {
    WK_DO_REFUSE, WK_ERROR_CONFLICT, "PausedByIOError",
    "it is paused by an I/O error of its disk; mend the storage, then virsh resume"
};
static const WkDecision crashed = {
    WK_DO_REFUSE, WK_ERROR_CONFLICT, "Crashed",
    "it crashed, and libvirt keeps what is left of it; virsh destroy ends it"
};
static const WkDecision asleep = {
    WK_DO_REFUSE, WK_ERROR_CONFLICT, "GuestAsleep",
    "the guest itself went to sleep (ACPI S3); virsh dompmwakeup wakes it"
};
static const WkDecision gone = { WK_DO_REFUSE, WK_ERROR_NOT_FOUND, "NoSuchGuest",
                                 "libvirt does not know it any more" };
static const WkDecision busy = {
    WK_DO_RETRY, WK_ERROR_UNAVAILABLE, "GuestBusy",
    "another job (migration, dump, save, start) has it in hand; it is tried again"
};
static const WkDecision midway = { WK_DO_RETRY, WK_ERROR_UNAVAILABLE, "Settling",
                                   "an earlier operation is being finished" };

/* place x ask; the column without a target is worked out from the two with one. */
static const WkDecision *const table[WK_PLACES][WK_ASKS] = {
    [WK_PLACE_RUNNING] = { NULL, &do_pause, &do_save, &do_already, &nothing_saved, &nothing_saved },
    [WK_PLACE_PAUSED] = { &do_already, &do_already, &do_save, &do_unpause, &nothing_saved,
                          &nothing_saved },
    [WK_PLACE_ON_DISK] = { &do_already, &on_disk, &do_already, &do_restore, &do_discard,
                           &do_verify },
    [WK_PLACE_HELD] = { &held, &held, &held, &held, &do_discard, &held },
    [WK_PLACE_OFF] = { NULL, &not_running, &not_running, &no_saved_state, &nothing_saved,
                       &nothing_saved },
    [WK_PLACE_STOPPED] = { NULL, &not_running, &not_running, &do_start, &nothing_saved,
                           &nothing_saved },
    [WK_PLACE_FOREIGN] = { &foreign, &foreign, &foreign, &foreign, &foreign, &foreign },
    [WK_PLACE_IO_ERROR] = { NULL, &io_error, &io_error, &io_error, &nothing_saved, &nothing_saved },
    [WK_PLACE_CRASHED] = { NULL, &crashed, &crashed, &crashed, &nothing_saved, &nothing_saved },
    [WK_PLACE_ASLEEP] = { NULL, &asleep, &asleep, &asleep, &nothing_saved, &nothing_saved },
    [WK_PLACE_BUSY] = { NULL, &busy, &busy, &busy, &busy, &busy },
    [WK_PLACE_GONE] = { NULL, &gone, &gone, &gone, &gone, &gone },
    [WK_PLACE_MIDWAY] = { NULL, &midway, &midway, &midway, &midway, &midway },
};

const WkDecision *
wk_lifecycle_decide(WkPlace place, WkAsk ask, WkTarget default_target)
{
    g_return_val_if_fail((int)place < WK_PLACES && (int)ask < WK_ASKS, &busy);

    if (table[place][ask] != NULL)
        return table[place][ask];
    return table[place]
                [default_target == WK_TARGET_DISK ? WK_ASK_SUSPEND_DISK : WK_ASK_SUSPEND_MEMORY];
}

void
wk_decision_set_error(const WkDecision *decision, const char *guest, GError **error)
{
    wk_error_set(error, decision->code, decision->reason, "guest '%s': %s", guest,
                 decision->message);
}
