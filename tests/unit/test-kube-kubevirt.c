/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-fixture.h"
#include "kube/kubevirt.h"

#define NODE_PATH "/apis/kubevirt.io/v1/virtualmachineinstances?"
#define GET_NODE  "GET " NODE_PATH
#define BY_NAME   "GET /apis/kubevirt.io/v1/namespaces/shop/"
#define GET_VMI   BY_NAME "virtualmachineinstances?"
#define GET_VM    BY_NAME "virtualmachines?"
#define EVENT(type, name, uid, version)                                                            \
    "{\"type\":\"" type "\",\"object\":{\"metadata\":{\"name\":\"" name                            \
    "\",\"namespace\":\"shop\",\"uid\":\"" uid "\",\"resourceVersion\":\"" version "\"}}}\n"

typedef struct {
    KubeFixture *kube;
    WkKubevirt *kubevirt;
    GString *told;       /* a word a call: "+web:u1/7 -web:u1 v+web:u2/3 v-web:? sync look:web" */
    const char *free_in; /* frees it all in the first call whose word starts so */
    const char *unfollow_in; /* lets go of shop/web in that call */
} Fixture;

static void
tell(Fixture *self, char *word)
{
    G_GNUC_UNUSED g_autofree char *held = word;

    g_string_append_printf(self->told, "%s%s", self->told->len > 0 ? " " : "", word);
    if (self->unfollow_in != NULL && g_str_has_prefix(word, self->unfollow_in)) {
        self->unfollow_in = NULL;
        wk_kubevirt_follow(self->kubevirt, "shop", "web", FALSE);
    }
    if (self->free_in != NULL && g_str_has_prefix(word, self->free_in)) {
        self->free_in = NULL;
        g_clear_pointer(&self->kubevirt, wk_kubevirt_free);
    }
}

static void
on_vmi(const WkVmi *vmi, gpointer data)
{
    g_autofree char *uid = g_strdup(vmi->uid);

    tell(data, g_strdup_printf("+%s:%s/%s", vmi->name, vmi->uid, vmi->resource_version));
    assert_string_equal(vmi->uid, uid); /* it lasts as long as the call, whatever that did */
}

static void
on_vmi_gone(const char *ns, const char *name, const char *uid, gpointer data)
{
    assert_string_equal(ns, "shop");
    tell(data, g_strdup_printf("-%s:%s", name, uid));
}

static void
on_vm(const WkVm *vm, gpointer data)
{
    g_autofree char *uid = g_strdup(vm->uid);

    tell(data, g_strdup_printf("v+%s:%s/%s", vm->name, vm->uid, vm->resource_version));
    assert_string_equal(vm->uid, uid);
}

static void
on_vm_gone(const char *ns, const char *name, const char *uid, gpointer data)
{
    assert_string_equal(ns, "shop");
    tell(data, g_strdup_printf("v-%s:%s", name, uid != NULL ? uid : "?"));
}

static void
on_synced(gpointer data)
{
    tell(data, g_strdup("sync"));
}

static void
on_looked(const char *ns G_GNUC_UNUSED, const char *name, gpointer data)
{
    tell(data, g_strdup_printf("look:%s", name));
}

static void
on_trouble(const GError *error, gpointer data)
{
    tell(data,
         error != NULL ? g_strdup_printf("!%s", wk_error_get_reason(error)) : g_strdup("well"));
}

static const WkKubevirtListener listener = { .vmi = on_vmi,
                                             .vmi_gone = on_vmi_gone,
                                             .vm = on_vm,
                                             .vm_gone = on_vm_gone,
                                             .synced = on_synced,
                                             .looked = on_looked,
                                             .trouble = on_trouble };

static int
setup(void **state)
{
    Fixture *self = g_new0(Fixture, 1);
    void *kube = NULL;

    kube_setup(&kube);
    self->kube = kube;
    self->told = g_string_new(NULL);
    self->kubevirt = wk_kubevirt_new(self->kube->kube, "node-1", &listener, self);
    *state = self;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *self = *state;
    void *kube = self->kube;

    wk_kubevirt_free(self->kubevirt);
    kube_teardown(&kube);
    g_string_free(self->told, TRUE);
    g_free(self);
    return 0;
}

typedef struct {
    Fixture *self;
    const char *told;
} Expected;

