/* SPDX-License-Identifier: Apache-2.0 */
/* Behind the scenes: the ledger's rows, and the files in the vault and in libvirt's save folder. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "e2e.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC_FINAL   "LibvirtQemudSave"
#define WRITE_DONE_MS 5000

char *
e2e_managed_path(const char *name)
{
    return g_strdup_printf(LAB_SAVE_DIR "/%s.save", name);
}

char *
e2e_hold_path(const char *name)
{
    g_autofree char *uuid = lab_guest_uuid(name);

    return g_strdup_printf(E2E_VAULT "/%s/image", uuid);
}

static char *
read_cell(sqlite3 *db, const char *uuid, const char *column)
{
    g_autofree char *sql = g_strdup_printf("SELECT %s FROM guests WHERE uuid = ?", column);
    sqlite3_stmt *stmt = NULL;
    char *value = NULL;

    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    sqlite3_bind_text(stmt, 1, uuid, -1, SQLITE_STATIC);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        value = g_strdup((const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    return value != NULL ? value : g_strdup("none");
}

char *
e2e_ledger(const char *name, const char *column)
{
    g_autofree char *uuid = lab_guest_uuid(name);
    sqlite3 *db = NULL;
    char *value;

    assert_int_equal(sqlite3_open_v2(LAB_STATE_DIR "/ledger.db", &db, SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    sqlite3_busy_timeout(db, WRITE_DONE_MS);
    value = read_cell(db, uuid, column);
    sqlite3_close(db);
    return value;
}

void
e2e_check_ledger(const char *name, const char *column, const char *value)
{
    g_autofree char *found = e2e_ledger(name, column);

    assert_string_equal(found, value);
}

void
e2e_check_no_image(const char *name)
{
    g_autofree char *managed = e2e_managed_path(name);
    g_autofree char *hold = e2e_hold_path(name);
    g_autofree char *folder = g_path_get_dirname(hold);

    e2e_check_ledger(name, "state", "none");
    assert_false(g_file_test(managed, G_FILE_TEST_EXISTS));
    assert_false(g_file_test(folder, G_FILE_TEST_EXISTS));
}

static void
check_mode(const char *path, mode_t mode)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
    assert_int_equal(st.st_uid, 0);
}

void
e2e_check_image(const char *name)
{
    g_autofree char *managed = e2e_managed_path(name);
    g_autofree char *hold = e2e_hold_path(name);
    g_autofree char *folder = g_path_get_dirname(hold);
    char magic[sizeof MAGIC_FINAL] = "";
    struct stat m;
    struct stat h;
    int fd;

    assert_int_equal(stat(managed, &m), 0);
    assert_int_equal(stat(hold, &h), 0);
    assert_int_equal(m.st_ino, h.st_ino);
    assert_int_equal(h.st_nlink, 2);
    check_mode(hold, 0600);
    check_mode(folder, 0700);
    check_mode(E2E_VAULT, 0700);
    fd = open(hold, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, magic, sizeof magic - 1, 0), sizeof magic - 1);
    close(fd);
    assert_string_equal(magic, MAGIC_FINAL);
}

void
e2e_flip_byte(const char *path, gint64 at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned char byte;
    struct stat st;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    if (at < 0)
        at += st.st_size;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0xff;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

void
e2e_flip_byte_unseen(const char *path, gint64 at)
{
    struct timespec times[2];
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    e2e_flip_byte(path, at);
    times[0] = st.st_atim;
    times[1] = st.st_mtim;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}
