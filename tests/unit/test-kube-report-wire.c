/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/client_private.h"
#include "kube/reporter_private.h"

#include "base/json.h"
#include "fake-apiserver.h"
#include "fake-kube-config.h"
#include "unit.h"
#include "wukong-store.h"

/* The reporter with the real client, against a server that can be made to fail. 10 s are 100 ms. */
#define SPEED   100
#define WUKONGS "/apis/vm.novasphere.dev/v1alpha1/namespaces/ns1/wukongs/"
#define PATCH   "PATCH " WUKONGS
#define EVENTS  "/apis/events.k8s.io/v1/namespaces/ns1/events"
#define LEASES  "/apis/coordination.k8s.io/v1/namespaces/sys/leases"

typedef struct {
    FakeApiserver *api;
    WkKubeConfig *config;
    WkKube *kube;
    WkReporter *reporter;
    GPtrArray *wukongs; /* (element-type StoreWukong) */
    char *lease;
    GString *told;
    guint cut; /* so many writes are done and not answered */
    gboolean drained;
} Fixture;

static const WkKubeTimes times = {
    .connect_ms = 2000,
    .request_ms = 5000,
    .suspect_ms = 2000,
    .retry_s_ms = 1,
    .credentials_ms = 60000,
};

/* --- the server ------------------------------------------------------------------------------- */

static StoreWukong *
find_wukong(Fixture *f, const char *path)
{
    for (guint i = 0; i < f->wukongs->len; i++) {
        StoreWukong *wukong = g_ptr_array_index(f->wukongs, i);
        g_autofree char *status = g_strconcat(WUKONGS, wukong->name, "/status?", NULL);
        g_autofree char *meta = g_strconcat(WUKONGS, wukong->name, "?", NULL);

        if (g_str_has_prefix(path, status) || g_str_has_prefix(path, meta))
            return wukong;
    }
    return NULL;
}

static void
serve_wukong(Fixture *f, FakeCall *call)
{
    gboolean is_status = strstr(fake_call_get_path(call), "/status?") != NULL;
    StoreWukong *wukong = find_wukong(f, fake_call_get_path(call));
    g_autofree char *type = fake_call_get_header(call, "Content-Type");
    gboolean done;

    assert_non_null(wukong);
    assert_string_equal(type,
                        is_status ? "application/apply-patch+yaml" : "application/json-patch+json");
    done = store_wukong_patch(wukong, is_status, fake_call_get_body(call));
    if (f->cut > 0) {
        f->cut--;
        fake_call_reset(call);
    } else if (done) {
        fake_call_answer(call, 200, NULL, store_wukong_get(wukong));
    } else if (is_status) {
        fake_call_fail(call, 409, NULL, "Conflict", "the object has been modified; try again");
    } else {
        fake_call_fail(call, 422, NULL, "Invalid", "the server rejected our request");
    }
}

static void
serve_lease(Fixture *f, FakeCall *call)
{
    if (g_str_equal(fake_call_get_method(call), "GET") && f->lease == NULL) {
        fake_call_fail(call, 404, NULL, "NotFound", "no such lease");
        return;
    }
    if (!g_str_equal(fake_call_get_method(call), "GET")) {
        g_free(f->lease);
        f->lease = g_strdup(fake_call_get_body(call));
    }
    fake_call_answer(call, 200, NULL, f->lease);
}

static void
on_call(FakeCall *call, gpointer data)
{
    Fixture *f = data;
    const char *path = fake_call_get_path(call);

    if (g_str_has_prefix(path, WUKONGS))
        serve_wukong(f, call);
    else if (g_str_has_prefix(path, LEASES))
        serve_lease(f, call);
    else if (g_str_has_prefix(path, EVENTS))
        fake_call_answer(call, 201, NULL, "{}");
}

/* --- the fixture ------------------------------------------------------------------------------ */

static void
on_removed(const char *uid, const char *owed, gpointer data)
{
    (void)owed;
    g_string_append_printf(((Fixture *)data)->told, "removed:%s ", uid);
}

static void
on_notice(const char *reason, const char *text, gpointer data)
{
    (void)text;
    g_string_append_printf(((Fixture *)data)->told, "%s ", reason);
}

static void
on_done(gint64 seq, gpointer data)
{
    g_string_append_printf(((Fixture *)data)->told, "event:%d ", (int)seq);
}

static int
setup(void **state)
{
    static const WkReporterOptions options = { .node_name = "n1", .namespace_name = "sys" };
    static const WkReporterListener listener = { .removed = on_removed,
                                                 .event_done = on_done,
                                                 .notice = on_notice };
    Fixture *f = g_new0(Fixture, 1);

    f->told = g_string_new(NULL);
    f->wukongs = g_ptr_array_new_with_free_func((GDestroyNotify)store_wukong_free);
    f->api = fake_apiserver_new();
    fake_apiserver_set_handler(f->api, on_call, f);
    f->config = fake_kube_config_new(fake_apiserver_get_url(f->api), "sesame");
    f->kube = wk_kube_new(f->config, "test/1");
    wk_kube_set_times(f->kube, &times);
    f->reporter = wk_reporter_new_fast(f->kube, &options, &listener, f, SPEED);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *f = *state;

    wk_reporter_free(f->reporter);
    wk_kube_free(f->kube);
    fake_settle();
    wk_kube_config_unref(f->config);
    fake_apiserver_free(f->api);
    g_ptr_array_unref(f->wukongs);
    g_string_free(f->told, TRUE);
    g_free(f->lease);
    g_free(f);
    return 0;
}

