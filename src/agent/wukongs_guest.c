/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/wukongs_private.h"

#define UUID_LENGTH 36

static gboolean
may_name_domain(WkWukongs *self, const WkWukong *wukong)
{
    return g_strv_contains((const char *const *)self->domain_namespaces, wukong->ns);
}

/* By name, or by UUID where the annotation gives one. */
static WkGuest *
find_by_key(WkWukongs *self, const char *key)
{
    g_autoptr(GPtrArray) guests = NULL;
    WkGuest *found = strlen(key) == UUID_LENGTH ? wk_engine_find(self->engine, key) : NULL;

    if (found != NULL)
        return found;
    guests = wk_engine_list(self->engine);
    for (guint i = 0; i < guests->len; i++) {
        WkGuest *guest = g_ptr_array_index(guests, i);

        if (g_strcmp0(guest->name, key) == 0)
            return guest;
    }
    return NULL;
}

static gboolean
holds_image(const WkGuest *guest)
{
    return guest->record->state != WK_LEDGER_NONE;
}

/* Between those of the node's list claim() decides. */
static gboolean
is_listed(const WkEntry *entry)
{
    return entry->seen != NULL && entry->told;
}

/* Whether Wukong @former, not in the list, keeps @guest from others; says why. */
static gboolean
is_kept_by(WkWukongs *self, const WkEntry *former, const WkGuest *guest, const char **reason,
           char **message)
{
    const gboolean deleted = former->binding->deleted_at_us != 0;

    if (deleted && holds_image(guest)) {
        *reason = "OrphanedImage";
        *message = g_strdup_printf("the saved state of domain '%s' belongs to a Wukong that was "
                                   "deleted; `wukongctl discard %s` on node '%s' drops it",
                                   guest->name, guest->name, self->node_name);
        return TRUE;
    }
    if (deleted && !wk_wukongs_is_at_work(former, guest))
        return FALSE;
    *reason = "GuestTaken";
    *message =
        deleted
            ? g_strdup_printf("domain '%s' is still worked on for a Wukong that was deleted",
                              guest->name)
            : g_strdup_printf("domain '%s' belonged to Wukong %s/%s with uid %s: waiting for "
                              "the API server to say whether that is gone",
                              guest->name, former->binding->ns, former->binding->name, former->uid);
    return TRUE;
}

/* An object of the same name is another user's intent, and never gets what the one before it had
 * saved (contract, section 1): not before that one is known to be gone, and nothing of it is here.
 */
static gboolean
is_kept(WkWukongs *self, const WkEntry *claimant, const WkGuest *guest, const char **reason,
        char **message)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, self->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const WkEntry *entry = value;

        if (entry != claimant && entry->binding != NULL && !is_listed(entry)
            && g_strcmp0(entry->binding->guest, guest->uuid) == 0
            && is_kept_by(self, entry, guest, reason, message))
            return TRUE;
    }
    return FALSE;
}

/* The older object wins, then the lower uid (contract, section 1). */
static gboolean
precedes(const WkWukong *a, const WkWukong *b)
{
    const int age = g_strcmp0(a->created, b->created);

    return age != 0 ? age < 0 : g_strcmp0(a->uid, b->uid) < 0;
}

static gboolean
claim(WkWukongs *self, WkEntry *entry, WkGuest *guest)
{
    WkEntry *holder = g_hash_table_lookup(self->by_guest, guest->uuid);

    if (holder != NULL && holder != entry && holder->seen != NULL
        && precedes(holder->seen, entry->seen))
        return FALSE;
    g_hash_table_insert(self->by_guest, g_strdup(guest->uuid), entry);
    if (holder != NULL && holder != entry) {
        g_clear_pointer(&holder->guest, g_free);
        wk_wukongs_reconcile(self, holder);
    }
    return TRUE;
}

void
wk_wukongs_own(WkWukongs *self, WkEntry *entry)
{
    const WkOwner owner = { .ns = entry->seen != NULL ? entry->seen->ns : NULL,
                            .name = entry->seen != NULL ? entry->seen->name : NULL,
                            .uid = entry->uid };

    if (entry->guest != NULL && entry->seen != NULL)
        wk_engine_set_owner(self->engine, entry->guest, &owner);
}

void
wk_wukongs_let_go(WkWukongs *self, WkEntry *entry)
{
    g_autofree char *guest = g_steal_pointer(&entry->guest);

    if (guest == NULL || g_hash_table_lookup(self->by_guest, guest) != entry)
        return;
    g_hash_table_remove(self->by_guest, guest);
    wk_engine_set_owner(self->engine, guest, NULL);
}

static WkGuest *
look_up(WkWukongs *self, WkEntry *entry, const char **reason, char **message)
{
    const WkWukong *wukong = entry->seen;
    g_autofree char *key = NULL;
    WkGuest *guest;

    if (wukong->domain != NULL && !may_name_domain(self, wukong)) {
        *reason = "DomainNotAllowed";
        *message = g_strdup_printf("annotation %s is not honoured in namespace '%s' on this node "
                                   "([kube] domain-annotation)",
                                   WK_ANNOTATION_DOMAIN, wukong->ns);
        return NULL;
    }
    key = wukong->domain != NULL ? g_strdup(wukong->domain) : wk_wukong_domain_name(wukong);
    guest = find_by_key(self, key);
    /* undefined meanwhile, but its image is here */
    if (guest == NULL && entry->binding != NULL && entry->binding->guest != NULL)
        guest = wk_engine_find(self->engine, entry->binding->guest);
    if (guest == NULL) {
        *reason = "NoSuchGuest";
        *message = g_strdup_printf("there is no domain '%s' on node '%s'", key, self->node_name);
    }
    return guest;
}

WkGuest *
wk_wukongs_find_guest(WkWukongs *self, WkEntry *entry, const char **reason, char **message)
{
    WkGuest *guest = look_up(self, entry, reason, message);

    if (guest == NULL || g_strcmp0(entry->guest, guest->uuid) != 0)
        wk_wukongs_let_go(self, entry);
    if (guest == NULL)
        return NULL;
    if (!claim(self, entry, guest)) {
        *reason = "GuestTaken";
        *message = g_strdup_printf("domain '%s' belongs to an older Wukong", guest->name);
        wk_wukongs_let_go(self, entry);
        return NULL;
    }
    if (entry->guest == NULL)
        entry->guest = g_strdup(guest->uuid);
    return is_kept(self, entry, guest, reason, message) ? NULL : guest;
}
