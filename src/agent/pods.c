/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/pods.h"

#include "agent/cluster.h"
#include "agent/task.h"
#include "base/files.h"
#include "base/log.h"
#include "kube/kubevirt.h"
#include "virt/pods.h"

/* A watch that is begun anew is no reason to call every guest unknown; an outage is. */
#define PATIENCE_MS 30000

typedef struct {
    char *id; /* of its VM */
    char *ns;
    char *name; /* of VM and VMI */
    WkVmi *vmi; /* NULL: there is none */
    WkPod *pod; /* on this node; NULL: none */
    gboolean followed;
    gboolean vm_gone; /* nothing more comes of it once nothing of it is saved */
} PodGuest;

struct _WkPodGuests {
    WkEngine *engine;
    WkSource *source;
    WkLaunchers *launchers; /* the source's */
    WkKubevirt *kubevirt;
    WkClusterLink *link;
    WkPods *pods;
    char *node_name;
    GHashTable *guests; /* utf8 id:PodGuest */
    GSource *patience;  /* NULL: the watch is well */
};

static void
pod_guest_free(gpointer data)
{
    PodGuest *guest = data;

    wk_vmi_free(guest->vmi);
    wk_pod_unref(guest->pod);
    g_free(guest->id);
    g_free(guest->ns);
    g_free(guest->name);
    g_free(guest);
}

/* ---- what is known of one guest ---- */

static PodGuest *
find_by_name(WkPodGuests *self, const char *ns, const char *name)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        PodGuest *guest = value;

        if (g_str_equal(guest->ns, ns) && g_str_equal(guest->name, name))
            return guest;
    }
    return NULL;
}

static gboolean
is_saved(WkPodGuests *self, const PodGuest *guest)
{
    const WkGuest *known = wk_engine_find(self->engine, guest->id);

    return known != NULL
           && (known->record->state != WK_LEDGER_NONE || known->record->stopped_by_fallback
               || (known->task != NULL && known->task->op != NULL));
}

/* The node's own watch tells of it, and of its end. */
static gboolean
is_here(WkPodGuests *self, const WkVmi *vmi)
{
    return vmi != NULL && g_strcmp0(vmi->node, self->node_name) == 0;
}

/* By name as long as anything of it is here, or the node's watch would not tell of it. */
static void
follow(WkPodGuests *self, PodGuest *guest)
{
    const gboolean wanted = !is_here(self, guest->vmi) || is_saved(self, guest);

    if (wanted == guest->followed)
        return;
    guest->followed = wanted;
    wk_kubevirt_follow(self->kubevirt, guest->ns, guest->name, wanted);
}

static WkPower
power_of(const PodGuest *guest)
{
    WkPower power = WK_POWER_OFF;

    if (guest->vmi != NULL)
        (void)wk_vmi_power(guest->vmi, &power);
    return power;
}

static void
register_guest(WkPodGuests *self, const PodGuest *guest)
{
    g_autofree char *domain = wk_vmi_domain_name(guest->ns, guest->name);
    const WkLauncherGuest known = { .id = guest->id,
                                    .domain = domain,
                                    .memory_kib = guest->vmi != NULL ? guest->vmi->memory_kib : 0,
                                    .power = power_of(guest) };

    wk_launchers_set_guest(self->launchers, &known);
}

static int
open_socket(gpointer data, GError **error)
{
    return wk_pod_open_socket(data, error);
}

static void
drop_pod(gpointer data)
{
    wk_pod_unref(data);
}

/* A pod without a launcher is no place to ask for libvirt, but one to put a guard. */
static void
register_pod(WkPodGuests *self, const PodGuest *guest)
{
    WkLauncherPod known;

    if (guest->pod == NULL || !wk_pod_is_ready(guest->pod)) {
        wk_launchers_set_pod(self->launchers, guest->id, NULL);
        return;
    }
    known = (WkLauncherPod){ .pod_uid = wk_pod_get_uid(guest->pod),
                             .save_folder = wk_pod_get_save_folder(guest->pod),
                             .user = wk_pod_get_user(guest->pod),
                             .group = wk_pod_get_group(guest->pod),
                             .open_socket = open_socket,
                             .data = wk_pod_ref(guest->pod),
                             .data_free = drop_pod };
    wk_launchers_set_pod(self->launchers, guest->id, &known);
}

