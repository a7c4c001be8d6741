/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-fixture.h"
#include "kube/kubevirt_request.h"

#define VMI_PATH "/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstances/web-vm"
#define VM_PATH  "/apis/kubevirt.io/v1/namespaces/shop/virtualmachines/web-vm"
#define SUB_PATH "/apis/subresources.kubevirt.io/v1/namespaces/shop/"
#define WK_PATH  "/apis/vm.novasphere.dev/v1alpha1/namespaces/shop/wukongs/web"
#define POD_PATH "/api/v1/namespaces/shop/pods?labelSelector=kubevirt.io%2Fcreated-by%3Du-1"
#define PVC_PATH "/api/v1/namespaces/shop/persistentvolumeclaims/web-root"
#define LOCK     "wukong.novasphere.dev/saved-state"

/* ---- one question ---- */

typedef struct {
    gboolean done;
    gboolean fine;
    gpointer object; /* the verb's own */
    GError *error;
    const struct Verb *verb;
} Result;

typedef struct Verb {
    const char *label;
    void (*ask)(WkKube *kube, GCancellable *cancellable, GAsyncReadyCallback done, gpointer data);
    gpointer (*object)(WkKube *kube, GAsyncResult *result, GError **error); /* NULL: yes or no */
    GDestroyNotify destroy;
    const char *method;
    const char *path;
    const char *type; /* NULL: no body */
    const char *body;
    const char *good; /* an answer that is fine */
} Verb;

static void
result_clear(Result *result)
{
    if (result->object != NULL)
        result->verb->destroy(result->object);
    result->object = NULL;
    g_clear_error(&result->error);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Result, result_clear)

static void
on_done(GObject *source G_GNUC_UNUSED, GAsyncResult *res, gpointer data)
{
    Result *result = data;

    assert_false(result->done);
    if (result->verb->object != NULL) {
        result->object = result->verb->object(NULL, res, &result->error);
        result->fine = result->object != NULL;
    } else {
        result->fine = wk_kubevirt_done_finish(NULL, res, &result->error);
    }
    assert_int_equal(result->fine, result->error == NULL);
    result->done = TRUE;
}

/* A VMI with one finalizer of KubeVirt's. */
static WkVmi *
make_vmi(void)
{
    WkVmi *vmi = wk_vmi_new();

    vmi->ns = g_strdup("shop");
    vmi->name = g_strdup("web-vm");
    vmi->uid = g_strdup("u-1");
    vmi->resource_version = g_strdup("47");
    vmi->finalizers = 1;
    return vmi;
}

static void
ask_lock(WkKube *kube, GCancellable *cancellable, GAsyncReadyCallback done, gpointer data)
{
    g_autoptr(WkVmi) vmi = make_vmi();

    wk_kubevirt_lock(kube, vmi, cancellable, done, data);
}

#define ASK(name, call)                                                                            \
    static void ask_##name(WkKube *kube, GCancellable *cancellable, GAsyncReadyCallback done,      \
                           gpointer data)                                                          \
    {                                                                                              \
        call;                                                                                      \
    }
ASK(pause, wk_kubevirt_pause(kube, "shop", "web-vm", cancellable, done, data))
ASK(unpause, wk_kubevirt_unpause(kube, "shop", "web-vm", cancellable, done, data))
ASK(start, wk_kubevirt_start(kube, "shop", "web-vm", cancellable, done, data))
ASK(unlock, wk_kubevirt_unlock(kube, "shop", "web-vm", "u-1", cancellable, done, data))
ASK(autostart,
    wk_kubevirt_set_autostart(kube, "shop", "web", "w-1", FALSE, cancellable, done, data))
ASK(mark, wk_kubevirt_mark_suspended(kube, "shop", "web-vm", "u-2", TRUE, cancellable, done, data))
ASK(unmark,
    wk_kubevirt_mark_suspended(kube, "shop", "web-vm", "u-2", FALSE, cancellable, done, data))
ASK(vmi, wk_kubevirt_get_fresh_vmi(kube, "shop", "web-vm", cancellable, done, data))
ASK(vm, wk_kubevirt_get_fresh_vm(kube, "shop", "web-vm", cancellable, done, data))
ASK(pods, wk_kubevirt_list_pods(kube, "shop", "u-1", cancellable, done, data))
ASK(claim, wk_kubevirt_get_claim(kube, "shop", "web-root", cancellable, done, data))

