/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "kube/transfer.h"

#include "base/clock.h"
#include "base/error.h"
#include "kube/error.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/*
 * A peer that vanished is noticed within 30 s: by keep-alive probes when nothing is on its way, by
 * TCP_USER_TIMEOUT when something is (the kernel's own patience is 13 to 30 minutes). HTTP/2 PINGs
 * would be the other way, but curl_easy_upkeep() does nothing for handles of a multi handle.
 */
#define KEEPALIVE_IDLE_S     15L
#define KEEPALIVE_INTERVAL_S 5L
#define KEEPALIVE_PROBES     3
#define USER_TIMEOUT_MS      30000
/* A connection is given up after so long, so that load balancers and rotated CAs get their turn. */
#define CONNECTION_MAX_S 300L
#define ERROR_BODY_MAX   (64 * 1024) /* of an answer that says no */
#define S_TO_MS          G_GINT64_CONSTANT(1000)

struct _WkKubeTransfer {
    WkKubeTicket ticket;
    WkKubeTransferOptions options;
    struct curl_slist *headers;
    struct curl_slist *connect_to;
    GString *body;
    gint64 heard_us;
    gboolean too_large;
    gboolean cut; /* an error's body was longer than we care for */
    CURLcode result;
    char detail[CURL_ERROR_SIZE];
};

static gboolean
is_good(guint status)
{
    return status >= 200 && status < 300;
}

guint
wk_kube_transfer_get_status(WkKubeTransfer *self)
{
    long status = 0;

    curl_easy_getinfo(self->ticket.easy, CURLINFO_RESPONSE_CODE, &status);
    return status > 0 ? (guint)status : 0;
}

gint64
wk_kube_transfer_get_heard_us(WkKubeTransfer *self)
{
    return self->heard_us;
}

GString *
wk_kube_transfer_get_body(WkKubeTransfer *self)
{
    return self->body;
}

/* ---- libcurl's callbacks: they only take note ---- */

static size_t
on_data(char *data, size_t size, size_t count, void *user_data)
{
    WkKubeTransfer *self = user_data;
    const gsize length = size * count;
    const gboolean good = is_good(wk_kube_transfer_get_status(self));
    const gsize max = good ? self->options.body_max_bytes : ERROR_BODY_MAX;

    self->heard_us = wk_clock_mono_us();
    if (good && self->options.is_stream) {
        g_string_append_len(self->body, data, (gssize)length);
        wk_kube_loop_wake(&self->ticket);
        return length;
    }
    if (length > max - self->body->len) {
        self->too_large = good;
        self->cut = !good;
        return CURL_WRITEFUNC_ERROR;
    }
    g_string_append_len(self->body, data, (gssize)length);
    return length;
}

static size_t
on_header(char *data G_GNUC_UNUSED, size_t size, size_t count, void *user_data)
{
    WkKubeTransfer *self = user_data;

    self->heard_us = wk_clock_mono_us();
    return size * count;
}

static int
on_connected(void *user_data G_GNUC_UNUSED, curl_socket_t fd, curlsocktype purpose)
{
    const int timeout_ms = USER_TIMEOUT_MS;
    const int probes = KEEPALIVE_PROBES;

    /* Not to have these is no reason not to try. */
    if (purpose == CURLSOCKTYPE_IPCXN) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    }
    return CURL_SOCKOPT_OK;
}

/* ---- the handle ---- */

static void G_GNUC_PRINTF(2, 3) add_header(WkKubeTransfer *self, const char *format, ...)
{
    g_autofree char *line = NULL;
    va_list args;

    va_start(args, format);
    line = g_strdup_vprintf(format, args);
    va_end(args);
    self->headers = curl_slist_append(self->headers, line);
}

/* The environment's proxy is not for this host; client-go leaves it out as well. */
static gboolean
is_loopback(const char *host)
{
    return g_ascii_strcasecmp(host, "localhost") == 0 || g_str_has_prefix(host, "127.")
           || g_str_equal(host, "[::1]");
}

/* With a tls-server-name the URL has that name, for SNI and verification, and the connection goes
 * to the server nevertheless. Returns: (transfer full). */
