/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/types.h"

G_BEGIN_DECLS

/*
 * The recovery table of docs/ledger.md as data: what is to be done with a guest, decided from the
 * ledger, the domain and the files alone (I5). Total over its inputs; the first row that matches
 * wins; every step of every row may be repeated.
 *
 * Names: M is libvirt's managed save path, H our hold link, C the image as it was sealed, W the
 * disks as they were, B "the recorded boot is this one".
 */

/* Which of three a domain is for the table. "ours3": paused, restored, CPUs not yet run, and the
 * live metadata carry the recorded op. */
typedef enum {
    WK_DOMAIN_INACTIVE,
    WK_DOMAIN_OURS3,
    WK_DOMAIN_ACTIVE, /* otherwise */
} WkDomainClass;
#define WK_DOMAIN_CLASSES 3

typedef enum {
    WK_FACT_LAUNCHER = 1 << 0,  /* the source is a virt-launcher pod */
    WK_FACT_POD_NEW = 1 << 1,   /* launcher: a new pod, not started */
    WK_FACT_VMI_FINAL = 1 << 2, /* launcher: the VMI is in a final phase */
    WK_FACT_LOCK = 1 << 3,      /* launcher: the recorded VMI exists and has our finalizer */
    WK_FACT_M_PRESENT = 1 << 4,
    WK_FACT_M_GUARD = 1 << 5,
    WK_FACT_M_OURS = 1 << 6,       /* M is the recorded inode */
    WK_FACT_FINAL_OUR_OP = 1 << 7, /* M (launcher: H) is final and its XML carries the op */
    WK_FACT_H_PRESENT = 1 << 8,
    WK_FACT_H_IS_M = 1 << 9,  /* H and M are one inode */
    WK_FACT_C_GOOD = 1 << 10, /* H is the sealed file, header digest and all */
    WK_FACT_W_SAME = 1 << 11,
    WK_FACT_BOOT_SAME = 1 << 12, /* B */
    WK_FACT_WANT_CANCEL = 1 << 13,
    WK_FACT_GUARD_SYNCED = 1 << 14, /* by this agent, since it started (Q2) */
    WK_FACT_STRAY = 1 << 15,        /* no row, but a file, guard or finalizer of ours */
} WkFact;
#define WK_FACT_BITS 16

typedef struct {
    WkLedgerState state;
    WkDomainClass domain;
    guint facts; /* WkFact */
} WkObservation;

typedef enum {
    WK_RECOVER_REST,           /* nothing to do by itself; requests decide */
    WK_RECOVER_GUARD_NEW_POD,  /* launcher: guard file into the new pod */
    WK_RECOVER_UNLINK_GUARD,   /* launcher: the guard blocks undefine */
    WK_RECOVER_STALE,          /* an image under a running guest: kill it */
    WK_RECOVER_STRAY,          /* leftovers without a row: kill and remove */
    WK_RECOVER_DROP_HOLD,      /* H is not M's inode */
    WK_RECOVER_SEAL,           /* save steps 7 to 12 */
    WK_RECOVER_ABORT,          /* "Abort" */
    WK_RECOVER_VERIFY,         /* restore step 3 */
    WK_RECOVER_CANCEL_DESTROY, /* destroy the loaded guest; the image is kept */
    WK_RECOVER_REBOOT_DESTROY, /* commit restoring, destroy, look again */
    WK_RECOVER_OUTSIDE,        /* somebody started it: spent, then off */
    WK_RECOVER_QUARANTINE,     /* commit quarantined, then its last step */
    WK_RECOVER_RELINK,         /* link M from H */
    WK_RECOVER_CANCEL_SEALED,  /* commit sealed */
    WK_RECOVER_START,          /* restore step 2; launcher: stage, or finalizer off the old VMI */
    WK_RECOVER_FINISH_SPENT,   /* restore steps 5 to 10 */
    WK_RECOVER_QUARANTINE_DESTROY,
    WK_RECOVER_GUARD,    /* quarantine's last step */
    WK_RECOVER_REMOVE_M, /* launcher: sealed, but M is still there */
    WK_RECOVER_WAIT,     /* launcher: for a pod to come or go */
} WkRecoverAction;

typedef struct {
    const char *id; /* "S2", as in docs/ledger.md */
    guint states;   /* bits 1 << WkLedgerState */
    guint domains;  /* bits 1 << WkDomainClass */
    guint need;     /* facts that must hold */
    guint forbid;   /* facts that must not hold */
    WkRecoverAction action;
} WkRecoveryRow;

/* Returns: (transfer none): the first row that matches; never NULL, the table is total. */
const WkRecoveryRow *wk_recovery_decide(const WkObservation *observation);

/* The table itself, for tests and documentation; @n_rows is set. */
const WkRecoveryRow *wk_recovery_table(gsize *n_rows);

G_END_DECLS
