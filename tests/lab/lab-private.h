/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the lab library; tests include lab.h only. */
#pragma once

#include "lab.h"

G_BEGIN_DECLS

/* not in lab.h: the agent's headers, which a test may include too, have the same */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virConnect, virConnectClose)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)

#define LAB_KERNEL     LAB_DIR "/guest-kernel"
#define LAB_INITRAMFS  LAB_DIR "/guest-initramfs"
#define LAB_RUN_DIR    "/run/lab"
#define LAB_GUESTS_DIR LAB_DIR "/guests"

gboolean lab_process_wait_gone(GPid pid, guint timeout_ms);

/* This process's own connection, opened again when it is dead. Not to be closed by the caller. */
virConnectPtr lab_own_connection(GError **error);

/* ${XDG_CACHE_HOME:-~/.cache}/wukong/@name, made if needed, (transfer full). */
char *lab_cache_dir(const char *name, GError **error);

/* Prepares the guest's folder: empty serial log, empty disk. */
gboolean lab_guest_prepare(const char *name, const LabGuestOptions *options, GError **error);

/* Starts @name from a copy of the golden image that fits @options, booting and saving that
 * first when there is none yet. */
gboolean lab_golden_wake(const char *name, const LabGuestOptions *options, GError **error);

G_END_DECLS
