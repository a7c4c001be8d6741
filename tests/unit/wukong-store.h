/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/wukong.h"

/*
 * Wukongs as an API server keeps them, as far as a reporter can tell: status by apply, JSON patches
 * with test, add and remove, and every version that there was, for the watch.
 */
typedef struct {
    char *ns;
    char *name;
    char *uid;
    gint64 generation;
    char *state; /* JSON; NULL: none */
    char *conditions;
    char *mirror;
    char *action; /* JSON */
    gboolean marked;
    gboolean pruned;     /* this server does not know lifecycleState */
    GPtrArray *versions; /* (element-type utf8): as JSON, in order */
} StoreWukong;

StoreWukong *store_wukong_new(const char *name, const char *uid, const char *action);
void store_wukong_free(StoreWukong *self);

/* After a change by hand: a new version. */
void store_wukong_commit(StoreWukong *self);
/* (transfer none): the newest version. */
const char *store_wukong_get(StoreWukong *self);
/* (transfer full): the @index-th version, as the watch tells it. */
WkWukong *store_wukong_see(StoreWukong *self, guint index);

/* Does what a PATCH with @body asks. Returns: FALSE when a test in it does not hold, or it
 * is for another version. */
gboolean store_wukong_patch(StoreWukong *self, gboolean is_status, const char *body);
