/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/names.h"

#include <math.h>
#include <string.h>

#define DEPTH_MAX 64

#define UNIT_DIGITS      4 /* of \uXXXX: a unit of UTF-16 */
#define HIGH_SURROGATE   0xd800U
#define LOW_SURROGATE    0xdc00U
#define AFTER_SURROGATES 0xe000U
#define SURROGATE_BITS   0x3ffU

/*
 * json-glib takes more than JSON: comments, single quotes, octal, assignments, several values; and
 * numbers that do not fit come out as others (-99999999999999999999 as 1). It also recurses
 * without a limit of its own. So the words of a text are checked before it sees them; how they
 * stand together is json-glib's to say. Each of these steps over one word and returns where it
 * ends, or NULL with @complaint set.
 */
static const char bad_json[] = "not valid JSON";
static const char out_of_range[] = "a number in the JSON is out of range";

/* Returns: what the four digits at @p stand for; 0: they are none, or NUL, which would end the
 * string for whoever reads it. */
static guint
read_unit(const char *p, const char *end)
{
    guint unit = 0;

    for (int i = 0; i < UNIT_DIGITS; i++) {
        if (p + i >= end || !g_ascii_isxdigit(p[i]))
            return 0;
        unit = unit * 16 + (guint)g_ascii_xdigit_value(p[i]);
    }
    return unit;
}

/* @p is at the u of an escape. Returns: its last character. Half of a surrogate pair is no letter:
 * json-glib would take the next character, the end of the string too, for the other half. */
static const char *
skip_unit(const char *p, const char *end)
{
    const guint unit = read_unit(p + 1, end);

    if (unit == 0 || (unit >= LOW_SURROGATE && unit < AFTER_SURROGATES))
        return NULL;
    p += UNIT_DIGITS;
    if (unit < HIGH_SURROGATE || unit >= AFTER_SURROGATES)
        return p;
    if (p + 2 >= end || p[1] != '\\' || p[2] != 'u')
        return NULL;
    p += 2;
    return (read_unit(p + 1, end) & ~SURROGATE_BITS) == LOW_SURROGATE ? p + UNIT_DIGITS : NULL;
}

static const char *
skip_string(const char *p, const char *end)
{
    for (p++; p < end && (guchar)*p >= ' '; p++) {
        if (*p == '"')
            return p + 1;
        if (*p != '\\')
            continue;
        if (++p == end || *p == '\0' || strchr("\"\\/bfnrtu", *p) == NULL)
            return NULL;
        if (*p == 'u' && (p = skip_unit(p, end)) == NULL)
            return NULL;
    }
    return NULL;
}

static gsize
count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

static const char *
check_number(const char *word)
{
    const char *p = word + (*word == '-' ? 1 : 0);
    const gsize whole = count_digits(p);

    if (whole == 0 || (whole > 1 && *p == '0'))
        return bad_json;
    p += whole;
    if (*p == '\0')
        return g_ascii_string_to_signed(word, 10, G_MININT64, G_MAXINT64, NULL, NULL)
                   ? NULL
                   : out_of_range;
    if (*p == '.') {
        if (count_digits(p + 1) == 0)
            return bad_json;
        p += 1 + count_digits(p + 1);
    }
    if (*p == 'e' || *p == 'E') {
        p += p[1] == '+' || p[1] == '-' ? 2 : 1;
        if (count_digits(p) == 0)
            return bad_json;
        p += count_digits(p);
    }
    if (*p != '\0')
        return bad_json;
    return isfinite(g_ascii_strtod(word, NULL)) ? NULL : out_of_range;
}

static const char *
skip_bare_word(const char *p, const char *end, const char **complaint)
{
    const char *start = p;
    g_autofree char *word = NULL;

    while (p < end && (g_ascii_isalnum(*p) || *p == '-' || *p == '+' || *p == '.'))
        p++;
    word = g_strndup(start, (gsize)(p - start));
    if (g_str_equal(word, "true") || g_str_equal(word, "false") || g_str_equal(word, "null"))
        return p;
    *complaint = check_number(word);
    return *complaint == NULL ? p : NULL;
}

static const char *
skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* Returns: what is wrong with a text, or NULL when it is json-glib's turn. */
static const char *
check_words(const char *p, const char *end)
{
    const char *complaint = bad_json;
    guint depth = 0;

    p = skip_blanks(p, end);
    if (p == end || *p != '{')
        return "expected a JSON object";
    while (p != NULL && p < end) {
        if (*p == '{' || *p == '[') {
            if (++depth > DEPTH_MAX)
                return "JSON is nested deeper than " G_STRINGIFY(DEPTH_MAX);
            p++;
        } else if (*p == '}' || *p == ']') {
            p++;
            if (--depth == 0) /* only blanks may follow */
                return skip_blanks(p, end) == end ? NULL : bad_json;
        } else if (*p == ':' || *p == ',') {
            p++;
        } else {
            p = *p == '"' ? skip_string(p, end) : skip_bare_word(p, end, &complaint);
        }
        p = p != NULL ? skip_blanks(p, end) : NULL;
    }
    return complaint != NULL ? complaint : bad_json;
}

