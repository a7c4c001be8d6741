/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/launcher.h"

#include "base/error.h"

#define PIN_TRIES 5

/* NULL: it is pinned, or there is nothing to pin by. */
static void
say_unpinned(WkJob *job, const char *why)
{
    g_free(job->caveat);
    job->caveat =
        why != NULL ? g_strdup_printf("it was not pinned to this node: %s", why) : g_strdup("");
}

static void
say_selected(WkJob *job, const char *whose, const char *node)
{
    g_autofree char *why = g_strdup_printf("its %s names node '%s'", whose, node);

    say_unpinned(job, why);
}

static gboolean
plain_start(WkJob *job, GError **error)
{
    return wk_run_step(job->run, WK_STEP_RELEASE_START, error)
           && job->cluster->calls->let_start(job->cluster->data, TRUE, error);
}

/* The operator's turn. One that does not take it over holds nobody up for long. */
static gboolean
await_operator(WkJob *job, GError **error)
{
    gboolean pinned = FALSE;

    if (!job->cluster->calls->await_pinned(job->cluster->data, &pinned, error))
        return FALSE;
    say_unpinned(job, pinned ? NULL
                             : "its operator did not take highAvailability.nodeSelector of the "
                               "Wukong over in time");
    return TRUE;
}

/* Before it is done, so that a crash leaves nothing of ours that nobody knows of: what the user
 * puts there himself is never noted. */
static gboolean
note_pin(WkJob *job, const WkPin *pin, GError **error)
{
    WkRecord *next;

    if (g_strcmp0(job->record->pinned_uid, pin->uid) == 0)
        return TRUE;
    next = wk_record_copy(job->record);
    g_free(next->pinned_wukong);
    next->pinned_wukong = g_strdup(pin->wukong);
    g_free(next->pinned_uid);
    next->pinned_uid = g_strdup(pin->uid);
    return wk_job_commit(job, WK_STEP_RELEASE_COMMIT_PIN, next, error);
}

static gboolean
can_not_pin(const GError *error)
{
    const char *reason = wk_error_get_reason(error);

    return g_strcmp0(reason, "FieldsPruned") == 0 || g_strcmp0(reason, "Forbidden") == 0;
}

typedef enum {
    PIN_FAILED,
    PIN_AGAIN, /* the Wukong has changed meanwhile */
    PIN_DONE,
} PinResult;

static PinResult
pin_and_start(WkJob *job, const WkPin *pin, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (!note_pin(job, pin, error) || !wk_run_step(job->run, WK_STEP_RELEASE_START, error))
        return PIN_FAILED;
    if (job->cluster->calls->start_pinned(job->cluster->data, pin, &local))
        return await_operator(job, error) ? PIN_DONE : PIN_FAILED;
    if (g_error_matches(local, WK_ERROR, WK_ERROR_CONFLICT))
        return PIN_AGAIN;
    if (!can_not_pin(local)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return PIN_FAILED;
    }
    say_unpinned(job, local->message);
    return plain_start(job, error) ? PIN_DONE : PIN_FAILED;
}

/* By what the Wukong says now. */
static PinResult
start_by_wukong(WkJob *job, GError **error)
{
    g_autoptr(WkPin) pin = NULL;

    if (!job->cluster->calls->look_pin(job->cluster->data, &pin, error))
        return PIN_FAILED;
    if (pin != NULL && pin->node == NULL)
        return pin_and_start(job, pin, error);
    if (!plain_start(job, error))
        return PIN_FAILED;
    if (pin == NULL)
        return PIN_DONE;
    if (g_str_equal(pin->node, job->cluster->node_name))
        return await_operator(job, error) ? PIN_DONE : PIN_FAILED;
    say_selected(job, "Wukong", pin->node);
    return PIN_DONE;
}

gboolean
wk_launcher_let_start(WkJob *job, GError **error)
{
    const char *selected = job->vm != NULL ? job->vm->selected_node : NULL;

    if (selected != NULL) {
        if (g_str_equal(selected, job->cluster->node_name))
            say_unpinned(job, NULL);
        else
            say_selected(job, "VirtualMachine", selected);
        return plain_start(job, error);
    }
    for (guint i = 0; i < PIN_TRIES; i++) {
        const PinResult result = start_by_wukong(job, error);

        if (result != PIN_AGAIN)
            return result == PIN_DONE;
    }
    wk_error_set(error, WK_ERROR_UNAVAILABLE, "GuestBusy",
                 "guest '%s': its Wukong changed too often to be pinned to this node", job->name);
    return FALSE;
}

gboolean
wk_launcher_unpin(WkJob *job, GError **error)
{
    const WkRecord *record = job->record;

    if (record->pinned_uid == NULL || job->cluster == NULL)
        return TRUE;
    return wk_run_step(job->run, WK_STEP_SPENT_UNPIN, error)
           && job->cluster->calls->unpin(job->cluster->data, record->pinned_wukong,
                                         record->pinned_uid, error);
}
