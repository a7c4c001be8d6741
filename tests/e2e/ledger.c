/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger itself in trouble: lost, damaged, from a newer agent or an older one. No image is
 * dropped, none is started that is not known to be good, and everything is said.
 */
#include "config.h"

#include "lab.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LEDGER LAB_STATE_DIR "/ledger.db"
#define GUEST  "vm1"

/* wukongctl @words ends with @status, and says @said. */
static void
ctl(int status, const char *said, const char *const *words)
{
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_ctlv(&output, words, LAB_WAIT_MS, &error));
    if (output.status == status && (strstr(output.out, said) || strstr(output.err, said)))
        return;
    fail_msg("wukongctl %s: status %d, wanted %d and '%s': %s%s", words[0], output.status, status,
             said, output.out, output.err);
}
#define CTL(status, said, ...) ctl(status, said, (const char *const[]){ __VA_ARGS__, NULL })

static int
start_node(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_guest_start(GUEST, NULL, &error));
    lab_ok(lab_agent_start(NULL, &error));
    CTL(0, "saved to disk", "suspend", GUEST, "--to", "disk");
    lab_ok(lab_agent_kill(&error));
    return 0;
}

static int
stop_node(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_agent_kill(&error));
    lab_ok(lab_guest_undefine(GUEST, &error));
    lab_ok(lab_libvirtd_stop(&error));
    return 0;
}

/* Held: said, not restored by us, not started by anybody; the image lies on until discard. */
static void
check_held_until_discard(void)
{
    g_autofree char *uuid = lab_guest_uuid(GUEST);
    g_autofree char *image = g_strdup_printf("%s/vault/%s/image", LAB_STATE_DIR, uuid);
    const char *const start[] = { "virsh", "start", GUEST, NULL };
    g_auto(LabOutput) output = { 0 };

    CTL(0, "LedgerLost", "status", GUEST);
    CTL(1, "discard drops it", "resume", GUEST);
    lab_ok(lab_run_capture(start, NULL, LAB_WAIT_MS, &output, &error));
    assert_int_not_equal(output.status, 0);
    assert_true(g_file_test(image, G_FILE_TEST_IS_REGULAR));
    CTL(0, "dropped", "discard", GUEST, "--yes");
    assert_false(g_file_test(image, G_FILE_TEST_EXISTS));
    lab_ok(lab_guest_create(GUEST, &error));
}

static void
remove_ledger(void)
{
    assert_int_equal(g_unlink(LEDGER), 0);
    (void)g_unlink(LEDGER "-wal");
    (void)g_unlink(LEDGER "-shm");
}

static void
test_lost_ledger(void **state G_GNUC_UNUSED)
{
    remove_ledger();
    lab_ok(lab_agent_start(NULL, &error));
    check_held_until_discard();
}

