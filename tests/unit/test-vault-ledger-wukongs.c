/* SPDX-License-Identifier: Apache-2.0 */
/* What the ledger keeps of Wukongs: bindings, what became of their actions, and the outbox. */
#include "config.h"

#include "ledger_fixture.h"
#include "vault_fixture.h"

#include "base/error.h"
#include "vault/ledger.h"

static WkBinding *
only_binding(WkLedger *ledger)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) all = wk_ledger_list_bindings(ledger, &error);

    assert_null(error);
    assert_int_equal(all->len, 1);
    return wk_binding_copy(g_ptr_array_index(all, 0));
}

static void
test_bindings(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(WkBinding) binding = wk_binding_new("uid-1", "default", "my-vm");
    g_autoptr(WkBinding) found = NULL;
    g_autoptr(GPtrArray) none = NULL;

    binding->source = g_strdup("host");
    binding->guest = g_strdup("d3b2d4a4-0000-0000-0000-000000000001");
    assert_true(wk_ledger_put_binding(ledger, binding, &error));
    binding->observed_generation = G_MAXINT64;
    binding->last_request_id = g_strdup("patch-42");
    binding->action = WK_ACTION_SUSPEND;
    binding->result = WK_OP_SUCCEEDED;
    binding->owed = g_strdup("{\"action\":\"suspend\"}");
    binding->deleted_at_us = 7;
    assert_true(wk_ledger_put_binding(ledger, binding, &error));

    g_clear_pointer(&ledger, wk_ledger_unref);
    ledger = fixture_ledger(state);
    found = only_binding(ledger);
    assert_string_equal(found->ns, "default");
    assert_string_equal(found->name, "my-vm");
    assert_string_equal(found->guest, binding->guest);
    assert_string_equal(found->last_request_id, "patch-42");
    assert_string_equal(found->owed, binding->owed);
    assert_true(found->observed_generation == G_MAXINT64);
    assert_int_equal(found->action, WK_ACTION_SUSPEND);
    assert_int_equal(found->result, WK_OP_SUCCEEDED);
    assert_true(found->deleted_at_us == 7);

    assert_true(wk_ledger_settle_owed(ledger, "uid-1", "{\"action\":\"resume\"}", &error));
    g_clear_pointer(&found, wk_binding_free);
    found = only_binding(ledger);
    assert_string_equal(found->owed, binding->owed); /* a newer one is owed */
    assert_true(wk_ledger_settle_owed(ledger, "uid-1", binding->owed, &error));
    g_clear_pointer(&found, wk_binding_free);
    found = only_binding(ledger);
    assert_null(found->owed);

    assert_true(wk_ledger_forget_binding(ledger, "uid-1", &error));
    none = wk_ledger_list_bindings(ledger, &error);
    assert_int_equal(none->len, 0);
}

typedef struct {
    const char *uid;
    gint64 generation;
    WkOpState end;
    gint64 observed; /* afterwards */
    WkOpState result;
    const char *request_id;
    gboolean owed;
} OutcomeRow;

/* One after another, on the same Wukong. */
static const OutcomeRow outcome_rows[] = {
    { "uid-1", 3, WK_OP_RUNNING, 0, WK_OP_QUEUED, NULL, FALSE },
    { "uid-1", 3, WK_OP_FAILED, 3, WK_OP_FAILED, NULL, FALSE },
    { "uid-1", 4, WK_OP_SUCCEEDED, 4, WK_OP_SUCCEEDED, "request-4", TRUE },
    { "uid-2", 9, WK_OP_SUCCEEDED, 4, WK_OP_SUCCEEDED, "request-4", TRUE }, /* another's */
    { "uid-1", 2, WK_OP_CANCELLED, 4, WK_OP_SUCCEEDED, "request-4", TRUE }, /* late */
    { "uid-1", 6, WK_OP_CANCELLED, 6, WK_OP_CANCELLED, "request-4", FALSE },
};

static void
test_outcomes(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(WkBinding) binding = wk_binding_new("uid-1", "default", "my-vm");

    assert_true(wk_ledger_put_binding(ledger, binding, &error));
    for (gsize i = 0; i < G_N_ELEMENTS(outcome_rows); i++) {
        const OutcomeRow *row = &outcome_rows[i];
        g_autofree char *id = g_strdup_printf("request-%" G_GINT64_FORMAT, row->generation);
        const WkRequest request = { .guest = "guest",
                                    .action = WK_ACTION_SUSPEND,
                                    .wukong_uid = row->uid,
                                    .generation = row->generation,
                                    .request_id = id,
                                    .owed = "{\"action\":\"suspend\"}" };
        g_autoptr(WkOperation) op = wk_operation_new(&request, "host", "name", 60);
        g_autoptr(WkBinding) found = NULL;

        wk_operation_set_state(op, row->end, "Reason", "words");
        assert_true(wk_ledger_put_operation(ledger, op, &error));
        found = only_binding(ledger);
        if (found->observed_generation != row->observed || found->result != row->result
            || g_strcmp0(found->last_request_id, row->request_id) != 0
            || (found->owed != NULL) != row->owed)
            fail_msg("row %zu: generation %" G_GINT64_FORMAT ", %s, %s, %s", i,
                     found->observed_generation, wk_op_state_name(found->result),
                     found->last_request_id, found->owed);
    }
}

static void
expect_outbox(WkLedger *ledger, guint n, const char *first, const char *last)
{
    g_autoptr(GPtrArray) entries = wk_ledger_list_outbox(ledger, NULL);

    assert_non_null(entries);
    assert_int_equal(entries->len, n);
    if (n == 0)
        return;
    assert_string_equal(((WkOutboxEntry *)g_ptr_array_index(entries, 0))->body, first);
    assert_string_equal(((WkOutboxEntry *)g_ptr_array_index(entries, n - 1))->body, last);
}

