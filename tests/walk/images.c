/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad images. A guest is sealed once; its image, its disk or its place is then made bad in every
 * way, and each time the agent has to hold the guest and say why, at its start or at a resume,
 * without letting a CPU run. After each the node is put back as it was sealed, and in the end the
 * guest goes on with the memory that it had: so nothing else was ever wrong.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define HEADER_BYTES 92
#define KEPT         LAB_DIR "/kept"
#define KEPT_LINK    "/var/lib/kept-image" /* of the sealed inode itself */
#define OTHER_GUEST  "other"
#define MACHINE_ID   "/etc/machine-id"

static Walk walk;
static guint n_cases;
static guint n_bad;

/* The image and its header. */
static struct stat sealed;
static guint32 data_length;

static gboolean
run(const char *command, GError **error)
{
    const char *const argv[] = { "sh", "-ec", command, NULL };
    g_auto(LabOutput) output = { 0 };

    if (!lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, error))
        return FALSE;
    if (output.status == 0)
        return TRUE;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", command, output.err);
    return FALSE;
}

static gboolean
keep(GError **error)
{
    g_autofree char *disk = lab_guest_disk_path(WALK_GUEST);
    g_autofree char *command =
        g_strdup_printf("mkdir -p " KEPT "; cp -p '%s' " KEPT "/image; cp -p " LAB_STATE_DIR
                        "/ledger.db* " KEPT "; cp -p '%s' " KEPT "/disk; ln '%s' " KEPT_LINK,
                        walk.hold, disk, walk.hold);
    const int fd = open(walk.hold, O_RDONLY | O_CLOEXEC);
    gboolean ok;

    ok = fd >= 0 && fstat(fd, &sealed) == 0 && pread(fd, &data_length, 4, 20) == 4;
    if (fd >= 0)
        close(fd);
    if (!ok)
        g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, "the image can't be read");
    return ok && run(command, error);
}

/* The same inodes with the same bytes and times. */
static gboolean
put_back(GError **error)
{
    g_autofree char *disk = lab_guest_disk_path(WALK_GUEST);
    g_autofree char *folder = g_path_get_dirname(walk.hold);
    g_autofree char *command = g_strdup_printf(
        "rm -f " LAB_STATE_DIR "/ledger.db*; cp -p " KEPT "/ledger.db* " LAB_STATE_DIR
        "; cmp -s " KEPT "/image " KEPT_LINK " || cat " KEPT "/image > " KEPT_LINK
        "; touch -r " KEPT "/image " KEPT_LINK "; touch -r " KEPT "/disk '%s'"
        "; mkdir -p '%s'; chmod 700 '%s'; rm -f '%s' " WALK_SAVE_FILE "; ln " KEPT_LINK
        " '%s'; ln " KEPT_LINK " " WALK_SAVE_FILE,
        disk, folder, folder, walk.hold, walk.hold);

    return lab_agent_kill(error) && lab_guest_destroy(WALK_GUEST, error) && run(command, error);
}

/* ---- what is made bad ---- */

/* @at: byte to flip, or length to cut to. */
typedef gboolean (*Do)(gint64 at, GError **error);

static gboolean
flip(gint64 at, GError **error)
{
    return walk_flip_byte(walk.hold, at, error);
}

/* As a file system does it that lost the end: the times stay. */
static gboolean
cut(gint64 length, GError **error)
{
    const int fd = open(walk.hold, O_RDWR | O_CLOEXEC);
    gboolean ok;

    ok = fd >= 0 && ftruncate(fd, length) == 0
         && futimens(fd, (const struct timespec[]){ sealed.st_atim, sealed.st_mtim }) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok)
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s: %s", walk.hold, g_strerror(errno));
    return ok;
}

