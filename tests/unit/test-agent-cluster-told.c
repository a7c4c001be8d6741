/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that waits: for KubeVirt's word of a pause or its end, for a pin. */
#include "config.h"

#include "cluster-fixture.h"

#define PAUSED                                                                                     \
    ",\"finalizers\":[]},\"status\":{\"conditions\":[{\"type\":\"Paused\",\"status\":\"True\","    \
    "\"reason\":\"PausedByUser\"}]"

static gboolean
ask_paused(ClusterWork *work)
{
    return work->cluster->calls->await_told(work->cluster->data, "u-1", WK_POWER_PAUSED,
                                            &work->error);
}

static void
tell(ClusterFixture *self, const char *name, const char *uid, WkVmiPaused paused)
{
    g_autoptr(WkVmi) vmi = ask_make_vmi();

    g_free(vmi->name);
    vmi->name = g_strdup(name);
    g_free(vmi->uid);
    vmi->uid = g_strdup(uid);
    vmi->paused = paused;
    wk_cluster_link_tell_vmi(self->link, vmi);
}

static void
begin_told(ClusterFixture *self, ClusterWork *work, gboolean (*ask)(ClusterWork *work),
           const char *vmi)
{
    cluster_begin(self, work, ask);
    fake_call_answer(ask_next_call(self->api, "GET", VMI_PATH), 200, NULL, vmi);
    fake_settle();
}

/* The watch may have told of it before it was asked for. */
static void
test_paused_already(void **state)
{
    g_auto(ClusterWork) work = { 0 };

    begin_told(*state, &work, ask_paused, VMI_OF("u-1", PAUSED));
    cluster_finish(&work);
    assert_true(work.ok);
}

/* What else the watch tells is no answer. */
static void
test_paused_by_watch(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    begin_told(self, &work, ask_paused, VMI_OF("u-1", ""));
    tell(self, "web-vm", "u-1", WK_PAUSED_NO);
    tell(self, "other", "u-1", WK_PAUSED_BY_USER);
    tell(self, "other", "u-2", WK_PAUSED_NO);
    assert_int_equal(self->link->waiting->len, 1);
    tell(self, "web-vm", "u-1", WK_PAUSED_BY_USER);
    assert_int_equal(self->link->waiting->len, 0);
    cluster_finish(&work);
    assert_true(work.ok);
    tell(self, "web-vm", "u-1", WK_PAUSED_BY_USER);
}

static void
test_paused_replaced(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    begin_told(self, &work, ask_paused, VMI_OF("u-1", ""));
    tell(self, "web-vm", "u-2", WK_PAUSED_BY_USER);
    cluster_finish(&work);
    cluster_assert_failed(&work, WK_ERROR_UNAVAILABLE, "GuestBusy");
}

static void
test_paused_not_told(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    assert_int_equal(self->link->told_ms, 5000);
    self->link->told_ms = 20;
    begin_told(self, &work, ask_paused, VMI_OF("u-1", ""));
    cluster_finish(&work);
    assert_non_null(strstr(work.error->message, "no condition Paused"));
    cluster_assert_failed(&work, WK_ERROR_UNAVAILABLE, "GuestBusy");
}

/* A look that failed is made good by the watch; one that answers too late is nobody's. */
static void
test_paused_look_fails(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };
    g_auto(ClusterWork) late = { 0 };
    FakeCall *call;

    cluster_begin(self, &work, ask_paused);
    fake_call_fail(ask_next_call(self->api, "GET", VMI_PATH), 403, NULL, "Forbidden", "no");
    fake_settle();
    tell(self, "web-vm", "u-1", WK_PAUSED_BY_USER);
    cluster_finish(&work);
    assert_true(work.ok);
    cluster_begin(self, &late, ask_paused);
    call = ask_next_call(self->api, "GET", VMI_PATH);
    tell(self, "web-vm", "u-1", WK_PAUSED_BY_USER);
    cluster_finish(&late);
    fake_call_answer(call, 200, NULL, VMI_OF("u-1", PAUSED));
    fake_settle();
    assert_true(late.ok);
}

