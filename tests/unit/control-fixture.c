/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control-fixture.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "control/internal.h"

#include <curl/curl.h>
#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATIENCE_MS 5000

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

/* curl, in a thread */

typedef struct {
    const char *path; /* of the socket */
    char *url;
    const char *method;
    const char *header;
    const char *body;
    gsize body_length;
    gboolean switch_user;
    uid_t uid;
    gid_t gid;
    gid_t group;
    Answer *answer;
    gint done; /* atomic */
} Call;

static gsize
on_data(char *data, gsize size, gsize n, void *user_data)
{
    g_string_append_len(user_data, data, (gssize)(size * n));
    return size * n;
}

static void
set_up(CURL *easy, const Call *call, struct curl_slist **headers)
{
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, call->path);
    curl_easy_setopt(easy, CURLOPT_URL, call->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, 10L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call->answer->body);
    if (g_str_equal(call->method, "HEAD"))
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    if (call->header != NULL)
        *headers = curl_slist_append(*headers, call->header);
    if (call->body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)call->body_length);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, *headers);
}

static char *
header_of(CURL *easy, const char *name)
{
    struct curl_header *header = NULL;

    if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return NULL;
    return g_strdup(header->value);
}

/* Only this thread: libc's wrappers would change all of them. */
static void
become(const Call *call)
{
    const gid_t groups[] = { call->group };

    if (syscall(SYS_setgroups, call->group != 0 ? 1 : 0, groups) < 0
        || syscall(SYS_setresgid, call->gid, call->gid, call->gid) < 0
        || syscall(SYS_setresuid, call->uid, call->uid, call->uid) < 0)
        g_printerr("changing the user failed\n");
}

static gpointer
run_call(gpointer data)
{
    Call *call = data;
    Answer *answer = call->answer;
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = NULL;
    CURLcode code;

    if (call->switch_user)
        become(call);
    set_up(easy, call, &headers);
    code = curl_easy_perform(easy);
    if (code != CURLE_OK)
        answer->error = g_strdup(curl_easy_strerror(code));
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer->status);
    answer->content_type = header_of(easy, "Content-Type");
    answer->allow = header_of(easy, "Allow");
    answer->connection = header_of(easy, "Connection");
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
    g_atomic_int_set(&call->done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static gboolean
is_done(gpointer data)
{
    return g_atomic_int_get(&((Call *)data)->done) != 0;
}

/* tests/api/check-answers wants to see every answer: one file each, what was asked first. */
static void
keep(const char *method, const char *path, long status, const char *type, const char *body)
{
    static guint n;
    const char *folder = g_getenv("WK_API_ANSWERS");
    g_autofree char *name = NULL;
    g_autofree char *text = NULL;

    if (folder == NULL || status == 0)
        return;
    name = g_strdup_printf("%s/%s-%u", folder, program_invocation_short_name, n++);
    text = g_strdup_printf("%s %s %ld %s\n%s", method, path, status, type, body);
    g_assert_true(g_file_set_contents(name, text, -1, NULL));
}

static Answer *
perform(Call *call)
{
    GThread *thread;

    call->answer = g_new0(Answer, 1);
    call->answer->body = g_string_new(NULL);
    thread = g_thread_new("curl", run_call, call);
    (void)fixture_run_until(is_done, call, 20 * 1000);
    g_thread_join(thread);
    keep(call->method, call->url + strlen("http://wukong"), call->answer->status,
         call->answer->content_type, call->answer->body->str);
    call->answer->json =
        wk_json_parse(call->answer->body->str, (gssize)call->answer->body->len, G_MAXSIZE, NULL);
    g_free(call->url);
    return call->answer;
}

Answer *
ask_with(Fixture *self, const char *method, const char *path, const char *body, gssize body_length,
         const char *header)
{
    Call call = { .path = self->path,
                  .url = g_strconcat("http://wukong", path, NULL),
                  .method = method,
                  .header = header,
                  .body = body };

    if (body != NULL)
        call.body_length = body_length < 0 ? strlen(body) : (gsize)body_length;
    return perform(&call);
}

Answer *
ask(Fixture *self, const char *method, const char *path, const char *body)
{
    return ask_with(self, method, path, body, -1,
                    body != NULL ? "Content-Type: application/json" : NULL);
}

Answer *
ask_as(Fixture *self, uid_t uid, gid_t gid, gid_t group)
{
    Call call = { .path = self->path,
                  .url = g_strdup("http://wukong/v1/node"),
                  .method = "GET",
                  .switch_user = TRUE,
                  .uid = uid,
                  .gid = gid,
                  .group = group };

    return perform(&call);
}

void
answer_free(Answer *self)
{
    g_free(self->error);
    g_free(self->content_type);
    g_free(self->allow);
    g_free(self->connection);
    g_string_free(self->body, TRUE);
    g_clear_pointer(&self->json, json_object_unref);
    g_free(self);
}

/* Talkers */

Talker *
talker_open(Fixture *self)
{
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(self->path);
    Talker *talker = g_new0(Talker, 1);

    talker->got = g_string_new(NULL);
    talker->socket =
        g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, NULL);
    g_assert_true(g_socket_connect(talker->socket, address, NULL, NULL));
    g_socket_set_blocking(talker->socket, FALSE);
    return talker;
}