#define OBJECT(name, finish, free)                                                                 \
    static gpointer finish_##name(WkKube *kube, GAsyncResult *result, GError **error)              \
    {                                                                                              \
        return finish(kube, result, error);                                                        \
    }                                                                                              \
    static void free_##name(gpointer data)                                                         \
    {                                                                                              \
        free(data);                                                                                \
    }
OBJECT(lock, wk_kubevirt_lock_finish, wk_vmi_free)
OBJECT(vmi, wk_kubevirt_get_fresh_vmi_finish, wk_vmi_free)
OBJECT(vm, wk_kubevirt_get_fresh_vm_finish, wk_vm_free)
OBJECT(pods, wk_kubevirt_list_pods_finish, g_ptr_array_unref)
OBJECT(claim, wk_kubevirt_get_claim_finish, wk_claim_free)

#define VMI_OF(uid, more)                                                                          \
    "{\"metadata\":{\"name\":\"web-vm\",\"namespace\":\"shop\",\"uid\":\"" uid "\"" more "}}"
#define LOCKED     ",\"finalizers\":[\"a\",\"" LOCK "\"]"
#define TEST_UID   "{\"op\":\"test\",\"path\":\"/metadata/uid\",\"value\":\"u-1\"}"
#define JSON       "application/json"
#define JSON_PATCH "application/json-patch+json"
#define MERGE      "application/merge-patch+json"

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
    CLAIM,
    VERBS,
    UNLOCK = VERBS, /* two requests: by itself */
};

static const Verb verbs[] = {
    [PAUSE] = { "pause", ask_pause, NULL, NULL, "PUT",
                SUB_PATH "virtualmachineinstances/web-vm/pause", JSON, "{}", "" },
    [UNPAUSE] = { "unpause", ask_unpause, NULL, NULL, "PUT",
                  SUB_PATH "virtualmachineinstances/web-vm/unpause", JSON, "{}", "" },
    [START] = { "start", ask_start, NULL, NULL, "PUT", SUB_PATH "virtualmachines/web-vm/start",
                JSON, "{}", "" },
    [LOCK_IT] = { "lock", ask_lock, finish_lock, free_lock, "PATCH", VMI_PATH, JSON_PATCH,
                  "[" TEST_UID ",{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":"
                  "\"47\"},{\"op\":\"add\",\"path\":\"/metadata/finalizers/-\",\"value\":\"" LOCK
                  "\"}]",
                  VMI_OF("u-1", LOCKED) },
    [AUTOSTART] = { "autostart", ask_autostart, NULL, NULL, "PATCH", WK_PATH, MERGE,
                    "{\"metadata\":{\"uid\":\"w-1\"},\"spec\":{\"startStrategy\":{\"autoStart\":"
                    "false}}}",
                    "{\"spec\":{\"startStrategy\":{\"autoStart\":false}}}" },
    [MARK] = { "mark", ask_mark, NULL, NULL, "PATCH", VM_PATH, MERGE,
               "{\"metadata\":{\"uid\":\"u-2\",\"annotations\":{\"wukong.novasphere.dev/suspended\""
               ":\"true\"}}}",
               "{}" },
    [UNMARK] = { "unmark", ask_unmark, NULL, NULL, "PATCH", VM_PATH, MERGE,
                 "{\"metadata\":{\"uid\":\"u-2\",\"annotations\":{\"wukong.novasphere.dev/"
                 "suspended\":null}}}",
                 "{}" },
    [GET_VMI] = { "get VMI", ask_vmi, finish_vmi, free_vmi, "GET", VMI_PATH, NULL, "",
                  VMI_OF("u-1", "") },
    [GET_VM] = { "get VM", ask_vm, finish_vm, free_vm, "GET", VM_PATH, NULL, "",
                 VMI_OF("u-2", "") },
    [PODS] = { "pods", ask_pods, finish_pods, free_pods, "GET", POD_PATH, NULL, "",
               "{\"items\":[" VMI_OF("p-1", "") "]}" },
    [CLAIM] = { "claim", ask_claim, finish_claim, free_claim, "GET", PVC_PATH, NULL, "",
                VMI_OF("c-1", "") },
    [UNLOCK] = { "unlock", ask_unlock, NULL, NULL, "GET", VMI_PATH, NULL, "", "" },
};

