/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "kube/canonical.h"
#include "kube/status.h"
#include "kube/wukong_private.h"

#define NOW_US   (G_GINT64_CONSTANT(1795377600) * G_USEC_PER_SEC) /* 2026-11-22T20:00:00Z */
#define TEXT_MAX (1024 * 1024)

/* Everything that a status is made of; a running guest to begin with. */
typedef struct {
    WkView view;
    WkOperation operation;
    WkBinding binding;
    WkStatusInput input;
} Parts;

static Parts
make_parts(void)
{
    Parts parts = { 0 };

    parts.view = (WkView){ .state = WK_STATE_RUNNING, .progress_percent = -1, .restorable = -1 };
    parts.operation = (WkOperation){ .id = (char *)"op",
                                     .action = WK_ACTION_SUSPEND,
                                     .target = WK_TARGET_DISK,
                                     .origin = WK_ORIGIN_SPEC,
                                     .state = WK_OP_RUNNING };
    parts.binding = (WkBinding){ .uid = (char *)"u-1", .action = WK_ACTION_SUSPEND };
    parts.input.uid = "u-1";
    parts.input.generation = 5;
    return parts;
}

static WkStatus *
make_status(Parts *parts)
{
    parts->input.view = &parts->view;
    return wk_status_make(&parts->input);
}

static void
suspend_to_disk(Parts *parts)
{
    parts->view.state = WK_STATE_SUSPENDED;
    parts->view.target = WK_TARGET_DISK;
    parts->view.reason = (char *)"SavedToDisk";
    parts->view.message = (char *)"saved to disk: 834 MB in 1.2 s";
    parts->view.origin = WK_ORIGIN_SPEC;
    parts->view.saved_bytes = 833877135;
    parts->view.saved_at_us = NOW_US;
    parts->view.restorable = 1;
    parts->view.last_action = WK_ACTION_SUSPEND;
    parts->view.last_action_at_us = NOW_US;
    parts->binding.observed_generation = 3;
    parts->binding.last_request_id = (char *)"patch-42";
    parts->binding.result = WK_OP_SUCCEEDED;
    parts->binding.ended_at_us = NOW_US;
    parts->input.binding = &parts->binding;
}

static WkWukong *
make_seen(const char *metadata, const char *status)
{
    g_autofree char *text =
        g_strdup_printf("{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"u-1\","
                        "\"resourceVersion\":\"84\"%s},\"status\":%s}",
                        metadata, status);
    g_autoptr(JsonObject) object = wk_json_parse(text, -1, TEXT_MAX, NULL);
    WkWukong *seen;

    assert_non_null(object);
    seen = wk_wukong_parse(object, NULL);
    assert_non_null(seen);
    return seen;
}

/* Texts are compared as JSON: in one spelling. A list is wrapped to be an object. */
static void
assert_json(const char *text, const char *golden)
{
    g_autofree char *wrapped = g_strdup_printf("{\"it\":%s}", golden);
    g_autofree char *text_wrapped = g_strdup_printf("{\"it\":%s}", text);
    g_autoptr(JsonObject) expected = wk_json_parse(wrapped, -1, TEXT_MAX, NULL);
    g_autoptr(JsonObject) found = wk_json_parse(text_wrapped, -1, TEXT_MAX, NULL);
    g_autofree char *expected_text = NULL;
    g_autofree char *found_text = NULL;

    assert_non_null(expected);
    assert_non_null(found);
    expected_text = wk_canonical_object(expected);
    found_text = wk_canonical_object(found);
    assert_string_equal(found_text, expected_text);
    assert_string_equal(found_text, text_wrapped); /* and it is canonical as it is */
}

