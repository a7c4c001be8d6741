/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "base/names.h"
#include "ctl/options.h"

#include <stdio.h>

static int
run_version(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    g_autofree char *text = NULL;
    g_autofree char *version = NULL;
    g_autoptr(JsonObject) node = NULL;

    if (!wk_ctl_parse(ctl, self, NULL, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    if (ctl->format != WK_CTL_JSON)
        wk_ctl_out(ctl, "wukongctl %s\n", PACKAGE_VERSION);
    text = wukong_client_get_text(ctl->client, "/v1/node", NULL, error);
    if (text == NULL)
        return WK_EXIT_FAILED;
    node = wk_json_parse(text, -1, G_MAXSSIZE, NULL);
    version = wk_name_printable(wk_json_get_string(node, "version"));
    if (ctl->format == WK_CTL_JSON)
        wk_ctl_out_json(ctl, text);
    else
        wk_ctl_out(ctl, "wukongd %s\n", *version != '\0' ? version : "(version not told)");
    return WK_EXIT_DONE;
}

const WkCommand wk_cmd_version = {
    .name = "version",
    .summary = "Show the versions of this program and of the daemon",
    .run = run_version,
};
