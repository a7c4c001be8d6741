/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "agent/settings.h"

#include <glib/gstdio.h>
#include <sys/wait.h>

/* A configuration of each test's own: DIR/wukongd.conf and DIR/wukongd.conf.d. */
typedef struct {
    char *dir;
    char *file;
    char *folder;
} Fixture;

static int
setup(void **state)
{
    Fixture *f = g_new0(Fixture, 1);

    f->dir = g_dir_make_tmp("wukong-settings-XXXXXX", NULL);
    assert_non_null(f->dir);
    f->file = g_build_filename(f->dir, "wukongd.conf", NULL);
    f->folder = g_strconcat(f->file, ".d", NULL);
    g_unsetenv("NODE_NAME");
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *f = *state;
    g_autoptr(GDir) entries = g_dir_open(f->folder, 0, NULL);
    const char *name;

    while (entries != NULL && (name = g_dir_read_name(entries)) != NULL) {
        g_autofree char *path = g_build_filename(f->folder, name, NULL);

        (void)g_unlink(path);
    }
    (void)g_rmdir(f->folder);
    (void)g_unlink(f->file);
    (void)g_rmdir(f->dir);
    g_free(f->dir);
    g_free(f->file);
    g_free(f->folder);
    g_free(f);
    return 0;
}

