/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of a Wukong's status and of its bodies share. */
#include "kube/status.h"

#define NOW_US   (G_GINT64_CONSTANT(1795377600) * G_USEC_PER_SEC) /* 2026-11-22T20:00:00Z */
#define TEXT_MAX (1024 * 1024)

/* Everything that a status is made of; a running guest to begin with. */
typedef struct {
    WkView view;
    WkOperation operation;
    WkBinding binding;
    WkStatusInput input;
} StatusParts;

StatusParts status_parts(void);

/* Returns: (transfer full): of @parts with its view. */
WkStatus *status_of_parts(StatusParts *parts);

/* A guest that was suspended to disk because generation 3 asked. */
void status_suspend_to_disk(StatusParts *parts);

/* Returns: (transfer full): the Wukong shop/web, uid u-1, with more @metadata (",...") and @status.
 */
WkWukong *status_seen(const char *metadata, const char *status);

/* @text is @golden as JSON, and in its one spelling. */
void status_assert_json(const char *text, const char *golden);
