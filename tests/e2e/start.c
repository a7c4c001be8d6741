/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the agent starts: before libvirt, twice, and with its vault away.
 */
#include "config.h"

#include "lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#define GUEST "vm1"
#define VAULT LAB_STATE_DIR "/vault"

static gboolean
is_listed(gpointer data)
{
    const char *state = data;
    g_autofree char *wanted = g_strdup_printf("\"state\":\"%s\"", state);
    g_autofree char *answer = NULL;

    return lab_http("GET", "/v1/guests/" GUEST, NULL, &answer, NULL) == 200
           && strstr(answer, wanted) != NULL;
}

static void
wait_for_state(const char *state)
{
    lab_ok(lab_wait(state, LAB_WAIT_MS, is_listed, (gpointer)state, &error));
}

static int
stop_node(void **state G_GNUC_UNUSED)
{
    (void)umount2(VAULT, MNT_DETACH);
    lab_ok(lab_agent_kill(&error));
    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_guest_undefine(GUEST, &error));
    lab_ok(lab_libvirtd_stop(&error));
    return 0;
}

/* Without [source] libvirt's socket may come later than we do: at boot, or with its package. */
static void
test_before_libvirt(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_agent_start(NULL, &error));
    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_guest_start(GUEST, NULL, &error));
    wait_for_state("Running");
}

/* Two agents on one ledger would be two who resume: the second ends, the first works on. */
static void
test_second_agent(void **state G_GNUC_UNUSED)
{
    const char *const argv[] = { lab_build_path("wukongd"), "--no-kube", "--control",
                                 "/run/wukong/second.sock", NULL };
    g_auto(LabOutput) output = { 0 };

    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_guest_start(GUEST, NULL, &error));
    lab_ok(lab_agent_start(NULL, &error));
    lab_ok(lab_run_capture(argv, NULL, LAB_WAIT_MS, &output, &error));
    assert_int_equal(output.status, 1);
    assert_non_null(strstr(output.err, "ledger"));
    wait_for_state("Running");
}

/* A vault that is not mounted looks like one whose images are lost: the agent must not start and
 * judge them by that. */
static void
test_vault_away(void **state G_GNUC_UNUSED)
{
    const LabAgentOptions no_wait = { .no_wait = TRUE };
    g_auto(LabOutput) output = { 0 };
    int status;

    lab_ok(lab_libvirtd_start(&error));
    lab_ok(lab_guest_start(GUEST, NULL, &error));
    lab_ok(lab_agent_start(NULL, &error));
    lab_ok(lab_ctl(&output, &error, "suspend", GUEST, "--to", "disk", NULL));
    assert_int_equal(output.status, 0);
    lab_ok(lab_agent_kill(&error));
    assert_int_equal(mount(LAB_DIR, VAULT, NULL, MS_BIND, NULL), 0); /* another folder there */
    lab_ok(lab_agent_start(&no_wait, &error));
    lab_ok(lab_wait_exit("wukongd", LAB_WAIT_MS, &status, &error));
    assert_int_equal(status, 1);
    assert_int_equal(umount2(VAULT, 0), 0);
    lab_ok(lab_agent_start(NULL, &error));
    lab_output_clear(&output);
    lab_ok(lab_ctl(&output, &error, "resume", GUEST, NULL));
    assert_int_equal(output.status, 0);
    lab_ok(lab_guest_check_log(GUEST, &error));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_before_libvirt, stop_node),
        cmocka_unit_test_teardown(test_second_agent, stop_node),
        cmocka_unit_test_teardown(test_vault_away, stop_node),
    };

    return cmocka_run_group_tests_name("start", tests, NULL, NULL);
}