static char *
name_url(WkKubeTransfer *self, const WkKubePlace *place, const char *host, const char *port,
         CURLU *url)
{
    const char *name = place->tls_server_name;
    g_autofree char *connect_to = g_strdup_printf("%s:%s:%s:%s", name, port, host, port);
    char *text = NULL;
    char *copy = NULL;

    if (curl_url_set(url, CURLUPART_HOST, name, 0) != CURLUE_OK
        || curl_url_get(url, CURLUPART_URL, &text, 0) != CURLUE_OK)
        return NULL;
    copy = g_strdup(text);
    curl_free(text);
    self->connect_to = curl_slist_append(NULL, connect_to);
    curl_easy_setopt(self->ticket.easy, CURLOPT_CONNECT_TO, self->connect_to);
    add_header(self, "Host: %s:%s", host, port);
    return copy;
}

static gboolean
set_url(WkKubeTransfer *self, const WkKubePlace *place)
{
    CURL *easy = self->ticket.easy;
    CURLU *url = curl_url();
    g_autofree char *server = g_strdup(place->server);
    g_autofree char *full = NULL;
    char *host = NULL;
    char *port = NULL;

    if (curl_url_set(url, CURLUPART_URL, place->server, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
        if (place->proxy_url != NULL)
            curl_easy_setopt(easy, CURLOPT_PROXY, place->proxy_url);
        else if (is_loopback(host))
            curl_easy_setopt(easy, CURLOPT_PROXY, "");
        if (place->tls_server_name != NULL) {
            g_free(server);
            server = name_url(self, place, host, port, url);
        }
    } else {
        g_clear_pointer(&server, g_free);
    }
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
    if (server == NULL)
        return FALSE;
    if (g_str_has_suffix(server, "/")) /* libcurl's own, for an empty path */
        server[strlen(server) - 1] = '\0';
    full = g_strconcat(server, self->options.request.path, NULL);
    curl_easy_setopt(easy, CURLOPT_URL, full);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    return TRUE;
}

static void
set_blob(CURL *easy, CURLoption option, GBytes *bytes)
{
    struct curl_blob blob = { .flags = CURL_BLOB_COPY };

    blob.data = (void *)g_bytes_get_data(bytes, &blob.len);
    curl_easy_setopt(easy, option, &blob);
}

static void
set_tls(CURL *easy, const WkKubePlace *place, const WkKubeCredentials *credentials)
{
    if (credentials->ca_pem != NULL) {
        /* Else the distribution's CAs would be good as well. */
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
        set_blob(easy, CURLOPT_CAINFO_BLOB, credentials->ca_pem);
    }
    if (credentials->cert_pem != NULL)
        set_blob(easy, CURLOPT_SSLCERT_BLOB, credentials->cert_pem);
    if (credentials->key_pem != NULL)
        set_blob(easy, CURLOPT_SSLKEY_BLOB, credentials->key_pem);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, place->insecure_skip_tls_verify ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, place->insecure_skip_tls_verify ? 0L : 2L);
    if (g_ascii_strncasecmp(place->server, "https:", 6) == 0) {
        /* Fails where libcurl was built without HTTP/2: then it is HTTP/1.1. */
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
        curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    } else {
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    }
}

static void
set_connection(WkKubeTransfer *self)
{
    CURL *easy = self->ticket.easy;

    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)self->options.connect_ms);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_connected);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, CONNECTION_MAX_S);
    curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, CONNECTION_MAX_S);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

static void
set_identity(WkKubeTransfer *self, const WkKubePlace *place, const WkKubeCredentials *credentials)
{
    CURL *easy = self->ticket.easy;

    curl_easy_setopt(easy, CURLOPT_USERAGENT, self->options.user_agent);
    if (credentials->token != NULL) {
        add_header(self, "Authorization: Bearer %s", credentials->token);
    } else if (credentials->username != NULL) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(easy, CURLOPT_USERNAME, credentials->username);
        curl_easy_setopt(easy, CURLOPT_PASSWORD,
                         credentials->password != NULL ? credentials->password : "");
    }
    if (place->as_user != NULL)
        add_header(self, "Impersonate-User: %s", place->as_user);
    if (place->as_uid != NULL)
        add_header(self, "Impersonate-Uid: %s", place->as_uid);
    for (gsize i = 0; place->as_groups != NULL && place->as_groups[i] != NULL; i++)
        add_header(self, "Impersonate-Group: %s", place->as_groups[i]);
}

