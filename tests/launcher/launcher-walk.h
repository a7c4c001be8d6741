/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault walk of guests in launcher pods: as tests/walk, whose agent and ledger it uses, with an
 * oracle that asks KubeVirt's objects and the pods' folders instead of one libvirt.
 *
 * One VM is enough for all cases as long as each leaves it running with the memory that it had.
 * Threading: none.
 */
#pragma once

#include "lab-pod.h"
#include "walk.h"

G_BEGIN_DECLS

#define LW_NAME   "w"
#define LW_DOMAIN "default_w-vm"

typedef enum {
    LW_GOOD,
    LW_LOST,
    LW_DOUBLED,
    LW_SILENT, /* what is said is not so, or nothing is said */
    LW_LEFTOVER,
    LW_BROKEN, /* anything else: it does not come to rest, ... */
    LW_COLD,   /* booted anew over a saved image */
    LW_VERDICTS,
} LwVerdict;

const char *lw_verdict_name(LwVerdict verdict);

/* The walk is two programs, which run side by side. */
typedef enum {
    LW_SAVES,    /* pauses, and roads to a saved image */
    LW_RESTORES, /* roads from one */
} LwPart;

/* How a guest may be found: WalkEnd's RUNS, PAUSED, DISK, HELD; and OFF, where its VM is gone. */
const WalkScenario *lw_scenarios(LwPart part, gsize *n);
/* Each step is walked by one part, unless out of reach. */
gboolean lw_answers_for(LwPart part, const char *step);

/* Steps that only hosts pass, or that need what the stand-in has not, each with its reason there.
 */
gboolean lw_is_out_of_reach(const char *step);

/* A running VM whose nonce is noted, and an agent without faults. */
gboolean lw_base(Walk *walk, GError **error);
/* Runs @scenario up to its rest, or to the agent's death. */
gboolean lw_run(Walk *walk, const WalkScenario *scenario, const char *failpoints, GError **error);

/* walk_agent_start(), and it has looked at all guests, or is dead. */
gboolean lw_agent_start(Walk *walk, const char *failpoints, GError **error);
/* walk_post() and walk_request(), once the agent knows the guest. */
gboolean lw_post(Walk *walk, const char *verb, const char *body, GError **error);
gboolean lw_request(Walk *walk, const char *verb, const char *body, GError **error);

/* Waits until ledger, API and VMI agree on an end, or the agent is dead. */
gboolean lw_rest(Walk *walk, GError **error);
/* Waits until all is at rest, looks at everything, and brings the guest to life where it can. */
LwVerdict lw_judge(Walk *walk, guint ends, GError **error);

/* The most descriptors that an agent at rest was seen with. */
guint lw_most_descriptors(void);

G_END_DECLS
