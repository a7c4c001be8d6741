/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

typedef enum {
    WK_WATCH_ADDED,
    WK_WATCH_MODIFIED,
    WK_WATCH_DELETED,
    WK_WATCH_BOOKMARK,
} WkWatchType;

/* One line of a watch. */
typedef struct {
    WkWatchType type;
    JsonObject *object;
    const char *version;  /* object's metadata.resourceVersion, in @object */
    gboolean initial_end; /* BOOKMARK: all that was there has been told (WatchList) */
} WkWatchEvent;

/* FALSE: an ERROR event, as the GError that an answer of that status would be (CONFLICT "Expired"
 * for 410, UNAVAILABLE for 429 and 5xx, else FAILED); or WK_ERROR_INVALID "BadWatch" for what is no
 * event. Clear it afterwards. Pure. */
gboolean wk_watch_event_parse(const char *text, gsize length, WkWatchEvent *event, GError **error);
void wk_watch_event_clear(WkWatchEvent *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WkWatchEvent, wk_watch_event_clear)

G_END_DECLS
