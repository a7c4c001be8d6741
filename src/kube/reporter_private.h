/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/events.h"
#include "kube/lease.h"
#include "kube/outlet.h"
#include "kube/reporter.h"
#include "kube/sight.h"

G_BEGIN_DECLS

/*
 * What the reporter's own files share, and its test.
 *
 *   reporter.c        all Wukongs, whose turn it is, the public interface
 *   reporter_write.c  the writes of one Wukong
 *   reporter_ends.c   how a write ended, and what follows: the table
 *   sight.c           what a Wukong is believed to show
 *   events.c, lease.c Events; the Lease
 *   outlet.c          the way to the server and back to the listener
 */

/* One Wukong and what is written of it. */
typedef enum {
    WK_WRITE_REST,   /* it shows what it should, as far as known */
    WK_WRITE_WAIT,   /* something is to be written, but not yet: @timer */
    WK_WRITE_QUEUED, /* it waits for its turn among the others */
    WK_WRITE_STATUS, /* the status is under way */
    WK_WRITE_PATCH,  /* annotations and the removal of a done action are under way */
    WK_WRITE_HELD,   /* the same again would end the same: see hold_ends */
} WkWriteState;

/* What ends WK_WRITE_HELD before its time. */
enum {
    WK_END_BY_SAW = 1,
    WK_END_BY_WANT = 2
};

typedef struct {
    WkReporter *reporter;
    char *uid;
    char *ns;
    char *name;
    WkWriteState state;
    gboolean forgotten; /* only kept because a write is under way */
    gboolean untried;   /* wk_reporter_drain() waits for one try of it */

    /* What it should show. */
    WkStatus *want; /* NULL: nobody said */
    guint version;  /* of @want; from 1 */
    gboolean passing;
    gboolean urgent;       /* a change of state that was not written yet */
    char *owed;            /* NULL: none */
    gboolean owed_refused; /* the server says that it is not there */
    int mark;

    /* What it shows. */
    WkSight *sight;
    GSource *doubt; /* until what is doubted is believed; NULL: no doubt */

    /* The version that stood there once, by part: if it is to be written again, somebody dropped
     * it. And what the server made of a version that it did not take as it was (0: none). */
    guint status_stood;
    guint meta_stood;
    guint status_odd;
    guint meta_odd;
    char *status_made;
    char *meta_made;

    /* The write under way. */
    guint sent_version;
    char *sent_rv;    /* resourceVersion that a status was made for; NULL: none */
    char *refused_rv; /* the same, when the server knew a newer one */
    gboolean sent_urgent;
    char *sent_owed;

    /* When. Monotonic; 0: does not apply. */
    GSource *timer;
    gint64 not_before_us;  /* after a failure */
    guint failures;        /* in a row */
    guint conflicts;       /* with a version that was newer, in a row */
    gint64 last_status_us; /* sent */
    gboolean asserting;    /* what is to be written was dropped by somebody */
    gint64 assert_at_us;
    gint64 last_assert_us;
    gint64 last_drop_us;
    guint drops; /* the row */
    gint64 hold_until_us;
    guint hold_ends; /* WK_END_BY_... */
} WkSubject;

struct _WkReporter {
    WkOutlet *outlet;
    GHashTable *subjects; /* uid -> WkSubject */
    GQueue urgent;        /* (element-type WkSubject), not owned: WK_WRITE_QUEUED */
    GQueue others;
    guint writing; /* subjects with a write under way */
    gboolean with_conditions;
    WkEvents *events;
    WkLease *lease;

    void (*drained)(gpointer data); /* NULL: nobody waits */
    gpointer drained_data;
    guint64 outages; /* the outlet's, when that began */
    GSource *patience;
};

/* As wk_reporter_new(); every duration is divided by @speed. */
WkReporter *wk_reporter_new_fast(WkKube *kube, const WkReporterOptions *options,
                                 const WkReporterListener *listener, gpointer data, guint speed);

/* reporter_write.c */
WkSubject *wk_subject_new(WkReporter *reporter, const char *uid, const char *ns, const char *name);
WkSubject *wk_subject_ref(WkSubject *self);
void wk_subject_unref(WkSubject *self);
void
wk_subject_want(WkSubject *self, WkStatus *status, const char *owed, int mark, gboolean urgent);
void wk_subject_saw(WkSubject *self, const WkWukong *seen);
void wk_subject_stop(WkSubject *self); /* nothing more is written; one under way is let be */
void wk_subject_send(WkSubject *self); /* its turn */
void wk_subject_step(WkSubject *self);
void wk_subject_hurry(WkSubject *self);
gboolean wk_subject_is_pending(WkSubject *self);
gboolean wk_subject_is_writing(const WkSubject *self);
void wk_subject_settle_owed(WkSubject *self, const char *owed);
gboolean wk_subject_is_status_in(WkSubject *self, const WkWukong *seen);
gboolean wk_subject_is_meta_in(WkSubject *self, const WkWukong *seen);
void wk_subject_watch_doubt(WkSubject *self);

/* reporter_ends.c: @was ended with @answer, or @error. */
void wk_subject_ended(WkSubject *self, WkWriteState was, JsonObject *answer, const GError *error);

/* reporter.c */
/* @first: before mere progress. */
void wk_reporter_enqueue(WkReporter *self, WkSubject *subject, gboolean first);
void wk_reporter_dequeue(WkReporter *self, WkSubject *subject);
void wk_reporter_remove(WkReporter *self, WkSubject *subject);

G_END_DECLS
