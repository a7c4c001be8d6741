/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/lease.h"

#include "base/json.h"
#include "kube-double.h"
#include "unit.h"

#define SPEED 1000 /* 10 s are 10 ms */
#define ONE   "/apis/coordination.k8s.io/v1/namespaces/wukong-system/leases/wukongd-n1"
#define ALL   "POST /apis/coordination.k8s.io/v1/namespaces/wukong-system/leases"

typedef struct {
    WkOutlet *outlet;
    WkLease *lease;
    GString *notices;
    guint renewals;
} Fixture;

static void
on_notice(const char *reason, const char *text, gpointer data)
{
    Fixture *f = data;

    g_string_append_printf(f->notices, "%s%s ", text == NULL ? "-" : "", reason);
}

static void
on_renewed(gpointer data)
{
    Fixture *f = data;

    f->renewals++;
}

static int
setup(void **state)
{
    static const WkReporterOptions options = { .node_name = "n1",
                                               .namespace_name = "wukong-system" };
    static const WkReporterListener listener = { .notice = on_notice, .renewed = on_renewed };
    Fixture *f = g_new0(Fixture, 1);

    f->notices = g_string_new(NULL);
    f->outlet = wk_outlet_new(NULL, &options, &listener, f, SPEED);
    f->lease = wk_lease_new(f->outlet, 0, 0);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *f = *state;

    wk_outlet_stop(f->outlet);
    wk_lease_free(f->lease);
    double_reset();
    wk_outlet_unref(f->outlet);
    g_string_free(f->notices, TRUE);
    g_free(f);
    return 0;
}

static void
test_create_and_renew(void **state)
{
    DoubleCall *call;
    g_autoptr(JsonObject) made = NULL;
    JsonObject *spec;

    (void)state;
    double_fail(double_wait("GET " ONE), WK_ERROR_NOT_FOUND, "NotFound", "no such lease");
    call = double_wait(ALL);
    made = wk_json_parse(call->body, -1, 4096, NULL);
    spec = wk_json_get_object(made, "spec");
    assert_string_equal(wk_json_get_string(spec, "holderIdentity"), "n1");
    assert_int_equal(wk_json_get_int(spec, "leaseDurationSeconds", 0), 40);
    assert_int_equal(strlen(wk_json_get_string(spec, "renewTime")),
                     strlen("2026-11-22T20:00:00.123456Z"));
    double_answer(call, call->body);
    for (guint i = 0; i < 3; i++) {
        call = double_wait("PUT " ONE);
        double_answer(call, call->body);
    }
    assert_int_equal(double_count("GET"), 1);
}

static void
test_takes_over(void **state)
{
    DoubleCall *call;

    (void)state;
    double_answer(double_wait("GET " ONE),
                  "{\"metadata\":{\"name\":\"wukongd-n1\",\"resourceVersion\":\"7\",\"labels\":"
                  "{\"a\":\"b\"}},\"spec\":{\"holderIdentity\":\"old\",\"leaseTransitions\":2}}");
    call = double_wait("PUT " ONE);
    assert_non_null(strstr(call->body, "\"resourceVersion\":\"7\""));
    assert_non_null(strstr(call->body, "\"leaseTransitions\":3"));
    assert_non_null(strstr(call->body, "\"labels\""));
    assert_non_null(strstr(call->body, "\"acquireTime\""));
    double_fail(call, WK_ERROR_CONFLICT, "Conflict", "the object has been modified");
    call = double_wait("GET " ONE);
    double_fail(call, WK_ERROR_UNAVAILABLE, NULL, "no connection");
    double_answer(double_wait("GET " ONE), "{}");
    assert_non_null(double_wait("PUT " ONE));
}

/* Gone under our feet: made again, once, without a pause that others would notice. */
static void
test_deleted(void **state)
{
    (void)state;
    double_answer(double_wait("GET " ONE), "{}");
    double_fail(double_wait("PUT " ONE), WK_ERROR_NOT_FOUND, "NotFound", "gone");
    assert_non_null(double_wait(ALL));
}

static void
test_no_namespace(void **state)
{
    Fixture *f = *state;

    for (guint i = 0; i < 2; i++) { /* the second 5 minutes later */
        double_fail(double_wait("GET " ONE), WK_ERROR_NOT_FOUND, "NotFound", "no lease");
        double_fail(double_wait(ALL), WK_ERROR_NOT_FOUND, "NotFound", "no namespace");
    }
    double_settle();
    assert_string_equal(f->notices->str, "NamespaceMissing ");
    double_idle(100);
    assert_int_equal(double_count("leases"), 4);
    double_answer(double_wait("GET " ONE), "{}");
    double_answer(double_wait("PUT " ONE), "{}");
    double_settle();
    assert_string_equal(f->notices->str, "NamespaceMissing -NamespaceMissing ");
}

static void
test_forbidden(void **state)
{
    Fixture *f = *state;

    for (guint i = 0; i < 5; i++) { /* a server that has just started knows no roles yet */
        assert_string_equal(f->notices->str, "");
        double_fail(double_wait("GET " ONE), WK_ERROR_DENIED, "Forbidden", "may not");
    }
    double_settle();
    assert_string_equal(f->notices->str, "LeaseForbidden ");
    double_idle(100);
    assert_int_equal(double_count("leases"), 5);
}

/* A server that answers "not found" has let us ask: what it denies then, it means. */
static void
test_may_look_only(void **state)
{
    Fixture *f = *state;

    double_fail(double_wait("GET " ONE), WK_ERROR_NOT_FOUND, "NotFound", "no lease");
    double_fail(double_wait(ALL), WK_ERROR_DENIED, "Forbidden", "may not");
    double_settle();
    assert_string_equal(f->notices->str, "LeaseForbidden ");
}

/* It finds out first that the server is there again. */
static void
test_renewals_are_told(void **state)
{
    Fixture *f = *state;

    double_answer(double_wait("GET " ONE), "{}");
    for (guint i = 0; i < 3; i++)
        double_fail(double_wait("PUT " ONE), WK_ERROR_UNAVAILABLE, NULL, "no connection");
    double_settle();
    assert_int_equal(f->renewals, 0);
    for (guint i = 0; i < 2; i++)
        double_answer(double_wait("PUT " ONE), "{}");
    double_settle();
    assert_int_equal(f->renewals, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create_and_renew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_takes_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_namespace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_may_look_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forbidden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renewals_are_told, setup, teardown),
    };

    return cmocka_run_group_tests_name("kube-lease", tests, NULL, NULL);
}
