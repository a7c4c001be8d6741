/* SPDX-License-Identifier: Apache-2.0 */
#include "bench-kube.h"

#include "lab-kube.h"

#include <curl/curl.h>

#define REQUEST_MS 60000L

struct _BenchApi {
    CURL *curl;
    struct curl_slist *json;
    struct curl_slist *merge;
    GString *answer;
};

static size_t
take_bytes(char *bytes, size_t size, size_t count, void *data)
{
    g_string_append_len(data, bytes, (gssize)(size * count));
    return size * count;
}

BenchApi *
bench_api_new(void)
{
    BenchApi *self = g_new0(BenchApi, 1);

    self->curl = curl_easy_init();
    self->answer = g_string_new(NULL);
    self->json = curl_slist_append(NULL, "Content-Type: application/json");
    self->merge = curl_slist_append(NULL, "Content-Type: application/merge-patch+json");
    curl_easy_setopt(self->curl, CURLOPT_CAINFO, LAB_KUBE_DIR "/ca.crt");
    curl_easy_setopt(self->curl, CURLOPT_SSLCERT, LAB_KUBE_DIR "/admin.crt");
    curl_easy_setopt(self->curl, CURLOPT_SSLKEY, LAB_KUBE_DIR "/admin.key");
    curl_easy_setopt(self->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(self->curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(self->curl, CURLOPT_TIMEOUT_MS, REQUEST_MS);
    curl_easy_setopt(self->curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(self->curl, CURLOPT_WRITEDATA, self->answer);
    return self;
}

void
bench_api_free(BenchApi *self)
{
    if (self == NULL)
        return;
    curl_easy_cleanup(self->curl);
    curl_slist_free_all(self->json);
    curl_slist_free_all(self->merge);
    g_string_free(self->answer, TRUE);
    g_free(self);
}

const char *
bench_api_send(BenchApi *self, const char *method, const char *path, const char *body,
               GError **error)
{
    g_autofree char *url = g_strconcat(LAB_KUBE_SERVER, path, NULL);
    long status = 0;
    CURLcode code;

    g_string_truncate(self->answer, 0);
    curl_easy_setopt(self->curl, CURLOPT_URL, url);
    curl_easy_setopt(self->curl, CURLOPT_HTTPHEADER,
                     g_str_equal(method, "PATCH") ? self->merge : self->json);
    if (body != NULL)
        curl_easy_setopt(self->curl, CURLOPT_POSTFIELDS, body);
    else
        curl_easy_setopt(self->curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(self->curl, CURLOPT_CUSTOMREQUEST, method);
    code = curl_easy_perform(self->curl);
    curl_easy_getinfo(self->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK && status >= 200 && status < 300)
        return self->answer->str;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s %s: %ld %s%s", method, path, status,
                code != CURLE_OK ? curl_easy_strerror(code) : "", self->answer->str);
    return NULL;
}
