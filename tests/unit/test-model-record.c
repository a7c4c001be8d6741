/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/clock.h"
#include "model/operation.h"
#include "model/record.h"

static const WkFileId file = { .dev = 1, .inode = 42, .size_bytes = 4096, .mtime_ns = 5 };

/* A row with something in every member. */
static WkRecord *
full_record(void)
{
    WkRecord *record = wk_record_new("host", "uuid", "web");

    record->state = WK_LEDGER_SEALED;
    record->op = g_strdup("op");
    record->boot_id = g_strdup("boot");
    record->seal.file = file;
    memset(record->seal.header_digest, 'a', WK_DIGEST_LENGTH);
    memset(record->seal.body_digest, 'b', WK_DIGEST_LENGTH);
    record->disks = wk_witness_array_new();
    g_ptr_array_add(record->disks, wk_witness_new("/disk.img", FALSE, &file));
    record->paused_by_us = TRUE;
    record->autostart = TRUE;
    record->then = WK_THEN_RESUME;
    record->want = WK_WANT_CANCEL;
    record->save_path = g_strdup("/save/web.save");
    record->saved_at_us = 7;
    record->last_action = WK_ACTION_SUSPEND;
    record->last_action_at_us = 8;
    record->origin = WK_ORIGIN_LOCAL;
    record->paused_to = WK_TARGET_MEMORY;
    record->stopped_by_fallback = TRUE;
    record->verified_at_us = 9;
    wk_record_explain(record, "SavedToDisk", "saved");
    wk_record_tell_of(record, WK_POWER_OFF);
    record->vmi_uid = g_strdup("vmi-2");
    record->saved_vmi_uid = g_strdup("vmi-1");
    record->claims = g_strdup("claims");
    record->pinned_wukong = g_strdup("web");
    record->pinned_uid = g_strdup("w-1");
    return record;
}

static void
test_new(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkRecord) record = wk_record_new("host", "uuid", "web");

    assert_string_equal(record->source, "host");
    assert_int_equal(record->state, WK_LEDGER_NONE);
    assert_null(record->op);
    assert_null(record->disks);
    assert_false(wk_record_disks_partial(record));
    wk_record_free(NULL);
    wk_witness_free(NULL);
}

static void
test_copy(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkRecord) record = full_record();
    g_autoptr(WkRecord) copy = wk_record_copy(record);
    g_autoptr(WkRecord) plain = wk_record_new("host", "uuid", "web");
    g_autoptr(WkRecord) plain_copy = wk_record_copy(plain);
    const WkWitness *disk = g_ptr_array_index(copy->disks, 0);

    g_clear_pointer(&record->disks, g_ptr_array_unref);
    g_clear_pointer(&record->op, g_free);
    wk_record_explain(record, NULL, NULL);
    assert_string_equal(copy->source, "host");
    assert_string_equal(copy->uuid, "uuid");
    assert_string_equal(copy->name, "web");
    assert_string_equal(copy->op, "op");
    assert_string_equal(copy->boot_id, "boot");
    assert_string_equal(copy->save_path, "/save/web.save");
    assert_string_equal(copy->reason, "SavedToDisk");
    assert_string_equal(copy->message, "saved");
    assert_string_equal(disk->path, "/disk.img");
    assert_true(wk_file_id_equal(&disk->file, &file));
    assert_true(wk_file_id_equal(&copy->seal.file, &file));
    assert_int_equal(strlen(copy->seal.body_digest), WK_DIGEST_LENGTH);
    assert_int_equal(copy->want, WK_WANT_CANCEL);
    assert_true(copy->verified_at_us == 9);
    assert_string_equal(copy->told_of, wk_power_name(WK_POWER_OFF));
    assert_null(record->told_of);
    assert_string_equal(copy->vmi_uid, "vmi-2");
    assert_string_equal(copy->saved_vmi_uid, "vmi-1");
    assert_string_equal(copy->claims, "claims");
    assert_string_equal(copy->pinned_wukong, "web");
    assert_string_equal(copy->pinned_uid, "w-1");
    assert_null(plain_copy->disks);
    wk_record_reset(copy);
    assert_null(copy->vmi_uid);
    assert_null(copy->saved_vmi_uid);
    assert_null(copy->claims);
    assert_null(copy->pinned_wukong);
    assert_null(copy->pinned_uid);
}

/* explain() may be handed the record's own strings. */
static void
test_explain_itself(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkRecord) record = full_record();

    wk_record_explain(record, record->reason, record->reason);
    assert_string_equal(record->reason, "SavedToDisk");
    assert_string_equal(record->message, "SavedToDisk");
    wk_record_explain(record, NULL, "only this");
    assert_null(record->reason);
    assert_string_equal(record->message, "only this");
}

static void
test_reset(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkRecord) record = full_record();

    wk_record_reset(record);
    assert_int_equal(record->state, WK_LEDGER_NONE);
    assert_null(record->op);
    assert_null(record->disks);
    assert_true(record->seal.file.inode == 0);
    assert_string_equal(record->seal.header_digest, "");
    assert_string_equal(record->seal.body_digest, "");
    assert_false(record->paused_by_us || record->autostart);
    assert_int_equal(record->then, WK_THEN_NONE);
    assert_int_equal(record->want, WK_WANT_NONE);
    assert_int_equal(record->saved_at_us, 0);
    assert_string_equal(record->name, "web");
    assert_int_equal(record->last_action, WK_ACTION_SUSPEND);
    assert_int_equal(record->origin, WK_ORIGIN_LOCAL);
    assert_string_equal(record->message, "saved");
}

