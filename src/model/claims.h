/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/vmi.h"

G_BEGIN_DECLS

/*
 * The PersistentVolumeClaims that a guest had when it was saved: its memory fits their disks and no
 * others. Pure.
 */

/* Longest text of wk_claims_to_text() that the ledger takes: more than a template's volumes, with
 * the longest names that the API server allows, come to. */
#define WK_CLAIMS_TEXT_MAX (256 * 1024)

/* Returns: (transfer full) (element-type WkClaim): an empty array with its free function. */
GPtrArray *wk_claims_new(void);

/* Returns: (transfer full) (element-type utf8): the names of the claims of @vm's template, each
 * once. */
GPtrArray *wk_claims_names(const WkVm *vm);

/* The ledger's way to keep them: one line of JSON. Returns: (transfer full); reading gives NULL
 * with WK_ERROR_CORRUPT "LedgerCorrupt" for what was not written by this. */
char *wk_claims_to_text(GPtrArray *claims);
GPtrArray *wk_claims_from_text(const char *text, GError **error);

/* May @vm's guest be saved and its pod be let go of? @claim: what the server says of the claim
 * @name, NULL: it has none. Refusal: ClaimGone. */
gboolean
wk_claim_check_save(const WkVm *vm, const char *name, const WkClaim *claim, GError **error);

/* Is the claim @saved still the same disk? @now: NULL: there is none. Refusal: ClaimReplaced. */
gboolean
wk_claim_check_same(const WkVm *vm, const WkClaim *saved, const WkClaim *now, GError **error);

G_END_DECLS
