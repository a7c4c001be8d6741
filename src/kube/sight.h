/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/wukong.h"

G_BEGIN_DECLS

/*
 * What a Wukong is believed to show. Two roads tell of it, and they are not in step: the watch,
 * and the answers to our own writes. What the watch tells next after a write is, as a rule, older
 * than the answer (events that were under way), and then the write's own echo. Taken at its word,
 * the old event would look as if somebody had dropped what was just written, and would be answered
 * by writing it again: a loop of our own making. So:
 *
 *  1. The answer to a write is believed at once: it is the object after the write. It becomes an
 *     echo that is awaited, in the order of the writes. (A write that changed nothing makes no
 *     event, so it awaits none.)
 *  2. While an echo is awaited, what the watch tells is not believed until the last echo has come.
 *     The watch tells everything in its order, so what comes after the echo is newer than the
 *     write, and is believed again.
 *  3. While a write is under way, what the watch tells is held: it may be the echo, ahead of the
 *     answer. Once the answer is there, what was held is gone through by rule 2.
 *  4. A watch that had to list anew may skip an echo for good. Hence what is doubted is believed
 *     after all when the echo has not come within a time that the owner keeps (wk_sight_trust),
 *     counted from the first doubt: a watch that is silent says nothing, for however long.
 *  5. A server that refuses because the object is not as we think (refuted) has settled it: all
 *     that the watch told is believed.
 *
 * Echoes are recognised by their resourceVersion, which is only ever compared for being the same;
 * where there is none, by what the object says. Pure; no timers.
 */
typedef struct _WkSight WkSight;

WkSight *wk_sight_new(void);
void wk_sight_free(WkSight *self); /* NULL is fine */

/* What the watch tells; copied. @writing: a write is under way. Returns: TRUE when it is believed
 * now; else look at wk_sight_is_doubting(). */
gboolean wk_sight_saw(WkSight *self, const WkWukong *seen, gboolean writing);
/* The write under way was answered with @answer (transfer full). */
void wk_sight_answered(WkSight *self, WkWukong *answer);
/* It ended without an answer to believe. */
void wk_sight_failed(WkSight *self, gboolean refuted);
/* It has taken too long: the newest is believed. */
void wk_sight_trust(WkSight *self);

/* (transfer none): what is believed; NULL: nothing was seen yet. */
const WkWukong *wk_sight_get(WkSight *self);
/* (transfer none): what the watch told last and is not believed; NULL: all is. */
const WkWukong *wk_sight_get_doubted(WkSight *self);
/* (transfer none): what the watch told last, believed or not, or the answer that is newer. */
const WkWukong *wk_sight_get_newest(WkSight *self);

/* (transfer full): what it says of status, and of annotations: to compare. */
char *wk_sight_status_text(const WkWukong *seen);
char *wk_sight_meta_text(const WkWukong *seen);

WkWukong *wk_wukong_copy(const WkWukong *self); /* (transfer full) */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkSight, wk_sight_free)

G_END_DECLS
