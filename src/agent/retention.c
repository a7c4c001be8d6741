/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/retention.h"

#include "base/clock.h"
#include "base/log.h"

#define EACH_S 3600

struct _WkRetention {
    WkRetentionOptions options;
    guint timer;
};

/* Nobody waits for it: an image that could not be dropped is tried again in an hour. */
static void
on_submitted(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkEngine *engine = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(WkOperation) op = wk_engine_submit_finish(engine, result, &error);

    if (op == NULL)
        wk_log(WK_LOG_WARNING, NULL, "dropping an orphaned image: %s; again in an hour",
               error->message);
}

static gboolean
is_due(const WkBinding *binding, guint64 age_ms)
{
    return binding->deleted_at_us != 0 && binding->guest != NULL
           && wk_clock_real_us() - binding->deleted_at_us >= (gint64)(age_ms * 1000);
}

/* One that is held is kept until somebody decides (contract, section 1). */
static void
drop_orphan(WkRetention *self, const WkBinding *binding, GPtrArray *dropped)
{
    const WkGuest *guest = wk_engine_find(self->options.engine, binding->guest);
    const WkRequest request = { .guest = binding->guest,
                                .action = WK_ACTION_DISCARD,
                                .origin = WK_ORIGIN_MAINTENANCE };

    if (guest == NULL || guest->view == NULL || guest->record->state != WK_LEDGER_SEALED
        || guest->task != NULL)
        return;
    wk_log(WK_LOG_INFO, &(WkLogFields){ .guest = guest->name, .uuid = guest->uuid },
           "its Wukong %s/%s was deleted long ago: its saved image is dropped ([retention] orphan)",
           binding->ns, binding->name);
    g_ptr_array_add(dropped, wk_view_copy(guest->view));
    wk_engine_submit(self->options.engine, &request, on_submitted, self->options.engine);
}

GPtrArray *
wk_retention_prune(WkRetention *self, guint *n_history, GError **error)
{
    const WkRetentionOptions *options = &self->options;
    const gint64 before_us = wk_clock_real_us() - (gint64)(options->history_ms * 1000);
    g_autoptr(GPtrArray) bindings = wk_ledger_list_bindings(options->ledger, error);
    GPtrArray *dropped;

    if (bindings == NULL || !wk_ledger_trim(options->ledger, before_us, n_history, error))
        return NULL;
    dropped = g_ptr_array_new_with_free_func((GDestroyNotify)wk_view_free);
    for (guint i = 0; i < bindings->len; i++) {
        const WkBinding *binding = g_ptr_array_index(bindings, i);

        if (is_due(binding, options->orphan_ms))
            drop_orphan(self, binding, dropped);
    }
    return dropped;
}

static gboolean
on_time(gpointer data)
{
    guint n_history;
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) dropped = wk_retention_prune(data, &n_history, &error);

    if (dropped == NULL)
        wk_log(WK_LOG_WARNING, NULL, "looking for what may be dropped: %s", error->message);
    return G_SOURCE_CONTINUE;
}

WkRetention *
wk_retention_new(const WkRetentionOptions *options)
{
    WkRetention *self = g_new0(WkRetention, 1);

    self->options = *options;
    self->options.ledger = wk_ledger_ref(options->ledger);
    return self;
}

void
wk_retention_free(WkRetention *self)
{
    if (self == NULL)
        return;
    if (self->timer != 0)
        g_source_remove(self->timer);
    wk_ledger_unref(self->options.ledger);
    g_free(self);
}

void
wk_retention_set_ready(WkRetention *self)
{
    if (self->timer != 0)
        return;
    self->timer = g_timeout_add_seconds(EACH_S, on_time, self);
    (void)on_time(self);
}
