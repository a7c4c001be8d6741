/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/*
 * `wukongd --launcher-helper USER GROUP libvirt|xml`: the process that talks to the libvirt of one
 * launcher pod for the agent, and reads XML that came from there. Whatever comes from a pod may be
 * hostile, so this process is given nothing that is worth having:
 *   - its two descriptors: the agent (0) and the libvirt of its own pod (3; "xml": none)
 *   - the pod's user and group, or nobody's where that would be root; no capability, no new
 *     privileges, no environment
 *   - once connected, only system calls that read and write what is open (seccomp), no files, no
 *     processes, no sockets; 512 MiB of address space
 *   - it ends with the agent, and is killed by it (virt/helper.h)
 * A root launcher's libvirt takes nobody but root: there the helper is nobody with an effective
 * user of root, without any capability, until it is connected, and nobody for good before it reads
 * a request.
 */
#define WK_HELPER_OPTION "--launcher-helper"

/* TRUE when @argv asks for a helper: nothing else of the daemon is to be initialised. */
gboolean wk_helper_is_asked_for(int argc, char **argv);

/* Returns: the exit status, when the agent has closed its end. */
int wk_helper_main(int argc, char **argv);

G_END_DECLS
