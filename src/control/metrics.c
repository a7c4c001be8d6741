/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control/internal.h"

/* Metrics' names and labels are an interface: docs/ lists them, and they never change meaning. */

static void
add_family(GString *text, const char *name, const char *help)
{
    g_string_append_printf(text, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

/* Every state has its line, so that a graph of one does not end when the last guest leaves it. */
static void
add_guests(GString *text, const GPtrArray *guests)
{
    guint counts[WK_STATE_STOPPED + 1] = { 0 };

    for (guint i = 0; i < guests->len; i++) {
        const WkView *view = g_ptr_array_index(guests, i);

        if ((guint)view->state < G_N_ELEMENTS(counts))
            counts[view->state]++;
    }
    add_family(text, "wukong_guests", "Guests of this node, by state.");
    for (guint i = 0; i < G_N_ELEMENTS(counts); i++)
        g_string_append_printf(text, "wukong_guests{state=\"%s\"} %u\n", wk_state_name((WkState)i),
                               counts[i]);
}

char *
wk_metrics_text(const GPtrArray *guests)
{
    GString *text = g_string_new(NULL);

    add_guests(text, guests);
    add_family(text, "wukong_build_info", "Always 1; the version is in the label.");
    g_string_append_printf(text, "wukong_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
    return g_string_free(text, FALSE);
}
