/* SPDX-License-Identifier: Apache-2.0 */
/* Credential plugins as they really are: slow, silent, chatty, wrong. */
#include "config.h"

#include "unit.h"

#include "base/error.h"
#include "kube/config_private.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <unistd.h>

#define PATIENCE_MS 300
#define GOOD_FOR_S  3600

static char *folder;

static int
setup(void **state G_GNUC_UNUSED)
{
    folder = g_dir_make_tmp("wk-kube-XXXXXX", NULL);
    return folder != NULL ? 0 : -1;
}

static int
teardown(void **state G_GNUC_UNUSED)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        g_unlink(path);
    }
    g_rmdir(folder);
    g_clear_pointer(&folder, g_free);
    return 0;
}

/* ---- a plugin, and what is asked of it ---- */

static void
put(const char *name, const char *text, int mode)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);

    assert_true(g_file_set_contents(path, text, -1, NULL));
    assert_int_equal(g_chmod(path, mode), 0);
}

/* It runs in the folder of the kubeconfig and notes there that it ran. */
static void
put_plugin(const char *body)
{
    g_autofree char *script =
        g_strdup_printf("#!/bin/sh\ncd '%s' || exit 9\nprintf x >>count\n%s\n", folder, body);

    put("plugin", script, 0700);
}

static char *
answer(const char *status)
{
    return g_strdup_printf(
        "printf '%%s\\n' '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":"
        "\"ExecCredential\",\"status\":%s}'",
        status);
}

static void
put_answer(const char *status)
{
    g_autofree char *body = answer(status);

    put_plugin(body);
}

static WkKubeConfig *
load(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(folder, "config", NULL);
    WkKubeConfig *config = NULL;

    put("config",
        "current-context: c\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {server: 'https://h:1'}}]\n"
        "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: "
        "./plugin, installHint: 'get it'}}}]\n",
        0600);
    config = wk_kube_config_load(path, &error);
    if (config == NULL)
        fail_msg("%s", error->message);
    config->exec->patience_ms = PATIENCE_MS;
    return config;
}

static guint
count_runs(void)
{
    g_autofree char *path = g_build_filename(folder, "count", NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? (guint)strlen(text) : 0;
}

typedef struct {
    guint done;
    gboolean ok;
    GError *error;
} Waiter;

static void
on_refreshed(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Waiter *waiter = data;

    g_clear_error(&waiter->error);
    waiter->ok = wk_kube_config_refresh_finish(NULL, result, &waiter->error);
    waiter->done++;
}

static gboolean
refresh(WkKubeConfig *config, gboolean anew, GError **error)
{
    Waiter waiter = { 0 };

    wk_kube_config_refresh(config, anew, NULL, on_refreshed, &waiter);
    while (waiter.done == 0)
        g_main_context_iteration(NULL, TRUE);
    if (waiter.error != NULL)
        g_propagate_error(error, waiter.error);
    return waiter.ok;
}

static const char *
token_of(WkKubeConfig *config)
{
    return wk_kube_config_get_credentials(config)->token;
}

/* ---- how long an answer is good ---- */

/* Returns: (transfer full): a status with a token that is good for @seconds from now. */
static char *
status_for(const char *token, int seconds)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autoptr(GDateTime) then = g_date_time_add_seconds(now, seconds);
    g_autofree char *text = g_date_time_format_iso8601(then);

    return g_strdup_printf("{\"token\":\"%s\",\"expirationTimestamp\":\"%s\"}", token, text);
}

static void
test_expiry(void **state G_GNUC_UNUSED)
{
    static const struct {
        int seconds;
        guint runs; /* of three refreshes */
    } rows[] = {
        { GOOD_FOR_S, 1 }, { 30, 1 },          { 5, 3 }, /* 10 s are kept for the way */
        { 0, 3 },          { -GOOD_FOR_S, 3 },
    };
    guint runs = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *status = status_for("t", rows[i].seconds);
        g_autoptr(WkKubeConfig) config = load();

        put_answer(status);
        for (int j = 0; j < 3; j++)
            assert_true(refresh(config, FALSE, NULL));
        runs += rows[i].runs;
        assert_int_equal(count_runs(), runs);
        assert_string_equal(token_of(config), "t");
    }
}

