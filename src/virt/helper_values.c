/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/helper_wire.h"

#include "base/error.h"
#include "base/json.h"
#include "base/names.h"

#include <string.h>

/* Far above what any guest has; what is more is somebody who wants our memory. */
#define ITEMS_MAX  512
#define STRING_MAX 4096
#define MEMORY_MAX (G_GINT64_CONSTANT(1) << 42) /* KiB */

/* An op that is not one of ours is only that: not ours. */
#define FOREIGN_OP "foreign"

static const char *const disk_kinds[] = {
    [WK_DISK_FILE] = "file",
    [WK_DISK_BLOCK] = "block",
    [WK_DISK_NETWORK] = "network",
};

/* @found (transfer full) is what the readers of base/json.h said, or NULL. */
static gboolean
reject(GError **error, const char *what, GError *found)
{
    g_autoptr(GError) cause = found;

    wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL,
                 "the launcher's helper answers nonsense: %s%s%s", what, cause != NULL ? ": " : "",
                 cause != NULL ? cause->message : "");
    return FALSE;
}

static gboolean
is_fit(const char *text)
{
    const gsize length = text != NULL ? strnlen(text, STRING_MAX + 1) : 0;

    for (gsize i = 0; i < length; i++) {
        if (g_ascii_iscntrl(text[i]))
            return FALSE;
    }
    return length <= STRING_MAX;
}

/* Reads a string that may be absent. */
static gboolean
read_string(JsonObject *object, const char *member, char **value, GError **error)
{
    const char *text = NULL;

    if (!wk_json_opt_string(object, member, &text, error))
        return FALSE;
    if (!is_fit(text)) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "'%s' is too long, or not printable", member);
        return FALSE;
    }
    *value = g_strdup(text);
    return TRUE;
}

static const char *
op_to_send(const char *op)
{
    return op == NULL || g_uuid_string_is_valid(op) ? op : FOREIGN_OP;
}

static gboolean
read_op(JsonObject *object, char **op, GError **error)
{
    const char *text = NULL;

    if (!wk_json_opt_string(object, "op", &text, error))
        return FALSE;
    if (text != NULL && !g_uuid_string_is_valid(text) && !g_str_equal(text, FOREIGN_OP)) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "'op' is none");
        return FALSE;
    }
    *op = g_strdup(text);
    return TRUE;
}

JsonObject *
wk_helper_write_look(const WkLook *look)
{
    JsonObject *result = json_object_new();

    wk_json_set_string(result, "power", wk_power_name(look->power));
    json_object_set_boolean_member(result, "job", look->job);
    json_object_set_boolean_member(result, "persistent", look->persistent);
    wk_json_set_string(result, "op", op_to_send(look->op));
    return result;
}

static gboolean
parse_power(const char *name, WkPower *power, GError **error)
{
    for (int i = WK_POWER_ABSENT; i <= WK_POWER_STOPPING; i++) {
        if (g_str_equal(name, wk_power_name((WkPower)i))) {
            *power = (WkPower)i;
            return TRUE;
        }
    }
    wk_error_set(error, WK_ERROR_INVALID, NULL, "'power' is none");
    return FALSE;
}

gboolean
wk_helper_read_look(JsonObject *result, WkLook *look, GError **error)
{
    static const char *const known[] = { "power", "job", "persistent", "op", NULL };
    g_auto(WkLook) seen = { 0 };
    GError *found = NULL;
    const char *power;

    if (!wk_json_only(result, known, &found)
        || !wk_json_need_string(result, "power", &power, &found)
        || !parse_power(power, &seen.power, &found)
        || !wk_json_opt_bool(result, "job", &seen.job, &found)
        || !wk_json_opt_bool(result, "persistent", &seen.persistent, &found)
        || !read_op(result, &seen.op, &found))
        return reject(error, "a look", found);
    wk_look_copy(&seen, look);
    return TRUE;
}

static JsonArray *
write_strings(const GPtrArray *strings)
{
    JsonArray *array = json_array_new();

    for (guint i = 0; i < strings->len; i++)
        json_array_add_string_element(array, g_ptr_array_index(strings, i));
    return array;
}