static StoreWukong *
add_wukong(Fixture *f, const char *name, const char *action)
{
    g_autofree char *uid = g_strdup_printf("uid-%s", name);
    StoreWukong *wukong = store_wukong_new(name, uid, action);

    g_ptr_array_add(f->wukongs, wukong);
    return wukong;
}

static void
see(Fixture *f, StoreWukong *wukong)
{
    g_autoptr(WkWukong) seen = store_wukong_see(wukong, wukong->versions->len - 1);

    wk_reporter_saw(f->reporter, seen);
}

static void
want(Fixture *f, const StoreWukong *wukong, const char *name, const char *owed)
{
    WkStatus *status = g_new0(WkStatus, 1);

    status->uid = g_strdup(wukong->uid);
    status->state = g_strdup_printf("{\"state\":\"%s\"}", name);
    status->compared = g_strdup(status->state);
    wk_reporter_want(f->reporter, "ns1", wukong->name, status, owed, -1, TRUE);
}

static gboolean
is_shown(gpointer data)
{
    return wk_reporter_count_pending(((Fixture *)data)->reporter) == 0;
}

static gboolean
has_lease(gpointer data)
{
    return ((Fixture *)data)->lease != NULL;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void
test_transition(void **state)
{
    static const char action[] = "{\"action\":\"suspend\"}";
    Fixture *f = *state;
    StoreWukong *wukong = add_wukong(f, "vm-1", action);
    WkKubeEvent *event;

    see(f, wukong);
    want(f, wukong, "Suspending", NULL);
    want(f, wukong, "Suspended", action);
    {
        g_autoptr(WkWukong) seen = store_wukong_see(wukong, 0);

        event = wk_kube_event_new(seen, "Normal", "Suspended", "Suspend", "saved");
    }
    event->seq = 7;
    wk_reporter_event(f->reporter, event);
    fake_wait_until(is_shown, f, "all to be shown");
    fake_settle();
    assert_int_equal(fake_apiserver_count(f->api, PATCH), 3);
    assert_int_equal(fake_apiserver_count(f->api, "POST " EVENTS), 1);
    assert_string_equal(wukong->mirror, "{\"state\":\"Suspended\"}");
    assert_null(wukong->action);
    assert_non_null(strstr(f->told->str, "removed:uid-vm-1 "));
    assert_non_null(strstr(f->told->str, "event:7 "));
    fake_wait_until(has_lease, f, "the Lease");
}

/* Each write is done, and its answer lost: the watch tells. Nothing is removed that is not ours. */
static void
test_answers_lost(void **state)
{
    static const char action[] = "{\"action\":\"suspend\"}";
    Fixture *f = *state;
    StoreWukong *wukong = add_wukong(f, "vm-1", action);

    see(f, wukong);
    f->cut = 1;
    want(f, wukong, "Suspended", action);
    fake_apiserver_wait_count(f->api, PATCH, 1);
    fake_settle();
    f->cut = 1;
    see(f, wukong);
    while (wukong->action != NULL)
        g_main_context_iteration(NULL, TRUE);
    fake_settle();
    see(f, wukong);
    fake_wait_until(is_shown, f, "all to be shown");
    fake_settle();
    assert_string_equal(f->told->str, "removed:uid-vm-1 ");
    assert_string_equal(wukong->mirror, "{\"state\":\"Suspended\"}");
    assert_in_range(fake_apiserver_count(f->api, PATCH), 2, 4);
}

static void
want_all(Fixture *f, const char *name)
{
    for (guint i = 0; i < f->wukongs->len; i++)
        want(f, g_ptr_array_index(f->wukongs, i), name, NULL);
}

static gboolean
has_waited(gpointer data)
{
    return g_get_monotonic_time() > *(const gint64 *)data;
}

/* The port refuses for a while, with 60 that change: few tries, then two writes for each. */
static void
test_outage(void **state)
{
    Fixture *f = *state;
    gint64 until_us;
    guint tried;

    for (guint i = 0; i < 60; i++) {
        g_autofree char *name = g_strdup_printf("vm-%u", i);

        see(f, add_wukong(f, name, NULL));
    }
    fake_apiserver_down(f->api);
    want_all(f, "Suspending");
    want_all(f, "Suspended");
    until_us = g_get_monotonic_time() + 400 * 1000;
    fake_wait_until(has_waited, &until_us, "40 s of outage");
    assert_int_equal(wk_reporter_count_pending(f->reporter), 60);
    fake_apiserver_up(f->api);
    wk_reporter_hurry(f->reporter);
    fake_wait_until(is_shown, f, "all to be shown");
    tried = fake_apiserver_count(f->api, PATCH);
    assert_int_equal(tried, 120);
}

static void
on_drained(gpointer data)
{
    ((Fixture *)data)->drained = TRUE;
}

static gboolean
is_drained(gpointer data)
{
    return ((Fixture *)data)->drained;
}

static void
test_drain(void **state)
{
    Fixture *f = *state;
    StoreWukong *wukong = add_wukong(f, "vm-1", NULL);

    see(f, wukong);
    want(f, wukong, "Suspended", NULL);
    wk_reporter_drain(f->reporter, 1000 * 1000, on_drained, f);
    assert_false(f->drained);
    fake_wait_until(is_drained, f, "the drain");
    assert_string_equal(wukong->mirror, "{\"state\":\"Suspended\"}");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_transition, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
    };

    return cmocka_run_group_tests_name("kube-report-wire", tests, NULL, NULL);
}
