/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * Structured log lines: to the journal when stderr is connected to it, else plain text on stderr.
 * Library code returns errors; only the top of an operation logs, once.
 */
typedef enum {
    WK_LOG_ERROR,
    WK_LOG_WARNING,
    WK_LOG_INFO,
    WK_LOG_DEBUG,
} WkLogLevel;

/* Journal fields of a line about a guest; a NULL member is left out. */
typedef struct {
    const char *guest;  /* WUKONG_VM */
    const char *uuid;   /* WUKONG_UUID */
    const char *action; /* WUKONG_ACTION */
    const char *result; /* WUKONG_RESULT */
} WkLogFields;

/* Installs the writer; lines above @level are dropped. Main thread, once, before others start. */
void wk_log_init(WkLogLevel level);

/* Changes the level while running. Any thread. */
void wk_log_set_level(WkLogLevel level);

/* "error", "warning", "info" or "debug". Returns: FALSE with WK_ERROR_INVALID. */
gboolean wk_log_parse_level(const char *name, WkLogLevel *level, GError **error);

/* One line. @fields may be NULL. Any thread. */
void wk_log(WkLogLevel level, const WkLogFields *fields, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

G_END_DECLS
