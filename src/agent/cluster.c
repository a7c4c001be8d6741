/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/cluster_private.h"

#include "base/error.h"
#include "kube/kubevirt_request.h"

#include <string.h>

/* ---- the questions, main thread ---- */

static void
on_done(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkClusterCall *call = data;
    GError *error = NULL;

    (void)wk_kubevirt_done_finish(call->link->kube, result, &error);
    wk_cluster_call_answer(call, error, NULL, NULL);
}

static void
on_vmi(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkClusterCall *call = data;
    GError *error = NULL;
    WkVmi *vmi = wk_kubevirt_get_fresh_vmi_finish(call->link->kube, result, &error);

    if (vmi != NULL)
        wk_cluster_link_answers(call->link);
    wk_cluster_call_answer(call, error, vmi, (GDestroyNotify)wk_vmi_free);
}

static void
on_vm(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkClusterCall *call = data;
    GError *error = NULL;
    WkVm *vm = wk_kubevirt_get_fresh_vm_finish(call->link->kube, result, &error);

    wk_cluster_call_answer(call, error, vm, (GDestroyNotify)wk_vm_free);
}

static void
on_locked(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkClusterCall *call = data;
    GError *error = NULL;
    WkVmi *vmi = wk_kubevirt_lock_finish(call->link->kube, result, &error);

    wk_cluster_call_answer(call, error, vmi, (GDestroyNotify)wk_vmi_free);
}

static void
on_pods(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkClusterCall *call = data;
    GError *error = NULL;
    GPtrArray *pods = wk_kubevirt_list_pods_finish(call->link->kube, result, &error);

    wk_cluster_call_answer(call, error, pods, (GDestroyNotify)g_ptr_array_unref);
}

static void
on_claim(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkClusterCall *call = data;
    GError *error = NULL;
    WkClaim *claim = wk_kubevirt_get_claim_finish(call->link->kube, result, &error);

    wk_cluster_call_answer(call, error, claim, (GDestroyNotify)wk_claim_free);
}

static void
on_pin(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkClusterCall *call = data;
    GError *error = NULL;
    WkPin *pin = wk_kubevirt_get_pin_finish(call->link->kube, result, &error);

    wk_cluster_call_answer(call, error, pin, (GDestroyNotify)wk_pin_free);
}

static void
ask_vmi(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_get_fresh_vmi(kube, call->ns, call->name, NULL, on_vmi, call);
}

static void
ask_vm(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_get_fresh_vm(kube, call->ns, call->name, NULL, on_vm, call);
}

static void
ask_lock(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_lock(kube, call->vmi, NULL, on_locked, call);
}

/* What comes after it must not be missed. */
static void
ask_unlock(WkClusterCall *call, WkKube *kube)
{
    wk_cluster_link_answers(call->link);
    wk_kubevirt_unlock(kube, call->ns, call->name, call->uid, NULL, on_done, call);
}

static void
ask_end(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_end(kube, call->ns, call->name, call->uid, NULL, on_done, call);
}

static void
ask_pause(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_pause(kube, call->ns, call->name, NULL, on_done, call);
}

static void
ask_unpause(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_unpause(kube, call->ns, call->name, NULL, on_done, call);
}

static void
ask_start(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_start(kube, call->ns, call->name, NULL, on_done, call);
}

static void
ask_autostart(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_set_autostart(kube, call->ns, call->name, call->uid, call->flag, NULL, on_done,
                              call);
}

static void
ask_pods(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_list_pods(kube, call->ns, call->uid, call->flag, NULL, on_pods, call);
}

static void
ask_claim(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_get_claim(kube, call->ns, call->name, NULL, on_claim, call);
}

static void
ask_look_pin(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_get_pin(kube, call->ns, call->name, NULL, on_pin, call);
}

static void
ask_pin(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_pin(kube, call->ns, call->pin, call->node, NULL, on_done, call);
}

static void
ask_unpin(WkClusterCall *call, WkKube *kube)
{
    wk_kubevirt_unpin(kube, call->ns, call->name, call->uid, call->node, NULL, on_done, call);
}

/* ---- what the worker calls ---- */

