/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/act.h"

#include "base/json.h"
#include "ctl/follow.h"
#include "ctl/guests.h"

#include <string.h>

/* With --all, leaves out what the verb can't apply to, and says so: nothing is silently a no-op. */
static void
leave_out(const WkCtl *ctl, const WkCtlAct *act, GPtrArray *guests)
{
    guint n = 0;

    for (guint i = guests->len; i-- > 0;) {
        if (act->applies(g_ptr_array_index(guests, i)))
            continue;
        g_ptr_array_remove_index(guests, i);
        n++;
    }
    if (guests->len == 0)
        wk_ctl_note(ctl, "nothing to %s\n", act->verb);
    else if (n > 0)
        wk_ctl_note(ctl, "left out: %u with nothing to %s\n", n, act->verb);
}

/* The daemon's errors begin with the guest's name, ours too: once is enough. */
static const char *
without_name(const char *message, const char *label)
{
    g_autofree char *prefix = g_strdup_printf("guest '%s'", label);

    if (!g_str_has_prefix(message, prefix))
        return message;
    message += strlen(prefix);
    return message + strspn(message, ": ");
}

/* Asks for @guest. Returns: its exit status so far; a job is added when it was accepted. */
static int
submit(WkCtl *ctl, const WkCtlAct *act, GPtrArray *all, JsonObject *guest, GPtrArray *jobs)
{
    const char *id = wk_json_get_string(guest, "id");
    g_autofree char *label = wk_ctl_guest_label(all, guest);
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) operation = act->submit(ctl->client, id, act, &error);

    if (operation == NULL) {
        wk_ctl_error("%s: %s", label, without_name(error->message, label));
        return wk_ctl_status_of(error);
    }
    g_ptr_array_add(jobs, wk_ctl_job_new(id, g_steal_pointer(&label), wk_ctl_guest_word(all, guest),
                                         operation));
    return WK_EXIT_DONE;
}

static int
submit_all(WkCtl *ctl, const WkCtlAct *act, GPtrArray *all, const WkCtlChoice *choice,
           GPtrArray *jobs)
{
    int status = WK_EXIT_DONE;

    for (guint i = 0; i < choice->missing->len; i++) {
        const GError *error = g_ptr_array_index(choice->missing, i);

        wk_ctl_error("%s", error->message);
        status = wk_ctl_status_merge(status, WK_EXIT_NO_GUEST);
    }
    for (guint i = 0; i < choice->guests->len; i++) {
        JsonObject *guest = g_ptr_array_index(choice->guests, i);

        status = wk_ctl_status_merge(status, submit(ctl, act, all, guest, jobs));
        /* A daemon that is gone does not come back for the others. */
        if (status == WK_EXIT_NO_DAEMON)
            break;
    }
    return status;
}

static void
print_json(const WkCtl *ctl, GPtrArray *jobs, gboolean single)
{
    g_autoptr(GString) text = g_string_new("{\"items\":[");

    for (guint i = 0; i < jobs->len; i++) {
        const WkCtlJob *job = g_ptr_array_index(jobs, i);

        if (single) {
            wk_ctl_out_json(ctl, job->operation->json);
            return;
        }
        g_string_append_printf(text, "%s%s", i > 0 ? "," : "", job->operation->json);
    }
    if (single)
        return; /* it was refused */
    g_string_append(text, "]}");
    wk_ctl_out_json(ctl, text->str);
}

/* How @job ended, or what was accepted. Returns: (transfer full), printable. */
static char *
describe(const WkCtlAct *act, const WkCtlJob *job, gboolean good)
{
    const WkCtlOperation *operation = job->operation;
    g_autofree char *outcome = wk_ctl_operation_outcome(operation);
    const gboolean cancels = g_str_equal(act->good_end, "cancelled");

    if (act->dry_run && operation->message != NULL)
        return g_strdup_printf("would %s: %s", act->verb, outcome);
    if (act->dry_run)
        return g_strdup_printf("would %s", act->verb);
    if (!operation->final)
        return g_strdup_printf("%s accepted", act->verb);
    if (cancels && good)
        return g_strdup("cancelled");
    if (cancels)
        return g_strdup_printf("too late to cancel: %s", outcome);
    return g_steal_pointer(&outcome);
}

