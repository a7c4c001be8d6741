/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "base/json.h"
#include "kube/kubevirt_request_private.h"
#include "kube/object.h"
#include "kube/wukong.h"

#define CORE_PATH "/api/v1"
#define WUKONGS   "wukongs"
#define CLAIMS    "persistentvolumeclaims"

/* ---- small changes ---- */

/* Returns: (transfer full): the text of {"metadata":{"uid":UID, MORE...}}, with @spec if that is
 * not NULL (takes both): a merge patch of the object with exactly that uid; with @version not NULL,
 * of exactly that state of it. */
static char *
merge_patch(const char *uid, const char *version, const char *member, JsonObject *more,
            JsonObject *spec)
{
    g_autoptr(JsonObject) body = json_object_new();
    JsonObject *metadata = json_object_new();

    json_object_set_string_member(metadata, "uid", uid);
    wk_json_set_string(metadata, "resourceVersion", version);
    if (more != NULL)
        json_object_set_object_member(metadata, member, more);
    json_object_set_object_member(body, "metadata", metadata);
    if (spec != NULL)
        json_object_set_object_member(body, "spec", spec);
    return wk_json_to_text(body);
}

/* A CRD that lacks the field drops it without a word. */
static gboolean
has_autostart(const WkAsk *ask, JsonObject *answer)
{
    JsonObject *spec = wk_json_get_object(answer, "spec");
    JsonObject *strategy = wk_json_get_object(spec, "startStrategy");

    return wk_object_peek(strategy, "autoStart") != NULL
           && wk_object_is_true(strategy, "autoStart") == ask->wanted;
}

static void
on_autostart(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    const WkAsk *ask = g_task_get_task_data(task);
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) answer = wk_ask_answer(task, result, &error);

    if (answer == NULL) {
        wk_ask_return_judged(task, wk_ask_patch_meanings, error);
        return;
    }
    if (has_autostart(ask, answer)) {
        g_task_return_boolean(task, TRUE);
        return;
    }
    wk_error_set(&error, WK_ERROR_FAILED, "FieldsPruned",
                 "the CRD of Wukongs drops spec.startStrategy.autoStart: apply data/crd");
    g_task_return_error(task, g_steal_pointer(&error));
}

void
wk_kubevirt_set_autostart(WkKube *kube, const char *ns, const char *wukong, const char *uid,
                          gboolean autostart, GCancellable *cancellable,
                          GAsyncReadyCallback callback, gpointer user_data)
{
    char *path = wk_ask_path(WK_WUKONG_PATH, ns, WUKONGS, wukong, "");
    GTask *task = wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_done_finish);
    WkAsk *ask = g_task_get_task_data(task);
    JsonObject *strategy = json_object_new();
    JsonObject *spec = json_object_new();
    g_autofree char *body = NULL;

    ask->wanted = autostart;
    json_object_set_boolean_member(strategy, "autoStart", autostart);
    json_object_set_object_member(spec, "startStrategy", strategy);
    body = merge_patch(uid, NULL, NULL, NULL, spec);
    wk_ask_send(task, "PATCH", WK_ASK_MERGE_PATCH_TYPE, body, on_autostart);
}

/* ---- on which node it may run ---- */

/* As a JSON pointer has it. */
#define SELECTOR_PATH "/spec/highAvailability/nodeSelector/kubernetes.io~1hostname"

static void
on_pinned(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) answer = wk_ask_answer(task, result, &error);
    g_autoptr(WkPin) pin = answer != NULL ? wk_pin_parse(answer, &error) : NULL;

    if (answer == NULL) {
        wk_ask_return_judged(task, wk_ask_patch_meanings, error);
        return;
    }
    if (pin != NULL && pin->node != NULL) {
        g_task_return_boolean(task, TRUE);
        return;
    }
    if (pin != NULL)
        wk_error_set(&error, WK_ERROR_FAILED, "FieldsPruned",
                     "the CRD of Wukongs drops spec.highAvailability.nodeSelector");
    g_task_return_error(task, g_steal_pointer(&error));
}

