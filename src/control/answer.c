/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control/internal.h"

#include "base/error.h"
#include "base/json.h"
#include "control/codec.h"

#include <string.h>

static void
answer(WkExchange *exchange, guint status, const char *content_type, const char *text)
{
    SoupServerMessage *message = exchange->message;
    SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);

    soup_message_headers_replace(headers, "Connection", "close");
    soup_server_message_set_status(message, status, NULL);
    soup_server_message_set_response(message, content_type, SOUP_MEMORY_COPY, text, strlen(text));
}

static void
answer_object(WkExchange *exchange, guint status, const char *content_type, JsonObject *object)
{
    g_autofree char *text = wk_json_to_text(object);
    g_autofree char *line = g_strconcat(text, "\n", NULL); /* kind to terminals */

    json_object_unref(object);
    answer(exchange, status, content_type, line);
}

void
wk_answer_json(WkExchange *exchange, guint status, JsonObject *object)
{
    answer_object(exchange, status, "application/json", object);
}

void
wk_answer_text(WkExchange *exchange, const char *content_type, const char *text)
{
    answer(exchange, SOUP_STATUS_OK, content_type, text);
}

void
wk_answer_error(WkExchange *exchange, GError *error)
{
    g_autoptr(GError) owned = error;
    guint status;
    JsonObject *object = wk_codec_problem(owned, &status);

    answer_object(exchange, status, "application/problem+json", object);
}

void
wk_answer_problem(WkExchange *exchange, WkErrorCode code, const char *reason, const char *format,
                  ...)
{
    g_autofree char *text = NULL;
    GError *error = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    wk_error_set(&error, code, reason, "%s", text);
    wk_answer_error(exchange, error);
}
