/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/client.h"
#include "kube/status.h"

G_BEGIN_DECLS

/*
 * Brings what is true into the API server: status and annotation of Wukongs, Events, the Lease.
 * Level-triggered: it is told what should stand there (wk_reporter_want) and what does
 * (wk_reporter_saw), and writes while they differ, one write a Wukong at a time, the newest want
 * winning; after a failure with backoff, so that it survives any outage. Somebody who keeps
 * dropping our fields is answered at a bounded rate: 5 in a row, then once in 10 s. Main thread.
 *
 * Nothing is written for a Wukong that the watch has not told of, and nothing where it shows
 * already what it should. A passing state (Suspending, Resuming) is written to the status only, not
 * to the annotation. A write whose answer shows less than was sent (an older CRD) counts as done.
 *
 * What must survive the agent as well is kept by the agent: the status is made anew from the
 * ledger; an action's removal is owed until removed() says it was done; Events lie in the outbox.
 */
typedef struct _WkReporter WkReporter;

/* One Event (events.k8s.io/v1), as it lies in the outbox. */
typedef struct {
    gint64 seq;            /* of the outbox; 0: not kept there */
    char *uid, *ns, *name; /* the Wukong it is about */
    char *type;            /* "Normal", "Warning" */
    char *reason;          /* "Suspended": one of the contract's list */
    char *action;          /* "Suspend" */
    char *note;            /* for people, at most 1024 bytes */
    gint64 at_us;
    guint count;      /* the same said so many times (series) */
    char *event_name; /* set once it was created, to patch its series; NULL: not yet */
} WkKubeEvent;

WkKubeEvent *wk_kube_event_new(const WkWukong *about, const char *type, const char *reason,
                               const char *action, const char *note);
WkKubeEvent *wk_kube_event_copy(const WkKubeEvent *self);
void wk_kube_event_free(WkKubeEvent *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkKubeEvent, wk_kube_event_free)

/* Called from the main loop, never from inside a call. The reporter may be freed there. */
typedef struct {
    /* spec.lifecycleAction with the text @owed is gone from the object of @uid: removed by us, or
     * found to be another or none. */
    void (*removed)(const char *uid, const char *owed, gpointer data);
    /* An Event was written or given up for good (bounded, spam filter): take it out. */
    void (*event_done)(gint64 seq, gpointer data);
    /* The Lease was renewed, so the server is at work: a watch that waits out a backoff need not.
     */
    void (*renewed)(gpointer data);
    /* For doctor: something that a person should know (reason, text); NULL text: no longer so. */
    void (*notice)(const char *reason, const char *text, gpointer data);
} WkReporterListener;

typedef struct {
    const char *node_name;
    const char *namespace_name; /* of the Lease and of Events without a namespace */
    guint lease_renew_s;        /* 0: 10 */
    guint lease_duration_s;     /* 0: 40 */
} WkReporterOptions;

/* Options and listener are copied; @kube must outlive the reporter. The Lease starts by itself.
 * Returns: (transfer full). */
WkReporter *wk_reporter_new(WkKube *kube, const WkReporterOptions *options,
                            const WkReporterListener *listener, gpointer data);
void wk_reporter_free(WkReporter *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkReporter, wk_reporter_free)

/* What the Wukong @ns/@name (uid in @status) should show from now on; @status (transfer full).
 * @owed as in wk_status_patch_body(), NULL: none. @urgent: a change of state, sent at once; else
 * (progress) at most once in 2 s. */
void wk_reporter_want(WkReporter *self, const char *ns, const char *name, WkStatus *status,
                      const char *owed, int mark, gboolean urgent);
/* What it shows, from the watch; kept as far as needed (copied). */
void wk_reporter_saw(WkReporter *self, const WkWukong *seen);
/* It is not ours any more, or gone: nothing is written for it. */
void wk_reporter_forget(WkReporter *self, const char *uid);

/* @event (transfer full) is to be written; order within one Wukong is kept. */
void wk_reporter_event(WkReporter *self, WkKubeEvent *event);

/* The server answers again (a watch came through): backoffs are cut short. */
void wk_reporter_hurry(WkReporter *self);
/* Wants that are not shown yet and Events not written yet (wukong_outbox_pending). */
guint wk_reporter_count_pending(WkReporter *self);
/* Before the agent goes: calls @done, from the main loop, when nothing is in flight and urgent
 * wants were tried once (a server that is away is found out once for all), or after @patience_ms.
 * Events that wait stay in the outbox, the Lease is not renewed any more. */
void
wk_reporter_drain(WkReporter *self, guint patience_ms, void (*done)(gpointer data), gpointer data);

G_END_DECLS