static void
test_suspended_to_disk(void **state)
{
    Parts parts = make_parts();
    g_autoptr(WkStatus) status = NULL;

    (void)state;
    suspend_to_disk(&parts);
    status = make_status(&parts);
    assert_json(status->state,
                "{\"state\":\"Suspended\",\"target\":\"disk\",\"lastAction\":\"suspend\","
                "\"lastActionTime\":\"2026-11-22T20:00:00Z\",\"reason\":\"SavedToDisk\","
                "\"message\":\"saved to disk: 834 MB in 1.2 s\",\"savedBytes\":833877135,"
                "\"savedAt\":\"2026-11-22T20:00:00Z\",\"origin\":\"spec\","
                "\"observedGeneration\":3,\"lastRequestId\":\"patch-42\"}");
    assert_string_equal(status->compared, status->state);
    assert_string_equal(status->uid, "u-1");
}

/* Only what is ours to write, all of it, and what the document says. */
static void
test_members(void **state)
{
    Parts parts = make_parts();
    g_autoptr(GPtrArray) rows = unit_read_table("docs/states.md", "In a Wukong");
    g_autoptr(WkStatus) status = NULL;
    g_autoptr(JsonObject) object = NULL;

    (void)state;
    suspend_to_disk(&parts);
    parts.view.progress_percent = 100;
    status = make_status(&parts);
    object = wk_json_parse(status->state, -1, TEXT_MAX, NULL);
    assert_int_equal(json_object_get_size(object), rows->len);
    assert_int_equal(g_strv_length((GStrv)wk_wukong_state_members), rows->len);
    for (guint i = 0; i < rows->len; i++) {
        const GStrv cells = g_ptr_array_index(rows, i);

        assert_true(json_object_has_member(object, cells[0]));
        assert_true(g_strv_contains(wk_wukong_state_members, cells[0]));
    }
}

static void
test_nothing_known(void **state)
{
    static const struct {
        const char *missing;
        const char *message;
        const char *golden;
        const char *suspended;
    } rows[] = {
        { NULL, NULL, "{\"state\":\"Unknown\"}", "Unknown" },
        { "NoSuchGuest", "no domain 'shop_web-vm'",
          "{\"message\":\"no domain 'shop_web-vm'\",\"reason\":\"NoSuchGuest\","
          "\"state\":\"Unknown\"}",
          "Unknown" },
        { "NotRunning", NULL, "{\"reason\":\"NotRunning\",\"state\":\"Stopped\"}", "False" },
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        const WkStatusInput input = { .uid = "u-1",
                                      .missing = rows[i].missing,
                                      .missing_message = rows[i].message };
        g_autoptr(WkStatus) status = wk_status_make(&input);

        assert_json(status->state, rows[i].golden);
        assert_string_equal(status->conditions[WK_CONDITION_SUSPENDED].status, rows[i].suspended);
        assert_string_not_equal(status->conditions[WK_CONDITION_SUSPENDED].message, "");
        assert_null(status->conditions[WK_CONDITION_RESTORABLE].status);
        assert_null(status->conditions[WK_CONDITION_SUCCEEDED].status);
    }
}

/* A wrong value never gets as far as the guest's own record: its words are shown while neither the
 * guest nor a later action has something to say. */
static void
test_words_of_a_failure(void **state)
{
    Parts parts = make_parts();
    g_autoptr(WkStatus) failed = NULL;
    g_autoptr(WkStatus) later = NULL;
    g_autoptr(WkStatus) told = NULL;

    (void)state;
    parts.binding.action = WK_ACTION_NONE;
    parts.binding.result = WK_OP_FAILED;
    parts.binding.observed_generation = 4;
    parts.binding.reason = (char *)"InvalidAction";
    parts.binding.message = (char *)"spec.lifecycleAction.action: ...";
    parts.binding.last_request_id = (char *)"id";
    parts.binding.ended_at_us = NOW_US;
    parts.input.binding = &parts.binding;
    failed = make_status(&parts);
    assert_json(failed->state, "{\"message\":\"spec.lifecycleAction.action: ...\","
                               "\"observedGeneration\":4,\"reason\":\"InvalidAction\","
                               "\"state\":\"Running\"}");
    parts.view.last_action = WK_ACTION_RESUME;
    parts.view.last_action_at_us = NOW_US + G_USEC_PER_SEC;
    later = make_status(&parts);
    assert_json(later->state, "{\"lastAction\":\"resume\",\"lastActionTime\":"
                              "\"2026-11-22T20:00:01Z\",\"observedGeneration\":4,"
                              "\"state\":\"Running\"}");
    parts.view.last_action_at_us = 0;
    parts.view.reason = (char *)"GuestBusy";
    told = make_status(&parts);
    assert_json(told->state, "{\"lastAction\":\"resume\",\"observedGeneration\":4,"
                             "\"reason\":\"GuestBusy\",\"state\":\"Running\"}");
}

