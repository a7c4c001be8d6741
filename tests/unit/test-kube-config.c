/* SPDX-License-Identifier: Apache-2.0 */
/* Where the API server is and who we are: real files, real plugins. */
#include "config.h"

#include "unit.h"

#include "base/error.h"
#include "kube/config_private.h"
#include "kube/yaml.h"

#include <glib/gstdio.h>

/* ---- a folder of one's own ---- */

static char *folder;

static int
setup(void **state G_GNUC_UNUSED)
{
    folder = g_dir_make_tmp("wk-kube-XXXXXX", NULL);
    g_unsetenv("KUBECONFIG");
    g_unsetenv("KUBERNETES_SERVICE_HOST");
    return folder != NULL ? 0 : -1;
}

static int
teardown(void **state G_GNUC_UNUSED)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        g_unlink(path);
    }
    g_dir_close(dir);
    g_rmdir(folder);
    g_clear_pointer(&folder, g_free);
    return 0;
}

/* (transfer full): its path. */
static char *
put(const char *name, const char *text, int mode)
{
    char *path = g_build_filename(folder, name, NULL);
    g_autofree char *fresh = g_strconcat(path, ".new", NULL);

    assert_true(g_file_set_contents(fresh, text, -1, NULL));
    assert_int_equal(g_chmod(fresh, mode), 0);
    assert_int_equal(g_rename(fresh, path), 0); /* as a rotation does it */
    return path;
}

/* A kubeconfig whose cluster and user say @cluster and @user (flow mappings). */
static char *
config_text(const char *cluster, const char *user)
{
    return g_strdup_printf("apiVersion: v1\nkind: Config\ncurrent-context: c\n"
                           "contexts:\n- {name: c, context: {cluster: k, user: u}}\n"
                           "clusters:\n- name: k\n  cluster: %s\n"
                           "users:\n- name: u\n  user: %s\n",
                           cluster, user);
}

static WkKubeConfig *
load(const char *cluster, const char *user, GError **error)
{
    g_autofree char *text = config_text(cluster, user);
    g_autofree char *path = put("config", text, 0600);

    return wk_kube_config_load(path, error);
}

/* ---- refresh ---- */

typedef struct {
    gboolean done;
    gboolean ok;
    GError *error;
} Waiter;

static void
on_refreshed(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Waiter *waiter = data;

    waiter->ok = wk_kube_config_refresh_finish(NULL, result, &waiter->error);
    waiter->done = TRUE;
}

static gboolean
refresh(WkKubeConfig *config, gboolean anew, GError **error)
{
    Waiter waiter = { 0 };

    wk_kube_config_refresh(config, anew, NULL, on_refreshed, &waiter);
    while (!waiter.done)
        g_main_context_iteration(NULL, TRUE);
    if (waiter.error != NULL)
        g_propagate_error(error, waiter.error);
    return waiter.ok;
}

/* ---- what is good ---- */

static void
test_all_fields(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    G_GNUC_UNUSED g_autofree char *ca = put("ca.crt", "CA PEM", 0644);
    g_autoptr(WkKubeConfig) config =
        load("{server: 'https://[::1]:6443/k8s/', certificate-authority: ca.crt, "
             "tls-server-name: api.example, proxy-url: 'http://127.0.0.1:3128', "
             "disable-compression: true}",
             "{client-certificate-data: Q0VSVA==, client-key-data: S0VZ, as: jane, as-uid: u1, "
             "as-groups: [devs, ops]}",
             &error);
    const WkKubePlace *place;
    const WkKubeCredentials *credentials;

    assert_null(error);
    place = wk_kube_config_get_place(config);
    credentials = wk_kube_config_get_credentials(config);
    assert_string_equal(place->server, "https://[::1]:6443/k8s");
    assert_string_equal(place->tls_server_name, "api.example");
    assert_string_equal(place->proxy_url, "http://127.0.0.1:3128");
    assert_true(place->disable_compression);
    assert_false(place->insecure_skip_tls_verify);
    assert_string_equal(place->as_user, "jane");
    assert_string_equal(place->as_uid, "u1");
    assert_string_equal(place->as_groups[1], "ops");
    assert_null(place->as_groups[2]);
    assert_string_equal(g_bytes_get_data(credentials->ca_pem, NULL), "CA PEM");
    assert_string_equal(g_bytes_get_data(credentials->cert_pem, NULL), "CERT");
    assert_string_equal(g_bytes_get_data(credentials->key_pem, NULL), "KEY");
    assert_null(credentials->token);
}

