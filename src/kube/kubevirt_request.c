/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/kubevirt_request.h"

#include "base/error.h"
#include "kube/canonical.h"
#include "kube/kubevirt_request_private.h"

#define UNLOCK_TRIES 5

/* ---- subresources ---- */

/* KubeVirt's virt-api, pkg/virt-api/rest/lifecycle.go. */
static const WkAskMeaning pause_meanings[] = {
    { WK_ERROR_CONFLICT, "already paused", -1, NULL },
    { WK_ERROR_CONFLICT, "not running", WK_ERROR_CONFLICT, "NotRunning" },
    { WK_ERROR_CONFLICT, "being migrated", WK_ERROR_CONFLICT, "MigrationInProgress" },
    { WK_ERROR_DENIED, "LivenessProbe", WK_ERROR_REFUSED, "LivenessProbe" },
    { 0, NULL, 0, NULL },
};

/* The snapshot ends by itself, so that is worth another try. */
static const WkAskMeaning unpause_meanings[] = {
    { WK_ERROR_CONFLICT, "not paused", WK_ERROR_CONFLICT, "NotPaused" },
    { WK_ERROR_CONFLICT, "not running", WK_ERROR_CONFLICT, "NotRunning" },
    { WK_ERROR_CONFLICT, "snapshot", WK_ERROR_UNAVAILABLE, "SnapshotInProgress" },
    { 0, NULL, 0, NULL },
};

static const WkAskMeaning start_meanings[] = { { 0, NULL, 0, NULL } };

static void
on_acted(GAsyncResult *result, gpointer data, const WkAskMeaning *meanings)
{
    g_autoptr(GTask) task = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) answer = wk_ask_answer(task, result, &error);

    if (answer != NULL)
        g_task_return_boolean(task, TRUE);
    else
        wk_ask_return_judged(task, meanings, error);
}

static void
on_paused(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    on_acted(result, data, pause_meanings);
}

static void
on_unpaused(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    on_acted(result, data, unpause_meanings);
}

static void
on_started(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    on_acted(result, data, start_meanings);
}

void
wk_kubevirt_pause(WkKube *kube, const char *ns, const char *name, GCancellable *cancellable,
                  GAsyncReadyCallback callback, gpointer user_data)
{
    char *path = wk_ask_path(WK_KUBEVIRT_SUBRESOURCE_PATH, ns, WK_ASK_VMIS, name, "/pause");

    wk_ask_send(wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_done_finish),
                "PUT", WK_ASK_JSON_TYPE, "{}", on_paused);
}

void
wk_kubevirt_unpause(WkKube *kube, const char *ns, const char *name, GCancellable *cancellable,
                    GAsyncReadyCallback callback, gpointer user_data)
{
    char *path = wk_ask_path(WK_KUBEVIRT_SUBRESOURCE_PATH, ns, WK_ASK_VMIS, name, "/unpause");

    wk_ask_send(wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_done_finish),
                "PUT", WK_ASK_JSON_TYPE, "{}", on_unpaused);
}

void
wk_kubevirt_start(WkKube *kube, const char *ns, const char *name, GCancellable *cancellable,
                  GAsyncReadyCallback callback, gpointer user_data)
{
    char *path = wk_ask_path(WK_KUBEVIRT_SUBRESOURCE_PATH, ns, WK_ASK_VMS, name, "/start");

    wk_ask_send(wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_done_finish),
                "PUT", WK_ASK_JSON_TYPE, "{}", on_started);
}

gboolean
wk_kubevirt_done_finish(WkKube *kube G_GNUC_UNUSED, GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}

/* ---- the lock ---- */

