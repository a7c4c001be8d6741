/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/launchers.h"

#include "base/error.h"
#include "virt/helper.h"
#include "virt/remote.h"

#include <unistd.h>

/* For a helper that reads XML and has no pod to take the user from. */
#define NOBODY 65534

/* Shared with whoever opens its socket outside the lock. */
typedef struct {
    WkLauncherPod public; /* with strings of its own */
} Pod;

typedef struct {
    char *id;
    gboolean known; /* FALSE: only leases are left of it */
    char *domain;
    guint64 memory_kib;
    WkPower power;
    Pod *pod;         /* NULL: none on this node */
    WkHelper *helper; /* NULL: none */
    gboolean helper_has_libvirt;
    guint leases;
} Guest;

struct _WkLaunchers {
    GMutex lock;
    GHashTable *guests; /* id -> (element-type Guest) */
};

struct _WkLauncherLease {
    WkLaunchers *launchers; /* referenced */
    char *id;
};

static void
pod_clear(gpointer data)
{
    WkLauncherPod *pod = &((Pod *)data)->public;

    g_free((char *)pod->pod_uid);
    g_free((char *)pod->save_folder);
    if (pod->data_free != NULL)
        pod->data_free(pod->data);
}

static void
pod_unref(Pod *pod)
{
    if (pod != NULL)
        g_atomic_rc_box_release_full(pod, pod_clear);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pod, pod_unref)

static Pod *
pod_new(const WkLauncherPod *public)
{
    Pod *pod = g_atomic_rc_box_new0(Pod);

    pod->public = *public;
    pod->public.pod_uid = g_strdup(public->pod_uid);
    pod->public.save_folder = g_strdup(public->save_folder);
    return pod;
}

static void
guest_free(gpointer data)
{
    Guest *guest = data;

    wk_helper_unref(guest->helper);
    pod_unref(guest->pod);
    g_free(guest->domain);
    g_free(guest->id);
    g_free(guest);
}

WkLaunchers *
wk_launchers_new(void)
{
    WkLaunchers *self = g_atomic_rc_box_new0(WkLaunchers);

    g_mutex_init(&self->lock);
    self->guests = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, guest_free);
    return self;
}

WkLaunchers *
wk_launchers_ref(WkLaunchers *self)
{
    return g_atomic_rc_box_acquire(self);
}

static void
launchers_clear(gpointer data)
{
    WkLaunchers *self = data;

    g_hash_table_unref(self->guests);
    g_mutex_clear(&self->lock);
}

void
wk_launchers_unref(WkLaunchers *self)
{
    if (self != NULL)
        g_atomic_rc_box_release_full(self, launchers_clear);
}

/* Under the lock, as all of these. Returns: (transfer none). */
static Guest *
ensure(WkLaunchers *self, const char *id)
{
    Guest *guest = g_hash_table_lookup(self->guests, id);

    if (guest == NULL) {
        guest = g_new0(Guest, 1);
        guest->id = g_strdup(id);
        g_hash_table_insert(self->guests, guest->id, guest);
    }
    return guest;
}

/* Returns: (transfer none) (nullable). */
static Guest *
find_known(WkLaunchers *self, const char *id)
{
    Guest *guest = g_hash_table_lookup(self->guests, id);

    return guest != NULL && guest->known ? guest : NULL;
}

static void
end_helper(Guest *guest, const char *why)
{
    if (guest->helper != NULL)
        wk_helper_kill(guest->helper, why);
    g_clear_pointer(&guest->helper, wk_helper_unref);
}

static void
drop_if_unused(WkLaunchers *self, Guest *guest)
{
    if (!guest->known && guest->leases == 0)
        g_hash_table_remove(self->guests, guest->id);
}

void
wk_launchers_set_guest(WkLaunchers *self, const WkLauncherGuest *given)
{
    Guest *guest;

    g_mutex_lock(&self->lock);
    guest = ensure(self, given->id);
    guest->known = TRUE;
    g_free(guest->domain);
    guest->domain = g_strdup(given->domain);
    guest->memory_kib = given->memory_kib;
    guest->power = given->power;
    g_mutex_unlock(&self->lock);
}

void
wk_launchers_remove_guest(WkLaunchers *self, const char *id)
{
    g_autoptr(Pod) pod = NULL; /* freed outside the lock: what it frees is the caller's */
    Guest *guest;

    g_mutex_lock(&self->lock);
    guest = find_known(self, id);
    if (guest != NULL) {
        pod = g_steal_pointer(&guest->pod);
        guest->known = FALSE;
        end_helper(guest, "the VM is gone");
        drop_if_unused(self, guest);
    }
    g_mutex_unlock(&self->lock);
}

static gboolean
is_same_pod(const Pod *old, const WkLauncherPod *new)
{
    return old != NULL && new != NULL &&g_strcmp0(old->public.pod_uid, new->pod_uid) == 0
           && old->public.user == new->user && old->public.group == new->group;
}