static void
set_request(WkKubeTransfer *self, const WkKubePlace *place)
{
    CURL *easy = self->ticket.easy;
    const WkKubeRequest *request = &self->options.request;
    const char *body = request->body != NULL ? request->body : "";

    add_header(self, "Accept: application/json");
    /* A compressor on the way holds events back until it has a block full. */
    if (!self->options.is_stream && !place->disable_compression)
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    if (request->content_type != NULL) {
        add_header(self, "Content-Type: %s", request->content_type);
        add_header(self, "Expect:");
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    }
    if (!g_str_equal(request->method, "GET"))
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, self->headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, self);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, self);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, self->detail);
}

/* ---- its end ---- */

static void
on_woken(gpointer data)
{
    WkKubeTransfer *self = data;

    self->options.woken(self->options.data);
}

static void
on_done(CURLcode result, gpointer data)
{
    WkKubeTransfer *self = data;

    self->result = result;
    self->options.done(self->options.data);
}

static gint64
retry_after_ms(WkKubeTransfer *self)
{
    curl_off_t seconds = 0;

    curl_easy_getinfo(self->ticket.easy, CURLINFO_RETRY_AFTER, &seconds);
    return seconds > 0 && seconds < G_MAXINT ? (gint64)seconds * S_TO_MS : -1;
}

gboolean
wk_kube_transfer_check(WkKubeTransfer *self, GError **error)
{
    const WkKubeRequest *request = &self->options.request;
    g_autofree char *what = g_strdup_printf("%s %s", request->method, request->path);
    const guint status = wk_kube_transfer_get_status(self);

    if (self->too_large) {
        wk_error_set(error, WK_ERROR_FAILED, "TooLarge",
                     "%s: the answer is over the limit of %" G_GSIZE_FORMAT " bytes", what,
                     self->options.body_max_bytes);
        return FALSE;
    }
    if (self->result != CURLE_OK && !self->cut) {
        wk_kube_error_from_curl(error, self->result, self->detail, what);
        return FALSE;
    }
    if (is_good(status))
        return TRUE;
    wk_kube_error_from_answer(error, status, self->body->str, self->body->len, retry_after_ms(self),
                              what);
    return FALSE;
}

void
wk_kube_transfer_free(WkKubeTransfer *self)
{
    if (self == NULL)
        return;
    wk_kube_loop_remove(&self->ticket);
    if (self->ticket.easy != NULL)
        curl_easy_cleanup(self->ticket.easy);
    curl_slist_free_all(self->headers);
    curl_slist_free_all(self->connect_to);
    g_string_free(self->body, TRUE);
    g_free(self);
}

WkKubeTransfer *
wk_kube_transfer_new(WkKubeLoop *loop, WkKubeConfig *config, const WkKubeTransferOptions *options,
                     GError **error)
{
    const WkKubePlace *place = wk_kube_config_get_place(config);
    const WkKubeCredentials *credentials = wk_kube_config_get_credentials(config);
    g_autoptr(WkKubeTransfer) self = g_new0(WkKubeTransfer, 1);

    self->options = *options;
    self->body = g_string_new(NULL);
    self->heard_us = wk_clock_mono_us();
    self->ticket.easy = curl_easy_init();
    self->ticket.woken = on_woken;
    self->ticket.done = on_done;
    self->ticket.data = self;
    if (self->ticket.easy == NULL || loop == NULL) {
        wk_error_set(error, WK_ERROR_FAILED, NULL, "libcurl can't be used");
        return NULL;
    }
    if (!set_url(self, place)) {
        wk_error_set(error, WK_ERROR_INVALID, "BadServer", "%s: the server's address is no URL",
                     place->source);
        return NULL;
    }
    set_connection(self);
    set_tls(self->ticket.easy, place, credentials);
    set_identity(self, place, credentials);
    set_request(self, place);
    if (!wk_kube_loop_add(loop, &self->ticket)) {
        wk_error_set(error, WK_ERROR_FAILED, NULL, "libcurl does not take the request");
        return NULL;
    }
    return g_steal_pointer(&self);
}