static void
write_file(const char *path, const char *text)
{
    assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void
write_drop_in(Fixture *f, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(f->folder, name, NULL);

    (void)g_mkdir(f->folder, 0700);
    write_file(path, text);
}

static WkConfig *
load(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    WkConfig *config = wk_config_load(f->file, "/state", &error);

    if (config == NULL)
        fail_msg("%s", error->message);
    return config;
}

/* The sample as it is shipped; @all: with every key that is commented out in it set. */
static char *
read_sample(gboolean all)
{
    g_autofree char *path = g_build_filename(WK_TOP_SRCDIR, "data", "wukongd.conf", NULL);
    g_autoptr(GRegex) commented = g_regex_new("^#(?=\\S)", G_REGEX_MULTILINE, 0, NULL);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        fail_msg("cannot read '%s': run the test in the build folder", path);
    if (!all)
        return g_steal_pointer(&text);
    return g_regex_replace_literal(commented, text, -1, 0, "", 0, NULL);
}

static void
test_defaults(void **state)
{
    Fixture *f = *state;
    g_autoptr(WkConfig) config = NULL;

    write_file(f->file, "");
    config = load(f);
    assert_int_equal(config->sources->len, 0);
    assert_int_equal(config->guests->len, 0);
    assert_int_equal(wk_config_default_target(config), WK_TARGET_MEMORY);
    assert_int_equal(config->parallel_saves, 0);
    assert_string_equal(config->vault_dir, "/state/vault");
    assert_int_equal(config->reserve_percent, 5);
    assert_int_equal(config->retention_orphan_ms, 24 * 60 * 60 * 1000);
    assert_false(config->pressure_enabled);
    assert_true(config->restore_on_boot);
    assert_true(*config->node_name != '\0');
}

static void
test_node_name(void **state)
{
    Fixture *f = *state;
    g_autoptr(WkConfig) from_environment = NULL;
    g_autoptr(WkConfig) from_file = NULL;

    write_file(f->file, "");
    g_setenv("NODE_NAME", "node-7", TRUE);
    from_environment = load(f);
    assert_string_equal(from_environment->node_name, "node-7");
    write_file(f->file, "[node]\nname=node-8\n");
    from_file = load(f);
    assert_string_equal(from_file->node_name, "node-8");
}

/* The pods of KubeVirt lie where the kubelet puts them, and the only vault has to go there. */
static void
test_vault_of_kubevirt(void **state)
{
    Fixture *f = *state;
    g_autoptr(WkConfig) on = NULL;
    g_autoptr(WkConfig) off = NULL;

    write_file(f->file, "[vault]\ndir=/a\n[kubevirt]\nvault-dir=/b\n");
    on = load(f);
    assert_string_equal(on->vault_dir, "/b");
    write_file(f->file, "[vault]\ndir=/a\n[kubevirt]\nenabled=false\nvault-dir=/b\n");
    off = load(f);
    assert_string_equal(off->vault_dir, "/a");
}

static void
test_sample_changes_nothing(void **state)
{
    Fixture *f = *state;
    g_autofree char *text = read_sample(FALSE);
    g_autoptr(WkConfig) config = NULL;

    write_file(f->file, text);
    config = load(f);
    assert_int_equal(config->sources->len, 0);
    assert_int_equal(config->guests->len, 0);
    assert_string_equal(config->vault_dir, "/state/vault");
}

static void
test_sample_with_all_keys(void **state)
{
    Fixture *f = *state;
    g_autofree char *text = read_sample(TRUE);
    g_autoptr(WkConfig) config = NULL;
    const WkConfigSource *source;
    const WkConfigGuest *guest;

    write_file(f->file, text);
    config = load(f);
    assert_int_equal(config->sources->len, 1);
    source = g_ptr_array_index(config->sources, 0);
    assert_string_equal(source->name, "host");
    assert_string_equal(source->uri, "qemu:///system");
    assert_int_equal(config->guests->len, 1);
    guest = g_ptr_array_index(config->guests, 0);
    assert_string_equal(guest->glob, "web-*");
    assert_string_equal(guest->on_restore_failure, "Hold");
    assert_string_equal(config->pressure_some_stall, "150ms/1s");
}

static void
test_values(void **state)
{
    Fixture *f = *state;
    g_autoptr(WkConfig) config = NULL;

    write_file(f->file, "[suspend]\ndefault-target=disk\nparallel-saves= 3 \n"
                        "[vault]\nreserve-percent=10%\n[retention]\nhistory=90s\n"
                        "[guest a]\npriority=-5\n");
    config = load(f);
    assert_int_equal(wk_config_default_target(config), WK_TARGET_DISK);
    assert_int_equal(config->parallel_saves, 3);
    assert_int_equal(config->reserve_percent, 10);
    assert_int_equal(config->retention_history_ms, 90 * 1000);
    assert_int_equal(((WkConfigGuest *)g_ptr_array_index(config->guests, 0))->priority, -5);
}

static void
test_drop_ins_key_by_key(void **state)
{
    Fixture *f = *state;
    g_autoptr(WkConfig) config = NULL;
    const WkConfigSource *source;

    write_file(f->file,
               "[suspend]\nparallel-saves=1\nparallel-restores=1\n[source a]\nuri=x:///\n");
    write_drop_in(f, "20-b.conf", "[suspend]\nparallel-saves=3\n");
    write_drop_in(f, "10-a.conf", "[suspend]\nparallel-saves=2\nparallel-restores=2\n");
    write_drop_in(f, "30-c.conf", "[source a]\nsave-dir=/s\n[source b]\n");
    write_drop_in(f, "40-d.conf.off", "[nonsense]\n");
    config = load(f);
    assert_int_equal(config->parallel_saves, 3);
    assert_int_equal(config->parallel_restores, 2);
    assert_int_equal(config->sources->len, 2);
    source = g_ptr_array_index(config->sources, 0);
    assert_string_equal(source->uri, "x:///");
    assert_string_equal(source->save_dir, "/s");
}

static void
test_missing_file(void **state)
{
    Fixture *f = *state;
    GError *error = NULL;

    assert_null(wk_config_load(f->file, "/state", &error));
    unit_assert_error(&error, WK_ERROR_NOT_FOUND, f->file);
}

/* What is wrong, and what the message must name besides the file. */
static const struct {
    const char *text;
    const char *names;
} bad[] = {
    { "key=value\n", "group" },
    { "[suspend\n", "[suspend" },
    { "[nonsense]\n", "there is no group [nonsense]" },
    { "[Suspend]\n", "there is no group [Suspend]" },
    { "[source]\nuri=a\n", "there is no group [source]" },
    { "[guest ]\n", "group" },
    { "[suspend]\ndefault_target=disk\n", "[suspend] default_target: there is no such key" },
    { "[vault]\ndefault-target=disk\n", "[vault] default-target: there is no such key" },
    { "[source a]\npriority=1\n", "[source a] priority: there is no such key" },
    { "[suspend]\ndefault-target=tape\n", "[suspend] default-target: 'tape'" },
    { "[suspend]\ndefault-target=\n", "[suspend] default-target: ''" },
    { "[suspend]\nparallel-saves=0\n", "[suspend] parallel-saves: '0'" },
    { "[suspend]\nparallel-saves=65\n", "[suspend] parallel-saves: '65'" },
    { "[suspend]\nparallel-saves=-1\n", "[suspend] parallel-saves: '-1'" },
    { "[suspend]\nparallel-saves=2 # two\n", "[suspend] parallel-saves: '2 # two'" },
    { "[vault]\nreserve-percent=91\n", "[vault] reserve-percent: '91'" },
    { "[vault]\nreserve-percent=5%%\n", "[vault] reserve-percent: '5%" },
    { "[vault]\nformat=lz4\n", "[vault] format: 'lz4'" },
    { "[retention]\norphan=24\n", "[retention] orphan: '24'" },
    { "[retention]\norphan=99999999999999999999d\n", "[retention] orphan: '9999" },
    { "[retention]\norphan=-1h\n", "[retention] orphan: '-1h'" },
    { "[pressure]\nenabled=yes\n", "[pressure] enabled: 'yes'" },
    { "[guest a]\npriority=high\n", "[guest a] priority: 'high'" },
    { "[guest a]\non-restore-failure=hold\n", "[guest a] on-restore-failure: 'hold'" },
    { "[vault]\ndir=/a\\q\n", "[vault] dir: " },
    { "[node]\nname=\xff\n", "[node] name: " },
    { "[node]\nname=my node\n", "[node] name: 'my node'" },
    { "[vault]\ndir=vault\n", "[vault] dir: 'vault'" },
    { "[kube]\nnamespace=Wukong\n", "[kube] namespace: 'Wukong'" },
    { "[pressure]\nsome-stall=banana\n", "[pressure] some-stall: 'banana'" },
    { "[metrics]\nlisten=x\n", "[metrics] listen: 'x'" },
    { "[source a]\nuri=qemu\n", "[source a] uri: 'qemu'" },
    { "[source a]\nsave-dir=save\n", "[source a] save-dir: 'save'" },
};

static void
test_bad_files(void **state)
{
    Fixture *f = *state;

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        write_file(f->file, bad[i].text);
        if (wk_config_load(f->file, "/state", &error) != NULL)
            fail_msg("accepted: %s", bad[i].text);
        if (strstr(error->message, f->file) == NULL || strstr(error->message, bad[i].names) == NULL)
            fail_msg("'%s' and '%s' were expected in '%s'", f->file, bad[i].names, error->message);
    }
}

