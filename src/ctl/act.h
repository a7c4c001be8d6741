/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "ctl/options.h"

G_BEGIN_DECLS

/* What suspend, resume, discard and cancel have in common: ask for all guests first, then follow
 * them together, then tell how each ended. */
typedef struct _WkCtlAct WkCtlAct;
struct _WkCtlAct {
    const char *verb;     /* "suspend" */
    const char *good_end; /* the operation's state that is success */
    /* What --all means. */
    gboolean (*applies)(JsonObject *guest);
    JsonObject *(*submit)(WukongClient *client, const char *id, const WkCtlAct *self,
                          GError **error);
    /* Looks at what was chosen before anything is sent; may be NULL.
     * Returns: FALSE with an error: nothing is sent. */
    gboolean (*confirm)(GPtrArray *all, GPtrArray *guests, const WkCtlAct *self, GError **error);
    char *target;
    char *fallback;
    guint timeout_s;
    gboolean no_wait;
    gboolean dry_run;
    gboolean yes;
};

/* Returns: the exit status. */
int wk_ctl_act(WkCtl *ctl, const WkCtlAct *act, const WkCtlArgs *args, GError **error);

G_END_DECLS
