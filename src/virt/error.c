/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/error.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

static const struct {
    int number; /* virErrorNumber */
    WkErrorCode code;
} codes[] = {
    { VIR_ERR_NO_DOMAIN, WK_ERROR_NOT_FOUND },
    { VIR_ERR_OPERATION_INVALID, WK_ERROR_CONFLICT },
    { VIR_ERR_OPERATION_ABORTED, WK_ERROR_CANCELLED },
    { VIR_ERR_OPERATION_TIMEOUT, WK_ERROR_UNAVAILABLE }, /* a job holds the domain */
    { VIR_ERR_NO_CONNECT, WK_ERROR_UNAVAILABLE },
    { VIR_ERR_INVALID_CONN, WK_ERROR_UNAVAILABLE },
    { VIR_ERR_RPC, WK_ERROR_UNAVAILABLE },
};

static WkErrorCode
code_of(const virError *cause)
{
    for (gsize i = 0; i < G_N_ELEMENTS(codes); i++) {
        if (codes[i].number == cause->code)
            return codes[i].code;
    }
    /* A lost connection comes as a system or an internal error of the RPC layer. */
    return cause->domain == VIR_FROM_RPC ? WK_ERROR_UNAVAILABLE : WK_ERROR_FAILED;
}

/* A full disk is told by libvirt's I/O helper in words only. */
static gboolean
is_no_space(const virError *cause)
{
    if (cause->code == VIR_ERR_SYSTEM_ERROR && (cause->int1 == ENOSPC || cause->int1 == EDQUOT))
        return TRUE;
    return cause->message != NULL
           && (strstr(cause->message, "No space left on device") != NULL
               || strstr(cause->message, "Disk quota exceeded") != NULL);
}

void
wk_virt_set_error_from(GError **error, const virError *cause, const char *text)
{
    if (cause == NULL || cause->code == VIR_ERR_OK) {
        wk_error_set(error, WK_ERROR_FAILED, NULL, "%s: libvirt gave no reason", text);
        return;
    }
    wk_error_set(error, code_of(cause), is_no_space(cause) ? "NoSpace" : NULL, "%s: %s", text,
                 cause->message != NULL ? cause->message : "libvirt gave no text");
}

void
wk_virt_set_error(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    wk_virt_set_error_from(error, virGetLastError(), text);
}

static void
ignore_error(void *data G_GNUC_UNUSED, virErrorPtr cause G_GNUC_UNUSED)
{
}

void
wk_virt_init(void)
{
    static gsize once;

    if (g_once_init_enter(&once)) {
        (void)virInitialize();
        virSetErrorFunc(NULL, ignore_error);
        g_once_init_leave(&once, 1);
    }
}
