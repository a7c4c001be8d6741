/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "virt/error.h"
#include "virt/places.h"
#include "virt/power.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

static const struct {
    int code;
    int domain;
    int number;
    const char *words;
    WkErrorCode want;
    const char *reason;
} errors[] = {
    { VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, -1, "Domain not found", WK_ERROR_NOT_FOUND, NULL },
    { VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, -1, "domain is not running", WK_ERROR_CONFLICT,
      NULL },
    { VIR_ERR_OPERATION_ABORTED, VIR_FROM_QEMU, -1, "canceled by client", WK_ERROR_CANCELLED,
      NULL },
    { VIR_ERR_OPERATION_TIMEOUT, VIR_FROM_QEMU, -1, "cannot acquire state change lock",
      WK_ERROR_UNAVAILABLE, NULL },
    { VIR_ERR_INTERNAL_ERROR, VIR_FROM_RPC, -1, "client socket is closed", WK_ERROR_UNAVAILABLE,
      NULL },
    { VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, EPIPE, "Cannot write data: Broken pipe",
      WK_ERROR_UNAVAILABLE, NULL },
    { VIR_ERR_RPC, VIR_FROM_REMOTE, -1, "bad message", WK_ERROR_UNAVAILABLE, NULL },
    { VIR_ERR_NO_CONNECT, VIR_FROM_NONE, -1, "no connection", WK_ERROR_UNAVAILABLE, NULL },
    { VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, -1, "qemu unexpectedly closed the monitor",
      WK_ERROR_FAILED, NULL },
    { VIR_ERR_NO_SUPPORT, VIR_FROM_NONE, -1, "not supported", WK_ERROR_FAILED, NULL },
    { VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, -1,
      "unable to write /s/g.save: No space left on device", WK_ERROR_FAILED, "NoSpace" },
    { VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, ENOSPC, "Kein Platz", WK_ERROR_FAILED, "NoSpace" },
    { VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, EDQUOT, "Disk quota exceeded", WK_ERROR_FAILED,
      "NoSpace" },
};

static void
test_errors(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(errors); i++) {
        const virError cause = { .code = errors[i].code,
                                 .domain = errors[i].domain,
                                 .int1 = errors[i].number,
                                 .message = (char *)errors[i].words };
        g_autoptr(GError) error = NULL;

        print_message("%s\n", errors[i].words);
        wk_virt_set_error_from(&error, &cause, "saving domain 'g'");
        assert_true(g_error_matches(error, WK_ERROR, (gint)errors[i].want));
        assert_true(g_strcmp0(wk_error_get_reason(error), errors[i].reason) == 0);
        assert_true(g_str_has_prefix(error->message, "saving domain 'g': "));
        assert_non_null(strstr(error->message, errors[i].words));
    }
}

static void
test_no_error(void **state G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    virResetLastError();
    wk_virt_set_error(&error, "asking %s", "nobody");
    assert_true(g_error_matches(error, WK_ERROR, WK_ERROR_FAILED));
    wk_virt_set_error(NULL, "asking %s", "nobody");
}

