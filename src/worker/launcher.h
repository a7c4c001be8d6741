/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "worker/job.h"

G_BEGIN_DECLS

/*
 * What is different for a guest in a virt-launcher pod (docs/ledger.md, "launcher"; docs/
 * kubevirt.md). Worker. Each procedure may be repeated from its start.
 */

/* FALSE: the source is no launcher's, nothing below is for this job. */
gboolean wk_launcher_has(const WkJob *job);

/* launcher.c: looks at VMI, VM and M; part of wk_job_look(). */
gboolean wk_launcher_look(WkJob *job, GError **error);
/* Row G1 before anything is asked of anybody: what the watch and the kubelet's folder have told is
 * enough for a guard, and it has to be there before the container starts (R5). Elsewhere, and
 * where there is nothing to guard: TRUE. */
gboolean wk_launcher_guard_at_once(WkJob *job, GError **error);
/* The table's facts that only launchers have. */
void wk_launcher_note_facts(WkJob *job);
/* C: H is the sealed file; a header that is being rewritten is no difference. */
gboolean wk_launcher_seal_is_good(WkJob *job);
/* The image's own XML, as text, carries the recorded op. No XML of a pod is parsed in here. */
gboolean wk_launcher_has_our_op(const WkJob *job, const WkImageLook *image);
/* W inside the present pod; where there is none it can't be told and is no difference. */
gboolean wk_launcher_disks_same(WkJob *job, GError **error);
/* Can it be suspended to @target, by what KubeVirt says? Changes nothing (I7). */
gboolean wk_launcher_precheck(WkJob *job, WkTarget target, GError **error);
/* The lock onto the VMI as last seen. UNAVAILABLE "GuestBusy" when it changes all the time, or went
 * meanwhile. */
gboolean wk_launcher_lock(WkJob *job, WkStep step, GError **error);
/* Until KubeVirt has heard of a pause that libvirt says is there. */
gboolean wk_launcher_await_paused(WkJob *job, GError **error);
/* Until KubeVirt has heard of a guest that libvirt says runs, or has had its time. Of one on a
 * host: at once. */
void wk_launcher_await_running(WkJob *job);
/* Pause and unpause by KubeVirt, since a raw pause is undone by it within a second. */
gboolean wk_launcher_pause(WkJob *job, WkStep step, GError **error);
gboolean wk_launcher_unpause(WkJob *job, WkStep step, GError **error);
/* The lock off the recorded VMI. */
gboolean wk_launcher_unlock(WkJob *job, WkStep step, GError **error);

/* The VM is being deleted, or is gone, while something of it is saved: nobody will want that any
 * more, and the lock would keep the VM from going (no finalizer is left behind). */
gboolean wk_launcher_is_deleted(const WkJob *job);
gboolean wk_launcher_drop(WkJob *job, GError **error);

/* launcher_claims.c */
/* What a save records of the guest's PersistentVolumeClaims. Changes nothing but @next. */
gboolean wk_launcher_note_claims(WkJob *job, WkRecord *next, GError **error);
/* Can it go on in what its VM makes now, with the disks of now? Before anything is let go (I7). */
gboolean wk_launcher_check_resume(WkJob *job, GError **error);

/* launcher_pin.c: a new pod must come to this node, where the image is. */
/* Lets KubeVirt and the Wukong's operator start the VM, here if they can be made to; if not,
 * job->caveat says why. */
gboolean wk_launcher_let_start(WkJob *job, GError **error);
/* Takes off what that has put into the Wukong. */
gboolean wk_launcher_unpin(WkJob *job, GError **error);

/* launcher_save.c */
/* Save 3: the lock, H, the link into the pod. */
gboolean wk_launcher_prelink(WkJob *job, GError **error);
/* What a save records besides. */
void wk_launcher_fill_saving(WkJob *job, WkRecord *next);
/* Save 7: the image's header says paused, whatever it said. */
gboolean wk_launcher_make_image_paused(WkJob *job, GError **error);
/* Save 10: from here on nobody in a pod changes the image. */
gboolean wk_launcher_claim(WkJob *job, GError **error);
/* Save 9: W, as far as the pod is still there. Returns: (transfer full). */
GPtrArray *wk_launcher_witness_disks(WkJob *job, GError **error);
/* Abort b: nothing is left of an unfinished image, not even its size. */
gboolean
wk_launcher_empty_image(WkJob *job, const char *path, const WkFileId *file, GError **error);
/* Row K6: M goes, so that KubeVirt can end the pod. */
gboolean wk_launcher_remove_managed(WkJob *job, GError **error);
/* A suspend is done once the pod is gone: only then its memory is free. */
gboolean wk_launcher_check_gone(WkJob *job, GError **error);

/* launcher_restore.c */
/* Row G1, and quarantine: a guard at M in the present pod. */
gboolean wk_launcher_guard(WkJob *job, GError **error);
/* Row G2: a guard blocks libvirt's undefine. */
gboolean wk_launcher_unlink_guard(WkJob *job, GError **error);
/* Row K5: the old VMI is let go, or the image staged into the new pod. */
gboolean wk_launcher_start(WkJob *job, GError **error);
/* Waits for KubeVirt and its libvirt to load what was staged, for some two seconds at most.
 * Returns: TRUE once that is so, or has failed: look again. */
gboolean wk_launcher_await_loaded(WkJob *job);
/* Row K5: for a pod to come or go. Always fails, with WK_ERROR_UNAVAILABLE "WaitingForPod". */
gboolean wk_launcher_wait(WkJob *job, GError **error);
/* Quarantine: the VMI that is there now has the lock, until discard. */
gboolean wk_launcher_lock_held(WkJob *job, GError **error);
/* Cancel: the new VMI ends under our lock, with a guard in its pod, so that nothing boots in it or
 * after it. */
gboolean wk_launcher_end_successor(WkJob *job, GError **error);
/* Cancel: the header as it was sealed, down on the disk, before the image counts as sealed. */
gboolean wk_launcher_header_back(WkJob *job, WkRecord *next, GError **error);

G_END_DECLS
