/* SPDX-License-Identifier: Apache-2.0 */
#include "lab-api.h"

#include <curl/curl.h>

#define REQUEST_MS 60000L
#define NOT_FOUND  404
#define PACE_MS    50

struct _LabApi {
    CURL *curl;
    struct curl_slist *json;
    struct curl_slist *merge;
    GString *answer;
    guint status;     /* 0: no answer */
    gint64 picked_us; /* monotonic */
};

static size_t
take_bytes(char *bytes, size_t size, size_t count, void *data)
{
    g_string_append_len(data, bytes, (gssize)(size * count));
    return size * count;
}

LabApi *
lab_api_new(void)
{
    LabApi *self = g_new0(LabApi, 1);

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
lab_api_free(LabApi *self)
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
lab_api_send(LabApi *self, const char *method, const char *path, const char *body, GError **error)
{
    g_autofree char *url = g_strconcat(LAB_KUBE_SERVER, path, NULL);
    long status = 0;
    CURLcode code;

    self->status = 0;
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
    if (code == CURLE_OK)
        self->status = (guint)status;
    if (code == CURLE_OK && status >= 200 && status < 300)
        return self->answer->str;
    g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s %s: %ld %s%s", method, path, status,
                code != CURLE_OK ? curl_easy_strerror(code) : "", self->answer->str);
    return NULL;
}

static void
free_api(gpointer data)
{
    lab_api_free(data);
}

static GPrivate own_api = G_PRIVATE_INIT(free_api);

static LabApi *
own(void)
{
    LabApi *api = g_private_get(&own_api);

    if (api == NULL) {
        api = lab_api_new();
        g_private_set(&own_api, api);
    }
    return api;
}

gboolean
lab_api_is_ok(const char *path)
{
    return lab_api_send(own(), "GET", path, NULL, NULL) != NULL;
}

/* lab_wait() asks every 10 ms, which would keep the API server busy with nothing else. */
static void
keep_pace(void)
{
    LabApi *api = own();
    const gint64 early_us =
        api->picked_us + PACE_MS * G_TIME_SPAN_MILLISECOND - g_get_monotonic_time();

    if (early_us > 0)
        g_usleep((gulong)early_us);
    api->picked_us = g_get_monotonic_time();
}

char *
lab_api_pick(const char *path, const char *template, gboolean may_be_absent, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(JsonNode) root = NULL;
    const char *answer;
    char *picked;

    keep_pace();
    answer = lab_api_send(own(), "GET", path, NULL, &local);
    if (answer == NULL && may_be_absent && own()->status == NOT_FOUND)
        return g_strdup("");
    if (answer == NULL) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    root = json_from_string(answer, error);
    if (root == NULL)
        return NULL;
    picked = lab_jsonpath(root, template);
    if (picked == NULL)
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s is more than we know", template);
    return picked;
}