static const struct {
    int state;
    int reason;
    WkPower idle;
    WkPower with_job;
} powers[] = {
    { VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED, WK_POWER_RUNNING, WK_POWER_RUNNING },
    { VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_SAVE_CANCELED, WK_POWER_RUNNING, WK_POWER_RUNNING },
    { VIR_DOMAIN_BLOCKED, 0, WK_POWER_RUNNING, WK_POWER_RUNNING },
    { VIR_DOMAIN_SHUTDOWN, 0, WK_POWER_STOPPING, WK_POWER_STOPPING },
    { VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SAVED, WK_POWER_OFF, WK_POWER_OFF },
    { VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_UNKNOWN, WK_POWER_OFF, WK_POWER_OFF },
    { VIR_DOMAIN_CRASHED, 0, WK_POWER_CRASHED, WK_POWER_CRASHED },
    { VIR_DOMAIN_PMSUSPENDED, 0, WK_POWER_ASLEEP, WK_POWER_ASLEEP },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_UNKNOWN, WK_POWER_PAUSED, WK_POWER_PAUSED },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER, WK_POWER_PAUSED, WK_POWER_PAUSED },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_WATCHDOG, WK_POWER_PAUSED, WK_POWER_PAUSED },
    { VIR_DOMAIN_PAUSED, 14, WK_POWER_PAUSED, WK_POWER_PAUSED },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION, WK_POWER_LOADED, WK_POWER_BUSY },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_SAVE, WK_POWER_PAUSED, WK_POWER_BUSY },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_DUMP, WK_POWER_PAUSED, WK_POWER_BUSY },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_FROM_SNAPSHOT, WK_POWER_PAUSED, WK_POWER_BUSY },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_SNAPSHOT, WK_POWER_PAUSED, WK_POWER_BUSY },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR, WK_POWER_IO_ERROR, WK_POWER_IO_ERROR },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_SHUTTING_DOWN, WK_POWER_STOPPING, WK_POWER_STOPPING },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_CRASHED, WK_POWER_CRASHED, WK_POWER_CRASHED },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP, WK_POWER_STARTING, WK_POWER_STARTING },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY, WK_POWER_BUSY, WK_POWER_BUSY },
    { VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_POSTCOPY_FAILED, WK_POWER_BUSY, WK_POWER_BUSY },
    /* From a libvirt to come: nothing is done with it. */
    { VIR_DOMAIN_PAUSED, 15, WK_POWER_BUSY, WK_POWER_BUSY },
    { VIR_DOMAIN_PAUSED, -1, WK_POWER_BUSY, WK_POWER_BUSY },
    { VIR_DOMAIN_NOSTATE, 0, WK_POWER_BUSY, WK_POWER_BUSY },
    { 8, 0, WK_POWER_BUSY, WK_POWER_BUSY },
    { -1, 0, WK_POWER_BUSY, WK_POWER_BUSY },
};

static void
test_power(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(powers); i++) {
        print_message("state %d reason %d\n", powers[i].state, powers[i].reason);
        assert_int_equal(wk_power_of(powers[i].state, powers[i].reason, FALSE), powers[i].idle);
        assert_int_equal(wk_power_of(powers[i].state, powers[i].reason, TRUE), powers[i].with_job);
    }
}

/* A pause is never read as running or off, whatever reason libvirt comes to know. */
static void
test_power_of_pauses(void **state G_GNUC_UNUSED)
{
    for (int reason = -1; reason < 64; reason++) {
        for (int job = 0; job < 2; job++) {
            const WkPower power = wk_power_of(VIR_DOMAIN_PAUSED, reason, job);

            assert_true(power != WK_POWER_RUNNING && power != WK_POWER_OFF
                        && power != WK_POWER_ABSENT);
        }
    }
}

static const struct {
    const char *uri;
    const char *save_dir;
    const char *autostart_dir;
} places[] = {
    { "qemu:///system", "/var/lib/libvirt/qemu/save", "/etc/libvirt/qemu/autostart" },
    { "qemu+unix:///system?socket=/run/x/sock", "/var/lib/libvirt/qemu/save",
      "/etc/libvirt/qemu/autostart" },
    { "qemu:///session", "/nowhere/libvirt/qemu/save", "/nowhere/libvirt/qemu/autostart" },
    { "qemu:///systemd", NULL, NULL },
    { "qemu:///embed?root=/x", NULL, NULL },
    { "qemu+ssh://root@host/system", NULL, NULL },
    { "qemu+tcp://127.0.0.1/system", NULL, NULL },
    { "xen:///system", NULL, NULL },
    { "test:///default", NULL, NULL },
    { "", NULL, NULL },
};

static void
test_places(void **state G_GNUC_UNUSED)
{
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *save_dir = wk_places_save_dir(places[i].uri);
        g_autofree char *autostart_dir = wk_places_autostart_dir(places[i].uri);

        print_message("%s\n", places[i].uri);
        assert_true(g_strcmp0(save_dir, places[i].save_dir) == 0);
        assert_true(g_strcmp0(autostart_dir, places[i].autostart_dir) == 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors), cmocka_unit_test(test_no_error),
        cmocka_unit_test(test_power),  cmocka_unit_test(test_power_of_pauses),
        cmocka_unit_test(test_places),
    };

    wk_virt_init();
    g_setenv("XDG_CONFIG_HOME", "/nowhere", TRUE);
    return cmocka_run_group_tests_name("virt-mapping", tests, NULL, NULL);
}
