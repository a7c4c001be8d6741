/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing is left behind by work: descriptors, threads, mounts, files in vault and save folder, and
 * rows of guests are the same before and after many operations, failures included; memory of the
 * agent's own grows by no more than what 256 remembered operations need. WK_WALK_FULL=1: 1,000.
 */
#include "walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define WARM_UP    60
#define QUICK      200
#define FULL       1000
#define DISK_EACH  20 /* every so many operations, one to disk */
#define GROWTH_KIB 4096
#define SETTLE_MS  10000

/* Once each, well after the warm-up: what failed is done again, and has to leave no more than what
 * went well. */
static const char failures[] = "save.managed-save:5=error:EIO,save.link-hold:6=error:ENOSPC,"
                               "save.sync-image:7=error:EIO,save.commit-sealed:8=error:EIO,"
                               "restore.start-paused:6=error:EIO,restore.commit-spent:7=error:EIO,"
                               "spent.unlink-hold:8=error:EIO,pause.domain:60=error:EIO";

typedef struct {
    guint fds;
    guint threads;
    guint mounts;
    guint files;
    guint64 anon_kib;
} Census;

static Walk walk;
static guint failed;

static guint
count_lines(const char *path)
{
    g_autofree char *text = NULL;
    guint n = 0;

    for (const char *c = g_file_get_contents(path, &text, NULL, NULL) ? text : ""; *c != '\0'; c++)
        n += *c == '\n';
    return n;
}

static Census
take_census(void)
{
    const int pid = (int)lab_pid("wukongd");
    g_autofree char *mounts = g_strdup_printf("/proc/%d/mounts", pid);

    return (Census){ .fds = lab_count_of("wukongd", "fd"),
                     .threads = lab_count_of("wukongd", "task"),
                     .mounts = count_lines(mounts),
                     .files = lab_count_entries(WALK_VAULT) + lab_count_entries(LAB_SAVE_DIR),
                     .anon_kib = (guint64)lab_rss_anon_kib("wukongd") };
}

static void
ask(const char *verb, const char *body, int expected)
{
    g_autofree char *path = g_strdup_printf("/v1/guests/%s/%s", walk.uuid, verb);
    g_autofree char *answer = NULL;
    int status = 0;

    lab_ok((status = lab_http("POST", path, body, &answer, &error)) > 0);
    if (status / 100 != expected / 100)
        fail_msg("%s %s: %d %s", verb, body != NULL ? body : "", status, answer);
}

/* What an armed failure has met is asked for once more. */
static void
bring_to(const char *state, const char *verb, const char *body)
{
    for (guint i = 0; i < 2; i++) {
        g_autoptr(GHashTable) guest = NULL;

        lab_ok(walk_request(&walk, verb, body, &error));
        lab_ok((guest = walk_get_guest(&walk, &error)) != NULL);
        if (g_strcmp0(g_hash_table_lookup(guest, "state"), state) == 0)
            return;
        failed++;
    }
    fail_msg("%s: it is not %s", verb, state);
}

static void
work(guint operations)
{
    for (guint i = 0; i < operations; i += 2) {
        const gboolean to_disk = i % DISK_EACH == 0;

        bring_to("Suspended", "suspend",
                 to_disk ? "{\"target\":\"disk\"}" : "{\"target\":\"memory\"}");
        if (i % 10 == 0) {
            ask("suspend", "{\"target\":\"nowhere\"}", 400);
            ask("cancel", NULL, 409);
        }
        bring_to("Running", "resume", NULL);
        if (i % 10 == 0)
            ask("discard", NULL, 422);
    }
}

static gboolean
is_like(gpointer data)
{
    const Census *before = data;
    const Census now = take_census();

    return now.fds == before->fds && now.threads <= before->threads && now.mounts == before->mounts
           && now.files == before->files;
}

/* Pools end their idle threads after a while, so the first count may be high: never the later. */
static void
test_nothing_is_left(void **state G_GNUC_UNUSED)
{
    const guint operations = g_getenv("WK_WALK_FULL") != NULL ? FULL : QUICK;
    g_autofree char *row = NULL;
    g_autofree char *rows_before = NULL;
    g_autofree char *rows_after = NULL;
    Census before;
    Census after;

    lab_ok(walk_base(&walk, &error));
    lab_ok(walk_agent_end(&error));
    lab_ok(walk_agent_start(&walk, failures, &error));
    work(WARM_UP);
    before = take_census();
    lab_ok((rows_before = walk_ledger_rows(&error)) != NULL);
    work(operations);
    (void)lab_wait("the same count", SETTLE_MS, is_like, &before, NULL);
    after = take_census();
    lab_ok((rows_after = walk_ledger_rows(&error)) != NULL);
    print_message("leaks: operations=%u fds=%u->%u threads=%u->%u mounts=%u->%u files=%u->%u "
                  "anon=%" G_GUINT64_FORMAT "->%" G_GUINT64_FORMAT " KiB\n",
                  operations, before.fds, after.fds, before.threads, after.threads, before.mounts,
                  after.mounts, before.files, after.files, before.anon_kib, after.anon_kib);
    print_message("leaks: ledger: %s -> %s, failed %u\n", rows_before, rows_after, failed);
    assert_true(failed > 0);
    assert_string_equal(rows_before, rows_after);
    assert_true(after.fds <= before.fds);
    assert_true(after.threads <= before.threads);
    assert_int_equal(after.mounts, before.mounts);
    assert_int_equal(after.files, before.files);
    assert_true(after.anon_kib < before.anon_kib + GROWTH_KIB);
    lab_ok((row = walk_ledger_state(&walk, &error)) != NULL);
    assert_string_equal(row, "none");
    lab_ok(lab_guest_check_log(WALK_GUEST, &error));
}

static int
start_node(void **state G_GNUC_UNUSED)
{
    walk_init(&walk);
    lab_ok(lab_libvirtd_start(&error));
    return 0;
}

static int
end_node(void **state G_GNUC_UNUSED)
{
    walk_clear(&walk);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_nothing_is_left) };

    return cmocka_run_group_tests_name("leaks", tests, start_node, end_node);
}
