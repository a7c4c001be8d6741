/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API server asked directly, as the administrator: what a test waits for, and what a bench
 * times. What a user does goes by kubectl (lab-kube.h), whose start costs 100 times as much.
 */
#pragma once

#include "lab-kube.h"
#include "lab-rest.h"

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* (transfer full): a connection of one's own. */
LabRest *lab_api_new(void);
/* A GET of @path is answered with 2xx. One client a thread. */
gboolean lab_api_is_ok(const char *path);
/* What `kubectl get -o jsonpath=@template` prints of the object at @path; one client a thread.
 * Returns: (transfer full): "" for what the object has not, and where there is none if it
 * @may_be_absent; NULL on error, also when @template has more than lab_jsonpath() knows. */
char *lab_api_pick(const char *path, const char *template, gboolean may_be_absent, GError **error);

/* Text, and {...} of names ("\\." for a dot in one), [*], [N] and [?(@.name=="text")].
 * Returns: (transfer full); NULL: there is more in @template than that. */
char *lab_jsonpath(JsonNode *root, const char *template);

G_END_DECLS
