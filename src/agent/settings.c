/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/settings.h"

#include "base/error.h"
#include "base/names.h"
#include "base/units.h"

#include <string.h>
#include <unistd.h>

typedef enum {
    KIND_TEXT,   /* that matches `choices`, a regular expression; NULL: anything */
    KIND_CHOICE, /* one of `choices`, separated by | */
    KIND_BOOL,
    KIND_COUNT, /* "auto" (0), or 1 .. 64 */
    KIND_PERCENT,
    KIND_DURATION,
    KIND_INTEGER,
} Kind;

typedef struct {
    const char *group;
    const char *key;
    Kind kind;
    gsize offset;
    const char *fallback;
    const char *choices;
} Key;

#define AT(field)        offsetof(WkConfig, field)
#define SOURCE_AT(field) offsetof(WkConfigSource, field)
#define GUEST_AT(field)  offsetof(WkConfigGuest, field)
#define AUTO_BOOL        "auto|true|false"

/* What texts may look like. */
#define NAME   "^[A-Za-z0-9._-]*$"
#define LABEL  "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
#define PATH   "^(/.*)?$"
#define FOLDER "^(auto|/.*)$"
#define URI    "^[a-z+]+://"
#define STALL  "^[0-9]+(ms|s)/[0-9]+(ms|s)$"
#define LISTEN "^(([^][:]+|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5})?$"

static const Key keys[] = {
    { "node", "name", KIND_TEXT, AT(node_name), "", NAME },
    { "kubevirt", "enabled", KIND_CHOICE, AT(kubevirt_enabled), "auto", AUTO_BOOL },
    { "kubevirt", "kubelet-dir", KIND_TEXT, AT(kubelet_dir), "/var/lib/kubelet", PATH },
    { "kubevirt", "vault-dir", KIND_TEXT, AT(kubevirt_vault_dir), "", PATH },
    { "kube", "enabled", KIND_CHOICE, AT(kube_enabled), "auto", AUTO_BOOL },
    { "kube", "kubeconfig", KIND_TEXT, AT(kubeconfig), "", PATH },
    { "kube", "namespace", KIND_TEXT, AT(kube_namespace), "wukong-system", LABEL },
    { "kube", "domain-annotation", KIND_TEXT, AT(domain_annotation), "none", NULL },
    { "suspend", "default-target", KIND_CHOICE, AT(default_target), "memory", "memory|disk" },
    { "suspend", "parallel-saves", KIND_COUNT, AT(parallel_saves), "auto", NULL },
    { "suspend", "parallel-restores", KIND_COUNT, AT(parallel_restores), "auto", NULL },
    { "vault", "dir", KIND_TEXT, AT(vault_dir), "", PATH },
    { "vault", "format", KIND_CHOICE, AT(vault_format), "auto", "auto|raw|zstd" },
    { "vault", "reserve-percent", KIND_PERCENT, AT(reserve_percent), "5", NULL },
    { "vault", "bypass-cache", KIND_CHOICE, AT(bypass_cache), "auto", AUTO_BOOL },
    { "retention", "orphan", KIND_DURATION, AT(retention_orphan_ms), "24h", NULL },
    { "retention", "quarantine", KIND_DURATION, AT(retention_quarantine_ms), "7d", NULL },
    { "retention", "history", KIND_DURATION, AT(retention_history_ms), "30d", NULL },
    { "maintenance", "deadline", KIND_DURATION, AT(maintenance_deadline_ms), "15m", NULL },
    { "maintenance", "fallback", KIND_CHOICE, AT(maintenance_fallback), "stop", "stop|leave" },
    { "maintenance", "restore-on-boot", KIND_BOOL, AT(restore_on_boot), "true", NULL },
    { "pressure", "enabled", KIND_BOOL, AT(pressure_enabled), "false", NULL },
    { "pressure", "some-stall", KIND_TEXT, AT(pressure_some_stall), "150ms/1s", STALL },
    { "pressure", "hold", KIND_DURATION, AT(pressure_hold_ms), "2m", NULL },
    { "pressure", "resume-below", KIND_PERCENT, AT(pressure_resume_below_percent), "5%", NULL },
    { "pressure", "reclaim", KIND_CHOICE, AT(pressure_reclaim), "auto", AUTO_BOOL },
    { "metrics", "listen", KIND_TEXT, AT(metrics_listen), "", LISTEN },
};

