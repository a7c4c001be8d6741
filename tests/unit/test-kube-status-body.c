/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "status_fixture.h"

#define SUSPENDED_JSON                                                                             \
    "{\"lastAction\":\"suspend\",\"lastActionTime\":\"2026-11-22T20:00:00Z\","                     \
    "\"lastRequestId\":\"patch-42\",\"message\":\"saved to disk: 834 MB in 1.2 s\","               \
    "\"observedGeneration\":3,\"origin\":\"spec\",\"reason\":\"SavedToDisk\","                     \
    "\"savedAt\":\"2026-11-22T20:00:00Z\",\"savedBytes\":833877135,\"state\":\"Suspended\","       \
    "\"target\":\"disk\"}"

#define CONDITIONS_JSON                                                                            \
    "[{\"type\":\"Suspended\",\"status\":\"True\",\"reason\":\"SavedToDisk\","                     \
    "\"message\":\"saved to disk: 834 MB in 1.2 s\",\"lastTransitionTime\":"                       \
    "\"%s\"},"                                                                                     \
    "{\"type\":\"Restorable\",\"status\":\"True\",\"reason\":\"SavedToDisk\","                     \
    "\"message\":\"the saved memory is safe on disk\",\"lastTransitionTime\":"                     \
    "\"2026-11-22T20:00:00Z\"},"                                                                   \
    "{\"type\":\"LifecycleActionSucceeded\",\"status\":\"True\",\"reason\":\"Succeeded\","         \
    "\"message\":\"suspend succeeded\",\"observedGeneration\":3,\"lastTransitionTime\":"           \
    "\"2026-11-22T20:00:00Z\"}]"

static void
test_apply_body(void **state)
{
    static const struct {
        const char *seen;
        const char *transition;
    } rows[] = {
        { "{}", "2026-11-22T20:00:00Z" },
        { "{\"conditions\":[{\"type\":\"Suspended\",\"status\":\"True\",\"lastTransitionTime\":"
          "\"2026-11-01T01:02:03Z\"}]}",
          "2026-11-01T01:02:03Z" },
        { "{\"conditions\":[{\"type\":\"Suspended\",\"status\":\"False\",\"lastTransitionTime\":"
          "\"2026-11-01T01:02:03Z\"}]}",
          "2026-11-22T20:00:00Z" },
        { "{\"conditions\":[{\"type\":\"Suspended\",\"status\":\"True\",\"lastTransitionTime\":"
          "\"yesterday\"}]}",
          "2026-11-22T20:00:00Z" },
        { "{\"conditions\":[{\"type\":\"Suspended\",\"status\":\"True\"}]}",
          "2026-11-22T20:00:00Z" },
    };
    StatusParts parts = status_parts();
    g_autoptr(WkStatus) status = NULL;

    (void)state;
    status_suspend_to_disk(&parts);
    status = status_of_parts(&parts);
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(WkWukong) seen = status_seen("", rows[i].seen);
        g_autofree char *conditions = g_strdup_printf(CONDITIONS_JSON, rows[i].transition);
        g_autofree char *golden = g_strdup_printf(
            "{\"apiVersion\":\"vm.novasphere.dev/v1alpha1\",\"kind\":\"Wukong\",\"metadata\":"
            "{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"u-1\",\"resourceVersion\":\"84\"},"
            "\"status\":{\"lifecycleState\":" SUSPENDED_JSON ",\"conditions\":%s}}",
            conditions);
        g_autofree char *body = wk_status_apply_body(status, seen, NOW_US, TRUE);

        status_assert_json(body, golden);
    }
}

static void
test_apply_body_without_conditions(void **state)
{
    StatusParts parts = status_parts();
    g_autoptr(WkStatus) status = status_of_parts(&parts);
    g_autoptr(WkWukong) seen = status_seen("", "{}");
    g_autofree char *body = wk_status_apply_body(status, seen, NOW_US, FALSE);

    (void)state;
    status_assert_json(body,
                       "{\"apiVersion\":\"vm.novasphere.dev/v1alpha1\",\"kind\":\"Wukong\","
                       "\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"u-1\","
                       "\"resourceVersion\":\"84\"},"
                       "\"status\":{\"lifecycleState\":{\"state\":\"Running\"}}}");
}

