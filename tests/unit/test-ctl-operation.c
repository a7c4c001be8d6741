/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "ctl/operation.h"
#include "ctl/table.h"

/* @json with ' for ". */
static WkCtlOperation *
make(const char *json)
{
    g_autofree char *text = g_strdelimit(g_strdup(json), "'", '"');
    g_autoptr(JsonObject) object = wk_json_parse(text, -1, G_MAXSSIZE, NULL);

    assert_non_null(object);
    return wk_ctl_operation_new(object);
}

#define SAVING "'state':'running','action':'suspend','step':'save.managed-save'"

static void
test_progress(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *json;
        const char *text;
    } cases[] = {
        { "{" SAVING ",'progressPercent':40,'bytesDone':320000000,'bytesTotal':800000000,"
          "'bytesPerSecond':410000000,'secondsLeft':1}",
          "saving memory to disk 40% (320 MB of 800 MB, 410 MB/s, 1 s left)" },
        { "{" SAVING ",'progressPercent':3,'secondsLeft':200}",
          "saving memory to disk 3% (3 min 20 s left)" },
        { "{" SAVING "}", "saving memory to disk" },
        { "{'state':'queued','action':'suspend'}", "waiting for its turn" },
        { "{'state':'running','action':'resume'}", "resuming" },
        { "{'state':'running','action':'suspend'}", "suspending" },
        { "{'state':'running','step':'new.step\\u001b'}", "new.step\\x1b" },
        { "{'state':'running','progressPercent':500}", "working 100%" },
        { "{'state':'running','bytesDone':5,'bytesTotal':0,'secondsLeft':-4}", "working" },
        { "{'state':'running','bytesDone':'x','progressPercent':null}", "working" },
        { "{}", "working" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(WkCtlOperation) operation = make(cases[i].json);
        g_autofree char *text = wk_ctl_operation_progress(operation);

        assert_string_equal(text, cases[i].text);
    }
}

static void
test_news(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *before; /* NULL: first heard of */
        const char *now;
        gboolean news;
    } cases[] = {
        { NULL, "{" SAVING "}", TRUE },
        { "{'state':'queued'}", "{" SAVING "}", TRUE },
        { "{" SAVING "}", "{" SAVING "}", FALSE },
        { "{" SAVING ",'progressPercent':9}", "{" SAVING ",'progressPercent':10}", TRUE },
        { "{" SAVING ",'progressPercent':10}", "{" SAVING ",'progressPercent':19}", FALSE },
        { "{" SAVING ",'progressPercent':19}", "{" SAVING ",'progressPercent':45}", TRUE },
        { "{" SAVING ",'progressPercent':45}",
          "{'state':'running','step':'save.sync-image','progressPercent':45}", TRUE },
        { NULL, "{'state':'queued'}", FALSE },
        { "{'state':'queued'}", "{'state':'queued'}", TRUE },
        { NULL, "{'state':'succeeded'}", FALSE },
        { "{" SAVING "}", "{'state':'failed','progressPercent':90}", FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(WkCtlOperation) before = cases[i].before != NULL ? make(cases[i].before) : NULL;
        g_autoptr(WkCtlOperation) now = make(cases[i].now);

        if (wk_ctl_operation_is_news(before, now) != cases[i].news)
            fail_msg("case %" G_GSIZE_FORMAT ": %s", i, cases[i].now);
    }
}

static void
test_bar(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkCtlOperation) half =
        make("{" SAVING ",'progressPercent':50,'bytesDone':400000000,'bytesTotal':800000000,"
             "'bytesPerSecond':410000000,'secondsLeft':1}");
    g_autoptr(WkCtlOperation) blank = make("{'state':'queued'}");
    g_autofree char *line = wk_ctl_operation_bar(half, "vm1", 5, 200);
    g_autofree char *waiting = wk_ctl_operation_bar(blank, "vm1", 0, 200);

    assert_string_equal(line, "vm1    [##########..........]  50%  400 MB of 800 MB, 410 MB/s, "
                              "1 s left  saving memory to disk");
    assert_string_equal(waiting, "vm1  [....................]       waiting for its turn");
}

/* Whatever the width, a line never wraps. */
static void
test_bar_fits(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkCtlOperation) operation =
        make("{" SAVING ",'progressPercent':50,'bytesDone':1,'bytesTotal':2}");

    for (guint columns = 0; columns < 120; columns++) {
        g_autofree char *line = wk_ctl_operation_bar(operation, "名前", 10, columns);

        assert_true(wk_ctl_text_width(line) <= columns);
    }
}

static void
test_outcome(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *json;
        const char *text;
    } cases[] = {
        { "{'state':'succeeded','message':'suspended to disk (834 MB in 2.1 s)',"
          "'reason':'SavedToDisk'}",
          "suspended to disk (834 MB in 2.1 s)" },
        { "{'state':'failed','message':'Suspend failed: no room','reason':'NoSpace'}",
          "Suspend failed: no room (NoSpace)" },
        { "{'state':'failed','message':'NoSpace it is','reason':'NoSpace'}", "NoSpace it is" },
        { "{'state':'cancelled','message':'Suspend cancelled','reason':'Cancelled'}",
          "Suspend cancelled" },
        { "{'state':'failed','message':'a\\u001bb'}", "a\\x1bb" },
        { "{'state':'failed'}", "failed" },
        { "{'state':'succeeded','action':'suspend','target':'disk'}", "suspended to disk" },
        { "{'state':'succeeded','action':'suspend','target':'memory'}", "suspended to memory" },
        { "{'state':'succeeded','action':'suspend'}", "suspended" },
        { "{'state':'succeeded','action':'resume'}", "resumed" },
        { "{'state':'succeeded','action':'discard'}", "saved state dropped" },
        { "{}", "" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(WkCtlOperation) operation = make(cases[i].json);
        g_autofree char *text = wk_ctl_operation_outcome(operation);

        assert_string_equal(text, cases[i].text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress), cmocka_unit_test(test_news),    cmocka_unit_test(test_bar),
        cmocka_unit_test(test_bar_fits), cmocka_unit_test(test_outcome),
    };

    return cmocka_run_group_tests_name("ctl-operation", tests, NULL, NULL);
}
