/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "model/vmi.h"

#define UNTOLD (-1)

/* Phases by row, pauses by column: no, by user, I/O error, by migration, another word. */
static const struct {
    const char *phase;
    int power[WK_VMI_PAUSES];
} powers[WK_VMI_PHASES] = {
#define ALL(power)                                                                                 \
    {                                                                                              \
        power, power, power, power, power                                                          \
    }
    { "", ALL(WK_POWER_OFF) },
    { "Pending", ALL(WK_POWER_OFF) },
    { "Scheduling", ALL(WK_POWER_OFF) },
    { "Scheduled", ALL(WK_POWER_STARTING) },
    { "Running",
      { WK_POWER_RUNNING, WK_POWER_PAUSED, WK_POWER_IO_ERROR, WK_POWER_BUSY, WK_POWER_BUSY } },
    { "Succeeded", ALL(WK_POWER_OFF) },
    { "Failed", ALL(WK_POWER_OFF) },
    { "WaitingForSync", ALL(WK_POWER_BUSY) },
    { "Unknown", ALL(UNTOLD) },
};

static void
test_power_is_total(void **state G_GNUC_UNUSED)
{
    for (int phase = 0; phase < WK_VMI_PHASES; phase++) {
        assert_int_equal(wk_vmi_phase_parse(powers[phase].phase), phase);
        for (int paused = 0; paused < WK_VMI_PAUSES; paused++) {
            WkPower power = WK_POWER_ASLEEP; /* no VMI says that */
            const gboolean told = wk_vmi_power_of((WkVmiPhase)phase, (WkVmiPaused)paused, &power);
            const int expected = powers[phase].power[paused];

            assert_int_equal(told, expected != UNTOLD);
            assert_int_equal(power, told ? expected : WK_POWER_ASLEEP);
        }
    }
}

static void
test_power_outside(void **state G_GNUC_UNUSED)
{
    WkPower power = WK_POWER_ASLEEP;

    assert_false(wk_vmi_power_of((WkVmiPhase)WK_VMI_PHASES, WK_PAUSED_NO, &power));
    assert_false(wk_vmi_power_of(WK_PHASE_RUNNING, (WkVmiPaused)WK_VMI_PAUSES, &power));
    assert_int_equal(power, WK_POWER_ASLEEP);
}

static void
test_final(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkVmi) vmi = wk_vmi_new();

    for (int phase = 0; phase < WK_VMI_PHASES; phase++) {
        vmi->phase = (WkVmiPhase)phase;
        assert_int_equal(wk_vmi_is_final(vmi),
                         phase == WK_PHASE_SUCCEEDED || phase == WK_PHASE_FAILED);
    }
}

/* As the VM controller does it (facts, 1.3). */
static const struct {
    const char *word;
    WkRunStrategy strategy;
    WkRunStrategyRow row; /* can_save, vmi_stays, boots_alone, needs_start */
} strategies[] = {
    { "Always", WK_RUN_ALWAYS, { TRUE, FALSE, TRUE, FALSE } },
    { "RerunOnFailure", WK_RUN_RERUN_ON_FAILURE, { TRUE, FALSE, FALSE, TRUE } },
    { "Manual", WK_RUN_MANUAL, { TRUE, TRUE, FALSE, TRUE } },
    { "Halted", WK_RUN_HALTED, { FALSE, FALSE, FALSE, TRUE } },
    { "Once", WK_RUN_ONCE, { FALSE, TRUE, TRUE, FALSE } },
    { "WaitAsReceiver", WK_RUN_WAIT_AS_RECEIVER, { FALSE, FALSE, TRUE, FALSE } },
    { "?", WK_RUN_UNKNOWN, { FALSE, FALSE, FALSE, FALSE } },
};

static void
test_run_strategies(void **state G_GNUC_UNUSED)
{
    assert_int_equal(G_N_ELEMENTS(strategies), WK_RUN_STRATEGIES);
    for (gsize i = 0; i < G_N_ELEMENTS(strategies); i++) {
        const WkRunStrategyRow *row = wk_run_strategy_row(strategies[i].strategy);

        assert_int_equal(wk_run_strategy_parse(strategies[i].word), strategies[i].strategy);
        assert_string_equal(wk_run_strategy_name(strategies[i].strategy), strategies[i].word);
        assert_memory_equal(row, &strategies[i].row, sizeof *row);
    }
    assert_ptr_equal(wk_run_strategy_row((WkRunStrategy)WK_RUN_STRATEGIES),
                     wk_run_strategy_row(WK_RUN_UNKNOWN));
    assert_int_equal(wk_run_strategy_parse("always"), WK_RUN_UNKNOWN);
    assert_int_equal(wk_run_strategy_parse(NULL), WK_RUN_UNKNOWN);
}

