/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/*
 * What all objects of the API server have, and careful reads of them: nothing in an object is
 * trusted to have a type or a size. @object may be NULL everywhere: nothing is in it then.
 */
#define WK_OBJECT_NAME_MAX 253
#define WK_OBJECT_UID_MAX  128
#define WK_OBJECT_TEXT_MAX 1024

/* TRUE for 1 to @max_bytes bytes of UTF-8 without control or format characters. */
gboolean wk_object_is_plain(const char *text, gsize max_bytes);

/* What may stand in the path of a request: letters, digits, '-', '.', '_', beginning with one of
 * the first two. NULL is none. */
gboolean wk_object_is_identifier(const char *text, gsize max_bytes);

/* Returns: (transfer full): a plain text, or NULL. */
char *wk_object_keep(JsonObject *object, const char *member, gsize max_bytes);
/* Returns: (transfer full): an identifier, or NULL. */
char *wk_object_keep_identifier(JsonObject *object, const char *member);
/* Returns: (transfer full): an identifier of @metadata, or NULL with WK_ERROR_INVALID. */
char *wk_object_need_identifier(JsonObject *metadata, const char *member, gsize max_bytes,
                                GError **error);
/* metadata.uid, .name and .namespace, each (transfer full). FALSE with WK_ERROR_INVALID: it is no
 * namespaced object; what was set is the caller's to free all the same. */
gboolean
wk_object_need_identity(JsonObject *metadata, char **ns, char **name, char **uid, GError **error);

/* Returns: (transfer none): what is there, of whatever type; NULL: absent or null. */
JsonNode *wk_object_peek(JsonObject *object, const char *member);
/* TRUE only for true. */
gboolean wk_object_is_true(JsonObject *object, const char *member);
/* (transfer none): the @index-th element, if that is an object; else NULL. */
JsonObject *wk_object_element(JsonArray *array, guint index);
/* 0 for none. */
guint wk_object_count(JsonArray *array);

G_END_DECLS
