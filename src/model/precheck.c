/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "model/precheck.h"

#include "base/error.h"
#include "base/units.h"
#include "model/policy.h"

static gboolean
check_devices(const WkFacts *facts, GError **error)
{
    if (facts->devices->len > 0) {
        wk_error_set(error, WK_ERROR_REFUSED, "HostDevice",
                     "guest '%s' has %u passed-through device(s) (%s), whose state can't be saved: "
                     "detach them, or suspend to memory",
                     facts->name, facts->devices->len,
                     (const char *)g_ptr_array_index(facts->devices, 0));
        return FALSE;
    }
    if (facts->shares->len > 0) {
        wk_error_set(error, WK_ERROR_REFUSED, "SharedFolder",
                     "guest '%s' shares a folder with the host (%s), which can't be saved: "
                     "detach it, or suspend to memory",
                     facts->name, (const char *)g_ptr_array_index(facts->shares, 0));
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_disks(const WkFacts *facts, GError **error)
{
    for (guint i = 0; i < facts->disks->len; i++) {
        const WkDiskFact *disk = g_ptr_array_index(facts->disks, i);

        if (!disk->transient)
            continue;
        wk_error_set(
            error, WK_ERROR_REFUSED, "TransientDisk",
            "guest '%s': disk %s is transient, its content ends with the guest: suspend to "
            "memory, or make the disk persistent",
            facts->name, disk->target);
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_space(const WkPrecheck *input, GError **error)
{
    const guint64 need = wk_policy_image_bytes(input->facts->memory_kib);
    const guint64 taken = input->kept_bytes + input->promised_bytes;
    const guint64 room = input->free_bytes > taken ? input->free_bytes - taken : 0;
    g_autofree char *need_text = NULL;
    g_autofree char *room_text = NULL;

    if (need <= room)
        return TRUE;
    need_text = wk_units_format_bytes(need);
    room_text = wk_units_format_bytes(room);
    wk_error_set(error, WK_ERROR_REFUSED, "NoSpace",
                 "guest '%s' needs up to %s in the vault, and %s are free for it: make room there, "
                 "or discard images",
                 input->facts->name, need_text, room_text);
    return FALSE;
}

gboolean
wk_precheck_suspend(const WkPrecheck *input, WkTarget target, GError **error)
{
    if (target != WK_TARGET_DISK)
        return TRUE;
    if (!input->persistent) {
        wk_error_set(error, WK_ERROR_REFUSED, "TransientGuest",
                     "guest '%s' is transient: libvirt forgets it when it ends, so it can be "
                     "suspended to memory only",
                     input->facts->name);
        return FALSE;
    }
    if (!input->can_save) {
        wk_error_set(error, WK_ERROR_REFUSED, "NoVault",
                     "guest '%s' can't be suspended to disk: %s", input->facts->name,
                     input->cannot_why);
        return FALSE;
    }
    return check_devices(input->facts, error) && check_disks(input->facts, error)
           && check_space(input, error);
}
