/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/kubevirt.h"

#include "base/error.h"
#include "base/json.h"
#include "kube/object.h"
#include "kube/reflector.h"

#define NODE_LABEL "kubevirt.io/nodeName"
#define VMIS       "virtualmachineinstances"
#define VMS        "virtualmachines"

typedef struct _Entry Entry;

/* A look by name at one of the two objects of a followed name. */
typedef struct {
    Entry *entry;
    WkReflector *reflector; /* NULL: not followed */
    gboolean is_vm;
    gboolean told;   /* since it was listed anew */
    gboolean synced; /* from now on it has the word about its object */
    gboolean troubled;
} Look;

/* One name. Shared with the calls on the stack that are about it. */
struct _Entry {
    WkKubevirt *owner; /* a reference: broken by wk_kubevirt_free() */
    char *key;         /* "NS/NAME" */
    char *ns;
    char *name;
    guint follows;
    gboolean listed;     /* the node's list has it */
    gboolean listed_now; /* since that was listed anew */
    WkVmi *vmi;          /* told last; NULL: nothing, or gone */
    WkVmi *listed_vmi;   /* what the node's list last said of it since it is followed */
    WkVm *vm;
    Look look_vmi;
    Look look_vm;
};

struct _WkKubevirt {
    WkKube *kube;
    WkKubevirtListener listener;
    gpointer data;
    gboolean dead;
    WkReflector *node; /* the VMIs of this node */
    gboolean node_troubled;
    gboolean synced;
    gboolean present;
    guint n_troubled;    /* watches with which something is wrong */
    gboolean owes_well;  /* the last of them was given up */
    GSource *soon;       /* NULL: none */
    GHashTable *entries; /* (element-type utf8 Entry), by key */
};

static void
kubevirt_clear(gpointer data)
{
    WkKubevirt *self = data;

    g_hash_table_unref(self->entries);
}

static void
kubevirt_unref(WkKubevirt *self)
{
    g_rc_box_release_full(self, kubevirt_clear);
}
typedef WkKubevirt Held;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Held, kubevirt_unref)

static void
entry_clear(gpointer data)
{
    Entry *entry = data;

    g_free(entry->key);
    g_free(entry->ns);
    g_free(entry->name);
    wk_vmi_free(entry->vmi);
    wk_vmi_free(entry->listed_vmi);
    wk_vm_free(entry->vm);
    kubevirt_unref(entry->owner);
}

static void
entry_unref(Entry *entry)
{
    g_rc_box_release_full(entry, entry_clear);
}
typedef Entry HeldEntry;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HeldEntry, entry_unref)

static void
free_entry(gpointer data)
{
    entry_unref(data);
}

/* Of the table: what somebody on the stack still holds is of no more use. */
static void
drop_entry(gpointer data)
{
    Entry *entry = data;

    g_clear_pointer(&entry->look_vmi.reflector, wk_reflector_free);
    g_clear_pointer(&entry->look_vm.reflector, wk_reflector_free);
    entry_unref(entry);
}

static Entry *
find(WkKubevirt *self, const char *ns, const char *name)
{
    g_autofree char *key = g_strdup_printf("%s/%s", ns, name);

    return g_hash_table_lookup(self->entries, key);
}

static Entry *
obtain(WkKubevirt *self, const char *ns, const char *name)
{
    Entry *entry = find(self, ns, name);

    if (entry != NULL)
        return entry;
    entry = g_rc_box_new0(Entry);
    entry->owner = g_rc_box_acquire(self);
    entry->key = g_strdup_printf("%s/%s", ns, name);
    entry->ns = g_strdup(ns);
    entry->name = g_strdup(name);
    entry->look_vmi = (Look){ .entry = entry };
    entry->look_vm = (Look){ .entry = entry, .is_vm = TRUE };
    g_hash_table_insert(self->entries, entry->key, entry);
    return entry;
}

/* A listener may have freed everything, or let go of this name. */
static gboolean
is_current(const Entry *entry)
{
    return !entry->owner->dead && g_hash_table_lookup(entry->owner->entries, entry->key) == entry;
}

static void
drop_if_unused(Entry *entry)
{
    if (is_current(entry) && entry->follows == 0 && !entry->listed)
        g_hash_table_remove(entry->owner->entries, entry->key);
}

/* (transfer full) (element-type Entry): those of now, each held. */
static GPtrArray *
hold_all(WkKubevirt *self)
{
    GPtrArray *all = g_ptr_array_new_with_free_func(free_entry);
    GHashTableIter iter;
    gpointer entry;

    g_hash_table_iter_init(&iter, self->entries);
    while (g_hash_table_iter_next(&iter, NULL, &entry))
        g_ptr_array_add(all, g_rc_box_acquire(entry));
    return all;
}

