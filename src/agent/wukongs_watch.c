/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/wukongs_private.h"

#include "base/log.h"

/*
 * A Wukong whose guest's image lies here is ours whatever its status.nodeName says (contract,
 * section 1), and whether it is deleted or only elsewhere can't be told from the node's own list:
 * so it is watched by its name until nothing here is left of it.
 */

static void
on_relisting(gpointer data)
{
    WkEntry *entry = data;

    entry->by_name_told = FALSE;
}

/* It is another node's, and its last word of this one is there: the mark is taken off with it. */
static gboolean
is_settled(const WkEntry *entry)
{
    return entry->seen != NULL && !wk_wukongs_has_stake(entry->owner, entry)
           && g_strcmp0(entry->seen->saved_on, entry->owner->node_name) != 0;
}

static void
on_object(JsonObject *object, gpointer data)
{
    WkEntry *entry = data;
    g_autoptr(WkWukong) wukong = wk_wukong_parse(object, NULL);

    if (wukong == NULL || g_strcmp0(wukong->uid, entry->uid) != 0)
        return; /* another object of that name: ours is gone, see on_synced() */
    entry->by_name_told = TRUE;
    if (entry->told)
        return; /* the node's own list has it again */
    wk_wukong_free(entry->seen);
    entry->seen = g_steal_pointer(&wukong);
    wk_reporter_saw(entry->owner->reporter, entry->seen);
    wk_wukongs_reconcile(entry->owner, entry);
    if (is_settled(entry))
        wk_wukongs_drop(entry->owner, entry);
}

static void
on_left(JsonObject *last G_GNUC_UNUSED, gpointer data)
{
    WkEntry *entry = data;

    wk_wukongs_deleted(entry->owner, entry);
}

static void
on_synced(gpointer data)
{
    WkEntry *entry = data;

    if (!entry->by_name_told)
        wk_wukongs_deleted(entry->owner, entry);
}

static void
on_trouble(const GError *error, guint retry_ms G_GNUC_UNUSED, gpointer data)
{
    const WkEntry *entry = data;

    if (error != NULL)
        wk_log(WK_LOG_INFO, NULL, "looking for Wukong %s/%s: %s", entry->binding->ns,
               entry->binding->name, error->message);
}

static const WkReflectorListener listener = { .relisting = on_relisting,
                                              .object = on_object,
                                              .left = on_left,
                                              .synced = on_synced,
                                              .trouble = on_trouble };

void
wk_wukongs_watch_by_name(WkWukongs *self, WkEntry *entry)
{
    g_autofree char *path = NULL;
    g_autofree char *selector = NULL;
    WkReflectorOptions options = { 0 };

    if (entry->by_name != NULL || entry->binding == NULL)
        return;
    path = g_strdup_printf("%s/namespaces/%s/wukongs", WK_WUKONG_PATH, entry->binding->ns);
    selector = g_strdup_printf("metadata.name=%s", entry->binding->name);
    options.path = path;
    options.field_selector = selector;
    entry->owner = self;
    entry->by_name = wk_reflector_new(self->kube, &options, &listener, entry);
}
