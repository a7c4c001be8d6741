/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/*
 * JSON in one spelling: compact, members sorted by bytes, characters and numbers written as the API
 * server (Go's encoding/json) writes them. Two reasons: what is published can be compared as text
 * with what is wanted; and the "test" of a JSON patch compares spellings, not values: "a<b" is not
 * "a\u003cb" to it, and 0.1 not 0.10000000000000001.
 */

/* Returns: (transfer full). */
char *wk_canonical_text(JsonNode *node);
char *wk_canonical_object(JsonObject *object);

/* Returns: (transfer full): @text for a message or a field that people read: control characters
 * and what is not UTF-8 escaped, at most @max_bytes, cut between characters (then with "..." at its
 * end); NULL gives "". @max_bytes >= 4. */
char *wk_bounded_text(const char *text, gsize max_bytes);

G_END_DECLS
