/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/facts.h"
#include "model/operation.h"
#include "model/record.h"

G_BEGIN_DECLS

/* The Wukong that a guest belongs to; all NULL: none. */
typedef struct {
    char *ns; /* namespace */
    char *name;
    char *uid;
} WkOwner;

void wk_owner_copy(const WkOwner *from, WkOwner *to); /* what was in @to is freed */
void wk_owner_clear(WkOwner *self);
gboolean wk_owner_equal(const WkOwner *a, const WkOwner *b);

/*
 * A guest as it is published: by the API, in the Wukong's status, in `wukongctl list`. A
 * projection: nothing is ever decided from it.
 */
typedef struct {
    char *id; /* domain UUID */
    char *name;
    char *source;
    WkState state;
    WkTarget target;
    char *reason;  /* NULL: none */
    char *message; /* NULL: none */
    WkOrigin origin;
    int progress_percent; /* -1: none */
    guint64 saved_bytes;  /* 0: none */
    gint64 saved_at_us;   /* 0: none */
    guint64 memory_bytes; /* 0: not known */
    WkAction last_action;
    gint64 last_action_at_us;
    int restorable;  /* -1: does not apply, 0 no, 1 yes */
    char *operation; /* id of the operation in flight; NULL: none */
    WkOwner owner;
} WkView;

/* What a view is made of; all but @record may be missing. */
typedef struct {
    gboolean source_up;
    const WkRecord *record;       /* never NULL */
    const WkLook *look;           /* NULL: not seen yet */
    const WkFacts *facts;         /* NULL: not seen yet */
    const WkOperation *operation; /* in flight (queued ones don't count); NULL: none */
    gboolean foreign_save;        /* a managed save that is not ours lies there */
    const WkOwner *owner;         /* NULL: none */
} WkViewInput;

/* Returns: (transfer full). Pure; never fails. The table is in docs/states.md. */
WkView *wk_view_make(const WkViewInput *input);
WkView *wk_view_copy(const WkView *self);
void wk_view_free(WkView *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkView, wk_view_free)

gboolean wk_view_equal(const WkView *a, const WkView *b);

/* A saved image as it is published. */
typedef struct {
    char *id; /* domain UUID */
    char *name;
    char *source;
    WkLedgerState state; /* sealed, restoring or quarantined */
    guint64 size_bytes;
    gint64 saved_at_us;
    gint64 verified_at_us; /* 0: never since the save */
    char *boot_id;
    gboolean disks_partial;
    gboolean orphan; /* no domain of that UUID is known */
    char *digest;    /* body digest */
    char *reason;    /* why it is held; NULL: it is good as far as known */
} WkImageView;

WkImageView *wk_image_view_new(const WkRecord *record, gboolean orphan);
void wk_image_view_free(WkImageView *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkImageView, wk_image_view_free)

G_END_DECLS
