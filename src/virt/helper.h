/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <json-glib/json-glib.h>
#include <sys/types.h>

#include "virt/helper_wire.h"

G_BEGIN_DECLS

/*
 * The agent's end of a helper process: `wukongd --launcher-helper`, which talks to the libvirt of
 * one launcher pod and reads its XML (virt/helper_main.h says how it is confined). It is taken for
 * hostile: what it says is bounded and checked, and it is killed when it says anything that was not
 * asked for, or nothing within the deadline of the call (WkHelperKind).
 *
 * Threading: any thread; wk_helper_call() blocks, in as many threads as like.
 */
typedef struct _WkHelper WkHelper;

/* @socket: libvirt's socket, O_PATH (transfer full); -1: no libvirt, only what reads XML is served.
 * @user, @group: the socket's owner. Starts in the background; a failure is told by the calls.
 * Returns: (transfer full). */
WkHelper *wk_helper_start(int socket, uid_t user, gid_t group);

/* Kills it: calls that wait fail with WK_ERROR_UNAVAILABLE and @why. Does not wait. */
void wk_helper_kill(WkHelper *self, const char *why);

WkHelper *wk_helper_ref(WkHelper *self);
void wk_helper_unref(WkHelper *self); /* kills it with the last reference; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkHelper, wk_helper_unref)

/* FALSE once it is dead, or as good as. */
gboolean wk_helper_is_alive(WkHelper *self);
/* The process; 0 until it runs (tests). */
pid_t wk_helper_get_pid(WkHelper *self);

/* Worker: makes one call and waits for its answer, for as long as the kind of call may take.
 * Returns: (transfer full): its result; or NULL with what the helper said of libvirt's error
 * (domain.h's codes), or WK_ERROR_UNAVAILABLE when it is dead, hangs, or does not keep to the
 * protocol. */
JsonObject *wk_helper_call(WkHelper *self, const WkHelperRequest *request, GError **error);

G_END_DECLS