static WkPod *
find_pod(WkPodGuests *self, const PodGuest *guest)
{
    for (guint i = 0; guest->vmi != NULL && i < guest->vmi->pod_uids->len; i++) {
        WkPod *pod = wk_pods_find(self->pods, g_ptr_array_index(guest->vmi->pod_uids, i));

        if (pod != NULL)
            return pod;
    }
    return NULL;
}

static void
take_pod(WkPodGuests *self, PodGuest *guest)
{
    WkPod *pod = find_pod(self, guest);

    if (pod == guest->pod)
        return;
    wk_pod_unref(guest->pod);
    guest->pod = pod != NULL ? wk_pod_ref(pod) : NULL;
    register_pod(self, guest);
}

static void
forget(WkPodGuests *self, PodGuest *guest)
{
    g_autofree char *id = g_strdup(guest->id);

    if (guest->followed)
        wk_kubevirt_follow(self->kubevirt, guest->ns, guest->name, FALSE);
    wk_launchers_remove_guest(self->launchers, id);
    g_hash_table_remove(self->guests, id);
    wk_source_touch(self->source, id);
}

/* A VM that is made anew by the same name is another guest; the Wukong must not find this one. */
static void
forget_if_over(WkPodGuests *self, PodGuest *guest)
{
    if (guest->vm_gone && guest->vmi == NULL && !is_saved(self, guest))
        forget(self, guest);
}

/* VM and VMI of that name are the VM's with @id by now ("": there are none), so those before are
 * gone. */
static void
retire_namesakes(WkPodGuests *self, const char *ns, const char *name, const char *id)
{
    g_autoptr(GList) guests = g_hash_table_get_values(self->guests);

    for (GList *l = guests; l != NULL; l = l->next) {
        PodGuest *guest = l->data;

        if (g_str_equal(guest->id, id) || !g_str_equal(guest->ns, ns)
            || !g_str_equal(guest->name, name))
            continue;
        if (!guest->vm_gone)
            wk_source_touch(self->source, guest->id); /* what is saved of it is dropped */
        guest->vm_gone = TRUE;
        forget_if_over(self, guest);
    }
}

/* ---- from the API server ---- */

static PodGuest *
get_guest(WkPodGuests *self, const WkVmi *vmi)
{
    PodGuest *guest = g_hash_table_lookup(self->guests, vmi->vm_uid);

    if (guest != NULL)
        return guest;
    guest = g_new0(PodGuest, 1);
    guest->id = g_strdup(vmi->vm_uid);
    guest->ns = g_strdup(vmi->ns);
    guest->name = g_strdup(vmi->name);
    g_hash_table_insert(self->guests, guest->id, guest);
    return guest;
}

static gboolean
is_elsewhere(WkPodGuests *self, const WkVmi *vmi)
{
    return vmi->node != NULL && !g_str_equal(vmi->node, self->node_name);
}

static void
on_vmi(const WkVmi *vmi, gpointer data)
{
    WkPodGuests *self = data;
    PodGuest *guest;

    wk_cluster_link_tell_vmi(self->link, vmi);
    if (vmi->vm_uid == NULL || !g_uuid_string_is_valid(vmi->vm_uid))
        return; /* a VMI without a VM has nothing that could come back */
    guest = g_hash_table_lookup(self->guests, vmi->vm_uid);
    if (is_elsewhere(self, vmi) && (guest == NULL || !is_saved(self, guest))) {
        if (guest != NULL)
            forget(self, guest);
        return;
    }
    retire_namesakes(self, vmi->ns, vmi->name, vmi->vm_uid);
    guest = get_guest(self, vmi);
    wk_vmi_free(guest->vmi);
    guest->vmi = wk_vmi_copy(vmi);
    register_guest(self, guest);
    take_pod(self, guest);
    follow(self, guest);
    wk_source_touch(self->source, guest->id);
}

/* A watch that waits out a backoff would miss the new pod of a guest that comes back (R5). */
static void
on_answers(gpointer data)
{
    WkPodGuests *self = data;

    wk_kubevirt_hurry(self->kubevirt);
}

