/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/types.h"

#include "base/names.h"

static const char *const state_names[] = { "Unknown",   "Running",  "Suspending",
                                           "Suspended", "Resuming", "Stopped" };
static const char *const target_names[] = { "", "memory", "disk" };
static const char *const action_names[] = { "", "suspend", "resume", "discard", "verify" };
static const char *const fallback_names[] = { "none", "memory", "stop" };
static const char *const origin_names[] = { "",         "spec",   "local", "maintenance",
                                            "pressure", "outside" };
static const char *const ledger_names[] = { "none",      "saving", "sealed",
                                            "restoring", "spent",  "quarantined" };
static const char *const then_names[] = { "none", "resume", "off" };
static const char *const want_names[] = { "none", "save", "resume", "discard", "cancel" };
static const char *const op_names[] = { "queued", "running", "succeeded", "failed", "cancelled" };
static const char *const power_names[] = {
    "absent", "off",     "running", "paused",       "loaded", "starting", "paused on an I/O error",
    "busy",   "crashed", "asleep",  "shutting down"
};

#define DEFINE_NAME(function, Type, table)                                                         \
    const char *function##_name(Type value)                                                        \
    {                                                                                              \
        return wk_name_of(table, G_N_ELEMENTS(table), (int)value);                                 \
    }

#define DEFINE_PARSE(function, Type, table, what)                                                  \
    gboolean function##_parse(const char *name, Type *value, GError **error)                       \
    {                                                                                              \
        int number;                                                                                \
                                                                                                   \
        if (!wk_name_parse(table, G_N_ELEMENTS(table), what, name, &number, error))                \
            return FALSE;                                                                          \
        *value = (Type)number;                                                                     \
        return TRUE;                                                                               \
    }

DEFINE_NAME(wk_state, WkState, state_names)
DEFINE_NAME(wk_target, WkTarget, target_names)
DEFINE_NAME(wk_action, WkAction, action_names)
DEFINE_NAME(wk_fallback, WkFallback, fallback_names)
DEFINE_NAME(wk_origin, WkOrigin, origin_names)
DEFINE_NAME(wk_ledger_state, WkLedgerState, ledger_names)
DEFINE_NAME(wk_then, WkThen, then_names)
DEFINE_NAME(wk_want, WkWant, want_names)
DEFINE_NAME(wk_op_state, WkOpState, op_names)
DEFINE_NAME(wk_power, WkPower, power_names)

DEFINE_PARSE(wk_state, WkState, state_names, "state")
DEFINE_PARSE(wk_target, WkTarget, target_names, "target")
DEFINE_PARSE(wk_action, WkAction, action_names, "action")
DEFINE_PARSE(wk_fallback, WkFallback, fallback_names, "fallback")
DEFINE_PARSE(wk_origin, WkOrigin, origin_names, "origin")
DEFINE_PARSE(wk_ledger_state, WkLedgerState, ledger_names, "ledger state")
DEFINE_PARSE(wk_then, WkThen, then_names, "'then'")
DEFINE_PARSE(wk_want, WkWant, want_names, "'want'")
DEFINE_PARSE(wk_op_state, WkOpState, op_names, "operation state")

gboolean
wk_op_state_is_final(WkOpState value)
{
    return value >= WK_OP_SUCCEEDED;
}

gboolean
wk_power_is_active(WkPower value)
{
    return value > WK_POWER_OFF;
}
