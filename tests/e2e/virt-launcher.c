/* SPDX-License-Identifier: Apache-2.0 */
/* A launcher source's connection with a real libvirt and the real helper: calls, confinement,
 * leaks. */
#include "config.h"

#include "base/clock.h"
#include "base/error.h"
#include "virt-pod.h"
#include "virt/helper_main.h"
#include "virt/remote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>

#define NOBODY 65534

static void
test_look(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkFacts) facts = NULL;
    g_auto(WkLook) look = { 0 };

    pod_assert_power(WK_POWER_RUNNING, NULL);
    lab_ok(wk_domain_look(pod_connection, POD_ID, &look, &error));
    assert_true(look.persistent);
    assert_false(look.job);
    lab_ok(wk_domain_look_brief(pod_connection, POD_ID, &look, &error));
    assert_int_equal(look.power, WK_POWER_RUNNING);
    lab_ok((facts = wk_domain_read_facts(pod_connection, POD_ID, &error)) != NULL);
    assert_string_equal(facts->uuid, POD_ID);
    assert_string_equal(facts->name, POD_GUEST);
    assert_int_equal(facts->memory_kib, POD_MIB * 1024);
    assert_non_null(facts->emulator);
}

/* Tried from inside. A release has nobody who would try. */
static void
assert_refuses_all(void)
{
#ifdef WK_FAILPOINTS
    static const char *const attempts[] = { "open",   "create", "connect", "reconnect",
                                            "ptrace", "execve", "fork",    "kill",
                                            "memory", "code",   "root" };

    for (gsize i = 0; i < G_N_ELEMENTS(attempts); i++) {
        WkHelperRequest request = { .method = WK_HELPER_PROBE, .text = attempts[i] };
        g_autoptr(JsonObject) result = NULL;
        g_autofree char *answer = NULL;

        lab_ok((result = wk_launchers_call(pod_launchers, POD_ID, &request, &error)) != NULL);
        lab_ok((answer = wk_helper_read_text(result, &error)) != NULL);
        if (g_strcmp0(answer, "refused") != 0)
            fail_msg("%s was not refused", attempts[i]);
    }
#endif
}

/* What the helper is, seen from outside, and what is left to it. */
static void
assert_confined(uid_t user)
{
    g_autofree char *ids = g_strdup_printf("%u\t%u\t%u\t%u", user, user, user, user);
    g_autofree char *groups = g_strdup_printf("%u", user);
    pid_t pid;

    pod_assert_power(WK_POWER_RUNNING, NULL);
    pid = pod_find_helper();
    pod_assert_status(pid, "Uid:", ids);
    pod_assert_status(pid, "Gid:", ids);
    pod_assert_status(pid, "Groups:", groups);
    pod_assert_status(pid, "CapEff:", "0000000000000000");
    pod_assert_status(pid, "CapPrm:", "0000000000000000");
    pod_assert_status(pid, "CapInh:", "0000000000000000");
    pod_assert_status(pid, "CapAmb:", "0000000000000000");
    pod_assert_status(pid, "NoNewPrivs:", "1");
    pod_assert_status(pid, "Seccomp:", "2");
    assert_refuses_all();
    assert_int_equal(pod_find_helper(), pid);
    pod_assert_power(WK_POWER_RUNNING, NULL);
}

static void
test_confined(void **state G_GNUC_UNUSED)
{
    assert_confined(POD_USER);
}

