/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault_fixture.h"

#include "ledger_fixture.h"

#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

const char *
fixture_ledger_path(void **state)
{
    return fixture_path(state, "ledger.db");
}

WkLedger *
fixture_ledger(void **state)
{
    g_autoptr(GError) error = NULL;
    WkLedger *ledger = wk_ledger_open(fixture_ledger_path(state), &error);

    fixture_no_error(&error);
    assert_non_null(ledger);
    return ledger;
}

/* Text of up to @max bytes with everything in it that SQL or a careless reader trips over. */
static char *
random_text(GRand *rand, gint max)
{
    static const char *const pieces[] = { "a",  "'",    "\"", ";--",  "%s", "\n", "\xe6\x82\x9f",
                                          "?1", "\xff", " ",  "NULL", "\\" };
    GString *text = g_string_new(NULL);
    const gint want = g_rand_int_range(rand, 0, max + 1);

    while (text->len < (gsize)want) {
        const char *piece = pieces[g_rand_int_range(rand, 0, G_N_ELEMENTS(pieces))];

        if (text->len + strlen(piece) > (gsize)max)
            break;
        g_string_append(text, piece);
    }
    return g_string_free(text, FALSE);
}

static char *
random_text_or_null(GRand *rand, gint max)
{
    return g_rand_int_range(rand, 0, 4) == 0 ? NULL : random_text(rand, max);
}

static guint64
random_number(GRand *rand)
{
    static const guint64 edges[] = { 0, 1, G_MAXINT64, (guint64)G_MAXINT64 + 1, G_MAXUINT64 };

    if (g_rand_boolean(rand))
        return edges[g_rand_int_range(rand, 0, G_N_ELEMENTS(edges))];
    return ((guint64)g_rand_int(rand) << 32) | g_rand_int(rand);
}

static void
random_digest(GRand *rand, char *digest)
{
    if (g_rand_boolean(rand))
        return;
    for (gsize i = 0; i < WK_DIGEST_LENGTH; i++)
        digest[i] = "0123456789abcdef"[g_rand_int_range(rand, 0, 16)];
}

static void
random_file(GRand *rand, WkFileId *file)
{
    file->dev = random_number(rand);
    file->inode = random_number(rand);
    file->size_bytes = random_number(rand);
    file->mtime_ns = (gint64)random_number(rand);
}

static GPtrArray *
random_disks(GRand *rand)
{
    const gint kind = g_rand_int_range(rand, 0, 4);
    GPtrArray *disks = NULL;

    if (kind == 0)
        return NULL;
    disks = wk_witness_array_new();
    for (gint n = kind == 1 ? 0 : g_rand_int_range(rand, 1, 9); n > 0; n--) {
        g_autofree char *path = random_text(rand, 4096);
        WkFileId file;

        random_file(rand, &file);
        g_ptr_array_add(disks, wk_witness_new(path, g_rand_boolean(rand), &file));
    }
    return disks;
}

#define RANDOM_ENUM(rand, last) (g_rand_int_range((rand), 0, (int)(last) + 1))

WkRecord *
fixture_random_record(GRand *rand, guint number)
{
    g_autofree char *uuid = g_strdup_printf("guest-%u", number);
    g_autofree char *name = random_text(rand, 1024);
    WkRecord *record = wk_record_new("host", uuid, name);

    record->state = (WkLedgerState)RANDOM_ENUM(rand, WK_LEDGER_QUARANTINED);
    if (record->state != WK_LEDGER_NONE)
        record->op = random_text_or_null(rand, 64);
    record->boot_id = random_text_or_null(rand, 64);
    random_file(rand, &record->seal.file);
    random_digest(rand, record->seal.header_digest);
    random_digest(rand, record->seal.body_digest);
    record->disks = random_disks(rand);
    record->paused_by_us = g_rand_boolean(rand);
    record->autostart = g_rand_boolean(rand);
    record->then = (WkThen)RANDOM_ENUM(rand, WK_THEN_OFF);
    record->want = (WkWant)RANDOM_ENUM(rand, WK_WANT_CANCEL);
    record->reason = random_text_or_null(rand, 128);
    record->message = random_text_or_null(rand, 2048);
    record->save_path = random_text_or_null(rand, 4096);
    record->saved_at_us = (gint64)random_number(rand);
    record->last_action = (WkAction)RANDOM_ENUM(rand, WK_ACTION_DISCARD);
    record->last_action_at_us = (gint64)random_number(rand);
    record->origin = (WkOrigin)RANDOM_ENUM(rand, WK_ORIGIN_OUTSIDE);
    record->paused_to = (WkTarget)RANDOM_ENUM(rand, WK_TARGET_DISK);
    record->stopped_by_fallback = g_rand_boolean(rand);
    record->verified_at_us = (gint64)random_number(rand);
    record->told_of = random_text_or_null(rand, 64);
    record->vmi_uid = random_text_or_null(rand, 64);
    record->saved_vmi_uid = random_text_or_null(rand, 64);
    record->staged_for = random_text_or_null(rand, 64);
    record->template_hash = random_text_or_null(rand, 64);
    record->claims = random_text_or_null(rand, 8192);
    record->pinned_wukong = random_text_or_null(rand, 253);
    record->pinned_uid = random_text_or_null(rand, 64);
    return record;
}

