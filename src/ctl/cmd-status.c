/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "ctl/guests.h"
#include "ctl/view.h"

#include <string.h>

/* The operation in flight on @guest, or the last one of @operations. Returns: (nullable). */
static WkCtlOperation *
last_operation(JsonArray *operations, JsonObject *guest)
{
    const char *id = wk_json_get_string(guest, "id");
    const char *current = wk_json_get_string(guest, "operation");
    const char *latest = "";
    JsonObject *best = NULL;

    for (guint i = 0; operations != NULL && i < json_array_get_length(operations); i++) {
        JsonObject *operation = json_array_get_object_element(operations, i);
        const char *accepted = wk_json_get_string(operation, "acceptedAt");

        if (g_strcmp0(wk_json_get_string(operation, "guest"), id) != 0)
            continue;
        if (current != NULL && g_strcmp0(wk_json_get_string(operation, "id"), current) == 0)
            return wk_ctl_operation_new(operation);
        if (accepted == NULL)
            accepted = "";
        if (strcmp(accepted, latest) >= 0) {
            latest = accepted;
            best = operation;
        }
    }
    return best != NULL ? wk_ctl_operation_new(best) : NULL;
}

static int
print_missing(const WkCtlChoice *choice)
{
    int status = WK_EXIT_DONE;

    for (guint i = 0; i < choice->missing->len; i++) {
        const GError *error = g_ptr_array_index(choice->missing, i);

        wk_ctl_error("%s", error->message);
        status = WK_EXIT_NO_GUEST;
    }
    return status;
}

static void
print_blocks(WkCtl *ctl, GPtrArray *all, GPtrArray *guests)
{
    /* Without operations the guest's own fields still tell what is true. */
    g_autoptr(JsonArray) operations = wukong_client_list_operations(ctl->client, NULL, NULL);

    for (guint i = 0; i < guests->len; i++) {
        JsonObject *guest = g_ptr_array_index(guests, i);
        g_autoptr(WkCtlOperation) operation = last_operation(operations, guest);
        g_autofree char *block = wk_ctl_view_block(all, guest, operation);

        wk_ctl_out(ctl, "%s%s", i > 0 ? "\n" : "", block);
    }
}

/* The body of GET /v1/guests/{id} for one guest, else a list of what was chosen. */
static int
print_json(WkCtl *ctl, const WkCtlChoice *choice, GError **error)
{
    g_autoptr(GString) list = g_string_new("{\"items\":[");

    for (guint i = 0; i < choice->guests->len; i++) {
        JsonObject *guest = g_ptr_array_index(choice->guests, i);
        g_autofree char *text = NULL;

        if (choice->single) {
            g_autofree char *path =
                g_strconcat("/v1/guests/", wk_json_get_string(guest, "id"), NULL);

            text = wukong_client_get_text(ctl->client, path, NULL, error);
            if (text != NULL)
                wk_ctl_out_json(ctl, text);
            return WK_EXIT_DONE;
        }
        text = wk_json_to_text(guest);
        g_string_append_printf(list, "%s%s", i > 0 ? "," : "", text);
    }
    g_string_append(list, "]}");
    if (!choice->single)
        wk_ctl_out_json(ctl, list->str);
    return WK_EXIT_DONE;
}

static int
run_status(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    g_autoptr(GPtrArray) all = NULL;
    g_autoptr(WkCtlChoice) choice = NULL;
    int status;

    if (!wk_ctl_parse(ctl, self, NULL, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    args.all = args.all || args.words[0] == NULL;
    all = wk_ctl_fetch_guests(ctl, error);
    choice = all != NULL ? wk_ctl_choose(all, &args, error) : NULL;
    if (choice == NULL)
        return WK_EXIT_FAILED;
    status = print_missing(choice);
    if (ctl->format == WK_CTL_JSON)
        return wk_ctl_status_merge(status, print_json(ctl, choice, error));
    if (ctl->format == WK_CTL_TABLE && choice->guests->len > 0)
        print_blocks(ctl, all, choice->guests);
    for (guint i = 0; ctl->format == WK_CTL_NAME && i < choice->guests->len; i++) {
        g_autofree char *word = wk_ctl_guest_word(all, g_ptr_array_index(choice->guests, i));

        wk_ctl_out(ctl, "%s\n", word);
    }
    return status;
}

const WkCommand wk_cmd_status = {
    .name = "status",
    .arguments = "[GUEST...]",
    .summary = "Show guests in detail",
    .max_words = -1,
    .with_all = TRUE,
    .run = run_status,
};
