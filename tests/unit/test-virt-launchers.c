/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of launcher pods, and a launcher source's connection. The helper is the real one
 * (this program is what is started as it), for what needs no libvirt; tests/e2e/virt-launcher.c has
 * the rest.
 */
#include "config.h"

#include "base/clock.h"
#include "unit.h"
#include "virt/domain.h"
#include "virt/helper_main.h"
#include "virt/source.h"

#include <fcntl.h>
#include <unistd.h>

#define ID     "6695eb01-f6a4-8304-79aa-97f2502e193f"
#define OTHER  "7795eb01-f6a4-8304-79aa-97f2502e1940"
#define OP     "0b1f6a3e-8f0c-4c5b-9b0e-1d2c3a4b5c6d"
#define OLD    "11111111-2222-4333-8444-555555555555"
#define NEW    "99999999-8888-4777-8666-555555555555"
#define DOMAIN "ns_vm"

/* A pod's data: counts what is done with it. */
typedef struct {
    gint opened;
    gint freed;
} Pod;

typedef struct {
    WkLaunchers *launchers;
    WkSource *source;
    WkConnection *connection;
    Pod pod;
    guint ups;
    guint downs;
    guint changes;
} Fixture;

static void
on_up(WkSource *source G_GNUC_UNUSED, gpointer data)
{
    ((Fixture *)data)->ups++;
}

static void
on_down(WkSource *source G_GNUC_UNUSED, const char *why G_GNUC_UNUSED, gpointer data)
{
    ((Fixture *)data)->downs++;
}

static void
on_changed(WkSource *source G_GNUC_UNUSED, const char *id, gpointer data)
{
    assert_string_equal(id, ID);
    ((Fixture *)data)->changes++;
}

static const WkSourceListener listener = { on_up, on_down, on_changed };

static void
wait_for(const guint *count, guint wanted)
{
    const gint64 until_us = wk_clock_mono_us() + 10 * G_USEC_PER_SEC;

    while (*count < wanted && wk_clock_mono_us() < until_us)
        g_main_context_iteration(NULL, FALSE);
    assert_int_equal(*count, wanted);
}

static void
set_guest(WkLaunchers *launchers, WkPower power)
{
    const WkLauncherGuest guest = {
        .id = ID, .domain = DOMAIN, .memory_kib = 1024, .power = power
    };

    wk_launchers_set_guest(launchers, &guest);
}

static int
setup(void **state)
{
    Fixture *self = g_new0(Fixture, 1);

    self->launchers = wk_launchers_new();
    set_guest(self->launchers, WK_POWER_RUNNING);
    self->source = wk_source_new_launchers("kubevirt", self->launchers, 2, 2, &listener, self);
    wk_source_set_up(self->source, TRUE, NULL);
    wk_source_start(self->source);
    wait_for(&self->ups, 1);
    self->connection = wk_source_borrow(self->source, WK_LANE_LONG, NULL);
    assert_non_null(self->connection);
    *state = self;
    return 0;
}

static int
teardown(void **state)
{
    Fixture *self = *state;

    wk_connection_unref(self->connection);
    wk_source_stop(self->source);
    wk_source_unref(self->source);
    wk_launchers_unref(self->launchers);
    assert_int_equal(self->pod.freed, self->pod.opened >> 16);
    g_free(self);
    return 0;
}

/* No libvirt listens there: a helper that is started on it fails. */
static int
open_nothing(gpointer data, GError **error G_GNUC_UNUSED)
{
    g_atomic_int_inc(&((Pod *)data)->opened);
    return open("/", O_PATH | O_CLOEXEC);
}

static int
open_fails(gpointer data G_GNUC_UNUSED, GError **error)
{
    wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "it is not there yet");
    return -1;
}

static void
on_pod_free(gpointer data)
{
    g_atomic_int_inc(&((Pod *)data)->freed);
}

/* Each pod set is counted in the upper half of "opened", to be compared with those freed. */
static void
set_pod(Fixture *self, const char *uid, int (*opener)(gpointer data, GError **error))
{
    const WkLauncherPod pod = {
        .pod_uid = uid,
        .save_folder = "/pods/p/save",
        .user = geteuid() == 0 ? 107 : geteuid(),
        .group = geteuid() == 0 ? 107 : getegid(),
        .open_socket = opener,
        .data = &self->pod,
        .data_free = on_pod_free,
    };

    self->pod.opened += 1 << 16;
    wk_launchers_set_pod(self->launchers, ID, &pod);
}

