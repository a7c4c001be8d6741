/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * Every step of every operation that changes something outside the process: a ledger commit, an
 * fsync, a link, unlink or rename, a call that changes a domain. The name is the failpoint, the
 * trace line and what "step" says in the API; the text is for people. Names never change meaning.
 *
 * The order below is the order of ledger-protocol.md (docs/ledger.md).
 */
#define WK_STEPS(X)                                                                                \
    X(OPERATION_ACCEPT, "operation.accept", "recording the request")                               \
    X(OPERATION_FINISH, "operation.finish", "recording the outcome")                               \
    X(PAUSE_DOMAIN, "pause.domain", "pausing the guest")                                           \
    X(PAUSE_COMMIT, "pause.commit", "recording the pause")                                         \
    X(UNPAUSE_DOMAIN, "unpause.domain", "resuming the guest")                                      \
    X(UNPAUSE_COMMIT, "unpause.commit", "recording the resume")                                    \
    X(TIME_SYNC, "time.sync", "setting the guest's clock")                                         \
    X(STOP_SHUTDOWN, "stop.shutdown", "asking the guest to shut down")                             \
    X(STOP_COMMIT, "stop.commit", "recording that the guest was stopped")                          \
    X(STOP_START, "stop.start", "starting the stopped guest")                                      \
    X(SAVE_COMMIT_SAVING, "save.commit-saving", "recording the save")                              \
    X(SAVE_AUTOSTART_OFF, "save.autostart-off", "turning autostart off")                           \
    X(SAVE_SYNC_AUTOSTART, "save.sync-autostart", "syncing the autostart folder")                  \
    X(SAVE_LOCK, "save.lock", "locking the VM against a cold boot")                                \
    X(SAVE_MAKE_HOLD, "save.make-hold", "making the image's file in the vault")                    \
    X(SAVE_SYNC_HOLD, "save.sync-hold", "syncing the vault")                                       \
    X(SAVE_PRELINK, "save.prelink", "linking the image's file into the pod")                       \
    X(SAVE_SET_OP, "save.set-op", "marking the guest with the save's id")                          \
    X(SAVE_PAUSE, "save.pause", "pausing the guest")                                               \
    X(SAVE_MANAGED_SAVE, "save.managed-save", "saving memory to disk")                             \
    X(SAVE_DEFINE_PAUSED, "save.define-paused", "making the image start paused")                   \
    X(SAVE_MAKE_FOLDER, "save.make-folder", "making the guest's folder in the vault")              \
    X(SAVE_CLAIM, "save.claim", "taking the image from the pod")                                   \
    X(SAVE_LINK_HOLD, "save.link-hold", "linking the image into the vault")                        \
    X(SAVE_SYNC_DISKS, "save.sync-disks", "syncing the guest's disks")                             \
    X(SAVE_SYNC_IMAGE, "save.sync-image", "syncing the image")                                     \
    X(SAVE_NOTE_DIGEST, "save.note-digest", "recording that a sync of the image failed")           \
    X(SAVE_REWRITE_IMAGE, "save.rewrite-image", "writing the image once more")                     \
    X(SAVE_READ_BACK, "save.read-back", "reading the image from the disk")                         \
    X(SAVE_SYNC_VAULT, "save.sync-vault", "syncing the vault")                                     \
    X(SAVE_SYNC_SAVE_FOLDER, "save.sync-save-folder", "syncing libvirt's save folder")             \
    X(SAVE_AUTOSTART_OFF_AGAIN, "save.autostart-off-again", "turning autostart off")               \
    X(SAVE_SYNC_AUTOSTART_AGAIN, "save.sync-autostart-again", "syncing the autostart folder")      \
    X(SAVE_COMMIT_SEALED, "save.commit-sealed", "sealing the image")                               \
    X(SEALED_FORGET_MANAGED, "sealed.forget-managed", "making the pod's libvirt forget the save")  \
    X(SEALED_UNLINK_MANAGED, "sealed.unlink-managed", "removing the image from the pod")           \
    X(SEALED_NO_START, "sealed.no-start", "telling the operator not to start the VM")              \
    X(ABORT_DESTROY, "abort.destroy", "ending the half restored guest")                            \
    X(ABORT_DEAD_MAGIC, "abort.dead-magic", "making the unfinished image unusable")                \
    X(ABORT_SYNC_IMAGE, "abort.sync-image", "syncing the unusable image")                          \
    X(ABORT_EMPTY, "abort.empty", "emptying the unfinished image")                                 \
    X(ABORT_UNLINK_MANAGED, "abort.unlink-managed", "removing the unfinished image")               \
    X(ABORT_SYNC_SAVE_FOLDER, "abort.sync-save-folder", "syncing libvirt's save folder")           \
    X(ABORT_UNLINK_HOLD, "abort.unlink-hold", "removing the image from the vault")                 \
    X(ABORT_SYNC_VAULT, "abort.sync-vault", "syncing the vault")                                   \
    X(ABORT_AUTOSTART_BACK, "abort.autostart-back", "giving autostart back")                       \
    X(ABORT_RESUME, "abort.resume", "letting the guest run on")                                    \
    X(ABORT_DESTROY_STALE, "abort.destroy-stale", "ending a guest restored from before the boot")  \
    X(ABORT_UNLOCK, "abort.unlock", "unlocking the VM")                                            \
    X(ABORT_COMMIT_NONE, "abort.commit-none", "recording that nothing is saved")                   \
    X(RESTORE_COMMIT_RESTORING, "restore.commit-restoring", "recording the restore")               \
    X(RESTORE_COMMIT_BOOT, "restore.commit-boot", "recording this boot")                           \
    X(RESTORE_START_PAUSED, "restore.start-paused", "loading memory from disk")                    \
    X(RELEASE_COMMIT_PIN, "release.commit-pin", "recording that the VM is pinned to this node")    \
    X(RELEASE_START, "release.start", "letting KubeVirt start the VM")                             \
    X(RELEASE_UNLOCK, "release.unlock", "unlocking the saved VMI")                                 \
    X(STAGE_LOCK, "stage.lock", "locking the new VMI")                                             \
    X(STAGE_COMMIT_VMI, "stage.commit-vmi", "recording the new VMI")                               \
    X(STAGE_KEEP_HEADER, "stage.keep-header", "keeping a copy of the image's header")              \
    X(STAGE_REWRITE, "stage.rewrite", "rewriting the image's header for the new pod")              \
    X(STAGE_GIVE, "stage.give", "giving the image to the new pod")                                 \
    X(STAGE_SYNC_IMAGE, "stage.sync-image", "syncing the image")                                   \
    X(STAGE_COMMIT, "stage.commit", "recording that the image is staged")                          \
    X(STAGE_RENAME, "stage.rename", "putting the image into the new pod")                          \
    X(STAGE_SYNC_SAVE_FOLDER, "stage.sync-save-folder", "syncing the pod's save folder")           \
    X(RESTORE_DESTROY, "restore.destroy", "ending a guest whose image is not good")                \
    X(RESTORE_COMMIT_SPENT, "restore.commit-spent", "marking the image as used")                   \
    X(VERIFY_COMMIT, "verify.commit", "recording that the image is good")                          \
    X(RELINK_MANAGED, "relink.managed", "putting the image back into libvirt's save folder")       \
    X(RELINK_SYNC_SAVE_FOLDER, "relink.sync-save-folder", "syncing libvirt's save folder")         \
    X(RELINK_HOLD, "relink.hold", "putting the image back into the vault")                         \
    X(RELINK_SYNC_VAULT, "relink.sync-vault", "syncing the vault")                                 \
    X(REBOOT_COMMIT_RESTORING, "reboot.commit-restoring", "recording the restore")                 \
    X(REBOOT_DESTROY, "reboot.destroy", "ending a guest that was loaded in another boot")          \
    X(CANCEL_COMMIT_WANT, "cancel.commit-want", "recording the cancel")                            \
    X(CANCEL_DESTROY, "cancel.destroy", "ending the half restored guest")                          \
    X(CANCEL_END_VMI, "cancel.end-vmi", "ending the new VMI")                                      \
    X(CANCEL_HEADER_BACK, "cancel.header-back", "putting the image's header back")                 \
    X(CANCEL_SYNC_IMAGE, "cancel.sync-image", "syncing the image")                                 \
    X(CANCEL_COMMIT_SEALED, "cancel.commit-sealed", "recording that the image is kept")            \
    X(OUTSIDE_COMMIT_SPENT, "outside.commit-spent", "recording that somebody started the guest")   \
    X(DELETED_COMMIT_SPENT, "deleted.commit-spent", "recording that the VM is being deleted")      \
    X(DISCARD_COMMIT_SPENT, "discard.commit-spent", "recording that the image is dropped")         \
    X(SPENT_UNLINK_MANAGED, "spent.unlink-managed", "removing the used image")                     \
    X(SPENT_DEAD_MAGIC, "spent.dead-magic", "making the used image unusable")                      \
    X(SPENT_SYNC_IMAGE, "spent.sync-image", "syncing the unusable image")                          \
    X(SPENT_SYNC_SAVE_FOLDER, "spent.sync-save-folder", "syncing libvirt's save folder")           \
    X(SPENT_UNLINK_HOLD, "spent.unlink-hold", "removing the used image from the vault")            \
    X(SPENT_SYNC_VAULT, "spent.sync-vault", "syncing the vault")                                   \
    X(SPENT_RESUME, "spent.resume", "letting the guest run")                                       \
    X(SPENT_DESTROY, "spent.destroy", "ending a guest that must not run on")                       \
    X(SPENT_AUTOSTART_BACK, "spent.autostart-back", "giving autostart back")                       \
    X(SPENT_PERSIST, "spent.persist", "defining the guest anew")                                   \
    X(SPENT_UNPIN, "spent.unpin", "taking the pin to this node off")                               \
    X(SPENT_UNLOCK, "spent.unlock", "unlocking the VM")                                            \
    X(SPENT_COMMIT_NONE, "spent.commit-none", "recording that nothing is saved")                   \
    X(QUARANTINE_COMMIT, "quarantine.commit", "recording that the image is held")                  \
    X(QUARANTINE_DESTROY, "quarantine.destroy", "ending a guest loaded from a held image")         \
    X(GUARD_AUTOSTART_OFF, "guard.autostart-off", "turning autostart off")                         \
    X(GUARD_SYNC_AUTOSTART, "guard.sync-autostart", "syncing the autostart folder")                \
    X(GUARD_MAKE_FOLDER, "guard.make-folder", "making libvirt's save folder in the new pod")       \
    X(GUARD_WRITE, "guard.write", "writing the guard file")                                        \
    X(GUARD_SYNC, "guard.sync", "syncing the guard file")                                          \
    X(GUARD_RENAME, "guard.rename", "putting the guard file in place")                             \
    X(GUARD_UNLINK_MANAGED, "guard.unlink-managed", "removing the held image's managed name")      \
    X(GUARD_SYNC_SAVE_FOLDER, "guard.sync-save-folder", "syncing libvirt's save folder")           \
    X(GUARD_UNLINK, "guard.unlink", "removing the guard from a pod that is to end")                \
    X(STALE_UNLINK_MANAGED, "stale.unlink-managed", "removing a stale image of a running guest")   \
    X(STALE_DEAD_MAGIC, "stale.dead-magic", "making the stale image unusable")                     \
    X(STALE_SYNC_IMAGE, "stale.sync-image", "syncing the stale image")                             \
    X(STALE_SYNC_SAVE_FOLDER, "stale.sync-save-folder", "syncing libvirt's save folder")           \
    X(STRAY_DEAD_MAGIC, "stray.dead-magic", "making a stray image in the vault unusable")          \
    X(STRAY_SYNC_IMAGE, "stray.sync-image", "syncing the stray image")                             \
    X(STRAY_UNLINK_HOLD, "stray.unlink-hold", "removing the stray image from the vault")           \
    X(STRAY_SYNC_VAULT, "stray.sync-vault", "syncing the vault")                                   \
    X(STRAY_UNLOCK, "stray.unlock", "unlocking a VM that nothing is saved of")                     \
    X(STRAY_UNLINK_GUARD, "stray.unlink-guard", "removing a guard file nobody needs")              \
    X(STRAY_SYNC_SAVE_FOLDER, "stray.sync-save-folder", "syncing libvirt's save folder")

typedef enum {
#define WK_STEP_ENUM(symbol, name, text) WK_STEP_##symbol,
    WK_STEPS(WK_STEP_ENUM)
#undef WK_STEP_ENUM
    WK_STEP_COUNT,
    WK_STEP_NONE = -1,
} WkStep;

/* Returns: (transfer none): "save.link-hold"; "" for WK_STEP_NONE. */
const char *wk_step_name(WkStep step);

/* Returns: (transfer none): "linking the image into the vault"; "" for WK_STEP_NONE. */
const char *wk_step_text(WkStep step);

G_END_DECLS
