/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/error.h"
#include "kube/canonical.h"
#include "kube/kubevirt_request_private.h"

#include <string.h>

static void
ask_free(gpointer data)
{
    WkAsk *ask = data;

    g_free(ask->path);
    g_free(ask->uid);
    g_clear_object(&ask->cancellable);
    g_free(ask);
}

char *
wk_ask_path(const char *prefix, const char *ns, const char *plural, const char *name,
            const char *tail)
{
    g_autofree char *ns_text = g_uri_escape_string(ns, NULL, FALSE);
    g_autofree char *name_text = g_uri_escape_string(name, NULL, FALSE);

    return g_strdup_printf("%s/namespaces/%s/%s/%s%s", prefix, ns_text, plural, name_text, tail);
}

GTask *
wk_ask_new(WkKube *kube, char *path, GCancellable *cancellable, GAsyncReadyCallback callback,
           gpointer user_data, gpointer tag)
{
    GTask *task = g_task_new(NULL, NULL, callback, user_data);
    WkAsk *ask = g_new0(WkAsk, 1);

    ask->kube = kube;
    ask->path = path;
    if (cancellable != NULL)
        ask->cancellable = g_object_ref(cancellable);
    g_task_set_task_data(task, ask, ask_free);
    g_task_set_source_tag(task, tag);
    return task;
}

void
wk_ask_send(GTask *task, const char *method, const char *type, const char *body,
            GAsyncReadyCallback answered)
{
    const WkAsk *ask = g_task_get_task_data(task);
    const WkKubeRequest request = { method, ask->path, type, body };

    wk_kube_send(ask->kube, &request, ask->cancellable, answered, task);
}

JsonObject *
wk_ask_answer(GTask *task, GAsyncResult *result, GError **error)
{
    const WkAsk *ask = g_task_get_task_data(task);

    return wk_kube_send_finish(ask->kube, result, error);
}

char *
wk_ask_json_patch(const char *const tests[][2], const char *last)
{
    GString *body = g_string_new("[");

    for (gsize i = 0; tests[i][0] != NULL; i++) {
        g_autoptr(JsonNode) value = json_node_init_string(json_node_alloc(), tests[i][1]);
        g_autofree char *text = wk_canonical_text(value);

        g_string_append_printf(body, "%s{\"op\":\"test\",\"path\":\"%s\",\"value\":%s}",
                               i > 0 ? "," : "", tests[i][0], text);
    }
    g_string_append_printf(body, "%s%s]", last != NULL ? "," : "", last != NULL ? last : "");
    return g_string_free(body, FALSE);
}

/* ---- what a refusal means ---- */

const WkAskMeaning wk_ask_patch_meanings[] = {
    { WK_ERROR_INVALID, "no new finalizers can be added", WK_ERROR_CONFLICT, "GuestDeleting" },
    { WK_ERROR_INVALID, "metadata.uid", WK_ERROR_CONFLICT, "Replaced" },
    { WK_ERROR_CONFLICT, "uid mismatch", WK_ERROR_CONFLICT, "Replaced" },
    { WK_ERROR_CONFLICT, "UID in precondition", WK_ERROR_CONFLICT, "Replaced" },
    /* A test did not hold: kube-apiserver says no more than this then. */
    { WK_ERROR_INVALID, "due to an error in our request", WK_ERROR_CONFLICT, "Conflict" },
    { 0, NULL, 0, NULL },
};

gboolean
wk_ask_judge(const WkAskMeaning *rows, const GError *error, GError **meant)
{
    for (; rows->says != NULL; rows++) {
        if (!g_error_matches(error, WK_ERROR, rows->code)
            || strstr(error->message, rows->says) == NULL)
            continue;
        if (rows->meaning < 0)
            return TRUE;
        wk_error_set(meant, (WkErrorCode)rows->meaning, rows->reason, "%s", error->message);
        return FALSE;
    }
    *meant = g_error_copy(error);
    return FALSE;
}

void
wk_ask_return_judged(GTask *task, const WkAskMeaning *rows, const GError *error)
{
    GError *meant = NULL;

    if (wk_ask_judge(rows, error, &meant))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, meant);
}