static void
begin(KubeFixture *self, Result *result, const Verb *verb, GCancellable *cancellable)
{
    result->verb = verb;
    verb->ask(self->kube, cancellable, on_done, result);
}

static FakeCall *
next_call(KubeFixture *self, const char *method, const char *path)
{
    g_autofree char *prefix = g_strdup_printf("%s %s", method, path);

    return fake_apiserver_wait(self->api, prefix);
}

static gboolean
is_done(gpointer data)
{
    return ((Result *)data)->done;
}

static void
finish(Result *result)
{
    fake_wait_until(is_done, result, result->verb->label);
}

static void
assert_failed(const Result *result, WkErrorCode code, const char *reason)
{
    if (result->error == NULL)
        fail_msg("%s: fine, '%s' was expected", result->verb->label, reason);
    if (!g_error_matches(result->error, WK_ERROR, (int)code)
        || g_strcmp0(wk_error_get_reason(result->error), reason) != 0)
        fail_msg("%s: code %d '%s' was expected, got %d '%s': %s", result->verb->label, (int)code,
                 reason, result->error->code, wk_error_get_reason(result->error),
                 result->error->message);
}

/* ---- what is asked, and what is fine ---- */

static void
test_good(void **state)
{
    KubeFixture *self = *state;

    for (gsize i = 0; i < VERBS; i++) {
        g_auto(Result) result = { 0 };
        g_autofree char *type = NULL;
        FakeCall *call;

        begin(self, &result, &verbs[i], NULL);
        call = next_call(self, verbs[i].method, verbs[i].path);
        type = fake_call_get_header(call, "Content-Type");
        assert_string_equal(fake_call_get_path(call), verbs[i].path);
        assert_string_equal(fake_call_get_body(call), verbs[i].body);
        assert_int_equal(g_strcmp0(type, verbs[i].type), 0);
        fake_call_answer(call, *verbs[i].good != '\0' ? 200 : 202, NULL, verbs[i].good);
        finish(&result);
        if (!result.fine)
            fail_msg("%s: %s", verbs[i].label, result.error->message);
    }
}

/* ---- what is not ---- */

typedef struct {
    int verb;
    guint status;
    const char *reason;
    const char *message;
    int code; /* -1: it is fine */
    const char *meaning;
} Refusal;

/* Of each of them. */
static const Refusal usual[] = {
    { 0, 400, "BadRequest", "what?", WK_ERROR_INVALID, "BadRequest" },
    { 0, 401, "Unauthorized", "who?", WK_ERROR_DENIED, "Unauthorized" },
    { 0, 403, "Forbidden", "User cannot do that", WK_ERROR_DENIED, "Forbidden" },
    { 0, 404, "NotFound", "not found", WK_ERROR_NOT_FOUND, "NotFound" },
    { 0, 409, "Conflict", "somebody was faster", WK_ERROR_CONFLICT, "Conflict" },
    { 0, 422, "Invalid", "spec.x is wrong", WK_ERROR_INVALID, "Invalid" },
    { 0, 500, "InternalError", "oops", WK_ERROR_UNAVAILABLE, "InternalError" },
    { 0, 503, "ServiceUnavailable", "later", WK_ERROR_UNAVAILABLE, "ServiceUnavailable" },
    { 0, 504, "Timeout", "too slow", WK_ERROR_UNAVAILABLE, "Timeout" },
};

/* Words as virt-api and kube-apiserver have them. */
#define ON_VMI     "Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io \"web-vm\": "
#define OUR_ERROR  "the server rejected our request due to an error in our request"
#define MIGRATING  "Cannot pause VM 'web-vm' because it is currently being migrated"
#define NO_LIVE    "Pausing VMIs with LivenessProbe is currently not supported"
#define UID_FIXED  "metadata.uid: Invalid value: \"w-1\": field is immutable"
#define NO_ADD     "metadata.finalizers: Forbidden: no new finalizers can be added if the object is "
#define NO_MANUAL  "Always does not support manual start requests"
#define VMI_FORBID "virtualmachineinstance.kubevirt.io \"web-vm\" is forbidden: "