/* Returns: (transfer full): the spec of the patch. */
static JsonObject *
pinned_spec(const char *node)
{
    JsonObject *selector = json_object_new();
    JsonObject *availability = json_object_new();
    JsonObject *strategy = json_object_new();
    JsonObject *spec = json_object_new();

    json_object_set_boolean_member(strategy, "autoStart", TRUE);
    json_object_set_object_member(spec, "startStrategy", strategy);
    json_object_set_string_member(selector, WK_HOSTNAME, node);
    json_object_set_object_member(availability, "nodeSelector", selector);
    json_object_set_object_member(spec, "highAvailability", availability);
    return spec;
}

void
wk_kubevirt_pin(WkKube *kube, const char *ns, const WkPin *pin, const char *node,
                GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
    char *path = wk_ask_path(WK_WUKONG_PATH, ns, WUKONGS, pin->wukong, "");
    GTask *task = wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_done_finish);
    g_autofree char *body =
        merge_patch(pin->uid, pin->resource_version, NULL, NULL, pinned_spec(node));

    wk_ask_send(task, "PATCH", WK_ASK_MERGE_PATCH_TYPE, body, on_pinned);
}

/* A test that did not hold: it is not ours any more. */
static const WkAskMeaning unpin_meanings[] = {
    { WK_ERROR_NOT_FOUND, "", -1, NULL },
    { WK_ERROR_INVALID, "due to an error in our request", -1, NULL },
    { WK_ERROR_INVALID, "metadata.uid", -1, NULL },
    { 0, NULL, 0, NULL },
};

static void
on_unpinned(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) answer = wk_ask_answer(task, result, &error);

    if (answer != NULL)
        g_task_return_boolean(task, TRUE);
    else
        wk_ask_return_judged(task, unpin_meanings, error);
}

void
wk_kubevirt_unpin(WkKube *kube, const char *ns, const char *wukong, const char *uid,
                  const char *node, GCancellable *cancellable, GAsyncReadyCallback callback,
                  gpointer user_data)
{
    char *path = wk_ask_path(WK_WUKONG_PATH, ns, WUKONGS, wukong, "");
    GTask *task = wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_done_finish);
    const char *const tests[][2] = {
        { "/metadata/uid", uid },
        { SELECTOR_PATH, node },
        { NULL, NULL },
    };
    g_autofree char *body =
        wk_ask_json_patch(tests, "{\"op\":\"remove\",\"path\":\"" SELECTOR_PATH "\"}");

    wk_ask_send(task, "PATCH", WK_ASK_JSON_PATCH_TYPE, body, on_unpinned);
}

/* ---- the mark ---- */

static void
on_marked(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    const WkAsk *ask = g_task_get_task_data(task);
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) answer = wk_ask_answer(task, result, &error);
    const gboolean gone = g_error_matches(error, WK_ERROR, WK_ERROR_NOT_FOUND);

    if (answer != NULL || (gone && !ask->wanted))
        g_task_return_boolean(task, TRUE);
    else
        wk_ask_return_judged(task, wk_ask_patch_meanings, error);
}

void
wk_kubevirt_mark_suspended(WkKube *kube, const char *ns, const char *vm, const char *uid,
                           gboolean suspended, GCancellable *cancellable,
                           GAsyncReadyCallback callback, gpointer user_data)
{
    char *path = wk_ask_path(WK_KUBEVIRT_PATH, ns, WK_ASK_VMS, vm, "");
    GTask *task = wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_done_finish);
    WkAsk *ask = g_task_get_task_data(task);
    JsonObject *annotations = json_object_new();
    g_autofree char *body = NULL;

    ask->wanted = suspended;
    if (suspended)
        json_object_set_string_member(annotations, WK_ANNOTATION_SUSPENDED, "true");
    else
        json_object_set_null_member(annotations, WK_ANNOTATION_SUSPENDED);
    body = merge_patch(uid, NULL, "annotations", annotations, NULL);
    wk_ask_send(task, "PATCH", WK_ASK_MERGE_PATCH_TYPE, body, on_marked);
}

/* ---- objects as they are ---- */

typedef gpointer (*Parse)(JsonObject *object, GError **error);