static void
test_json_is_yaml(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path =
        put("config",
            "{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":"
            "\"k\"}}],"
            "\"clusters\":[{\"name\":\"k\",\"cluster\":{\"server\":\"http://127.0.0.1:8001\"}}]}",
            0600);
    g_autoptr(WkKubeConfig) config = wk_kube_config_load(path, &error);

    assert_null(error);
    assert_string_equal(wk_kube_config_get_place(config)->server, "http://127.0.0.1:8001");
}

/* The first file that says something wins, each name by itself; missing files are skipped. */
static void
test_merge(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *one = put("one",
                               "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
                               "users: [{name: u, user: {token: first}}]\n",
                               0600);
    g_autofree char *two = put("two",
                               "current-context: c\n"
                               "contexts: [{name: c, context: {cluster: wrong, user: wrong}}]\n"
                               "clusters: [{name: k, cluster: {server: 'https://h:1'}}]\n"
                               "users: [{name: u, user: {token: second}}]\n",
                               0600);
    g_autofree char *list = g_strdup_printf("%s/missing:%s::%s", folder, one, two);
    g_autoptr(WkKubeConfig) config = NULL;

    g_setenv("KUBECONFIG", list, TRUE);
    config = wk_kube_config_load(NULL, &error);
    g_unsetenv("KUBECONFIG");
    assert_null(error);
    assert_string_equal(wk_kube_config_get_place(config)->server, "https://h:1");
    assert_string_equal(wk_kube_config_get_credentials(config)->token, "first");
}

static void
test_in_cluster(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    G_GNUC_UNUSED g_autofree char *token = put("token", "abc.def\n", 0600);
    G_GNUC_UNUSED g_autofree char *ca = put("ca.crt", "CA", 0644);
    G_GNUC_UNUSED g_autofree char *space = put("namespace", "wukong-system\n", 0644);
    g_autoptr(WkKubeConfig) config = wk_kube_config_in_cluster(folder, "fd00::1", "443", &error);
    const WkKubePlace *place = wk_kube_config_get_place(config);

    assert_null(error);
    assert_string_equal(place->server, "https://[fd00::1]:443");
    assert_string_equal(place->namespace_name, "wukong-system");
    assert_string_equal(wk_kube_config_get_credentials(config)->token, "abc.def");
}

/* ---- what is bad ---- */

typedef struct {
    const char *cluster;
    const char *user;
    const char *says; /* in the message, besides the file's name */
} BadRow;

#define GOOD_CLUSTER "{server: 'https://h:1'}"

static const BadRow bad_rows[] = {
    { "{}", "{}", "it has no server" },
    { "{server: ''}", "{}", "it has no server" },
    { "{server: 'ftp://h'}", "{}", "not https://HOST:PORT" },
    { "{server: 'h:1'}", "{}", "not https://HOST:PORT" },
    { "{server: 'https://u:p@h'}", "{}", "not https://HOST:PORT" },
    { "{server: 'http://10.0.0.1'}", "{}", "without TLS only this machine" },
    { "{server: [a]}", "{}", "no server" },
    { "{server: 'https://h', certificate-authority-data: '!!'}", "{}",
      "certificate-authority-data is not base64" },
    { "{server: 'https://h', certificate-authority: gone.crt}", "{}", "gone.crt" },
    { "{server: 'https://h', insecure-skip-tls-verify: maybe}", "{}",
      "insecure-skip-tls-verify is neither" },
    { GOOD_CLUSTER, "{client-certificate-data: Q0VSVA==}", "go together" },
    { GOOD_CLUSTER, "{client-key-data: S0VZ}", "go together" },
    { GOOD_CLUSTER, "{token: \"a\\nb\"}", "characters that no token has" },
    { GOOD_CLUSTER, "{token: ' '}", "no token in it" },
    { GOOD_CLUSTER, "{token: {a: b}}", "token" },
    { GOOD_CLUSTER, "{tokenFile: gone}", "gone" },
    { GOOD_CLUSTER, "{as: \"x\\r\\ny\"}", "as holds a control character" },
    { GOOD_CLUSTER, "{as-groups: nobody}", "as-groups is not a list" },
    { GOOD_CLUSTER, "{auth-provider: {name: gcp}}", "auth-provider is not supported" },
    { GOOD_CLUSTER, "{exec: {command: x}}", "exec.apiVersion" },
    { GOOD_CLUSTER, "{exec: {apiVersion: client.authentication.k8s.io/v1}}", "command" },
    { GOOD_CLUSTER,
      "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}}",
      "no terminal" },
    { GOOD_CLUSTER,
      "{exec: {apiVersion: client.authentication.k8s.io/v1, command: x, env: [{value: y}]}}",
      "without a name" },
};