static void
test_last_action(void **state)
{
    static const struct {
        WkAction view_action;
        gint64 view_at_us;
        WkAction asked_action;
        gint64 asked_at_us;
        const char *action;
    } rows[] = {
        { WK_ACTION_NONE, 0, WK_ACTION_NONE, 0, NULL },
        { WK_ACTION_RESUME, 5, WK_ACTION_NONE, 9, "resume" },
        { WK_ACTION_RESUME, 5, WK_ACTION_SUSPEND, 4, "resume" },
        { WK_ACTION_RESUME, 5, WK_ACTION_SUSPEND, 6, "suspend" },
        { WK_ACTION_NONE, 0, WK_ACTION_DISCARD, 6, "discard" },
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        Parts parts = make_parts();
        g_autoptr(WkStatus) status = NULL;
        g_autoptr(JsonObject) object = NULL;

        parts.view.last_action = rows[i].view_action;
        parts.view.last_action_at_us = rows[i].view_at_us;
        parts.binding.action = rows[i].asked_action;
        parts.binding.ended_at_us = rows[i].asked_at_us;
        parts.input.binding = &parts.binding;
        status = make_status(&parts);
        object = wk_json_parse(status->state, -1, TEXT_MAX, NULL);
        assert_int_equal(g_strcmp0(wk_json_get_string(object, "lastAction"), rows[i].action), 0);
    }
}

/* The id is believed where the ledger is lost: it must only be there when the action was done. */
static void
test_request_id_of_what_was_done(void **state)
{
    (void)state;
    for (int result = WK_OP_QUEUED; result <= WK_OP_CANCELLED; result++) {
        Parts parts = make_parts();
        g_autoptr(WkStatus) status = NULL;

        parts.binding.last_request_id = (char *)"patch-42";
        parts.binding.result = (WkOpState)result;
        parts.input.binding = &parts.binding;
        status = make_status(&parts);
        assert_int_equal(strstr(status->state, "patch-42") != NULL, result == WK_OP_SUCCEEDED);
    }
}

static void
test_progress(void **state)
{
    Parts parts = make_parts();
    g_autoptr(WkStatus) early = NULL;
    g_autoptr(WkStatus) late = NULL;
    g_autoptr(WkStatus) retrying = NULL;

    (void)state;
    parts.view.state = WK_STATE_SUSPENDING;
    parts.view.target = WK_TARGET_DISK;
    parts.view.message = (char *)"syncing the guest's disks";
    parts.view.progress_percent = 3;
    parts.input.operation = &parts.operation;
    early = make_status(&parts);
    parts.view.message = (char *)"saving";
    parts.view.progress_percent = 101;
    late = make_status(&parts);
    assert_json(late->state, "{\"message\":\"saving\",\"progressPercent\":100,"
                             "\"state\":\"Suspending\",\"target\":\"disk\"}");
    assert_json(late->compared, "{\"state\":\"Suspending\",\"target\":\"disk\"}");
    assert_string_equal(early->compared, late->compared);
    assert_false(wk_status_equal(early, late));
    assert_string_equal(late->conditions[WK_CONDITION_SUSPENDED].message,
                        "the guest is being suspended");
    parts.view.message = parts.operation.message =
        (char *)"attempt 2 failed: busy; next try in 4 s";
    parts.view.reason = (char *)"GuestBusy";
    retrying = make_status(&parts);
    assert_string_not_equal(retrying->compared, late->compared);
    for (int type = 0; type < WK_CONDITION_TYPES; type++) {
        if (type != WK_CONDITION_RESTORABLE)
            assert_string_equal(retrying->conditions[type].message, parts.view.message);
    }
}

