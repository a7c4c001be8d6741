/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/*
 * JSON as this project reads and writes it: strict reading with errors that name the member,
 * unknown values left out (never null) when writing.
 */

/* Parses @text as one object of at most @max_bytes.
 * Returns: (transfer full): the object, or NULL with WK_ERROR_INVALID. @length -1: NUL-ended. */
JsonObject *wk_json_parse(const char *text, gssize length, gsize max_bytes, GError **error);

/* Reads of one member. "opt": an absent or null member leaves the result as it was. FALSE with
 * WK_ERROR_INVALID that names the member and what was found. Strings are (transfer none). */
gboolean
wk_json_need_string(JsonObject *object, const char *member, const char **value, GError **error);
gboolean
wk_json_opt_string(JsonObject *object, const char *member, const char **value, GError **error);
gboolean wk_json_opt_int(JsonObject *object, const char *member, gint64 min, gint64 max,
                         gint64 *value, GError **error);
gboolean wk_json_opt_bool(JsonObject *object, const char *member, gboolean *value, GError **error);

/* Refuses members that are not in @known (NULL-ended list). */
gboolean wk_json_only(JsonObject *object, const char *const *known, GError **error);

/* Lenient reads for answers of our own daemon. Returns: the value, or NULL / @fallback. */
const char *wk_json_get_string(JsonObject *object, const char *member);
gint64 wk_json_get_int(JsonObject *object, const char *member, gint64 fallback);
JsonObject *wk_json_get_object(JsonObject *object, const char *member); /* (transfer none) */
JsonArray *wk_json_get_array(JsonObject *object, const char *member);   /* (transfer none) */

/* Writers: a NULL or empty string, and a time of 0, are left out. */
void wk_json_set_string(JsonObject *object, const char *member, const char *value);
void wk_json_set_int(JsonObject *object, const char *member, gint64 value);
void wk_json_set_time(JsonObject *object, const char *member, gint64 real_us);

/* Returns: (transfer full): compact text of @object on one line. */
char *wk_json_to_text(JsonObject *object);

G_END_DECLS