#define UID_STEP "{\"op\":\"test\",\"path\":\"/metadata/uid\",\"value\":\"u-1\"}"
#define NEW_STEPS                                                                                  \
    ",{\"op\":\"test\",\"path\":\"/metadata/annotations\",\"value\":null}"                         \
    ",{\"op\":\"add\",\"path\":\"/metadata/annotations\",\"value\":{}}"
#define ANNOTATION "\"path\":\"/metadata/annotations/wukong.novasphere.dev~1"
#define MIRROR_STEP                                                                                \
    ",{\"op\":\"add\"," ANNOTATION "lifecycle-state\",\"value\":\"{\\\"state\\\":\\\"Running\\\"}" \
    "\"}"
#define MARK_STEP   ",{\"op\":\"add\"," ANNOTATION "suspended\",\"value\":\"true\"}"
#define UNMARK_STEP ",{\"op\":\"remove\"," ANNOTATION "suspended\"}"
#define PLACE_STEP  ",{\"op\":\"add\"," ANNOTATION "saved-on\",\"value\":\"node-1\"}"
#define UNPLACE     ",{\"op\":\"remove\"," ANNOTATION "saved-on\"}"
#define OWED        "{\"action\":\"suspend\",\"requestId\":\"a\\u003cb\",\"target\":null}"
#define OWED_STEPS                                                                                 \
    ",{\"op\":\"test\",\"path\":\"/spec/lifecycleAction\",\"value\":" OWED "}"                     \
    ",{\"op\":\"remove\",\"path\":\"/spec/lifecycleAction\"}"

static void
test_patch_body(void **state)
{
    static const char none[] = "";
    static const char some[] = ",\"annotations\":{\"a\":\"b\"}";
    static const char marked[] = ",\"annotations\":{\"wukong.novasphere.dev/suspended\":\"true\"}";
    static const struct {
        const char *metadata;
        const char *owed;
        int mark;
        const char *golden;
    } rows[] = {
        { none, NULL, -1, "[" UID_STEP NEW_STEPS MIRROR_STEP "]" },
        { some, NULL, -1, "[" UID_STEP MIRROR_STEP "]" },
        { marked, NULL, -1, "[" UID_STEP MIRROR_STEP "]" },
        { none, NULL, 1, "[" UID_STEP NEW_STEPS MIRROR_STEP MARK_STEP "]" },
        { some, NULL, 0, "[" UID_STEP MIRROR_STEP "]" },
        { marked, NULL, 0, "[" UID_STEP MIRROR_STEP UNMARK_STEP "]" },
        { marked, NULL, 1, "[" UID_STEP MIRROR_STEP MARK_STEP "]" },
        { none, OWED, -1, "[" UID_STEP NEW_STEPS MIRROR_STEP OWED_STEPS "]" },
        { marked, OWED, 0, "[" UID_STEP MIRROR_STEP UNMARK_STEP OWED_STEPS "]" },
        { some, "no JSON", -1, "[" UID_STEP MIRROR_STEP "]" },
    };
    StatusParts parts = status_parts();
    g_autoptr(WkStatus) status = status_of_parts(&parts);

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(WkWukong) seen = status_seen(rows[i].metadata, "{}");
        g_autofree char *body = wk_status_patch_body(status, seen, rows[i].owed, rows[i].mark);

        status_assert_json(body, rows[i].golden);
    }
}

/* The node that the image lies on: what another node's agent noted stays as it is. */
static void
test_saved_on(void **state)
{
    static const char none[] = ",\"annotations\":{\"a\":\"b\"}";
    static const char here[] = ",\"annotations\":{\"wukong.novasphere.dev/saved-on\":\"node-1\"}";
    static const char there[] = ",\"annotations\":{\"wukong.novasphere.dev/saved-on\":\"node-2\"}";
    static const struct {
        const char *metadata;
        const char *node;
        gboolean saved_here;
        const char *golden;
    } rows[] = {
        { none, "node-1", TRUE, "[" UID_STEP MIRROR_STEP PLACE_STEP "]" },
        { there, "node-1", TRUE, "[" UID_STEP MIRROR_STEP PLACE_STEP "]" },
        { here, "node-1", TRUE, "[" UID_STEP MIRROR_STEP "]" },
        { here, "node-1", FALSE, "[" UID_STEP MIRROR_STEP UNPLACE "]" },
        { there, "node-1", FALSE, "[" UID_STEP MIRROR_STEP "]" },
        { none, "node-1", FALSE, "[" UID_STEP MIRROR_STEP "]" },
        { here, NULL, FALSE, "[" UID_STEP MIRROR_STEP "]" },
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        StatusParts parts = status_parts();
        g_autoptr(WkWukong) seen = status_seen(rows[i].metadata, "{}");
        g_autoptr(WkStatus) status = NULL;
        g_autofree char *body = NULL;

        parts.input.node = rows[i].node;
        parts.input.saved_here = rows[i].saved_here;
        status = status_of_parts(&parts);
        body = wk_status_patch_body(status, seen, NULL, -1);
        status_assert_json(body, rows[i].golden);
        assert_int_equal(wk_status_is_place_shown(status, seen),
                         strstr(rows[i].golden, "saved-on") == NULL);
    }
}

