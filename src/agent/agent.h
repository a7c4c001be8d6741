/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/settings.h"

G_BEGIN_DECLS

/*
 * The agent: ledger, vault, sources, engine and control server, wired to each other. Main thread.
 */
typedef struct _WkAgent WkAgent;

typedef struct {
    const char *state_dir;    /* "/var/lib/wukong" */
    const char *control_path; /* "/run/wukong/control.sock" */
} WkAgentOptions;

/* What of @config can be checked without starting anything. */
gboolean wk_agent_check(const WkConfig *config, GError **error);

/* Opens everything and starts connecting. @config is taken (transfer full), also on failure.
 * Returns: (transfer full), or NULL when the agent can't do its work here. */
WkAgent *wk_agent_new(const WkAgentOptions *options, WkConfig *config, GError **error);
void wk_agent_free(WkAgent *self); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WkAgent, wk_agent_free)

/* Takes over what may change while running (wukongd.conf(5) says which keys). */
void wk_agent_reconfigure(WkAgent *self, const WkConfig *config);

/* Stops: no request is taken any more, no step begun. What libvirt is at goes on there, and the
 * next start takes it up. Calls @done when no worker is left, or after some seconds. */
void wk_agent_stop(WkAgent *self, void (*done)(gpointer data), gpointer data);

G_END_DECLS
