/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <curl/curl.h>
#include <string.h>

#define REQUEST_MS 30000L
#define WAIT_MS    60000

struct _BenchHttp {
    CURL *curl;
    struct curl_slist *headers;
    GString *answer;
};

static size_t
take_bytes(char *bytes, size_t size, size_t count, void *data)
{
    g_string_append_len(data, bytes, (gssize)(size * count));
    return size * count;
}

BenchHttp *
bench_http_new(void)
{
    BenchHttp *self = g_new0(BenchHttp, 1);

    self->curl = curl_easy_init();
    self->answer = g_string_new(NULL);
    self->headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(self->curl, CURLOPT_UNIX_SOCKET_PATH, LAB_CONTROL);
    curl_easy_setopt(self->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(self->curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(self->curl, CURLOPT_TIMEOUT_MS, REQUEST_MS);
    curl_easy_setopt(self->curl, CURLOPT_HTTPHEADER, self->headers);
    curl_easy_setopt(self->curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(self->curl, CURLOPT_WRITEDATA, self->answer);
    return self;
}

void
bench_http_free(BenchHttp *self)
{
    if (self == NULL)
        return;
    curl_easy_cleanup(self->curl);
    curl_slist_free_all(self->headers);
    g_string_free(self->answer, TRUE);
    g_free(self);
}

const char *
bench_http_send(BenchHttp *self, const char *method, const char *path, const char *body,
                GError **error)
{
    g_autofree char *url = g_strdup_printf("http://localhost%s", path);
    long status = 0;
    CURLcode code;

    g_string_truncate(self->answer, 0);
    curl_easy_setopt(self->curl, CURLOPT_URL, url);
    if (g_str_equal(method, "POST"))
        curl_easy_setopt(self->curl, CURLOPT_POSTFIELDS, body != NULL ? body : "");
    else
        curl_easy_setopt(self->curl, CURLOPT_HTTPGET, 1L);
    code = curl_easy_perform(self->curl);
    curl_easy_getinfo(self->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK && status >= 200 && status < 300)
        return self->answer->str;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s %s: %ld %s%s", method, path, status,
                code != CURLE_OK ? curl_easy_strerror(code) : "", self->answer->str);
    return NULL;
}

typedef struct {
    BenchHttp *http;
    const char *path;
    const char *word;
} StateWait;

static gboolean
is_so(gpointer data)
{
    const StateWait *wait = data;
    const char *answer = bench_http_send(wait->http, "GET", wait->path, NULL, NULL);

    return answer != NULL && strstr(answer, wait->word) != NULL
           && strstr(answer, "\"operation\"") == NULL;
}

gboolean
bench_http_wait_state(BenchHttp *self, const char *id, const char *state, GError **error)
{
    g_autofree char *path = g_strdup_printf("/v1/guests/%s", id);
    g_autofree char *word = g_strdup_printf("\"state\":\"%s\"", state);
    StateWait wait = { .http = self, .path = path, .word = word };

    return lab_wait(word, WAIT_MS, is_so, &wait, error);
}
