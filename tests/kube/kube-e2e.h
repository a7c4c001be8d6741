/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the agent with a real API server share. Every function fails the running test
 * by itself. */
#pragma once

#include "e2e.h"
#include "lab-kube.h"

G_BEGIN_DECLS

/* Group: libvirtd and the control plane. Test: an agent with its token; afterwards agent, guests,
 * Wukongs, ledger and vault go. */
int ke_start_node(void **state);
int ke_setup(void **state);
int ke_teardown(void **state);
#define ke_test(function) cmocka_unit_test_setup_teardown(function, ke_setup, ke_teardown)
/* Without a control plane: skipped as a whole. */
#define ke_main(tests)                                                                             \
    (!lab_kube_is_available() ? 77                                                                 \
                              : (cmocka_set_test_filter(g_getenv("WK_E2E_ONLY")),                  \
                                 cmocka_run_group_tests(tests, ke_start_node, NULL)))

/* The agent anew (SIGKILL), with its token. */
void ke_agent_restart(void);
void ke_agent_restart_with(const char *config); /* another wukongd.conf */

/* (transfer full): the domain of Wukong @name. */
char *ke_guest_name(const char *name);
/* A running guest and its Wukong, which says Running. */
void ke_start(const char *name);
void ke_act(const char *name, const char *action);

/* Waits until @jsonpath of the Wukong is @value ("" absent), or contains it ("*value"). */
void ke_until(const char *name, const char *jsonpath, const char *value);
void ke_until_within(const char *name, const char *jsonpath, const char *value, guint ms);
void ke_check(const char *name, const char *jsonpath, const char *value);
#define KE_STATE       "{.status.lifecycleState.state}"
#define KE_REASON      "{.status.lifecycleState.reason}"
#define KE_ACTION      "{.spec.lifecycleAction.action}"
#define KE_MIRROR      "{.metadata.annotations.wukong\\.novasphere\\.dev/lifecycle-state}"
#define KE_SAVED_ON    "{.metadata.annotations.wukong\\.novasphere\\.dev/saved-on}"
#define KE_DONE        "{.status.conditions[?(@.type==\"LifecycleActionSucceeded\")].status}"
#define KE_DONE_REASON "{.status.conditions[?(@.type==\"LifecycleActionSucceeded\")].reason}"

/* Waits for an Event with @reason about Wukong @name. */
void ke_until_event(const char *name, const char *reason);
/* Waits for an Event of it whose message contains @note. */
/* An Event lies in the ledger's outbox: from here on it survives the agent. */
void ke_until_in_outbox(const char *reason);
void ke_until_event_note(const char *name, const char *note);
/* Writes of the agent so far: patches of Wukongs and of their status. */
guint ke_writes(void);

G_END_DECLS
