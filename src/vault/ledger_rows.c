/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "vault/ledger_private.h"

#include "base/error.h"
#include "model/claims.h"

#include <limits.h>

#define ID_MAX      64   /* UUIDs, boot ids, ids of operations */
#define NAME_MAX_   1024 /* of a domain or a source */
#define REASON_MAX  128
#define MESSAGE_MAX 2048
#define UID_MAX_    128   /* of a Kubernetes object */
#define OWED_MAX    16384 /* a spec.lifecycleAction */

/* Typed names of an enumeration as functions on int, which is what a column holds. */
#define DEFINE_NAMES(type, Type)                                                                   \
    static const char *type##_to_name(int value)                                                   \
    {                                                                                              \
        return wk_##type##_name((Type)value);                                                      \
    }                                                                                              \
    static gboolean type##_from_name(const char *name, int *value, GError **error)                 \
    {                                                                                              \
        Type parsed;                                                                               \
                                                                                                   \
        if (!wk_##type##_parse(name, &parsed, error))                                              \
            return FALSE;                                                                          \
        *value = (int)parsed;                                                                      \
        return TRUE;                                                                               \
    }                                                                                              \
    static const WkColumnNames type##_names = { type##_to_name, type##_from_name };

DEFINE_NAMES(ledger_state, WkLedgerState)
DEFINE_NAMES(then, WkThen)
DEFINE_NAMES(want, WkWant)
DEFINE_NAMES(action, WkAction)
DEFINE_NAMES(origin, WkOrigin)
DEFINE_NAMES(target, WkTarget)
DEFINE_NAMES(fallback, WkFallback)
DEFINE_NAMES(op_state, WkOpState)

#define TEXT(name, Struct, member, max)                                                            \
    {                                                                                              \
        name, WK_COLUMN_TEXT, G_STRUCT_OFFSET(Struct, member), max, FALSE, FALSE, NULL             \
    }
#define KEY(name, Struct, member, max)                                                             \
    {                                                                                              \
        name, WK_COLUMN_TEXT, G_STRUCT_OFFSET(Struct, member), max, TRUE, FALSE, NULL              \
    }
#define WORDS(name, Struct, member)                                                                \
    {                                                                                              \
        name, WK_COLUMN_TEXT, G_STRUCT_OFFSET(Struct, member), MESSAGE_MAX, FALSE, TRUE, NULL      \
    }
#define PLAIN(name, Struct, member, kind)                                                          \
    {                                                                                              \
        name, kind, G_STRUCT_OFFSET(Struct, member), 0, FALSE, FALSE, NULL                         \
    }
#define ENUM(name, Struct, member, names)                                                          \
    {                                                                                              \
        name, WK_COLUMN_ENUM, G_STRUCT_OFFSET(Struct, member), 0, FALSE, FALSE, &names             \
    }

static const WkColumn guest_columns[] = {
    KEY("source", WkRecord, source, NAME_MAX_),
    KEY("uuid", WkRecord, uuid, ID_MAX),
    KEY("name", WkRecord, name, NAME_MAX_),
    ENUM("state", WkRecord, state, ledger_state_names),
    TEXT("op", WkRecord, op, ID_MAX),
    TEXT("boot_id", WkRecord, boot_id, ID_MAX),
    PLAIN("image_dev", WkRecord, seal.file.dev, WK_COLUMN_INT64),
    PLAIN("image_inode", WkRecord, seal.file.inode, WK_COLUMN_INT64),
    PLAIN("image_bytes", WkRecord, seal.file.size_bytes, WK_COLUMN_INT64),
    PLAIN("image_mtime_ns", WkRecord, seal.file.mtime_ns, WK_COLUMN_INT64),
    PLAIN("header_digest", WkRecord, seal.header_digest, WK_COLUMN_DIGEST),
    PLAIN("body_digest", WkRecord, seal.body_digest, WK_COLUMN_DIGEST),
    PLAIN("paused_by_us", WkRecord, paused_by_us, WK_COLUMN_BOOL),
    PLAIN("autostart", WkRecord, autostart, WK_COLUMN_BOOL),
    ENUM("then_do", WkRecord, then, then_names),
    ENUM("want", WkRecord, want, want_names),
    TEXT("reason", WkRecord, reason, REASON_MAX),
    WORDS("message", WkRecord, message),
    TEXT("save_path", WkRecord, save_path, PATH_MAX),
    PLAIN("saved_at_us", WkRecord, saved_at_us, WK_COLUMN_INT64),
    ENUM("last_action", WkRecord, last_action, action_names),
    PLAIN("last_action_at_us", WkRecord, last_action_at_us, WK_COLUMN_INT64),
    ENUM("origin", WkRecord, origin, origin_names),
    ENUM("paused_to", WkRecord, paused_to, target_names),
    PLAIN("stopped_by_fallback", WkRecord, stopped_by_fallback, WK_COLUMN_BOOL),
    PLAIN("verified_at_us", WkRecord, verified_at_us, WK_COLUMN_INT64),
    TEXT("told_of", WkRecord, told_of, ID_MAX),
    TEXT("vmi_uid", WkRecord, vmi_uid, UID_MAX_),
    TEXT("saved_vmi_uid", WkRecord, saved_vmi_uid, UID_MAX_),
    TEXT("staged_for", WkRecord, staged_for, UID_MAX_),
    TEXT("template_hash", WkRecord, template_hash, UID_MAX_),
    TEXT("claims", WkRecord, claims, WK_CLAIMS_TEXT_MAX),
    TEXT("pinned_wukong", WkRecord, pinned_wukong, NAME_MAX_),
    TEXT("pinned_uid", WkRecord, pinned_uid, UID_MAX_),
};

static const WkColumn operation_columns[] = {
    KEY("id", WkOperation, id, ID_MAX),
    KEY("source", WkOperation, source, NAME_MAX_),
    KEY("guest", WkOperation, guest, ID_MAX),
    KEY("name", WkOperation, name, NAME_MAX_),
    ENUM("action", WkOperation, action, action_names),
    ENUM("target", WkOperation, target, target_names),
    ENUM("fallback", WkOperation, fallback, fallback_names),
    ENUM("origin", WkOperation, origin, origin_names),
    ENUM("state", WkOperation, state, op_state_names),
    PLAIN("attempt", WkOperation, attempt, WK_COLUMN_UINT),
    PLAIN("accepted_at_us", WkOperation, accepted_at_us, WK_COLUMN_INT64),
    PLAIN("deadline_at_us", WkOperation, deadline_at_us, WK_COLUMN_INT64),
    PLAIN("started_at_us", WkOperation, started_at_us, WK_COLUMN_INT64),
    PLAIN("finished_at_us", WkOperation, finished_at_us, WK_COLUMN_INT64),
    TEXT("reason", WkOperation, reason, REASON_MAX),
    WORDS("message", WkOperation, message),
    TEXT("wukong_uid", WkOperation, wukong_uid, UID_MAX_),
    PLAIN("generation", WkOperation, generation, WK_COLUMN_INT64),
    TEXT("request_id", WkOperation, request_id, NAME_MAX_),
    TEXT("owed", WkOperation, owed, OWED_MAX),
};

static const WkColumn binding_columns[] = {
    KEY("uid", WkBinding, uid, UID_MAX_),
    KEY("namespace", WkBinding, ns, NAME_MAX_),
    KEY("name", WkBinding, name, NAME_MAX_),
    TEXT("source", WkBinding, source, NAME_MAX_),
    TEXT("guest", WkBinding, guest, ID_MAX),
    PLAIN("observed_generation", WkBinding, observed_generation, WK_COLUMN_INT64),
    TEXT("last_request_id", WkBinding, last_request_id, NAME_MAX_),
    ENUM("action", WkBinding, action, action_names),
    ENUM("result", WkBinding, result, op_state_names),
    TEXT("reason", WkBinding, reason, REASON_MAX),
    WORDS("message", WkBinding, message),
    PLAIN("ended_at_us", WkBinding, ended_at_us, WK_COLUMN_INT64),
    TEXT("owed", WkBinding, owed, OWED_MAX),
    PLAIN("deleted_at_us", WkBinding, deleted_at_us, WK_COLUMN_INT64),
};

static const WkColumn witness_columns[] = {
    KEY("path", WkWitness, path, PATH_MAX),
    PLAIN("partial", WkWitness, partial, WK_COLUMN_BOOL),
    PLAIN("dev", WkWitness, file.dev, WK_COLUMN_INT64),
    PLAIN("inode", WkWitness, file.inode, WK_COLUMN_INT64),
    PLAIN("size_bytes", WkWitness, file.size_bytes, WK_COLUMN_INT64),
    PLAIN("mtime_ns", WkWitness, file.mtime_ns, WK_COLUMN_INT64),
};

const WkTable wk_table_guests = { "guests", guest_columns, G_N_ELEMENTS(guest_columns) };
const WkTable wk_table_operations = { "operations", operation_columns,
                                      G_N_ELEMENTS(operation_columns) };
const WkTable wk_table_bindings = { "bindings", binding_columns, G_N_ELEMENTS(binding_columns) };
const WkTable wk_table_witnesses = { "witnesses", witness_columns, G_N_ELEMENTS(witness_columns) };

char *
wk_table_names(const WkTable *self)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < self->n_columns; i++)
        g_string_append_printf(text, "%s%s", i > 0 ? ", " : "", self->columns[i].name);
    return g_string_free(text, FALSE);
}

