/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "ctl/act.h"

/* Of the guests that are off, resume starts only those that a fallback has stopped. */
static gboolean
applies(JsonObject *guest)
{
    const char *state = wk_json_get_string(guest, "state");

    if (g_strcmp0(state, "Stopped") == 0)
        return g_strcmp0(wk_json_get_string(guest, "reason"), "StoppedByFallback") == 0;
    return g_strcmp0(state, "Running") != 0;
}

static JsonObject *
submit(WukongClient *client, const char *id, const WkCtlAct *act, GError **error)
{
    return wukong_client_resume(client, id, act->timeout_s,
                                act->dry_run ? WUKONG_ACT_DRY_RUN : WUKONG_ACT_NONE, NULL, error);
}

static int
run_resume(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    WkCtlAct act = {
        .verb = "resume", .good_end = "succeeded", .applies = applies, .submit = submit
    };
    g_autofree char *timeout = NULL;
    const GOptionEntry entries[] = {
        { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout,
          "Give up after so many seconds (1 to 86400)", "S" },
        { "no-wait", 0, 0, G_OPTION_ARG_NONE, &act.no_wait, "Return once it is accepted", NULL },
        { "dry-run", 0, 0, G_OPTION_ARG_NONE, &act.dry_run, "Only check whether it could be done",
          NULL },
        G_OPTION_ENTRY_NULL,
    };

    if (!wk_ctl_parse(ctl, self, entries, argc, argv, &args, error)
        || !wk_ctl_parse_timeout(timeout, 1, &act.timeout_s, error))
        return WK_EXIT_USAGE;
    return wk_ctl_act(ctl, &act, &args, error);
}

const WkCommand wk_cmd_resume = {
    .name = "resume",
    .arguments = "GUEST...",
    .summary = "Let suspended guests run on",
    .min_words = 1,
    .max_words = -1,
    .with_all = TRUE,
    .run = run_resume,
};