static void
test_file_ids(void **state G_GNUC_UNUSED)
{
    const WkFileId grown = { .dev = 1, .inode = 42, .size_bytes = 4097, .mtime_ns = 5 };
    const WkFileId touched = { .dev = 1, .inode = 42, .size_bytes = 4096, .mtime_ns = 6 };
    const WkFileId other = { .dev = 1, .inode = 43, .size_bytes = 4096, .mtime_ns = 5 };
    const WkFileId elsewhere = { .dev = 2, .inode = 42, .size_bytes = 4096, .mtime_ns = 5 };
    const WkFileId none = { 0 };

    assert_true(wk_file_id_equal(&file, &file));
    assert_true(wk_file_id_same_inode(&file, &grown));
    assert_false(wk_file_id_equal(&file, &grown));
    assert_true(wk_file_id_same_inode(&file, &touched));
    assert_false(wk_file_id_equal(&file, &touched));
    assert_false(wk_file_id_same_inode(&file, &other));
    assert_false(wk_file_id_same_inode(&file, &elsewhere));
    assert_false(wk_file_id_same_inode(&none, &none)); /* "not noted" is no file */
    assert_false(wk_file_id_equal(&none, &none));
}

static void
test_partial(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkRecord) record = full_record();

    assert_false(wk_record_disks_partial(record));
    g_ptr_array_add(record->disks, wk_witness_new("/dev/disk", TRUE, &file));
    assert_true(wk_record_disks_partial(record));
}

static WkOperation *
new_operation(void)
{
    const WkRequest request = { .guest = "uuid",
                                .action = WK_ACTION_SUSPEND,
                                .target = WK_TARGET_DISK,
                                .fallback = WK_FALLBACK_STOP,
                                .origin = WK_ORIGIN_SPEC };

    return wk_operation_new(&request, "host", "web", 300);
}

static void
test_operation_new(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkOperation) operation = new_operation();
    g_autoptr(WkOperation) other = new_operation();
    g_autoptr(WkOperation) copy = NULL;

    assert_string_not_equal(operation->id, other->id);
    assert_int_equal(operation->state, WK_OP_QUEUED);
    assert_int_equal(operation->step, WK_STEP_NONE);
    assert_int_equal(operation->attempt, 0);
    assert_true(operation->deadline_at_us - operation->accepted_at_us == 300 * G_USEC_PER_SEC);
    assert_true(operation->accepted_at_us <= wk_clock_real_us());
    wk_operation_set_state(operation, WK_OP_RUNNING, "Retrying", "attempt 2");
    copy = wk_operation_copy(operation);
    assert_string_equal(copy->id, operation->id);
    assert_string_equal(copy->reason, "Retrying");
    assert_ptr_not_equal(copy->message, operation->message);
    assert_string_equal(copy->name, "web");
    assert_int_equal(copy->fallback, WK_FALLBACK_STOP);
    wk_operation_free(NULL);
}

static void
test_operation_states(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkOperation) operation = new_operation();
    gint64 started;

    wk_operation_set_state(operation, WK_OP_RUNNING, NULL, NULL);
    started = operation->started_at_us;
    assert_true(started > 0);
    assert_int_equal(operation->finished_at_us, 0);
    wk_operation_set_state(operation, WK_OP_QUEUED, "GuestBusy", "next try in 2 s");
    wk_operation_set_state(operation, WK_OP_RUNNING, operation->reason, operation->message);
    assert_true(operation->started_at_us == started); /* of the first try */
    assert_string_equal(operation->message, "next try in 2 s");
    wk_operation_set_state(operation, WK_OP_FAILED, "NoSpace", "Suspend failed: full");
    assert_true(operation->finished_at_us >= started);
}

static void
test_final_is_final(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkOperation) operation = new_operation();

    wk_operation_set_state(operation, WK_OP_CANCELLED, NULL, "cancelled");
    g_test_expect_message(G_LOG_DOMAIN, G_LOG_LEVEL_CRITICAL, "*wk_op_state_is_final*");
    wk_operation_set_state(operation, WK_OP_SUCCEEDED, NULL, NULL);
    g_test_assert_expected_messages();
    assert_int_equal(operation->state, WK_OP_CANCELLED);
    assert_string_equal(operation->message, "cancelled");
}

static void
test_operation_progress(void **state G_GNUC_UNUSED)
{
    g_autoptr(WkOperation) operation = new_operation();

    assert_int_equal(wk_operation_percent(operation), -1);
    assert_int_equal(wk_operation_seconds_left(operation), -1);
    operation->total_bytes = 1000;
    operation->done_bytes = 999;
    assert_int_equal(wk_operation_percent(operation), 99);
    operation->done_bytes = 2000; /* the guest dirtied more than libvirt had counted */
    operation->bytes_per_second = 10;
    assert_int_equal(wk_operation_percent(operation), 100);
    assert_int_equal(wk_operation_seconds_left(operation), -1);
    operation->done_bytes = 500;
    assert_int_equal(wk_operation_seconds_left(operation), 50);
    operation->total_bytes = G_GUINT64_CONSTANT(1) << 50; /* 1 PiB: no overflow */
    operation->done_bytes = operation->total_bytes / 2;
    assert_int_equal(wk_operation_percent(operation), 50);
    operation->total_bytes = 0;
    wk_operation_set_state(operation, WK_OP_SUCCEEDED, NULL, NULL);
    assert_int_equal(wk_operation_percent(operation), 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_explain_itself),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_file_ids),
        cmocka_unit_test(test_partial),
        cmocka_unit_test(test_operation_new),
        cmocka_unit_test(test_operation_states),
        cmocka_unit_test(test_final_is_final),
        cmocka_unit_test(test_operation_progress),
    };

    return cmocka_run_group_tests_name("model-record", tests, NULL, NULL);
}
