/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/status.h"

void
wk_status_free(WkStatus *self)
{
    if (self == NULL)
        return;
    g_free(self->state);
    g_free(self->compared);
    g_free(self->uid);
    for (int i = 0; i < WK_CONDITION_TYPES; i++) {
        g_free(self->conditions[i].reason);
        g_free(self->conditions[i].message);
    }
    g_free(self);
}

gboolean
wk_status_equal(const WkStatus *a, const WkStatus *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return g_str_equal(a->state, b->state);
}

gboolean
wk_status_is_shown(const WkStatus *self, const WkWukong *seen, gboolean with_conditions)
{
    if (g_strcmp0(self->state, seen->seen_state) != 0)
        return FALSE;
    return !with_conditions
           || (g_strcmp0(self->conditions[0].status, seen->conditions[0].status) == 0
               && g_strcmp0(self->conditions[0].reason, seen->conditions[0].reason) == 0);
}

char *
wk_status_apply_body(const WkStatus *self, const WkWukong *seen, gint64 now_us,
                     gboolean with_conditions)
{
    (void)now_us;
    return g_strdup_printf(
        "{\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\"},\"status\":{"
        "\"lifecycleState\":%s%s%s%s%s%s}}",
        seen->name, self->uid, self->state,
        with_conditions ? ",\"conditions\":[{\"type\":\"Suspended\",\"status\":\"" : "",
        with_conditions ? self->conditions[0].status : "",
        with_conditions ? "\",\"reason\":\"" : "",
        with_conditions ? self->conditions[0].reason : "",
        with_conditions ? "\",\"message\":\"m\"}]" : "");
}

char *
wk_status_patch_body(const WkStatus *self, const WkWukong *seen, const char *owed, int mark)
{
    g_autofree char *escaped = g_strescape(self->state, NULL);

    (void)seen;
    return g_strdup_printf(
        "[{\"op\":\"test\",\"path\":\"/metadata/uid\",\"value\":\"%s\"},"
        "{\"op\":\"add\",\"path\":\"/metadata/annotations/wukong.novasphere.dev~1lifecycle-state\","
        "\"value\":\"%s\"}%s%s%s%s]",
        self->uid, escaped,
        owed != NULL ? ",{\"op\":\"test\",\"path\":\"/spec/lifecycleAction\",\"value\":" : "",
        owed != NULL ? owed : "",
        owed != NULL ? "},{\"op\":\"remove\",\"path\":\"/spec/lifecycleAction\"}" : "",
        mark < 0    ? ""
        : mark == 0 ? ",{\"op\":\"remove\",\"path\":\"/metadata/annotations/"
                      "wukong.novasphere.dev~1suspended\"}"
                    : ",{\"op\":\"add\",\"path\":\"/metadata/annotations/"
                      "wukong.novasphere.dev~1suspended\",\"value\":\"true\"}");
}
