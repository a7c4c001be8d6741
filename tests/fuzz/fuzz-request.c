/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "control/codec.h"

#include <stdint.h>

/*
 * libFuzzer: any bytes as the body of a POST: ./dev fuzz request.
 *
 * What is taken must be what the contract allows; texts must survive being written and read.
 */

#define BODY_MAX (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_request(JsonObject *body, WkAction action)
{
    WkRequest request = { .guest = "g", .origin = WK_ORIGIN_LOCAL };
    g_autoptr(GError) error = NULL;

    if (!wk_codec_read_request(body, action, &request, &error)) {
        g_assert(error != NULL && g_utf8_validate(error->message, -1, NULL));
        return;
    }
    g_assert(request.action == action && request.origin == WK_ORIGIN_LOCAL);
    g_assert(request.timeout_s <= WK_TIMEOUT_MAX_S);
    g_assert(request.target <= WK_TARGET_DISK && request.fallback <= WK_FALLBACK_STOP);
    g_assert(action == WK_ACTION_SUSPEND
             || (request.target == WK_TARGET_NONE && request.fallback == WK_FALLBACK_NONE));
}

/* Names and texts from outside go out again as they came. */
static void
check_text(const char *value)
{
    g_autoptr(JsonObject) object = json_object_new();
    g_autoptr(JsonObject) again = NULL;
    g_autofree char *text = NULL;

    json_object_set_string_member(object, "text", value);
    text = wk_json_to_text(object);
    again = wk_json_parse(text, -1, G_MAXSIZE, NULL);
    g_assert(again != NULL);
    g_assert(g_strcmp0(wk_json_get_string(again, "text"), value) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(JsonObject) body = wk_json_parse((const char *)data, (gssize)size, BODY_MAX, NULL);
    JsonObjectIter iter;
    const char *member;

    if (body == NULL)
        return 0;
    for (int action = WK_ACTION_NONE; action <= WK_ACTION_DISCARD; action++)
        check_request(body, (WkAction)action);
    json_object_iter_init(&iter, body);
    while (json_object_iter_next(&iter, &member, NULL)) {
        check_text(member);
        if (wk_json_get_string(body, member) != NULL)
            check_text(wk_json_get_string(body, member));
    }
    return 0;
}