JsonObject *
wk_json_parse(const char *text, gssize length, gsize max_bytes, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new_immutable();
    g_autoptr(GError) local = NULL;
    const char *complaint;
    JsonNode *root;

    if (length < 0)
        length = (gssize)strlen(text);
    if ((gsize)length > max_bytes) {
        wk_error_set(error, WK_ERROR_INVALID, NULL,
                     "JSON text of %" G_GSSIZE_FORMAT
                     " bytes is over the limit of %" G_GSIZE_FORMAT,
                     length, max_bytes);
        return NULL;
    }
    complaint = check_words(text, text + length);
    if (complaint != NULL) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "%s", complaint);
        return NULL;
    }
    if (!json_parser_load_from_data(parser, text, length, &local)) {
        g_autofree char *shown =
            wk_name_printable(local->message); /* quotes the text, cut anywhere */

        wk_error_set(error, WK_ERROR_INVALID, NULL, "not valid JSON: %s", shown);
        return NULL;
    }
    root = json_parser_get_root(parser);
    if (root == NULL || !JSON_NODE_HOLDS_OBJECT(root)) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "expected a JSON object");
        return NULL;
    }
    return json_object_ref(json_node_get_object(root));
}

/* Returns: the value node of @member, or NULL: absent or null, or wrong with @error set. */
static JsonNode *
value_node(JsonObject *object, const char *member, GType type, const char *expected, GError **error)
{
    JsonNode *node = json_object_get_member(object, member);

    if (node == NULL || JSON_NODE_HOLDS_NULL(node))
        return NULL;
    if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == type)
        return node;
    wk_error_set(error, WK_ERROR_INVALID, NULL, "'%s': expected %s, got %s", member, expected,
                 json_node_type_name(node));
    return NULL;
}

gboolean
wk_json_opt_string(JsonObject *object, const char *member, const char **value, GError **error)
{
    g_autoptr(GError) local = NULL;
    JsonNode *node = value_node(object, member, G_TYPE_STRING, "a string", &local);

    if (local != NULL) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (node != NULL)
        *value = json_node_get_string(node);
    return TRUE;
}

gboolean
wk_json_need_string(JsonObject *object, const char *member, const char **value, GError **error)
{
    const char *text = NULL;

    if (!wk_json_opt_string(object, member, &text, error))
        return FALSE;
    if (text == NULL || *text == '\0') {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "'%s': a string is needed", member);
        return FALSE;
    }
    *value = text;
    return TRUE;
}

gboolean
wk_json_opt_int(JsonObject *object, const char *member, gint64 min, gint64 max, gint64 *value,
                GError **error)
{
    g_autoptr(GError) local = NULL;
    JsonNode *node = value_node(object, member, G_TYPE_INT64, "a whole number", &local);
    gint64 number;

    if (local != NULL) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (node == NULL)
        return TRUE;
    number = json_node_get_int(node);
    if (number < min || number > max) {
        wk_error_set(error, WK_ERROR_INVALID, NULL,
                     "'%s': %" G_GINT64_FORMAT " is not between %" G_GINT64_FORMAT
                     " and %" G_GINT64_FORMAT,
                     member, number, min, max);
        return FALSE;
    }
    *value = number;
    return TRUE;
}

gboolean
wk_json_opt_bool(JsonObject *object, const char *member, gboolean *value, GError **error)
{
    g_autoptr(GError) local = NULL;
    JsonNode *node = value_node(object, member, G_TYPE_BOOLEAN, "true or false", &local);

    if (local != NULL) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (node != NULL)
        *value = json_node_get_boolean(node);
    return TRUE;
}

gboolean
wk_json_only(JsonObject *object, const char *const *known, GError **error)
{
    JsonObjectIter iter;
    const char *member;

    json_object_iter_init(&iter, object);
    while (json_object_iter_next(&iter, &member, NULL)) {
        g_autofree char *shown = NULL;

        if (g_strv_contains(known, member))
            continue;
        shown = wk_name_printable(member);
        wk_error_set(error, WK_ERROR_INVALID, NULL, "member '%s' is not known", shown);
        return FALSE;
    }
    return TRUE;
}

static JsonNode *
node_of(JsonObject *object, const char *member)
{
    return object != NULL ? json_object_get_member(object, member) : NULL;
}

const char *
wk_json_get_string(JsonObject *object, const char *member)
{
    JsonNode *node = node_of(object, member);

    if (node == NULL || !JSON_NODE_HOLDS_VALUE(node)
        || json_node_get_value_type(node) != G_TYPE_STRING)
        return NULL;
    return json_node_get_string(node);
}

gint64
wk_json_get_int(JsonObject *object, const char *member, gint64 fallback)
{
    JsonNode *node = node_of(object, member);

    if (node == NULL || !JSON_NODE_HOLDS_VALUE(node))
        return fallback;
    return json_node_get_value_type(node) == G_TYPE_INT64 ? json_node_get_int(node) : fallback;
}

JsonObject *
wk_json_get_object(JsonObject *object, const char *member)
{
    JsonNode *node = node_of(object, member);

    return node != NULL && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

JsonArray *
wk_json_get_array(JsonObject *object, const char *member)
{
    JsonNode *node = node_of(object, member);

    return node != NULL && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

void
wk_json_set_string(JsonObject *object, const char *member, const char *value)
{
    if (value != NULL && *value != '\0')
        json_object_set_string_member(object, member, value);
}

void
wk_json_set_int(JsonObject *object, const char *member, gint64 value)
{
    json_object_set_int_member(object, member, value);
}

void
wk_json_set_time(JsonObject *object, const char *member, gint64 real_us)
{
    g_autofree char *text = NULL;

    if (real_us <= 0)
        return;
    text = wk_clock_format(real_us);
    json_object_set_string_member(object, member, text);
}

char *
wk_json_to_text(JsonObject *object)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;
    g_auto(GStrv) parts = NULL;

    json_node_set_object(node, object);
    text = json_to_string(node, FALSE);
    /* json-glib 1.6 escapes every control character but this one */
    if (strchr(text, 0x1f) == NULL)
        return g_steal_pointer(&text);
    parts = g_strsplit(text, "\x1f", -1);
    return g_strjoinv("\\u001f", parts);
}
