/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "unit.h"

#include "kube-stream-fixture.h"

const WkKubeTimes stream_times = {
    .connect_ms = 2000,
    .request_ms = 5000,
    .suspect_ms = 5000,
    .retry_s_ms = 1,
    .credentials_ms = 60000,
};
const WkKubeStreamOptions stream_usual = { .max_line_bytes = STREAM_LINE_LIMIT,
                                           .idle_timeout_ms = 60000 };

static gboolean
on_line(const char *text, gsize length, gpointer data, GError **error)
{
    StreamFixture *self = data;

    assert_int_equal(text[length], '\0');
    assert_false(self->ended);
    self->line_at_us = g_get_monotonic_time();
    g_ptr_array_add(self->lines, g_strndup(text, length));
    if (self->lines->len == self->free_at) {
        g_clear_pointer(&self->stream, wk_kube_stream_free);
        if (self->frees_client)
            g_clear_pointer(&self->kube, wk_kube_free);
        assert_int_equal(strlen(text), length); /* is still there */
    }
    if (self->lines->len == self->fail_at) {
        wk_error_set(error, WK_ERROR_CORRUPT, "Mine", "not to my taste");
        return FALSE;
    }
    return TRUE;
}

static void
on_ended(const GError *error, gpointer data)
{
    StreamFixture *self = data;

    assert_false(self->ended);
    self->ended = TRUE;
    self->error = error != NULL ? g_error_copy(error) : NULL;
    if (self->frees_at_end)
        g_clear_pointer(&self->stream, wk_kube_stream_free);
    if (self->frees_at_end && self->frees_client)
        g_clear_pointer(&self->kube, wk_kube_free);
}

const WkKubeStreamListener stream_listener = { on_line, on_ended };

int
stream_setup(void **state)
{
    StreamFixture *self = g_new0(StreamFixture, 1);

    self->api = fake_apiserver_new();
    self->config = fake_kube_config_new(fake_apiserver_get_url(self->api), "sesame");
    self->kube = wk_kube_new(self->config, "test/1");
    wk_kube_set_times(self->kube, &stream_times);
    self->lines = g_ptr_array_new_with_free_func(g_free);
    *state = self;
    return 0;
}

int
stream_teardown(void **state)
{
    StreamFixture *self = *state;

    wk_kube_stream_free(self->stream);
    wk_kube_free(self->kube);
    fake_settle();
    wk_kube_config_unref(self->config);
    fake_apiserver_free(self->api);
    g_ptr_array_unref(self->lines);
    g_clear_error(&self->error);
    g_free(self);
    return 0;
}

FakeCall *
stream_open(StreamFixture *self, const WkKubeStreamOptions *options)
{
    self->stream = wk_kube_stream_new(self->kube, STREAM_PATH, options, &stream_listener, self);
    return fake_apiserver_wait(self->api, "GET " STREAM_PATH);
}

void
stream_close(StreamFixture *self)
{
    g_clear_pointer(&self->stream, wk_kube_stream_free);
    g_ptr_array_set_size(self->lines, 0);
    g_clear_error(&self->error);
    self->ended = FALSE;
}

static gboolean
has_ended(gpointer data)
{
    return ((StreamFixture *)data)->ended;
}

void
stream_wait_end(StreamFixture *self)
{
    fake_wait_until(has_ended, self, "the stream's end");
}

void
stream_assert_end(StreamFixture *self, WkErrorCode code, const char *reason)
{
    stream_wait_end(self);
    if (self->error == NULL)
        fail_msg("ended properly, %s was expected", reason);
    if (!g_error_matches(self->error, WK_ERROR, (int)code)
        || g_strcmp0(wk_error_get_reason(self->error), reason) != 0)
        fail_msg("%s was expected, got %d %s: %s", reason, self->error->code,
                 wk_error_get_reason(self->error), self->error->message);
}

const char *
stream_line(StreamFixture *self, guint index)
{
    assert_true(index < self->lines->len);
    return g_ptr_array_index(self->lines, index);
}
