/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "kube/canonical.h"
#include "kube/status.h"

#include <stdint.h>
#include <string.h>

/*
 * libFuzzer: any JSON object as a Wukong: ./dev fuzz wukong.
 *
 * What is taken must be within its bounds. What is written of it must be JSON that YAML can hold as
 * well, and be seen as shown once it stands in the object.
 */

#define OBJECT_MAX  (64 * 1024)
#define BODY_MAX    (1024 * 1024)
#define NAME_LIMIT  253
#define MESSAGE_MAX 500
#define NOW_US      G_GINT64_CONSTANT(1795377600000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_intent(const WkIntent *intent)
{
    g_assert(intent->present || (intent->error == NULL && intent->raw == NULL));
    if (intent->error != NULL) {
        g_assert(intent->action == WK_ACTION_NONE && intent->raw == NULL);
        g_assert(g_utf8_validate(intent->error->message, -1, NULL));
        g_assert(strlen(intent->error->message) < MESSAGE_MAX);
        return;
    }
    if (!intent->present)
        return;
    g_assert(intent->action > WK_ACTION_NONE && intent->action <= WK_ACTION_DISCARD);
    g_assert(intent->action == WK_ACTION_SUSPEND
             || (intent->target == WK_TARGET_NONE && intent->fallback == WK_FALLBACK_NONE));
    g_assert(intent->timeout_s <= WK_TIMEOUT_MAX_S);
    g_assert(intent->request_id == NULL || strlen(intent->request_id) <= NAME_LIMIT);
}

/* What is read of a text in its one spelling is that text. */
static void
check_canonical(JsonObject *object)
{
    g_autofree char *text = wk_canonical_object(object);
    g_autoptr(JsonObject) again = wk_json_parse(text, -1, G_MAXSSIZE, NULL);
    g_autofree char *twice = NULL;

    g_assert(again != NULL);
    twice = wk_canonical_object(again);
    g_assert(g_str_equal(text, twice));
}

/* Words and numbers from outside, wherever a view can have some. */
static void
fill(WkView *view, const WkWukong *wukong, guint seed)
{
    view->state = (WkState)(seed % (WK_STATE_STOPPED + 1));
    view->target = (WkTarget)(seed % (WK_TARGET_DISK + 1));
    view->reason = wukong->seen_state != NULL ? wukong->seen_state : wukong->vm_name;
    view->message = wukong->seen_mirror != NULL ? wukong->seen_mirror : wukong->domain;
    view->restorable = (int)(seed % 3) - 1;
    view->progress_percent = (int)(seed % 103) - 1;
    view->saved_bytes = seed % 2 == 0 ? G_MAXUINT64 : 0;
    view->saved_at_us = wukong->generation;
    view->last_action = (WkAction)(seed % (WK_ACTION_DISCARD + 1));
    view->last_action_at_us = NOW_US;
}

/* Returns: (transfer full): @wukong as it is once @body has been applied. */
static WkWukong *
apply(const WkWukong *wukong, JsonObject *body)
{
    JsonObject *metadata = wk_json_get_object(body, "metadata");

    g_assert(g_strcmp0(wk_json_get_string(metadata, "uid"), wukong->uid) == 0);
    return wk_wukong_parse(body, NULL);
}

static void
check_apply(const WkStatus *status, const WkWukong *wukong)
{
    g_autofree char *text = wk_status_apply_body(status, wukong, NOW_US, TRUE);
    g_autoptr(JsonObject) body = wk_json_parse(text, -1, BODY_MAX, NULL);
    g_autoptr(WkWukong) shown = NULL;

    g_assert(body != NULL);
    for (const char *p = text; *p != '\0'; p = g_utf8_next_char(p)) {
        const gunichar c = g_utf8_get_char(p);

        g_assert(!g_unichar_iscntrl(c) && (c & 0xfffe) != 0xfffe);
    }
    shown = apply(wukong, body);
    g_assert(shown != NULL && wk_status_is_shown(status, shown, TRUE));
}

static void
check_patch(const WkStatus *status, const WkWukong *wukong, int mark)
{
    g_autofree char *text = wk_status_patch_body(status, wukong, wukong->intent.raw, mark);
    g_autofree char *wrapped = g_strdup_printf("{\"patch\":%s}", text);
    g_autoptr(JsonObject) object = wk_json_parse(wrapped, -1, BODY_MAX, NULL);

    g_assert(object != NULL);
    if (wukong->intent.raw != NULL)
        g_assert(strstr(text, wukong->intent.raw) != NULL);
}

static void
check_status(const WkWukong *wukong, guint seed)
{
    WkView view = { 0 };
    WkBinding binding = { .uid = wukong->uid, .action = (WkAction)(seed % 4) };
    WkStatusInput input = { .uid = wukong->uid, .generation = wukong->generation };
    g_autoptr(WkStatus) status = NULL;

    fill(&view, wukong, seed);
    input.view = seed % 5 != 0 ? &view : NULL;
    input.missing = view.reason;
    input.missing_message = view.message;
    input.binding = seed % 7 != 0 ? &binding : NULL;
    binding.result = (WkOpState)(seed % (WK_OP_CANCELLED + 1));
    binding.observed_generation = wukong->generation;
    binding.last_request_id = wukong->intent.request_id;
    binding.reason = wukong->node_name;
    binding.message = wukong->conditions[seed % WK_CONDITION_TYPES].message;
    status = wk_status_make(&input);
    check_apply(status, wukong);
    check_patch(status, wukong, (int)(seed % 3) - 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(JsonObject) object =
        wk_json_parse((const char *)data, (gssize)size, OBJECT_MAX, NULL);
    g_autoptr(WkWukong) wukong = NULL;
    g_autofree char *domain = NULL;

    if (object == NULL)
        return 0;
    check_canonical(object);
    (void)wk_wukong_peek_node(object);
    wukong = wk_wukong_parse(object, NULL);
    if (wukong == NULL)
        return 0;
    check_intent(&wukong->intent);
    domain = wk_wukong_domain_name(wukong);
    g_assert(strlen(domain) <= 2 * NAME_LIMIT + strlen("_-vm"));
    g_assert(wukong->generation >= 0 && wukong->pressure != NULL);
    for (guint seed = 0; seed < 12; seed++)
        check_status(wukong, seed * 37 + (guint)size);
    return 0;
}
