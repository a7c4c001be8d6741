/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/error.h"
#include "model/facts.h"
#include "model/operation.h"
#include "model/record.h"

G_BEGIN_DECLS

/*
 * What a request means for a guest as it is: one table over (where the guest is, what is asked).
 * Pure. The guest must have settled first (recovery table at rest).
 */
typedef enum {
    WK_PLACE_RUNNING,
    WK_PLACE_PAUSED,  /* in memory */
    WK_PLACE_ON_DISK, /* sealed */
    WK_PLACE_HELD,    /* quarantined */
    WK_PLACE_OFF,
    WK_PLACE_STOPPED, /* off, stopped by a fallback of ours */
    WK_PLACE_FOREIGN, /* off, with a managed save that is not ours */
    WK_PLACE_IO_ERROR,
    WK_PLACE_CRASHED, /* and its QEMU is kept */
    WK_PLACE_ASLEEP,  /* ACPI S3 */
    WK_PLACE_BUSY,    /* in the hands of somebody else: migration, dump, another's save */
    WK_PLACE_GONE,    /* no such domain, and no image of ours */
    WK_PLACE_MIDWAY,  /* saving, restoring or spent: recovery comes first */
} WkPlace;
#define WK_PLACES 13

typedef enum {
    WK_ASK_SUSPEND, /* no target given */
    WK_ASK_SUSPEND_MEMORY,
    WK_ASK_SUSPEND_DISK,
    WK_ASK_RESUME,
    WK_ASK_DISCARD,
    WK_ASK_VERIFY,
} WkAsk;
#define WK_ASKS 6

typedef enum {
    WK_DO_NOTHING, /* already so */
    WK_DO_PAUSE,
    WK_DO_UNPAUSE,
    WK_DO_SAVE,
    WK_DO_RESTORE,
    WK_DO_DISCARD,
    WK_DO_VERIFY,
    WK_DO_START,
    WK_DO_REFUSE, /* for good: see reason */
    WK_DO_RETRY,  /* passes by itself */
} WkDo;

typedef struct {
    WkDo what;
    WkErrorCode code;    /* REFUSE, RETRY */
    const char *reason;  /* REFUSE, RETRY: CamelCase */
    const char *message; /* what is so, and the next step; "%s" is not used */
} WkDecision;

/* @foreign_save: a managed save lies at M that is not ours. */
WkPlace wk_lifecycle_place(const WkRecord *record, const WkLook *look, gboolean foreign_save);

/* The omitted target is @default_target, but any suspended place satisfies it. */
WkAsk wk_lifecycle_ask(WkAction action, WkTarget target);

/* Returns: (transfer none): never NULL; total over its inputs. */
const WkDecision *wk_lifecycle_decide(WkPlace place, WkAsk ask, WkTarget default_target);

/* Sets @error from a decision that refuses; names the guest. */
void wk_decision_set_error(const WkDecision *decision, const char *guest, GError **error);

G_END_DECLS