static gboolean
is_told(gpointer data)
{
    const Expected *expected = data;

    return g_str_equal(expected->self->told->str, expected->told);
}

/* Waits until exactly @told was told since the last time. */
static void
wait_told(Fixture *self, const char *told)
{
    Expected expected = { self, told };
    g_autofree char *what = g_strdup_printf("'%s'", told);

    fake_wait_until(is_told, &expected, what);
    fake_settle();
    assert_string_equal(self->told->str, told);
    g_string_set_size(self->told, 0);
}

/* What was pushed has been dealt with, and nothing was told of it. */
static void
wait_nothing(Fixture *self)
{
    for (int i = 0; i < 3; i++)
        fake_settle();
    assert_string_equal(self->told->str, "");
}

static FakeCall *
take(Fixture *self, const char *prefix)
{
    FakeCall *call = fake_apiserver_wait(self->kube->api, prefix);

    fake_call_begin(call, 200, NULL);
    return call;
}

/* @object: "web:u1/7", with @more of its metadata. */
static void
push_more(FakeCall *call, const char *type, const char *object, const char *more)
{
    g_auto(GStrv) parts = g_strsplit_set(object, ":/", 3);

    fake_call_pushf(call,
                    "{\"type\":\"%s\",\"object\":{\"metadata\":{\"name\":\"%s\",\"namespace\":"
                    "\"shop\",\"uid\":\"%s\",\"resourceVersion\":\"%s\"%s}}}\n",
                    type, parts[0], parts[1], parts[2], more);
}

static void
push(FakeCall *call, const char *type, const char *object)
{
    push_more(call, type, object, "");
}

static void
push_end(FakeCall *call)
{
    fake_call_push(call,
                   "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"100\","
                   "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n",
                   -1);
}

/* Answers with a list of @objects ("web:u1/7 ...") and leaves it open as the watch that it is. */
static FakeCall *
list(Fixture *self, const char *prefix, const char *objects)
{
    FakeCall *call = take(self, prefix);
    g_auto(GStrv) each = g_strsplit(objects, " ", -1);

    for (gsize i = 0; each[i] != NULL; i++) {
        if (*each[i] != '\0')
            push(call, "ADDED", each[i]);
    }
    push_end(call);
    return call;
}

/* The server knows nothing of the old versions any more. */
static void
expire(FakeCall *call)
{
    fake_call_push(call,
                   "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":"
                   "\"Expired\",\"message\":\"too old\"}}\n",
                   -1);
}

/* ---- the node's ---- */

static void
test_node(void **state)
{
    Fixture *self = *state;
    FakeCall *call = take(self, GET_NODE);
    g_autofree char *selector = fake_call_get_param(call, "labelSelector");

    assert_string_equal(selector, "kubevirt.io/nodeName=node-1");
    assert_false(wk_kubevirt_is_synced(self->kubevirt));
    assert_false(wk_kubevirt_is_present(self->kubevirt));
    push(call, "ADDED", "web:u1/7");
    push(call, "ADDED", "db:u2/8");
    push_end(call);
    wait_told(self, "+web:u1/7 +db:u2/8 sync");
    assert_true(wk_kubevirt_is_synced(self->kubevirt));
    assert_true(wk_kubevirt_is_present(self->kubevirt));
    assert_true(wk_kubevirt_get_last_heard_us(self->kubevirt) > 0);
    assert_string_equal(wk_kubevirt_get_vmi(self->kubevirt, "shop", "web")->uid, "u1");
    assert_null(wk_kubevirt_get_vmi(self->kubevirt, "shop", "other"));
    assert_null(wk_kubevirt_get_vm(self->kubevirt, "shop", "web"));
    push(call, "MODIFIED", "web:u1/9");
    push(call, "MODIFIED", "web:u1/9"); /* the same */
    push(call, "DELETED", "db:u2/10");
    wait_told(self, "+web:u1/9 -db:u2");
    assert_null(wk_kubevirt_get_vmi(self->kubevirt, "shop", "db"));
    push(call, "DELETED", "db:u2/10");
    push(call, "DELETED", "never:u3/11");
    wait_nothing(self);
}

