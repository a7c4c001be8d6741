/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/types.h"

G_BEGIN_DECLS

/* XXH3-128 in lower-case hex. */
#define WK_DIGEST_LENGTH 32

/* A file's identity; never its ctime, which every start of a guest changes (F17). */
typedef struct {
    guint64 dev;
    guint64 inode;
    guint64 size_bytes;
    gint64 mtime_ns;
} WkFileId;

/* C of docs/ledger.md: which image exactly. */
typedef struct {
    WkFileId file; /* inode 0: not noted yet */
    char header_digest[WK_DIGEST_LENGTH + 1];
    char body_digest[WK_DIGEST_LENGTH + 1]; /* "" until known */
} WkSeal;

/* W of docs/ledger.md: one place that holds guest data, as it was when the image was sealed. */
typedef struct {
    char *path;
    gboolean partial; /* a block device: identity only, its content leaves no trace */
    WkFileId file;    /* for a block device: see vault/witness.h; size and mtime are 0 */
} WkWitness;

/* Returns: (transfer full): @path is copied. */
WkWitness *wk_witness_new(const char *path, gboolean partial, const WkFileId *file);
void wk_witness_free(WkWitness *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkWitness, wk_witness_free)
/* Returns: (transfer full) (element-type WkWitness): an empty array with its free function. */
GPtrArray *wk_witness_array_new(void);

/*
 * A guest's row in the ledger: the durable truth about its saved image (docs/ledger.md), and what
 * was last done with it. Key: source and uuid.
 */
typedef struct {
    char *source;
    char *uuid;
    char *name;
    WkLedgerState state;
    char *op;         /* id of this save, in the image's metadata; NULL when state is none */
    char *boot_id;    /* boot in which the guest was last known to live */
    WkSeal seal;      /* C */
    GPtrArray *disks; /* W (element-type WkWitness); NULL: not noted */
    gboolean paused_by_us;
    gboolean autostart; /* as it was before the save */
    WkThen then;
    WkWant want;
    char *reason;    /* CamelCase, published; NULL: none */
    char *message;   /* for people; NULL: none */
    char *save_path; /* M: libvirt's managed save path of this guest */
    /* Of a guest in a virt-launcher pod; NULL elsewhere (docs/ledger.md, "launcher"). */
    char *vmi_uid;       /* the VMI that our lock is on: the saved one, later its successor */
    char *saved_vmi_uid; /* the VMI that was saved: its uid stands in the image's XML */
    char *staged_for;    /* the VMI in whose pod the image lies at M; NULL: in none */
    char *template_hash; /* what its VM was made of then (kube/vmi.h) */
    char *claims;        /* its PersistentVolumeClaims then (model/claims.h) */
    char *pinned_wukong; /* the Wukong that we let name this node for the resume; NULL: none */
    char *pinned_uid;    /* its uid */

    gint64 saved_at_us;
    gint64 verified_at_us; /* when the image was last read through; 0: never since the save */

    /* What is published besides, and survives the agent. */
    WkAction last_action;
    gint64 last_action_at_us;
    WkOrigin origin;
    WkTarget paused_to; /* WK_TARGET_MEMORY while we hold it suspended in memory */
    gboolean stopped_by_fallback;
    char *told_of; /* wk_power_name() that reason and message are about; NULL: any (I3) */
} WkRecord;

/* Returns: (transfer full): a row in state none. Strings are copied. */
WkRecord *wk_record_new(const char *source, const char *uuid, const char *name);
WkRecord *wk_record_copy(const WkRecord *self);
void wk_record_free(WkRecord *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkRecord, wk_record_free)

/* Sets reason and message, whatever the domain does; both copied, either may be NULL. */
void wk_record_explain(WkRecord *self, const char *reason, const char *message);
/* They tell of a domain that does @power, and of no other. */
void wk_record_tell_of(WkRecord *self, WkPower power);

/* Back to state none: forgets everything about an image, keeps what was last done. */
void wk_record_reset(WkRecord *self);

/* The same inode on the same file system. */
gboolean wk_file_id_same_inode(const WkFileId *a, const WkFileId *b);
/* The same inode with the same size and mtime. */
gboolean wk_file_id_equal(const WkFileId *a, const WkFileId *b);

/* TRUE when some witness is partial (API: disksVerified). */
gboolean wk_record_disks_partial(const WkRecord *self);

G_END_DECLS
