/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "base/json.h"
#include "kube/client.h"
#include "kube/watch_event.h"
#include "kube/wukong.h"

#include <stdint.h>
#include <string.h>

/*
 * libFuzzer: any bytes as the lines of a watch of Wukongs: ./dev fuzz watch.
 *
 * A line is an event with an object and a version, or an error that can be shown. What is taken of
 * the object is within its bounds: names that may get into paths above all.
 */

#define NAME_LIMIT    253
#define MESSAGE_LIMIT 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_error(const GError *error)
{
    g_assert(error != NULL && error->domain == WK_ERROR);
    g_assert(g_utf8_validate(error->message, -1, NULL));
    g_assert(strlen(error->message) < MESSAGE_LIMIT);
}

static void
check_name(const char *name)
{
    g_assert(name != NULL && *name != '\0' && strlen(name) <= NAME_LIMIT);
    g_assert(strchr(name, '/') == NULL && *name != '.');
    for (const char *c = name; *c != '\0'; c++)
        g_assert(g_ascii_isgraph(*c));
}

static void
check_object(JsonObject *object)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkWukong) wukong = wk_wukong_parse(object, &error);

    (void)wk_wukong_peek_node(object);
    if (wukong == NULL) {
        check_error(error);
        return;
    }
    check_name(wukong->ns);
    check_name(wukong->name);
    check_name(wukong->uid);
    g_assert(wukong->generation >= 0);
}

static void
check_line(const char *text, gsize length)
{
    g_auto(WkWatchEvent) event = { .object = NULL };
    g_autoptr(GError) error = NULL;
    JsonObject *metadata = NULL;

    if (!wk_watch_event_parse(text, length, &event, &error)) {
        g_assert(event.object == NULL);
        check_error(error);
        g_assert(wk_error_get_reason(error) != NULL);
        g_assert(wk_kube_retry_after_ms(error) >= -1);
        return;
    }
    g_assert(error == NULL && event.object != NULL && event.type <= WK_WATCH_BOOKMARK);
    metadata = wk_json_get_object(event.object, "metadata");
    g_assert(event.version == wk_json_get_string(metadata, "resourceVersion"));
    g_assert(*event.version != '\0');
    g_assert(!event.initial_end || event.type == WK_WATCH_BOOKMARK);
    check_object(event.object);
}

/* As stream.c hands them on: NUL-ended, though they may hold NULs. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_malloc(size + 1);
    gsize start = 0;

    for (gsize i = 0; i <= size; i++) {
        text[i] = i == size || data[i] == '\n' ? '\0' : (char)data[i];
        if (i < size && data[i] != '\n')
            continue;
        check_line(text + start, i - start);
        start = i + 1;
    }
    return 0;
}
