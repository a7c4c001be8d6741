/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/helper_line.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define READ_BYTES 16384

void
wk_helper_lines_init(WkHelperLines *self, int fd)
{
    *self = (WkHelperLines){ .fd = fd, .buffer = g_byte_array_new() };
}

void
wk_helper_lines_clear(WkHelperLines *self)
{
    g_clear_pointer(&self->buffer, g_byte_array_unref);
}

/* Returns: FALSE at the end. */
static gboolean
read_more(WkHelperLines *self)
{
    guint8 bytes[READ_BYTES];
    gssize n;

    do
        n = recv(self->fd, bytes, sizeof bytes, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        g_byte_array_append(self->buffer, bytes, (guint)n);
    return n > 0;
}

/* A buffer that was large once is not kept for the small lines that follow. */
static void
drop_line(WkHelperLines *self)
{
    if (self->line_bytes > 0 && self->line_bytes == self->buffer->len) {
        g_byte_array_unref(self->buffer);
        self->buffer = g_byte_array_new();
    } else if (self->line_bytes > 0) {
        g_byte_array_remove_range(self->buffer, 0, (guint)self->line_bytes);
    }
    self->line_bytes = 0;
}

static gboolean
take_line(WkHelperLines *self, gsize searched, const char **line, gsize *length)
{
    const guint8 *end = NULL;

    if (self->buffer->len > searched)
        end = memchr(self->buffer->data + searched, '\n', self->buffer->len - searched);
    if (end == NULL)
        return FALSE;
    *line = (const char *)self->buffer->data;
    *length = (gsize)(end - self->buffer->data);
    self->line_bytes = *length + 1;
    return TRUE;
}

gboolean
wk_helper_lines_read(WkHelperLines *self, gsize (*max)(gpointer data), gpointer data,
                     const char **line, gsize *length, GError **error)
{
    gsize searched = 0;

    drop_line(self);
    while (!take_line(self, searched, line, length)) {
        searched = self->buffer->len;
        if (searched > max(data)) {
            wk_error_set(error, WK_ERROR_INVALID, NULL, "a line that is too long");
            return FALSE;
        }
        if (!read_more(self))
            return FALSE;
    }
    if (*length <= max(data))
        return TRUE;
    wk_error_set(error, WK_ERROR_INVALID, NULL, "a line that is too long");
    return FALSE;
}

gboolean
wk_helper_lines_write(int fd, const char *text)
{
    gsize left = strlen(text);

    while (left > 0) {
        const gssize n = send(fd, text, left, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return FALSE;
        text += n;
        left -= (gsize)n;
    }
    return TRUE;
}
