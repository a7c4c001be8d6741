/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/error.h"
#include "fake-apiserver.h"
#include "fake-kube-config.h"
#include "kube/client_private.h"
#include "kube/reflector_private.h"

/* A reflector of the scripted server, what its listener was told, and the copy that a listener who
 * does as reflector.h says would have. */
#define THINGS        "/apis/x/v1/things"
#define GET_STREAMED  "GET " THINGS "?sendInitialEvents="
#define GET_PAGE      "GET " THINGS "?limit="
#define GET_WATCH     "GET " THINGS "?resourceVersion="
#define GET_ANYTHING  "GET " THINGS
#define REFLECT_HASTE 1000 /* a second of backoff is a millisecond */

typedef struct {
    FakeApiserver *api;
    WkKubeConfig *config;
    WkKube *kube;
    WkReflector *reflector;
    GString *told;       /* "relist +a1 sync -b2 !Expired well", a word a call; a1: name, version */
    GHashTable *copy;    /* name -> version, of what is there */
    GHashTable *listed;  /* the names that were told since relisting(); NULL: not listing */
    GArray *retries;     /* (element-type guint): of each trouble() */
    GError *trouble;     /* the last */
    const char *free_in; /* frees the reflector in the next call whose word starts so */
    const char *hurry_in;
} ReflectFixture;

/* What stays when an answer is left open is told apart by the options that matter. */
extern const WkReflectorOptions reflect_usual;

int reflect_setup(void **state);
int reflect_teardown(void **state);

void reflect_start(ReflectFixture *self, const WkReflectorOptions *options);
/* Frees the reflector and forgets what was told. */
void reflect_stop(ReflectFixture *self);
/* Iterates until @told is what has been told since the last reflect_take(). */
void reflect_wait_told(ReflectFixture *self, const char *told);
void reflect_forget_told(ReflectFixture *self);
/* Fails unless the copy is "a1 b2", by name. */
void reflect_assert_copy(ReflectFixture *self, const char *copy);
/* The last trouble() was this. */
void reflect_assert_trouble(ReflectFixture *self, WkErrorCode code, const char *reason);
guint reflect_retry_ms(ReflectFixture *self, guint index);

/* One event of the object @name, with its end of line. */
void reflect_push(FakeCall *call, const char *type, const char *name, const char *version);
void reflect_push_end(FakeCall *call, const char *version); /* of the streamed list */
void reflect_push_error(FakeCall *call, guint code, const char *reason);
/* Answers the question of a page with @names ("a1 b2"). @next NULL: it is the last. */
void reflect_page(FakeCall *call, const char *names, const char *version, const char *next);
/* Waits for the question, answers with a streamed list of @names that ends at @version, and leaves
 * it open. Returns: (transfer none): the watch that it is from then on. */
FakeCall *reflect_list(ReflectFixture *self, const char *names, const char *version);
/* Waits for a watch and begins to answer. @version: it must ask for that. */
FakeCall *reflect_watch(ReflectFixture *self, const char *version);
/* Fails unless @call has the parameter; @value NULL: has none of that name. */
void reflect_assert_param(const FakeCall *call, const char *name, const char *value);