static void
test_bad_drop_in_is_named(void **state)
{
    Fixture *f = *state;
    GError *error = NULL;

    write_file(f->file, "");
    write_drop_in(f, "10-a.conf", "[suspend]\nparallel-saves=many\n");
    assert_null(wk_config_load(f->file, "/state", &error));
    unit_assert_error(&error, WK_ERROR_INVALID,
                      "wukongd.conf.d/10-a.conf: [suspend] parallel-saves: 'many'");
}

/* Returns: what "wukongd --check-config" ends with; *@said gets what it says. */
static int
check_config(Fixture *f, const char *text, char **said)
{
    const char *build = g_getenv("WK_BUILDDIR") != NULL ? g_getenv("WK_BUILDDIR") : ".";
    g_autofree char *daemon = g_build_filename(build, "wukongd", NULL);
    const char *argv[] = { daemon, "--check-config", "--config", f->file, NULL };
    g_autoptr(GError) error = NULL;
    int status = -1;

    write_file(f->file, text);
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, said,
                      &status, &error))
        fail_msg("%s", error->message);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
test_check_config(void **state)
{
    Fixture *f = *state;
    g_autofree char *sample = read_sample(TRUE);
    g_autofree char *nothing = NULL;
    g_autofree char *complaint = NULL;

    assert_int_equal(check_config(f, sample, &nothing), 0);
    assert_string_equal(nothing, "");
    assert_int_equal(check_config(f, "[suspend]\nparallel-saves=many\n", &complaint), 1);
    assert_non_null(strstr(complaint, f->file));
    assert_non_null(strstr(complaint, "[suspend] parallel-saves: 'many'"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_node_name),
        TEST(test_vault_of_kubevirt),
        TEST(test_sample_changes_nothing),
        TEST(test_sample_with_all_keys),
        TEST(test_values),
        TEST(test_drop_ins_key_by_key),
        TEST(test_missing_file),
        TEST(test_bad_files),
        TEST(test_bad_drop_in_is_named),
        TEST(test_check_config),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
