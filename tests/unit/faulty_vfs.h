/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * SQLite's own file layer with a counter and a saboteur in between: what was written to the log
 * after its last sync is what a power cut may take away.
 */
typedef struct {
    int wal_syncs;           /* syncs of the log that went through */
    int wal_writes_unsynced; /* writes to the log since */
    int fail_wal_syncs;      /* so many of the next syncs of the log fail with EIO */
    int fail_db_syncs;
    int full_after_writes; /* >= 0: after so many writes everything says ENOSPC; -1: never */
} FaultyVfs;

extern FaultyVfs faulty_vfs;

/* Becomes SQLite's default; once, before any database is open. One thread at a time. */
void faulty_vfs_install(void);
void faulty_vfs_reset(void);

G_END_DECLS