static void
test_source(void **state)
{
    Fixture *self = *state;
    GError *error = NULL;

    assert_true(wk_source_is_launcher(self->source));
    assert_ptr_equal(wk_source_get_launchers(self->source), self->launchers);
    assert_null(wk_source_get_save_dir(self->source));
    assert_null(wk_source_get_autostart_dir(self->source));
    for (int i = 0; i < 5; i++)
        wk_source_touch(self->source, ID);
    wait_for(&self->changes, 1);
    wk_source_set_up(self->source, FALSE, "the watch is lost");
    assert_int_equal(self->downs, 1);
    assert_false(wk_source_is_up(self->source));
    assert_null(wk_source_borrow(self->source, WK_LANE_QUICK, &error));
    unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "the watch is lost");
    wk_source_touch(self->source, ID);
    wk_source_set_up(self->source, TRUE, NULL);
    assert_int_equal(self->ups, 2);
    wk_source_abandon(self->source, "stuck");
    assert_int_equal(self->downs, 2);
    wait_for(&self->ups, 3);
    assert_int_equal(self->changes, 1);
}

static void
assert_look(Fixture *self, const char *id, WkPower power)
{
    g_auto(WkLook) look = { .op = g_strdup("old") };

    assert_true(wk_domain_look(self->connection, id, &look, NULL));
    assert_int_equal(look.power, power);
    assert_int_equal(look.persistent, power != WK_POWER_ABSENT);
    assert_false(look.job);
    assert_null(look.op);
    assert_true(wk_domain_look_brief(self->connection, id, &look, NULL));
    assert_int_equal(look.power, power);
}

/* What is known without a pod; no helper is started for any of it. */
static void
test_without_pod(void **state)
{
    Fixture *self = *state;
    g_autoptr(WkFacts) facts = NULL;
    g_autoptr(GPtrArray) list = NULL;
    g_auto(WkLook) look = { 0 };
    const WkDomainEntry *entry;
    GError *error = NULL;

    assert_look(self, OTHER, WK_POWER_ABSENT);
    assert_look(self, ID, WK_POWER_OFF);
    wk_launchers_peek(self->launchers, ID, &look);
    assert_int_equal(look.power, WK_POWER_RUNNING);
    list = wk_domain_list(self->connection, NULL);
    assert_int_equal(list->len, 1);
    entry = g_ptr_array_index(list, 0);
    assert_string_equal(entry->facts->uuid, ID);
    assert_string_equal(entry->facts->name, DOMAIN);
    assert_int_equal(entry->facts->memory_kib, 1024);
    assert_int_equal(entry->look.power, WK_POWER_RUNNING);
    facts = wk_domain_read_facts(self->connection, ID, NULL);
    assert_string_equal(facts->uuid, ID);
    assert_false(wk_domain_suspend(self->connection, ID, &error));
    unit_assert_error(&error, WK_ERROR_CONFLICT, DOMAIN);
    assert_false(wk_domain_suspend(self->connection, OTHER, &error));
    unit_assert_error(&error, WK_ERROR_NOT_FOUND, OTHER);
    assert_null(wk_source_managed_path(self->source, ID, DOMAIN));
    assert_int_equal(wk_launchers_count_helpers(self->launchers), 0);
}

static void
test_not_for_launchers(void **state)
{
    Fixture *self = *state;
    GError *error = NULL;

    assert_false(wk_domain_create(self->connection, ID, TRUE, &error));
    unit_assert_error(&error, WK_ERROR_REFUSED, "KubeVirt");
    assert_false(wk_domain_set_autostart(self->connection, ID, TRUE, &error));
    unit_assert_error(&error, WK_ERROR_REFUSED, "KubeVirt");
    assert_true(wk_domain_set_autostart(self->connection, ID, FALSE, NULL));
}

