/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * Lines over a socket between the agent and a helper. Blocking; the reader belongs to one thread.
 */
typedef struct {
    int fd;
    GByteArray *buffer;
    gsize line_bytes; /* of the line handed out last, to be dropped by the next read */
} WkHelperLines;

void wk_helper_lines_init(WkHelperLines *self, int fd); /* @fd stays the caller's */
void wk_helper_lines_clear(WkHelperLines *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WkHelperLines, wk_helper_lines_clear)

/* Waits for a line. @line (transfer none): without its end, until the next call. Buffers no more
 * than @max(@data) bytes, which may change meanwhile.
 * Returns: FALSE at the end, without an error when the peer is just gone; WK_ERROR_INVALID when the
 * line is longer than @max. */
gboolean wk_helper_lines_read(WkHelperLines *self, gsize (*max)(gpointer data), gpointer data,
                              const char **line, gsize *length, GError **error);

/* Writes all of @text, without SIGPIPE. Returns: FALSE with errno; EAGAIN after SO_SNDTIMEO. */
gboolean wk_helper_lines_write(int fd, const char *text);

G_END_DECLS
