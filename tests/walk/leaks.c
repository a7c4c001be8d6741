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
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define WARM_UP    60
#define QUICK      200
#define FULL       1000
#define DISK_EACH  20 /* every so many operations, one to disk */
#define GROWTH_KIB 4096
#define SETTLE_MS  10000

typedef struct {
    guint fds;
    guint threads;
    guint mounts;
    guint files;
    guint64 anon_kib;
} Census;

static Walk walk;

static guint
count_entries(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint n = 0;

    while (dir != NULL && g_dir_read_name(dir) != NULL)
        n++;
    return n;
}

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
    g_autofree char *fds = g_strdup_printf("/proc/%d/fd", pid);
    g_autofree char *tasks = g_strdup_printf("/proc/%d/task", pid);
    g_autofree char *mounts = g_strdup_printf("/proc/%d/mounts", pid);
    g_autofree char *status = g_strdup_printf("/proc/%d/status", pid);
    g_autofree char *text = NULL;
    Census census = { .fds = count_entries(fds),
                      .threads = count_entries(tasks),
                      .mounts = count_lines(mounts),
                      .files = count_entries(WALK_VAULT) + count_entries(LAB_SAVE_DIR) };

    if (g_file_get_contents(status, &text, NULL, NULL))
        (void)sscanf(strstr(text, "RssAnon:"), "RssAnon: %" G_GUINT64_FORMAT, &census.anon_kib);
    return census;
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

static void
work(guint operations)
{
    for (guint i = 0; i < operations; i += 2) {
        const gboolean to_disk = i % DISK_EACH == 0;

        lab_ok(walk_request(&walk, "suspend",
                            to_disk ? "{\"target\":\"disk\"}" : "{\"target\":\"memory\"}", &error));
        if (i % 10 == 0) {
            ask("suspend", "{\"target\":\"nowhere\"}", 400);
            ask("cancel", NULL, 409);
        }
        lab_ok(walk_request(&walk, "resume", NULL, &error));
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
    Census before;
    Census after;

    lab_ok(walk_base(&walk, &error));
    work(WARM_UP);
    before = take_census();
    work(operations);
    (void)lab_wait("the same count", SETTLE_MS, is_like, &before, NULL);
    after = take_census();
    print_message("leaks: operations=%u fds=%u->%u threads=%u->%u mounts=%u->%u files=%u->%u "
                  "anon=%" G_GUINT64_FORMAT "->%" G_GUINT64_FORMAT " KiB\n",
                  operations, before.fds, after.fds, before.threads, after.threads, before.mounts,
                  after.mounts, before.files, after.files, before.anon_kib, after.anon_kib);
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