static void
test_pods(void **state)
{
    Fixture *self = *state;
    g_autofree char *path = NULL;
    g_autofree char *uid = NULL;
    GError *error = NULL;

    set_pod(self, "pod-a", open_fails);
    path = wk_source_managed_path(self->source, ID, "ignored");
    assert_string_equal(path, "/pods/p/save/ns_vm.save");
    uid = wk_launchers_get_pod_uid(self->launchers, ID);
    assert_string_equal(uid, "pod-a");
    assert_false(wk_domain_suspend(self->connection, ID, &error));
    unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "not there yet");
    set_pod(self, "pod-b", open_nothing);
    assert_int_equal(self->pod.freed, 1);
    assert_false(wk_domain_suspend(self->connection, ID, &error));
    unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "launcher pod");
    assert_int_equal(self->pod.opened & 0xffff, 1);
    wk_launchers_set_pod(self->launchers, ID, NULL);
    assert_int_equal(self->pod.freed, 2);
    assert_look(self, ID, WK_POWER_OFF);
    set_pod(self, "pod-c", open_nothing);
    wk_launchers_remove_guest(self->launchers, ID);
    assert_int_equal(self->pod.freed, 3);
    assert_look(self, ID, WK_POWER_ABSENT);
    set_pod(self, "pod-d", open_nothing); /* of nobody */
    assert_int_equal(self->pod.freed, 4);
}

static const char image_xml[] =
    "<domain type='kvm'>"
    "<name>ns_vm</name><uuid>" OP "</uuid><memory unit='KiB'>2048</memory>"
    "<metadata><wukong:saved xmlns:wukong='https://novasphere.dev/wukong/1.0' op='" OP "'/>"
    "<other path='/var/run/kubevirt-private/" OLD "/kept'/></metadata>"
    "<devices>"
    "<disk type='file'><source file='/var/run/kubevirt-private/vmi-disks/" OLD "/disk.img'/>"
    "<target dev='vda'/></disk>"
    "<serial type='unix'>"
    "<source mode='bind' path='/var/run/kubevirt-private/" OLD "/virt-serial0'/>"
    "<log file='/var/run/kubevirt-private/" OLD "/virt-serial0-log' append='on'/></serial>"
    "<graphics type='vnc' socket='/var/run/kubevirt-private/" OLD "/virt-vnc'>"
    "<listen type='socket' socket='/var/run/kubevirt-private/" OLD "/virt-vnc'/></graphics>"
    "<channel type='unix'><source path='/tmp/var/run/kubevirt-private/" OLD "/x'/></channel>"
    "<hostdev note='/var/run/kubevirt-private/" OLD "'/>"
    "</devices></domain>";

static guint
count(const char *text, const char *piece)
{
    guint n = 0;

    for (const char *p = strstr(text, piece); p != NULL; p = strstr(p + 1, piece))
        n++;
    return n;
}

/* Only what KubeVirt made for the old VMI: sockets and their logs. */
static void
test_rewrite(void **state)
{
    Fixture *self = *state;
    g_autofree char *xml = wk_domain_image_rewrite(self->connection, ID, image_xml, OLD, NEW, NULL);
    g_autofree char *op = NULL;
    GError *error = NULL;

    assert_non_null(xml);
    assert_int_equal(count(xml, NEW), 4);
    assert_int_equal(count(xml, OLD), 4);
    assert_int_equal(count(xml, "path=\"/var/run/kubevirt-private/" NEW "/virt-serial0\""), 1);
    assert_int_equal(count(xml, "file=\"/var/run/kubevirt-private/" NEW "/virt-serial0-log\""), 1);
    assert_int_equal(count(xml, "socket=\"/var/run/kubevirt-private/" NEW "/virt-vnc\""), 2);
    assert_true(wk_domain_image_read(self->connection, ID, xml, &op, NULL, NULL));
    assert_string_equal(op, OP);
    assert_null(wk_domain_image_rewrite(self->connection, ID, image_xml, "../..", NEW, &error));
    unit_assert_error(&error, WK_ERROR_INVALID, "uid");
    assert_null(wk_domain_image_rewrite(self->connection, ID, "<domain", OLD, NEW, &error));
    unit_assert_error(&error, WK_ERROR_CORRUPT, "XML");
}

