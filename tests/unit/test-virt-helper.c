/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's end of a helper, against helpers that lie, flood, hang and die: this program is what
 * wk_helper_start() runs, and the text of a request says what is to be done with it.
 */
#include "config.h"

#include "base/clock.h"
#include "base/json.h"
#include "unit.h"
#include "virt/helper.h"
#include "virt/helper_line.h"
#include "virt/helper_main.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- the fake --- */

static gsize
no_limit(gpointer data G_GNUC_UNUSED)
{
    return WK_HELPER_LINE_MAX;
}

static void
say(const char *text)
{
    if (!wk_helper_lines_write(0, text))
        _exit(0);
}

static void
say_done(guint64 id)
{
    g_autofree char *line = wk_helper_result_format(id, NULL);

    say(line);
}

static void
say_failed(guint64 id, const char *words)
{
    g_autoptr(GError) failed = NULL;
    g_autofree char *line = NULL;

    wk_error_set(&failed, WK_ERROR_CONFLICT, NULL, "%s", words);
    line = wk_helper_error_format(id, failed);
    say(line);
}

/* As much as it likes, until it is killed. */
static void
flood(const char *piece)
{
    for (;;)
        say(piece);
}

static guint64 waiting; /* a call that is answered after the next one; 0: none */

static void
answer_good(guint64 id)
{
    say_done(id);
    if (waiting != 0)
        say_done(waiting);
    waiting = 0;
}

static void
act(const char *what, guint64 id)
{
    g_autofree char *block = g_strnfill(65536, 'x');

    if (g_str_equal(what, "good"))
        answer_good(id);
    else if (g_str_equal(what, "slow"))
        waiting = id;
    else if (g_str_equal(what, "error"))
        say_failed(id, "full");
    else if (g_str_equal(what, "no start"))
        say_failed(0, "no libvirt there");
    else if (g_str_equal(what, "garbage"))
        say("\x80\x01{]\n");
    else if (g_str_equal(what, "wrong id"))
        say_done(id + 1);
    else if (g_str_equal(what, "huge"))
        flood(block);
    else if (g_str_equal(what, "lines"))
        flood("{\"id\":77,\"result\":{}}\n");
    else if (g_str_equal(what, "die"))
        _exit(0);
    if (!g_str_equal(what, "twice"))
        return;
    say_done(id);
    say_done(id);
}

static int
fake_main(void)
{
    g_auto(WkHelperLines) lines = { 0 };
    const char *line;
    gsize length;

    wk_helper_lines_init(&lines, 0);
    while (wk_helper_lines_read(&lines, no_limit, NULL, &line, &length, NULL)) {
        WkHelperRequest request;
        guint64 id;
        g_autoptr(JsonObject) object = wk_helper_request_parse(line, length, &id, &request, NULL);

        if (object == NULL)
            return 1;
        act(request.text != NULL ? request.text : "good", id);
    }
    return 0;
}

/* --- the tests --- */

static WkHelper *
start(void)
{
    return wk_helper_start(-1, geteuid(), getegid());
}

static gboolean
ask(WkHelper *helper, const char *what, GError **error)
{
    const WkHelperRequest request = { .method = WK_HELPER_READ_IMAGE, .text = what };
    g_autoptr(JsonObject) result = wk_helper_call(helper, &request, error);

    return result != NULL;
}

static guint
count_descriptors(void)
{
    g_autoptr(GDir) folder = g_dir_open("/proc/self/fd", 0, NULL);
    guint n = 0;

    while (g_dir_read_name(folder) != NULL)
        n++;
    return n;
}

/* Also those that nobody has reaped. */
static gboolean
has_children(void)
{
    g_autoptr(GDir) tasks = g_dir_open("/proc/self/task", 0, NULL);
    const char *task;

    while ((task = g_dir_read_name(tasks)) != NULL) {
        g_autofree char *children = g_strdup_printf("/proc/self/task/%s/children", task);
        g_autofree char *text = NULL;

        if (g_file_get_contents(children, &text, NULL, NULL) && *text != '\0')
            return TRUE;
    }
    return FALSE;
}

/* A helper's end is not waited for by those who use it. */
static void
assert_nothing_left(guint descriptors)
{
    const gint64 until_us = wk_clock_mono_us() + 10 * G_USEC_PER_SEC;

    while ((has_children() || count_descriptors() > descriptors) && wk_clock_mono_us() < until_us)
        g_usleep(1000);
    assert_false(has_children());
    /* fewer: of a helper of the test before, whose end was not waited for either */
    assert_true(count_descriptors() <= descriptors);
}

static void
test_calls(void **state G_GNUC_UNUSED)
{
    const guint descriptors = count_descriptors();
    WkHelper *helper = start();
    GError *error = NULL;

    for (int i = 0; i < 100; i++)
        assert_true(ask(helper, "good", NULL));
    assert_false(ask(helper, "error", &error));
    unit_assert_error(&error, WK_ERROR_CONFLICT, "full");
    assert_true(wk_helper_is_alive(helper));
    assert_true(ask(helper, "good", NULL));
    wk_helper_unref(helper);
    assert_nothing_left(descriptors);
}

static const struct {
    const char *what;
    const char *words;
} hostile[] = {
    { "garbage", "does not keep to the protocol" },
    { "wrong id", "what was not asked" },
    { "huge", "too long" },
    { "lines", "what was not asked" },
    { "no start", "no libvirt there" },
    { "die", "it ended" },
};

