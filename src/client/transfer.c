/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "client/transfer.h"

#include "client/problem.h"

#include <errno.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 5000L
#define POLL_MAX_MS        1000

typedef struct {
    WukongClient *client;
    const WkTransferCall *call;
    CURL *easy;
    struct curl_slist *headers;
    GString *body;
    gint64 last_data_us;
    GError *error; /* set inside curl's callbacks */
} Transfer;

static void
transfer_free(Transfer *self)
{
    if (self->easy != NULL) {
        curl_multi_remove_handle(self->client->multi, self->easy);
        curl_easy_cleanup(self->easy);
    }
    curl_slist_free_all(self->headers);
    if (self->body != NULL)
        g_string_free(self->body, TRUE);
    g_clear_error(&self->error);
    g_free(self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Transfer, transfer_free)

static guint
status_of(Transfer *self)
{
    long status = 0;

    curl_easy_getinfo(self->easy, CURLINFO_RESPONSE_CODE, &status);
    return status > 0 ? (guint)status : 0;
}

static gboolean
is_good(guint status)
{
    return status >= 200 && status < 300;
}

/* curl's write callback: anything but @length back ends the transfer. */
static size_t
on_data(char *data, size_t size, size_t count, void *user_data)
{
    Transfer *self = user_data;
    const gsize length = size * count;

    self->last_data_us = g_get_monotonic_time();
    if (self->call->lines != NULL && is_good(status_of(self))) {
        if (!wk_lines_feed(self->call->lines, data, length, &self->error))
            return CURL_WRITEFUNC_ERROR;
        return wk_lines_is_ended(self->call->lines) ? CURL_WRITEFUNC_ERROR : length;
    }
    if (length > WK_TRANSFER_BODY_MAX - self->body->len) {
        wk_problem_set(&self->error, WUKONG_ERROR_FAILED, 0, NULL,
                       "wukongd's answer to %s is over the limit of %d bytes", self->call->path,
                       WK_TRANSFER_BODY_MAX);
        return CURL_WRITEFUNC_ERROR;
    }
    g_string_append_len(self->body, data, (gssize)length);
    return length;
}

static void
set_body(Transfer *self)
{
    const char *body = self->call->body != NULL ? self->call->body : "";

    self->headers = curl_slist_append(self->headers, "Content-Type: application/json");
    self->headers = curl_slist_append(self->headers, "Expect:");
    curl_easy_setopt(self->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(self->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    curl_easy_setopt(self->easy, CURLOPT_POSTFIELDS, body);
}

static Transfer *
transfer_new(WukongClient *client, const WkTransferCall *call)
{
    g_autofree char *url = g_strconcat("http://localhost", call->path, NULL);
    Transfer *self = g_new0(Transfer, 1);
    CURL *easy = curl_easy_init();

    self->client = client;
    self->call = call;
    self->easy = easy;
    self->body = g_string_new(NULL);
    self->last_data_us = g_get_monotonic_time();
    if (easy == NULL)
        return self;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
    /* The environment's proxy is for the network, not for a socket of this host. */
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "libwukong/" PACKAGE_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, self);
    if (g_str_equal(call->method, "POST"))
        set_body(self);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, self->headers);
    return self;
}

/* Milliseconds until something has to be looked at again; 0: a limit has passed, @error says which.
 */
static int
time_left(Transfer *self, GError **error)
{
    const gint64 now = g_get_monotonic_time();
    gint64 left_ms = POLL_MAX_MS;

    if (self->call->deadline_us > 0) {
        left_ms = MIN(left_ms, (self->call->deadline_us - now) / 1000 + 1);
        if (now >= self->call->deadline_us) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "%s %s: the time is over",
                        self->call->method, self->call->path);
            return 0;
        }
    }
    if (self->call->silence_ms > 0) {
        const gint64 quiet_ms = (now - self->last_data_us) / 1000;

        if (quiet_ms >= self->call->silence_ms) {
            wk_problem_set(error, WUKONG_ERROR_UNREACHABLE, 0, NULL,
                           "wukongd at %s has been silent for %u s", self->client->socket_path,
                           (self->call->silence_ms + 999) / 1000);
            return 0;
        }
        left_ms = MIN(left_ms, self->call->silence_ms - quiet_ms);
    }
    return (int)left_ms;
}