static void
test_pause(void **state G_GNUC_UNUSED)
{
    GError *refused = NULL;

    lab_ok(wk_domain_suspend(pod_connection, POD_ID, &error));
    pod_assert_power(WK_POWER_PAUSED, NULL);
    lab_ok(lab_guest_wait_quiet(POD_GUEST, LAB_WAIT_MS, &error));
    lab_ok(wk_domain_set_op(pod_connection, POD_ID, POD_OP, &error));
    pod_assert_power(WK_POWER_PAUSED, POD_OP);
    lab_ok(wk_domain_resume(pod_connection, POD_ID, &error));
    pod_assert_power(WK_POWER_RUNNING, POD_OP);
    lab_ok(lab_guest_wait_ticking(POD_GUEST, LAB_WAIT_MS, &error));
    assert_false(wk_domain_sync_time(pod_connection, POD_ID, &refused));
    assert_string_equal(wk_error_get_reason(refused), "TimeNotSynced");
    g_clear_error(&refused);
    assert_false(wk_domain_resume(pod_connection, POD_ID, &refused));
    assert_true(g_error_matches(refused, WK_ERROR, WK_ERROR_CONFLICT));
    g_clear_error(&refused);
}

static void
test_startable(void **state G_GNUC_UNUSED)
{
    g_autofree char *xml = pod_guest_xml();
    g_autoptr(GString) changed = g_string_new(xml);
    g_autoptr(GError) refused = NULL;

    lab_ok(wk_domain_check_startable(pod_connection, POD_ID, xml, &error));
    g_string_replace(changed, "machine='q35", "machine='pc-gone", 0);
    assert_false(wk_domain_check_startable(pod_connection, POD_ID, changed->str, &refused));
    assert_string_equal(wk_error_get_reason(refused), "MachineTypeMissing");
}

/* Undefined while it runs, it is transient; its own XML makes it what it was. */
static void
test_make_persistent(void **state G_GNUC_UNUSED)
{
    virConnectPtr session = virConnectOpen(POD_URI);
    virDomainPtr domain = pod_find_domain(session);
    g_auto(WkLook) look = { 0 };

    lab_ok(wk_domain_make_persistent(pod_connection, POD_ID, &error));
    assert_int_equal(virDomainUndefine(domain), 0);
    lab_ok(wk_domain_look(pod_connection, POD_ID, &look, &error));
    assert_false(look.persistent);
    lab_ok(wk_domain_make_persistent(pod_connection, POD_ID, &error));
    lab_ok(wk_domain_look(pod_connection, POD_ID, &look, &error));
    assert_true(look.persistent);
    assert_int_equal(look.power, WK_POWER_RUNNING);
    virDomainFree(domain);
    virConnectClose(session);
}

/* Every round a helper of its own, connected to libvirt. */
static void
test_rounds(void **state G_GNUC_UNUSED)
{
    const gint64 before_us = wk_clock_mono_us();
    guint descriptors;

    g_clear_pointer(&pod_lease, wk_launcher_lease_free);
    lab_ok(lab_wait("the helper's end", LAB_WAIT_MS, pod_has_no_helper, NULL, &error));
    descriptors = pod_count_descriptors();
    for (int i = 0; i < 200; i++)
        pod_assert_power(WK_POWER_RUNNING, NULL);
    lab_ok(lab_wait("the helper's end", LAB_WAIT_MS, pod_has_no_helper, NULL, &error));
    assert_int_equal(pod_count_descriptors(), descriptors);
    assert_int_equal(wk_launchers_count_helpers(pod_launchers), 0);
    print_message("a helper, one look, its end: %d us\n",
                  (int)((wk_clock_mono_us() - before_us) / 200));
}

/* libvirtd is started anew: another socket, another helper. */
static void
test_libvirt_restarted(void **state G_GNUC_UNUSED)
{
    g_auto(WkLook) look = { 0 };

    pod_assert_power(WK_POWER_RUNNING, NULL);
    lab_ok(lab_kill("launcher", SIGKILL, LAB_WAIT_MS, NULL, &error));
    assert_false(wk_domain_look(pod_connection, POD_ID, &look, NULL));
    pod_start_libvirtd();
    while (!wk_domain_look(pod_connection, POD_ID, &look, NULL))
        g_usleep(10000);
    pod_assert_power(WK_POWER_RUNNING, NULL);
}