/* ---- what is told ---- */

static void
tell_vmi_gone(Entry *entry)
{
    WkKubevirt *self = entry->owner;
    g_autoptr(WkVmi) old = g_steal_pointer(&entry->vmi);

    if (old != NULL && self->listener.vmi_gone != NULL)
        self->listener.vmi_gone(entry->ns, entry->name, old->uid, self->data);
}

static gboolean
is_same(const char *uid, const char *version, const char *other_uid, const char *other_version)
{
    return version != NULL && g_strcmp0(version, other_version) == 0 && g_str_equal(uid, other_uid);
}

/* Takes @vmi. What is told is the object itself, and what is kept a copy: whoever listens may let
 * go of the name, and of what is kept with it. */
static void
tell_vmi(Entry *entry, WkVmi *vmi)
{
    WkKubevirt *self = entry->owner;
    g_autoptr(WkVmi) fresh = vmi;

    if (entry->vmi != NULL && !g_str_equal(entry->vmi->uid, fresh->uid))
        tell_vmi_gone(entry);
    if (!is_current(entry)
        || (entry->vmi != NULL
            && is_same(fresh->uid, fresh->resource_version, entry->vmi->uid,
                       entry->vmi->resource_version)))
        return;
    wk_vmi_free(entry->vmi);
    entry->vmi = wk_vmi_copy(fresh);
    if (self->listener.vmi != NULL)
        self->listener.vmi(fresh, self->data);
}

static void
tell_vm_gone(Entry *entry)
{
    WkKubevirt *self = entry->owner;
    g_autoptr(WkVm) old = g_steal_pointer(&entry->vm);

    if (self->listener.vm_gone != NULL)
        self->listener.vm_gone(entry->ns, entry->name, old != NULL ? old->uid : NULL, self->data);
}

/* Takes @vm; as above. */
static void
tell_vm(Entry *entry, WkVm *vm)
{
    WkKubevirt *self = entry->owner;
    g_autoptr(WkVm) fresh = vm;

    if (entry->vm != NULL && !g_str_equal(entry->vm->uid, fresh->uid))
        tell_vm_gone(entry);
    if (!is_current(entry) || entry->follows == 0
        || (entry->vm != NULL
            && is_same(fresh->uid, fresh->resource_version, entry->vm->uid,
                       entry->vm->resource_version)))
        return;
    wk_vm_free(entry->vm);
    entry->vm = wk_vm_copy(fresh);
    if (self->listener.vm != NULL)
        self->listener.vm(fresh, self->data);
}

/* A server without KubeVirt (404) is no trouble. */
static void
note_trouble(WkKubevirt *self, gboolean *troubled, const GError *error)
{
    const gboolean wrong = error != NULL && !g_error_matches(error, WK_ERROR, WK_ERROR_NOT_FOUND);
    const gboolean changed = wrong != *troubled;

    *troubled = wrong;
    if (changed && wrong)
        self->n_troubled++;
    else if (changed)
        self->n_troubled--;
    if (self->listener.trouble == NULL)
        return;
    if (wrong)
        self->listener.trouble(error, self->data);
    else if (changed && self->n_troubled == 0)
        self->listener.trouble(NULL, self->data);
}

/* ---- the VMIs of this node ---- */

static void
on_node_relisting(gpointer data)
{
    WkKubevirt *self = data;
    GHashTableIter iter;
    gpointer entry;

    g_hash_table_iter_init(&iter, self->entries);
    while (g_hash_table_iter_next(&iter, NULL, &entry))
        ((Entry *)entry)->listed_now = FALSE;
}

static void
on_node_object(JsonObject *object, gpointer data)
{
    WkKubevirt *self = data;
    g_autoptr(WkVmi) vmi = wk_vmi_parse(object, NULL);
    g_autoptr(HeldEntry) entry = NULL;

    if (vmi == NULL)
        return;
    self->present = TRUE;
    entry = g_rc_box_acquire(obtain(self, vmi->ns, vmi->name));
    entry->listed = entry->listed_now = TRUE;
    /* what was kept and is still to be told is older */
    g_clear_pointer(&entry->listed_vmi, wk_vmi_free);
    if (entry->follows > 0) /* the look's list, once it comes, may be older than this */
        entry->listed_vmi = wk_vmi_copy(vmi);
    if (!entry->look_vmi.synced)
        tell_vmi(entry, g_steal_pointer(&vmi));
}

static void
unlist(Entry *entry)
{
    entry->listed = FALSE;
    g_clear_pointer(&entry->listed_vmi, wk_vmi_free);
    if (!entry->look_vmi.synced)
        tell_vmi_gone(entry);
    drop_if_unused(entry);
}