char *
wk_table_places(const WkTable *self, guint first)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < self->n_columns; i++)
        g_string_append_printf(text, "%s?%u", i > 0 ? ", " : "", first + i);
    return g_string_free(text, FALSE);
}

char *
wk_table_settings(const WkTable *self)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < self->n_columns; i++)
        g_string_append_printf(text, "%s%s = ?%u", i > 0 ? ", " : "", self->columns[i].name, i + 1);
    return g_string_free(text, FALSE);
}

static gboolean
fail_bind(const WkColumn *column, const char *complaint, GError **error)
{
    wk_error_set(error, WK_ERROR_INVALID, NULL, "ledger: '%s' %s", column->name, complaint);
    return FALSE;
}

/* How much of @text to keep: at most @max_bytes, and no half character. */
static gsize
cut_text(const char *text, gsize max_bytes)
{
    const char *last = g_utf8_find_prev_char(text, text + max_bytes + 1);

    return last != NULL ? (gsize)(last - text) : max_bytes;
}

static gboolean
bind_text(sqlite3_stmt *stmt, int place, const WkColumn *column, const char *text, GError **error)
{
    gsize length = text != NULL ? strlen(text) : 0;

    if (text == NULL && column->required)
        return fail_bind(column, "is missing", error);
    if (length > column->max_bytes && !column->cut)
        return fail_bind(column, "is too long", error);
    if (length > column->max_bytes)
        length = cut_text(text, column->max_bytes);
    return sqlite3_bind_text(stmt, place, text, (int)length, SQLITE_TRANSIENT) == SQLITE_OK
           || wk_ledger_fail(sqlite3_db_handle(stmt), column->name, error);
}