static JsonArray *
write_disks(const GPtrArray *disks)
{
    JsonArray *array = json_array_new();

    for (guint i = 0; i < disks->len; i++) {
        const WkDiskFact *disk = g_ptr_array_index(disks, i);
        JsonObject *object = json_object_new();

        wk_json_set_string(object, "kind", disk_kinds[disk->kind]);
        wk_json_set_string(object, "path", disk->path);
        wk_json_set_string(object, "target", disk->target);
        json_object_set_boolean_member(object, "readonly", disk->readonly);
        json_object_set_boolean_member(object, "transient", disk->transient);
        json_array_add_object_element(array, object);
    }
    return array;
}

JsonObject *
wk_helper_write_facts(const WkFacts *facts)
{
    JsonObject *result = json_object_new();

    wk_json_set_string(result, "uuid", facts->uuid);
    wk_json_set_string(result, "name", facts->name);
    json_object_set_int_member(result, "memoryKib", (gint64)MIN(facts->memory_kib, MEMORY_MAX));
    wk_json_set_string(result, "emulator", facts->emulator);
    wk_json_set_string(result, "machine", facts->machine);
    json_object_set_array_member(result, "disks", write_disks(facts->disks));
    json_object_set_array_member(result, "devices", write_strings(facts->devices));
    json_object_set_array_member(result, "shares", write_strings(facts->shares));
    return result;
}

/* Returns: (transfer none) (nullable): NULL with @error. */
static JsonArray *
need_array(JsonObject *object, const char *member, GError **error)
{
    JsonArray *array = wk_json_get_array(object, member);

    if (array != NULL && json_array_get_length(array) <= ITEMS_MAX)
        return array;
    wk_error_set(error, WK_ERROR_INVALID, NULL, "'%s' is no list, or too long", member);
    return NULL;
}

static gboolean
read_strings(JsonObject *object, const char *member, GPtrArray *strings, GError **error)
{
    JsonArray *array = need_array(object, member, error);

    for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
        JsonNode *node = json_array_get_element(array, i);
        const char *text =
            json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node) : NULL;

        if (text == NULL || !is_fit(text)) {
            wk_error_set(error, WK_ERROR_INVALID, NULL, "'%s' has no text that can be used",
                         member);
            return FALSE;
        }
        g_ptr_array_add(strings, g_strdup(text));
    }
    return array != NULL;
}

static gboolean
read_disk(JsonObject *object, WkFacts *facts, GError **error)
{
    static const char *const known[] = { "kind", "path", "target", "readonly", "transient", NULL };
    g_autofree char *path = NULL;
    g_autofree char *target = NULL;
    gboolean readonly = FALSE;
    gboolean transient = FALSE;
    const char *kind;
    int value;

    if (!wk_json_only(object, known, error) || !wk_json_need_string(object, "kind", &kind, error)
        || !wk_name_parse(disk_kinds, G_N_ELEMENTS(disk_kinds), "kind of disk", kind, &value, error)
        || !read_string(object, "path", &path, error)
        || !read_string(object, "target", &target, error)
        || !wk_json_opt_bool(object, "readonly", &readonly, error)
        || !wk_json_opt_bool(object, "transient", &transient, error))
        return FALSE;
    if ((value != WK_DISK_NETWORK && (path == NULL || *path != '/')) || target == NULL) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "a disk without a path or a target");
        return FALSE;
    }
    wk_facts_add_disk(facts, (WkDiskKind)value, path, target, readonly, transient);
    return TRUE;
}

static gboolean
read_disks(JsonObject *object, WkFacts *facts, GError **error)
{
    JsonArray *array = need_array(object, "disks", error);

    for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
        JsonNode *node = json_array_get_element(array, i);

        if (!JSON_NODE_HOLDS_OBJECT(node)) {
            wk_error_set(error, WK_ERROR_INVALID, NULL, "a disk that is none");
            return FALSE;
        }
        if (!read_disk(json_node_get_object(node), facts, error))
            return FALSE;
    }
    return array != NULL;
}