static void
test_bad_values(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bad_rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(WkKubeConfig) config = load(bad_rows[i].cluster, bad_rows[i].user, &error);

        if (config != NULL || error == NULL || strstr(error->message, bad_rows[i].says) == NULL
            || strstr(error->message, folder) == NULL)
            fail_msg("row %zu: %s", i, error != NULL ? error->message : "taken");
    }
}

static const struct {
    const char *text;
    const char *says;
} bad_files[] = {
    { "", "not a mapping" },
    { "- a\n", "not a mapping" },
    { "a: [", "line " },
    { "a: 1\na: 2\n", "the same key twice" },
    { "? [a]\n: b\n", "a key that is no text" },
    { "a: \"x\\0y\"\n", "NUL" },
    { "clusters: []\n", "no current context" },
    { "current-context: x\n", "there is no context 'x'" },
    { "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n",
      "there is no cluster 'k'" },
    { "current-context: c\ncontexts: [{name: c, context: {}}]\n", "no cluster '(none named)'" },
    { "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
      "clusters: [{name: k, cluster: {server: 'https://h'}}]\n",
      "there is no user 'u'" },
    /* a billion laughs */
    { "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
      "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
      "e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
      "too many values" },
    { "a: &a [*a]\n", "line " },
    { "a: "
      "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
      "\n",
      "nested too deeply" },
};

static void
test_bad_files(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bad_files); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = put("config", bad_files[i].text, 0600);
        g_autoptr(WkKubeConfig) config = wk_kube_config_load(path, &error);

        if (config != NULL || error == NULL || strstr(error->message, bad_files[i].says) == NULL)
            fail_msg("file %zu: %s", i, error != NULL ? error->message : "taken");
    }
}

static void
test_missing(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(folder, "none", NULL);

    assert_null(wk_kube_config_load(path, &error));
    assert_true(error->code != WK_ERROR_NOT_FOUND); /* it was asked for */
    assert_non_null(strstr(error->message, path));
    g_clear_error(&error);
    assert_null(wk_kube_config_load(NULL, &error));
    unit_assert_error(&error, WK_ERROR_NOT_FOUND, "--kubeconfig");
}

/* ---- staying fresh ---- */

static void
test_rotation(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    G_GNUC_UNUSED g_autofree char *token = put("token", "one", 0600);
    g_autofree char *ca = put("ca.crt", "CA1", 0644);
    g_autofree char *again = NULL;
    g_autofree char *ca_again = NULL;
    g_autofree char *bad = NULL;
    g_autoptr(WkKubeConfig) config =
        load("{server: 'https://h', certificate-authority: ca.crt}", "{tokenFile: token}", &error);
    const WkKubeCredentials *credentials = wk_kube_config_get_credentials(config);
    guint generation = credentials->tls_generation;

    assert_null(error);
    again = put("token", "two", 0600);
    assert_true(refresh(config, FALSE, &error));
    assert_string_equal(credentials->token, "one"); /* not looked at so soon */
    assert_true(refresh(config, TRUE, &error));
    assert_string_equal(credentials->token, "two");
    assert_int_equal(credentials->tls_generation, generation); /* a token needs no new connection */

    ca_again = put("ca.crt", "CA2", 0644);
    assert_true(refresh(config, TRUE, &error));
    assert_string_equal(g_bytes_get_data(credentials->ca_pem, NULL), "CA2");
    assert_int_equal(credentials->tls_generation, generation + 1);

    /* in the middle of a rotation, or broken: the old ones stay */
    assert_int_equal(g_unlink(ca), 0);
    bad = put("token", "not a token", 0600);
    assert_true(refresh(config, TRUE, &error));
    assert_string_equal(credentials->token, "two");
    assert_string_equal(g_bytes_get_data(credentials->ca_pem, NULL), "CA2");
}

