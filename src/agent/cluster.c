/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/cluster.h"

#include "base/clock.h"
#include "base/error.h"
#include "kube/kubevirt_request.h"

#include <string.h>

struct _WkClusterLink {
    WkKube *kube; /* main thread; NULL: closed */
};

/* What the calls of one job are about. */
typedef struct {
    WkClusterLink *link;
    char *ns;
    char *name;
    WkOwner wukong;
} Guest;

typedef struct _Call Call;

/* One question on its way. The worker waits, the main thread asks; whoever is last frees it. */
struct _Call {
    WkClusterLink *link;
    void (*ask)(Call *call, WkKube *kube);
    char *ns;
    char *name;
    char *uid;
    gboolean flag;
    WkVmi *vmi;

    GMutex lock;
    GCond answered;
    gboolean done;
    GError *error;
    gpointer result;
    GDestroyNotify result_free;
};

WkClusterLink *
wk_cluster_link_new(WkKube *kube)
{
    WkClusterLink *self = g_atomic_rc_box_new0(WkClusterLink);

    self->kube = kube;
    return self;
}

WkClusterLink *
wk_cluster_link_ref(WkClusterLink *self)
{
    return g_atomic_rc_box_acquire(self);
}

void
wk_cluster_link_unref(WkClusterLink *self)
{
    if (self != NULL)
        g_atomic_rc_box_release(self);
}

void
wk_cluster_link_close(WkClusterLink *self)
{
    self->kube = NULL;
}

/* ---- one call ---- */

static void
call_clear(gpointer data)
{
    Call *call = data;

    if (call->result != NULL && call->result_free != NULL)
        call->result_free(call->result);
    g_clear_error(&call->error);
    wk_vmi_free(call->vmi);
    wk_cluster_link_unref(call->link);
    g_mutex_clear(&call->lock);
    g_cond_clear(&call->answered);
    g_free(call->ns);
    g_free(call->name);
    g_free(call->uid);
}

static void
call_unref(gpointer call)
{
    g_atomic_rc_box_release_full(call, call_clear);
}

static Call *
call_new(const Guest *guest, const char *name, void (*ask)(Call *call, WkKube *kube))
{
    Call *call = g_atomic_rc_box_new0(Call);

    call->link = wk_cluster_link_ref(guest->link);
    call->ask = ask;
    call->ns = g_strdup(guest->ns);
    call->name = g_strdup(name);
    g_mutex_init(&call->lock);
    g_cond_init(&call->answered);
    return call;
}

/* About VM or VMI. */
static Call *
call_own(const Guest *guest, void (*ask)(Call *call, WkKube *kube))
{
    return call_new(guest, guest->name, ask);
}

/* Main thread. Takes @error and @result (transfer full), and the reference that ask() took. */
static void
answer(Call *call, GError *error, gpointer result, GDestroyNotify result_free)
{
    g_mutex_lock(&call->lock);
    call->error = error;
    call->result = result;
    call->result_free = result_free;
    call->done = TRUE;
    g_cond_signal(&call->answered);
    g_mutex_unlock(&call->lock);
    call_unref(call);
}