static void
test_texts_are_bounded(void **state)
{
    Parts parts = make_parts();
    g_autofree char *huge = g_strnfill(4000, 'm');
    g_autoptr(WkStatus) status = NULL;
    g_autoptr(JsonObject) object = NULL;

    (void)state;
    parts.view.message = huge;
    huge[10] = '\n';
    status = make_status(&parts);
    object = wk_json_parse(status->state, -1, TEXT_MAX, NULL);
    assert_int_equal(strlen(wk_json_get_string(object, "message")), 1024);
    assert_null(strchr(status->conditions[WK_CONDITION_SUSPENDED].message, '\n'));
    assert_int_equal(strlen(status->conditions[WK_CONDITION_SUSPENDED].message), 1024);
}

/* What metav1.Condition refuses would make the server refuse all. */
static void
test_reasons(void **state)
{
    static const struct {
        const char *reason;
        const char *shown;
    } rows[] = {
        { "GuestBusy", "GuestBusy" }, { "A", "A" },         { "A1_", "A1_" },
        { "A:b,c", "A:b,c" },         { NULL, "Running" },  { "", "Running" },
        { "1A", "Running" },          { "_A", "Running" },  { "A:", "Running" },
        { "A b", "Running" },         { "A\n", "Running" },
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        Parts parts = make_parts();
        g_autoptr(WkStatus) status = NULL;

        parts.view.reason = (char *)rows[i].reason;
        status = make_status(&parts);
        assert_string_equal(status->conditions[WK_CONDITION_SUSPENDED].reason, rows[i].shown);
    }
}

/* The cells "Condition" and "When" of the document's table, made true. */
static void
set_image(Parts *parts, const char *when)
{
    suspend_to_disk(parts);
    parts->input.binding = NULL;
    if (g_str_has_prefix(when, "a held image")) {
        parts->view.restorable = 0;
        parts->view.reason = (char *)"ImageStale";
        if (g_str_has_suffix(when, "something else"))
            parts->view.state = WK_STATE_RUNNING;
    } else if (g_str_equal(when, "a foreign save")) {
        parts->view.restorable = -1;
        parts->view.saved_bytes = 0;
        parts->view.reason = (char *)"ForeignSave";
    } else if (g_str_equal(when, "an unfinished restore")) {
        parts->view.restorable = -1;
        parts->view.state = WK_STATE_RESUMING;
        parts->view.reason = (char *)"Settling";
    } else if (g_str_equal(when, "nothing on disk")) {
        parts->view = make_parts().view;
    } else {
        assert_string_equal(when, "a sealed image");
    }
}

static void
set_result(Parts *parts, const char *when)
{
    g_auto(GStrv) words = g_strsplit(when, ", ", 2);

    if (g_str_equal(when, "nothing was ever asked"))
        return;
    parts->input.binding = &parts->binding;
    if (g_str_equal(when, "queued") || g_str_equal(when, "running")) {
        assert_true(wk_op_state_parse(when, &parts->operation.state, NULL));
        parts->input.operation = &parts->operation;
        parts->binding.result = WK_OP_FAILED; /* of an earlier one */
        return;
    }
    assert_true(wk_op_state_parse(words[0], &parts->binding.result, NULL));
    parts->binding.observed_generation = 3;
    parts->binding.reason = (char *)(words[1] != NULL ? "StoppedByFallback" : "AlreadySo");
}

static WkConditionType
set_row(Parts *parts, const char *condition, const char *when)
{
    if (g_str_equal(condition, "Suspended")) {
        assert_true(g_str_has_prefix(when, "state "));
        assert_true(wk_state_parse(when + strlen("state "), &parts->view.state, NULL));
        parts->view.reason = (char *)"GuestBusy";
        return WK_CONDITION_SUSPENDED;
    }
    if (g_str_equal(condition, "Restorable")) {
        set_image(parts, when);
        return WK_CONDITION_RESTORABLE;
    }
    assert_string_equal(condition, "LifecycleActionSucceeded");
    set_result(parts, when);
    return WK_CONDITION_SUCCEEDED;
}