static void
on_vmi_gone(const char *ns, const char *name, const char *uid, gpointer data)
{
    WkPodGuests *self = data;
    PodGuest *guest = find_by_name(self, ns, name);

    if (guest == NULL || guest->vmi == NULL || g_strcmp0(guest->vmi->uid, uid) != 0)
        return;
    g_clear_pointer(&guest->vmi, wk_vmi_free);
    register_guest(self, guest);
    take_pod(self, guest);
    follow(self, guest);
    wk_source_touch(self->source, guest->id);
    forget_if_over(self, guest);
}

static void
on_vm(const WkVm *vm, gpointer data)
{
    WkPodGuests *self = data;

    wk_cluster_link_tell_vm(self->link, vm);
    retire_namesakes(self, vm->ns, vm->name, vm->uid);
    if (g_hash_table_contains(self->guests, vm->uid))
        wk_source_touch(self->source, vm->uid);
}

/* @uid NULL: none was seen by that name since it is listened to, and there is none. */
static void
on_vm_gone(const char *ns, const char *name, const char *uid, gpointer data)
{
    WkPodGuests *self = data;
    PodGuest *guest = uid != NULL ? g_hash_table_lookup(self->guests, uid) : NULL;

    if (uid == NULL)
        retire_namesakes(self, ns, name, "");
    if (guest == NULL)
        return;
    guest->vm_gone = TRUE;
    wk_source_touch(self->source, guest->id);
    forget_if_over(self, guest);
}

static void
drop_patience(WkPodGuests *self)
{
    if (self->patience == NULL)
        return;
    g_source_destroy(self->patience);
    g_clear_pointer(&self->patience, g_source_unref);
}

static void
on_synced(gpointer data)
{
    WkPodGuests *self = data;

    drop_patience(self);
    wk_source_set_up(self->source, TRUE, NULL);
}

static gboolean
on_out_of_patience(gpointer data)
{
    WkPodGuests *self = data;

    drop_patience(self);
    wk_source_set_up(self->source, FALSE, "the API server does not tell of its guests");
    return G_SOURCE_REMOVE;
}

static void
on_trouble(const GError *error, gpointer data)
{
    WkPodGuests *self = data;

    if (error == NULL) {
        drop_patience(self);
        wk_engine_source_answers(self->engine, self->source);
        if (wk_kubevirt_is_synced(self->kubevirt))
            wk_source_set_up(self->source, TRUE, NULL);
        return;
    }
    if (self->patience != NULL)
        return;
    self->patience = g_timeout_source_new(PATIENCE_MS);
    g_source_set_callback(self->patience, on_out_of_patience, self, NULL);
    (void)g_source_attach(self->patience, NULL);
}

static const WkKubevirtListener kubevirt_listener = { .vmi = on_vmi,
                                                      .vmi_gone = on_vmi_gone,
                                                      .vm = on_vm,
                                                      .vm_gone = on_vm_gone,
                                                      .synced = on_synced,
                                                      .trouble = on_trouble };

/* ---- from the kubelet's folder ---- */

static gboolean
has_pod(const PodGuest *guest, const char *pod_uid)
{
    for (guint i = 0; guest->vmi != NULL && i < guest->vmi->pod_uids->len; i++) {
        if (g_str_equal(g_ptr_array_index(guest->vmi->pod_uids, i), pod_uid))
            return TRUE;
    }
    return guest->pod != NULL && g_str_equal(wk_pod_get_uid(guest->pod), pod_uid);
}

static void
on_pod(WkPod *pod, gpointer data)
{
    WkPodGuests *self = data;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        PodGuest *guest = value;

        if (!has_pod(guest, wk_pod_get_uid(pod)))
            continue;
        take_pod(self, guest);
        wk_source_touch(self->source, guest->id);
        return;
    }
}

static const WkPodsListener pods_listener = { .appeared = on_pod, .ready = on_pod, .gone = on_pod };

/* ---- for the engine ---- */

/* Paused by whom, locked for what? With nothing saved of it, row N2 takes our lock off. */
static gboolean
is_conspicuous(const PodGuest *guest)
{
    return power_of(guest) == WK_POWER_PAUSED || (guest->vmi != NULL && guest->vmi->has_lock);
}

