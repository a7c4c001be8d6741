/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/guests.h"

#include "base/json.h"
#include "base/names.h"

#include <fnmatch.h>
#include <string.h>

#define PREFIX_MIN 4

static const char *
text_of(JsonObject *guest, const char *member)
{
    const char *text = wk_json_get_string(guest, member);

    return text != NULL ? text : "";
}

static int
compare(gconstpointer a, gconstpointer b)
{
    static const char *const members[] = { "name", "source", "id" };
    JsonObject *first = *(JsonObject *const *)a;
    JsonObject *second = *(JsonObject *const *)b;
    int order = 0;

    for (gsize i = 0; order == 0 && i < G_N_ELEMENTS(members); i++)
        order = strcmp(text_of(first, members[i]), text_of(second, members[i]));
    return order;
}

void
wk_ctl_sort_guests(GPtrArray *guests)
{
    g_ptr_array_sort(guests, compare);
}

GPtrArray *
wk_ctl_fetch_guests(WkCtl *ctl, GError **error)
{
    g_autoptr(JsonArray) items = wukong_client_list_guests(ctl->client, NULL, error);
    GPtrArray *guests;

    if (items == NULL)
        return NULL;
    guests = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
    for (guint i = 0; i < json_array_get_length(items); i++)
        g_ptr_array_add(guests, json_object_ref(json_array_get_object_element(items, i)));
    wk_ctl_sort_guests(guests);
    return guests;
}

static char *
source_name(JsonObject *guest)
{
    return g_strdup_printf("%s:%s", text_of(guest, "source"), text_of(guest, "name"));
}

/* NS/NAME of the guest's Wukong, or NULL. */
static char *
wukong_name(JsonObject *guest)
{
    JsonObject *wukong = wk_json_get_object(guest, "wukong");

    if (wukong == NULL)
        return NULL;
    return g_strdup_printf("%s/%s", text_of(wukong, "namespace"), text_of(wukong, "name"));
}

static gboolean
is_exactly(JsonObject *guest, const char *word)
{
    g_autofree char *with_source = source_name(guest);
    g_autofree char *with_space = wukong_name(guest);

    return g_str_equal(text_of(guest, "name"), word) || g_str_equal(with_source, word)
           || g_strcmp0(with_space, word) == 0
           || g_ascii_strcasecmp(text_of(guest, "id"), word) == 0;
}

static gboolean
begins_id(JsonObject *guest, const char *word)
{
    const gsize length = strlen(word);

    return length >= PREFIX_MIN && g_ascii_strncasecmp(text_of(guest, "id"), word, length) == 0;
}

static gboolean
is_pattern(const char *word)
{
    return strpbrk(word, "*?[") != NULL;
}

static gboolean
fits_pattern(JsonObject *guest, const char *word)
{
    g_autofree char *with_source = source_name(guest);
    g_autofree char *with_space = wukong_name(guest);

    return fnmatch(word, text_of(guest, "name"), 0) == 0 || fnmatch(word, with_source, 0) == 0
           || (with_space != NULL && fnmatch(word, with_space, 0) == 0);
}

/* Returns: (transfer full): the guests of @all for which @fits says yes. */
static GPtrArray *
filter(GPtrArray *all, gboolean (*fits)(JsonObject *, const char *), const char *word)
{
    GPtrArray *found = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);

    for (guint i = 0; i < all->len; i++) {
        JsonObject *guest = g_ptr_array_index(all, i);

        if (fits(guest, word))
            g_ptr_array_add(found, json_object_ref(guest));
    }
    return found;
}

static void
set_ambiguous(GError **error, const char *word, GPtrArray *found)
{
    g_autoptr(GString) list = g_string_new(NULL);

    for (guint i = 0; i < found->len; i++) {
        JsonObject *guest = g_ptr_array_index(found, i);
        g_autofree char *full = source_name(guest);

        g_string_append_printf(list, "%s%s (%s)", i > 0 ? ", " : "", full, text_of(guest, "id"));
    }
    g_set_error(error, WUKONG_ERROR, WUKONG_ERROR_INVALID, "'%s' is ambiguous: it may be %s", word,
                list->str);
}

