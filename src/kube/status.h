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
    const char *missing; /* reason, when there is no view: "NoSuchGuest", ...; "NotRunning" is the
                            only one that makes it Stopped */
    const char *missing_message;
    const WkOperation *operation; /* in flight for it; NULL: none */
    const WkBinding *binding;     /* NULL: nothing was ever asked */
    gint64 generation;            /* of the object, while an action of its spec is under way */
    const char *node;             /* this node; NULL: WK_ANNOTATION_SAVED_ON is left alone */
    gboolean saved_here;          /* an image of its guest lies on @node */
} WkStatusInput;

typedef struct {
    char *state;    /* lifecycleState, canonical (kube/canonical.h) */
    char *compared; /* the same without what changes too often to be a reason to write (progress) */
    struct {
        const char *status; /* "True", "False", "Unknown"; NULL: not to be there */
        char *reason;
        char *message;
    } conditions[WK_CONDITION_TYPES];
    gint64 generation; /* observedGeneration of LifecycleActionSucceeded; 0: none */
    char *uid;
    char *node;          /* as in the input */
    gboolean saved_here; /* the annotation WK_ANNOTATION_SAVED_ON is to name @node */
} WkStatus;

/*
 * Returns: (transfer full). The tables are in docs/states.md.
 * Suspended and Restorable have no observedGeneration: they tell of the guest, whatever the spec
 * says. With one, `kubectl wait` would wait in vain once our own removal of the action has made a
 * new generation. LifecycleActionSucceeded has that of the action it tells of.
 * lastRequestId is only there when the action was done: elsewhere it is believed for that.
 */
WkStatus *wk_status_make(const WkStatusInput *input);
void wk_status_free(WkStatus *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkStatus, wk_status_free)
gboolean wk_status_equal(const WkStatus *a, const WkStatus *b); /* NULLs are fine */

/* TRUE when @seen's status shows all that @self says, progress too (conditions only when
 * @with_conditions). The mirror is another matter: @seen->seen_mirror against @self->state. */
gboolean wk_status_is_shown(const WkStatus *self, const WkWukong *seen, gboolean with_conditions);

/* TRUE when the annotation that says on which node the image lies needs no change. It is what the
 * admission policy goes by once status.nodeName names another node; that one's is not touched. */
gboolean wk_status_is_place_shown(const WkStatus *self, const WkWukong *seen);

/* (transfer full): body of a server-side apply on .../status. lastTransitionTime is @now unless
 * the condition's status is the one that @seen shows. @seen's resourceVersion is in it, so that a
 * new object of the same name is a Conflict ("the object has been modified") and not told of the
 * old one's guest: the uid, which is in it too, is not looked at on the status of a custom resource
 * (seen with 1.36.3). @seen is to be the newest that is known, the last write's answer included.
 * The content type is application/apply-patch+yaml: what YAML can't hold is not in it. */
char *wk_status_apply_body(const WkStatus *self, const WkWukong *seen, gint64 now_us,
                           gboolean with_conditions);

/* (transfer full): JSON patch on the object itself: the mirror annotation set to @self's state,
 * that of the image's node where it is not right, and, when @owed is not NULL, spec.lifecycleAction
 * tested to be exactly that and removed; the uid is tested. A test that fails is a 422 "Invalid"
 * that does not say which. Adds metadata.annotations when @seen has none (tested). @mark: -1 leave,
 * 0 remove, 1 set WK_ANNOTATION_SUSPENDED. */
char *wk_status_patch_body(const WkStatus *self, const WkWukong *seen, const char *owed, int mark);

G_END_DECLS
