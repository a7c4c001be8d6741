/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/domain.h"

#include "base/error.h"
#include "virt/domain_xml.h"
#include "virt/error.h"
#include "virt/handles.h"
#include "virt/power.h"
#include "virt/remote.h"

#include <stdlib.h>

/* Is a job running on an active domain? During a restore libvirt would answer only when it is over
 * (F24). A time-out says that a job holds the domain, which is an answer, too. */
static gboolean
read_job(virDomainPtr domain, int state, int reason, gboolean *job, GError **error)
{
    virDomainJobInfo info;

    *job = TRUE;
    if (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_STARTING_UP)
        return TRUE;
    if (virDomainGetJobInfo(domain, &info) == 0) {
        *job = info.type != VIR_DOMAIN_JOB_NONE;
        return TRUE;
    }
    if (virGetLastErrorCode() == VIR_ERR_OPERATION_TIMEOUT)
        return TRUE;
    *job = FALSE; /* the test driver has none */
    return virGetLastErrorCode() == VIR_ERR_NO_SUPPORT
           || wk_virt_check(-1, domain, "asking for the job of", error);
}

static gboolean
read_op(virDomainPtr domain, char **op, GError **error)
{
    char *element = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, WK_METADATA_NAMESPACE,
                                         VIR_DOMAIN_AFFECT_LIVE);

    if (element == NULL)
        return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_METADATA
               || wk_virt_check(-1, domain, "reading the metadata of", error);
    *op = wk_domain_xml_get_op(element);
    free(element);
    return TRUE;
}

static gboolean
read_config(virDomainPtr domain, WkLook *look, GError **error)
{
    const int persistent = virDomainIsPersistent(domain);
    int autostart = 0;

    if (!wk_virt_check(persistent, domain, "looking at", error))
        return FALSE;
    if (persistent
        && !wk_virt_check(virDomainGetAutostart(domain, &autostart), domain, "reading autostart of",
                          error))
        return FALSE;
    look->persistent = persistent != 0;
    look->autostart = autostart != 0;
    return TRUE;
}

static gboolean
look_once(virDomainPtr domain, gboolean brief, WkLook *look, GError **error)
{
    int state, reason;

    if (!wk_virt_check(virDomainGetState(domain, &state, &reason, 0), domain, "looking at", error))
        return FALSE;
    if (state != VIR_DOMAIN_SHUTOFF && state != VIR_DOMAIN_CRASHED
        && (!read_job(domain, state, reason, &look->job, error)
            || (!brief && !read_op(domain, &look->op, error))))
        return FALSE;
    look->power = wk_power_of(state, reason, look->job);
    return brief || read_config(domain, look, error);
}

/* A guest that ends between two of the questions makes the later ones invalid: once more, then. */
static gboolean
look_at(virDomainPtr domain, gboolean brief, WkLook *look, GError **error)
{
    g_autoptr(GError) first = NULL;

    if (look_once(domain, brief, look, &first))
        return TRUE;
    wk_look_clear(look);
    if (g_error_matches(first, WK_ERROR, WK_ERROR_CONFLICT))
        return look_once(domain, brief, look, error);
    g_propagate_error(error, g_steal_pointer(&first));
    return FALSE;
}

static gboolean
find_and_look(WkConnection *connection, const char *uuid, gboolean brief, WkLook *look,
              GError **error)
{
    g_autoptr(virDomain) domain = wk_virt_find(connection, uuid, error);

    return domain != NULL && look_at(domain, brief, look, error);
}

static gboolean
take_look(WkConnection *connection, const char *uuid, gboolean brief, WkLook *look, GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);
    g_auto(WkLook) seen = { 0 };
    g_autoptr(GError) failed = NULL;

    if (launchers != NULL)
        return wk_remote_look(launchers, uuid, brief ? WK_HELPER_LOOK_BRIEF : WK_HELPER_LOOK, look,
                              error);
    if (!find_and_look(connection, uuid, brief, &seen, &failed)) {
        if (!g_error_matches(failed, WK_ERROR, WK_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&failed));
            return FALSE;
        }
        wk_look_clear(&seen);
    }
    wk_look_copy(&seen, look);
    return TRUE;
}

gboolean
wk_domain_look(WkConnection *connection, const char *uuid, WkLook *seen, GError **error)
{
    return take_look(connection, uuid, FALSE, seen, error);
}

gboolean
wk_domain_look_brief(WkConnection *connection, const char *uuid, WkLook *seen, GError **error)
{
    return take_look(connection, uuid, TRUE, seen, error);
}

gboolean
wk_domain_await_loaded(WkConnection *connection, const char *uuid, WkLook *seen, GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);

    return launchers != NULL ? wk_remote_look(launchers, uuid, WK_HELPER_AWAIT_LOADED, seen, error)
                             : wk_domain_look_brief(connection, uuid, seen, error);
}

static WkFacts *
read_facts(virDomainPtr domain, GError **error)
{
    char *xml = virDomainGetXMLDesc(domain, 0);
    WkFacts *facts = NULL;

    if (xml == NULL)
        (void)wk_virt_check(-1, domain, "reading the XML of", error);
    else
        facts = wk_domain_xml_parse(xml, error);
    free(xml);
    return facts;
}

WkFacts *
wk_domain_read_facts(WkConnection *connection, const char *uuid, GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);
    g_autoptr(virDomain) domain = NULL;

    if (launchers != NULL)
        return wk_remote_read_facts(launchers, uuid, error);
    domain = wk_virt_find(connection, uuid, error);
    return domain != NULL ? read_facts(domain, error) : NULL;
}

void
wk_domain_entry_free(gpointer data)
{
    WkDomainEntry *entry = data;

    wk_facts_free(entry->facts);
    wk_look_clear(&entry->look);
    g_free(entry);
}

static void
domain_free(gpointer data)
{
    (void)virDomainFree(data);
}

/* Returns: (transfer full) (element-type virDomain). */
static GPtrArray *
list_domains(WkConnection *connection, GError **error)
{
    virDomainPtr *domains = NULL;
    const int n = virConnectListAllDomains(wk_connection_get(connection), &domains, 0);
    GPtrArray *list;

    if (n < 0) {
        wk_virt_set_error(error, "listing domains");
        return NULL;
    }
    list = g_ptr_array_new_full((guint)n, domain_free);
    for (int i = 0; i < n; i++)
        g_ptr_array_add(list, domains[i]);
    free(domains);
    return list;
}

static gboolean
add_entry(GPtrArray *entries, virDomainPtr domain, GError **error)
{
    g_autoptr(GError) failed = NULL;
    WkDomainEntry *entry = g_new0(WkDomainEntry, 1);

    entry->facts = read_facts(domain, &failed);
    if (entry->facts != NULL && look_at(domain, FALSE, &entry->look, &failed)) {
        g_ptr_array_add(entries, entry);
        return TRUE;
    }
    wk_domain_entry_free(entry);
    if (g_error_matches(failed, WK_ERROR, WK_ERROR_NOT_FOUND))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failed));
    return FALSE;
}

static GPtrArray *
read_list(WkConnection *connection, GError **error)
{
    g_autoptr(GPtrArray) domains = list_domains(connection, error);
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(wk_domain_entry_free);

    for (guint i = 0; domains != NULL && i < domains->len; i++) {
        if (!add_entry(entries, g_ptr_array_index(domains, i), error))
            return NULL;
    }
    return domains != NULL ? g_steal_pointer(&entries) : NULL;
}

GPtrArray *
wk_domain_list(WkConnection *connection, GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);

    return launchers != NULL ? wk_launchers_list(launchers) : read_list(connection, error);
}
