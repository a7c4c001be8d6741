/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "base/names.h"
#include "ctl/guests.h"

/* is-running and is-suspended: for scripts; the answer is the exit status. */

static void
print(WkCtl *ctl, GPtrArray *all, JsonObject *guest)
{
    g_autofree char *text = NULL;

    if (ctl->format == WK_CTL_JSON) {
        text = wk_json_to_text(guest);
        wk_ctl_out_json(ctl, text);
    } else {
        text = ctl->format == WK_CTL_NAME ? wk_ctl_guest_word(all, guest)
                                          : wk_name_printable(wk_json_get_string(guest, "state"));
        wk_ctl_out(ctl, "%s\n", text);
    }
}

static int
run_is(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    const char *wanted = self == &wk_cmd_is_running ? "Running" : "Suspended";
    g_auto(WkCtlArgs) args = { 0 };
    g_autoptr(GPtrArray) all = NULL;
    JsonObject *guest;

    if (!wk_ctl_parse(ctl, self, NULL, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    all = wk_ctl_fetch_guests(ctl, error);
    guest = all != NULL ? wk_ctl_choose_one(all, args.words[0], error) : NULL;
    if (guest == NULL)
        return WK_EXIT_FAILED;
    print(ctl, all, guest);
    return g_strcmp0(wk_json_get_string(guest, "state"), wanted) == 0 ? WK_EXIT_DONE : WK_EXIT_NO;
}

const WkCommand wk_cmd_is_running = {
    .name = "is-running",
    .arguments = "GUEST",
    .summary = "Exit with 0 if it runs, 3 if not",
    .min_words = 1,
    .max_words = 1,
    .run = run_is,
};

const WkCommand wk_cmd_is_suspended = {
    .name = "is-suspended",
    .arguments = "GUEST",
    .summary = "Exit with 0 if it is suspended, 3 if not",
    .min_words = 1,
    .max_words = 1,
    .run = run_is,
};
