/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "ctl/ctl.h"

G_BEGIN_DECLS

/* A stream of guests that outlives the daemon's restarts: wait and watch. */
typedef struct {
    WukongWatchFunc func;              /* FALSE ends it */
    void (*begin)(gpointer user_data); /* a new stream begins: all guests will be told again */
    gpointer user_data;
    guint timeout_ms;   /* 0: none */
    gboolean was_there; /* the daemon has answered just now: it is waited for when it is away */
} WkCtlStream;

/* Returns: TRUE when @stream's func ended it; FALSE with G_IO_ERROR_TIMED_OUT, or WUKONG_ERROR when
 * the daemon refuses or is away for too long. */
gboolean wk_ctl_stream_run(WkCtl *ctl, const WkCtlStream *stream, GError **error);

G_END_DECLS
