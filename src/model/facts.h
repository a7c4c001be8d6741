/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/types.h"

G_BEGIN_DECLS

typedef enum {
    WK_DISK_FILE,
    WK_DISK_BLOCK,
    WK_DISK_NETWORK, /* or volume, or anything without a path on this host */
} WkDiskKind;

/* One place that holds guest data: a disk, the NVRAM file, a TPM's state folder. */
typedef struct {
    WkDiskKind kind;
    char *path;   /* NULL for WK_DISK_NETWORK */
    char *target; /* "vda", "nvram", "tpm" */
    gboolean readonly;
    gboolean transient; /* libvirt drops its writes when the guest ends */
} WkDiskFact;

/* What a domain's XML says, as far as anything here decides on it. */
typedef struct {
    char *uuid;
    char *name;
    guint64 memory_kib; /* what the guest has now, in KiB: currentMemory */
    char *emulator;     /* may be NULL */
    char *machine;      /* may be NULL */
    GPtrArray *disks;   /* (element-type WkDiskFact) */
    GPtrArray *devices; /* (element-type utf8): passed-through host devices, for people */
    GPtrArray *shares;  /* (element-type utf8): folders shared with the host (virtiofs, 9p) */
} WkFacts;

WkFacts *wk_facts_new(void);
WkFacts *wk_facts_copy(const WkFacts *self);
void wk_facts_free(WkFacts *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkFacts, wk_facts_free)

/* Takes (transfer full) nothing: strings are copied. */
void wk_facts_add_disk(WkFacts *self, WkDiskKind kind, const char *path, const char *target,
                       gboolean readonly, gboolean transient);

/* What libvirt says of a domain at one moment. */
typedef struct {
    WkPower power;
    gboolean job;        /* a libvirt job runs on it */
    gboolean persistent; /* FALSE: transient, or absent */
    gboolean autostart;
    char *op; /* id in the live metadata (F3); NULL: none */
} WkLook;

/* libvirt starts it, or works on it. */
gboolean wk_look_is_busy(const WkLook *self);
/* It is there, and not busy. */
gboolean wk_look_is_loaded(const WkLook *self);

void wk_look_clear(WkLook *self);
void wk_look_copy(const WkLook *from, WkLook *to); /* clears @to first */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WkLook, wk_look_clear)

G_END_DECLS
