/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/wukongs_private.h"

#include "base/log.h"

/* What a person should know of the connection to the API server: for doctor, metrics and the log.
 */

typedef struct {
    const char *reason;
    const char *next_step;
} Advice;

static const Advice advices[] = {
    { "ConditionsLeftOut", "make status.conditions a list-type map by type in the CRD" },
    { "EventsForbidden", "apply the RBAC rules of data/kubernetes" },
    { "FieldConflict", "find the other field manager (kubectl get -o yaml --show-managed-fields)" },
    { "FieldsPruned", "apply data/crd/wukong-fields-patch.json to the CRD" },
    { "Forbidden", "apply the RBAC rules of data/kubernetes; bind the token to this Node" },
    { "LeaseForbidden", "apply the RBAC rules of data/kubernetes; bind the token to this Node" },
    { "NamespaceMissing", "create the namespace, or set [kube] namespace=" },
    { "NotFound", "apply data/crd/wukongs.yaml" },
    { "Unauthorized", "put a new token into the kubeconfig's token file" },
};

static const char *
next_step_for(const char *reason)
{
    for (gsize i = 0; i < G_N_ELEMENTS(advices); i++) {
        if (g_strcmp0(reason, advices[i].reason) == 0)
            return advices[i].next_step;
    }
    return "docs/reasons.md says more; it is tried again by itself";
}

void
wk_wukongs_note(WkWukongs *self, const char *reason, const char *text)
{
    const char *before = g_hash_table_lookup(self->notices, reason);

    if (g_strcmp0(before, text) == 0)
        return;
    if (text == NULL) {
        g_hash_table_remove(self->notices, reason);
        return;
    }
    if (before == NULL)
        wk_log(WK_LOG_WARNING, &(WkLogFields){ .result = reason }, "Kubernetes: %s", text);
    g_hash_table_replace(self->notices, g_strdup(reason), g_strdup(text));
}

void
wk_wukongs_note_trouble(WkWukongs *self, const GError *error, guint retry_ms)
{
    g_free(self->trouble);
    g_free(self->trouble_reason);
    self->trouble = error != NULL ? g_strdup(error->message) : NULL;
    self->trouble_reason = error != NULL ? g_strdup(wk_error_get_reason(error)) : NULL;
    if (error != NULL)
        wk_log(WK_LOG_WARNING, &(WkLogFields){ .result = self->trouble_reason },
               "watching Wukongs: %s; again in %.1f s", error->message, retry_ms / 1000.0);
}

static void
add_watch(WkWukongs *self, GPtrArray *checks)
{
    g_autofree char *message = NULL;

    if (self->trouble != NULL) {
        g_ptr_array_add(checks, wk_check_new("kubernetes", WK_CHECK_ERROR, self->trouble,
                                             next_step_for(self->trouble_reason)));
        return;
    }
    if (!self->synced) {
        g_ptr_array_add(checks, wk_check_new("kubernetes", WK_CHECK_WARNING,
                                             "the Wukongs are being listed", NULL));
        return;
    }
    message = g_strdup_printf("%u guest(s) of node '%s' belong to a Wukong",
                              g_hash_table_size(self->by_guest), self->node_name);
    g_ptr_array_add(checks, wk_check_new("kubernetes", WK_CHECK_OK, message, NULL));
    if (!wk_reflector_is_selecting(self->reflector))
        g_ptr_array_add(checks,
                        wk_check_new("kubernetes selector", WK_CHECK_WARNING,
                                     "the CRD can't select by status.nodeName, so this agent "
                                     "reads the Wukongs of all nodes",
                                     "apply data/crd/wukong-fields-patch.json to the CRD "
                                     "(Kubernetes 1.31 or newer)"));
}

void
wk_wukongs_examine(WkWukongs *self, GPtrArray *checks)
{
    GHashTableIter iter;
    gpointer reason;
    gpointer text;

    if (self == NULL) {
        g_ptr_array_add(checks, wk_check_new("kubernetes", WK_CHECK_OK,
                                             "not in use: no kubeconfig is configured", NULL));
        return;
    }
    add_watch(self, checks);
    g_hash_table_iter_init(&iter, self->notices);
    while (g_hash_table_iter_next(&iter, &reason, &text)) {
        g_autofree char *name = g_strdup_printf("kubernetes %s", (const char *)reason);

        g_ptr_array_add(checks, wk_check_new(name, WK_CHECK_WARNING, text, next_step_for(reason)));
    }
}

WkWukongsHealth
wk_wukongs_get_health(WkWukongs *self)
{
    return (WkWukongsHealth){ .heard_at_us = wk_reflector_get_last_heard_us(self->reflector),
                              .pending = wk_reporter_count_pending(self->reporter) };
}

GArray *
wk_wukongs_get_requests(WkWukongs *self)
{
    return wk_kube_get_counts(self->kube);
}