void
wk_launchers_set_pod(WkLaunchers *self, const char *id, const WkLauncherPod *given)
{
    Pod *pod = given != NULL ? pod_new(given) : NULL;
    g_autoptr(Pod) old = NULL;
    Guest *guest;

    g_mutex_lock(&self->lock);
    guest = find_known(self, id);
    if (guest != NULL) {
        if (!is_same_pod(guest->pod, given))
            end_helper(guest, "the launcher pod is gone");
        old = guest->pod;
        guest->pod = pod;
    } else {
        old = pod;
    }
    g_mutex_unlock(&self->lock);
}

char *
wk_launchers_get_pod_uid(WkLaunchers *self, const char *id)
{
    char *uid = NULL;
    Guest *guest;

    g_mutex_lock(&self->lock);
    guest = find_known(self, id);
    if (guest != NULL && guest->pod != NULL)
        uid = g_strdup(guest->pod->public.pod_uid);
    g_mutex_unlock(&self->lock);
    return uid;
}

char *
wk_launchers_managed_path(WkLaunchers *self, const char *id)
{
    char *path = NULL;
    Guest *guest;

    g_mutex_lock(&self->lock);
    guest = find_known(self, id);
    if (guest != NULL && guest->pod != NULL && guest->pod->public.save_folder != NULL)
        path = g_strdup_printf("%s/%s.save", guest->pod->public.save_folder, guest->domain);
    g_mutex_unlock(&self->lock);
    return path;
}

WkLauncherPresence
wk_launchers_get_presence(WkLaunchers *self, const char *id)
{
    WkLauncherPresence presence = WK_LAUNCHER_UNKNOWN;
    Guest *guest;

    g_mutex_lock(&self->lock);
    guest = find_known(self, id);
    if (guest != NULL)
        presence = guest->pod != NULL ? WK_LAUNCHER_POD : WK_LAUNCHER_NO_POD;
    g_mutex_unlock(&self->lock);
    return presence;
}

static void
peek(const Guest *guest, WkLook *look)
{
    look->power = guest != NULL ? guest->power : WK_POWER_ABSENT;
    look->persistent = guest != NULL;
}

void
wk_launchers_peek(WkLaunchers *self, const char *id, WkLook *look)
{
    wk_look_clear(look);
    g_mutex_lock(&self->lock);
    peek(find_known(self, id), look);
    g_mutex_unlock(&self->lock);
}

static WkFacts *
peek_facts(const Guest *guest)
{
    WkFacts *facts = wk_facts_new();

    facts->uuid = g_strdup(guest->id);
    facts->name = g_strdup(guest->domain);
    facts->memory_kib = guest->memory_kib;
    return facts;
}

WkFacts *
wk_launchers_peek_facts(WkLaunchers *self, const char *id)
{
    WkFacts *facts = NULL;
    Guest *guest;

    g_mutex_lock(&self->lock);
    guest = find_known(self, id);
    if (guest != NULL)
        facts = peek_facts(guest);
    g_mutex_unlock(&self->lock);
    return facts;
}

GPtrArray *
wk_launchers_list(WkLaunchers *self)
{
    GPtrArray *entries = g_ptr_array_new_with_free_func(wk_domain_entry_free);
    GHashTableIter iter;
    gpointer value;

    g_mutex_lock(&self->lock);
    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Guest *guest = value;
        WkDomainEntry *entry;

        if (!guest->known)
            continue;
        entry = g_new0(WkDomainEntry, 1);
        entry->facts = peek_facts(guest);
        peek(guest, &entry->look);
        g_ptr_array_add(entries, entry);
    }
    g_mutex_unlock(&self->lock);
    return entries;
}

WkLauncherLease *
wk_launchers_lease(WkLaunchers *self, const char *id)
{
    WkLauncherLease *lease = g_new0(WkLauncherLease, 1);

    lease->launchers = wk_launchers_ref(self);
    lease->id = g_strdup(id);
    g_mutex_lock(&self->lock);
    ensure(self, id)->leases++;
    g_mutex_unlock(&self->lock);
    return lease;
}

void
wk_launcher_lease_free(WkLauncherLease *lease)
{
    WkLaunchers *self;
    Guest *guest;

    if (lease == NULL)
        return;
    self = lease->launchers;
    g_mutex_lock(&self->lock);
    guest = g_hash_table_lookup(self->guests, lease->id);
    if (--guest->leases == 0) {
        end_helper(guest, "the operation is over");
        drop_if_unused(self, guest);
    }
    g_mutex_unlock(&self->lock);
    wk_launchers_unref(self);
    g_free(lease->id);
    g_free(lease);
}

void
wk_launchers_end_helpers(WkLaunchers *self)
{
    GHashTableIter iter;
    gpointer value;

    g_mutex_lock(&self->lock);
    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        end_helper(value, "a call got stuck");
    g_mutex_unlock(&self->lock);
}

