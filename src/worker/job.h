/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/run.h"
#include "model/facts.h"
#include "model/lifecycle.h"
#include "model/record.h"
#include "model/recovery.h"
#include "vault/image.h"
#include "vault/ledger.h"
#include "vault/vault.h"
#include "virt/domain.h"
#include "virt/pod.h"
#include "virt/source.h"
#include "worker/cluster.h"

G_BEGIN_DECLS

/* What a job is to bring about before it ends. */
typedef enum {
    WK_AIM_RECOVER, /* only what the recovery table asks for */
    WK_AIM_SUSPEND,
    WK_AIM_RESUME,
    WK_AIM_DISCARD,
    WK_AIM_VERIFY, /* a sealed image is read through */
    WK_AIM_CANCEL, /* give up a save or a restore: the guest is as before it */
    WK_AIM_STOP,   /* fallback: a graceful shutdown */
} WkAim;

/*
 * What one worker thread needs to work on one guest: references, copies, and what it last saw.
 * Made on the main thread, used by exactly one worker, handed back when the worker is done. The
 * engine sees to it that no two jobs of one guest are alive (I6), so the job owns the guest's
 * ledger row while it runs.
 */
typedef struct {
    /* Given. */
    WkRun *run;
    WkSource *source;
    WkLedger *ledger;
    WkVault *vault; /* NULL: no suspend to disk here */
    char *uuid;
    char *name;
    char *boot_id;   /* of this boot */
    char *hold_path; /* H; wk_job_hold_path() */
    WkAim aim;
    WkTarget target; /* suspend: as asked */
    WkTarget default_target;
    WkAction action; /* as published; NONE for recovery */
    WkOrigin origin;
    guint reserve_percent;  /* for the precheck: of the vault's file system, to stay free */
    guint64 promised_bytes; /* and what other saves were promised */
    char *cannot_save;      /* why there is no suspend to disk; NULL: there is */

    /* Given, of a guest in a launcher pod; NULL elsewhere. */
    WkCluster *cluster; /* also NULL for a look at a guest of which nothing is saved */
    WkPod *pod;         /* its present pod on this node; NULL: none */
    char *pod_vmi_uid;  /* of which VMI that is, by what was last told; NULL: not known */
    WkLauncherLease *lease;

    /* The guest's row, always as last committed. */
    WkRecord *record;
    gboolean guard_synced; /* row Q2: by this agent */

    /* What was last seen; wk_job_look() fills it in. */
    gboolean looked; /* the domain was seen at least once: @look says how */
    WkLook look;
    WkImageLook managed; /* M */
    WkImageLook hold;    /* H */
    WkObservation seen;
    char *pod_path;     /* launcher: M in the present pod; NULL: there is none */
    WkVmi *vmi;         /* launcher: of the guest's name; NULL: none, or not asked for */
    WkVm *vm;           /* launcher: NULL as above */
    GBytes *header;     /* launcher: the image's, before it was rewritten; NULL: it was not */
    char *disk_changed; /* which disk, when W differs */
    WkFacts *facts;     /* read when needed */

    /* How far the aim got. */
    GError *failed; /* why the try failed; reported once the guest is back in order */
    gboolean tried; /* the aim's own procedure ran once */
    gboolean asked_to_stop;
    gboolean asked_to_pause; /* by this operation, perhaps in an earlier try */
    gboolean unpaused;       /* its CPUs were let run: the clock wants setting */
    gboolean started;        /* it was started after a fallback had stopped it */
    char *caveat;            /* what the outcome's message adds; NULL: as before, "": nothing */
    WkTarget did_target;     /* where it was saved to, or resumed from */
    WkImageFollower *follower;
    char body_digest[WK_DIGEST_LENGTH + 1]; /* of the file that follows, by this job or a try before
                                               it: read while libvirt loaded it */
    WkFileId body_digest_of;
} WkJob;

/* Returns: (transfer full): @record is copied, NULL means a guest without a row. */
WkJob *wk_job_new(WkSource *source, WkLedger *ledger, WkVault *vault, WkRun *run, const char *uuid,
                  const char *name, const WkRecord *record);
void wk_job_free(WkJob *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkJob, wk_job_free)

/* Worker: looks at the domain and at both files, and works out the table's facts. */
gboolean wk_job_look(WkJob *self, GError **error);

/* A managed save that is not ours lies at M, as last seen. */
gboolean wk_job_sees_foreign_save(const WkJob *self);

/* Worker: looks only at the domain. */
gboolean wk_job_look_domain(WkJob *self, GError **error);

/* Worker: W as it is now against what was recorded (or, before, against M's time).
 * Returns: FALSE without @error when something differs. */
gboolean wk_job_disks_same(WkJob *self, GError **error);

/* Worker: can the guest, as last seen, be saved to disk at all? Changes nothing (I7). */
gboolean wk_job_precheck_save(WkJob *self, GError **error);

/* Worker: passes @step, then commits @next (transfer full) as the guest's row, provided that the
 * row is as this job left it. */
gboolean wk_job_commit(WkJob *self, WkStep step, WkRecord *next, GError **error);

/* Worker: M and H; (transfer none). M is NULL where the source can't save. */
const char *wk_job_managed_path(WkJob *self);
const char *wk_job_hold_path(WkJob *self);

/* M, as last seen, is of the recorded save; finished or not. */
gboolean wk_job_managed_has_our_op(WkJob *self);

/* Worker: passes @step, then syncs the folder; each of the two, and autostart's. */
gboolean wk_job_sync_save_folder(WkJob *self, WkStep step, GError **error);
gboolean wk_job_sync_vault(WkJob *self, WkStep step, GError **error);

/* Worker: passes @step, then makes the image at @path unusable, if it is @file and final; then
 * passes @sync_step and syncs it (F16). A file that is not there is fine. */
gboolean wk_job_kill_image(WkJob *self, WkStep step, WkStep sync_step, const char *path,
                           const WkFileId *file, GError **error);

/* Worker: passes @step, then makes the domain call, on the control connection. */
typedef gboolean (*WkDomainCall)(WkConnection *connection, const char *uuid, GError **error);
gboolean wk_job_call(WkJob *self, WkStep step, WkDomainCall call, GError **error);

/* Worker: autostart as @on, when it is not so already; then @sync_step for its folder (may be
 * WK_STEP_NONE: not synced). */
gboolean
wk_job_set_autostart(WkJob *self, gboolean on, WkStep step, WkStep sync_step, GError **error);

G_END_DECLS
