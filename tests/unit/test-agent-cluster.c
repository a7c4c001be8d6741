/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "agent/cluster_private.h"
#include "kubevirt-fixture.h"

/* A worker's questions, with the scripted server behind the main loop. */
typedef struct {
    KubeFixture *api;
    WkClusterLink *link;
    WkCluster *cluster;
} Fixture;

static int
setup(void **state)
{
    Fixture *self = g_new0(Fixture, 1);
    void *api = NULL;
    WkOwner wukong = { .ns = (char *)"shop", .name = (char *)"web", .uid = (char *)"w-1" };
    const WkClusterGuest about = {
        .ns = "shop", .name = "web-vm", .node_name = "node-1", .wukong = &wukong
    };

    /* else a worker runs what is meant for the main loop by itself, between two turns of that */
    assert_true(g_main_context_acquire(NULL));
    kube_setup(&api);
    self->api = api;
    self->link = wk_cluster_link_new(self->api->kube);
    self->cluster = wk_cluster_link_open(self->link, &about);
    *state = self;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *self = *state;
    void *api = self->api;

    wk_cluster_free(self->cluster);
    wk_cluster_link_close(self->link);
    wk_cluster_link_unref(self->link);
    g_free(self);
    kube_teardown(&api);
    g_main_context_release(NULL);
    return 0;
}

/* ---- a worker ---- */

typedef struct _Work {
    WkCluster *cluster;
    gboolean (*ask)(struct _Work *self);
    GThread *thread;
    gint done; /* atomic */
    gboolean ok;
    WkVmi *vmi;
    WkVm *vm;
    WkClaim *claim;
    WkPin *pin;
    gboolean pinned;
    GError *error;
} Work;

static gpointer
run_work(gpointer data)
{
    Work *self = data;

    self->ok = self->ask(self);
    g_atomic_int_set(&self->done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static void
begin(Fixture *fixture, Work *work, gboolean (*ask)(Work *work))
{
    work->cluster = fixture->cluster;
    work->ask = ask;
    work->thread = g_thread_new("worker", run_work, work);
}

static gboolean
is_done(gpointer work)
{
    return g_atomic_int_get(&((Work *)work)->done) != 0;
}

static void
finish(Work *work)
{
    fake_wait_until(is_done, work, "the worker's answer");
    g_thread_join(work->thread);
    assert_int_equal(work->ok, work->error == NULL);
}

static void
work_clear(Work *work)
{
    wk_vmi_free(work->vmi);
    wk_vm_free(work->vm);
    wk_claim_free(work->claim);
    wk_pin_free(work->pin);
    g_clear_error(&work->error);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Work, work_clear)

static void
assert_failed(const Work *work, WkErrorCode code, const char *reason)
{
    if (work->ok || !g_error_matches(work->error, WK_ERROR, (int)code)
        || g_strcmp0(wk_error_get_reason(work->error), reason) != 0)
        fail_msg("code %d '%s' was expected: %s", (int)code, reason,
                 work->error != NULL ? work->error->message : "it went well");
}

/* ---- VMI and VM ---- */

static gboolean
ask_look(Work *work)
{
    return work->cluster->calls->look(work->cluster->data, &work->vmi, &work->vm, &work->error);
}

/* One way there and back for both: they are on the wire before either is answered. */
static void
test_look(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };
    FakeCall *vmi;
    FakeCall *vm;

    begin(self, &work, ask_look);
    vmi = ask_next_call(self->api, "GET", VMI_PATH);
    vm = ask_next_call(self->api, "GET", VM_PATH);
    fake_call_answer(vm, 200, NULL, VMI_OF("u-2", ""));
    fake_call_answer(vmi, 200, NULL, VMI_OF("u-1", ""));
    finish(&work);
    assert_string_equal(work.vmi->uid, "u-1");
    assert_string_equal(work.vm->uid, "u-2");
}

/* Either may fail. */
static void
test_look_fails(void **state)
{
    Fixture *self = *state;

    for (guint failing = 0; failing < 2; failing++) {
        g_auto(Work) work = { 0 };

        begin(self, &work, ask_look);
        fake_call_answer(ask_next_call(self->api, "GET", VMI_PATH), failing == 0 ? 403 : 200, NULL,
                         failing == 0 ? "{}" : VMI_OF("u-1", ""));
        fake_call_answer(ask_next_call(self->api, "GET", VM_PATH), failing == 1 ? 403 : 200, NULL,
                         failing == 1 ? "{}" : VMI_OF("u-2", ""));
        finish(&work);
        assert_failed(&work, WK_ERROR_UNAVAILABLE, "Forbidden");
    }
}

/* ---- claims ---- */

static gboolean
ask_claim(Work *work)
{
    return work->cluster->calls->get_claim(work->cluster->data, "web-root", &work->claim,
                                           &work->error);
}

static void
test_claim(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };

    begin(self, &work, ask_claim);
    fake_call_answer(ask_next_call(self->api, "GET", PVC_PATH), 200, NULL, VMI_OF("c-1", ""));
    finish(&work);
    assert_true(work.ok);
    assert_string_equal(work.claim->uid, "c-1");
}

