/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/facts.h"

G_BEGIN_DECLS

/*
 * Can this guest be suspended to that target at all? Pure: no side effects, nothing is touched
 * (I7). Refusals are WK_ERROR_REFUSED with a reason and the next step.
 */
typedef struct {
    const WkFacts *facts;
    gboolean persistent;
    gboolean can_save;      /* the source has a save folder, and a hold link works there */
    const char *cannot_why; /* when not: for people */
    guint64 free_bytes;     /* of the vault's file system */
    guint64 kept_bytes;     /* to stay free (reserve-percent) */
    guint64 promised_bytes; /* to other saves under way, not yet written */
} WkPrecheck;

gboolean wk_precheck_suspend(const WkPrecheck *input, WkTarget target, GError **error);

G_END_DECLS