static const Key source_keys[] = {
    { "source", "uri", KIND_TEXT, SOURCE_AT(uri), "qemu:///system", URI },
    { "source", "save-dir", KIND_TEXT, SOURCE_AT(save_dir), "auto", FOLDER },
};

static const Key guest_keys[] = {
    { "guest", "priority", KIND_INTEGER, GUEST_AT(priority), "0", NULL },
    { "guest", "pressure", KIND_CHOICE, GUEST_AT(pressure), "never", "never|memory|disk" },
    { "guest", "on-restore-failure", KIND_CHOICE, GUEST_AT(on_restore_failure), "Hold",
      "Hold|ColdBoot" },
};

static gboolean
set_text(char **place, const char *text)
{
    g_free(*place);
    *place = g_strdup(text);
    return TRUE;
}

static gboolean
set_matching(char **place, const char *pattern, const char *text, GError **error)
{
    if (pattern == NULL || g_regex_match_simple(pattern, text, G_REGEX_DOLLAR_ENDONLY, 0))
        return set_text(place, text);
    wk_error_set(error, WK_ERROR_INVALID, NULL, "'%s' is not of the form that is expected here",
                 text);
    return FALSE;
}

static gboolean
set_choice(char **place, const char *choices, const char *text, GError **error)
{
    g_auto(GStrv) allowed = g_strsplit(choices, "|", -1);

    if (g_strv_contains((const char *const *)allowed, text))
        return set_text(place, text);
    wk_error_set(error, WK_ERROR_INVALID, NULL, "'%s' is not one of %s", text, choices);
    return FALSE;
}

static gboolean
set_bool(gboolean *place, const char *text, GError **error)
{
    if (g_str_equal(text, "true") || g_str_equal(text, "false")) {
        *place = g_str_equal(text, "true");
        return TRUE;
    }
    wk_error_set(error, WK_ERROR_INVALID, NULL, "'%s' is not true or false", text);
    return FALSE;
}

