/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/client_private.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"

#include <string.h>

#define LIST_MAX_BYTES      (8 * 1024 * 1024) /* what may be a page of a list */
#define ANSWER_MAX_BYTES    (4 * 1024 * 1024)
#define RETRIES_MAX         10 /* of those that the server asks for, as client-go */
#define RETRY_AFTER_MAX_MS  G_GINT64_CONSTANT(60000)
#define STATUS_UNAUTHORIZED 401
#define STATUS_TOO_MANY     429
#define STATUS_UNAVAILABLE  503
#define S_TO_MS             1000

/*
 * One wk_kube_send(): waiting (in kube->waiting), running (with a transfer), or resting until the
 * server wants to be asked again. Each of them but waiting has the timer.
 */
struct _WkKubeJob {
    WkKube *kube;
    GTask *task;
    WkKubeRequest request; /* strings are ours */
    GSource *cancelled;    /* NULL: can't be */
    GSource *timer;
    WkKubeTransfer *transfer; /* NULL: not running */
    WkKubeLoop *loop;         /* it runs in; (transfer none), lives as long as the transfer */
    gint64 sent_us;
    guint retries;
    gboolean reauthorized;
};

/* The caller is called from the loop with nothing of ours on the stack: it may do what it likes. */
typedef struct {
    GTask *task;
    JsonObject *answer;
    GError *error;
} Delivery;

static gboolean
deliver(gpointer data)
{
    Delivery *self = data;

    if (self->error != NULL)
        g_task_return_error(self->task, g_steal_pointer(&self->error));
    else
        g_task_return_pointer(self->task, g_steal_pointer(&self->answer),
                              (GDestroyNotify)json_object_unref);
    return G_SOURCE_REMOVE;
}

static void
delivery_free(gpointer data)
{
    Delivery *self = data;

    g_object_unref(self->task);
    g_clear_pointer(&self->answer, json_object_unref);
    g_clear_error(&self->error);
    g_free(self);
}

static void
deliver_soon(GTask *task, JsonObject *answer, GError *error)
{
    Delivery *delivery = g_new0(Delivery, 1);

    delivery->task = task;
    delivery->answer = answer;
    delivery->error = error;
    g_idle_add_full(G_PRIORITY_DEFAULT, deliver, delivery, delivery_free);
}

static void
drop_source(GSource **source)
{
    if (*source == NULL)
        return;
    g_source_destroy(*source);
    g_clear_pointer(source, g_source_unref);
}

static void
set_timer(WkKubeJob *self, gint64 ms, GSourceFunc callback)
{
    drop_source(&self->timer);
    self->timer = g_timeout_source_new((guint)ms);
    g_source_set_callback(self->timer, callback, self, NULL);
    g_source_attach(self->timer, NULL);
}

static void
stop_transfer(WkKubeJob *self)
{
    drop_source(&self->timer);
    if (self->transfer == NULL)
        return;
    g_clear_pointer(&self->transfer, wk_kube_transfer_free);
    self->loop = NULL;
    self->kube->n_running--;
    wk_kube_pump_soon(self->kube);
}

/* Ends @self with one of the two, both (transfer full). */
static void
finish(WkKubeJob *self, JsonObject *answer, GError *error)
{
    stop_transfer(self);
    drop_source(&self->cancelled);
    g_queue_remove(&self->kube->jobs, self);
    g_queue_remove(&self->kube->waiting, self);
    deliver_soon(g_steal_pointer(&self->task), answer, error);
    g_free((char *)self->request.method);
    g_free((char *)self->request.path);
    g_free((char *)self->request.content_type);
    g_free((char *)self->request.body);
    g_free(self);
}

void
wk_kube_job_fail(WkKubeJob *job, const GError *error)
{
    finish(job, NULL, g_error_copy(error));
}

static gboolean
on_cancelled(GCancellable *cancellable G_GNUC_UNUSED, gpointer data)
{
    WkKubeJob *self = data;
    GError *error = NULL;

    wk_error_set(&error, WK_ERROR_CANCELLED, NULL, "%s %s was cancelled", self->request.method,
                 self->request.path);
    finish(self, NULL, error);
    return G_SOURCE_REMOVE;
}

/* ---- answers ---- */

static JsonObject *
parse_answer(WkKubeJob *self, GError **error)
{
    GString *body = wk_kube_transfer_get_body(self->transfer);
    JsonObject *answer = NULL;

    if (body->str[strspn(body->str, " \t\r\n")] == '\0')
        return json_object_new();
    answer = wk_json_parse(body->str, (gssize)body->len, LIST_MAX_BYTES, error);
    if (answer != NULL)
        return answer;
    g_prefix_error(error, "%s %s: the answer can't be read: ", self->request.method,
                   self->request.path);
    /* Ours was right as far as we know: to send another is of no use. */
    if (error != NULL)
        (*error)->code = WK_ERROR_FAILED;
    return NULL;
}

static gboolean
on_rested(gpointer data)
{
    WkKubeJob *self = data;

    drop_source(&self->timer);
    g_queue_push_tail(&self->kube->waiting, self);
    wk_kube_pump_soon(self->kube);
    return G_SOURCE_REMOVE;
}