/* A copy has the same bytes, and is another file: whoever made it may have run it. */
static gboolean
copy_over(gint64 at G_GNUC_UNUSED, GError **error)
{
    g_autofree char *command =
        g_strdup_printf("cp -p '%s' " KEPT "/copy; mv -f " KEPT "/copy " WALK_SAVE_FILE, walk.hold);

    return run(command, error);
}

/* Another image as libvirt's: the vault keeps the right one. */
static gboolean
put_at_managed(const char *image, GError **error)
{
    g_autofree char *command =
        g_strdup_printf("rm -f " WALK_SAVE_FILE "; cp '%s' " WALK_SAVE_FILE, image);

    return run(command, error);
}

/* Another image under both names, as who puts a backup back would do it. */
static gboolean
put_at_both(const char *image, GError **error)
{
    g_autofree char *command =
        g_strdup_printf("rm -f '%s' " WALK_SAVE_FILE "; cp '%s' '%s'; ln '%s' " WALK_SAVE_FILE,
                        walk.hold, image, walk.hold, walk.hold);

    return run(command, error);
}

/* The bytes of another image in the sealed inode; even its time is right. */
static gboolean
write_over(const char *image, GError **error)
{
    g_autofree char *command = g_strdup_printf("cat '%s' > '%s'; touch -r " KEPT "/image '%s'",
                                               image, walk.hold, walk.hold);

    return run(command, error);
}

static gboolean
older_at_managed(gint64 at G_GNUC_UNUSED, GError **error)
{
    return put_at_managed(KEPT "/older", error);
}

static gboolean
older_at_both(gint64 at G_GNUC_UNUSED, GError **error)
{
    return put_at_both(KEPT "/older", error);
}

static gboolean
older_in_place(gint64 at G_GNUC_UNUSED, GError **error)
{
    return write_over(KEPT "/older", error);
}

static gboolean
stranger_at_managed(gint64 at G_GNUC_UNUSED, GError **error)
{
    return put_at_managed(KEPT "/other", error);
}

static gboolean
stranger_at_both(gint64 at G_GNUC_UNUSED, GError **error)
{
    return put_at_both(KEPT "/other", error);
}

static gboolean
stranger_in_place(gint64 at G_GNUC_UNUSED, GError **error)
{
    return write_over(KEPT "/other", error);
}

static gboolean
remove_both(gint64 at G_GNUC_UNUSED, GError **error)
{
    g_autofree char *command = g_strdup_printf("rm -f '%s' " WALK_SAVE_FILE, walk.hold);

    return run(command, error);
}

static gboolean
remove_managed(gint64 at G_GNUC_UNUSED, GError **error)
{
    return run("rm -f " WALK_SAVE_FILE, error);
}

static gboolean
touch_disk(gint64 at G_GNUC_UNUSED, GError **error)
{
    return walk_touch_disk(error);
}

/* ---- what has to follow ---- */

static gboolean
is_held(gboolean foreign, GError **error)
{
    const WalkScenario held = {
        .name = "image", .any_outcome = TRUE, .ram_may_go = TRUE, .foreign_save = foreign
    };
    gboolean ok;

    walk.scenario = &held;
    ok = walk_inspect(&walk, WALK_HELD, error) == WALK_GOOD;
    walk.scenario = NULL;
    return ok;
}

/* Either the agent sees it at its start, or the resume is refused while the guest is paused. */
static gboolean
judge(guint64 tick, gboolean foreign, const char *reason, GError **error)
{
    g_autofree char *state = NULL;
    g_autoptr(GHashTable) guest = NULL;

    if (!walk_agent_start(&walk, NULL, error) || !walk_rest(&walk, error))
        return FALSE;
    state = walk_ledger_state(&walk, error);
    if (g_strcmp0(state, "sealed") == 0 && !walk_request(&walk, "resume", NULL, error))
        return FALSE;
    if (!is_held(foreign, error) || (guest = walk_get_guest(&walk, error)) == NULL)
        return FALSE;
    if (reason != NULL && g_strcmp0(g_hash_table_lookup(guest, "reason"), reason) != 0) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "the reason is %s, not %s",
                    (char *)g_hash_table_lookup(guest, "reason"), reason);
        return FALSE;
    }
    if (lab_guest_tick(WALK_GUEST, error) == tick)
        return TRUE;
    g_set_error_literal(error, LAB_ERROR, LAB_ERROR_FAILED, "the guest ran");
    return FALSE;
}

