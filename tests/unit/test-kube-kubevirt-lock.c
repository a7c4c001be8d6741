/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kubevirt-fixture.h"

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
        g_auto(AskResult) result = { 0 };

        ask_begin(self, &result, &ask_verbs[LOCK_IT], NULL);
        fake_call_answer(ask_next_call(self, "PATCH", VMI_PATH), 200, NULL, rows[i].answer);
        ask_finish(&result);
        ask_assert_failed(&result, rows[i].code, rows[i].reason);
    }
}

static void
lock_sends(KubeFixture *self, const WkVmi *vmi, const char *patch)
{
    g_auto(AskResult) result = { .verb = &ask_verbs[LOCK_IT] };
    FakeCall *call;

    wk_kubevirt_lock(self->kube, vmi, NULL, ask_on_done, &result);
    call = ask_next_call(self, "PATCH", VMI_PATH);
    assert_string_equal(fake_call_get_body(call), patch);
    fake_call_answer(call, 200, NULL, VMI_OF("u-1", LOCKED));
    ask_finish(&result);
    assert_true(result.fine);
    assert_true(((const WkVmi *)result.object)->has_lock);
}

#define TESTS TEST_UID ",{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":\"47\"}"

static void
test_lock_patches(void **state)
{
    KubeFixture *self = *state;
    g_autoptr(WkVmi) vmi = ask_make_vmi();
    g_auto(AskResult) deleting = { .verb = &ask_verbs[LOCK_IT] };
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
    wk_kubevirt_lock(self->kube, vmi, NULL, ask_on_done, &deleting);
    ask_finish(&deleting);
    ask_assert_failed(&deleting, WK_ERROR_CONFLICT, "GuestDeleting");
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

    fake_call_answer(ask_next_call(self, "GET", VMI_PATH), 200, NULL, first);
    call = ask_next_call(self, "PATCH", VMI_PATH);
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
    g_auto(AskResult) result = { 0 };
    g_auto(AskResult) gone = { 0 };
    g_auto(AskResult) moved = { 0 };
    g_auto(AskResult) twice = { 0 };

    ask_begin(self, &result, &ask_verbs[UNLOCK], NULL);
    unlock_step(self, VMI_OF("u-1", LOCKED), TAKE_OFF("1"), 200,
                VMI_OF("u-1", ",\"finalizers\":[\"a\"]"));
    ask_finish(&result);
    assert_true(result.fine);
    ask_begin(self, &gone, &ask_verbs[UNLOCK], NULL);
    unlock_step(self, VMI_OF("u-1", LOCKED), TAKE_OFF("1"), 404, "gone");
    ask_finish(&gone);
    assert_true(gone.fine);
    /* Somebody else took his off in between: the place is another one. */
    ask_begin(self, &moved, &ask_verbs[UNLOCK], NULL);
    unlock_step(self, VMI_OF("u-1", LOCKED), TAKE_OFF("1"), 422, OUR_ERROR);
    unlock_step(self, VMI_OF("u-1", ",\"finalizers\":[\"" LOCK "\"]"), TAKE_OFF("0"), 200,
                VMI_OF("u-1", ""));
    ask_finish(&moved);
    assert_true(moved.fine);
    ask_begin(self, &twice, &ask_verbs[UNLOCK], NULL);
    unlock_step(self, VMI_OF("u-1", ",\"finalizers\":[\"" LOCK "\",\"" LOCK "\"]"), TAKE_OFF("0"),
                200, VMI_OF("u-1", ",\"finalizers\":[\"" LOCK "\"]"));
    unlock_step(self, VMI_OF("u-1", ",\"finalizers\":[\"" LOCK "\"]"), TAKE_OFF("0"), 200,
                VMI_OF("u-1", ""));
    ask_finish(&twice);
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
        g_auto(AskResult) result = { 0 };
        FakeCall *call;

        ask_begin(self, &result, &ask_verbs[UNLOCK], NULL);
        call = ask_next_call(self, "GET", VMI_PATH);
        if (answers[i] != NULL)
            fake_call_answer(call, 200, NULL, answers[i]);
        else
            fake_call_fail(call, 404, NULL, "NotFound", "gone");
        ask_finish(&result);
        assert_true(result.fine);
    }
    assert_int_equal(fake_apiserver_count(self->api, "PATCH"), 0);
}

static void
test_unlock_gives_up(void **state)
{
    KubeFixture *self = *state;
    g_auto(AskResult) result = { 0 };
    g_auto(AskResult) denied = { 0 };

    ask_begin(self, &result, &ask_verbs[UNLOCK], NULL);
    for (int i = 0; i < 5; i++)
        unlock_step(self, VMI_OF("u-1", LOCKED), TAKE_OFF("1"), 422, OUR_ERROR);
    ask_finish(&result);
    ask_assert_failed(&result, WK_ERROR_CONFLICT, "Conflict");
    ask_begin(self, &denied, &ask_verbs[UNLOCK], NULL);
    fake_call_answer(ask_next_call(self, "GET", VMI_PATH), 200, NULL, VMI_OF("u-1", LOCKED));
    fake_call_fail(ask_next_call(self, "PATCH", VMI_PATH), 403, NULL, "Forbidden", "not yours");
    ask_finish(&denied);
    ask_assert_failed(&denied, WK_ERROR_DENIED, "Forbidden");
}

#define fixture_test(function) cmocka_unit_test_setup_teardown(function, kube_setup, kube_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_lock_answers),    fixture_test(test_lock_patches),
        fixture_test(test_unlock),          fixture_test(test_unlock_needs_nothing),
        fixture_test(test_unlock_gives_up),
    };

    return cmocka_run_group_tests_name("kube/kubevirt lock", tests, NULL, NULL);
}
