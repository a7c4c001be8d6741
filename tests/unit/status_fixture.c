/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "kube/canonical.h"
#include "status_fixture.h"

StatusParts
status_parts(void)
{
    StatusParts parts = { 0 };

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

WkStatus *
status_of_parts(StatusParts *parts)
{
    parts->input.view = &parts->view;
    return wk_status_make(&parts->input);
}

void
status_suspend_to_disk(StatusParts *parts)
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

WkWukong *
status_seen(const char *metadata, const char *status)
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
void
status_assert_json(const char *text, const char *golden)
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
