/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "virt/domain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib/gstdio.h>
#include <string.h>

/* The guest of libvirt's own test:///default, and one that is not there. */
#define UUID   "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define NOBODY "11111111-2222-4333-8444-555555555555"
#define OP     "it's \"<&>\" op"

static int
setup(void **state)
{
    *state = wk_connection_open("test:///default", NULL);
    return *state != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
    wk_connection_unref(*state);
    return 0;
}

static void
assert_power(WkConnection *connection, WkPower power)
{
    g_auto(WkLook) look = { 0 };
    g_autoptr(GError) error = NULL;

    assert_true(wk_domain_look(connection, UUID, &look, &error));
    assert_null(error);
    assert_int_equal(look.power, power);
    assert_false(look.job);
    assert_true(look.persistent);
}

static void
test_power(void **state)
{
    WkConnection *connection = *state;

    assert_power(connection, WK_POWER_RUNNING);
    assert_true(wk_domain_suspend(connection, UUID, NULL));
    assert_power(connection, WK_POWER_PAUSED);
    assert_true(wk_domain_resume(connection, UUID, NULL));
    assert_power(connection, WK_POWER_RUNNING);
    assert_true(wk_domain_shutdown(connection, UUID, NULL));
    assert_power(connection, WK_POWER_OFF);
    assert_true(wk_domain_create(connection, UUID, FALSE, NULL));
    assert_power(connection, WK_POWER_RUNNING);
}

static void
test_managed_save(void **state)
{
    WkConnection *connection = *state;

    assert_true(wk_domain_suspend(connection, UUID, NULL));
    assert_true(wk_domain_managed_save(connection, UUID, NULL));
    assert_power(connection, WK_POWER_OFF);
    assert_true(wk_domain_create(connection, UUID, FALSE, NULL));
}

static void
test_absent(void **state)
{
    WkConnection *connection = *state;
    g_auto(WkLook) look = { .power = WK_POWER_RUNNING, .op = g_strdup("old") };
    g_autoptr(GError) error = NULL;

    assert_true(wk_domain_look(connection, NOBODY, &look, &error));
    assert_int_equal(look.power, WK_POWER_ABSENT);
    assert_false(look.persistent);
    assert_null(look.op);
}

static void
test_op(void **state)
{
    WkConnection *connection = *state;
    g_auto(WkLook) look = { 0 };
    g_autoptr(GError) error = NULL;

    assert_true(wk_domain_look(connection, UUID, &look, NULL));
    assert_null(look.op);
    assert_true(wk_domain_set_op(connection, UUID, OP, NULL));
    assert_true(wk_domain_look(connection, UUID, &look, NULL));
    assert_string_equal(look.op, OP);
    assert_true(wk_domain_set_op(connection, UUID, "second", NULL));
    assert_true(wk_domain_look(connection, UUID, &look, NULL));
    assert_string_equal(look.op, "second");
    assert_true(wk_domain_destroy(connection, UUID, NULL));
    assert_true(wk_domain_look(connection, UUID, &look, NULL));
    assert_null(look.op);
    assert_false(wk_domain_set_op(connection, UUID, OP, &error));
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_CONFLICT));
}

static void
test_autostart(void **state)
{
    WkConnection *connection = *state;
    g_auto(WkLook) look = { 0 };

    assert_true(wk_domain_set_autostart(connection, UUID, TRUE, NULL));
    assert_true(wk_domain_look(connection, UUID, &look, NULL));
    assert_true(look.autostart);
    assert_true(wk_domain_set_autostart(connection, UUID, FALSE, NULL));
    assert_true(wk_domain_look(connection, UUID, &look, NULL));
    assert_false(look.autostart);
}

/* A failed look leaves what was seen before. */
static void
test_failed_look(void **state)
{
    g_auto(WkLook) look = { .power = WK_POWER_RUNNING, .op = g_strdup("old") };
    g_autoptr(GError) error = NULL;

    assert_false(wk_domain_look(*state, "no UUID", &look, &error));
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_FAILED));
    assert_int_equal(look.power, WK_POWER_RUNNING);
    assert_string_equal(look.op, "old");
}

static void
test_facts(void **state)
{
    g_autoptr(WkFacts) facts = wk_domain_read_facts(*state, UUID, NULL);
    const WkDiskFact *disk;

    assert_non_null(facts);
    assert_string_equal(facts->uuid, UUID);
    assert_string_equal(facts->name, "test");
    assert_int_equal(facts->memory_kib, 2097152);
    assert_int_equal(facts->disks->len, 1);
    disk = g_ptr_array_index(facts->disks, 0);
    assert_string_equal(disk->path, "/guest/diskimage1");
    assert_string_equal(disk->target, "vda");
}

typedef gboolean (*Verb)(WkConnection *connection, const char *uuid, GError **error);

static gboolean
create(WkConnection *connection, const char *uuid, GError **error)
{
    return wk_domain_create(connection, uuid, TRUE, error);
}

static gboolean
set_op(WkConnection *connection, const char *uuid, GError **error)
{
    return wk_domain_set_op(connection, uuid, OP, error);
}

static gboolean
set_autostart(WkConnection *connection, const char *uuid, GError **error)
{
    return wk_domain_set_autostart(connection, uuid, TRUE, error);
}

static gboolean
job_progress(WkConnection *connection, const char *uuid, GError **error)
{
    guint64 done, total;

    return wk_domain_job_progress(connection, uuid, &done, &total, error);
}

