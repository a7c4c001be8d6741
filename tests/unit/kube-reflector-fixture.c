/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "base/json.h"
#include "kube-reflector-fixture.h"

#define HOUR_MS 3600000

static const WkKubeTimes times = {
    .connect_ms = 10000,
    .request_ms = 30000,
    .suspect_ms = 20000,
    .retry_s_ms = 1,
    .credentials_ms = 60000,
};
/* Haste makes stall_ms shorter as well: no stall unless a test asks for one. */
const WkReflectorOptions reflect_usual = { .path = THINGS, .stall_ms = 60 * HOUR_MS };

/* ---- what is told ---- */

static void
tell(ReflectFixture *self, const char *word)
{
    g_string_append_printf(self->told, "%s%s", self->told->len > 0 ? " " : "", word);
    if (self->hurry_in != NULL && g_str_has_prefix(word, self->hurry_in)) {
        self->hurry_in = NULL;
        wk_reflector_hurry(self->reflector);
    }
    if (self->free_in != NULL && g_str_has_prefix(word, self->free_in)) {
        self->free_in = NULL;
        g_clear_pointer(&self->reflector, wk_reflector_free);
    }
}

static void
tell_object(ReflectFixture *self, char sign, JsonObject *object)
{
    JsonObject *metadata = wk_json_get_object(object, "metadata");
    const char *name = wk_json_get_string(metadata, "name");
    const char *version = wk_json_get_string(metadata, "resourceVersion");
    g_autofree char *word = g_strdup_printf("%c%s%s", sign, name, version);

    assert_non_null(self->reflector);
    if (sign == '+')
        g_hash_table_replace(self->copy, g_strdup(name), g_strdup(version));
    else
        g_hash_table_remove(self->copy, name);
    if (self->listed != NULL && sign == '+')
        g_hash_table_add(self->listed, g_strdup(name));
    tell(self, word);
}

static void
on_object(JsonObject *object, gpointer data)
{
    tell_object(data, '+', object);
}

static void
on_left(JsonObject *last, gpointer data)
{
    tell_object(data, '-', last);
}

static void
on_relisting(gpointer data)
{
    ReflectFixture *self = data;

    assert_non_null(self->reflector);
    g_clear_pointer(&self->listed, g_hash_table_unref);
    self->listed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    tell(self, "relist");
}

static gboolean
was_not_listed(gpointer name, gpointer version G_GNUC_UNUSED, gpointer listed)
{
    return !g_hash_table_contains(listed, name);
}

static void
on_synced(gpointer data)
{
    ReflectFixture *self = data;

    assert_non_null(self->reflector);
    assert_non_null(self->listed);
    g_hash_table_foreach_remove(self->copy, was_not_listed, self->listed);
    g_clear_pointer(&self->listed, g_hash_table_unref);
    tell(self, "sync");
}

static void
on_trouble(const GError *error, guint retry_ms, gpointer data)
{
    ReflectFixture *self = data;
    const char *reason = error != NULL ? wk_error_get_reason(error) : NULL;
    g_autofree char *word = g_strconcat("!", reason, NULL);

    assert_non_null(self->reflector);
    g_clear_error(&self->trouble);
    if (error != NULL) {
        self->trouble = g_error_copy(error);
        g_array_append_val(self->retries, retry_ms);
    }
    tell(self, error != NULL ? word : "well");
}

static const WkReflectorListener listener = {
    .relisting = on_relisting,
    .object = on_object,
    .left = on_left,
    .synced = on_synced,
    .trouble = on_trouble,
};

/* ---- the fixture ---- */

int
reflect_setup(void **state)
{
    ReflectFixture *self = g_new0(ReflectFixture, 1);

    self->api = fake_apiserver_new();
    self->config = fake_kube_config_new(fake_apiserver_get_url(self->api), "sesame");
    self->kube = wk_kube_new(self->config, "test/1");
    wk_kube_set_times(self->kube, &times);
    self->told = g_string_new(NULL);
    self->copy = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    self->retries = g_array_new(FALSE, FALSE, sizeof(guint));
    *state = self;
    return 0;
}

int
reflect_teardown(void **state)
{
    ReflectFixture *self = *state;

    reflect_stop(self);
    wk_kube_free(self->kube);
    fake_settle();
    wk_kube_config_unref(self->config);
    fake_apiserver_free(self->api);
    g_string_free(self->told, TRUE);
    g_hash_table_unref(self->copy);
    g_array_unref(self->retries);
    g_free(self);
    return 0;
}

void
reflect_start(ReflectFixture *self, const WkReflectorOptions *options)
{
    self->reflector = wk_reflector_new(self->kube, options, &listener, self);
    wk_reflector_set_haste(self->reflector, REFLECT_HASTE);
}

void
reflect_stop(ReflectFixture *self)
{
    g_clear_pointer(&self->reflector, wk_reflector_free);
    reflect_forget_told(self);
    g_hash_table_remove_all(self->copy);
    g_clear_pointer(&self->listed, g_hash_table_unref);
    g_clear_error(&self->trouble);
    g_array_set_size(self->retries, 0);
}

