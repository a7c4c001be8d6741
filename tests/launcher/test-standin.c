/* SPDX-License-Identifier: Apache-2.0 */
/* What KubeVirt does to those who suspend its guests behind its back: each test is a naive way that
 * fails, or the fact that a right one builds on. */
#include "lab-pod.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int
start_cluster(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_kube_start(&error));
    lab_ok(lab_kube_install(&error));
    lab_ok(lab_standin_start(&error));
    return 0;
}

static void
test_boots(void **state G_GNUC_UNUSED)
{
    lab_ok(lab_vm_start("a", NULL, &error));
    lab_ok(lab_vm_delete("a", &error));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boots),
    };

    if (!lab_standin_is_available())
        return 77;
    cmocka_set_test_filter(g_getenv("WK_E2E_ONLY"));
    return cmocka_run_group_tests_name("standin", tests, start_cluster, NULL);
}
