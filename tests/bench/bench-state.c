/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <string.h>

#define WAIT_MS 60000

typedef struct {
    LabRest *http;
    const char *path;
    const char *word;
} StateWait;

static gboolean
is_so(gpointer data)
{
    const StateWait *wait = data;
    const char *answer = lab_rest_send(wait->http, "GET", wait->path, NULL, NULL);

    return answer != NULL && strstr(answer, wait->word) != NULL
           && strstr(answer, "\"operation\"") == NULL;
}

gboolean
bench_wait_state(LabRest *self, const char *id, const char *state, GError **error)
{
    g_autofree char *path = g_strdup_printf("/v1/guests/%s", id);
    g_autofree char *word = g_strdup_printf("\"state\":\"%s\"", state);
    StateWait wait = { .http = self, .path = path, .word = word };

    return lab_wait(word, WAIT_MS, is_so, &wait, error);
}
