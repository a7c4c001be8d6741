/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/workset.h"

#include "base/error.h"
#include "virt/watch.h"

struct _WkWorkset {
    char *uri;
    guint places;

    GMutex lock;
    gboolean closed;
    GPtrArray *members; /* (element-type Member), not owned: a member lives by its users */
};

typedef struct {
    WkWorkset *set; /* referenced */
    WkConnection *connection;
    guint users; /* under the set's lock; a member without any is freed at once */
} Member;

WkWorkset *
wk_workset_new(const char *uri, guint places)
{
    WkWorkset *self = g_atomic_rc_box_new0(WkWorkset);

    self->uri = g_strdup(uri);
    self->places = places;
    self->members = g_ptr_array_new();
    g_mutex_init(&self->lock);
    return self;
}

WkWorkset *
wk_workset_ref(WkWorkset *self)
{
    return g_atomic_rc_box_acquire(self);
}

static void
workset_clear(gpointer data)
{
    WkWorkset *self = data;

    g_ptr_array_unref(self->members);
    g_mutex_clear(&self->lock);
    g_free(self->uri);
}

void
wk_workset_unref(WkWorkset *self)
{
    if (self != NULL)
        g_atomic_rc_box_release_full(self, workset_clear);
}

static void
on_released(gpointer data)
{
    Member *member = data;
    g_autoptr(WkWorkset) set = NULL;
    g_autoptr(WkConnection) old = NULL; /* the lease holds it, too: closed when that is gone */

    g_mutex_lock(&member->set->lock);
    if (--member->users > 0) {
        g_mutex_unlock(&member->set->lock);
        return;
    }
    (void)g_ptr_array_remove_fast(member->set->members, member);
    g_mutex_unlock(&member->set->lock);
    set = member->set;
    old = member->connection;
    g_free(member);
}

/* Under the lock. */
static WkConnection *
lend(WkWorkset *self, Member *member)
{
    if (self->closed)
        return NULL;
    member->users++;
    return wk_connection_new_lease(member->connection, on_released, member);
}

static WkConnection *
borrow_open(WkWorkset *self, gboolean *closed)
{
    WkConnection *lease = NULL;

    g_mutex_lock(&self->lock);
    *closed = self->closed;
    for (guint i = 0; i < self->members->len && lease == NULL; i++) {
        Member *member = g_ptr_array_index(self->members, i);

        if (member->users < self->places && wk_connection_is_alive(member->connection))
            lease = lend(self, member);
    }
    g_mutex_unlock(&self->lock);
    return lease;
}

/* Takes @connection (transfer full). */
static WkConnection *
borrow_new(WkWorkset *self, WkConnection *connection)
{
    Member *member = g_new0(Member, 1);
    WkConnection *lease;

    *member = (Member){ .set = wk_workset_ref(self), .connection = connection };
    g_mutex_lock(&self->lock);
    lease = lend(self, member);
    if (lease != NULL)
        g_ptr_array_add(self->members, member);
    g_mutex_unlock(&self->lock);
    if (lease == NULL) {
        wk_connection_unref(connection);
        wk_workset_unref(self);
        g_free(member);
    }
    return lease;
}

WkConnection *
wk_workset_borrow(WkWorkset *self, GError **error)
{
    gboolean closed = FALSE;
    WkConnection *lease = borrow_open(self, &closed);
    WkConnection *connection = NULL;

    if (lease != NULL)
        return lease;
    /* Opened outside the lock: it can take long, and nobody else needs to wait for it. */
    if (!closed) {
        connection = wk_connection_open(self->uri, error);
        if (connection == NULL)
            return NULL;
        lease = borrow_new(self, connection);
    }
    if (lease == NULL)
        wk_error_set(error, WK_ERROR_UNAVAILABLE, NULL, "'%s' went away", self->uri);
    return lease;
}

void
wk_workset_close(WkWorkset *self)
{
    g_mutex_lock(&self->lock);
    self->closed = TRUE;
    g_ptr_array_set_size(self->members, 0);
    g_mutex_unlock(&self->lock);
}
