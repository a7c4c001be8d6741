/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "ctl/options.h"

#include <stdio.h>

const WkCommand *const wk_commands[] = {
    &wk_cmd_list,         &wk_cmd_status,     &wk_cmd_suspend, &wk_cmd_resume,
    &wk_cmd_discard,      &wk_cmd_cancel,     &wk_cmd_wait,    &wk_cmd_images,
    &wk_cmd_is_suspended, &wk_cmd_is_running, &wk_cmd_watch,   &wk_cmd_doctor,
    &wk_cmd_verify,       &wk_cmd_prune,      &wk_cmd_version, NULL,
};

static void
ctl_clear(WkCtl *ctl)
{
    g_clear_pointer(&ctl->client, wukong_client_free);
    g_clear_pointer(&ctl->socket_path, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WkCtl, ctl_clear)

static const WkCommand *
find_command(const char *name, GError **error)
{
    for (gsize i = 0; name != NULL && wk_commands[i] != NULL; i++) {
        if (g_str_equal(wk_commands[i]->name, name))
            return wk_commands[i];
    }
    if (name == NULL)
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "a command is needed: see wukongctl --help");
    else
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "unknown command '%s': see wukongctl --help", name);
    return NULL;
}

static int
run(WkCtl *ctl, int argc, char **argv, GError **error)
{
    const WkCommand *command;

    if (!wk_ctl_parse_main(ctl, &argc, &argv, error))
        return WK_EXIT_USAGE;
    /* "--" before the verb ends only the options. */
    if (argc > 1 && g_str_equal(argv[1], "--")) {
        argc--;
        argv++;
    }
    command = find_command(argc > 1 ? argv[1] : NULL, error);
    if (command == NULL)
        return WK_EXIT_USAGE;
    return command->run(ctl, command, argc - 1, argv + 1, error);
}

int
wk_ctl_main(int argc, char **argv)
{
    g_auto(WkCtl) ctl = { 0 };
    g_autoptr(GError) error = NULL;
    const char *socket_path = g_getenv("WUKONG_SOCKET");
    int status;

    if (socket_path == NULL || *socket_path == '\0')
        socket_path = WUKONG_DEFAULT_SOCKET;
    ctl.socket_path = g_strdup(socket_path);
    status = run(&ctl, argc, argv, &error);
    if (error != NULL) {
        wk_ctl_error("%s", error->message);
        status = wk_ctl_status_of(error);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        wk_ctl_error("can't write the results");
        status = wk_ctl_status_merge(status, WK_EXIT_FAILED);
    }
    return status;
}
