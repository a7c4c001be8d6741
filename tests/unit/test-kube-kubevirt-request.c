/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kubevirt-fixture.h"

/* ---- what is asked, and what is fine ---- */

static void
test_good(void **state)
{
    KubeFixture *self = *state;

    for (gsize i = 0; i < VERBS; i++) {
        g_auto(AskResult) result = { 0 };
        g_autofree char *type = NULL;
        FakeCall *call;

        ask_begin(self, &result, &ask_verbs[i], NULL);
        call = ask_next_call(self, ask_verbs[i].method, ask_verbs[i].path);
        type = fake_call_get_header(call, "Content-Type");
        assert_string_equal(fake_call_get_path(call), ask_verbs[i].path);
        assert_string_equal(fake_call_get_body(call), ask_verbs[i].body);
        assert_int_equal(g_strcmp0(type, ask_verbs[i].type), 0);
        fake_call_answer(call, *ask_verbs[i].good != '\0' ? 200 : 202, NULL, ask_verbs[i].good);
        ask_finish(&result);
        if (!result.fine)
            fail_msg("%s: %s", ask_verbs[i].label, result.error->message);
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
    { PIN, 422, "Invalid", UID_FIXED, WK_ERROR_CONFLICT, "Replaced" },
    { UNPIN, 404, "NotFound", "not found", -1, NULL },
    { UNPIN, 422, "Invalid", OUR_ERROR, -1, NULL },
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
    g_auto(AskResult) result = { 0 };
    g_autofree char *prefix =
        g_strdup_printf("%s %s", ask_verbs[verb].method, ask_verbs[verb].path);
    g_autoptr(JsonNode) message = json_node_init_string(json_node_alloc(), row->message);
    g_autofree char *message_text = json_to_string(message, FALSE);
    g_autofree char *text = NULL;
    FakeAnswer often = { .status = row->status, .times = G_MAXUINT }; /* a 401 comes twice */

    text = g_strdup_printf("{\"kind\":\"Status\",\"reason\":\"%s\",\"message\":%s}", row->reason,
                           message_text);
    often.body = text;
    fake_apiserver_clear_scripts(self->api);
    fake_apiserver_script(self->api, prefix, &often);
    ask_begin(self, &result, &ask_verbs[verb], NULL);
    ask_finish(&result);
    if (row->code >= 0)
        ask_assert_failed(&result, (WkErrorCode)row->code, row->meaning);
    else if (!result.fine)
        fail_msg("%s: %s", ask_verbs[verb].label, result.error->message);
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
            g_auto(AskResult) result = { 0 };

            fake_apiserver_clear_scripts(self->api);
            fake_apiserver_script(self->api, ask_verbs[verb].method, &rows[i].answer);
            ask_begin(self, &result, &ask_verbs[verb], NULL);
            ask_finish(&result);
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
        g_auto(AskResult) result = { 0 };
        g_autoptr(GCancellable) cancellable = g_cancellable_new();

        ask_begin(self, &result, &ask_verbs[verb], cancellable);
        (void)ask_next_call(self, ask_verbs[verb].method, ask_verbs[verb].path);
        g_cancellable_cancel(cancellable);
        ask_finish(&result);
        ask_assert_failed(&result, WK_ERROR_CANCELLED, NULL);
        fake_call_wait_gone(
            fake_apiserver_get_call(self->api, "", fake_apiserver_count(self->api, "") - 1));
    }
}

/* The client goes while something is on its way, also between the two halves of an unlock. */
static void
test_client_freed(void **state)
{
    KubeFixture *self = *state;
    g_auto(AskResult) pause = { 0 };
    g_auto(AskResult) unlock = { 0 };
    FakeCall *call;

    ask_begin(self, &pause, &ask_verbs[PAUSE], NULL);
    ask_begin(self, &unlock, &ask_verbs[UNLOCK], NULL);
    call = ask_next_call(self, "GET", VMI_PATH);
    fake_call_answer(call, 200, NULL, VMI_OF("u-1", LOCKED));
    (void)ask_next_call(self, "PATCH", VMI_PATH);
    g_clear_pointer(&self->kube, wk_kube_free);
    ask_finish(&pause);
    ask_finish(&unlock);
    ask_assert_failed(&pause, WK_ERROR_CANCELLED, NULL);
    ask_assert_failed(&unlock, WK_ERROR_CANCELLED, NULL);
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
        { GET_PIN, "{}", WK_ERROR_INVALID, NULL },
        { PIN, "{}", WK_ERROR_INVALID, NULL },
        { PIN, VMI_OF("w-1", ""), WK_ERROR_FAILED, "FieldsPruned" },
        { PIN, VMI_OF("w-1", "},\"spec\":{\"highAvailability\":{}"), WK_ERROR_FAILED,
          "FieldsPruned" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        const AskVerb *verb = &ask_verbs[rows[i].verb];
        g_auto(AskResult) result = { 0 };

        ask_begin(self, &result, verb, NULL);
        fake_call_answer(ask_next_call(self, verb->method, verb->path), 200, NULL, rows[i].answer);
        ask_finish(&result);
        ask_assert_failed(&result, rows[i].code, rows[i].reason);
    }
}

static void
test_no_pods(void **state)
{
    KubeFixture *self = *state;
    g_auto(AskResult) result = { 0 };

    ask_begin(self, &result, &ask_verbs[PODS], NULL);
    fake_call_answer(ask_next_call(self, "GET", POD_PATH), 200, NULL, "{\"items\":[]}");
    ask_finish(&result);
    assert_true(result.fine);
    assert_int_equal(((GPtrArray *)result.object)->len, 0);
}

#define fixture_test(function) cmocka_unit_test_setup_teardown(function, kube_setup, kube_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_good),           fixture_test(test_refused),
        fixture_test(test_broken_answers), fixture_test(test_cancelled),
        fixture_test(test_client_freed),   fixture_test(test_looked_at),
        fixture_test(test_no_pods),
    };

    return cmocka_run_group_tests_name("kube/kubevirt requests", tests, NULL, NULL);
}