static guint64
peak_memory_kib(void)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return (guint64)usage.ru_maxrss;
}

static void
test_hostile(void **state G_GNUC_UNUSED)
{
    const guint descriptors = count_descriptors();
    const guint64 before_kib = peak_memory_kib();

    for (gsize i = 0; i < G_N_ELEMENTS(hostile); i++) {
        WkHelper *helper = start();
        GError *error = NULL;

        assert_false(ask(helper, hostile[i].what, &error));
        unit_assert_error(&error, WK_ERROR_UNAVAILABLE, hostile[i].words);
        assert_false(wk_helper_is_alive(helper));
        assert_false(ask(helper, "good", &error));
        unit_assert_error(&error, WK_ERROR_UNAVAILABLE, hostile[i].words);
        wk_helper_unref(helper);
    }
    assert_nothing_left(descriptors);
    assert_true(peak_memory_kib() - before_kib < 32 * 1024);
}

/* The second answer is one that nobody asked for. */
static void
test_twice(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkHelper) helper = start();
    const gint64 until_us = wk_clock_mono_us() + 10 * G_USEC_PER_SEC;

    (void)ask(helper, "twice", NULL);
    while (wk_helper_is_alive(helper) && wk_clock_mono_us() < until_us)
        g_usleep(1000);
    assert_false(wk_helper_is_alive(helper));
}

static void
assert_hangs(const char *what, gboolean stopped)
{
    g_autoptr(WkHelper) helper = start();
    const gint64 before_us = wk_clock_mono_us();
    const gint64 deadline_us =
        wk_helper_kind(WK_HELPER_READ_IMAGE)->deadline_ms * G_TIME_SPAN_MILLISECOND;
    GError *error = NULL;
    pid_t pid;

    if (stopped) {
        assert_true(ask(helper, "good", NULL));
        assert_int_equal(kill(wk_helper_get_pid(helper), SIGSTOP), 0);
    }
    assert_false(ask(helper, what, &error));
    unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "did not answer 'read-image' within");
    assert_in_range(wk_clock_mono_us() - before_us, deadline_us, deadline_us + 5 * G_USEC_PER_SEC);
    while ((pid = wk_helper_get_pid(helper)) != 0)
        g_usleep(1000);
}

static gpointer
hang_stopped(gpointer data)
{
    assert_hangs(data, TRUE);
    return NULL;
}

/* What does not answer is killed, stopped or not; the two at the same time, for the deadlines. */
static void
test_hangs(void **state G_GNUC_UNUSED)
{
    const guint descriptors = count_descriptors();
    GThread *thread = g_thread_new("stopped", hang_stopped, (gpointer) "good");

    assert_hangs("never", FALSE);
    (void)g_thread_join(thread);
    assert_nothing_left(descriptors);
}

/* A stopped helper takes no more than a socket's buffer. */
static void
test_takes_nothing(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkHelper) helper = start();
    g_autofree char *text = g_strnfill(WK_HELPER_XML_MAX, 'x');
    GError *error = NULL;

    assert_true(ask(helper, "good", NULL));
    assert_int_equal(kill(wk_helper_get_pid(helper), SIGSTOP), 0);
    assert_false(ask(helper, text, &error));
    unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "takes no requests");
}

static gint slow_done; /* atomic */

static gpointer
ask_slow(gpointer data)
{
    assert_true(ask(data, "slow", NULL));
    g_atomic_int_set(&slow_done, TRUE);
    return NULL;
}

/* One call is answered after another that was made later. */
static void
test_out_of_order(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkHelper) helper = start();
    GThread *slow = g_thread_new("slow", ask_slow, helper);

    while (!g_atomic_int_get(&slow_done))
        assert_true(ask(helper, "good", NULL));
    (void)g_thread_join(slow);
}

static gpointer
ask_never(gpointer data)
{
    GError *error = NULL;

    assert_false(ask(data, "never", &error));
    unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "enough");
    return NULL;
}

static void
test_killed_while_waiting(void **state G_GNUC_UNUSED)
{
    const gint64 before_us = wk_clock_mono_us();
    WkHelper *helper = start();
    GThread *threads[16];

    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("never", ask_never, helper);
    while (wk_helper_get_pid(helper) == 0)
        g_usleep(1000);
    wk_helper_kill(helper, "enough");
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        (void)g_thread_join(threads[i]);
    wk_helper_unref(helper);
    assert_true(wk_clock_mono_us() - before_us < 5 * G_USEC_PER_SEC);
}

/* Ended at any moment of its start: nothing is left. */
static void
test_rounds(void **state G_GNUC_UNUSED)
{
    const guint descriptors = count_descriptors();

    for (int i = 0; i < 200; i++) {
        WkHelper *helper = start();

        if (i % 2 == 0)
            assert_true(ask(helper, "good", NULL));
        if (i % 4 == 1)
            g_usleep((gulong)i * 10);
        wk_helper_unref(helper);
    }
    assert_nothing_left(descriptors);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_hangs),
        cmocka_unit_test(test_takes_nothing),
        cmocka_unit_test(test_out_of_order),
        cmocka_unit_test(test_killed_while_waiting),
        cmocka_unit_test(test_rounds),
    };

    if (wk_helper_is_asked_for(argc, argv))
        return fake_main();
    return cmocka_run_group_tests_name("virt-helper", tests, NULL, NULL);
}
