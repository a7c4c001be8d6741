/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/facts.h"
#include "model/record.h"

G_BEGIN_DECLS

/*
 * W of docs/ledger.md: how a guest's disks looked. Per writable disk with a path (NVRAM and TPM
 * state count): regular files by inode, size and mtime; folders by inode, newest file and the sum
 * of sizes (each file counts one byte more); block devices by their identity only, marked partial.
 * Blocking, any worker.
 *
 * Never looked at: ctime, which every start changes (F17), and st_dev of files, which a reboot may
 * change. A block device is told by a name that outlives a reboot (inode: its hash), or by st_rdev
 * where sysfs has none (inode 0). A disk that is not there is an error (WK_ERROR_NOT_FOUND), not a
 * difference: its storage may only be late.
 */

/*
 * Each function has a variant for a guest in a pod: @root_fd is the root of its launcher
 * (wk_pod_open_root()), paths are looked up inside it, symlinks too, so that nothing outside is
 * ever reached; only regular files, folders and block devices are opened. -1: this host's root.
 * @root_fd stays the caller's.
 */
gboolean wk_witness_sync_disks_in(int root_fd, const WkFacts *facts, GError **error);
GPtrArray *wk_witness_take_in(int root_fd, const WkFacts *facts, GError **error);
gboolean wk_witness_same_in(int root_fd, GPtrArray *recorded, char **what, GError **error);
gboolean wk_witness_not_after_in(int root_fd, const WkFacts *facts, gint64 image_mtime_ns,
                                 char **what, GError **error);

/* fsync of every writable disk file (block devices too). */
gboolean wk_witness_sync_disks(const WkFacts *facts, GError **error);

/* Returns: (transfer full) (element-type WkWitness): W as it is now. */
GPtrArray *wk_witness_take(const WkFacts *facts, GError **error);

/* TRUE when every witness of @recorded still looks the same. FALSE without @error: something
 * differs, @what (transfer full) names it for people; FALSE with @error: it could not be told. */
gboolean wk_witness_same(GPtrArray *recorded, char **what, GError **error);

/* Before W is recorded: TRUE when no writable disk was modified after @image_mtime_ns. */
gboolean
wk_witness_not_after(const WkFacts *facts, gint64 image_mtime_ns, char **what, GError **error);

G_END_DECLS
