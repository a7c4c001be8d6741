/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "ctl/ctl.h"
#include "ctl/operation.h"

G_BEGIN_DECLS

/* One accepted operation on one guest. */
typedef struct {
    char *guest_id;
    char *label;               /* in messages */
    char *word;                /* reusable GUEST */
    WkCtlOperation *operation; /* as last heard; never NULL */
} WkCtlJob;

/* Takes @label and @word over. */
WkCtlJob *wk_ctl_job_new(const char *guest_id, char *label, char *word, JsonObject *operation);
void wk_ctl_job_free(WkCtlJob *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkCtlJob, wk_ctl_job_free)

typedef enum {
    WK_FOLLOW_ENDED,       /* all operations are final */
    WK_FOLLOW_INTERRUPTED, /* Ctrl-C: they go on without us */
    WK_FOLLOW_FAILED,      /* with an error: nobody knows how they ended */
} WkCtlFollow;

/* Shows progress until all @jobs (element-type WkCtlJob) are final. The first Ctrl-C on a terminal
 * asks whether to cancel them, the second one leaves them running; elsewhere the first does. */
WkCtlFollow wk_ctl_follow(WkCtl *ctl, GPtrArray *jobs, GError **error);

G_END_DECLS