static const Refusal special[] = {
    { PAUSE, 409, "Conflict", ON_VMI "VMI is already paused", -1, NULL },
    { PAUSE, 409, "Conflict", ON_VMI "VM is not running", WK_ERROR_CONFLICT, "NotRunning" },
    { PAUSE, 409, "Conflict", ON_VMI MIGRATING, WK_ERROR_CONFLICT, "MigrationInProgress" },
    { PAUSE, 403, "Forbidden", VMI_FORBID NO_LIVE, WK_ERROR_REFUSED, "LivenessProbe" },
    { UNPAUSE, 409, "Conflict", ON_VMI "VMI is not paused", WK_ERROR_CONFLICT, "NotPaused" },
    { UNPAUSE, 409, "Conflict", ON_VMI "VMI is not running", WK_ERROR_CONFLICT, "NotRunning" },
    { UNPAUSE, 409, "Conflict", "VM snapshot is in progress", WK_ERROR_UNAVAILABLE,
      "SnapshotInProgress" },
    { UNPAUSE, 409, "Conflict", ON_VMI "VMI is already paused", WK_ERROR_CONFLICT, "Conflict" },
    { START, 409, "Conflict", "VM is already running", WK_ERROR_CONFLICT, "Conflict" },
    { START, 409, "Conflict", NO_MANUAL, WK_ERROR_CONFLICT, "Conflict" },
    { LOCK_IT, 422, "Invalid", OUR_ERROR, WK_ERROR_CONFLICT, "Conflict" },
    { LOCK_IT, 422, "Invalid", NO_ADD "being deleted", WK_ERROR_CONFLICT, "GuestDeleting" },
    { LOCK_IT, 422, "Invalid", UID_FIXED, WK_ERROR_CONFLICT, "Replaced" },
    { LOCK_IT, 403, "Forbidden", "wukongd of node b may not", WK_ERROR_DENIED, "Forbidden" },
    { AUTOSTART, 422, "Invalid", UID_FIXED, WK_ERROR_CONFLICT, "Replaced" },
    { AUTOSTART, 409, "Conflict", "Precondition failed: UID in precondition: a, UID in object: b",
      WK_ERROR_CONFLICT, "Replaced" },
    { MARK, 409, "Conflict", "uid mismatch: the provided object specified uid w-1",
      WK_ERROR_CONFLICT, "Replaced" },
    { UNMARK, 404, "NotFound", "not found", -1, NULL },
};

static const Refusal *
find_special(int verb, const Refusal *row)
{
    for (gsize i = 0; i < G_N_ELEMENTS(special); i++) {
        if (special[i].verb == verb && special[i].status == row->status
            && g_str_equal(special[i].message, row->message))
            return &special[i];
    }
    return NULL;
}

static void
refuse(KubeFixture *self, int verb, const Refusal *row)
{
    g_auto(Result) result = { 0 };
    g_autofree char *prefix = g_strdup_printf("%s %s", verbs[verb].method, verbs[verb].path);
    g_autoptr(JsonNode) message = json_node_init_string(json_node_alloc(), row->message);
    g_autofree char *message_text = json_to_string(message, FALSE);
    g_autofree char *text = NULL;
    FakeAnswer often = { .status = row->status, .times = G_MAXUINT }; /* a 401 comes twice */

    text = g_strdup_printf("{\"kind\":\"Status\",\"reason\":\"%s\",\"message\":%s}", row->reason,
                           message_text);
    often.body = text;
    fake_apiserver_clear_scripts(self->api);
    fake_apiserver_script(self->api, prefix, &often);
    begin(self, &result, &verbs[verb], NULL);
    finish(&result);
    if (row->code >= 0)
        assert_failed(&result, (WkErrorCode)row->code, row->meaning);
    else if (!result.fine)
        fail_msg("%s: %s", verbs[verb].label, result.error->message);
}

static void
test_refused(void **state)
{
    for (int verb = 0; verb <= UNLOCK; verb++) {
        for (gsize i = 0; i < G_N_ELEMENTS(usual); i++) {
            Refusal row = usual[i];

            if (find_special(verb, &row) != NULL || (verb == UNLOCK && row.status == 404))
                continue;
            refuse(*state, verb, &row);
        }
    }
    for (gsize i = 0; i < G_N_ELEMENTS(special); i++)
        refuse(*state, special[i].verb, &special[i]);
}

