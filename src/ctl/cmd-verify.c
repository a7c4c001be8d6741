/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "ctl/act.h"

static gboolean
applies(JsonObject *guest)
{
    return wk_json_get_int(guest, "savedBytes", 0) > 0;
}

static JsonObject *
submit(WukongClient *client, const char *id, const WkCtlAct *act G_GNUC_UNUSED, GError **error)
{
    return wukong_client_verify(client, id, NULL, error);
}

static int
run_verify(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    WkCtlAct act = {
        .verb = "verify", .good_end = "succeeded", .applies = applies, .submit = submit
    };
    const GOptionEntry entries[] = {
        { "no-wait", 0, 0, G_OPTION_ARG_NONE, &act.no_wait, "Return once it is accepted", NULL },
        G_OPTION_ENTRY_NULL,
    };

    if (!wk_ctl_parse(ctl, self, entries, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    args.all = args.all || *args.words == NULL;
    return wk_ctl_act(ctl, &act, &args, error);
}

const WkCommand wk_cmd_verify = {
    .name = "verify",
    .arguments = "[GUEST...]",
    .summary = "Read saved images through; none named: all",
    .min_words = 0,
    .max_words = -1,
    .with_all = TRUE,
    .run = run_verify,
};
