/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests over one connection that is kept open: to the agent's control socket, or to the API
 * server. One thread each.
 */
#pragma once

#include "lab.h"

#include <curl/curl.h>

G_BEGIN_DECLS

typedef struct _LabRest LabRest;

/* @base: what every URL begins with ("http://localhost"). */
LabRest *lab_rest_new(const char *base);
LabRest *lab_rest_new_control(void); /* LAB_CONTROL */
void lab_rest_free(LabRest *self);   /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LabRest, lab_rest_free)

/* (transfer none): for whoever has more to set. */
CURL *lab_rest_get_handle(LabRest *self);

/* @body: JSON, of a PATCH a merge patch; NULL: none. Returns: the HTTP status; -1 when nobody
 * answers. */
int lab_rest_request(LabRest *self, const char *method, const char *path, const char *body,
                     GError **error);
/* (transfer none): of the last request, until the next one. */
const char *lab_rest_get_answer(const LabRest *self);

/* Both in one. Returns: (transfer none): the answer, until the next request; NULL unless the status
 * is 2xx. */
const char *lab_rest_send(LabRest *self, const char *method, const char *path, const char *body,
                          GError **error);

G_END_DECLS
