/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

#include "model/intent.h"

G_BEGIN_DECLS

/*
 * The Wukong resource (vm.novasphere.dev/v1alpha1) as far as the agent reads it. Made from whatever
 * the API server sends: nothing in it is trusted to have a type or a size. What is not as it should
 * be is as if it were not there, except:
 *  - metadata.name, namespace and uid, without which it is no Wukong (they get into paths);
 *  - the name of a guest: then no guest is meant (a name that no domain can have), never another;
 *  - spec.lifecycleAction: a wrong value or type is intent.error, which names the member, what may
 *    stand there and what does. Members that are not known are left to newer agents; null is
 *    absent. "target" is refused with resume and discard, "fallback" too unless it is "none" (a
 *    schema may fill that in). A fallback with target memory is taken and has no effect, as in the
 *    API: whether an omitted target means memory is the node's to say, so it can't be an error
 *    here. A null inside a list is refused: testing for it makes the API server's handler of JSON
 *    patches panic (seen with 1.36.3), so such an action could never be removed.
 */
#define WK_WUKONG_PATH          "/apis/vm.novasphere.dev/v1alpha1"
#define WK_ANNOTATION_DOMAIN    "wukong.novasphere.dev/domain"
#define WK_ANNOTATION_STATE     "wukong.novasphere.dev/lifecycle-state"
#define WK_ANNOTATION_SUSPENDED "wukong.novasphere.dev/suspended"
#define WK_ANNOTATION_SAVED_ON  "wukong.novasphere.dev/saved-on"

/* One condition of ours as it stands in the object. */
typedef struct {
    char *status; /* "True", "False", "Unknown"; NULL: not there */
    char *reason;
    char *message;
    char *last_transition;
    gint64 observed_generation;
} WkSeenCondition;

typedef enum {
    WK_CONDITION_SUSPENDED,
    WK_CONDITION_RESTORABLE,
    WK_CONDITION_SUCCEEDED, /* LifecycleActionSucceeded */
} WkConditionType;
#define WK_CONDITION_TYPES 3

typedef struct {
    char *ns;
    char *name;
    char *uid;
    gint64 generation;
    char *resource_version; /* opaque; NULL: none */
    char *created;          /* creationTimestamp as sent: sorts as text; never NULL */
    gboolean deleting;

    char *vm_name;   /* status.vmName; NULL: none */
    char *node_name; /* status.nodeName; NULL: none */
    char *domain;    /* annotation; NULL: none. Honoured only where the configuration says so */

    WkIntent intent;

    int priority;             /* spec.suspendPolicy */
    char *pressure;           /* "never", "memory", "disk"; never NULL */
    char *on_restore_failure; /* "Hold", "ColdBoot"; never NULL */

    /* What is published now, to see whether it is (still) what we want it to be. */
    char *seen_state;          /* status.lifecycleState, canonical (kube/canonical.h), only the
                                  members that are ours to write; NULL: none */
    char *seen_mirror;         /* the annotation; NULL: none */
    char *mirrored_request_id; /* lastRequestId out of the annotation; NULL: none */
    gboolean marked_suspended; /* WK_ANNOTATION_SUSPENDED is "true" */
    char *saved_on;            /* WK_ANNOTATION_SAVED_ON; NULL: none */
    gboolean has_annotations;  /* there is a metadata.annotations */
    WkSeenCondition conditions[WK_CONDITION_TYPES];
} WkWukong;

/* Returns: (transfer full), or NULL with WK_ERROR_INVALID for what is no Wukong at all (no uid, no
 * name). A wrong lifecycleAction is no error here, but intent.error. */
WkWukong *wk_wukong_parse(JsonObject *object, GError **error);
WkWukong *wk_wukong_copy(const WkWukong *self); /* (transfer full) */
void wk_wukong_free(WkWukong *self);            /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkWukong, wk_wukong_free)

/* Of any object: its uid, (transfer none), NULL: none. */
const char *wk_wukong_peek_uid(JsonObject *object);
/* Of any object: status.nodeName, (transfer none), NULL: none. To filter before parsing. */
const char *wk_wukong_peek_node(JsonObject *object);

/* (transfer full): the name of its guest by KubeVirt's rule: "<ns>_<status.vmName or NAME-vm>". */
char *wk_wukong_domain_name(const WkWukong *self);

G_END_DECLS
