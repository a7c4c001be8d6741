/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

/*
 * A scripted API server for faults: HTTP/1.1 without TLS on a free port of 127.0.0.1, keep-alive.
 * It answers what the test says, right or wrong, when the test says.
 *
 * Threading: all of it in the test's thread, on the default main context, beside the code under
 * test. So nothing here blocks but the fake_*wait* functions, which iterate that context until
 * something is true, and fail the test after 10 s.
 *
 * Three ways to answer, asked in this order for each call (= request) that comes:
 *   a script    fake_apiserver_script(): canned answers, used in turn
 *   a handler   fake_apiserver_set_handler(): a function that answers, or leaves it
 *   the test    FakeCall *call = fake_apiserver_wait(api, "GET /apis/"); then fake_call_...(call)
 */
typedef struct _FakeApiserver FakeApiserver;

/* One request and its answer; belongs to the server, valid until that is freed. */
typedef struct _FakeCall FakeCall;

FakeApiserver *fake_apiserver_new(void);
void fake_apiserver_free(FakeApiserver *self); /* closes everything; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeApiserver, fake_apiserver_free)

const char *fake_apiserver_get_url(const FakeApiserver *self); /* "http://127.0.0.1:PORT" */

/* What becomes of a scripted call. */
typedef enum {
    FAKE_ANSWER, /* status, headers, body; Content-Length is added */
    FAKE_STREAM, /* the same, but chunked and left open: fake_call_push(), fake_call_end() */
    FAKE_RESET,  /* RST before any byte of the answer */
    FAKE_CLOSE,  /* FIN before any byte of the answer */
    FAKE_SILENT, /* read, and never answered: half-open, as far as the client can tell */
    FAKE_CUT,    /* the answer's head, half of the body, FIN */
} FakeDeed;

typedef struct {
    FakeDeed deed;
    guint status;        /* 0: 200 */
    const char *headers; /* each with its "\r\n": "Retry-After: 1\r\n"; NULL: none. Content-Type is
                            application/json unless it is given here */
    const char *body;    /* NULL: empty */
    guint times;         /* used so often; 0: once; G_MAXUINT: for ever */
} FakeAnswer;

/* The next call whose "METHOD PATH?QUERY" starts with @prefix is answered with @answer (copied).
 * Scripts are looked through in the order in which they were added; used-up ones are passed over.
 */
void fake_apiserver_script(FakeApiserver *self, const char *prefix, const FakeAnswer *answer);
void fake_apiserver_clear_scripts(FakeApiserver *self);

/* @handler may answer @call with fake_call_...(), then or later, or leave it to the test. */
void fake_apiserver_set_handler(FakeApiserver *self, void (*handler)(FakeCall *call, gpointer data),
                                gpointer data);

/* Iterates until there is a call with @prefix that nobody has begun to answer, the oldest first.
 * Returns: (transfer none). */
FakeCall *fake_apiserver_wait(FakeApiserver *self, const char *prefix);
/* The same without waiting; NULL when there is none. */
FakeCall *fake_apiserver_peek(FakeApiserver *self, const char *prefix);
/* Iterates until @n calls with @prefix have come in all, answered or not. */
void fake_apiserver_wait_count(FakeApiserver *self, const char *prefix, guint n);

/* Calls with @prefix ("": all) so far, and the @index-th of them from 0 (transfer none). */
guint fake_apiserver_count(FakeApiserver *self, const char *prefix);
FakeCall *fake_apiserver_get_call(FakeApiserver *self, const char *prefix, guint index);

/* Connections accepted so far, and open now. */
guint fake_apiserver_count_accepted(FakeApiserver *self);
guint fake_apiserver_count_open(FakeApiserver *self);

/* Down: the port refuses, every connection is cut with RST. Up: the same port answers again. */
void fake_apiserver_down(FakeApiserver *self);
void fake_apiserver_up(FakeApiserver *self);

/* What came. (transfer none) */
const char *fake_call_get_method(const FakeCall *call);
const char *fake_call_get_path(const FakeCall *call); /* with its query, as it was sent */
const char *fake_call_get_body(const FakeCall *call); /* "" for none */
/* Returns: (transfer full) (nullable): a header's value, whatever the case of its name. */
char *fake_call_get_header(const FakeCall *call, const char *name);
/* Returns: (transfer full) (nullable): a parameter of the query, percent-decoded. */
char *fake_call_get_param(const FakeCall *call, const char *name);
/* Which connection it came on, counted from 1. */
guint fake_call_get_connection(const FakeCall *call);
/* The client has closed the connection, or it was cut: nothing can be answered any more (the
 * functions below do nothing then). */
gboolean fake_call_is_gone(const FakeCall *call);
/* Iterates until it is gone. */
void fake_call_wait_gone(FakeCall *call);

/* A whole answer. @headers as in FakeAnswer. */
void fake_call_answer(FakeCall *call, guint status, const char *headers, const char *body);
/* A metav1.Status with @status, @reason and @message; @headers as above. */
void fake_call_fail(FakeCall *call, guint status, const char *headers, const char *reason,
                    const char *message);

/* An answer in pieces: begin (chunked), push as often as wanted, each push one chunk, end. A watch
 * event is fake_call_push(call, "{...}\n", -1). @length -1: NUL-ended. */
void fake_call_begin(FakeCall *call, guint status, const char *headers);
void fake_call_push(FakeCall *call, const char *bytes, gssize length);
void fake_call_pushf(FakeCall *call, const char *format, ...) G_GNUC_PRINTF(2, 3);
void fake_call_end(FakeCall *call);

/* Bytes as they are, head and chunk sizes included, for answers that no server should give. Ends
 * with one of the functions below, or fake_call_done() when the bytes were a whole answer. */
void fake_call_raw(FakeCall *call, const char *bytes, gssize length);
void fake_call_done(FakeCall *call);
/* Returns: (transfer full): what fake_call_answer() would send, to be split at will. */
char *fake_answer_text(guint status, const char *headers, const char *body);

void fake_call_close(FakeCall *call); /* FIN after what was written so far */
void fake_call_reset(FakeCall *call); /* RST at once */
void fake_call_leave(FakeCall *call); /* never answered; not given out by wait() any more */

/* Iterates the main context until nothing is ready: what was pushed has arrived and was dealt
 * with, without any timer having to run out. */
void fake_settle(void);
/* Iterates until @check is true; fails the test with @what after 10 s. */
void fake_wait_until(gboolean (*check)(gpointer data), gpointer data, const char *what);
