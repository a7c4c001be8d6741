/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "kube/wukong_private.h"
#include "status_fixture.h"

static void
test_suspended_to_disk(void **state)
{
    StatusParts parts = status_parts();
    g_autoptr(WkStatus) status = NULL;

    (void)state;
    status_suspend_to_disk(&parts);
    status = status_of_parts(&parts);
    status_assert_json(status->state,
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
    StatusParts parts = status_parts();
    g_autoptr(GPtrArray) rows = unit_read_table("docs/states.md", "In a Wukong");
    g_autoptr(WkStatus) status = NULL;
    g_autoptr(JsonObject) object = NULL;

    (void)state;
    status_suspend_to_disk(&parts);
    parts.view.progress_percent = 100;
    status = status_of_parts(&parts);
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

        status_assert_json(status->state, rows[i].golden);
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
    StatusParts parts = status_parts();
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
    failed = status_of_parts(&parts);
    status_assert_json(failed->state, "{\"message\":\"spec.lifecycleAction.action: ...\","
                                      "\"observedGeneration\":4,\"reason\":\"InvalidAction\","
                                      "\"state\":\"Running\"}");
    parts.view.last_action = WK_ACTION_RESUME;
    parts.view.last_action_at_us = NOW_US + G_USEC_PER_SEC;
    later = status_of_parts(&parts);
    status_assert_json(later->state, "{\"lastAction\":\"resume\",\"lastActionTime\":"
                                     "\"2026-11-22T20:00:01Z\",\"observedGeneration\":4,"
                                     "\"state\":\"Running\"}");
    parts.view.last_action_at_us = 0;
    parts.view.reason = (char *)"GuestBusy";
    told = status_of_parts(&parts);
    status_assert_json(told->state, "{\"lastAction\":\"resume\",\"observedGeneration\":4,"
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
        StatusParts parts = status_parts();
        g_autoptr(WkStatus) status = NULL;
        g_autoptr(JsonObject) object = NULL;

        parts.view.last_action = rows[i].view_action;
        parts.view.last_action_at_us = rows[i].view_at_us;
        parts.binding.action = rows[i].asked_action;
        parts.binding.ended_at_us = rows[i].asked_at_us;
        parts.input.binding = &parts.binding;
        status = status_of_parts(&parts);
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
        StatusParts parts = status_parts();
        g_autoptr(WkStatus) status = NULL;

        parts.binding.last_request_id = (char *)"patch-42";
        parts.binding.result = (WkOpState)result;
        parts.input.binding = &parts.binding;
        status = status_of_parts(&parts);
        assert_int_equal(strstr(status->state, "patch-42") != NULL, result == WK_OP_SUCCEEDED);
    }
}

static void
test_progress(void **state)
{
    StatusParts parts = status_parts();
    g_autoptr(WkStatus) early = NULL;
    g_autoptr(WkStatus) late = NULL;
    g_autoptr(WkStatus) retrying = NULL;

    (void)state;
    parts.view.state = WK_STATE_SUSPENDING;
    parts.view.target = WK_TARGET_DISK;
    parts.view.message = (char *)"syncing the guest's disks";
    parts.view.progress_percent = 3;
    parts.input.operation = &parts.operation;
    early = status_of_parts(&parts);
    parts.view.message = (char *)"saving";
    parts.view.progress_percent = 101;
    late = status_of_parts(&parts);
    status_assert_json(late->state, "{\"message\":\"saving\",\"progressPercent\":100,"
                                    "\"state\":\"Suspending\",\"target\":\"disk\"}");
    status_assert_json(late->compared, "{\"state\":\"Suspending\",\"target\":\"disk\"}");
    assert_string_equal(early->compared, late->compared);
    assert_false(wk_status_equal(early, late));
    assert_string_equal(late->conditions[WK_CONDITION_SUSPENDED].message,
                        "the guest is being suspended");
    parts.view.message = parts.operation.message =
        (char *)"attempt 2 failed: busy; next try in 4 s";
    parts.view.reason = (char *)"GuestBusy";
    retrying = status_of_parts(&parts);
    assert_string_not_equal(retrying->compared, late->compared);
    for (int type = 0; type < WK_CONDITION_TYPES; type++) {
        if (type != WK_CONDITION_RESTORABLE)
            assert_string_equal(retrying->conditions[type].message, parts.view.message);
    }
}

static void
test_texts_are_bounded(void **state)
{
    StatusParts parts = status_parts();
    g_autofree char *huge = g_strnfill(4000, 'm');
    g_autoptr(WkStatus) status = NULL;
    g_autoptr(JsonObject) object = NULL;

    (void)state;
    parts.view.message = huge;
    huge[10] = '\n';
    status = status_of_parts(&parts);
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
        StatusParts parts = status_parts();
        g_autoptr(WkStatus) status = NULL;

        parts.view.reason = (char *)rows[i].reason;
        status = status_of_parts(&parts);
        assert_string_equal(status->conditions[WK_CONDITION_SUSPENDED].reason, rows[i].shown);
    }
}

/* The cells "Condition" and "When" of the document's table, made true. */
static void
set_image(StatusParts *parts, const char *when)
{
    status_suspend_to_disk(parts);
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
        parts->view = status_parts().view;
    } else {
        assert_string_equal(when, "a sealed image");
    }
}

static void
set_result(StatusParts *parts, const char *when)
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
set_row(StatusParts *parts, const char *condition, const char *when)
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
assert_condition(const StatusParts *parts, const WkStatus *status, WkConditionType type,
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
        StatusParts parts = status_parts();
        const WkConditionType type = set_row(&parts, cells[0], cells[1]);
        g_autoptr(WkStatus) status = status_of_parts(&parts);

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
        StatusParts parts = status_parts();
        g_autoptr(WkStatus) status = NULL;

        parts.input.binding = &parts.binding;
        parts.binding.result = (WkOpState)result;
        parts.binding.observed_generation = 3;
        status = status_of_parts(&parts);
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
        StatusParts parts = status_parts();
        g_autoptr(WkStatus) status = NULL;

        parts.operation.origin = (WkOrigin)origin;
        parts.input.operation = &parts.operation;
        parts.input.binding = &parts.binding;
        parts.binding.result = WK_OP_SUCCEEDED;
        parts.binding.observed_generation = 3;
        status = status_of_parts(&parts);
        assert_string_equal(status->conditions[WK_CONDITION_SUCCEEDED].status,
                            origin == WK_ORIGIN_SPEC ? "Unknown" : "True");
        assert_int_equal(status->generation, origin == WK_ORIGIN_SPEC ? 5 : 3);
    }
}

static void
test_equal(void **state)
{
    StatusParts parts = status_parts();
    g_autoptr(WkStatus) a = NULL;
    g_autoptr(WkStatus) b = NULL;

    (void)state;
    status_suspend_to_disk(&parts);
    a = status_of_parts(&parts);
    b = status_of_parts(&parts);
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
    };

    return cmocka_run_group_tests_name("kube-status", tests, NULL, NULL);
}
