/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/stream.h"

#define AWAY_MAX_US    (30 * G_USEC_PER_SEC)
#define BACKOFF_MS     100
#define BACKOFF_MAX_MS 2000

typedef struct {
    const WkCtlStream *stream;
    gint64 deadline_us; /* monotonic; 0: none */
    gint64 away_us;     /* since when the daemon is away; 0: it is there */
    gboolean was_there; /* a daemon that never was there is not waited for */
    guint backoff_ms;
} Run;

static gboolean
on_event(JsonObject *event, gpointer user_data)
{
    Run *self = user_data;

    self->away_us = 0;
    self->was_there = TRUE;
    self->backoff_ms = BACKOFF_MS;
    return self->stream->func(event, self->stream->user_data);
}

/* TRUE when the stream was lost, not refused, and it is worth trying again. */
static gboolean
is_worth_retrying(Run *self, const GError *error)
{
    const gint64 now = g_get_monotonic_time();

    if (!g_error_matches(error, WUKONG_ERROR, WUKONG_ERROR_UNREACHABLE)
        || wukong_error_get_status(error) != 0 || !self->was_there)
        return FALSE;
    if (self->away_us == 0)
        self->away_us = now;
    return now - self->away_us < AWAY_MAX_US;
}

static guint
left_ms(const Run *self)
{
    const gint64 left_us = self->deadline_us - g_get_monotonic_time();

    if (self->deadline_us == 0)
        return 0;
    return left_us > 1000 ? (guint)(left_us / 1000) : 1;
}

static void
back_off(Run *self)
{
    const guint limit = left_ms(self);
    const guint ms = limit > 0 ? MIN(limit, self->backoff_ms) : self->backoff_ms;

    g_usleep(ms * 1000UL);
    self->backoff_ms = MIN(self->backoff_ms * 2, BACKOFF_MAX_MS);
}

gboolean
wk_ctl_stream_run(WkCtl *ctl, const WkCtlStream *stream, GError **error)
{
    Run run = { .stream = stream, .was_there = stream->was_there, .backoff_ms = BACKOFF_MS };

    if (stream->timeout_ms > 0)
        run.deadline_us = g_get_monotonic_time() + (gint64)stream->timeout_ms * 1000;
    for (;;) {
        g_autoptr(GError) local = NULL;

        stream->begin(stream->user_data);
        if (wukong_client_watch_guests(ctl->client, left_ms(&run), on_event, &run, NULL, &local))
            return TRUE;
        if (!is_worth_retrying(&run, local)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        back_off(&run);
    }
}
