/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "ctl/options.h"
#include "ctl/table.h"

static void
print_table(const WkCtl *ctl, JsonArray *items)
{
    static const char *const headers[] = { "CHECK", "LEVEL", "FOUND", "NEXT STEP", NULL };
    g_autoptr(WkCtlTable) table = wk_ctl_table_new(headers);
    g_autofree char *text = NULL;

    for (guint i = 0; items != NULL && i < json_array_get_length(items); i++) {
        JsonObject *check = json_array_get_object_element(items, i);
        const char *const cells[] = { wk_json_get_string(check, "name"),
                                      wk_json_get_string(check, "level"),
                                      wk_json_get_string(check, "message"),
                                      wk_json_get_string(check, "nextStep") };

        wk_ctl_table_add(table, cells);
    }
    text = wk_ctl_table_format(table);
    wk_ctl_out(ctl, "%s", text);
}

static gboolean
any_errors(JsonArray *items)
{
    for (guint i = 0; items != NULL && i < json_array_get_length(items); i++) {
        if (g_strcmp0(wk_json_get_string(json_array_get_object_element(items, i), "level"), "error")
            == 0)
            return TRUE;
    }
    return FALSE;
}

static int
run_doctor(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    g_autofree char *text = NULL;
    g_autoptr(JsonObject) answer = NULL;
    JsonArray *items;

    if (!wk_ctl_parse(ctl, self, NULL, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    text = wukong_client_get_text(ctl->client, "/v1/doctor", NULL, error);
    if (text == NULL)
        return WK_EXIT_FAILED;
    answer = wk_json_parse(text, -1, G_MAXSSIZE, NULL);
    items = wk_json_get_array(answer, "items");
    if (ctl->format == WK_CTL_JSON)
        wk_ctl_out_json(ctl, text);
    else
        print_table(ctl, items);
    return any_errors(items) ? WK_EXIT_FAILED : WK_EXIT_DONE;
}

const WkCommand wk_cmd_doctor = {
    .name = "doctor",
    .summary = "Show what a person should know of this node, and what to do about it",
    .run = run_doctor,
};
