/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "base/units.h"
#include "ctl/act.h"
#include "ctl/guests.h"

#include <stdio.h>

static gboolean
applies(JsonObject *guest)
{
    return wk_json_get_int(guest, "savedBytes", 0) > 0
           || wk_json_get_string(guest, "savedAt") != NULL;
}

static JsonObject *
submit(WukongClient *client, const char *id, const WkCtlAct *act, GError **error)
{
    return wukong_client_discard(client, id, act->dry_run ? WUKONG_ACT_DRY_RUN : WUKONG_ACT_NONE,
                                 NULL, error);
}

static void
describe(GPtrArray *all, JsonObject *guest)
{
    g_autofree char *label = wk_ctl_guest_label(all, guest);
    const gint64 bytes = wk_json_get_int(guest, "savedBytes", 0);
    g_autofree char *size = wk_units_format_bytes((guint64)MAX(bytes, 0));
    const char *when = wk_json_get_string(guest, "savedAt");

    if (!applies(guest))
        wk_ctl_error("%s: nothing is saved on disk", label);
    else
        wk_ctl_error("%s: would drop the saved memory (%s%s%s)", label,
                     bytes > 0 ? size : "size not known", when != NULL ? ", saved " : "",
                     when != NULL ? when : "");
}

/* What is dropped can't be had back, so it takes a word of its own. */
static gboolean
confirm(GPtrArray *all, GPtrArray *guests, const WkCtlAct *act, GError **error)
{
    if (act->yes || act->dry_run)
        return TRUE;
    for (guint i = 0; i < guests->len; i++)
        describe(all, g_ptr_array_index(guests, i));
    g_set_error(
        error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
        "what ran in these guests is lost for good, and the next start is a cold boot (which "
        "KubeVirt does by itself where the VM's runStrategy says so): add --yes to do it");
    return FALSE;
}

static int
run_discard(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    WkCtlAct act = {
        .verb = "discard",
        .good_end = "succeeded",
        .applies = applies,
        .submit = submit,
        .confirm = confirm,
    };
    const GOptionEntry entries[] = {
        { "yes", 'y', 0, G_OPTION_ARG_NONE, &act.yes, "Really drop what is saved", NULL },
        { "no-wait", 0, 0, G_OPTION_ARG_NONE, &act.no_wait, "Return once it is accepted", NULL },
        { "dry-run", 0, 0, G_OPTION_ARG_NONE, &act.dry_run, "Only check whether it could be done",
          NULL },
        G_OPTION_ENTRY_NULL,
    };

    if (!wk_ctl_parse(ctl, self, entries, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    return wk_ctl_act(ctl, &act, &args, error);
}

const WkCommand wk_cmd_discard = {
    .name = "discard",
    .arguments = "GUEST... --yes",
    .summary = "Drop saved memory; starts nothing",
    .min_words = 1,
    .max_words = -1,
    .with_all = TRUE,
    .run = run_discard,
};