static void
test_paused_closed(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    begin_told(self, &work, ask_paused, VMI_OF("u-1", ""));
    wk_cluster_link_close(self->link);
    cluster_finish(&work);
    cluster_assert_failed(&work, WK_ERROR_UNAVAILABLE, NULL);
}

static gboolean
ask_running(ClusterWork *work)
{
    return work->cluster->calls->await_told(work->cluster->data, "u-1", WK_POWER_RUNNING,
                                            &work->error);
}

static void
tell_phase(ClusterFixture *self, WkVmiPhase phase, WkVmiPaused paused)
{
    g_autoptr(WkVmi) vmi = ask_make_vmi();

    vmi->phase = phase;
    vmi->paused = paused;
    wk_cluster_link_tell_vmi(self->link, vmi);
}

/* Being started, and paused as before, is not running. */
static void
test_running_by_watch(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    begin_told(self, &work, ask_running, VMI_OF("u-1", ""));
    tell_phase(self, WK_PHASE_SCHEDULED, WK_PAUSED_NO);
    tell_phase(self, WK_PHASE_RUNNING, WK_PAUSED_BY_USER);
    assert_int_equal(self->link->waiting->len, 1);
    tell_phase(self, WK_PHASE_RUNNING, WK_PAUSED_NO);
    cluster_finish(&work);
    assert_true(work.ok);
}

static void
test_running_not_told(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    self->link->told_ms = 20;
    begin_told(self, &work, ask_running, VMI_OF("u-1", ""));
    cluster_finish(&work);
    assert_non_null(strstr(work.error->message, "is not Running, although its guest runs"));
    cluster_assert_failed(&work, WK_ERROR_UNAVAILABLE, "GuestBusy");
}

/* ---- the operator's answer to a pin ---- */

static gboolean
ask_pinned(ClusterWork *work)
{
    return work->cluster->calls->await_pinned(work->cluster->data, &work->pinned, &work->error);
}

static void
tell_vm(ClusterFixture *self, const char *name, const char *node)
{
    g_autoptr(WkVm) vm = wk_vm_new();

    vm->ns = g_strdup("shop");
    vm->name = g_strdup(name);
    vm->selected_node = g_strdup(node);
    wk_cluster_link_tell_vm(self->link, vm);
}

static void
test_pinned_by_watch(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    assert_int_equal(self->link->pinned_ms, 10000);
    cluster_begin(self, &work, ask_pinned);
    fake_call_answer(ask_next_call(self->api, "GET", VM_PATH), 200, NULL, VMI_OF("u-2", ""));
    fake_settle();
    tell_vm(self, "web-vm", NULL);
    tell_vm(self, "web-vm", "node-2");
    tell_vm(self, "other", "node-1");
    tell(self, "web-vm", "u-1", WK_PAUSED_BY_USER); /* a VMI is no VM */
    assert_int_equal(self->link->waiting->len, 1);
    tell_vm(self, "web-vm", "node-1");
    cluster_finish(&work);
    assert_true(work.ok && work.pinned);
}

static void
test_pinned_already(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    cluster_begin(self, &work, ask_pinned);
    fake_call_answer(ask_next_call(self->api, "GET", VM_PATH), 200, NULL,
                     VMI_OF("u-2", "},\"spec\":{\"template\":{\"spec\":{" SELECTOR "}}"));
    cluster_finish(&work);
    assert_true(work.ok && work.pinned);
}

/* That an operator does not know of it is no error. */
static void
test_not_pinned(void **state)
{
    ClusterFixture *self = *state;
    g_auto(ClusterWork) work = { 0 };

    self->link->pinned_ms = 20;
    cluster_begin(self, &work, ask_pinned);
    cluster_finish(&work);
    assert_true(work.ok);
    assert_false(work.pinned);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_paused_already),   TEST(test_paused_by_watch),   TEST(test_paused_replaced),
        TEST(test_paused_not_told),  TEST(test_paused_look_fails), TEST(test_paused_closed),
        TEST(test_running_by_watch), TEST(test_running_not_told),  TEST(test_pinned_by_watch),
        TEST(test_pinned_already),   TEST(test_not_pinned),
    };

    return cmocka_run_group_tests_name("agent/cluster-told", tests, NULL, NULL);
}
