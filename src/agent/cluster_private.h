/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/cluster.h"

G_BEGIN_DECLS

/* Private to agent/cluster*.c: how one question gets to the main thread, and its answer back. */

typedef struct _WkClusterCall WkClusterCall;

struct _WkClusterLink {
    WkKube *kube;                   /* main thread; NULL: closed */
    void (*answers)(gpointer data); /* main thread; NULL: nobody listens */
    gpointer answers_data;
    GPtrArray *waiting; /* main thread (element-type WkClusterCall), references: for a change */
    guint told_ms;      /* patience with KubeVirt's word of a pause, or of its end */
    guint pinned_ms;    /* and with an operator that takes a node selector over */
};

/* What the calls of one job are about. */
typedef struct {
    WkClusterLink *link;
    char *ns;
    char *name; /* of VM and VMI */
    char *node_name;
    WkOwner wukong;
} WkClusterAbout;

/* One question on its way. The worker waits, the main thread asks; whoever is last frees it. */
struct _WkClusterCall {
    WkClusterLink *link;
    void (*ask)(WkClusterCall *call, WkKube *kube);
    char *ns;
    char *name;
    char *uid;
    char *node;
    WkPower power;
    gboolean flag;
    WkVmi *vmi;
    WkPin *pin;

    /* Main thread, of one that waits for a change (cluster_wait.c). */
    void (*take)(WkClusterCall *call, gconstpointer object); /* of VM or VMI */
    GSource *patience;                                       /* NULL: it does not wait */

    GMutex lock;
    GCond answered;
    gboolean done;
    GError *error;
    gpointer result;
    GDestroyNotify result_free;
};

/* Worker. Strings are copied. Returns: (transfer full). */
WkClusterCall *wk_cluster_call_new(const WkClusterAbout *about, const char *name,
                                   void (*ask)(WkClusterCall *call, WkKube *kube));
void wk_cluster_call_unref(gpointer call); /* any thread */

/* Worker: does not wait. Once a call. */
void wk_cluster_call_send(WkClusterCall *call);
/* Worker: blocks until what was sent is answered. Returns: TRUE for an answer without an error. */
gboolean wk_cluster_call_wait(WkClusterCall *call, GError **error);
gboolean wk_cluster_call_make(WkClusterCall *call, GError **error); /* both */

/* Main thread: says that the server answers. */
void wk_cluster_link_answers(WkClusterLink *self);

/* Main thread. Takes @error and @result (transfer full), and the reference that ask() got. */
void wk_cluster_call_answer(WkClusterCall *call, GError *error, gpointer result,
                            GDestroyNotify result_free);

/* cluster_wait.c */
gboolean wk_cluster_await_told(gpointer about, const char *vmi_uid, WkPower power, GError **error);
gboolean wk_cluster_await_pinned(gpointer about, gboolean *pinned, GError **error);
/* Main thread: whoever waits is answered that it can't be asked any more. */
void wk_cluster_wait_end(WkClusterLink *self);

G_END_DECLS