WkOperation *
fixture_random_operation(GRand *rand)
{
    const WkRequest request = { .guest = "guest" };
    WkOperation *operation = wk_operation_new(&request, "host", "name", 60);

    g_free(operation->name);
    g_free(operation->guest);
    operation->name = random_text(rand, 1024);
    operation->guest = random_text(rand, 64);
    operation->action = (WkAction)RANDOM_ENUM(rand, WK_ACTION_DISCARD);
    operation->target = (WkTarget)RANDOM_ENUM(rand, WK_TARGET_DISK);
    operation->fallback = (WkFallback)RANDOM_ENUM(rand, WK_FALLBACK_STOP);
    operation->origin = (WkOrigin)RANDOM_ENUM(rand, WK_ORIGIN_OUTSIDE);
    operation->state = (WkOpState)RANDOM_ENUM(rand, WK_OP_CANCELLED);
    operation->attempt = (guint)random_number(rand);
    operation->accepted_at_us = (gint64)random_number(rand);
    operation->deadline_at_us = (gint64)random_number(rand);
    operation->started_at_us = (gint64)random_number(rand);
    operation->finished_at_us = (gint64)random_number(rand);
    operation->reason = random_text_or_null(rand, 128);
    operation->message = random_text_or_null(rand, 2048);
    operation->wukong_uid = random_text_or_null(rand, 128);
    operation->generation = (gint64)random_number(rand);
    operation->request_id = random_text_or_null(rand, 253);
    operation->owed = random_text_or_null(rand, 4096);
    return operation;
}

static void
same_text(const char *a, const char *b)
{
    if (g_strcmp0(a, b) != 0)
        fail_msg("'%s' is not '%s'", a != NULL ? a : "(none)", b != NULL ? b : "(none)");
}

static void
same_file(const WkFileId *a, const WkFileId *b)
{
    assert_true(a->dev == b->dev && a->inode == b->inode && a->size_bytes == b->size_bytes
                && a->mtime_ns == b->mtime_ns);
}

static void
same_disks(GPtrArray *a, GPtrArray *b)
{
    assert_int_equal(a != NULL, b != NULL);
    if (a == NULL)
        return;
    assert_int_equal(a->len, b->len);
    for (guint i = 0; i < a->len; i++) {
        const WkWitness *x = g_ptr_array_index(a, i);
        const WkWitness *y = g_ptr_array_index(b, i);

        same_text(x->path, y->path);
        assert_int_equal(x->partial, y->partial);
        same_file(&x->file, &y->file);
    }
}

void
fixture_same_record(const WkRecord *a, const WkRecord *b)
{
    same_text(a->source, b->source);
    same_text(a->uuid, b->uuid);
    same_text(a->name, b->name);
    same_text(a->op, b->op);
    same_text(a->boot_id, b->boot_id);
    same_text(a->seal.header_digest, b->seal.header_digest);
    same_text(a->seal.body_digest, b->seal.body_digest);
    same_text(a->reason, b->reason);
    same_text(a->message, b->message);
    same_text(a->save_path, b->save_path);
    same_file(&a->seal.file, &b->seal.file);
    same_disks(a->disks, b->disks);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->paused_by_us, b->paused_by_us);
    assert_int_equal(a->autostart, b->autostart);
    assert_int_equal(a->then, b->then);
    assert_int_equal(a->want, b->want);
    assert_true(a->saved_at_us == b->saved_at_us);
    assert_int_equal(a->last_action, b->last_action);
    assert_true(a->last_action_at_us == b->last_action_at_us);
    assert_int_equal(a->origin, b->origin);
    assert_int_equal(a->paused_to, b->paused_to);
    assert_int_equal(a->stopped_by_fallback, b->stopped_by_fallback);
    assert_true(a->verified_at_us == b->verified_at_us);
    same_text(a->told_of, b->told_of);
    same_text(a->vmi_uid, b->vmi_uid);
    same_text(a->saved_vmi_uid, b->saved_vmi_uid);
    same_text(a->staged_for, b->staged_for);
    same_text(a->template_hash, b->template_hash);
    same_text(a->claims, b->claims);
    same_text(a->pinned_wukong, b->pinned_wukong);
    same_text(a->pinned_uid, b->pinned_uid);
}

void
fixture_same_operation(const WkOperation *a, const WkOperation *b)
{
    same_text(a->id, b->id);
    same_text(a->source, b->source);
    same_text(a->guest, b->guest);
    same_text(a->name, b->name);
    same_text(a->reason, b->reason);
    same_text(a->message, b->message);
    same_text(a->wukong_uid, b->wukong_uid);
    same_text(a->request_id, b->request_id);
    same_text(a->owed, b->owed);
    assert_true(a->generation == b->generation);
    assert_int_equal(a->action, b->action);
    assert_int_equal(a->target, b->target);
    assert_int_equal(a->fallback, b->fallback);
    assert_int_equal(a->origin, b->origin);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->attempt, b->attempt);
    assert_int_equal(a->step, WK_STEP_NONE);
    assert_true(a->accepted_at_us == b->accepted_at_us && a->deadline_at_us == b->deadline_at_us);
    assert_true(a->started_at_us == b->started_at_us && a->finished_at_us == b->finished_at_us);
}

void
fixture_expect_row(WkLedger *ledger, const WkRecord *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(WkRecord) found = wk_ledger_get(ledger, expected->source, expected->uuid, &error);

    fixture_no_error(&error);
    assert_non_null(found);
    fixture_same_record(found, expected);
}

void
fixture_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

void
fixture_hold_database(const char *path, int report)
{
    sqlite3 *db = NULL;

    if (sqlite3_open(path, &db) != SQLITE_OK
        || sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK
        || write(report, "x", 1) != 1)
        return;
    for (;;)
        pause();
}
