/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/claims.h"

#include "base/error.h"
#include "base/json.h"

static void
free_claim(gpointer data)
{
    wk_claim_free(data);
}

GPtrArray *
wk_claims_new(void)
{
    return g_ptr_array_new_with_free_func(free_claim);
}

GPtrArray *
wk_claims_names(const WkVm *vm)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < vm->volumes->len; i++) {
        const WkVmiVolume *volume = g_ptr_array_index(vm->volumes, i);

        if (volume->claim != NULL
            && !g_ptr_array_find_with_equal_func(names, volume->claim, g_str_equal, NULL))
            g_ptr_array_add(names, g_strdup(volume->claim));
    }
    return names;
}

/* ---- in the ledger ---- */

char *
wk_claims_to_text(GPtrArray *claims)
{
    g_autoptr(JsonObject) object = json_object_new();
    JsonArray *array = json_array_new();

    for (guint i = 0; i < claims->len; i++) {
        const WkClaim *claim = g_ptr_array_index(claims, i);
        JsonObject *element = json_object_new();

        wk_json_set_string(element, "name", claim->name);
        wk_json_set_string(element, "uid", claim->uid);
        wk_json_set_string(element, "volume", claim->volume);
        wk_json_set_int(element, "capacityBytes", (gint64)claim->capacity_bytes);
        json_array_add_object_element(array, element);
    }
    json_object_set_array_member(object, "claims", array);
    return wk_json_to_text(object);
}

/* Returns: (transfer full), or NULL with @error. */
static WkClaim *
read_claim(JsonNode *node, GError **error)
{
    g_autoptr(WkClaim) claim = g_new0(WkClaim, 1);
    JsonObject *element = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    const char *name = NULL;
    const char *uid = NULL;
    const char *volume = NULL;
    gint64 bytes = 0;

    if (element == NULL) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "'claims' holds what is no object");
        return NULL;
    }
    if (!wk_json_need_string(element, "name", &name, error)
        || !wk_json_need_string(element, "uid", &uid, error)
        || !wk_json_opt_string(element, "volume", &volume, error)
        || !wk_json_opt_int(element, "capacityBytes", 0, G_MAXINT64, &bytes, error))
        return NULL;
    claim->name = g_strdup(name);
    claim->uid = g_strdup(uid);
    claim->volume = g_strdup(volume);
    claim->capacity_bytes = (guint64)bytes;
    return g_steal_pointer(&claim);
}

static GPtrArray *
read_claims(const char *text, GError **error)
{
    g_autoptr(JsonObject) object = wk_json_parse(text, -1, WK_CLAIMS_TEXT_MAX, error);
    g_autoptr(GPtrArray) claims = wk_claims_new();
    JsonArray *array = object != NULL ? wk_json_get_array(object, "claims") : NULL;

    if (object == NULL)
        return NULL;
    if (array == NULL) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "'claims' is missing");
        return NULL;
    }
    for (guint i = 0; i < json_array_get_length(array); i++) {
        WkClaim *claim = read_claim(json_array_get_element(array, i), error);

        if (claim == NULL)
            return NULL;
        g_ptr_array_add(claims, claim);
    }
    return g_steal_pointer(&claims);
}

GPtrArray *
wk_claims_from_text(const char *text, GError **error)
{
    g_autoptr(GError) local = NULL;
    GPtrArray *claims = read_claims(text, &local);

    if (claims == NULL)
        wk_error_set(error, WK_ERROR_CORRUPT, "LedgerCorrupt", "column 'claims': %s",
                     local->message);
    return claims;
}

/* ---- compared ---- */

gboolean
wk_claim_check_save(const WkVm *vm, const char *name, const WkClaim *claim, GError **error)
{
    if (claim != NULL && !claim->deleting)
        return TRUE;
    wk_error_set(error, WK_ERROR_REFUSED, "ClaimGone",
                 "guest '%s/%s': its PersistentVolumeClaim '%s' %s: copy its content while the "
                 "guest runs, or suspend to memory",
                 vm->ns, vm->name, name,
                 claim == NULL ? "is gone" : "is being deleted, and goes as soon as its pod does");
    return FALSE;
}

static const char *
name_of(const char *volume)
{
    return volume != NULL ? volume : "none";
}

/* Returns: (transfer full): how they differ; NULL: they don't. Whatever changed the size may have
 * changed the content: a launcher grows a file to the size of its claim when it starts. */
static char *
find_difference(const WkClaim *saved, const WkClaim *now)
{
    if (now == NULL)
        return g_strdup("is gone");
    if (g_strcmp0(now->uid, saved->uid) != 0)
        return g_strdup("was replaced by another one of that name");
    if (now->deleting)
        return g_strdup("is being deleted");
    if (g_strcmp0(now->volume, saved->volume) != 0)
        return g_strdup_printf("is bound to another volume ('%s', it was '%s')",
                               name_of(now->volume), name_of(saved->volume));
    if (now->capacity_bytes != saved->capacity_bytes)
        return g_strdup_printf("has another size (%" G_GUINT64_FORMAT
                               " bytes, it was %" G_GUINT64_FORMAT ")",
                               now->capacity_bytes, saved->capacity_bytes);
    return NULL;
}

gboolean
wk_claim_check_same(const WkVm *vm, const WkClaim *saved, const WkClaim *now, GError **error)
{
    g_autofree char *difference = find_difference(saved, now);

    if (difference == NULL)
        return TRUE;
    wk_error_set(error, WK_ERROR_REFUSED, "ClaimReplaced",
                 "guest '%s/%s': its PersistentVolumeClaim '%s' %s since the guest was saved, "
                 "and its saved memory fits no other disk: discard drops the saved state",
                 vm->ns, vm->name, saved->name, difference);
    return FALSE;
}