static WkKubeConfig *
load_plugin(const char *script, GError **error)
{
    G_GNUC_UNUSED g_autofree char *path = put("plugin", script, 0700);
    g_autofree char *user = g_strdup_printf(
        "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, args: [a, 'b c'], "
        "env: [{name: COUNT, value: '%s/count'}], provideClusterInfo: true, installHint: 'get "
        "it'}}",
        folder);

    return load(GOOD_CLUSTER, user, error);
}

#define ANSWER(status)                                                                             \
    "#!/bin/sh\nprintf x >>\"$COUNT\"\n"                                                           \
    "case $KUBERNETES_EXEC_INFO in *'\"server\":\"https://h:1\"'*) ;; *) exit 9 ;; esac\n"         \
    "[ \"$1\" = a ] && [ \"$2\" = 'b c' ] || exit 8\n"                                             \
    "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\","       \
    "\"status\":" status "}'\n"

static guint
count_runs(void)
{
    g_autofree char *path = g_build_filename(folder, "count", NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? (guint)strlen(text) : 0;
}

static void
test_plugin(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkKubeConfig) config = load_plugin(
        ANSWER("{\"token\":\"t1\",\"expirationTimestamp\":\"2999-01-01T00:00:00Z\"}"), &error);
    g_autoptr(WkKubeConfig) old = NULL;

    assert_null(error);
    assert_null(wk_kube_config_get_credentials(config)->token); /* not run before it is needed */
    if (!refresh(config, FALSE, &error))
        fail_msg("%s", error->message);
    assert_string_equal(wk_kube_config_get_credentials(config)->token, "t1");
    assert_true(refresh(config, FALSE, &error));
    assert_int_equal(count_runs(), 1);
    assert_true(refresh(config, TRUE, &error)); /* the server said 401 */
    assert_int_equal(count_runs(), 2);

    old = load_plugin(ANSWER("{\"clientCertificateData\":\"C\",\"clientKeyData\":\"K\","
                             "\"expirationTimestamp\":\"2001-01-01T00:00:00Z\"}"),
                      &error);
    assert_true(refresh(old, FALSE, &error));
    assert_string_equal(g_bytes_get_data(wk_kube_config_get_credentials(old)->key_pem, NULL), "K");
    assert_true(refresh(old, FALSE, &error)); /* expired at once: run again */
    assert_int_equal(count_runs(), 4);
}

static const struct {
    const char *script;
    const char *says;
} bad_plugins[] = {
    { "#!/bin/sh\necho 'log in first' >&2\nexit 1\n", "log in first" },
    { "#!/bin/sh\necho nothing\n", "credential plugin" },
    { "#!/bin/sh\necho '{\"kind\":\"ExecCredential\",\"apiVersion\":\"other/v1\",\"status\":{}}'\n",
      "no ExecCredential" },
    { ANSWER("{}"), "neither a token nor a certificate" },
    { ANSWER("{\"clientCertificateData\":\"C\"}"), "neither a token nor a certificate" },
    { "#!/no/such/interpreter\n", "get it" },
};

static void
test_bad_plugins(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bad_plugins); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(WkKubeConfig) config = load_plugin(bad_plugins[i].script, &error);

        assert_null(error);
        if (refresh(config, FALSE, &error) || strstr(error->message, bad_plugins[i].says) == NULL)
            fail_msg("plugin %zu: %s", i, error != NULL ? error->message : "taken");
    }
}

int
main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_all_fields),  IN_FOLDER(test_json_is_yaml), IN_FOLDER(test_merge),
        IN_FOLDER(test_in_cluster),  IN_FOLDER(test_bad_values),   IN_FOLDER(test_bad_files),
        IN_FOLDER(test_missing),     IN_FOLDER(test_rotation),     IN_FOLDER(test_plugin),
        IN_FOLDER(test_bad_plugins),
    };

    return cmocka_run_group_tests_name("kube-config", tests, NULL, NULL);
}
