/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/domain.h"

#include "base/error.h"
#include "virt/domain_xml.h"
#include "virt/error.h"
#include "virt/handles.h"
#include "virt/remote.h"

#include <stdlib.h>

typedef int (*Func)(virDomainPtr domain, gconstpointer argument);

/* One call, of libvirt and of a launcher's helper. */
typedef struct {
    Func func;
    WkHelperMethod method;
    const char *doing;
} Call;

/* Looks the domain up, makes the one call, and reads the error in this very thread. */
static gboolean
call(WkConnection *connection, const char *uuid, Func func, gconstpointer argument,
     const char *doing, GError **error)
{
    g_autoptr(virDomain) domain = wk_virt_find(connection, uuid, error);

    return domain != NULL && wk_virt_check(func(domain, argument), domain, doing, error);
}

/* The same wherever the guest is. */
static gboolean
call_any(WkConnection *connection, const char *uuid, const Call *any, GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);

    return launchers != NULL ? wk_remote_do(launchers, uuid, any->method, NULL, error)
                             : call(connection, uuid, any->func, NULL, any->doing, error);
}

static gboolean
refuse_launcher(GError **error, const char *what)
{
    wk_error_set(error, WK_ERROR_REFUSED, NULL, "KubeVirt %s its guests by itself", what);
    return FALSE;
}

static int
call_suspend(virDomainPtr domain, gconstpointer argument G_GNUC_UNUSED)
{
    return virDomainSuspend(domain);
}

gboolean
wk_domain_suspend(WkConnection *connection, const char *uuid, GError **error)
{
    static const Call any = { call_suspend, WK_HELPER_SUSPEND, "pausing" };

    return call_any(connection, uuid, &any, error);
}

static int
call_resume(virDomainPtr domain, gconstpointer argument G_GNUC_UNUSED)
{
    return virDomainResume(domain);
}

gboolean
wk_domain_resume(WkConnection *connection, const char *uuid, GError **error)
{
    static const Call any = { call_resume, WK_HELPER_RESUME, "resuming" };

    return call_any(connection, uuid, &any, error);
}

static int
call_destroy(virDomainPtr domain, gconstpointer argument G_GNUC_UNUSED)
{
    return virDomainDestroy(domain);
}

gboolean
wk_domain_destroy(WkConnection *connection, const char *uuid, GError **error)
{
    static const Call any = { call_destroy, WK_HELPER_DESTROY, "ending" };

    return call_any(connection, uuid, &any, error);
}

static int
call_shutdown(virDomainPtr domain, gconstpointer argument G_GNUC_UNUSED)
{
    return virDomainShutdown(domain);
}

gboolean
wk_domain_shutdown(WkConnection *connection, const char *uuid, GError **error)
{
    static const Call any = { call_shutdown, WK_HELPER_SHUTDOWN, "shutting down" };

    return call_any(connection, uuid, &any, error);
}

static int
call_managed_save(virDomainPtr domain, gconstpointer argument G_GNUC_UNUSED)
{
    return virDomainManagedSave(domain, 0);
}

gboolean
wk_domain_managed_save(WkConnection *connection, const char *uuid, GError **error)
{
    static const Call any = { call_managed_save, WK_HELPER_SAVE, "saving" };

    return call_any(connection, uuid, &any, error);
}

static int
call_managed_save_remove(virDomainPtr domain, gconstpointer argument G_GNUC_UNUSED)
{
    return virDomainManagedSaveRemove(domain, 0);
}

gboolean
wk_domain_managed_save_remove(WkConnection *connection, const char *uuid, GError **error)
{
    static const Call any = { call_managed_save_remove, WK_HELPER_SAVE_REMOVE,
                              "removing the managed save of" };

    return call_any(connection, uuid, &any, error);
}

/* SECURE: or passwords would be left out of what is defined. */
static int
call_make_persistent(virDomainPtr domain, gconstpointer argument G_GNUC_UNUSED)
{
    const int persistent = virDomainIsPersistent(domain);
    virDomainPtr defined;
    char *xml;

    if (persistent != 0)
        return persistent;
    xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    if (xml == NULL)
        return -1;
    defined = virDomainDefineXML(virDomainGetConnect(domain), xml);
    free(xml);
    if (defined == NULL)
        return -1;
    (void)virDomainFree(defined);
    return 0;
}

gboolean
wk_domain_make_persistent(WkConnection *connection, const char *uuid, GError **error)
{
    static const Call any = { call_make_persistent, WK_HELPER_MAKE_PERSISTENT, "defining" };

    return call_any(connection, uuid, &any, error);
}

static int
call_create(virDomainPtr domain, gconstpointer argument)
{
    const gboolean *paused = argument;

    return virDomainCreateWithFlags(domain, *paused ? VIR_DOMAIN_START_PAUSED : 0);
}

