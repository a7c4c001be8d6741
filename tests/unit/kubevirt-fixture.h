/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube-fixture.h"
#include "kube/kubevirt_request.h"

/* Each thing that can be asked of KubeVirt, once, of the scripted server. Functions fail the
 * running test by themselves. */
#define VMI_PATH "/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstances/web-vm"
#define VM_PATH  "/apis/kubevirt.io/v1/namespaces/shop/virtualmachines/web-vm"
#define SUB_PATH "/apis/subresources.kubevirt.io/v1/namespaces/shop/"
#define WK_PATH  "/apis/vm.novasphere.dev/v1alpha1/namespaces/shop/wukongs/web"
#define POD_PATH "/api/v1/namespaces/shop/pods?labelSelector=kubevirt.io%2Fcreated-by%3Du-1"
#define PVC_PATH "/api/v1/namespaces/shop/persistentvolumeclaims/web-root"
#define LOCK     "wukong.novasphere.dev/saved-state"
#define VMI_OF(uid, more)                                                                          \
    "{\"metadata\":{\"name\":\"web-vm\",\"namespace\":\"shop\",\"uid\":\"" uid "\"" more "}}"
#define SELECTOR   "\"nodeSelector\":{\"kubernetes.io/hostname\":\"node-1\"}"
#define PINNED     VMI_OF("w-1", "},\"spec\":{\"highAvailability\":{" SELECTOR "}")
#define LOCKED     ",\"finalizers\":[\"a\",\"" LOCK "\"]"
#define TEST_UID   "{\"op\":\"test\",\"path\":\"/metadata/uid\",\"value\":\"u-1\"}"
#define JSON       "application/json"
#define JSON_PATCH "application/json-patch+json"
#define MERGE      "application/merge-patch+json"

/* kube-apiserver, when a test in a patch did not hold. */
#define OUR_ERROR "the server rejected our request due to an error in our request"

typedef struct {
    gboolean done;
    gboolean fine;
    gpointer object; /* the verb's own */
    GError *error;
    const struct AskVerb *verb;
} AskResult;

typedef struct AskVerb {
    const char *label;
    void (*ask)(WkKube *kube, GCancellable *cancellable, GAsyncReadyCallback done, gpointer data);
    gpointer (*object)(WkKube *kube, GAsyncResult *result, GError **error); /* NULL: yes or no */
    GDestroyNotify destroy;
    const char *method;
    const char *path;
    const char *type; /* NULL: no body */
    const char *body;
    const char *good; /* an answer that is fine */
} AskVerb;

/* Of ask_verbs. */
enum {
    PAUSE,
    UNPAUSE,
    START,
    LOCK_IT,
    AUTOSTART,
    MARK,
    UNMARK,
    GET_VMI,
    GET_VM,
    PODS,
    KNOWN_PODS,
    CLAIM,
    GET_PIN,
    PIN,
    UNPIN,
    VERBS,
    UNLOCK = VERBS, /* two requests: by itself */
};

extern const AskVerb ask_verbs[];

void ask_result_clear(AskResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(AskResult, ask_result_clear)

/* (transfer full): a VMI with one finalizer of KubeVirt's. */
WkVmi *ask_make_vmi(void);
/* Asks, with an empty @result; @cancellable may be NULL. */
void
ask_begin(KubeFixture *self, AskResult *result, const AskVerb *verb, GCancellable *cancellable);
/* For what is asked without a verb: its callback. */
void ask_on_done(GObject *source, GAsyncResult *res, gpointer data);
FakeCall *ask_next_call(KubeFixture *self, const char *method, const char *path);
void ask_finish(AskResult *result);
void ask_assert_failed(const AskResult *result, WkErrorCode code, const char *reason);