/* About VM or VMI. */
static WkClusterCall *
call_own(const WkClusterAbout *guest, void (*ask)(WkClusterCall *call, WkKube *kube))
{
    return wk_cluster_call_new(guest, guest->name, ask);
}

/* The API server names what it has not got ('virtualmachines.kubevirt.io "x" not found'). One that
 * has just started, or is without the CRD for a moment, answers 404 for the whole path: nothing
 * that is saved may be dropped for that (I2). */
static gboolean
is_said_gone(const char *name, const GError *error)
{
    g_autofree char *quoted = g_strdup_printf("\"%s\"", name);

    return g_error_matches(error, WK_ERROR, WK_ERROR_NOT_FOUND)
           && strstr(error->message, quoted) != NULL;
}

/* Takes @call (transfer full), which was sent. NULL and no error where there is no such object. */
static gboolean
receive(WkClusterCall *call, gpointer *object, GError **error)
{
    g_autoptr(GError) local = NULL;
    const gboolean ok = wk_cluster_call_wait(call, &local);
    const gboolean answered = ok || is_said_gone(call->name, local);

    *object = ok ? g_steal_pointer(&call->result) : NULL;
    wk_cluster_call_unref(call);
    if (answered)
        return TRUE;
    if (g_error_matches(local, WK_ERROR, WK_ERROR_NOT_FOUND))
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "NotReady", "%s", local->message);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean
fetch(const WkClusterAbout *guest, const char *name, void (*ask)(WkClusterCall *call, WkKube *kube),
      gpointer *object, GError **error)
{
    WkClusterCall *call = wk_cluster_call_new(guest, name, ask);

    wk_cluster_call_send(call);
    return receive(call, object, error);
}

/* Both are asked for at once: each way there and back is on the road of every operation. */
static gboolean
look(gpointer data, WkVmi **vmi, WkVm **vm, GError **error)
{
    WkClusterCall *vmi_call = call_own(data, ask_vmi);
    WkClusterCall *vm_call = call_own(data, ask_vm);
    gboolean ok;

    wk_cluster_call_send(vmi_call);
    wk_cluster_call_send(vm_call);
    ok = receive(vmi_call, (gpointer *)vmi, error);
    return receive(vm_call, (gpointer *)vm, ok ? error : NULL) && ok;
}

static gboolean
make_and_drop(WkClusterCall *call, GError **error)
{
    const gboolean ok = wk_cluster_call_make(call, error);

    wk_cluster_call_unref(call);
    return ok;
}

static gboolean
lock(gpointer data, const WkVmi *vmi, GError **error)
{
    WkClusterCall *call = call_own(data, ask_lock);

    call->vmi = wk_vmi_copy(vmi);
    return make_and_drop(call, error);
}

static gboolean
unlock(gpointer data, const char *vmi_uid, GError **error)
{
    WkClusterCall *call = call_own(data, ask_unlock);

    call->uid = g_strdup(vmi_uid);
    return make_and_drop(call, error);
}

static gboolean
end_vmi(gpointer data, const char *vmi_uid, GError **error)
{
    WkClusterCall *call = call_own(data, ask_end);

    call->uid = g_strdup(vmi_uid);
    return make_and_drop(call, error);
}

static gboolean
pause_guest(gpointer data, GError **error)
{
    return make_and_drop(call_own(data, ask_pause), error);
}

static gboolean
unpause_guest(gpointer data, GError **error)
{
    return make_and_drop(call_own(data, ask_unpause), error);
}

