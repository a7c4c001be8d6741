/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    WK_CHECK_OK,
    WK_CHECK_WARNING, /* works, but less than it could, or not for long */
    WK_CHECK_ERROR,   /* something that was asked for can't be done */
} WkCheckLevel;

/* One finding of `wukongctl doctor`. */
typedef struct {
    char *name; /* what was looked at: "vault", "source host" */
    WkCheckLevel level;
    char *message;   /* what was found */
    char *next_step; /* what to do about it; NULL: nothing */
} WkCheck;

/* Returns: (transfer full). Strings are copied. */
WkCheck *
wk_check_new(const char *name, WkCheckLevel level, const char *message, const char *next_step);
void wk_check_free(WkCheck *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkCheck, wk_check_free)

const char *wk_check_level_name(WkCheckLevel level);

G_END_DECLS
