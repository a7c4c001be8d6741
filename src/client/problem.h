/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "wukong/wukong.h"

G_BEGIN_DECLS

/* Sets @error; @reason may be NULL, @status 0. */
void wk_problem_set(GError **error, WukongError code, guint status, const char *reason,
                    const char *format, ...) G_GNUC_PRINTF(5, 6);

/* The error for an answer with HTTP @status whose body should be an RFC 9457 problem; what is not
 * one gives an error that only names the status. @what: "POST /v1/...". */
void wk_problem_from_answer(GError **error, guint status, const char *body, gsize length,
                            const char *what);

/* The error for a daemon that can't be reached at @path; @errnum 0: @detail says why. */
void wk_problem_unreachable(GError **error, const char *path, int errnum, const char *detail);

G_END_DECLS
