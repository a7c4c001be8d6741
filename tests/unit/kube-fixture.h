/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/error.h"
#include "fake-apiserver.h"
#include "fake-kube-config.h"
#include "kube/client_private.h"

/* A client of the scripted server, and one request's way. */
#define KUBE_PATH "/api/v1/things/one"

typedef struct {
    FakeApiserver *api;
    WkKubeConfig *config;
    WkKube *kube;
} KubeFixture;

typedef struct {
    KubeFixture *fixture;
    gboolean done;
    JsonObject *answer;
    GError *error;
    gboolean closes; /* the client, in the callback */
    gboolean again;  /* sends once more in the callback */
} KubeReply;

/* A second of the server's is a millisecond of ours in both. */
extern const WkKubeTimes kube_short_times;
extern const WkKubeTimes kube_patient_times;

int kube_setup(void **state);
int kube_teardown(void **state);
void kube_reply_clear(KubeReply *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(KubeReply, kube_reply_clear)

/* PUT, POST and PATCH have a body. */
void kube_send_with(KubeFixture *self, KubeReply *reply, const char *method, const char *path,
                    GCancellable *cancellable);
void kube_wait_reply(KubeReply *reply);
/* Both of them, with an empty @reply. */
void kube_run(KubeFixture *self, KubeReply *reply, const char *method, const char *path);
void kube_assert_error(const KubeReply *reply, WkErrorCode code, const char *reason,
                       const char *fragment);