/* A libvirt that takes the connection and says nothing: the call's deadline ends it. */
static void
test_deaf_libvirt(void **state G_GNUC_UNUSED)
{
    GPid pid;
    g_auto(WkLook) look = { 0 };
    g_autoptr(GError) late = NULL;
    const gint64 before_us = wk_clock_mono_us();

    g_clear_pointer(&pod_lease, wk_launcher_lease_free);
    pid = lab_pid("launcher");
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_false(wk_domain_look(pod_connection, POD_ID, &look, &late));
    assert_int_equal(kill(pid, SIGCONT), 0);
    print_message("%s, after %d s\n", late->message,
                  (int)((wk_clock_mono_us() - before_us) / G_USEC_PER_SEC));
    assert_true(g_error_matches(late, WK_ERROR, WK_ERROR_UNAVAILABLE));
    lab_ok(lab_wait("the helper's end", LAB_WAIT_MS, pod_has_no_helper, NULL, &error));
}

/* Returns: how long it took. */
static gint64
await_loaded(WkPower expected)
{
    const gint64 before_us = wk_clock_mono_us();
    g_auto(WkLook) look = { 0 };

    lab_ok(wk_domain_await_loaded(pod_connection, POD_ID, &look, &error));
    assert_int_equal(look.power, expected);
    return wk_clock_mono_us() - before_us;
}

static gpointer
start_paused(gpointer data)
{
    g_usleep(WK_HELPER_AWAIT_MS * 500); /* in the midst of a wait */
    return GINT_TO_POINTER(virDomainCreateWithFlags(data, VIR_DOMAIN_START_PAUSED));
}

/* As KubeVirt's libvirt starts a guest: it is told once that has been done, and in vain what was
 * not begun. */
static void
test_await_loaded(void **state G_GNUC_UNUSED)
{
    virConnectPtr session = virConnectOpen(POD_URI);
    virDomainPtr domain = pod_find_domain(session);
    g_auto(WkLook) look = { 0 };
    GThread *starter;

    pod_assert_power(WK_POWER_RUNNING, NULL); /* the helper is there */
    assert_true(await_loaded(WK_POWER_RUNNING) < WK_HELPER_AWAIT_MS * 1000);
    assert_int_equal(virDomainDestroy(domain), 0);
    assert_true(await_loaded(WK_POWER_OFF) >= WK_HELPER_AWAIT_MS * 1000);
    starter = g_thread_new("starter", start_paused, domain);
    do {
        lab_ok(wk_domain_await_loaded(pod_connection, POD_ID, &look, &error));
        assert_true(wk_look_is_loaded(&look) || look.power == WK_POWER_OFF
                    || look.power == WK_POWER_STARTING);
    } while (!wk_look_is_loaded(&look));
    assert_int_equal(GPOINTER_TO_INT(g_thread_join(starter)), 0);
    assert_int_equal(look.power, WK_POWER_PAUSED);
    assert_true(await_loaded(WK_POWER_PAUSED) < WK_HELPER_AWAIT_MS * 1000);
    lab_ok(wk_domain_resume(pod_connection, POD_ID, &error));
    virDomainFree(domain);
    virConnectClose(session);
}

/* A root launcher's libvirt takes root: the helper is nobody all the same. */
static void
test_root_launcher(void **state G_GNUC_UNUSED)
{
    const LabGuestOptions options = { .memory_mib = 0 };

    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_guest_start(POD_GUEST, &options, &error));
    pod_set("root-pod", "/run/libvirt/libvirt-sock", 0);
    assert_confined(NOBODY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pod_setup, pod_teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_look),          TEST(test_confined),        TEST(test_rounds),
        TEST(test_startable),     TEST(test_make_persistent), TEST(test_libvirt_restarted),
        TEST(test_deaf_libvirt),  TEST(test_await_loaded),    TEST(test_pause),
        TEST(test_root_launcher),
    };

    if (wk_helper_is_asked_for(argc, argv))
        return wk_helper_main(argc, argv);
    return cmocka_run_group_tests_name("virt-launcher", tests, pod_setup_group, NULL);
}
