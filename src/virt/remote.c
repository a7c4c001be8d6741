/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/remote.h"

#include "base/error.h"

#include <string.h>

static void
set_off(WkLook *look)
{
    wk_look_clear(look);
    look->power = WK_POWER_OFF;
    look->persistent = TRUE;
}

/* A domain that its pod does not have is one that KubeVirt has not started yet, or has undefined
 * already. */
static gboolean
ask_look(WkLaunchers *launchers, const char *id, WkHelperMethod method, WkLook *look,
         GError **error)
{
    WkHelperRequest request = { .method = method };
    g_autoptr(JsonObject) result = wk_launchers_call(launchers, id, &request, error);

    if (result == NULL || !wk_helper_read_look(result, look, error))
        return FALSE;
    if (look->power == WK_POWER_ABSENT)
        set_off(look);
    return TRUE;
}

gboolean
wk_remote_look(WkLaunchers *launchers, const char *id, WkHelperMethod method, WkLook *look,
               GError **error)
{
    switch (wk_launchers_get_presence(launchers, id)) {
    case WK_LAUNCHER_UNKNOWN:
        wk_look_clear(look);
        look->power = WK_POWER_ABSENT;
        return TRUE;
    case WK_LAUNCHER_NO_POD:
        set_off(look);
        return TRUE;
    default:
        return ask_look(launchers, id, method, look, error);
    }
}

/* The helper is not believed about whose guest it is: the name is a path's component here. */
static gboolean
adopt_facts(WkLaunchers *launchers, const char *id, WkFacts *facts, GError **error)
{
    g_autoptr(WkFacts) known = wk_launchers_peek_facts(launchers, id);

    if (known == NULL || g_strcmp0(known->name, facts->name) != 0) {
        wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL,
                     "the launcher pod of guest %s has another guest's domain", id);
        return FALSE;
    }
    g_free(facts->uuid);
    facts->uuid = g_strdup(id);
    return TRUE;
}

WkFacts *
wk_remote_read_facts(WkLaunchers *launchers, const char *id, GError **error)
{
    WkHelperRequest request = { .method = WK_HELPER_FACTS };
    g_autoptr(JsonObject) result = NULL;
    g_autoptr(WkFacts) facts = NULL;

    if (wk_launchers_get_presence(launchers, id) == WK_LAUNCHER_NO_POD)
        return wk_launchers_peek_facts(launchers, id);
    result = wk_launchers_call(launchers, id, &request, error);
    facts = result != NULL ? wk_helper_read_facts(result, error) : NULL;
    if (facts == NULL || !adopt_facts(launchers, id, facts, error))
        return NULL;
    return g_steal_pointer(&facts);
}

gboolean
wk_remote_do(WkLaunchers *launchers, const char *id, WkHelperMethod method, const char *text,
             GError **error)
{
    WkHelperRequest request = { .method = method, .text = text };
    g_autoptr(JsonObject) result = wk_launchers_call(launchers, id, &request, error);

    return result != NULL;
}

gboolean
wk_remote_progress(WkLaunchers *launchers, const char *id, guint64 *done, guint64 *total,
                   GError **error)
{
    WkHelperRequest request = { .method = WK_HELPER_PROGRESS };
    g_autoptr(JsonObject) result = wk_launchers_call(launchers, id, &request, error);

    return result != NULL && wk_helper_read_progress(result, done, total, error);
}

gboolean
wk_remote_read_image(WkLaunchers *launchers, const char *id, const char *xml, char **op,
                     WkFacts **facts, GError **error)
{
    WkHelperRequest request = { .method = WK_HELPER_READ_IMAGE, .text = xml };
    g_autoptr(JsonObject) result = wk_launchers_call(launchers, id, &request, error);
    g_autofree char *seen_op = NULL;
    g_autoptr(WkFacts) seen = NULL;

    if (result == NULL || !wk_helper_read_image(result, &seen_op, &seen, error)
        || !adopt_facts(launchers, id, seen, error))
        return FALSE;
    if (op != NULL)
        *op = g_steal_pointer(&seen_op);
    if (facts != NULL)
        *facts = g_steal_pointer(&seen);
    return TRUE;
}

char *
wk_remote_rewrite_image(WkLaunchers *launchers, const char *id, const char *xml, const char *from,
                        const char *to, GError **error)
{
    WkHelperRequest request = {
        .method = WK_HELPER_REWRITE_IMAGE, .text = xml, .from = from, .to = to
    };
    g_autoptr(JsonObject) result = wk_launchers_call(launchers, id, &request, error);

    return result != NULL ? wk_helper_read_text(result, error) : NULL;
}
