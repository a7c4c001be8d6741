/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Where the libvirt behind @uri keeps managed saves and autostart links. Returns: (transfer full)
 * (nullable): NULL where it is no local QEMU driver. */
char *wk_places_save_dir(const char *uri);
char *wk_places_autostart_dir(const char *uri);

G_END_DECLS
