/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/json.h"
#include "ctl/guests.h"
#include "ctl/view.h"

static void
print_table(const WkCtl *ctl, GPtrArray *guests)
{
    static const char *const headers[] = { "NAME",  "STATE",  "TARGET",  "SIZE",
                                           "SINCE", "ORIGIN", "MESSAGE", NULL };
    g_autoptr(WkCtlTable) table = wk_ctl_table_new(headers);
    g_autofree char *text = NULL;

    for (guint i = 0; i < guests->len; i++)
        wk_ctl_view_add_row(table, guests, g_ptr_array_index(guests, i));
    text = wk_ctl_table_format(table);
    wk_ctl_out(ctl, "%s", text);
}

static int
print_body(WkCtl *ctl, GError **error)
{
    g_autofree char *text = wukong_client_get_text(ctl->client, "/v1/guests", NULL, error);

    if (text != NULL)
        wk_ctl_out_json(ctl, text);
    return WK_EXIT_DONE;
}

static int
run_list(WkCtl *ctl, const WkCommand *self, int argc, char **argv, GError **error)
{
    g_auto(WkCtlArgs) args = { 0 };
    g_autoptr(GPtrArray) guests = NULL;

    if (!wk_ctl_parse(ctl, self, NULL, argc, argv, &args, error))
        return WK_EXIT_USAGE;
    if (ctl->format == WK_CTL_JSON)
        return print_body(ctl, error);
    guests = wk_ctl_fetch_guests(ctl, error);
    if (guests == NULL)
        return WK_EXIT_FAILED;
    if (ctl->format == WK_CTL_TABLE)
        print_table(ctl, guests);
    for (guint i = 0; ctl->format == WK_CTL_NAME && i < guests->len; i++) {
        g_autofree char *word = wk_ctl_guest_word(guests, g_ptr_array_index(guests, i));

        wk_ctl_out(ctl, "%s\n", word);
    }
    return WK_EXIT_DONE;
}

const WkCommand wk_cmd_list = {
    .name = "list",
    .summary = "Show all guests",
    .run = run_list,
};
