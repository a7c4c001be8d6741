/* SPDX-License-Identifier: Apache-2.0 */
#include "lab-rest.h"

#define REQUEST_MS 60000L

struct _LabRest {
    char *base;
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

LabRest *
lab_rest_new(const char *base)
{
    LabRest *self = g_new0(LabRest, 1);

    self->base = g_strdup(base);
    self->curl = curl_easy_init();
    self->answer = g_string_new(NULL);
    self->json = curl_slist_append(NULL, "Content-Type: application/json");
    self->merge = curl_slist_append(NULL, "Content-Type: application/merge-patch+json");
    curl_easy_setopt(self->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(self->curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(self->curl, CURLOPT_TIMEOUT_MS, REQUEST_MS);
    curl_easy_setopt(self->curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(self->curl, CURLOPT_WRITEDATA, self->answer);
    return self;
}

LabRest *
lab_rest_new_control(void)
{
    LabRest *self = lab_rest_new("http://localhost");

    curl_easy_setopt(self->curl, CURLOPT_UNIX_SOCKET_PATH, LAB_CONTROL);
    return self;
}

void
lab_rest_free(LabRest *self)
{
    if (self == NULL)
        return;
    curl_easy_cleanup(self->curl);
    curl_slist_free_all(self->json);
    curl_slist_free_all(self->merge);
    g_string_free(self->answer, TRUE);
    g_free(self->base);
    g_free(self);
}

CURL *
lab_rest_get_handle(LabRest *self)
{
    return self->curl;
}

const char *
lab_rest_get_answer(const LabRest *self)
{
    return self->answer->str;
}

int
lab_rest_request(LabRest *self, const char *method, const char *path, const char *body,
                 GError **error)
{
    g_autofree char *url = g_strconcat(self->base, path, NULL);
    const gboolean posts = body != NULL || g_str_equal(method, "POST");
    long status = -1;
    CURLcode code;

    g_string_truncate(self->answer, 0);
    curl_easy_setopt(self->curl, CURLOPT_URL, url);
    curl_easy_setopt(self->curl, CURLOPT_HTTPHEADER,
                     g_str_equal(method, "PATCH") ? self->merge : self->json);
    if (posts)
        curl_easy_setopt(self->curl, CURLOPT_POSTFIELDS, body != NULL ? body : "");
    else
        curl_easy_setopt(self->curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(self->curl, CURLOPT_CUSTOMREQUEST, method);
    code = curl_easy_perform(self->curl);
    if (code != CURLE_OK) {
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s %s: %s", method, path,
                    curl_easy_strerror(code));
        return -1;
    }
    curl_easy_getinfo(self->curl, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

const char *
lab_rest_send(LabRest *self, const char *method, const char *path, const char *body, GError **error)
{
    const int status = lab_rest_request(self, method, path, body, error);

    if (status >= 200 && status < 300)
        return self->answer->str;
    if (status >= 0)
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s %s: %d %s", method, path, status,
                    self->answer->str);
    return NULL;
}