/* What can't be read is never "none" and never "as it was". */
static void
test_claim_unread(void **state)
{
    Fixture *self = *state;
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
        g_auto(Work) work = { 0 };

        begin(self, &work, ask_claim);
        fake_call_fail(ask_next_call(self->api, "GET", PVC_PATH), rows[i].status, NULL,
                       rows[i].reason, rows[i].message);
        finish(&work);
        assert_null(work.claim);
        if (rows[i].code >= 0)
            assert_failed(&work, (WkErrorCode)rows[i].code, rows[i].meaning);
        else
            assert_true(work.ok);
    }
}

/* ---- KubeVirt's word of a pause ---- */

#define PAUSED                                                                                     \
    ",\"finalizers\":[]},\"status\":{\"conditions\":[{\"type\":\"Paused\",\"status\":\"True\","    \
    "\"reason\":\"PausedByUser\"}]"

static gboolean
ask_paused(Work *work)
{
    return work->cluster->calls->await_paused(work->cluster->data, "u-1", &work->error);
}

static void
tell(Fixture *self, const char *name, const char *uid, WkVmiPaused paused)
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
begin_paused(Fixture *self, Work *work, const char *vmi)
{
    begin(self, work, ask_paused);
    fake_call_answer(ask_next_call(self->api, "GET", VMI_PATH), 200, NULL, vmi);
    fake_settle();
}

/* The watch may have told of it before it was asked for. */
static void
test_paused_already(void **state)
{
    g_auto(Work) work = { 0 };

    begin_paused(*state, &work, VMI_OF("u-1", PAUSED));
    finish(&work);
    assert_true(work.ok);
}

/* What else the watch tells is no answer. */
static void
test_paused_by_watch(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };

    begin_paused(self, &work, VMI_OF("u-1", ""));
    tell(self, "web-vm", "u-1", WK_PAUSED_NO);
    tell(self, "other", "u-1", WK_PAUSED_BY_USER);
    tell(self, "other", "u-2", WK_PAUSED_NO);
    assert_int_equal(self->link->waiting->len, 1);
    tell(self, "web-vm", "u-1", WK_PAUSED_BY_USER);
    assert_int_equal(self->link->waiting->len, 0);
    finish(&work);
    assert_true(work.ok);
    tell(self, "web-vm", "u-1", WK_PAUSED_BY_USER);
}

static void
test_paused_replaced(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };

    begin_paused(self, &work, VMI_OF("u-1", ""));
    tell(self, "web-vm", "u-2", WK_PAUSED_BY_USER);
    finish(&work);
    assert_failed(&work, WK_ERROR_UNAVAILABLE, "GuestBusy");
}

static void
test_paused_not_told(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };

    assert_int_equal(self->link->paused_ms, 5000);
    self->link->paused_ms = 20;
    begin_paused(self, &work, VMI_OF("u-1", ""));
    finish(&work);
    assert_non_null(strstr(work.error->message, "no condition Paused"));
    assert_failed(&work, WK_ERROR_UNAVAILABLE, "GuestBusy");
}

/* A look that failed is made good by the watch; one that answers too late is nobody's. */
static void
test_paused_look_fails(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };
    g_auto(Work) late = { 0 };
    FakeCall *call;

    begin(self, &work, ask_paused);
    fake_call_fail(ask_next_call(self->api, "GET", VMI_PATH), 403, NULL, "Forbidden", "no");
    fake_settle();
    tell(self, "web-vm", "u-1", WK_PAUSED_BY_USER);
    finish(&work);
    assert_true(work.ok);
    begin(self, &late, ask_paused);
    call = ask_next_call(self->api, "GET", VMI_PATH);
    tell(self, "web-vm", "u-1", WK_PAUSED_BY_USER);
    finish(&late);
    fake_call_answer(call, 200, NULL, VMI_OF("u-1", PAUSED));
    fake_settle();
    assert_true(late.ok);
}

static void
test_paused_closed(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };

    begin_paused(self, &work, VMI_OF("u-1", ""));
    wk_cluster_link_close(self->link);
    finish(&work);
    assert_failed(&work, WK_ERROR_UNAVAILABLE, NULL);
}

/* ---- pins ---- */

static gboolean
ask_pinned(Work *work)
{
    return work->cluster->calls->await_pinned(work->cluster->data, &work->pinned, &work->error);
}

