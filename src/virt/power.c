/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/power.h"

#include <libvirt/libvirt.h>

static const WkPower states[] = {
    [VIR_DOMAIN_NOSTATE] = WK_POWER_BUSY, /* no driver here says so; nothing acts on BUSY */
    [VIR_DOMAIN_RUNNING] = WK_POWER_RUNNING,   [VIR_DOMAIN_BLOCKED] = WK_POWER_RUNNING,
    [VIR_DOMAIN_PAUSED] = WK_POWER_PAUSED, /* by the reason, below */
    [VIR_DOMAIN_SHUTDOWN] = WK_POWER_STOPPING, [VIR_DOMAIN_SHUTOFF] = WK_POWER_OFF,
    [VIR_DOMAIN_CRASHED] = WK_POWER_CRASHED,   [VIR_DOMAIN_PMSUSPENDED] = WK_POWER_ASLEEP,
};

/* A reason outlives what gave it: an aborted save leaves PAUSED/SAVE (F4). So where the reason is
 * an operation's, the job tells whether that still goes on. */
static const struct {
    WkPower idle;
    WkPower with_job;
} pauses[] = {
    [VIR_DOMAIN_PAUSED_UNKNOWN] = { WK_POWER_PAUSED, WK_POWER_PAUSED },
    [VIR_DOMAIN_PAUSED_USER] = { WK_POWER_PAUSED, WK_POWER_PAUSED },
    [VIR_DOMAIN_PAUSED_MIGRATION] = { WK_POWER_LOADED, WK_POWER_BUSY },
    [VIR_DOMAIN_PAUSED_SAVE] = { WK_POWER_PAUSED, WK_POWER_BUSY },
    [VIR_DOMAIN_PAUSED_DUMP] = { WK_POWER_PAUSED, WK_POWER_BUSY },
    [VIR_DOMAIN_PAUSED_IOERROR] = { WK_POWER_IO_ERROR, WK_POWER_IO_ERROR },
    [VIR_DOMAIN_PAUSED_WATCHDOG] = { WK_POWER_PAUSED, WK_POWER_PAUSED },
    [VIR_DOMAIN_PAUSED_FROM_SNAPSHOT] = { WK_POWER_PAUSED, WK_POWER_BUSY },
    [VIR_DOMAIN_PAUSED_SHUTTING_DOWN] = { WK_POWER_STOPPING, WK_POWER_STOPPING },
    [VIR_DOMAIN_PAUSED_SNAPSHOT] = { WK_POWER_PAUSED, WK_POWER_BUSY },
    [VIR_DOMAIN_PAUSED_CRASHED] = { WK_POWER_CRASHED, WK_POWER_CRASHED },
    [VIR_DOMAIN_PAUSED_STARTING_UP] = { WK_POWER_STARTING, WK_POWER_STARTING },
    [VIR_DOMAIN_PAUSED_POSTCOPY] = { WK_POWER_BUSY, WK_POWER_BUSY },
    [VIR_DOMAIN_PAUSED_POSTCOPY_FAILED] = { WK_POWER_BUSY, WK_POWER_BUSY },
    [14] /* API_ERROR, libvirt 9.10 */ = { WK_POWER_PAUSED, WK_POWER_PAUSED },
};

WkPower
wk_power_of(int state, int reason, gboolean job)
{
    if (state < 0 || (gsize)state >= G_N_ELEMENTS(states))
        return WK_POWER_BUSY;
    if (state != VIR_DOMAIN_PAUSED)
        return states[state];
    if (reason < 0 || (gsize)reason >= G_N_ELEMENTS(pauses))
        return WK_POWER_BUSY;
    return job ? pauses[reason].with_job : pauses[reason].idle;
}