static void
query(const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(LEDGER, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static guint
read_version(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    guint version;

    assert_int_equal(sqlite3_open(LEDGER, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    version = (guint)sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return version;
}

/* Every page but the first, which says that it is our ledger. */
static void
damage_ledger(void)
{
    char junk[4096];
    int fd;
    off_t size;

    query("PRAGMA wal_checkpoint(TRUNCATE)");
    memset(junk, 0xa5, sizeof junk);
    fd = open(LEDGER, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    size = lseek(fd, 0, SEEK_END);
    assert_true(size > (off_t)sizeof junk);
    for (off_t at = sizeof junk; at < size; at += sizeof junk)
        assert_int_equal(pwrite(fd, junk, sizeof junk, at), sizeof junk);
    assert_int_equal(close(fd), 0);
}

static gboolean
was_put_aside(void)
{
    g_autoptr(GDir) dir = g_dir_open(LAB_STATE_DIR, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        if (g_str_has_prefix(name, "ledger.db.corrupt-"))
            return TRUE;
    }
    return FALSE;
}

static void
test_damaged_ledger(void **state G_GNUC_UNUSED)
{
    damage_ledger();
    lab_ok(lab_agent_start(NULL, &error));
    assert_true(was_put_aside());
    check_held_until_discard();
}

static void
test_newer_ledger(void **state G_GNUC_UNUSED)
{
    const LabAgentOptions options = { .no_wait = TRUE };
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    gsize length_before;
    gsize length_after;
    int status;

    query("PRAGMA user_version = 9999; PRAGMA wal_checkpoint(TRUNCATE)");
    assert_true(g_file_get_contents(LEDGER, &before, &length_before, NULL));
    lab_ok(lab_agent_start(&options, &error));
    lab_ok(lab_wait_exit("wukongd", LAB_WAIT_MS, &status, &error));
    assert_int_equal(status, 1);
    assert_true(g_file_get_contents(LEDGER, &after, &length_after, NULL));
    assert_int_equal(length_before, length_after);
    assert_memory_equal(before, after, length_before);
}

#define OLDER_KUBE                                                                                 \
    "DROP TABLE outbox; DROP TABLE bindings;"                                                      \
    "ALTER TABLE operations DROP COLUMN wukong_uid;"                                               \
    "ALTER TABLE operations DROP COLUMN generation;"                                               \
    "ALTER TABLE operations DROP COLUMN request_id;"                                               \
    "ALTER TABLE operations DROP COLUMN owed;"
#define OLDER_TOLD                                                                                 \
    "ALTER TABLE guests DROP COLUMN verified_at_us; ALTER TABLE guests DROP COLUMN told_of;"
#define OLDER_PINS                                                                                 \
    "ALTER TABLE guests DROP COLUMN pinned_wukong; ALTER TABLE guests DROP COLUMN pinned_uid;"
#define OLDER_CLAIMS OLDER_PINS "ALTER TABLE guests DROP COLUMN claims;"
#define OLDER_POD                                                                                  \
    OLDER_CLAIMS                                                                                   \
    "DROP TABLE headers;"                                                                          \
    "ALTER TABLE guests DROP COLUMN vmi_uid; ALTER TABLE guests DROP COLUMN saved_vmi_uid;"        \
    "ALTER TABLE guests DROP COLUMN staged_for; ALTER TABLE guests DROP COLUMN template_hash;"

/* The ledger as an older agent left it, with the guest's save in it. */
static const struct {
    guint version;
    const char *sql;
} older[] = {
    { 1, OLDER_POD OLDER_TOLD OLDER_KUBE },
    { 2, OLDER_POD OLDER_TOLD },
    { 3, OLDER_POD },
    { 4, OLDER_CLAIMS },
    { 5, OLDER_PINS },
};

/* An upgrade of the agent with guests saved: their memory goes on where it was. */
static void
test_older_ledger(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(older); i++) {
        g_autofree char *stamp = g_strdup_printf("PRAGMA user_version = %u", older[i].version);
        LabTick before;
        LabTick after;

        query(older[i].sql);
        query(stamp);
        assert_int_equal(read_version(), older[i].version);
        lab_ok(lab_guest_last_tick(GUEST, &before, &error));
        lab_ok(lab_agent_start(NULL, &error));
        assert_true(read_version() > 5);
        CTL(0, "SavedToDisk", "status", GUEST);
        CTL(0, "resumed from disk", "resume", GUEST);
        lab_ok(lab_guest_wait_tick_above(GUEST, before.tick, LAB_WAIT_MS, &error));
        lab_ok(lab_guest_last_tick(GUEST, &after, &error));
        assert_string_equal(before.nonce, after.nonce);
        lab_ok(lab_guest_check_log(GUEST, &error));
        CTL(0, "saved to disk", "suspend", GUEST, "--to", "disk");
        lab_ok(lab_agent_kill(&error));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lost_ledger, start_node, stop_node),
        cmocka_unit_test_setup_teardown(test_damaged_ledger, start_node, stop_node),
        cmocka_unit_test_setup_teardown(test_older_ledger, start_node, stop_node),
        /* the last one: no agent starts with what it leaves */
        cmocka_unit_test_setup_teardown(test_newer_ledger, start_node, stop_node),
    };

    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
