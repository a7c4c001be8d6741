/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "ctl/follow.h"

G_BEGIN_DECLS

/* Progress on stderr: lines that are redrawn on a terminal, lines of news elsewhere. */
typedef struct _WkCtlScreen WkCtlScreen;

/* @jobs (element-type WkCtlJob) must outlive the screen. */
WkCtlScreen *wk_ctl_screen_new(const WkCtl *ctl, GPtrArray *jobs);
void wk_ctl_screen_free(WkCtlScreen *self); /* takes the lines away; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkCtlScreen, wk_ctl_screen_free)

gboolean wk_ctl_screen_is_terminal(const WkCtlScreen *self);

/* @job goes on from @before (NULL: first seen) to what it holds now. */
void wk_ctl_screen_update(WkCtlScreen *self, const WkCtlJob *job, const WkCtlOperation *before);

/* Redraws what has changed; call it at most 10 times a second. */
void wk_ctl_screen_draw(WkCtlScreen *self);

/* Takes the drawn lines away, so that something else can be printed. */
void wk_ctl_screen_clear(WkCtlScreen *self);

G_END_DECLS