static void
test_read_image(void **state)
{
    Fixture *self = *state;
    g_autoptr(WkFacts) facts = NULL;
    g_autofree char *op = NULL;
    g_autofree char *huge = g_strnfill(2 << 20, 'x');
    GError *error = NULL;

    assert_true(wk_domain_image_read(self->connection, ID, image_xml, &op, &facts, NULL));
    assert_string_equal(op, OP);
    assert_string_equal(facts->uuid, ID);
    assert_int_equal(facts->memory_kib, 2048);
    assert_int_equal(facts->disks->len, 1);
    assert_false(wk_domain_image_read(self->connection, ID, "<image/>", NULL, NULL, &error));
    unit_assert_error(&error, WK_ERROR_CORRUPT, "root");
    assert_false(wk_domain_image_read(self->connection, ID, huge, NULL, NULL, &error));
    unit_assert_error(&error, WK_ERROR_CORRUPT, "too long");
    assert_false(wk_domain_image_read(self->connection, OTHER, image_xml, NULL, NULL, &error));
    unit_assert_error(&error, WK_ERROR_NOT_FOUND, OTHER);
}

/* Another guest's image is none of this one's. */
static void
test_read_foreign_image(void **state)
{
    Fixture *self = *state;
    g_autoptr(GString) xml = g_string_new(image_xml);
    GError *error = NULL;

    g_string_replace(xml, "<name>ns_vm<", "<name>ns_vm2<", 0);
    assert_false(wk_domain_image_read(self->connection, ID, xml->str, NULL, NULL, &error));
    unit_assert_error(&error, WK_ERROR_UNAVAILABLE, "another guest");
}

/* One helper for as long as there is a lease, whoever takes more of them. */
static void
test_leases(void **state)
{
    Fixture *self = *state;
    g_autoptr(WkLauncherLease) first = wk_launchers_lease(self->launchers, ID);
    g_autoptr(WkLauncherLease) second = wk_launchers_lease(self->launchers, ID);

    assert_int_equal(wk_launchers_count_helpers(self->launchers), 0);
    assert_true(wk_domain_image_read(self->connection, ID, image_xml, NULL, NULL, NULL));
    assert_int_equal(wk_launchers_count_helpers(self->launchers), 1);
    g_clear_pointer(&first, wk_launcher_lease_free);
    assert_true(wk_domain_image_read(self->connection, ID, image_xml, NULL, NULL, NULL));
    assert_int_equal(wk_launchers_count_helpers(self->launchers), 1);
    wk_launchers_end_helpers(self->launchers);
    assert_int_equal(wk_launchers_count_helpers(self->launchers), 0);
    assert_true(wk_domain_image_read(self->connection, ID, image_xml, NULL, NULL, NULL));
    wk_launchers_remove_guest(self->launchers, ID);
    assert_int_equal(wk_launchers_count_helpers(self->launchers), 0);
    set_guest(self->launchers, WK_POWER_OFF);
    assert_true(wk_domain_image_read(self->connection, ID, image_xml, NULL, NULL, NULL));
    assert_int_equal(wk_launchers_count_helpers(self->launchers), 1);
    g_clear_pointer(&second, wk_launcher_lease_free);
    assert_int_equal(wk_launchers_count_helpers(self->launchers), 0);
    assert_true(wk_domain_image_read(self->connection, ID, image_xml, NULL, NULL, NULL));
    assert_int_equal(wk_launchers_count_helpers(self->launchers), 0);
}

#define THREADS 8

static gpointer
read_often(gpointer data)
{
    Fixture *self = data;

    for (int i = 0; i < 20; i++) {
        G_GNUC_UNUSED g_autoptr(WkLauncherLease) lease = wk_launchers_lease(self->launchers, ID);

        assert_true(wk_domain_image_read(self->connection, ID, image_xml, NULL, NULL, NULL));
    }
    return NULL;
}

static void
test_threads(void **state)
{
    Fixture *self = *state;
    GThread *threads[THREADS];

    for (gsize i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("reader", read_often, self);
    for (gsize i = 0; i < THREADS; i++)
        (void)g_thread_join(threads[i]);
    assert_int_equal(wk_launchers_count_helpers(self->launchers), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_source),
        TEST(test_without_pod),
        TEST(test_not_for_launchers),
        TEST(test_pods),
        TEST(test_rewrite),
        TEST(test_read_image),
        TEST(test_read_foreign_image),
        TEST(test_leases),
        TEST(test_threads),
    };

    if (wk_helper_is_asked_for(argc, argv))
        return wk_helper_main(argc, argv);
    return cmocka_run_group_tests_name("virt-launchers", tests, NULL, NULL);
}
