/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * The words of the contract as enumerations. Their names are what the Wukong's status, the API
 * and the ledger hold. *_NONE is "": absent on the wire.
 */
typedef enum {
    WK_STATE_UNKNOWN,
    WK_STATE_RUNNING,
    WK_STATE_SUSPENDING,
    WK_STATE_SUSPENDED,
    WK_STATE_RESUMING,
    WK_STATE_STOPPED,
} WkState;

typedef enum {
    WK_TARGET_NONE,
    WK_TARGET_MEMORY,
    WK_TARGET_DISK,
} WkTarget;

typedef enum {
    WK_ACTION_NONE,
    WK_ACTION_SUSPEND,
    WK_ACTION_RESUME,
    WK_ACTION_DISCARD,
    WK_ACTION_VERIFY, /* reads a saved image through; never asked for by a Wukong */
} WkAction;
#define WK_ACTIONS 5

typedef enum {
    WK_FALLBACK_NONE,
    WK_FALLBACK_MEMORY,
    WK_FALLBACK_STOP,
} WkFallback;

typedef enum {
    WK_ORIGIN_NONE,
    WK_ORIGIN_SPEC,
    WK_ORIGIN_LOCAL,
    WK_ORIGIN_MAINTENANCE,
    WK_ORIGIN_PRESSURE,
    WK_ORIGIN_OUTSIDE,
} WkOrigin;

/* The six states of a guest in the ledger (docs/ledger.md). */
typedef enum {
    WK_LEDGER_NONE,
    WK_LEDGER_SAVING,
    WK_LEDGER_SEALED,
    WK_LEDGER_RESTORING,
    WK_LEDGER_SPENT,
    WK_LEDGER_QUARANTINED,
} WkLedgerState;
#define WK_LEDGER_STATES 6

/* What is to follow once an image is spent. */
typedef enum {
    WK_THEN_NONE,
    WK_THEN_RESUME, /* the CPUs may run: the guest was restored by us */
    WK_THEN_OFF,    /* only clean up: discarded, or started by somebody else */
} WkThen;

/* What is wanted of a guest's image, durably (ledger column `want`). */
typedef enum {
    WK_WANT_NONE,
    WK_WANT_SAVE,
    WK_WANT_RESUME,
    WK_WANT_DISCARD,
    WK_WANT_CANCEL,
} WkWant;

typedef enum {
    WK_OP_QUEUED,
    WK_OP_RUNNING,
    WK_OP_SUCCEEDED,
    WK_OP_FAILED,
    WK_OP_CANCELLED,
} WkOpState;

/* What a domain does, as far as this project tells cases apart (libvirt state and reason). */
typedef enum {
    WK_POWER_ABSENT, /* libvirt does not know it */
    WK_POWER_OFF,
    WK_POWER_RUNNING,
    WK_POWER_PAUSED,   /* by a user, or by us */
    WK_POWER_LOADED,   /* PAUSED/MIGRATION: restored, CPUs not yet run (measured: F1) */
    WK_POWER_STARTING, /* PAUSED/STARTING_UP: a start or a restore is on its way */
    WK_POWER_IO_ERROR, /* paused by an I/O error */
    WK_POWER_BUSY,     /* paused inside a migration, dump, snapshot or save by somebody */
    WK_POWER_CRASHED,  /* and its QEMU is kept; a crash that ended it is OFF */
    WK_POWER_ASLEEP,   /* suspended by the guest itself (ACPI S3) */
    WK_POWER_STOPPING, /* shutting down */
} WkPower;

/* Names; every function returns (transfer none), "?" for a value outside. */
const char *wk_state_name(WkState value);
const char *wk_target_name(WkTarget value);
const char *wk_action_name(WkAction value);
const char *wk_fallback_name(WkFallback value); /* "none", "memory", "stop" */
const char *wk_origin_name(WkOrigin value);
const char *wk_ledger_state_name(WkLedgerState value);
const char *wk_then_name(WkThen value);
const char *wk_want_name(WkWant value);
const char *wk_op_state_name(WkOpState value);
const char *wk_power_name(WkPower value);

/* Parsers; FALSE with WK_ERROR_INVALID that lists what is allowed. */
gboolean wk_state_parse(const char *name, WkState *value, GError **error);
gboolean wk_target_parse(const char *name, WkTarget *value, GError **error);
gboolean wk_action_parse(const char *name, WkAction *value, GError **error);
gboolean wk_fallback_parse(const char *name, WkFallback *value, GError **error);
gboolean wk_origin_parse(const char *name, WkOrigin *value, GError **error);
gboolean wk_ledger_state_parse(const char *name, WkLedgerState *value, GError **error);
gboolean wk_then_parse(const char *name, WkThen *value, GError **error);
gboolean wk_want_parse(const char *name, WkWant *value, GError **error);
gboolean wk_op_state_parse(const char *name, WkOpState *value, GError **error);

/* TRUE once an operation can no longer change. */
gboolean wk_op_state_is_final(WkOpState value);

/* TRUE when the domain has a live process. */
gboolean wk_power_is_active(WkPower value);

G_END_DECLS
