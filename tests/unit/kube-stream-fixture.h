/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/error.h"
#include "fake-apiserver.h"
#include "fake-kube-config.h"
#include "kube/client_private.h"

/* A stream from the scripted server, and what its listener was told. */
#define STREAM_PATH       "/apis/x/v1/things?watch=true"
#define STREAM_LINE_LIMIT 2000

typedef struct {
    FakeApiserver *api;
    WkKubeConfig *config;
    WkKube *kube;
    WkKubeStream *stream;
    GPtrArray *lines;
    gboolean ended;
    GError *error;
    gint64 line_at_us;
    guint free_at; /* frees the stream in that line, counted from 1; 0: never */
    guint fail_at; /* says no to that line */
    gboolean frees_client;
    gboolean frees_at_end;
} StreamFixture;

extern const WkKubeTimes stream_times;
extern const WkKubeStreamOptions stream_usual;
extern const WkKubeStreamListener stream_listener;

int stream_setup(void **state);
int stream_teardown(void **state);

/* Returns: (transfer none): the call that has come to the server, not answered yet. */
FakeCall *stream_open(StreamFixture *self, const WkKubeStreamOptions *options);
/* Frees it and forgets what was told. */
void stream_close(StreamFixture *self);
void stream_wait_end(StreamFixture *self);
void stream_assert_end(StreamFixture *self, WkErrorCode code, const char *reason);
/* The @index-th line that was told, from 0. */
const char *stream_line(StreamFixture *self, guint index);
