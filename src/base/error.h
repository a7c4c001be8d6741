/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * One error domain for the whole project. The code says what the caller can do about it; the
 * reason, where there is one, is the CamelCase word that users see in status, events and the API.
 */
typedef enum {
    WK_ERROR_FAILED,      /* a bug, or unknown: report, do not retry */
    WK_ERROR_INVALID,     /* the request is wrong: fix it */
    WK_ERROR_NOT_FOUND,   /* no such guest, operation or image */
    WK_ERROR_CONFLICT,    /* not possible in this state: look again, decide again */
    WK_ERROR_REFUSED,     /* a precheck says no: nothing was changed */
    WK_ERROR_DENIED,      /* the caller may not */
    WK_ERROR_UNAVAILABLE, /* a peer is down or busy: retry with backoff */
    WK_ERROR_TIMEOUT,     /* the deadline passed */
    WK_ERROR_CANCELLED,   /* somebody asked for it to stop */
    WK_ERROR_CORRUPT,     /* data are not what was written: hold, never use */
} WkErrorCode;

#define WK_ERROR (wk_error_quark())
GQuark wk_error_quark(void);

/* Sets @error with @reason, a static CamelCase word or NULL. @error may be NULL. */
void wk_error_set(GError **error, WkErrorCode code, const char *reason, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

/* Sets @error from errno value @errnum: "<text>: <strerror>". ENOSPC and EDQUOT get reason
 * "NoSpace"; EIO and EROFS "IOError"; the code is WK_ERROR_FAILED for all. */
void wk_error_set_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Returns: (transfer none) (nullable): the reason of @error; NULL when it has none or is of
 * another domain. */
const char *wk_error_get_reason(const GError *error);

/* When the peer wants to be asked again; -1, as in every new error: it did not say. @error is a
 * WK_ERROR; the getter takes any, and NULL. */
void wk_error_set_retry_after_ms(GError *error, gint64 ms);
gint64 wk_error_get_retry_after_ms(const GError *error);

G_END_DECLS