/* No answer, or one that is none. */
static void
test_broken_answers(void **state)
{
    KubeFixture *self = *state;
    static const struct {
        FakeAnswer answer;
        int code;
    } rows[] = {
        { { .deed = FAKE_CUT, .body = "{\"a\":\"bcdefgh\"}" }, WK_ERROR_UNAVAILABLE },
        { { .body = "<html>" }, WK_ERROR_FAILED },
        { { .body = "[]" }, WK_ERROR_FAILED },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (int verb = 0; verb <= UNLOCK; verb++) {
            g_auto(Result) result = { 0 };

            fake_apiserver_clear_scripts(self->api);
            fake_apiserver_script(self->api, verbs[verb].method, &rows[i].answer);
            begin(self, &result, &verbs[verb], NULL);
            finish(&result);
            assert_non_null(result.error);
            assert_int_equal(result.error->code, rows[i].code);
        }
    }
}

static void
test_cancelled(void **state)
{
    KubeFixture *self = *state;

    for (int verb = 0; verb <= UNLOCK; verb++) {
        g_auto(Result) result = { 0 };
        g_autoptr(GCancellable) cancellable = g_cancellable_new();

        begin(self, &result, &verbs[verb], cancellable);
        (void)next_call(self, verbs[verb].method, verbs[verb].path);
        g_cancellable_cancel(cancellable);
        finish(&result);
        assert_failed(&result, WK_ERROR_CANCELLED, NULL);
        fake_call_wait_gone(
            fake_apiserver_get_call(self->api, "", fake_apiserver_count(self->api, "") - 1));
    }
}

/* The client goes while something is on its way, also between the two halves of an unlock. */
static void
test_client_freed(void **state)
{
    KubeFixture *self = *state;
    g_auto(Result) pause = { 0 };
    g_auto(Result) unlock = { 0 };
    FakeCall *call;

    begin(self, &pause, &verbs[PAUSE], NULL);
    begin(self, &unlock, &verbs[UNLOCK], NULL);
    call = next_call(self, "GET", VMI_PATH);
    fake_call_answer(call, 200, NULL, VMI_OF("u-1", LOCKED));
    (void)next_call(self, "PATCH", VMI_PATH);
    g_clear_pointer(&self->kube, wk_kube_free);
    finish(&pause);
    finish(&unlock);
    assert_failed(&pause, WK_ERROR_CANCELLED, NULL);
    assert_failed(&unlock, WK_ERROR_CANCELLED, NULL);
}

/* ---- the lock ---- */

static void
test_lock_answers(void **state)
{
    KubeFixture *self = *state;
    static const struct {
        const char *answer;
        WkErrorCode code;
        const char *reason;
    } rows[] = {
        { VMI_OF("u-9", LOCKED), WK_ERROR_CONFLICT, "Replaced" },
        { VMI_OF("u-1", ""), WK_ERROR_CONFLICT, "Conflict" },
        { VMI_OF("u-1", ",\"finalizers\":[\"a\"]"), WK_ERROR_CONFLICT, "Conflict" },
        { VMI_OF("u-1", LOCKED ",\"deletionTimestamp\":\"x\""), WK_ERROR_CONFLICT,
          "GuestDeleting" },
        { "{}", WK_ERROR_INVALID, NULL },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(Result) result = { 0 };

        begin(self, &result, &verbs[LOCK_IT], NULL);
        fake_call_answer(next_call(self, "PATCH", VMI_PATH), 200, NULL, rows[i].answer);
        finish(&result);
        assert_failed(&result, rows[i].code, rows[i].reason);
    }
}

static void
lock_sends(KubeFixture *self, const WkVmi *vmi, const char *patch)
{
    g_auto(Result) result = { .verb = &verbs[LOCK_IT] };
    FakeCall *call;

    wk_kubevirt_lock(self->kube, vmi, NULL, on_done, &result);
    call = next_call(self, "PATCH", VMI_PATH);
    assert_string_equal(fake_call_get_body(call), patch);
    fake_call_answer(call, 200, NULL, VMI_OF("u-1", LOCKED));
    finish(&result);
    assert_true(result.fine);
    assert_true(((const WkVmi *)result.object)->has_lock);
}

