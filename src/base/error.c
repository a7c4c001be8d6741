/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"

#include <errno.h>

typedef struct {
    const char *reason;
    gint64 retry_after_ms;
} WkErrorPrivate;

static void
wk_error_private_init(WkErrorPrivate *priv)
{
    priv->retry_after_ms = -1;
}

static void
wk_error_private_copy(const WkErrorPrivate *from, WkErrorPrivate *to)
{
    *to = *from;
}

static void
wk_error_private_clear(WkErrorPrivate *priv G_GNUC_UNUSED)
{
}

/* GLib keeps private data aligned; the macro's cast does not show it. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-align"
G_DEFINE_EXTENDED_ERROR(WkError, wk_error)
#pragma GCC diagnostic pop

static void G_GNUC_PRINTF(4, 0) set_valist(GError **error, WkErrorCode code, const char *reason,
                                           const char *format, va_list args)
{
    if (error == NULL)
        return;
    *error = g_error_new_valist(WK_ERROR, (int)code, format, args);
    wk_error_get_private(*error)->reason = reason != NULL ? g_intern_string(reason) : NULL;
}

void
wk_error_set(GError **error, WkErrorCode code, const char *reason, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_valist(error, code, reason, format, args);
    va_end(args);
}

static const char *
reason_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return "NoSpace";
    case EIO:
    case EROFS:
        return "IOError";
    default:
        return NULL;
    }
}

void
wk_error_set_errno(GError **error, int errnum, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    wk_error_set(error, WK_ERROR_FAILED, reason_of_errno(errnum), "%s: %s", text,
                 g_strerror(errnum));
}

const char *
wk_error_get_reason(const GError *error)
{
    if (error == NULL || error->domain != WK_ERROR)
        return NULL;
    return wk_error_get_private(error)->reason;
}

void
wk_error_set_retry_after_ms(GError *error, gint64 ms)
{
    g_return_if_fail(error != NULL && error->domain == WK_ERROR);
    wk_error_get_private(error)->retry_after_ms = ms;
}

gint64
wk_error_get_retry_after_ms(const GError *error)
{
    if (error == NULL || error->domain != WK_ERROR)
        return -1;
    return wk_error_get_private(error)->retry_after_ms;
}
