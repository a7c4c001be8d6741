/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "worker/job.h"
#include "model/operation.h"

G_BEGIN_DECLS

typedef struct _WkEngine WkEngine;

/* What the engine's bounds count a task as. */
typedef enum {
    WK_SLOT_NONE,
    WK_SLOT_SAVE,
    WK_SLOT_RESTORE,
} WkSlot;

/*
 * One piece of work on one guest, over all its tries: an operation that somebody asked for, or a
 * recovery (no operation). Main thread only; counted, because a worker's answer may come after
 * the task was given up.
 */
typedef struct _WkTask WkTask;
struct _WkTask {
    gatomicrefcount refs;
    WkEngine *engine;
    char *uuid;      /* of the guest */
    WkOperation *op; /* NULL: recovery */
    WkRun *run;
    WkAim aim;
    WkTarget asked; /* suspend: the target as asked; op->target is what it comes to */
    WkSlot slot;    /* held while in a worker */
    guint attempt;
    guint forgiven;     /* attempts that no longer make it wait the longer */
    gboolean working;   /* a worker has it */
    gboolean touched;   /* something about the guest changed meanwhile */
    gboolean finishing; /* its outcome is being written */
    gboolean syncing;   /* the clock is being set, the outcome waits for it */
    guint finish_tries;
    WkOperation *ended; /* how it ended, while that could not be recorded */
    gboolean stopping;  /* asked to stop: by cancel, by its deadline, or by an opposite request */
    gint64 stopping_since_us; /* monotonic */
    char *stop_why;           /* for people */
    char *last_failure;       /* of the last try that may pass; what a timeout is blamed on */
    gboolean timed_out;
    gboolean superseded;
    gboolean given_up;      /* abandoned: an answer is not waited for any more */
    gboolean aim_reached;   /* by the last try */
    gboolean in_fallback;   /* the fallback is what is tried now */
    gboolean asked_to_stop; /* stop: the guest was asked to shut down */
    gboolean asked_to_pause;
    GError *failure;     /* what it will end with, once the guest is back in order */
    WkTarget did_target; /* what the job that reached the aim did; NONE: it was so already */
    gboolean unpaused;
    gboolean started;
    char body_digest[WK_DIGEST_LENGTH + 1]; /* of the image, as far as an earlier try read it */
    WkFileId body_digest_of;
    char *caveat; /* what its message adds; NULL or "": nothing */
    /* Of a guest in a pod: keeps its helper from one try to the next, where that comes in a moment;
     * NULL else. */
    WkLauncherLease *lease;
    guint64 rate_done_bytes;
    gint64 rate_at_us;
    gint64 try_began_us;  /* monotonic */
    gboolean try_goes_on; /* the next one is what this one waited for */

    GSource *retry_timer;
    GSource *deadline_timer;
    GSource *tick_timer; /* progress, and pushing a stop through */
    gboolean tick_pending;
    gboolean breaking; /* libvirt is being asked to end its job on the guest */
};

/* Returns: (transfer full): @op is taken (transfer full); NULL: recovery. */
WkTask *
wk_task_new(WkEngine *engine, const char *uuid, const char *guest, WkOperation *op, WkAim aim);
WkTask *wk_task_ref(WkTask *self);
void wk_task_unref(WkTask *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkTask, wk_task_unref)

/* Calls @callback(task) in @ms, and every @ms while it returns G_SOURCE_CONTINUE; replaces the
 * timer at @place. */
void wk_task_arm(WkTask *self, GSource **place, guint ms, gboolean (*callback)(gpointer task));
void wk_task_disarm(GSource **place);
void wk_task_disarm_all(WkTask *self);

/* A fresh run for the next try; what was asked of the one before is forgotten. */
void wk_task_renew_run(WkTask *self);

/* The connection is lost: what was asked through it may never be answered, and is not waited for.
 */
void wk_task_forget_calls(WkTask *self);

/* Takes step, bytes and rate over from the run. Returns: TRUE when something changed. */
gboolean wk_task_update_progress(WkTask *self);

/* What a task for @action is to bring about. */
WkAim wk_task_aim_of(WkAction action);

G_END_DECLS