/* What was written is shown; everything that is taken away or changed is seen. */
static void
test_is_shown(void **state)
{
    static const struct {
        const char *from;
        const char *to;
        gboolean state;      /* still shown, conditions left aside */
        gboolean conditions; /* still shown, with them */
    } rows[] = {
        { "x", "x", TRUE, TRUE },
        { "\"state\":\"Suspended\"", "\"state\":\"Suspended\",\"other\":1", TRUE, TRUE },
        { "\"type\":\"Suspended\"", "\"type\":\"Suspended\",\"observedGeneration\":9", TRUE, TRUE },
        { "2026-11-01T01:02:03Z", "2026-11-01T01:02:04Z", TRUE, TRUE },
        { "\"state\":\"Suspended\"", "\"state\":\"Running\"", FALSE, FALSE },
        { "\"savedBytes\":833877135", "\"progressPercent\":3", FALSE, FALSE },
        { "\"lifecycleState\"", "\"other\"", FALSE, FALSE },
        { "\"conditions\"", "\"other\"", TRUE, FALSE },
        { "\"type\":\"Restorable\"", "\"type\":\"Other\"", TRUE, FALSE },
        { "\"observedGeneration\":3,\"lastT", "\"observedGeneration\":4,\"lastT", TRUE, FALSE },
        { "suspend succeeded", "something else", TRUE, FALSE },
        { "\"reason\":\"Succeeded\"", "\"reason\":\"Other\"", TRUE, FALSE },
    };
    StatusParts parts = status_parts();
    g_autofree char *conditions = g_strdup_printf(CONDITIONS_JSON, "2026-11-01T01:02:03Z");
    g_autofree char *whole = g_strdup_printf(
        "{\"x\":1,\"conditions\":%s,\"lifecycleState\":" SUSPENDED_JSON "}", conditions);
    g_autoptr(WkStatus) status = NULL;

    (void)state;
    status_suspend_to_disk(&parts);
    status = status_of_parts(&parts);
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(GStrv) pieces = g_strsplit(whole, rows[i].from, 2);
        g_autofree char *text = g_strjoinv(rows[i].to, pieces);
        g_autoptr(WkWukong) seen = status_seen("", text);

        assert_non_null(pieces[1]);
        if (wk_status_is_shown(status, seen, FALSE) != rows[i].state
            || wk_status_is_shown(status, seen, TRUE) != rows[i].conditions)
            fail_msg("%s -> %s", rows[i].from, rows[i].to);
    }
}

/* One of ours that we don't want any more is still there. */
static void
test_left_over_condition(void **state)
{
    StatusParts parts = status_parts();
    g_autoptr(WkStatus) status = status_of_parts(&parts);
    g_autoptr(WkWukong) seen =
        status_seen("", "{\"lifecycleState\":{\"state\":\"Running\"},\"conditions\":["
                        "{\"type\":\"Suspended\",\"status\":\"False\",\"reason\":\"Running\","
                        "\"message\":\"the guest runs\"}]}");

    (void)state;
    assert_true(wk_status_is_shown(status, seen, TRUE));
    seen->conditions[WK_CONDITION_RESTORABLE].status = g_strdup("True");
    assert_false(wk_status_is_shown(status, seen, TRUE));
    assert_true(wk_status_is_shown(status, seen, FALSE));
    g_free(seen->uid);
    seen->uid = g_strdup("u-2");
    assert_false(wk_status_is_shown(status, seen, FALSE));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apply_body), cmocka_unit_test(test_apply_body_without_conditions),
        cmocka_unit_test(test_patch_body), cmocka_unit_test(test_saved_on),
        cmocka_unit_test(test_is_shown),   cmocka_unit_test(test_left_over_condition),
    };

    return cmocka_run_group_tests_name("kube-status-body", tests, NULL, NULL);
}