static void
test_node_replaced(void **state)
{
    Fixture *self = *state;
    FakeCall *call = list(self, GET_NODE, "web:u1/7 db:u2/8");

    wait_told(self, "+web:u1/7 +db:u2/8 sync");
    push(call, "ADDED", "web:u9/20"); /* its end was missed */
    wait_told(self, "-web:u1 +web:u9/20");
    expire(call);
    list(self, GET_NODE, "web:u10/30 new:u5/31");
    wait_told(self, "-web:u9 +web:u10/30 +new:u5/31 -db:u2 sync");
}

/* What is no VMI, or could lead elsewhere, is not told, and stops nothing. */
static void
test_node_garbage(void **state)
{
    Fixture *self = *state;
    FakeCall *call = take(self, GET_NODE);

    push(call, "ADDED", "..:u1/7");
    fake_call_push(
        call,
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":"
        "\"8\"}}}\n",
        -1);
    push(call, "ADDED", "web:u1/7");
    push_end(call);
    wait_told(self, "+web:u1/7 sync");
}

/* A server without KubeVirt is asked again, and no trouble. */
static void
test_absent(void **state)
{
    Fixture *self = *state;

    fake_call_fail(fake_apiserver_wait(self->kube->api, GET_NODE), 404, NULL, "NotFound",
                   "the server could not find the requested resource");
    wait_nothing(self);
    assert_false(wk_kubevirt_is_present(self->kubevirt));
    wk_kubevirt_hurry(self->kubevirt);
    list(self, GET_NODE, "web:u1/7");
    wait_told(self, "+web:u1/7 sync");
    assert_true(wk_kubevirt_is_present(self->kubevirt));
}

static void
test_trouble(void **state)
{
    Fixture *self = *state;
    FakeCall *call = list(self, GET_NODE, "web:u1/7");

    wait_told(self, "+web:u1/7 sync");
    fake_call_reset(call);
    wait_told(self, "!ConnectionLost");
    assert_string_equal(wk_kubevirt_get_vmi(self->kubevirt, "shop", "web")->uid, "u1");
    wk_kubevirt_hurry(self->kubevirt);
    call = take(self, GET_NODE);
    push(call, "MODIFIED", "web:u1/8");
    wait_told(self, "well +web:u1/8");
}

/* ---- by name ---- */

static void
test_follow(void **state)
{
    Fixture *self = *state;
    FakeCall *node = list(self, GET_NODE, "web:u1/7");
    FakeCall *vmi, *vm;
    g_autofree char *selector = NULL;

    wait_told(self, "+web:u1/7 sync");
    wk_kubevirt_follow(self->kubevirt, "shop", "web", TRUE);
    wk_kubevirt_follow(self->kubevirt, "shop", "web", TRUE); /* counted */
    vmi = list(self, GET_VMI, "web:u1/7");
    selector = fake_call_get_param(vmi, "fieldSelector");
    assert_string_equal(selector, "metadata.name=web");
    vm = list(self, GET_VM, "web:m1/3");
    wait_told(self, "v+web:m1/3 look:web");
    assert_string_equal(wk_kubevirt_get_vm(self->kubevirt, "shop", "web")->uid, "m1");
    /* It has the word now: what the node's list says is only kept. */
    push(node, "MODIFIED", "web:u1/8");
    wait_nothing(self);
    push(vmi, "MODIFIED", "web:u1/9");
    push(vmi, "DELETED", "web:u1/10");
    wait_told(self, "+web:u1/9 -web:u1");
    push(node, "MODIFIED", "web:u1/9");
    push(node, "DELETED", "web:u1/10");
    wait_nothing(self);
    /* The successor is on no node yet. */
    push(vmi, "ADDED", "web:u2/12");
    wait_told(self, "+web:u2/12");
    push(vm, "MODIFIED", "web:m1/13");
    wait_told(self, "v+web:m1/13");
    push(vm, "DELETED", "web:m1/14");
    wait_told(self, "v-web:m1");
    wk_kubevirt_follow(self->kubevirt, "shop", "web", FALSE);
    assert_false(fake_call_is_gone(vmi));
    wk_kubevirt_follow(self->kubevirt, "shop", "web", FALSE);
    fake_call_wait_gone(vmi);
    fake_call_wait_gone(vm);
    wait_nothing(self);
    assert_null(wk_kubevirt_get_vmi(self->kubevirt, "shop", "web"));
    push(node, "ADDED", "web:u2/15");
    wait_told(self, "+web:u2/15");
}

