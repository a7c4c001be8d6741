/* SPDX-License-Identifier: Apache-2.0 */
/* The control plane that the other tests stand on, and what the agent may do there. */
#include "lab-kube.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int
setup(void **state G_GNUC_UNUSED)
{
    if (!lab_kube_is_available())
        return 0;
    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    return 0;
}

static void
test_restart_keeps_objects(void **state G_GNUC_UNUSED)
{
    g_autofree char *name = NULL;

    lab_ok(lab_kube_wukong("kept", &error));
    lab_ok(lab_kube_server_kill(&error));
    lab_ok(lab_kube_server_start(&error));
    lab_ok((name = lab_kube_get("kept", "{.metadata.name}", &error)) != NULL);
    assert_string_equal(name, "kept");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart_keeps_objects),
    };

    if (!lab_kube_is_available())
        return 77;
    return cmocka_run_group_tests_name("kube-fixture", tests, setup, NULL);
}
