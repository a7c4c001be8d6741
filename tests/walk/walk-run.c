/* SPDX-License-Identifier: Apache-2.0 */
/* One run of a scenario, with whatever faults. */
#include "walk.h"

gboolean
walk_run(Walk *walk, const WalkScenario *scenario, const char *failpoints, GError **error)
{
    gboolean traced = walk->traced;

    walk->scenario = scenario;
    walk->traced = FALSE;
    if (!walk_base(walk, error) || (scenario->prepare != NULL && !scenario->prepare(walk, error))
        || !walk_agent_end(error) || (scenario->offline != NULL && !scenario->offline(walk, error)))
        return FALSE;
    walk_mark_log(walk);
    walk->traced = traced;
    if (!walk_agent_start(walk, failpoints, error)
        || (walk_agent_is_alive() && scenario->act != NULL && !scenario->act(walk, error)))
        return FALSE;
    walk->traced = FALSE;
    return walk_rest(walk, error);
}

void
walk_init(Walk *walk)
{
    *walk = (Walk){ .uuid = lab_guest_uuid(WALK_GUEST), .fresh_needed = TRUE };
    walk->hold = g_strdup_printf(WALK_VAULT "/%s/image", walk->uuid);
}

void
walk_clear(Walk *walk)
{
    g_clear_pointer(&walk->uuid, g_free);
    g_clear_pointer(&walk->hold, g_free);
    g_clear_pointer(&walk->op, g_free);
}