void
wk_pod_guests_equip(WkPodGuests *self, WkGuest *guest, WkJob *job, gboolean working)
{
    const PodGuest *known = self != NULL ? g_hash_table_lookup(self->guests, guest->uuid) : NULL;
    const gboolean asks_libvirt = working || guest->record->state != WK_LEDGER_NONE
                                  || guest->record->paused_to != WK_TARGET_NONE
                                  || (known != NULL && is_conspicuous(known));
    g_auto(GStrv) parts = g_strsplit(guest->name, "_", 2);
    const WkClusterGuest about = { .ns = parts[0],
                                   .name = parts[0] != NULL ? parts[1] : NULL,
                                   .node_name = self != NULL ? self->node_name : NULL,
                                   .wukong = &guest->owner };

    if (self == NULL || guest->source != self->source || about.name == NULL || !asks_libvirt)
        return;
    job->cluster = wk_cluster_link_open(self->link, &about);
    if (known != NULL && known->pod != NULL) {
        job->pod = wk_pod_ref(known->pod);
        /* what has ended starts nothing any more: row G2 would take its guard off again */
        if (known->vmi != NULL && !wk_vmi_is_final(known->vmi))
            job->pod_vmi_uid = g_strdup(known->vmi->uid);
    }
    job->lease = wk_launchers_lease(self->launchers, guest->uuid);
}

void
wk_pod_guests_note_state(WkPodGuests *self, const char *id)
{
    PodGuest *guest = self != NULL ? g_hash_table_lookup(self->guests, id) : NULL;

    if (guest == NULL)
        return;
    follow(self, guest);
    forget_if_over(self, guest);
}

void
wk_pod_guests_hurry(WkPodGuests *self)
{
    if (self != NULL)
        wk_kubevirt_hurry(self->kubevirt);
}

/* Guests of which something is saved are known before the API server tells of them: by their name
 * in the ledger. */
static void
adopt_saved(WkPodGuests *self)
{
    g_autoptr(GPtrArray) list = wk_engine_list(self->engine);

    for (guint i = 0; i < list->len; i++) {
        const WkGuest *saved = g_ptr_array_index(list, i);
        g_auto(GStrv) parts = g_strsplit(saved->name, "_", 2);
        PodGuest *guest;

        if (saved->source != self->source || parts[0] == NULL || parts[1] == NULL)
            continue;
        guest = g_new0(PodGuest, 1);
        guest->id = g_strdup(saved->uuid);
        guest->ns = g_strdup(parts[0]);
        guest->name = g_strdup(parts[1]);
        g_hash_table_insert(self->guests, guest->id, guest);
        register_guest(self, guest);
        follow(self, guest);
    }
}

WkPodGuests *
wk_pod_guests_new(const WkPodGuestsOptions *options, GError **error)
{
    g_autoptr(WkPodGuests) self = g_new0(WkPodGuests, 1);

    self->engine = options->engine;
    self->source = wk_source_ref(options->source);
    self->launchers = wk_source_get_launchers(options->source);
    self->node_name = g_strdup(options->node_name);
    self->guests = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, pod_guest_free);
    self->pods = wk_pods_new(options->kubelet_dir, &pods_listener, self, error);
    if (self->pods == NULL)
        return NULL;
    wk_files_distrust(wk_pods_get_folder(self->pods));
    self->link = wk_cluster_link_new(options->kube);
    wk_cluster_link_listen(self->link, on_answers, self);
    self->kubevirt = wk_kubevirt_new(options->kube, options->node_name, &kubevirt_listener, self);
    adopt_saved(self);
    wk_pods_start(self->pods);
    return g_steal_pointer(&self);
}

void
wk_pod_guests_free(WkPodGuests *self)
{
    if (self == NULL)
        return;
    drop_patience(self);
    if (self->link != NULL)
        wk_cluster_link_close(self->link);
    wk_cluster_link_unref(self->link);
    wk_kubevirt_free(self->kubevirt);
    wk_pods_free(self->pods);
    g_hash_table_unref(self->guests);
    wk_source_unref(self->source);
    g_free(self->node_name);
    g_free(self);
}
