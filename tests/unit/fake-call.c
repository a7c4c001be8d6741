/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "fake-apiserver-private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HEAD_END      "\r\n\r\n"
#define HEAD_END_SIZE 4

void
fake_call_free(gpointer data)
{
    FakeCall *self = data;

    g_free(self->method);
    g_free(self->path);
    g_free(self->head);
    g_free(self->body);
    g_free(self);
}

gboolean
fake_call_matches(const FakeCall *self, const char *prefix)
{
    g_autofree char *name = g_strconcat(self->method, " ", self->path, NULL);

    return g_str_has_prefix(name, prefix);
}

gboolean
fake_call_is_gone(const FakeCall *call)
{
    return call->connection->socket == NULL || (!call->done && call->connection->call != call);
}

void
fake_call_done(FakeCall *call)
{
    Connection *connection = call->connection;

    call->begun = TRUE;
    call->done = TRUE;
    if (connection->call != call)
        return;
    connection->call = NULL;
    fake_connection_read_call(connection);
}

void
fake_call_raw(FakeCall *call, const char *bytes, gssize length)
{
    call->begun = TRUE;
    if (!fake_call_is_gone(call))
        fake_connection_write(call->connection, bytes, length >= 0 ? (gsize)length : strlen(bytes));
}

static char *
head_text(guint status, const char *headers, const char *framing)
{
    const char *extra = headers != NULL ? headers : "";
    const gboolean typed = strstr(extra, "Content-Type:") != NULL;

    return g_strdup_printf("HTTP/1.1 %u Scripted\r\n%s%s%s\r\n", status != 0 ? status : 200,
                           typed ? "" : "Content-Type: application/json\r\n", extra, framing);
}

char *
fake_answer_text(guint status, const char *headers, const char *body)
{
    const char *text = body != NULL ? body : "";
    g_autofree char *framing = g_strdup_printf("Content-Length: %zu\r\n", strlen(text));
    g_autofree char *head = head_text(status, headers, framing);

    return g_strconcat(head, text, NULL);
}

void
fake_call_answer(FakeCall *call, guint status, const char *headers, const char *body)
{
    g_autofree char *text = fake_answer_text(status, headers, body);

    fake_call_raw(call, text, -1);
    fake_call_done(call);
}

void
fake_call_fail(FakeCall *call, guint status, const char *headers, const char *reason,
               const char *message)
{
    g_autofree char *body = g_strdup_printf(
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
        "\"message\":\"%s\",\"reason\":\"%s\",\"code\":%u}\n",
        message, reason, status);

    fake_call_answer(call, status, headers, body);
}

void
fake_call_begin(FakeCall *call, guint status, const char *headers)
{
    g_autofree char *head = head_text(status, headers, "Transfer-Encoding: chunked\r\n");

    fake_call_raw(call, head, -1);
}

void
fake_call_push(FakeCall *call, const char *bytes, gssize length)
{
    const gsize size = length >= 0 ? (gsize)length : strlen(bytes);
    g_autoptr(GString) chunk = NULL;

    if (size == 0) /* would be the end */
        return;
    chunk = g_string_sized_new(size + 32);
    g_string_append_printf(chunk, "%zx\r\n", size);
    g_string_append_len(chunk, bytes, (gssize)size);
    g_string_append(chunk, "\r\n");
    fake_call_raw(call, chunk->str, (gssize)chunk->len);
}

void
fake_call_pushf(FakeCall *call, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    fake_call_push(call, text, -1);
}

void
fake_call_end(FakeCall *call)
{
    fake_call_raw(call, "0\r\n\r\n", -1);
    fake_call_done(call);
}

void
fake_call_close(FakeCall *call)
{
    call->begun = TRUE;
    if (fake_call_is_gone(call))
        return;
    call->connection->closing = TRUE;
    fake_connection_flush(call->connection);
}

void
fake_call_reset(FakeCall *call)
{
    call->begun = TRUE;
    if (!fake_call_is_gone(call))
        fake_connection_reset(call->connection);
}

