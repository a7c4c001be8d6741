/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/kubevirt_request.h"

/* What the requests to KubeVirt share: one task with its question, and what a refusal means. Main
 * thread. Private to kubevirt_request.c and kubevirt_objects.c. */
#define WK_ASK_JSON_TYPE        "application/json"
#define WK_ASK_JSON_PATCH_TYPE  "application/json-patch+json"
#define WK_ASK_MERGE_PATCH_TYPE "application/merge-patch+json"
#define WK_ASK_VMIS             "virtualmachineinstances"
#define WK_ASK_VMS              "virtualmachines"

/* The data of a task. */
typedef struct {
    WkKube *kube;
    char *path;
    GCancellable *cancellable; /* NULL: none */
    char *uid;                 /* of the object that is meant; NULL: whatever has the name */
    gboolean wanted;           /* what a switch is to be */
    guint tries;
} WkAsk;

/* (transfer full): "PREFIX/namespaces/NS/PLURAL/NAME[TAIL]", percent-encoded. */
char *wk_ask_path(const char *prefix, const char *ns, const char *plural, const char *name,
                  const char *tail);

/* Takes @path; @tag: the finish function. What went through is reported as such, even if cancelled
 * since. Returns: (transfer full). */
GTask *wk_ask_new(WkKube *kube, char *path, GCancellable *cancellable, GAsyncReadyCallback callback,
                  gpointer user_data, gpointer tag);

/* Takes @task, which is @answered's user_data, to be unreffed there. */
void wk_ask_send(GTask *task, const char *method, const char *type, const char *body,
                 GAsyncReadyCallback answered);
/* In @answered. Returns: (transfer full), or NULL with @error. */
JsonObject *wk_ask_answer(GTask *task, GAsyncResult *result, GError **error);

/* Returns: (transfer full): "[{op,path,value},...]" of a test for each of @tests, up to a NULL,
 * then @last (NULL: nothing more). */
char *wk_ask_json_patch(const char *const tests[][2], const char *last);

/* The first row that fits: with one code the server says what are several things here. No row: the
 * error as it is. */
typedef struct {
    int code;
    const char *says; /* stands in the server's message; NULL: end of the table */
    int meaning;      /* a WkErrorCode; -1: it is done */
    const char *reason;
} WkAskMeaning;

/* Of a patch that tests something, as kube-apiserver answers it. */
extern const WkAskMeaning wk_ask_patch_meanings[];

/* Returns: TRUE when @error means that it is done; else *@meant is set, (transfer full). */
gboolean wk_ask_judge(const WkAskMeaning *rows, const GError *error, GError **meant);
/* Ends @task by it, with TRUE or an error. */
void wk_ask_return_judged(GTask *task, const WkAskMeaning *rows, const GError *error);
