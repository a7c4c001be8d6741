/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "control-fixture.h"

#include "base/json.h"

#include <curl/curl.h>
#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATIENCE_MS 5000

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
