/* SPDX-License-Identifier: Apache-2.0 */
#include "lab-api.h"

#define HTTP_OK   200
#define NOT_FOUND 404
#define PACE_MS   50

/* A thread's own. */
typedef struct {
    LabRest *rest;
    gint64 picked_us; /* monotonic */
} Own;

LabRest *
lab_api_new(void)
{
    LabRest *rest = lab_rest_new(LAB_KUBE_SERVER);
    CURL *curl = lab_rest_get_handle(rest);

    curl_easy_setopt(curl, CURLOPT_CAINFO, LAB_KUBE_DIR "/ca.crt");
    curl_easy_setopt(curl, CURLOPT_SSLCERT, LAB_KUBE_DIR "/admin.crt");
    curl_easy_setopt(curl, CURLOPT_SSLKEY, LAB_KUBE_DIR "/admin.key");
    return rest;
}

static void
own_free(gpointer data)
{
    Own *self = data;

    lab_rest_free(self->rest);
    g_free(self);
}

static GPrivate own_key = G_PRIVATE_INIT(own_free);

static Own *
own(void)
{
    Own *self = g_private_get(&own_key);

    if (self == NULL) {
        self = g_new0(Own, 1);
        self->rest = lab_api_new();
        g_private_set(&own_key, self);
    }
    return self;
}

gboolean
lab_api_is_ok(const char *path)
{
    return lab_rest_send(own()->rest, "GET", path, NULL, NULL) != NULL;
}

/* lab_wait() asks every 10 ms, which would keep the API server busy with nothing else. */
static void
keep_pace(Own *self)
{
    const gint64 early_us =
        self->picked_us + PACE_MS * G_TIME_SPAN_MILLISECOND - g_get_monotonic_time();

    if (early_us > 0)
        g_usleep((gulong)early_us);
    self->picked_us = g_get_monotonic_time();
}

static char *
pick(const char *text, const char *template, GError **error)
{
    g_autoptr(JsonNode) root = json_from_string(text, error);
    char *picked = root != NULL ? lab_jsonpath(root, template) : NULL;

    if (root != NULL && picked == NULL)
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "%s is more than we know", template);
    return picked;
}

char *
lab_api_pick(const char *path, const char *template, gboolean may_be_absent, GError **error)
{
    Own *self = own();
    int status;

    keep_pace(self);
    status = lab_rest_request(self->rest, "GET", path, NULL, error);
    if (status == NOT_FOUND && may_be_absent)
        return g_strdup("");
    if (status == HTTP_OK)
        return pick(lab_rest_get_answer(self->rest), template, error);
    if (status >= 0)
        g_set_error(error, LAB_ERROR, LAB_ERROR_FAILED, "GET %s: %d %s", path, status,
                    lab_rest_get_answer(self->rest));
    return NULL;
}
