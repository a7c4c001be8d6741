/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "ctl/act.h"

/* A guest that is off has nothing to suspend; one that is Unknown is asked for and refused aloud.
 */
static gboolean
applies(JsonObject *guest)
{
    return g_strcmp0(wk_json_get_string(guest, "state"), "Stopped") != 0;
}

static JsonObject *
submit(WukongClient *client, const char *id, const WkCtlAct *act, GError **error)
{
    return wukong_client_suspend(client, id, act->target, act->timeout_s, act->fallback,
                                 act->dry_run ? WUKONG_ACT_DRY_RUN : WUKONG_ACT_NONE, NULL, error);
}

static int
run_checked(WkCtl *ctl, WkCtlAct *act, const char *timeout, const WkCtlArgs *args, GError **error)
{
    static const char *const targets[] = { "memory", "disk", NULL };
    static const char *const fallbacks[] = { "none", "memory", "stop", NULL };

    if (!wk_ctl_check_word("--to", act->target, targets, error)
        || !wk_ctl_check_word("--fallback", act->fallback, fallbacks, error)
        || !wk_ctl_parse_timeout(timeout, 1, &act->timeout_s, error))
        return WK_EXIT_USAGE;
    return wk_ctl_act(ctl, act, args, error);
}

static int
run_suspend(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    WkCtlAct act = {
        .verb = "suspend", .good_end = "succeeded", .applies = applies, .submit = submit
    };
    g_autofree char *target = NULL;
    g_autofree char *fallback = NULL;
    g_autofree char *timeout = NULL;
    const GOptionEntry entries[] = {
        { "to", 0, 0, G_OPTION_ARG_STRING, &target,
          "Keep the guest's memory where it is, or save it (default: the node's)", "memory|disk" },
        { "timeout", 0, 0, G_OPTION_ARG_STRING, &timeout,
          "Give up after so many seconds (1 to 86400)", "S" },
        { "fallback", 0, 0, G_OPTION_ARG_STRING, &fallback,
          "What to do when it can't be saved to disk (default: none)", "none|memory|stop" },
        { "no-wait", 0, 0, G_OPTION_ARG_NONE, &act.no_wait, "Return once it is accepted", NULL },
        { "dry-run", 0, 0, G_OPTION_ARG_NONE, &act.dry_run, "Only check whether it could be done",
          NULL },
        G_OPTION_ENTRY_NULL,
    };

    if (!wk_ctl_parse(ctl, self, entries, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    act.target = target;
    act.fallback = fallback;
    return run_checked(ctl, &act, timeout, &args, error);
}

const WkCommand wk_cmd_suspend = {
    .name = "suspend",
    .arguments = "GUEST...",
    .summary = "Suspend guests to memory or to disk",
    .min_words = 1,
    .max_words = -1,
    .with_all = TRUE,
    .run = run_suspend,
};
