/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/cluster_private.h"

#include "base/error.h"
#include "kube/kubevirt_request.h"

/* Questions whose answer is a change that is still to come: told by the watches, or found by one
 * look, in case the watch has told of it before. Main thread but for the await functions. */

typedef void (*Take)(WkClusterCall *call, gconstpointer object);

/* @result: a constant, or NULL. */
static void
settle(WkClusterCall *call, GError *error, gpointer result)
{
    g_source_destroy(call->patience);
    g_clear_pointer(&call->patience, g_source_unref);
    wk_cluster_call_answer(call, error, result, NULL);
    g_ptr_array_remove_fast(call->link->waiting, call);
}

static void
wait_for(WkClusterCall *call, Take take, guint ms, GSourceFunc gave_up)
{
    call->take = take;
    call->patience = g_timeout_source_new(ms);
    g_source_set_callback(call->patience, gave_up, call, NULL);
    (void)g_source_attach(call->patience, NULL);
    g_ptr_array_add(call->link->waiting, g_atomic_rc_box_acquire(call));
}

static gboolean
is_about(const WkClusterCall *call, const char *ns, const char *name)
{
    return g_str_equal(call->ns, ns) && g_str_equal(call->name, name);
}

void
wk_cluster_wait_end(WkClusterLink *self)
{
    while (self->waiting->len > 0) {
        GError *error = NULL;

        wk_error_set(&error, WK_ERROR_UNAVAILABLE, NULL, "the API server can't be asked any more");
        settle(g_ptr_array_index(self->waiting, 0), error, NULL);
    }
}

/* To all that wait for a change of that object. Downwards: what is settled gives its place to one
 * that was asked already. */
static void
tell_waiting(WkClusterLink *self, Take take, const char *ns, const char *name, gconstpointer object)
{
    for (guint i = self->waiting->len; i > 0; i--) {
        WkClusterCall *call = g_ptr_array_index(self->waiting, i - 1);

        if (call->take == take && is_about(call, ns, name))
            take(call, object);
    }
}

/* ---- KubeVirt's word of a pause, or of its end ---- */

/* Any pause will do; one that KubeVirt still knows of is no run. */
static gboolean
is_told(const WkClusterCall *call, const WkVmi *vmi)
{
    WkPower power;

    if (call->power == WK_POWER_PAUSED)
        return vmi->paused != WK_PAUSED_NO;
    return wk_vmi_power(vmi, &power) && power == call->power;
}

static void
take_vmi(WkClusterCall *call, gconstpointer object)
{
    const WkVmi *vmi = object;
    GError *error = NULL;

    if (!g_str_equal(vmi->uid, call->uid)) {
        wk_error_set(&error, WK_ERROR_UNAVAILABLE, "GuestBusy",
                     "VirtualMachineInstance %s/%s is another one by now", vmi->ns, vmi->name);
        settle(call, error, NULL);
    } else if (is_told(call, vmi)) {
        settle(call, NULL, NULL);
    }
}

void
wk_cluster_link_tell_vmi(WkClusterLink *self, const WkVmi *vmi)
{
    tell_waiting(self, take_vmi, vmi->ns, vmi->name, vmi);
}

static void
on_fresh_vmi(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkClusterCall *call = data;
    g_autoptr(WkVmi) vmi = wk_kubevirt_get_fresh_vmi_finish(call->link->kube, result, NULL);

    if (vmi != NULL && call->patience != NULL)
        take_vmi(call, vmi);
    wk_cluster_call_unref(call);
}

static gboolean
on_not_told(gpointer data)
{
    WkClusterCall *call = data;
    const gboolean paused = call->power == WK_POWER_PAUSED;
    GError *error = NULL;

    wk_error_set(
        &error, WK_ERROR_UNAVAILABLE, "GuestBusy",
        "VirtualMachineInstance %s/%s %s, although its guest %s: KubeVirt does not know of "
        "it yet",
        call->ns, call->name, paused ? "has no condition Paused" : "is not Running",
        paused ? "is paused" : "runs");
    settle(call, error, NULL);
    return G_SOURCE_REMOVE;
}

static void
ask_told(WkClusterCall *call, WkKube *kube)
{
    wait_for(call, take_vmi, call->link->told_ms, on_not_told);
    wk_kubevirt_get_fresh_vmi(kube, call->ns, call->name, NULL, on_fresh_vmi,
                              g_atomic_rc_box_acquire(call));
}

/* Worker. */
gboolean
wk_cluster_await_told(gpointer data, const char *vmi_uid, WkPower power, GError **error)
{
    const WkClusterAbout *about = data;
    WkClusterCall *call = wk_cluster_call_new(about, about->name, ask_told);
    gboolean ok;

    call->power = power;
    call->uid = g_strdup(vmi_uid);
    ok = wk_cluster_call_make(call, error);
    wk_cluster_call_unref(call);
    return ok;
}

/* ---- the operator's answer to a pin ---- */

static void
take_vm(WkClusterCall *call, gconstpointer object)
{
    const WkVm *vm = object;

    if (g_strcmp0(vm->selected_node, call->node) == 0)
        settle(call, NULL, GINT_TO_POINTER(TRUE));
}

void
wk_cluster_link_tell_vm(WkClusterLink *self, const WkVm *vm)
{
    tell_waiting(self, take_vm, vm->ns, vm->name, vm);
}

static void
on_fresh_vm(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkClusterCall *call = data;
    g_autoptr(WkVm) vm = wk_kubevirt_get_fresh_vm_finish(call->link->kube, result, NULL);

    if (vm != NULL && call->patience != NULL)
        take_vm(call, vm);
    wk_cluster_call_unref(call);
}

static gboolean
on_not_pinned(gpointer data)
{
    settle(data, NULL, NULL);
    return G_SOURCE_REMOVE;
}

static void
ask_pinned(WkClusterCall *call, WkKube *kube)
{
    wait_for(call, take_vm, call->link->pinned_ms, on_not_pinned);
    wk_kubevirt_get_fresh_vm(kube, call->ns, call->name, NULL, on_fresh_vm,
                             g_atomic_rc_box_acquire(call));
}

/* Worker. */
gboolean
wk_cluster_await_pinned(gpointer data, gboolean *pinned, GError **error)
{
    const WkClusterAbout *about = data;
    WkClusterCall *call = wk_cluster_call_new(about, about->name, ask_pinned);
    gboolean ok;

    call->node = g_strdup(about->node_name);
    ok = wk_cluster_call_make(call, error);
    *pinned = ok && call->result != NULL;
    wk_cluster_call_unref(call);
    return ok;
}