/* @reason: that it has to be held for; NULL: any. */
static void
try_other(const char *what, Do act, gint64 at, const char *reason, gboolean foreign)
{
    g_autoptr(GError) error = NULL;
    const guint64 tick = lab_guest_tick(WALK_GUEST, NULL);

    n_cases++;
    walk_mark_log(&walk);
    if (put_back(&error) && act(at, &error) && judge(tick, foreign, reason, &error))
        return;
    n_bad++;
    print_message("images: %s %" G_GINT64_FORMAT ": %s\n", what, at,
                  error != NULL ? error->message : "");
    walk_keep_log(&walk, "images", what);
}

static void
try_case(const char *what, Do act, gint64 at)
{
    try_other(what, act, at, NULL, FALSE);
}

static void
test_header(void **state G_GNUC_UNUSED)
{
    const gint64 stride = g_getenv("WK_WALK_FULL") != NULL ? 1 : 7;
    const guint before = n_bad;

    for (gint64 at = 0; at < HEADER_BYTES; at += stride)
        try_case("header byte", flip, at);
    for (gint64 at = HEADER_BYTES; at < HEADER_BYTES + data_length; at += data_length / 5)
        try_case("XML byte", flip, at);
    assert_int_equal(n_bad - before, 0);
}

static void
test_body(void **state G_GNUC_UNUSED)
{
    const gint64 begin = HEADER_BYTES + data_length;
    const guint before = n_bad;

    try_case("body byte", flip, begin);
    try_case("body byte", flip, begin + (sealed.st_size - begin) / 2);
    try_case("body byte", flip, sealed.st_size - 1);
    assert_int_equal(n_bad - before, 0);
}

static void
test_truncated(void **state G_GNUC_UNUSED)
{
    const gint64 header = HEADER_BYTES + data_length;
    const gint64 lengths[] = { 0,      HEADER_BYTES - 1,   HEADER_BYTES,      header - 1,
                               header, sealed.st_size / 2, sealed.st_size - 1 };
    const guint before = n_bad;

    for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++)
        try_case("cut to", cut, lengths[i]);
    assert_int_equal(n_bad - before, 0);
}

static void
test_others(void **state G_GNUC_UNUSED)
{
    const guint before = n_bad;

    try_other("a copy at libvirt's path", copy_over, 0, "ImageStale", TRUE);
    try_other("removed from libvirt", remove_managed, 0, "ImageRemoved", FALSE);
    try_other("disk written since", touch_disk, 0, "DiskChanged", FALSE);
    try_other("an older save at libvirt's path", older_at_managed, 0, "ImageStale", TRUE);
    try_other("an older save at both", older_at_both, 0, "ImageCorrupt", TRUE);
    try_other("an older save in the inode", older_in_place, 0, "ImageCorrupt", FALSE);
    try_other("another guest's at libvirt's path", stranger_at_managed, 0, "ImageStale", TRUE);
    try_other("another guest's at both", stranger_at_both, 0, "ImageCorrupt", TRUE);
    try_other("another guest's in the inode", stranger_in_place, 0, "ImageCorrupt", FALSE);
    assert_int_equal(n_bad - before, 0);
}

static gboolean
agent_has_ended(gpointer data G_GNUC_UNUSED)
{
    return !walk_agent_is_alive();
}