static void
assert_condition(const Parts *parts, const WkStatus *status, WkConditionType type,
                 const GStrv cells)
{
    const char *reason = cells[3];

    if (g_str_equal(reason, "the state's"))
        reason = parts->view.reason;
    else if (g_str_equal(reason, "the action's"))
        reason = parts->binding.reason;
    if (g_str_equal(cells[2], "-")) {
        assert_null(status->conditions[type].status);
        return;
    }
    assert_non_null(status->conditions[type].status);
    assert_string_equal(status->conditions[type].status, cells[2]);
    assert_string_equal(status->conditions[type].reason, reason);
    assert_string_not_equal(status->conditions[type].message, "");
}

static void
test_table_of_conditions(void **state)
{
    g_autoptr(GPtrArray) rows = unit_read_table("docs/states.md", "Conditions of a Wukong");

    (void)state;
    assert_int_equal(rows->len, 19);
    for (guint i = 0; i < rows->len; i++) {
        const GStrv cells = g_ptr_array_index(rows, i);
        Parts parts = make_parts();
        const WkConditionType type = set_row(&parts, cells[0], cells[1]);
        g_autoptr(WkStatus) status = make_status(&parts);

        assert_condition(&parts, status, type, cells);
    }
}

static void
test_names_where_there_is_no_reason(void **state)
{
    static const char *const names[] = {
        [WK_OP_SUCCEEDED] = "Succeeded", [WK_OP_FAILED] = "Failed", [WK_OP_CANCELLED] = "Cancelled"
    };

    (void)state;
    for (int result = WK_OP_SUCCEEDED; result <= WK_OP_CANCELLED; result++) {
        Parts parts = make_parts();
        g_autoptr(WkStatus) status = NULL;

        parts.input.binding = &parts.binding;
        parts.binding.result = (WkOpState)result;
        parts.binding.observed_generation = 3;
        status = make_status(&parts);
        assert_string_equal(status->conditions[WK_CONDITION_SUCCEEDED].reason, names[result]);
        assert_int_equal(status->generation, 3);
    }
}

/* What somebody else does with the guest says nothing of what the spec asked for. */
static void
test_operations_of_others(void **state)
{
    (void)state;
    for (int origin = WK_ORIGIN_NONE; origin <= WK_ORIGIN_OUTSIDE; origin++) {
        Parts parts = make_parts();
        g_autoptr(WkStatus) status = NULL;

        parts.operation.origin = (WkOrigin)origin;
        parts.input.operation = &parts.operation;
        parts.input.binding = &parts.binding;
        parts.binding.result = WK_OP_SUCCEEDED;
        parts.binding.observed_generation = 3;
        status = make_status(&parts);
        assert_string_equal(status->conditions[WK_CONDITION_SUCCEEDED].status,
                            origin == WK_ORIGIN_SPEC ? "Unknown" : "True");
        assert_int_equal(status->generation, origin == WK_ORIGIN_SPEC ? 5 : 3);
    }
}

