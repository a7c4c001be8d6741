/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/recovery.h"

#define IN(state) (1u << WK_LEDGER_##state)
#define ANY_STATE ((1u << WK_LEDGER_STATES) - 1)
#define HELD      (IN(SEALED) | IN(RESTORING))

#define OFF    (1u << WK_DOMAIN_INACTIVE)
#define OURS3  (1u << WK_DOMAIN_OURS3)
#define ACTIVE (1u << WK_DOMAIN_ACTIVE)
#define ANY    (OFF | OURS3 | ACTIVE)

#define F(name) ((guint)WK_FACT_##name)

/* docs/ledger.md, "Table". A row of the text that says "or" stands here once for each case, under
 * the same id. Order matters. */
static const WkRecoveryRow rows[] = {
    { "G1", ANY_STATE & ~(IN(NONE) | IN(SPENT)), ANY, F(LAUNCHER) | F(POD_NEW), F(M_PRESENT),
      WK_RECOVER_GUARD_NEW_POD },
    { "G2", ANY_STATE, ANY, F(LAUNCHER) | F(VMI_FINAL) | F(M_GUARD), 0, WK_RECOVER_UNLINK_GUARD },

    { "N1", IN(NONE), OURS3 | ACTIVE, F(M_PRESENT), 0, WK_RECOVER_STALE },
    { "N2", IN(NONE), ANY, F(STRAY), 0, WK_RECOVER_STRAY },
    { "N3", IN(NONE), ANY, 0, 0, WK_RECOVER_REST },

    { "S1", IN(SAVING), ANY, F(H_PRESENT), F(LAUNCHER) | F(H_IS_M), WK_RECOVER_DROP_HOLD },
    { "S2", IN(SAVING), OFF, F(FINAL_OUR_OP) | F(W_SAME) | F(BOOT_SAME), F(LAUNCHER),
      WK_RECOVER_SEAL },
    { "S2", IN(SAVING), OFF, F(LAUNCHER) | F(LOCK) | F(FINAL_OUR_OP) | F(W_SAME) | F(BOOT_SAME), 0,
      WK_RECOVER_SEAL },
    { "S3", IN(SAVING), ANY, 0, 0, WK_RECOVER_ABORT },

    { "K1", HELD, OURS3, F(BOOT_SAME) | F(WANT_CANCEL), 0, WK_RECOVER_CANCEL_DESTROY },
    { "K1", HELD, OURS3, F(BOOT_SAME), 0, WK_RECOVER_VERIFY },
    /* Of a launcher too: a pod that had the image and no container yet is started after the boot.
     */
    { "K1b", HELD, OURS3, 0, F(BOOT_SAME), WK_RECOVER_REBOOT_DESTROY },
    { "K2", HELD, ACTIVE, 0, 0, WK_RECOVER_OUTSIDE },
    { "K3", HELD, OFF, 0, F(H_PRESENT), WK_RECOVER_QUARANTINE },
    { "K3", HELD, OFF, 0, F(C_GOOD), WK_RECOVER_QUARANTINE },
    { "K3", HELD, OFF, 0, F(W_SAME), WK_RECOVER_QUARANTINE },
    { "K3", HELD, OFF, F(M_PRESENT), F(M_OURS) | F(M_GUARD), WK_RECOVER_QUARANTINE },
    { "K3", HELD, OFF, F(M_PRESENT) | F(M_GUARD), F(LAUNCHER), WK_RECOVER_QUARANTINE },
    { "K3", IN(SEALED), OFF, 0, F(M_PRESENT) | F(LAUNCHER), WK_RECOVER_QUARANTINE },
    { "K3", IN(SEALED), OFF, F(LAUNCHER), F(LOCK), WK_RECOVER_QUARANTINE },
    { "K4", IN(RESTORING), OFF, 0, F(M_PRESENT) | F(LAUNCHER), WK_RECOVER_RELINK },
    { "K5", IN(RESTORING), OFF, F(WANT_CANCEL), 0, WK_RECOVER_CANCEL_SEALED },
    { "K5", IN(RESTORING), OFF, 0, F(LAUNCHER), WK_RECOVER_START },
    { "K5", IN(RESTORING), OFF, F(LAUNCHER) | F(POD_NEW), 0, WK_RECOVER_START },
    { "K5", IN(RESTORING), OFF, F(LAUNCHER) | F(VMI_FINAL) | F(LOCK), 0, WK_RECOVER_START },
    { "K5", IN(RESTORING), OFF, F(LAUNCHER), 0, WK_RECOVER_WAIT },
    { "K6", IN(SEALED), OFF, F(LAUNCHER) | F(M_OURS), 0, WK_RECOVER_REMOVE_M },
    { "K6", IN(SEALED), OFF, 0, 0, WK_RECOVER_REST },

    { "P1", IN(SPENT), ANY, 0, 0, WK_RECOVER_FINISH_SPENT },

    { "Q1", IN(QUARANTINED), OURS3, 0, 0, WK_RECOVER_QUARANTINE_DESTROY },
    { "Q2", IN(QUARANTINED), OFF | ACTIVE, F(M_OURS), 0, WK_RECOVER_GUARD },
    { "Q2", IN(QUARANTINED), OFF, 0, F(M_PRESENT), WK_RECOVER_GUARD },
    { "Q2", IN(QUARANTINED), OFF | ACTIVE, 0, F(GUARD_SYNCED), WK_RECOVER_GUARD },
    { "Q3", IN(QUARANTINED), ANY, 0, 0, WK_RECOVER_REST },
};

static gboolean
matches(const WkRecoveryRow *row, const WkObservation *seen)
{
    return (row->states & (1u << seen->state)) != 0 && (row->domains & (1u << seen->domain)) != 0
           && (seen->facts & row->need) == row->need && (seen->facts & row->forbid) == 0;
}

const WkRecoveryRow *
wk_recovery_decide(const WkObservation *observation)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (matches(&rows[i], observation))
            return &rows[i];
    }
    g_assert_not_reached(); /* the test walks every combination */
}

const WkRecoveryRow *
wk_recovery_table(gsize *n_rows)
{
    *n_rows = G_N_ELEMENTS(rows);
    return rows;
}
