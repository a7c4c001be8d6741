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
 *
 * On a launcher source's connection (virt/launchers.h) @uuid is the id of the guest, and the
 * guest's helper makes the call: while it is dead or hangs it is WK_ERROR_UNAVAILABLE; a guest that
 * has no pod is off, and what needs one is WK_ERROR_CONFLICT.
 */

/* State, job, autostart, id in the live metadata. A domain that is not there is no error:
 * WK_POWER_ABSENT; in a launcher pod, or without one, it is WK_POWER_OFF and persistent, as long
 * as the guest is known. @look must be initialised (zeroes are fine). */
gboolean wk_domain_look(WkConnection *connection, const char *uuid, WkLook *look, GError **error);

/* The same in half the round trips: only @look's power and job; the rest is as if there was none.
 * For what must be quick, and for guests of which nothing is saved. */
gboolean
wk_domain_look_brief(WkConnection *connection, const char *uuid, WkLook *look, GError **error);

/* The same, but of a guest in a launcher pod only once it has been loaded (wk_look_is_loaded()) or
 * has failed to, or after WK_HELPER_AWAIT_MS: pods have no events. On a host: at once. */
gboolean
wk_domain_await_loaded(WkConnection *connection, const char *uuid, WkLook *look, GError **error);

/* Returns: (transfer full): facts from the live XML (inactive XML when it is off). */
WkFacts *wk_domain_read_facts(WkConnection *connection, const char *uuid, GError **error);

typedef struct {
    WkFacts *facts;
    WkLook look;
} WkDomainEntry;

/* Returns: (transfer full) (element-type WkDomainEntry): every domain; those that vanish while
 * listing are left out. One that can't be read fails the listing: left out it would seem gone.
 * Launchers: what their VMIs say, no libvirt is asked. */
GPtrArray *wk_domain_list(WkConnection *connection, GError **error);

gboolean wk_domain_suspend(WkConnection *connection, const char *uuid, GError **error);
gboolean wk_domain_resume(WkConnection *connection, const char *uuid, GError **error);
gboolean wk_domain_destroy(WkConnection *connection, const char *uuid, GError **error);
gboolean wk_domain_shutdown(WkConnection *connection, const char *uuid, GError **error);

/* virDomainManagedSave with flags 0: a failure leaves a paused guest paused (F4). Lasts. */
gboolean wk_domain_managed_save(WkConnection *connection, const char *uuid, GError **error);

/* Launchers only: libvirt's name for the managed save goes, so that KubeVirt can undefine the
 * domain (virDomainManagedSaveRemove); what else the file is called stays. */
gboolean wk_domain_managed_save_remove(WkConnection *connection, const char *uuid, GError **error);

/* A domain that became transient while it ran, as one may whose start took KubeVirt too long, is
 * defined anew from its own XML; one that is persistent stays as it is. */
gboolean wk_domain_make_persistent(WkConnection *connection, const char *uuid, GError **error);

/* virDomainCreateWithFlags; @paused: START_PAUSED. Lasts when there is an image to restore.
 * Launchers: WK_ERROR_REFUSED, KubeVirt starts its guests by itself. */
gboolean
wk_domain_create(WkConnection *connection, const char *uuid, gboolean paused, GError **error);

/* Launchers have none: off is fine, on is WK_ERROR_REFUSED. */
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
 * the PAUSED flag: one byte changes, F14). Launchers: the guest's managed save, wherever it is. */
gboolean wk_domain_image_set_paused(WkConnection *connection, const char *uuid, const char *path,
                                    GError **error);

/* Reads the XML of an image of this guest, which is at most 1 MiB: op (NULL: none) and facts, both
 * (transfer full); each may be NULL. WK_ERROR_CORRUPT when it can't be read. */
gboolean wk_domain_image_read(WkConnection *connection, const char *uuid, const char *xml,
                              char **op, WkFacts **facts, GError **error);

/* The same XML for another VMI: @from_uid is replaced by @to_uid in paths that begin with
 * /var/run/kubevirt-private/<uid>/, and nowhere else (sockets that libvirt binds, logs beside them:
 * kubevirt-facts, 5). Returns: (transfer full): or NULL with WK_ERROR_CORRUPT. */
char *wk_domain_image_rewrite(WkConnection *connection, const char *uuid, const char *xml,
                              const char *from_uid, const char *to_uid, GError **error);

/* Can this host still run the domain in the image's @xml: emulator there, machine type known, CPU
 * compatible (KVM: virConnectCompareHypervisorCPU)? Returns: FALSE with WK_ERROR_REFUSED and reason
 * "EmulatorMissing", "MachineTypeMissing" or "CPUIncompatible". What libvirt can't tell passes. */
gboolean wk_domain_check_startable(WkConnection *connection, const char *uuid, const char *xml,
                                   GError **error);

G_END_DECLS
