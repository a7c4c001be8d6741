/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/policy.h"

#define BYTES_PER_SECOND (20 * 1000 * 1000)
#define BACKOFF_MAX_MS   (5 * 60 * 1000)

guint
wk_policy_timeout_s(WkAction action, WkTarget target, guint64 bytes)
{
    const guint64 moving_s = MIN(bytes / BYTES_PER_SECOND, 86400 - 120);

    if (target == WK_TARGET_DISK)
        return 120 + (guint)moving_s;
    return action == WK_ACTION_SUSPEND ? 60 : 120;
}

guint
wk_policy_backoff_ms(guint attempt)
{
    const guint doublings = attempt > 0 ? MIN(attempt - 1, 16) : 0;

    return MIN(1000u << doublings, BACKOFF_MAX_MS);
}

guint64
wk_policy_image_bytes(guint64 memory_kib)
{
    return memory_kib * 1024 / 100 * 106 + (G_GUINT64_CONSTANT(64) << 20);
}
