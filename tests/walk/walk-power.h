/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "walk.h"

G_BEGIN_DECLS

/* Puts all that outlives a reboot onto a file system in a file. Before anything is started. */
gboolean walk_power_on(GError **error);

/* Copies that file as it is at this instant, with libvirtd and QEMU held still; whoever calls holds
 * the agent. */
gboolean walk_power_cut(const char *copy, GError **error);

/* The node crashes, and boots with @file as its disk (NULL: the one that it had). Nothing runs. */
gboolean walk_power_restart_with(const char *file, GError **error);

/* What was before the test is on the platter for long. */
gboolean walk_power_sync(GError **error);

G_END_DECLS