static gboolean
bind_enum(sqlite3_stmt *stmt, int place, const WkColumn *column, int value, GError **error)
{
    const char *name = column->names->to_name(value);

    if (g_str_equal(name, "?"))
        return fail_bind(column, "is outside its enumeration", error);
    return sqlite3_bind_text(stmt, place, name, -1, SQLITE_STATIC) == SQLITE_OK
           || wk_ledger_fail(sqlite3_db_handle(stmt), column->name, error);
}

static gboolean
bind_number(sqlite3_stmt *stmt, int place, const WkColumn *column, gint64 value, GError **error)
{
    return sqlite3_bind_int64(stmt, place, value) == SQLITE_OK
           || wk_ledger_fail(sqlite3_db_handle(stmt), column->name, error);
}

static gboolean
bind_column(sqlite3_stmt *stmt, int place, const WkColumn *column, gconstpointer row,
            GError **error)
{
    const void *member = G_STRUCT_MEMBER_P(row, column->offset);

    switch (column->kind) {
    case WK_COLUMN_TEXT:
        return bind_text(stmt, place, column, *(char *const *)member, error);
    case WK_COLUMN_INT64:
        return bind_number(stmt, place, column, *(const gint64 *)member, error);
    case WK_COLUMN_UINT:
        return bind_number(stmt, place, column, (gint64) * (const guint *)member, error);
    case WK_COLUMN_BOOL:
        return bind_number(stmt, place, column, *(const gboolean *)member != FALSE, error);
    case WK_COLUMN_ENUM:
        return bind_enum(stmt, place, column, *(const int *)member, error);
    case WK_COLUMN_DIGEST:
    default:
        return sqlite3_bind_text(stmt, place, member, -1, SQLITE_TRANSIENT) == SQLITE_OK
               || wk_ledger_fail(sqlite3_db_handle(stmt), column->name, error);
    }
}