/* Lets curl work until the transfer is over. Returns: FALSE when it was ended from outside. */
static gboolean
drive(Transfer *self, GCancellable *cancellable, GError **error)
{
    CURLM *multi = self->client->multi;
    GPollFD cancel_fd = { 0 };
    const gboolean can_wait = g_cancellable_make_pollfd(cancellable, &cancel_fd);
    gboolean good = TRUE;
    int running = 1;

    while (good && running > 0) {
        struct curl_waitfd extra = { .fd = cancel_fd.fd, .events = CURL_WAIT_POLLIN };
        CURLMcode code = curl_multi_perform(multi, &running);
        int wait_ms;

        if (code != CURLM_OK || running == 0)
            break;
        good = !g_cancellable_set_error_if_cancelled(cancellable, error);
        wait_ms = good ? time_left(self, error) : 0;
        good = good && wait_ms > 0;
        if (good)
            curl_multi_poll(multi, &extra, can_wait ? 1 : 0, wait_ms, NULL);
    }
    if (can_wait)
        g_cancellable_release_fd(cancellable);
    return good;
}

static CURLcode
result_of(Transfer *self)
{
    CURLMsg *message;
    int left = 0;

    while ((message = curl_multi_info_read(self->client->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE && message->easy_handle == self->easy)
            return message->data.result;
    }
    return CURLE_RECV_ERROR;
}

static void
set_curl_error(Transfer *self, CURLcode code, GError **error)
{
    long errnum = 0;

    /* The only time-out curl itself keeps is the one for connecting. */
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT) {
        curl_easy_getinfo(self->easy, CURLINFO_OS_ERRNO, &errnum);
        wk_problem_unreachable(error, self->client->socket_path, (int)errnum,
                               curl_easy_strerror(code));
    } else if (code == CURLE_COULDNT_RESOLVE_HOST) {
        /* curl's word for a path that does not fit into an address. */
        wk_problem_unreachable(error, self->client->socket_path, ENAMETOOLONG, NULL);
    } else if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY) {
        wk_problem_set(error, WUKONG_ERROR_FAILED, 0, NULL, "what answers at %s is not wukongd: %s",
                       self->client->socket_path, curl_easy_strerror(code));
    } else if (g_str_equal(self->call->method, "POST")) {
        wk_problem_set(error, WUKONG_ERROR_UNREACHABLE, 0, NULL,
                       "the connection to wukongd at %s was lost (%s): the request may have been "
                       "taken all the same, look at the guest's state",
                       self->client->socket_path, curl_easy_strerror(code));
    } else {
        wk_problem_set(error, WUKONG_ERROR_UNREACHABLE, 0, NULL,
                       "the connection to wukongd at %s was lost: %s", self->client->socket_path,
                       curl_easy_strerror(code));
    }
}

static gboolean
judge(Transfer *self, GError **error)
{
    const CURLcode code = result_of(self);
    const guint status = status_of(self);
    g_autofree char *what = NULL;

    if (self->error != NULL) {
        g_propagate_error(error, g_steal_pointer(&self->error));
        return FALSE;
    }
    if (code == CURLE_WRITE_ERROR && self->call->lines != NULL
        && wk_lines_is_ended(self->call->lines))
        return TRUE;
    if (code != CURLE_OK) {
        set_curl_error(self, code, error);
        return FALSE;
    }
    if (is_good(status))
        return TRUE;
    what = g_strdup_printf("%s %s", self->call->method, self->call->path);
    wk_problem_from_answer(error, status, self->body->str, self->body->len, what);
    return FALSE;
}

GString *
wk_transfer_run(WukongClient *client, const WkTransferCall *call, GCancellable *cancellable,
                GError **error)
{
    g_autoptr(Transfer) self = NULL;

    if (g_cancellable_set_error_if_cancelled(cancellable, error))
        return NULL;
    self = transfer_new(client, call);
    if (self->easy == NULL || curl_multi_add_handle(client->multi, self->easy) != CURLM_OK) {
        wk_problem_set(error, WUKONG_ERROR_FAILED, 0, NULL, "libcurl can't be used");
        return NULL;
    }
    if (!drive(self, cancellable, error) || !judge(self, error))
        return NULL;
    return g_steal_pointer(&self->body);
}
