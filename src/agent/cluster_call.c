/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/cluster_private.h"

#include "base/clock.h"
#include "base/error.h"

/* KubeVirt's node agent writes the condition at libvirt's event, some 100 ms later. */
#define TOLD_PATIENCE_MS 5000
/* An operator reconciles a Wukong as soon as it changes. */
#define PINNED_PATIENCE_MS 10000

WkClusterLink *
wk_cluster_link_new(WkKube *kube)
{
    WkClusterLink *self = g_atomic_rc_box_new0(WkClusterLink);

    self->kube = kube;
    self->waiting = g_ptr_array_new_with_free_func(wk_cluster_call_unref);
    self->told_ms = TOLD_PATIENCE_MS;
    self->pinned_ms = PINNED_PATIENCE_MS;
    return self;
}

WkClusterLink *
wk_cluster_link_ref(WkClusterLink *self)
{
    return g_atomic_rc_box_acquire(self);
}

static void
link_clear(gpointer data)
{
    WkClusterLink *self = data;

    g_ptr_array_unref(self->waiting); /* empty: each of them holds the link */
}

void
wk_cluster_link_unref(WkClusterLink *self)
{
    if (self != NULL)
        g_atomic_rc_box_release_full(self, link_clear);
}

void
wk_cluster_link_listen(WkClusterLink *self, void (*answers)(gpointer data), gpointer data)
{
    self->answers = answers;
    self->answers_data = data;
}

void
wk_cluster_link_answers(WkClusterLink *self)
{
    if (self->answers != NULL)
        self->answers(self->answers_data);
}

void
wk_cluster_link_close(WkClusterLink *self)
{
    self->kube = NULL;
    self->answers = NULL;
    wk_cluster_wait_end(self);
}

/* ---- one call ---- */

static void
call_clear(gpointer data)
{
    WkClusterCall *call = data;

    if (call->result != NULL && call->result_free != NULL)
        call->result_free(call->result);
    g_clear_error(&call->error);
    wk_vmi_free(call->vmi);
    wk_pin_free(call->pin);
    wk_cluster_link_unref(call->link);
    g_mutex_clear(&call->lock);
    g_cond_clear(&call->answered);
    g_free(call->ns);
    g_free(call->name);
    g_free(call->uid);
    g_free(call->node);
}

void
wk_cluster_call_unref(gpointer call)
{
    g_atomic_rc_box_release_full(call, call_clear);
}

WkClusterCall *
wk_cluster_call_new(const WkClusterAbout *about, const char *name,
                    void (*ask)(WkClusterCall *call, WkKube *kube))
{
    WkClusterCall *call = g_atomic_rc_box_new0(WkClusterCall);

    call->link = wk_cluster_link_ref(about->link);
    call->ask = ask;
    call->ns = g_strdup(about->ns);
    call->name = g_strdup(name);
    g_mutex_init(&call->lock);
    g_cond_init(&call->answered);
    return call;
}

/* Main thread. Takes @error and @result (transfer full), and the reference that ask() took. */
void
wk_cluster_call_answer(WkClusterCall *call, GError *error, gpointer result,
                       GDestroyNotify result_free)
{
    g_mutex_lock(&call->lock);
    call->error = error;
    call->result = result;
    call->result_free = result_free;
    call->done = TRUE;
    g_cond_signal(&call->answered);
    g_mutex_unlock(&call->lock);
    wk_cluster_call_unref(call);
}

static gboolean
on_ask(gpointer data)
{
    WkClusterCall *call = g_atomic_rc_box_acquire((WkClusterCall *)data);
    GError *error = NULL;

    if (call->link->kube != NULL) {
        call->ask(call, call->link->kube);
        return G_SOURCE_REMOVE;
    }
    wk_error_set(&error, WK_ERROR_UNAVAILABLE, NULL, "the API server can't be asked any more");
    wk_cluster_call_answer(call, error, NULL, NULL);
    return G_SOURCE_REMOVE;
}

/* A server that has just been started does not know its roles yet, and forbids everything for a
 * moment. Nobody's guest is given up for that: what a worker asks is asked again until the
 * operation's deadline, whose message then says what was forbidden. */
static GError *
may_pass(GError *error)
{
    GError *passing = NULL;

    if (!g_error_matches(error, WK_ERROR, WK_ERROR_DENIED))
        return error;
    wk_error_set(&passing, WK_ERROR_UNAVAILABLE, wk_error_get_reason(error), "%s", error->message);
    g_error_free(error);
    return passing;
}

void
wk_cluster_call_send(WkClusterCall *call)
{
    g_main_context_invoke_full(NULL, G_PRIORITY_DEFAULT, on_ask, g_atomic_rc_box_acquire(call),
                               wk_cluster_call_unref);
}

gboolean
wk_cluster_call_wait(WkClusterCall *call, GError **error)
{
    const gint64 until_us = wk_clock_mono_us() + WK_CLUSTER_PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
    gboolean in_time = TRUE;
    gboolean ok = FALSE;

    g_mutex_lock(&call->lock);
    while (!call->done && in_time)
        in_time = g_cond_wait_until(&call->answered, &call->lock, until_us);
    if (!call->done)
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "NoAnswer",
                     "the API server did not answer about '%s/%s' in time", call->ns, call->name);
    else if (call->error != NULL)
        g_propagate_error(error, may_pass(g_steal_pointer(&call->error)));
    else
        ok = TRUE;
    g_mutex_unlock(&call->lock);
    return ok;
}

gboolean
wk_cluster_call_make(WkClusterCall *call, GError **error)
{
    wk_cluster_call_send(call);
    return wk_cluster_call_wait(call, error);
}
