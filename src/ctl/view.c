/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/view.h"

#include "base/json.h"
#include "base/names.h"
#include "base/units.h"
#include "ctl/guests.h"

#include <string.h>

/* Which last action brings a guest into a state: only then is its time the state's. */
static const struct {
    const char *state;
    const char *action;
} brought_by[] = {
    { "Suspended", "suspend" }, { "Suspending", "suspend" }, { "Running", "resume" },
    { "Resuming", "resume" },   { "Stopped", "discard" },    { "Stopped", "suspend" },
};

const char *
wk_ctl_view_since(JsonObject *guest)
{
    const char *state = wk_json_get_string(guest, "state");
    const char *action = wk_json_get_string(guest, "lastAction");
    const char *saved = wk_json_get_string(guest, "savedAt");

    if (g_strcmp0(state, "Suspended") == 0 && saved != NULL)
        return saved;
    for (gsize i = 0; i < G_N_ELEMENTS(brought_by); i++) {
        if (g_strcmp0(brought_by[i].state, state) == 0
            && g_strcmp0(brought_by[i].action, action) == 0)
            return wk_json_get_string(guest, "lastActionTime");
    }
    return NULL;
}

char *
wk_ctl_view_size(gint64 bytes)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) words = NULL;

    if (bytes <= 0)
        return NULL;
    text = wk_units_format_bytes((guint64)bytes);
    words = g_strsplit(text, " ", -1);
    /* One word, so that columns can be cut at blanks. */
    return g_strjoinv("", words);
}

/* The message, or the reason where there is none; the progress stands before it. */
static char *
message_of(JsonObject *guest)
{
    const char *message = wk_json_get_string(guest, "message");
    const gint64 percent = wk_json_get_int(guest, "progressPercent", -1);
    const char *text =
        message != NULL && *message != '\0' ? message : wk_json_get_string(guest, "reason");

    if (percent < 0 || percent >= 100)
        return g_strdup(text);
    return g_strdup_printf("%d%%%s%s", (int)percent, text != NULL ? " " : "",
                           text != NULL ? text : "");
}

void
wk_ctl_view_add_row(WkCtlTable *table, GPtrArray *all, JsonObject *guest)
{
    g_autofree char *label = wk_ctl_guest_label(all, guest);
    g_autofree char *size = wk_ctl_view_size(wk_json_get_int(guest, "savedBytes", 0));
    g_autofree char *message = message_of(guest);
    const char *const cells[] = {
        label,   wk_json_get_string(guest, "state"), wk_json_get_string(guest, "target"),
        size,    wk_ctl_view_since(guest),           wk_json_get_string(guest, "origin"),
        message,
    };

    wk_ctl_table_add(table, cells);
}

/* Adds "Label: value", the label right-aligned; nothing without a value. */
static void
add_line(GString *text, const char *label, const char *value)
{
    g_autofree char *shown = NULL;

    if (value == NULL || *value == '\0')
        return;
    shown = wk_name_printable(value);
    g_string_append_printf(text, "%12s: %s\n", label, shown);
}

static void
add_state(GString *text, JsonObject *guest)
{
    g_autoptr(GString) line = g_string_new(wk_json_get_string(guest, "state"));
    const char *target = wk_json_get_string(guest, "target");
    const char *since = wk_ctl_view_since(guest);
    const gint64 percent = wk_json_get_int(guest, "progressPercent", -1);

    if (target != NULL)
        g_string_append_printf(line, " (%s)", target);
    if (percent >= 0 && percent < 100)
        g_string_append_printf(line, " %d%%", (int)percent);
    if (since != NULL)
        g_string_append_printf(line, " since %s", since);
    add_line(text, "State", line->str);
}

static void
add_saved(GString *text, JsonObject *guest)
{
    const gint64 bytes = wk_json_get_int(guest, "savedBytes", 0);
    const char *when = wk_json_get_string(guest, "savedAt");
    g_autofree char *size = wk_units_format_bytes((guint64)MAX(bytes, 0));
    g_autofree char *line = NULL;

    if (bytes <= 0)
        return;
    line = g_strdup_printf("%s%s%s", size, when != NULL ? ", " : "", when != NULL ? when : "");
    add_line(text, "Saved", line);
}

static void
add_restorable(GString *text, JsonObject *guest)
{
    JsonNode *node = json_object_get_member(guest, "restorable");

    if (node != NULL && JSON_NODE_HOLDS_VALUE(node)
        && json_node_get_value_type(node) == G_TYPE_BOOLEAN)
        add_line(text, "Restorable", json_node_get_boolean(node) ? "yes" : "no");
}

static void
add_action(GString *text, JsonObject *guest)
{
    const char *action = wk_json_get_string(guest, "lastAction");
    const char *when = wk_json_get_string(guest, "lastActionTime");
    g_autofree char *line = NULL;

    if (action == NULL)
        return;
    line = g_strdup_printf("%s%s%s", action, when != NULL ? ", " : "", when != NULL ? when : "");
    add_line(text, "Last action", line);
}

static void
add_operation(GString *text, JsonObject *guest, const WkCtlOperation *operation)
{
    g_autoptr(GString) line = g_string_new(NULL);
    g_autofree char *how = NULL;

    if (operation == NULL)
        return;
    how = operation->final ? wk_ctl_operation_outcome(operation)
                           : wk_ctl_operation_progress(operation);
    g_string_append_printf(line, "%s %s", operation->action != NULL ? operation->action : "work",
                           operation->state != NULL ? operation->state : "");
    /* The guest's message is often that of its last operation. */
    if (!operation->final || operation->message == NULL
        || g_strcmp0(operation->message, wk_json_get_string(guest, "message")) != 0)
        g_string_append_printf(line, ": %s", how);
    add_line(text, "Operation", line->str);
}

char *
wk_ctl_view_block(GPtrArray *all, JsonObject *guest, const WkCtlOperation *operation)
{
    GString *text = g_string_new(NULL);
    g_autofree char *label = wk_ctl_guest_label(all, guest);
    const gint64 memory = wk_json_get_int(guest, "memoryBytes", 0);
    g_autofree char *size = wk_units_format_bytes((guint64)MAX(memory, 0));

    g_string_append_printf(text, "%s\n", label);
    add_state(text, guest);
    add_line(text, "Reason", wk_json_get_string(guest, "reason"));
    add_line(text, "Message", wk_json_get_string(guest, "message"));
    add_saved(text, guest);
    add_restorable(text, guest);
    add_line(text, "Origin", wk_json_get_string(guest, "origin"));
    add_action(text, guest);
    add_operation(text, guest, operation);
    add_line(text, "Memory", memory > 0 ? size : NULL);
    add_line(text, "Source", wk_json_get_string(guest, "source"));
    add_line(text, "Id", wk_json_get_string(guest, "id"));
    return g_string_free(text, FALSE);
}

char *
wk_ctl_view_line(JsonObject *guest)
{
    g_autoptr(GString) line = g_string_new(wk_json_get_string(guest, "state"));
    const char *target = wk_json_get_string(guest, "target");
    g_autofree char *message = message_of(guest);

    if (target != NULL)
        g_string_append_printf(line, " (%s)", target);
    if (message != NULL)
        g_string_append_printf(line, " %s", message);
    return wk_name_printable(line->str);
}
