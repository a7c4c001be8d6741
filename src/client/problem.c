/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "client/problem.h"

#include "base/json.h"

#include <errno.h>
#include <string.h>

#define PROBLEM_MAX (64 * 1024)

typedef struct {
    guint status;
    char *reason;
} WukongErrorPrivate;

static void
wukong_error_private_init(WukongErrorPrivate *priv G_GNUC_UNUSED)
{
}

static void
wukong_error_private_copy(const WukongErrorPrivate *from, WukongErrorPrivate *to)
{
    to->status = from->status;
    to->reason = g_strdup(from->reason);
}

static void
wukong_error_private_clear(WukongErrorPrivate *priv)
{
    g_free(priv->reason);
}

/* GLib's macro finds the private part by a cast that clang takes for a loss of alignment. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-align"
G_DEFINE_EXTENDED_ERROR(WukongError, wukong_error)
#pragma GCC diagnostic pop

const char *
wukong_error_get_reason(const GError *error)
{
    if (error == NULL || error->domain != WUKONG_ERROR)
        return NULL;
    return wukong_error_get_private(error)->reason;
}

guint
wukong_error_get_status(const GError *error)
{
    if (error == NULL || error->domain != WUKONG_ERROR)
        return 0;
    return wukong_error_get_private(error)->status;
}

void
wk_problem_set(GError **error, WukongError code, guint status, const char *reason,
               const char *format, ...)
{
    WukongErrorPrivate *priv;
    va_list args;

    if (error == NULL)
        return;
    va_start(args, format);
    *error = g_error_new_valist(WUKONG_ERROR, (int)code, format, args);
    va_end(args);
    priv = wukong_error_get_private(*error);
    priv->status = status;
    priv->reason = g_strdup(reason);
}

static WukongError
code_of_status(guint status)
{
    switch (status) {
    case 400:
    case 413:
        return WUKONG_ERROR_INVALID;
    case 401:
    case 403:
        return WUKONG_ERROR_UNREACHABLE;
    case 404:
        return WUKONG_ERROR_NOT_FOUND;
    case 422:
        return WUKONG_ERROR_REFUSED;
    default:
        return WUKONG_ERROR_FAILED;
    }
}

/* The daemon may say by itself what to do about it. */
static void
set_refused(GError **error, guint status, const char *reason, const char *text)
{
    const gboolean told = text != NULL && strstr(text, "join group") != NULL;

    wk_problem_set(error, WUKONG_ERROR_UNREACHABLE, status, reason, "wukongd refuses you: %s%s",
                   text != NULL && *text != '\0' ? text : "it does not say why",
                   told ? "" : "; join group wukong, then log in again");
}

void
wk_problem_from_answer(GError **error, guint status, const char *body, gsize length,
                       const char *what)
{
    g_autoptr(JsonObject) problem = wk_json_parse(body, (gssize)length, PROBLEM_MAX, NULL);
    const char *text = wk_json_get_string(problem, "detail");
    const char *reason = wk_json_get_string(problem, "reason");
    const WukongError code = code_of_status(status);

    if (text == NULL || *text == '\0')
        text = wk_json_get_string(problem, "title");
    if (code == WUKONG_ERROR_UNREACHABLE) {
        set_refused(error, status, reason, text);
    } else if (text != NULL && *text != '\0') {
        wk_problem_set(error, code, status, reason, "%s", text);
    } else {
        wk_problem_set(error, code, status, reason, "%s: wukongd answered with status %u", what,
                       status);
    }
}

void
wk_problem_unreachable(GError **error, const char *path, int errnum, const char *detail)
{
    if (errnum == EACCES || errnum == EPERM) {
        wk_problem_set(error, WUKONG_ERROR_UNREACHABLE, 0, NULL,
                       "can't reach wukongd at %s: %s; join group wukong, then log in again", path,
                       g_strerror(errnum));
        return;
    }
    wk_problem_set(error, WUKONG_ERROR_UNREACHABLE, 0, NULL,
                   "can't reach wukongd at %s: %s; is the service running? "
                   "(systemctl status wukongd)",
                   path, errnum != 0 ? g_strerror(errnum) : detail);
}
