/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/wukongs_private.h"

#include "base/log.h"

gboolean
wk_wukongs_put_binding(WkWukongs *self, const WkBinding *binding)
{
    g_autoptr(GError) error = NULL;

    if (wk_ledger_put_binding(self->ledger, binding, &error))
        return TRUE;
    wk_log(WK_LOG_ERROR, NULL, "Wukong %s/%s: not noted: %s", binding->ns, binding->name,
           error->message);
    return FALSE;
}

gboolean
wk_wukongs_keep(WkWukongs *self, WkEntry *entry)
{
    const WkGuest *guest = entry->guest != NULL ? wk_engine_find(self->engine, entry->guest) : NULL;
    const char *source = guest != NULL ? wk_source_get_name(guest->source) : NULL;
    g_autoptr(WkBinding) binding = NULL;

    if (entry->binding != NULL
        && (guest == NULL
            || (g_strcmp0(entry->binding->guest, guest->uuid) == 0
                && g_strcmp0(entry->binding->source, source) == 0)))
        return TRUE;
    binding = entry->binding != NULL
                  ? wk_binding_copy(entry->binding)
                  : wk_binding_new(entry->uid, entry->seen->ns, entry->seen->name);
    if (guest != NULL) {
        g_free(binding->guest);
        g_free(binding->source);
        binding->guest = g_strdup(guest->uuid);
        binding->source = g_strdup(source);
    }
    if (!wk_wukongs_put_binding(self, binding))
        return FALSE;
    wk_binding_free(entry->binding);
    entry->binding = g_steal_pointer(&binding);
    return TRUE;
}

void
wk_wukongs_forget_binding(WkWukongs *self, WkEntry *entry)
{
    g_autoptr(GError) error = NULL;

    if (entry->binding != NULL && !wk_ledger_forget_binding(self->ledger, entry->uid, &error))
        wk_log(WK_LOG_WARNING, NULL, "forgetting Wukong %s/%s: %s", entry->binding->ns,
               entry->binding->name, error->message);
    g_clear_pointer(&entry->binding, wk_binding_free);
}
