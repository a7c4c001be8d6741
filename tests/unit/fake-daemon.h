/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

/*
 * A scripted daemon on a Unix socket, served by threads of this process: it answers with the bytes
 * it was given, right or wrong. For faults only; what the real one says is tested end to end.
 *
 * Threading: everything may be called while it serves; one connection is one request.
 */
typedef struct _FakeDaemon FakeDaemon;

FakeDaemon *fake_daemon_new(void);
void fake_daemon_free(FakeDaemon *self); /* waits for its threads */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeDaemon, fake_daemon_free)

const char *fake_daemon_get_path(const FakeDaemon *self);

/* @request, "GET /v1/guests", is answered with the @length bytes of @answer after @delay_ms, and
 * the connection closed. Several for one request are used in turn; the last one stays. */
void fake_daemon_add_bytes(FakeDaemon *self, const char *request, const char *answer, gssize length,
                           guint delay_ms);

/* The same with a good HTTP answer around @body. */
void fake_daemon_add(FakeDaemon *self, const char *request, guint status, const char *body);

/* A stream of @lines; @whole: with the proper end, else it is cut there. It stays open for
 * @linger_ms after the lines. */
void fake_daemon_add_stream(FakeDaemon *self, const char *request, const char *lines,
                            gboolean whole, guint linger_ms);

/* How often @request has come, and the body of the last one (transfer full, "" before). */
guint fake_daemon_count(FakeDaemon *self, const char *request);
char *fake_daemon_last_body(FakeDaemon *self, const char *request);
