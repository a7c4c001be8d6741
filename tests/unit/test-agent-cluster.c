/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's questions, with the scripted server behind the main loop. */
#include "config.h"

#include "cluster-fixture.h"

/* ---- VMI and VM ---- */

static gboolean
ask_look(ClusterWork *work)
{
    return work->cluster->calls->look(work->cluster->data, &work->vmi, &work->vm, &work->error);
}

/* One way there and back for both: they are on the wire before either is answered. */
static void
test_look(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };
    FakeCall *vmi;
    FakeCall *vm;

    cluster_begin(self, &work, ask_look);
    vmi = ask_next_call(self->api, "GET", VMI_PATH);
    vm = ask_next_call(self->api, "GET", VM_PATH);
    fake_call_answer(vm, 200, NULL, VMI_OF("u-2", ""));
    fake_call_answer(vmi, 200, NULL, VMI_OF("u-1", ""));
    cluster_finish(&work);
    assert_string_equal(work.vmi->uid, "u-1");
    assert_string_equal(work.vm->uid, "u-2");
}

/* Either may fail. */
static void
test_look_fails(void **state)
{
    ClusterFixture *self = *state;

    for (guint failing = 0; failing < 2; failing++) {
        g_auto(ClusterWork) work = { 0 };

        cluster_begin(self, &work, ask_look);
        fake_call_answer(ask_next_call(self->api, "GET", VMI_PATH), failing == 0 ? 403 : 200, NULL,
                         failing == 0 ? "{}" : VMI_OF("u-1", ""));
        fake_call_answer(ask_next_call(self->api, "GET", VM_PATH), failing == 1 ? 403 : 200, NULL,
                         failing == 1 ? "{}" : VMI_OF("u-2", ""));
        cluster_finish(&work);
        cluster_assert_failed(&work, WK_ERROR_UNAVAILABLE, "Forbidden");
    }
}

/* ---- claims ---- */

static gboolean
ask_claim(ClusterWork *work)
{
    return work->cluster->calls->get_claim(work->cluster->data, "web-root", &work->claim,
                                           &work->error);
}

static void
test_claim(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    cluster_begin(self, &work, ask_claim);
    fake_call_answer(ask_next_call(self->api, "GET", PVC_PATH), 200, NULL, VMI_OF("c-1", ""));
    cluster_finish(&work);
    assert_true(work.ok);
    assert_string_equal(work.claim->uid, "c-1");
}

/* What can't be read is never "none" and never "as it was". */
static void
test_claim_unread(void **state)
{
    ClusterFixture *self = *state;
    static const struct {
        guint status;
        const char *reason;
        const char *message;
        int code; /* -1: there is none, and that is no error */
        const char *meaning;
    } rows[] = {
        { 404, "NotFound", "persistentvolumeclaims \"web-root\" not found", -1, NULL },
        { 404, "NotFound", "the server could not find the requested resource", WK_ERROR_UNAVAILABLE,
          "NotReady" },
        { 403, "Forbidden", "User cannot get resource", WK_ERROR_UNAVAILABLE, "Forbidden" },
        { 500, "InternalError", "oops", WK_ERROR_UNAVAILABLE, "InternalError" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(ClusterWork) work = { 0 };

        cluster_begin(self, &work, ask_claim);
        fake_call_fail(ask_next_call(self->api, "GET", PVC_PATH), rows[i].status, NULL,
                       rows[i].reason, rows[i].message);
        cluster_finish(&work);
        assert_null(work.claim);
        if (rows[i].code >= 0)
            cluster_assert_failed(&work, (WkErrorCode)rows[i].code, rows[i].meaning);
        else
            assert_true(work.ok);
    }
}

/* ---- pins ---- */

static gboolean
ask_look_pin(ClusterWork *work)
{
    return work->cluster->calls->look_pin(work->cluster->data, &work->pin, &work->error);
}

/* Of another Wukong by that name nothing is known. */
static void
test_look_pin(void **state)
{
    ClusterFixture *self = *state;
    static const struct {
        const char *answer; /* NULL: 404 */
        const char *node;
        gboolean found;
    } rows[] = {
        { PINNED, "node-1", TRUE },
        { VMI_OF("w-1", ""), NULL, TRUE },
        { VMI_OF("w-2", ""), NULL, FALSE },
        { NULL, NULL, FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(ClusterWork) work = { 0 };
        FakeCall *call;

        cluster_begin(self, &work, ask_look_pin);
        call = ask_next_call(self->api, "GET", WK_PATH);
        if (rows[i].answer != NULL)
            fake_call_answer(call, 200, NULL, rows[i].answer);
        else
            fake_call_fail(call, 404, NULL, "NotFound", "wukongs \"web\" not found");
        cluster_finish(&work);
        assert_true(work.ok);
        assert_int_equal(work.pin != NULL, rows[i].found);
        if (work.pin != NULL)
            assert_int_equal(g_strcmp0(work.pin->node, rows[i].node), 0);
    }
}

static gboolean
ask_start_pinned(ClusterWork *work)
{
    const WkPin pin = { .wukong = (char *)"web",
                        .uid = (char *)"w-1",
                        .resource_version = (char *)"47" };

    return work->cluster->calls->start_pinned(work->cluster->data, &pin, &work->error);
}

/* One change of the Wukong; then a start where KubeVirt needs to be asked for that. */
static void
test_start_pinned(void **state)
{
    ClusterFixture *self = *state;
    static const struct {
        const char *strategy;
        gboolean asks;
    } rows[] = { { "Always", FALSE }, { "Manual", TRUE } };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(ClusterWork) work = { 0 };
        g_autofree char *vm =
            g_strdup_printf(VMI_OF("u-2", "},\"spec\":{\"runStrategy\":\"%s\""), rows[i].strategy);
        FakeCall *call;

        cluster_begin(self, &work, ask_start_pinned);
        call = ask_next_call(self->api, "PATCH", WK_PATH);
        assert_string_equal(fake_call_get_body(call), ask_verbs[PIN].body);
        fake_call_answer(call, 200, NULL, PINNED);
        fake_call_answer(ask_next_call(self->api, "GET", VM_PATH), 200, NULL, vm);
        if (rows[i].asks)
            fake_call_answer(
                ask_next_call(self->api, "PUT", SUB_PATH "virtualmachines/web-vm/start"), 202, NULL,
                "");
        cluster_finish(&work);
        assert_true(work.ok);
    }
}

static gboolean
ask_unpin(ClusterWork *work)
{
    return work->cluster->calls->unpin(work->cluster->data, "web", "w-1", &work->error);
}

static void
test_unpin(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };
    FakeCall *call;

    cluster_begin(self, &work, ask_unpin);
    call = ask_next_call(self->api, "PATCH", WK_PATH);
    assert_string_equal(fake_call_get_body(call), ask_verbs[UNPIN].body);
    fake_call_answer(call, 200, NULL, "{}");
    cluster_finish(&work);
    assert_true(work.ok);
}

/* ---- the client goes ---- */

static void
test_closed(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    wk_cluster_link_close(self->link);
    cluster_begin(self, &work, ask_claim);
    cluster_finish(&work);
    cluster_assert_failed(&work, WK_ERROR_UNAVAILABLE, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_look),     TEST(test_look_fails),   TEST(test_claim), TEST(test_claim_unread),
        TEST(test_look_pin), TEST(test_start_pinned), TEST(test_unpin), TEST(test_closed),
    };

    return cmocka_run_group_tests_name("agent/cluster", tests, NULL, NULL);
}