/* Returns: (transfer full): what @word means, none to many, many only for a pattern; or NULL. */
static GPtrArray *
find(GPtrArray *all, const char *word, GError **error)
{
    g_autoptr(GPtrArray) found = filter(all, is_exactly, word);

    if (found->len == 0) {
        g_clear_pointer(&found, g_ptr_array_unref);
        found = filter(all, begins_id, word);
    }
    if (found->len > 1) {
        set_ambiguous(error, word, found);
        return NULL;
    }
    if (found->len == 0 && is_pattern(word)) {
        g_clear_pointer(&found, g_ptr_array_unref);
        found = filter(all, fits_pattern, word);
    }
    return g_steal_pointer(&found);
}

static GError *
missing_error(const char *word)
{
    if (is_pattern(word))
        return g_error_new(WUKONG_ERROR, WUKONG_ERROR_NOT_FOUND,
                           "no guest fits '%s': see wukongctl list", word);
    return g_error_new(WUKONG_ERROR, WUKONG_ERROR_NOT_FOUND,
                       "no such guest: '%s': see wukongctl list", word);
}

JsonObject *
wk_ctl_choose_one(GPtrArray *all, const char *word, GError **error)
{
    g_autoptr(GPtrArray) found = find(all, word, error);

    if (found == NULL)
        return NULL;
    if (found->len == 0) {
        g_propagate_error(error, missing_error(word));
        return NULL;
    }
    if (found->len > 1) {
        set_ambiguous(error, word, found);
        return NULL;
    }
    return g_ptr_array_index(found, 0); /* @all holds it, too */
}

void
wk_ctl_choice_free(WkCtlChoice *self)
{
    if (self == NULL)
        return;
    g_ptr_array_unref(self->guests);
    g_ptr_array_unref(self->missing);
    g_free(self);
}

static void
add_new(GPtrArray *guests, GPtrArray *found)
{
    for (guint i = 0; i < found->len; i++) {
        JsonObject *guest = g_ptr_array_index(found, i);

        if (!g_ptr_array_find(guests, guest, NULL))
            g_ptr_array_add(guests, json_object_ref(guest));
    }
}

WkCtlChoice *
wk_ctl_choose(GPtrArray *all, const WkCtlArgs *args, GError **error)
{
    g_autoptr(WkCtlChoice) self = g_new0(WkCtlChoice, 1);

    self->guests = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
    self->missing = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
    self->single = !args->all && args->words[0] != NULL && args->words[1] == NULL
                   && !is_pattern(args->words[0]);
    if (args->all)
        add_new(self->guests, all);
    for (gsize i = 0; args->words[i] != NULL; i++) {
        g_autoptr(GPtrArray) found = find(all, args->words[i], error);

        if (found == NULL)
            return NULL;
        if (found->len == 0)
            g_ptr_array_add(self->missing, missing_error(args->words[i]));
        add_new(self->guests, found);
    }
    return g_steal_pointer(&self);
}

static gboolean
shares_name(GPtrArray *all, JsonObject *guest)
{
    const char *name = text_of(guest, "name");

    for (guint i = 0; i < all->len; i++) {
        JsonObject *other = g_ptr_array_index(all, i);

        if (other != guest && g_str_equal(text_of(other, "name"), name))
            return TRUE;
    }
    return FALSE;
}

char *
wk_ctl_guest_label(GPtrArray *all, JsonObject *guest)
{
    g_autofree char *full = source_name(guest);

    return wk_name_printable(shares_name(all, guest) ? full : text_of(guest, "name"));
}

/* Printable, one word for a shell and no option. */
static gboolean
is_plain(const char *word)
{
    g_autofree char *printable = wk_name_printable(word);

    return *word != '\0' && *word != '-' && g_str_equal(printable, word)
           && strpbrk(word, " \t\\\"'`$&|;<>(){}*?[]!#~") == NULL;
}

char *
wk_ctl_guest_word(GPtrArray *all, JsonObject *guest)
{
    g_autofree char *full = source_name(guest);
    const char *const candidates[] = { text_of(guest, "name"), full };

    for (gsize i = 0; i < G_N_ELEMENTS(candidates); i++) {
        g_autoptr(GPtrArray) found = NULL;

        if (!is_plain(candidates[i]))
            continue;
        found = find(all, candidates[i], NULL);
        if (found != NULL && found->len == 1 && g_ptr_array_index(found, 0) == guest)
            return g_strdup(candidates[i]);
    }
    return wk_name_printable(text_of(guest, "id"));
}
