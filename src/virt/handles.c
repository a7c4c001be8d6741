/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/handles.h"

#include "virt/error.h"

virDomainPtr
wk_virt_find(WkConnection *connection, const char *uuid, GError **error)
{
    virDomainPtr domain = virDomainLookupByUUIDString(wk_connection_get(connection), uuid);

    if (domain == NULL)
        wk_virt_set_error(error, "looking for domain %s", uuid);
    return domain;
}

gboolean
wk_virt_check(int answer, virDomainPtr domain, const char *doing, GError **error)
{
    g_autofree char *text = NULL;
    virErrorPtr cause;

    if (answer >= 0)
        return TRUE;
    cause = virSaveLastError(); /* asking for the name would reset it */
    text = g_strdup_printf("%s domain '%s'", doing, virDomainGetName(domain));
    wk_virt_set_error_from(error, cause, text);
    virFreeError(cause);
    return FALSE;
}
