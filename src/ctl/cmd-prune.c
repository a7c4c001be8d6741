/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "base/names.h"
#include "ctl/options.h"

static void
print_text(const WkCtl *ctl, JsonObject *answer)
{
    JsonArray *items = wk_json_get_array(answer, "items");
    const guint n = items != NULL ? json_array_get_length(items) : 0;
    const gint64 history = wk_json_get_int(answer, "historyDropped", 0);

    for (guint i = 0; i < n; i++) {
        JsonObject *guest = json_array_get_object_element(items, i);
        g_autofree char *name = wk_name_printable(wk_json_get_string(guest, "name"));

        if (ctl->format == WK_CTL_NAME)
            wk_ctl_out(ctl, "%s\n", name);
        else
            wk_ctl_out(ctl, "%s: its orphaned image is dropped\n", name);
    }
    if (n == 0 && history == 0)
        wk_ctl_note(ctl, "nothing to prune\n");
    else if (history > 0)
        wk_ctl_note(ctl, "dropped from the history: %" G_GINT64_FORMAT " operation(s)\n", history);
}

static int
run_prune(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    g_autofree char *text = NULL;
    g_autoptr(JsonObject) answer = NULL;

    if (!wk_ctl_parse(ctl, self, NULL, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    answer = wukong_client_prune(ctl->client, NULL, error);
    if (answer == NULL)
        return WK_EXIT_FAILED;
    text = wk_json_to_text(answer);
    if (ctl->format == WK_CTL_JSON)
        wk_ctl_out_json(ctl, text);
    else
        print_text(ctl, answer);
    return WK_EXIT_DONE;
}

const WkCommand wk_cmd_prune = {
    .name = "prune",
    .summary = "Drop what is kept for a time only, once that is over",
    .run = run_prune,
};
