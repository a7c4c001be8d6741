/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/types.h"

G_BEGIN_DECLS

/* Default deadline of an action in seconds (contract, section 1): suspend to memory 60, resume
 * from memory 120, to or from disk 120 and 1 s for each 20 MB of @bytes. */
guint wk_policy_timeout_s(WkAction action, WkTarget target, guint64 bytes);

/* Wait before try number @attempt + 1 of a passing error: 1 s doubled each time, at most 5 min. */
guint wk_policy_backoff_ms(guint attempt);

/* What an image of a guest with @memory_kib can need on disk: its memory, and room for devices and
 * header (6 % and 64 MiB: video memory, firmware, migration stream overhead). */
guint64 wk_policy_image_bytes(guint64 memory_kib);

G_END_DECLS
