/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "fake-apiserver.h"

#include <gio/gio.h>

/* What fake-apiserver.c (connections) and fake-call.c (requests and answers) share. */
typedef struct {
    char *prefix;
    FakeAnswer answer; /* strings are ours */
    guint left;
} Script;

typedef struct {
    FakeApiserver *server;
    GSocket *socket; /* NULL: closed */
    guint number;
    GSource *readable;
    GSource *writable;
    GByteArray *in;
    GByteArray *out;
    gboolean closing; /* once everything is written */
    FakeCall *call;   /* in work; the next is read when it is done */
} Connection;

struct _FakeCall {
    Connection *connection;
    char *method;
    char *path;
    char *head; /* the header lines */
    char *body;
    gboolean begun; /* somebody answers, or nobody ever will */
    gboolean done;
};

struct _FakeApiserver {
    GSocket *listener; /* NULL: down */
    GSource *acceptable;
    guint16 port;
    char *url;
    GPtrArray *connections; /* (element-type Connection): all there ever were */
    GPtrArray *calls;       /* (element-type FakeCall) */
    GPtrArray *scripts;     /* (element-type Script) */
    void (*handler)(FakeCall *call, gpointer data);
    gpointer handler_data;
};

void fake_connection_write(Connection *self, const char *bytes, gsize length);
void fake_connection_flush(Connection *self);
void fake_connection_reset(Connection *self);
void fake_connection_read_call(Connection *self); /* the next one, when it is there */

/* Takes one whole request off @in. Returns: (transfer full): NULL when it is not all there. */
FakeCall *fake_call_take(GByteArray *in);
void fake_call_free(gpointer data);
gboolean fake_call_matches(const FakeCall *self, const char *prefix);
void fake_call_do(FakeCall *self, const FakeAnswer *answer); /* as a script says */