/* Returns: TRUE when @self goes on, in spite of the error. */
static gboolean
try_again(WkKubeJob *self, guint status, const GError *error)
{
    const gint64 retry_ms = wk_kube_retry_after_ms(error);

    if (status == STATUS_UNAUTHORIZED && !self->reauthorized) {
        self->reauthorized = TRUE;
        stop_transfer(self);
        wk_kube_doubt_credentials(self->kube, self->sent_us);
        g_queue_push_head(&self->kube->waiting, self);
        wk_kube_pump_soon(self->kube);
        return TRUE;
    }
    if ((status == STATUS_TOO_MANY || status == STATUS_UNAVAILABLE) && retry_ms >= 0
        && self->retries < RETRIES_MAX) {
        self->retries++;
        stop_transfer(self);
        set_timer(self, MIN(retry_ms, RETRY_AFTER_MAX_MS) * self->kube->times.retry_s_ms / S_TO_MS,
                  on_rested);
        return TRUE;
    }
    return FALSE;
}

static void
on_done(gpointer data)
{
    WkKubeJob *self = data;
    const guint status = wk_kube_transfer_get_status(self->transfer);
    JsonObject *answer = NULL;
    GError *error = NULL;

    wk_kube_count(self->kube, self->request.method, status);
    if (wk_kube_transfer_check(self->transfer, &error))
        answer = parse_answer(self, &error);
    if (error != NULL && try_again(self, status, error)) {
        g_error_free(error);
        return;
    }
    finish(self, answer, error);
}

/* ---- sending ---- */

static gboolean
on_overdue(gpointer data)
{
    WkKubeJob *self = data;
    GError *error = NULL;

    wk_kube_count(self->kube, self->request.method, 0);
    wk_error_set(&error, WK_ERROR_UNAVAILABLE, "NoAnswer", "%s %s: no answer in %.3g s",
                 self->request.method, self->request.path, self->kube->times.request_ms / 1000.0);
    finish(self, NULL, error);
    return G_SOURCE_REMOVE;
}

/* Slow, or a connection that is dead without a sign: this one waits on, the others need not. */
static gboolean
on_suspect(gpointer data)
{
    WkKubeJob *self = data;
    const WkKubeTimes *times = &self->kube->times;

    wk_kube_leave_road(self->kube, WK_KUBE_ROAD_REQUESTS, self->loop);
    set_timer(self, (gint64)times->request_ms - times->suspect_ms, on_overdue);
    return G_SOURCE_REMOVE;
}

void
wk_kube_job_start(WkKubeJob *self)
{
    WkKube *kube = self->kube;
    const gboolean is_get = g_str_equal(self->request.method, "GET");
    const WkKubeTransferOptions options = {
        .request = self->request,
        .connect_ms = kube->times.connect_ms,
        .body_max_bytes = is_get ? LIST_MAX_BYTES : ANSWER_MAX_BYTES,
        .user_agent = kube->user_agent,
        .done = on_done,
        .data = self,
    };
    GError *error = NULL;

    self->loop = kube->roads[WK_KUBE_ROAD_REQUESTS];
    self->transfer = wk_kube_transfer_new(self->loop, kube->config, &options, &error);
    if (self->transfer == NULL) {
        finish(self, NULL, error);
        return;
    }
    kube->n_running++;
    self->sent_us = wk_clock_mono_us();
    if (kube->times.suspect_ms < kube->times.request_ms)
        set_timer(self, kube->times.suspect_ms, on_suspect);
    else
        set_timer(self, kube->times.request_ms, on_overdue);
}

void
wk_kube_send(WkKube *self, const WkKubeRequest *request, GCancellable *cancellable,
             GAsyncReadyCallback callback, gpointer user_data)
{
    WkKubeJob *job = g_new0(WkKubeJob, 1);

    g_return_if_fail(request->path != NULL && *request->path == '/');
    job->kube = self;
    /* Cancelling is ours: the task's own way has another error. */
    job->task = g_task_new(NULL, NULL, callback, user_data);
    g_task_set_source_tag(job->task, wk_kube_send);
    job->request.method = g_strdup(request->method);
    job->request.path = g_strdup(request->path);
    job->request.content_type = g_strdup(request->content_type);
    job->request.body = g_strdup(request->body);
    g_queue_push_tail(&self->jobs, job);
    if (cancellable != NULL && g_cancellable_is_cancelled(cancellable)) {
        on_cancelled(cancellable, job);
        return;
    }
    if (cancellable != NULL) {
        job->cancelled = g_cancellable_source_new(cancellable);
        g_source_set_callback(job->cancelled, G_SOURCE_FUNC(on_cancelled), job, NULL);
        g_source_attach(job->cancelled, NULL);
    }
    g_queue_push_tail(&self->waiting, job);
    wk_kube_pump_soon(self);
}

JsonObject *
wk_kube_send_finish(WkKube *self G_GNUC_UNUSED, GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}
