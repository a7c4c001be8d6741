/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "ctl/act.h"

static gboolean
applies(JsonObject *guest)
{
    return wk_json_get_string(guest, "operation") != NULL;
}

static JsonObject *
submit(WukongClient *client, const char *id, const WkCtlAct *act G_GNUC_UNUSED, GError **error)
{
    return wukong_client_cancel(client, id, NULL, error);
}

static int
run_cancel(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    WkCtlAct act = {
        .verb = "cancel", .good_end = "cancelled", .applies = applies, .submit = submit
    };
    const GOptionEntry entries[] = {
        { "no-wait", 0, 0, G_OPTION_ARG_NONE, &act.no_wait, "Return once it is accepted", NULL },
        G_OPTION_ENTRY_NULL,
    };

    if (!wk_ctl_parse(ctl, self, entries, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    return wk_ctl_act(ctl, &act, &args, error);
}

const WkCommand wk_cmd_cancel = {
    .name = "cancel",
    .arguments = "GUEST...",
    .summary = "Stop the work in flight on guests",
    .min_words = 1,
    .max_words = -1,
    .with_all = TRUE,
    .run = run_cancel,
};