/* Known by the node's list, and by a look that has the word. Returns: the node's watch. */
static FakeCall *
follow_web(Fixture *self)
{
    FakeCall *node = list(self, GET_NODE, "web:u1/7");

    wait_told(self, "+web:u1/7 sync");
    wk_kubevirt_follow(self->kubevirt, "shop", "web", TRUE);
    list(self, GET_VMI, "web:u1/7");
    list(self, GET_VM, "web:m1/3");
    wait_told(self, "v+web:m1/3 look:web");
    return node;
}

/* Left for another node, but not gone. */
static void
test_follow_elsewhere(void **state)
{
    Fixture *self = *state;
    FakeCall *node = follow_web(self);

    push(node, "DELETED", "web:u1/7");
    wait_nothing(self);
    assert_non_null(wk_kubevirt_get_vmi(self->kubevirt, "shop", "web"));
    expire(node);
    list(self, GET_NODE, "");
    wait_told(self, "sync");
    assert_non_null(wk_kubevirt_get_vmi(self->kubevirt, "shop", "web"));
}

/* Neither is there, and that is said; later both are, and then not any more. */
static void
test_follow_nothing(void **state)
{
    Fixture *self = *state;
    FakeCall *vmi, *vm;

    list(self, GET_NODE, "");
    wait_told(self, "sync");
    wk_kubevirt_follow(self->kubevirt, "shop", "web", TRUE);
    vmi = list(self, GET_VMI, "");
    wait_nothing(self);
    vm = list(self, GET_VM, "");
    wait_told(self, "v-web:? look:web");
    push(vm, "ADDED", "web:m1/3");
    wait_told(self, "v+web:m1/3");
    push(vmi, "ADDED", "web:u1/4");
    wait_told(self, "+web:u1/4");
    expire(vmi);
    list(self, GET_VMI, "");
    wait_told(self, "-web:u1 look:web");
    expire(vm);
    list(self, GET_VM, "web:m2/9");
    wait_told(self, "v-web:m1 v+web:m2/9 look:web");
}

/* What the node's list said meanwhile is told once nobody else has the word. */
static void
test_unfollow_tells_the_newest(void **state)
{
    Fixture *self = *state;
    FakeCall *node = follow_web(self);

    push(node, "MODIFIED", "web:u1/9");
    wait_nothing(self);
    wk_kubevirt_follow(self->kubevirt, "shop", "web", FALSE);
    assert_string_equal(self->told->str, ""); /* not from inside the call */
    wait_told(self, "+web:u1/9");
    assert_null(wk_kubevirt_get_vm(self->kubevirt, "shop", "web"));
}

/* A look's list may be older than what the node's watch has told since it was asked for. Whoever
 * lets go of the name then is left with the newest. */
static void
test_unfollow_after_an_older_list(void **state)
{
    Fixture *self = *state;
    FakeCall *node = list(self, GET_NODE, "web:u1/7");

    wait_told(self, "+web:u1/7 sync");
    wk_kubevirt_follow(self->kubevirt, "shop", "web", TRUE);
    push(node, "MODIFIED", "web:u1/9");
    wait_told(self, "+web:u1/9");
    list(self, GET_VMI, "web:u1/8");
    wait_told(self, "+web:u1/8");
    wk_kubevirt_follow(self->kubevirt, "shop", "web", FALSE);
    wait_told(self, "+web:u1/9");
}

/* What was kept is told from the main loop; what comes before that is newer. */
static void
test_unfollow_before_news(void **state)
{
    Fixture *self = *state;
    FakeCall *node = follow_web(self);

    push(node, "MODIFIED", "web:u1/9");
    wait_nothing(self);
    self->unfollow_in = "+db";
    fake_call_push(node, EVENT("ADDED", "db", "u5", "10") EVENT("MODIFIED", "web", "u1", "11"), -1);
    wait_told(self, "+db:u5/10 +web:u1/11");
}

/* Trouble of a look that is given up is over with it. */
static void
test_follow_trouble(void **state)
{
    Fixture *self = *state;

    list(self, GET_NODE, "");
    wait_told(self, "sync");
    wk_kubevirt_follow(self->kubevirt, "shop", "web", TRUE);
    fake_call_fail(fake_apiserver_wait(self->kube->api, GET_VMI), 403, NULL, "Forbidden", "no");
    wait_told(self, "!Forbidden");
    fake_call_fail(fake_apiserver_wait(self->kube->api, GET_VM), 403, NULL, "Forbidden", "no");
    wait_told(self, "!Forbidden");
    wk_kubevirt_hurry(self->kubevirt);
    list(self, GET_VM, "");
    wait_told(self, "v-web:?"); /* the other one is in trouble still */
    wk_kubevirt_follow(self->kubevirt, "shop", "web", FALSE);
    wait_told(self, "well");
}

