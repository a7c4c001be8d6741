/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "base/names.h"
#include "ctl/guests.h"
#include "ctl/stream.h"
#include "ctl/view.h"

#include <stdio.h>

typedef struct {
    WkCtl *ctl;
    GPtrArray *guests; /* (element-type JsonObject): as last told */
    GHashTable *told;  /* (element-type utf8 utf8): id -> line shown before; until it is synced */
    gboolean synced;
} Watch;

static JsonObject *
find(Watch *self, const char *id, guint *index)
{
    for (guint i = 0; i < self->guests->len; i++) {
        JsonObject *guest = g_ptr_array_index(self->guests, i);

        if (g_strcmp0(wk_json_get_string(guest, "id"), id) != 0)
            continue;
        *index = i;
        return guest;
    }
    return NULL;
}

static void
print(Watch *self, JsonObject *guest, const char *line)
{
    g_autofree char *label = wk_ctl_guest_label(self->guests, guest);
    g_autofree char *word = wk_ctl_guest_word(self->guests, guest);

    if (self->ctl->format == WK_CTL_NAME)
        wk_ctl_out(self->ctl, "%s\n", word);
    else if (self->ctl->format == WK_CTL_TABLE)
        wk_ctl_out(self->ctl, "%s: %s\n", label, line);
}

/* Before all guests are told nobody knows which names are unique: they are printed together. */
static void
take_guest(Watch *self, JsonObject *guest)
{
    const char *id = wk_json_get_string(guest, "id");
    guint index = 0;
    JsonObject *known = find(self, id, &index);
    g_autofree char *line = wk_ctl_view_line(guest);
    g_autofree char *old = known != NULL ? wk_ctl_view_line(known) : NULL;

    if (id == NULL || wk_json_get_string(guest, "name") == NULL)
        return;
    if (known != NULL)
        g_ptr_array_remove_index(self->guests, index);
    g_ptr_array_add(self->guests, json_object_ref(guest));
    if (!self->synced)
        g_hash_table_insert(self->told, g_strdup(id), g_steal_pointer(&old));
    else if (g_strcmp0(line, old) != 0)
        print(self, guest, line);
}

static void
take_gone(Watch *self, const char *id)
{
    guint index = 0;
    JsonObject *guest = find(self, id, &index);

    if (guest == NULL)
        return;
    print(self, guest, "gone");
    g_ptr_array_remove_index(self->guests, index);
}

/* Guests that a new stream did not tell went away while there was none. */
static void
take_synced(Watch *self)
{
    for (guint i = self->guests->len; i-- > 0;) {
        const char *id = wk_json_get_string(g_ptr_array_index(self->guests, i), "id");

        if (!g_hash_table_contains(self->told, id))
            take_gone(self, id);
    }
    wk_ctl_sort_guests(self->guests);
    for (guint i = 0; i < self->guests->len; i++) {
        JsonObject *guest = g_ptr_array_index(self->guests, i);
        const char *old = g_hash_table_lookup(self->told, wk_json_get_string(guest, "id"));
        g_autofree char *line = wk_ctl_view_line(guest);

        if (g_strcmp0(line, old) != 0)
            print(self, guest, line);
    }
    self->synced = TRUE;
}

static void
on_begin(gpointer user_data)
{
    Watch *self = user_data;

    g_hash_table_remove_all(self->told);
    self->synced = FALSE;
}

static gboolean
on_event(JsonObject *event, gpointer user_data)
{
    Watch *self = user_data;
    const char *type = wk_json_get_string(event, "type");
    JsonObject *guest = wk_json_get_object(event, "guest");
    g_autofree char *json = NULL;

    if (self->ctl->format == WK_CTL_JSON) {
        json = wk_json_to_text(event);
        wk_ctl_out_json(self->ctl, json);
    }
    if (guest != NULL)
        take_guest(self, guest);
    else if (g_strcmp0(type, "gone") == 0)
        take_gone(self, wk_json_get_string(event, "id"));
    else if (g_strcmp0(type, "synced") == 0)
        take_synced(self);
    /* A reader that is gone ends the watch. */
    return fflush(stdout) == 0;
}

static int
run_watch(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    g_autoptr(GPtrArray) guests = NULL;
    g_autoptr(GHashTable) told = NULL;
    Watch watch = { .ctl = ctl };
    const WkCtlStream stream = { .func = on_event, .begin = on_begin, .user_data = &watch };

    if (!wk_ctl_parse(ctl, self, NULL, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    guests = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
    told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    watch.guests = guests;
    watch.told = told;
    wk_ctl_die_on_interrupt();
    (void)wk_ctl_stream_run(ctl, &stream, error);
    return WK_EXIT_DONE;
}

const WkCommand wk_cmd_watch = {
    .name = "watch",
    .summary = "Show every change until Ctrl-C",
    .run = run_watch,
};
