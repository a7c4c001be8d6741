/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "faulty_vfs.h"

#include <sqlite3.h>
#include <string.h>

FaultyVfs faulty_vfs = { .full_after_writes = -1 };

/* One open file: ours, and behind it in the same block the real one. */
typedef struct {
    sqlite3_file base;
    gboolean wal;
    sqlite3_file *real;
} File;

static sqlite3_vfs *real_vfs;
static sqlite3_vfs vfs;
static sqlite3_io_methods methods;

#define REAL(file) (((File *)(file))->real)

static int
on_close(sqlite3_file *file)
{
    return REAL(file)->pMethods->xClose(REAL(file));
}

static int
on_read(sqlite3_file *file, void *buffer, int length, sqlite3_int64 offset)
{
    return REAL(file)->pMethods->xRead(REAL(file), buffer, length, offset);
}

static int
on_write(sqlite3_file *file, const void *buffer, int length, sqlite3_int64 offset)
{
    if (faulty_vfs.full_after_writes == 0)
        return SQLITE_FULL;
    if (faulty_vfs.full_after_writes > 0)
        faulty_vfs.full_after_writes--;
    if (((File *)file)->wal)
        faulty_vfs.wal_writes_unsynced++;
    return REAL(file)->pMethods->xWrite(REAL(file), buffer, length, offset);
}

static int
on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return REAL(file)->pMethods->xTruncate(REAL(file), size);
}

static int
on_sync(sqlite3_file *file, int flags)
{
    const gboolean wal = ((File *)file)->wal;
    int *failures = wal ? &faulty_vfs.fail_wal_syncs : &faulty_vfs.fail_db_syncs;

    if (*failures > 0) {
        (*failures)--;
        return SQLITE_IOERR_FSYNC;
    }
    if (wal) {
        faulty_vfs.wal_syncs++;
        faulty_vfs.wal_writes_unsynced = 0;
    }
    return REAL(file)->pMethods->xSync(REAL(file), flags);
}

static int
on_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return REAL(file)->pMethods->xFileSize(REAL(file), size);
}

static int
on_lock(sqlite3_file *file, int level)
{
    return REAL(file)->pMethods->xLock(REAL(file), level);
}

static int
on_unlock(sqlite3_file *file, int level)
{
    return REAL(file)->pMethods->xUnlock(REAL(file), level);
}

static int
on_check_reserved(sqlite3_file *file, int *result)
{
    return REAL(file)->pMethods->xCheckReservedLock(REAL(file), result);
}

static int
on_control(sqlite3_file *file, int what, void *argument)
{
    return REAL(file)->pMethods->xFileControl(REAL(file), what, argument);
}

static int
on_sector_size(sqlite3_file *file)
{
    return REAL(file)->pMethods->xSectorSize(REAL(file));
}

static int
on_characteristics(sqlite3_file *file)
{
    return REAL(file)->pMethods->xDeviceCharacteristics(REAL(file));
}

static int
on_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **memory)
{
    return REAL(file)->pMethods->xShmMap(REAL(file), page, size, extend, memory);
}

static int
on_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return REAL(file)->pMethods->xShmLock(REAL(file), offset, n, flags);
}

static void
on_shm_barrier(sqlite3_file *file)
{
    REAL(file)->pMethods->xShmBarrier(REAL(file));
}

static int
on_shm_unmap(sqlite3_file *file, int delete)
{
    return REAL(file)->pMethods->xShmUnmap(REAL(file), delete);
}

static int
on_open(sqlite3_vfs *self G_GNUC_UNUSED, const char *name, sqlite3_file *file, int flags,
        int *out_flags)
{
    File *opened = (File *)file;
    int code;

    memset(opened, 0, sizeof *opened);
    opened->wal = (flags & SQLITE_OPEN_WAL) != 0;
    opened->real = (sqlite3_file *)(opened + 1);
    code = real_vfs->xOpen(real_vfs, name, opened->real, flags, out_flags);
    if (opened->real->pMethods != NULL)
        opened->base.pMethods = &methods;
    return code;
}

void
faulty_vfs_install(void)
{
    methods = (sqlite3_io_methods){
        .iVersion = 2,
        .xClose = on_close,
        .xRead = on_read,
        .xWrite = on_write,
        .xTruncate = on_truncate,
        .xSync = on_sync,
        .xFileSize = on_file_size,
        .xLock = on_lock,
        .xUnlock = on_unlock,
        .xCheckReservedLock = on_check_reserved,
        .xFileControl = on_control,
        .xSectorSize = on_sector_size,
        .xDeviceCharacteristics = on_characteristics,
        .xShmMap = on_shm_map,
        .xShmLock = on_shm_lock,
        .xShmBarrier = on_shm_barrier,
        .xShmUnmap = on_shm_unmap,
    };
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs; /* the rest stays the real one's: it never looks into a file */
    vfs.zName = "faulty";
    vfs.szOsFile = (int)sizeof(File) + real_vfs->szOsFile;
    vfs.pNext = NULL;
    vfs.xOpen = on_open;
    sqlite3_vfs_register(&vfs, 1);
}

void
faulty_vfs_reset(void)
{
    faulty_vfs = (FaultyVfs){ .full_after_writes = -1 };
}
