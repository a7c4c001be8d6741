/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>
#include <libsoup/soup.h>
#include <sys/types.h>

#include "base/error.h"
#include "control/server.h"

G_BEGIN_DECLS

/*
 * What the files of this room share. Nothing outside src/control/ and its tests includes this.
 *
 *   listen.c   the listening socket: activation, stale sockets, its mode
 *   peer.c     who is at the other end, and whether they may
 *   server.c   the life of the server, connections and their limits
 *   routes.c   method and path -> handler
 *   answer.c   JSON bodies and problems
 *   stream.c   endless answers, one JSON object a line
 */

/* Bounds (server.h); tests make them smaller. */
typedef struct {
    guint connections;
    guint streams;
    gsize body_bytes;
    gsize backlog_bytes; /* of one stream, beyond its first snapshot */
    guint heartbeat_ms;
    guint stall_s; /* a peer that neither takes nor sends anything for this long is dropped */
} WkControlLimits;

/* Connections over the limit that are still told so; beyond these they are just closed. */
#define WK_CONTROL_SPARE_CONNECTIONS 16

struct _WkControl {
    WkControlApi api;
    gpointer agent;
    WkControlLimits limits;
    gint64 started_at_us;

    SoupServer *server;
    GSocket *listener;
    GSource *accept_source; /* NULL while accepting rests */
    GSource *resume_source; /* ends that rest; NULL: none */
    char *path;             /* to remove at the end; NULL: not ours */
    dev_t path_dev;         /* so that a successor's socket is left alone */
    ino_t path_ino;
    gboolean has_group;
    gid_t gid;

    GHashTable *connections; /* (element-type GIOStream), not owned */
    GHashTable *exchanges;   /* (element-type WkExchange), not owned */
    GPtrArray *streams;      /* (element-type WkStream), owned */
};

/* listen.c */

typedef struct {
    GSocket *socket;
    gboolean bound; /* by us: remove it at the end */
    dev_t dev;
    ino_t ino;
} WkListen;

/* A socket of systemd's, or one of our own at @path. @gid NULL: no group. */
gboolean wk_listen_open(const char *path, const gid_t *gid, WkListen *result, GError **error);

/* peer.c */

typedef struct {
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary, of the peer's process when it connected */
    gsize n_groups;
} WkPeer;

gboolean wk_peer_read(GSocket *socket, WkPeer *peer, GError **error);
void wk_peer_clear(WkPeer *peer);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WkPeer, wk_peer_clear)

/* Pure. @gid NULL: no group is let in. FALSE: WK_ERROR_DENIED that says how to be let in. */
gboolean wk_peer_check(const WkPeer *peer, uid_t own_uid, const gid_t *gid, GError **error);

/* One request on its way; lives as long as its message. */
typedef struct _WkExchange WkExchange;
typedef struct _WkRoute WkRoute;
typedef struct _WkStream WkStream;

struct _WkExchange {
    WkControl *control;         /* NULL once the server is gone */
    SoupServerMessage *message; /* not owned: it owns this; NULL: it is being freed */
    GSocket *socket;
    const WkRoute *route; /* NULL: not found */
    char *id;             /* {id} of the path, decoded; NULL: none */
    gboolean watch;
    gboolean over_limit;
    gboolean gone;   /* the connection ended: never touch its I/O again */
    GSource *cutter; /* ends the connection from outside libsoup's own calls; NULL: none */
    gsize received_bytes;
    WkStream *stream; /* owned by the control; NULL: none */
};

/* server.c */

/* Ends the connection, soon: callable from anywhere, more than once. */
void wk_exchange_cut(WkExchange *self);

/* routes.c */

/* Called when a request's headers, and then its body, are there. */
void wk_routes_on_headers(WkExchange *exchange);
void wk_routes_on_body(WkExchange *exchange);

/* answer.c */

/* Takes @object (transfer full). */
void wk_answer_json(WkExchange *exchange, guint status, JsonObject *object);
void wk_answer_text(WkExchange *exchange, const char *content_type, const char *text);
/* Takes @error (transfer full). */
void wk_answer_error(WkExchange *exchange, GError *error);
void wk_answer_problem(WkExchange *exchange, WkErrorCode code, const char *reason,
                       const char *format, ...) G_GNUC_PRINTF(4, 5);

/* stream.c */

typedef enum {
    WK_STREAM_GUESTS,
    WK_STREAM_OPERATIONS,
    WK_STREAM_OPERATION, /* one, until its end */
} WkStreamKind;

/* Begins the answer. Returns: (transfer none): NULL when @exchange is answered already: too many
 * streams, or a HEAD. */
WkStream *wk_stream_begin(WkExchange *exchange, WkStreamKind kind);
void wk_stream_send_guest(WkStream *self, const WkView *view);
void wk_stream_send_operation(WkStream *self, const WkOperation *operation);
/* "synced": the first snapshot is out. */
void wk_stream_send_synced(WkStream *self);
/* The snapshot's size is not backlog; from here on slow readers are cut off. */
void wk_stream_go_live(WkStream *self);
/* The last line was sent: ends the answer properly. */
void wk_stream_end(WkStream *self);
/* The connection is gone: forgets and frees @self. */
void wk_stream_drop(WkStream *self);
void wk_stream_free(WkStream *self);

G_END_DECLS