static void
test_run_again(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkKubeConfig) config = load();
    g_autofree char *later = status_for("t2", GOOD_FOR_S);

    put_answer("{\"token\":\"t1\"}");
    assert_true(refresh(config, FALSE, NULL));
    put_answer(later);
    assert_true(refresh(config, FALSE, NULL)); /* it has no end: only a 401 shows that it has */
    assert_string_equal(token_of(config), "t1");
    assert_true(refresh(config, TRUE, NULL));
    assert_string_equal(token_of(config), "t2");
}

/* All who ask meanwhile get the answer of one run. */
static void
test_one_at_a_time(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkKubeConfig) config = load();
    Waiter waiter = { 0 };

    put_answer("{\"token\":\"t\"}");
    for (int i = 0; i < 5; i++)
        wk_kube_config_refresh(config, i % 2 == 0, NULL, on_refreshed, &waiter);
    while (waiter.done < 5)
        g_main_context_iteration(NULL, TRUE);
    assert_true(waiter.ok);
    assert_int_equal(count_runs(), 1);
}

/* Who asked may be gone before the answer. */
static void
test_config_goes_first(void **state G_GNUC_UNUSED)
{
    WkKubeConfig *config = load();
    Waiter waiter = { 0 };

    put_answer("{\"token\":\"t\"}");
    wk_kube_config_refresh(config, FALSE, NULL, on_refreshed, &waiter);
    wk_kube_config_unref(config);
    while (waiter.done == 0)
        g_main_context_iteration(NULL, TRUE);
    assert_true(waiter.ok);
}

/* ---- what goes wrong ---- */

static const struct {
    const char *name;
    const char *body; /* of the script; NULL: the answer with @status */
    const char *status;
    const char *says;
} failures[] = {
    { "status", "echo 'log in first' >&2; exit 1", NULL, "log in first" },
    { "status alone", "exit 3", NULL, "status 3" },
    { "signal", "kill -TERM $$", NULL, "signal 15" },
    { "terminal codes", "printf 'a\\033[2Jb\\nc' >&2; exit 1", NULL, "a\\x1b[2Jb\\x0ac" },
    { "much to say", "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1", NULL, "xxxx" },
    { "nothing", "true", NULL, "JSON" },
    { "words", "echo your token is 7", NULL, "JSON" },
    { "binary", "head -c 1000 /dev/zero", NULL, "JSON" },
    { "list", "echo '[]'", NULL, "JSON" },
    { "cut", "echo '{\"apiVersion\":\"client.authen'", NULL, "JSON" },
    { "too large", "head -c 2000000 /dev/zero | tr '\\0' ' '", NULL, "over the limit" },
    { "no status", "echo '{\"kind\":\"ExecCredential\"}'", NULL, "no ExecCredential" },
    { "empty", NULL, "{}", "neither a token nor" },
    { "certificate alone", NULL, "{\"clientCertificateData\":\"C\"}", "neither a token nor" },
    { "key alone", NULL, "{\"token\":\"t\",\"clientKeyData\":\"K\"}", "neither a token nor" },
    { "empty token", NULL, "{\"token\":\"\"}", "no token" },
    { "header in a token", NULL, "{\"token\":\"t\\r\\nHost: x\"}", "no token" },
    { "number", NULL, "{\"token\":7}", "neither a token nor" },
    { "no time", NULL, "{\"token\":\"t\",\"expirationTimestamp\":\"soon\"}",
      "expirationTimestamp" },
    { "no text", NULL, "{\"token\":\"t\",\"expirationTimestamp\":7}", "expirationTimestamp" },
};

/* Each passes, for all we know: what waits for credentials is tried again. An answer that is no
 * good is not kept either: the next refresh runs the plugin again. */
static void
test_failures(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(failures); i++) {
        g_autoptr(WkKubeConfig) config = load();

        if (failures[i].body != NULL)
            put_plugin(failures[i].body);
        else
            put_answer(failures[i].status);
        for (int j = 0; j < 2; j++) {
            g_autoptr(GError) error = NULL;

            if (refresh(config, FALSE, &error))
                fail_msg("%s: taken", failures[i].name);
            assert_null(token_of(config));
            if (strstr(error->message, failures[i].says) == NULL)
                fail_msg("%s: %s", failures[i].name, error->message);
            assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_UNAVAILABLE));
            assert_string_equal(wk_error_get_reason(error), "PluginFailed");
            assert_true(g_utf8_validate(error->message, -1, NULL));
            assert_true(strlen(error->message) < 2000);
        }
        put_answer("{\"token\":\"good\"}");
        assert_true(refresh(config, FALSE, NULL));
        assert_string_equal(token_of(config), "good");
    }
}

