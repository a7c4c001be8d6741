/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#include "control/server.h"

/*
 * A control server in this process over an agent that is made up: three guests, one operation, one
 * image. Requests are made from other threads (curl) or byte by byte over a socket, while the main
 * context runs here.
 */
typedef struct {
    char *folder;
    char *path;
    WkControlApi api;
    WkControl *control;

    GPtrArray *guests;     /* (element-type WkView) */
    GPtrArray *operations; /* (element-type WkOperation) */
    GPtrArray *images;     /* (element-type WkImageView) */
    char *not_ready;       /* NULL: ready */
    GError *fail;          /* what the next submit or cancel says; NULL: it works */

    gboolean hold; /* submits stay open until fixture_release() */
    GTask *held;   /* NULL: none */
    guint n_submits;
    WkRequest last; /* its guest is last_guest */
    char *last_guest;
} Fixture;

/* cmocka's setup and teardown: *state is the Fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Ends the server, if it runs. */
void fixture_stop(Fixture *self);
/* Completes the submit that is held. */
void fixture_release(Fixture *self);

/* Runs the main context until @done says so, at most @ms. Returns: what @done said last. */
gboolean fixture_run_until(gboolean (*done)(gpointer), gpointer data, guint ms);
/* Runs the main context for @ms. */
void fixture_run_for(guint ms);

/* (transfer full) */
WkView *fixture_guest(const char *id, const char *name, WkState state);
WkOperation *fixture_operation(const char *id, WkOpState state);

/* One answer, as curl saw it. */
typedef struct {
    long status; /* 0: none came */
    char *error; /* curl's; NULL: none */
    char *content_type;
    char *allow;
    char *connection;
    GString *body;
    JsonObject *json; /* NULL: the body is not a JSON object */
} Answer;

void answer_free(Answer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Answer, answer_free)

/* @body NULL: none; else it is sent as application/json. Returns: (transfer full): never NULL. */
Answer *ask(Fixture *self, const char *method, const char *path, const char *body);
Answer *ask_with(Fixture *self, const char *method, const char *path, const char *body,
                 gssize body_length, const char *header);
/* As another user of this host: only as root. @group 0: no supplementary group. */
Answer *ask_as(Fixture *self, uid_t uid, gid_t gid, gid_t group);

/* A client that does exactly what it is told. */
typedef struct {
    char *path; /* of a talker_watch() */
    GSocket *socket;
    GString *got;
    gsize taken; /* of got, by talker_line() */
    gboolean ended;
} Talker;

Talker *talker_open(Fixture *self);
void talker_free(Talker *self); /* closes */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Talker, talker_free)
void talker_say(Talker *self, const char *text);
/* GET of a stream. (transfer full) */
Talker *talker_watch(Fixture *self, const char *path);
/* The next line that begins with '{', running the main context meanwhile; NULL at the end of the
 * connection or after 5 s (self->ended tells them apart). (transfer full) */
JsonObject *talker_line(Talker *self);
/* Reads to the end of the connection; everything that came. (transfer none) */
const char *talker_rest(Talker *self);

/* Streams that the server holds open. */
guint fixture_streams(const Fixture *self);
gboolean fixture_no_streams(gpointer fixture);