gboolean
wk_domain_create(WkConnection *connection, const char *uuid, gboolean paused, GError **error)
{
    if (wk_connection_get_launchers(connection) != NULL)
        return refuse_launcher(error, "starts");
    return call(connection, uuid, call_create, &paused, "starting", error);
}

static int
call_set_autostart(virDomainPtr domain, gconstpointer argument)
{
    const gboolean *autostart = argument;

    return virDomainSetAutostart(domain, *autostart ? 1 : 0);
}

gboolean
wk_domain_set_autostart(WkConnection *connection, const char *uuid, gboolean autostart,
                        GError **error)
{
    if (wk_connection_get_launchers(connection) != NULL)
        return !autostart || refuse_launcher(error, "starts");
    return call(connection, uuid, call_set_autostart, &autostart, "setting autostart of", error);
}

static int
call_set_op(virDomainPtr domain, gconstpointer argument)
{
    g_autofree char *element = g_markup_printf_escaped("<saved op='%s'/>", (const char *)argument);

    return virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, element, WK_METADATA_PREFIX,
                                WK_METADATA_NAMESPACE, VIR_DOMAIN_AFFECT_LIVE);
}

gboolean
wk_domain_set_op(WkConnection *connection, const char *uuid, const char *op, GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);

    return launchers != NULL ? wk_remote_do(launchers, uuid, WK_HELPER_SET_OP, op, error)
                             : call(connection, uuid, call_set_op, op, "marking", error);
}

static int
call_abort_job(virDomainPtr domain, gconstpointer argument G_GNUC_UNUSED)
{
    return virDomainAbortJob(domain);
}

gboolean
wk_domain_abort_job(WkConnection *connection, const char *uuid, GError **error)
{
    static const Call any = { call_abort_job, WK_HELPER_ABORT_JOB, "aborting the job of" };

    return call_any(connection, uuid, &any, error);
}

/* In a restore libvirt would answer only when it is over (F24). */
static gboolean
can_tell_progress(virDomainPtr domain, GError **error)
{
    int state, reason;

    if (!wk_virt_check(virDomainGetState(domain, &state, &reason, 0), domain, "looking at", error))
        return FALSE;
    if (state != VIR_DOMAIN_PAUSED || reason != VIR_DOMAIN_PAUSED_STARTING_UP)
        return TRUE;
    wk_error_set(error, WK_ERROR_CONFLICT, NULL, "domain '%s' is starting: no progress is known",
                 virDomainGetName(domain));
    return FALSE;
}

static guint64
get_bytes(virTypedParameterPtr params, int n_params, const char *name)
{
    unsigned long long value = 0;

    (void)virTypedParamsGetULLong(params, n_params, name, &value);
    return value;
}

static gboolean
read_progress(virDomainPtr domain, guint64 *done, guint64 *total, GError **error)
{
    virTypedParameterPtr params = NULL;
    int type = VIR_DOMAIN_JOB_NONE;
    int n_params = 0;
    guint64 all, left;

    if (!wk_virt_check(virDomainGetJobStats(domain, &type, &params, &n_params, 0), domain,
                       "asking for the job of", error))
        return FALSE;
    all = get_bytes(params, n_params, VIR_DOMAIN_JOB_DATA_TOTAL);
    left = get_bytes(params, n_params, VIR_DOMAIN_JOB_DATA_REMAINING);
    virTypedParamsFree(params, n_params);
    if (type == VIR_DOMAIN_JOB_NONE || all == 0) {
        wk_error_set(error, WK_ERROR_CONFLICT, NULL,
                     "domain '%s' has no job that tells its progress", virDomainGetName(domain));
        return FALSE;
    }
    *done = all - MIN(left, all);
    *total = all;
    return TRUE;
}

gboolean
wk_domain_job_progress(WkConnection *connection, const char *uuid, guint64 *done, guint64 *total,
                       GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);
    g_autoptr(virDomain) domain = NULL;

    if (launchers != NULL)
        return wk_remote_progress(launchers, uuid, done, total, error);
    domain = wk_virt_find(connection, uuid, error);
    return domain != NULL && can_tell_progress(domain, error)
           && read_progress(domain, done, total, error);
}

/* Whatever stands in the way, the guest's clock is behind, and that is what users must read. */
gboolean
wk_domain_sync_time(WkConnection *connection, const char *uuid, GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);
    g_autoptr(virDomain) domain = NULL;
    g_autoptr(GError) failed = NULL;

    if (launchers != NULL)
        return wk_remote_do(launchers, uuid, WK_HELPER_SYNC_TIME, NULL, error);
    domain = wk_virt_find(connection, uuid, error);
    if (domain == NULL)
        return FALSE;
    if (wk_virt_check(virDomainSetTime(domain, 0, 0, VIR_DOMAIN_TIME_SYNC), domain,
                      "setting the clock of", &failed))
        return TRUE;
    wk_error_set(error, (WkErrorCode)failed->code, "TimeNotSynced", "%s", failed->message);
    return FALSE;
}