/* A good answer outlives a bad one. */
static void
test_old_answer_stays(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkKubeConfig) config = load();

    put_answer("{\"token\":\"old\"}");
    assert_true(refresh(config, FALSE, NULL));
    put_answer("{\"token\":\"b a d\"}");
    assert_false(refresh(config, TRUE, NULL));
    assert_string_equal(token_of(config), "old");
    assert_true(refresh(config, FALSE, NULL));
    assert_string_equal(token_of(config), "old");
}

static void
test_missing(void **state G_GNUC_UNUSED)
{
    static const char *const plugins[] = { NULL, "#!/no/such/interpreter\n" };

    for (gsize i = 0; i < G_N_ELEMENTS(plugins); i++) {
        g_autoptr(WkKubeConfig) config = load();
        g_autoptr(GError) error = NULL;

        if (plugins[i] != NULL)
            put("plugin", plugins[i], 0700);
        assert_false(refresh(config, FALSE, &error));
        assert_string_equal(wk_error_get_reason(error), "PluginFailed");
        unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "get it");
    }
}

/* ---- what does not end ---- */

/* The pid that the plugin's child has noted. */
static pid_t
noted_pid(void)
{
    g_autofree char *path = g_build_filename(folder, "pid", NULL);
    g_autofree char *text = NULL;

    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return (pid_t)g_ascii_strtoll(text, NULL, 10);
}

static gboolean
on_look(gpointer data G_GNUC_UNUSED)
{
    return G_SOURCE_CONTINUE; /* only wakes the loop */
}

/* It may be another's child by now, and be reaped a moment later. */
static void
wait_gone(pid_t pid)
{
    const guint look = g_timeout_add(5, on_look, NULL);
    const gint64 until_us = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *text = NULL;

    while (g_file_get_contents(path, &text, NULL, NULL) && strstr(text, ") Z ") == NULL
           && g_get_monotonic_time() < until_us) {
        g_clear_pointer(&text, g_free);
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(look);
    assert_true(g_get_monotonic_time() < until_us);
}

static void
test_hangs(void **state G_GNUC_UNUSED)
{
    static const char *const bodies[] = {
        "echo $$ >pid; exec sleep 1000",
        "echo $$ >pid; exec sleep 1000 >/dev/null 2>&1",
        "sleep 1000 & echo $! >pid; wait",
        "trap '' TERM INT HUP; sleep 1000 & echo $! >pid; wait",
        "echo $$ >pid; exec yes >/dev/null",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(bodies); i++) {
        g_autoptr(WkKubeConfig) config = load();
        g_autoptr(GError) error = NULL;
        const gint64 start_us = g_get_monotonic_time();

        put_plugin(bodies[i]);
        assert_false(refresh(config, FALSE, &error));
        assert_true(g_get_monotonic_time() - start_us >= PATIENCE_MS * G_TIME_SPAN_MILLISECOND);
        assert_string_equal(wk_error_get_reason(error), "PluginTimeout");
        unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "did not end in 0.3 s");
        wait_gone(noted_pid());
    }
}

/* The plugin itself has ended; a child of its own holds its end of the pipe. */
static void
test_child_stays_behind(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkKubeConfig) config = load();
    g_autoptr(GError) error = NULL;

    put_plugin("sleep 1000 & echo $! >pid");
    assert_false(refresh(config, FALSE, &error));
    assert_string_equal(wk_error_get_reason(error), "PluginTimeout");
    put_answer("{\"token\":\"good\"}");
    assert_true(refresh(config, FALSE, NULL));
    assert_int_equal(kill(noted_pid(), SIGKILL), 0);
}

int
main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_expiry),
        IN_FOLDER(test_run_again),
        IN_FOLDER(test_one_at_a_time),
        IN_FOLDER(test_config_goes_first),
        IN_FOLDER(test_failures),
        IN_FOLDER(test_old_answer_stays),
        IN_FOLDER(test_missing),
        IN_FOLDER(test_hangs),
        IN_FOLDER(test_child_stays_behind),
    };

    return cmocka_run_group_tests_name("kube-exec", tests, NULL, NULL);
}
