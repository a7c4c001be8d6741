/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/client.h"
#include "kube/loop.h"
#include "kube/transfer.h"

G_BEGIN_DECLS

/* What client.c (the queue, credentials) shares with request.c and stream.c, and with tests. */

typedef struct {
    guint connect_ms;     /* for the connection, name and TLS included */
    guint request_ms;     /* for one attempt of a request, and for the head of a stream's answer */
    guint suspect_ms;     /* after so long the next requests get another connection */
    guint retry_s_ms;     /* what a second of Retry-After lasts */
    guint credentials_ms; /* credentials are good for so long without asking the config */
} WkKubeTimes;

typedef struct _WkKubeJob WkKubeJob; /* request.c */

typedef enum {
    WK_KUBE_ROAD_REQUESTS,
    WK_KUBE_ROAD_WATCHES,
    WK_KUBE_ROADS,
} WkKubeRoad;

struct _WkKube {
    gint refs; /* the user's, and one of each call that is on the stack */
    gboolean dead;
    WkKubeConfig *config;
    char *user_agent;
    WkKubeTimes times;
    WkKubeLoop *roads[WK_KUBE_ROADS]; /* connections in use for what starts now */
    guint tls_generation;             /* of these */
    GQueue jobs;                      /* (element-type WkKubeJob): every one there is */
    GQueue waiting;                   /* (element-type WkKubeJob): to be sent */
    GQueue streams;                   /* (element-type WkKubeStream): every one there is */
    guint n_running;                  /* jobs with a transfer */
    double tokens;                    /* client-side rate limit */
    gint64 tokens_at_us;
    gint64 refreshed_us;      /* monotonic; 0: never */
    gint64 renewed_us;        /* the last time that it was done because of a 401 */
    gboolean anew;            /* the server does not like our credentials */
    gboolean renewing;        /* the refresh on its way is because of that */
    GCancellable *refreshing; /* NULL: no refresh is on its way */
    GSource *pump;
    GHashTable *counts; /* (element-type utf8 WkKubeCount), "verb code" */
};

void wk_kube_ref_private(WkKube *self);
void wk_kube_unref_private(WkKube *self);

/* Something may be sent now, or credentials are to be looked at: from the main loop, soon. */
void wk_kube_pump_soon(WkKube *self);
/* The server answered 401 to what was sent at @sent_us: to be called before it is sent again. */
void wk_kube_doubt_credentials(WkKube *self, gint64 sent_us);
/* Connections of @loop may be dead without anybody knowing: what starts now gets others. */
void wk_kube_leave_road(WkKube *self, WkKubeRoad road, WkKubeLoop *loop);
void wk_kube_count(WkKube *self, const char *verb, guint code);

/* client.c decides when, these do it. */
void wk_kube_job_start(WkKubeJob *job);
void wk_kube_job_fail(WkKubeJob *job, const GError *error);
gboolean wk_kube_stream_is_waiting(WkKubeStream *self);
void wk_kube_stream_start(WkKubeStream *self);
void wk_kube_stream_fail(WkKubeStream *self, const GError *error);
/* The client is gone: the stream ends CANCELLED. */
void wk_kube_stream_orphan(WkKubeStream *self);

/* For tests: time is short. @times is copied. */
void wk_kube_set_times(WkKube *self, const WkKubeTimes *times);

G_END_DECLS