/* What the server made of it must be what was asked for: only then is there no successor. */
static WkVmi *
check_locked(const WkAsk *ask, JsonObject *answer, GError **error)
{
    g_autoptr(WkVmi) vmi = wk_vmi_parse(answer, error);

    if (vmi == NULL)
        return NULL;
    if (!g_str_equal(vmi->uid, ask->uid)) {
        wk_error_set(error, WK_ERROR_CONFLICT, "Replaced",
                     "VirtualMachineInstance %s/%s is another one by now", vmi->ns, vmi->name);
        return NULL;
    }
    if (vmi->deleting) {
        wk_error_set(error, WK_ERROR_CONFLICT, "GuestDeleting",
                     "VirtualMachineInstance %s/%s is being deleted", vmi->ns, vmi->name);
        return NULL;
    }
    if (!vmi->has_lock) {
        wk_error_set(error, WK_ERROR_CONFLICT, "Conflict",
                     "VirtualMachineInstance %s/%s came back without the finalizer " WK_VMI_LOCK
                     ": somebody takes it away",
                     vmi->ns, vmi->name);
        return NULL;
    }
    return g_steal_pointer(&vmi);
}

static void
on_locked(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) answer = wk_ask_answer(task, result, &error);
    WkVmi *vmi = NULL;

    if (answer == NULL) {
        wk_ask_return_judged(task, wk_ask_patch_meanings, error);
        return;
    }
    vmi = check_locked(g_task_get_task_data(task), answer, &error);
    if (vmi != NULL)
        g_task_return_pointer(task, vmi, (GDestroyNotify)wk_vmi_free);
    else
        g_task_return_error(task, g_steal_pointer(&error));
}

/* Returns: (transfer full). */
static char *
lock_patch(const WkVmi *vmi)
{
    const char *const tests[][2] = {
        { "/metadata/uid", vmi->uid },
        { "/metadata/resourceVersion", vmi->resource_version },
        { NULL, NULL },
    };
    const char *add = NULL;

    if (!vmi->has_lock)
        add = vmi->finalizers > 0 ? "{\"op\":\"add\",\"path\":\"/metadata/finalizers/-\",\"value\":"
                                    "\"" WK_VMI_LOCK "\"}"
                                  : "{\"op\":\"add\",\"path\":\"/metadata/finalizers\",\"value\":"
                                    "[\"" WK_VMI_LOCK "\"]}";
    return wk_ask_json_patch(tests, add);
}

void
wk_kubevirt_lock(WkKube *kube, const WkVmi *vmi, GCancellable *cancellable,
                 GAsyncReadyCallback callback, gpointer user_data)
{
    char *path = wk_ask_path(WK_KUBEVIRT_PATH, vmi->ns, WK_ASK_VMIS, vmi->name, "");
    GTask *task = wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_lock_finish);
    WkAsk *ask = g_task_get_task_data(task);
    g_autofree char *body = NULL;

    ask->uid = g_strdup(vmi->uid);
    if (vmi->deleting || vmi->resource_version == NULL) {
        g_autoptr(GTask) held = task;
        GError *error = NULL;

        wk_error_set(&error, WK_ERROR_CONFLICT, vmi->deleting ? "GuestDeleting" : "Conflict",
                     "VirtualMachineInstance %s/%s %s", vmi->ns, vmi->name,
                     vmi->deleting ? "is being deleted" : "has no resourceVersion");
        g_task_return_error(held, error);
        return;
    }
    body = lock_patch(vmi);
    wk_ask_send(task, "PATCH", WK_ASK_JSON_PATCH_TYPE, body, on_locked);
}

WkVmi *
wk_kubevirt_lock_finish(WkKube *kube G_GNUC_UNUSED, GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}

/* ---- taking it off ---- */

static void look_for_lock(GTask *task);

/* A list may name it twice. */
static gboolean
still_has_lock(const WkAsk *ask, JsonObject *answer)
{
    g_autoptr(WkVmi) vmi = wk_vmi_parse(answer, NULL);

    return vmi != NULL && g_str_equal(vmi->uid, ask->uid) && vmi->has_lock;
}

