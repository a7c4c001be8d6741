/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/operation.h"

G_BEGIN_DECLS

/*
 * What a Wukong asks for and what became of it: everything by which the agent decides whether an
 * action is still to be done (I5). Pure data.
 */

/* spec.lifecycleAction. */
typedef struct {
    gboolean present;
    WkAction action;
    WkTarget target;     /* WK_TARGET_NONE: omitted */
    WkFallback fallback; /* WK_FALLBACK_NONE when omitted */
    guint timeout_s;     /* 0: omitted */
    char *request_id;    /* NULL: none */
    char *raw;           /* the object as compact JSON, to test against when it is removed */
    GError *error;       /* it can't be understood: a final error; else only present is set then */
} WkIntent;

void wk_intent_clear(WkIntent *self);

/* What the ledger knows of a Wukong; its row outlives the agent, key: uid. */
typedef struct {
    char *uid;
    char *ns; /* namespace */
    char *name;
    char *source; /* of its guest; NULL: none was ever found */
    char *guest;  /* the domain's UUID; NULL: as above */

    /* The last generation whose lifecycleAction was dealt with, and how that ended. */
    gint64 observed_generation; /* 0: none */
    char *last_request_id;      /* NULL: none */
    WkAction action;            /* WK_ACTION_NONE: it could not be understood, or none yet */
    WkOpState result;           /* succeeded, failed or cancelled; WK_OP_QUEUED: none yet */
    char *reason;               /* NULL: none */
    char *message;              /* NULL: none */
    gint64 ended_at_us;
    char *owed; /* raw spec.lifecycleAction that is done and still to be removed; NULL: none */

    gint64 deleted_at_us; /* the Wukong is gone since; 0: not */
} WkBinding;

/* Returns: (transfer full). Strings are copied. */
WkBinding *wk_binding_new(const char *uid, const char *ns, const char *name);
WkBinding *wk_binding_copy(const WkBinding *self);
void wk_binding_free(WkBinding *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkBinding, wk_binding_free)

/* Takes over how @operation, which has ended, did: unless a newer generation was dealt with since.
 * Returns: TRUE when it was taken over. */
gboolean wk_binding_note(WkBinding *self, const WkOperation *operation);

typedef enum {
    WK_INTENT_NOTHING, /* no action is asked for */
    WK_INTENT_DO,      /* to be done now */
    WK_INTENT_DONE,    /* dealt with, and to be taken out of the spec */
    WK_INTENT_FAILED,  /* dealt with in vain: stays in the spec until that changes */
    WK_INTENT_WRONG,   /* can't be understood, not yet said so: a final error */
} WkIntentVerdict;

/*
 * Whether @intent of generation @generation is to be done, by what the ledger knows (@binding,
 * NULL: nothing) and @mirrored_request_id (from the annotation, believed only without a row). Pure.
 * The rules, in this order (contract, section 1):
 *  - no action: NOTHING;
 *  - a requestId that is known as done, whatever the generation: DONE. One whose action failed or
 *    was cancelled is not;
 *  - the generation that was dealt with: DONE when it succeeded, else FAILED. Any other, a lower one
 *    too (restored from a backup), is a new one;
 *  - exactly the text that is still owed its removal: DONE (only the rest of the spec changed);
 *  - not understood: WRONG; else DO.
 */
WkIntentVerdict wk_intent_judge(const WkIntent *intent, gint64 generation, const WkBinding *binding,
                                const char *mirrored_request_id);

G_END_DECLS
