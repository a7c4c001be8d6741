/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control-fixture.h"

#include "base/clock.h"
#include "base/error.h"
#include "control/internal.h"

#include <glib/gstdio.h>

/* The agent */

WkView *
fixture_guest(const char *id, const char *name, WkState state)
{
    WkView *self = g_new0(WkView, 1);

    self->id = g_strdup(id);
    self->name = g_strdup(name);
    self->source = g_strdup("host");
    self->state = state;
    self->progress_percent = -1;
    self->restorable = -1;
    return self;
}

WkOperation *
fixture_operation(const char *id, WkOpState state)
{
    WkOperation *self = g_new0(WkOperation, 1);

    self->id = g_strdup(id);
    self->source = g_strdup("host");
    self->guest = g_strdup("aaaa1111-0000-4000-8000-000000000001");
    self->name = g_strdup("one");
    self->action = WK_ACTION_SUSPEND;
    self->target = WK_TARGET_DISK;
    self->origin = WK_ORIGIN_LOCAL;
    self->state = state;
    self->step = WK_STEP_NONE;
    self->accepted_at_us = wk_clock_real_us();
    return self;
}

static WkImageView *
make_image(void)
{
    WkImageView *self = g_new0(WkImageView, 1);

    self->id = g_strdup("aaaa1111-0000-4000-8000-000000000002");
    self->name = g_strdup("two");
    self->source = g_strdup("host");
    self->state = WK_LEDGER_SEALED;
    self->size_bytes = 4096;
    self->saved_at_us = wk_clock_real_us();
    self->boot_id = g_strdup("7e1a2f5c-1111-4222-8333-444444444444");
    self->digest = g_strdup("00112233445566778899aabbccddeeff");
    return self;
}

static GPtrArray *
list_guests(gpointer agent)
{
    const Fixture *self = agent;
    GPtrArray *copies = g_ptr_array_new_with_free_func((GDestroyNotify)wk_view_free);

    for (guint i = 0; i < self->guests->len; i++)
        g_ptr_array_add(copies, wk_view_copy(g_ptr_array_index(self->guests, i)));
    return copies;
}

static WkView *
find_guest(gpointer agent, const char *key, GError **error)
{
    const Fixture *self = agent;

    if (g_str_equal(key, "dup")) {
        wk_error_set(error, WK_ERROR_INVALID, NULL,
                     "'dup' may be host:dup or other:dup: say which");
        return NULL;
    }
    for (guint i = 0; i < self->guests->len; i++) {
        const WkView *view = g_ptr_array_index(self->guests, i);

        if (g_str_equal(view->id, key) || g_str_equal(view->name, key))
            return wk_view_copy(view);
    }
    wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "no guest is called '%s'", key);
    return NULL;
}

static void
complete(Fixture *self, GTask *task)
{
    GError *fail = g_steal_pointer(&self->fail);

    if (fail != NULL)
        g_task_return_error(task, fail);
    else
        g_task_return_pointer(task, fixture_operation("op-new", WK_OP_QUEUED),
                              (GDestroyNotify)wk_operation_free);
}

static void
submit(gpointer agent, const WkRequest *request, GAsyncReadyCallback callback, gpointer user_data)
{
    Fixture *self = agent;
    g_autoptr(GTask) task = g_task_new(NULL, NULL, callback, user_data);

    self->n_submits++;
    self->last = *request;
    g_free(self->last_guest);
    self->last_guest = g_strdup(request->guest);
    self->last.guest = self->last_guest;
    if (self->hold)
        self->held = g_steal_pointer(&task);
    else
        complete(self, task);
}

void
fixture_release(Fixture *self)
{
    g_autoptr(GTask) task = g_steal_pointer(&self->held);

    complete(self, task);
}

static WkOperation *
submit_finish(gpointer agent G_GNUC_UNUSED, GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}

static WkOperation *
cancel(gpointer agent, const char *guest G_GNUC_UNUSED, GError **error)
{
    Fixture *self = agent;

    if (self->fail == NULL)
        return fixture_operation("op-1", WK_OP_RUNNING);
    g_propagate_error(error, g_steal_pointer(&self->fail));
    return NULL;
}

static GPtrArray *
list_operations(gpointer agent)
{
    const Fixture *self = agent;
    GPtrArray *copies = g_ptr_array_new_with_free_func((GDestroyNotify)wk_operation_free);

    for (guint i = 0; i < self->operations->len; i++)
        g_ptr_array_add(copies, wk_operation_copy(g_ptr_array_index(self->operations, i)));
    return copies;
}

static WkOperation *
find_operation(gpointer agent, const char *id, GError **error)
{
    const Fixture *self = agent;

    for (guint i = 0; i < self->operations->len; i++) {
        const WkOperation *operation = g_ptr_array_index(self->operations, i);

        if (g_str_equal(operation->id, id))
            return wk_operation_copy(operation);
    }
    wk_error_set(error, WK_ERROR_NOT_FOUND, NULL, "no operation '%s' is known", id);
    return NULL;
}