/* A Wukong that is gone, or whose CRD has no such field, can't be in the way. */
static gboolean
set_autostart(const WkClusterAbout *guest, gboolean autostart, GError **error)
{
    g_autoptr(GError) local = NULL;
    WkClusterCall *call;

    if (guest->wukong.uid == NULL)
        return TRUE;
    call = wk_cluster_call_new(guest, guest->wukong.name, ask_autostart);
    call->uid = g_strdup(guest->wukong.uid);
    call->flag = autostart;
    if (make_and_drop(call, &local) || g_error_matches(local, WK_ERROR, WK_ERROR_NOT_FOUND)
        || g_strcmp0(wk_error_get_reason(local), "FieldsPruned") == 0)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

/* Asks for a start where the VM's run strategy needs that. */
static gboolean
start_vm(const WkClusterAbout *guest, GError **error)
{
    g_autoptr(WkVm) vm = NULL;

    if (!fetch(guest, guest->name, ask_vm, (gpointer *)&vm, error))
        return FALSE;
    if (vm == NULL || !wk_run_strategy_row(vm->strategy)->needs_start || vm->requests > 0)
        return TRUE;
    return make_and_drop(call_own(guest, ask_start), error);
}

static gboolean
let_start(gpointer data, gboolean may, GError **error)
{
    return set_autostart(data, may, error) && (!may || start_vm(data, error));
}

/* A Wukong that is gone says nothing. */
static gboolean
look_pin(gpointer data, WkPin **pin, GError **error)
{
    const WkClusterAbout *guest = data;

    *pin = NULL;
    if (guest->wukong.uid == NULL)
        return TRUE;
    if (!fetch(guest, guest->wukong.name, ask_look_pin, (gpointer *)pin, error))
        return FALSE;
    if (*pin != NULL && !g_str_equal((*pin)->uid, guest->wukong.uid))
        g_clear_pointer(pin, wk_pin_free);
    return TRUE;
}

static gboolean
start_pinned(gpointer data, const WkPin *pin, GError **error)
{
    const WkClusterAbout *guest = data;
    WkClusterCall *call = wk_cluster_call_new(guest, pin->wukong, ask_pin);

    call->node = g_strdup(guest->node_name);
    call->pin = wk_pin_copy(pin);
    return make_and_drop(call, error) && start_vm(guest, error);
}

static gboolean
unpin(gpointer data, const char *wukong, const char *uid, GError **error)
{
    const WkClusterAbout *guest = data;
    WkClusterCall *call = wk_cluster_call_new(guest, wukong, ask_unpin);

    call->node = g_strdup(guest->node_name);
    call->uid = g_strdup(uid);
    return make_and_drop(call, error);
}

static GPtrArray *
list_pods(gpointer data, const char *vmi_uid, gboolean now, GError **error)
{
    WkClusterCall *call = call_own(data, ask_pods);
    GPtrArray *pods = NULL;

    call->uid = g_strdup(vmi_uid);
    call->flag = now;
    if (wk_cluster_call_make(call, error))
        pods = g_steal_pointer(&call->result);
    wk_cluster_call_unref(call);
    return pods;
}

static gboolean
get_claim(gpointer data, const char *name, WkClaim **claim, GError **error)
{
    return fetch(data, name, ask_claim, (gpointer *)claim, error);
}

static void
guest_free(gpointer data)
{
    WkClusterAbout *guest = data;

    wk_cluster_link_unref(guest->link);
    wk_owner_clear(&guest->wukong);
    g_free(guest->ns);
    g_free(guest->name);
    g_free(guest->node_name);
    g_free(guest);
}

static const WkClusterCalls calls = { .look = look,
                                      .lock = lock,
                                      .unlock = unlock,
                                      .end = end_vmi,
                                      .pause = pause_guest,
                                      .await_told = wk_cluster_await_told,
                                      .unpause = unpause_guest,
                                      .let_start = let_start,
                                      .look_pin = look_pin,
                                      .start_pinned = start_pinned,
                                      .await_pinned = wk_cluster_await_pinned,
                                      .unpin = unpin,
                                      .list_pods = list_pods,
                                      .get_claim = get_claim,
                                      .free = guest_free };

WkCluster *
wk_cluster_link_open(WkClusterLink *self, const WkClusterGuest *about)
{
    WkClusterAbout *guest = g_new0(WkClusterAbout, 1);

    guest->link = wk_cluster_link_ref(self);
    guest->ns = g_strdup(about->ns);
    guest->name = g_strdup(about->name);
    guest->node_name = g_strdup(about->node_name);
    if (about->wukong != NULL)
        wk_owner_copy(about->wukong, &guest->wukong);
    return wk_cluster_new(&calls, guest, about->node_name);
}