/* A server that does not know the field selector sends everything. */
static void
test_follow_filters(void **state)
{
    Fixture *self = *state;
    FakeCall *vmi;

    list(self, GET_NODE, "");
    wait_told(self, "sync");
    wk_kubevirt_follow(self->kubevirt, "shop", "web", TRUE);
    vmi = list(self, GET_VMI, "other:u5/1 web:u1/2");
    wait_told(self, "+web:u1/2");
    list(self, GET_VM, "other:m5/1");
    wait_told(self, "v-web:? look:web");
    push(vmi, "DELETED", "other:u5/3");
    wait_nothing(self);
}

/* ---- a listener that lets go ---- */

static void
test_unfollow_in_a_call(void **state)
{
    Fixture *self = *state;
    static const char *const words[] = { "+web", "-web", "v+web", "v-web", "look" };

    list(self, GET_NODE, "");
    wait_told(self, "sync");
    for (gsize i = 0; i < G_N_ELEMENTS(words); i++) {
        FakeCall *vmi, *vm;

        self->unfollow_in = words[i];
        wk_kubevirt_follow(self->kubevirt, "shop", "web", TRUE);
        vmi = take(self, GET_VMI);
        vm = take(self, GET_VM);
        push(vmi, "ADDED", "web:u1/1");
        push(vmi, "ADDED", "web:u2/2");
        push(vm, "ADDED", "web:m1/1");
        push(vm, "ADDED", "web:m2/2");
        push_end(vmi);
        push_end(vm);
        fake_call_wait_gone(vmi);
        fake_call_wait_gone(vm);
        fake_settle();
        assert_null(self->unfollow_in);
        assert_null(wk_kubevirt_get_vmi(self->kubevirt, "shop", "web"));
        g_string_set_size(self->told, 0);
    }
}

static void
test_free_in_a_call(void **state)
{
    Fixture *self = *state;
    static const char *const words[] = { "+web", "-web", "v+web", "v-web", "look",
                                         "sync", "+db",  "-db",   "!" };

    for (gsize i = 0; i < G_N_ELEMENTS(words); i++) {
        FakeCall *node, *vmi, *vm;

        if (self->kubevirt == NULL)
            self->kubevirt = wk_kubevirt_new(self->kube->kube, "node-1", &listener, self);
        wk_kubevirt_follow(self->kubevirt, "shop", "web", TRUE);
        self->free_in = words[i];
        node = take(self, GET_NODE);
        vmi = take(self, GET_VMI);
        vm = take(self, GET_VM);
        push(node, "ADDED", "db:u8/1");
        push(node, "ADDED", "db:u9/1");
        push_end(node);
        push(vmi, "ADDED", "web:u1/1");
        push(vmi, "ADDED", "web:u2/2");
        push_end(vmi);
        push(vm, "ADDED", "web:m1/1");
        push(vm, "ADDED", "web:m2/2");
        push_end(vm);
        fake_settle();
        if (self->kubevirt != NULL)
            fake_call_reset(node);
        fake_call_wait_gone(node);
        fake_call_wait_gone(vmi);
        fake_call_wait_gone(vm);
        assert_null(self->kubevirt);
        assert_null(self->free_in);
    }
}

#define fixture_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_node),
        fixture_test(test_node_replaced),
        fixture_test(test_node_garbage),
        fixture_test(test_absent),
        fixture_test(test_trouble),
        fixture_test(test_follow),
        fixture_test(test_follow_elsewhere),
        fixture_test(test_follow_nothing),
        fixture_test(test_unfollow_tells_the_newest),
        fixture_test(test_unfollow_after_an_older_list),
        fixture_test(test_unfollow_before_news),
        fixture_test(test_follow_trouble),
        fixture_test(test_follow_filters),
        fixture_test(test_unfollow_in_a_call),
        fixture_test(test_free_in_a_call),
    };

    return cmocka_run_group_tests_name("kube/kubevirt", tests, NULL, NULL);
}
