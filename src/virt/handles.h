/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "virt/connection.h"

G_BEGIN_DECLS

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)

/* Returns: (transfer full): or NULL with WK_ERROR_NOT_FOUND or as domain.h says. */
virDomainPtr wk_virt_find(WkConnection *connection, const char *uuid, GError **error);

/* Turns the answer of one libvirt call, just made: below 0 is a failure of "@doing domain 'NAME'".
 */
gboolean wk_virt_check(int answer, virDomainPtr domain, const char *doing, GError **error);

G_END_DECLS