static gboolean
set_number(guint64 *place, const char *text, guint64 min, guint64 max, GError **error)
{
    guint64 number;

    if (g_ascii_string_to_unsigned(text, 10, min, max, &number, NULL)) {
        *place = number;
        return TRUE;
    }
    wk_error_set(error, WK_ERROR_INVALID, NULL,
                 "'%s' is not a whole number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                 text, min, max);
    return FALSE;
}

static gboolean
set_percent(guint64 *place, const char *text, GError **error)
{
    g_autofree char *number = g_strdup(text);

    if (g_str_has_suffix(number, "%"))
        number[strlen(number) - 1] = '\0';
    return set_number(place, number, 0, 90, error);
}

static gboolean
set_integer(gint64 *place, const char *text, GError **error)
{
    if (g_ascii_string_to_signed(text, 10, -1000000, 1000000, place, NULL))
        return TRUE;
    wk_error_set(error, WK_ERROR_INVALID, NULL, "'%s' is not a whole number", text);
    return FALSE;
}

static gboolean
set_value(const Key *key, gpointer base, const char *text, GError **error)
{
    gpointer place = (guint8 *)base + key->offset;

    switch (key->kind) {
    case KIND_TEXT:
        return set_matching(place, key->choices, text, error);
    case KIND_CHOICE:
        return set_choice(place, key->choices, text, error);
    case KIND_BOOL:
        return set_bool(place, text, error);
    case KIND_COUNT:
        if (g_str_equal(text, "auto")) {
            *(guint64 *)place = 0;
            return TRUE;
        }
        return set_number(place, text, 1, 64, error);
    case KIND_PERCENT:
        return set_percent(place, text, error);
    case KIND_DURATION:
        return wk_units_parse_duration(text, place, error);
    case KIND_INTEGER:
        return set_integer(place, text, error);
    default:
        g_return_val_if_reached(FALSE);
    }
}

static void
set_defaults(const Key *table, gsize n, gpointer base)
{
    for (gsize i = 0; i < n; i++)
        (void)set_value(&table[i], base, table[i].fallback, NULL);
}

static void
source_free(gpointer data)
{
    WkConfigSource *self = data;

    g_free(self->name);
    g_free(self->uri);
    g_free(self->save_dir);
    g_free(self);
}

static void
guest_free(gpointer data)
{
    WkConfigGuest *self = data;

    g_free(self->glob);
    g_free(self->pressure);
    g_free(self->on_restore_failure);
    g_free(self);
}

static WkConfigSource *
find_source(WkConfig *self, const char *name)
{
    WkConfigSource *source;

    for (guint i = 0; i < self->sources->len; i++) {
        source = g_ptr_array_index(self->sources, i);
        if (g_str_equal(source->name, name))
            return source;
    }
    source = g_new0(WkConfigSource, 1);
    source->name = g_strdup(name);
    set_defaults(source_keys, G_N_ELEMENTS(source_keys), source);
    g_ptr_array_add(self->sources, source);
    return source;
}

static WkConfigGuest *
find_guest(WkConfig *self, const char *glob)
{
    WkConfigGuest *guest;

    for (guint i = 0; i < self->guests->len; i++) {
        guest = g_ptr_array_index(self->guests, i);
        if (g_str_equal(guest->glob, glob))
            return guest;
    }
    guest = g_new0(WkConfigGuest, 1);
    guest->glob = g_strdup(glob);
    set_defaults(guest_keys, G_N_ELEMENTS(guest_keys), guest);
    g_ptr_array_add(self->guests, guest);
    return guest;
}

typedef struct {
    const Key *table;
    gsize n;
    gpointer base;
    const char *group; /* as the table has it */
} Group;

/* Which table and which struct a [group] of the file means; FALSE: there is no such group. */
static gboolean
find_group(WkConfig *self, const char *name, Group *found)
{
    if (g_str_has_prefix(name, "source ") && name[7] != '\0') {
        *found = (Group){ source_keys, G_N_ELEMENTS(source_keys), find_source(self, name + 7),
                          "source" };
        return TRUE;
    }
    if (g_str_has_prefix(name, "guest ") && name[6] != '\0') {
        *found =
            (Group){ guest_keys, G_N_ELEMENTS(guest_keys), find_guest(self, name + 6), "guest" };
        return TRUE;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (!g_str_equal(keys[i].group, name))
            continue;
        *found = (Group){ keys, G_N_ELEMENTS(keys), self, keys[i].group };
        return TRUE;
    }
    return FALSE;
}

static const Key *
find_key(const Group *group, const char *name)
{
    for (gsize i = 0; i < group->n; i++) {
        if (g_str_equal(group->table[i].group, group->group)
            && g_str_equal(group->table[i].key, name))
            return &group->table[i];
    }
    return NULL;
}

static gboolean
read_key(GKeyFile *file, const char *path, const char *name, const Group *group, const char *key,
         GError **error)
{
    const Key *known = find_key(group, key);
    g_autofree char *value = NULL;
    g_autofree char *prefix = g_strdup_printf("%s: [%s] %s", path, name, key);
    g_autoptr(GError) local = NULL;

    if (known == NULL) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "%s: there is no such key", prefix);
        return FALSE;
    }
    /* GLib sets an error for a bad escape and returns what it made of it all the same. */
    value = g_key_file_get_string(file, name, key, &local);
    if (local != NULL) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "%s: %s", prefix, local->message);
        return FALSE;
    }
    if (!set_value(known, group->base, g_strstrip(value), error)) {
        g_prefix_error(error, "%s: ", prefix);
        return FALSE;
    }
    return TRUE;
}