static void
on_node_left(JsonObject *last, gpointer data)
{
    WkKubevirt *self = data;
    g_autoptr(WkVmi) vmi = wk_vmi_parse(last, NULL);
    Entry *entry = vmi != NULL ? find(self, vmi->ns, vmi->name) : NULL;
    g_autoptr(HeldEntry) held = entry != NULL ? g_rc_box_acquire(entry) : NULL;

    if (held != NULL && held->listed)
        unlist(held);
}

static void
on_node_synced(gpointer data)
{
    g_autoptr(Held) self = g_rc_box_acquire(data);
    g_autoptr(GPtrArray) all = hold_all(self);

    self->synced = self->present = TRUE;
    for (guint i = 0; i < all->len && !self->dead; i++) {
        Entry *entry = g_ptr_array_index(all, i);

        if (is_current(entry) && entry->listed && !entry->listed_now)
            unlist(entry);
    }
    if (!self->dead && self->listener.synced != NULL)
        self->listener.synced(self->data);
}

static void
on_node_trouble(const GError *error, guint retry_ms G_GNUC_UNUSED, gpointer data)
{
    WkKubevirt *self = data;

    if (g_error_matches(error, WK_ERROR, WK_ERROR_NOT_FOUND))
        self->present = FALSE;
    note_trouble(self, &self->node_troubled, error);
}

static const WkReflectorListener node_listener = { .relisting = on_node_relisting,
                                                   .object = on_node_object,
                                                   .left = on_node_left,
                                                   .synced = on_node_synced,
                                                   .trouble = on_node_trouble };

/* ---- one name ---- */

static void
on_look_relisting(gpointer data)
{
    Look *look = data;

    look->told = FALSE;
}

/* The server may not know the field selector, and send all there are. */
static gboolean
is_about(const Look *look, JsonObject *object)
{
    JsonObject *metadata = wk_json_get_object(object, "metadata");

    return g_strcmp0(wk_json_get_string(metadata, "name"), look->entry->name) == 0;
}

static void
on_look_object(JsonObject *object, gpointer data)
{
    Look *look = data;
    g_autoptr(HeldEntry) entry = g_rc_box_acquire(look->entry);
    WkVmi *vmi = look->is_vm ? NULL : wk_vmi_parse(object, NULL);
    WkVm *vm = look->is_vm ? wk_vm_parse(object, NULL) : NULL;

    if ((vmi == NULL && vm == NULL) || !is_about(look, object)) {
        wk_vmi_free(vmi);
        wk_vm_free(vm);
        return;
    }
    look->told = TRUE;
    if (look->is_vm)
        tell_vm(entry, vm);
    else
        tell_vmi(entry, vmi);
}

static void
on_look_left(JsonObject *last, gpointer data)
{
    Look *look = data;
    g_autoptr(HeldEntry) entry = g_rc_box_acquire(look->entry);

    if (!is_about(look, last))
        return;
    if (look->is_vm)
        tell_vm_gone(entry);
    else
        tell_vmi_gone(entry);
}

static void
on_look_synced(gpointer data)
{
    Look *look = data;
    g_autoptr(HeldEntry) entry = g_rc_box_acquire(look->entry);
    WkKubevirt *self = entry->owner;

    look->synced = TRUE;
    if (!look->told && look->is_vm)
        tell_vm_gone(entry);
    else if (!look->told)
        tell_vmi_gone(entry);
    if (is_current(entry) && entry->look_vmi.synced && entry->look_vm.synced
        && self->listener.looked != NULL)
        self->listener.looked(entry->ns, entry->name, self->data);
}

static void
on_look_trouble(const GError *error, guint retry_ms G_GNUC_UNUSED, gpointer data)
{
    Look *look = data;

    note_trouble(look->entry->owner, &look->troubled, error);
}

static const WkReflectorListener look_listener = { .relisting = on_look_relisting,
                                                   .object = on_look_object,
                                                   .left = on_look_left,
                                                   .synced = on_look_synced,
                                                   .trouble = on_look_trouble };

static void
look_start(Look *look, const char *plural)
{
    const Entry *entry = look->entry;
    g_autofree char *ns = g_uri_escape_string(entry->ns, NULL, FALSE);
    g_autofree char *path = g_strdup_printf("%s/namespaces/%s/%s", WK_KUBEVIRT_PATH, ns, plural);
    g_autofree char *selector = g_strdup_printf("metadata.name=%s", entry->name);
    const WkReflectorOptions options = { .path = path, .field_selector = selector };

    look->reflector = wk_reflector_new(entry->owner->kube, &options, &look_listener, look);
}