/* How @job ended; work that goes on is no failure here. */
static int
job_status(const WkCtlAct *act, const WkCtlJob *job)
{
    if (act->dry_run || !job->operation->final)
        return WK_EXIT_DONE;
    return wk_ctl_operation_is(job->operation, act->good_end) ? WK_EXIT_DONE : WK_EXIT_FAILED;
}

static int
report(const WkCtl *ctl, const WkCtlAct *act, GPtrArray *jobs, gboolean single, gboolean ended)
{
    int status = WK_EXIT_DONE;

    for (guint i = 0; i < jobs->len; i++) {
        const WkCtlJob *job = g_ptr_array_index(jobs, i);
        const int one = job_status(act, job);
        g_autofree char *text = describe(act, job, one == WK_EXIT_DONE);

        if (one != WK_EXIT_DONE)
            wk_ctl_error("%s: %s", job->label, text);
        else if (!job->operation->final && !ended)
            continue; /* note_open() tells of it */
        else if (ctl->format == WK_CTL_NAME)
            wk_ctl_out(ctl, "%s\n", job->word);
        else if (ctl->format == WK_CTL_TABLE)
            wk_ctl_out(ctl, "%s: %s\n", job->label, text);
        status = wk_ctl_status_merge(status, one);
    }
    if (ctl->format == WK_CTL_JSON)
        print_json(ctl, jobs, single);
    return status;
}

/* Names what was not seen to its end. */
static void
note_open(const WkCtl *ctl, GPtrArray *jobs)
{
    for (guint i = 0; i < jobs->len; i++) {
        const WkCtlJob *job = g_ptr_array_index(jobs, i);

        if (!job->operation->final)
            wk_ctl_note(ctl, "%s: left running: see wukongctl status %s\n", job->label, job->word);
    }
}

static int
follow_and_report(WkCtl *ctl, const WkCtlAct *act, GPtrArray *jobs, gboolean single, int status)
{
    g_autoptr(GError) error = NULL;
    const gboolean at_once = act->no_wait || act->dry_run;
    const WkCtlFollow result = at_once ? WK_FOLLOW_ENDED : wk_ctl_follow(ctl, jobs, &error);
    const int end = report(ctl, act, jobs, single, result == WK_FOLLOW_ENDED);

    status = wk_ctl_status_merge(status, end);
    if (result == WK_FOLLOW_ENDED)
        return status;
    if (error != NULL)
        wk_ctl_error("%s", error->message);
    note_open(ctl, jobs);
    return result == WK_FOLLOW_INTERRUPTED ? WK_EXIT_INTERRUPTED
                                           : wk_ctl_status_merge(status, wk_ctl_status_of(error));
}

int
wk_ctl_act(WkCtl *ctl, const WkCtlAct *act, const WkCtlArgs *args, GError **error)
{
    g_autoptr(GPtrArray) all = wk_ctl_fetch_guests(ctl, error);
    g_autoptr(WkCtlChoice) choice = NULL;
    g_autoptr(GPtrArray) jobs = NULL;
    int status;

    choice = all != NULL ? wk_ctl_choose(all, args, error) : NULL;
    if (choice == NULL)
        return WK_EXIT_FAILED;
    if (args->all)
        leave_out(ctl, act, choice->guests);
    if (act->confirm != NULL && choice->guests->len > 0
        && !act->confirm(all, choice->guests, act, error))
        return WK_EXIT_USAGE;
    jobs = g_ptr_array_new_with_free_func((GDestroyNotify)wk_ctl_job_free);
    status = submit_all(ctl, act, all, choice, jobs);
    return follow_and_report(ctl, act, jobs, choice->single, status);
}
