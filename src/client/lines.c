/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "client/lines.h"

#include "base/json.h"
#include "client/problem.h"

#include <string.h>

struct _WkLines {
    WkLinesFunc func;
    gpointer user_data;
    GString *rest; /* the line that has not ended yet */
    gboolean ended;
};

WkLines *
wk_lines_new(WkLinesFunc func, gpointer user_data)
{
    WkLines *self = g_new0(WkLines, 1);

    self->func = func;
    self->user_data = user_data;
    self->rest = g_string_new(NULL);
    return self;
}

void
wk_lines_free(WkLines *self)
{
    if (self == NULL)
        return;
    g_string_free(self->rest, TRUE);
    g_free(self);
}

gboolean
wk_lines_is_ended(const WkLines *self)
{
    return self->ended;
}

static gboolean
take_line(WkLines *self, const char *line, gsize length, GError **error)
{
    g_autoptr(JsonObject) object = NULL;
    g_autoptr(GError) local = NULL;

    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length == 0)
        return TRUE;
    object = wk_json_parse(line, (gssize)length, WK_LINES_MAX, &local);
    if (object == NULL) {
        wk_problem_set(error, WUKONG_ERROR_FAILED, 0, NULL, "a line of wukongd's stream is bad: %s",
                       local->message);
        return FALSE;
    }
    self->ended = !self->func(object, self->user_data);
    return TRUE;
}

/* Returns: FALSE when @length more bytes make the line too long. */
static gboolean
keep_rest(WkLines *self, const char *data, gsize length, GError **error)
{
    if (length > WK_LINES_MAX - self->rest->len) {
        wk_problem_set(error, WUKONG_ERROR_FAILED, 0, NULL,
                       "a line of wukongd's stream is over the limit of %d bytes", WK_LINES_MAX);
        return FALSE;
    }
    g_string_append_len(self->rest, data, (gssize)length);
    return TRUE;
}

gboolean
wk_lines_feed(WkLines *self, const char *data, gsize length, GError **error)
{
    while (length > 0 && !self->ended) {
        const char *end = memchr(data, '\n', length);
        const gsize part = end != NULL ? (gsize)(end - data) : length;

        if (!keep_rest(self, data, part, error))
            return FALSE;
        if (end == NULL)
            return TRUE;
        if (!take_line(self, self->rest->str, self->rest->len, error))
            return FALSE;
        g_string_truncate(self->rest, 0);
        data += part + 1;
        length -= part + 1;
    }
    return TRUE;
}