static GPtrArray *
list_images(gpointer agent G_GNUC_UNUSED)
{
    GPtrArray *images = g_ptr_array_new_with_free_func((GDestroyNotify)wk_image_view_free);

    g_ptr_array_add(images, make_image());
    return images;
}

static GPtrArray *
list_checks(gpointer agent G_GNUC_UNUSED)
{
    GPtrArray *checks = g_ptr_array_new_with_free_func((GDestroyNotify)wk_check_free);

    g_ptr_array_add(checks, wk_check_new("ledger", WK_CHECK_OK, "it is whole", NULL));
    g_ptr_array_add(checks, wk_check_new("vault", WK_CHECK_ERROR, "it is full", "make room"));
    return checks;
}

static GPtrArray *
prune(gpointer agent, guint *n_history, GError **error)
{
    Fixture *self = agent;

    if (self->fail != NULL) {
        g_propagate_error(error, g_steal_pointer(&self->fail));
        return NULL;
    }
    *n_history = 3;
    return list_guests(agent);
}

static char *
metrics(gpointer agent G_GNUC_UNUSED)
{
    return g_strdup("# TYPE wukong_build_info gauge\nwukong_build_info 1\n");
}

static char *
not_ready(gpointer agent)
{
    return g_strdup(((const Fixture *)agent)->not_ready);
}

/* Life */

static void
add_contents(Fixture *self)
{
    WkView *two = fixture_guest("aaaa1111-0000-4000-8000-000000000002", "two", WK_STATE_SUSPENDED);

    two->target = WK_TARGET_DISK;
    two->restorable = 1;
    two->saved_bytes = 4096;
    g_ptr_array_add(self->guests,
                    fixture_guest("aaaa1111-0000-4000-8000-000000000001", "one", WK_STATE_RUNNING));
    g_ptr_array_add(self->guests, two);
    g_ptr_array_add(self->guests, fixture_guest("bbbb1111-0000-4000-8000-000000000003",
                                                "team a/three & more", WK_STATE_RUNNING));
    g_ptr_array_add(self->operations, fixture_operation("op-1", WK_OP_RUNNING));
    g_ptr_array_add(self->operations, fixture_operation("op-0", WK_OP_SUCCEEDED));
}

int
fixture_setup(void **state)
{
    Fixture *self = g_new0(Fixture, 1);
    g_autoptr(GError) error = NULL;

    self->folder = g_dir_make_tmp("wk-control-XXXXXX", NULL);
    self->path = g_build_filename(self->folder, "control.sock", NULL);
    self->guests = g_ptr_array_new_with_free_func((GDestroyNotify)wk_view_free);
    self->operations = g_ptr_array_new_with_free_func((GDestroyNotify)wk_operation_free);
    self->api = (WkControlApi){
        .node_name = "node-1",
        .list_guests = list_guests,
        .find_guest = find_guest,
        .submit = submit,
        .submit_finish = submit_finish,
        .cancel = cancel,
        .list_operations = list_operations,
        .find_operation = find_operation,
        .list_images = list_images,
        .list_checks = list_checks,
        .prune = prune,
        .metrics = metrics,
        .not_ready = not_ready,
    };
    add_contents(self);
    self->control = wk_control_new(self->path, NULL, &self->api, self, &error);
    *state = self;
    return self->control != NULL ? 0 : -1;
}

void
fixture_stop(Fixture *self)
{
    g_clear_pointer(&self->control, wk_control_free);
}

int
fixture_teardown(void **state)
{
    Fixture *self = *state;

    fixture_stop(self);
    g_assert(self->held == NULL);
    (void)g_unlink(self->path);
    (void)g_rmdir(self->folder);
    g_clear_error(&self->fail);
    g_free(self->not_ready);
    g_free(self->last_guest);
    g_ptr_array_unref(self->guests);
    g_ptr_array_unref(self->operations);
    g_free(self->path);
    g_free(self->folder);
    g_free(self);
    return 0;
}

guint
fixture_streams(const Fixture *self)
{
    return self->control->streams->len;
}

gboolean
fixture_no_streams(gpointer fixture)
{
    return fixture_streams(fixture) == 0;
}

/* The main context */

static gboolean
on_time(gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
    return G_SOURCE_REMOVE;
}

gboolean
fixture_run_until(gboolean (*done)(gpointer), gpointer data, guint ms)
{
    gboolean over = FALSE;
    gboolean happened = FALSE;
    const guint id = g_timeout_add(ms, on_time, &over);

    for (happened = done(data); !happened && !over; happened = done(data))
        (void)g_main_context_iteration(NULL, TRUE);
    if (!over)
        g_source_remove(id);
    return happened;
}

static gboolean
never(gpointer data G_GNUC_UNUSED)
{
    return FALSE;
}

void
fixture_run_for(guint ms)
{
    (void)fixture_run_until(never, NULL, ms);
}