gboolean
wk_row_bind(sqlite3_stmt *stmt, guint first, const WkTable *table, gconstpointer row,
            GError **error)
{
    for (guint i = 0; i < table->n_columns; i++) {
        if (!bind_column(stmt, (int)(first + i), &table->columns[i], row, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
fail_read(const WkColumn *column, const char *complaint, GError **error)
{
    wk_error_set(error, WK_ERROR_CORRUPT, "LedgerCorrupt", "column '%s' %s", column->name,
                 complaint);
    return FALSE;
}

/* @text points into the statement; NULL when the column is NULL and may be. */
static gboolean
read_text(sqlite3_stmt *stmt, int place, const WkColumn *column, gsize max_bytes, gboolean required,
          const char **text, GError **error)
{
    const int type = sqlite3_column_type(stmt, place);
    gsize length;

    *text = NULL;
    if (type == SQLITE_NULL && !required)
        return TRUE;
    if (type != SQLITE_TEXT)
        return fail_read(column, "holds no text", error);
    *text = (const char *)sqlite3_column_text(stmt, place);
    if (*text == NULL)
        return wk_ledger_fail(sqlite3_db_handle(stmt), column->name, error);
    length = (gsize)sqlite3_column_bytes(stmt, place);
    if (length > max_bytes || strlen(*text) != length)
        return fail_read(column, "is too long, or holds a NUL", error);
    return TRUE;
}

static gboolean
read_string(sqlite3_stmt *stmt, int place, const WkColumn *column, char **member, GError **error)
{
    const char *text;

    if (!read_text(stmt, place, column, column->max_bytes, column->required, &text, error))
        return FALSE;
    g_free(*member);
    *member = g_strdup(text);
    return TRUE;
}

static gboolean
read_number(sqlite3_stmt *stmt, int place, const WkColumn *column, gint64 min, gint64 max,
            gint64 *value, GError **error)
{
    if (sqlite3_column_type(stmt, place) != SQLITE_INTEGER)
        return fail_read(column, "holds no whole number", error);
    *value = sqlite3_column_int64(stmt, place);
    return (*value >= min && *value <= max) || fail_read(column, "is out of range", error);
}

static gboolean
read_digest(sqlite3_stmt *stmt, int place, const WkColumn *column, char *member, GError **error)
{
    const char *text;

    if (!read_text(stmt, place, column, WK_DIGEST_LENGTH, TRUE, &text, error))
        return FALSE;
    if (*text != '\0'
        && (strlen(text) != WK_DIGEST_LENGTH
            || strspn(text, "0123456789abcdef") != WK_DIGEST_LENGTH))
        return fail_read(column, "holds no digest", error);
    g_strlcpy(member, text, WK_DIGEST_LENGTH + 1);
    return TRUE;
}

static gboolean
read_enum(sqlite3_stmt *stmt, int place, const WkColumn *column, int *member, GError **error)
{
    g_autoptr(GError) complaint = NULL;
    const char *text;

    if (!read_text(stmt, place, column, ID_MAX, TRUE, &text, error))
        return FALSE;
    if (*text == '\0' && *column->names->to_name(0) == '\0') {
        *member = 0; /* the *_NONE of some is "" */
        return TRUE;
    }
    return column->names->from_name(text, member, &complaint)
           || fail_read(column, complaint->message, error);
}

static gboolean
read_column(sqlite3_stmt *stmt, int place, const WkColumn *column, gpointer row, GError **error)
{
    void *member = G_STRUCT_MEMBER_P(row, column->offset);
    gint64 value;

    switch (column->kind) {
    case WK_COLUMN_TEXT:
        return read_string(stmt, place, column, member, error);
    case WK_COLUMN_INT64:
        return read_number(stmt, place, column, G_MININT64, G_MAXINT64, member, error);
    case WK_COLUMN_UINT:
        if (!read_number(stmt, place, column, 0, G_MAXUINT, &value, error))
            return FALSE;
        *(guint *)member = (guint)value;
        return TRUE;
    case WK_COLUMN_BOOL:
        if (!read_number(stmt, place, column, 0, 1, &value, error))
            return FALSE;
        *(gboolean *)member = value != 0;
        return TRUE;
    case WK_COLUMN_ENUM:
        return read_enum(stmt, place, column, member, error);
    case WK_COLUMN_DIGEST:
    default:
        return read_digest(stmt, place, column, member, error);
    }
}

gboolean
wk_row_read(sqlite3_stmt *stmt, const WkTable *table, gpointer row, GError **error)
{
    for (guint i = 0; i < table->n_columns; i++) {
        if (!read_column(stmt, (int)i, &table->columns[i], row, error))
            return FALSE;
    }
    return TRUE;
}
