/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube-double.h"

#include "base/json.h"
#include "unit.h"

/* Against hanging only: a slow machine with sanitizers needs more than 10. */
#define LIMIT_S 60

static GPtrArray *calls; /* (element-type DoubleCall) */
static void (*call_handler)(DoubleCall *call, gpointer data);
static gpointer handler_data;

static void
end(DoubleCall *call, JsonObject *answer, GError *error)
{
    g_autoptr(GTask) task = g_steal_pointer(&call->task);

    if (task == NULL)
        return;
    if (error != NULL)
        g_task_return_error(task, error);
    else
        g_task_return_pointer(task, answer, (GDestroyNotify)json_object_unref);
}

static void
call_free(gpointer data)
{
    DoubleCall *call = data;

    if (call->task != NULL)
        double_fail(call, WK_ERROR_CANCELLED, NULL, "reset");
    g_free(call->line);
    g_free(call->type);
    g_free(call->body);
    g_free(call);
}

void
double_reset(void)
{
    double_set_handler(NULL, NULL);
    g_clear_pointer(&calls, g_ptr_array_unref);
    double_settle();
}

void
double_set_handler(void (*handler)(DoubleCall *call, gpointer data), gpointer data)
{
    call_handler = handler;
    handler_data = data;
}

void
double_answer(DoubleCall *call, const char *body)
{
    g_autoptr(GError) error = NULL;
    JsonObject *answer = wk_json_parse(body, -1, 1 << 20, &error);

    assert_null(error);
    end(call, answer, NULL);
}

void
double_fail(DoubleCall *call, int code, const char *reason, const char *message)
{
    GError *error = NULL;

    wk_error_set(&error, (WkErrorCode)code, reason, "%s", message);
    end(call, NULL, error);
}

static gboolean
on_handle(gpointer data)
{
    DoubleCall *call = data;

    if (calls != NULL && g_ptr_array_find(calls, call, NULL) && call->task != NULL
        && call_handler != NULL)
        call_handler(call, handler_data);
    return G_SOURCE_REMOVE;
}

void
wk_kube_send(WkKube *self, const WkKubeRequest *request, GCancellable *cancellable,
             GAsyncReadyCallback callback, gpointer user_data)
{
    DoubleCall *call = g_new0(DoubleCall, 1);

    (void)self;
    if (calls == NULL)
        calls = g_ptr_array_new_with_free_func(call_free);
    call->line = g_strdup_printf("%s %s", request->method, request->path);
    call->type = g_strdup(request->content_type);
    call->body = g_strdup(request->body);
    call->task = g_task_new(NULL, cancellable, callback, user_data);
    g_task_set_check_cancellable(call->task, FALSE);
    g_ptr_array_add(calls, call);
    g_idle_add_full(G_PRIORITY_DEFAULT, on_handle, call, NULL);
}

JsonObject *
wk_kube_send_finish(WkKube *self, GAsyncResult *result, GError **error)
{
    (void)self;
    return g_task_propagate_pointer(G_TASK(result), error);
}

/* Without jitter, so that tests can count. */
guint
wk_kube_backoff_ms(guint failures)
{
    return MIN(800u << MIN(failures - 1, 10), 30000);
}

static DoubleCall *
find(const char *fragment, guint index, gboolean waiting)
{
    for (guint i = 0; calls != NULL && i < calls->len; i++) {
        DoubleCall *call = g_ptr_array_index(calls, i);

        if (strstr(call->line, fragment) == NULL || (waiting && call->task == NULL))
            continue;
        if (index-- == 0)
            return call;
    }
    return NULL;
}

static guint
count(const char *fragment, gboolean waiting)
{
    guint n = 0;

    while (find(fragment, n, waiting) != NULL)
        n++;
    return n;
}

guint
double_count(const char *fragment)
{
    return count(fragment, FALSE);
}

guint
double_count_waiting(const char *fragment)
{
    return count(fragment, TRUE);
}

DoubleCall *
double_get(const char *fragment, guint index)
{
    DoubleCall *call = find(fragment, index, FALSE);

    assert_non_null(call);
    return call;
}

void
double_wait_until(gboolean (*check)(gpointer data), gpointer data, const char *what)
{
    gint64 until_us = g_get_monotonic_time() + LIMIT_S * G_USEC_PER_SEC;

    while (!check(data)) {
        if (g_get_monotonic_time() > until_us)
            fail_msg("waited in vain for %s", what);
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(200);
    }
}

typedef struct {
    const char *fragment;
    guint n;
} Awaited;

static gboolean
is_waiting(gpointer data)
{
    return find(data, 0, TRUE) != NULL;
}

static gboolean
is_count(gpointer data)
{
    const Awaited *awaited = data;

    return double_count(awaited->fragment) >= awaited->n;
}

DoubleCall *
double_wait(const char *fragment)
{
    double_wait_until(is_waiting, (gpointer)fragment, fragment);
    return find(fragment, 0, TRUE);
}

void
double_wait_count(const char *fragment, guint n)
{
    Awaited awaited = { fragment, n };

    double_wait_until(is_count, &awaited, fragment);
}

void
double_settle(void)
{
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

void
double_idle(guint ms)
{
    gint64 until_us = g_get_monotonic_time() + ms * 1000;

    while (g_get_monotonic_time() < until_us) {
        if (!g_main_context_iteration(NULL, FALSE))
            g_usleep(200);
    }
}
