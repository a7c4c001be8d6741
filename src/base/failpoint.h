/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/steps.h"

G_BEGIN_DECLS

/*
 * Failpoints: WK_FAILPOINT=name[:n]=action[,...] makes the n-th passage of a named step (1: the
 * first, which is the default; *: each one)
 *   kill         die by SIGKILL just before the step
 *   stop         SIGSTOP itself just before the step (a test acts, then sends SIGCONT)
 *   error:ENAME  fail the step without doing it, as if the system had said ENAME
 *   sleep:MS     wait before the step
 * Only in builds with --enable-failpoints; elsewhere the variable is refused.
 */

/* Reads @spec and @rules_off (WK_FAILPOINT's and WK_RULE_OFF's values; NULL: none). Call once,
 * before any thread starts. Returns: FALSE with WK_ERROR_INVALID for a name or action that does not
 * exist. */
gboolean wk_failpoint_init(const char *spec, const char *rules_off, GError **error);

/* Any thread. Returns: FALSE with the error to report, when @step is to fail now. */
gboolean wk_failpoint_pass(WkStep step, GError **error);

/*
 * Rules of the protocol that a test can switch off, to see that a walk notices (tests/walk/teeth):
 * WK_RULE_OFF=name[,...]. Returns: TRUE while the rule holds. Without --enable-failpoints a
 * constant, so that what a broken rule would do is not even in the program.
 */
#ifdef WK_FAILPOINTS
gboolean wk_rule_holds(const char *name);
#else
#define wk_rule_holds(name) TRUE
#endif

G_END_DECLS
