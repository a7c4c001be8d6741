/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <curl/curl.h>
#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* What an answer or a lost connection means to the caller, as kube/client.h has it. @what names the
 * request: "GET /api/v1/nodes". */

/* @body, up to @length bytes, is a metav1.Status or whatever a proxy says. @retry_after_ms -1: no
 * such header; the body's own word counts then. */
void wk_kube_error_from_answer(GError **error, guint status, const char *body, gsize length,
                               gint64 retry_after_ms, const char *what);

/* What a metav1.Status asks for; -1: nothing. */
gint64 wk_kube_status_retry_after_ms(JsonObject *status);

/* @detail: libcurl's own text; may be "". */
void wk_kube_error_from_curl(GError **error, CURLcode code, const char *detail, const char *what);

G_END_DECLS