static void
on_unlocked(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    WkAsk *ask = g_task_get_task_data(task);
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) answer = wk_ask_answer(task, result, &error);
    GError *meant = NULL;

    if (answer != NULL ? !still_has_lock(ask, answer)
                       : g_error_matches(error, WK_ERROR, WK_ERROR_NOT_FOUND)) {
        g_task_return_boolean(task, TRUE);
        return;
    }
    if (answer != NULL)
        wk_error_set(&error, WK_ERROR_CONFLICT, "Conflict",
                     "the finalizer " WK_VMI_LOCK " was there more than once");
    (void)wk_ask_judge(wk_ask_patch_meanings, error, &meant);
    if (g_error_matches(meant, WK_ERROR, WK_ERROR_CONFLICT) && ++ask->tries < UNLOCK_TRIES) {
        g_error_free(meant);
        look_for_lock(g_steal_pointer(&task));
        return;
    }
    g_task_return_error(task, meant);
}

/* Both tests name what is taken away: the object, and the place in its list. */
static void
take_lock_off(GTask *task, const WkVmi *vmi)
{
    g_autofree char *place = g_strdup_printf("/metadata/finalizers/%d", vmi->lock_index);
    const char *const tests[][2] = {
        { "/metadata/uid", vmi->uid },
        { place, WK_VMI_LOCK },
        { NULL, NULL },
    };
    g_autofree char *last = g_strdup_printf("{\"op\":\"remove\",\"path\":\"%s\"}", place);
    g_autofree char *body = wk_ask_json_patch(tests, last);

    wk_ask_send(task, "PATCH", WK_ASK_JSON_PATCH_TYPE, body, on_unlocked);
}

static void
on_lock_looked_for(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    g_autoptr(GTask) task = data;
    const WkAsk *ask = g_task_get_task_data(task);
    GError *error = NULL;
    g_autoptr(JsonObject) answer = wk_ask_answer(task, result, &error);
    g_autoptr(WkVmi) vmi = answer != NULL ? wk_vmi_parse(answer, &error) : NULL;

    if (vmi != NULL && g_str_equal(vmi->uid, ask->uid) && vmi->has_lock) {
        take_lock_off(g_steal_pointer(&task), vmi);
        return;
    }
    if (vmi == NULL && !g_error_matches(error, WK_ERROR, WK_ERROR_NOT_FOUND)) {
        g_task_return_error(task, error);
        return;
    }
    g_clear_error(&error);
    g_task_return_boolean(task, TRUE);
}

/* Takes @task. */
static void
look_for_lock(GTask *task)
{
    wk_ask_send(task, "GET", NULL, NULL, on_lock_looked_for);
}

void
wk_kubevirt_unlock(WkKube *kube, const char *ns, const char *name, const char *uid,
                   GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
    char *path = wk_ask_path(WK_KUBEVIRT_PATH, ns, WK_ASK_VMIS, name, "");
    GTask *task = wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_done_finish);
    WkAsk *ask = g_task_get_task_data(task);

    ask->uid = g_strdup(uid);
    look_for_lock(task);
}

/* ---- the end of a VMI ---- */

static const WkAskMeaning end_meanings[] = {
    { WK_ERROR_NOT_FOUND, "", -1, NULL },
    { WK_ERROR_CONFLICT, "UID in the precondition", WK_ERROR_CONFLICT, "Replaced" },
    { 0, NULL, 0, NULL },
};

static void
on_ended(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    on_acted(result, data, end_meanings);
}

void
wk_kubevirt_end(WkKube *kube, const char *ns, const char *name, const char *uid,
                GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data)
{
    char *path = wk_ask_path(WK_KUBEVIRT_PATH, ns, WK_ASK_VMIS, name, "");
    g_autoptr(JsonNode) value = json_node_init_string(json_node_alloc(), uid);
    g_autofree char *quoted = wk_canonical_text(value);
    g_autofree char *body = g_strdup_printf(
        "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"preconditions\":{\"uid\":%s}}",
        quoted);

    wk_ask_send(wk_ask_new(kube, path, cancellable, callback, user_data, wk_kubevirt_done_finish),
                "DELETE", WK_ASK_JSON_TYPE, body, on_ended);
}