/* Takes @task, and returns what @parse makes of the answer. */
static void
return_parsed(GTask *task, GAsyncResult *result, Parse parse, GDestroyNotify destroy)
{
    g_autoptr(GTask) held = task;
    GError *error = NULL;
    g_autoptr(JsonObject) answer = wk_ask_answer(held, result, &error);
    gpointer parsed = answer != NULL ? parse(answer, &error) : NULL;

    if (parsed != NULL)
        g_task_return_pointer(held, parsed, destroy);
    else
        g_task_return_error(held, error);
}

/* A getter: its callback, the request, its finish function. */
#define DEFINE_GET(NAME, Type, type, PREFIX, PLURAL)                                               \
    static gpointer parse_##NAME(JsonObject *object, GError **error)                               \
    {                                                                                              \
        return type##_parse(object, error);                                                        \
    }                                                                                              \
    static void free_##NAME(gpointer data)                                                         \
    {                                                                                              \
        type##_free(data);                                                                         \
    }                                                                                              \
    static void on_##NAME(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)      \
    {                                                                                              \
        return_parsed(data, result, parse_##NAME, free_##NAME);                                    \
    }                                                                                              \
    void wk_kubevirt_get_##NAME(WkKube *kube, const char *ns, const char *name,                    \
                                GCancellable *cancellable, GAsyncReadyCallback callback,           \
                                gpointer user_data)                                                \
    {                                                                                              \
        char *path = wk_ask_path(PREFIX, ns, PLURAL, name, "");                                    \
                                                                                                   \
        wk_ask_send(wk_ask_new(kube, path, cancellable, callback, user_data,                       \
                               wk_kubevirt_get_##NAME##_finish),                                   \
                    "GET", NULL, NULL, on_##NAME);                                                 \
    }                                                                                              \
    Type *wk_kubevirt_get_##NAME##_finish(WkKube *kube G_GNUC_UNUSED, GAsyncResult *result,        \
                                          GError **error)                                          \
    {                                                                                              \
        return g_task_propagate_pointer(G_TASK(result), error);                                    \
    }

DEFINE_GET(fresh_vmi, WkVmi, wk_vmi, WK_KUBEVIRT_PATH, WK_ASK_VMIS)
DEFINE_GET(fresh_vm, WkVm, wk_vm, WK_KUBEVIRT_PATH, WK_ASK_VMS)
DEFINE_GET(claim, WkClaim, wk_claim, CORE_PATH, CLAIMS)
DEFINE_GET(pin, WkPin, wk_pin, WK_WUKONG_PATH, WUKONGS)

/* ---- pods ---- */

static void
free_pod(gpointer data)
{
    wk_vmi_pod_free(data);
}

/* One that can't be read is there all the same: an error, not one less. */
static gpointer
parse_pods(JsonObject *list, GError **error)
{
    g_autoptr(GPtrArray) pods = g_ptr_array_new_with_free_func(free_pod);
    JsonArray *items = wk_json_get_array(list, "items");

    if (items == NULL) {
        wk_error_set(error, WK_ERROR_FAILED, "BadList", "the server's list of pods has no items");
        return NULL;
    }
    for (guint i = 0; i < json_array_get_length(items); i++) {
        WkVmiPod *pod = wk_vmi_pod_parse(wk_object_element(items, i), error);

        if (pod == NULL)
            return NULL;
        g_ptr_array_add(pods, pod);
    }
    return g_steal_pointer(&pods);
}

static void
free_pods(gpointer data)
{
    g_ptr_array_unref(data);
}

static void
on_pods(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    return_parsed(data, result, parse_pods, free_pods);
}

void
wk_kubevirt_list_pods(WkKube *kube, const char *ns, const char *vmi_uid, gboolean now,
                      GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
    g_autofree char *ns_text = g_uri_escape_string(ns, NULL, FALSE);
    g_autofree char *selector = g_strdup_printf("kubevirt.io/created-by=%s", vmi_uid);
    g_autofree char *selector_text = g_uri_escape_string(selector, NULL, FALSE);
    char *path = g_strdup_printf("%s/namespaces/%s/pods?labelSelector=%s%s", CORE_PATH, ns_text,
                                 selector_text, now ? "" : "&resourceVersion=0");

    wk_ask_send(
        wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_list_pods_finish),
        "GET", NULL, NULL, on_pods);
}

GPtrArray *
wk_kubevirt_list_pods_finish(WkKube *kube G_GNUC_UNUSED, GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}