#define TESTS TEST_UID ",{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":\"47\"}"

static void
test_lock_patches(void **state)
{
    KubeFixture *self = *state;
    g_autoptr(WkVmi) vmi = make_vmi();
    g_auto(Result) deleting = { .verb = &verbs[LOCK_IT] };
    const guint before = fake_apiserver_count(self->api, "");

    vmi->finalizers = 0;
    lock_sends(self, vmi,
               "[" TESTS ",{\"op\":\"add\",\"path\":\"/metadata/finalizers\",\"value\":[\"" LOCK
               "\"]}]");
    vmi->finalizers = 2;
    vmi->has_lock = TRUE;
    vmi->lock_index = 1;
    lock_sends(self, vmi, "[" TESTS "]");
    vmi->deleting = TRUE; /* the server would say so */
    wk_kubevirt_lock(self->kube, vmi, NULL, on_done, &deleting);
    finish(&deleting);
    assert_failed(&deleting, WK_ERROR_CONFLICT, "GuestDeleting");
    assert_int_equal(fake_apiserver_count(self->api, ""), before + 2);
}

/* ---- the lock, off ---- */

#define TAKE_OFF(index)                                                                            \
    "[" TEST_UID ",{\"op\":\"test\",\"path\":\"/metadata/finalizers/" index "\",\"value\":\"" LOCK \
    "\"},{\"op\":\"remove\",\"path\":\"/metadata/finalizers/" index "\"}]"

/* GET answers @first, then a patch at @index is answered with @status. */
static void
unlock_step(KubeFixture *self, const char *first, const char *patch, guint status,
            const char *answer)
{
    FakeCall *call;

    fake_call_answer(next_call(self, "GET", VMI_PATH), 200, NULL, first);
    call = next_call(self, "PATCH", VMI_PATH);
    assert_string_equal(fake_call_get_body(call), patch);
    if (status == 200)
        fake_call_answer(call, 200, NULL, answer);
    else
        fake_call_fail(call, status, NULL, status == 404 ? "NotFound" : "Invalid", answer);
}

static void
test_unlock(void **state)
{
    KubeFixture *self = *state;
    g_auto(Result) result = { 0 };
    g_auto(Result) gone = { 0 };
    g_auto(Result) moved = { 0 };
    g_auto(Result) twice = { 0 };

    begin(self, &result, &verbs[UNLOCK], NULL);
    unlock_step(self, VMI_OF("u-1", LOCKED), TAKE_OFF("1"), 200,
                VMI_OF("u-1", ",\"finalizers\":[\"a\"]"));
    finish(&result);
    assert_true(result.fine);
    begin(self, &gone, &verbs[UNLOCK], NULL);
    unlock_step(self, VMI_OF("u-1", LOCKED), TAKE_OFF("1"), 404, "gone");
    finish(&gone);
    assert_true(gone.fine);
    /* Somebody else took his off in between: the place is another one. */
    begin(self, &moved, &verbs[UNLOCK], NULL);
    unlock_step(self, VMI_OF("u-1", LOCKED), TAKE_OFF("1"), 422, OUR_ERROR);
    unlock_step(self, VMI_OF("u-1", ",\"finalizers\":[\"" LOCK "\"]"), TAKE_OFF("0"), 200,
                VMI_OF("u-1", ""));
    finish(&moved);
    assert_true(moved.fine);
    begin(self, &twice, &verbs[UNLOCK], NULL);
    unlock_step(self, VMI_OF("u-1", ",\"finalizers\":[\"" LOCK "\",\"" LOCK "\"]"), TAKE_OFF("0"),
                200, VMI_OF("u-1", ",\"finalizers\":[\"" LOCK "\"]"));
    unlock_step(self, VMI_OF("u-1", ",\"finalizers\":[\"" LOCK "\"]"), TAKE_OFF("0"), 200,
                VMI_OF("u-1", ""));
    finish(&twice);
    assert_true(twice.fine);
}