void
fake_call_leave(FakeCall *call)
{
    call->begun = TRUE;
}

static void
call_cut(FakeCall *self, const FakeAnswer *answer)
{
    const char *body = answer->body != NULL ? answer->body : "";
    g_autofree char *text = fake_answer_text(answer->status, answer->headers, body);

    fake_call_raw(self, text, (gssize)(strlen(text) - strlen(body) + strlen(body) / 2));
    fake_call_close(self);
}

void
fake_call_do(FakeCall *self, const FakeAnswer *answer)
{
    switch (answer->deed) {
    case FAKE_ANSWER:
        fake_call_answer(self, answer->status, answer->headers, answer->body);
        break;
    case FAKE_STREAM:
        fake_call_begin(self, answer->status, answer->headers);
        fake_call_push(self, answer->body != NULL ? answer->body : "", -1);
        break;
    case FAKE_RESET:
        fake_call_reset(self);
        break;
    case FAKE_CLOSE:
        fake_call_close(self);
        break;
    case FAKE_SILENT:
        fake_call_leave(self);
        break;
    case FAKE_CUT:
        call_cut(self, answer);
        break;
    }
}

/* ---- reading ---- */

static char *
header_of(const char *head, const char *name)
{
    g_auto(GStrv) lines = g_strsplit(head, "\r\n", -1);
    const gsize length = strlen(name);

    for (gsize i = 0; lines[i] != NULL; i++) {
        if (g_ascii_strncasecmp(lines[i], name, length) == 0 && lines[i][length] == ':')
            return g_strstrip(g_strdup(lines[i] + length + 1));
    }
    return NULL;
}

/* Takes one whole request off @in. Returns: NULL when it is not all there yet. */
FakeCall *
fake_call_take(GByteArray *in)
{
    const char *start = (const char *)in->data;
    const char *end = in->len > 0 ? g_strstr_len(start, (gssize)in->len, HEAD_END) : NULL;
    g_autofree char *head = NULL;
    g_autofree char *size_text = NULL;
    g_auto(GStrv) words = NULL;
    FakeCall *call = NULL;
    gsize head_size, body_size;

    if (end == NULL)
        return NULL;
    head_size = (gsize)(end - start) + HEAD_END_SIZE;
    head = g_strndup(start, (gsize)(end - start));
    size_text = header_of(head, "Content-Length");
    body_size = size_text != NULL ? (gsize)g_ascii_strtoull(size_text, NULL, 10) : 0;
    if (in->len < head_size + body_size)
        return NULL;
    words = g_strsplit(head, " ", 3);
    if (g_strv_length(words) != 3)
        fail_msg("not a request: '%s'", head);
    call = g_new0(FakeCall, 1);
    call->method = g_strdup(words[0]);
    call->path = g_strdup(words[1]);
    call->head = g_steal_pointer(&head);
    call->body = g_strndup(start + head_size, body_size);
    g_byte_array_remove_range(in, 0, (guint)(head_size + body_size));
    return call;
}

const char *
fake_call_get_method(const FakeCall *call)
{
    return call->method;
}

const char *
fake_call_get_path(const FakeCall *call)
{
    return call->path;
}

const char *
fake_call_get_body(const FakeCall *call)
{
    return call->body;
}

char *
fake_call_get_header(const FakeCall *call, const char *name)
{
    return header_of(call->head, name);
}

char *
fake_call_get_param(const FakeCall *call, const char *name)
{
    const char *query = strchr(call->path, '?');
    g_auto(GStrv) pairs = NULL;
    const gsize length = strlen(name);

    if (query == NULL)
        return NULL;
    pairs = g_strsplit(query + 1, "&", -1);
    for (gsize i = 0; pairs[i] != NULL; i++) {
        if (strncmp(pairs[i], name, length) == 0 && pairs[i][length] == '=')
            return g_uri_unescape_string(pairs[i] + length + 1, NULL);
    }
    return NULL;
}

guint
fake_call_get_connection(const FakeCall *call)
{
    return call->connection->number;
}