static void
tell_vm(Fixture *self, const char *name, const char *node)
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
    Fixture *self = *state;
    g_auto(Work) work = { 0 };

    assert_int_equal(self->link->pinned_ms, 10000);
    begin(self, &work, ask_pinned);
    fake_call_answer(ask_next_call(self->api, "GET", VM_PATH), 200, NULL, VMI_OF("u-2", ""));
    fake_settle();
    tell_vm(self, "web-vm", NULL);
    tell_vm(self, "web-vm", "node-2");
    tell_vm(self, "other", "node-1");
    tell(self, "web-vm", "u-1", WK_PAUSED_BY_USER); /* a VMI is no VM */
    assert_int_equal(self->link->waiting->len, 1);
    tell_vm(self, "web-vm", "node-1");
    finish(&work);
    assert_true(work.ok && work.pinned);
}

static void
test_pinned_already(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };

    begin(self, &work, ask_pinned);
    fake_call_answer(ask_next_call(self->api, "GET", VM_PATH), 200, NULL,
                     VMI_OF("u-2", "},\"spec\":{\"template\":{\"spec\":{" SELECTOR "}}"));
    finish(&work);
    assert_true(work.ok && work.pinned);
}

/* That an operator does not know of it is no error. */
static void
test_not_pinned(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };

    self->link->pinned_ms = 20;
    begin(self, &work, ask_pinned);
    finish(&work);
    assert_true(work.ok);
    assert_false(work.pinned);
}

static gboolean
ask_look_pin(Work *work)
{
    return work->cluster->calls->look_pin(work->cluster->data, &work->pin, &work->error);
}

/* Of another Wukong by that name nothing is known. */
static void
test_look_pin(void **state)
{
    Fixture *self = *state;
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
        g_auto(Work) work = { 0 };
        FakeCall *call;

        begin(self, &work, ask_look_pin);
        call = ask_next_call(self->api, "GET", WK_PATH);
        if (rows[i].answer != NULL)
            fake_call_answer(call, 200, NULL, rows[i].answer);
        else
            fake_call_fail(call, 404, NULL, "NotFound", "wukongs \"web\" not found");
        finish(&work);
        assert_true(work.ok);
        assert_int_equal(work.pin != NULL, rows[i].found);
        if (work.pin != NULL)
            assert_int_equal(g_strcmp0(work.pin->node, rows[i].node), 0);
    }
}

static gboolean
ask_start_pinned(Work *work)
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
    Fixture *self = *state;
    static const struct {
        const char *strategy;
        gboolean asks;
    } rows[] = { { "Always", FALSE }, { "Manual", TRUE } };

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(Work) work = { 0 };
        g_autofree char *vm =
            g_strdup_printf(VMI_OF("u-2", "},\"spec\":{\"runStrategy\":\"%s\""), rows[i].strategy);
        FakeCall *call;

        begin(self, &work, ask_start_pinned);
        call = ask_next_call(self->api, "PATCH", WK_PATH);
        assert_string_equal(fake_call_get_body(call), ask_verbs[PIN].body);
        fake_call_answer(call, 200, NULL, PINNED);
        fake_call_answer(ask_next_call(self->api, "GET", VM_PATH), 200, NULL, vm);
        if (rows[i].asks)
            fake_call_answer(
                ask_next_call(self->api, "PUT", SUB_PATH "virtualmachines/web-vm/start"), 202, NULL,
                "");
        finish(&work);
        assert_true(work.ok);
    }
}

static gboolean
ask_unpin(Work *work)
{
    return work->cluster->calls->unpin(work->cluster->data, "web", "w-1", &work->error);
}

static void
test_unpin(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };
    FakeCall *call;

    begin(self, &work, ask_unpin);
    call = ask_next_call(self->api, "PATCH", WK_PATH);
    assert_string_equal(fake_call_get_body(call), ask_verbs[UNPIN].body);
    fake_call_answer(call, 200, NULL, "{}");
    finish(&work);
    assert_true(work.ok);
}

/* ---- the client goes ---- */

static void
test_closed(void **state)
{
    Fixture *self = *state;
    g_auto(Work) work = { 0 };

    wk_cluster_link_close(self->link);
    begin(self, &work, ask_claim);
    finish(&work);
    assert_failed(&work, WK_ERROR_UNAVAILABLE, NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_look),
        TEST(test_look_fails),
        TEST(test_claim),
        TEST(test_claim_unread),
        TEST(test_paused_already),
        TEST(test_paused_by_watch),
        TEST(test_paused_replaced),
        TEST(test_paused_not_told),
        TEST(test_paused_look_fails),
        TEST(test_paused_closed),
        TEST(test_pinned_by_watch),
        TEST(test_pinned_already),
        TEST(test_not_pinned),
        TEST(test_look_pin),
        TEST(test_start_pinned),
        TEST(test_unpin),
        TEST(test_closed),
    };

    return cmocka_run_group_tests_name("agent/cluster", tests, NULL, NULL);
}