/* The complete lines of a stream that were seen. */
static void
keep_stream(const Talker *self)
{
    g_auto(GStrv) lines = g_strsplit(self->got->str, "\n", -1);
    g_autoptr(GString) body = g_string_new(NULL);

    for (guint i = 0; lines[i] != NULL && lines[i + 1] != NULL; i++) {
        if (*lines[i] == '{')
            g_string_append_printf(body, "%s\n", lines[i]);
    }
    if (strstr(self->got->str, "application/x-ndjson") != NULL)
        keep("GET", self->path, 200, "application/x-ndjson", body->str);
}

void
talker_free(Talker *self)
{
    if (self->path != NULL)
        keep_stream(self);
    g_free(self->path);
    (void)g_socket_close(self->socket, NULL);
    g_object_unref(self->socket);
    g_string_free(self->got, TRUE);
    g_free(self);
}

void
talker_say(Talker *self, const char *text)
{
    for (gsize sent = 0, length = strlen(text); sent < length;) {
        const gssize n = g_socket_send(self->socket, text + sent, length - sent, NULL, NULL);

        if (n > 0)
            sent += (gsize)n;
        else if (!g_socket_is_connected(self->socket)
                 || (g_socket_condition_check(self->socket, G_IO_HUP | G_IO_ERR) != 0))
            return; /* the other side has had enough */
        else
            fixture_run_for(1);
    }
}

Talker *
talker_watch(Fixture *self, const char *path)
{
    Talker *talker = talker_open(self);
    g_autofree char *text = g_strdup_printf("GET %s HTTP/1.1\r\nHost: wukong\r\n\r\n", path);

    talker->path = g_strdup(path);
    talker_say(talker, text);
    return talker;
}

/* Takes what is there. */
static void
receive(Talker *self)
{
    char buffer[16384];
    g_autoptr(GError) error = NULL;
    gssize n;

    while ((n = g_socket_receive(self->socket, buffer, sizeof buffer, NULL, &error)) > 0)
        g_string_append_len(self->got, buffer, n);
    if (n == 0 || !g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
        self->ended = TRUE;
}

static char *
next_line(Talker *self)
{
    for (;;) {
        const char *start = self->got->str + self->taken;
        const char *end = strchr(start, '\n');

        if (end == NULL)
            return NULL;
        self->taken += (gsize)(end - start) + 1;
        if (*start == '{')
            return g_strndup(start, (gsize)(end - start));
    }
}

JsonObject *
talker_line(Talker *self)
{
    const gint64 until = g_get_monotonic_time() + PATIENCE_MS * 1000;
    g_autofree char *line = next_line(self);

    while (line == NULL && !self->ended && g_get_monotonic_time() < until) {
        fixture_run_for(2);
        receive(self);
        line = next_line(self);
    }
    return line != NULL ? wk_json_parse(line, -1, G_MAXSIZE, NULL) : NULL;
}

const char *
talker_rest(Talker *self)
{
    const gint64 until = g_get_monotonic_time() + PATIENCE_MS * 1000;

    while (!self->ended && g_get_monotonic_time() < until) {
        fixture_run_for(2);
        receive(self);
    }
    return self->got->str;
}
