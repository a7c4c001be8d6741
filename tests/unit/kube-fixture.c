/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-fixture.h"

const WkKubeTimes kube_short_times = {
    .connect_ms = 2000,
    .request_ms = 60,
    .suspect_ms = 30,
    .retry_s_ms = 1,
    .credentials_ms = 60000,
};
const WkKubeTimes kube_patient_times = {
    .connect_ms = 10000,
    .request_ms = 30000,
    .suspect_ms = 20000,
    .retry_s_ms = 1,
    .credentials_ms = 60000,
};

int
kube_setup(void **state)
{
    KubeFixture *self = g_new0(KubeFixture, 1);

    self->api = fake_apiserver_new();
    self->config = fake_kube_config_new(fake_apiserver_get_url(self->api), "sesame");
    self->kube = wk_kube_new(self->config, "test/1");
    wk_kube_set_times(self->kube, &kube_patient_times);
    *state = self;
    return 0;
}

int
kube_teardown(void **state)
{
    KubeFixture *self = *state;

    wk_kube_free(self->kube);
    fake_settle();
    wk_kube_config_unref(self->config);
    fake_apiserver_free(self->api);
    g_free(self);
    return 0;
}

void
kube_reply_clear(KubeReply *self)
{
    g_clear_pointer(&self->answer, json_object_unref);
    g_clear_error(&self->error);
    self->done = FALSE;
}

static void
on_reply(GObject *source G_GNUC_UNUSED, GAsyncResult *result, gpointer data)
{
    KubeReply *self = data;
    const WkKubeRequest request = { .method = "GET", .path = KUBE_PATH "/again" };

    assert_false(self->done);
    self->answer = wk_kube_send_finish(NULL, result, &self->error);
    assert_true((self->answer != NULL) != (self->error != NULL));
    self->done = TRUE;
    if (self->closes)
        g_clear_pointer(&self->fixture->kube, wk_kube_free);
    if (self->again) {
        self->again = FALSE;
        kube_reply_clear(self);
        wk_kube_send(self->fixture->kube, &request, NULL, on_reply, self);
    }
}

void
kube_send_with(KubeFixture *self, KubeReply *reply, const char *method, const char *path,
               GCancellable *cancellable)
{
    const gboolean has_body = !g_str_equal(method, "GET") && !g_str_equal(method, "DELETE");
    const WkKubeRequest request = {
        .method = method,
        .path = path,
        .content_type = has_body ? "application/json" : NULL,
        .body = has_body ? "{\"a\":\"\xc3\xa9\"}" : NULL,
    };

    reply->fixture = self;
    wk_kube_send(self->kube, &request, cancellable, on_reply, reply);
}

static gboolean
is_done(gpointer data)
{
    return ((KubeReply *)data)->done;
}

void
kube_wait_reply(KubeReply *reply)
{
    fake_wait_until(is_done, reply, "a reply");
}

void
kube_run(KubeFixture *self, KubeReply *reply, const char *method, const char *path)
{
    kube_reply_clear(reply);
    kube_send_with(self, reply, method, path, NULL);
    kube_wait_reply(reply);
}

void
kube_assert_error(const KubeReply *reply, WkErrorCode code, const char *reason,
                  const char *fragment)
{
    if (reply->error == NULL)
        fail_msg("no error, '%s' was expected", reason);
    if (!g_error_matches(reply->error, WK_ERROR, (int)code)
        || g_strcmp0(wk_error_get_reason(reply->error), reason) != 0
        || strstr(reply->error->message, fragment) == NULL)
        fail_msg("code %d reason %s was expected, got %d %s: %s", (int)code, reason,
                 reply->error->code, wk_error_get_reason(reply->error), reply->error->message);
}