/* Nothing of ours there: done, and nothing is written. */
static void
test_unlock_needs_nothing(void **state)
{
    KubeFixture *self = *state;
    static const char *const answers[] = { VMI_OF("u-1", ""), VMI_OF("u-9", LOCKED),
                                           VMI_OF("u-1", ",\"finalizers\":[\"a\"]"), NULL };

    for (gsize i = 0; i < G_N_ELEMENTS(answers); i++) {
        g_auto(Result) result = { 0 };
        FakeCall *call;

        begin(self, &result, &verbs[UNLOCK], NULL);
        call = next_call(self, "GET", VMI_PATH);
        if (answers[i] != NULL)
            fake_call_answer(call, 200, NULL, answers[i]);
        else
            fake_call_fail(call, 404, NULL, "NotFound", "gone");
        finish(&result);
        assert_true(result.fine);
    }
    assert_int_equal(fake_apiserver_count(self->api, "PATCH"), 0);
}

static void
test_unlock_gives_up(void **state)
{
    KubeFixture *self = *state;
    g_auto(Result) result = { 0 };
    g_auto(Result) denied = { 0 };

    begin(self, &result, &verbs[UNLOCK], NULL);
    for (int i = 0; i < 5; i++)
        unlock_step(self, VMI_OF("u-1", LOCKED), TAKE_OFF("1"), 422, OUR_ERROR);
    finish(&result);
    assert_failed(&result, WK_ERROR_CONFLICT, "Conflict");
    begin(self, &denied, &verbs[UNLOCK], NULL);
    fake_call_answer(next_call(self, "GET", VMI_PATH), 200, NULL, VMI_OF("u-1", LOCKED));
    fake_call_fail(next_call(self, "PATCH", VMI_PATH), 403, NULL, "Forbidden", "not yours");
    finish(&denied);
    assert_failed(&denied, WK_ERROR_DENIED, "Forbidden");
}

/* ---- answers that are looked at ---- */

static void
test_looked_at(void **state)
{
    KubeFixture *self = *state;
    static const struct {
        int verb;
        const char *answer;
        WkErrorCode code;
        const char *reason;
    } rows[] = {
        { AUTOSTART, "{}", WK_ERROR_FAILED, "FieldsPruned" },
        { AUTOSTART, "{\"spec\":{\"startStrategy\":{}}}", WK_ERROR_FAILED, "FieldsPruned" },
        { AUTOSTART, "{\"spec\":{\"startStrategy\":{\"autoStart\":true}}}", WK_ERROR_FAILED,
          "FieldsPruned" },
        { PODS, "{}", WK_ERROR_FAILED, "BadList" },
        { PODS, "{\"items\":[7]}", WK_ERROR_INVALID, NULL },
        { PODS, "{\"items\":[{}]}", WK_ERROR_INVALID, NULL },
        { GET_VMI, "{}", WK_ERROR_INVALID, NULL },
        { GET_VM, "{}", WK_ERROR_INVALID, NULL },
        { CLAIM, "{}", WK_ERROR_INVALID, NULL },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        const Verb *verb = &verbs[rows[i].verb];
        g_auto(Result) result = { 0 };

        begin(self, &result, verb, NULL);
        fake_call_answer(next_call(self, verb->method, verb->path), 200, NULL, rows[i].answer);
        finish(&result);
        assert_failed(&result, rows[i].code, rows[i].reason);
    }
}

static void
test_no_pods(void **state)
{
    KubeFixture *self = *state;
    g_auto(Result) result = { 0 };

    begin(self, &result, &verbs[PODS], NULL);
    fake_call_answer(next_call(self, "GET", POD_PATH), 200, NULL, "{\"items\":[]}");
    finish(&result);
    assert_true(result.fine);
    assert_int_equal(((GPtrArray *)result.object)->len, 0);
}

#define fixture_test(function) cmocka_unit_test_setup_teardown(function, kube_setup, kube_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_good),
        fixture_test(test_refused),
        fixture_test(test_broken_answers),
        fixture_test(test_cancelled),
        fixture_test(test_client_freed),
        fixture_test(test_lock_answers),
        fixture_test(test_lock_patches),
        fixture_test(test_unlock),
        fixture_test(test_unlock_needs_nothing),
        fixture_test(test_unlock_gives_up),
        fixture_test(test_looked_at),
        fixture_test(test_no_pods),
    };

    return cmocka_run_group_tests_name("kube/kubevirt requests", tests, NULL, NULL);
}