guint
wk_launchers_count_helpers(WkLaunchers *self)
{
    GHashTableIter iter;
    gpointer value;
    guint n = 0;

    g_mutex_lock(&self->lock);
    g_hash_table_iter_init(&iter, self->guests);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Guest *guest = value;

        n += guest->helper != NULL && wk_helper_is_alive(guest->helper);
    }
    g_mutex_unlock(&self->lock);
    return n;
}

/* What a helper is started with. */
typedef struct {
    Pod *pod; /* referenced; NULL: it needs no libvirt */
    int socket;
    uid_t user;
    gid_t group;
} Start;

/* Under the lock. Returns: (transfer full) (nullable): the helper that the guest has, if it will
 * do. */
static WkHelper *
present_helper(const Guest *guest, gboolean libvirt)
{
    if (guest->helper == NULL || !wk_helper_is_alive(guest->helper)
        || (libvirt && !guest->helper_has_libvirt))
        return NULL;
    return wk_helper_ref(guest->helper);
}

/* Under the lock. A second one may have been started meanwhile, or the pod be another. */
static WkHelper *
install(Guest *guest, const Start *start, GError **error)
{
    WkHelper *helper = present_helper(guest, start->pod != NULL);

    if (helper != NULL) {
        if (start->socket >= 0)
            (void)close(start->socket);
        return helper;
    }
    if (start->pod != NULL && start->pod != guest->pod) {
        (void)close(start->socket);
        wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL, "the launcher pod of guest '%s' changed",
                     guest->domain);
        return NULL;
    }
    end_helper(guest, "another takes its place");
    guest->helper = wk_helper_start(start->socket, start->user, start->group);
    guest->helper_has_libvirt = start->socket >= 0;
    return wk_helper_ref(guest->helper);
}

/* Whatever the reason, the guest is there and its libvirt can't be asked now. */
static gboolean
open_pod(const Pod *pod, Start *start, GError **error)
{
    const WkLauncherPod *public = &pod->public;
    g_autoptr(GError) failed = NULL;

    start->user = public->user;
    start->group = public->group;
    start->socket = public->open_socket(public->data, &failed);
    if (start->socket >= 0)
        return TRUE;
    wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL, "libvirt's socket in launcher pod %s: %s",
                 public->pod_uid, failed->message);
    return FALSE;
}

/* Opening the socket is the one thing that may take a moment: outside the lock. */
static WkHelper *
start_helper(WkLaunchers *self, const char *id, Pod *pod, GError **error)
{
    const gboolean is_root = geteuid() == 0;
    Start start = { .pod = pod,
                    .socket = -1,
                    .user = is_root ? NOBODY : geteuid(),
                    .group = is_root ? NOBODY : getegid() };
    WkHelper *helper = NULL;
    Guest *guest;

    if (pod != NULL && !open_pod(pod, &start, error))
        return NULL;
    g_mutex_lock(&self->lock);
    guest = g_hash_table_lookup(self->guests, id); /* there: the caller has a lease */
    helper = install(guest, &start, error);
    g_mutex_unlock(&self->lock);
    return helper;
}

/* Returns: (transfer full): the guest's helper, and its domain's name (transfer full). The caller
 * has a lease. */
static WkHelper *
get_helper(WkLaunchers *self, const char *id, gboolean libvirt, char **domain, GError **error)
{
    g_autoptr(WkHelper) helper = NULL;
    g_autoptr(Pod) pod = NULL;
    Guest *guest;

    g_mutex_lock(&self->lock);
    guest = find_known(self, id);
    if (guest == NULL) {
        wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "no guest %s", id);
    } else {
        *domain = g_strdup(guest->domain);
        helper = present_helper(guest, libvirt);
        if (guest->pod != NULL && libvirt)
            pod = g_atomic_rc_box_acquire(guest->pod);
        if (helper == NULL && libvirt && pod == NULL)
            wk_error_set(error, WK_ERROR_CONFLICT, NULL, "guest '%s' has no launcher pod here",
                         guest->domain);
    }
    g_mutex_unlock(&self->lock);
    if (guest == NULL || (libvirt && pod == NULL))
        return g_steal_pointer(&helper);
    return helper != NULL ? g_steal_pointer(&helper) : start_helper(self, id, pod, error);
}

/* The caller has a lease. */
static JsonObject *
call_leased(WkLaunchers *self, const char *id, WkHelperRequest *request, GError **error)
{
    const WkHelperKind *kind = wk_helper_kind(request->method);
    g_autofree char *domain = NULL;
    g_autoptr(WkHelper) helper = get_helper(self, id, kind->libvirt, &domain, error);

    if (helper == NULL)
        return NULL;
    request->domain = domain;
    return wk_helper_call(helper, request, error);
}

JsonObject *
wk_launchers_call(WkLaunchers *self, const char *id, WkHelperRequest *request, GError **error)
{
    WkLauncherLease *lease = wk_launchers_lease(self, id);
    JsonObject *result = call_leased(self, id, request, error);

    wk_launcher_lease_free(lease);
    return result;
}
