/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <sys/types.h>

G_BEGIN_DECLS

/* How a helper gives up what it does not need; virt/helper_main.h says what is left. Private to the
 * helper. Each of these is called once, in this order, while it has one thread; a failure is the
 * end of it. */

/* Becomes @user and @group, without capabilities and for good; with user 0 root until
 * wk_helper_drop_root(), then nobody. Started without root's rights it must be @user already. From
 * here on no program is run, no process made, traced or signalled. */
gboolean wk_helper_become(uid_t user, gid_t group, GError **error);

/* Nothing of root is left. */
gboolean wk_helper_drop_root(GError **error);

/* Only what is open can be read and written from here on. All threads must be there already. */
gboolean wk_helper_lock(GError **error);

G_END_DECLS
