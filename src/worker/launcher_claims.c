/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "worker/launcher.h"

#include "base/error.h"
#include "model/claims.h"

/* Only what the server said counts: a claim that can't be read (no right to, no answer) is an error
 * of the save, which is tried again and fails in the end. It is neither left out nor taken for the
 * same later. Nothing of the guest was touched by then (I7). */
gboolean
wk_launcher_note_claims(WkJob *job, WkRecord *next, GError **error)
{
    g_autoptr(GPtrArray) names = wk_claims_names(job->vm);
    g_autoptr(GPtrArray) claims = wk_claims_new();

    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autoptr(WkClaim) claim = NULL;

        if (!job->cluster->calls->get_claim(job->cluster->data, name, &claim, error)) {
            g_prefix_error(error, "reading the PersistentVolumeClaim '%s': ", name);
            return FALSE;
        }
        if (!wk_claim_check_save(job->vm, name, claim, error))
            return FALSE;
        g_ptr_array_add(claims, g_steal_pointer(&claim));
    }
    g_free(next->claims);
    next->claims = wk_claims_to_text(claims);
    return TRUE;
}

static gboolean
check_claims(WkJob *job, GError **error)
{
    g_autoptr(GPtrArray) saved = NULL;

    if (job->record->claims == NULL) /* saved by an agent that did not note them */
        return TRUE;
    saved = wk_claims_from_text(job->record->claims, error);
    for (guint i = 0; saved != NULL && i < saved->len; i++) {
        const WkClaim *claim = g_ptr_array_index(saved, i);
        g_autoptr(WkClaim) now = NULL;

        if (!job->cluster->calls->get_claim(job->cluster->data, claim->name, &now, error)
            || !wk_claim_check_same(job->vm, claim, now, error))
            return FALSE;
    }
    return saved != NULL;
}

gboolean
wk_launcher_check_resume(WkJob *job, GError **error)
{
    if (job->vm != NULL)
        return wk_precheck_vm_resume(job->vm, job->record->template_hash, error)
               && check_claims(job, error);
    wk_error_set(error, WK_ERROR_REFUSED, "VMGone",
                 "guest '%s': its VirtualMachine is gone; discard drops the saved state",
                 job->name);
    return FALSE;
}