static gboolean
read_facts(WkConnection *connection, const char *uuid, GError **error)
{
    g_autoptr(WkFacts) facts = wk_domain_read_facts(connection, uuid, error);

    return facts != NULL;
}

static const Verb verbs[] = {
    wk_domain_suspend,
    wk_domain_resume,
    wk_domain_destroy,
    wk_domain_shutdown,
    wk_domain_managed_save,
    wk_domain_abort_job,
    job_progress,
    wk_domain_sync_time,
    create,
    set_op,
    set_autostart,
    read_facts,
};

static void
test_nobody(void **state)
{
    for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++) {
        g_autoptr(GError) error = NULL;

        assert_false(verbs[i](*state, NOBODY, &error));
        assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_NOT_FOUND));
        assert_non_null(strstr(error->message, NOBODY));
        assert_false(verbs[i](*state, NOBODY, NULL));
    }
}

static void
test_wrong_state(void **state)
{
    WkConnection *connection = *state;
    g_autoptr(GError) error = NULL;

    assert_true(wk_domain_destroy(connection, UUID, NULL));
    assert_false(wk_domain_destroy(connection, UUID, &error));
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_CONFLICT));
    assert_non_null(strstr(error->message, "'test'"));
}

/* The test driver knows neither jobs nor capabilities, and starts nothing paused. */
static void
test_unsupported(void **state)
{
    WkConnection *connection = *state;
    g_autoptr(GError) job = NULL;
    g_autoptr(GError) start = NULL;
    g_autoptr(GError) image = NULL;
    g_autoptr(GError) needs = NULL;

    assert_false(job_progress(connection, UUID, &job));
    assert_true(g_error_matches(job, WK_ERROR, WK_ERROR_FAILED));
    assert_true(wk_domain_sync_time(connection, UUID, NULL));
    assert_true(wk_domain_shutdown(connection, UUID, NULL));
    assert_false(wk_domain_create(connection, UUID, TRUE, &start));
    assert_true(g_error_matches(start, WK_ERROR, WK_ERROR_FAILED));
    assert_false(wk_domain_image_set_paused(connection, UUID, "/nowhere", &image));
    assert_non_null(strstr(image->message, "/nowhere"));
    assert_true(wk_domain_check_startable(connection, UUID, "<domain type='kvm'/>", NULL));
    assert_false(wk_domain_check_startable(connection, UUID, "<image/>", &needs));
    assert_true(g_error_matches(needs, WK_ERROR, WK_ERROR_CORRUPT));
}

static void
test_list(void **state)
{
    WkConnection *connection = *state;
    g_autoptr(GPtrArray) before = NULL;
    g_autoptr(GPtrArray) after = NULL;
    const WkDomainEntry *entry;

    assert_true(wk_domain_set_op(connection, UUID, OP, NULL));
    before = wk_domain_list(connection, NULL);
    assert_non_null(before);
    assert_int_equal(before->len, 1);
    entry = g_ptr_array_index(before, 0);
    assert_string_equal(entry->facts->name, "test");
    assert_int_equal(entry->look.power, WK_POWER_RUNNING);
    assert_string_equal(entry->look.op, OP);
    assert_true(wk_domain_destroy(connection, UUID, NULL));
    after = wk_domain_list(connection, NULL);
    assert_int_equal(after->len, 1);
    entry = g_ptr_array_index(after, 0);
    assert_int_equal(entry->look.power, WK_POWER_OFF);
}

/* A node of the test driver in a file of its own. */
static void
test_many(void **state G_GNUC_UNUSED)
{
    g_autoptr(GString) xml = g_string_new("<node>");
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "wk-test-XXXXXX", NULL);
    g_autofree char *uri = NULL;
    g_autoptr(WkConnection) connection = NULL;
    g_autoptr(GPtrArray) entries = NULL;
    const int fd = g_mkstemp(path);

    for (guint i = 0; i < 1000; i++)
        g_string_append_printf(xml,
                               "<domain type='test'><name>g%u</name><memory>1024</memory>"
                               "<uuid>%08x-0000-4000-8000-000000000000</uuid>"
                               "<os><type>hvm</type></os></domain>",
                               i, i);
    g_string_append(xml, "</node>");
    assert_true(fd >= 0);
    assert_true(g_file_set_contents(path, xml->str, -1, NULL));
    uri = g_strconcat("test://", path, NULL);
    connection = wk_connection_open(uri, NULL);
    (void)g_close(fd, NULL);
    (void)g_unlink(path);
    assert_non_null(connection);
    entries = wk_domain_list(connection, NULL);
    assert_non_null(entries);
    assert_int_equal(entries->len, 1000);
}

static void
test_open_fails(void **state G_GNUC_UNUSED)
{
    static const char *const uris[] = {
        "test:///nowhere.xml",
        "qemu+unix:///system?socket=/nowhere/libvirt-sock",
        "nonsense",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(uris); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(WkConnection) connection = wk_connection_open(uris[i], &error);

        assert_null(connection);
        assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_UNAVAILABLE));
        assert_non_null(strstr(error->message, uris[i]));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_power, setup, teardown),
        cmocka_unit_test_setup_teardown(test_managed_save, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_op, setup, teardown),
        cmocka_unit_test_setup_teardown(test_autostart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_look, setup, teardown),
        cmocka_unit_test_setup_teardown(test_facts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unsupported, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list, setup, teardown),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_open_fails),
    };

    return cmocka_run_group_tests_name("virt-domain", tests, NULL, NULL);
}
