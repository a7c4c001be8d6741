/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "model/facts.h"
#include "virt/connection.h"

G_BEGIN_DECLS

/*
 * Plain blocking calls on one domain, for workers. Each looks the domain up by UUID, makes one
 * libvirt call and turns libvirt's last error (per thread) into a GError at once:
 *   WK_ERROR_NOT_FOUND    no such domain
 *   WK_ERROR_UNAVAILABLE  connection lost, timed out, daemon going down, another job in the way
 *   WK_ERROR_CONFLICT     OPERATION_INVALID: not in this state. For some seconds after libvirtd
 *                         came back it can be wrong (F10): the caller looks again and retries
 *   WK_ERROR_CANCELLED    the job was aborted
 *   WK_ERROR_FAILED       anything else; reason "NoSpace" where libvirt names ENOSPC's text
 * Messages carry libvirt's own text and the domain's name or UUID.
 */

/* State, job, autostart, id in the live metadata. A domain that is not there is no error:
 * WK_POWER_ABSENT. @look must be initialised (zeroes are fine). */
gboolean wk_domain_look(WkConnection *connection, const char *uuid, WkLook *look, GError **error);

/* The same in half the round trips: only @look's power and job; the rest is as if there was none.
 * For what must be quick, and for guests of which nothing is saved. */
gboolean
wk_domain_look_brief(WkConnection *connection, const char *uuid, WkLook *look, GError **error);

/* Returns: (transfer full): facts from the live XML (inactive XML when it is off). */
WkFacts *wk_domain_read_facts(WkConnection *connection, const char *uuid, GError **error);

typedef struct {
    WkFacts *facts;
    WkLook look;
} WkDomainEntry;

/* Returns: (transfer full) (element-type WkDomainEntry): every domain; those that vanish while
 * listing are left out. One that can't be read fails the listing: left out it would seem gone. */
GPtrArray *wk_domain_list(WkConnection *connection, GError **error);

gboolean wk_domain_suspend(WkConnection *connection, const char *uuid, GError **error);
gboolean wk_domain_resume(WkConnection *connection, const char *uuid, GError **error);
gboolean wk_domain_destroy(WkConnection *connection, const char *uuid, GError **error);
gboolean wk_domain_shutdown(WkConnection *connection, const char *uuid, GError **error);

/* virDomainManagedSave with flags 0: a failure leaves a paused guest paused (F4). Lasts. */
gboolean wk_domain_managed_save(WkConnection *connection, const char *uuid, GError **error);

/* virDomainCreateWithFlags; @paused: START_PAUSED. Lasts when there is an image to restore. */
gboolean
wk_domain_create(WkConnection *connection, const char *uuid, gboolean paused, GError **error);

gboolean wk_domain_set_autostart(WkConnection *connection, const char *uuid, gboolean autostart,
                                 GError **error);

/* Puts <wukong:saved op='@op'/> into the live metadata (namespace
 * https://novasphere.dev/wukong/1.0), where it travels in the image (F3). Quotes @op. */
gboolean
wk_domain_set_op(WkConnection *connection, const char *uuid, const char *op, GError **error);

/* Aborts the running job. What it answers decides nothing; the state does. */
gboolean wk_domain_abort_job(WkConnection *connection, const char *uuid, GError **error);

/* Bytes done and in all of the running job; percent is (total - remaining) / total (F23).
 * Returns: FALSE without a running job, or when libvirt does not say. */
gboolean wk_domain_job_progress(WkConnection *connection, const char *uuid, guint64 *done,
                                guint64 *total, GError **error);

/* virDomainSetTime(SYNC) through the guest agent.
 * Returns: FALSE with reason "TimeNotSynced" when there is no agent or it does not answer. */
gboolean wk_domain_sync_time(WkConnection *connection, const char *uuid, GError **error);

/* Makes the saved image at @path restore paused (virDomainSaveImageDefineXML with its own XML and
 * the PAUSED flag: one byte changes, F14). */
gboolean wk_domain_image_set_paused(WkConnection *connection, const char *path, GError **error);

/* Can this host still run the domain in the image's @xml: emulator there, machine type known, CPU
 * compatible (KVM: virConnectCompareHypervisorCPU)? Returns: FALSE with WK_ERROR_REFUSED and reason
 * "EmulatorMissing", "MachineTypeMissing" or "CPUIncompatible". What libvirt can't tell passes. */
gboolean wk_domain_check_startable(WkConnection *connection, const char *xml, GError **error);

G_END_DECLS
