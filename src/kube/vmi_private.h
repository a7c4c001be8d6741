/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "kube/object.h"
#include "kube/vmi.h"

/* What the codecs of KubeVirt's objects share. Arguments may be NULL: nothing is there then. */

/* The condition of @type in @status, (transfer none); NULL: none. */
JsonObject *wk_vmi_find_condition(JsonObject *status, const char *type);
/* Its status is what counts as set: anything but "False". */
gboolean wk_vmi_has_condition(JsonObject *status, const char *type);

/* @member names something that is going on. Returns: (transfer full): that name, "?" where it is
 * there and no name; NULL: nothing is going on. */
char *wk_vmi_keep_ongoing(JsonObject *object, const char *member);

/* spec.volumes[] of a VMI or of a VM's template. */
void wk_vmi_read_volumes(JsonObject *spec, GPtrArray *volumes);
/* Everything else of a VMI's spec. Volumes are read before. */
void wk_vmi_read_spec(WkVmi *self, JsonObject *spec);
