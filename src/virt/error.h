/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

G_BEGIN_DECLS

/* Sets @error from libvirt's last error: "<text>: <libvirt's own words>", code as domain.h says.
 * The last error is per thread: call it in the thread of the failed call, before any other. */
void wk_virt_set_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The same from a given error; NULL: libvirt gave none. */
void wk_virt_set_error_from(GError **error, const virError *cause, const char *text);

/* Makes libvirt ready for threads (its last error is garbage before) and keeps it from printing
 * every error to stderr. Any thread, any number of times. */
void wk_virt_init(void);

G_END_DECLS
