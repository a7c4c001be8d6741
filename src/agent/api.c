/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/api.h"

#include "agent/doctor.h"

#include "base/error.h"
#include "base/names.h"

#include <string.h>

#define PREFIX_MIN 4

static GPtrArray *
list_guests(gpointer agent)
{
    WkApi *self = agent;
    g_autoptr(GPtrArray) list = wk_engine_list(self->engine);
    GPtrArray *views = g_ptr_array_new_with_free_func((GDestroyNotify)wk_view_free);

    for (guint i = 0; i < list->len; i++) {
        const WkGuest *guest = g_ptr_array_index(list, i);

        if (guest->view != NULL)
            g_ptr_array_add(views, wk_view_copy(guest->view));
    }
    return views;
}

typedef enum {
    MATCH_NONE,
    MATCH_PREFIX,
    MATCH_EXACT,
} Match;

/* "NS/NAME" */
static gboolean
is_wukong(const WkOwner *owner, const char *key)
{
    const gsize length = owner->ns != NULL ? strlen(owner->ns) : 0;

    return length > 0 && strncmp(key, owner->ns, length) == 0 && key[length] == '/'
           && g_strcmp0(key + length + 1, owner->name) == 0;
}

static Match
match_key(const WkGuest *guest, const char *key)
{
    const char *source = wk_source_get_name(guest->source);
    const gsize length = strlen(source);

    if (g_str_equal(guest->uuid, key) || g_str_equal(guest->name, key))
        return MATCH_EXACT;
    if (is_wukong(&guest->owner, key))
        return MATCH_EXACT;
    if (strncmp(key, source, length) == 0 && key[length] == ':'
        && g_str_equal(guest->name, key + length + 1))
        return MATCH_EXACT;
    if (strlen(key) >= PREFIX_MIN && g_str_has_prefix(guest->uuid, key))
        return MATCH_PREFIX;
    return MATCH_NONE;
}

/* The guests that match @key best: exact ones, or else those with that prefix. */
static GPtrArray *
find_matches(WkApi *self, const char *key)
{
    g_autoptr(GPtrArray) list = wk_engine_list(self->engine);
    GPtrArray *found = g_ptr_array_new();
    Match best = MATCH_PREFIX;

    for (guint i = 0; i < list->len; i++) {
        WkGuest *guest = g_ptr_array_index(list, i);
        const Match match = match_key(guest, key);

        if (guest->view == NULL || match < best)
            continue;
        if (match > best)
            g_ptr_array_set_size(found, 0);
        best = match;
        g_ptr_array_add(found, guest);
    }
    return found;
}

static char *
list_candidates(GPtrArray *found)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < found->len && i < 10; i++) {
        const WkGuest *guest = g_ptr_array_index(found, i);
        g_autofree char *name = wk_name_printable(guest->name);

        g_string_append_printf(text, "%s%s (%s)", i > 0 ? ", " : "", name, guest->uuid);
    }
    return g_string_free(text, FALSE);
}

static WkView *
find_guest(gpointer agent, const char *key, GError **error)
{
    WkApi *self = agent;
    g_autoptr(GPtrArray) found = find_matches(self, key);
    g_autofree char *shown = wk_name_printable(key);
    g_autofree char *candidates = NULL;

    if (found->len == 1)
        return wk_view_copy(((WkGuest *)g_ptr_array_index(found, 0))->view);
    if (found->len == 0) {
        wk_error_set(error, WK_ERROR_NOT_FOUND, "NoSuchGuest",
                     "there is no guest '%s' on this node (wukongctl list shows all)", shown);
        return NULL;
    }
    candidates = list_candidates(found);
    wk_error_set(error, WK_ERROR_INVALID, "AmbiguousGuest", "'%s' is more than one guest: %s",
                 shown, candidates);
    return NULL;
}

static void
submit(gpointer agent, const WkRequest *request, GAsyncReadyCallback callback, gpointer user_data)
{
    WkApi *self = agent;

    wk_engine_submit(self->engine, request, callback, user_data);
}

static WkOperation *
submit_finish(gpointer agent, GAsyncResult *result, GError **error)
{
    WkApi *self = agent;

    return wk_engine_submit_finish(self->engine, result, error);
}

static WkOperation *
cancel(gpointer agent, const char *guest, GError **error)
{
    WkApi *self = agent;

    return wk_engine_cancel(self->engine, guest, error);
}

static GPtrArray *
list_operations(gpointer agent)
{
    WkApi *self = agent;

    return wk_engine_operations(self->engine);
}

static WkOperation *
find_operation(gpointer agent, const char *id, GError **error)
{
    WkApi *self = agent;
    WkOperation *op = wk_engine_find_operation(self->engine, id);

    if (op == NULL) {
        g_autofree char *shown = wk_name_printable(id);

        wk_error_set(error, WK_ERROR_NOT_FOUND, "NoSuchOperation", "there is no operation '%s'",
                     shown);
    }
    return op;
}

static GPtrArray *
list_images(gpointer agent)
{
    WkApi *self = agent;
    g_autoptr(GPtrArray) list = wk_engine_list(self->engine);
    GPtrArray *images = g_ptr_array_new_with_free_func((GDestroyNotify)wk_image_view_free);

    for (guint i = 0; i < list->len; i++) {
        const WkGuest *guest = g_ptr_array_index(list, i);
        const WkLedgerState state = guest->record->state;

        if (state != WK_LEDGER_SEALED && state != WK_LEDGER_RESTORING
            && state != WK_LEDGER_QUARANTINED)
            continue;
        g_ptr_array_add(
            images,
            wk_image_view_new(guest->record, guest->seen && guest->look.power == WK_POWER_ABSENT));
    }
    return images;
}

static GPtrArray *
list_checks(gpointer agent)
{
    WkApi *self = agent;

    return wk_doctor_examine(self->engine, self->sources, self->wukongs);
}

static GPtrArray *
prune(gpointer agent, guint *n_history, GError **error)
{
    WkApi *self = agent;

    return wk_retention_prune(self->retention, n_history, error);
}

static char *
metrics(gpointer agent)
{
    WkApi *self = agent;
    const WkMetricsInput input = { .engine = self->engine,
                                   .sources = self->sources,
                                   .vault = self->vault,
                                   .wukongs = self->wukongs };

    return wk_metrics_text(self->metrics, &input);
}

char *
wk_api_not_ready(const WkApi *self)
{
    for (guint i = 0; i < self->sources->len; i++) {
        WkSource *source = g_ptr_array_index(self->sources, i);

        if (!wk_source_was_tried(source))
            return g_strdup_printf("source '%s' is being connected to", wk_source_get_name(source));
    }
    if (!wk_engine_has_settled(self->engine))
        return g_strdup("what an earlier life of the agent left is being looked at");
    return NULL;
}

static char *
not_ready(gpointer agent)
{
    return wk_api_not_ready(agent);
}

void
wk_api_init(WkControlApi *api, const char *node_name)
{
    *api = (WkControlApi){ .node_name = node_name,
                           .list_guests = list_guests,
                           .find_guest = find_guest,
                           .submit = submit,
                           .submit_finish = submit_finish,
                           .cancel = cancel,
                           .list_operations = list_operations,
                           .find_operation = find_operation,
                           .list_images = list_images,
                           .list_checks = list_checks,
                           .prune = prune,
                           .metrics = metrics,
                           .not_ready = not_ready };
}
