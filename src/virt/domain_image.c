/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "virt/domain.h"

#include "base/error.h"
#include "virt/domain_xml.h"
#include "virt/error.h"
#include "virt/remote.h"

#include <stdlib.h>

/* Without SECURE libvirt would leave passwords out, and they would be gone from the image. */
static gboolean
set_paused(virConnectPtr connect, const char *path, GError **error)
{
    char *xml = virDomainSaveImageGetXMLDesc(connect, path, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE);
    int answer;

    if (xml == NULL) {
        wk_virt_set_error(error, "reading the XML of image '%s'", path);
        return FALSE;
    }
    answer = virDomainSaveImageDefineXML(connect, path, xml, VIR_DOMAIN_SAVE_PAUSED);
    free(xml);
    if (answer < 0)
        wk_virt_set_error(error, "making image '%s' start paused", path);
    return answer >= 0;
}

gboolean
wk_domain_image_set_paused(WkConnection *connection, const char *uuid, const char *path,
                           GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);

    return launchers != NULL ? wk_remote_do(launchers, uuid, WK_HELPER_SAVE_SET_PAUSED, NULL, error)
                             : set_paused(wk_connection_get(connection), path, error);
}

gboolean
wk_domain_image_read(WkConnection *connection, const char *uuid, const char *xml, char **op,
                     WkFacts **facts, GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);
    g_autoptr(WkFacts) seen = NULL;

    if (launchers != NULL)
        return wk_remote_read_image(launchers, uuid, xml, op, facts, error);
    seen = wk_domain_xml_parse(xml, error);
    if (seen == NULL)
        return FALSE;
    if (op != NULL)
        *op = wk_domain_xml_get_op(xml);
    if (facts != NULL)
        *facts = g_steal_pointer(&seen);
    return TRUE;
}

char *
wk_domain_image_rewrite(WkConnection *connection, const char *uuid, const char *xml,
                        const char *from_uid, const char *to_uid, GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);

    return launchers != NULL
               ? wk_remote_rewrite_image(launchers, uuid, xml, from_uid, to_uid, error)
               : wk_domain_xml_rewrite(xml, from_uid, to_uid, error);
}

typedef enum {
    VERDICT_GOOD,
    VERDICT_BAD,
    VERDICT_UNKNOWN, /* libvirt can't tell */
    VERDICT_LOST,    /* there is nobody to ask; @error is set */
} Verdict;

static Verdict
verdict_of_failure(const char *asking, GError **error)
{
    g_autoptr(GError) failed = NULL;
    const int code = virGetLastErrorCode();

    wk_virt_set_error(&failed, "%s", asking);
    if (g_error_matches(failed, WK_ERROR, WK_ERROR_UNAVAILABLE)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return VERDICT_LOST;
    }
    g_debug("%s", failed->message);
    return code == VIR_ERR_NO_SUPPORT || code == VIR_ERR_OPERATION_UNSUPPORTED ? VERDICT_UNKNOWN
                                                                               : VERDICT_BAD;
}

static Verdict
ask_capabilities(virConnectPtr connect, const WkStartNeeds *needs, const char *machine,
                 GError **error)
{
    char *capabilities =
        virConnectGetDomainCapabilities(connect, needs->emulator, needs->arch, machine, NULL, 0);

    if (capabilities == NULL)
        return verdict_of_failure("asking for the emulator's capabilities", error);
    free(capabilities);
    return VERDICT_GOOD;
}

static gboolean
refuse(GError **error, const char *reason, const char *what, const char *value)
{
    wk_error_set(error, WK_ERROR_REFUSED, reason, "this host has no %s '%s'", what,
                 value != NULL ? value : "");
    return FALSE;
}

/* libvirt refuses both with the same code: without the machine type it says which it was. */
static gboolean
check_emulator(virConnectPtr connect, const WkStartNeeds *needs, GError **error)
{
    Verdict verdict = ask_capabilities(connect, needs, needs->machine, error);

    if (verdict == VERDICT_BAD && needs->machine != NULL) {
        verdict = ask_capabilities(connect, needs, NULL, error);
        if (verdict == VERDICT_GOOD)
            return refuse(error, "MachineTypeMissing", "machine type", needs->machine);
    }
    if (verdict == VERDICT_BAD)
        return refuse(error, "EmulatorMissing", "emulator", needs->emulator);
    return verdict != VERDICT_LOST;
}

/*
 * Only for KVM: an emulated CPU does not depend on the host's. The hypervisor is asked rather than
 * the host (virConnectCompareCPU), which lacks features that KVM gives to every guest.
 */
static gboolean
check_cpu(virConnectPtr connect, const WkStartNeeds *needs, GError **error)
{
    int answer;

    if (needs->cpu == NULL || g_strcmp0(needs->type, "kvm") != 0)
        return TRUE;
    answer = virConnectCompareHypervisorCPU(connect, needs->emulator, needs->arch, needs->machine,
                                            needs->type, needs->cpu, 0);
    if (answer == VIR_CPU_COMPARE_INCOMPATIBLE) {
        wk_error_set(error, WK_ERROR_REFUSED, "CPUIncompatible",
                     "this host can't give the guest the CPU that it was saved with");
        return FALSE;
    }
    return answer != VIR_CPU_COMPARE_ERROR
           || verdict_of_failure("comparing the CPU", error) != VERDICT_LOST;
}

static gboolean
check_startable(virConnectPtr connect, const char *xml, GError **error)
{
    g_autoptr(WkStartNeeds) needs = wk_domain_xml_parse_needs(xml, error);

    return needs != NULL && check_emulator(connect, needs, error)
           && check_cpu(connect, needs, error);
}

gboolean
wk_domain_check_startable(WkConnection *connection, const char *uuid, const char *xml,
                          GError **error)
{
    WkLaunchers *launchers = wk_connection_get_launchers(connection);

    return launchers != NULL ? wk_remote_do(launchers, uuid, WK_HELPER_CHECK_STARTABLE, xml, error)
                             : check_startable(wk_connection_get(connection), xml, error);
}
