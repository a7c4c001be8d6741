/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>

#include "model/check.h"
#include "model/view.h"

G_BEGIN_DECLS

/* API objects: camelCase, unknown values absent and never null. All (transfer full), pure. */
JsonObject *wk_codec_guest(const WkView *view);
JsonObject *wk_codec_operation(const WkOperation *operation);
JsonObject *wk_codec_image(const WkImageView *image);

JsonObject *wk_codec_check(const WkCheck *check);

/* RFC 9457 problem from @error, with its HTTP @status. */
JsonObject *wk_codec_problem(const GError *error, guint *status);

/* Reads the body of a POST on @action into @request (its strings point into @body). Unknown
 * members, wrong types and values out of range: WK_ERROR_INVALID. */
gboolean
wk_codec_read_request(JsonObject *body, WkAction action, WkRequest *request, GError **error);

G_END_DECLS