static void
test_equal(void **state)
{
    Parts parts = make_parts();
    g_autoptr(WkStatus) a = NULL;
    g_autoptr(WkStatus) b = NULL;

    (void)state;
    suspend_to_disk(&parts);
    a = make_status(&parts);
    b = make_status(&parts);
    assert_true(wk_status_equal(a, b));
    assert_true(wk_status_equal(NULL, NULL));
    assert_false(wk_status_equal(a, NULL) || wk_status_equal(NULL, a));
    b->generation++;
    assert_false(wk_status_equal(a, b));
    b->generation--;
    b->conditions[WK_CONDITION_RESTORABLE].status = NULL;
    assert_false(wk_status_equal(a, b));
    wk_status_free(NULL);
}

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
    Parts parts = make_parts();
    g_autoptr(WkStatus) status = NULL;

    (void)state;
    suspend_to_disk(&parts);
    status = make_status(&parts);
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(WkWukong) seen = make_seen("", rows[i].seen);
        g_autofree char *conditions = g_strdup_printf(CONDITIONS_JSON, rows[i].transition);
        g_autofree char *golden = g_strdup_printf(
            "{\"apiVersion\":\"vm.novasphere.dev/v1alpha1\",\"kind\":\"Wukong\",\"metadata\":"
            "{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"u-1\",\"resourceVersion\":\"84\"},"
            "\"status\":{\"lifecycleState\":" SUSPENDED_JSON ",\"conditions\":%s}}",
            conditions);
        g_autofree char *body = wk_status_apply_body(status, seen, NOW_US, TRUE);

        assert_json(body, golden);
    }
}

static void
test_apply_body_without_conditions(void **state)
{
    Parts parts = make_parts();
    g_autoptr(WkStatus) status = make_status(&parts);
    g_autoptr(WkWukong) seen = make_seen("", "{}");
    g_autofree char *body = wk_status_apply_body(status, seen, NOW_US, FALSE);

    (void)state;
    assert_json(body, "{\"apiVersion\":\"vm.novasphere.dev/v1alpha1\",\"kind\":\"Wukong\","
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
    Parts parts = make_parts();
    g_autoptr(WkStatus) status = make_status(&parts);

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(WkWukong) seen = make_seen(rows[i].metadata, "{}");
        g_autofree char *body = wk_status_patch_body(status, seen, rows[i].owed, rows[i].mark);

        assert_json(body, rows[i].golden);
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
    Parts parts = make_parts();
    g_autofree char *conditions = g_strdup_printf(CONDITIONS_JSON, "2026-11-01T01:02:03Z");
    g_autofree char *whole = g_strdup_printf(
        "{\"x\":1,\"conditions\":%s,\"lifecycleState\":" SUSPENDED_JSON "}", conditions);
    g_autoptr(WkStatus) status = NULL;

    (void)state;
    suspend_to_disk(&parts);
    status = make_status(&parts);
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(GStrv) pieces = g_strsplit(whole, rows[i].from, 2);
        g_autofree char *text = g_strjoinv(rows[i].to, pieces);
        g_autoptr(WkWukong) seen = make_seen("", text);

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
    Parts parts = make_parts();
    g_autoptr(WkStatus) status = make_status(&parts);
    g_autoptr(WkWukong) seen =
        make_seen("", "{\"lifecycleState\":{\"state\":\"Running\"},\"conditions\":["
                      "{\"type\":\"Suspended\",\"status\":\"False\",\"reason\":\"Running\","
                      "\"message\":\"the guest runs\"}]}");
    g_autofree char *uid = seen->uid;

    (void)state;
    assert_true(wk_status_is_shown(status, seen, TRUE));
    seen->conditions[WK_CONDITION_RESTORABLE].status = g_strdup("True");
    assert_false(wk_status_is_shown(status, seen, TRUE));
    assert_true(wk_status_is_shown(status, seen, FALSE));
    seen->uid = g_strdup("u-2");
    assert_false(wk_status_is_shown(status, seen, FALSE));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suspended_to_disk),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_words_of_a_failure),
        cmocka_unit_test(test_last_action),
        cmocka_unit_test(test_request_id_of_what_was_done),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_texts_are_bounded),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_table_of_conditions),
        cmocka_unit_test(test_names_where_there_is_no_reason),
        cmocka_unit_test(test_operations_of_others),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_apply_body),
        cmocka_unit_test(test_apply_body_without_conditions),
        cmocka_unit_test(test_patch_body),
        cmocka_unit_test(test_is_shown),
        cmocka_unit_test(test_left_over_condition),
    };

    return cmocka_run_group_tests_name("kube-status", tests, NULL, NULL);
}