static void
test_words(void **state G_GNUC_UNUSED)
{
    g_autofree char *domain = wk_vmi_domain_name("shop", "web-vm");

    assert_string_equal(domain, "shop_web-vm");
    assert_int_equal(wk_vmi_phase_parse("Sleeping"), WK_PHASE_UNKNOWN);
    assert_int_equal(wk_vmi_phase_parse(NULL), WK_PHASE_UNKNOWN);
    assert_int_equal(wk_vmi_paused_parse("PausedByUser"), WK_PAUSED_BY_USER);
    assert_int_equal(wk_vmi_paused_parse("PausedIOError"), WK_PAUSED_IO_ERROR);
    assert_int_equal(wk_vmi_paused_parse("PausedByMigrationMonitor"), WK_PAUSED_BY_MIGRATION);
    assert_int_equal(wk_vmi_paused_parse("PausedByTheMoon"), WK_PAUSED_OTHER);
    assert_int_equal(wk_vmi_paused_parse(""), WK_PAUSED_OTHER);
    assert_int_equal(wk_vmi_paused_parse(NULL), WK_PAUSED_OTHER);
    assert_string_equal(wk_volume_kind_name(WK_VOLUME_CLAIM), "persistentVolumeClaim");
    assert_string_equal(wk_volume_kind_name(WK_VOLUME_UNKNOWN), "?");
}

static WkVmi *
make_vmi(void)
{
    WkVmi *vmi = wk_vmi_new();

    vmi->ns = g_strdup("shop");
    vmi->name = g_strdup("web-vm");
    vmi->uid = g_strdup("u-1");
    vmi->storage_why = g_strdup("why");
    vmi->unfixed_mac = g_strdup("net1");
    g_ptr_array_add(vmi->pod_uids, g_strdup("p-1"));
    wk_vmi_volumes_add(vmi->volumes, WK_VOLUME_CLAIM, "root", "web-root")->hotplugged = TRUE;
    wk_vmi_add_device(vmi, WK_DEVICE_HOST, "gpu a");
    vmi->memory_kib = 1024;
    return vmi;
}

/* The worker gets a copy, and the original goes. */
static void
test_copy_of_vmi(void **state G_GNUC_UNUSED)
{
    WkVmi *vmi = make_vmi();
    g_autoptr(WkVmi) copy = wk_vmi_copy(vmi);
    const WkVmiVolume *volume = g_ptr_array_index(copy->volumes, 0);
    const WkVmiDevice *device = g_ptr_array_index(copy->devices, 0);
    g_autofree char *caveat = NULL;

    wk_vmi_free(vmi);
    assert_string_equal(copy->ns, "shop");
    assert_string_equal(copy->storage_why, "why");
    assert_null(copy->node);
    assert_int_equal(copy->memory_kib, 1024);
    assert_string_equal(g_ptr_array_index(copy->pod_uids, 0), "p-1");
    assert_string_equal(volume->claim, "web-root");
    assert_true(volume->hotplugged);
    assert_string_equal(device->name, "gpu a");
    caveat = wk_vmi_caveat(copy);
    assert_non_null(strstr(caveat, "interface net1 has no fixed macAddress"));
}

static void
test_copy_of_vm(void **state G_GNUC_UNUSED)
{
    WkVm *vm = wk_vm_new();
    g_autoptr(WkVm) copy = NULL;
    g_autoptr(WkVmi) fine = wk_vmi_new();

    vm->uid = g_strdup("u-2");
    vm->template_hash = g_strdup("hash");
    wk_vmi_volumes_add(vm->volumes, WK_VOLUME_DATA_VOLUME, "root", "web-root");
    copy = wk_vm_copy(vm);
    wk_vm_free(vm);
    assert_string_equal(copy->template_hash, "hash");
    assert_int_equal(copy->volumes->len, 1);
    assert_null(wk_vmi_caveat(fine));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_is_total), cmocka_unit_test(test_power_outside),
        cmocka_unit_test(test_final),          cmocka_unit_test(test_run_strategies),
        cmocka_unit_test(test_words),          cmocka_unit_test(test_copy_of_vmi),
        cmocka_unit_test(test_copy_of_vm),
    };

    return cmocka_run_group_tests_name("model/vmi", tests, NULL, NULL);
}