typedef struct {
    ReflectFixture *self;
    const char *told;
} Wish;

static gboolean
is_told(gpointer data)
{
    const Wish *wish = data;

    if (!g_str_has_prefix(wish->told, wish->self->told->str))
        fail_msg("told '%s', expected '%s'", wish->self->told->str, wish->told);
    return g_str_equal(wish->self->told->str, wish->told);
}

void
reflect_wait_told(ReflectFixture *self, const char *told)
{
    Wish wish = { self, told };

    fake_wait_until(is_told, &wish, told);
    reflect_forget_told(self);
}

void
reflect_forget_told(ReflectFixture *self)
{
    g_string_truncate(self->told, 0);
}

void
reflect_assert_copy(ReflectFixture *self, const char *copy)
{
    g_autoptr(GList) names =
        g_list_sort(g_hash_table_get_keys(self->copy), (GCompareFunc)(void (*)(void))strcmp);
    g_autoptr(GString) text = g_string_new(NULL);

    for (GList *link = names; link != NULL; link = link->next)
        g_string_append_printf(text, "%s%s%s", text->len > 0 ? " " : "", (char *)link->data,
                               (char *)g_hash_table_lookup(self->copy, link->data));
    assert_string_equal(text->str, copy);
}

void
reflect_assert_trouble(ReflectFixture *self, WkErrorCode code, const char *reason)
{
    assert_non_null(self->trouble);
    if (!g_error_matches(self->trouble, WK_ERROR, (int)code)
        || g_strcmp0(wk_error_get_reason(self->trouble), reason) != 0)
        fail_msg("%s was expected, got %d %s: %s", reason, self->trouble->code,
                 wk_error_get_reason(self->trouble), self->trouble->message);
}

guint
reflect_retry_ms(ReflectFixture *self, guint index)
{
    assert_true(index < self->retries->len);
    return g_array_index(self->retries, guint, index);
}

/* ---- what the server says ---- */

void
reflect_push(FakeCall *call, const char *type, const char *name, const char *version)
{
    fake_call_pushf(call,
                    "{\"type\":\"%s\",\"object\":{\"metadata\":{\"name\":\"%s\","
                    "\"resourceVersion\":\"%s\"}}}\n",
                    type, name, version);
}

void
reflect_push_end(FakeCall *call, const char *version)
{
    fake_call_pushf(call,
                    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"%s\","
                    "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n",
                    version);
}

void
reflect_push_error(FakeCall *call, guint code, const char *reason)
{
    fake_call_pushf(call,
                    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":%u,"
                    "\"reason\":\"%s\",\"message\":\"as you wish\"}}\n",
                    code, reason);
}

/* "a1 b2": names of one letter, the rest is the version. */
static GStrv
split_names(const char *names)
{
    return g_strsplit(names, " ", *names != '\0' ? -1 : 0);
}

void
reflect_page(FakeCall *call, const char *names, const char *version, const char *next)
{
    g_auto(GStrv) each = split_names(names);
    g_autoptr(GString) items = g_string_new(NULL);
    g_autofree char *body = NULL;

    for (gsize i = 0; each[i] != NULL && *each[i] != '\0'; i++)
        g_string_append_printf(items,
                               "%s{\"metadata\":{\"name\":\"%c\",\"resourceVersion\":\"%s\"}}",
                               i > 0 ? "," : "", each[i][0], each[i] + 1);
    body = g_strdup_printf("{\"kind\":\"ThingList\",\"metadata\":{\"resourceVersion\":\"%s\","
                           "\"continue\":\"%s\"},\"items\":[%s]}",
                           version, next != NULL ? next : "", items->str);
    fake_call_answer(call, 200, NULL, body);
}

FakeCall *
reflect_list(ReflectFixture *self, const char *names, const char *version)
{
    FakeCall *call = fake_apiserver_wait(self->api, GET_STREAMED);
    g_auto(GStrv) each = split_names(names);

    fake_call_begin(call, 200, NULL);
    for (gsize i = 0; each[i] != NULL && *each[i] != '\0'; i++) {
        const char name[] = { each[i][0], '\0' };

        reflect_push(call, "ADDED", name, each[i] + 1);
    }
    reflect_push_end(call, version);
    return call;
}

FakeCall *
reflect_watch(ReflectFixture *self, const char *version)
{
    FakeCall *call = fake_apiserver_wait(self->api, GET_WATCH);

    reflect_assert_param(call, "resourceVersion", version);
    reflect_assert_param(call, "watch", "true");
    reflect_assert_param(call, "allowWatchBookmarks", "true");
    reflect_assert_param(call, "sendInitialEvents", NULL);
    fake_call_begin(call, 200, NULL);
    return call;
}

void
reflect_assert_param(const FakeCall *call, const char *name, const char *value)
{
    g_autofree char *found = fake_call_get_param(call, name);

    if (g_strcmp0(found, value) != 0)
        fail_msg("%s: %s is '%s', not '%s'", fake_call_get_path(call), name,
                 found != NULL ? found : "(none)", value != NULL ? value : "(none)");
}
