/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/canonical.h"

#include "base/names.h"

#include <math.h>
#include <string.h>

#define DIGITS_MAX  17 /* tell any two doubles apart */
#define NUMBER_SIZE 64

static void append_node(GString *out, JsonNode *node);

/* As Go does: what could end a script or a line of one is escaped as well. */
static void
append_character(GString *out, gunichar c)
{
    static const char *const shorts[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n",  ['\f'] = "\\f",
        ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\",
    };

    if (c < G_N_ELEMENTS(shorts) && shorts[c] != NULL)
        g_string_append(out, shorts[c]);
    else if (c < ' ' || c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029)
        g_string_append_printf(out, "\\u%04x", c);
    else
        g_string_append_unichar(out, c);
}

static void
append_string(GString *out, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    g_string_append_c(out, '"');
    for (const char *p = valid; *p != '\0'; p = g_utf8_next_char(p))
        append_character(out, g_utf8_get_char(p));
    g_string_append_c(out, '"');
}

/* Plain digits from 1e-6 up to 1e21, as Go does; else with an exponent of at least one digit. */
static void
format_double(char *text, double value, int digits)
{
    char format[16];
    const double size = fabs(value);
    const gboolean plain = size == 0 || (size >= 1e-6 && size < 1e21);
    const int places = digits - 1 - (plain && size > 0 ? (int)floor(log10(size)) : 0);

    g_snprintf(format, sizeof format, plain ? "%%.%df" : "%%.%de", MAX(places, 0));
    g_ascii_formatd(text, NUMBER_SIZE, format, value);
    if (!plain && strlen(text) > 2 && text[strlen(text) - 2] == '0'
        && text[strlen(text) - 3] == '-') {
        text[strlen(text) - 2] = text[strlen(text) - 1];
        text[strlen(text) - 1] = '\0';
    }
}

/* The shortest text that is read as the same number. */
static void
append_double(GString *out, double value)
{
    char text[NUMBER_SIZE] = "0";

    for (int digits = 1; isfinite(value) && digits <= DIGITS_MAX; digits++) {
        format_double(text, value, digits);
        if (g_ascii_strtod(text, NULL) == value)
            break;
    }
    g_string_append(out, text);
}

static void
append_value(GString *out, JsonNode *node)
{
    const GType type = json_node_get_value_type(node);

    if (type == G_TYPE_STRING)
        append_string(out, json_node_get_string(node));
    else if (type == G_TYPE_BOOLEAN)
        g_string_append(out, json_node_get_boolean(node) ? "true" : "false");
    else if (type == G_TYPE_DOUBLE)
        append_double(out, json_node_get_double(node));
    else
        g_string_append_printf(out, "%" G_GINT64_FORMAT, json_node_get_int(node));
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(a, b);
}

static void
append_object(GString *out, JsonObject *object)
{
    g_autoptr(GList) members = g_list_sort(json_object_get_members(object), compare_names);

    g_string_append_c(out, '{');
    for (GList *at = members; at != NULL; at = at->next) {
        if (at != members)
            g_string_append_c(out, ',');
        append_string(out, at->data);
        g_string_append_c(out, ':');
        append_node(out, json_object_get_member(object, at->data));
    }
    g_string_append_c(out, '}');
}

static void
append_array(GString *out, JsonArray *array)
{
    g_string_append_c(out, '[');
    for (guint i = 0; i < json_array_get_length(array); i++) {
        if (i > 0)
            g_string_append_c(out, ',');
        append_node(out, json_array_get_element(array, i));
    }
    g_string_append_c(out, ']');
}

static void
append_node(GString *out, JsonNode *node)
{
    switch (json_node_get_node_type(node)) {
    case JSON_NODE_OBJECT:
        append_object(out, json_node_get_object(node));
        return;
    case JSON_NODE_ARRAY:
        append_array(out, json_node_get_array(node));
        return;
    case JSON_NODE_VALUE:
        append_value(out, node);
        return;
    case JSON_NODE_NULL:
    default:
        g_string_append(out, "null");
    }
}

char *
wk_canonical_text(JsonNode *node)
{
    GString *out = g_string_new(NULL);

    append_node(out, node);
    return g_string_free(out, FALSE);
}

char *
wk_canonical_object(JsonObject *object)
{
    GString *out = g_string_new(NULL);

    append_object(out, object);
    return g_string_free(out, FALSE);
}

char *
wk_bounded_text(const char *text, gsize max_bytes)
{
    /* An escape is longer than what it stands for: more than this is never needed. */
    g_autofree char *head = text != NULL ? g_strndup(text, max_bytes + 1) : NULL;
    g_autofree char *shown = wk_name_printable(head);
    const char *end = shown;

    if (strlen(shown) <= max_bytes)
        return g_steal_pointer(&shown);
    while (g_utf8_next_char(end) - shown <= (gssize)max_bytes - 3)
        end = g_utf8_next_char(end);
    return g_strdup_printf("%.*s...", (int)(end - shown), shown);
}
