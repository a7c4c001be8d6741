/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/ctl.h"

#include "base/error.h"

int
wk_ctl_status_of(const GError *error)
{
    if (error->domain == WUKONG_ERROR)
        return error->code;
    if (error->domain == G_OPTION_ERROR || error->domain == G_CONVERT_ERROR
        || g_error_matches(error, WK_ERROR, WK_ERROR_INVALID))
        return WK_EXIT_USAGE;
    return WK_EXIT_FAILED;
}

int
wk_ctl_status_merge(int so_far, int next)
{
    if (so_far == WK_EXIT_DONE || so_far == next)
        return next;
    return next == WK_EXIT_DONE ? so_far : WK_EXIT_FAILED;
}
