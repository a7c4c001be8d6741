/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "base/names.h"
#include "ctl/guests.h"
#include "ctl/view.h"

#include <string.h>

#define BOOT_SHOWN 8 /* characters of a boot id */

static gboolean
is_orphan(JsonObject *image)
{
    JsonNode *node = json_object_get_member(image, "orphan");

    return node != NULL && JSON_NODE_HOLDS_VALUE(node)
           && json_node_get_value_type(node) == G_TYPE_BOOLEAN && json_node_get_boolean(node);
}

/* When it was last read through; "sealed" when only its save did; why it is held; or nothing. */
static const char *
verified_text(JsonObject *image)
{
    const char *reason = wk_json_get_string(image, "reason");

    if (reason != NULL && *reason != '\0')
        return reason;
    if (g_strcmp0(wk_json_get_string(image, "state"), "quarantined") == 0)
        return "held";
    if (wk_json_get_string(image, "verified") != NULL)
        return wk_json_get_string(image, "verified");
    return wk_json_get_string(image, "digest") != NULL ? "sealed" : NULL;
}

static void
add_row(WkCtlTable *table, JsonObject *image)
{
    const char *boot = wk_json_get_string(image, "bootId");
    const char *disks = wk_json_get_string(image, "disksVerified");
    g_autofree char *size = wk_ctl_view_size(wk_json_get_int(image, "sizeBytes", 0));
    g_autofree char *id = boot != NULL ? g_strndup(boot, BOOT_SHOWN) : NULL;
    g_autofree char *note = g_strconcat(
        disks != NULL ? disks : "-", is_orphan(image) ? " (orphan: its guest is gone)" : "", NULL);
    const char *const cells[] = {
        wk_json_get_string(image, "guest"),
        size,
        wk_json_get_string(image, "savedAt"),
        id,
        verified_text(image),
        note,
    };

    wk_ctl_table_add(table, cells);
}

static void
print_table(const WkCtl *ctl, GPtrArray *images)
{
    static const char *const headers[] = { "GUEST",    "SIZE",  "WHEN", "BOOT",
                                           "VERIFIED", "DISKS", NULL };
    g_autoptr(WkCtlTable) table = wk_ctl_table_new(headers);
    g_autofree char *text = NULL;

    for (guint i = 0; i < images->len; i++)
        add_row(table, g_ptr_array_index(images, i));
    text = wk_ctl_table_format(table);
    wk_ctl_out(ctl, "%s", text);
}

static int
compare(gconstpointer a, gconstpointer b)
{
    return strcmp(wk_json_get_string(*(JsonObject *const *)a, "guest"),
                  wk_json_get_string(*(JsonObject *const *)b, "guest"));
}

static GPtrArray *
fetch(WkCtl *ctl, gboolean orphans_only, GError **error)
{
    g_autoptr(JsonArray) items = wukong_client_list_images(ctl->client, NULL, error);
    GPtrArray *images;

    if (items == NULL)
        return NULL;
    images = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
    for (guint i = 0; i < json_array_get_length(items); i++) {
        JsonObject *image = json_array_get_object_element(items, i);

        if (!orphans_only || is_orphan(image))
            g_ptr_array_add(images, json_object_ref(image));
    }
    g_ptr_array_sort(images, compare);
    return images;
}

/* Images are named by their guests' words; an orphan has no guest any more, only an id. */
static int
print_names(WkCtl *ctl, GPtrArray *images, GError **error)
{
    g_autoptr(GPtrArray) guests = wk_ctl_fetch_guests(ctl, error);

    if (guests == NULL)
        return WK_EXIT_FAILED;
    for (guint i = 0; i < images->len; i++) {
        const char *id = wk_json_get_string(g_ptr_array_index(images, i), "id");
        JsonObject *guest = wk_ctl_choose_one(guests, id, NULL);
        g_autofree char *word = guest != NULL ? wk_ctl_guest_word(guests, guest) : g_strdup(id);
        g_autofree char *shown = wk_name_printable(word);

        wk_ctl_out(ctl, "%s\n", shown);
    }
    return WK_EXIT_DONE;
}

static int
print_json(WkCtl *ctl, GPtrArray *images, gboolean orphans_only, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GString) list = g_string_new("{\"items\":[");

    if (!orphans_only) {
        text = wukong_client_get_text(ctl->client, "/v1/images", NULL, error);
        if (text != NULL)
            wk_ctl_out_json(ctl, text);
        return WK_EXIT_DONE;
    }
    for (guint i = 0; i < images->len; i++) {
        g_autofree char *item = wk_json_to_text(g_ptr_array_index(images, i));

        g_string_append_printf(list, "%s%s", i > 0 ? "," : "", item);
    }
    g_string_append(list, "]}");
    wk_ctl_out_json(ctl, list->str);
    return WK_EXIT_DONE;
}

static int
run_images(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    g_autoptr(GPtrArray) images = NULL;
    gboolean orphans = FALSE;
    const GOptionEntry entries[] = {
        { "orphans", 0, 0, G_OPTION_ARG_NONE, &orphans, "Only those whose guest is gone", NULL },
        G_OPTION_ENTRY_NULL,
    };

    if (!wk_ctl_parse(ctl, self, entries, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    images = fetch(ctl, orphans, error);
    if (images == NULL)
        return WK_EXIT_FAILED;
    if (ctl->format == WK_CTL_JSON)
        return print_json(ctl, images, orphans, error);
    if (ctl->format == WK_CTL_NAME)
        return print_names(ctl, images, error);
    print_table(ctl, images);
    return WK_EXIT_DONE;
}

const WkCommand wk_cmd_images = {
    .name = "images",
    .summary = "Show saved images",
    .run = run_images,
};