/* Returns: TRUE when that was the last trouble there was. */
static gboolean
look_stop(Look *look)
{
    const gboolean troubled = look->troubled;

    g_clear_pointer(&look->reflector, wk_reflector_free);
    look->told = look->synced = look->troubled = FALSE;
    return troubled && --look->entry->owner->n_troubled == 0;
}

/* ---- from outside ---- */

/* What could not be told inside of wk_kubevirt_follow(). */
static gboolean
on_soon(gpointer data)
{
    g_autoptr(Held) self = g_rc_box_acquire(data);
    g_autoptr(GPtrArray) all = hold_all(self);
    const gboolean owes_well = self->owes_well && self->n_troubled == 0;

    g_clear_pointer(&self->soon, g_source_unref);
    self->owes_well = FALSE;
    for (guint i = 0; i < all->len && !self->dead; i++) {
        Entry *entry = g_ptr_array_index(all, i);

        if (entry->follows == 0 && entry->listed_vmi != NULL)
            tell_vmi(entry, g_steal_pointer(&entry->listed_vmi));
    }
    if (owes_well && !self->dead && self->listener.trouble != NULL)
        self->listener.trouble(NULL, self->data);
    return G_SOURCE_REMOVE;
}

static void
act_soon(WkKubevirt *self)
{
    if (self->soon != NULL)
        return;
    self->soon = g_idle_source_new();
    g_source_set_priority(self->soon, G_PRIORITY_DEFAULT);
    g_source_set_callback(self->soon, on_soon, self, NULL);
    g_source_attach(self->soon, NULL);
}

static void
unfollow(WkKubevirt *self, Entry *entry)
{
    const gboolean vmi_was_last = look_stop(&entry->look_vmi);

    self->owes_well = look_stop(&entry->look_vm) || vmi_was_last || self->owes_well;
    g_clear_pointer(&entry->vm, wk_vm_free);
    if (self->owes_well || entry->listed_vmi != NULL)
        act_soon(self);
    drop_if_unused(entry);
}

void
wk_kubevirt_follow(WkKubevirt *self, const char *ns, const char *name, gboolean on)
{
    Entry *entry = on ? obtain(self, ns, name) : find(self, ns, name);

    g_return_if_fail(entry != NULL && (on || entry->follows > 0));
    if (on && entry->follows++ == 0) {
        look_start(&entry->look_vmi, VMIS);
        look_start(&entry->look_vm, VMS);
    } else if (!on && --entry->follows == 0) {
        unfollow(self, entry);
    }
}

const WkVmi *
wk_kubevirt_get_vmi(WkKubevirt *self, const char *ns, const char *name)
{
    const Entry *entry = find(self, ns, name);

    return entry != NULL ? entry->vmi : NULL;
}

const WkVm *
wk_kubevirt_get_vm(WkKubevirt *self, const char *ns, const char *name)
{
    const Entry *entry = find(self, ns, name);

    return entry != NULL ? entry->vm : NULL;
}

gboolean
wk_kubevirt_is_synced(WkKubevirt *self)
{
    return self->synced;
}

gboolean
wk_kubevirt_is_present(WkKubevirt *self)
{
    return self->present;
}

gint64
wk_kubevirt_get_last_heard_us(WkKubevirt *self)
{
    return wk_reflector_get_last_heard_us(self->node);
}

void
wk_kubevirt_hurry(WkKubevirt *self)
{
    GHashTableIter iter;
    gpointer value;

    wk_reflector_hurry(self->node);
    g_hash_table_iter_init(&iter, self->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Entry *entry = value;

        if (entry->follows == 0)
            continue;
        wk_reflector_hurry(entry->look_vmi.reflector);
        wk_reflector_hurry(entry->look_vm.reflector);
    }
}

WkKubevirt *
wk_kubevirt_new(WkKube *kube, const char *node_name, const WkKubevirtListener *listener,
                gpointer data)
{
    WkKubevirt *self = g_rc_box_new0(WkKubevirt);
    g_autofree char *selector = g_strdup_printf(NODE_LABEL "=%s", node_name);
    const WkReflectorOptions options = { .path = WK_KUBEVIRT_PATH "/" VMIS,
                                         .label_selector = selector };

    self->kube = kube;
    self->listener = *listener;
    self->data = data;
    self->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, drop_entry);
    self->node = wk_reflector_new(kube, &options, &node_listener, self);
    return self;
}

void
wk_kubevirt_free(WkKubevirt *self)
{
    if (self == NULL)
        return;
    self->dead = TRUE;
    g_clear_pointer(&self->node, wk_reflector_free);
    if (self->soon != NULL)
        g_source_destroy(self->soon);
    g_clear_pointer(&self->soon, g_source_unref);
    g_hash_table_remove_all(self->entries);
    kubevirt_unref(self);
}