static gboolean
read_group(WkConfig *self, GKeyFile *file, const char *path, const char *name, GError **error)
{
    g_auto(GStrv) names = NULL;
    Group group;

    if (!find_group(self, name, &group)) {
        wk_error_set(error, WK_ERROR_INVALID, NULL, "%s: there is no group [%s]", path, name);
        return FALSE;
    }
    names = g_key_file_get_keys(file, name, NULL, error);
    for (gsize i = 0; names != NULL && names[i] != NULL; i++) {
        if (!read_key(file, path, name, &group, names[i], error))
            return FALSE;
    }
    return names != NULL;
}

static gboolean
read_file(WkConfig *self, const char *path, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_auto(GStrv) groups = NULL;
    g_autoptr(GError) local = NULL;

    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &local)) {
        const gboolean missing = g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT);

        wk_error_set(error, missing ? WK_ERROR_NOT_FOUND : WK_ERROR_INVALID, NULL, "%s: %s", path,
                     local->message);
        return FALSE;
    }
    groups = g_key_file_get_groups(file, NULL);
    for (gsize i = 0; groups[i] != NULL; i++) {
        if (!read_group(self, file, path, groups[i], error))
            return FALSE;
    }
    return TRUE;
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static gboolean
read_folder(WkConfig *self, const char *folder, GError **error)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        if (g_str_has_suffix(name, ".conf"))
            g_ptr_array_add(names, g_build_filename(folder, name, NULL));
    }
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++) {
        if (!read_file(self, g_ptr_array_index(names, i), error))
            return FALSE;
    }
    return TRUE;
}

/* What follows from the machine where the files say nothing. */
static void
fill_in(WkConfig *self, const char *state_dir)
{
    if (*self->kubevirt_vault_dir != '\0' && !g_str_equal(self->kubevirt_enabled, "false"))
        set_text(&self->vault_dir, self->kubevirt_vault_dir); /* there is one vault */
    if (*self->vault_dir == '\0') {
        g_free(self->vault_dir);
        self->vault_dir = g_build_filename(state_dir, "vault", NULL);
    }
    if (*self->node_name == '\0' && g_getenv("NODE_NAME") != NULL)
        set_text(&self->node_name, g_getenv("NODE_NAME"));
    if (*self->node_name == '\0') {
        g_free(self->node_name);
        self->node_name = g_ascii_strdown(g_get_host_name(), -1); /* as the kubelet spells it */
    }
}

WkConfig *
wk_config_load(const char *path, const char *state_dir, GError **error)
{
    g_autoptr(WkConfig) self = g_new0(WkConfig, 1);
    const char *file = path != NULL ? path : WK_CONFIG_PATH;
    g_autofree char *folder = g_strconcat(file, ".d", NULL);
    g_autoptr(GError) local = NULL;

    self->sources = g_ptr_array_new_with_free_func(source_free);
    self->guests = g_ptr_array_new_with_free_func(guest_free);
    set_defaults(keys, G_N_ELEMENTS(keys), self);
    if (!read_file(self, file, &local)
        && (path != NULL || !g_error_matches(local, WK_ERROR, WK_ERROR_NOT_FOUND))) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    if (!read_folder(self, folder, error))
        return NULL;
    fill_in(self, state_dir);
    return g_steal_pointer(&self);
}

void
wk_config_free(WkConfig *self)
{
    if (self == NULL)
        return;
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (keys[i].kind == KIND_TEXT || keys[i].kind == KIND_CHOICE)
            g_free(*(char **)(gpointer)((guint8 *)self + keys[i].offset));
    }
    g_clear_pointer(&self->sources, g_ptr_array_unref);
    g_clear_pointer(&self->guests, g_ptr_array_unref);
    g_free(self);
}

WkTarget
wk_config_default_target(const WkConfig *self)
{
    return g_str_equal(self->default_target, "disk") ? WK_TARGET_DISK : WK_TARGET_MEMORY;
}
