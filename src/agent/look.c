/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "agent/engine_private.h"
#include "worker/launcher.h"
#include "worker/memory.h"

#include "base/error.h"
#include "base/log.h"
#include "model/policy.h"

/* What one look brings back from the worker. */
typedef struct {
    WkJob *job; /* only to look with */
    WkFacts *facts;
} Look;

static void
look_free(gpointer data)
{
    Look *look = data;

    wk_job_free(look->job);
    wk_facts_free(look->facts);
    g_free(look);
}

/* A pod may be without its domain for as long as its launcher likes: before it is defined, and once
 * it is undefined. What can be told of such a guest is what KubeVirt says. */
static gboolean
has_no_domain(const Look *look, const GError *failure)
{
    return wk_source_is_launcher(look->job->source)
           && g_error_matches(failure, WK_ERROR, WK_ERROR_NOT_FOUND);
}

static gboolean
look_blocking(Look *look, GError **error)
{
    g_autoptr(WkConnection) connection = NULL;
    g_autoptr(GError) failure = NULL;

    if (!wk_job_look(look->job, error))
        return FALSE;
    if (look->job->look.power == WK_POWER_ABSENT)
        return TRUE;
    connection = wk_source_borrow(look->job->source, WK_LANE_QUICK, error);
    if (connection == NULL)
        return FALSE;
    look->facts = wk_domain_read_facts(connection, look->job->uuid, &failure);
    if (look->facts != NULL || has_no_domain(look, failure))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

/* Worker. */
static void
run_look(GTask *task, gpointer source G_GNUC_UNUSED, gpointer data,
         GCancellable *cancellable G_GNUC_UNUSED)
{
    GError *error = NULL;

    if (look_blocking(data, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

/* Does what was seen ask for more than being published? */
static gboolean
asks_for_recovery(WkGuest *guest, WkJob *job)
{
    const WkRecoveryRow *row = wk_recovery_decide(&job->seen);
    const WkPower power = job->look.power;

    if (wk_look_is_busy(&job->look))
        return guest->record->state != WK_LEDGER_NONE;
    if (row->action != WK_RECOVER_REST || wk_launcher_is_deleted(job))
        return TRUE;
    return wk_memory_is_lost(guest->record, power);
}

static void
take_look(WkEngine *self, WkGuest *guest, Look *look)
{
    WkJob *job = look->job;

    /* What the last operation left to say was about the state before. */
    if (guest->seen && guest->look.power != job->look.power
        && guest->record->state == WK_LEDGER_NONE)
        wk_record_explain(guest->record, NULL, NULL);
    wk_guest_saw(guest, &job->look, g_steal_pointer(&look->facts));
    guest->foreign_save = wk_job_sees_foreign_save(job);
    if (asks_for_recovery(guest, job))
        wk_engine_recover(self, guest);
    else
        guest->needs_recovery = FALSE;
}

static gboolean
is_worked_on(const WkGuest *guest)
{
    return guest->task != NULL && (guest->task->working || guest->task->finishing);
}

/* A recovery says what stands in the way, and tries again. One that went well, and whose guest
 * can't be looked at all the same, has nothing to say and would come back at once. */
static void
recover_blind(WkEngine *self, WkGuest *guest, const GError *failure)
{
    if (guest->failed_looks == 1) {
        wk_engine_recover(self, guest);
        return;
    }
    if (guest->failed_looks == 2)
        wk_log(WK_LOG_WARNING, &(WkLogFields){ .guest = guest->name, .uuid = guest->uuid },
               "the guest can't be looked at, which is tried again and again: %s",
               failure->message);
    wk_engine_recover_in(self, guest, wk_policy_backoff_ms(guest->failed_looks - 1));
}

static void
on_looked(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkEngine *self = data;
    Look *look = g_task_get_task_data(G_TASK(result));
    WkGuest *guest = wk_engine_find(self, look->job->uuid);
    g_autoptr(GError) error = NULL;
    gboolean ok = g_task_propagate_boolean(G_TASK(result), &error);

    if (guest == NULL || self->quiet)
        return;
    guest->looking = FALSE;
    if (guest->look_again) {
        guest->look_again = FALSE;
        wk_engine_look(self, guest);
        return;
    }
    if (!ok && !wk_source_is_up(guest->source))
        return; /* it will be listed again */
    guest->failed_looks = ok ? 0 : guest->failed_looks + 1;
    if (!ok && look->job->looked)
        wk_guest_saw(guest, &look->job->look, NULL);
    /* A task at work owns the guest, and looks for itself. One that waits for its turn decides
     * then; what others do to the guest until then is only told. */
    if (guest->task == NULL && ok)
        take_look(self, guest, look);
    else if (ok && !is_worked_on(guest))
        wk_guest_saw(guest, &look->job->look, g_steal_pointer(&look->facts));
    else if (guest->task == NULL)
        recover_blind(self, guest, error);
    wk_engine_publish_guest(self, guest);
    self->listener.settled(self->data);
}

void
wk_engine_look(WkEngine *self, WkGuest *guest)
{
    g_autoptr(GTask) task = NULL;
    g_autoptr(WkRun) run = NULL;
    Look *look;

    if (self->quiet || guest->looking || is_worked_on(guest)) {
        guest->look_again = TRUE;
        return;
    }
    run = wk_run_new("look", guest->name);
    look = g_new0(Look, 1);
    look->job = wk_job_new(guest->source, self->ledger, self->vault, run, guest->uuid, guest->name,
                           guest->record);
    look->job->boot_id = g_strdup(self->boot_id);
    look->job->guard_synced = guest->guard_synced;
    wk_engine_equip(self, guest, look->job, FALSE);
    guest->looking = TRUE;
    task = g_task_new(NULL, NULL, on_looked, self);
    g_task_set_task_data(task, look, look_free);
    wk_source_push(guest->source, WK_LANE_QUICK, g_steal_pointer(&task), run_look);
}

static void
run_list(GTask *task, gpointer object G_GNUC_UNUSED, gpointer data,
         GCancellable *cancellable G_GNUC_UNUSED)
{
    WkSource *source = data;
    GError *error = NULL;
    g_autoptr(WkConnection) connection = wk_source_borrow(source, WK_LANE_QUICK, &error);
    GPtrArray *list = NULL;

    if (connection != NULL)
        list = wk_domain_list(connection, &error);
    if (list != NULL)
        g_task_return_pointer(task, list, (GDestroyNotify)g_ptr_array_unref);
    else
        g_task_return_error(task, error);
}

static void
take_entry(WkEngine *self, WkSource *source, WkDomainEntry *entry)
{
    WkGuest *guest = wk_engine_find(self, entry->facts->uuid);

    if (guest != NULL && guest->source != source) {
        wk_log(WK_LOG_WARNING, NULL,
               "guest '%s' of source '%s' has the UUID of a guest of source '%s': it is left out",
               entry->facts->name, wk_source_get_name(source), wk_source_get_name(guest->source));
        return;
    }
    if (guest == NULL) {
        guest = wk_guest_new(source, entry->facts->uuid, entry->facts->name, NULL);
        g_hash_table_replace(self->guests, guest->uuid, guest);
    }
    if (guest->task == NULL)
        wk_guest_saw(guest, &entry->look, g_steal_pointer(&entry->facts));
}

/* Guests that were known and are not listed: looked at one by one, they may be gone. */
static void
look_at_all(WkEngine *self, WkSource *source)
{
    g_autoptr(GList) guests = g_hash_table_get_values(self->guests);

    for (GList *l = guests; l != NULL; l = l->next) {
        WkGuest *guest = l->data;

        if (guest->source != source)
            continue;
        if (guest->task != NULL)
            wk_engine_retry_now(self, guest->task);
        else
            guest->needs_recovery = TRUE; /* as far as is known: it was not looked at */
        wk_engine_look(self, guest);
    }
}

/* What an earlier life of the agent accepted goes on: same id, same deadline. */
static void
requeue_left(WkEngine *self, WkSource *source)
{
    const char *name = wk_source_get_name(source);
    GPtrArray *left = g_hash_table_lookup(self->left, name);

    for (guint i = 0; left != NULL && i < left->len; i++) {
        const WkOperation *op = g_ptr_array_index(left, i);
        WkGuest *guest = wk_engine_find(self, op->guest);
        g_autoptr(WkTask) task = wk_task_new(self, op->guest, op->name, wk_operation_copy(op),
                                             wk_task_aim_of(op->action));

        if (guest == NULL)
            wk_engine_end_unstarted(self, task, WK_OP_FAILED, "NoSuchGuest",
                                    "the guest is gone since the request was accepted");
        else
            wk_engine_enqueue(self, guest, g_steal_pointer(&task));
    }
    g_hash_table_remove(self->left, name);
}

/* Images of guests that neither libvirt nor the ledger knows: row N2 sees to them. */
static void
find_forgotten(WkEngine *self, WkSource *source)
{
    g_autoptr(GPtrArray) uuids = NULL;

    if (self->vault == NULL || wk_source_get_save_dir(source) == NULL)
        return;
    uuids = wk_vault_list(self->vault, NULL);
    for (guint i = 0; uuids != NULL && i < uuids->len; i++) {
        const char *uuid = g_ptr_array_index(uuids, i);
        WkGuest *guest;

        if (wk_engine_find(self, uuid) != NULL)
            continue;
        guest = wk_guest_new(source, uuid, uuid, NULL);
        g_hash_table_replace(self->guests, guest->uuid, guest);
    }
}

static void
on_listed(GObject *object G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    WkEngine *self = data;
    WkSource *source = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) list = g_task_propagate_pointer(G_TASK(result), &error);

    if (self->quiet)
        return;
    if (list == NULL) {
        wk_log(WK_LOG_WARNING, NULL, "listing the guests of source '%s': %s",
               wk_source_get_name(source), error->message);
        wk_source_abandon(source, error->message); /* connects anew, and lists again */
        return;
    }
    for (guint i = 0; i < list->len; i++)
        take_entry(self, source, g_ptr_array_index(list, i));
    find_forgotten(self, source);
    g_hash_table_remove(self->unlisted, source);
    requeue_left(self, source);
    look_at_all(self, source);
    self->listener.settled(self->data);
}

void
wk_engine_list_source(WkEngine *self, WkSource *source)
{
    g_autoptr(GTask) task = g_task_new(NULL, NULL, on_listed, self);

    g_task_set_task_data(task, wk_source_ref(source), (GDestroyNotify)wk_source_unref);
    wk_source_push(source, WK_LANE_QUICK, g_steal_pointer(&task), run_list);
}
