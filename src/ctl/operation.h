/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* An operation as the daemon tells it, copied out of its JSON so that it can cross threads. */
typedef struct {
    char *id;
    char *action; /* NULL, as every text: not told */
    char *target;
    char *state;
    char *step; /* for people: "saving memory to disk" */
    char *reason;
    char *message;
    char *finished_at;
    gint64 percent; /* -1, as every number: not told */
    gint64 bytes_done;
    gint64 bytes_total;
    gint64 bytes_per_s;
    gint64 seconds_left;
    gboolean final;
    char *json; /* the whole object */
} WkCtlOperation;

WkCtlOperation *wk_ctl_operation_new(JsonObject *object);
void wk_ctl_operation_free(WkCtlOperation *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkCtlOperation, wk_ctl_operation_free)

gboolean wk_ctl_operation_is(const WkCtlOperation *self, const char *state);

/* How far it is, on one line without the guest: "saving memory to disk 40% (320 MB of 800 MB,
 * 410 MB/s, 1 s left)". Returns: (transfer full), printable. */
char *wk_ctl_operation_progress(const WkCtlOperation *self);

/* TRUE when a plain line is due: a new step, or one more tenth is done. @before may be NULL. */
gboolean wk_ctl_operation_is_news(const WkCtlOperation *before, const WkCtlOperation *now);

/* One line for a terminal of @columns, @label filled up to @label_width: bar, percent, bytes, rate,
 * time left. Returns: (transfer full): without newline, printable. */
char *wk_ctl_operation_bar(const WkCtlOperation *self, const char *label, guint label_width,
                           guint columns);

/* How it ended, or what was accepted, without the guest: its message, or words of our own.
 * Returns: (transfer full), printable. */
char *wk_ctl_operation_outcome(const WkCtlOperation *self);

G_END_DECLS