static gboolean
read_all_facts(JsonObject *object, WkFacts *facts, GError **error)
{
    static const char *const known[] = { "uuid",  "name",    "memoryKib", "emulator", "machine",
                                         "disks", "devices", "shares",    NULL };
    gint64 memory_kib = 0;

    if (!wk_json_only(object, known, error) || !read_string(object, "uuid", &facts->uuid, error)
        || !read_string(object, "name", &facts->name, error)
        || !wk_json_opt_int(object, "memoryKib", 0, MEMORY_MAX, &memory_kib, error)
        || !read_string(object, "emulator", &facts->emulator, error)
        || !read_string(object, "machine", &facts->machine, error)
        || !read_disks(object, facts, error)
        || !read_strings(object, "devices", facts->devices, error)
        || !read_strings(object, "shares", facts->shares, error))
        return FALSE;
    facts->memory_kib = (guint64)memory_kib;
    if (facts->uuid != NULL && g_uuid_string_is_valid(facts->uuid) && facts->name != NULL)
        return TRUE;
    wk_error_set(error, WK_ERROR_INVALID, NULL, "no UUID, or no name");
    return FALSE;
}

WkFacts *
wk_helper_read_facts(JsonObject *result, GError **error)
{
    g_autoptr(WkFacts) facts = wk_facts_new();
    GError *found = NULL;

    if (read_all_facts(result, facts, &found))
        return g_steal_pointer(&facts);
    (void)reject(error, "facts", found);
    return NULL;
}

JsonObject *
wk_helper_write_progress(guint64 done, guint64 total)
{
    JsonObject *result = json_object_new();

    json_object_set_int_member(result, "done", (gint64)MIN(done, G_MAXINT64));
    json_object_set_int_member(result, "total", (gint64)MIN(total, G_MAXINT64));
    return result;
}

gboolean
wk_helper_read_progress(JsonObject *result, guint64 *done, guint64 *total, GError **error)
{
    static const char *const known[] = { "done", "total", NULL };
    GError *found = NULL;
    gint64 part = 0;
    gint64 all = 0;

    if (!wk_json_only(result, known, &found)
        || !wk_json_opt_int(result, "total", 1, G_MAXINT64, &all, &found)
        || !wk_json_opt_int(result, "done", 0, all, &part, &found) || all == 0)
        return reject(error, "a progress", found);
    *done = (guint64)part;
    *total = (guint64)all;
    return TRUE;
}

JsonObject *
wk_helper_write_image(const char *op, const WkFacts *facts)
{
    JsonObject *result = json_object_new();

    wk_json_set_string(result, "op", op_to_send(op));
    json_object_set_object_member(result, "facts", wk_helper_write_facts(facts));
    return result;
}

gboolean
wk_helper_read_image(JsonObject *result, char **op, WkFacts **facts, GError **error)
{
    static const char *const known[] = { "op", "facts", NULL };
    JsonObject *object = wk_json_get_object(result, "facts");
    g_autofree char *seen_op = NULL;
    g_autoptr(WkFacts) seen = NULL;
    GError *found = NULL;

    if (object == NULL || !wk_json_only(result, known, &found)
        || !read_op(result, &seen_op, &found))
        return reject(error, "an image", found);
    seen = wk_helper_read_facts(object, error);
    if (seen == NULL)
        return FALSE;
    if (op != NULL)
        *op = g_steal_pointer(&seen_op);
    if (facts != NULL)
        *facts = g_steal_pointer(&seen);
    return TRUE;
}

JsonObject *
wk_helper_write_text(const char *text)
{
    JsonObject *result = json_object_new();

    wk_json_set_string(result, "text", text);
    return result;
}

char *
wk_helper_read_text(JsonObject *result, GError **error)
{
    static const char *const known[] = { "text", NULL };
    GError *found = NULL;
    const char *text;

    if (wk_json_only(result, known, &found) && wk_json_need_string(result, "text", &text, &found)
        && strlen(text) <= WK_HELPER_XML_MAX)
        return g_strdup(text);
    (void)reject(error, "a text", found);
    return NULL;
}