/* Ledger, vault and libvirt's save folder copied to another machine: its agent takes none of it. */
static void
test_other_machine(void **state G_GNUC_UNUSED)
{
    const guint64 tick = lab_guest_tick(WALK_GUEST, NULL);
    g_autofree char *ours = NULL;
    g_autofree char *log = NULL;

    n_cases++;
    lab_ok(put_back(&error));
    if (!g_file_get_contents(MACHINE_ID, &ours, NULL, NULL))
        skip();
    lab_ok(g_file_set_contents(MACHINE_ID, "0123456789abcdef0123456789abcdef\n", -1, &error));
    walk_mark_log(&walk);
    (void)walk_agent_start(&walk, NULL, NULL);
    lab_ok(lab_wait("the agent to refuse", LAB_WAIT_MS, agent_has_ended, NULL, &error));
    log = walk_log_since(&walk);
    lab_ok(g_file_set_contents(MACHINE_ID, ours, -1, &error));
    assert_non_null(strstr(log, "machine"));
    assert_int_equal(lab_guest_tick(WALK_GUEST, NULL), tick);
    assert_int_equal(lab_domain_state(WALK_GUEST, NULL, NULL), VIR_DOMAIN_SHUTOFF);
}

/* Undoing it all leaves what was sealed, and that is good. */
static void
test_untouched_is_good(void **state G_GNUC_UNUSED)
{
    static const WalkScenario plain = { .name = "image", .any_outcome = TRUE };

    lab_ok(put_back(&error));
    walk_mark_log(&walk);
    lab_ok(walk_agent_start(&walk, NULL, &error));
    walk.scenario = &plain;
    lab_ok(walk_judge(&walk, WALK_DISK, &error) == WALK_GOOD);
}

/* Last: nothing can be put back after it. */
static void
test_lost(void **state G_GNUC_UNUSED)
{
    lab_ok(walk_request(&walk, "suspend", "{\"target\":\"disk\"}", &error));
    lab_ok(walk_agent_end(&error));
    lab_ok(remove_both(0, &error));
    lab_ok(judge(lab_guest_tick(WALK_GUEST, NULL), FALSE, "ImageLost", &error));
}

/* An image of another guest, and one that our guest had before this one. */
static void
make_others(void)
{
    g_autofree char *command = g_strdup_printf("cp -p '%s' " KEPT "/older", walk.hold);
    g_autoptr(virDomain) domain = NULL;

    lab_ok(run("mkdir -p " KEPT, &error));
    lab_ok(lab_guest_start(OTHER_GUEST, NULL, &error));
    lab_ok((domain = lab_domain(OTHER_GUEST, &error)) != NULL);
    assert_int_equal(virDomainManagedSave(domain, 0), 0);
    lab_ok(run("cp -p " LAB_SAVE_DIR "/" OTHER_GUEST ".save " KEPT "/other", &error));
    lab_ok(lab_guest_undefine(OTHER_GUEST, &error));
    lab_ok(walk_base(&walk, &error));
    lab_ok(walk_request(&walk, "suspend", "{\"target\":\"disk\"}", &error));
    lab_ok(run(command, &error));
    lab_ok(walk_request(&walk, "resume", NULL, &error));
}

static int
start_node(void **state G_GNUC_UNUSED)
{
    walk_init(&walk);
    lab_ok(lab_libvirtd_start(&error));
    make_others();
    lab_ok(walk_request(&walk, "suspend", "{\"target\":\"disk\"}", &error));
    lab_ok(walk_agent_end(&error));
    lab_ok(keep(&error));
    return 0;
}

static int
tell(void **state G_GNUC_UNUSED)
{
    print_message("images: cases=%u run=0 bad=%u\n", n_cases, n_bad);
    walk_clear(&walk);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),        cmocka_unit_test(test_body),
        cmocka_unit_test(test_truncated),     cmocka_unit_test(test_others),
        cmocka_unit_test(test_other_machine), cmocka_unit_test(test_untouched_is_good),
        cmocka_unit_test(test_lost),
    };

    return cmocka_run_group_tests_name("images", tests, start_node, tell);
}