static void
test_outbox(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autofree char *large = g_strnfill(WK_OUTBOX_MAX_BYTES + 1, 'x');
    gint64 seq[3];

    for (int i = 0; i < 3; i++) {
        g_autofree char *body = g_strdup_printf("{\"n\":%d}", i);

        assert_true(wk_ledger_put_outbox(ledger, body, &seq[i], &error));
    }
    assert_true(seq[0] < seq[1] && seq[1] < seq[2]);
    assert_true(wk_ledger_drop_outbox(ledger, seq[1], &error));
    expect_outbox(ledger, 2, "{\"n\":0}", "{\"n\":2}");
    g_clear_pointer(&ledger, wk_ledger_unref);
    ledger = fixture_ledger(state);
    expect_outbox(ledger, 2, "{\"n\":0}", "{\"n\":2}");
    assert_true(wk_ledger_drop_outbox(ledger, seq[0], &error));
    assert_true(wk_ledger_drop_outbox(ledger, seq[2], &error));
    assert_true(wk_ledger_drop_outbox(ledger, seq[2], &error)); /* gone already */
    expect_outbox(ledger, 0, NULL, NULL);
    assert_false(wk_ledger_put_outbox(ledger, large, &seq[0], &error));
    fixture_expect_error(&error, WK_ERROR_INVALID, NULL);
}

/* A year without an API server must not fill the disk. */
static void
test_outbox_is_bounded(void **state)
{
    g_autoptr(WkLedger) ledger = NULL;
    gint64 seq = 0;

    ledger = fixture_ledger(state);
    assert_true(wk_ledger_put_outbox(ledger, "first", &seq, NULL));
    wk_ledger_unref(g_steal_pointer(&ledger));
    fixture_sql(fixture_ledger_path(state),
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)"
                " INSERT INTO outbox (body) SELECT 'entry' FROM n");
    ledger = fixture_ledger(state);
    expect_outbox(ledger, WK_OUTBOX_MAX, "first", "entry");
    assert_true(wk_ledger_put_outbox(ledger, "newest", &seq, NULL));
    expect_outbox(ledger, WK_OUTBOX_MAX, "entry", "newest");
}

/* An agent of the first release left guests saved and an operation open: they are all there after
 * the upgrade. Going back is refused by test-vault-ledger-open's newer schema. */
static void
test_upgrade_from_1(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkLedger) ledger = fixture_ledger(state);
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    g_autoptr(WkRecord) record = fixture_random_record(rand, 1);
    g_autoptr(WkOperation) op = fixture_random_operation(rand);
    g_autoptr(GPtrArray) open = NULL;
    g_autoptr(GPtrArray) bindings = NULL;

    record->state = WK_LEDGER_SEALED;
    record->verified_at_us = 0;
    g_clear_pointer(&record->told_of, g_free);
    g_clear_pointer(&record->vmi_uid, g_free);
    g_clear_pointer(&record->saved_vmi_uid, g_free);
    g_clear_pointer(&record->staged_for, g_free);
    g_clear_pointer(&record->template_hash, g_free);
    g_clear_pointer(&record->claims, g_free);
    g_clear_pointer(&record->pinned_wukong, g_free);
    g_clear_pointer(&record->pinned_uid, g_free);
    op->state = WK_OP_RUNNING;
    g_clear_pointer(&op->wukong_uid, g_free);
    g_clear_pointer(&op->request_id, g_free);
    g_clear_pointer(&op->owed, g_free);
    op->generation = 0;
    assert_true(wk_ledger_commit(ledger, record, WK_LEDGER_NONE, NULL, &error));
    assert_true(wk_ledger_put_operation(ledger, op, &error));
    wk_ledger_unref(g_steal_pointer(&ledger));
    fixture_sql(fixture_ledger_path(state), "DROP TABLE outbox; DROP TABLE bindings;"
                                            "DROP TABLE headers;"
                                            "ALTER TABLE guests DROP COLUMN vmi_uid;"
                                            "ALTER TABLE guests DROP COLUMN saved_vmi_uid;"
                                            "ALTER TABLE guests DROP COLUMN staged_for;"
                                            "ALTER TABLE guests DROP COLUMN template_hash;"
                                            "ALTER TABLE guests DROP COLUMN claims;"
                                            "ALTER TABLE guests DROP COLUMN pinned_wukong;"
                                            "ALTER TABLE guests DROP COLUMN pinned_uid;"
                                            "ALTER TABLE guests DROP COLUMN verified_at_us;"
                                            "ALTER TABLE guests DROP COLUMN told_of;"
                                            "ALTER TABLE operations DROP COLUMN wukong_uid;"
                                            "ALTER TABLE operations DROP COLUMN generation;"
                                            "ALTER TABLE operations DROP COLUMN request_id;"
                                            "ALTER TABLE operations DROP COLUMN owed;"
                                            "PRAGMA user_version = 1");

    ledger = fixture_ledger(state);
    fixture_expect_row(ledger, record);
    open = wk_ledger_open_operations(ledger, &error);
    assert_non_null(open);
    assert_int_equal(open->len, 1);
    fixture_same_operation(g_ptr_array_index(open, 0), op);
    bindings = wk_ledger_list_bindings(ledger, &error);
    assert_int_equal(bindings->len, 0);
    expect_outbox(ledger, 0, NULL, NULL);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_bindings),       WITH_FOLDER(test_outcomes),
        WITH_FOLDER(test_outbox),         WITH_FOLDER(test_outbox_is_bounded),
        WITH_FOLDER(test_upgrade_from_1),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