static gboolean
on_ask(gpointer data)
{
    Call *call = g_atomic_rc_box_acquire((Call *)data);
    GError *error = NULL;

    if (call->link->kube != NULL) {
        call->ask(call, call->link->kube);
        return G_SOURCE_REMOVE;
    }
    wk_error_set(&error, WK_ERROR_UNAVAILABLE, NULL, "the API server can't be asked any more");
    answer(call, error, NULL, NULL);
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

/* Worker. Returns: TRUE once it was answered without an error. */
static gboolean
call_make(Call *call, GError **error)
{
    const gint64 until_us = wk_clock_mono_us() + WK_CLUSTER_PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
    gboolean in_time = TRUE;
    gboolean ok = FALSE;

    g_main_context_invoke_full(NULL, G_PRIORITY_DEFAULT, on_ask, g_atomic_rc_box_acquire(call),
                               call_unref);
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

/* ---- the questions, main thread ---- */

static void
on_done(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Call *call = data;
    GError *error = NULL;

    (void)wk_kubevirt_done_finish(call->link->kube, result, &error);
    answer(call, error, NULL, NULL);
}

static void
on_vmi(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Call *call = data;
    GError *error = NULL;
    WkVmi *vmi = wk_kubevirt_get_fresh_vmi_finish(call->link->kube, result, &error);

    answer(call, error, vmi, (GDestroyNotify)wk_vmi_free);
}

static void
on_vm(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Call *call = data;
    GError *error = NULL;
    WkVm *vm = wk_kubevirt_get_fresh_vm_finish(call->link->kube, result, &error);

    answer(call, error, vm, (GDestroyNotify)wk_vm_free);
}

static void
on_locked(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Call *call = data;
    GError *error = NULL;
    WkVmi *vmi = wk_kubevirt_lock_finish(call->link->kube, result, &error);

    answer(call, error, vmi, (GDestroyNotify)wk_vmi_free);
}

static void
on_pods(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Call *call = data;
    GError *error = NULL;
    GPtrArray *pods = wk_kubevirt_list_pods_finish(call->link->kube, result, &error);

    answer(call, error, pods, (GDestroyNotify)g_ptr_array_unref);
}

static void
on_claim(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    Call *call = data;
    GError *error = NULL;
    WkClaim *claim = wk_kubevirt_get_claim_finish(call->link->kube, result, &error);

    answer(call, error, claim, (GDestroyNotify)wk_claim_free);
}

static void
ask_vmi(Call *call, WkKube *kube)
{
    wk_kubevirt_get_fresh_vmi(kube, call->ns, call->name, NULL, on_vmi, call);
}

static void
ask_vm(Call *call, WkKube *kube)
{
    wk_kubevirt_get_fresh_vm(kube, call->ns, call->name, NULL, on_vm, call);
}

static void
ask_lock(Call *call, WkKube *kube)
{
    wk_kubevirt_lock(kube, call->vmi, NULL, on_locked, call);
}

static void
ask_unlock(Call *call, WkKube *kube)
{
    wk_kubevirt_unlock(kube, call->ns, call->name, call->uid, NULL, on_done, call);
}

static void
ask_end(Call *call, WkKube *kube)
{
    wk_kubevirt_end(kube, call->ns, call->name, call->uid, NULL, on_done, call);
}

static void
ask_pause(Call *call, WkKube *kube)
{
    wk_kubevirt_pause(kube, call->ns, call->name, NULL, on_done, call);
}

static void
ask_unpause(Call *call, WkKube *kube)
{
    wk_kubevirt_unpause(kube, call->ns, call->name, NULL, on_done, call);
}

static void
ask_start(Call *call, WkKube *kube)
{
    wk_kubevirt_start(kube, call->ns, call->name, NULL, on_done, call);
}

static void
ask_autostart(Call *call, WkKube *kube)
{
    wk_kubevirt_set_autostart(kube, call->ns, call->name, call->uid, call->flag, NULL, on_done,
                              call);
}

static void
ask_pods(Call *call, WkKube *kube)
{
    wk_kubevirt_list_pods(kube, call->ns, call->uid, NULL, on_pods, call);
}

static void
ask_claim(Call *call, WkKube *kube)
{
    wk_kubevirt_get_claim(kube, call->ns, call->name, NULL, on_claim, call);
}

/* ---- what the worker calls ---- */

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

/* NULL and no error where there is no such object. */
static gboolean
fetch(const Guest *guest, const char *name, void (*ask)(Call *call, WkKube *kube), gpointer *object,
      GError **error)
{
    Call *call = call_new(guest, name, ask);
    g_autoptr(GError) local = NULL;
    gboolean ok = call_make(call, &local);

    *object = ok ? g_steal_pointer(&call->result) : NULL;
    call_unref(call);
    if (ok || is_said_gone(name, local))
        return TRUE;
    if (g_error_matches(local, WK_ERROR, WK_ERROR_NOT_FOUND))
        wk_error_set(error, WK_ERROR_UNAVAILABLE, "NotReady", "%s", local->message);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean
look(gpointer data, WkVmi **vmi, WkVm **vm, GError **error)
{
    const Guest *guest = data;

    return fetch(guest, guest->name, ask_vmi, (gpointer *)vmi, error)
           && fetch(guest, guest->name, ask_vm, (gpointer *)vm, error);
}

static gboolean
make_and_drop(Call *call, GError **error)
{
    const gboolean ok = call_make(call, error);

    call_unref(call);
    return ok;
}

static gboolean
lock(gpointer data, const WkVmi *vmi, GError **error)
{
    Call *call = call_own(data, ask_lock);

    call->vmi = wk_vmi_copy(vmi);
    return make_and_drop(call, error);
}

static gboolean
unlock(gpointer data, const char *vmi_uid, GError **error)
{
    Call *call = call_own(data, ask_unlock);

    call->uid = g_strdup(vmi_uid);
    return make_and_drop(call, error);
}

static gboolean
end_vmi(gpointer data, const char *vmi_uid, GError **error)
{
    Call *call = call_own(data, ask_end);

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
set_autostart(const Guest *guest, gboolean autostart, GError **error)
{
    g_autoptr(GError) local = NULL;
    Call *call;

    if (guest->wukong.uid == NULL)
        return TRUE;
    call = call_new(guest, guest->wukong.name, ask_autostart);
    call->uid = g_strdup(guest->wukong.uid);
    call->flag = autostart;
    if (make_and_drop(call, &local) || g_error_matches(local, WK_ERROR, WK_ERROR_NOT_FOUND)
        || g_strcmp0(wk_error_get_reason(local), "FieldsPruned") == 0)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean
let_start(gpointer data, gboolean may, GError **error)
{
    const Guest *guest = data;
    g_autoptr(WkVm) vm = NULL;

    if (!set_autostart(guest, may, error))
        return FALSE;
    if (!may)
        return TRUE;
    if (!fetch(guest, guest->name, ask_vm, (gpointer *)&vm, error))
        return FALSE;
    if (vm == NULL || !wk_run_strategy_row(vm->strategy)->needs_start || vm->requests > 0)
        return TRUE;
    return make_and_drop(call_own(data, ask_start), error);
}

static GPtrArray *
list_pods(gpointer data, const char *vmi_uid, GError **error)
{
    Call *call = call_own(data, ask_pods);
    GPtrArray *pods = NULL;

    call->uid = g_strdup(vmi_uid);
    if (call_make(call, error))
        pods = g_steal_pointer(&call->result);
    call_unref(call);
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
    Guest *guest = data;

    wk_cluster_link_unref(guest->link);
    wk_owner_clear(&guest->wukong);
    g_free(guest->ns);
    g_free(guest->name);
    g_free(guest);
}

static const WkClusterCalls calls = { .look = look,
                                      .lock = lock,
                                      .unlock = unlock,
                                      .end = end_vmi,
                                      .pause = pause_guest,
                                      .unpause = unpause_guest,
                                      .let_start = let_start,
                                      .list_pods = list_pods,
                                      .get_claim = get_claim,
                                      .free = guest_free };

WkCluster *
wk_cluster_link_open(WkClusterLink *self, const WkClusterGuest *about)
{
    Guest *guest = g_new0(Guest, 1);

    guest->link = wk_cluster_link_ref(self);
    guest->ns = g_strdup(about->ns);
    guest->name = g_strdup(about->name);
    if (about->wukong != NULL)
        wk_owner_copy(about->wukong, &guest->wukong);
    return wk_cluster_new(&calls, guest, about->node_name);
}
