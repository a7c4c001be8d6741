/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/wukong.h"
#include "model/operation.h"
#include "model/view.h"

G_BEGIN_DECLS

/*
 * What the agent writes of a Wukong: status.lifecycleState, conditions, the mirror annotation and
 * the removal of an action that is done. Pure: from what is true (view, operation, ledger) to
 * bodies.
 */
typedef struct {
    const char *uid;     /* never NULL */
    const WkView *view;  /* NULL: its guest is not there: state Unknown, or Stopped, by @missing */
    const char *missing; /* reason, when there is no view: "NoSuchGuest", ... */
    const char *missing_message;
    const WkOperation *operation; /* in flight for it; NULL: none */
    const WkBinding *binding;     /* NULL: nothing was ever asked */
    gint64 generation;            /* of the object, for the conditions' observedGeneration */
} WkStatusInput;

typedef struct {
    char *state;    /* lifecycleState: members sorted, compact JSON */
    char *compared; /* the same without what changes too often to be a reason to write (progress) */
    struct {
        const char *status; /* "True", "False", "Unknown"; NULL: not to be there */
        char *reason;
        char *message;
    } conditions[WK_CONDITION_TYPES];
    gint64 generation;
    char *uid;
} WkStatus;

/* Returns: (transfer full). */
WkStatus *wk_status_make(const WkStatusInput *input);
void wk_status_free(WkStatus *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkStatus, wk_status_free)
gboolean wk_status_equal(const WkStatus *a, const WkStatus *b); /* NULLs are fine */

/* TRUE when @seen shows what @self says (conditions only when @with_conditions). */
gboolean wk_status_is_shown(const WkStatus *self, const WkWukong *seen, gboolean with_conditions);

/* (transfer full): body of a server-side apply on .../status. lastTransitionTime is @now unless
 * the condition's status is the one that @seen shows. The uid is in it, so that a new object of the
 * same name is a Conflict and not told of the old one's guest. */
char *wk_status_apply_body(const WkStatus *self, const WkWukong *seen, gint64 now_us,
                           gboolean with_conditions);

/* (transfer full): JSON patch on the object itself: the mirror annotation set to @self's state and,
 * when @owed is not NULL, spec.lifecycleAction tested to be exactly that and removed; the uid is
 * tested. Adds metadata.annotations when @seen has none. @mark: -1 leave, 0 remove, 1 set
 * WK_ANNOTATION_SUSPENDED. */
char *wk_status_patch_body(const WkStatus *self, const WkWukong *seen, const char *owed, int mark);

G_END_DECLS
