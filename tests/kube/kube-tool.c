/* SPDX-License-Identifier: Apache-2.0 */
/* What lab-kube.h does, for shell scripts inside lab-run. */
#include "lab-kube.h"

#include <stdio.h>

static gboolean
start(const char *argument G_GNUC_UNUSED, GError **error)
{
    return lab_kube_start(error) && lab_kube_install(error);
}

static gboolean
server_kill(const char *argument G_GNUC_UNUSED, GError **error)
{
    return lab_kube_server_kill(error);
}

static gboolean
server_start(const char *argument G_GNUC_UNUSED, GError **error)
{
    return lab_kube_server_start(error);
}

static gboolean
agent_start(const char *argument G_GNUC_UNUSED, GError **error)
{
    return lab_kube_agent_start(NULL, error);
}

static const struct {
    const char *name;
    gboolean (*run)(const char *argument, GError **error);
    gboolean takes_argument;
} commands[] = {
    { "start", start, FALSE },
    { "server-kill", server_kill, FALSE },
    { "server-start", server_start, FALSE },
    { "agent-start", agent_start, FALSE },
    { "wukong", lab_kube_wukong, TRUE },
};

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    for (gsize i = 0; argc > 1 && i < G_N_ELEMENTS(commands); i++) {
        if (!g_str_equal(commands[i].name, argv[1]) || argc != (commands[i].takes_argument ? 3 : 2))
            continue;
        if (commands[i].run(argv[2], &error))
            return 0;
        fprintf(stderr, "kube-tool: %s: %s\n", argv[1], error->message);
        return 1;
    }
    fprintf(stderr, "usage: kube-tool start|server-kill|server-start|agent-start|wukong NAME\n");
    return 2;
}
